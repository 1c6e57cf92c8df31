//! What went wrong and what to do about it.
//!
//! A device has an error type of its own; generic code asks it for its [`ErrorKind`] and the kind
//! for its [`Disposition`]. Recovery branches on the disposition, never on which of several
//! allowed kinds came back.

use crate::zone::Lba;

/// What happened. Places are given where the device knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The medium could not be read. (Latent sector error.)
    UnrecoveredRead {
        /// First bad block.
        first: Option<Lba>,
    },
    /// The data were returned, but only after the device tried hard.
    RecoveredRead {
        /// First weak block.
        first: Option<Lba>,
    },
    /// The medium could not be written; the write pointer may stand anywhere between its old
    /// place and the end of the write. Report the zone and believe the device.
    WriteFault {
        /// First bad block.
        first: Option<Lba>,
    },
    /// A write to a sequential zone did not start at its write pointer.
    UnalignedWrite {
        /// Where the write pointer really is.
        write_pointer: Option<Lba>,
    },
    /// A read reached unwritten blocks on a device that refuses this.
    ReadPastWritePointer {
        /// First unwritten block.
        first: Option<Lba>,
    },
    /// The zone has no block left to write.
    ZoneFull,
    /// The zone can be read, but never written or reset again.
    ZoneReadOnly,
    /// The zone can neither be read nor written, ever again.
    ZoneOffline,
    /// The request needs an open zone resource, and none is free.
    TooManyOpenZones,
    /// The request needs an active zone resource, and none is free.
    TooManyActiveZones,
    /// The request reaches over the end of its zone.
    CrossesZone,
    /// The request reaches over the end of the device.
    OutOfDevice,
    /// The request is malformed: length not a multiple of the block, too long, misaligned, or a
    /// zone operation on a conventional zone.
    InvalidRequest,
    /// The storage element that holds the place is gone.
    ElementLost,
    /// No answer, or none in time; whether the request took effect is unknown.
    Timeout,
    /// The device cannot serve now: starting up, powered off, or being serviced.
    NotReady,
    /// Anything else that is broken.
    Hardware,
}

/// What a caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Disposition {
    /// The same request may succeed a little later.
    Retry,
    /// Nothing to do for this request; rewrite the extent elsewhere soon.
    Rewrite,
    /// The extent is lost: serve it from a copy, write it elsewhere.
    Remap,
    /// Report the zone and believe the device before writing to it again.
    Report,
    /// Never write to this zone again; evacuate what can still be read.
    Retire,
    /// All of the device is affected: stop writing, serve what can be read.
    Degrade,
    /// The caller broke the contract; retrying cannot help.
    CallerBug,
}

impl ErrorKind {
    /// What to do about it.
    #[must_use]
    pub const fn disposition(self) -> Disposition {
        match self {
            Self::Timeout => Disposition::Retry,
            Self::RecoveredRead { .. } => Disposition::Rewrite,
            Self::UnrecoveredRead { .. } => Disposition::Remap,
            Self::WriteFault { .. } | Self::UnalignedWrite { .. } | Self::ZoneFull => {
                Disposition::Report
            }
            Self::ZoneReadOnly | Self::ZoneOffline | Self::ElementLost => Disposition::Retire,
            Self::NotReady | Self::Hardware => Disposition::Degrade,
            Self::ReadPastWritePointer { .. }
            | Self::TooManyOpenZones
            | Self::TooManyActiveZones
            | Self::CrossesZone
            | Self::OutOfDevice
            | Self::InvalidRequest => Disposition::CallerBug,
        }
    }
}

/// An error of a device.
pub trait Error: Copy + core::fmt::Debug {
    /// What happened, in the words of this crate.
    fn kind(&self) -> ErrorKind;
}

impl Error for ErrorKind {
    fn kind(&self) -> ErrorKind {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disposition_of_each_kind_is_as_listed() {
        let first = Some(Lba(1));
        let write_pointer = first;
        let listed = [
            (ErrorKind::UnrecoveredRead { first }, Disposition::Remap),
            (ErrorKind::RecoveredRead { first }, Disposition::Rewrite),
            (ErrorKind::WriteFault { first }, Disposition::Report),
            (ErrorKind::UnalignedWrite { write_pointer }, Disposition::Report),
            (ErrorKind::ReadPastWritePointer { first }, Disposition::CallerBug),
            (ErrorKind::ZoneFull, Disposition::Report),
            (ErrorKind::ZoneReadOnly, Disposition::Retire),
            (ErrorKind::ZoneOffline, Disposition::Retire),
            (ErrorKind::TooManyOpenZones, Disposition::CallerBug),
            (ErrorKind::TooManyActiveZones, Disposition::CallerBug),
            (ErrorKind::CrossesZone, Disposition::CallerBug),
            (ErrorKind::OutOfDevice, Disposition::CallerBug),
            (ErrorKind::InvalidRequest, Disposition::CallerBug),
            (ErrorKind::ElementLost, Disposition::Retire),
            (ErrorKind::Timeout, Disposition::Retry),
            (ErrorKind::NotReady, Disposition::Degrade),
            (ErrorKind::Hardware, Disposition::Degrade),
        ];
        for (kind, disposition) in listed {
            assert_eq!(kind.disposition(), disposition, "{kind:?}");
            assert_eq!(kind.kind(), kind);
        }
    }
}
