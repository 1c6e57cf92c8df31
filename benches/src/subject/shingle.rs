//! This engine on a simulated drive.

use std::ops::Bound;

use shingle_engine::{
    Batch, Direction, Durability, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::{Device, ZoneId};
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;

use super::{Reading, Subject};

/// A store on a simulated drive.
pub struct Shingle<'m> {
    /// The store.
    pub store: Store<'m, &'m Drive>,
    drive: &'m Drive,
    batch: Vec<u8>,
    scratch: Vec<u8>,
    value: Vec<u8>,
}

/// Formats a drive of model `spec` and gives its store, with `memory_len` bytes, to `run`.
///
/// # Panics
/// If the memory does not do.
pub fn with<T>(spec: &MediaSpec, memory_len: usize, run: impl FnOnce(&mut Shingle<'_>) -> T) -> T {
    with_limits(spec, memory_len, |_| {}, run)
}

/// As [`with`], with limits other than the usual ones.
///
/// # Panics
/// If the memory does not do, or the limits make no sense.
pub fn with_limits<T>(
    spec: &MediaSpec,
    memory_len: usize,
    change: impl FnOnce(&mut Limits),
    run: impl FnOnce(&mut Shingle<'_>) -> T,
) -> T {
    let drive = Drive::new(spec.clone(), 1);
    let mut limits = Limits::for_geometry(&drive.geometry());
    change(&mut limits);
    let mut memory = vec![0; memory_len];
    let options = FormatOptions { store_id: [7; 16], limits, redundancy: Redundancy::NONE };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    run(&mut Shingle {
        store,
        drive: &drive,
        batch: vec![0; 256 << 10],
        scratch: Vec::new(),
        value: Vec::new(),
    })
}

impl Shingle<'_> {
    /// The drive below.
    #[must_use]
    pub fn drive(&self) -> &Drive {
        self.drive
    }
}

impl Subject for Shingle<'_> {
    fn name(&self) -> &str {
        "shingle"
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let put = self.store.put(key, Meta::NONE, value, WriteOptions::BUFFERED);
        self.drive.block_on(put).expect("put");
    }

    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        let mut left = pairs;
        while !left.is_empty() {
            let mut batch = Batch::new(&mut self.batch);
            let mut taken = 0;
            for (key, value) in left {
                if batch.put(key, Meta::NONE, value, Default::default()).is_err() {
                    break;
                }
                taken += 1;
            }
            assert!(taken > 0, "a value is longer than the batch's memory");
            self.drive.block_on(self.store.write(&batch, Durability::Buffered)).expect("write");
            left = &left[taken..];
        }
    }

    fn delete(&mut self, key: &[u8]) {
        self.drive.block_on(self.store.delete(key, WriteOptions::BUFFERED)).expect("delete");
    }

    fn sync(&mut self) {
        self.drive.block_on(self.store.sync()).expect("sync");
    }

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        out.resize(out.capacity(), 0);
        let found = self.drive.block_on(self.store.get(key, out, ReadOptions::default()));
        let found = found.expect("get");
        out.truncate(found.map_or(0, |found| found.value_len as usize));
        found.is_some()
    }

    fn scan(
        &mut self,
        from: &[u8],
        is_reverse: bool,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        self.scratch.resize(self.store.scan_memory_len(), 0);
        let (start, end, direction) = if is_reverse {
            (Bound::Unbounded, Bound::Included(from), Direction::Reverse)
        } else {
            (Bound::Included(from), Bound::Unbounded, Direction::Forward)
        };
        self.drive.block_on(async {
            let options = ReadOptions::default();
            let scan = self.store.scan(start, end, direction, &mut self.scratch, options).await;
            let mut scan = scan.expect("scan");
            let mut key = Vec::new();
            for given in 0..count {
                let Some(item) = scan.next().await.expect("next") else {
                    return Some(given);
                };
                key.clear();
                key.extend_from_slice(item.key);
                self.value.resize(item.value_len as usize, 0);
                scan.value(0, &mut self.value).await.expect("value");
                each(&key, &self.value);
            }
            Some(count)
        })
    }

    fn reading(&self) -> Reading {
        let media = self.store.media_stats();
        let geometry = self.drive.geometry();
        let block_len = u64::from(geometry.block_len_bytes);
        let occupied = (0..geometry.zone_count)
            .filter_map(|zone| self.store.zone_use(ZoneId(zone)))
            .filter(|usage| usage.generation > 0)
            .map(|usage| u64::from(usage.capacity_blocks) * block_len)
            .sum();
        Reading {
            now_ns: self.drive.now_ns(),
            reads: media.reads,
            read_bytes: media.read_bytes,
            written_bytes: media.written_bytes,
            occupied_bytes: occupied,
        }
    }
}
