//! Why an image cannot be used, each as one sentence.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why an image cannot be created, opened or saved.
#[derive(Debug)]
pub struct ImageError {
    /// The image.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: ImageErrorKind,
}

/// What is wrong with an image.
#[derive(Debug)]
#[non_exhaustive]
pub enum ImageErrorKind {
    /// The file system refused.
    Io(io::Error),
    /// There is a file of this name already.
    Exists,
    /// Another process has it open.
    Locked,
    /// It is a file of another kind.
    Foreign,
    /// It was written by another version of this program.
    Version {
        /// The version of the file.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// It is shorter than a drive of its model needs.
    Truncated {
        /// Bytes that are there.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// A part of it does not match its checksum or makes no sense.
    Damaged(Structure),
    /// The drive has no power: what its unsynced requests left is not decided.
    PowerCut,
}

/// A part of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// What the drive is.
    Header,
    /// Which table is in use.
    Mark,
    /// The states of the zones.
    Table,
}

impl ImageErrorKind {
    /// The error of this kind about `path`.
    pub(super) fn at(self, path: &Path) -> ImageError {
        ImageError { path: path.to_owned(), kind: self }
    }
}

impl From<io::Error> for ImageErrorKind {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Mark => "table mark",
            Self::Table => "zone table",
        })
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            ImageErrorKind::Io(error) => write!(f, "{path} cannot be used: {error}"),
            ImageErrorKind::Exists => write!(f, "{path} exists already"),
            ImageErrorKind::Locked => write!(f, "{path} is in use by another process"),
            ImageErrorKind::Foreign => write!(f, "{path} is not an image of a simulated drive"),
            ImageErrorKind::Version { found, known } => write!(
                f,
                "{path} has image version {found}, and this program reads version {known}"
            ),
            ImageErrorKind::Truncated { found, expected } => {
                write!(f, "{path} is truncated: it has {found} bytes and should have {expected}")
            }
            ImageErrorKind::Damaged(part) => write!(f, "{path} is damaged in its {part}"),
            ImageErrorKind::PowerCut => {
                write!(f, "{path} cannot be saved while the drive has no power")
            }
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ImageErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}
