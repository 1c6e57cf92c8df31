//! The zone table: what each zone is used for, how far it is written, and how much of it lives.
//!
//! Every zone that is taken into use gets a *generation*, a number never used before in this store
//! and never again. Pointers name generations, not zones: a pointer into a zone that was emptied
//! since finds no zone of that generation, and can never be mistaken for one into its successor.
//!
//! ```text
//!          take                    release               (edit durable) freed
//!   Free ────────> Run/Log/… ───────────────> Releasing ─────────────────────> Free, to be reset
//!     ^                                                                          │ prepare
//!     └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariants: `Z1` a zone is reset only when Free (`prepare`), so only after the edit that freed
//! it is durable (canary `ResetBeforeEdit`). `Z2` no generation is used twice (canary
//! `GenerationReused`). `Z3` `live` is the number of bytes that entries of installed runs refer
//! to, `live_mem` that of memtable entries; both are exact. `Z4` the free count equals the number
//! of Free zones (`check_invariants`).

use shingle_hal::{Device, Lba, ZoneCondition, ZoneDescriptor, ZoneId, ZoneType};
use zerocopy::byteorder::little_endian::{I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::entry::{Entry, Kind};
use crate::format::record::{OP_HEADER_LEN, RECORD_HEADER_LEN};
use crate::limits::EXTENTS_MAX;
use crate::media::{Media, ZoneMap};

/// What a zone is used for. Values are on media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Role {
    /// Holds nothing.
    Free = 0,
    /// Holds superblocks.
    Anchor = 1,
    /// Holds a copy of the manifest.
    Manifest = 2,
    /// Holds log records in commit order.
    Log = 3,
    /// Holds values that outlived reclaim.
    Cold = 4,
    /// Holds runs of the tiers.
    Run = 5,
    /// Holds the bottom run.
    Bottom = 6,
    /// Never used again.
    Retired = 7,
    /// Holds nothing any more, but the edit that says so is not durable yet.
    Releasing = 8,
    /// Holds what follows in a log's zone that could not be written to its end.
    Extension = 9,
    /// Holds the same blocks as a zone of runs on another storage element.
    Twin = 10,
    /// Holds the parity of zones of values on other storage elements.
    Parity = 11,
    /// Holds what the log holds of keys and small values on another storage element.
    LogMirror = 12,
}

impl Role {
    /// The role with this number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Free,
            1 => Self::Anchor,
            2 => Self::Manifest,
            3 => Self::Log,
            4 => Self::Cold,
            5 => Self::Run,
            6 => Self::Bottom,
            7 => Self::Retired,
            8 => Self::Releasing,
            9 => Self::Extension,
            10 => Self::Twin,
            11 => Self::Parity,
            12 => Self::LogMirror,
            _ => return None,
        })
    }

    /// Whether zones of this role hold values that pointers lead to.
    #[must_use]
    pub const fn holds_values(self) -> bool {
        matches!(self, Self::Log | Self::Cold)
    }

    /// Whether zones of this role hold pieces of runs.
    #[must_use]
    pub const fn holds_runs(self) -> bool {
        matches!(self, Self::Run | Self::Bottom)
    }
}

/// A zone as the table keeps it: 49 bytes, no alignment.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Zone {
    pub(crate) generation: U32,
    /// Blocks written since the zone was taken.
    pub(crate) written: U32,
    /// Blocks that can be written.
    pub(crate) capacity: U32,
    pub(crate) live: U32,
    pub(crate) live_mem: U32,
    /// Change of `live` by the flush under way; while the manifest is read, the blocks that the
    /// device reported as written.
    pub(crate) flush_delta: I32,
    /// Change of `live` by the merge under way.
    pub(crate) merge_delta: I32,
    role: u8,
    flags: U16,
    /// Values being written in fragments that have one here: nothing refers to it yet.
    pub(crate) pens: u8,
    pub(crate) element: [u8; 2],
    /// One more than the payload offset at which recovery found the zone's records to end; 0 for
    /// a zone whose end a record marks.
    pub(crate) sealed: U32,
    /// One more than another zone of the logical zone, 0 for none: for a zone of runs its twin, for
    /// one of a log the one that it goes on in behind its `written` blocks.
    other: U32,
    /// One more than the next zone of its group, 0 for a zone in none; see `group`.
    pub(crate) link: U32,
    /// What is known of its health besides the flags; see [`marks`](crate::format::marks).
    pub(crate) marks: u8,
    /// Units in it that a scrub found bad since it was taken.
    pub(crate) found: U16,
}

