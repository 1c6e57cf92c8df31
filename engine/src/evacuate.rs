//! Evacuation: what lives in zones that failed, or that someone wants out of use, moves elsewhere.
//!
//! A zone is marked first (`marks`), durably, and everything else follows from the mark; so there
//! is no other progress to keep, and after a cut evacuation goes on with what is still there.
//!
//! ```text
//!   role           how it is emptied                                        then
//!   Free                                                                    retired at once
//!   Log, Cold      1 the head leaves it (`roll`)                            retired
//!                  2 its entries are flushed, so that replay needs it no more
//!                  3 reclaim moves what lives
//!   Run, Bottom    a copy takes its place (`twin`)                          retired
//!   Twin           another twin                                             retired
//!   Parity         a new group of what it protects (`parity`); a head       retired
//!                  whose copy it is leaves its zone first
//!   LogMirror      1 the mirror goes on in another zone                     retired
//!                  2 the log leaves the zones that it covers, and their
//!                    entries are flushed
//!   Manifest       a new snapshot                                           retired
//!   Anchor         stays: its place is what finds the store
//! ```
//!
//! A zone is never reclaimed before its entries are in runs: replay would find them gone with it
//! (`V2`, canary `EvacuateForgetsOpenRecord`).
//!
//! An element is evacuated only if what it holds fits elsewhere, so that the store does not end
//! full with half of it moved.
//!
//! Invariants: `V1` what was asked for is durable before the call returns. `V2` 2 comes before 3.
//! Tests: `sim/tests/evacuate.rs`.

use shingle_hal::{Device, ElementId, ZoneId};

use crate::canary::{Bug, planted};
use crate::checkpoint::{is_behind, is_dead, push_release};
use crate::compact::Step;
use crate::error::Fault;
use crate::format::edit::Change;
use crate::format::marks::{DAMAGED, LEAVE, SICK};
use crate::limits::LOG_ZONES_AHEAD;
use crate::state::{Core, Side, State};
use crate::zone::{Role, Zone};

/// What is still to be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Evacuation {
    /// Zones that failed, or were asked to be emptied, and still hold something.
    pub zones_left: u32,
    /// Bytes in them that something refers to.
    pub bytes_left: u64,
    /// Of the zones, those that were asked to be emptied.
    pub asked_left: u32,
    /// Zones that were asked to be emptied and are anchors: they stay.
    pub anchors: u32,
}

/// Which zones are to be emptied.
#[derive(Clone, Copy)]
pub(crate) enum Leaving {
    Zone(ZoneId),
    Element(ElementId),
}

impl Leaving {
    fn has(self, id: ZoneId, zone: &Zone) -> bool {
        match self {
            Self::Zone(wanted) => wanted == id,
            Self::Element(wanted) => wanted.0.to_le_bytes() == zone.element,
        }
    }
}

