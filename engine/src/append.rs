//! Appending to a log: room, records, group commit, and the change to the next zone.
//!
//! A put takes three steps of which only the middle one must not be interrupted:
//!
//! ```text
//!   make_room  (awaits: write a buffer out, roll to the next zone)
//!   append     (no await: record into the buffer, entry into the memtable, sequence number)
//!   make_durable (awaits: write out with padding, device sync; one caller does it for all)
//! ```
//!
//! Invariants: `A1` the `Take` edit of a log zone is written before the zone's first block, so a
//! sync that makes a record durable makes the way to it durable. `A2` a zone is left behind only
//! after everything in it was written, and its `End` record is its last.

use shingle_hal::{Class, Device, Error as _, ErrorKind, ZoneId, both};

use crate::canary::{Bug, planted};
use crate::error::{Fault, is_of_zone, is_worn};
use crate::format::edit::{Change, LogPlace};
use crate::format::header::Header;
use crate::format::marks::SICK;
use crate::format::seal::seal;
use crate::limits::{EXTENTS_MAX, LOG_ZONES_AHEAD, LOG_ZONES_AT_FIRST, UNSYNCED_BYTES_MAX};
use crate::log::head::HeadZone;
use crate::manifest::EditBuilder;
use crate::parity::push_protect;
use crate::state::{Core, Side, State};
use crate::sync::{For, yield_once};
use crate::zone::{Role, prepare};

