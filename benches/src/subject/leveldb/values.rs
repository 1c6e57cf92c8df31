//! Values apart from LevelDB, as Kinetic drives kept those of 8 KiB and more: one after another in
//! value files, with a pointer in LevelDB.
//!
//! A value file whose last value dies is removed at once. When the disk is nearly full, the file
//! with the least alive is emptied by putting what is alive anew. Which values are alive is known
//! in memory, free of charge: the drive had to find out in its compactions.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::subject::extents::{Extents, FileId, Place};

/// A value file is as long as a zone of the drive, or a share of a smaller disk.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A disk has room for so many value files.
const FILES_MIN: u64 = 64;
/// Value files' worth of the disk that is kept free, besides what a compaction of all that LevelDB
/// has takes.
const FREE_FILES: u64 = 3;

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    number: u32,
    offset: u64,
    len: u32,
}

/// Bytes of a pointer in LevelDB.
pub(super) const POINTER_LEN: usize = 16;

impl Pointer {
    /// As it is put into LevelDB.
    pub(super) fn encode(self) -> [u8; POINTER_LEN] {
        let mut bytes = [0; POINTER_LEN];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes[12..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// From what was put into LevelDB.
    ///
    /// # Panics
    /// If that was no pointer.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), POINTER_LEN);
        let number = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let offset = u64::from_le_bytes(bytes[4..12].try_into().expect("eight bytes"));
        let len = u32::from_le_bytes(bytes[12..].try_into().expect("four bytes"));
        Self { number, offset, len }
    }
}

/// The values of a file by their keys, in their order.
pub(super) type Entries = Vec<(Box<[u8]>, Pointer)>;

struct ValueFile {
    id: FileId,
    place: Place,
    live_bytes: u64,
    entries: Entries,
}

/// All value files.
pub(super) struct ValueFiles {
    extents: Rc<Extents>,
    file_bytes: u64,
    files: BTreeMap<u32, ValueFile>,
    /// The file that is written now is the one before.
    created: u32,
    /// What was free when that was last looked at.
    free_seen: u64,
}

impl ValueFiles {
    /// No values yet.
    pub(super) fn new(extents: Rc<Extents>) -> Self {
        let file_bytes = FILE_BYTES_MAX.min(extents.len_bytes() / FILES_MIN);
        Self { extents, file_bytes, files: BTreeMap::new(), created: 0, free_seen: u64::MAX }
    }

    /// Appends a value of `key`.
    pub(super) fn append(&mut self, key: &[u8], value: &[u8]) -> Pointer {
        let written = self.current().map(|file| self.extents.len(file.id));
        if written.is_none_or(|written| written >= self.file_bytes) {
            self.begin_file();
        }
        let number = self.created - 1;
        let file = self.files.get_mut(&number).expect("a file is being written");
        let offset = self.extents.len(file.id);
        self.extents.append(file.id, value);
        let pointer = Pointer { number, offset, len: value.len() as u32 };
        file.live_bytes += value.len() as u64;
        file.entries.push((key.into(), pointer));
        pointer
    }

    /// Reads a value.
    ///
    /// # Panics
    /// If it is not there.
    pub(super) fn read(&self, pointer: Pointer, out: &mut Vec<u8>) {
        let file = &self.files[&pointer.number];
        out.resize(pointer.len as usize, 0);
        let len = self.extents.read(file.id, &file.place, pointer.offset, out);
        assert_eq!(len, out.len(), "a value is cut short");
    }

    /// A value is dead.
    pub(super) fn kill(&mut self, pointer: Pointer) {
        let file = self.files.get_mut(&pointer.number).expect("a dead value has a file");
        file.live_bytes -= u64::from(pointer.len);
        if file.live_bytes == 0 && pointer.number + 1 != self.created {
            self.remove(pointer.number);
        }
    }

    /// Writes out what was appended; the next sync of any file makes it durable.
    pub(super) fn write_out(&self) {
        if let Some(file) = self.current() {
            self.extents.write_out(file.id);
        }
    }

    /// The file to be emptied now, with the values it had; `None` if there is room.
    ///
    /// # Panics
    /// If there is no room and none to be made.
    pub(super) fn victim(&mut self) -> Option<(u32, Entries)> {
        let free = self.extents.free_bytes();
        if free == self.free_seen {
            return None;
        }
        let value_bytes: u64 = self.files.values().map(|file| self.extents.len(file.id)).sum();
        let others = self.extents.file_bytes() - value_bytes;
        if free >= FREE_FILES * self.file_bytes + 2 * others {
            self.free_seen = free;
            return None;
        }
        let full = self.files.iter().filter(|(number, _)| **number + 1 != self.created);
        let (&number, file) = full.min_by_key(|(_, file)| file.live_bytes)?;
        assert!(file.live_bytes < self.extents.len(file.id), "the disk is full of live values");
        Some((number, file.entries.clone()))
    }

    /// Whether a value file is still there.
    pub(super) fn holds(&self, number: u32) -> bool {
        self.files.contains_key(&number)
    }

    fn current(&self) -> Option<&ValueFile> {
        self.files.get(&self.created.checked_sub(1)?)
    }

    fn begin_file(&mut self) {
        if let Some(file) = self.current() {
            self.extents.close(file.id);
            let (number, is_dead) = (self.created - 1, file.live_bytes == 0);
            if is_dead {
                self.remove(number);
            }
        }
        let number = self.created;
        self.created += 1;
        let id = self.extents.create(&file_name(number));
        let (place, entries) = (Place::default(), Vec::new());
        self.files.insert(number, ValueFile { id, place, live_bytes: 0, entries });
    }

    fn remove(&mut self, number: u32) {
        self.files.remove(&number);
        self.extents.remove(&file_name(number));
    }
}

/// Not a name that LevelDB would take for one of its own.
fn file_name(number: u32) -> String {
    format!("values-{number:06}")
}
