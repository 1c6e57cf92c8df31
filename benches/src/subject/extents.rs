//! The least of a file system that a peer made for one can live on: named files as lists of
//! extents on a simulated conventional disk.
//!
//! It is made to cost a peer less than a real one would:
//! - Names, lengths and extents are kept in memory and never written. No journal either.
//! - A file grows where it ends if there is room, else at the first free place, by units of a
//!   mebibyte, so that it is written and read in long sweeps.
//! - What is appended is gathered and written 256 KiB at a time, or when it is synced.
//! - Reads go to the disk, as with direct input and output. But a reader that goes through a file
//!   in order, upwards or downwards, is read ahead for by 256 KiB, and one that comes to a file for
//!   the first time finds the last mebibyte that was written there, as it would in a kernel's
//!   cache: [`WINDOWS_MAX`] files have such a window at once. Reads here and there get nothing
//!   from a window.
//! - A file that is removed is free at once.
//!
//! Invariant E1: a file's `units` cover its length; its bytes from `buffer_at` on, a multiple of
//! the block, are in `buffer`, those before it are on the disk.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use shingle_sim::media::MediaSpec;

use super::Reading;
use super::disk::Disk;

/// Appended bytes that are gathered before they are written.
const GATHER_BYTES: usize = 256 << 10;
/// How far a reader in order is read ahead for.
const AHEAD_BYTES: u64 = 256 << 10;
/// A reader that leaves out less than this still goes in order.
const NEAR_BYTES: u64 = 64;
/// Last bytes of a file that are kept when its writer is done.
const RECENT_BYTES: usize = 1 << 20;
/// Files with a window at once.
const WINDOWS_MAX: usize = 64;
/// A file grows by so much.
const UNIT_BYTES: u64 = 1 << 20;
/// A disk has at least so many units, or they are shorter.
const UNITS_MIN: u64 = 256;

/// A file, as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u64);

/// What a reader of one file read last: what tells that it goes in order.
#[derive(Debug, Default)]
pub(super) struct Place(Cell<(u64, u64)>);

/// Which way a reader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It reads for the first time.
    Unknown,
    Upwards,
    Downwards,
    /// Here and there.
    None,
}

impl Place {
    /// The reader goes on to `[from, to)`.
    fn go(&self, from: u64, to: u64) -> Way {
        let last = self.0.replace((from, to));
        let is_near = |a: u64, b: u64| (a..a + NEAR_BYTES).contains(&b);
        match last {
            _ if is_near(last.1, from) => Way::Upwards,
            _ if is_near(to, last.0) => Way::Downwards,
            (0, 0) => Way::Unknown,
            _ => Way::None,
        }
    }
}

#[derive(Debug, Default)]
struct File {
    len: u64,
    units: Vec<usize>,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Whether `buffer` is on the disk too, padded to a block.
    is_clean: bool,
    /// The last bytes before `buffer_at`.
    recent: VecDeque<u8>,
}

/// Bytes of a file that are at hand, from a block's start on.
struct Window {
    file: FileId,
    at: u64,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Table {
    names: BTreeMap<String, FileId>,
    files: BTreeMap<FileId, File>,
    created: u64,
    /// Which units are in use.
    used: Vec<bool>,
    used_count: u64,
    windows: Windows,
}

/// The window of each file that has one; the one used last is the last here.
#[derive(Default)]
struct Windows(VecDeque<Window>);

/// Files on a disk.
pub(super) struct Extents {
    disk: Disk,
    unit_bytes: u64,
    table: RefCell<Table>,
}

impl Extents {
    /// No files, on a new disk of model `spec`.
    ///
    /// # Panics
    /// If that is no conventional disk.
    pub(super) fn new(spec: &MediaSpec) -> Self {
        let disk = Disk::new(spec);
        let block_len = disk.block_len() as u64;
        let unit_bytes = (disk.len_bytes() / UNITS_MIN).clamp(block_len, UNIT_BYTES);
        let unit_bytes = unit_bytes / block_len * block_len;
        let used = vec![false; (disk.len_bytes() / unit_bytes) as usize];
        let table = RefCell::new(Table { used, ..Table::default() });
        Self { disk, unit_bytes, table }
    }

    /// The virtual time.
    pub(super) fn now_ns(&self) -> u64 {
        self.disk.now_ns()
    }

    /// The disk's figures; what files hold is occupied.
    pub(super) fn reading(&self) -> Reading {
        let block_len = self.disk.block_len() as u64;
        let table = self.table.borrow();
        let occupied = table.files.values().map(|file| file.len.next_multiple_of(block_len)).sum();
        self.disk.reading(occupied)
    }

