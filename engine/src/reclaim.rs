//! Reclaim: what still lives in a log zone is appended to the log of survivors, then the zone is
//! free.
//!
//! A record is alive if a search for its key, now, ends at it. The copy goes in under the sequence
//! number the value always had, so it stands for the same version; whoever finds the old entry
//! later finds the copy first. Entries that still point into the freed zone are harmless: its
//! generation is gone.
//!
//! ```text
//!   1 look at the next record's head   dead: step over it; a long value is not read for that
//!   2 alive: read the value            (other writes go on)
//!   3 still the newest? append the copy and its memtable entry, without an await between
//!   4 at the end of the zone: write out and sync the survivors,    before 5, or a cut would
//!     and the log, whose overwrites made the rest dead             lose what was moved, or
//!   5 edit that frees the zone, sync                               both the old and the new
//!   6 the zone is free
//! ```
//!
//! Invariants: `G1` a zone is freed only when every record alive in it has a durable copy (canary
//! `FreeBeforeSurvivorsSynced`), and what made the others dead is durable (canary
//! `FreeBeforeOverwritesSynced`). `G2` a copy never hides a newer version: it is appended only
//! while its original is the newest. A version that only a snapshot can see is not moved; its zone
//! waits for the snapshot.

use shingle_hal::{Class, Device, ZoneId};

use crate::canary::{Bug, planted};
use crate::checkpoint::{forgets_open_record, is_behind, is_emptied, push_release};
use crate::compact::Step;
use crate::error::Fault;
use crate::format::entry::{Entry, Fragment, Kind, Place, encode_fragments, encode_place};
use crate::format::marks::EFFORT;
use crate::format::record::{
    OP_HEADER_LEN, OpHeader, OpKind, RECORD_HEADER_LEN, RecordHeader, RecordKind,
};
use crate::limits::{FRAGMENT_LEN_MAX, FRAGMENTS_MAX, UNSYNCED_BYTES_MAX};
use crate::log::RecordReader;
use crate::log::index::Note;
use crate::log::mirror::Mirrored;
use crate::log::reader::{LogZone, Sweep};
use crate::state::{Core, Side, State};
use crate::sync::For;
use crate::zone::Role;

/// The fragments of a value.
pub(crate) type Fragments = heapless::Vec<Fragment, FRAGMENTS_MAX>;

/// A zone being reclaimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Victim {
    zone: ZoneId,
    log_zone: LogZone,
    /// Payload offset of the next record.
    offset: u32,
    /// In that record: operations still to look at, and where the next one starts.
    ops_left: u16,
    op_at: u32,
    seq: u64,
    record_end: u32,
    /// One more than where recovery found the records to end.
    sealed: u32,
    /// Bytes of the last record: what is read ahead of one that is longer is read for nothing.
    record_len: u32,
    /// What of it is in the window, which nobody else has used since.
    sweep: Sweep,
    /// Something in it could not be read; what is alive there stays behind.
    damaged: bool,
}

/// What became of a value.
enum Moved {
    /// It is dead, or now lives elsewhere.
    Done,
    /// Only a snapshot sees it.
    Pinned,
    /// Its key changed meanwhile: look again.
    Again,
}

/// An entry found by a search, without its borrowed parts.
struct Found {
    seq: u64,
    version_len: u16,
    meta_len: usize,
    value_len: u64,
    places: Fragments,
    fragmented: bool,
}

