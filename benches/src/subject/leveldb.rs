//! LevelDB on a simulated conventional disk: as it comes, and as Kinetic drives had it.
//!
//! The engine is the crate `rusty-leveldb`, a port of LevelDB, on `Extents`: what a file system
//! and a kernel's cache cost and save is said there. The port works on one thread, so a put that
//! fills the write buffer waits for what the original does beside it; on a disk that is busy with
//! compaction anyway the throughput is the same, the longest wait is not.
//!
//! Where the port, version 4.0.2, is not what LevelDB is, this file makes up for it:
//! - It compacts once each time it writes out its buffer, which is too little for tables of 2 MiB:
//!   level 1 would grow without limit. Tables are as long as the write buffer, with which it writes
//!   about as much as the original. On a deep tree it still falls behind while it is filled: there
//!   are then more tables to look into, and less was written, than there would be.
//! - It counts more than a hundred bytes of its own with each entry of the write buffer, ninety
//!   more than the original: the buffer is made longer by so much.
//! - Its block cache counts blocks and takes none to be longer than the block size: it is told the
//!   length of values, so that it stays within its memory.
//! - A get that meets another key's tombstone, after its filter said yes in vain, ends there. Keys
//!   that are in the store are known here, and such a one is looked up by an iterator.
//! - Its iterators lose keys when they turn back near a level's end. A reverse range is read
//!   forward, from the key where it is known to end.
//!
//! Filters and indexes of open tables are not charged to the memory, as LevelDB does not: an
//! advantage over who must pay for them.

mod env;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::rc::Rc;

use rusty_leveldb::infolog::Logger;
use rusty_leveldb::{BloomPolicy, CompressorId, DB, LdbIterator, Options, WriteBatch, compressor};
use shingle_sim::media::MediaSpec;

use self::env::DiskEnv;
use self::values::{POINTER_LEN, Pointer, ValueFiles};
use super::extents::Extents;
use super::{Reading, Subject};
use crate::load::KEY_LEN;

/// Bits of the filters for each key.
const FILTER_BITS: u32 = 10;
/// What the port counts with each entry of the write buffer, and what LevelDB would.
const ENTRY_BYTES: (usize, usize) = (107, 20);
/// Bytes of a key with its sequence number and lengths.
const KEY_BYTES: usize = KEY_LEN + 12;
/// Tables that may be open at once, with index and filter in memory: LevelDB's default.
const TABLES_OPEN_MAX: usize = 1000;
/// Bytes of a block in LevelDB.
const BLOCK_BYTES: usize = 4 << 10;
/// Bytes of a block in a Kinetic drive.
const KINETIC_BLOCK_BYTES: usize = 256 << 10;
/// Largest write buffer of a Kinetic drive.
const KINETIC_BUFFER_BYTES: usize = 64 << 20;
/// A Kinetic drive keeps values of this length apart.
const APART_BYTES: usize = 8 << 10;
/// What stands before a value in a store with values apart.
const INLINE: u8 = 0;
/// What stands before a pointer.
const APART: u8 = 1;

/// How LevelDB is told to use its memory.
struct Memory {
    buffer_bytes: usize,
    /// Bytes of a block as its options say, and how many the cache holds.
    block_bytes: usize,
    cache_blocks: usize,
    /// Bytes of what stands for a value in LevelDB.
    entry_len: usize,
}

impl Memory {
    /// The write buffer as the port counts: see the [module](self).
    fn counted_bytes(&self) -> usize {
        let entry_bytes = KEY_BYTES + self.entry_len;
        let (port, original) = ENTRY_BYTES;
        self.buffer_bytes * (entry_bytes + port) / (entry_bytes + original)
    }
}

/// A LevelDB.
pub struct LevelDb {
    name: &'static str,
    db: DB,
    extents: Rc<Extents>,
    /// The keys that there are, and where values apart are: see the [module](self).
    keys: BTreeMap<Box<[u8]>, Option<Pointer>>,
    values: Option<ValueFiles>,
}

impl LevelDb {
    /// LevelDB as it comes, on a new disk of model `spec`: a third of `memory_len` bytes is its
    /// write buffer, the rest its block cache. Values are up to `value_len` bytes long.
    ///
    /// # Panics
    /// If that is no conventional disk.
    #[must_use]
    pub fn plain(spec: &MediaSpec, memory_len: usize, value_len: usize) -> Self {
        let buffer_bytes = memory_len / 3;
        let cache_blocks = (memory_len - buffer_bytes) / value_len.max(BLOCK_BYTES);
        let (block_bytes, entry_len) = (BLOCK_BYTES, value_len);
        let memory = Memory { buffer_bytes, block_bytes, cache_blocks, entry_len };
        Self::open("leveldb", spec, &memory)
    }

    /// LevelDB as Kinetic drives had it, on a new disk of model `spec`: values of 8 KiB and more
    /// apart, long blocks, and half of `memory_len` bytes as a write buffer as far as the drives'
    /// own went. Values are up to `value_len` bytes long.
    ///
    /// # Panics
    /// If that is no conventional disk.
    #[must_use]
    pub fn kinetic(spec: &MediaSpec, memory_len: usize, value_len: usize) -> Self {
        let buffer_bytes = (memory_len / 2).min(KINETIC_BUFFER_BYTES);
        let cache_blocks = (memory_len - buffer_bytes) / KINETIC_BLOCK_BYTES;
        let entry_len = if value_len < APART_BYTES { value_len } else { POINTER_LEN };
        let block_bytes = KINETIC_BLOCK_BYTES;
        let memory = Memory { buffer_bytes, block_bytes, cache_blocks, entry_len };
        let mut subject = Self::open("kinetic", spec, &memory);
        subject.values = Some(ValueFiles::new(subject.extents.clone()));
        subject
    }

