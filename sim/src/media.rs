//! What a simulated drive is made of: sizes, limits and the parameters of its time model.

use serde::{Deserialize, Serialize};

use crate::timing::TimingSpec;

/// The family of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    /// Host-managed shingled disk.
    Smr,
    /// Conventional disk, seen as zones without write pointers.
    Conventional,
    /// Zoned-namespace SSD.
    Zns,
    /// NOR flash; a zone is one or more erase blocks, written in order.
    Nor,
}

/// A drive model, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaSpec {
    /// The name it is selected by.
    pub name: String,
    /// Its family.
    pub kind: MediaKind,
    /// Bytes of a block.
    pub block_len_bytes: u32,
    /// Number of zones.
    pub zone_count: u32,
    /// Zone size in blocks.
    pub zone_blocks: u32,
    /// Zone capacity in blocks; at most the size.
    pub zone_capacity_blocks: u32,
    /// How many zones at the start of the device are conventional.
    pub conventional_zone_count: u32,
    /// Open limit.
    pub open_zones_max: Option<u32>,
    /// Active limit.
    pub active_zones_max: Option<u32>,
    /// Most blocks in one request.
    pub transfer_blocks_max: u32,
    /// Storage elements.
    pub element_count: u16,
    /// The time model and its parameters.
    pub timing: TimingSpec,
}

impl MediaSpec {
    /// The storage element of `zone`: runs of neighbouring zones share a surface, surfaces take
    /// turns from the outer edge inwards.
    #[must_use]
    pub fn element_of(&self, zone: u32) -> u16 {
        (zone % u32::from(self.element_count.max(1))) as u16
    }
}
