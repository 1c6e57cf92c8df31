//! What a plan did: how often each kind, and what was hit where.

use std::fmt;

use shingle_hal::Extent;

use super::plan::{FaultKind, KINDS};

/// How many faults of each kind struck since the plan was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    counts: [u64; KINDS.len()],
}

impl FaultCounts {
    /// Those of `kind`.
    #[must_use]
    pub const fn of(&self, kind: FaultKind) -> u64 {
        self.counts[kind as usize]
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Takes on the faults of another drive.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    pub(crate) const fn count(&mut self, kind: FaultKind) {
        self.counts[kind as usize] += 1;
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let struck = FaultKind::all().filter(|kind| self.of(*kind) > 0);
        let list: Vec<_> = struck.map(|kind| format!("{} {kind}", self.of(kind))).collect();
        match list.is_empty() {
            true => f.write_str("no faults"),
            false => f.write_str(&list.join(", ")),
        }
    }
}

/// Something was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultHit {
    /// By what.
    pub kind: FaultKind,
    /// Where: the blocks that are no longer what the request made them; of what hits no blocks,
    /// those of the request or zone, or none.
    pub extent: Extent,
    /// At the request of this number, counted as the plan counts.
    pub request: u64,
}

impl fmt::Display for FaultHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, request {}", self.kind, self.extent, self.request)
    }
}
