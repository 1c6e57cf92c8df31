//! Publishing: manifest edits, snapshots of the manifest, superblocks, and the release of zones.
//!
//! The order of a new snapshot, and why:
//!
//! ```text
//!   1 snapshot into two fresh zones      cut after: the old manifest is untouched
//!   2 sync                               before 3, or a superblock could point to nothing
//!   3 superblock into anchor A, sync     cut after: A names the new, B the old; both are whole
//!   4 superblock into anchor B, sync     before 5, or B could name zones that were reset
//!   5 the old copies' zones are free
//! ```
//!
//! Invariants: `K1` a zone is reset only after the edit (or superblock) that frees it is durable.
//! `K2` an edit that refers to nodes or records is written only after they are durable.

use shingle_hal::{Class, Device, Error as _, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::{Fault, is_of_zone};
use crate::format::edit::{Change, KEY_PART_LEN};
use crate::format::marks::LEAVE;
use crate::format::seal::seal;
use crate::format::superblock::{ManifestPlace, Superblock, VERSION};
use crate::limits::{
    ANCHORS, BLOCK_LEN_MIN, GENERATIONS_RESERVED, RELEASED_AT_ONCE, TIERS, ZONE_FAILURES_MAX,
};
use crate::manifest::{self, Copy, EditBuilder};
use crate::mirror::is_spent;
use crate::state::{Core, State};
use crate::zone::{Role, Zone, Zones, prepare};

/// Where the snapshot of the state is written from.
struct Snapshot<'e, 'c, 'm, D: Device> {
    core: &'c Core<'m, D>,
    builder: EditBuilder<'e>,
    copies: [Copy; 2],
    edit: u64,
    part: u32,
}

