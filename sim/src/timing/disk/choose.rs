//! What the arm does next, decided when it is free.
//!
//! 1. A request that waited for the age limit goes first, the oldest of them.
//! 2. Otherwise the lowest class, waiting counted in its favour ([`aged_class`]).
//! 3. Within a class, what the arm reaches soonest: shortest positioning time first.
//!
//! Destaging the cache takes part with the class of the most urgent write or sync that waits for
//! it, or as maintenance if the cache is merely filling; unpressed, it waits for an idle arm. In
//! one class neither reads nor destaging may keep the other out: they take turns.
//!
//! A run of one stream is destaged for as long as the specification says before another gets its
//! turn, in steps short enough that an urgent read need not wait for all of it.

use super::model::Disk;
use crate::timing::Op;
use crate::timing::work::aged_class;

/// Bytes of a destage after which the arm may turn to something else.
const STEP_BYTES: u64 = 1 << 20;
/// Reads that may pass waiting writes of their class in a row.
const READS_IN_A_ROW_MAX: u32 = 4;
/// How much longer than a request cached data may wait.
const CACHE_AGE_FACTOR: u64 = 4;
/// The class of destaging for which nobody waits yet.
const PRESSURE_CLASS: u8 = 2;

/// A request the arm could take.
struct Candidate {
    index: usize,
    class: u8,
    overdue: bool,
    delay_ns: u64,
}

impl Disk {
    /// The arm is free at `at_ns`: takes the next operation up, if there is one.
    pub(super) fn begin_next(&mut self, at_ns: u64) {
        let read = self.choose_queued(at_ns);
        let Some((start, end, delay_ns)) = self.choose_destage(at_ns, read.is_some()) else {
            if let Some(read) = read {
                self.begin_queued(at_ns, read.index);
            }
            return;
        };
        match read {
            Some(read) if self.is_read_first(at_ns, &read, delay_ns) => {
                self.begin_queued(at_ns, read.index);
            }
            _ => self.begin_destage(at_ns, start, end),
        }
    }

    fn is_read_first(&self, at_ns: u64, read: &Candidate, destage_delay_ns: u64) -> bool {
        let destage_class = self.destage_class(at_ns);
        if read.overdue || read.class != destage_class {
            return read.overdue || read.class < destage_class;
        }
        match self.reads_since_destage {
            0 => true,
            count if count >= READS_IN_A_ROW_MAX => false,
            _ => read.delay_ns <= destage_delay_ns,
        }
    }

    /// The class in which destaging competes.
    fn destage_class(&self, at_ns: u64) -> u8 {
        let aged = |class: u8, since_ns: u64| {
            aged_class(class, at_ns.saturating_sub(since_ns), self.age_step_ns())
        };
        let writes = self.writes.iter().map(|waiting| aged(waiting.work.class, waiting.ready_ns));
        let syncs = self.syncs.iter().map(|sync| aged(sync.work.class, sync.ready_ns));
        writes.chain(syncs).min().unwrap_or(PRESSURE_CLASS)
    }

    /// Two classes are made good in the age limit.
    fn age_step_ns(&self) -> u64 {
        u64::from(self.spec.age_us_max) * 1000 / 2
    }

    /// The queued request to serve first.
    fn choose_queued(&self, at_ns: u64) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        for index in self.visible(at_ns) {
            if self.is_behind_in_zone(index) {
                continue;
            }
            let waiting = &self.queue[index];
            let waited_ns = at_ns - waiting.ready_ns;
            if waited_ns >= u64::from(self.spec.age_us_max) * 1000 {
                let (class, delay_ns) = (0, 0);
                return Some(Candidate { index, class, overdue: true, delay_ns });
            }
            let class = aged_class(waiting.work.class, waited_ns, self.age_step_ns());
            if best.as_ref().is_some_and(|best| best.class < class) {
                continue;
            }
            let delay_ns = self.delay_ns(at_ns, index);
            let better =
                best.as_ref().is_none_or(|best| (class, delay_ns) < (best.class, best.delay_ns));
            if better {
                best = Some(Candidate { index, class, overdue: false, delay_ns });
            }
        }
        // Should the drive see only writes that must wait for one it does not see, that one goes.
        best.or_else(|| {
            let index = self.queue.iter().position(|waiting| waiting.ready_ns <= at_ns)?;
            let (class, delay_ns) = (self.queue[index].work.class, 0);
            Some(Candidate { index, class, overdue: false, delay_ns })
        })
    }

    /// Indexes of the requests the drive has been given, in order of arrival: all, or the most
    /// urgent as far as its queue goes.
    fn visible(&self, at_ns: u64) -> Vec<usize> {
        let ready = |index: &usize| self.queue[*index].ready_ns <= at_ns;
        let mut indexes: Vec<usize> = (0..self.queue.len()).filter(ready).collect();
        let depth = self.spec.queue_depth.max(1) as usize;
        if indexes.len() > depth {
            indexes.sort_by_key(|&index| self.queue[index].work.class);
            indexes.truncate(depth);
            indexes.sort_unstable();
        }
        indexes
    }

    /// Whether an earlier write to the same zone is still queued before this write.
    fn is_behind_in_zone(&self, index: usize) -> bool {
        let work = &self.queue[index].work;
        let zone = self.arm.layout.zone_of(work.lba);
        work.op == Op::Write
            && self.queue[..index].iter().any(|earlier| {
                earlier.work.op == Op::Write && self.arm.layout.zone_of(earlier.work.lba) == zone
            })
    }

    fn delay_ns(&self, at_ns: u64, index: usize) -> u64 {
        let work = &self.queue[index].work;
        let (start, end) = (work.lba, work.end());
        if work.op == Op::Write {
            return self.arm.write_delay_ns(at_ns, start);
        }
        match self.ahead.stream_end_ns(&self.arm, at_ns, start, end) {
            Some(end_ns) => (end_ns - at_ns).saturating_sub(self.arm.layout.sweep_ns(start, end)),
            None => self.arm.read_delay_ns(at_ns, self.ahead.media_start(start, end)),
        }
    }

    /// The extent to destage next and how long the arm takes to come to it.
    fn choose_destage(&self, at_ns: u64, reads_wait: bool) -> Option<(u64, u64, u64)> {
        if self.cache.is_empty() {
            return None;
        }
        if !self.is_pressed() && (reads_wait || at_ns < self.idle_destage_ns()) {
            return None;
        }
        let seq_max = self.syncs.iter().map(|sync| sync.seq).max().unwrap_or(u64::MAX);
        let here = self.arm.lba();
        let runs = self.cache.runs(here, seq_max);
        let run_blocks_max = self.spec.destage_run_bytes / self.block_len_bytes;
        let first = runs.first().copied().or_else(|| self.cache.older_than(u64::MAX))?;
        let start = if first == here && self.run_blocks < run_blocks_max {
            first
        } else if let Some(old) = self.cache.older_than(self.age_limit_ns(at_ns)) {
            old
        } else {
            let elsewhere = runs.iter().copied().filter(|&start| start != here);
            let nearest = elsewhere.min_by_key(|&start| self.arm.write_delay_ns(at_ns, start));
            nearest.unwrap_or(first)
        };
        let step_blocks = (STEP_BYTES / self.block_len_bytes).max(1);
        let end = self.cache.run_end(start, start + step_blocks)?;
        Some((start, end, self.arm.write_delay_ns(at_ns, start)))
    }

    /// What was cached before this is destaged first: nobody waits for it, so it may wait longer
    /// than a request.
    fn age_limit_ns(&self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(CACHE_AGE_FACTOR * u64::from(self.spec.age_us_max) * 1000)
    }
}
