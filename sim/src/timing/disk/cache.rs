//! The volatile write cache: which blocks wait to be put on media.
//!
//! Extents are kept as they were written, by first block. Those that touch form a *run*, which the
//! arm writes without a pause.

use std::collections::BTreeMap;

/// Most runs the arm chooses among, from its place on upwards.
const RUN_COUNT_MAX: usize = 64;
/// Most extents looked at to find them.
const LOOK_COUNT_MAX: usize = 8192;

/// An extent that is in the cache only.
#[derive(Clone, Copy, Debug)]
struct Dirty {
    end: u64,
    seq: u64,
    since_ns: u64,
}

/// Dirty extents, disjoint.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteCache {
    extents: BTreeMap<u64, Dirty>,
    blocks: u64,
    written_seq: u64,
}

impl WriteCache {
    pub(super) fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Blocks that are in the cache only.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The sequence number of the latest write.
    pub(super) fn seq(&self) -> u64 {
        self.written_seq
    }

    /// Takes `[start, end)` at `since_ns`, replacing what was there.
    pub(super) fn insert(&mut self, start: u64, end: u64, since_ns: u64) {
        self.remove(start, end, u64::MAX);
        self.written_seq += 1;
        let seq = self.written_seq;
        self.extents.insert(start, Dirty { end, seq, since_ns });
        self.blocks += end - start;
    }

    /// Drops what is in `[start, end)` and not younger than `seq_max`.
    pub(super) fn remove(&mut self, start: u64, end: u64, seq_max: u64) {
        let before = self.extents.range(..start).next_back();
        let from = before.map_or(start, |(&first, _)| first);
        let touched = self.extents.range(from..end.max(from));
        let touched = touched.filter(|(_, dirty)| dirty.end > start && dirty.seq <= seq_max);
        let touched: Vec<(u64, Dirty)> = touched.map(|(&first, &dirty)| (first, dirty)).collect();
        for (first, dirty) in touched {
            self.extents.remove(&first);
            self.blocks -= dirty.end.min(end) - first.max(start);
            if first < start {
                self.extents.insert(first, Dirty { end: start, ..dirty });
            }
            if dirty.end > end {
                self.extents.insert(end, dirty);
            }
        }
    }

    /// Whether all of `[start, end)` is in the cache.
    pub(super) fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        let before = self.extents.range(..=start).next_back().map_or(start, |(&first, _)| first);
        for (&first, dirty) in self.extents.range(before..end) {
            if first > at {
                return false;
            }
            at = at.max(dirty.end);
        }
        at >= end
    }

    /// Whether nothing up to `seq` is dirty.
    pub(super) fn is_clean_to(&self, seq: u64) -> bool {
        self.extents.values().all(|dirty| dirty.seq > seq)
    }

    /// The end of the run that begins at `start`, at most `limit`; `None` if `start` is clean.
    pub(super) fn run_end(&self, start: u64, limit: u64) -> Option<u64> {
        let mut at = start;
        for (&first, dirty) in self.extents.range(start..limit.max(start + 1)) {
            if first != at {
                break;
            }
            at = dirty.end;
        }
        (at > start).then_some(at.min(limit.max(start)))
    }

    /// First blocks of runs from `from` upwards, going round at the end; only runs with something
    /// not younger than `seq_max` at their first extent.
    pub(super) fn runs(&self, from: u64, seq_max: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let upper = self.extents.range(from..);
        let lower = self.extents.range(..from);
        let mut previous = None;
        for (&first, dirty) in upper.chain(lower).take(LOOK_COUNT_MAX) {
            let starts = previous != Some((first, true));
            let wanted = dirty.seq <= seq_max;
            if wanted && starts {
                found.push(first);
                if found.len() == RUN_COUNT_MAX {
                    break;
                }
            }
            previous = Some((dirty.end, wanted));
        }
        found
    }

    /// The first block of the oldest extent, if that came before `limit_ns`.
    pub(super) fn older_than(&self, limit_ns: u64) -> Option<u64> {
        let (&first, oldest) = self.extents.iter().min_by_key(|(_, dirty)| dirty.seq)?;
        (oldest.since_ns < limit_ns).then_some(first)
    }

    /// Power was cut.
    pub(super) fn clear(&mut self) {
        self.extents.clear();
        self.blocks = 0;
    }
}
