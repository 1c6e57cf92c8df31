//! The SSD as a sequence of events of its dies.
//!
//! Invariants:
//! - N1: a zone holds no more buffered bytes than its buffer.
//! - N2: writes to one zone are accepted in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::die::{Busy, Die, FlashOp, Task};
use crate::media::MediaSpec;
use crate::timing::work::{Completions, transfer_ns};
use crate::timing::{Op, Timing, Work, ZnsTiming};

/// A write that has not wholly entered the buffer of its zone.
#[derive(Clone, Copy, Debug)]
struct WaitingWrite {
    work: Work,
    ready_ns: u64,
    left_bytes: u64,
}

/// The write stream of a zone, in bytes from its start.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// Accepted up to here.
    filled: u64,
    /// Handed to dies up to here.
    issued: u64,
    /// In the buffer.
    buffered: u64,
    writes: VecDeque<WaitingWrite>,
}

/// A request with parts on dies.
#[derive(Clone, Copy, Debug)]
struct Parts {
    left_count: u32,
    end_ns: u64,
}

/// The time model of a ZNS SSD.
#[derive(Clone, Debug)]
pub struct Zns {
    spec: ZnsTiming,
    block_len_bytes: u64,
    zone_blocks: u64,
    capacity_bytes: u64,
    dies: Vec<Die>,
    channels_free_ns: Vec<u64>,
    link_free_ns: u64,
    streams: Vec<Stream>,
    waiting_write_count: u32,
    requests: BTreeMap<u64, Parts>,
    /// Programs out of the buffer that have not ended, by order of issue.
    programs: BTreeSet<u64>,
    /// Syncs, as id and the last program each waits for.
    syncs: Vec<(u64, u64)>,
    done: Completions,
    clock_ns: u64,
    issued_count: u64,
}

impl Zns {
    /// An idle SSD at time 0.
    #[must_use]
    pub fn new(spec: &ZnsTiming, media: &MediaSpec) -> Self {
        let block_len_bytes = u64::from(media.block_len_bytes);
        let die_count = (spec.channel_count * spec.dies_per_channel).max(1);
        let mut spec = spec.clone();
        spec.channel_count = spec.channel_count.max(1);
        spec.dies_per_zone = spec.dies_per_zone.clamp(1, die_count);
        spec.page_bytes = spec.page_bytes.max(1);
        spec.program_bytes = spec.program_bytes.max(1);
        spec.buffer_units_per_zone = spec.buffer_units_per_zone.max(1);
        Self {
            block_len_bytes,
            zone_blocks: u64::from(media.zone_blocks.max(1)),
            capacity_bytes: u64::from(media.zone_capacity_blocks) * block_len_bytes,
            dies: vec![Die::default(); die_count as usize],
            channels_free_ns: vec![0; spec.channel_count as usize],
            link_free_ns: 0,
            streams: vec![Stream::default(); media.zone_count as usize],
            waiting_write_count: 0,
            requests: BTreeMap::new(),
            programs: BTreeSet::new(),
            syncs: Vec::new(),
            done: Completions::default(),
            clock_ns: 0,
            issued_count: 0,
            spec,
        }
    }

    /// The zone that holds `lba`; the last one for an address past the end.
    fn zone_of(&self, lba: u64) -> u32 {
        ((lba / self.zone_blocks) as usize).min(self.streams.len() - 1) as u32
    }

    /// The die that holds unit `unit` of `zone`.
    fn die_of(&self, zone: u32, unit: u64) -> usize {
        let per_zone = u64::from(self.spec.dies_per_zone);
        let first = u64::from(zone) * per_zone;
        ((first + unit % per_zone) % self.dies.len() as u64) as usize
    }

    fn channel_of(&self, die: usize) -> usize {
        die % self.channels_free_ns.len()
    }

    /// The die with the earliest event, and when.
    fn event(&self) -> Option<(u64, usize)> {
        let events = self.dies.iter().enumerate();
        let events = events.filter_map(|(index, die)| Some((die.event_ns()?, index)));
        let (event_ns, die) = events.min()?;
        Some((event_ns.max(self.clock_ns), die))
    }

    fn step(&mut self, at_ns: u64, die: usize) {
        assert!(at_ns >= self.clock_ns, "events go forward");
        self.clock_ns = at_ns;
        match self.dies[die].busy.take() {
            Some(busy) => self.end(at_ns, die, busy),
            None => self.begin(at_ns, die),
        }
    }

