//! What can go wrong, one enum for each operation, with the place where it did.
//!
//! An absent key is `Ok(None)`. "Full now" ([`WriteError::Full`]) is not "can never fit"
//! ([`WriteError::ValueTooLong`] and its like). Nothing here holds text to parse.

use core::fmt;
use shingle_hal::{Disposition, ErrorKind, Extent};

/// What was read when a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Structure {
    /// A superblock in an anchor zone.
    Superblock,
    /// A manifest edit or snapshot.
    Manifest,
    /// A record of the log.
    LogRecord,
    /// The bytes of a value.
    Value,
    /// A node of a run.
    RunNode,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superblock => "superblock",
            Self::Manifest => "manifest",
            Self::LogRecord => "log record",
            Self::Value => "value",
            Self::RunNode => "run node",
        })
    }
}

/// Which check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Check {
    /// The checksum, which covers the bytes and their place and generation.
    Checksum {
        /// As stored.
        stored: u32,
        /// As computed from what came back.
        computed: u32,
    },
    /// The checksum holds, but the contents make no sense.
    Malformed,
    /// The checksum holds, but it is the value of another key.
    OtherKey,
    /// The device could not return the bytes at all.
    Unreadable(ErrorKind),
}

/// A place whose contents are not what was written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Damage {
    /// Where.
    pub extent: Extent,
    /// In what.
    pub structure: Structure,
    /// Which check failed.
    pub check: Check,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged {} at {}: ", self.structure, self.extent)?;
        match self.check {
            Check::Checksum { stored, computed } => {
                write!(f, "checksum {stored:08x} stored, {computed:08x} computed")
            }
            Check::Malformed => f.write_str("contents make no sense"),
            Check::OtherKey => f.write_str("it is the value of another key"),
            Check::Unreadable(kind) => write!(f, "the device cannot read it ({kind:?})"),
        }
    }
}

/// What the lower layers fail with; each operation turns it into its own error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault<E> {
    /// The device failed.
    Device(E),
    /// A check failed.
    Damaged(Damage),
    /// No zone is left.
    NoSpace,
    /// A table planned at open is full.
    NoMemory,
    /// The deadline of the read passed before it came to an end.
    DeadlineExceeded,
}

impl<E: shingle_hal::Error> Fault<E> {
    /// A failed read: damage if the medium is at fault, else the device's error.
    pub(crate) fn of_read(error: E, extent: Extent, structure: Structure) -> Self {
        match error.kind() {
            kind @ (ErrorKind::UnrecoveredRead { .. }
            | ErrorKind::ReadPastWritePointer { .. }
            | ErrorKind::ZoneOffline
            | ErrorKind::ElementLost) => {
                Self::Damaged(Damage { extent, structure, check: Check::Unreadable(kind) })
            }
            _ => Self::Device(error),
        }
    }
}

/// Whether an error concerns one zone alone: the device serves the others on.
pub(crate) const fn is_of_zone(kind: ErrorKind) -> bool {
    let disposition = kind.disposition();
    matches!(disposition, Disposition::Report | Disposition::Retire | Disposition::Remap)
        // The engine keeps within the capacity that it knows: it shrank when the zone was reset.
        || matches!(kind, ErrorKind::Timeout | ErrorKind::CrossesZone)
}

/// Whether a zone that failed so is not to be written again, now or after a reset.
pub(crate) const fn is_worn(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WriteFault { .. })
        || matches!(kind.disposition(), Disposition::Retire | Disposition::Remap)
}

/// Why a store could not be formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FormatError<E> {
    /// The options contradict each other or the bounds of [`limits`](crate::limits).
    InvalidOptions(&'static str),
    /// The device has too few usable zones.
    DeviceTooSmall {
        /// Zones needed.
        zones_needed: u32,
        /// Zones there are.
        zones: u32,
    },
    /// The device's geometry cannot hold a store.
    UnsupportedGeometry(&'static str),
    /// The memory handed in is too small.
    MemoryTooSmall {
        /// Bytes needed.
        needed_bytes: usize,
    },
    /// The device failed.
    Device(E),
}

/// Why a store could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OpenError<E> {
    /// No superblock was found: the device was never formatted, or both anchors are gone.
    NotFormatted,
    /// Formatted by a version this one cannot read.
    UnsupportedVersion {
        /// The version found.
        version: u16,
    },
    /// The device's geometry is not the one the store was formatted on.
    GeometryChanged,
    /// The memory handed in is too small for this store on this device.
    MemoryTooSmall {
        /// Bytes needed.
        needed_bytes: usize,
    },
    /// A structure without which nothing can be opened is damaged.
    Damaged(Damage),
    /// The device is so full of what must be kept that recovery found no zone.
    NoSpace,
    /// The device failed.
    Device(E),
}

/// Why a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ReadError<E> {
    /// The key is empty or longer than the store allows.
    KeyLength,
    /// A buffer of the caller is too small; nothing was returned.
    BufferTooSmall {
        /// Bytes needed.
        needed_bytes: u64,
    },
    /// What is stored is damaged beyond what redundancy can mend.
    Damaged(Damage),
    /// All places for snapshots and cursors are taken.
    TooManySnapshots,
    /// The caller's writer failed.
    Stream,
    /// The deadline passed before the read came to an end. It says nothing of what is stored:
    /// without a deadline, or with a later one, the same read may give it.
    DeadlineExceeded,
    /// The device failed.
    Device(E),
}

