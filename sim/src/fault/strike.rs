//! Which rules of a plan strike a request, and which of its blocks.
//!
//! Each rule draws from a generator of its own, seeded by the plan's seed and the rule's text: to
//! take a rule out of a plan leaves alone what the others do, as long as the requests stay the
//! same. A rule draws only for requests that it fits.
//!
//! Invariants: S1 a rule that does not grow or stick strikes at most as often as it says; S2 what
//! sticks strikes every later request that touches it, and what sticks to a structure does as long
//! as the place holds that; S3 of writes and at the gate, one rule strikes a request, the first
//! that fits.

use std::collections::BTreeSet;
use std::ops::Range;

use shingle_hal::{ElementId, Extent, Lba, ZoneId};

use super::medium::Medium;
use super::plan::{FaultKind, FaultPlan, Rule, Scope, Stage, Structure, Times, Trigger};
use super::structure::{structure_at, zone_holds};
use crate::drive::{Rng, mix};

/// A request, as the rules see it.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The step that it is at.
    pub(crate) stage: Stage,
    /// The blocks it touches; of a request to a zone all of that.
    pub(crate) extent: Option<Extent>,
    /// Whether it is one to a zone.
    pub(crate) whole_zone: bool,
    /// What a write brings; of a reset, what the zone's first block held.
    pub(crate) data: &'a [u8],
    /// The zones that may be hit where a request has no place.
    pub(crate) zones: &'a [u32],
    /// Its number, and when it is.
    pub(crate) request: u64,
    pub(crate) now_ns: u64,
}

/// A rule strikes.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    /// What happens.
    pub(crate) kind: FaultKind,
    /// To which blocks of the request, ascending; none for what hits no blocks.
    pub(crate) blocks: Vec<u64>,
    /// To which zones, or to one of which, for what hits zones.
    pub(crate) zones: Vec<u32>,
    /// Whether it is not the repetition of one that sticks.
    pub(crate) fresh: bool,
    /// For whatever else is left to chance.
    pub(crate) dice: Rng,
}

/// A rule, and how far it has come.
#[derive(Clone, Debug)]
struct Armed {
    rule: Rule,
    dice: Rng,
    /// So many fresh strikes are left.
    left: u32,
    /// Blocks that stay as they are.
    stuck: BTreeSet<u64>,
    /// All blocks of the scope, once they stay as they are.
    stuck_scope: Range<u64>,
    /// The zone of the copy that is hit.
    copy: Option<u32>,
}

impl Strike {
    /// One of the zones.
    pub(crate) fn zone(&mut self) -> Option<u32> {
        match self.zones.len() as u64 {
            0 => None,
            count => Some(self.zones[self.dice.below(count) as usize]),
        }
    }
}

/// A plan in force.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    rules: Vec<Armed>,
    request_base: u64,
    base_ns: u64,
}

impl Rules {
    /// `plan`, set at a drive's request and time of these numbers.
    pub(crate) fn new(plan: &FaultPlan, seed: u64, request: u64, now_ns: u64) -> Self {
        let armed = |rule: &Rule| {
            let text = u64::from(crc32c::crc32c(rule.to_string().as_bytes()));
            let endless =
                matches!(rule.trigger, Trigger::Chance { .. }) || !rule.kind.hits_blocks();
            Armed {
                rule: *rule,
                dice: Rng::new(mix(seed ^ mix(text))),
                left: match rule.times {
                    Times::Times(count) => count,
                    Times::Sticky | Times::Growing if endless => u32::MAX,
                    Times::Sticky | Times::Growing => 1,
                },
                stuck: BTreeSet::new(),
                stuck_scope: 0..0,
                copy: None,
            }
        };
        Self {
            rules: plan.rules.iter().map(armed).collect(),
            request_base: request,
            base_ns: now_ns,
        }
    }

    /// The number that a rule knows `request` by.
    pub(crate) fn number(&self, request: u64) -> u64 {
        request - self.request_base
    }

    /// Whether any rule is of this kind.
    pub(crate) fn has(&self, kind: FaultKind) -> bool {
        self.rules.iter().any(|armed| armed.rule.kind == kind)
    }

    /// Which rules strike.
    pub(crate) fn strikes(&mut self, ask: &Ask<'_>, medium: &dyn Medium) -> Vec<Strike> {
        let ask =
            Ask { request: self.number(ask.request), now_ns: ask.now_ns - self.base_ns, ..*ask };
        let one = matches!(ask.stage, Stage::Write | Stage::Gate);
        let of_stage = self.rules.iter_mut().filter(|a| a.rule.kind.stage() == ask.stage);
        let strikes = of_stage.filter_map(|armed| armed.strike(&ask, medium));
        strikes.take(if one { 1 } else { usize::MAX }).collect()
    }
}

