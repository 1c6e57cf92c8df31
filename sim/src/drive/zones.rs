//! Zone conditions, write pointers and the limits on open and active zones.
//!
//! ```text
//!   Empty ──write──> ImplicitOpen ──open──> ExplicitOpen     (open: from any but Full)
//!     ^                  │ close, or the drive needs the resource   │ close
//!     │                  v                                          v
//!     └──── reset ──── Closed (Empty if nothing was written) <──────┘
//!   any of them ── finish, or the last block is written ──> Full
//! ```
//!
//! Invariants: Z1 `open` and `active` are the numbers of zones in such conditions; Z2 neither
//! exceeds its limit; Z3 `implicit` lists exactly the implicitly open zones, least recently used
//! first; Z4 an implicitly open or closed zone is partly written; Z5 a request that fails here
//! changed nothing.

use std::collections::BTreeMap;

use shingle_hal::{
    BlockCount, ElementId, ErrorKind, Lba, ZoneCondition, ZoneDescriptor, ZoneId, ZoneType,
};

use crate::media::{MediaKind, MediaSpec};

/// What is known of one zone.
#[derive(Clone, Copy, Debug)]
struct Zone {
    condition: ZoneCondition,
    capacity: u32,
    /// Blocks written from the start of the zone; the write pointer of one that is not full.
    written: u32,
    /// When it was last opened or written, while implicitly open.
    stamp: u64,
}

/// The zones of a drive.
#[derive(Clone, Debug)]
pub(crate) struct ZoneTable {
    zones: Vec<Zone>,
    zone_blocks: u32,
    conventional: u32,
    open_max: u32,
    active_max: u32,
    open: u32,
    active: u32,
    implicit: BTreeMap<u64, u32>,
    stamp: u64,
}

impl ZoneTable {
    /// The zones of a new drive: conventional ones first, the others empty.
    pub(crate) fn new(spec: &MediaSpec) -> Self {
        let conventional = match spec.kind {
            MediaKind::Conventional => spec.zone_count,
            MediaKind::Smr | MediaKind::Zns | MediaKind::Nor => spec.conventional_zone_count,
        };
        let zone = |z| Zone {
            condition: match z < conventional {
                true => ZoneCondition::NotWritePointer,
                false => ZoneCondition::Empty,
            },
            capacity: spec.zone_capacity_blocks,
            written: 0,
            stamp: 0,
        };
        Self {
            zones: (0..spec.zone_count).map(zone).collect(),
            zone_blocks: spec.zone_blocks,
            conventional,
            open_max: spec.open_zones_max.unwrap_or(u32::MAX),
            active_max: spec.active_zones_max.unwrap_or(u32::MAX),
            open: 0,
            active: 0,
            implicit: BTreeMap::new(),
            stamp: 0,
        }
    }

    /// Number of zones.
    pub(crate) fn len(&self) -> u32 {
        self.zones.len() as u32
    }

    /// Whether `zone` has no write pointer.
    pub(crate) fn is_conventional(&self, zone: u32) -> bool {
        zone < self.conventional
    }

    /// The condition of `zone`.
    pub(crate) fn condition(&self, zone: u32) -> ZoneCondition {
        self.zones[zone as usize].condition
    }

    /// Blocks of `zone` that can be written.
    pub(crate) fn capacity(&self, zone: u32) -> u32 {
        self.zones[zone as usize].capacity
    }

    /// Blocks of sequential `zone` that were written since its last reset.
    pub(crate) fn written(&self, zone: u32) -> u32 {
        self.zones[zone as usize].written
    }

    /// Blocks of `zone` that a read may reach.
    pub(crate) fn readable(&self, zone: u32) -> u32 {
        let z = &self.zones[zone as usize];
        match z.condition {
            _ if self.is_conventional(zone) => z.capacity,
            ZoneCondition::Full => z.capacity,
            _ => z.written,
        }
    }

