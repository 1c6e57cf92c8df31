//! Power returns: which of the unsynced effects survived.
//!
//! Each zone with unsynced effects is decided on its own. Of a *sequential* zone a prefix of its
//! line of effects survives, cut at any block of a write; the last surviving unsynced block may be
//! torn. Of a *conventional* zone each unsynced block is kept, lost or torn. A torn block either
//! reads as a mixture of old, new and random bytes, or cannot be read.
//!
//! [`Outcome::Enumerated`] picks for each zone one of a few representative choices, duplicates
//! left out, in this order:
//!
//! | sequential | conventional |
//! |---|---|
//! | keep all | keep all |
//! | lose all | lose all |
//! | all but the last effect | only the last write kept |
//! | the last write cut in half | only the first write kept |
//! | the last kept block torn: garbage | last write's first block torn: garbage, rest kept |
//! | the last kept block torn: unreadable | the same: unreadable |
//!
//! Combinations are numbered in mixed radix over the zones in order, the first zone fastest, and
//! the choice of every other zone is counted from that of the first: so the first few indices try
//! each choice in all zones at once, and a harness that stops early has seen those.
//!
//! A device never has more active zones than it allows. If undone resets and finishes would make
//! it so, zones are switched back to *keep all*, in order, until it fits.

use std::collections::BTreeMap;

use super::journal::{Deed, Line, Patches, Point};
use super::mix::Rng;
use super::run::Run;
use super::state::State;

/// What became of the effects that no sync covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of them survived.
    KeepAll,
    /// None of them survived.
    LoseAll,
    /// Chosen at random, by this seed.
    Seeded(u64),
    /// The combination of this number, below [`outcome_count`](crate::Drive::outcome_count).
    Enumerated(u64),
}

/// How a block is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tear {
    Garbage,
    Unreadable,
}

/// What survives of a sequential zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// So many effects survive whole.
    effects: usize,
    /// And so many blocks of the write after them.
    blocks: u32,
    /// The last surviving block is torn.
    torn: Option<Tear>,
}

/// What becomes of one block of a conventional zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Back to what it held before its unsynced write of this number, counted from the oldest.
    Lost(usize),
    Torn(Tear),
}

/// The fate of each unsynced block of a conventional zone.
type Fates = BTreeMap<u32, Fate>;

/// The decisions for all zones.
#[derive(Default)]
struct Verdict {
    cuts: Vec<(u32, Cut)>,
    fates: Vec<(u32, Fates)>,
}

impl State {
    /// How many combinations [`Outcome::Enumerated`] knows, at most `cap`.
    pub(crate) fn outcome_count(&self, cap: u64) -> u64 {
        let cuts = self.journal.lines.values().map(|line| cut_choices(line).len());
        let fates = self.journal.patches.values().map(|p| fate_choices(p).len());
        let product = |all: u64, n: usize| all.saturating_mul(n as u64);
        cuts.chain(fates).fold(1, product).min(cap)
    }

    /// Power returns, after it was cut.
    pub(crate) fn power_on(&mut self, outcome: Outcome) {
        assert!(self.cut, "power was not cut");
        let mut verdict = match outcome {
            Outcome::KeepAll => self.decide(&mut |_| 0),
            Outcome::LoseAll => self.lose_all(),
            Outcome::Seeded(seed) => self.draw(seed),
            Outcome::Enumerated(index) => {
                let (mut rest, mut first) = (index, None);
                self.decide(&mut |n| {
                    let n = n as u64;
                    let digit = rest % n + first.unwrap_or(0);
                    first.get_or_insert(digit);
                    rest /= n;
                    (digit % n) as usize
                })
            }
        };
        self.keep_within_active(&mut verdict);
        let gone = self.gone(&verdict);
        for (zone, fates) in verdict.fates {
            self.apply_fates(zone, &fates);
        }
        let undone = self.apply_cuts(&verdict.cuts);
        self.zones.close_all();
        self.struck.ledger.power_on(&gone);
        self.spoil_power_on(&undone);
        self.journal.clear();
        self.events.clear();
        self.cut = false;
        self.trace.add(0x6f6e_2121);
    }

    /// The zones of which something unsynced goes.
    fn gone(&self, verdict: &Verdict) -> Vec<u32> {
        let is_kept = |fates: &Fates| fates.values().all(|fate| *fate == Fate::Kept);
        let cut = verdict.cuts.iter().filter(|(zone, cut)| {
            self.journal.lines.get(zone).is_some_and(|line| *cut != Cut::all(line))
        });
        let fates = verdict.fates.iter().filter(|(_, fates)| !is_kept(fates));
        cut.map(|(zone, _)| *zone).chain(fates.map(|(zone, _)| *zone)).collect()
    }