impl Armed {
    fn strike(&mut self, ask: &Ask<'_>, medium: &dyn Medium) -> Option<Strike> {
        let again = self.strike_again(ask, medium);
        if again.is_some() {
            return again;
        }
        if self.left == 0 || !self.is_due(ask) {
            return None;
        }
        let (candidates, zones) = self.fit(ask, medium)?;
        if let Trigger::Chance { ppb } = self.rule.trigger
            && self.dice.below(1_000_000_000) >= ppb.into()
        {
            return None;
        }
        if self.left < u32::MAX {
            self.left -= 1;
        }
        let blocks = self.choose(ask, &candidates);
        self.stick(&blocks, medium);
        Some(self.struck(blocks, zones, true))
    }

    /// What stuck strikes again where the request touches it.
    fn strike_again(&mut self, ask: &Ask<'_>, medium: &dyn Medium) -> Option<Strike> {
        let extent = ask.extent?;
        let range = extent.start.0..extent.end().0;
        let whole = self.stuck_scope.start.max(range.start)..self.stuck_scope.end.min(range.end);
        let mut blocks: BTreeSet<u64> = self.stuck.range(range).copied().collect();
        blocks.extend(whole);
        if !blocks.is_empty() && matches!(self.rule.scope, Scope::Structure(_)) {
            // The place may hold something else by now.
            let left = self.candidates(ask, medium);
            blocks.retain(|block| left.contains(block));
        }
        if blocks.is_empty() {
            return None;
        }
        let blocks: Vec<u64> = blocks.into_iter().collect();
        self.stick(&blocks, medium);
        Some(self.struck(blocks, Vec::new(), false))
    }

    fn struck(&mut self, blocks: Vec<u64>, zones: Vec<u32>, fresh: bool) -> Strike {
        let dice = Rng::new(self.dice.next());
        Strike { kind: self.rule.kind, blocks, zones, fresh, dice }
    }

    fn is_due(&self, ask: &Ask<'_>) -> bool {
        match self.rule.trigger {
            Trigger::Request(number) => ask.request >= number,
            Trigger::Time { ns } => ask.now_ns >= ns,
            Trigger::Chance { .. } => true,
        }
    }

    /// The blocks and the zones of which one may be hit; `None` if the rule does not fit.
    fn fit(&mut self, ask: &Ask<'_>, medium: &dyn Medium) -> Option<(Vec<u64>, Vec<u32>)> {
        let zones = match ask.stage {
            Stage::Arrival if self.rule.kind != FaultKind::PowerCut => {
                return self.fit_zone(ask, medium).map(|zones| (Vec::new(), zones));
            }
            Stage::Sync | Stage::PowerOn => {
                let in_scope = |zone: &u32| match self.rule.scope {
                    Scope::Zone(wanted) => wanted.0 == *zone,
                    Scope::Element(wanted) => wanted.0 == medium.element_of(*zone),
                    _ => true,
                };
                let zones: Vec<u32> = ask.zones.iter().copied().filter(in_scope).collect();
                let is_needed = self.rule.kind != FaultKind::SyncError;
                return (!zones.is_empty() || !is_needed).then_some((Vec::new(), zones));
            }
            _ => Vec::new(),
        };
        if self.rule.scope == Scope::Anywhere && ask.extent.is_none() {
            return Some((Vec::new(), zones));
        }
        let blocks = self.candidates(ask, medium);
        (!blocks.is_empty()).then_some((blocks, zones))
    }

    /// The zones of which one may be taken from use.
    fn fit_zone(&mut self, ask: &Ask<'_>, medium: &dyn Medium) -> Option<Vec<u32>> {
        let geometry = medium.geometry();
        let touched = |extent: Extent| geometry.zone_of(extent.start).0;
        let zones = match self.rule.scope {
            Scope::Lba(lba) => vec![geometry.zone_of(lba).0],
            Scope::Extent(extent) => vec![touched(extent)],
            Scope::Zone(zone) => vec![zone.0],
            Scope::Element(ElementId(element)) => {
                let zones = 0..geometry.zone_count;
                zones.filter(|zone| medium.element_of(*zone) == element).collect()
            }
            Scope::Anywhere => vec![touched(ask.extent?)],
            Scope::Structure(_) => {
                let blocks = self.candidates(ask, medium);
                vec![geometry.zone_of(Lba(*blocks.first()?)).0]
            }
        };
        let is_left = |zone: &u32| match self.rule.kind {
            _ if *zone >= geometry.zone_count => false,
            FaultKind::ElementSlow => !medium.is_slow(medium.element_of(*zone)),
            FaultKind::ElementLost => !medium.is_lost(medium.element_of(*zone)),
            _ => medium.is_usable(*zone),
        };
        let zones: Vec<u32> = zones.into_iter().filter(is_left).collect();
        (!zones.is_empty()).then_some(zones)
    }