    /// What a report says of `zone` on `element`.
    pub(crate) fn describe(&self, zone: u32, element: u16) -> ZoneDescriptor {
        let z = &self.zones[zone as usize];
        let write_pointer = match z.condition {
            ZoneCondition::NotWritePointer | ZoneCondition::ReadOnly | ZoneCondition::Offline => 0,
            ZoneCondition::Full => z.capacity,
            _ => z.written,
        };
        ZoneDescriptor {
            zone: ZoneId(zone),
            zone_type: match self.is_conventional(zone) {
                true => ZoneType::Conventional,
                false => ZoneType::SequentialRequired,
            },
            condition: z.condition,
            start: Lba(u64::from(zone) * u64::from(self.zone_blocks)),
            capacity: BlockCount(z.capacity),
            write_pointer: BlockCount(write_pointer),
            element: ElementId(element),
        }
    }

    /// Moves the write pointer of `zone` over `count` blocks that are written at block `at` of it;
    /// opens it as needed. Conventional zones only have their bounds checked.
    ///
    /// # Errors
    /// Those of [`write`](shingle_hal::Device::write) that depend on the zone.
    pub(crate) fn write(&mut self, zone: u32, at: u32, count: u32) -> Result<(), ErrorKind> {
        self.check_write(zone, at, count)?;
        if self.is_conventional(zone) {
            return Ok(());
        }
        let z = self.zones[zone as usize];
        let end = at + count;
        if !z.condition.is_open() {
            self.take_open(zone)?;
        }
        self.zones[zone as usize].written = end;
        if end == z.capacity {
            self.become_condition(zone, ZoneCondition::Full);
        } else if z.condition != ZoneCondition::ExplicitOpen {
            self.become_condition(zone, ZoneCondition::ImplicitOpen);
        }
        Ok(())
    }

    /// Whether [`write`](Self::write) would succeed.
    ///
    /// # Errors
    /// What it would fail with.
    pub(crate) fn check_write(&self, zone: u32, at: u32, count: u32) -> Result<(), ErrorKind> {
        let z = self.zones[zone as usize];
        let end = u64::from(at) + u64::from(count);
        self.check_alive(zone)?;
        match z.condition {
            ZoneCondition::NotWritePointer if end > u64::from(z.capacity) => {
                return Err(ErrorKind::CrossesZone);
            }
            ZoneCondition::NotWritePointer => return Ok(()),
            ZoneCondition::Full => return Err(ErrorKind::ZoneFull),
            _ => {}
        }
        if at != z.written {
            let start = u64::from(zone) * u64::from(self.zone_blocks);
            let write_pointer = Some(Lba(start + u64::from(z.written)));
            return Err(ErrorKind::UnalignedWrite { write_pointer });
        }
        if end > u64::from(z.capacity) {
            return Err(ErrorKind::CrossesZone);
        }
        if z.condition.is_open() { Ok(()) } else { self.check_open(zone) }
    }

    /// Opens `zone` explicitly.
    ///
    /// # Errors
    /// Those of [`open`](shingle_hal::Device::open).
    pub(crate) fn open(&mut self, zone: u32) -> Result<(), ErrorKind> {
        self.check_sequential(zone)?;
        match self.condition(zone) {
            ZoneCondition::ExplicitOpen | ZoneCondition::Full => return Ok(()),
            ZoneCondition::ImplicitOpen => {}
            _ => self.take_open(zone)?,
        }
        self.become_condition(zone, ZoneCondition::ExplicitOpen);
        Ok(())
    }

    /// Closes `zone` if it is open.
    ///
    /// # Errors
    /// Those of [`close`](shingle_hal::Device::close).
    pub(crate) fn close(&mut self, zone: u32) -> Result<(), ErrorKind> {
        self.check_sequential(zone)?;
        if self.condition(zone).is_open() {
            self.become_condition(zone, self.condition_at_rest(zone));
        }
        Ok(())
    }

