//! What a power cut may still undo: the effects of each zone that no sync has covered.
//!
//! A *sequential* zone has a line of effects in the order they were issued, each with the state of
//! the zone after it. A cut keeps a prefix of the line, and of the write it falls into a prefix of
//! the blocks; so the write pointer stands at the end of what survived, and a reset that was undone
//! brings back the zone as a whole. A *conventional* zone has, per block, what the block held
//! before each unsynced write.
//!
//! A sync covers what completed before it was issued: [`Journal::mark`] notes that at its issue,
//! [`Journal::forget`] drops it once the sync has succeeded. In a sequential zone everything before
//! a covered effect is covered with it.
//!
//! Invariants: J1 effects of a zone have ascending request numbers; J2 a zone with no effect is in
//! no map.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::blocks::ZoneBlocks;
use super::run::Run;

/// The state of a sequential zone that matters after power returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Point {
    /// Blocks written since the last reset.
    pub(crate) written: u32,
    /// Finished, or written up to its capacity.
    pub(crate) full: bool,
}

/// What an effect did to a sequential zone.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Wrote this many blocks at the write pointer.
    Write(u32),
    /// Finished the zone.
    Finish,
    /// Reset the zone, which held this.
    Reset(Rc<ZoneBlocks>),
}

/// One unsynced effect on a sequential zone.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) id: u64,
    done: bool,
    pub(crate) deed: Deed,
    pub(crate) after: Point,
}

/// The unsynced effects of one sequential zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// What is durable.
    pub(crate) base: Point,
    /// What came after it, in order of issue.
    pub(crate) effects: VecDeque<Effect>,
}

impl Line {
    /// How many blocks were written before the writes at the end of the line; `None` if it does not
    /// end in a write.
    pub(crate) fn tail_from(&self) -> Option<u32> {
        let is_write = |effect: &Effect| matches!(effect.deed, Deed::Write(_));
        let others = self.effects.iter().rposition(|effect| !is_write(effect));
        let before = others.map_or(0, |at| at + 1);
        (before < self.effects.len()).then(|| self.point(before).written)
    }

    /// The state after the first `effects` effects.
    pub(crate) fn point(&self, effects: usize) -> Point {
        match effects {
            0 => self.base,
            n => self.effects[n - 1].after,
        }
    }
}

/// An unsynced write to a conventional zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch {
    /// First block.
    pub(crate) at: u32,
    /// Number of blocks.
    pub(crate) count: u32,
    done: bool,
}

/// What a block held before the unsynced write of this number.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// The request that wrote it.
    pub(crate) id: u64,
    /// What it held; `None` if it was never written.
    pub(crate) block: Option<Run>,
}

/// The unsynced effects of one conventional zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patches {
    /// Writes by request number.
    pub(crate) writes: BTreeMap<u64, Patch>,
    /// Per block, oldest first.
    pub(crate) blocks: BTreeMap<u32, Vec<Before>>,
}

impl Mark {
    /// Leaves what happened in `zones` unsynced.
    pub(crate) fn leave(&mut self, zones: &[u32]) {
        self.lines.retain(|(zone, _)| !zones.contains(zone));
        self.patches.retain(|(zone, _)| !zones.contains(zone));
    }
}

/// What a sync will cover.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    lines: Vec<(u32, u64)>,
    patches: Vec<(u32, Vec<u64>)>,
}

/// All unsynced effects of a drive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) lines: BTreeMap<u32, Line>,
    pub(crate) patches: BTreeMap<u32, Patches>,
}

impl Journal {
    /// Notes effect `id` on sequential `zone`, which was at `before` and is now at `after`.
    pub(crate) fn add(&mut self, zone: u32, id: u64, before: Point, deed: Deed, after: Point) {
        let line = self.lines.entry(zone).or_default();
        if line.effects.is_empty() {
            line.base = before;
        }
        assert_eq!(line.point(line.effects.len()), before, "zone {zone}");
        assert!(line.effects.back().is_none_or(|e| e.id < id));
        let done = false;
        line.effects.push_back(Effect { id, done, deed, after });
    }

