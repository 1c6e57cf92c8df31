//! Parameters of the time models: numbers that a data sheet or a measurement gives.
//!
//! Values for real drives, with where each comes from, are in [`crate::media::preset`].

use serde::{Deserialize, Serialize};

use super::Timing;
use super::disk::Disk;
use super::instant::Instant;
use super::nor::Nor;
use super::zns::Zns;
use crate::media::MediaSpec;

/// A time model and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimingSpec {
    /// Every request completes at once: for tests of logic alone.
    Instant,
    /// A rotating disk, shingled or conventional.
    Disk(DiskTiming),
    /// Flash dies behind channels.
    Zns(ZnsTiming),
    /// A serial NOR chip.
    Nor(NorTiming),
}

impl TimingSpec {
    /// A model with these parameters over the geometry of `media`, idle at time 0.
    #[must_use]
    pub fn build(&self, media: &MediaSpec) -> Box<dyn Timing> {
        match self {
            Self::Instant => Box::new(Instant::default()),
            Self::Disk(spec) => Box::new(Disk::new(spec, media)),
            Self::Zns(spec) => Box::new(Zns::new(spec, media)),
            Self::Nor(spec) => Box::new(Nor::new(spec, media)),
        }
    }
}

/// A rotating disk: mechanics, link, cache and scheduling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskTiming {
    /// Revolutions per minute.
    pub rpm: u32,
    /// Rate under the head on the outermost track, in bytes per second of reading, track switches
    /// not counted.
    pub outer_rate_bytes_per_s: u64,
    /// Rate on the innermost track in thousandths of the outermost; falls linearly with radius.
    pub inner_rate_permille: u32,
    /// From the end of a track to the start of the next, which is skewed by as much.
    pub track_switch_us: u32,
    /// From a track to the start of the next zone, on another surface; the skew between zones.
    pub head_switch_us: u32,
    /// Shortest seek, settling included.
    pub seek_min_us: u32,
    /// Seek over a third of the stroke: the mean of random seeks.
    pub seek_third_us: u32,
    /// Seek over the whole stroke.
    pub seek_full_us: u32,
    /// What a write settles longer than a read.
    pub write_settle_us: u32,
    /// Added when the arm comes to write another sequential zone than it wrote last: taking up
    /// the shingled stream and noting its write pointer.
    pub stream_switch_us: u32,
    /// Controller time of a command, on the link.
    pub command_us: u32,
    /// Least time between the acceptance of two write commands.
    pub write_command_us: u32,
    /// Controller time of open, close, finish, reset and report.
    pub zone_command_us: u32,
    /// Rate of the host link.
    pub host_bytes_per_s: u64,
    /// Rate at which a read of unwritten blocks is answered, without media access.
    pub fill_bytes_per_s: u64,
    /// Volatile write cache; 0 is none, and writes then complete on media.
    pub cache_bytes: u64,
    /// How much of one stream is destaged before another gets its turn.
    pub destage_run_bytes: u64,
    /// How long the arm must have been without reads before the cache is destaged unforced.
    pub destage_delay_us: u32,
    /// Read-ahead behind each sequential read stream.
    pub ahead_bytes: u64,
    /// Read streams of which the buffer keeps the last piece.
    pub segment_count: u32,
    /// Requests the drive chooses among; later ones wait in the host by class and order.
    pub queue_depth: u32,
    /// A request that waited this long is served next, whatever the arm would prefer.
    pub age_us_max: u32,
}

/// A ZNS SSD: dies, channels, link, write buffers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZnsTiming {
    /// Channels.
    pub channel_count: u32,
    /// Dies (LUNs) on each channel.
    pub dies_per_channel: u32,
    /// Dies a zone is striped over; at most all.
    pub dies_per_zone: u32,
    /// Bytes a read senses at once.
    pub page_bytes: u32,
    /// Bytes programmed at once: the stripe unit of a zone.
    pub program_bytes: u32,
    /// Sensing a page of which at most 4 KiB are wanted.
    pub read_4k_ns: u32,
    /// Sensing a page.
    pub read_ns: u32,
    /// Programming one unit.
    pub program_ns: u32,
    /// Erasing the blocks of a zone on one die.
    pub erase_ns: u32,
    /// Rate of a channel.
    pub channel_bytes_per_s: u64,
    /// Rate of the host link.
    pub host_bytes_per_s: u64,
    /// Firmware time of a read command.
    pub command_read_ns: u32,
    /// Firmware time of any other command.
    pub command_write_ns: u32,
    /// Write buffer of each zone in program units.
    pub buffer_units_per_zone: u32,
    /// Whether the write buffer survives a power cut, so that a sync need not program it.
    pub buffer_protected: bool,
    /// Waiting this long makes a request one class more urgent.
    pub age_step_us: u32,
}

/// A serial NOR flash chip: one operation at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NorTiming {
    /// Command, address and dummy cycles of an operation.
    pub command_ns: u32,
    /// Rate of reading and of loading data to program.
    pub bus_bytes_per_s: u64,
    /// Bytes programmed at once.
    pub page_bytes: u32,
    /// Programming a page.
    pub program_ns: u32,
    /// Bytes erased at once.
    pub erase_block_bytes: u32,
    /// Erasing an erase block.
    pub erase_ns: u64,
    /// Time from a suspend command until an erase gives way to a read; `None` where the chip
    /// cannot suspend.
    pub suspend_ns: Option<u32>,
    /// Waiting this long makes a request one class more urgent.
    pub age_step_us: u32,
}
