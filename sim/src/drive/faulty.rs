//! The plan of faults in a drive: set and lifted, asked, and applied before requests.
//!
//! ```text
//!   begin ──> spoil_arrival        zones and elements go, power fails
//!   gated ──> gate                 errors before the effect, slow elements, timeouts
//!     try_read, try_write, sync, reset ──> spoil       what becomes of the effect
//!   power_on ──> spoil             after the cuts were applied
//!   advance  ──> pull              late completions in their order
//! ```
//!
//! Every function here does nothing on a drive without a plan. A fault strikes only requests that
//! would succeed, but for those at the gate, so that a caller's bug is still told as one.
//!
//! Invariants: F1 blocks, journal and zones stay consistent as without faults; F2 what can be
//! lifted is in the overlay, `taken` or `capacities`, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use shingle_hal::{ElementId, ErrorKind, Event, Extent, Geometry, Lba, ZoneCondition, ZoneId};

use super::blocks::{Blocks, ZoneBlocks};
use super::mix::{Rng, mix};
use super::run::Run;
use super::state::{Accepted, Place, State};
use super::zones::ZoneTable;
use crate::fault::{
    Ask, FaultHit, FaultKind, FaultPlan, Ledger, Medium, Overlay, Rules, Stage, Strike,
};
use crate::media::MediaSpec;
use crate::timing::Op;

/// What a request to a slow element takes more.
const SLOW_MS: (u64, u64) = (20, 200);
/// How long a request takes that times out.
const TIMEOUT_MS: (u64, u64) = (8_000, 30_000);

/// The condition, capacity and blocks written of a zone.
type AtRest = (ZoneCondition, u32, u32);

/// A plan in force, and what it did so far that can be lifted.
#[derive(Clone)]
pub(crate) struct Faults {
    pub(super) rules: Rules,
    pub(super) overlay: Overlay,
    /// Zones that were taken out of use, as they were.
    pub(super) taken: BTreeMap<u32, AtRest>,
    /// Zones that shrank: by which resets, and the capacity before each.
    pub(super) capacities: BTreeMap<u32, Vec<(u64, u32)>>,
    pub(super) slow: BTreeSet<u16>,
    pub(super) lost: BTreeSet<u16>,
    /// What sequential zones held before their last reset.
    pub(super) lives: BTreeMap<u32, Rc<ZoneBlocks>>,
    /// What blocks of conventional zones held before their last write.
    pub(super) before: BTreeMap<(u32, u32), Run>,
    pub(super) dice: Rng,
}

/// What a plan did.
#[derive(Clone, Default)]
pub(crate) struct Struck {
    pub(crate) ledger: Ledger,
    pub(crate) hits: Vec<FaultHit>,
}

/// What becomes of a request at the gate.
enum Gate {
    /// It goes on, and completes so much later.
    Pass(u64),
    /// It is refused.
    Refuse(ErrorKind),
    /// It fails with a timeout after so long, with or without effect.
    Lose { extra_ns: u64, effect: bool },
}

/// The drive as the rules see it.
struct Pristine<'a> {
    geometry: Geometry,
    spec: &'a MediaSpec,
    zones: &'a ZoneTable,
    blocks: &'a Blocks,
    slow: &'a BTreeSet<u16>,
    lost: &'a BTreeSet<u16>,
}

impl Medium for Pristine<'_> {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn element_of(&self, zone: u32) -> u16 {
        self.spec.element_of(zone)
    }

    fn block(&self, lba: Lba) -> Option<Vec<u8>> {
        let zone = self.geometry.zone_of(lba);
        let at = (lba.0 - self.geometry.zone_start(zone).0) as u32;
        let is_written = zone.0 < self.zones.len()
            && (self.zones.is_conventional(zone.0) || at < self.zones.written(zone.0));
        let mut bytes = vec![0; self.spec.block_len_bytes as usize];
        let read = is_written.then(|| self.blocks.read(zone.0, at, &mut bytes));
        matches!(read, Some(Ok(()))).then_some(bytes)
    }

    fn is_usable(&self, zone: u32) -> bool {
        self.zones.condition(zone).is_usable()
    }

    fn is_slow(&self, element: u16) -> bool {
        self.slow.contains(&element)
    }

    fn is_lost(&self, element: u16) -> bool {
        self.lost.contains(&element)
    }
}

