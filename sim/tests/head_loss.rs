//! A head dies under load: what it costs, what is lost, how soon that is known, and what it takes
//! to restore against a rebuild of the whole drive.
//!
//! In continuous integration on a small drive; `SHINGLE_HEAD_LOSS=full` takes one of two terabytes.
//! Of each value the first and the last bytes are compared (it lies in two zones at most), of some
//! all. Figures are virtual time and counts.

use std::collections::BTreeSet;
use std::ops::Bound;

use shingle_engine::{
    Direction, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::fault::FaultPlan;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Outcome, synthetic};

const VALUE_LEN: usize = 1 << 20;
/// Bytes compared at each end of a value.
const END_LEN: usize = 512;
/// The element that dies.
const ELEMENT: u16 = 5;
/// Seconds within which the list of lost keys is to be there.
const LIST_SECONDS_MAX: f64 = 60.0;

struct Size {
    media: &'static str,
    memory_len: usize,
    /// Operations before and after the head dies.
    ops: u64,
    /// Values of which every byte is compared.
    whole: u64,
}

const SMALL: Size =
    Size { media: "smr-14tb:zones=640,zone-mib=4", memory_len: 16 << 20, ops: 400, whole: 200 };
const FULL: Size =
    Size { media: "smr-14tb:zones=8192", memory_len: 64 << 20, ops: 4_000, whole: 2_000 };

/// The drive, and the stamp of the value that each key holds.
struct Bed<'d> {
    drive: &'d Drive,
    stamps: Vec<u64>,
    random: u64,
}

fn key(index: usize) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&(index as u64).to_be_bytes());
    key
}

fn index_of(key: &[u8]) -> usize {
    u64::from_be_bytes(key[8..].try_into().expect("sixteen bytes")) as usize
}

impl Bed<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % end
    }

    fn put(&mut self, store: &Store<'_, &Drive>, index: usize, stamp: u64) {
        let value = synthetic::value(stamp << 32 | index as u64, VALUE_LEN);
        let key = key(index);
        let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED);
        self.drive.block_on(put).unwrap_or_else(|error| panic!("put {index}: {error}"));
        self.stamps[index] = stamp;
    }

    /// Reads a part of a value; whether it is lost.
    fn is_lost(&self, store: &Store<'_, &Drive>, index: usize, from: u64, out: &mut [u8]) -> bool {
        let key = key(index);
        let got = store.get_at(&key, from, out, ReadOptions::default());
        match self.drive.block_on(got) {
            Ok(Some((found, len))) => {
                assert_eq!((found.value_len, len), (VALUE_LEN as u64, out.len()), "key {index}");
                let seed = self.stamps[index] << 32 | index as u64;
                let same = synthetic::match_len(seed, from, out);
                assert_eq!(same, out.len(), "key {index}: wrong data");
                false
            }
            Ok(None) => panic!("key {index} is absent"),
            Err(ReadError::Damaged(_)) => true,
            Err(error) => panic!("key {index}: {error}"),
        }
    }

    /// What reading says is lost, of all keys.
    fn lost_by_get(&self, store: &Store<'_, &Drive>) -> BTreeSet<usize> {
        let mut end = [0; END_LEN];
        let last = (VALUE_LEN - END_LEN) as u64;
        let mut lost = |&index: &usize| {
            self.is_lost(store, index, 0, &mut end) || self.is_lost(store, index, last, &mut end)
        };
        (0..self.stamps.len()).filter(|index| lost(index)).collect()
    }

    /// What the store lists as lost, without reading values; and the seconds that took.
    fn lost_by_list(&self, store: &Store<'_, &Drive>) -> (BTreeSet<usize>, f64) {
        let begun = self.drive.now_ns();
        let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
        let lost = self.drive.block_on(async {
            let (all, options) = ((Bound::Unbounded, Bound::Unbounded), ReadOptions::default());
            let scan = store.scan(all.0, all.1, Direction::Forward, &mut scratch, options);
            let mut scan = scan.await.expect("scan");
            let mut lost = BTreeSet::new();
            while let Some(item) = scan.next_lost().await.expect("next") {
                lost.insert(index_of(item.key));
            }
            lost
        });
        (lost, (self.drive.now_ns() - begun) as f64 / 1e9)
    }

    /// Gets and puts, turn by turn; the longest of them in seconds.
    fn load(&mut self, store: &Store<'_, &Drive>, ops: u64, round: u64) -> f64 {
        let mut value = vec![0; VALUE_LEN];
        let mut worst = 0;
        for op in 0..ops {
            let index = self.below(self.stamps.len());
            let begun = self.drive.now_ns();
            if op.is_multiple_of(2) {
                self.is_lost(store, index, 0, &mut value);
            } else {
                self.put(store, index, round << 16 | op);
            }
            worst = worst.max(self.drive.now_ns() - begun);
        }
        worst as f64 / 1e9
    }
}