    /// Bytes that files are long, all together.
    pub(super) fn file_bytes(&self) -> u64 {
        self.table.borrow().files.values().map(|file| file.len).sum()
    }

    /// Bytes of the disk.
    pub(super) fn len_bytes(&self) -> u64 {
        self.disk.len_bytes()
    }

    /// Bytes that no file has.
    pub(super) fn free_bytes(&self) -> u64 {
        let table = self.table.borrow();
        (table.used.len() as u64 - table.used_count) * self.unit_bytes
    }

    /// A new, empty file called `name`, instead of any of that name.
    pub(super) fn create(&self, name: &str) -> FileId {
        self.remove(name);
        let mut table = self.table.borrow_mut();
        let id = FileId(table.created);
        table.created += 1;
        table.names.insert(name.to_owned(), id);
        table.files.insert(id, File { is_clean: true, ..File::default() });
        id
    }

    /// The file called `name`.
    pub(super) fn find(&self, name: &str) -> Option<FileId> {
        self.table.borrow().names.get(name).copied()
    }

    /// The names of all files, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.table.borrow().names.keys().cloned().collect()
    }

    /// Removes the file called `name`; whether there was one.
    pub(super) fn remove(&self, name: &str) -> bool {
        let table = &mut *self.table.borrow_mut();
        let Some(id) = table.names.remove(name) else {
            return false;
        };
        let file = table.files.remove(&id).expect("a name has a file");
        table.windows.remove(id);
        table.used_count -= file.units.len() as u64;
        file.units.iter().for_each(|&unit| table.used[unit] = false);
        true
    }

    /// Calls the file `from` by the name of `to`, which is gone then; whether there was one.
    pub(super) fn rename(&self, from: &str, to: &str) -> bool {
        let Some(id) = self.find(from) else {
            return false;
        };
        self.remove(to);
        let mut table = self.table.borrow_mut();
        table.names.remove(from);
        table.names.insert(to.to_owned(), id);
        true
    }

    /// Bytes of a file; none if it was removed.
    pub(super) fn len(&self, id: FileId) -> u64 {
        self.table.borrow().files.get(&id).map_or(0, |file| file.len)
    }

    /// Appends `data` to a file.
    ///
    /// # Panics
    /// If the file was removed, or the disk is full.
    pub(super) fn append(&self, id: FileId, data: &[u8]) {
        let table = &mut *self.table.borrow_mut();
        let file = table.files.get_mut(&id).expect("an appended file exists");
        file.len += data.len() as u64;
        file.buffer.extend_from_slice(data);
        file.is_clean &= data.is_empty();
        while (file.units.len() as u64) * self.unit_bytes < file.len {
            let unit =
                free_unit(&table.used, file.units.last().copied()).expect("the disk is full");
            table.used[unit] = true;
            table.used_count += 1;
            file.units.push(unit);
        }
        if file.buffer.len() >= GATHER_BYTES {
            let whole = file.buffer.len() / self.disk.block_len() * self.disk.block_len();
            self.write(file, whole);
        }
    }

    /// Writes what is gathered of a file to the disk, which may still have it in its cache only.
    pub(super) fn write_out(&self, id: FileId) {
        let mut table = self.table.borrow_mut();
        let Some(file) = table.files.get_mut(&id).filter(|file| !file.is_clean) else {
            return;
        };
        let block_len = self.disk.block_len();
        let (len, whole) = (file.buffer.len(), file.buffer.len() / block_len * block_len);
        // The last block is written now and again when it is whole.
        file.buffer.resize(len.next_multiple_of(block_len), 0);
        let rest = file.buffer[whole..].to_vec();
        let all = file.buffer.len();
        self.write(file, all);
        if len > whole {
            file.buffer = rest;
            file.buffer.truncate(len - whole);
            file.buffer_at -= block_len as u64;
            file.recent.truncate(file.recent.len() - block_len);
        }
        file.is_clean = true;
    }

    /// Ends the writing of a file: what is gathered is written, what was written last stays at
    /// hand.
    pub(super) fn close(&self, id: FileId) {
        self.write_out(id);
        let table = &mut *self.table.borrow_mut();
        let Some(file) = table.files.get_mut(&id) else {
            return;
        };
        let bytes: Vec<u8> = std::mem::take(&mut file.recent).into();
        let at = file.buffer_at - bytes.len() as u64;
        table.windows.keep(Window { file: id, at, bytes });
    }

    /// Makes a file durable, and with it all that was written out before.
    pub(super) fn sync(&self, id: FileId) {
        self.write_out(id);
        self.disk.sync();
    }