    /// The die takes up its next operation.
    fn begin(&mut self, at_ns: u64, die: usize) {
        let age_step_ns = u64::from(self.spec.age_step_us) * 1000;
        let Some(op) = self.dies[die].take(at_ns, age_step_ns) else {
            return;
        };
        let end_ns = match op.task {
            Task::Read { bytes } if bytes <= 4096 => at_ns + u64::from(self.spec.read_4k_ns),
            Task::Read { .. } => at_ns + u64::from(self.spec.read_ns),
            Task::Program { bytes } => {
                self.over_channel(at_ns, die, bytes) + u64::from(self.spec.program_ns)
            }
            Task::Pad { .. } => at_ns + u64::from(self.spec.program_ns),
            Task::Erase => at_ns + u64::from(self.spec.erase_ns),
        };
        self.dies[die].busy = Some(Busy { end_ns, op, sending: false });
    }

    /// Moves `bytes` over the channel of `die`; returns when it is done.
    fn over_channel(&mut self, at_ns: u64, die: usize, bytes: u32) -> u64 {
        let channel = self.channel_of(die);
        let start_ns = at_ns.max(self.channels_free_ns[channel]);
        let end_ns = start_ns + transfer_ns(u64::from(bytes), self.spec.channel_bytes_per_s);
        self.channels_free_ns[channel] = end_ns;
        end_ns
    }

    /// Moves `bytes` over the host link; returns when it is done.
    fn over_link(&mut self, at_ns: u64, bytes: u64) -> u64 {
        let start_ns = at_ns.max(self.link_free_ns);
        self.link_free_ns = start_ns + transfer_ns(bytes, self.spec.host_bytes_per_s);
        self.link_free_ns
    }

    /// The die ends an operation, or a step of one.
    fn end(&mut self, at_ns: u64, die: usize, busy: Busy) {
        let op = busy.op;
        match op.task {
            Task::Read { bytes } if !busy.sending => {
                let end_ns = self.over_channel(at_ns, die, bytes);
                self.dies[die].busy = Some(Busy { end_ns, op, sending: true });
            }
            Task::Read { bytes } => {
                let end_ns = self.over_link(at_ns, u64::from(bytes));
                self.part_done(op.request, end_ns);
            }
            Task::Pad { units } if units > 1 => {
                let task = Task::Pad { units: units - 1 };
                self.dies[die].push(FlashOp { task, ready_ns: at_ns, ..op });
            }
            Task::Program { bytes } => {
                let stream = &mut self.streams[op.zone as usize];
                stream.buffered = stream.buffered.saturating_sub(u64::from(bytes));
                self.programs.remove(&op.seq);
                self.complete_syncs(at_ns);
                self.accept(at_ns, op.zone);
            }
            Task::Pad { .. } | Task::Erase => self.part_done(op.request, at_ns),
        }
    }

    fn part_done(&mut self, request: Option<u64>, at_ns: u64) {
        let Some(id) = request else {
            return;
        };
        let Some(parts) = self.requests.get_mut(&id) else {
            return;
        };
        parts.left_count -= 1;
        parts.end_ns = parts.end_ns.max(at_ns);
        if parts.left_count == 0 {
            let end_ns = parts.end_ns;
            self.requests.remove(&id);
            self.done.push(end_ns, id);
        }
    }

    fn complete_syncs(&mut self, at_ns: u64) {
        let oldest = self.programs.first().copied().unwrap_or(u64::MAX);
        let done = &mut self.done;
        self.syncs.retain(|&(id, last)| {
            if oldest > last {
                done.push(at_ns, id);
            }
            oldest <= last
        });
    }

    /// Issues `task` to `die`.
    fn issue(
        &mut self,
        die: usize,
        task: Task,
        zone: u32,
        ready_ns: u64,
        owner: (u8, Option<u64>),
    ) {
        let (class, request) = owner;
        let seq = self.issued_count;
        self.issued_count += 1;
        if request.is_none() {
            self.programs.insert(seq);
        }
        let op = FlashOp { task, zone, class, ready_ns, seq, request };
        self.dies[die].push(op);
    }

