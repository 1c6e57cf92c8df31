//! fjall on the file system: an LSM tree with threads of its own for flushes and merges.
//!
//! A third of the memory is its write buffer, the rest its cache. Compression is not built in, all
//! filters have 10 bits a key, and batches stay in the process until a sync, or until its journal's
//! buffer is full: what a power cut leaves of them is what it leaves of the engine's.

use std::path::Path;
use std::thread;
use std::time::Duration;

use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::folder::Folder;
use super::{Reading, Subject};

/// The least that its journals may be limited to.
const JOURNALS_LEN_MAX: u64 = 64 << 20;

/// A fjall.
pub struct Fjall {
    name: &'static str,
    database: Database,
    values: Keyspace,
    folder: Folder,
}

impl Fjall {
    /// fjall in the folder at `path`, with `memory_len` bytes of write buffer and cache together.
    /// With `values_apart`, values of 1 KiB and more lie in files of their own.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(path: &Path, memory_len: usize, values_apart: bool) -> Self {
        let buffer_len = memory_len as u64 / 3;
        let builder = Database::builder(path)
            .cache_size(memory_len as u64 - buffer_len)
            .max_journaling_size(JOURNALS_LEN_MAX)
            .manual_journal_persist(true);
        let database = builder.open().expect("open");
        let options = || {
            let filter = BloomConstructionPolicy::BitsPerKey(10.0);
            KeyspaceCreateOptions::default()
                .max_memtable_size(buffer_len)
                .manual_journal_persist(true)
                .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(filter)))
                .with_kv_separation(values_apart.then(KvSeparationOptions::default))
        };
        let values = database.keyspace("values", options).expect("a keyspace");
        let name = if values_apart { "fjall, values apart" } else { "fjall" };
        Self { name, database, values, folder: Folder::new(path) }
    }

    fn is_busy(&self) -> bool {
        self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0
    }
}

impl Subject for Fjall {
    fn name(&self) -> &str {
        self.name
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.values.insert(key, value).expect("put");
    }

    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        let mut batch = self.database.batch();
        for (key, value) in pairs {
            batch.insert(&self.values, *key, *value);
        }
        batch.commit().expect("commit");
    }

    fn delete(&mut self, key: &[u8]) {
        self.values.remove(key).expect("delete");
    }

    fn sync(&mut self) {
        self.database.persist(PersistMode::SyncData).expect("sync");
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
        let found = self.values.get(key).expect("get");
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
        let mut given = 0;
        let mut give = |guard: Guard| {
            let (key, value) = guard.into_inner().expect("next");
            each(&key, &value);
            given += 1;
        };
        if is_reverse {
            self.values.range(..=from).rev().take(count).for_each(&mut give);
        } else {
            self.values.range(from..).take(count).for_each(&mut give);
        }
        Some(given)
    }

    fn now_ns(&self) -> u64 {
        self.folder.now_ns()
    }

    fn reading(&self) -> Reading {
        self.folder.reading()
    }
}
