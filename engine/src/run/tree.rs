//! The table of pieces: which runs there are, at which level, and where their pieces lie.
//!
//! ```text
//!   level 0..6   tiers: several runs each, a newer run before an older one
//!   level 7      the bottom: one run, its pieces in key order
//! ```
//!
//! While a level is merged, the inputs are spent below the key the merge has reached, and the
//! output holds what was below it; a search skips an input for such a key.
//!
//! Invariants: `T1` the table is ordered by level, then newest run, then key. `T2` among runs that
//! hold a key, one that is earlier in the table holds newer versions. `T3` a piece's zone is taken
//! and of a role that holds runs.

use core::cmp::Ordering;
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::edit::PieceRecord;
use crate::limits::{BOTTOM, RUNS_MAX, TIERS};

/// Bytes of the first key that the table keeps.
pub(crate) const FIRST_LEN: usize = 16;

/// A piece as the table keeps it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Piece {
    generation: U32,
    start: U32,
    nodes: U32,
    run: U32,
    entries: U32,
    first_len: U16,
    level: u8,
    boundaries: u8,
    first: [u8; FIRST_LEN],
}

/// Bytes of the table per piece.
pub(crate) const PIECE_LEN: usize = size_of::<Piece>();

impl Piece {
    pub(crate) fn of(record: &PieceRecord) -> Self {
        Self {
            generation: U32::new(record.generation),
            start: U32::new(record.start),
            nodes: U32::new(record.nodes),
            run: U32::new(record.run),
            entries: U32::new(record.entries),
            first_len: U16::new(record.first_len),
            level: record.level,
            boundaries: u8::from(record.boundaries),
            first: record.first,
        }
    }

    pub(crate) fn record(&self) -> PieceRecord {
        PieceRecord {
            generation: self.generation.get(),
            start: self.start.get(),
            nodes: self.nodes.get(),
            entries: self.entries.get(),
            run: self.run.get(),
            level: self.level,
            boundaries: self.boundaries != 0,
            first_len: self.first_len.get(),
            first: self.first,
        }
    }

    /// Compares the piece's first key with `key`; `None` if the part kept does not decide.
    pub(crate) fn compare_first(&self, key: &[u8]) -> Option<Ordering> {
        let whole = usize::from(self.first_len.get());
        let kept = &self.first[..whole.min(FIRST_LEN)];
        let head = &key[..key.len().min(kept.len())];
        match kept.cmp(head) {
            Ordering::Equal if whole <= FIRST_LEN => Some(whole.cmp(&key.len())),
            Ordering::Equal => None,
            other => Some(other),
        }
    }
}

/// A run: a row of pieces in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) level: u8,
    pub(crate) run: u32,
    /// Index of its first piece.
    pub(crate) first: u32,
    /// Number of its pieces.
    pub(crate) count: u32,
    /// Whether it holds range deletions.
    pub(crate) boundaries: bool,
    /// Number of its nodes.
    pub(crate) nodes: u64,
}

/// A merge under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) into: u8,
    pub(crate) run: u32,
    pub(crate) last_input: u32,
    /// Bytes of the key below which the inputs are spent.
    pub(crate) key_len: u16,
}

/// All runs.
pub(crate) struct Tree<'m> {
    pieces: &'m mut [Piece],
    count: usize,
    runs: heapless::Vec<Run, RUNS_MAX>,
    merges: [Option<Merge>; TIERS],
    merge_keys: &'m mut [u8],
    key_len_max: usize,
    pub(crate) next_run: u32,
    /// Changes with every change of pieces or zones that a search depends on.
    pub(crate) version: u64,
}

/// Bytes of memory for `pieces` pieces and keys of `key_len_max` bytes.
pub(crate) const fn memory_len(pieces: usize, key_len_max: usize) -> usize {
    pieces * PIECE_LEN + TIERS * (key_len_max + 1)
}

impl<'m> Tree<'m> {
    pub(crate) fn new(memory: &'m mut [u8], key_len_max: usize) -> Self {
        memory.fill(0);
        let (merge_keys, rest) = memory.split_at_mut(TIERS * (key_len_max + 1));
        let pieces = <[Piece]>::mut_from_bytes(rest).expect("sized by memory_len");
        Self {
            pieces,
            count: 0,
            runs: heapless::Vec::new(),
            merges: [None; TIERS],
            merge_keys,
            key_len_max: key_len_max + 1,
            next_run: 1,
            version: 0,
        }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces[..self.count]
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether `more` pieces and one more run can be added.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.count + more <= self.pieces.len() && self.runs.len() + 1 < RUNS_MAX
    }

    fn order(piece: &Piece) -> (u8, core::cmp::Reverse<u32>) {
        (piece.level, core::cmp::Reverse(piece.run.get()))
    }

    /// Adds a piece behind the last one of its run; false if the table is full.
    pub(crate) fn add(&mut self, record: &PieceRecord) -> bool {
        if self.count == self.pieces.len() {
            return false;
        }
        let piece = Piece::of(record);
        let at = self.pieces().partition_point(|other| Self::order(other) <= Self::order(&piece));
        self.pieces.copy_within(at..self.count, at + 1);
        self.pieces[at] = piece;
        self.count += 1;
        self.next_run = self.next_run.max(record.run + 1);
        self.rebuild()
    }

