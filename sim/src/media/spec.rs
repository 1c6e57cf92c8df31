//! A drive model: geometry, limits and time model, and the checks that it makes sense.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::timing::TimingSpec;

/// Fewest zones of a drive.
pub const ZONE_COUNT_MIN: u32 = 4;
/// Fewest blocks of a zone's capacity.
pub const ZONE_CAPACITY_BLOCKS_MIN: u32 = 4;

/// The family of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// The storage element of `zone`: neighbouring zones lie on different surfaces, and surfaces
    /// take turns from the outer edge inwards.
    #[must_use]
    pub fn element_of(&self, zone: u32) -> u16 {
        (zone % u32::from(self.element_count.max(1))) as u16
    }

    /// Bytes that can be written when every zone is full.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.zone_count) * self.zone_capacity_bytes()
    }

    /// Bytes that can be written to one zone.
    #[must_use]
    pub fn zone_capacity_bytes(&self) -> u64 {
        u64::from(self.zone_capacity_blocks) * u64::from(self.block_len_bytes)
    }

    /// Checks that the figures fit together.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), MediaError> {
        let smr_or_zns = matches!(self.kind, MediaKind::Smr | MediaKind::Zns);
        let limits = self.open_zones_max.zip(self.active_zones_max);
        let rules = [
            (
                self.block_len_bytes.is_power_of_two()
                    && (64..=65_536).contains(&self.block_len_bytes),
                "the block must be a power of two from 64 to 65536 bytes",
            ),
            (self.zone_count >= ZONE_COUNT_MIN, "there must be at least 4 zones"),
            (
                self.zone_capacity_blocks >= ZONE_CAPACITY_BLOCKS_MIN,
                "a zone must hold at least 4 blocks",
            ),
            (
                self.zone_capacity_blocks <= self.zone_blocks,
                "the zone capacity must not exceed the zone size",
            ),
            (
                self.conventional_zone_count <= self.zone_count,
                "there cannot be more conventional zones than zones",
            ),
            (
                !smr_or_zns || self.conventional_zone_count < self.zone_count,
                "a zoned drive must have a sequential zone",
            ),
            (
                self.open_zones_max != Some(0) && self.active_zones_max != Some(0),
                "a limit on open or active zones must be at least 1",
            ),
            (
                limits.is_none_or(|(open, active)| open <= active),
                "the open limit must not exceed the active limit",
            ),
            (self.transfer_blocks_max >= 1, "a request must hold at least one block"),
            (self.element_count >= 1, "there must be at least one storage element"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(MediaError::Rule(rule)),
            None => Ok(()),
        }
    }
}

/// Why a text names no drive. Prints as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaError {
    /// There is no such drive.
    UnknownMedia(String),
    /// There is no such setting.
    UnknownSetting(String),
    /// A setting without a value, or with one that is not a number in its range.
    BadValue {
        /// The setting.
        setting: String,
        /// What stood there.
        value: String,
    },
    /// The figures do not fit together; the rule they break.
    Rule(&'static str),
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMedia(name) => {
                let names = MediaSpec::names().join(", ");
                write!(f, "unknown media `{name}`; known are {names}")
            }
            Self::UnknownSetting(setting) => {
                let settings = super::text::SETTINGS.join(", ");
                write!(f, "unknown media setting `{setting}`; known are {settings}")
            }
            Self::BadValue { setting, value } => {
                write!(f, "media setting `{setting}` cannot be `{value}`")
            }
            Self::Rule(rule) => write!(f, "this media makes no sense: {rule}"),
        }
    }
}

impl std::error::Error for MediaError {}
