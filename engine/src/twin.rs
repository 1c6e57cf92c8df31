//! Twins: the zones of runs that are kept on two storage elements, and their rebuilding.
//!
//! Keys, metadata and small values are in runs, and with them everything else can be found. Where
//! a store is formatted so, each zone of runs has a *twin* on another storage element, which holds
//! the same blocks, sealed for the same generation: the bytes are equal. A node that one of the two
//! does not give comes from the other, and the pair is then rebuilt in the background.
//!
//! ```text
//!   1 copy the blocks of both to a fresh zone     cut after: nobody names it, it is freed as dead
//!   2 sync                                        before 3, or the edit could name an empty zone
//!   3 edit: the fresh zone is the twin            or, if the zone itself was bad, its twin takes
//!     now; the bad one is given up                its place first (`Promote`)
//!   4 sync; only then may the bad one be reset    before it, the old state may come back
//! ```
//!
//! On a medium where hardly a zone is whole, the new copy is as bad as the old one, and found to be
//! when the other half of the pair is copied from it. Rebuilding would go on for ever, wear out
//! what is left, and never let anything else have its turn. So rebuilds are counted: every zone
//! once or twice, and one more for each zone of runs that is written.
//!
//! Invariants: `D1` a zone and its twin lie on different elements. `D2` both hold the same bytes,
//! up to where the zone was written, or one of them is marked damaged. `D3` in the life of a store,
//! no more rebuilds are begun than `rebuilds_max` and one for each zone of runs that was begun.
//! Tests: `sim/tests/parts.rs`.

use shingle_hal::{Class, Device, Error as _, Request, ZoneId};

use crate::canary::{Bug, planted};
use crate::checkpoint::push_release;
use crate::compact::Step;
use crate::error::{Check, Fault, Structure};
use crate::format::edit::Change;
use crate::format::marks::{DAMAGED, EFFORT, SICK};
use crate::manifest::EditBuilder;
use crate::media::Place;
use crate::state::{Core, Rebuild, Replaces, State};
use crate::zone::{Role, Zone, Zones};

/// Rebuilds that may be begun without anything being written, on a device of so many zones: one of
/// them for each zone whose element dies, another one for a block of it that turns bad.
pub(crate) const fn rebuilds_max(zone_count: u32) -> u32 {
    2 * zone_count
}

impl State<'_> {
    /// A zone of runs is begun: one more may be rebuilt.
    pub(crate) fn earn_rebuild(&mut self) {
        self.rebuilds_left = rebuilds_max(self.zones.len()).min(self.rebuilds_left + 1);
    }
}