impl State {
    /// `plan` is in force from now on.
    pub(crate) fn set_faults(&mut self, plan: &FaultPlan, seed: u64) {
        for rule in &plan.rules {
            assert_eq!(rule.nonsense(), None, "{rule}");
        }
        self.lift_faults();
        self.struck = Struck::default();
        if plan.rules.is_empty() {
            return;
        }
        self.faults = Some(Box::new(Faults {
            rules: Rules::new(plan, seed, self.requests, self.now_ns),
            overlay: Overlay::default(),
            taken: BTreeMap::new(),
            capacities: BTreeMap::new(),
            slow: BTreeSet::new(),
            lost: BTreeSet::new(),
            lives: BTreeMap::new(),
            before: BTreeMap::new(),
            dice: Rng::new(mix(seed)),
        }));
    }

    /// No plan is in force any more, and the pristine medium shows again.
    pub(crate) fn lift_faults(&mut self) {
        let Some(faults) = self.faults.take() else {
            return;
        };
        for (&zone, shrunk) in &faults.capacities {
            self.zones.set_capacity(zone, shrunk[0].1);
            self.events.push_back(Event::ZoneChanged(ZoneId(zone)));
        }
        for (&zone, &(condition, _, written)) in &faults.taken {
            let capacity = self.zones.capacity(zone);
            self.zones.bring_back(zone, (condition, capacity, written));
            self.events.push_back(Event::ZoneChanged(ZoneId(zone)));
        }
    }

    /// The zones at rest, as they are without faults.
    pub(crate) fn pristine_zones(&self) -> Vec<AtRest> {
        let mut zones: Vec<AtRest> =
            (0..self.zones.len()).map(|zone| self.zones.stored(zone)).collect();
        let Some(faults) = self.faults.as_deref() else {
            return zones;
        };
        for (&zone, shrunk) in &faults.capacities {
            zones[zone as usize].1 = shrunk[0].1;
        }
        let mut left = self.zones.active_left();
        for (&zone, &(condition, _, written)) in &faults.taken {
            let fits = !condition.is_active() || left > 0;
            left -= u32::from(condition.is_active() && fits);
            let capacity = zones[zone as usize].1;
            let condition = if fits { condition } else { ZoneCondition::Full };
            zones[zone as usize] = (condition, capacity, written);
        }
        zones
    }

    /// A request arrived: what goes with it; whether power fails.
    pub(crate) fn spoil_arrival(&mut self, op: Op, at: u64, len: u64) -> bool {
        if self.faults.is_none() {
            return false;
        }
        let (extent, whole_zone) = self.extent_of(op, at, len);
        let mut cut = false;
        for mut strike in self.ask(Stage::Arrival, extent, whole_zone, &[], &[]) {
            let Some(zone) = strike.zone() else {
                self.note(strike.kind, extent.unwrap_or_default(), true);
                cut |= strike.kind == FaultKind::PowerCut;
                continue;
            };
            self.note(strike.kind, self.zone_extent(zone), true);
            let element = self.spec.element_of(zone);
            match strike.kind {
                FaultKind::ElementSlow => {
                    self.faults.iter_mut().for_each(|faults| faults.slow.extend([element]));
                }
                FaultKind::ElementLost => self.lose_element(element),
                FaultKind::ZoneReadOnly => self.take_zone(zone, ZoneCondition::ReadOnly),
                _ => self.take_zone(zone, ZoneCondition::Offline),
            }
        }
        cut
    }

    fn take_zone(&mut self, zone: u32, condition: ZoneCondition) {
        self.take_zone_quietly(zone, condition);
        self.events.push_back(Event::ZoneChanged(ZoneId(zone)));
    }