const NEEDS_RESET: u16 = 1;
const CONVENTIONAL: u16 = 2;
const OPEN_HEAD: u16 = 4;
const PINNED: u16 = 8;
const ACTIVE: u16 = 16;
const PENDING: u16 = 32;
const ABANDONED: u16 = 64;
const SICK: u16 = 128;
const DAMAGED: u16 = 256;
const OFFLINE: u16 = 512;
const EMPTIED: u16 = 1 << 12;
pub(crate) const ZONE_LEN: usize = size_of::<Zone>();
const SLOTS_PER_ZONE: usize = 2;

impl Zone {
    pub(crate) fn role(&self) -> Role {
        Role::from_u8(self.role).unwrap_or(Role::Retired)
    }
    pub(crate) fn set_role(&mut self, role: Role) {
        self.role = role as u8;
    }
    pub(crate) fn is_conventional(&self) -> bool {
        self.has_flag(CONVENTIONAL)
    }
    /// Something is still being appended to the zone.
    pub(crate) fn is_head(&self) -> bool {
        self.has_flag(OPEN_HEAD)
    }
    pub(crate) fn set_head(&mut self, head: bool) {
        self.set_flag(OPEN_HEAD, head);
    }
    /// It holds pieces that no edit names yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.has_flag(PENDING)
    }
    pub(crate) fn set_pending(&mut self, pending: bool) {
        self.set_flag(PENDING, pending);
    }
    /// Reclaim found something in it that a snapshot needs.
    pub(crate) fn is_pinned(&self) -> bool {
        self.has_flag(PINNED)
    }
    pub(crate) fn set_pinned(&mut self, pinned: bool) {
        self.set_flag(PINNED, pinned);
    }
    /// Whether nothing more goes into it, although the device still holds a resource for it.
    pub(crate) fn take_abandoned(&mut self) -> bool {
        let abandoned = self.has_flag(ABANDONED);
        self.set_flag(ABANDONED, false);
        abandoned && (self.role().holds_runs() || self.role() == Role::Twin)
    }
    pub(crate) fn set_abandoned(&mut self, abandoned: bool) {
        self.set_flag(ABANDONED, abandoned);
    }
    /// The zone failed: what it holds may be read, but nothing more is written to it, ever.
    pub(crate) fn is_sick(&self) -> bool {
        self.has_flag(SICK)
    }
    pub(crate) fn set_sick(&mut self) {
        self.note_change(self.is_sick(), true);
        self.set_flag(SICK, true);
    }
    /// Something in it could not be read: it is to be rebuilt from its twin, or emptied.
    pub(crate) fn is_damaged(&self) -> bool {
        self.has_flag(DAMAGED)
    }
    pub(crate) fn set_damaged(&mut self, damaged: bool) {
        self.note_change(self.is_damaged(), damaged);
        self.set_flag(DAMAGED, damaged);
    }
    /// Nothing in it can be read, nor written.
    pub(crate) fn is_offline(&self) -> bool {
        self.has_flag(OFFLINE)
    }
    /// Reclaim moved all that lived in it, but its group is still needed.
    pub(crate) fn is_emptied(&self) -> bool {
        self.has_flag(EMPTIED)
    }
    pub(crate) fn set_emptied(&mut self, emptied: bool) {
        self.set_flag(EMPTIED, emptied);
    }
    /// Takes over how far the device says that the zone is written. That is kept beside `written`
    /// while the manifest is read: what that says of one life of the zone ends with it.
    fn set_reported(&mut self, blocks: u32) {
        self.written = U32::new(blocks);
        self.flush_delta = I32::new(blocks as i32);
    }
    /// Takes over a condition that the device reports of a zone in use.
    pub(crate) fn set_condition(&mut self, condition: ZoneCondition) {
        let offline = condition == ZoneCondition::Offline;
        if !condition.is_usable() {
            self.set_sick();
        }
        self.set_flag(OFFLINE, offline);
        if offline {
            self.set_damaged(true);
        }
    }
    /// The device held a resource for it when it was opened.
    pub(crate) fn take_active(&mut self) -> bool {
        let active = self.has_flag(ACTIVE);
        self.set_flag(ACTIVE, false);
        active
    }
    fn has_flag(&self, flag: u16) -> bool {
        self.flags.get() & flag != 0
    }
    fn set_flag(&mut self, flag: u16, on: bool) {
        let flags = self.flags.get();
        self.flags = U16::new(if on { flags | flag } else { flags & !flag });
    }
}

