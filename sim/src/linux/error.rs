//! Why there is no device, and what its requests fail with, each as one sentence.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::io::Errno;
use shingle_hal::{Error, ErrorKind, Lba, ZoneId};

use super::ioctl::Act;

/// Why a file or a disk cannot be a device.
#[derive(Debug)]
pub struct OpenError {
    /// Its place.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: OpenErrorKind,
}

/// What is wrong with it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The file system refused.
    Io(io::Error),
    /// There is a file of this name already.
    Exists,
    /// Another process has it open, or this one.
    Locked,
    /// It is a directory, a pipe or the like.
    NotAFile,
    /// The kernel uses the disk itself, or a part of it: it is mounted, swapped to, or below
    /// another device.
    Busy,
    /// Its zones are not as the contract has them.
    Zones {
        /// What is wrong with them.
        why: &'static str,
    },
    /// Its length is not that of whole blocks, or it has none.
    Length {
        /// Bytes that it has, or was to have.
        found: u64,
    },
}

/// A request to a file or a disk that failed. The kind says what to do about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileFault {
    /// What was asked for.
    pub op: FileOp,
    /// Why it failed.
    pub reason: Reason,
}

/// A request to a file or a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Of `blocks` blocks from `start`.
    Read {
        /// First block.
        start: Lba,
        /// How many.
        blocks: u32,
    },
    /// Of `blocks` blocks from `start`.
    Write {
        /// First block.
        start: Lba,
        /// How many.
        blocks: u32,
    },
    /// Of everything.
    Sync,
    /// Of a zone's state, or of all from it on.
    Report {
        /// The zone.
        first: ZoneId,
    },
    /// To a zone.
    Manage {
        /// What is done to it.
        act: Act,
        /// The zone.
        zone: ZoneId,
    },
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The kernel's error of this number.
    Kernel(i32),
    /// The file ends before the last block of the request: another process cut it short.
    Short {
        /// First block that is not there.
        first: Lba,
    },
    /// The kernel took or gave no bytes, and no error.
    Nothing,
    /// The disk is gone: it was unplugged while it was open.
    Gone,
    /// The zone is in no state for it, or the contract forbids it; the kernel was not asked.
    Refused(ErrorKind),
    /// The kernel's error of this number, and what the zone's state makes of it.
    Zone {
        /// The number.
        number: i32,
        /// What it comes to.
        kind: ErrorKind,
    },
}

impl OpenErrorKind {
    /// The error of this kind about `path`.
    pub(super) fn at(self, path: &Path) -> OpenError {
        OpenError { path: path.to_owned(), kind: self }
    }
}

impl From<io::Error> for OpenErrorKind {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists,
            io::ErrorKind::IsADirectory => Self::NotAFile,
            io::ErrorKind::ResourceBusy => Self::Busy,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            OpenErrorKind::Io(error) => write!(f, "{path} cannot be used: {error}"),
            OpenErrorKind::Exists => write!(f, "{path} exists already"),
            OpenErrorKind::Locked => write!(f, "{path} is in use already"),
            OpenErrorKind::NotAFile => {
                write!(f, "{path} is neither a plain file nor a disk")
            }
            OpenErrorKind::Busy => {
                write!(f, "{path} is in use by the system: it, or a part of it, is mounted or held")
            }
            OpenErrorKind::Zones { why } => write!(f, "the zones of {path} cannot be used: {why}"),
            OpenErrorKind::Length { found } => {
                write!(f, "{path} is no whole number of blocks long: {found} bytes")
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            OpenErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl Reason {
    /// Of what the kernel answered. A file that ends too soon is told apart by the caller, who
    /// knows where.
    pub(super) fn of(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::Nothing, Self::Kernel)
    }
}

impl Error for FileFault {
    /// A medium's fault is one of the request's blocks; which, the kernel does not say, unless it
    /// is the only one. A file system that is full or read only is a device that takes no writes
    /// now, and no fault of any zone.
    fn kind(&self) -> ErrorKind {
        let number = match self.reason {
            Reason::Refused(kind) | Reason::Zone { kind, .. } => return kind,
            Reason::Gone => return ErrorKind::NotReady,
            Reason::Short { first } => {
                return match self.op {
                    FileOp::Read { .. } => ErrorKind::UnrecoveredRead { first: Some(first) },
                    _ => ErrorKind::Hardware,
                };
            }
            Reason::Nothing => return ErrorKind::Hardware,
            Reason::Kernel(number) => number,
        };
        let only = |start: Lba, blocks: u32| (blocks == 1).then_some(start);
        match (Errno::from_raw_os_error(number), self.op) {
            (Errno::NODEV | Errno::NXIO, _) => ErrorKind::NotReady,
            (Errno::AGAIN | Errno::TIMEDOUT | Errno::TIME | Errno::NOLINK, _) => ErrorKind::Timeout,
            (Errno::TOOMANYREFS, _) => ErrorKind::TooManyOpenZones,
            (Errno::OVERFLOW, _) => ErrorKind::TooManyActiveZones,
            (Errno::INVAL, FileOp::Read { .. } | FileOp::Write { .. }) => ErrorKind::InvalidRequest,
            (Errno::NOSPC | Errno::ROFS, FileOp::Write { .. }) => ErrorKind::NotReady,
            // As the block layer names a disk's faults: of the medium, of its check bytes, of what
            // else the disk says, and of what is not known.
            (Errno::NODATA | Errno::ILSEQ | Errno::REMOTEIO | Errno::IO, op) => match op {
                FileOp::Read { start, blocks } => {
                    ErrorKind::UnrecoveredRead { first: only(start, blocks) }
                }
                FileOp::Write { start, blocks } => {
                    ErrorKind::WriteFault { first: only(start, blocks) }
                }
                FileOp::Manage { .. } => ErrorKind::WriteFault { first: None },
                FileOp::Sync | FileOp::Report { .. } => ErrorKind::Hardware,
            },
            _ => ErrorKind::Hardware,
        }
    }
}

impl fmt::Display for FileOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { start, blocks } => write!(f, "reading {start}+{blocks}"),
            Self::Write { start, blocks } => write!(f, "writing {start}+{blocks}"),
            Self::Sync => f.write_str("the sync"),
            Self::Report { first } => write!(f, "the report of {first}"),
            Self::Manage { act, zone } => {
                let act = match act {
                    Act::Open => "opening",
                    Act::Close => "closing",
                    Act::Finish => "finishing",
                    Act::Reset => "resetting",
                };
                write!(f, "{act} {zone}")
            }
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, reason } = self;
        match reason {
            Reason::Kernel(number) => {
                write!(f, "{op} failed: {}", io::Error::from_raw_os_error(*number))
            }
            Reason::Short { first } => {
                write!(f, "{op} failed: the file was cut short and ends before {first}")
            }
            Reason::Nothing => write!(f, "{op} failed: the kernel did nothing, and gave no error"),
            Reason::Gone => write!(f, "{op} failed: the disk is gone"),
            Reason::Refused(kind) => write!(f, "{op} was refused: {kind:?}"),
            Reason::Zone { number, kind } => {
                let error = io::Error::from_raw_os_error(*number);
                write!(f, "{op} failed: {kind:?} ({error})")
            }
        }
    }
}

