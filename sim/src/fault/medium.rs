//! What a rule needs to know of the medium before it strikes.

use shingle_hal::{Geometry, Lba};

/// The pristine medium, as it is without faults of blocks.
pub(crate) trait Medium {
    /// Sizes and limits.
    fn geometry(&self) -> Geometry;

    /// The storage element of `zone`.
    fn element_of(&self, zone: u32) -> u16;

    /// What the block holds; `None` if it was never written or cannot be read.
    fn block(&self, lba: Lba) -> Option<Vec<u8>>;

    /// Whether `zone` can still be written.
    fn is_usable(&self, zone: u32) -> bool;

    /// Whether `element` is slow already.
    fn is_slow(&self, element: u16) -> bool;

    /// Whether `element` is lost already.
    fn is_lost(&self, element: u16) -> bool;
}
