//! The disk as a sequence of events.
//!
//! There are two kinds: the arm ends an operation, and the arm, being free, takes up the next. The
//! latter is put off until everything that may be submitted before its instant has been: events
//! strictly before an instant are played when a request is submitted at it, and
//! [`next_completion`](Timing::next_completion) plays none at or after a completion it can return.
//!
//! Invariants:
//! - D1: no event is played at an earlier instant than the last one.
//! - D2: a write waits for room only while the cache is too full for it and not empty.
//! - D3: writes to one zone complete in the order of their submission.

use super::ahead::ReadAhead;
use super::arm::Arm;
use super::cache::WriteCache;
use crate::media::MediaSpec;
use crate::timing::work::{Completions, transfer_ns};
use crate::timing::{DiskTiming, Op, Timing, Work};

/// The cache is destaged even before reads of lower urgency when more than this is dirty.
const PRESSURE_DIVISOR: u64 = 2;

/// A request that waits for the arm or for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub work: Work,
    /// When the controller had taken the command.
    pub ready_ns: u64,
}

/// A sync that waits for what was cached before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingSync {
    pub work: Work,
    pub ready_ns: u64,
    /// The latest write it covers.
    pub seq: u64,
}

/// What the arm is doing.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Read(Work),
    WriteThrough(Work),
    Destage { start: u64, end: u64, seq: u64 },
}

/// The time model of a rotating disk.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(super) spec: DiskTiming,
    pub(super) block_len_bytes: u64,
    pub(super) arm: Arm,
    pub(super) cache: WriteCache,
    pub(super) ahead: ReadAhead,
    /// Requests for the arm, in order of arrival.
    pub(super) queue: Vec<Waiting>,
    /// Writes that wait for room in the cache, in order of arrival.
    pub(super) writes: Vec<Waiting>,
    pub(super) syncs: Vec<WaitingSync>,
    done: Completions,
    clock_ns: u64,
    arm_free_ns: u64,
    link_free_ns: u64,
    write_gate_ns: u64,
    dirty_since_ns: u64,
    read_end_ns: u64,
    doing: Option<(u64, Doing)>,
    /// Blocks destaged without a pause so far.
    pub(super) run_blocks: u64,
    /// Reads served since the arm last destaged.
    pub(super) reads_since_destage: u32,
}

impl Disk {
    /// An idle disk at time 0, its arm at the outer edge.
    #[must_use]
    pub fn new(spec: &DiskTiming, media: &MediaSpec) -> Self {
        let block_len_bytes = u64::from(media.block_len_bytes);
        let window_blocks = spec.ahead_bytes / block_len_bytes;
        Self {
            spec: spec.clone(),
            block_len_bytes,
            arm: Arm::new(spec, media),
            cache: WriteCache::default(),
            ahead: ReadAhead::new(window_blocks, spec.segment_count as usize),
            queue: Vec::new(),
            writes: Vec::new(),
            syncs: Vec::new(),
            done: Completions::default(),
            clock_ns: 0,
            arm_free_ns: 0,
            link_free_ns: 0,
            write_gate_ns: 0,
            dirty_since_ns: 0,
            read_end_ns: 0,
            doing: None,
            run_blocks: 0,
            reads_since_destage: 0,
        }
    }

    /// Whether the cache must be destaged without regard to reads of lower urgency.
    pub(super) fn is_pressed(&self) -> bool {
        let cache_blocks = self.spec.cache_bytes / self.block_len_bytes;
        !self.syncs.is_empty()
            || !self.writes.is_empty()
            || self.cache.blocks() > cache_blocks / PRESSURE_DIVISOR
    }

    /// From when on the cache may be destaged though nothing presses.
    pub(super) fn idle_destage_ns(&self) -> u64 {
        self.read_end_ns + u64::from(self.spec.destage_delay_us) * 1000
    }

    /// The instant of the next event; `None` if the arm has nothing to do.
    fn event_ns(&self) -> Option<u64> {
        if let Some((end_ns, _)) = self.doing {
            return Some(end_ns.max(self.clock_ns));
        }
        let read_ns = self.queue.iter().map(|waiting| waiting.ready_ns).min();
        let destage_ns = if self.cache.is_empty() {
            None
        } else if self.is_pressed() {
            Some(self.dirty_since_ns)
        } else {
            Some(self.dirty_since_ns.max(self.idle_destage_ns()))
        };
        let start_ns = [read_ns, destage_ns].into_iter().flatten().min()?;
        Some(start_ns.max(self.arm_free_ns).max(self.clock_ns))
    }

    /// Plays the event at `at_ns`.
    fn step(&mut self, at_ns: u64) {
        assert!(at_ns >= self.clock_ns, "D1: {at_ns} follows {}", self.clock_ns);
        self.clock_ns = at_ns;
        match self.doing.take() {
            Some((end_ns, doing)) => self.finish(end_ns, doing),
            None => self.begin_next(at_ns),
        }
    }