/// The engine's sentences end with a device's error in this form.
impl fmt::Debug for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for FileFault {}

#[cfg(test)]
mod tests {
    use super::*;
    use shingle_hal::Disposition;

    const READ: FileOp = FileOp::Read { start: Lba(8), blocks: 4 };
    const WRITE: FileOp = FileOp::Write { start: Lba(8), blocks: 1 };
    const RESET: FileOp = FileOp::Manage { act: Act::Reset, zone: ZoneId(3) };
    const EIO: Reason = Reason::Kernel(Errno::IO.raw_os_error());

    #[test]
    fn fault_of_each_reason_calls_for_what_it_should() {
        let kernel = |errno: Errno| Reason::Kernel(errno.raw_os_error());
        let listed = [
            (READ, kernel(Errno::IO), Disposition::Remap),
            (READ, kernel(Errno::NODATA), Disposition::Remap),
            (READ, Reason::Short { first: Lba(9) }, Disposition::Remap),
            (WRITE, kernel(Errno::IO), Disposition::Report),
            (WRITE, kernel(Errno::REMOTEIO), Disposition::Report),
            (RESET, kernel(Errno::REMOTEIO), Disposition::Report),
            (WRITE, kernel(Errno::NOSPC), Disposition::Degrade),
            (WRITE, kernel(Errno::ROFS), Disposition::Degrade),
            (WRITE, kernel(Errno::INVAL), Disposition::CallerBug),
            (WRITE, kernel(Errno::TOOMANYREFS), Disposition::CallerBug),
            (WRITE, Reason::Nothing, Disposition::Degrade),
            (READ, Reason::Gone, Disposition::Degrade),
            (WRITE, Reason::Refused(ErrorKind::ZoneReadOnly), Disposition::Retire),
            (READ, kernel(Errno::AGAIN), Disposition::Retry),
            (READ, kernel(Errno::TIMEDOUT), Disposition::Retry),
            (READ, kernel(Errno::NODEV), Disposition::Degrade),
            (FileOp::Sync, kernel(Errno::IO), Disposition::Degrade),
            (FileOp::Sync, kernel(Errno::NOSPC), Disposition::Degrade),
        ];
        for (op, reason, disposition) in listed {
            let fault = FileFault { op, reason };
            assert_eq!(fault.kind().disposition(), disposition, "{fault}");
        }
    }

    #[test]
    fn fault_names_a_block_only_where_it_is_known() {
        let kind = |op| FileFault { op, reason: EIO }.kind();
        assert_eq!(kind(READ), ErrorKind::UnrecoveredRead { first: None });
        assert_eq!(kind(WRITE), ErrorKind::WriteFault { first: Some(Lba(8)) });
    }

    #[test]
    fn fault_is_said_in_a_sentence() {
        let fault = FileFault { op: READ, reason: Reason::Short { first: Lba(9) } };
        let said = "reading LBA 8+4 failed: the file was cut short and ends before LBA 9";
        assert_eq!(fault.to_string(), said);
        let fault = FileFault { op: FileOp::Sync, reason: EIO };
        assert!(fault.to_string().starts_with("the sync failed: Input/output error"), "{fault}");
    }
}
