//! redb on a simulated conventional disk, its file laid over the disk from the first block on; or
//! in a file of the file system.
//!
//! On the disk, what redb writes is kept back for up to `KEPT_BLOCKS_MAX` blocks, so that
//! neighbours go in one request; a block of which it writes a part is read first. Its cache is the
//! memory it is given. A batch is one transaction that redb need not make durable; a sync is one
//! more that it must.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use redb::{
    Builder, Database, Durability, ReadableDatabase, StorageBackend, Table, TableDefinition,
};
use send_wrapper::SendWrapper;
use shingle_sim::media::MediaSpec;

use super::disk::Disk;
#[cfg(target_os = "linux")]
use super::folder::Folder;
use super::{Reading, Subject};

/// Blocks that are kept back before they are written: 256 KiB.
const KEPT_BLOCKS_MAX: usize = 64;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("values");

/// A file that is all of a disk.
struct DiskFile {
    disk: Disk,
    len: Cell<u64>,
    kept: RefCell<BTreeMap<u64, Vec<u8>>>,
    /// Which blocks were written since they are part of the file; others read as zeros.
    written: RefCell<Vec<bool>>,
}

impl DiskFile {
    /// Fills `block` with what the block `number` holds.
    fn read_block(&self, number: u64, block: &mut [u8]) {
        match self.kept.borrow().get(&number) {
            Some(kept) => block.copy_from_slice(kept),
            None if self.is_written(number) => self.disk.read(number, block),
            None => block.fill(0),
        }
    }

    fn is_written(&self, number: u64) -> bool {
        self.written.borrow().get(number as usize) == Some(&true)
    }

    /// Whether a block is as the disk has it.
    fn is_on_disk(&self, number: u64) -> bool {
        self.is_written(number) && !self.kept.borrow().contains_key(&number)
    }

    fn read(&self, offset: u64, out: &mut [u8]) {
        let block_len = self.disk.block_len() as u64;
        let end = offset + out.len() as u64;
        let (first, last) = (offset / block_len, end.div_ceil(block_len));
        let mut bytes = vec![0; ((last - first) * block_len) as usize];
        if (first..last).all(|number| self.is_on_disk(number)) {
            self.disk.read(first, &mut bytes);
        } else {
            let blocks = bytes.chunks_exact_mut(block_len as usize);
            (first..).zip(blocks).for_each(|(number, block)| self.read_block(number, block));
        }
        let skip = (offset - first * block_len) as usize;
        out.copy_from_slice(&bytes[skip..skip + out.len()]);
    }

    fn set_len(&self, len: u64) {
        assert!(len <= self.disk.len_bytes(), "the disk is full");
        let blocks = len.div_ceil(self.disk.block_len() as u64);
        drop(self.kept.borrow_mut().split_off(&blocks));
        self.written.borrow_mut().resize(blocks as usize, false);
        self.len.set(len);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let block_len = self.disk.block_len();
        let (mut at, mut left) = (offset, data);
        while !left.is_empty() {
            let (number, skip) = (at / block_len as u64, (at % block_len as u64) as usize);
            let (part, rest) = left.split_at(left.len().min(block_len - skip));
            let mut block = vec![0; block_len];
            if part.len() < block_len {
                self.read_block(number, &mut block);
            }
            block[skip..skip + part.len()].copy_from_slice(part);
            self.kept.borrow_mut().insert(number, block);
            self.written.borrow_mut()[number as usize] = true;
            at += part.len() as u64;
            left = rest;
        }
        if self.kept.borrow().len() > KEPT_BLOCKS_MAX {
            self.write_kept();
        }
    }

    /// Writes what was kept back, neighbours at once.
    fn write_kept(&self) {
        let kept = std::mem::take(&mut *self.kept.borrow_mut());
        let (mut first, mut next, mut row) = (0, 0, Vec::new());
        for (number, block) in kept {
            if number != next && !row.is_empty() {
                self.disk.write(first, &row);
                row.clear();
            }
            if row.is_empty() {
                first = number;
            }
            row.extend_from_slice(&block);
            next = number + 1;
        }
        self.disk.write(first, &row);
    }
}