    fn open(name: &'static str, spec: &MediaSpec, memory: &Memory) -> Self {
        let extents = Rc::new(Extents::new(spec));
        let options = Options {
            env: Rc::new(Box::new(DiskEnv::new(extents.clone()))),
            log: Some(Rc::new(RefCell::new(Logger(Box::new(io::sink()))))),
            write_buffer_size: memory.counted_bytes(),
            max_open_files: TABLES_OPEN_MAX,
            max_file_size: memory.buffer_bytes,
            block_cache_capacity_bytes: memory.cache_blocks.max(1) * memory.block_bytes,
            block_size: memory.block_bytes,
            compressor: compressor::NoneCompressor::ID,
            filter_policy: Rc::new(Box::new(BloomPolicy::new(FILTER_BITS))),
            ..Options::default()
        };
        let db = DB::open("db", options).expect("open");
        Self { name, db, extents, keys: BTreeMap::new(), values: None }
    }

    /// Adds a put to `batch`.
    fn add(&mut self, batch: &mut WriteBatch, key: &[u8], value: &[u8]) {
        let mut pointer = None;
        match &mut self.values {
            None => batch.put(key, value),
            Some(values) if value.len() >= APART_BYTES => {
                let at = values.append(key, value);
                batch.put(key, &[&[APART], &at.encode()[..]].concat());
                pointer = Some(at);
            }
            Some(_) => batch.put(key, &[&[INLINE], value].concat()),
        }
        let old = self.keys.insert(key.into(), pointer);
        self.kill(old);
    }

    /// What a key had is dead.
    fn kill(&mut self, old: Option<Option<Pointer>>) {
        if let (Some(values), Some(Some(pointer))) = (&mut self.values, old) {
            values.kill(pointer);
        }
    }

    fn write(&mut self, batch: WriteBatch) {
        self.db.write(batch, false).expect("write");
        self.make_room();
    }

    /// Empties value files until there is room again.
    fn make_room(&mut self) {
        while let Some((number, entries)) = self.values.as_mut().and_then(ValueFiles::victim) {
            self.sync();
            let mut value = Vec::new();
            for (key, pointer) in entries {
                if self.keys.get(&key) != Some(&Some(pointer)) {
                    continue;
                }
                let values = self.values.as_ref().expect("there is a victim among them");
                values.read(pointer, &mut value);
                let mut batch = WriteBatch::default();
                self.add(&mut batch, &key, &value);
                self.db.write(batch, false).expect("write");
            }
            assert!(!self.values.as_ref().is_some_and(|values| values.holds(number)));
        }
    }

    /// The value that LevelDB has in `stored`, in `out`.
    fn resolve(&self, stored: &[u8], out: &mut Vec<u8>) {
        out.clear();
        match &self.values {
            None => out.extend_from_slice(stored),
            Some(values) if stored[0] == APART => values.read(Pointer::decode(&stored[1..]), out),
            Some(_) => out.extend_from_slice(&stored[1..]),
        }
    }

    /// Gives what LevelDB has from `from` on until `each` says no.
    fn walk(&mut self, from: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let mut iterator = self.db.new_iter().expect("iterate");
        iterator.seek(from);
        while let Some((key, stored)) = iterator.current() {
            if !each(&key, &stored) {
                return;
            }
            iterator.advance();
        }
    }

    /// Up to `count` keys with what LevelDB has for them, from `from` on or before it.
    fn range(&mut self, from: &[u8], is_reverse: bool, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let upto = (Bound::Unbounded, Bound::Included(from));
        let first = match is_reverse {
            false => from.to_vec(),
            true => match self.keys.range::<[u8], _>(upto).rev().take(count).last() {
                Some((key, _)) => key.to_vec(),
                None => return found,
            },
        };
        self.walk(&first, &mut |key, stored| {
            let is_wanted = found.len() < count && (!is_reverse || key <= from);
            if is_wanted {
                found.push((key.to_vec(), stored.to_vec()));
            }
            is_wanted && found.len() < count
        });
        if is_reverse {
            found.reverse();
        }
        found
    }
}

impl Subject for LevelDb {
    fn name(&self) -> &str {
        self.name
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.put_batch(&[(key, value)]);
    }

    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            self.add(&mut batch, key, value);
        }
        self.write(batch);
    }

    fn delete(&mut self, key: &[u8]) {
        let old = self.keys.remove(key);
        self.kill(old);
        let mut batch = WriteBatch::default();
        batch.delete(key);
        self.write(batch);
    }

    fn sync(&mut self) {
        if let Some(values) = &self.values {
            values.write_out();
        }
        self.db.flush().expect("sync");
    }

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        let mut stored = self.db.get(key).map(|stored| stored.to_vec());
        if stored.is_none() && self.keys.contains_key(key) {
            stored = self.range(key, false, 1).pop().map(|(_, stored)| stored);
        }
        let Some(stored) = stored else {
            return false;
        };
        self.resolve(&stored, out);
        true
    }

    fn scan(
        &mut self,
        from: &[u8],
        is_reverse: bool,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        let mut value = Vec::new();
        let found = self.range(from, is_reverse, count);
        for (key, stored) in &found {
            self.resolve(stored, &mut value);
            each(key, &value);
        }
        Some(found.len())
    }

    fn now_ns(&self) -> u64 {
        self.extents.now_ns()
    }

    fn reading(&self) -> Reading {
        self.extents.reading()
    }
}
