//! The mirror of the log: what the log holds of keys, metadata and small values, once more on
//! another storage element, until a flush has brought it into runs.
//!
//! Between commit and flush a record has one copy. If its element dies together with power, what
//! the record said is gone, and an older version would show. Where a store is formatted so, each
//! record of the log that brings entries has one in the mirror, which stands for it and holds all
//! but the values that stay in the log. Both go to the device before the sync that makes either
//! durable; a copy without the value only after the record is. So a copy that is there says that
//! all of its record was, and replay may take the mirror's records wherever those of the log cannot
//! be read ([`refill`](crate::refill)), whether a cut tore them or the medium failed.
//!
//! ```text
//!   append    record in the log's buffer, its copy in the mirror's       (no await between)
//!   durable   log written, mirror written, one sync for both             `make_durable`
//!             where a value stays in the log: a sync between, too        `settle_log`
//!   roll      the log avoids the mirror's element; where it cannot,      `make_mirror_room`
//!             the mirror goes on in a zone elsewhere
//! ```
//!
//! The log never fails for the mirror: a zone of the mirror that cannot be written is left, and
//! where no zone is free on another element the log goes on alone until its next zone (`is_off`).
//!
//! The survivors' log needs none: if its records are lost, the entry of an older flush still says
//! where the value was, its zone is gone, and the key is on the list of what is lost.
//!
//! Invariants: `B1` a record of the log and its copy lie on different elements. `B2` what is
//! acknowledged as durable has a durable copy, if it has one at all (canary `LogMirrorNotSynced`).
//! `B3` a zone of the mirror is freed only when all that it covers lies before the checkpoint.
//! `B5` a copy that holds less than its record goes to the device only when that is durable (canary
//! `MirrorAheadOfLog`).
//! Tests: `sim/tests/mirror_log.rs`.

