//! A flash die: its queue and what it does.

use crate::timing::work::aged_class;

/// What a die is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Sense a page and send this many bytes of it.
    Read { bytes: u32 },
    /// Take this many bytes and program a unit.
    Program { bytes: u32 },
    /// Program as many units without taking data, giving way after each.
    Pad { units: u32 },
    /// Erase the blocks of the zone.
    Erase,
}

/// An operation on a die.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlashOp {
    pub task: Task,
    pub zone: u32,
    pub class: u8,
    pub ready_ns: u64,
    /// Order of issue over all dies.
    pub seq: u64,
    /// The request it is part of; `None` for a program out of the buffer.
    pub request: Option<u64>,
}

impl FlashOp {
    /// Whether it changes what is on the die.
    fn changes(&self) -> bool {
        !matches!(self.task, Task::Read { .. })
    }
}

/// What a die is doing and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy {
    pub end_ns: u64,
    pub op: FlashOp,
    /// A read whose page is sensed and goes over the channel.
    pub sending: bool,
}

/// A die.
#[derive(Clone, Debug, Default)]
pub(super) struct Die {
    pub queue: Vec<FlashOp>,
    pub busy: Option<Busy>,
}

impl Die {
    /// When the die ends or can begin something; `None` when idle.
    pub(super) fn event_ns(&self) -> Option<u64> {
        match self.busy {
            Some(busy) => Some(busy.end_ns),
            None => self.queue.iter().map(|op| op.ready_ns).min(),
        }
    }

    /// Queues `op`; it is not ready before those it must stay behind.
    pub(super) fn push(&mut self, mut op: FlashOp) {
        let same_zone = self.queue.iter().filter(|earlier| earlier.zone == op.zone);
        if op.changes() {
            let earlier = same_zone.filter(|earlier| earlier.changes() && earlier.seq < op.seq);
            op.ready_ns = earlier.map(|earlier| earlier.ready_ns).fold(op.ready_ns, u64::max);
        }
        self.queue.push(op);
    }

    /// Takes the operation to begin at `at_ns` out of the queue. What changes a zone stays in
    /// order within that zone.
    pub(super) fn take(&mut self, at_ns: u64, age_step_ns: u64) -> Option<FlashOp> {
        let may = |index: &usize| {
            let op = &self.queue[*index];
            let behind = |earlier: &FlashOp| {
                earlier.changes() && earlier.zone == op.zone && earlier.seq < op.seq
            };
            op.ready_ns <= at_ns && !(op.changes() && self.queue.iter().any(behind))
        };
        let key = |&index: &usize| {
            let op = &self.queue[index];
            let class = aged_class(op.class, at_ns - op.ready_ns, age_step_ns);
            (class, op.changes(), op.seq)
        };
        let index = (0..self.queue.len()).filter(may).min_by_key(key)?;
        Some(self.queue.remove(index))
    }
}