impl<D: Device> Core<'_, D> {
    /// Picks the zone with the least alive in it, if emptying it gains at least `gain_min` bytes.
    fn pick_victim(&self, gain_min: u64) -> Option<Victim> {
        let state = self.state.borrow();
        let payload = u64::from(self.payload());
        // Zones that failed go first, whatever is gained.
        let mut failed = state.zones.iter().filter(|_| state.failed);
        let failed = failed.find(|(id, _)| is_failed_victim(&state, *id)).or_else(|| {
            // Not for room, or a zone without any gain might be emptied for it.
            let mut effort = state.zones.iter().filter(|_| state.failed && gain_min == u64::MAX);
            effort.find(|(id, _)| is_effort_victim(&state, *id))
        });
        let id = if let Some((id, _)) = failed {
            id
        } else {
            // A group that was begun is emptied to the end: only then is anything gained.
            let candidates = state.zones.iter().filter_map(|(id, _)| Prey::of(&state, id));
            let gains = |prey: &Prey| {
                let gain = gain_min.saturating_mul(prey.members);
                prey.begun || prey.live.saturating_add(gain) <= prey.blocks * payload
            };
            // When the last zones go, the emptiest.
            let urgent = state.zones.free_count() <= self.reserve() + 1;
            let newest = if urgent { 0 } else { state.zones.next_generation };
            candidates
                .filter(gains)
                .max_by_key(|prey| (prey.begun, prey.worth(newest, payload)))?
                .next
        };
        let zone = state.zones.get(id);
        let written = state.zones.written_here(id);
        let log_zone = LogZone {
            map: state.zones.map(id),
            generation: zone.generation.get(),
            blocks: if written > 0 { written } else { zone.capacity.get() },
            sources: state.zones.sources(id),
        };
        Some(Victim {
            zone: id,
            log_zone,
            offset: 0,
            ops_left: 0,
            op_at: 0,
            seq: 0,
            record_end: 0,
            sealed: zone.sealed.get(),
            record_len: 0,
            sweep: Sweep::default(),
            damaged: false,
        })
    }

    /// Whether a log zone that failed is to be emptied.
    pub(crate) fn has_failed_log_zone(&self) -> bool {
        let state = self.state.borrow();
        state.failed && state.zones.iter().any(|(id, _)| is_failed_victim(&state, id))
    }

    /// Whether a log zone is to be written anew because it is read with effort.
    pub(crate) fn has_effort_log_zone(&self) -> bool {
        let state = self.state.borrow();
        state.zones.iter().any(|(id, _)| is_effort_victim(&state, id))
    }

    /// Whether a zone picked earlier is still what it was: it may have been found dead meanwhile.
    fn is_still_there(&self, victim: &Victim) -> bool {
        self.state.borrow().zones.find(victim.log_zone.generation) == Some(victim.zone)
    }

    /// The window goes to somebody else.
    pub(crate) fn forget_sweep(&self) {
        let victim = self.reclaiming.take();
        self.reclaiming.set(victim.map(|victim| Victim { sweep: Sweep::default(), ..victim }));
    }

    /// One step of reclaim, at most about `budget` bytes copied. Under `jobs`.
    pub(crate) async fn reclaim_step(
        &self,
        budget: u64,
        gain_min: u64,
    ) -> Result<Step, Fault<D::Error>> {
        let begun = self.reclaiming.take().filter(|victim| self.is_still_there(victim));
        let Some(mut victim) = begun.or_else(|| self.pick_victim(gain_min)) else {
            return Ok(Step::Idle);
        };
        // It may have come into another group since the last step.
        victim.log_zone.sources = self.sources_of(victim.log_zone.generation);
        self.begin_writing().await?;
        let mut window = self.window.take(&self.lot).await;
        let block_len = self.media.block_len();
        let mut window_len = window.len();
        if victim.record_len as usize > held_max(window_len) {
            let heads = usize::from(self.limits.key_len_max)
                + usize::from(self.limits.meta_len_max)
                + RECORD_HEADER_LEN
                + OP_HEADER_LEN;
            let blocks = heads.div_ceil(self.payload() as usize) + 2;
            // Some of the window is for rebuilding.
            let is_alone = victim.log_zone.sources.is_none();
            let blocks = if is_alone { blocks } else { blocks + blocks / 7 + 1 };
            window_len = window_len.min(blocks * block_len);
            victim.sweep = Sweep::default();
        }
        let window = &mut window[..window_len];
        let mut reader = RecordReader::resume(victim.log_zone, window, block_len, victim.sweep);
        let (mut did, load) = (0, self.load());
        // A sweep is enough for a step, and so is a sync.
        while did < budget && (budget == u64::MAX || !self.has_waited_since(&load, budget)) {
            // Nobody is to wait for a sweep, and for the sync that what is copied next would bring.
            if budget < u64::MAX && self.media.unsynced_bytes() + budget > UNSYNCED_BYTES_MAX {
                self.sync_device().await?;
                did += 1;
                break;
            }
            if victim.ops_left == 0 {
                if !self.next_record(&mut victim, &mut reader).await? {
                    if did == 0 {
                        self.free_victim(&victim).await?;
                        return Ok(Step::Did(1));
                    }
                    break;
                }
                continue;
            }
            did += u64::from(self.payload());
            match self.reclaim_op(&mut victim, &mut reader, &mut did).await? {
                Moved::Done => {}
                Moved::Again => continue,
                Moved::Pinned => {
                    self.state.borrow_mut().zones.get_mut(victim.zone).set_pinned(true);
                    return Ok(Step::Did(did));
                }
            }
        }
        if window_len == self.plan.sweep_len {
            victim.sweep = reader.sweep();
        }
        self.reclaiming.set(Some(victim));
        Ok(Step::Did(did))
    }

    /// Reclaims every zone that emptying gains more of than a little.
    pub(crate) async fn reclaim_all(&self) -> Result<(), Fault<D::Error>> {
        // Survivors and the log are padded for each zone: that much is not gained.
        let gain = (self.zone_payload() / 16).max(4 * u64::from(self.payload()));
        // Survivors fill their zones, so no zone is worth it twice but the one that was the head.
        for _ in 0..2 * self.media.geometry.zone_count {
            let _guard = self.jobs.enter(&self.lot).await;
            if self.is_read_only() || self.reclaim_step(u64::MAX, gain).await? == Step::Idle {
                break;
            }
        }
        let _guard = self.jobs.enter(&self.lot).await;
        if !self.is_read_only() {
            self.release_dead(true).await?;
        }
        Ok(())
    }

    /// Goes to the next record; false at the end of the zone's records.
    async fn next_record(
        &self,
        victim: &mut Victim,
        reader: &mut RecordReader<'_>,
    ) -> Result<bool, Fault<D::Error>> {
        if victim.sealed > 0 && victim.offset >= victim.sealed - 1 {
            return Ok(false);
        }
        let header = match reader.record(&self.media, victim.offset).await? {
            Some(header) => header,
            None => {
                let end = victim.log_zone.blocks;
                let Some(next) = reader.resync(&self.media, victim.offset, end, u32::MAX).await?
                else {
                    return Ok(false);
                };
                (victim.damaged, victim.offset) = (true, next);
                reader.renew(end);
                return Ok(true);
            }
        };
        let Some(end) = header.offset.checked_add(header.len) else {
            return Ok(false);
        };
        if header.kind == RecordKind::End {
            return Ok(false);
        }
        victim.offset = end;
        victim.record_end = end;
        victim.record_len = header.len;
        victim.ops_left = header.op_count;
        victim.op_at = header.offset + RECORD_HEADER_LEN as u32;
        victim.seq = header.seq;
        Ok(true)
    }

    /// Looks at one operation and moves its value if it is alive.
    async fn reclaim_op(
        &self,
        victim: &mut Victim,
        reader: &mut RecordReader<'_>,
        did: &mut u64,
    ) -> Result<Moved, Fault<D::Error>> {
        let at = victim.op_at;
        // An operation that reaches out of its record is none.
        let record_end = u64::from(victim.record_end);
        let fits = |op: &OpHeader| u64::from(at) + op.op_len() as u64 <= record_end;
        let Some(op) = reader.op(&self.media, at).await?.filter(fits) else {
            victim.leave_record(reader);
            return Ok(Moved::Done);
        };
        let value_at = at + OP_HEADER_LEN as u32 + op.head_len() as u32;
        let mut outcome = Moved::Done;
        let apart = op.value_len >= self.limits.separate_from_bytes && op.kind == OpKind::Put;
        if apart || op.kind == OpKind::Fragment {
            let head_len = OP_HEADER_LEN + op.head_len();
            if !reader.covers(&self.media, at, head_len).await? {
                victim.leave_record(reader);
                return Ok(Moved::Done);
            }
            let generation = victim.log_zone.generation;
            let value = Fragment { generation, offset: value_at, len: op.value_len };
            // A short value comes with its neighbours in the window; a long one has a read of
            // its own.
            let len = op.op_len();
            let held =
                len <= held_max(reader.reach()) && reader.covers(&self.media, at, len).await?;
            // The longer look may have ended at a block that cannot be read.
            if !held && !reader.covers(&self.media, at, head_len).await? {
                victim.leave_record(reader);
                return Ok(Moved::Done);
            }
            let held = held.then(|| reader.bytes(value_at, op.value_len as usize));
            let key = reader.bytes(at + OP_HEADER_LEN as u32, usize::from(op.key_len));
            outcome = match self.move_value(key, value, held, did).await {
                // It cannot be read: its entry stays, and says where it was.
                Err(Fault::Damaged(_)) => {
                    victim.damaged = true;
                    Moved::Done
                }
                other => other?,
            };
        }
        if !matches!(outcome, Moved::Again) {
            victim.ops_left -= 1;
            victim.op_at = at + op.op_len() as u32;
        }
        Ok(outcome)
    }

    /// Moves a value if the newest version of its key refers to it; `held` are its bytes, if they
    /// were read already.
    async fn move_value(
        &self,
        key: &[u8],
        value: Fragment,
        held: Option<&[u8]>,
        did: &mut u64,
    ) -> Result<Moved, Fault<D::Error>> {
        let mut meta = self.meta.take(&self.lot).await;
        let Some((found, version)) = self.alive(key, u64::MAX, value, &mut meta).await? else {
            let snapshots = self.state.borrow().snapshot_seqs();
            for seq in snapshots {
                if self.alive(key, seq, value, &mut meta).await?.is_some() {
                    return Ok(Moved::Pinned);
                }
            }
            return Ok(Moved::Done);
        };
        *did += u64::from(value.len);
        // Copy in parts that both the buffer and the head can take.
        let mut buffer = self.values.take(&self.lot).await;
        let head_max = self.record_len_max(Side::Cold);
        let blocks = buffer.len() / self.media.block_len() - 1;
        let fixed = RECORD_HEADER_LEN + 2 * OP_HEADER_LEN + 2 * key.len() + found.meta_len + 10;
        let with_list = |fragments: usize| {
            let overhead = fixed + fragments * FRAGMENT_LEN_MAX;
            let room = blocks * self.payload() as usize;
            (overhead, room.min(head_max.saturating_sub(overhead)))
        };
        let (mut overhead, mut part_max) = with_list(found.places.len());
        if value.len as usize > part_max {
            (overhead, part_max) = with_list(self.limits.fragments_max());
        }
        // Known before anything is copied: a copy that comes to nothing still takes zones.
        let pieces = (value.len as usize).div_ceil(part_max.max(1));
        if found.places.len() - 1 + pieces > self.limits.fragments_max() {
            return Ok(Moved::Pinned);
        }
        let mut parts = Fragments::new();
        let mut at = 0;
        // A value that is not in many fragments already may fill up the zone's end with one.
        let places = found.places.len();
        let may_split = places as u64 <= self.cuts_max(found.value_len)
            && places < self.limits.fragments_max() / 4;
        loop {
            let left = value.len as usize - at;
            let room = self.state.borrow_mut().head(Side::Cold).zone_room() as usize;
            let least = self.fragment_least();
            let splits =
                may_split && left > 2 * least && left + overhead > room && room > least + overhead;
            let most = if splits { part_max.min(room - overhead) } else { part_max };
            if left <= most {
                break;
            }
            let part = match held {
                Some(held) => &held[at..at + most],
                None => self.read_part(&value, at, most, &mut buffer).await?,
            };
            self.make_room(Side::Cold, overhead + part.len()).await?;
            let place = append_fragment(&mut self.state.borrow_mut(), key, part);
            if parts.push(place).is_err() || parts.len() == self.limits.fragments_max() {
                return Ok(Moved::Pinned);
            }
            at += part.len();
        }
        let rest = value.len as usize - at;
        let part = match held {
            Some(held) => &held[at..],
            None => self.read_part(&value, at, rest, &mut buffer).await?,
        };
        self.make_entry_room(key.len(), overhead, true).await?;
        self.make_record_room(Side::Cold, overhead + part.len(), overhead).await?;
        let mut state = self.state.borrow_mut();
        if !is_still(&state, key, version, found.seq) {
            return Ok(Moved::Again);
        }
        let head_fits = state.head(Side::Cold).fits(overhead + part.len())
            && state.mirror_fits(Side::Cold, overhead);
        if !head_fits || !state.tables[state.active].room_for(key.len(), overhead) {
            return Ok(Moved::Again);
        }
        if found.places.len() + parts.len() > self.limits.fragments_max() {
            return Ok(Moved::Pinned);
        }
        let appended =
            append_moved(&mut state, key, &meta[..found.meta_len], &found, value, &parts, part);
        state.counters.moved_bytes += u64::from(value.len);
        let cost = (overhead + part.len()).min(self.plan.window_len) as u64;
        state.head(Side::Cold).add_walk_cost(cost);
        if appended { Ok(Moved::Done) } else { Ok(Moved::Pinned) }
    }

    /// Reads part of a value and gives its bytes at the front of `buffer`.
    async fn read_part<'b>(
        &self,
        value: &Fragment,
        at: usize,
        len: usize,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], Fault<D::Error>> {
        let offset = value.offset + at as u32;
        self.read_payload(value.generation, offset, len, buffer, Class::Maintenance.into()).await?;
        Ok(&buffer[..len])
    }

    /// The newest version of `key` for `seq`, if it refers to `value`; its metadata go to `meta`.
    async fn alive(
        &self,
        key: &[u8],
        seq: u64,
        value: Fragment,
        meta: &mut [u8],
    ) -> Result<Option<(Found, u64)>, Fault<D::Error>> {
        let mut found = None;
        let version = self
            .find(key, seq, Class::Maintenance, &mut |entry| {
                found = entry.map(|entry| {
                    meta[..entry.meta.len()].copy_from_slice(entry.meta);
                    Found {
                        seq: entry.seq,
                        version_len: entry.version_len,
                        meta_len: entry.meta.len(),
                        value_len: entry.value_len,
                        places: entry
                            .places()
                            .map(|(generation, offset, len)| Fragment {
                                generation,
                                offset,
                                len: len as u32,
                            })
                            .take(FRAGMENTS_MAX)
                            .collect(),
                        fragmented: entry.kind == Kind::Fragments,
                    }
                });
            })
            .await?;
        Ok(found.filter(|found| found.places.contains(&value)).map(|found| (found, version)))
    }

    /// Everything alive has been moved: makes the copies durable, then frees the zone.
    ///
    /// What could not be moved is lost: entries go on to name a generation that no zone has. An
    /// entry in a memtable must be in a run first, for replay passes over one whose zone is gone.
    async fn free_victim(&self, victim: &Victim) -> Result<(), Fault<D::Error>> {
        if victim.damaged && !self.flush_entries_of(victim.zone).await? {
            self.state.borrow_mut().zones.get_mut(victim.zone).set_pinned(true);
            return Ok(());
        }
        let id = victim.zone;
        let freed_now = {
            let mut state = self.state.borrow_mut();
            state.zones.get_mut(id).set_emptied(true);
            state.counters.reclaims += 1;
            event!(info, "{} is emptied", id);
            let appended = [Side::Log, Side::Cold].map(|side| state.head(side).appended);
            self.emptied_at.set(appended);
            // In a group it stays until the others are emptied too.
            let group = state.zones.group(id);
            let mut values = group.iter().filter(|id| state.zones.get(**id).role() != Role::Parity);
            values.all(|id| is_emptied(&state, *id)) || planted(Bug::MemberFreedAlone)
        };
        let waits = {
            let state = self.state.borrow();
            let is_plain = !victim.damaged && !state.zones.is_grouped(id) && !state.failed;
            is_plain && state.zones.free_count() > self.reserve() + 1
        };
        if !freed_now || waits {
            self.lot.wake_all(For::Progress);
            return Ok(());
        }
        self.make_moves_durable().await?;
        if self.state.borrow().releasing.is_full() {
            self.sync_device().await?;
        }
        if planted(Bug::MemberFreedAlone) {
            self.state.borrow_mut().zones.leave_alone(id);
        }
        self.commit_edit(|state, edit| {
            push_release(state, edit, id);
            state.tree.version += 1;
        })
        .await?;
        let _ = self.state.borrow_mut().releasing.push(id);
        self.sync_device().await
    }
}

