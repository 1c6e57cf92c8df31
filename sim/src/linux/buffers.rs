//! Memory that the kernel reads from and writes to, used over and over.
//!
//! A buffer given to the kernel must stay until it is done with it, also when the request's future
//! is dropped before. A caller's slice need not, so its bytes are copied into a buffer that the
//! request owns, and out of it. A buffer whose request was dropped goes with the request.

use std::cell::RefCell;

/// Buffers that are kept while nobody uses them; each grows to the longest request it served.
const KEPT_MAX: usize = 8;

/// Buffers at rest.
#[derive(Debug, Default)]
pub(super) struct Buffers(RefCell<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer with room for `len_bytes`.
    pub(super) fn take(&self, len_bytes: usize) -> Vec<u8> {
        let mut buffer = self.0.borrow_mut().pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve(len_bytes);
        buffer
    }

    /// Takes a buffer back.
    pub(super) fn put_back(&self, buffer: Vec<u8>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_that_came_back_is_used_again() {
        let buffers = Buffers::default();
        let mut first = buffers.take(4096);
        first.resize(4096, 1);
        let place = first.as_ptr();
        buffers.put_back(first);
        let second = buffers.take(512);
        assert!(second.is_empty() && second.as_ptr() == place);
        (0..2 * KEPT_MAX).for_each(|_| buffers.put_back(Vec::new()));
        assert_eq!(buffers.0.borrow().len(), KEPT_MAX);
    }
}