    /// Takes a piece out of the table.
    pub(crate) fn remove(&mut self, generation: u32, start: u32) -> Option<PieceRecord> {
        let at = self
            .pieces()
            .iter()
            .position(|piece| piece.generation.get() == generation && piece.start.get() == start)?;
        let record = self.pieces[at].record();
        self.pieces.copy_within(at + 1..self.count, at);
        self.count -= 1;
        self.rebuild();
        Some(record)
    }

    fn rebuild(&mut self) -> bool {
        self.version += 1;
        self.runs.clear();
        for (index, piece) in self.pieces[..self.count].iter().enumerate() {
            if let Some(last) = self.runs.last_mut()
                && (last.level, last.run) == (piece.level, piece.run.get())
            {
                last.count += 1;
                last.boundaries |= piece.boundaries != 0;
                last.nodes += u64::from(piece.nodes.get());
                continue;
            }
            let run = Run {
                level: piece.level,
                run: piece.run.get(),
                first: index as u32,
                count: 1,
                boundaries: piece.boundaries != 0,
                nodes: u64::from(piece.nodes.get()),
            };
            if self.runs.push(run).is_err() {
                return false;
            }
        }
        true
    }

    /// The run of this number.
    pub(crate) fn run(&self, run: u32) -> Option<Run> {
        self.runs.iter().find(|known| known.run == run).copied()
    }

    /// The piece of a run, counted from its first.
    pub(crate) fn piece(&self, run: &Run, index: u32) -> Option<PieceRecord> {
        (index < run.count).then(|| self.pieces[(run.first + index) as usize].record())
    }

    pub(crate) fn piece_at(&self, run: &Run, index: u32) -> &Piece {
        &self.pieces[(run.first + index) as usize]
    }

    /// Runs of a level.
    pub(crate) fn level(&self, level: u8) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.level == level)
    }

    /// Whole runs of a level: not those that a merge is still writing.
    pub(crate) fn whole(&self, level: u8) -> impl Iterator<Item = &Run> {
        self.level(level)
            .filter(|run| !self.merges.iter().flatten().any(|merge| merge.run == run.run))
    }

    /// The lowest tier that has runs.
    pub(crate) fn deepest_tier(&self) -> Option<u8> {
        self.runs.iter().filter(|run| run.level < BOTTOM).map(|run| run.level).max()
    }

    pub(crate) fn nodes_of_level(&self, level: u8) -> u64 {
        self.level(level).map(|run| run.nodes).sum()
    }

    /// Nodes of all tiers.
    pub(crate) fn tier_nodes(&self) -> u64 {
        self.node_count() - self.nodes_of_level(BOTTOM)
    }

    /// Whether runs of a tier are being merged into a tier.
    pub(crate) fn has_tier_merge(&self) -> bool {
        self.merges.iter().flatten().any(|merge| merge.into != BOTTOM)
    }

    pub(crate) fn merge(&self, level: u8) -> Option<Merge> {
        self.merges.get(usize::from(level)).copied().flatten()
    }

    /// The key a merge has reached.
    pub(crate) fn merge_key(&self, level: u8) -> &[u8] {
        let len = self.merge(level).map_or(0, |merge| usize::from(merge.key_len));
        let at = usize::from(level) * self.key_len_max;
        &self.merge_keys[at..at + len]
    }

    pub(crate) fn set_merge(&mut self, level: u8, merge: Option<Merge>) {
        self.merges[usize::from(level)] = merge;
        if let Some(merge) = merge {
            self.next_run = self.next_run.max(merge.run + 1);
        }
        self.version += 1;
    }

    /// Sets a merge as the manifest says. False if there is no such level.
    pub(crate) fn set_known_merge(&mut self, level: u8, merge: Option<Merge>) -> bool {
        let known = usize::from(level) < TIERS;
        if known {
            self.set_merge(level, merge);
        }
        known
    }

    /// Sets the key a merge has reached, or appends to it. False if it is too long.
    pub(crate) fn extend_merge_key(&mut self, level: u8, first: bool, part: &[u8]) -> bool {
        let Some(Some(merge)) = self.merges.get_mut(usize::from(level)) else {
            return false;
        };
        let from = if first { 0 } else { usize::from(merge.key_len) };
        if from + part.len() > self.key_len_max {
            return false;
        }
        let at = usize::from(level) * self.key_len_max + from;
        self.merge_keys[at..at + part.len()].copy_from_slice(part);
        merge.key_len = (from + part.len()) as u16;
        self.version += 1;
        true
    }

    /// Whether a run is input of a merge.
    pub(crate) fn is_input(&self, run: &Run) -> Option<u8> {
        for level in 0..TIERS as u8 {
            let Some(merge) = self.merge(level) else {
                continue;
            };
            let of_level = run.level == level && run.run <= merge.last_input;
            let of_bottom = merge.into == BOTTOM && run.level == BOTTOM && run.run != merge.run;
            if of_level || of_bottom {
                return Some(level);
            }
        }
        None
    }

    /// Whether what `run` holds of `key` has been merged away.
    pub(crate) fn is_spent(&self, run: &Run, key: &[u8]) -> bool {
        if crate::canary::planted(crate::canary::Bug::MergeBoundaryForgotten) {
            return false;
        }
        self.is_input(run).is_some_and(|level| key < self.merge_key(level))
    }

    /// Bytes that a node row of `nodes` takes is the caller's to say; this counts nodes of all.
    pub(crate) fn node_count(&self) -> u64 {
        self.runs.iter().map(|run| run.nodes).sum()
    }
}
