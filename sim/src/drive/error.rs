//! What a simulated drive's requests fail with.

use std::fmt;

use shingle_hal::ErrorKind;

/// The error of a [`Drive`](crate::Drive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriveError {
    /// What happened.
    pub kind: ErrorKind,
}

impl shingle_hal::Error for DriveError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<ErrorKind> for DriveError {
    fn from(kind: ErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the drive answered {:?}", self.kind)
    }
}

impl std::error::Error for DriveError {}