impl<D: Device> Snapshot<'_, '_, '_, D> {
    async fn push(&mut self, change: &Change<'_>) -> Result<(), Fault<D::Error>> {
        if self.builder.is_nearly_full() {
            self.write(false).await?;
        }
        self.builder.push(change);
        assert!(!self.builder.overflowed(), "two blocks take any change");
        Ok(())
    }

    async fn write(&mut self, last: bool) -> Result<(), Fault<D::Error>> {
        let blocks = self.builder.block_count().max(1);
        if self.copies.iter().any(|copy| copy.next + blocks > copy.capacity) {
            return Err(Fault::NoSpace);
        }
        let Self { core, builder, copies, edit, part } = self;
        let written = manifest::append(&core.media, copies, builder, *edit, part, last).await;
        written.map_err(|(zone, error)| core.zone_fault(zone, error))
    }

    async fn zones(&mut self) -> Result<(), Fault<D::Error>> {
        let count = self.core.state.borrow().zones.len();
        for id in 0..count {
            let zone = *self.core.state.borrow().zones.get(ZoneId(id));
            match zone.role() {
                Role::Log
                | Role::Cold
                | Role::Run
                | Role::Bottom
                | Role::Extension
                | Role::Twin
                | Role::Parity
                | Role::LogMirror => {
                    let generation = zone.generation.get();
                    let role = zone.role() as u8;
                    self.push(&Change::Take { zone: id, generation, role }).await?;
                    let (written, live) = (zone.written.get(), zone.live.get());
                    if zone.role().holds_values() && live > 0 {
                        self.push(&Change::Fill { zone: id, written, live }).await?;
                    }
                    if zone.health() != 0 && !planted(Bug::MarksNotPersisted) {
                        let (marks, found) = (zone.health(), zone.found.get());
                        self.push(&Change::Mark { zone: id, marks, found }).await?;
                    }
                    if zone.sealed.get() > 0 {
                        self.push(&Change::Seal { zone: id, end: zone.sealed.get() }).await?;
                    }
                    let extension = self.core.state.borrow().zones.extension(ZoneId(id));
                    if let Some((from, into)) = extension {
                        self.push(&Change::Extend { zone: id, from, into: into.0 }).await?;
                    }
                    let twin = self.core.state.borrow().zones.twin(ZoneId(id));
                    if let Some(twin) = twin {
                        self.push(&Change::Twin { zone: id, twin: twin.0 }).await?;
                    }
                }
                Role::Retired => self.push(&Change::Retire { zone: id }).await?,
                // The edit that this snapshot stands for may be the one that gives it up.
                Role::Releasing if zone.is_sick() => {
                    self.push(&Change::Retire { zone: id }).await?;
                }
                // The copies that these take the place of are not used again if they failed.
                Role::Manifest
                    if zone.is_sick() && !self.copies.iter().any(|copy| copy.zone.0 == id) =>
                {
                    self.push(&Change::Retire { zone: id }).await?;
                }
                Role::Free | Role::Anchor | Role::Manifest | Role::Releasing => {}
            }
        }
        // Behind the zones that they name.
        for id in (0..count).map(ZoneId) {
            let protects = {
                let state = self.core.state.borrow();
                let zones = &state.zones;
                let parity = zones.parity_of(id).filter(|_| zones.get(id).role().holds_values());
                let copy = zones.copy_of(id).is_some();
                let blocks = if copy { 0 } else { zones.get(id).written.get() };
                parity.map(|parity| Change::Protect { zone: id.0, parity: parity.0, blocks })
            };
            if let Some(change) = protects {
                self.push(&change).await?;
            }
        }
        Ok(())
    }

    async fn tree(&mut self) -> Result<(), Fault<D::Error>> {
        let count = self.core.state.borrow().tree.pieces().len();
        for index in 0..count {
            let record = self.core.state.borrow().tree.pieces()[index].record();
            self.push(&Change::Piece(record)).await?;
        }
        for level in 0..TIERS as u8 {
            let merge = self.core.state.borrow().tree.merge(level);
            let Some(merge) = merge else { continue };
            let (into, run, last_input) = (merge.into, merge.run, merge.last_input);
            self.push(&Change::Merge { level, into, run, last_input }).await?;
            let mut at = 0;
            loop {
                let mut part = [0; KEY_PART_LEN];
                let (len, done) = {
                    let state = self.core.state.borrow();
                    let key = state.tree.merge_key(level);
                    let len = (key.len() - at).min(KEY_PART_LEN);
                    part[..len].copy_from_slice(&key[at..at + len]);
                    (len, at + len == key.len())
                };
                let change = Change::MergeKey { level, first: at == 0, part: &part[..len] };
                self.push(&change).await?;
                at += len;
                if done {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl<D: Device> Core<'_, D> {
    /// Builds an edit from the state, applying what it says, and appends it to both copies. When
    /// it does not fit, a new snapshot takes its place. It is durable after the next sync.
    pub(crate) async fn commit_edit(
        &self,
        build: impl FnOnce(&mut State<'_>, &mut EditBuilder<'_>),
    ) -> Result<(), Fault<D::Error>> {
        let _guard = self.edits.enter(&self.lot).await;
        if self.is_read_only() {
            return Err(Fault::NoSpace);
        }
        let mut memory = self.edit.take(&self.lot).await;
        // The first snapshot of a life says what the last one left, and nothing else: one that a
        // cut kept from being published is as good then (`rescue`).
        if self.state.borrow().manifest.copies.is_none() {
            self.rotate(&mut memory).await?;
        }
        let mut builder = EditBuilder::new(&mut memory, self.media.block_len());
        let (manifest, raises) = {
            let mut state = self.state.borrow_mut();
            build(&mut state, &mut builder);
            // Soon, but not where a snapshot would take the last free zones.
            let raises = needs_generations(&state.zones, GENERATIONS_RESERVED / 4);
            (state.manifest, raises && state.zones.free_count() > 2 * ANCHORS as u32)
        };
        if builder.is_empty() {
            return Ok(());
        }
        let room = !builder.overflowed() && manifest.has_room(builder.block_count()) && !raises;
        let Some(mut copies) = manifest.copies.filter(|_| room) else {
            return self.rotate(&mut memory).await;
        };
        let (edit, mut part) = (manifest.next_edit, 0);
        let result =
            manifest::append(&self.media, &mut copies, &mut builder, edit, &mut part, true).await;
        match result {
            Ok(()) => {}
            // A copy cannot go on there: a snapshot of what the edit made of the state takes its
            // place, in other zones.
            Err((zone, error)) if self.note_failed(zone, error.kind()) => {
                return self.rotate(&mut memory).await;
            }
            Err((_, error)) => return self.poison(Fault::Device(error)),
        }
        let mut state = self.state.borrow_mut();
        state.manifest.copies = Some(copies);
        state.manifest.next_edit += 1;
        Ok(())
    }

    /// Makes the manifest writable after open: nothing is appended to what a cut may have torn.
    pub(crate) async fn begin_writing(&self) -> Result<(), Fault<D::Error>> {
        if self.state.borrow().manifest.copies.is_some() {
            return Ok(());
        }
        let _guard = self.edits.enter(&self.lot).await;
        if self.state.borrow().manifest.copies.is_some() {
            return Ok(());
        }
        let mut memory = self.edit.take(&self.lot).await;
        self.rotate(&mut memory).await
    }

    /// Writes a new snapshot to fresh zones, and new superblocks, although nothing changed.
    pub(crate) async fn snapshot_manifest(&self) -> Result<(), Fault<D::Error>> {
        let _guard = self.edits.enter(&self.lot).await;
        let mut memory = self.edit.take(&self.lot).await;
        self.rotate(&mut memory).await
    }

    /// Reserves generations durably before one beyond the reserve is used.
    ///
    /// A snapshot says how many, never an edit: where a drive loses the end of both copies of the
    /// manifest, the next life would use generations again, and blocks of this one would pass for
    /// its own. A snapshot is named by the superblock, so its loss shows.
    pub(crate) async fn reserve_generations(&self) -> Result<(), Fault<D::Error>> {
        if planted(Bug::GenerationReused) {
            let zones = &mut self.state.borrow_mut().zones;
            zones.generation_limit = zones.next_generation + GENERATIONS_RESERVED;
        }
        if !needs_generations(&self.state.borrow().zones, 1) {
            return Ok(());
        }
        self.begin_writing().await?;
        if needs_generations(&self.state.borrow().zones, 1) {
            self.snapshot_manifest().await?;
        }
        Ok(())
    }

    /// Writes a snapshot to fresh zones and publishes it. Under the `edits` lock.
    async fn rotate(&self, memory: &mut [u8]) -> Result<(), Fault<D::Error>> {
        let mut attempts = 0;
        loop {
            let fault = match self.rotate_steps(memory).await {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            attempts += 1;
            let of_zone = matches!(fault, Fault::Device(error) if is_of_zone(error.kind()));
            if !of_zone || self.is_read_only() || attempts == ZONE_FAILURES_MAX {
                // Without room for a snapshot nothing more can be promised.
                self.state.borrow_mut().read_only = true;
                return self.poison(fault);
            }
            self.drop_unpublished_copies();
        }
    }

    /// A failure in `zone`, of which note is taken.
    fn zone_fault(&self, zone: ZoneId, error: D::Error) -> Fault<D::Error> {
        self.note_failed(zone, error.kind());
        Fault::Device(error)
    }

    /// Frees the zones of a snapshot that came to nothing: no superblock names them.
    fn drop_unpublished_copies(&self) {
        let mut state = self.state.borrow_mut();
        let published = state.manifest.published;
        for id in (0..state.zones.len()).map(ZoneId) {
            let kept = published.is_some_and(|copies| copies.contains(&id));
            if state.zones.get(id).role() == Role::Manifest && !kept {
                state.zones.release(id);
                state.zones.freed(id);
            }
        }
    }

    async fn rotate_steps(&self, memory: &mut [u8]) -> Result<(), Fault<D::Error>> {
        let (old, first) = {
            let manifest = &self.state.borrow().manifest;
            (manifest.published, manifest.copies.is_none())
        };
        if first {
            self.even_anchors(memory).await?;
        }
        self.give_back_after_mount(false).await?;
        let first = self.new_copy(None).await?;
        let element = self.state.borrow().zones.get(first.zone).element;
        let copies = [first, self.new_copy(Some(element)).await?];
        let mut snapshot = {
            let mut state = self.state.borrow_mut();
            state.counters.snapshots += 1;
            event!(info, "the manifest begins anew in {} and {}", copies[0].zone, copies[1].zone);
            let reserve = if planted(Bug::GenerationReused) { 0 } else { GENERATIONS_RESERVED };
            state.zones.generation_limit = state.zones.next_generation + reserve;
            let builder = EditBuilder::new(memory, self.media.block_len());
            Snapshot { core: self, builder, copies, edit: state.manifest.next_edit, part: 0 }
        };
        let superblock = self.next_superblock(&copies, snapshot.edit);
        for index in 0..2 {
            let copy = snapshot.copies[index];
            let block = &mut snapshot.builder.first_block();
            self.zone_header(block, copy.generation, Role::Manifest);
            // Where both anchors are lost, it leads to the manifest (`rescue`).
            superblock.encode_in_header(block);
            seal(block, 0, self.media.identity(copy.generation, 0));
            let written = self.media.write(copy.start, block, Class::Maintenance).await;
            written.map_err(|error| self.zone_fault(copy.zone, error))?;
        }
        let (counters, mark) = {
            let state = self.state.borrow();
            let generation_limit = state.zones.generation_limit;
            let counters = Change::Counters { generation_limit, next_run: state.tree.next_run };
            (counters, state.checkpoint)
        };
        snapshot.push(&counters).await?;
        let checkpoint = Change::Checkpoint { log: mark.log, cold: mark.cold, seq: mark.seq };
        snapshot.push(&checkpoint).await?;
        let scrub = {
            let scrub = &mut self.state.borrow_mut().scrub;
            scrub.recorded = scrub.zone;
            *scrub
        };
        if scrub.pass > 0 {
            snapshot.push(&scrub.change()).await?;
        }
        snapshot.zones().await?;
        snapshot.tree().await?;
        snapshot.write(true).await?;
        let Snapshot { copies, edit, .. } = snapshot;
        if !planted(Bug::SuperblockBeforeSnapshot) {
            self.sync_device().await?;
        }
        self.state.borrow_mut().manifest.ordinal = superblock.ordinal;
        self.superblock.set(superblock);
        self.write_anchors(&superblock, memory).await?;
        self.give_back_after_mount(true).await?;
        for zone in old.into_iter().flatten() {
            {
                let mut state = self.state.borrow_mut();
                state.zones.release(zone);
                state.zones.freed(zone);
            }
            self.clear_manifest(zone, memory).await?;
        }
        let mut state = self.state.borrow_mut();
        let manifest = &mut state.manifest;
        manifest.published = Some([copies[0].zone, copies[1].zone]);
        manifest.snapshot_blocks = copies[0].next;
        manifest.copies = Some(copies);
        manifest.next_edit = edit + 1;
        Ok(())
    }

    /// Gives back the active resources that the last life's heads still hold: of zones that nothing
    /// refers to, by a reset, or of the others, by finishing them. That is done only when the
    /// snapshot says where their records end: a finished zone's write pointer no longer tells.
    pub(crate) async fn give_back_after_mount(&self, used: bool) -> Result<(), Fault<D::Error>> {
        let replaying = self.state.borrow().replaying;
        if self.media.geometry.active_zones_max.is_none() {
            return Ok(());
        }
        let count = self.state.borrow().zones.len();
        for id in (0..count).map(ZoneId) {
            let role = {
                let mut state = self.state.borrow_mut();
                let zone = state.zones.get_mut(id);
                let role = zone.role();
                // During replay the ends of log zones are not in the snapshot yet.
                let of_log = role.holds_values() || matches!(role, Role::LogMirror | Role::Parity);
                let early = used && replaying && of_log;
                if (role == Role::Free) == used || early || !zone.take_active() || zone.is_head() {
                    continue;
                }
                role
            };
            match role {
                Role::Anchor | Role::Manifest | Role::Retired => {}
                Role::Free => {
                    self.state.borrow_mut().zones.begin_prepare(id);
                    let reset = self.media.reset(id).await;
                    reset.or_else(|error| self.free_zone_failed(id, error))?;
                }
                _ => match self.media.finish(id).await {
                    Err(error) if !self.note_failed(id, error.kind()) => {
                        return Err(Fault::Device(error));
                    }
                    _ => {}
                },
            }
        }
        if used { self.sync_device().await } else { Ok(()) }
    }

    /// Clears a zone that held a manifest, if nothing else is in it: a superblock that names it
    /// leads nowhere then (`K5`). Partly written, it would hold an active resource till it is used.
    pub(crate) async fn clear_manifest(
        &self,
        zone: ZoneId,
        memory: &mut [u8],
    ) -> Result<(), Fault<D::Error>> {
        let conventional = {
            let mut state = self.state.borrow_mut();
            let holds_nothing = |role| matches!(role, Role::Free | Role::Retired);
            if zone.0 >= state.zones.len() || !holds_nothing(state.zones.get(zone).role()) {
                return Ok(());
            }
            state.zones.begin_prepare(zone).1
        };
        let cleared = if conventional {
            let block = &mut memory[..self.media.block_len()];
            block.fill(0);
            let header = self.media.geometry.zone_start(zone);
            self.media.write(header, block, Class::Maintenance).await
        } else {
            self.media.reset(zone).await
        };
        cleared.or_else(|error| self.free_zone_failed(zone, error))
    }

    /// A free zone could not be made ready: it is retired, if it alone is at fault.
    fn free_zone_failed(&self, zone: ZoneId, error: D::Error) -> Result<(), Fault<D::Error>> {
        if !is_of_zone(error.kind()) {
            return Err(Fault::Device(error));
        }
        self.state.borrow_mut().zones.retire(zone);
        self.capacity.set(self.capacity_bytes());
        Ok(())
    }

    /// A fresh zone for a copy; it needs no reserved generation, because its blocks are chained.
    async fn new_copy(&self, not_on: Option<[u8; 2]>) -> Result<Copy, Fault<D::Error>> {
        // Each turn that finds no zone retires one.
        loop {
            let (copy, (needs_reset, conventional)) = {
                let mut state = self.state.borrow_mut();
                let Some(zone) = state.zones.take(Role::Manifest, not_on) else {
                    return Err(Fault::NoSpace);
                };
                let prepare = state.zones.begin_prepare(zone);
                let entry = state.zones.get(zone);
                let generation = entry.generation.get();
                let start = state.zones.start(zone);
                (Copy::new(zone, start, generation, entry.capacity.get()), prepare)
            };
            match prepare(&self.media, copy.zone, needs_reset, conventional).await {
                Ok(()) => return Ok(copy),
                Err(error) => self.free_zone_failed(copy.zone, error)?,
            }
        }
    }

    /// The superblock that names a snapshot.
    fn next_superblock(&self, copies: &[Copy; 2], edit: u64) -> Superblock {
        let place = |copy: &Copy| ManifestPlace { zone: copy.zone.0, generation: copy.generation };
        Superblock {
            ordinal: self.state.borrow().manifest.ordinal + 1,
            version: VERSION,
            first_edit: edit,
            manifest: copies.each_ref().map(place),
            ..self.superblock.get()
        }
    }

    /// How many zones wait to be [freed](Self::release_dead).
    pub(crate) fn dead_zones(&self) -> u32 {
        let state = self.state.borrow();
        state.zones.iter().filter(|(id, _)| is_dead(&state, *id)).count() as u32
    }

    /// Frees zones that nothing refers to: edit, sync, and only then are they free. The sync is
    /// the next that comes by itself, or comes `now`.
    ///
    /// Returns how many are released, or now free.
    pub(crate) async fn release_dead(&self, now: bool) -> Result<u32, Fault<D::Error>> {
        let mut released = self.write_releases().await?;
        if now {
            released = self.state.borrow().releasing.len() as u32;
            if released > 0 {
                self.sync_device().await?;
            }
        }
        Ok(released)
    }

    /// Says in the manifest that the zones which nothing refers to are free; gives how many.
    async fn write_releases(&self) -> Result<u32, Fault<D::Error>> {
        let room = {
            let state = self.state.borrow();
            state.releasing.capacity() - state.releasing.len()
        };
        let mut dead = heapless::Vec::<ZoneId, RELEASED_AT_ONCE>::new();
        {
            let state = self.state.borrow();
            for (id, _) in state.zones.iter() {
                if dead.len() == room {
                    break;
                }
                if is_dead(&state, id) {
                    let _ = dead.push(id);
                }
            }
        }
        if dead.is_empty() {
            return Ok(0);
        }
        self.begin_writing().await?;
        let emptied = {
            let state = self.state.borrow();
            let mut zones = dead.iter().flat_map(|id| state.zones.group(*id));
            zones.any(|id| state.zones.get(id).is_emptied())
        };
        if emptied {
            // What was moved out of them stands elsewhere, and what made the rest dead.
            self.make_moves_durable().await?;
        }
        if planted(Bug::ResetBeforeEdit) {
            for &zone in &dead {
                if !self.state.borrow().zones.get(zone).is_conventional() {
                    self.media.device.reset(zone).await.map_err(Fault::Device)?;
                }
            }
        }
        self.commit_edit(|state, edit| {
            // What was dead stays dead: only heads and pointers bring life, and neither can reach
            // a zone without bytes in use.
            for &zone in &dead {
                push_release(state, edit, zone);
            }
            state.tree.version += 1;
        })
        .await?;
        let _ = self.state.borrow_mut().releasing.extend_from_slice(&dead);
        Ok(dead.len() as u32)
    }
}

/// Releases a logical zone, and says in the edit what becomes of its zones: free, or those that
/// failed, retired.
pub(crate) fn push_release(state: &mut State<'_>, edit: &mut EditBuilder<'_>, id: ZoneId) {
    let group = state.zones.group(id);
    // The zone of parity first: the others are in no group then.
    let is_parity = |id: &&ZoneId| state.zones.get(**id).role() == Role::Parity;
    let parity = group.iter().find(is_parity).copied();
    let others = group.iter().copied().filter(|id| Some(*id) != parity);
    for zone in parity.into_iter().chain(others) {
        for zone in state.zones.members(zone) {
            let sick = state.zones.get(zone).is_sick();
            state.count_released(zone);
            state.zones.release(zone);
            let zone = zone.0;
            edit.push(&if sick { Change::Retire { zone } } else { Change::Free { zone } });
        }
    }
}

/// Whether fewer than `least` generations are reserved.
fn needs_generations(zones: &Zones<'_>, least: u32) -> bool {
    let left = zones.generation_limit.saturating_sub(zones.next_generation);
    left < least && !planted(Bug::GenerationReused)
}

/// Whether nothing refers to a zone, now and ever again.
pub(crate) fn is_dead(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    if zone.is_head() || zone.is_pending() {
        return false;
    }
    match zone.role() {
        // For its whole group.
        Role::Parity => state.zones.group(id)[1..].iter().all(|id| is_emptied(state, *id)),
        Role::Log | Role::Cold => !state.zones.is_grouped(id) && is_emptied(state, id),
        _ if zone.live.get() > 0 || zone.live_mem.get() > 0 => false,
        Role::Run | Role::Bottom => true,
        // The zone it was to be the twin of is gone, or never had it.
        Role::Twin => !state.zones.is_twin_of_any(id),
        Role::LogMirror => is_spent(state, id),
        _ => false,
    }
}

/// Whether nothing refers to a log zone, or what does has another place by now.
pub(crate) fn is_emptied(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    let dead = zone.live.get() == 0 && zone.live_mem.get() == 0;
    (dead || zone.is_emptied()) && (is_behind(state, id) || forgets_open_record(zone))
}

/// Whether a zone that is to leave is taken for one that replay does not read.
pub(crate) fn forgets_open_record(zone: &Zone) -> bool {
    planted(Bug::EvacuateForgetsOpenRecord) && zone.has_mark(LEAVE) && !zone.is_head()
}

/// Whether a log zone lies before what replay reads, and no value under way has a fragment in it.
pub(crate) fn is_behind(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    let mark = if zone.role() == Role::Log { state.checkpoint.log } else { state.checkpoint.cold };
    let generation = zone.generation.get();
    !zone.is_head() && generation < mark.generation && zone.pens == 0
}

const _: () = assert!(ANCHORS == 2 && BLOCK_LEN_MIN >= 256);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::memory_len;

    #[test]
    fn generations_are_reserved_before_there_are_too_few() {
        let mut memory = vec![0; memory_len(2)];
        let mut zones = Zones::new(&mut memory, 2, 64);
        (zones.next_generation, zones.generation_limit) = (100, 105);
        assert!(!needs_generations(&zones, 5) && needs_generations(&zones, 6));
        // A snapshot's own zones are taken beyond the limit.
        zones.next_generation = 107;
        assert!(!needs_generations(&zones, 0) && needs_generations(&zones, 1));
    }
}