/// What can be emptied to gain zones: a log zone by itself, or all of a group.
struct Prey {
    /// Its zone that is emptied next.
    next: ZoneId,
    members: u64,
    /// Bytes that live in it, and blocks that hold values.
    live: u64,
    blocks: u64,
    /// Some of it was emptied already.
    begun: bool,
    /// The youngest of its zones.
    generation: u32,
}

impl Prey {
    /// What emptying it is worth: the gain by the cost, reading and writing what lives, and by the
    /// root of its age. What is young loses more by itself, and a cold zone with a little that is
    /// dead would keep that for long. The square of all that, in no unit.
    ///
    /// # Source
    /// Cost-benefit cleaning of Rosenblum and Ousterhout, "The design and implementation of a
    /// log-structured file system" (1992), which takes the age itself; the root was the better for
    /// Zipf's law in trials with zones of 64 values, and costs nothing where keys are all alike.
    fn worth(&self, newest: u32, payload: u64) -> u64 {
        const ONE: u64 = 1 << 16;
        let capacity = (self.blocks * payload).max(1);
        let share = capacity.saturating_sub(self.live) * ONE / (capacity + self.live);
        share * share * u64::from(newest.saturating_sub(self.generation).max(1))
    }

    /// That of a zone in no group, or of a zone of parity; `None` where it cannot be emptied.
    fn of(state: &State<'_>, id: ZoneId) -> Option<Self> {
        let role = state.zones.get(id).role();
        let is_first = role == Role::Parity || !state.zones.is_grouped(id);
        if !is_first || !(role.holds_values() || role == Role::Parity) {
            return None;
        }
        let mut prey =
            Self { next: id, members: 0, live: 0, blocks: 0, begun: false, generation: 0 };
        let mut least = None;
        for id in state.zones.group(id) {
            let zone = state.zones.get(id);
            if !zone.role().holds_values() {
                continue;
            }
            prey.members += 1;
            prey.blocks += u64::from(zone.capacity.get() - 1);
            if role == Role::Parity && is_emptied(state, id) {
                prey.begun |= zone.is_emptied();
                continue;
            }
            if !is_victim(state, id) {
                return None;
            }
            let live = u64::from(zone.live.get()) + u64::from(zone.live_mem.get());
            prey.live += live;
            prey.generation = prey.generation.max(zone.generation.get());
            if least.is_none_or(|least| live < least) {
                (least, prey.next) = (Some(live), id);
            }
        }
        least.map(|_| prey)
    }
}

