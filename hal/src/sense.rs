//! Sense data: the three numbers in which SCSI and ATA drives say what went wrong.
//!
//! The table [`Sense::kind`] maps the codes of `libzbc`'s `zbc.h` and of `sg3_utils` to
//! [`ErrorKind`]. Devices that may answer one bad request with any of several codes (a write that
//! crosses a zone, for one) map to kinds that call for the same reaction.

use crate::error::ErrorKind;
use crate::zone::Lba;

/// Sense key, additional sense code and its qualifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sense {
    /// Sense key, 0x0 to 0xF.
    pub key: u8,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
}

impl Sense {
    /// The sense `key/asc-ascq`.
    #[must_use]
    pub const fn new(key: u8, asc: u8, ascq: u8) -> Self {
        Self { key, asc, ascq }
    }

    /// The kind of error this sense stands for; `info` is the LBA of the information field, where
    /// the drive filled it in.
    #[must_use]
    pub const fn kind(self, info: Option<Lba>) -> ErrorKind {
        match (self.key, self.asc, self.ascq) {
            (0x1, ..) => ErrorKind::RecoveredRead { first: info },
            (0x2, 0x04, 0x24 | 0x25) => ErrorKind::NotReady,
            (0x2, ..) => ErrorKind::NotReady,
            (0x3, 0x0c | 0x32, _) => ErrorKind::WriteFault { first: info },
            (0x3, ..) => ErrorKind::UnrecoveredRead { first: info },
            (0x4, 0x03, 0x00) => ErrorKind::WriteFault { first: info },
            (0x4, ..) => ErrorKind::Hardware,
            (0x5, 0x21, 0x04) => ErrorKind::UnalignedWrite {
                write_pointer: info,
            },
            (0x5, 0x21, 0x06) => ErrorKind::ReadPastWritePointer { first: info },
            (0x5, 0x21, 0x05 | 0x07) => ErrorKind::CrossesZone,
            (0x5, 0x21, _) => ErrorKind::OutOfDevice,
            (0x5, ..) => ErrorKind::InvalidRequest,
            (0x6, ..) => ErrorKind::NotReady,
            (0x7, 0x27, _) => ErrorKind::ZoneReadOnly,
            (0x7, 0x2c, 0x0e) => ErrorKind::ZoneOffline,
            (0x7, 0x55, 0x0e | 0x0f) => ErrorKind::TooManyOpenZones,
            (0xb, ..) => ErrorKind::Timeout,
            _ => ErrorKind::Hardware,
        }
    }
}