    fn lose_element(&mut self, element: u16) {
        for zone in 0..self.zones.len() {
            if self.spec.element_of(zone) == element {
                self.take_zone_quietly(zone, ZoneCondition::Offline);
                self.struck.ledger.change(zone);
            }
        }
        if let Some(faults) = self.faults.as_deref_mut() {
            faults.lost.insert(element);
        }
        self.events.push_back(Event::ElementLost(ElementId(element)));
    }

    /// What a zone holds when it is taken out of use is durable.
    fn take_zone_quietly(&mut self, zone: u32, condition: ZoneCondition) {
        let at_rest = self.zones.stored(zone);
        // A zone that failed by itself does not come back when faults are lifted.
        let came_by_itself = !at_rest.0.is_usable();
        if let Some(faults) = self.faults.as_deref_mut().filter(|_| !came_by_itself) {
            faults.taken.entry(zone).or_insert(at_rest);
        }
        self.zones.take_out(zone, condition);
        self.journal.lines.remove(&zone);
        self.journal.patches.remove(&zone);
    }

    /// Lets `act` have its effect, or not, as the plan says.
    pub(crate) fn gated(
        &mut self,
        op: Op,
        at: u64,
        len: u64,
        act: impl FnOnce(&mut Self) -> Result<Accepted, ErrorKind>,
    ) -> Result<Accepted, ErrorKind> {
        if self.faults.is_none() {
            return act(self);
        }
        match self.gate(op, at, len) {
            Gate::Pass(more_ns) => act(self).map(|mut accepted| {
                accepted.extra_ns += more_ns;
                accepted
            }),
            Gate::Refuse(kind) => Err(kind),
            Gate::Lose { extra_ns, effect } => {
                let mut accepted = if effect { act(self)? } else { Accepted::control() };
                accepted.planned = Err(ErrorKind::Timeout);
                accepted.extra_ns += extra_ns;
                Ok(accepted)
            }
        }
    }

    fn gate(&mut self, op: Op, at: u64, len: u64) -> Gate {
        let (extent, whole_zone) = self.extent_of(op, at, len);
        let zone = extent.map(|extent| self.geometry.zone_of(extent.start).0);
        let element = zone.map(|zone| self.spec.element_of(zone));
        if let (Some(zone), Some(extent)) = (zone, extent) {
            self.struck.ledger.see(zone, extent.start.0);
        }
        if let Some(faults) = self.faults.as_deref()
            && element.is_some_and(|element| faults.lost.contains(&element))
        {
            // Both answers are allowed; a zone always gives the same.
            let is_odd = mix(zone.unwrap_or_default().into()) & 1 == 1;
            let kind = if is_odd { ErrorKind::ElementLost } else { ErrorKind::ZoneOffline };
            return Gate::Refuse(kind);
        }
        let strike = self.ask(Stage::Gate, extent, whole_zone, &[], &[]).pop();
        if let Some(mut strike) = strike {
            self.note(strike.kind, extent.unwrap_or_default(), true);
            let is_late = strike.kind == FaultKind::Timeout;
            let effect = is_late && strike.dice.below(2) == 0;
            let extra_ns = if is_late { between_ns(&mut strike.dice, TIMEOUT_MS) } else { 0 };
            return Gate::Lose { extra_ns, effect };
        }
        match self.faults.as_deref_mut() {
            Some(faults) if element.is_some_and(|element| faults.slow.contains(&element)) => {
                Gate::Pass(between_ns(&mut faults.dice, SLOW_MS))
            }
            _ => Gate::Pass(0),
        }
    }

