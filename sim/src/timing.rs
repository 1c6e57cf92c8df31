//! Service times: when a request that a drive was given completes, in virtual time.

use serde::{Deserialize, Serialize};

/// Parameters of a time model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TimingSpec {
    /// Every request completes at once: for tests of logic alone.
    Instant,
}

/// What a request asks of the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read blocks.
    Read,
    /// Write blocks.
    Write,
    /// Make everything durable.
    Sync,
    /// Erase or reset a zone; `lba` is its first block.
    Reset,
    /// Finish a zone; `lba` is its write pointer, `blocks` what is left to its capacity.
    Finish,
    /// Report, open, close: no media access.
    Control,
}

/// A request as the time model sees it.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Chosen by the drive, unique among requests in flight.
    pub id: u64,
    /// What it asks.
    pub op: Op,
    /// First block.
    pub lba: u64,
    /// Number of blocks.
    pub blocks: u32,
    /// 0 is most urgent (`shingle_hal::Class`).
    pub class: u8,
    /// A read of blocks that were never written.
    pub unwritten: bool,
}

/// A time model: takes requests, says when each completes. Deterministic.
pub trait Timing {
    /// Takes a request at `now_ns`; calls come with non-decreasing `now_ns`.
    fn submit(&mut self, now_ns: u64, work: Work);

    /// The next request to complete and when, removed from the model; `None` when idle. The caller
    /// moves its clock there. Which queued request is served next is decided no earlier than the
    /// moment at which its service begins.
    fn next_completion(&mut self) -> Option<(u64, u64)>;

    /// Power was cut at `now_ns`: forget every request and all cached state.
    fn power_cut(&mut self, now_ns: u64);

    /// A copy with the same state.
    fn boxed_clone(&self) -> Box<dyn Timing>;
}