    /// Notes write `id` to conventional `zone`; `old` says what each block held.
    pub(crate) fn add_patch(
        &mut self,
        zone: u32,
        id: u64,
        at: u32,
        old: impl ExactSizeIterator<Item = Option<Run>>,
    ) {
        let patches = self.patches.entry(zone).or_default();
        let patch = Patch { at, count: old.len() as u32, done: false };
        patches.writes.insert(id, patch);
        for (block, before) in (at..).zip(old) {
            let block = patches.blocks.entry(block).or_default();
            block.push(Before { id, block: before });
        }
    }

    /// Effect `id` on `zone` completed.
    pub(crate) fn complete(&mut self, zone: u32, id: u64) {
        if let Some(line) = self.lines.get_mut(&zone)
            && let Ok(i) = line.effects.binary_search_by_key(&id, |e| e.id)
        {
            line.effects[i].done = true;
        }
        if let Some(patch) = self.patches.get_mut(&zone).and_then(|p| p.writes.get_mut(&id)) {
            patch.done = true;
        }
    }

    /// What a sync that is issued now will cover: in all zones, or in `only` one.
    pub(crate) fn mark(&self, only: Option<u32>) -> Mark {
        let wanted = |zone: &u32| only.is_none_or(|z| z == *zone);
        let lines = self.lines.iter().filter(|(zone, _)| wanted(zone));
        let patches = self.patches.iter().filter(|(zone, _)| wanted(zone));
        Mark {
            lines: lines
                .filter_map(|(&zone, line)| {
                    let last = line.effects.iter().rev().find(|e| e.done)?;
                    Some((zone, last.id))
                })
                .collect(),
            patches: patches
                .map(|(&zone, p)| {
                    let done = p.writes.iter().filter(|(_, w)| w.done);
                    (zone, done.map(|(&id, _)| id).collect())
                })
                .collect(),
        }
    }

    /// A sync with `mark` succeeded: what it covers is durable.
    pub(crate) fn forget(&mut self, mark: &Mark) {
        for &(zone, upto) in &mark.lines {
            let Some(line) = self.lines.get_mut(&zone) else {
                continue;
            };
            while line.effects.front().is_some_and(|e| e.id <= upto) {
                let effect = line.effects.pop_front();
                line.base = effect.map_or(line.base, |e| e.after);
            }
            if line.effects.is_empty() {
                self.lines.remove(&zone);
            }
        }
        for (zone, ids) in &mark.patches {
            let Some(patches) = self.patches.get_mut(zone) else {
                continue;
            };
            for &id in ids {
                patches.forget(id);
            }
            if patches.writes.is_empty() {
                self.patches.remove(zone);
            }
        }
    }

    /// The writes at the end of sequential `zone`'s line never were, from block `keep` on.
    pub(crate) fn cut_tail(&mut self, zone: u32, keep: u32) {
        let Some(line) = self.lines.get_mut(&zone) else {
            return;
        };
        while line.effects.back().is_some_and(|effect| effect.after.written > keep) {
            let before = line.point(line.effects.len() - 1);
            let Some(effect) = line.effects.pop_back() else {
                break;
            };
            if before.written < keep {
                let after = Point { written: keep, full: false };
                let deed = Deed::Write(keep - before.written);
                line.effects.push_back(Effect { deed, after, ..effect });
            }
        }
        if line.effects.is_empty() {
            self.lines.remove(&zone);
        }
    }

    /// The writes to conventional `zone` from request `from` on never were; what each block held
    /// before them.
    pub(crate) fn cut_patches(&mut self, zone: u32, from: u64) -> Vec<(u32, Option<Run>)> {
        let Some(patches) = self.patches.get_mut(&zone) else {
            return Vec::new();
        };
        let mut held = Vec::new();
        for (&block, history) in &mut patches.blocks {
            if let Some(at) = history.iter().position(|before| before.id >= from) {
                held.push((block, history[at].block.clone()));
                history.truncate(at);
            }
        }
        patches.blocks.retain(|_, history| !history.is_empty());
        patches.writes.retain(|&id, _| id < from);
        if patches.writes.is_empty() {
            self.patches.remove(&zone);
        }
        held
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Patches {
    /// Write `id` is durable, and with it whatever its blocks held before.
    fn forget(&mut self, id: u64) {
        let Some(patch) = self.writes.remove(&id) else {
            return;
        };
        for block in patch.at..patch.at + patch.count {
            let Some(history) = self.blocks.get_mut(&block) else {
                continue;
            };
            history.retain(|before| before.id > id);
            if history.is_empty() {
                self.blocks.remove(&block);
            }
        }
    }
}