impl<D: Device> Core<'_, D> {
    /// Writes what a head holds: whole blocks, or everything with `pad`. Waits for a write that is
    /// under way first.
    pub(crate) async fn write_out(&self, side: Side, pad: bool) -> Result<(), Fault<D::Error>> {
        let side = self.state.borrow().real_side(side);
        self.lot
            .wait_for(For::Progress, || (!self.state.borrow_mut().head(side).writing).then_some(()))
            .await;
        let writing = {
            let mut state = self.state.borrow_mut();
            if side == Side::Mirror && !state.hold_mirror() {
                return Ok(());
            }
            let head = state.head(side);
            let generation = head.zone.map_or(0, |zone| zone.generation);
            let writing = head.begin_write(pad, |block| self.media.identity(generation, block));
            if let (Side::Mirror, true) = (side, pad) {
                let appended = state.log.appended;
                if let Some(mirror) = &mut state.mirror {
                    mirror.under_way = appended;
                }
            }
            writing
        };
        let Some(writing) = writing else {
            if side == Side::Mirror {
                self.state.borrow_mut().mirror_written(false);
            }
            return Ok(());
        };
        let guard = WriteGuard { core: self, side, done: false };
        let class = if side == Side::Cold { Class::Maintenance } else { Class::Foreground };
        let data = &writing.buffer[..writing.len];
        let result = match self.media.write(writing.lba, data, class).await {
            Err(_) if planted(Bug::WriteFaultIgnored) => Ok(()),
            Err(error) if is_of_zone(error.kind()) => {
                self.write_elsewhere(side, writing.first, data, error).await
            }
            other => other.map_err(Fault::Device),
        };
        let result = match result {
            Ok(()) => self.write_copy(side, writing.first, data).await,
            failed => failed,
        };
        guard.finish(writing, result)
    }

    /// Writes whole blocks out, beside a sync of what was written before where that is much: the
    /// device goes on with this while it ends with that, so the sync costs no pause.
    async fn write_out_and_sync(&self, side: Side) -> Result<(), Fault<D::Error>> {
        if self.media.unsynced_bytes() < UNSYNCED_BYTES_MAX {
            return self.write_out(side, false).await;
        }
        self.paid.set(true);
        // The sync first: it is not to wait for the write.
        let (synced, written) = both(self.sync_device(), self.write_out(side, false)).await;
        synced.and(written)
    }

    async fn write_side(&self, side: Side, pad: bool) -> Result<(), Fault<D::Error>> {
        match side {
            Side::Mirror => self.write_mirror(pad).await,
            _ => self.write_out(side, pad).await,
        }
    }

    /// The zone of a head could not be written at its block `first`: takes another, in which the
    /// zone goes on from there, and writes `data` to that. What was appended keeps its place in
    /// the logical zone, so nothing that refers to it changes.
    ///
    /// The edit is written before the first block (`A1`), so a sync that makes the block durable
    /// makes the way to it durable.
    async fn write_elsewhere(
        &self,
        side: Side,
        first: u32,
        data: &[u8],
        error: D::Error,
    ) -> Result<(), Fault<D::Error>> {
        let mut error = error;
        for _ in 1..EXTENTS_MAX {
            let zone = self.state.borrow_mut().head(side).zone;
            let Some(zone) = zone else { break };
            let (begins, last, full) = {
                let state = self.state.borrow();
                let extents = state.zones.extents(zone.id);
                let (begins, last) = extents.last().copied().unwrap_or((0, zone.id));
                (begins, last, extents.is_full())
            };
            if !self.note_failed(last, error.kind()) || full {
                break;
            }
            let not_on = {
                let state = self.state.borrow();
                let copy = state.zones.copy_of(zone.id);
                copy.map(|copy| state.zones.get(copy).element)
                    .or_else(|| state.element_to_avoid(side))
            };
            let role = Role::Extension;
            let needed = self.state.borrow_mut().head(side).end_here() - first;
            let find = |state: &mut State<'_>| state.zones.find_free_of(role, not_on, needed);
            let next = self.take_zone_by(role, false, find).await?;
            let (like, capacity, lba) = {
                let state = self.state.borrow();
                let entry = state.zones.get(next);
                let like = entry.is_conventional() == state.zones.get(zone.id).is_conventional();
                let capacity = first.saturating_add(entry.capacity.get());
                (like, capacity, state.zones.start(next))
            };
            if !like {
                break;
            }
            self.commit_edit(|state, edit| {
                let generation = state.zones.get(next).generation.get();
                let role = Role::Extension as u8;
                edit.push(&Change::Take { zone: next.0, generation, role });
                let from = first - begins;
                state.zones.extend(last, from, next);
                if !planted(Bug::ExtensionUnrecorded) {
                    edit.push(&Change::Extend { zone: last.0, from, into: next.0 });
                }
                let map = state.zones.map(zone.id);
                state.head(side).go_on_in(map, capacity);
            })
            .await?;
            match self.media.write(lba, data, Class::Foreground).await {
                Ok(()) => return self.give_back(last).await,
                Err(again) => error = again,
            }
        }
        Err(Fault::Device(error))
    }

    /// Makes everything appended to a head up to `ticket` durable. One caller writes and syncs for
    /// all that wait.
    pub(crate) async fn make_durable(
        &self,
        side: Side,
        ticket: u64,
    ) -> Result<(), Fault<D::Error>> {
        let side = self.state.borrow().real_side(side);
        let mut yielded = false;
        loop {
            let (written, synced) = {
                let mut state = self.state.borrow_mut();
                let head = state.head(side);
                (head.written, head.synced)
            };
            if synced >= ticket || (written >= ticket && planted(Bug::AckWithoutSync)) {
                return Ok(());
            }
            if self.is_read_only() {
                return Err(Fault::NoSpace);
            }
            if written < ticket {
                if !core::mem::replace(&mut yielded, true) {
                    // Whoever waited for the same sync as this task appends before it writes.
                    yield_once().await;
                    continue;
                }
                self.write_out(side, true).await?;
                continue;
            }
            if side == Side::Log && self.state.borrow().mirrored() < ticket {
                self.write_mirror(true).await?;
                continue;
            }
            let Some(_guard) = self.commits.try_enter(&self.lot) else {
                // Somebody syncs: wait for the outcome and look again.
                self.commits.left(&self.lot).await;
                continue;
            };
            self.sync_device().await?;
        }
    }

    /// Waits until a record of `len` bytes fits the head of `side`. There is no await between this
    /// returning true and the caller's next one, so the room is still there.
    pub(crate) async fn make_room(&self, side: Side, len: usize) -> Result<(), Fault<D::Error>> {
        loop {
            if self.is_read_only() {
                return Err(Fault::NoSpace);
            }
            let (fits, zone_fits) = {
                let mut state = self.state.borrow_mut();
                let head = state.head(side);
                head.append_index(false, self.plan.window_len as u64);
                (head.fits(len), head.zone.is_some() && len <= head.zone_room() as usize)
            };
            if fits {
                return Ok(());
            }
            if zone_fits {
                self.write_out_and_sync(side).await?;
            } else {
                self.roll(side, len).await?;
            }
        }
    }

    /// Leaves the head's zone and starts the next, unless someone else just did.
    pub(crate) async fn roll(&self, side: Side, len: usize) -> Result<(), Fault<D::Error>> {
        let _guard = self.rolls.enter(&self.lot).await;
        let side = self.state.borrow().real_side(side);
        let full = {
            let mut state = self.state.borrow_mut();
            let head = state.head(side);
            let full = head.zone.is_none() || len > head.zone_room() as usize;
            full || (side == Side::Mirror && state.is_misplaced())
        };
        if !full {
            return Ok(());
        }
        self.begin_writing().await?;
        let syncs = self.state.borrow().syncs;
        // Take first: without a zone to go on in, the old one stays.
        let role = match side {
            Side::Log => Role::Log,
            Side::Cold => Role::Cold,
            Side::Mirror => Role::LogMirror,
        };
        let next = if side == Side::Mirror {
            let Some(next) = self.take_mirror_zone().await? else { return Ok(()) };
            next
        } else {
            self.next_log_zone(side, role).await?
        };
        self.leave(side).await?;
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        // The manifest was written anew meanwhile, or zones are to be finished.
        if state.syncs > syncs {
            self.paid.set(true);
        }
        let zone = state.zones.get(next);
        let generation = zone.generation.get();
        let map = state.zones.map(next);
        let capacity = zone.capacity.get();
        let sequential = !zone.is_conventional();
        for id in core::iter::once(next).chain(state.zones.copy_of(next)) {
            state.zones.get_mut(id).set_head(true);
        }
        let head = HeadZone { id: next, generation, map, capacity, sequential };
        // What the lives before left is durable, as far as recovery found it: the manifest that
        // says how far was synced before anything else was written.
        let born = LogPlace { generation: state.born, offset: 0 };
        state.head(side).set_durable(born);
        state.head(side).start(head, |block| self.zone_header(block, generation, role));
        Ok(())
    }

    /// The zone a head goes on in. Where there are plenty, several are taken with one edit, because
    /// an edit costs a disk two seeks.
    async fn next_log_zone(&self, side: Side, role: Role) -> Result<ZoneId, Fault<D::Error>> {
        let low = self.low_water();
        let most = {
            let mut state = self.state.borrow_mut();
            if side == Side::Log {
                // What was off for want of a zone beside the one before is tried again.
                if let Some(mirror) = &mut state.mirror {
                    mirror.is_off = false;
                }
            }
            if side == Side::Log && !state.ahead.is_empty() {
                return Ok(state.ahead.remove(0));
            }
            let copies = if self.parity() > 0 { 2 } else { 1 };
            let plenty = state.zones.free_count().saturating_sub(4 * low) / (2 * copies);
            // Many short lives are not to leave many zones that nothing was written to.
            let first = state.log.zone.is_none();
            let most = if first { LOG_ZONES_AT_FIRST } else { LOG_ZONES_AHEAD };
            let most = (plenty as usize).clamp(1, most / copies as usize);
            if side == Side::Log { most } else { 1 }
        };
        let mut taken = heapless::Vec::<(ZoneId, Option<ZoneId>), LOG_ZONES_AHEAD>::new();
        while taken.len() < most {
            let not_on = self.state.borrow().element_to_avoid(side);
            let spreads = self.parity() > 1 && role.holds_values();
            let find = |state: &mut State<'_>| match spreads {
                true => state.zones.find_spread(role, not_on),
                false => state.zones.find_free(role, not_on),
            };
            let zone = self.take_zone_by(role, false, find).await?;
            let copy = if role.holds_values() { self.take_parity(zone).await? } else { None };
            let _ = taken.push((zone, copy));
        }
        self.commit_edit(|state, edit| {
            for &(zone, copy) in &taken {
                push_take(state, edit, zone);
                if let Some(copy) = copy {
                    push_take(state, edit, copy);
                    assert!(state.zones.protect(zone, copy), "fresh zones are in no group");
                    state.zones.get_mut(copy).set_head(false);
                    push_protect(edit, zone, copy, 0);
                }
            }
        })
        .await?;
        let (next, _) = taken.remove(0);
        self.state.borrow_mut().ahead.extend(taken.into_iter().map(|(zone, _)| zone));
        Ok(next)
    }

    /// Ends the head's zone: its `End` record, everything written, the resource given back.
    async fn leave(&self, side: Side) -> Result<(), Fault<D::Error>> {
        let old = {
            let mut state = self.state.borrow_mut();
            let head = state.head(side);
            head.leaving = true;
            head.zone
        };
        let Some(old) = old else { return Ok(()) };
        self.write_side(side, false).await?;
        self.state.borrow_mut().head(side).append_index(true, self.plan.window_len as u64);
        loop {
            self.lot
                .wait_for(For::Progress, || {
                    (!self.state.borrow_mut().head(side).writing).then_some(())
                })
                .await;
            if self.state.borrow_mut().head(side).append_end() {
                break;
            }
            self.write_side(side, false).await?;
        }
        // The head is leaving, so nobody appends meanwhile.
        self.write_side(side, true).await?;
        let (last, left, copy) = {
            let mut state = self.state.borrow_mut();
            let head = state.head(side);
            assert!(!head.is_dirty(), "A2: a zone is left with unwritten records");
            let left = old.capacity.saturating_sub(head.first_buffered_block());
            state.zones.set_written(old.id, old.capacity - left);
            state.zones.get_mut(old.id).set_head(false);
            if side == Side::Mirror {
                state.note_mirror_left(old.id);
            }
            let last = state.zones.extents(old.id).last().map_or(old.id, |(_, last)| *last);
            let copy = state.zones.copy_of(old.id);
            let copy = copy.map(|copy| {
                let zone = state.zones.get_mut(copy);
                zone.set_head(false);
                zone.written = (old.capacity - left).into();
                (copy, old.capacity - left < zone.capacity.get())
            });
            (last, left, copy)
        };
        if let Some((copy, true)) = copy {
            self.give_back(copy).await?;
        }
        if left > 0 {
            self.give_back(last).await
        } else if self.media.geometry.active_zones_max.is_some() {
            // A cut would take back the last blocks, and so that the zone is full.
            self.sync_device().await
        } else {
            Ok(())
        }
    }

    /// Frees the open and active resource of a zone that is not written any more, if it has one.
    /// Where active zones are limited this is durable before another zone is begun: a cut that
    /// undid it would leave more of them than the next mount can do with.
    pub(crate) async fn give_back(&self, zone: ZoneId) -> Result<(), Fault<D::Error>> {
        let media = &self.media;
        if self.state.borrow().zones.get(zone).is_conventional() {
            return Ok(());
        }
        let limited = media.geometry.active_zones_max.is_some();
        let result = if limited { media.finish(zone).await } else { media.close(zone).await };
        match result {
            Ok(()) if limited => self.sync_device().await,
            Ok(()) => Ok(()),
            // What it holds was written before; whether it can be written again is no matter now.
            Err(error) if self.note_failed(zone, error.kind()) => Ok(()),
            Err(error) => self.poison(Fault::Device(error)),
        }
    }

    /// Takes note of a failure if it concerns `zone` alone.
    pub(crate) fn note_failed(&self, zone: ZoneId, kind: ErrorKind) -> bool {
        if is_worn(kind) {
            self.state.borrow_mut().note_mark(zone, SICK);
        }
        is_of_zone(kind)
    }

    /// The header block of a zone, sealed.
    pub(crate) fn zone_header(&self, block: &mut [u8], generation: u32, role: Role) {
        let store_id = self.superblock.get().store_id;
        Header { store_id, generation, role: role as u8 }.encode(block);
        seal(block, 0, self.media.identity(generation, 0));
    }

    /// Takes a free zone, if possible on another element than `not_on`, resets it if it must be,
    /// and (with `record`) writes the edit that says so.
    pub(crate) async fn take_zone(
        &self,
        role: Role,
        not_on: Option<[u8; 2]>,
        record: bool,
    ) -> Result<ZoneId, Fault<D::Error>> {
        self.take_zone_by(role, record, |state| state.zones.find_free(role, not_on)).await
    }

    /// Takes the free zone that `find` gives, as [`take_zone`](Self::take_zone) does.
    pub(crate) async fn take_zone_by(
        &self,
        role: Role,
        record: bool,
        find: impl Fn(&mut State<'_>) -> Option<ZoneId>,
    ) -> Result<ZoneId, Fault<D::Error>> {
        // Each turn that finds no zone retires one.
        let zone = loop {
            self.reserve_generations().await?;
            let taken = {
                let mut state = self.state.borrow_mut();
                find(&mut state).map(|zone| {
                    state.zones.take_this(zone, role);
                    (zone, state.zones.begin_prepare(zone))
                })
            };
            let Some((zone, (needs_reset, conventional))) = taken else {
                return Err(Fault::NoSpace);
            };
            match prepare(&self.media, zone, needs_reset, conventional).await {
                Ok(()) => break zone,
                Err(error) if is_of_zone(error.kind()) => self.give_up(zone).await?,
                Err(error) => return self.poison(Fault::Device(error)),
            }
        };
        if record {
            self.commit_edit(|state, edit| push_take(state, edit, zone)).await?;
        }
        Ok(zone)
    }

    /// Never uses a zone again that could not be made ready; the store promises less from now on.
    async fn give_up(&self, zone: ZoneId) -> Result<(), Fault<D::Error>> {
        self.commit_edit(|state, edit| {
            state.zones.retire(zone);
            edit.push(&Change::Retire { zone: zone.0 });
        })
        .await?;
        self.capacity.set(self.capacity_bytes());
        Ok(())
    }
}

