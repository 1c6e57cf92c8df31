//! The files of LevelDB on [`Extents`].
//!
//! What LevelDB flushes is made durable, as its original syncs logs that a write asks it for,
//! tables, and descriptors. Lock files and the pointer to the current descriptor, which the crate
//! writes anew at each change where the original does not, are kept in memory and cost nothing.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusty_leveldb::env::{Env, FileLock, Logger, RandomAccess};
use rusty_leveldb::{MemEnv, Result, Status, StatusCode};

use crate::subject::extents::{Extents, FileId, Place};

/// LevelDB's view of files on a disk, in one folder.
pub(super) struct DiskEnv {
    extents: Rc<Extents>,
    small: MemEnv,
}

impl DiskEnv {
    /// The files of `extents`.
    pub(super) fn new(extents: Rc<Extents>) -> Self {
        Self { extents, small: MemEnv::new() }
    }

    fn find(&self, path: &Path) -> Result<FileId> {
        let found = self.extents.find(name(path));
        found.ok_or_else(|| Status::new(StatusCode::NotFound, name(path)))
    }

    fn reader(&self, path: &Path) -> Result<Reader> {
        let id = self.find(path)?;
        Ok(Reader { extents: self.extents.clone(), id, place: Place::default(), at: 0 })
    }

    fn writer(&self, id: FileId) -> Box<dyn Write> {
        Box::new(Writer { extents: self.extents.clone(), id })
    }
}

/// The last part of a path.
fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("LevelDB's names are plain")
}

/// Whether a file holds but a name, and so is kept in memory.
fn is_small(path: &Path) -> bool {
    let name = name(path);
    matches!(name, "CURRENT" | "LOCK" | "LOG" | "LOG.old") || name.ends_with(".dbtmp")
}

impl Env for DiskEnv {
    fn open_sequential_file(&self, path: &Path) -> Result<Box<dyn Read>> {
        if is_small(path) {
            return self.small.open_sequential_file(path);
        }
        Ok(Box::new(self.reader(path)?))
    }

    fn open_random_access_file(&self, path: &Path) -> Result<Box<dyn RandomAccess>> {
        Ok(Box::new(self.reader(path)?))
    }

    fn open_writable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        if is_small(path) {
            return self.small.open_writable_file(path);
        }
        Ok(self.writer(self.extents.create(name(path))))
    }

    fn open_appendable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        Ok(self.writer(self.find(path)?))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.extents.find(name(path)).is_some() || self.small.exists(path)?)
    }

    fn children(&self, _folder: &Path) -> Result<Vec<PathBuf>> {
        Ok(self.extents.names().into_iter().map(PathBuf::from).collect())
    }

    fn size_of(&self, path: &Path) -> Result<usize> {
        Ok(self.extents.len(self.find(path)?) as usize)
    }

    fn delete(&self, path: &Path) -> Result<()> {
        if is_small(path) {
            return self.small.delete(path);
        }
        self.find(path)?;
        self.extents.remove(name(path));
        Ok(())
    }

    fn mkdir(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    fn rmdir(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        if is_small(from) && is_small(to) {
            return self.small.rename(from, to);
        }
        self.find(from)?;
        self.extents.rename(name(from), name(to));
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<FileLock> {
        self.small.lock(path)
    }

    fn unlock(&self, lock: FileLock) -> Result<()> {
        self.small.unlock(lock)
    }

    fn new_logger(&self, _path: &Path) -> Result<Logger> {
        Ok(Logger::new(Box::new(io::sink())))
    }

    fn micros(&self) -> u64 {
        self.extents.now_ns() / 1000
    }

    fn sleep_for(&self, _micros: u32) {}
}

/// Reads one file.
struct Reader {
    extents: Rc<Extents>,
    id: FileId,
    place: Place,
    /// Where a sequential reader is.
    at: u64,
}

impl RandomAccess for Reader {
    fn read_at(&self, offset: usize, out: &mut [u8]) -> Result<usize> {
        Ok(self.extents.read(self.id, &self.place, offset as u64, out))
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.extents.read(self.id, &self.place, self.at, out);
        self.at += len as u64;
        Ok(len)
    }
}

/// Appends to one file.
struct Writer {
    extents: Rc<Extents>,
    id: FileId,
}

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.extents.append(self.id, data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.extents.sync(self.id);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.extents.close(self.id);
        }
    }
}