    /// Makes `zone` full; whether it was not before.
    ///
    /// # Errors
    /// Those of [`finish`](shingle_hal::Device::finish).
    pub(crate) fn finish(&mut self, zone: u32) -> Result<bool, ErrorKind> {
        self.check_sequential(zone)?;
        match self.condition(zone) {
            ZoneCondition::Full => return Ok(false),
            condition if condition.is_open() => {}
            _ => self.take_open(zone)?,
        }
        self.become_condition(zone, ZoneCondition::Full);
        Ok(true)
    }

    /// Makes `zone` empty; whether it was not before.
    ///
    /// # Errors
    /// Those of [`reset`](shingle_hal::Device::reset).
    pub(crate) fn reset(&mut self, zone: u32) -> Result<bool, ErrorKind> {
        self.check_sequential(zone)?;
        let changed = self.condition(zone) != ZoneCondition::Empty;
        self.zones[zone as usize].written = 0;
        self.become_condition(zone, ZoneCondition::Empty);
        Ok(changed)
    }

    /// Puts sequential `zone` into the state after power returns: `written` blocks, full or not.
    pub(crate) fn restore(&mut self, zone: u32, written: u32, full: bool) {
        assert!(!self.is_conventional(zone));
        self.zones[zone as usize].written = written;
        let condition = match full {
            true => ZoneCondition::Full,
            false => self.condition_at_rest(zone),
        };
        self.become_condition(zone, condition);
    }

    /// Closes every open zone, as a power cycle does.
    pub(crate) fn close_all(&mut self) {
        for zone in 0..self.len() {
            if self.condition(zone).is_open() {
                self.become_condition(zone, self.condition_at_rest(zone));
            }
        }
    }

    /// The drive takes `zone` out of use: read only or offline, for good.
    pub(crate) fn take_out(&mut self, zone: u32, condition: ZoneCondition) {
        assert!(!condition.is_usable(), "{condition:?} is no condition of a failed zone");
        self.become_condition(zone, condition);
    }

    /// `zone`, which was taken out of use, is again what [`stored`](Self::stored) said of it; full
    /// if no more zones may be active.
    pub(crate) fn bring_back(&mut self, zone: u32, stored: (ZoneCondition, u32, u32)) {
        let (condition, capacity, written) = stored;
        let condition = match condition.is_active() && self.active_left() == 0 {
            true => ZoneCondition::Full,
            false => condition,
        };
        let z = &mut self.zones[zone as usize];
        (z.capacity, z.written) = (capacity, written);
        self.become_condition(zone, condition);
    }

    /// How many more zones may become active.
    pub(crate) fn active_left(&self) -> u32 {
        self.active_max - self.active
    }

    /// `zone` can hold `capacity` blocks from now on; it holds fewer, or is full.
    pub(crate) fn set_capacity(&mut self, zone: u32, capacity: u32) {
        assert!(capacity > 0 && capacity <= self.zone_blocks);
        self.zones[zone as usize].capacity = capacity;
    }

    /// What an image keeps of `zone`: its condition at rest, capacity and blocks written.
    pub(crate) fn stored(&self, zone: u32) -> (ZoneCondition, u32, u32) {
        let z = &self.zones[zone as usize];
        let condition = match z.condition.is_open() {
            true => self.condition_at_rest(zone),
            false => z.condition,
        };
        (condition, z.capacity, z.written)
    }

    /// Makes `zone` what an image says; `false` if that cannot be.
    pub(crate) fn load(&mut self, zone: u32, stored: (ZoneCondition, u32, u32)) -> bool {
        let (condition, capacity, written) = stored;
        let possible = match condition {
            ZoneCondition::NotWritePointer => self.is_conventional(zone) && written == 0,
            ZoneCondition::Empty => !self.is_conventional(zone) && written == 0,
            ZoneCondition::Closed => {
                !self.is_conventional(zone) && written > 0 && written < capacity
            }
            ZoneCondition::ImplicitOpen | ZoneCondition::ExplicitOpen => false,
            ZoneCondition::Full => !self.is_conventional(zone),
            ZoneCondition::ReadOnly | ZoneCondition::Offline => true,
        };
        let active = self.active + u32::from(condition.is_active());
        if !possible
            || capacity > self.zone_blocks
            || written > capacity
            || active > self.active_max
        {
            return false;
        }
        let z = &mut self.zones[zone as usize];
        (z.capacity, z.written) = (capacity, written);
        self.become_condition(zone, condition);
        true
    }