impl<D: Device> Core<'_, D> {
    /// Whether zones of runs have twins.
    pub(crate) fn is_mirrored(&self) -> bool {
        self.superblock.get().redundancy.mirror_runs
    }

    /// A zone on another element than `zone`, for its twin; `None` if there is none, or none is
    /// wanted.
    pub(crate) async fn take_twin(&self, zone: ZoneId) -> Result<Option<ZoneId>, Fault<D::Error>> {
        if !self.is_mirrored() {
            return Ok(None);
        }
        let not_on = {
            let state = self.state.borrow();
            let entry = state.zones.get(zone);
            let not_on = (!planted(Bug::TwinOnSameElement)).then_some(entry.element);
            if !has_free(&state.zones, entry, not_on) {
                return Ok(None);
            }
            not_on
        };
        self.take_copy(zone, not_on).await
    }

    /// Writes nodes of a run, to the zone and to its twin.
    ///
    /// # Errors
    /// The device's, and the zone it failed in.
    pub(crate) async fn write_both(
        &self,
        zone: ZoneId,
        twin: Option<ZoneId>,
        block: u32,
        data: &[u8],
    ) -> Result<(), (ZoneId, D::Error)> {
        for id in core::iter::once(zone).chain(twin) {
            let lba = self.media.geometry.zone_start(id).plus(u64::from(block));
            let written = self.media.write(lba, data, Class::Maintenance).await;
            written.map_err(|error| (id, error))?;
        }
        Ok(())
    }

    /// The zone of runs that is to be written anew, and how: for want of a twin, or because it or
    /// its twin failed. With `effort`, also one that is read with effort.
    fn next_rebuild(&self, effort: bool) -> Option<Planned> {
        let marks = DAMAGED | SICK | if effort { EFFORT } else { 0 };
        let mirrored = self.is_mirrored();
        let state = self.state.borrow();
        let zones = &state.zones;
        let is_bad = |id: ZoneId| zones.get(id).has_mark(marks);
        let plan = |(id, zone): (ZoneId, &Zone)| {
            let settled = zone.role().holds_runs() && !zone.is_head() && !zone.is_pending();
            if !settled || zone.live.get() == 0 {
                return None;
            }
            let twin = zones.twin(id);
            if zone.is_offline() && twin.is_none_or(|twin| zones.get(twin).is_offline()) {
                return None; // there is nothing to copy
            }
            let (good, replaces) = match twin {
                Some(twin) if is_bad(id) => (Some(twin), Replaces::Zone),
                Some(twin) if is_bad(twin) => (Some(id), Replaces::Twin),
                None if mirrored => (Some(id), Replaces::Nothing),
                _ => (None, Replaces::Nothing),
            };
            let not_on = good.map(|good| zones.get(good).element);
            if not_on.is_some() && has_free(zones, zone, not_on) {
                return Some(Planned { zone: id, not_on, replaces });
            }
            // What is damaged has nothing to be mended from; what is about to fail has.
            let leaves = twin.is_none() && zone.has_mark(marks & !DAMAGED);
            let moves = leaves && has_free(zones, zone, None);
            moves.then_some(Planned { zone: id, not_on: None, replaces: Replaces::Lone })
        };
        zones.iter().find_map(plan)
    }

    /// One step of rebuilding, at most about `budget` bytes copied. Under `jobs`.
    pub(crate) async fn rebuild_step(
        &self,
        budget: u64,
        effort: bool,
    ) -> Result<Step, Fault<D::Error>> {
        let begun = self.rebuilding.take().filter(|rebuild| self.is_still_wanted(rebuild));
        let rebuild = match begun {
            Some(rebuild) => Some(rebuild),
            None => self.begin_rebuild(effort).await?,
        };
        let Some(mut rebuild) = rebuild else { return Ok(Step::Idle) };
        let mut did = 0;
        while rebuild.next < rebuild.end && did < budget {
            match self.copy_blocks(&mut rebuild).await? {
                Some(bytes) => did += bytes,
                None => return Ok(Step::Did(did + 1)),
            }
        }
        if rebuild.next < rebuild.end {
            self.rebuilding.set(Some(rebuild));
            return Ok(Step::Did(did));
        }
        self.finish_rebuild(&rebuild).await?;
        Ok(Step::Did(did + 1))
    }

    /// Whether the pair is still there; if not, what was copied is of no use.
    fn is_still_wanted(&self, rebuild: &Rebuild) -> bool {
        let mut state = self.state.borrow_mut();
        let there = state.zones.find(rebuild.generation).is_some();
        if !there {
            state.zones.get_mut(rebuild.into).set_head(false);
        }
        there
    }

    async fn begin_rebuild(&self, effort: bool) -> Result<Option<Rebuild>, Fault<D::Error>> {
        if self.state.borrow().rebuilds_left == 0 {
            return Ok(None);
        }
        let Some(plan) = self.next_rebuild(effort) else { return Ok(None) };
        self.begin_writing().await?;
        let (end, generation, role) = {
            let mut state = self.state.borrow_mut();
            // Before anything can fail: also what comes to nothing is done again.
            state.rebuilds_left -= 1;
            let entry = state.zones.get(plan.zone);
            let generation = entry.generation.get();
            (self.runs_end(&state, generation), generation, entry.role())
        };
        let Some(into) = self.take_copy(plan.zone, plan.not_on).await? else { return Ok(None) };
        let mut buffer = self.nodes.take(&self.lot).await;
        let header = &mut buffer[..self.media.block_len()];
        self.zone_header(header, generation, role);
        self.commit_edit(|state, edit| {
            state.zones.get_mut(into).set_head(true);
            let generation = state.zones.get(into).generation.get();
            edit.push(&Change::Take { zone: into.0, generation, role: Role::Twin as u8 });
        })
        .await?;
        match self.write_both(into, None, 0, header).await {
            Ok(()) => {
                let replaces = plan.replaces;
                Ok(Some(Rebuild { generation, into, replaces, next: 1, end }))
            }
            Err((_, error)) => self.rebuild_failed(into, error).map(|()| None),
        }
    }

    /// One past the last block of a zone of runs that a piece has.
    pub(crate) fn runs_end(&self, state: &State<'_>, generation: u32) -> u32 {
        let node_blocks = self.shape.node_blocks();
        let pieces = state.tree.pieces().iter().map(|piece| piece.record());
        let of_zone = pieces.filter(|piece| piece.generation == generation);
        of_zone.map(|piece| piece.start + piece.nodes * node_blocks).max().unwrap_or(1)
    }

    /// A zone for a copy of `zone`, not on the element `not_on`; `None` if there is none.
    async fn take_copy(
        &self,
        zone: ZoneId,
        not_on: Option<[u8; 2]>,
    ) -> Result<Option<ZoneId>, Fault<D::Error>> {
        let copy = match self.take_zone(Role::Twin, not_on, false).await {
            Ok(copy) => copy,
            Err(Fault::NoSpace) if !self.is_read_only() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let mut state = self.state.borrow_mut();
        let (entry, like) = (state.zones.get(copy), state.zones.get(zone));
        if Some(entry.element) != not_on && entry.capacity >= like.capacity {
            return Ok(Some(copy));
        }
        state.zones.release(copy);
        state.zones.freed(copy);
        Ok(None)
    }

    /// The new copy's zone failed: the rebuild begins anew, elsewhere.
    fn rebuild_failed(&self, into: ZoneId, error: D::Error) -> Result<(), Fault<D::Error>> {
        if !self.note_failed(into, error.kind()) {
            return self.poison(Fault::Device(error));
        }
        self.state.borrow_mut().zones.get_mut(into).set_head(false);
        Ok(())
    }

    /// Copies a node; `None` if the new zone failed.
    ///
    /// A node that neither copy gives is left out: zeros take its place, which no seal fits.
    async fn copy_blocks(&self, rebuild: &mut Rebuild) -> Result<Option<u64>, Fault<D::Error>> {
        let mut buffer = self.nodes.take(&self.lot).await;
        let node = &mut buffer[..self.shape.node_len];
        let block = rebuild.next;
        let request = Class::Maintenance.into();
        match self.read_nodes(rebuild.generation, block, node, request).await {
            Ok(()) => {}
            Err(Fault::Damaged(_)) => node.fill(0),
            Err(fault) => return Err(fault),
        }
        if let Err((into, error)) = self.write_both(rebuild.into, None, block, node).await {
            self.rebuild_failed(into, error)?;
            return Ok(None);
        }
        rebuild.next += self.shape.node_blocks();
        Ok(Some(2 * node.len() as u64))
    }

    async fn finish_rebuild(&self, rebuild: &Rebuild) -> Result<(), Fault<D::Error>> {
        self.sync_device().await?;
        let into = rebuild.into;
        let mut given_up = None;
        self.commit_edit(|state, edit| {
            state.zones.get_mut(into).set_head(false);
            let Some(zone) = state.zones.find(rebuild.generation) else { return };
            let twin = state.zones.twin(zone);
            match (rebuild.replaces, twin) {
                (Replaces::Nothing, None) => set_twin(state, edit, zone, into),
                (Replaces::Twin, Some(twin)) => {
                    push_release(state, edit, twin);
                    set_twin(state, edit, zone, into);
                    given_up = Some(twin);
                }
                (Replaces::Zone, Some(twin)) => {
                    promote(state, edit, zone);
                    set_twin(state, edit, twin, into);
                    given_up = Some(zone);
                }
                (Replaces::Lone, None) if !state.zones.get(zone).is_offline() => {
                    set_twin(state, edit, zone, into);
                    promote(state, edit, zone);
                    given_up = Some(zone);
                }
                // It went offline meanwhile, and may come back: the copy is worth nothing.
                _ => return,
            }
            state.counters.rebuilds += 1;
            event!(info, "{} is copied", zone);
            state.tree.version += 1;
        })
        .await?;
        self.sync_device().await?;
        if let Some(zone) = given_up {
            self.state.borrow_mut().freed(zone);
        }
        self.give_back(into).await
    }

    /// Reads nodes from the twin of the zone that did not give them.
    pub(crate) async fn read_from_twin(
        &self,
        generation: u32,
        block: u32,
        out: &mut [u8],
        request: Request,
        fault: Fault<D::Error>,
    ) -> Result<(), Fault<D::Error>> {
        let Fault::Damaged(damage) = fault else { return Err(fault) };
        let is_hole = is_hole(out, damage.check);
        let (zone, twin) = {
            let state = self.state.borrow();
            let Some(zone) = state.zones.find(generation) else { return Err(fault) };
            let twin = state.zones.twin(zone).filter(|_| !planted(Bug::TwinNeverRead));
            (zone, twin.map(|twin| (twin, state.zones.map(twin))))
        };
        let Some((twin, map)) = twin else {
            if !is_hole {
                self.state.borrow_mut().mark_damage(zone, damage.check);
            }
            return Err(fault);
        };
        let place = Place { map, generation, block };
        let len = self.shape.node_len;
        let read = self.media.read_units(place, out, len, Structure::RunNode, request).await;
        match read {
            // Neither copy has it, and a rebuild said so: another one would mend nothing.
            Err(Fault::Damaged(second)) if is_hole && self::is_hole(out, second.check) => {}
            Err(Fault::Damaged(second)) => {
                let mut state = self.state.borrow_mut();
                state.mark_damage(zone, damage.check);
                state.mark_damage(twin, second.check);
            }
            _ => self.state.borrow_mut().mark_damage(zone, damage.check),
        }
        read
    }
}