    /// The arm takes a read or a write-through at `at_ns`.
    pub(super) fn begin_queued(&mut self, at_ns: u64, index: usize) {
        let work = self.queue.remove(index).work;
        self.reads_since_destage = self.reads_since_destage.saturating_add(1);
        let (start, end) = (work.lba, work.end());
        if work.op == Op::Write {
            self.stop_ahead(at_ns);
            let delay_ns = self.arm.write_delay_ns(at_ns, start);
            let end_ns = at_ns + delay_ns + self.arm.layout.sweep_ns(start, end);
            self.doing = Some((end_ns, Doing::WriteThrough(work)));
            return;
        }
        let end_ns = match self.ahead.stream_end_ns(&self.arm, at_ns, start, end) {
            Some(end_ns) => end_ns,
            None => {
                self.stop_ahead(at_ns);
                let first = self.ahead.media_start(start, end);
                let delay_ns = self.arm.read_delay_ns(at_ns, first);
                at_ns + delay_ns + self.arm.layout.sweep_ns(first, end)
            }
        };
        self.doing = Some((end_ns, Doing::Read(work)));
    }

    /// The arm writes `[start, end)` of the cache from `at_ns` on.
    pub(super) fn begin_destage(&mut self, at_ns: u64, start: u64, end: u64) {
        let before = self.arm.lba();
        self.stop_ahead(at_ns);
        self.reads_since_destage = 0;
        let blocks = end - start;
        self.run_blocks = if start == before { self.run_blocks + blocks } else { blocks };
        let delay_ns = self.arm.write_delay_ns(at_ns, start);
        let end_ns = at_ns + delay_ns + self.arm.layout.sweep_ns(start, end);
        let seq = self.cache.seq();
        self.doing = Some((end_ns, Doing::Destage { start, end, seq }));
    }

    fn stop_ahead(&mut self, at_ns: u64) {
        if let Some(lba) = self.ahead.stop(&self.arm, at_ns) {
            self.arm.moved(lba, None);
        }
    }

    /// The arm ends what it did at `end_ns`.
    fn finish(&mut self, end_ns: u64, doing: Doing) {
        self.arm_free_ns = end_ns;
        match doing {
            Doing::Read(work) => {
                self.arm.moved(work.end(), None);
                self.ahead.read(&self.arm, work.lba, work.end(), end_ns);
                self.read_end_ns = end_ns;
                // The link keeps pace with the head, so only the tail remains after it.
                let transfer_ns = self.transfer_ns(work.blocks);
                let start_ns = self.link_free_ns.max(end_ns.saturating_sub(transfer_ns));
                self.link_free_ns = start_ns + transfer_ns;
                self.done.push(self.link_free_ns.max(end_ns), work.id);
            }
            Doing::WriteThrough(work) => {
                self.arm.moved(work.end(), Some(work.end() - 1));
                self.done.push(end_ns, work.id);
            }
            Doing::Destage { start, end, seq } => {
                self.arm.moved(end, Some(end - 1));
                self.cache.remove(start, end, seq);
                self.admit(end_ns);
                self.complete_syncs(end_ns);
            }
        }
    }

    /// Lets waiting writes into the cache as far as there is room.
    fn admit(&mut self, now_ns: u64) {
        let cache_blocks = self.spec.cache_bytes / self.block_len_bytes;
        while let Some(index) = self.first_write() {
            let work = self.writes[index].work;
            let room = self.cache.blocks() + u64::from(work.blocks) <= cache_blocks;
            if !room && !self.cache.is_empty() {
                break; // D2
            }
            self.writes.remove(index);
            self.accept(now_ns, work);
        }
    }

    /// The waiting write to let in next: the most urgent, but none before an earlier one of its
    /// zone.
    fn first_write(&self) -> Option<usize> {
        let zone_of = |work: &Work| self.arm.layout.zone_of(work.lba);
        let is_first = |index: usize| {
            let zone = zone_of(&self.writes[index].work);
            self.writes[..index].iter().all(|earlier| zone_of(&earlier.work) != zone) // D3
        };
        (0..self.writes.len())
            .filter(|&index| is_first(index))
            .min_by_key(|&index| self.writes[index].work.class)
    }

    /// Takes a write over the link into the cache.
    fn accept(&mut self, now_ns: u64, work: Work) {
        let zone = self.arm.layout.zone_of(work.lba);
        let start_ns = now_ns.max(self.link_free_ns).max(self.write_gate_ns);
        if !self.arm.is_conventional(zone) {
            self.write_gate_ns = start_ns + u64::from(self.spec.write_command_us) * 1000;
        }
        self.link_free_ns = start_ns + self.command_ns() + self.transfer_ns(work.blocks);
        if self.cache.is_empty() {
            self.dirty_since_ns = self.link_free_ns;
        }
        self.cache.insert(work.lba, work.end(), self.link_free_ns);
        self.done.push(self.link_free_ns, work.id);
        self.complete_syncs(self.link_free_ns);
    }

