//! One phase of work on one subject, and the figures that came of it.

use hdrhistogram::Histogram;

use crate::subject::{Reading, Subject};

/// What a phase of work came to.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Who did it.
    pub subject: String,
    /// What was done.
    pub work: String,
    /// Operations.
    pub ops: u64,
    /// Bytes of keys and values that the operations brought or fetched.
    pub user_bytes: u64,
    /// Bytes of keys and values that are in the store at its end.
    pub live_bytes: u64,
    /// Device's figures before.
    pub before: Reading,
    /// Device's figures after.
    pub after: Reading,
    /// Nanoseconds of each operation.
    pub latency_ns: Histogram<u64>,
}

impl Phase {
    /// Begins a phase.
    ///
    /// # Panics
    /// Never: the histogram's precision is a legal one.
    #[must_use]
    pub fn begin(subject: &dyn Subject, work: impl Into<String>) -> Self {
        let now = subject.reading();
        Self {
            subject: subject.name().to_owned(),
            work: work.into(),
            ops: 0,
            user_bytes: 0,
            live_bytes: 0,
            before: now,
            after: now,
            latency_ns: Histogram::new(3).expect("three digits are legal"),
        }
    }

    /// Does one operation on `bytes` bytes of keys and values, and notes how long it took.
    pub fn step<T>(
        &mut self,
        subject: &mut dyn Subject,
        bytes: usize,
        op: impl FnOnce(&mut dyn Subject) -> T,
    ) -> T {
        let began = subject.now_ns();
        let result = op(subject);
        self.note(bytes, subject.now_ns() - began);
        result
    }

    /// Notes an operation that took `took_ns`.
    ///
    /// # Panics
    /// If it took centuries.
    pub fn note(&mut self, bytes: usize, took_ns: u64) {
        self.latency_ns.record(took_ns).expect("it grows as needed");
        self.ops += 1;
        self.user_bytes += bytes as u64;
    }

    /// Ends the phase, with so much in the store.
    #[must_use]
    pub fn end(mut self, subject: &dyn Subject, live_bytes: u64) -> Self {
        self.after = subject.reading();
        self.live_bytes = live_bytes;
        self
    }

    /// This phase and a later one of the same work; what was done between them does not count.
    ///
    /// # Panics
    /// Never: both histograms have the same precision.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        self.before.now_ns += later.before.now_ns - self.after.now_ns;
        self.before.reads += later.before.reads - self.after.reads;
        self.before.read_bytes += later.before.read_bytes - self.after.read_bytes;
        self.before.written_bytes += later.before.written_bytes - self.after.written_bytes;
        self.after = later.after;
        self.ops += later.ops;
        self.user_bytes += later.user_bytes;
        self.live_bytes = later.live_bytes;
        self.latency_ns.add(later.latency_ns).expect("the same precision");
        self
    }

    /// How long it took, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.after.now_ns - self.before.now_ns) as f64 / 1e9
    }

    /// Operations a second.
    #[must_use]
    pub fn ops_per_s(&self) -> f64 {
        self.ops as f64 / self.seconds()
    }

    /// Bytes of keys and values a second.
    #[must_use]
    pub fn bytes_per_s(&self) -> f64 {
        self.user_bytes as f64 / self.seconds()
    }

    /// Bytes that the device was given to write.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.after.written_bytes - self.before.written_bytes
    }

    /// Bytes written a byte of keys and values put.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        self.written_bytes() as f64 / self.user_bytes as f64
    }

    /// Bytes of the device that hold something, a byte of keys and values that is in the store.
    #[must_use]
    pub fn space_amplification(&self) -> f64 {
        self.after.occupied_bytes as f64 / self.live_bytes as f64
    }

    /// Reads of the device an operation.
    #[must_use]
    pub fn reads_per_op(&self) -> f64 {
        (self.after.reads - self.before.reads) as f64 / self.ops as f64
    }

    /// The latency that a share of all operations did not exceed, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, share: f64) -> f64 {
        self.latency_ns.value_at_quantile(share) as f64 / 1e6
    }

    /// The longest operation, in milliseconds.
    #[must_use]
    pub fn longest_ms(&self) -> f64 {
        self.latency_ns.max() as f64 / 1e6
    }
}
