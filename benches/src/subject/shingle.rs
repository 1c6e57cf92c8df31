//! This engine on a simulated drive, or on any other device that [hosts](super::host) it.

use std::cell::RefCell;
use std::ops::Bound;

use shingle_engine::{
    Batch, Direction, Durability, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::{Class, Device, Lba, ZoneId};
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Executor};

use super::host::Host;
use super::{Reading, Subject};
use crate::load::KEY_LEN;

/// What a scan is given more than it needs, to read ahead.
const SCAN_AHEAD_BYTES: usize = 4 << 20;

/// A store on a simulated drive, or on another host.
pub struct Shingle<'m, H: Host = Drive> {
    /// The store.
    pub store: Store<'m, &'m H::Device>,
    host: &'m H,
    batch: Vec<u8>,
    scratch: Vec<u8>,
    value: Vec<u8>,
    /// Bytes of the longest value so far.
    value_len_max: usize,
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
    on(&Drive::new(spec.clone(), 1), memory_len, change, run)
}

/// Formats the device of `host` and gives its store to `run`, as [`with_limits`] does.
///
/// # Panics
/// If the memory does not do, or the limits make no sense.
pub fn on<H: Host, T>(
    host: &H,
    memory_len: usize,
    change: impl FnOnce(&mut Limits),
    run: impl FnOnce(&mut Shingle<'_, H>) -> T,
) -> T {
    let device = host.device();
    let mut limits = Limits::for_geometry(&device.geometry());
    change(&mut limits);
    let mut memory = vec![0; memory_len];
    let options = FormatOptions { store_id: [7; 16], limits, redundancy: Redundancy::NONE };
    host.block_on(format(&device, &mut memory, &options)).expect("format");
    let store = host.block_on(Store::open(device, &mut memory)).expect("open");
    run(&mut Shingle {
        store,
        host,
        batch: vec![0; host.batch_len_bytes()],
        scratch: Vec::new(),
        value: Vec::new(),
        value_len_max: 0,
    })
}

impl Shingle<'_> {
    /// Gets keys, `depth` at a time: `next` gives each, and `each` takes the key's number, its
    /// value and the nanoseconds that it took.
    ///
    /// # Panics
    /// If a key is absent.
    pub fn get_together(
        &self,
        depth: usize,
        next: impl FnMut() -> Option<(u64, [u8; KEY_LEN])>,
        each: impl FnMut(u64, &[u8], u64),
    ) {
        let (next, each) = (RefCell::new(next), RefCell::new(each));
        let executor = Executor::new(self.host);
        for _ in 0..depth {
            executor.spawn(self.gets(&next, &each, ReadOptions::default()));
        }
        executor.run();
    }

    /// Puts pairs, each durable before it is answered, by so many `writers` at once: `next` gives
    /// each, and `each` takes the nanoseconds that it took.
    ///
    /// # Panics
    /// If a put fails.
    pub fn put_together(
        &self,
        writers: usize,
        next: impl FnMut() -> Option<([u8; KEY_LEN], Vec<u8>)>,
        each: impl FnMut(u64),
    ) {
        let (next, each) = (RefCell::new(next), RefCell::new(each));
        let next = |_| (next.borrow_mut())();
        let executor = Executor::new(self.host);
        for writer in 0..writers {
            executor.spawn(self.puts(writer, &next, &each, WriteOptions::DURABLE));
        }
        executor.run();
    }

    /// As [`get_together`](Self::get_together), one at a time and as urgent as there is, while
    /// `writers` put pairs without a pause: `put` gives writer number so and so its next one, and
    /// is asked again when that is in the store.
    ///
    /// # Panics
    /// If a key is absent, or a put fails.
    pub fn get_beside_puts(
        &self,
        writers: usize,
        next: impl FnMut() -> Option<(u64, [u8; KEY_LEN])>,
        each: impl FnMut(u64, &[u8], u64),
        put: &impl Fn(usize) -> Option<([u8; KEY_LEN], Vec<u8>)>,
    ) {
        let (next, each, put_each) =
            (RefCell::new(next), RefCell::new(each), RefCell::new(|_: u64| {}));
        let executor = Executor::new(self.host);
        let urgent = ReadOptions { class: Class::Urgent, ..ReadOptions::default() };
        executor.spawn(self.gets(&next, &each, urgent));
        for writer in 0..writers {
            executor.spawn(self.puts(writer, put, &put_each, WriteOptions::BUFFERED));
        }
        executor.run();
    }

    async fn gets(
        &self,
        next: &RefCell<impl FnMut() -> Option<(u64, [u8; KEY_LEN])>>,
        each: &RefCell<impl FnMut(u64, &[u8], u64)>,
        options: ReadOptions<'_>,
    ) {
        let mut value = vec![0; self.store.read_room(self.value_len_max as u64) as usize];
        loop {
            let Some((index, key)) = (next.borrow_mut())() else { break };
            let began = self.host.now_ns();
            let found = self.store.get(&key, &mut value, options).await;
            let found = found.expect("get").expect("the key is there");
            let took_ns = self.host.now_ns() - began;
            (each.borrow_mut())(index, &value[..found.value_len as usize], took_ns);
        }
    }

    async fn puts(
        &self,
        writer: usize,
        next: &impl Fn(usize) -> Option<([u8; KEY_LEN], Vec<u8>)>,
        each: &RefCell<impl FnMut(u64)>,
        options: WriteOptions<'_>,
    ) {
        while let Some((key, value)) = next(writer) {
            let began = self.host.now_ns();
            let put = self.store.put(&key, Meta::NONE, &value, options);
            put.await.expect("put");
            (each.borrow_mut())(self.host.now_ns() - began);
        }
    }

    /// The keys from `from` on upwards, `count` at most, with the places of their values; no value
    /// is read.
    ///
    /// # Panics
    /// If the scan fails.
    pub fn keys(&mut self, from: &[u8], count: usize) -> Vec<([u8; KEY_LEN], Option<Lba>)> {
        self.scratch.resize(self.store.scan_memory_len() + SCAN_AHEAD_BYTES, 0);
        let mut keys = Vec::with_capacity(count);
        self.host.block_on(async {
            let (start, end, options) =
                (Bound::Included(from), Bound::Unbounded, ReadOptions::default());
            let scan =
                self.store.scan(start, end, Direction::Forward, &mut self.scratch, options).await;
            let mut scan = scan.expect("scan");
            while keys.len() < count
                && let Some(item) = scan.next().await.expect("next")
            {
                keys.push((item.key.try_into().expect("every key has this length"), item.lba));
            }
        });
        keys
    }

    /// Brings everything into one run and the least space.
    ///
    /// # Panics
    /// If it fails.
    pub fn compact(&self) {
        self.host.block_on(self.store.compact()).expect("compact");
    }

    /// Reads that it takes to open the store again with so much memory, as it stands now.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn mount_reads(&self, memory_len: usize) -> u64 {
        let copy = self.host.fork();
        let mut memory = vec![0; memory_len];
        let store = copy.block_on(Store::open(&copy, &mut memory)).expect("open");
        store.media_stats().reads
    }

    /// The drive below.
    #[must_use]
    pub fn drive(&self) -> &Drive {
        self.host
    }
}