    /// Which blocks of the request are in the scope.
    fn candidates(&mut self, ask: &Ask<'_>, medium: &dyn Medium) -> Vec<u64> {
        let Some(extent) = ask.extent else {
            return Vec::new();
        };
        let geometry = medium.geometry();
        let zone = geometry.zone_of(extent.start);
        let (start, end) = (extent.start.0, extent.end().0);
        let range = match self.rule.scope {
            Scope::Anywhere => start..end,
            Scope::Lba(lba) => start.max(lba.0)..end.min(lba.0.saturating_add(1)),
            Scope::Extent(part) => start.max(part.start.0)..end.min(part.end().0),
            Scope::Zone(ZoneId(wanted)) if zone.0 == wanted => start..end,
            Scope::Element(wanted) if medium.element_of(zone.0) == wanted.0 => start..end,
            Scope::Zone(_) | Scope::Element(_) => 0..0,
            Scope::Structure(structure) => {
                let blocks = of_structure(ask, medium, extent, structure);
                let is_copied = matches!(structure, Structure::Superblock | Structure::Manifest);
                if is_copied && !blocks.is_empty() && !self.is_copy(zone.0, structure, medium) {
                    return Vec::new();
                }
                return blocks;
            }
        };
        range.collect()
    }

    /// Whether `zone` is the copy that this rule hits; it becomes that if there is none yet, or, as
    /// the manifest moves from zone to zone, if that does not hold the structure any more.
    fn is_copy(&mut self, zone: u32, structure: Structure, medium: &dyn Medium) -> bool {
        let start = |zone| medium.geometry().zone_start(ZoneId(zone));
        let holds = |zone: u32| {
            let header = medium.block(start(zone));
            header.is_some_and(|header| zone_holds(&header, structure))
        };
        let stays = |copy: &u32| structure == Structure::Superblock || holds(*copy);
        let copy = self.copy.filter(stays).unwrap_or(zone);
        self.copy = Some(copy);
        copy == zone
    }

    /// Which of the candidates are hit.
    fn choose(&mut self, ask: &Ask<'_>, candidates: &[u64]) -> Vec<u64> {
        let Some(extent) = ask.extent.filter(|_| self.rule.kind.hits_blocks()) else {
            return Vec::new();
        };
        let is_place = matches!(self.rule.scope, Scope::Lba(_) | Scope::Extent(_));
        match self.rule.kind {
            FaultKind::TornWrite => vec![extent.end().0 - 1],
            FaultKind::LostWrite | FaultKind::MisdirectedWrite => {
                (extent.start.0..extent.end().0).collect()
            }
            _ if is_place && !matches!(self.rule.times, Times::Times(_)) => candidates.to_vec(),
            _ => vec![candidates[self.dice.below(candidates.len() as u64) as usize]],
        }
    }

    /// What was hit stays so, and spreads, if the rule says so.
    fn stick(&mut self, blocks: &[u64], medium: &dyn Medium) {
        if matches!(self.rule.times, Times::Times(_)) || !self.rule.kind.hits_blocks() {
            return;
        }
        match self.rule.scope {
            Scope::Lba(lba) => self.stuck_scope = lba.0..lba.0.saturating_add(1),
            Scope::Extent(extent) => self.stuck_scope = extent.start.0..extent.end().0,
            _ => self.stuck.extend(blocks),
        }
        if self.rule.times == Times::Growing {
            let geometry = medium.geometry();
            for &block in blocks {
                let zone = geometry.zone_of(Lba(block));
                let beside = [block.wrapping_sub(1), block + 1];
                let same = |lba: &u64| geometry.zone_of(Lba(*lba)) == zone;
                self.stuck.extend(beside.into_iter().filter(same));
            }
        }
    }
}

/// Which blocks of a request are of `structure`.
fn of_structure(
    ask: &Ask<'_>,
    medium: &dyn Medium,
    extent: Extent,
    structure: Structure,
) -> Vec<u64> {
    let (start, end) = (extent.start.0, extent.end().0);
    if ask.whole_zone {
        let given = (!ask.data.is_empty()).then(|| ask.data.to_vec());
        let header = given.or_else(|| medium.block(extent.start));
        let holds = header.is_some_and(|header| zone_holds(&header, structure));
        return if holds { vec![start] } else { Vec::new() };
    }
    let block_len = medium.geometry().block_len_bytes as usize;
    let fetch = |lba: Lba| {
        let at = lba.0.checked_sub(start).map(|at| at as usize * block_len);
        match at.and_then(|at| ask.data.get(at..at + block_len)) {
            Some(block) => Some(block.to_vec()),
            None => medium.block(lba),
        }
    };
    let is_wanted = |lba: &u64| structure_at(medium, Lba(*lba), &fetch) == Some(structure);
    (start..end).filter(is_wanted).collect()
}
