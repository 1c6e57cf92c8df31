//! A head dies under load on a large shingled drive that is four fifths full of large values: what
//! is lost, how soon the list of it is there, what the foreground feels, and what it saves against
//! rebuilding the whole drive.
//!
//! By default on 4 GiB with values of 64 KiB. `SHINGLE_HEAD_LOSS=full` takes 2 TiB with values of
//! 1 MiB (an hour). Latencies and durations are virtual time.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::shelf::Random;
use shingle_engine::{
    Direction, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Outcome, synthetic};

/// The element that dies.
const DEAD: u16 = 5;
const MEMORY_LEN: usize = 64 << 20;

/// How large it all is.
struct Size {
    media: &'static str,
    value_len: usize,
    /// Operations under load, before and behind the death each.
    load: u64,
}

const SMALL: Size = Size { media: "smr:zones=1024,zone-mib=4", value_len: 64 << 10, load: 2_000 };
const FULL: Size = Size { media: "smr:zones=8192,zone-mib=256", value_len: 1 << 20, load: 20_000 };

/// A key; in an order that has nothing to do with the index.
fn key(index: u64) -> [u8; 8] {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// The store under test beside what it must hold: the version of each key.
struct Run<'m, 'd> {
    drive: &'d Drive,
    store: Store<'m, &'d Drive>,
    versions: Vec<u32>,
    buffer: Vec<u8>,
}

/// What the foreground felt.
#[derive(Default)]
struct Latencies(Vec<u64>);

impl Latencies {
    fn line(&mut self, what: &str) -> String {
        self.0.sort_unstable();
        let at = |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize] as f64 / 1e6;
        format!(
            "{what}: median {:.1} ms, p99 {:.1} ms, worst {:.1} ms of {}",
            at(0.5),
            at(0.99),
            at(1.0),
            self.0.len()
        )
    }
}

impl Run<'_, '_> {
    fn seed(&self, index: u64) -> u64 {
        index << 24 | u64::from(self.versions[index as usize])
    }

    fn put(&mut self, index: u64) {
        if index as usize == self.versions.len() {
            self.versions.push(0);
        } else {
            self.versions[index as usize] += 1;
        }
        synthetic::fill(self.seed(index), 0, &mut self.buffer);
        let key = key(index);
        let put = self.store.put(&key, Meta::NONE, &self.buffer, WriteOptions::BUFFERED);
        self.drive.block_on(put).unwrap_or_else(|error| panic!("put {index}: {error}"));
    }

    /// Whether the value is there; panics if it is another, or the damage lies elsewhere than on
    /// the element that died.
    fn get(&mut self, index: u64) -> bool {
        let key = key(index);
        let get = self.store.get(&key, &mut self.buffer, ReadOptions::default());
        match self.drive.block_on(get) {
            Ok(Some(_)) => {
                let seed = self.seed(index);
                let len = self.buffer.len();
                assert_eq!(synthetic::match_len(seed, 0, &self.buffer), len, "key {index}");
                true
            }
            Ok(None) => panic!("key {index} is absent"),
            Err(ReadError::Damaged(_)) => false,
            Err(error) => panic!("key {index}: {error}"),
        }
    }

    /// Gets and overwrites by turns; gives how long each took, and how many gets found damage.
    fn load(&mut self, random: &mut Random, operations: u64) -> (Latencies, Latencies, u64) {
        let (mut gets, mut puts, mut damaged) = (Latencies::default(), Latencies::default(), 0);
        for operation in 0..operations {
            let index = random.below(self.versions.len() as u64);
            let start = self.drive.now_ns();
            if operation % 2 == 0 {
                damaged += u64::from(!self.get(index));
                gets.0.push(self.drive.now_ns() - start);
            } else {
                self.put(index);
                puts.0.push(self.drive.now_ns() - start);
            }
        }
        (gets, puts, damaged)
    }

    /// What the store says is lost, as keys.
    fn lost(&self) -> BTreeSet<[u8; 8]> {
        let mut scratch = vec![0; self.store.scan_memory_len() + (1 << 20)];
        let (all, options) = ((Bound::Unbounded, Bound::Unbounded), ReadOptions::default());
        self.drive.block_on(async {
            let scan = self.store.scan(all.0, all.1, Direction::Forward, &mut scratch, options);
            let mut scan = scan.await.expect("scan");
            let mut lost = BTreeSet::new();
            while let Some(item) = scan.next_lost().await.expect("next") {
                assert!(lost.insert(item.key.try_into().expect("eight bytes")), "in order, once");
            }
            lost
        })
    }
}

