//! Memory that the kernel reads from and writes to, used over and over.
//!
//! A buffer given to the kernel must stay until it is done with it, also when the request's future
//! is dropped before. A caller's slice need not, so its bytes are copied into a buffer that the
//! request owns, and out of it. A buffer whose request was dropped goes with the request. As the
//! bytes are copied anyway, they come to lie where direct I/O wants them: callers need align
//! nothing.

use std::cell::RefCell;

use compio::buf::{IntoInner as _, IoBuf as _, Slice};

/// Buffers that are kept while nobody uses them; each grows to the longest request it served.
const KEPT_MAX: usize = 8;
/// Where a buffer starts: at a page, which is as much as any disk's direct I/O asks for.
const ALIGN: usize = 4096;

/// Bytes of a request, from a multiple of [`ALIGN`] on, in the memory around them.
pub(super) type Buffer = Slice<Vec<u8>>;

/// Buffers at rest.
#[derive(Debug, Default)]
pub(super) struct Buffers(RefCell<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer for `len_bytes` that are to come.
    pub(super) fn empty(&self, len_bytes: usize) -> Buffer {
        let (buffer, begin) = self.take(len_bytes);
        buffer.slice(begin..begin + len_bytes)
    }

    /// A buffer that holds `data`.
    pub(super) fn filled(&self, data: &[u8]) -> Buffer {
        let (mut buffer, begin) = self.take(data.len());
        buffer.extend_from_slice(data);
        buffer.slice(begin..begin + data.len())
    }

    /// Room for `len_bytes`, and where in it they start: all before it is there, nothing behind it.
    fn take(&self, len_bytes: usize) -> (Vec<u8>, usize) {
        let mut buffer = self.0.borrow_mut().pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve(len_bytes + ALIGN);
        let begin = buffer.as_ptr().align_offset(ALIGN);
        buffer.resize(begin, 0);
        (buffer, begin)
    }

    /// Takes a buffer back.
    pub(super) fn put_back(&self, buffer: Buffer) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(buffer.into_inner());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_that_came_back_is_used_again() {
        let buffers = Buffers::default();
        let first = buffers.filled(&[1; 4096]);
        let place = first.as_init().as_ptr();
        buffers.put_back(first);
        let second = buffers.empty(512);
        assert!(second.as_init().is_empty() && second.begin() < ALIGN);
        buffers.put_back(second);
        assert_eq!(buffers.filled(&[2; 4096]).as_init().as_ptr(), place);
        (0..2 * KEPT_MAX).for_each(|_| buffers.put_back(Buffers::default().empty(1)));
        assert_eq!(buffers.0.borrow().len(), KEPT_MAX);
    }

    #[test]
    fn buffer_of_any_length_starts_at_a_page() {
        let buffers = Buffers::default();
        for len in [1, 511, 4096, 4097, 1 << 20] {
            let buffer = buffers.filled(&vec![len as u8; len]);
            assert!(buffer.as_init().as_ptr().addr().is_multiple_of(ALIGN), "{len}");
            assert_eq!(buffer.as_init(), vec![len as u8; len]);
            buffers.put_back(buffer);
        }
    }
}