impl<D: Device> Core<'_, D> {
    /// Marks zones to be emptied and retired; durable when it returns.
    ///
    /// # Errors
    /// `NoSpace` if what is stored would not fit what is left.
    pub(crate) async fn evacuate(&self, leaving: Leaving) -> Result<(), Fault<D::Error>> {
        let _guard = self.jobs.enter(&self.lot).await;
        if !self.fits_without(leaving) {
            return Err(Fault::NoSpace);
        }
        self.commit_edit(|state, edit| {
            for id in (0..state.zones.len()).map(ZoneId) {
                let zone = state.zones.get(id);
                if !leaving.has(id, zone) {
                    continue;
                }
                match zone.role() {
                    Role::Anchor => {}
                    // Also one that is retired in memory alone so far.
                    Role::Free | Role::Retired => {
                        state.zones.retire(id);
                        edit.push(&Change::Retire { zone: id.0 });
                    }
                    _ => state.note_mark(id, LEAVE | SICK),
                }
            }
        })
        .await?;
        // The manifest does not mark its own zones.
        if self.is_manifest_bad() {
            self.renew_manifest().await?;
        }
        self.record_marks().await?;
        self.capacity.set(self.capacity_bytes());
        self.sync_device().await
    }

    /// Whether what is stored, and what maintenance needs, fits the zones that stay.
    fn fits_without(&self, leaving: Leaving) -> bool {
        let state = self.state.borrow();
        let counts = |zone: &Zone| zone.role() != Role::Retired && !zone.is_sick();
        let (mut all, mut goes, mut goes_free) = (0u64, 0u64, 0u32);
        for (id, zone) in state.zones.iter().filter(|(_, zone)| counts(zone)) {
            let blocks = u64::from(zone.capacity.get());
            all += blocks;
            if leaving.has(id, zone) && zone.role() != Role::Anchor {
                goes += blocks;
                goes_free += u32::from(zone.role() == Role::Free);
            }
        }
        let free_left = state.zones.free_count() - goes_free;
        drop(state);
        // The part of the capacity that goes is about the part of the blocks that goes.
        let capacity = self.capacity.get();
        let left =
            capacity - (u128::from(capacity) * u128::from(goes) / u128::from(all.max(1))) as u64;
        free_left > self.low_water() && self.used_bytes() <= left
    }

    /// One step of what marked zones need besides reclaim and rebuilding. Under `jobs`.
    pub(crate) async fn evacuate_step(&self, budget: u64) -> Result<Step, Fault<D::Error>> {
        let saved = {
            let mut state = self.state.borrow_mut();
            if state.frozen.is_some() {
                false
            } else if core::mem::take(&mut state.flush_due) {
                state.freeze();
                state.rescued = true;
                false
            } else {
                state.count_mended(1);
                core::mem::take(&mut state.rescued)
            }
        };
        if saved {
            // Until the edit that names the run is durable, a cut takes back what it saved.
            self.sync_device().await?;
            return Ok(Step::Did(1));
        }
        if !self.state.borrow().failed && !self.state.borrow().renewal_due {
            return Ok(Step::Idle);
        }
        if self.is_manifest_bad() {
            self.renew_manifest().await?;
            return Ok(Step::Did(1));
        }
        for side in [Side::Log, Side::Cold, Side::Mirror] {
            if self.is_head_bad(side) {
                self.roll(side, usize::MAX).await?;
                return Ok(Step::Did(1));
            }
        }
        if self.leave_ahead().await? || self.leave_run_heads().await? {
            return Ok(Step::Did(1));
        }
        let is_spent = {
            let state = self.state.borrow();
            state.zones.iter().any(|(id, _)| is_spent(&state, id))
        };
        if is_spent && self.release_dead(true).await? > 0 {
            return Ok(Step::Did(1));
        }
        let (waits, wants_roll) = {
            let state = self.state.borrow();
            let any = |wants: &dyn Fn(ZoneId) -> bool| state.zones.iter().any(|(id, _)| wants(id));
            let waits = |id| is_unflushed(&state, id) || covers(&state, id) == Some(false);
            (any(&waits), any(&|id| covers(&state, id) == Some(true)))
        };
        if wants_roll {
            self.roll(Side::Log, usize::MAX).await?;
            return Ok(Step::Did(1));
        }
        self.state.borrow_mut().rescued |= waits;
        if !waits && self.state.borrow().frozen.is_none() {
            return Ok(Step::Idle);
        }
        {
            let mut state = self.state.borrow_mut();
            if state.frozen.is_none() {
                state.freeze();
            }
        }
        self.lone_job_step(budget).await
    }

    fn is_manifest_bad(&self) -> bool {
        let state = self.state.borrow();
        let mut published = state.manifest.published.into_iter().flatten();
        state.renewal_due || published.any(|zone| state.zones.get(zone).is_sick())
    }

    /// A new snapshot in fresh zones, and superblocks that name it. Under `jobs`.
    async fn renew_manifest(&self) -> Result<(), Fault<D::Error>> {
        self.state.borrow_mut().renewal_due = false;
        self.snapshot_manifest().await?;
        self.state.borrow_mut().count_mended(0);
        Ok(())
    }

    /// Whether a log's head is in a zone that is marked, of which nothing was recorded elsewhere;
    /// where there is a copy, also whether either of the two is damaged: both are whole again only
    /// when the head has left them. The mirror leaves a damaged zone, too.
    fn is_head_bad(&self, side: Side) -> bool {
        let mut state = self.state.borrow_mut();
        let no_mirror = state.mirror.as_ref().is_none_or(|mirror| mirror.is_off);
        if state.real_side(side) != side || side == Side::Mirror && no_mirror {
            return false;
        }
        let Some(zone) = state.head(side).zone else { return false };
        let copy = state.zones.copy_of(zone.id).map(|copy| state.zones.get(copy));
        let of_copy = copy.is_some_and(|copy| copy.has_mark(LEAVE | DAMAGED));
        let leaves = if copy.is_some() || side == Side::Mirror { SICK | DAMAGED } else { SICK };
        (of_copy || state.zones.get(zone.id).has_mark(leaves))
            && state.zones.get(zone.id).is_head()
            && state.zones.extents(zone.id).len() == 1
    }

    /// Gives back zones that the log was to go on in and that failed before.
    async fn leave_ahead(&self) -> Result<bool, Fault<D::Error>> {
        let mut bad = heapless::Vec::<ZoneId, LOG_ZONES_AHEAD>::new();
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            let sick = |id: &ZoneId| {
                let copy = state.zones.copy_of(*id);
                let mut both = core::iter::once(*id).chain(copy);
                both.any(|id| state.zones.get(id).is_sick())
            };
            bad.extend(state.ahead.iter().copied().filter(sick));
            state.ahead.retain(|id| !bad.contains(id));
        }
        if bad.is_empty() {
            return Ok(false);
        }
        self.commit_edit(|state, edit| {
            for &id in &bad {
                push_release(state, edit, id);
            }
        })
        .await?;
        self.sync_device().await?;
        for &id in &bad {
            self.state.borrow_mut().freed(id);
        }
        Ok(true)
    }

    /// Nothing more is written to zones of runs that failed, once no piece is being built there.
    async fn leave_run_heads(&self) -> Result<bool, Fault<D::Error>> {
        for index in 0..2 {
            let head = {
                let state = self.state.borrow();
                state.run_heads[index].filter(|head| !state.zones.get(head.zone).is_pending())
            };
            if let Some(head) = head.filter(|head| self.is_run_head_bad(head)) {
                self.leave_run_zone(index, head).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is still to be moved.
    pub(crate) fn evacuation(&self) -> Evacuation {
        let state = self.state.borrow();
        let mut left = Evacuation::default();
        for (_, zone) in state.zones.iter().filter(|(_, zone)| zone.is_sick()) {
            if matches!(zone.role(), Role::Retired | Role::Free | Role::Releasing) {
                continue;
            }
            if zone.role() == Role::Anchor {
                left.anchors += u32::from(zone.has_mark(LEAVE));
                continue;
            }
            left.zones_left += 1;
            left.asked_left += u32::from(zone.has_mark(LEAVE));
            left.bytes_left += u64::from(zone.live.get()) + u64::from(zone.live_mem.get());
        }
        left
    }
}

/// Whether a zone that failed holds nothing that is needed, by itself or with its group.
fn is_spent(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    zone.has_mark(SICK | DAMAGED)
        && (is_dead(state, id) || state.zones.parity_of(id).is_some_and(|id| is_dead(state, id)))
}

/// Whether a zone that the mirror left, to be emptied, covers records that no run holds: false if a
/// flush would end that, true if the log must leave its zone first.
fn covers(state: &State<'_>, id: ZoneId) -> Option<bool> {
    let zone = state.zones.get(id);
    if zone.role() != Role::LogMirror || zone.is_head() || !zone.has_mark(SICK | DAMAGED) {
        return None;
    }
    // One of a life before covers nothing that was written in this one.
    let covers_to = if zone.sealed.get() > 0 { zone.sealed.get() } else { state.born };
    let behind = state.checkpoint.log.generation >= covers_to;
    let left = state.mark().log.generation >= covers_to;
    (!behind && (left || zone.has_mark(LEAVE))).then_some(!left)
}

/// Whether a log's zone is to be emptied, but replay still needs it, and a flush would end that.
fn is_unflushed(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    if !zone.role().holds_values() || zone.is_head() || !state.zones.is_failed(id) {
        return false;
    }
    if planted(Bug::EvacuateForgetsOpenRecord) {
        return false;
    }
    let (mark, generation) = (state.mark(), zone.generation.get());
    let place = if zone.role() == Role::Log { mark.log } else { mark.cold };
    let checkpoint =
        if zone.role() == Role::Log { state.checkpoint.log } else { state.checkpoint.cold };
    !is_behind(state, id) && checkpoint.generation <= generation && generation < place.generation
}
