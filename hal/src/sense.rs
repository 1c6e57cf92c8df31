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
            (0x2, ..) => ErrorKind::NotReady,
            (0x3, 0x0c | 0x32, _) => ErrorKind::WriteFault { first: info },
            // A format or depopulation failed: no single block is to blame.
            (0x3, 0x31, _) => ErrorKind::Hardware,
            (0x3, ..) => ErrorKind::UnrecoveredRead { first: info },
            (0x4, 0x03, 0x00) => ErrorKind::WriteFault { first: info },
            (0x4, ..) => ErrorKind::Hardware,
            (0x5, 0x21, 0x04) => ErrorKind::UnalignedWrite { write_pointer: info },
            (0x5, 0x21, 0x06) => ErrorKind::ReadPastWritePointer { first: info },
            (0x5, 0x21, 0x05 | 0x07) => ErrorKind::CrossesZone,
            (0x5, 0x21, _) => ErrorKind::OutOfDevice,
            (0x5, ..) => ErrorKind::InvalidRequest,
            // A unit attention (a reset, a zone that should be reset) is told once, in the place of
            // an answer: the request is to be sent again, and the drive is not to be given up.
            (0x6, ..) => ErrorKind::Timeout,
            (0x7, 0x27, _) => ErrorKind::ZoneReadOnly,
            // An inactive zone (ASCQ 12h) serves as little as an offline one.
            (0x7, 0x2c, 0x0e | 0x12) => ErrorKind::ZoneOffline,
            (0x7, 0x55, 0x0e | 0x0f) => ErrorKind::TooManyOpenZones,
            (0xb, ..) => ErrorKind::Timeout,
            _ => ErrorKind::Hardware,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Disposition;

    const AT: Option<Lba> = Some(Lba(7));

    /// Key, ASC, ASCQ, kind.
    type Row = (u8, u8, u8, ErrorKind);

    /// Zones: writes, reads, operations.
    const ZONES: &[Row] = &[
        (0x5, 0x21, 0x04, ErrorKind::UnalignedWrite { write_pointer: AT }),
        (0x5, 0x24, 0x00, ErrorKind::InvalidRequest),
        (0x5, 0x21, 0x05, ErrorKind::CrossesZone),
        (0x5, 0x21, 0x06, ErrorKind::ReadPastWritePointer { first: AT }),
        (0x5, 0x21, 0x07, ErrorKind::CrossesZone),
        (0x5, 0x21, 0x09, ErrorKind::OutOfDevice),
        (0x7, 0x2c, 0x12, ErrorKind::ZoneOffline),
        (0x7, 0x55, 0x0e, ErrorKind::TooManyOpenZones),
        (0x7, 0x55, 0x0f, ErrorKind::TooManyOpenZones),
        (0x7, 0x27, 0x08, ErrorKind::ZoneReadOnly),
        (0x7, 0x2c, 0x0e, ErrorKind::ZoneOffline),
        (0x5, 0x21, 0x00, ErrorKind::OutOfDevice),
        (0x6, 0x2a, 0x16, ErrorKind::Timeout),
    ];

    /// Media and mechanics.
    const MEDIA: &[Row] = &[
        (0x3, 0x11, 0x00, ErrorKind::UnrecoveredRead { first: AT }),
        (0x3, 0x11, 0x04, ErrorKind::UnrecoveredRead { first: AT }),
        (0x3, 0x11, 0x0b, ErrorKind::UnrecoveredRead { first: AT }),
        (0x3, 0x11, 0x0c, ErrorKind::UnrecoveredRead { first: AT }),
        (0x3, 0x11, 0x14, ErrorKind::UnrecoveredRead { first: AT }),
        (0x3, 0x0c, 0x00, ErrorKind::WriteFault { first: AT }),
        (0x3, 0x32, 0x00, ErrorKind::WriteFault { first: AT }),
        (0x1, 0x17, 0x01, ErrorKind::RecoveredRead { first: AT }),
        (0x4, 0x09, 0x00, ErrorKind::Hardware),
        (0x4, 0x09, 0x04, ErrorKind::Hardware),
        (0x4, 0x15, 0x01, ErrorKind::Hardware),
        (0x4, 0x03, 0x00, ErrorKind::WriteFault { first: AT }),
        (0x2, 0x04, 0x24, ErrorKind::NotReady),
        (0x2, 0x04, 0x25, ErrorKind::NotReady),
        (0x3, 0x31, 0x04, ErrorKind::Hardware),
        (0xb, 0x00, 0x00, ErrorKind::Timeout),
        (0xe, 0x1d, 0x00, ErrorKind::Hardware),
    ];

    #[test]
    fn sense_of_each_row_is_its_kind() {
        for &(key, asc, ascq, kind) in ZONES.iter().chain(MEDIA) {
            let sense = Sense::new(key, asc, ascq);
            assert_eq!(sense.kind(AT), kind, "{key:x}/{asc:02x}-{ascq:02x}");
        }
    }

    #[test]
    fn sense_of_a_refused_write_never_calls_for_more_than_a_report() {
        for (asc, ascq) in [(0x21, 0x04), (0x21, 0x05), (0x24, 0x00)] {
            let disposition = Sense::new(0x5, asc, ascq).kind(None).disposition();
            let allowed = [Disposition::Report, Disposition::CallerBug];
            assert!(allowed.contains(&disposition), "{asc:02x}-{ascq:02x}");
        }
    }

    #[test]
    fn sense_without_information_names_no_block() {
        let kind = Sense::new(0x3, 0x11, 0x00).kind(None);
        assert_eq!(kind, ErrorKind::UnrecoveredRead { first: None });
    }
}