    /// One of its choices for each zone, by number; `pick` gets how many there are.
    fn decide(&self, pick: &mut dyn FnMut(usize) -> usize) -> Verdict {
        let mut verdict = Verdict::default();
        for (&zone, line) in &self.journal.lines {
            let choices = cut_choices(line);
            verdict.cuts.push((zone, choices[pick(choices.len())]));
        }
        for (&zone, patches) in &self.journal.patches {
            let mut choices = fate_choices(patches);
            let picked = pick(choices.len());
            verdict.fates.push((zone, choices.swap_remove(picked)));
        }
        verdict
    }

    fn lose_all(&self) -> Verdict {
        let lines = self.journal.lines.keys();
        let patches = self.journal.patches.iter();
        Verdict {
            cuts: lines.map(|&zone| (zone, Cut::NOTHING)).collect(),
            fates: patches.map(|(&zone, p)| (zone, all(p, Fate::Lost(0)))).collect(),
        }
    }

    fn draw(&self, seed: u64) -> Verdict {
        let mut rng = Rng::new(seed);
        let mut verdict = Verdict::default();
        for (&zone, line) in &self.journal.lines {
            verdict.cuts.push((zone, draw_cut(line, &mut rng)));
        }
        for (&zone, patches) in &self.journal.patches {
            verdict.fates.push((zone, draw_fates(patches, &mut rng)));
        }
        verdict
    }

    /// Switches zones to *keep all* until the active limit holds.
    fn keep_within_active(&self, verdict: &mut Verdict) {
        let Some(max) = self.spec.active_zones_max else {
            return;
        };
        let active = |point: Point| u32::from(point.written > 0 && !point.full);
        let lines = &self.journal.lines;
        let untouched = (0..self.zones.len())
            .filter(|zone| self.zones.condition(*zone).is_active() && !lines.contains_key(zone));
        let mut count = untouched.filter(|&zone| active(self.point(zone)) == 1).count() as u32;
        count += verdict.cuts.iter().map(|(z, cut)| active(cut.point(&lines[z]))).sum::<u32>();
        for (zone, cut) in &mut verdict.cuts {
            if count <= max {
                break;
            }
            let line = &lines[zone];
            count -= active(cut.point(line));
            *cut = Cut::all(line);
            count += active(cut.point(line));
        }
        assert!(count <= max, "more active zones than before the cut");
    }

    /// Brings each sequential zone to where its line was cut; first those that release resources.
    /// Returns the zones whose reset was undone, with the request that was to reset them.
    fn apply_cuts(&mut self, cuts: &[(u32, Cut)]) -> Vec<(u32, u64)> {
        let mut undone = Vec::new();
        let mut points = Vec::with_capacity(cuts.len());
        for &(zone, cut) in cuts {
            let line = &self.journal.lines[&zone];
            let point = cut.point(line);
            let later = line.effects.iter().skip(cut.effects);
            let mut held = later.filter_map(|effect| match &effect.deed {
                Deed::Reset(held) => Some((effect.id, held.clone())),
                Deed::Write(_) | Deed::Finish => None,
            });
            if let Some((id, held)) = held.next() {
                self.blocks.put(zone, held);
                undone.push((zone, id));
            }
            self.blocks.zone_mut(zone).truncate(point.written);
            if let Some(tear) = cut.torn {
                self.tear(zone, point.written - 1, None, tear);
            }
            self.trace.add(u64::from(zone) << 32 | u64::from(point.written));
            points.push((zone, point));
        }
        points.sort_by_key(|(_, point)| point.written > 0 && !point.full);
        self.zones.close_all();
        for (zone, point) in points {
            if self.zones.condition(zone).is_usable() {
                self.zones.restore(zone, point.written, point.full);
            }
        }
        undone
    }

    fn apply_fates(&mut self, zone: u32, fates: &Fates) {
        for (&block, &fate) in fates {
            let history = &self.journal.patches[&zone].blocks[&block];
            match fate {
                Fate::Kept => {}
                Fate::Lost(at) => {
                    let before = history[at].block.clone();
                    self.blocks.zone_mut(zone).put(block, before);
                }
                Fate::Torn(tear) => {
                    let before = history.last().and_then(|b| b.block.clone());
                    self.tear(zone, block, before, tear);
                }
            }
        }
    }

    /// Tears a block that holds its new bytes and held `before`.
    fn tear(&mut self, zone: u32, block: u32, before: Option<Run>, tear: Tear) {
        let torn = match tear {
            Tear::Unreadable => Run::bad(),
            Tear::Garbage => {
                let mut new = vec![0; self.spec.block_len_bytes as usize];
                let mut old = new.clone();
                // What cannot be read counts as zeros.
                let _ = self.blocks.read(zone, block, &mut new);
                self.blocks.zone_mut(zone).put(block, before);
                let _ = self.blocks.read(zone, block, &mut old);
                self.mingle(&mut new, &old);
                Run::block(&new)
            }
        };
        self.blocks.zone_mut(zone).put(block, Some(torn));
    }

