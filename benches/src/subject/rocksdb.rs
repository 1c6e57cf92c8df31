//! RocksDB on the file system: an LSM tree with threads of its own for flushes and merges.
//!
//! A third of the memory is its write buffer, the rest its cache; files of a buffer's length, and
//! four of them in the first level, suit so little. No compression, filters of 10 bits a key.
//! Batches stay in the process until a sync, or until the log's buffer is full: what a power cut
//! leaves of them is what it leaves of the engine's.

use std::path::Path;
use std::thread;
use std::time::Duration;

use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteBatch};

use super::folder::Folder;
use super::{Reading, Subject};

/// Values of so many bytes and more are kept apart, where any are: as fjall does.
const APART_FROM_BYTES: u64 = 1 << 10;

/// A RocksDB.
pub struct RocksDb {
    name: &'static str,
    database: DB,
    folder: Folder,
}

impl RocksDb {
    /// RocksDB in the folder at `path`, with `memory_len` bytes of write buffer and cache together.
    /// With `values_apart`, values of 1 KiB and more lie in files of their own.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(path: &Path, memory_len: usize, values_apart: bool) -> Self {
        let buffer_len = memory_len / 3;
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(memory_len - buffer_len));
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(buffer_len);
        options.set_target_file_size_base(buffer_len as u64);
        options.set_max_bytes_for_level_base(4 * buffer_len as u64);
        options.set_manual_wal_flush(true);
        options.set_enable_blob_files(values_apart);
        options.set_enable_blob_gc(values_apart);
        options.set_min_blob_size(APART_FROM_BYTES);
        let database = DB::open(&options, path).expect("open");
        let name = if values_apart { "rocksdb, values apart" } else { "rocksdb" };
        Self { name, database, folder: Folder::new(path) }
    }

    fn is_busy(&self) -> bool {
        let counts = [
            "rocksdb.mem-table-flush-pending",
            "rocksdb.num-running-flushes",
            "rocksdb.compaction-pending",
            "rocksdb.num-running-compactions",
        ];
        counts.iter().any(|count| self.database.property_int_value(*count) != Ok(Some(0)))
    }
}

impl Subject for RocksDb {
    fn name(&self) -> &str {
        self.name
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.database.put(key, value).expect("put");
    }

    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        self.database.write(batch).expect("write");
    }

    fn delete(&mut self, key: &[u8]) {
        self.database.delete(key).expect("delete");
    }

    fn sync(&mut self) {
        self.database.flush_wal(true).expect("sync");
    }

    fn settle(&mut self) {
        // One piece of work may bring the next: it must have been quiet for a while.
        let mut quiet = 0;
        while quiet < 10 {
            thread::sleep(Duration::from_millis(1));
            quiet = if self.is_busy() { 0 } else { quiet + 1 };
        }
    }

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        let found = self.database.get_pinned(key).expect("get");
        out.clear();
        if let Some(value) = &found {
            out.extend_from_slice(value);
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
        let mut entries = self.database.raw_iterator();
        if is_reverse {
            entries.seek_for_prev(from);
        } else {
            entries.seek(from);
        }
        let mut given = 0;
        while given < count
            && let Some((key, value)) = entries.item()
        {
            each(key, value);
            given += 1;
            if is_reverse {
                entries.prev();
            } else {
                entries.next();
            }
        }
        entries.status().expect("next");
        Some(given)
    }

    fn now_ns(&self) -> u64 {
        self.folder.now_ns()
    }

    fn reading(&self) -> Reading {
        self.folder.reading()
    }
}