use shingle_hal::{Device, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::Fault;
use crate::format::edit::Change;
use crate::format::record::{RECORD_HEADER_LEN, RecordKind};
use crate::log::mirror::{MIRROR_HEADER_LEN, Mirrored};
use crate::state::{Core, Side, State};
use crate::sync::For;
use crate::zone::Role;

/// Free zones that the mirror leaves to others.
const ZONES_LEFT: u32 = 6;

impl State<'_> {
    /// Whether the log's next record gets a copy.
    fn is_mirroring(&self) -> bool {
        let mirror = self.mirror.as_ref();
        mirror.is_some_and(|mirror| !mirror.is_off && mirror.head.zone.is_some())
    }

    /// As much of the log's `appended` as need not wait for the mirror.
    pub(crate) fn mirrored(&self) -> u64 {
        let covered = self.mirror.as_ref().map_or(u64::MAX, |mirror| mirror.covered);
        let free = !self.is_mirroring() || planted(Bug::LogMirrorNotSynced);
        if free { u64::MAX } else { covered }
    }

    /// The element that a head writes to now.
    pub(crate) fn head_element(&self, side: Side) -> Option<[u8; 2]> {
        let head = match side {
            Side::Mirror => &self.mirror.as_ref()?.head,
            Side::Log => &self.log,
            Side::Cold => self.cold.as_ref()?,
        };
        let zone = head.zone?.id;
        let last = self.zones.extents(zone).last().map_or(zone, |(_, last)| *last);
        Some(self.zones.get(last).element)
    }

    /// Whether the mirror's zone lies where the log's does.
    pub(crate) fn is_misplaced(&self) -> bool {
        let element = self.head_element(Side::Mirror);
        element.is_some() && element == self.head_element(Side::Log)
    }

    /// Whether the copy of a record for `side` with `len` bytes of operations can be appended now.
    pub(crate) fn mirror_fits(&self, side: Side, len: usize) -> bool {
        let Some(mirror) = &self.mirror else { return true };
        let record_len = RECORD_HEADER_LEN + MIRROR_HEADER_LEN + len;
        let placed = mirror.head.zone.is_some() && !self.is_misplaced();
        self.real_side(side) != Side::Log
            || mirror.is_off
            || (placed && !mirror.is_held && mirror.head.fits(record_len))
    }

    /// Appends the copy of a record that was just appended to the log: `parts` are its operations
    /// without the values that stay in the log, `body_len` bytes together. `leans` if what it says
    /// is of use only with something that lies in the log.
    ///
    /// # Panics
    /// If it does not [fit](Self::mirror_fits).
    pub(crate) fn mirror_record<'a>(
        &mut self,
        of: &Mirrored,
        op_count: u16,
        seq: u64,
        body_len: usize,
        leans: bool,
        parts: impl Iterator<Item = &'a [u8]>,
    ) {
        if !self.is_mirroring() {
            return;
        }
        let appended = self.log.appended;
        let Some(mirror) = &mut self.mirror else { return };
        mirror.last = of.generation;
        if leans || (of.len as usize) > RECORD_HEADER_LEN + body_len {
            mirror.leans_on = appended;
        }
        let head = of.encode();
        let parts = core::iter::once(&head[..]).chain(parts.map(|part| -> &[u8] { part }));
        let len = MIRROR_HEADER_LEN + body_len;
        mirror.head.append_parts(RecordKind::Mirror, op_count, seq, len, parts);
    }

    /// Whether the mirror's buffer may go to the device (`B5`); if not, nothing is appended to it
    /// until it does.
    pub(crate) fn hold_mirror(&mut self) -> bool {
        let Some(mirror) = &mut self.mirror else { return true };
        let settled = mirror.settled >= mirror.leans_on || planted(Bug::MirrorAheadOfLog);
        mirror.is_held = !settled;
        settled
    }

    /// Everything that is in the mirror's buffer is on the device, or is given up with its zone.
    pub(crate) fn mirror_written(&mut self, gave_up: bool) {
        let covered = self.log.appended;
        let Some(mirror) = &mut self.mirror else { return };
        if !gave_up {
            mirror.covered = mirror.covered.max(mirror.under_way);
            if !mirror.head.is_dirty() {
                mirror.covered = covered;
            }
        } else if let Some(zone) = mirror.head.give_up() {
            self.zones.get_mut(zone).set_head(false);
            self.note_mirror_left(zone);
        }
    }

    /// A zone of the mirror is left: it covers the log up to the last record's zone.
    pub(crate) fn note_mirror_left(&mut self, zone: ZoneId) {
        let last = self.mirror.as_ref().map_or(0, |mirror| mirror.last);
        let covers_to = if last > 0 { last } else { self.born };
        self.zones.get_mut(zone).sealed = covers_to.saturating_add(1).into();
    }

    /// The element on which the next zone of a head had better not lie.
    pub(crate) fn element_to_avoid(&self, side: Side) -> Option<[u8; 2]> {
        let other = match side {
            Side::Log => Side::Mirror,
            Side::Mirror => Side::Log,
            Side::Cold => return None,
        };
        self.mirror.as_ref().and_then(|_| self.head_element(other))
    }
}