    /// Lets waiting writes of `zone` into its buffer as far as there is room.
    fn accept(&mut self, now_ns: u64, zone: u32) {
        let buffer_bytes =
            u64::from(self.spec.buffer_units_per_zone) * u64::from(self.spec.program_bytes);
        while let Some(&write) = self.streams[zone as usize].writes.front() {
            let room = buffer_bytes - self.streams[zone as usize].buffered; // N1
            let bytes = room.min(write.left_bytes);
            if bytes == 0 && write.left_bytes > 0 {
                break;
            }
            let at_ns = self.over_link(now_ns.max(write.ready_ns), bytes);
            let stream = &mut self.streams[zone as usize];
            stream.filled += bytes;
            stream.buffered += bytes;
            if write.left_bytes == bytes {
                stream.writes.pop_front();
                self.waiting_write_count -= 1;
                self.done.push(at_ns, write.work.id);
            } else if let Some(front) = stream.writes.front_mut() {
                front.left_bytes -= bytes;
            }
            self.program_full(at_ns, zone, write.work.class);
        }
    }

    /// Hands the full units of `zone` to its dies.
    fn program_full(&mut self, at_ns: u64, zone: u32, class: u8) {
        let unit_bytes = u64::from(self.spec.program_bytes);
        loop {
            let stream = &self.streams[zone as usize];
            let unit = stream.issued / unit_bytes;
            let end = ((unit + 1) * unit_bytes).min(self.capacity_bytes.max(stream.issued));
            if end <= stream.issued || stream.filled < end {
                break;
            }
            self.program(at_ns, zone, end, class);
        }
    }

    /// Hands what `zone` has buffered below `end`, all in one unit, to its die.
    fn program(&mut self, at_ns: u64, zone: u32, end: u64, class: u8) {
        let issued = self.streams[zone as usize].issued;
        let die = self.die_of(zone, issued / u64::from(self.spec.program_bytes));
        let bytes = (end - issued) as u32;
        self.streams[zone as usize].issued = end;
        self.issue(die, Task::Program { bytes }, zone, at_ns, (class, None));
    }

    fn submit_write(&mut self, now_ns: u64, work: Work) {
        let zone = self.zone_of(work.lba);
        let offset = work.lba % self.zone_blocks * self.block_len_bytes;
        let ready_ns = now_ns + u64::from(self.spec.command_write_ns);
        let stream = &self.streams[zone as usize];
        let expected = stream.filled + stream.writes.iter().map(|w| w.left_bytes).sum::<u64>();
        if expected != offset {
            // The write pointer is elsewhere after a power cut or a fault.
            self.restart(ready_ns, zone, offset);
        }
        self.streams[zone as usize].writes.push_back(WaitingWrite {
            work,
            ready_ns,
            left_bytes: u64::from(work.blocks) * self.block_len_bytes,
        });
        self.waiting_write_count += 1;
        self.accept(now_ns, zone);
    }

    /// The stream of `zone` goes on at `pointer` bytes: what it had in part is dropped, writes that
    /// waited complete, programs under way still hold their share of the buffer.
    fn restart(&mut self, at_ns: u64, zone: u32, pointer: u64) {
        let stream = &mut self.streams[zone as usize];
        stream.buffered = stream.buffered.saturating_sub(stream.filled - stream.issued);
        stream.filled = pointer;
        stream.issued = pointer;
        let writes = std::mem::take(&mut stream.writes);
        self.waiting_write_count -= writes.len() as u32;
        for write in writes {
            self.done.push(at_ns, write.work.id);
        }
    }

    fn submit_read(&mut self, now_ns: u64, work: Work) {
        let ready_ns = now_ns + u64::from(self.spec.command_read_ns);
        let zone = self.zone_of(work.lba);
        let mut at = work.lba % self.zone_blocks * self.block_len_bytes;
        let end = at + u64::from(work.blocks) * self.block_len_bytes;
        let issued = self.streams[zone as usize].issued;
        if work.unwritten || at >= issued {
            let end_ns = self.over_link(ready_ns, end - at);
            self.done.push(end_ns, work.id);
            return;
        }
        let (unit_bytes, page_bytes) =
            (u64::from(self.spec.program_bytes), u64::from(self.spec.page_bytes));
        let mut left_count = 0;
        while at < end {
            let unit = at / unit_bytes;
            let within = at % unit_bytes;
            let page_end = unit * unit_bytes + (within / page_bytes + 1) * page_bytes;
            let to = end.min(page_end).min((unit + 1) * unit_bytes);
            let task = Task::Read { bytes: (to - at) as u32 };
            let die = self.die_of(zone, unit);
            self.issue(die, task, zone, ready_ns, (work.class, Some(work.id)));
            left_count += 1;
            at = to;
        }
        self.requests.insert(work.id, Parts { left_count, end_ns: ready_ns });
    }

