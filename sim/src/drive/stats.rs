//! Counters of what a drive was asked to do.

use shingle_hal::Class;

use crate::timing::Op;

/// How many labels [`Drive::label_zone`](crate::Drive::label_zone) knows.
pub const LABELS_MAX: usize = 8;

/// Requests and blocks of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Blocks asked for by reads.
    pub read_blocks: u64,
    /// Blocks brought by writes.
    pub written_blocks: u64,
    /// Zone resets.
    pub resets: u64,
    /// Zones finished.
    pub finishes: u64,
}

/// What a drive was asked to do since it was made or since the last
/// [`reset_stats`](crate::Drive::reset_stats). Refused requests do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Everything.
    pub all: Counts,
    /// Reads and writes by [`Class`], most urgent first.
    pub by_class: [Counts; 4],
    /// Everything by the label of the zone; unlabelled zones have label 0.
    pub by_label: [Counts; LABELS_MAX],
    /// Syncs.
    pub syncs: u64,
    /// Opens, closes and reports.
    pub controls: u64,
}

impl Counts {
    fn count(&mut self, op: Op, blocks: u32) {
        match op {
            Op::Read => {
                self.reads += 1;
                self.read_blocks += u64::from(blocks);
            }
            Op::Write => {
                self.writes += 1;
                self.written_blocks += u64::from(blocks);
            }
            Op::Reset => self.resets += 1,
            Op::Finish => self.finishes += 1,
            Op::Sync | Op::Control => {}
        }
    }
}

impl Stats {
    /// Counts one request to a zone with `label`.
    pub(crate) fn count(&mut self, op: Op, blocks: u32, class: Class, label: u8) {
        match op {
            Op::Sync => self.syncs += 1,
            Op::Control => self.controls += 1,
            _ => {}
        }
        if matches!(op, Op::Read | Op::Write) {
            self.by_class[class as usize].count(op, blocks);
        }
        self.all.count(op, blocks);
        self.by_label[usize::from(label)].count(op, blocks);
    }
}