/// Bytes of the longest value that comes with its neighbours in a window of so many.
const fn held_max(window_len: usize) -> usize {
    window_len / 4
}

/// Whether a zone can be reclaimed.
fn is_victim(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    zone.role().holds_values()
        && !zone.is_pinned()
        && !zone.is_emptied()
        && (is_behind(state, id) || forgets_open_record(zone))
        && state.zones.is_readable(id)
}

/// Whether a zone can be reclaimed and should be, because it failed.
fn is_failed_victim(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    zone.role().holds_values()
        && (zone.is_damaged() || state.zones.is_failed(id))
        && is_victim(state, id)
}

/// Whether a zone can be reclaimed and should be, because it is read with effort.
fn is_effort_victim(state: &State<'_>, id: ZoneId) -> bool {
    state.zones.get(id).has_mark(EFFORT) && is_victim(state, id)
}

impl Victim {
    /// The rest of the record cannot be read: what is alive in it stays behind.
    fn leave_record(&mut self, reader: &mut RecordReader<'_>) {
        self.ops_left = 0;
        self.damaged = true;
        reader.renew(self.log_zone.blocks);
    }
}

/// Whether nothing happened to the key since the search that found it.
fn is_still(state: &State<'_>, key: &[u8], version: u64, seq: u64) -> bool {
    let mut same = true;
    let in_memory = state.find_in_memory(key, u64::MAX, &mut |entry| {
        same = entry.is_some_and(|entry| entry.seq == seq);
    });
    state.tree.version == version && (!in_memory || same)
}

