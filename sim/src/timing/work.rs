//! What goes in and out of a time model: requests as it sees them, and the trait it implements.

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

impl Work {
    /// One past the last block.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.lba + u64::from(self.blocks)
    }
}

/// A time model: takes requests, says when each completes. Deterministic.
pub trait Timing {
    /// Takes a request at `now_ns`; calls come with non-decreasing `now_ns`.
    fn submit(&mut self, now_ns: u64, work: Work);

    /// The next request to complete, as its id and when it completes, removed from the model;
    /// `None` when idle. The caller moves its clock there. Which queued request is served next is
    /// decided no earlier than the moment at which its service begins.
    fn next_completion(&mut self) -> Option<(u64, u64)>;

    /// Power was cut at `now_ns`: forget every request and all cached state.
    fn power_cut(&mut self, now_ns: u64);

    /// A copy with the same state.
    fn boxed_clone(&self) -> Box<dyn Timing>;
}

/// Completions whose time is known, earliest first; of equal times in the order they were added.
#[derive(Clone, Debug, Default)]
pub(super) struct Completions {
    queue: std::collections::BTreeSet<(u64, u64, u64)>,
    added_count: u64,
}

impl Completions {
    /// Request `id` completes at `at_ns`.
    pub(super) fn push(&mut self, at_ns: u64, id: u64) {
        self.queue.insert((at_ns, self.added_count, id));
        self.added_count += 1;
    }

    /// When the earliest completes.
    pub(super) fn first_ns(&self) -> Option<u64> {
        self.queue.first().map(|&(at_ns, ..)| at_ns)
    }

    /// The earliest, as id and time.
    pub(super) fn pop(&mut self) -> Option<(u64, u64)> {
        self.queue.pop_first().map(|(at_ns, _, id)| (id, at_ns))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

/// Nanoseconds to move `bytes` at `bytes_per_s`.
pub(super) fn transfer_ns(bytes: u64, bytes_per_s: u64) -> u64 {
    (u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_s.max(1))) as u64
}

/// The class a request competes in after waiting: each `step_ns` of waiting makes it one class
/// more urgent, so that nothing starves behind more urgent requests.
pub(super) fn aged_class(class: u8, waited_ns: u64, step_ns: u64) -> u8 {
    class.saturating_sub((waited_ns / step_ns.max(1)).min(255) as u8)
}
