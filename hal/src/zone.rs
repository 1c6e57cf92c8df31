//! Addresses and zones: the words in which every request and every answer is given.
//!
//! Each quantity is a type of its own, so that a block address cannot be used as a zone number or
//! a length. Zone types and conditions carry the values that ZBC, ZAC and ZNS report (table in
//! `libzbc`'s `zbc.h`, same numbers in all three).

use core::fmt;

/// The address of a block on the device, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Lba(pub u64);

impl Lba {
    /// The address `blocks` further on.
    #[must_use]
    pub const fn plus(self, blocks: u64) -> Self {
        Self(self.0 + blocks)
    }
}

impl fmt::Display for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LBA {}", self.0)
    }
}

/// A number of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BlockCount(pub u32);

/// Contiguous blocks `[start, start + count)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Extent {
    /// First block.
    pub start: Lba,
    /// Number of blocks; may be 0.
    pub count: BlockCount,
}

impl Extent {
    /// The extent of `count` blocks from `start`.
    #[must_use]
    pub const fn new(start: Lba, count: u32) -> Self {
        Self { start, count: BlockCount(count) }
    }

    /// One past the last block.
    #[must_use]
    pub const fn end(&self) -> Lba {
        Lba(self.start.0 + self.count.0 as u64)
    }

    /// Whether `lba` lies inside.
    #[must_use]
    pub const fn contains(&self, lba: Lba) -> bool {
        lba.0 >= self.start.0 && lba.0 < self.end().0
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LBA {}+{}", self.start.0, self.count.0)
    }
}

/// The number of a zone, counted from 0 in LBA order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZoneId(pub u32);

impl fmt::Display for ZoneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zone {}", self.0)
    }
}

/// A storage element: a head and its surface on a disk, a die or channel on flash. What fails
/// together has one element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ElementId(pub u16);

/// How a zone may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum ZoneType {
    /// Any block, in any order; there is no write pointer.
    Conventional = 1,
    /// Only at the write pointer.
    SequentialRequired = 2,
    /// Anywhere, but best at the write pointer (host-aware disks).
    SequentialPreferred = 3,
}

/// The state of a zone, with the value that ZBC, ZAC and ZNS report.
///
/// ```text
///            write/open              finish, or the last block is written
///   Empty ───────────────> ImplicitOpen/ExplicitOpen ───────────────> Full
///     ^                        │ close        ^ write/open              │
///     │                        v              │                         │
///     │                      Closed ──────────┘                         │
///     └──────────────── reset (from Empty, open, Closed, Full) ─────────┘
///   ReadOnly, Offline: entered by the device alone; nothing leads back.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum ZoneCondition {
    /// A conventional zone: no write pointer, always readable and writable.
    NotWritePointer = 0x0,
    /// Nothing written since the last reset.
    Empty = 0x1,
    /// Opened by a write; the device may close it to free the resource.
    ImplicitOpen = 0x2,
    /// Opened by [`Device::open`](crate::Device::open); stays open until closed.
    ExplicitOpen = 0x3,
    /// Partly written and not open.
    Closed = 0x4,
    /// Readable, can never be written again.
    ReadOnly = 0xd,
    /// Written up to its capacity, or finished.
    Full = 0xe,
    /// Neither readable nor writable, ever again.
    Offline = 0xf,
}

impl ZoneCondition {
    /// Counts against the open limit.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::ImplicitOpen | Self::ExplicitOpen)
    }

    /// Counts against the active limit.
    #[must_use]
    pub const fn is_active(self) -> bool {
        self.is_open() || matches!(self, Self::Closed)
    }

    /// Some write can still succeed after at most a reset.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        !matches!(self, Self::ReadOnly | Self::Offline)
    }
}

/// What [`Device::report`](crate::Device::report) says of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZoneDescriptor {
    /// Which zone.
    pub zone: ZoneId,
    /// How it may be written.
    pub zone_type: ZoneType,
    /// Its state now.
    pub condition: ZoneCondition,
    /// First block.
    pub start: Lba,
    /// Blocks that can be written, counted from `start`; at most the zone size.
    pub capacity: BlockCount,
    /// Blocks from `start` to the write pointer. For a full zone the capacity; for a conventional,
    /// read-only or offline zone the value means nothing and is 0.
    pub write_pointer: BlockCount,
    /// The storage element that holds it.
    pub element: ElementId,
}

impl ZoneDescriptor {
    /// The writable blocks of the zone.
    #[must_use]
    pub const fn extent(&self) -> Extent {
        Extent { start: self.start, count: self.capacity }
    }

    /// The only block at which a sequential zone takes a write.
    #[must_use]
    pub const fn write_lba(&self) -> Lba {
        Lba(self.start.0 + self.write_pointer.0 as u64)
    }

    /// A descriptor of nothing, to fill an array with before a report.
    pub const EMPTY: Self = Self {
        zone: ZoneId(0),
        zone_type: ZoneType::Conventional,
        condition: ZoneCondition::NotWritePointer,
        start: Lba(0),
        capacity: BlockCount(0),
        write_pointer: BlockCount(0),
        element: ElementId(0),
    };
}