fn append_fragment(state: &mut State<'_>, key: &[u8], part: &[u8]) -> Fragment {
    let op = OpHeader {
        kind: OpKind::Fragment,
        key_len: key.len() as u16,
        version_len: 0,
        meta_len: 0,
        value_len: part.len() as u32,
        moved_from: 0,
    };
    let head = state.head(Side::Cold);
    let generation = head.place().0;
    let record = head.append(RecordKind::Fragment, 1, 0, &[&op.encode(), key, part]);
    let offset = record + (RECORD_HEADER_LEN + OP_HEADER_LEN + key.len()) as u32;
    Fragment { generation, offset, len: part.len() as u32 }
}

/// Appends the last part of a value with the entry that refers to all of it, and puts the entry
/// into the memtable. False if the value would come to too many fragments.
fn append_moved(
    state: &mut State<'_>,
    key: &[u8],
    meta: &[u8],
    found: &Found,
    value: Fragment,
    parts: &Fragments,
    last: &[u8],
) -> bool {
    let (generation, start) = state.head(Side::Cold).place();
    let whole = !found.fragmented && parts.is_empty();
    let op = OpHeader {
        kind: if whole { OpKind::Put } else { OpKind::Fragment },
        key_len: key.len() as u16,
        version_len: if whole { found.version_len } else { 0 },
        meta_len: if whole { meta.len() as u16 } else { 0 },
        value_len: last.len() as u32,
        moved_from: if whole { value.generation } else { 0 },
    };
    let offset = start + (RECORD_HEADER_LEN + OP_HEADER_LEN + op.head_len()) as u32;
    let mut body = [0; FRAGMENTS_MAX * FRAGMENT_LEN_MAX + 10];
    let entry = Entry {
        seq: found.seq,
        kind: if whole { Kind::Pointer } else { Kind::Fragments },
        version_len: found.version_len,
        meta,
        value_len: found.value_len,
        body: &[],
    };
    if whole {
        let len = encode_place(Place { generation, offset }, &mut body).unwrap_or(0);
        let record = state.head(Side::Cold).append(
            RecordKind::Moved,
            1,
            found.seq,
            &[&op.encode(), key, meta, last],
        );
        let seq = found.seq;
        let note = Note { record, moved: true, seq, value_at: offset, op, body: &[] };
        state.head(Side::Cold).note(&note, &[key, meta]);
        mirror_moved(state, generation, start, 1, seq, &[&op.encode(), key, meta]);
        state.insert(key, &Entry { body: &body[..len], ..entry });
        return true;
    }
    let mut list = Fragments::new();
    for &old in &found.places {
        let fits = if old == value {
            list.extend_from_slice(parts).is_ok()
                && list.push(Fragment { generation, offset, len: last.len() as u32 }).is_ok()
        } else {
            list.push(old).is_ok()
        };
        if !fits {
            return false;
        }
    }
    let len = encode_fragments(&list, &mut body).unwrap_or(0);
    let commit = OpHeader {
        kind: OpKind::PutFragments,
        key_len: key.len() as u16,
        version_len: found.version_len,
        meta_len: meta.len() as u16,
        value_len: len as u32,
        moved_from: value.generation,
    };
    let parts: [&[u8]; 7] = [&op.encode(), key, last, &commit.encode(), key, meta, &body[..len]];
    // The fragment's sequence number is never used; the entry's must follow it by one.
    let record =
        state.head(Side::Cold).append(RecordKind::Moved, 2, found.seq.wrapping_sub(1), &parts);
    let seq = found.seq;
    let note = Note { record, moved: true, seq, value_at: 0, op: commit, body: &[] };
    state.head(Side::Cold).note(&note, &[key, meta, &body[..len]]);
    let parts = [&op.encode(), key, &commit.encode()[..], key, meta, &body[..len]];
    mirror_moved(state, generation, start, 2, seq.wrapping_sub(1), &parts);
    state.insert(key, &Entry { body: &body[..len], ..entry });
    true
}

/// Gives a record that was just moved into the log, where survivors share that, its copy in the
/// mirror: `parts` are its operations without the bytes of the value.
fn mirror_moved(
    state: &mut State<'_>,
    generation: u32,
    offset: u32,
    op_count: u16,
    seq: u64,
    parts: &[&[u8]],
) {
    if state.real_side(Side::Cold) == Side::Log {
        let len = state.log.place().1 - offset;
        let of = Mirrored { generation, offset, len, moved: true };
        let body_len = parts.iter().map(|part| part.len()).sum();
        state.mirror_record(&of, op_count, seq, body_len, true, parts.iter().copied());
    }
}

/// Whether a record is of a kind that replay takes entries from.
pub(crate) const fn brings_entries(header: &RecordHeader) -> bool {
    matches!(header.kind, RecordKind::Commit | RecordKind::Moved)
}