#[test]
fn head_that_dies_under_load_takes_its_values_alone_and_they_are_named() {
    let size = if std::env::var("SHINGLE_HEAD_LOSS").is_ok_and(|size| size == "full") {
        FULL
    } else {
        SMALL
    };
    let spec = MediaSpec::parse(size.media).expect("a medium");
    assert_eq!(spec.element_count, 16);
    let drive = Drive::new(spec, 1);
    let mut memory = vec![0; size.memory_len];
    let limits = Limits::for_geometry(&drive.geometry());
    let redundancy = Redundancy { mirror_runs: true, ..Redundancy::NONE };
    let options = FormatOptions { store_id: [9; 16], limits, redundancy };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");

    let capacity = store.stats().capacity_bytes;
    let count = (capacity / 10 * 8 / store.cost_bytes(16, 0, VALUE_LEN as u64)) as usize;
    let mut bed = Bed { drive: &drive, stamps: vec![0; count], random: 7 };
    let begun = drive.now_ns();
    for index in 0..count {
        bed.put(&store, index, 1);
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    let fill_seconds = (drive.now_ns() - begun) as f64 / 1e9;
    println!("{count} values of 1 MiB, {:.1} GB, in {fill_seconds:.0} s", gb(count));

    let before = bed.load(&store, size.ops, 2);
    let plan: FaultPlan = format!("element-lost element={ELEMENT} at=request:20").parse().unwrap();
    drive.set_faults(&plan, 1);
    let after = bed.load(&store, size.ops, 3);
    assert_eq!(drive.fault_counts().total(), 1, "the head died");
    println!("longest foreground operation: {before:.3} s, when the head dies {after:.3} s");

    let (listed, seconds) = bed.lost_by_list(&store);
    println!("{} lost keys listed in {seconds:.2} s of the drive's time", listed.len());
    assert!(seconds <= LIST_SECONDS_MAX, "the list took {seconds} s");
    assert!(!listed.is_empty() && listed.len() < count / 8, "{} lost", listed.len());
    assert_eq!(listed, bed.lost_by_get(&store), "the list is exact");
    drive.block_on(store.checkpoint()).expect("checkpoint");
    assert!(store.stats().capacity_bytes < capacity, "the store promises less");
    drop(store);

    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    assert_eq!(listed, bed.lost_by_list(&store).0, "after a cut");
    assert_eq!(listed, bed.lost_by_get(&store), "after a cut");
    let mut value = vec![0; VALUE_LEN];
    for _ in 0..size.whole {
        let index = bed.below(count);
        assert_eq!(bed.is_lost(&store, index, 0, &mut value), listed.contains(&index));
    }

    let begun = drive.now_ns();
    for &index in &listed {
        bed.put(&store, index, 4);
    }
    drive.block_on(store.sync()).expect("sync");
    let restore_seconds = (drive.now_ns() - begun) as f64 / 1e9;
    assert!(bed.lost_by_list(&store).0.is_empty(), "what was written anew is not lost");
    println!(
        "restored: {:.2} GB in {:.4} h; the whole drive: {:.2} GB in {:.4} h",
        gb(listed.len()),
        restore_seconds / 3600.0,
        gb(count),
        fill_seconds / 3600.0
    );
}

fn gb(values: usize) -> f64 {
    (values * VALUE_LEN) as f64 / 1e9
}