/// What a rebuild is to do.
struct Planned {
    zone: ZoneId,
    /// The element that the new copy must not be on.
    not_on: Option<[u8; 2]>,
    replaces: Replaces,
}

/// Whether there is a free zone for a copy of `zone`.
fn has_free(zones: &Zones<'_>, zone: &Zone, not_on: Option<[u8; 2]>) -> bool {
    zones.iter().any(|(_, other)| {
        let like = Some(other.element) != not_on && other.capacity >= zone.capacity;
        other.role() == Role::Free && like
    })
}

/// A fresh zone becomes the twin of `zone`.
fn set_twin(state: &mut State<'_>, edit: &mut EditBuilder<'_>, zone: ZoneId, twin: ZoneId) {
    assert!(state.zones.set_twin(zone, twin), "a fresh zone is nobody's twin");
    edit.push(&Change::Twin { zone: zone.0, twin: twin.0 });
}

/// A zone of runs is given up; its twin takes its place.
fn promote(state: &mut State<'_>, edit: &mut EditBuilder<'_>, zone: ZoneId) {
    edit.push(&Change::Promote { zone: zone.0 });
    state.count_released(zone);
    assert!(state.zones.promote_twin(zone), "it has a twin");
    if state.zones.get(zone).is_sick() {
        edit.push(&Change::Retire { zone: zone.0 });
    }
}

/// Whether this is what a rebuild leaves of a node that no copy gave.
fn is_hole(node: &[u8], check: Check) -> bool {
    matches!(check, Check::Checksum { .. }) && node.iter().all(|byte| *byte == 0)
}
