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
use zerocopy::byteorder::little_endian::{I32, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::entry::{Entry, Kind};
use crate::format::record::{OP_HEADER_LEN, RECORD_HEADER_LEN};
use crate::media::Media;

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

/// A zone as the table keeps it: 37 bytes, no alignment.
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
    /// Change of `live` by the flush under way.
    pub(crate) flush_delta: I32,
    /// Change of `live` by the merge under way.
    pub(crate) merge_delta: I32,
    role: u8,
    flags: u8,
    /// Values being written in fragments that have one here: nothing refers to it yet.
    pub(crate) pens: u8,
    pub(crate) element: [u8; 2],
    /// One more than the payload offset at which recovery found the zone's records to end; 0 for
    /// a zone whose end a record marks.
    pub(crate) sealed: U32,
}

const NEEDS_RESET: u8 = 1;
const CONVENTIONAL: u8 = 2;
const OPEN_HEAD: u8 = 4;
const PINNED: u8 = 8;
const ACTIVE: u8 = 16;
const PENDING: u8 = 32;
const ABANDONED: u8 = 64;
const SICK: u8 = 128;
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
        self.flags & CONVENTIONAL != 0
    }
    /// Something is still being appended to the zone.
    pub(crate) fn is_head(&self) -> bool {
        self.flags & OPEN_HEAD != 0
    }
    pub(crate) fn set_head(&mut self, head: bool) {
        self.set_flag(OPEN_HEAD, head);
    }
    /// It holds pieces that no edit names yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.flags & PENDING != 0
    }
    pub(crate) fn set_pending(&mut self, pending: bool) {
        self.set_flag(PENDING, pending);
    }
    /// Reclaim found something in it that a snapshot needs.
    pub(crate) fn is_pinned(&self) -> bool {
        self.flags & PINNED != 0
    }
    pub(crate) fn set_pinned(&mut self, pinned: bool) {
        self.set_flag(PINNED, pinned);
    }
    /// Whether nothing more goes into it, although the device still holds a resource for it.
    pub(crate) fn take_abandoned(&mut self) -> bool {
        let abandoned = self.flags & ABANDONED != 0;
        self.set_flag(ABANDONED, false);
        abandoned && self.role().holds_runs()
    }
    pub(crate) fn set_abandoned(&mut self, abandoned: bool) {
        self.set_flag(ABANDONED, abandoned);
    }
    /// The zone failed: what it holds may be read, but nothing more is written to it, ever.
    pub(crate) fn is_sick(&self) -> bool {
        self.flags & SICK != 0
    }
    pub(crate) fn set_sick(&mut self) {
        self.set_flag(SICK, true);
    }
    /// The device held a resource for it when it was opened.
    pub(crate) fn take_active(&mut self) -> bool {
        let active = self.flags & ACTIVE != 0;
        self.set_flag(ACTIVE, false);
        active
    }
    fn set_flag(&mut self, flag: u8, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
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
        zone.set_flag(SICK, !descriptor.condition.is_usable());
        zone.written = U32::new(descriptor.write_pointer.0);
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
    /// Blocks that every zone that can be written takes.
    pub(crate) fn capacity_min(&self) -> u32 {
        let used = self.table.iter().filter(|zone| zone.role() != Role::Retired);
        used.map(|zone| zone.capacity.get()).min().unwrap_or(0)
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
        let count = self.len();
        let mut fallback = None;
        for step in 0..count {
            let id = ZoneId((self.cursor + step) % count);
            let zone = self.get(id);
            if zone.role() != Role::Free {
                continue;
            }
            // Logs go where zones are written in order: there, replay is short.
            let misplaced = role.holds_values() && zone.is_conventional();
            if misplaced || not_on == Some(zone.element) {
                fallback = fallback.or(Some(id));
                continue;
            }
            return Some(self.take_this(id, role));
        }
        fallback.map(|id| self.take_this(id, role))
    }

    fn take_this(&mut self, id: ZoneId, role: Role) -> ZoneId {
        let generation = self.next_generation;
        assert!(generation < u32::MAX - 1, "Z2: generations are used up");
        self.next_generation += 1;
        self.install(id, generation, role);
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
        let written = self.get(id).written;
        self.install(id, generation, role);
        self.get_mut(id).written = written;
        true
    }

    /// Frees a zone as the manifest says. False if it is not in use.
    pub(crate) fn free_known(&mut self, id: ZoneId) -> bool {
        let used = !matches!(self.get(id).role(), Role::Free | Role::Releasing | Role::Retired);
        if used {
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

    /// The edit that releases the zone is durable: it is free, or if it failed, retired.
    pub(crate) fn freed(&mut self, id: ZoneId) {
        let zone = self.get_mut(id);
        assert!(zone.role() == Role::Releasing);
        zone.generation = U32::new(0);
        if zone.is_sick() {
            zone.set_role(Role::Retired);
            return;
        }
        zone.set_role(Role::Free);
        zone.set_flag(NEEDS_RESET, true);
        self.free += 1;
    }

    /// The zone can no longer be written.
    pub(crate) fn retire(&mut self, id: ZoneId) {
        match self.get(id).role() {
            Role::Free => self.free -= 1,
            Role::Releasing | Role::Retired => {}
            _ => self.index_remove(id),
        }
        self.get_mut(id).set_role(Role::Retired);
    }

    /// Applies a change of the bytes that runs refer to; a generation no longer there is spent.
    pub(crate) fn add_delta(&mut self, generation: u32, bytes: i32, flush: bool) {
        let Some(id) = self.find(generation) else {
            return;
        };
        let zone = self.get_mut(id);
        let delta = if flush { &mut zone.flush_delta } else { &mut zone.merge_delta };
        *delta = I32::new(delta.get() + bytes);
    }

    /// A memtable entry begins or ceases to refer to `bytes` of a zone.
    pub(crate) fn add_live_mem(&mut self, generation: u32, bytes: i32) {
        let Some(id) = self.find(generation) else {
            return;
        };
        let zone = self.get_mut(id);
        let live = zone.live_mem.get().checked_add_signed(bytes);
        zone.live_mem = U32::new(live.expect("Z3: memtable liveness is exact"));
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
        let needs = zone.flags & NEEDS_RESET != 0;
        zone.set_flag(NEEDS_RESET, false);
        (needs, zone.is_conventional())
    }
}
