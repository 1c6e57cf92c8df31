//! Why there is no device, and what its requests fail with, each as one sentence.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use shingle_hal::{Error, ErrorKind, Lba};

/// Why a file cannot be a device.
#[derive(Debug)]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: OpenErrorKind,
}

/// What is wrong with a file.
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
    /// Its length is not that of whole blocks, or it has none.
    Length {
        /// Bytes that it has, or was to have.
        found: u64,
    },
}

/// A request that failed. The kind says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// What was asked for.
    pub op: FileOp,
    /// Why it failed.
    pub reason: Reason,
}

/// A request to a file.
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
}

/// Numbers of the kernel's errors that tell one fault from another; those below 35 are the same on
/// every architecture.
mod number {
    pub(super) const EIO: i32 = 5;
    pub(super) const ENXIO: i32 = 6;
    pub(super) const EAGAIN: i32 = 11;
    pub(super) const ENODEV: i32 = 19;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const ENOSPC: i32 = 28;
    pub(super) const EROFS: i32 = 30;
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
            OpenErrorKind::NotAFile => write!(f, "{path} is not a plain file"),
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
        let only = |start: Lba, blocks: u32| (blocks == 1).then_some(start);
        match (self.reason, self.op) {
            (Reason::Short { first }, FileOp::Read { .. }) => {
                ErrorKind::UnrecoveredRead { first: Some(first) }
            }
            (Reason::Kernel(number::EIO), FileOp::Read { start, blocks }) => {
                ErrorKind::UnrecoveredRead { first: only(start, blocks) }
            }
            (Reason::Kernel(number::EIO), FileOp::Write { start, blocks }) => {
                ErrorKind::WriteFault { first: only(start, blocks) }
            }
            (Reason::Kernel(number::EAGAIN), _) => ErrorKind::Timeout,
            (Reason::Kernel(number::EINVAL), FileOp::Read { .. } | FileOp::Write { .. }) => {
                ErrorKind::InvalidRequest
            }
            (Reason::Kernel(number::ENOSPC | number::EROFS), FileOp::Write { .. }) => {
                ErrorKind::NotReady
            }
            (Reason::Kernel(number::ENXIO | number::ENODEV), _) => ErrorKind::NotReady,
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
        }
    }
}

impl std::error::Error for FileFault {}

#[cfg(test)]
mod tests {
    use super::*;
    use shingle_hal::Disposition;

    const READ: FileOp = FileOp::Read { start: Lba(8), blocks: 4 };
    const WRITE: FileOp = FileOp::Write { start: Lba(8), blocks: 1 };

    #[test]
    fn fault_of_each_reason_calls_for_what_it_should() {
        let listed = [
            (READ, Reason::Kernel(number::EIO), Disposition::Remap),
            (READ, Reason::Short { first: Lba(9) }, Disposition::Remap),
            (WRITE, Reason::Kernel(number::EIO), Disposition::Report),
            (WRITE, Reason::Kernel(number::ENOSPC), Disposition::Degrade),
            (WRITE, Reason::Kernel(number::EROFS), Disposition::Degrade),
            (WRITE, Reason::Kernel(number::EINVAL), Disposition::CallerBug),
            (WRITE, Reason::Nothing, Disposition::Degrade),
            (READ, Reason::Kernel(number::EAGAIN), Disposition::Retry),
            (READ, Reason::Kernel(number::ENODEV), Disposition::Degrade),
            (FileOp::Sync, Reason::Kernel(number::EIO), Disposition::Degrade),
            (FileOp::Sync, Reason::Kernel(number::ENOSPC), Disposition::Degrade),
        ];
        for (op, reason, disposition) in listed {
            let fault = FileFault { op, reason };
            assert_eq!(fault.kind().disposition(), disposition, "{fault}");
        }
    }

    #[test]
    fn fault_names_a_block_only_where_it_is_known() {
        let kind = |op| FileFault { op, reason: Reason::Kernel(number::EIO) }.kind();
        assert_eq!(kind(READ), ErrorKind::UnrecoveredRead { first: None });
        assert_eq!(kind(WRITE), ErrorKind::WriteFault { first: Some(Lba(8)) });
    }

    #[test]
    fn fault_is_said_in_a_sentence() {
        let fault = FileFault { op: READ, reason: Reason::Short { first: Lba(9) } };
        let said = "reading LBA 8+4 failed: the file was cut short and ends before LBA 9";
        assert_eq!(fault.to_string(), said);
        let fault = FileFault { op: FileOp::Sync, reason: Reason::Kernel(number::EIO) };
        assert!(fault.to_string().starts_with("the sync failed: Input/output error"), "{fault}");
    }
}