#[test]
fn head_that_dies_under_load_takes_its_values_alone_and_they_are_named() {
    let full = std::env::var("SHINGLE_HEAD_LOSS").is_ok_and(|text| text == "full");
    let size = if full { FULL } else { SMALL };
    let spec = MediaSpec::parse(size.media).expect("a medium");
    assert_eq!(spec.element_count, 16);
    let drive = Drive::new(spec.clone(), 1);
    let limits = Limits::for_geometry(&drive.geometry());
    let redundancy = Redundancy::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [9; 16], limits, redundancy };
    let mut memory = vec![0; MEMORY_LEN];
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let mut random = Random(3);
    let mut run =
        Run { drive: &drive, store, versions: Vec::new(), buffer: vec![0; size.value_len] };

    let capacity = run.store.stats().capacity_bytes;
    let count = capacity / 5 * 4 / run.store.cost_bytes(8, 0, size.value_len as u64);
    let start = drive.now_ns();
    for index in 0..count {
        run.put(index);
    }
    drive.block_on(run.store.sync()).expect("sync");
    let bytes = count * size.value_len as u64;
    let rate = bytes as f64 / ((drive.now_ns() - start) as f64 / 1e9);
    println!("{count} values, {:.1} GB, filled at {:.1} MB/s", bytes as f64 / 1e9, rate / 1e6);

    let (mut gets, mut puts, damaged) = run.load(&mut random, size.load);
    assert_eq!(damaged, 0);
    println!("{}\n{}", gets.line("gets before"), puts.line("puts before"));
    let plan = format!("element-lost sticky element={DEAD} at=request:500");
    drive.set_faults(&plan.parse().expect("a plan"), 1);
    let (mut gets, mut puts, damaged) = run.load(&mut random, size.load);
    assert!(drive.fault_counts().total() > 0, "the element died");
    println!("{}\n{}", gets.line("gets behind"), puts.line("puts behind"));
    println!("{damaged} of {} gets found their value lost", gets.0.len());

    let start = drive.now_ns();
    let soon = run.lost();
    let seconds = (drive.now_ns() - start) as f64 / 1e9;
    println!("list of {} lost keys among {count}: {seconds:.1} s", soon.len());
    assert!(seconds <= 60.0, "the list took {seconds:.1} s");
    drive.block_on(run.store.maintain(20_000)).expect("maintain");
    let listed = run.lost();
    println!("{:?}", run.store.stats());
    drive.block_on(run.store.sync()).expect("sync");

    // Once more after a power cut, and now against every value.
    let Run { store, versions, buffer, .. } = run;
    drop(store);
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    let mut memory = vec![0; MEMORY_LEN];
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let mut run = Run { drive: &drive, store, versions, buffer };
    assert!(run.lost() == listed, "the same list after a cut");
    let truth: BTreeSet<_> = (0..count).filter(|index| !run.get(*index)).map(key).collect();
    assert!(truth == listed, "{} lost, {} listed", truth.len(), listed.len());
    assert!(soon == listed, "{} listed at first, {} later", soon.len(), listed.len());
    // One element of sixteen, and what lies partly on it.
    let share = listed.len() as f64 / count as f64;
    assert!((0.03..0.08).contains(&share), "{share:.3} of the keys are lost");

    let lost_bytes = listed.len() as u64 * size.value_len as u64;
    let start = drive.now_ns();
    for index in (0..count).filter(|index| listed.contains(&key(*index))) {
        run.put(index);
    }
    drive.block_on(run.store.sync()).expect("sync");
    println!(
        "restored: {:.2} GB in {:.4} h; the whole drive: {:.1} GB, {:.2} h at the rate of the fill",
        lost_bytes as f64 / 1e9,
        (drive.now_ns() - start) as f64 / 3.6e12,
        bytes as f64 / 1e9,
        bytes as f64 / rate / 3600.0
    );
    assert!(run.lost().is_empty(), "a key that is written anew is not lost any more");
    run.store.check_invariants();
}