/// The table and the index from generations to zones.
pub(crate) struct Zones<'m> {
    table: &'m mut [Zone],
    slots: &'m mut [U32],
    zone_blocks: u32,
    /// The next generation, and the first one not reserved by a durable edit.
    pub(crate) next_generation: u32,
    pub(crate) generation_limit: u32,
    free: u32,
    /// Blocks that a zone must take to be used.
    capacity_least: u32,
    cursor: u32,
}

/// Bytes of memory for `zone_count` zones.
pub(crate) const fn memory_len(zone_count: usize) -> usize {
    zone_count * ZONE_LEN + slot_count(zone_count) * 4
}

const fn slot_count(zone_count: usize) -> usize {
    (zone_count * SLOTS_PER_ZONE).next_power_of_two()
}

impl<'m> Zones<'m> {
    /// An empty table; every zone is Retired until [`describe`](Self::describe)d.
    pub(crate) fn new(memory: &'m mut [u8], zone_count: u32, zone_blocks: u32) -> Self {
        memory.fill(0);
        let (table, slots) = memory.split_at_mut(zone_count as usize * ZONE_LEN);
        let table = <[Zone]>::mut_from_bytes(table).expect("sized by memory_len");
        let slots = <[U32]>::mut_from_bytes(slots).expect("sized by memory_len");
        table.iter_mut().for_each(|zone| zone.set_role(Role::Retired));
        Self {
            table,
            slots,
            zone_blocks,
            next_generation: 1,
            generation_limit: 1,
            free: 0,
            cursor: 0,
            capacity_least: 0,
        }
    }