/// redb asks for what other threads may have; here there is one.
struct Backend(SendWrapper<Rc<DiskFile>>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("len", &self.0.len.get()).finish()
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.len.get())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.write_kept();
        self.0.disk.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data);
        Ok(())
    }
}

/// Where the file is.
enum Place {
    Disk(Rc<DiskFile>),
    #[cfg(target_os = "linux")]
    Folder(Folder),
}

/// A redb.
pub struct Redb {
    database: Database,
    place: Place,
}

impl Redb {
    /// redb on a new disk of model `spec`, with `memory_len` bytes of cache.
    ///
    /// # Panics
    /// If that is no conventional disk.
    #[must_use]
    pub fn new(spec: &MediaSpec, memory_len: usize) -> Self {
        let (disk, len) = (Disk::new(spec), Cell::new(0));
        let (kept, written) = (RefCell::default(), RefCell::default());
        let file = Rc::new(DiskFile { disk, len, kept, written });
        let backend = Backend(SendWrapper::new(file.clone()));
        let database = Builder::new().set_cache_size(memory_len).create_with_backend(backend);
        Self::of(database.expect("create"), Place::Disk(file))
    }

    /// redb in a file in the folder at `path`, with `memory_len` bytes of cache.
    ///
    /// # Panics
    /// If it cannot be made.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn in_folder(path: &std::path::Path, memory_len: usize) -> Self {
        let database = Builder::new().set_cache_size(memory_len).create(path.join("values.redb"));
        Self::of(database.expect("create"), Place::Folder(Folder::new(path)))
    }

    fn of(database: Database, place: Place) -> Self {
        let subject = Self { database, place };
        // The table is there before anything is read.
        subject.write(Durability::Immediate, |_| ());
        subject
    }

    fn write(&self, durability: Durability, change: impl FnOnce(&mut Table<'_, &[u8], &[u8]>)) {
        let mut transaction = self.database.begin_write().expect("begin");
        transaction.set_durability(durability).expect("no savepoints");
        change(&mut transaction.open_table(TABLE).expect("table"));
        transaction.commit().expect("commit");
    }
}

impl Subject for Redb {
    fn name(&self) -> &str {
        "redb"
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.put_batch(&[(key, value)]);
    }

    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        self.write(Durability::None, |table| {
            for (key, value) in pairs {
                table.insert(*key, *value).expect("put");
            }
        });
    }

    fn delete(&mut self, key: &[u8]) {
        self.write(Durability::None, |table| {
            table.remove(key).expect("delete");
        });
    }

    fn sync(&mut self) {
        self.write(Durability::Immediate, |_| ());
    }

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        let transaction = self.database.begin_read().expect("begin");
        let table = transaction.open_table(TABLE).expect("table");
        out.clear();
        let found = table.get(key).expect("get");
        if let Some(value) = &found {
            out.extend_from_slice(value.value());
        }
        found.is_some()
    }

    fn scan(
        &mut self,
        from: &[u8],
        is_reverse: bool,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        let transaction = self.database.begin_read().expect("begin");
        let table = transaction.open_table(TABLE).expect("table");
        let mut range = if is_reverse {
            table.range::<&[u8]>(..=from).expect("range")
        } else {
            table.range::<&[u8]>(from..).expect("range")
        };
        for given in 0..count {
            let next = if is_reverse { range.next_back() } else { range.next() };
            let Some(entry) = next else {
                return Some(given);
            };
            let (key, value) = entry.expect("next");
            each(key.value(), value.value());
        }
        Some(count)
    }

    fn now_ns(&self) -> u64 {
        match &self.place {
            Place::Disk(file) => file.disk.now_ns(),
            #[cfg(target_os = "linux")]
            Place::Folder(folder) => folder.now_ns(),
        }
    }

    fn reading(&self) -> Reading {
        match &self.place {
            Place::Disk(file) => file.disk.reading(file.len.get()),
            #[cfg(target_os = "linux")]
            Place::Folder(folder) => folder.reading(),
        }
    }
}