/// Why a write failed. Nothing of it took effect, unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WriteError<E> {
    /// The key is empty or longer than the store allows.
    KeyLength,
    /// The metadata are longer than the store allows.
    MetaTooLong,
    /// The value is longer than the store allows.
    ValueTooLong,
    /// The batch is larger than the log's buffer, or holds too many operations.
    BatchTooLarge,
    /// The condition does not hold.
    ConditionFailed,
    /// No room now; deleting makes room.
    Full,
    /// All places for value streams are taken.
    TooManyStreams,
    /// The caller's reader failed or ended early; nothing is left behind.
    Stream,
    /// An earlier write failed in a way that left the store read only until it is opened again.
    ReadOnly,
    /// A structure needed for the write is damaged.
    Damaged(Damage),
    /// The device failed; whether the write survives a power cut is unknown.
    Device(E),
}

impl<E> From<Fault<E>> for ReadError<E> {
    fn from(fault: Fault<E>) -> Self {
        match fault {
            Fault::Device(error) => Self::Device(error),
            Fault::Damaged(damage) => Self::Damaged(damage),
            Fault::DeadlineExceeded => Self::DeadlineExceeded,
            // Reads allocate neither zones nor table entries.
            Fault::NoSpace | Fault::NoMemory => unreachable!("a read needs no space"),
        }
    }
}

impl<E> From<Fault<E>> for WriteError<E> {
    fn from(fault: Fault<E>) -> Self {
        match fault {
            Fault::Device(error) => Self::Device(error),
            Fault::Damaged(damage) => Self::Damaged(damage),
            Fault::NoSpace | Fault::NoMemory => Self::Full,
            Fault::DeadlineExceeded => unreachable!("a read alone has a deadline"),
        }
    }
}

impl<E> From<Fault<E>> for OpenError<E> {
    fn from(fault: Fault<E>) -> Self {
        match fault {
            Fault::Device(error) => Self::Device(error),
            Fault::Damaged(damage) => Self::Damaged(damage),
            Fault::NoSpace => Self::NoSpace,
            Fault::NoMemory => Self::MemoryTooSmall { needed_bytes: 0 },
            Fault::DeadlineExceeded => unreachable!("a read alone has a deadline"),
        }
    }
}

macro_rules! display_by {
    ($name:ident, $this:ident, $f:ident, $body:expr) => {
        impl<E: fmt::Debug> fmt::Display for $name<E> {
            fn fmt(&self, $f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $this = self;
                $body
            }
        }
        impl<E: fmt::Debug> core::error::Error for $name<E> {}
    };
}

display_by!(
    FormatError,
    this,
    f,
    match this {
        Self::InvalidOptions(why) => write!(f, "the format options are invalid: {why}"),
        Self::DeviceTooSmall { zones_needed, zones } => {
            write!(f, "the device is too small: {zones_needed} usable zones needed, {zones} found")
        }
        Self::UnsupportedGeometry(why) => write!(f, "the device cannot hold a store: {why}"),
        Self::MemoryTooSmall { needed_bytes } => {
            write!(f, "the memory is too small: {needed_bytes} bytes needed")
        }
        Self::Device(error) => write!(f, "the device failed: {error:?}"),
    }
);
display_by!(
    OpenError,
    this,
    f,
    match this {
        Self::NotFormatted => f.write_str("no store found on the device"),
        Self::UnsupportedVersion { version } => {
            write!(f, "the store has format version {version}, which this program cannot read")
        }
        Self::GeometryChanged =>
            f.write_str("the store was formatted on a device of another geometry"),
        Self::MemoryTooSmall { needed_bytes } => {
            write!(f, "the memory is too small: {needed_bytes} bytes needed")
        }
        Self::Damaged(damage) => damage.fmt(f),
        Self::NoSpace => f.write_str("recovery found no free zone"),
        Self::Device(error) => write!(f, "the device failed: {error:?}"),
    }
);
display_by!(
    ReadError,
    this,
    f,
    match this {
        Self::KeyLength => f.write_str("the key is empty or too long for this store"),
        Self::BufferTooSmall { needed_bytes } => {
            write!(f, "the buffer is too small: {needed_bytes} bytes needed")
        }
        Self::Damaged(damage) => damage.fmt(f),
        Self::TooManySnapshots => f.write_str("too many snapshots and cursors are open"),
        Self::Stream => f.write_str("the stream that takes the value failed"),
        Self::DeadlineExceeded => f.write_str("the deadline passed before the read came to an end"),
        Self::Device(error) => write!(f, "the device failed: {error:?}"),
    }
);
display_by!(
    WriteError,
    this,
    f,
    match this {
        Self::KeyLength => f.write_str("the key is empty or too long for this store"),
        Self::MetaTooLong => f.write_str("the metadata are too long for this store"),
        Self::ValueTooLong => f.write_str("the value is too long for this store"),
        Self::BatchTooLarge => f.write_str("the batch is too large"),
        Self::ConditionFailed => f.write_str("the condition does not hold"),
        Self::Full => f.write_str("the store is full"),
        Self::TooManyStreams => f.write_str("too many values are being streamed in"),
        Self::Stream => f.write_str("the stream that brings the value failed or ended early"),
        Self::ReadOnly => f.write_str("the store is read only after a failed write"),
        Self::Damaged(damage) => damage.fmt(f),
        Self::Device(error) => write!(f, "the device failed: {error:?}"),
    }
);
