//! What a device is: sizes and limits that do not change while it is in use.

use crate::error::ErrorKind;
use crate::zone::{BlockCount, Extent, Lba, ZoneId};

/// Sizes and limits of a device.
///
/// Zone `z` covers `[z · zone_blocks, (z + 1) · zone_blocks)`; the last zone may be cut short by
/// its capacity. What can change (conditions, write pointers, capacity after a reset) is in the
/// zone report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Geometry {
    /// Bytes of the smallest readable and writable unit; a power of two from 64 to 65 536. Writes
    /// of one block are atomic with respect to power loss or leave a block whose read fails or
    /// returns bytes the writer can tell from what it wrote.
    pub block_len_bytes: u32,
    /// Number of zones.
    pub zone_count: u32,
    /// Zone size: the distance in blocks between the starts of neighbouring zones.
    pub zone_blocks: u32,
    /// Most zones in an open condition at once; `None` is no limit.
    pub open_zones_max: Option<u32>,
    /// Most zones open or closed at once; `None` is no limit. At least `open_zones_max`.
    pub active_zones_max: Option<u32>,
    /// Most blocks in one read or write; at least 1.
    pub transfer_blocks_max: u32,
    /// Buffers must start at a multiple of this address; 1 is no demand.
    pub buffer_align_bytes: u32,
    /// Number of storage elements; at least 1.
    pub element_count: u16,
}

impl Geometry {
    /// First block of `zone`.
    #[must_use]
    pub const fn zone_start(&self, zone: ZoneId) -> Lba {
        Lba(zone.0 as u64 * self.zone_blocks as u64)
    }

    /// The zone that holds `lba`.
    #[must_use]
    pub const fn zone_of(&self, lba: Lba) -> ZoneId {
        ZoneId((lba.0 / self.zone_blocks as u64) as u32)
    }

    /// One past the last block of the device.
    #[must_use]
    pub const fn end(&self) -> Lba {
        Lba(self.zone_count as u64 * self.zone_blocks as u64)
    }

    /// Whether `extent` lies on the device and in one zone.
    #[must_use]
    pub const fn in_one_zone(&self, extent: Extent) -> bool {
        extent.count.0 > 0
            && extent.end().0 <= self.end().0
            && self.zone_of(extent.start).0 == self.zone_of(Lba(extent.end().0 - 1)).0
    }

    /// The extent of a transfer of `len_bytes` at `start`, if the device may be asked for it: what
    /// every device refuses without looking at a zone. Capacity and write pointer are not checked.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for a length that is zero, not a multiple of
    /// the block, or over the maximum transfer; [`OutOfDevice`](ErrorKind::OutOfDevice);
    /// [`CrossesZone`](ErrorKind::CrossesZone).
    pub const fn transfer(&self, start: Lba, len_bytes: usize) -> Result<Extent, ErrorKind> {
        let block_len = self.block_len_bytes as usize;
        let blocks = len_bytes / block_len;
        if blocks == 0
            || !len_bytes.is_multiple_of(block_len)
            || blocks > self.transfer_blocks_max as usize
        {
            return Err(ErrorKind::InvalidRequest);
        }
        let left = self.end().0.saturating_sub(start.0);
        if blocks as u64 > left {
            return Err(ErrorKind::OutOfDevice);
        }
        let extent = Extent { start, count: BlockCount(blocks as u32) };
        if self.in_one_zone(extent) { Ok(extent) } else { Err(ErrorKind::CrossesZone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry {
        block_len_bytes: 512,
        zone_count: 3,
        zone_blocks: 8,
        open_zones_max: None,
        active_zones_max: None,
        transfer_blocks_max: 4,
        buffer_align_bytes: 1,
        element_count: 1,
    };

    #[test]
    fn transfer_in_one_zone_is_its_extent() {
        assert_eq!(GEOMETRY.transfer(Lba(0), 512), Ok(Extent::new(Lba(0), 1)));
        assert_eq!(GEOMETRY.transfer(Lba(12), 2048), Ok(Extent::new(Lba(12), 4)));
        assert_eq!(GEOMETRY.transfer(Lba(23), 512), Ok(Extent::new(Lba(23), 1)));
    }

    #[test]
    fn transfer_of_wrong_length_is_invalid() {
        for len_bytes in [0, 1, 511, 513, 2560, usize::MAX] {
            let seen = GEOMETRY.transfer(Lba(0), len_bytes);
            assert_eq!(seen, Err(ErrorKind::InvalidRequest), "{len_bytes}");
        }
    }

    #[test]
    fn transfer_over_an_end_is_refused() {
        assert_eq!(GEOMETRY.transfer(Lba(7), 1024), Err(ErrorKind::CrossesZone));
        for start in [23, 24, 25, u64::MAX / 512, u64::MAX] {
            let seen = GEOMETRY.transfer(Lba(start), 1024);
            assert_eq!(seen, Err(ErrorKind::OutOfDevice), "{start}");
        }
    }
}