    fn complete_syncs(&mut self, now_ns: u64) {
        let (cache, done) = (&self.cache, &mut self.done);
        self.syncs.retain(|sync| {
            let clean = cache.is_clean_to(sync.seq);
            if clean {
                done.push(now_ns.max(sync.ready_ns), sync.work.id);
            }
            !clean
        });
    }

    fn submit_read(&mut self, ready_ns: u64, work: Work) {
        if work.unwritten {
            let bytes = u64::from(work.blocks) * self.block_len_bytes;
            self.link_free_ns = ready_ns + transfer_ns(bytes, self.spec.fill_bytes_per_s);
            self.done.push(self.link_free_ns, work.id);
            return;
        }
        let cached = self.cache.covers(work.lba, work.end());
        let idle = self.doing.is_none();
        if cached || self.ahead.take(&self.arm, ready_ns, (work.lba, work.end()), idle) {
            self.read_end_ns = self.read_end_ns.max(ready_ns);
            self.link_free_ns = ready_ns + self.transfer_ns(work.blocks);
            self.done.push(self.link_free_ns, work.id);
        } else {
            self.queue.push(Waiting { work, ready_ns });
        }
    }

    fn submit_write(&mut self, now_ns: u64, work: Work) {
        self.ahead.invalidate(&self.arm, now_ns, work.lba, work.end());
        if self.spec.cache_bytes == 0 {
            let ready_ns = self.take_command(now_ns) + self.transfer_ns(work.blocks);
            self.link_free_ns = ready_ns;
            self.queue.push(Waiting { work, ready_ns });
        } else {
            let ready_ns = now_ns;
            self.writes.push(Waiting { work, ready_ns });
            self.admit(now_ns);
        }
    }

    /// The link carries a command at `now_ns`, after those before it; returns when it is taken.
    fn take_command(&mut self, now_ns: u64) -> u64 {
        self.link_free_ns = self.link_free_ns.max(now_ns) + self.command_ns();
        self.link_free_ns
    }

    fn command_ns(&self) -> u64 {
        u64::from(self.spec.command_us) * 1000
    }

    fn transfer_ns(&self, blocks: u32) -> u64 {
        transfer_ns(u64::from(blocks) * self.block_len_bytes, self.spec.host_bytes_per_s)
    }

    /// Whether some request has not got its completion time yet.
    fn has_waiting(&self) -> bool {
        let serving = matches!(self.doing, Some((_, Doing::Read(_) | Doing::WriteThrough(_))));
        serving || !self.queue.is_empty() || !self.writes.is_empty() || !self.syncs.is_empty()
    }
}

impl Timing for Disk {
    fn submit(&mut self, now_ns: u64, work: Work) {
        while let Some(event_ns) = self.event_ns()
            && event_ns < now_ns
        {
            self.step(event_ns);
        }
        self.clock_ns = self.clock_ns.max(now_ns);
        match work.op {
            Op::Write => self.submit_write(now_ns, work),
            Op::Read => {
                let ready_ns = self.take_command(now_ns);
                self.submit_read(ready_ns, work);
            }
            Op::Sync => {
                let ready_ns = self.take_command(now_ns);
                let seq = self.cache.seq();
                self.syncs.push(WaitingSync { work, ready_ns, seq });
                self.complete_syncs(ready_ns);
            }
            Op::Reset | Op::Finish | Op::Control => {
                let ready_ns = self.take_command(now_ns);
                if work.op == Op::Reset {
                    let end = work.lba + self.arm.layout.zone_blocks;
                    self.cache.remove(work.lba, end, u64::MAX);
                    self.ahead.invalidate(&self.arm, now_ns, work.lba, end);
                    self.admit(now_ns);
                    self.complete_syncs(ready_ns);
                }
                let zone_command_ns = u64::from(self.spec.zone_command_us) * 1000;
                self.done.push(ready_ns + zone_command_ns, work.id);
            }
        }
    }

    fn next_completion(&mut self) -> Option<(u64, u64)> {
        loop {
            let event_ns = self.event_ns().filter(|_| self.has_waiting());
            match (self.done.first_ns(), event_ns) {
                (Some(done_ns), Some(event_ns)) if event_ns < done_ns => self.step(event_ns),
                (None, Some(event_ns)) => self.step(event_ns),
                _ => return self.done.pop(),
            }
        }
    }

    fn power_cut(&mut self, now_ns: u64) {
        self.done.clear();
        self.queue.clear();
        self.writes.clear();
        self.syncs.clear();
        self.cache.clear();
        self.ahead.clear();
        self.arm.forget();
        self.doing = None;
        self.clock_ns = self.clock_ns.max(now_ns);
        self.arm_free_ns = self.clock_ns;
        self.link_free_ns = self.clock_ns;
        self.write_gate_ns = self.clock_ns;
    }

    fn boxed_clone(&self) -> Box<dyn Timing> {
        Box::new(self.clone())
    }
}