    /// Makes of a new and an old block one that is neither: new bytes, a random one, old ones.
    fn mingle(&mut self, new: &mut [u8], old: &[u8]) {
        let from = self.rng.below(new.len() as u64) as usize;
        let mut random = self.rng.next() as u8;
        while random == new[from] || random == old[from] {
            random = random.wrapping_add(1);
        }
        new[from] = random;
        new[from + 1..].copy_from_slice(&old[from + 1..]);
    }
}

impl Cut {
    /// Nothing unsynced survives.
    const NOTHING: Self = Self { effects: 0, blocks: 0, torn: None };

    /// Everything survives.
    fn all(line: &Line) -> Self {
        Self { effects: line.effects.len(), ..Self::NOTHING }
    }

    /// The state of the zone.
    fn point(&self, line: &Line) -> Point {
        let mut point = line.point(self.effects);
        point.written += self.blocks;
        point
    }

    /// The same with the last surviving block torn, if that block is an unsynced one.
    fn torn(self, line: &Line, tear: Tear) -> Option<Self> {
        let written = |i: usize| matches!(line.effects[i].deed, Deed::Write(_));
        let unsynced = self.blocks > 0 || (self.effects > 0 && written(self.effects - 1));
        unsynced.then_some(Self { torn: Some(tear), ..self })
    }
}

/// The representative choices for a sequential zone; the first is *keep all*.
fn cut_choices(line: &Line) -> Vec<Cut> {
    let all = Cut::all(line);
    let mut choices = vec![all, Cut::NOTHING];
    let writes = line.effects.iter().enumerate().rev();
    let mut last_write = writes.filter_map(|(i, effect)| match effect.deed {
        Deed::Write(count) => Some((i, count)),
        Deed::Finish | Deed::Reset(_) => None,
    });
    choices.push(Cut { effects: line.effects.len() - 1, ..Cut::NOTHING });
    if let Some((effects, count)) = last_write.next() {
        let blocks = count / 2;
        choices.push(Cut { effects, blocks, torn: None });
        let whole = Cut { effects: effects + 1, ..Cut::NOTHING };
        choices.extend(whole.torn(line, Tear::Garbage));
        choices.extend(whole.torn(line, Tear::Unreadable));
    }
    without_duplicates(choices)
}

/// The representative choices for a conventional zone; the first is *keep all*.
fn fate_choices(patches: &Patches) -> Vec<Fates> {
    let mut choices = vec![all(patches, Fate::Kept), all(patches, Fate::Lost(0))];
    let writes = &patches.writes;
    let (Some((&first, _)), Some((&last, patch))) =
        (writes.first_key_value(), writes.last_key_value())
    else {
        return choices;
    };
    let only = |id: u64| {
        let fates = patches.blocks.iter().map(|(&block, history)| {
            let at = history.iter().position(|before| before.id == id);
            let fate = match at {
                Some(at) if at + 1 == history.len() => Fate::Kept,
                Some(at) => Fate::Lost(at + 1),
                None => Fate::Lost(0),
            };
            (block, fate)
        });
        fates.collect::<Fates>()
    };
    choices.push(only(last));
    choices.push(only(first));
    for tear in [Tear::Garbage, Tear::Unreadable] {
        let mut fates = all(patches, Fate::Kept);
        fates.insert(patch.at, Fate::Torn(tear));
        choices.push(fates);
    }
    without_duplicates(choices)
}

fn without_duplicates<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(all.len());
    for item in all {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn all(patches: &Patches, fate: Fate) -> Fates {
    patches.blocks.keys().map(|&block| (block, fate)).collect()
}

fn draw_tear(rng: &mut Rng) -> Tear {
    match rng.below(2) {
        0 => Tear::Garbage,
        _ => Tear::Unreadable,
    }
}

/// One time in four all, one in four nothing, otherwise any block; torn one time in three.
fn draw_cut(line: &Line, rng: &mut Rng) -> Cut {
    let cut = match rng.below(4) {
        0 => Cut::all(line),
        1 => Cut::NOTHING,
        _ => {
            let effects = rng.below(line.effects.len() as u64 + 1) as usize;
            let blocks = match line.effects.get(effects).map(|effect| &effect.deed) {
                Some(&Deed::Write(count)) => rng.below(count.into()) as u32,
                _ => 0,
            };
            Cut { effects, blocks, torn: None }
        }
    };
    match rng.below(3) {
        0 => cut.torn(line, draw_tear(rng)).unwrap_or(cut),
        _ => cut,
    }
}

/// One time in four all kept, one in four all lost, otherwise each block on its own.
fn draw_fates(patches: &Patches, rng: &mut Rng) -> Fates {
    let mode = rng.below(4);
    let mut fates = Fates::new();
    for (&block, history) in &patches.blocks {
        let fate = match (mode, rng.below(5)) {
            (0, _) | (2.., 0 | 1) => Fate::Kept,
            (1, _) => Fate::Lost(0),
            (_, 2 | 3) => Fate::Lost(rng.below(history.len() as u64) as usize),
            _ => Fate::Torn(draw_tear(rng)),
        };
        fates.insert(block, fate);
    }
    fates
}