    /// What `zone` is when it is neither open nor full.
    fn condition_at_rest(&self, zone: u32) -> ZoneCondition {
        match self.written(zone) {
            0 => ZoneCondition::Empty,
            _ => ZoneCondition::Closed,
        }
    }

    fn check_alive(&self, zone: u32) -> Result<(), ErrorKind> {
        match self.condition(zone) {
            ZoneCondition::ReadOnly => Err(ErrorKind::ZoneReadOnly),
            ZoneCondition::Offline => Err(ErrorKind::ZoneOffline),
            _ => Ok(()),
        }
    }

    fn check_sequential(&self, zone: u32) -> Result<(), ErrorKind> {
        self.check_alive(zone)?;
        match self.is_conventional(zone) {
            true => Err(ErrorKind::InvalidRequest),
            false => Ok(()),
        }
    }

    /// Makes sure that `zone`, which is not open, may become so; closes the implicitly open zone
    /// that was used longest ago if that is what it takes.
    fn take_open(&mut self, zone: u32) -> Result<(), ErrorKind> {
        self.check_open(zone)?;
        if self.open >= self.open_max
            && let Some((_, &oldest)) = self.implicit.first_key_value()
        {
            self.become_condition(oldest, self.condition_at_rest(oldest));
        }
        Ok(())
    }

    /// Whether `zone`, which is not open, may become so.
    fn check_open(&self, zone: u32) -> Result<(), ErrorKind> {
        if !self.condition(zone).is_active() && self.active >= self.active_max {
            return Err(ErrorKind::TooManyActiveZones);
        }
        match self.open < self.open_max || !self.implicit.is_empty() {
            true => Ok(()),
            false => Err(ErrorKind::TooManyOpenZones),
        }
    }

    /// The only place where a condition changes; keeps the counts (Z1, Z3).
    fn become_condition(&mut self, zone: u32, condition: ZoneCondition) {
        let z = &mut self.zones[zone as usize];
        let before = z.condition;
        z.condition = condition;
        if before == ZoneCondition::ImplicitOpen {
            self.implicit.remove(&z.stamp);
        }
        if condition == ZoneCondition::ImplicitOpen {
            self.stamp += 1;
            z.stamp = self.stamp;
            self.implicit.insert(z.stamp, zone);
        }
        self.open = self.open - u32::from(before.is_open()) + u32::from(condition.is_open());
        self.active =
            self.active - u32::from(before.is_active()) + u32::from(condition.is_active());
        assert!(self.open <= self.open_max && self.active <= self.active_max);
    }

    /// Panics if Z1 to Z4 do not hold.
    pub(crate) fn check_invariants(&self) {
        let count = |is: fn(ZoneCondition) -> bool| {
            self.zones.iter().filter(|z| is(z.condition)).count() as u32
        };
        assert_eq!(self.open, count(ZoneCondition::is_open));
        assert_eq!(self.active, count(ZoneCondition::is_active));
        assert!(self.open <= self.open_max && self.active <= self.active_max);
        assert_eq!(self.implicit.len() as u32, count(|c| c == ZoneCondition::ImplicitOpen));
        for (&stamp, &zone) in &self.implicit {
            let z = &self.zones[zone as usize];
            assert!(z.stamp == stamp && z.condition == ZoneCondition::ImplicitOpen);
        }
        for z in &self.zones {
            if matches!(z.condition, ZoneCondition::ImplicitOpen | ZoneCondition::Closed) {
                assert!(z.written > 0 && z.written < z.capacity);
            }
        }
    }
}
