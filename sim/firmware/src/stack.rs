//! How deep the stack went: what lies below it is painted, and looked at again later.

use core::ptr;

/// Bytes that are painted at most: static memory is left alone.
const PAINTED_LEN: usize = 160 << 10;
/// Bytes below the caller's frame that are left alone, for the frames of this module.
const SPARED_LEN: usize = 512;
const PAINT: u32 = 0xa5c3_96f0;

unsafe extern "C" {
    /// The end of static memory, below the stack: each board's start-up code has it.
    static __ebss: u32;
}

/// Painted memory below the stack.
pub(crate) struct Painted {
    low: *mut u32,
    high: *mut u32,
    from: usize,
}

impl Painted {
    /// Paints what lies below the frame of the caller.
    ///
    /// # Safety
    /// Nothing lives between static memory and the stack.
    #[inline(never)]
    pub(crate) unsafe fn new() -> Self {
        let mark = 0_u32;
        let from = (&raw const mark).addr() & !7;
        let floor = (&raw const __ebss).addr().next_multiple_of(8);
        let low = ptr::with_exposed_provenance_mut::<u32>(floor.max(from - PAINTED_LEN));
        let high = ptr::with_exposed_provenance_mut::<u32>(from - SPARED_LEN);
        let mut at = low;
        while at < high {
            // SAFETY: the caller says that nothing lives there; the address is a multiple of 4.
            unsafe { at.write_volatile(PAINT) };
            at = at.wrapping_add(1);
        }
        Self { low, high, from }
    }

    /// Bytes of the stack that were used since, at most; `None` if all that was painted was.
    pub(crate) fn used_len(&self) -> Option<usize> {
        let mut at = self.low;
        // SAFETY: as above.
        while at < self.high && unsafe { at.read_volatile() } == PAINT {
            at = at.wrapping_add(1);
        }
        (at > self.low).then(|| self.from - at.addr())
    }
}