    fn submit_sync(&mut self, now_ns: u64, work: Work) {
        let ready_ns = now_ns + u64::from(self.spec.command_write_ns);
        if self.spec.buffer_protected {
            self.done.push(ready_ns, work.id);
            return;
        }
        for zone in 0..self.streams.len() as u32 {
            let stream = &self.streams[zone as usize];
            if stream.filled > stream.issued {
                let filled = stream.filled;
                self.program(ready_ns, zone, filled, work.class);
            }
        }
        self.syncs.push((work.id, self.issued_count));
        self.complete_syncs(ready_ns);
    }

    /// Erases the zone, or programs what is left of it, on all its dies.
    fn submit_zone(&mut self, now_ns: u64, work: Work) {
        let ready_ns = now_ns + u64::from(self.spec.command_write_ns);
        let zone = self.zone_of(work.lba);
        let unit_bytes = u64::from(self.spec.program_bytes);
        if work.op == Op::Finish && work.blocks == 0 {
            // Nothing is left of the zone; its write pointer may be the start of the next.
            self.done.push(ready_ns, work.id);
            return;
        }
        let issued = self.streams[zone as usize].issued;
        let touched = issued > 0 || !work.lba.is_multiple_of(self.zone_blocks);
        let (pointer, units) = if work.op == Op::Reset {
            (0, 0)
        } else {
            let left_bytes = u64::from(work.blocks) * self.block_len_bytes;
            (self.capacity_bytes, left_bytes.div_ceil(unit_bytes))
        };
        self.restart(ready_ns, zone, pointer);
        let per_zone = u64::from(self.spec.dies_per_zone);
        let mut left_count = 0;
        for index in 0..per_zone {
            let share = units / per_zone + u64::from(index < units % per_zone);
            let task = match work.op {
                Op::Reset if touched => Task::Erase,
                Op::Finish if share > 0 => Task::Pad { units: share as u32 },
                _ => continue,
            };
            let die = self.die_of(zone, index);
            self.issue(die, task, zone, ready_ns, (work.class, Some(work.id)));
            left_count += 1;
        }
        if left_count == 0 {
            self.done.push(ready_ns, work.id);
        } else {
            self.requests.insert(work.id, Parts { left_count, end_ns: ready_ns });
        }
    }

    fn has_waiting(&self) -> bool {
        !self.requests.is_empty() || !self.syncs.is_empty() || self.waiting_write_count > 0
    }
}

impl Timing for Zns {
    fn submit(&mut self, now_ns: u64, work: Work) {
        while let Some((event_ns, die)) = self.event()
            && event_ns < now_ns
        {
            self.step(event_ns, die);
        }
        self.clock_ns = self.clock_ns.max(now_ns);
        match work.op {
            Op::Read => self.submit_read(now_ns, work),
            Op::Write => self.submit_write(now_ns, work),
            Op::Sync => self.submit_sync(now_ns, work),
            Op::Reset | Op::Finish => self.submit_zone(now_ns, work),
            Op::Control => {
                let command_ns = u64::from(self.spec.command_write_ns);
                self.done.push(now_ns + command_ns, work.id);
            }
        }
    }

    fn next_completion(&mut self) -> Option<(u64, u64)> {
        loop {
            let event = self.event().filter(|_| self.has_waiting());
            match (self.done.first_ns(), event) {
                (Some(done_ns), Some((event_ns, die))) if event_ns < done_ns => {
                    self.step(event_ns, die);
                }
                (None, Some((event_ns, die))) => self.step(event_ns, die),
                _ => return self.done.pop(),
            }
        }
    }

    fn power_cut(&mut self, now_ns: u64) {
        for die in &mut self.dies {
            *die = Die::default();
        }
        for stream in &mut self.streams {
            stream.filled = stream.issued;
            stream.buffered = 0;
            stream.writes.clear();
        }
        self.waiting_write_count = 0;
        self.requests.clear();
        self.programs.clear();
        self.syncs.clear();
        self.done.clear();
        self.clock_ns = self.clock_ns.max(now_ns);
        self.link_free_ns = self.clock_ns;
        self.channels_free_ns.fill(self.clock_ns);
    }

    fn boxed_clone(&self) -> Box<dyn Timing> {
        Box::new(self.clone())
    }
}