impl<D: Device> Core<'_, D> {
    /// Whether the log has a mirror.
    pub(crate) fn is_log_mirrored(&self) -> bool {
        self.superblock.get().redundancy.mirror_log
    }

    /// The longest record that the mirror takes, any length where there is none.
    pub(crate) fn mirror_len_max(&self) -> usize {
        let state = self.state.borrow();
        let most = state.mirror.as_ref().map(|mirror| mirror.head.record_len_max());
        most.map_or(usize::MAX, |most| most.min(self.zone_record_max))
    }

    /// Waits until a record of `len` bytes fits the head of `side`, and its copy with `mirrored`
    /// bytes of operations the mirror. There is no await between this returning and the caller's
    /// next one, so the room is still there.
    pub(crate) async fn make_record_room(
        &self,
        side: Side,
        len: usize,
        mirrored: usize,
    ) -> Result<(), Fault<D::Error>> {
        loop {
            self.make_room(side, len).await?;
            if self.state.borrow().mirror_fits(side, mirrored) {
                return Ok(());
            }
            self.make_mirror_room(mirrored).await?;
        }
    }

    async fn make_mirror_room(&self, mirrored: usize) -> Result<(), Fault<D::Error>> {
        let record_len = RECORD_HEADER_LEN + MIRROR_HEADER_LEN + mirrored;
        let (stays, fits) = {
            let state = self.state.borrow();
            let Some(mirror) = &state.mirror else { return Ok(()) };
            let zone_fits = record_len <= mirror.head.zone_room() as usize;
            let fits = !mirror.is_held && mirror.head.fits(record_len);
            (zone_fits && !state.is_misplaced(), fits)
        };
        match (stays, fits) {
            (true, true) => Ok(()),
            (true, false) => self.write_mirror(false).await,
            _ => self.roll(Side::Mirror, record_len).await,
        }
    }

    /// Writes what the mirror holds, as [`write_out`](Self::write_out), once what it leans on is
    /// durable. Nothing more is appended until then, or the wait might never end.
    pub(crate) async fn write_mirror(&self, pad: bool) -> Result<(), Fault<D::Error>> {
        while !self.state.borrow_mut().hold_mirror() {
            self.settle_log().await?;
        }
        self.write_out(Side::Mirror, pad).await
    }

    /// Makes durable in the log what the mirror's buffer leans on.
    async fn settle_log(&self) -> Result<(), Fault<D::Error>> {
        if self.is_read_only() {
            return Err(Fault::NoSpace);
        }
        let written = {
            let state = self.state.borrow();
            let leans_on = state.mirror.as_ref().map_or(0, |mirror| mirror.leans_on);
            state.log.written >= leans_on
        };
        if !written {
            return self.write_out(Side::Log, true).await;
        }
        let Some(_guard) = self.commits.try_enter(&self.lot) else {
            drop(self.commits.enter(&self.lot).await);
            return Ok(());
        };
        self.sync_device().await
    }

    /// A zone for the mirror on another element than the log's; `None`, and no mirror until the log
    /// changes its zone, if there is none to be had.
    pub(crate) async fn take_mirror_zone(&self) -> Result<Option<ZoneId>, Fault<D::Error>> {
        let (element, there) = {
            let state = self.state.borrow();
            let element = state.head_element(Side::Log);
            let suits = |(_, zone): (ZoneId, &crate::zone::Zone)| {
                zone.role() == Role::Free && Some(zone.element) != element
            };
            let few = state.zones.free_count() <= ZONES_LEFT;
            (element, !few && state.zones.iter().any(suits))
        };
        let taken = match there {
            true => match self.take_zone(Role::LogMirror, element, false).await {
                Ok(zone) => Some(zone),
                Err(Fault::NoSpace) if !self.is_read_only() => None,
                Err(fault) => return Err(fault),
            },
            false => None,
        };
        let right = {
            let mut state = self.state.borrow_mut();
            let right = taken.filter(|zone| Some(state.zones.get(*zone).element) != element);
            if let (Some(zone), None) = (taken, right) {
                state.zones.release(zone);
                state.zones.freed(zone);
            }
            if let (None, Some(mirror)) = (right, &mut state.mirror) {
                mirror.is_off = true;
            }
            right
        };
        if let Some(zone) = right {
            self.commit_edit(|state, edit| {
                let generation = state.zones.get(zone).generation.get();
                let role = Role::LogMirror as u8;
                edit.push(&Change::Take { zone: zone.0, generation, role });
                // Nothing more goes into one that lies beside the log's new zone: should both be
                // gone, recovery knows that the one covers nothing of the other.
                let before = state.mirror.as_ref().and_then(|mirror| mirror.head.zone);
                if let Some(before) = before.filter(|_| state.is_misplaced()) {
                    state.note_mirror_left(before.id);
                    let end = state.zones.get(before.id).sealed.get();
                    edit.push(&Change::Seal { zone: before.id.0, end });
                }
            })
            .await?;
        }
        self.lot.wake_all(For::Progress);
        Ok(right)
    }
}

/// Whether all that a zone of the mirror covers lies before the checkpoint.
pub(crate) fn is_spent(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    let of_this_life = zone.generation.get() >= state.born;
    // Where a zone does not say how far it covers, it is of a life before, or was never used.
    let covers_to = match zone.sealed.get() {
        0 if of_this_life => return false,
        0 => state.born,
        sealed => sealed,
    };
    state.checkpoint.log.generation >= covers_to
}