/// Says in an edit that a zone was taken into use.
fn push_take(state: &State<'_>, edit: &mut EditBuilder<'_>, zone: ZoneId) {
    let entry = state.zones.get(zone);
    let (generation, role) = (entry.generation.get(), entry.role() as u8);
    edit.push(&Change::Take { zone: zone.0, generation, role });
}

/// Ends a write, also when its future is dropped: then nobody knows what the device did.
struct WriteGuard<'c, 'm, D: Device> {
    core: &'c Core<'m, D>,
    side: Side,
    done: bool,
}

impl<'m, D: Device> WriteGuard<'_, 'm, D> {
    fn finish(
        mut self,
        writing: crate::log::head::Writing<'m>,
        result: Result<(), Fault<D::Error>>,
    ) -> Result<(), Fault<D::Error>> {
        self.done = true;
        {
            let mut state = self.core.state.borrow_mut();
            state.head(self.side).end_write(writing);
            if self.side == Side::Mirror {
                // The log goes on without it, and the mirror in another zone.
                state.mirror_written(result.is_err());
            } else {
                state.read_only |= result.is_err();
            }
        }
        self.core.lot.wake_all(For::Progress);
        if self.side == Side::Mirror && !self.core.is_read_only() { Ok(()) } else { result }
    }
}

impl<D: Device> Drop for WriteGuard<'_, '_, D> {
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.core.state.borrow_mut();
            state.read_only = true;
            state.head(self.side).writing = false;
            drop(state);
            self.core.lot.wake_all(For::Progress);
        }
    }
}
