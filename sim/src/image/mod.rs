//! Drives that persist: one sparse file holds a simulated drive between two runs of a command.
//!
//! ```text
//! byte 0        64 KiB               64 KiB + contents           + 256 MiB
//! | header, marks | contents of block 0, 1, 2, ... | table in use | the other table |
//! ```
//!
//! Contents lie at their natural offsets; what was never written is a hole. The file is as long as
//! the drive and takes the room of what is on it. Opening reads the header and the table, which is
//! 16 bytes a zone; blocks are read when they are asked for. [`Image::save`] writes what changed.
//!
//! The header says what the drive is and never changes. Two *marks*, each in a block of its own,
//! say which table is in use and carry its checksum; a save writes contents, then the table that
//! is not in use, then its mark, so a process that dies leaves the old table or the new one in
//! use. It may leave newer contents under the older table, though: [`Image::was_interrupted`].
//!
//! One process at a time has an image open, by an advisory lock that ends with the process, or with
//! the image and every copy of its drive.

mod error;
mod file;
mod layout;

pub use error::{ImageError, ImageErrorKind};
pub use file::Image;