impl<H: Host> Subject for Shingle<'_, H> {
    fn name(&self) -> &str {
        self.host.name()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.value_len_max = self.value_len_max.max(value.len());
        let put = self.store.put(key, Meta::NONE, value, WriteOptions::BUFFERED);
        self.host.block_on(put).expect("put");
    }

    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        let longest = pairs.iter().map(|(_, value)| value.len()).max();
        self.value_len_max = self.value_len_max.max(longest.unwrap_or(0));
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
            self.host.block_on(self.store.write(&batch, Durability::Buffered)).expect("write");
            left = &left[taken..];
        }
    }

    fn delete(&mut self, key: &[u8]) {
        self.host.block_on(self.store.delete(key, WriteOptions::BUFFERED)).expect("delete");
    }

    fn sync(&mut self) {
        self.host.block_on(self.store.sync()).expect("sync");
    }

    fn settle(&mut self) {
        const STEPS_MAX: u32 = 1 << 20;
        self.host.block_on(self.store.maintain(STEPS_MAX)).expect("maintain");
    }

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        // The room is more than the value, and would be cleared for each get.
        let room = self.store.read_room(self.value_len_max as u64) as usize;
        if self.value.len() < room {
            self.value.resize(room, 0);
        }
        let get = self.store.get(key, &mut self.value, ReadOptions::default());
        let found = self.host.block_on(get).expect("get");
        let len = found.map_or(0, |found| found.value_len as usize);
        out.clear();
        out.extend_from_slice(&self.value[..len]);
        found.is_some()
    }

    fn scan(
        &mut self,
        from: &[u8],
        is_reverse: bool,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        self.scratch.resize(self.store.scan_memory_len() + SCAN_AHEAD_BYTES, 0);
        let (start, end, direction) = if is_reverse {
            (Bound::Unbounded, Bound::Included(from), Direction::Reverse)
        } else {
            (Bound::Included(from), Bound::Unbounded, Direction::Forward)
        };
        self.host.block_on(async {
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
                let len = item.value_len as usize;
                let room = self.store.read_room(len as u64) as usize;
                if self.value.len() < room {
                    self.value.resize(room, 0);
                }
                scan.value(0, &mut self.value).await.expect("value");
                each(&key, &self.value[..len]);
            }
            Some(count)
        })
    }

    fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }

    fn reading(&self) -> Reading {
        let media = self.store.media_stats();
        let geometry = self.host.device().geometry();
        let block_len = u64::from(geometry.block_len_bytes);
        let occupied = (0..geometry.zone_count)
            .filter_map(|zone| self.store.zone_use(ZoneId(zone)))
            .filter(|usage| usage.generation > 0)
            .map(|usage| u64::from(usage.capacity_blocks) * block_len)
            .sum();
        Reading {
            now_ns: self.host.now_ns(),
            reads: media.reads,
            read_bytes: media.read_bytes,
            written_bytes: media.written_bytes,
            occupied_bytes: occupied,
        }
    }
}