    /// Takes the next completion from the time model, unless one is held; one that is to come late
    /// is put aside. Returns the late one that comes next, if it comes before the one held.
    pub(crate) fn pull(&mut self) -> Option<(u64, u64)> {
        while self.held.is_none() {
            let Some((id, at_ns)) = self.timing.next_completion() else {
                break;
            };
            match self.flights.get(&id).map_or(0, |entry| entry.extra_ns) {
                0 => self.held = Some((id, at_ns)),
                extra_ns => drop(self.late.insert((at_ns + extra_ns, id))),
            }
        }
        let &(at_ns, id) = self.late.first()?;
        self.held.is_none_or(|(_, held_ns)| at_ns < held_ns).then_some((id, at_ns))
    }

    /// Which rules strike.
    pub(super) fn ask(
        &mut self,
        stage: Stage,
        extent: Option<Extent>,
        whole_zone: bool,
        data: &[u8],
        zones: &[u32],
    ) -> Vec<Strike> {
        let Some(faults) = self.faults.as_deref_mut() else {
            return Vec::new();
        };
        let pristine = Pristine {
            geometry: self.geometry,
            spec: &self.spec,
            zones: &self.zones,
            blocks: &self.blocks,
            slow: &faults.slow,
            lost: &faults.lost,
        };
        let (request, now_ns) = (self.requests, self.now_ns);
        let ask = Ask { stage, extent, whole_zone, data, zones, request, now_ns };
        faults.rules.strikes(&ask, &pristine)
    }

    /// Counts a strike, and remembers a fresh one.
    pub(super) fn note(&mut self, kind: FaultKind, extent: Extent, fresh: bool) {
        let geometry = self.geometry;
        self.struck.ledger.strike(kind, extent, |lba| geometry.zone_of(Lba(lba)).0);
        self.trace.add(kind as u64);
        self.trace.add(extent.start.0);
        if fresh {
            self.strike_out(extent, kind);
        }
    }

    /// The same for each row of blocks that was hit.
    pub(super) fn note_blocks(&mut self, strike: &Strike) {
        let rows = strike.blocks.chunk_by(|a, b| a + 1 == *b);
        let extents = rows.map(|row| Extent::new(Lba(row[0]), row.len() as u32));
        for (index, extent) in extents.enumerate() {
            match index {
                0 => self.note(strike.kind, extent, strike.fresh),
                _ => {
                    self.struck.ledger.hide(extent);
                    if strike.fresh {
                        self.strike_out(extent, strike.kind);
                    }
                }
            }
        }
    }

    /// Remembers that `extent` was hit.
    pub(super) fn strike_out(&mut self, extent: Extent, kind: FaultKind) {
        if let Some(faults) = self.faults.as_deref() {
            let request = faults.rules.number(self.requests);
            self.struck.hits.push(FaultHit { kind, extent, request });
        }
    }

    /// What a request touches, if that exists, and whether it is a whole zone.
    fn extent_of(&self, op: Op, at: u64, len: u64) -> (Option<Extent>, bool) {
        match op {
            Op::Sync => (None, false),
            Op::Read | Op::Write => (self.geometry.transfer(Lba(at), len as usize).ok(), false),
            Op::Reset | Op::Finish | Op::Control => {
                let zone = u32::try_from(at).ok().filter(|zone| *zone < self.zones.len());
                (zone.map(|zone| self.zone_extent(zone)), true)
            }
        }
    }

    pub(super) fn zone_extent(&self, zone: u32) -> Extent {
        Extent::new(self.geometry.zone_start(ZoneId(zone)), self.geometry.zone_blocks)
    }

    pub(super) fn place_extent(&self, place: Place) -> Extent {
        let start = self.geometry.zone_start(ZoneId(place.zone));
        Extent::new(start.plus(place.at.into()), place.count)
    }

    /// The zone of `lba`, and the block in it.
    pub(super) fn split(&self, lba: u64) -> (u32, u32) {
        let zone = self.geometry.zone_of(Lba(lba));
        (zone.0, (lba - self.geometry.zone_start(zone).0) as u32)
    }
}

pub(super) fn between_ns(dice: &mut Rng, (least_ms, most_ms): (u64, u64)) -> u64 {
    1_000_000 * (least_ms + dice.below(most_ms - least_ms + 1))
}
