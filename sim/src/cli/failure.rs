//! Why a command failed: one sentence for people and an exit code for programs.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | not found, damaged, full, refused: the request was understood and cannot be met |
//! | 2 | the command line makes no sense |

use std::fmt::{Debug, Display};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use shingle_engine::{OpenError, ReadError, WriteError};
use shingle_sim::ImageError;
use shingle_sim::media::MediaError;

use super::size;

/// Exit code of a request that cannot be met.
const FAILED: u8 = 1;
/// Exit code of a command line that makes no sense.
const USAGE: u8 = 2;
/// Characters of a name in a sentence.
const NAME_LEN_MAX: usize = 100;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
    full: bool,
}

impl Failure {
    /// The request cannot be met.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED, full: false }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::new(message) }
    }

    /// The file system refused something about `path`.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::new(format!("{} cannot be used: {error}", path.display()))
    }

    /// The same, said of `what`, which is shortened if it is long.
    pub(crate) fn about(self, what: impl Display) -> Self {
        let mut what = what.to_string();
        if let Some((cut, _)) = what.char_indices().nth(NAME_LEN_MAX) {
            what.truncate(cut);
            what.push_str("...");
        }
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The same, with what else the user should know.
    pub(crate) fn and(self, more: impl Display) -> Self {
        Self { message: format!("{}; {more}", self.message), ..self }
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether it is for want of room in the store.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Says it on standard error.
    pub(crate) fn print(&self) {
        eprintln!("shingle: {}", self.message);
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        Self::usage(error.to_string())
    }
}

impl<E: Debug> From<OpenError<E>> for Failure {
    fn from(error: OpenError<E>) -> Self {
        match error {
            OpenError::NotFormatted => {
                Self::new("the drive holds no store; make one with `shingle format`")
            }
            OpenError::MemoryTooSmall { needed_bytes } => Self::new(format!(
                "the memory is too small: this store needs at least {} (give more with --memory)",
                size::show(needed_bytes as u64)
            )),
            other => Self::new(other.to_string()),
        }
    }
}

impl<E: Debug> From<ReadError<E>> for Failure {
    fn from(error: ReadError<E>) -> Self {
        Self::new(error.to_string())
    }
}

impl<E: Debug> From<WriteError<E>> for Failure {
    fn from(error: WriteError<E>) -> Self {
        let full = matches!(error, WriteError::Full);
        Self { full, ..Self::new(error.to_string()) }
    }
}