    /// Takes over what the device reports of a zone. `capacity_max` bounds what is used of it.
    pub(crate) fn describe(&mut self, descriptor: &ZoneDescriptor, capacity_max: u32) {
        let zone = &mut self.table[descriptor.zone.0 as usize];
        zone.capacity = U32::new(descriptor.capacity.0.min(capacity_max));
        zone.element = descriptor.element.0.to_le_bytes();
        zone.set_flag(CONVENTIONAL, descriptor.zone_type == ZoneType::Conventional);
        let empty =
            matches!(descriptor.condition, ZoneCondition::Empty | ZoneCondition::NotWritePointer);
        zone.set_flag(NEEDS_RESET, !empty);
        zone.set_flag(ACTIVE, descriptor.condition.is_active());
        zone.set_condition(descriptor.condition);
        // A zone that is read only does not say how far it is written.
        let unknown = descriptor.condition == ZoneCondition::ReadOnly;
        let capacity = descriptor.capacity.0;
        zone.set_reported(if unknown { capacity } else { descriptor.write_pointer.0 });
        if descriptor.condition.is_usable() && zone.role() == Role::Retired {
            zone.set_role(Role::Free);
            self.free += 1;
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.table.len() as u32
    }
    pub(crate) fn free_count(&self) -> u32 {
        self.free
    }
    /// Zones that are not written any more because they failed.
    pub(crate) fn failed_count(&self) -> u32 {
        let failed = |zone: &&Zone| zone.is_sick() || zone.role() == Role::Retired;
        self.table.iter().filter(failed).count() as u32
    }
    /// Blocks that every zone takes that is taken into use.
    pub(crate) fn capacity_min(&self) -> u32 {
        let used = self.table.iter().filter(|zone| zone.role() != Role::Retired);
        let capacities = used.map(|zone| zone.capacity.get());
        capacities.filter(|capacity| *capacity >= self.capacity_least).min().unwrap_or(0)
    }
    pub(crate) fn get(&self, zone: ZoneId) -> &Zone {
        &self.table[zone.0 as usize]
    }
    pub(crate) fn get_mut(&mut self, zone: ZoneId) -> &mut Zone {
        &mut self.table[zone.0 as usize]
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ZoneId, &Zone)> {
        self.table.iter().enumerate().map(|(id, zone)| (ZoneId(id as u32), zone))
    }
    pub(crate) fn start(&self, zone: ZoneId) -> Lba {
        Lba(u64::from(zone.0) * u64::from(self.zone_blocks))
    }

    fn other(&self, zone: ZoneId) -> Option<ZoneId> {
        let other = self.get(zone).other.get().checked_sub(1)?;
        (other < self.len()).then_some(ZoneId(other))
    }

    /// Whether some zone names this one as another of its logical zone.
    fn is_other_of_any(&self, id: ZoneId) -> bool {
        self.table.iter().any(|zone| zone.other.get() == id.0 + 1)
    }

    /// The zone that `zone` goes on in, and from which of its blocks.
    pub(crate) fn extension(&self, zone: ZoneId) -> Option<(u32, ZoneId)> {
        let next = self.other(zone)?;
        let extends = matches!(self.get(next).role(), Role::Extension | Role::Releasing);
        let extended = !self.get(zone).role().holds_runs();
        (extends && extended).then_some((self.get(zone).written.get(), next))
    }

    /// A logical zone's zones: the logical block that each holds first.
    pub(crate) fn extents(&self, zone: ZoneId) -> heapless::Vec<(u32, ZoneId), EXTENTS_MAX> {
        let mut extents = heapless::Vec::new();
        let (mut from, mut last) = (0u32, zone);
        while extents.push((from, last)).is_ok() {
            let Some((blocks, next)) = self.extension(last) else { break };
            (from, last) = (from.saturating_add(blocks), next);
        }
        extents
    }

    /// Where the blocks of a logical zone are.
    pub(crate) fn map(&self, zone: ZoneId) -> ZoneMap {
        let mut map = ZoneMap::of(self.start(zone));
        for (from, next) in &self.extents(zone)[1..] {
            map.extend(*from, self.start(*next));
        }
        map
    }

    /// As [`extend`](Self::extend), as the manifest says. False if that cannot be.
    pub(crate) fn extend_known(&mut self, zone: ZoneId, block: u32, next: ZoneId) -> bool {
        // Its capacity may have been greater then.
        let fits = !self.is_other_of_any(next) && zone != next && block <= self.zone_blocks;
        if fits {
            self.extend(zone, block, next);
        }
        fits
    }

    /// `zone`, which was written up to `block`, goes on in `next`.
    pub(crate) fn extend(&mut self, zone: ZoneId, block: u32, next: ZoneId) {
        let entry = self.get_mut(zone);
        entry.other = U32::new(next.0 + 1);
        entry.written = U32::new(block);
    }

    /// The zone that holds the same blocks as this one.
    pub(crate) fn twin(&self, zone: ZoneId) -> Option<ZoneId> {
        let twin = self.other(zone)?;
        let is_twin = matches!(self.get(twin).role(), Role::Twin | Role::Releasing);
        let role = self.get(zone).role();
        let has_one = role.holds_runs() || role == Role::Releasing;
        (is_twin && has_one).then_some(twin)
    }

    /// From now on `twin` holds the same blocks as `zone`; whether it is nobody's already.
    pub(crate) fn set_twin(&mut self, zone: ZoneId, twin: ZoneId) -> bool {
        let free = !self.is_twin_of_any(twin) && zone != twin;
        if free {
            self.get_mut(zone).other = U32::new(twin.0 + 1);
        }
        free
    }

    /// Whether some zone has `twin` for its twin.
    pub(crate) fn is_twin_of_any(&self, twin: ZoneId) -> bool {
        let runs = self.table.iter().filter(|zone| zone.role().holds_runs());
        runs.map(|zone| zone.other.get()).any(|other| other == twin.0 + 1)
    }

    /// The twin of `zone` takes its place, generation and all; `zone` itself is retired, or free
    /// once that is durable. False if it has no twin.
    pub(crate) fn promote_twin(&mut self, zone: ZoneId) -> bool {
        let Some(twin) = self.twin(zone).filter(|_| self.get(zone).role().holds_runs()) else {
            return false;
        };
        self.index_remove(zone);
        self.index_remove(twin);
        let old = *self.get(zone);
        let new = self.get_mut(twin);
        (new.generation, new.live, new.role) = (old.generation, old.live, old.role);
        (new.live_mem, new.flush_delta, new.merge_delta) =
            (old.live_mem, old.flush_delta, old.merge_delta);
        new.other = U32::new(0);
        let old = self.get_mut(zone);
        old.other = U32::new(0);
        old.generation = U32::new(0);
        old.set_role(Role::Releasing);
        self.index_insert(twin);
        true
    }

    /// As [`promote_twin`](Self::promote_twin), as the manifest says.
    pub(crate) fn promote_known(&mut self, zone: ZoneId) -> bool {
        let twin = self.twin(zone).map(|twin| (twin, self.get(twin).flush_delta));
        let promoted = self.promote_twin(zone);
        if let (true, Some((twin, reported))) = (promoted, twin) {
            self.get_mut(twin).flush_delta = reported;
            self.freed(zone);
        }
        promoted
    }

    /// All zones of a logical zone: where it goes on, and its twin.
    pub(crate) fn members(&self, zone: ZoneId) -> heapless::Vec<ZoneId, { EXTENTS_MAX + 1 }> {
        let mut members: heapless::Vec<_, _> =
            self.extents(zone).iter().map(|(_, id)| *id).collect();
        // Of a zone being released its role no longer tells which of the two the other one is.
        if let Some(twin) = self.twin(zone).filter(|twin| !members.contains(twin)) {
            let _ = members.push(twin);
        }
        members
    }

    /// Whether one of a logical zone's zones failed.
    pub(crate) fn is_failed(&self, zone: ZoneId) -> bool {
        self.members(zone).iter().any(|id| self.get(*id).is_sick())
    }

    /// Blocks that a logical zone was written up to: all of them where the device cannot tell.
    pub(crate) fn written(&self, zone: ZoneId) -> u32 {
        let extents = self.extents(zone);
        let Some(&(from, last)) = extents.last() else { return 0 };
        let entry = self.get(last);
        let blocks = if entry.is_conventional() { entry.capacity } else { entry.written };
        from.saturating_add(blocks.get())
    }

    /// Takes note of how far a logical zone is written.
    pub(crate) fn set_written(&mut self, zone: ZoneId, blocks: u32) {
        let extents = self.extents(zone);
        for (index, &(from, id)) in extents.iter().enumerate() {
            let next = extents.get(index + 1).map_or(blocks, |(next, _)| *next);
            self.get_mut(id).written = U32::new(next - from);
        }
    }

    /// The zone of this generation.
    pub(crate) fn find(&self, generation: u32) -> Option<ZoneId> {
        let mask = self.slots.len() - 1;
        let mut slot = Self::home(generation, mask);
        loop {
            let zone = self.slots[slot].get().checked_sub(1)?;
            if self.table[zone as usize].generation.get() == generation {
                return Some(ZoneId(zone));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Where the blocks of the logical zone of this generation are.
    pub(crate) fn map_of(&self, generation: u32) -> Option<ZoneMap> {
        self.find(generation).map(|zone| self.map(zone))
    }

    fn home(generation: u32, mask: usize) -> usize {
        (generation.wrapping_mul(0x9e37_79b1) >> 7) as usize & mask
    }

    fn index_insert(&mut self, zone: ZoneId) {
        let mask = self.slots.len() - 1;
        let mut slot = Self::home(self.get(zone).generation.get(), mask);
        while self.slots[slot].get() != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = U32::new(zone.0 + 1);
    }

    fn index_remove(&mut self, zone: ZoneId) {
        let mask = self.slots.len() - 1;
        let mut slot = Self::home(self.get(zone).generation.get(), mask);
        while self.slots[slot].get() != zone.0 + 1 {
            assert!(self.slots[slot].get() != 0, "Z2: {zone} is not in the index");
            slot = (slot + 1) & mask;
        }
        // Close the gap: move back every later entry of the cluster that may stand here.
        let mut gap = slot;
        loop {
            slot = (slot + 1) & mask;
            let Some(other) = self.slots[slot].get().checked_sub(1) else {
                break;
            };
            let home = Self::home(self.table[other as usize].generation.get(), mask);
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(gap) & mask) {
                self.slots[gap] = self.slots[slot];
                gap = slot;
            }
        }
        self.slots[gap] = U32::new(0);
    }

    /// Takes a free zone near the last one taken; if possible on another element than `not_on`,
    /// and for a log one that is written in order.
    pub(crate) fn take(&mut self, role: Role, not_on: Option<[u8; 2]>) -> Option<ZoneId> {
        self.find_free(role, not_on).map(|id| self.take_this(id, role))
    }

    /// The free zone that [`take`](Self::take) would take.
    pub(crate) fn find_free(&self, role: Role, not_on: Option<[u8; 2]>) -> Option<ZoneId> {
        self.find_free_of(role, not_on, 0)
    }

    /// The same, of those that take at least so many blocks.
    pub(crate) fn find_free_of(
        &self,
        role: Role,
        not_on: Option<[u8; 2]>,
        blocks: u32,
    ) -> Option<ZoneId> {
        // Another element counts for more than a zone that is written in order.
        let (mut fallback, mut beside) = (None, None);
        for id in self.ids_in_turn() {
            let zone = self.get(id);
            if zone.role() != Role::Free || zone.capacity.get() < blocks {
                continue;
            }
            // Logs go where zones are written in order: there, replay is short.
            let of_log = matches!(role, Role::Extension | Role::LogMirror);
            let in_order = role.holds_values() || of_log;
            let misplaced = in_order && zone.is_conventional();
            if not_on == Some(zone.element) {
                beside = beside.or(Some(id));
                continue;
            }
            if misplaced {
                fallback = fallback.or(Some(id));
                continue;
            }
            return Some(id);
        }
        fallback.or(beside)
    }

    /// All zones, from the one behind the last one taken on.
    pub(crate) fn ids_in_turn(&self) -> impl Iterator<Item = ZoneId> {
        let (cursor, count) = (self.cursor, self.len());
        (0..count).map(move |step| ZoneId((cursor + step) % count))
    }

    /// Takes this free zone.
    pub(crate) fn take_this(&mut self, id: ZoneId, role: Role) -> ZoneId {
        let generation = self.next_generation;
        assert!(generation < u32::MAX - 1, "Z2: generations are used up");
        self.next_generation += 1;
        self.install(id, generation, role);
        // Until it is said what it protects it would seem dead.
        self.get_mut(id).set_head(role == Role::Parity);
        self.cursor = id.0 + 1;
        id
    }

    /// Puts a free zone to use with a known generation: by `take`, and by replay of the manifest.
    pub(crate) fn install(&mut self, id: ZoneId, generation: u32, role: Role) {
        let zone = self.get_mut(id);
        assert!(zone.role() == Role::Free, "Z1: {id} is in use as {:?}", zone.role());
        zone.generation = U32::new(generation);
        zone.set_role(role);
        zone.written = U32::new(0);
        zone.live = U32::new(0);
        zone.live_mem = U32::new(0);
        zone.flush_delta = I32::new(0);
        zone.merge_delta = I32::new(0);
        zone.set_head(false);
        zone.set_pinned(false);
        zone.set_pending(false);
        zone.set_abandoned(false);
        zone.sealed = U32::new(0);
        zone.other = U32::new(0);
        zone.set_flag(DAMAGED, zone.is_offline());
        zone.clear_marks();
        zone.set_emptied(false);
        zone.link = U32::new(0);
        self.free -= 1;
        self.index_insert(id);
    }

    /// Puts a zone to use as the manifest says; what the device reported as written stays known.
    /// False if it is in use already.
    pub(crate) fn install_known(&mut self, id: ZoneId, generation: u32, role: Role) -> bool {
        let before = self.get(id).role();
        if before == role && self.find(generation) == Some(id) {
            return true; // a snapshot had it already
        }
        if !matches!(before, Role::Free | Role::Retired) || self.find(generation).is_some() {
            return false;
        }
        if before == Role::Retired {
            self.free += 1;
            self.get_mut(id).set_role(Role::Free);
        }
        let reported = self.get(id).flush_delta.get() as u32;
        self.install(id, generation, role);
        self.get_mut(id).set_reported(reported);
        true
    }

    /// The manifest is read: from now on `written` alone counts. Zones that shrank to less than
    /// half of the largest are not used any more: they would bound every record.
    pub(crate) fn end_load(&mut self) {
        let largest = self.table.iter().map(|zone| zone.capacity.get()).max().unwrap_or(0);
        self.capacity_least = largest / 2;
        for id in (0..self.len()).map(ZoneId) {
            let zone = self.get_mut(id);
            zone.flush_delta = I32::new(0);
            let too_small = zone.capacity.get() < largest / 2;
            if too_small && zone.role() == Role::Free {
                self.retire(id);
            }
        }
    }

    /// Frees a zone as the manifest says. False if it is not in use.
    pub(crate) fn free_known(&mut self, id: ZoneId) -> bool {
        let used = !matches!(self.get(id).role(), Role::Free | Role::Releasing | Role::Retired);
        if used {
            self.dissolve(id);
            self.release(id);
            self.freed(id);
        }
        used
    }

    /// Sets a zone aside for superblocks.
    pub(crate) fn set_anchor(&mut self, id: ZoneId) {
        if self.get(id).role() == Role::Free {
            self.free -= 1;
        }
        self.get_mut(id).set_role(Role::Anchor);
    }

    /// Nothing refers to the zone any more; it waits for the edit that says so.
    pub(crate) fn release(&mut self, id: ZoneId) {
        let zone = self.get_mut(id);
        let role = zone.role();
        assert!(role != Role::Free && role != Role::Releasing && role != Role::Retired);
        zone.set_role(Role::Releasing);
        zone.set_head(false);
        self.index_remove(id);
    }

    /// The edit that releases the zone is durable: it is free, or if it failed or shrank, retired.
    pub(crate) fn freed(&mut self, id: ZoneId) {
        let capacity_least = self.capacity_least;
        let zone = self.get_mut(id);
        assert!(zone.role() == Role::Releasing);
        zone.generation = U32::new(0);
        zone.link = U32::new(0);
        // A zone that failed is never taken again: what it went on in may be another's by then.
        zone.other = U32::new(0);
        if zone.is_sick() || zone.capacity.get() < capacity_least {
            zone.set_role(Role::Retired);
            return;
        }
        zone.set_role(Role::Free);
        zone.set_flag(NEEDS_RESET, true);
        self.free += 1;
    }

    /// The zone can no longer be written.
    pub(crate) fn retire(&mut self, id: ZoneId) {
        self.dissolve(id);
        match self.get(id).role() {
            Role::Free => self.free -= 1,
            Role::Releasing | Role::Retired => {}
            _ => self.index_remove(id),
        }
        let zone = self.get_mut(id);
        zone.other = U32::new(0);
        zone.set_role(Role::Retired);
    }

    /// Applies a change of the bytes that runs refer to; a generation no longer there is spent, and
    /// one that is no log's is a lie of the entry.
    pub(crate) fn add_delta(&mut self, generation: u32, bytes: i32, flush: bool) {
        let of_log = |id: &ZoneId| self.get(*id).role().holds_values();
        let Some(id) = self.find(generation).filter(of_log) else {
            return;
        };
        let zone = self.get_mut(id);
        let delta = if flush { &mut zone.flush_delta } else { &mut zone.merge_delta };
        *delta = I32::new(delta.get().saturating_add(bytes));
    }

    /// A memtable entry begins or ceases to refer to `bytes` of a zone: whether nothing did before.
    pub(crate) fn add_live_mem(&mut self, generation: u32, bytes: i32) -> bool {
        let Some(id) = self.find(generation) else {
            return false;
        };
        let zone = self.get_mut(id);
        let before = zone.live_mem.get();
        let live = before.checked_add_signed(bytes).expect("Z3: memtable liveness is exact");
        zone.live_mem = U32::new(live);
        before == 0 && zone.live.get() == 0
    }

    /// A snapshot is gone: zones that waited for it may be reclaimed.
    pub(crate) fn clear_pins(&mut self) {
        self.table.iter_mut().for_each(|zone| zone.set_pinned(false));
    }

    /// Panics if an invariant does not hold.
    pub(crate) fn check_invariants(&self) {
        let free = self.iter().filter(|(_, zone)| zone.role() == Role::Free).count();
        assert_eq!(free as u32, self.free, "Z4");
        for (id, zone) in self.iter() {
            if !matches!(zone.role(), Role::Free | Role::Releasing | Role::Retired | Role::Anchor) {
                assert_eq!(self.find(zone.generation.get()), Some(id), "Z2");
            }
            // Of a zone being released its role no longer tells a twin from where it goes on.
            if let Some(twin) = self.twin(id).filter(|_| zone.role().holds_runs()) {
                assert_ne!(zone.element, self.get(twin).element, "D1");
            }
            self.check_group(id);
        }
    }
}

/// What an entry takes up in the zones it refers to, record and operation headers included:
/// generation and bytes of each extent. The same for an entry wherever it is met.
pub(crate) fn spans<'e>(key: &[u8], entry: &'e Entry<'_>) -> impl Iterator<Item = (u32, i32)> + 'e {
    let head = match entry.kind {
        Kind::Pointer => key.len() + entry.meta.len(),
        _ => key.len(),
    };
    let head = (RECORD_HEADER_LEN + OP_HEADER_LEN + head) as i32;
    entry.places().map(move |(generation, _, len)| (generation, head + len as i32))
}

/// Makes a zone that was just taken ready to be written from its first block.
///
/// # Errors
/// The device's.
pub(crate) async fn prepare<D: Device>(
    media: &Media<D>,
    id: ZoneId,
    needs_reset: bool,
    conventional: bool,
) -> Result<(), D::Error> {
    if needs_reset && !conventional { media.reset(id).await } else { Ok(()) }
}

impl Zones<'_> {
    /// What [`prepare`] needs to know; clears the need for a reset.
    pub(crate) fn begin_prepare(&mut self, id: ZoneId) -> (bool, bool) {
        let zone = self.get_mut(id);
        let needs = zone.has_flag(NEEDS_RESET);
        zone.set_flag(NEEDS_RESET, false);
        (needs, zone.is_conventional())
    }
}

#[cfg(test)]
mod tests;
