//! What the reference device is like, and what it remembers.

use shingle_hal::{Geometry, Lba, ZoneCondition, ZoneType};

/// What the reference device is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) geometry: Geometry,
    /// The first zones are conventional.
    pub(crate) conventional: u32,
    /// Capacity of sequential zones.
    pub(crate) capacity: u32,
    pub(crate) read_only: Option<u32>,
    pub(crate) offline: Option<u32>,
    /// Whether reads of unwritten blocks succeed.
    pub(crate) read_unwritten: bool,
    pub(crate) lag: u32,
    pub(crate) seed: u64,
}

impl Shape {
    /// Twelve zones of sixteen blocks, two of them conventional, no limits.
    pub(crate) const PLAIN: Self = Self {
        geometry: Geometry {
            block_len_bytes: 512,
            zone_count: 12,
            zone_blocks: 16,
            open_zones_max: None,
            active_zones_max: None,
            transfer_blocks_max: 6,
            buffer_align_bytes: 1,
            element_count: 2,
        },
        conventional: 2,
        capacity: 16,
        read_only: None,
        offline: None,
        read_unwritten: true,
        lag: 0,
        seed: 1,
    };

    /// One with every feature a check could want.
    pub(crate) const RICH: Self = Self {
        geometry: Geometry {
            open_zones_max: Some(3),
            active_zones_max: Some(5),
            ..Self::PLAIN.geometry
        },
        capacity: 13,
        read_only: Some(10),
        offline: Some(11),
        ..Self::PLAIN
    };
}

/// One zone.
#[derive(Clone)]
pub(crate) struct Zone {
    pub(crate) zone_type: ZoneType,
    pub(crate) condition: ZoneCondition,
    pub(crate) pointer: u32,
    /// Blocks written by the host; less than the pointer in a finished zone.
    pub(crate) written: u32,
    pub(crate) capacity: u32,
    pub(crate) data: Vec<u8>,
    /// When it was opened: the implicitly open zone opened longest ago is closed first.
    pub(crate) opened: u64,
    pub(crate) reset_since_sync: bool,
}

pub(crate) struct State {
    pub(crate) zones: Vec<Zone>,
    /// What is on media.
    pub(crate) durable: Vec<Zone>,
    pub(crate) rng: u64,
    pub(crate) clock: u64,
    pub(crate) leaked_open: u32,
    pub(crate) leaked_active: u32,
    pub(crate) in_flight: u32,
    pub(crate) last_read: Lba,
    pub(crate) writes: u32,
    pub(crate) dirty: bool,
    pub(crate) forgets: bool,
    pub(crate) cycles: u32,
}
