//! A peer's files in a folder: what they take, and what the process wrote, by the kernel's account.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Reading;

/// Bytes of a block in which the kernel counts a file's room.
const ROOM_BLOCK_BYTES: u64 = 512;

/// A folder that a store keeps its files in, and a clock.
pub struct Folder {
    path: PathBuf,
    began: Instant,
}

impl Folder {
    /// The folder at `path`, which is there.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), began: Instant::now() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Nanoseconds since the store was made.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// What the whole process read and wrote so far by calls to the kernel, its other threads
    /// included, and the room that the files have on the file system. So nothing else may write
    /// files while a peer is measured, and none of this counts for a store that maps its files.
    ///
    /// # Panics
    /// If the kernel does not say.
    #[must_use]
    pub fn reading(&self) -> Reading {
        let text = fs::read_to_string("/proc/self/io").expect("the kernel's account");
        let count = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|count| count.trim().parse().ok()).expect("a count")
        };
        Reading {
            now_ns: self.now_ns(),
            reads: count("syscr:"),
            read_bytes: count("rchar:"),
            written_bytes: count("wchar:"),
            occupied_bytes: room_bytes(&self.path),
        }
    }
}

/// Bytes that the files under `path` have on the file system. One that goes while they are counted
/// counts for nothing: peers delete files in the background.
fn room_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => room_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * ROOM_BLOCK_BYTES,
        Err(_) => 0,
    };
    entries.map(of).sum()
}
