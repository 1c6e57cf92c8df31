//! A store on a drive of several elements, and a model of what it holds: for tests of what fails.
//! And random numbers and keys for those that draw their work.
#![allow(dead_code)] // each test uses a part

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use shingle_engine::{
    Direction, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::{Device, ZoneDescriptor, ZoneId};
use shingle_sim::fault::FaultPlan;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, synthetic};

pub(crate) const MEDIA: &str =
    "smr:zones=240,zone-kib=256,conventional=0,elements=4,timing=instant";
pub(crate) const MEMORY_LEN: usize = 2 << 20;

/// A key and what it holds: the seed of its value, and its length.
pub(crate) type Model = BTreeMap<u32, (u64, usize)>;

/// A store with the model beside it.
pub(crate) type Shop<'m, 'd> = Store<'m, &'d Drive>;

pub(crate) fn key(index: u32) -> [u8; 8] {
    (u64::from(index) << 20).to_be_bytes()
}

/// A key that has its place among others by chance, and no other index has.
pub(crate) fn scattered_key(index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Random numbers by seed: Knuth's linear congruential generator, by its upper bits.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

pub(crate) fn plan(text: &str) -> FaultPlan {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A drive with an empty store; `mirror` keeps runs on two elements.
pub(crate) fn new_drive(media: &str, mirror: bool) -> Drive {
    formatted(media, Redundancy { mirror_runs: mirror, ..Redundancy::NONE })
}

/// A drive with an empty store.
pub(crate) fn formatted(media: &str, redundancy: Redundancy) -> Drive {
    let drive = Drive::new(MediaSpec::parse(media).expect("a medium"), 1);
    let mut memory = vec![0; MEMORY_LEN];
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [5; 16], limits, redundancy };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    drive
}

pub(crate) fn open<'m, 'd>(drive: &'d Drive, memory: &'m mut [u8]) -> Shop<'m, 'd> {
    drive.block_on(Store::open(drive, memory)).expect("open")
}

/// Puts a key with a value of its own; small ones go into runs, large ones stay in the log.
pub(crate) fn put(drive: &Drive, store: &Shop<'_, '_>, model: &mut Model, index: u32, round: u64) {
    let seed = u64::from(index) << 16 | round;
    let len = if index.is_multiple_of(3) { 100 } else { 5000 + (index as usize % 7) * 3000 };
    let value = synthetic::value(seed, len);
    drive
        .block_on(store.put(&key(index), Meta::NONE, &value, WriteOptions::DURABLE))
        .unwrap_or_else(|error| panic!("put {index}: {error}"));
    model.insert(index, (seed, len));
}

/// Reads every key; gives those that are lost. Panics if anything that comes back is wrong.
pub(crate) fn lost_by_get(drive: &Drive, store: &Shop<'_, '_>, model: &Model) -> BTreeSet<u32> {
    let mut lost = BTreeSet::new();
    let mut out = vec![0; 64 << 10];
    for (&index, &(seed, len)) in model {
        let got = drive.block_on(store.get(&key(index), &mut out, ReadOptions::default()));
        match got {
            Ok(Some(found)) => {
                assert_eq!(found.value_len as usize, len, "key {index}");
                assert!(out[..len] == synthetic::value(seed, len), "key {index}: wrong data");
            }
            Ok(None) => panic!("key {index} is absent"),
            Err(ReadError::Damaged(_)) => drop(lost.insert(index)),
            Err(error) => panic!("key {index}: {error}"),
        }
    }
    lost
}

/// What the store says is lost, without reading values.
pub(crate) fn lost_by_list(drive: &Drive, store: &Shop<'_, '_>) -> BTreeSet<u32> {
    let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
    let all = (Bound::Unbounded, Bound::Unbounded);
    drive.block_on(async {
        let scan =
            store.scan(all.0, all.1, Direction::Forward, &mut scratch, ReadOptions::default());
        let mut scan = scan.await.expect("scan");
        let mut lost = BTreeSet::new();
        while let Some(item) = scan.next_lost().await.expect("next") {
            let bytes = item.key.try_into().expect("eight bytes");
            lost.insert((u64::from_be_bytes(bytes) >> 20) as u32);
        }
        lost
    })
}

/// What the drive says of every zone.
pub(crate) fn zones_of(drive: &Drive) -> Vec<ZoneDescriptor> {
    let mut zones = vec![ZoneDescriptor::EMPTY; drive.geometry().zone_count as usize];
    let found = drive.block_on(drive.report(ZoneId(0), &mut zones)).expect("report");
    zones.truncate(found);
    zones
}
