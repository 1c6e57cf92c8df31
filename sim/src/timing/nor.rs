//! A serial NOR flash chip: one operation at a time, erases that take long and may be suspended.
//!
//! The chip has no cache: a write completes when its last page is programmed, a sync at once. A
//! read need not wait for an erase where the chip can suspend it; between two suspensions the erase
//! runs for a while, so that reads cannot hold it up for ever.
//!
//! # Source
//! Operations and their typical times as data sheets of 128 Mbit serial NOR chips give them.

use super::work::{Completions, aged_class, transfer_ns};
use super::{NorTiming, Op, Timing, Work};
use crate::media::MediaSpec;

/// An erase runs at least this long between two suspensions.
const ERASE_SLICE_NS: u64 = 500_000;

#[derive(Clone, Copy, Debug)]
struct Waiting {
    work: Work,
    ready_ns: u64,
}

/// What the chip is doing.
#[derive(Clone, Copy, Debug)]
struct Doing {
    work: Work,
    end_ns: u64,
    /// A read may interrupt from then on; `None` if never.
    yields_ns: Option<u64>,
}

/// The time model of a serial NOR chip.
#[derive(Clone, Debug)]
pub struct Nor {
    spec: NorTiming,
    block_len_bytes: u64,
    zone_blocks: u64,
    queue: Vec<Waiting>,
    doing: Option<Doing>,
    /// An erase that gave way to reads, and how long it still takes.
    suspended: Option<(Work, u64)>,
    done: Completions,
    clock_ns: u64,
}

impl Nor {
    /// An idle chip at time 0.
    #[must_use]
    pub fn new(spec: &NorTiming, media: &MediaSpec) -> Self {
        Self {
            spec: spec.clone(),
            block_len_bytes: u64::from(media.block_len_bytes),
            zone_blocks: u64::from(media.zone_blocks.max(1)),
            queue: Vec::new(),
            doing: None,
            suspended: None,
            done: Completions::default(),
            clock_ns: 0,
        }
    }

    /// How long the chip is busy with `work`.
    fn service_ns(&self, work: &Work) -> u64 {
        let command_ns = u64::from(self.spec.command_ns);
        let first_byte = work.lba * self.block_len_bytes;
        let bytes = u64::from(work.blocks) * self.block_len_bytes;
        match work.op {
            Op::Read => command_ns + transfer_ns(bytes, self.spec.bus_bytes_per_s),
            Op::Write => {
                let page = u64::from(self.spec.page_bytes.max(1));
                let pages = (first_byte + bytes).div_ceil(page) - first_byte / page;
                pages * (command_ns + u64::from(self.spec.program_ns))
                    + transfer_ns(bytes, self.spec.bus_bytes_per_s)
            }
            Op::Reset => {
                let zone_bytes = self.zone_blocks * self.block_len_bytes;
                let erases = zone_bytes.div_ceil(u64::from(self.spec.erase_block_bytes.max(1)));
                erases * (command_ns + self.spec.erase_ns)
            }
            Op::Sync | Op::Finish | Op::Control => command_ns,
        }
    }

    /// The instant of the next event.
    fn event_ns(&self) -> Option<u64> {
        let read_ns = self.queue.iter().filter(|waiting| waiting.work.op == Op::Read);
        let read_ns = read_ns.map(|waiting| waiting.ready_ns).min();
        if let Some(doing) = self.doing {
            let yields_ns = doing.yields_ns.zip(read_ns).map(|(from, read)| from.max(read));
            let event_ns = yields_ns.map_or(doing.end_ns, |at| at.min(doing.end_ns));
            return Some(event_ns.max(self.clock_ns));
        }
        if self.suspended.is_some() {
            return Some(self.clock_ns);
        }
        let ready_ns = self.queue.iter().map(|waiting| waiting.ready_ns).min()?;
        Some(ready_ns.max(self.clock_ns))
    }

    fn step(&mut self, at_ns: u64) {
        self.clock_ns = at_ns;
        match self.doing.take() {
            Some(doing) if doing.end_ns <= at_ns => self.done.push(doing.end_ns, doing.work.id),
            Some(doing) => {
                // Only an erase is interrupted, and only while a read waits.
                self.suspended = Some((doing.work, doing.end_ns - at_ns));
                let give_way_ns = u64::from(self.spec.suspend_ns.unwrap_or(0));
                self.begin(at_ns, give_way_ns);
            }
            None => self.begin(at_ns, 0),
        }
    }

    /// Takes up the next operation at `at_ns`.
    fn begin(&mut self, at_ns: u64, give_way_ns: u64) {
        let only_reads = self.suspended.is_some();
        if let Some(index) = self.choose(at_ns, only_reads) {
            let work = self.queue.remove(index).work;
            let end_ns = at_ns + give_way_ns + self.service_ns(&work);
            let can_yield = work.op == Op::Reset && self.spec.suspend_ns.is_some();
            let yields_ns = can_yield.then_some(at_ns);
            self.doing = Some(Doing { work, end_ns, yields_ns });
        } else if let Some((work, left_ns)) = self.suspended.take() {
            let end_ns = at_ns + left_ns;
            let yields_ns = Some(at_ns + ERASE_SLICE_NS);
            self.doing = Some(Doing { work, end_ns, yields_ns });
        }
    }

    /// The request to serve: the lowest class, waiting counted in its favour, then the first come.
    fn choose(&self, at_ns: u64, only_reads: bool) -> Option<usize> {
        let step_ns = u64::from(self.spec.age_step_us) * 1000;
        let zone_of = |work: &Work| work.lba / self.zone_blocks;
        let may = |index: &usize| {
            let waiting = &self.queue[*index];
            let changes = waiting.work.op != Op::Read;
            let behind = self.queue[..*index].iter().any(|earlier| {
                earlier.work.op != Op::Read && zone_of(&earlier.work) == zone_of(&waiting.work)
            });
            waiting.ready_ns <= at_ns && !(only_reads && changes) && !(changes && behind)
        };
        (0..self.queue.len()).filter(may).min_by_key(|&index| {
            let waiting = &self.queue[index];
            aged_class(waiting.work.class, at_ns - waiting.ready_ns, step_ns)
        })
    }

    fn has_waiting(&self) -> bool {
        self.doing.is_some() || self.suspended.is_some() || !self.queue.is_empty()
    }
}

impl Timing for Nor {
    fn submit(&mut self, now_ns: u64, work: Work) {
        while let Some(event_ns) = self.event_ns()
            && event_ns < now_ns
        {
            self.step(event_ns);
        }
        self.clock_ns = self.clock_ns.max(now_ns);
        self.queue.push(Waiting { work, ready_ns: now_ns });
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
        self.queue.clear();
        self.done.clear();
        self.doing = None;
        self.suspended = None;
        self.clock_ns = self.clock_ns.max(now_ns);
    }

    fn boxed_clone(&self) -> Box<dyn Timing> {
        Box::new(self.clone())
    }
}