    /// Reads from `offset` on by a reader that was last at `place`; how many bytes there were.
    ///
    /// # Panics
    /// If the file was removed.
    pub(super) fn read(&self, id: FileId, place: &Place, offset: u64, buf: &mut [u8]) -> usize {
        let table = &mut *self.table.borrow_mut();
        let file = &table.files[&id];
        let end = file.len.min(offset + buf.len() as u64);
        let Some(len) = end.checked_sub(offset).filter(|&len| len > 0) else {
            return 0;
        };
        let buf = &mut buf[..len as usize];
        let way = place.go(offset, end);
        // What is gathered still comes from there, the rest from a window or the disk.
        let stored_end = end.min(file.buffer_at).max(offset);
        let (stored, gathered) = buf.split_at_mut((stored_end - offset) as usize);
        if !gathered.is_empty() {
            let from = (stored_end.max(file.buffer_at) - file.buffer_at) as usize;
            gathered.copy_from_slice(&file.buffer[from..from + gathered.len()]);
        }
        if !stored.is_empty() && (way == Way::None || !table.windows.copy(id, offset, stored)) {
            let (at, bytes) = self.fetch(file, way, offset, stored_end);
            stored.copy_from_slice(&bytes[(offset - at) as usize..][..stored.len()]);
            if matches!(way, Way::Upwards | Way::Downwards) {
                table.windows.keep(Window { file: id, at, bytes });
            }
        }
        len as usize
    }

    /// Reads what a reader that goes `way` wants, with what it will want next; says from where on.
    fn fetch(&self, file: &File, way: Way, from: u64, to: u64) -> (u64, Vec<u8>) {
        let block_len = self.disk.block_len() as u64;
        let (mut start, mut end) = (from / block_len * block_len, to.next_multiple_of(block_len));
        match way {
            Way::Upwards => end = end.max((start + AHEAD_BYTES).min(file.buffer_at)),
            Way::Downwards => start = start.min(end.saturating_sub(AHEAD_BYTES)),
            Way::Unknown | Way::None => (),
        }
        let mut bytes = vec![0; (end - start) as usize];
        for (block, part) in self.parts(file, start, bytes.len()) {
            self.disk.read(block, &mut bytes[part]);
        }
        (start, bytes)
    }

    /// Writes the first `len` bytes of a file's buffer, whole blocks.
    fn write(&self, file: &mut File, len: usize) {
        for (block, part) in self.parts(file, file.buffer_at, len) {
            self.disk.write(block, &file.buffer[part]);
        }
        file.recent.extend(&file.buffer[..len]);
        let old = file.recent.len().saturating_sub(RECENT_BYTES);
        file.recent.drain(..old);
        file.buffer.drain(..len);
        file.buffer_at += len as u64;
    }

    /// Where `len` bytes of a file from `offset` on, whole blocks, lie on the disk: each first
    /// block with the bytes that go there.
    fn parts(&self, file: &File, offset: u64, len: usize) -> Vec<(u64, std::ops::Range<usize>)> {
        let block_len = self.disk.block_len() as u64;
        let mut parts: Vec<(u64, std::ops::Range<usize>)> = Vec::new();
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = at % self.unit_bytes;
            let unit = file.units[(at / self.unit_bytes) as usize] as u64;
            let block = (unit * self.unit_bytes + within) / block_len;
            let next = len.min(done + (self.unit_bytes - within) as usize);
            match parts.last_mut() {
                Some((first, part)) if *first + part.len() as u64 / block_len == block => {
                    part.end = next;
                }
                _ => parts.push((block, done..next)),
            }
            done = next;
        }
        parts
    }
}

impl Windows {
    /// Copies from the window of a file, if it has all that is wanted.
    fn copy(&mut self, id: FileId, offset: u64, out: &mut [u8]) -> bool {
        let Some(index) = self.0.iter().position(|window| window.file == id) else {
            return false;
        };
        let window = &self.0[index];
        let Some(from) = offset.checked_sub(window.at) else {
            return false;
        };
        let Some(bytes) = window.bytes.get(from as usize..from as usize + out.len()) else {
            return false;
        };
        out.copy_from_slice(bytes);
        let window = self.0.remove(index).expect("it was found");
        self.0.push_back(window);
        true
    }

    /// Keeps a window instead of the one its file had.
    fn keep(&mut self, window: Window) {
        self.remove(window.file);
        if self.0.len() == WINDOWS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(window);
    }

    fn remove(&mut self, id: FileId) {
        self.0.retain(|window| window.file != id);
    }
}

/// The unit behind `last` if it is free, else the first that is.
fn free_unit(used: &[bool], last: Option<usize>) -> Option<usize> {
    let behind = last.map(|last| last + 1).filter(|&unit| used.get(unit) == Some(&false));
    behind.or_else(|| used.iter().position(|&used| !used))
}
