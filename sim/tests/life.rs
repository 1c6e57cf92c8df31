//! Life at the limit: full, half deleted, full again, many times over.
//!
//! The store must say "full" cleanly and not before it holds what it promises, always take deletes,
//! always recover from them, and lose no key. What is promised, and what overwriting costs:
//! `overwrite.rs`.

use shingle_engine::{
    FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteError, WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;
use shingle_sim::synthetic;
use shingle_sim::timing::TimingSpec;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn drive_of(media: &str) -> Drive {
    let mut spec = MediaSpec::parse(media).expect("a medium");
    spec.timing = TimingSpec::Instant;
    Drive::new(spec, 5)
}

fn key(index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

fn set_up(drive: &Drive, memory: &mut [u8], limits: Limits) {
    let redundancy = Redundancy::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [3; 16], limits, redundancy };
    drive.block_on(format(&drive, memory, &options)).expect("format");
}

/// Fills to "full", deletes half at random, and so on; every key is checked at the end of a round.
fn live_at_the_limit(media: &str, value_len: usize, rounds: u64) {
    let drive = drive_of(media);
    let limits = Limits::for_geometry(&drive.geometry());
    let mut memory = vec![0; if media.starts_with("nor") { 128 << 10 } else { 16 << 20 }];
    set_up(&drive, &mut memory, limits);
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let mut random = Random(7);
    let mut versions: Vec<Option<u64>> = Vec::new();
    let mut buffer = vec![0; value_len];
    for round in 1..=rounds {
        let mut filled = 0u64;
        let mut index = 0u64;
        loop {
            if index as usize == versions.len() {
                versions.push(None);
            }
            if versions[index as usize].is_none() {
                synthetic::fill(round * 1_000_000 + index, 0, &mut buffer);
                match drive.block_on(store.put(
                    &key(index),
                    Meta::NONE,
                    &buffer,
                    WriteOptions::BUFFERED,
                )) {
                    Ok(()) => versions[index as usize] = Some(round),
                    Err(WriteError::Full) => break,
                    Err(error) => panic!("{media} round {round} put {index}: {error:?}"),
                }
                filled += 1;
            }
            index += 1;
        }
        let live = versions.iter().flatten().count() as u64;
        let stats = store.stats();
        eprintln!(
            "{media} {value_len} B round {round}: {filled} put, {live} live, \
             {:.1} % of capacity, free {} of {}",
            live as f64 * value_len as f64 * 100.0 / stats.capacity_bytes as f64,
            stats.free_zones,
            stats.zone_count
        );
        let mut roles = std::collections::BTreeMap::new();
        for zone in 0..drive.geometry().zone_count {
            let usage = store.zone_use(shingle_hal::ZoneId(zone)).expect("a zone");
            let entry: &mut (u32, u64) = roles.entry(format!("{:?}", usage.role)).or_default();
            entry.0 += 1;
            entry.1 += usage.live_bytes;
        }
        eprintln!(
            "  {roles:?} runs {:?} used {} of {}",
            store.runs_by_level(),
            stats.used_bytes,
            stats.capacity_bytes
        );
        assert!(filled > 0, "{media} round {round}: deleting made no room");
        let promised = stats.capacity_bytes / store.cost_bytes(16, 0, value_len as u64);
        assert!(live >= promised, "{media} round {round}: full with {live} of {promised}");
        for (index, version) in versions.iter_mut().enumerate() {
            if version.is_some() && random.below(2) == 0 {
                let deleted =
                    drive.block_on(store.delete(&key(index as u64), WriteOptions::BUFFERED));
                deleted.unwrap_or_else(|error| {
                    for zone in 0..drive.geometry().zone_count {
                        eprintln!("{:?}", store.zone_use(shingle_hal::ZoneId(zone)));
                    }
                    panic!("{media} round {round} delete: {error:?} {:?}", store.stats())
                });
                *version = None;
            }
        }
        let mut expected = vec![0; value_len];
        for (index, version) in versions.iter().enumerate().step_by(1 + (rounds > 4) as usize * 6) {
            let got =
                drive.block_on(store.get(&key(index as u64), &mut buffer, ReadOptions::default()));
            let got =
                got.unwrap_or_else(|error| panic!("{media} round {round} get {index}: {error:?}"));
            assert_eq!(got.is_some(), version.is_some(), "{media} round {round} key {index}");
            if let Some(round) = version {
                synthetic::fill(round * 1_000_000 + index as u64, 0, &mut expected);
                assert!(buffer == expected, "{media} round {round} key {index} has another value");
            }
        }
        store.check_invariants();
    }
}

#[test]
fn full_store_recovers_by_deleting_on_smr() {
    live_at_the_limit("smr-tiny", 20_000, env("SHINGLE_ROUNDS", 6));
}

#[test]
fn full_store_recovers_by_deleting_on_disk() {
    live_at_the_limit("disk-tiny", 5_000, env("SHINGLE_ROUNDS", 6));
}

#[test]
fn full_store_recovers_by_deleting_on_zns() {
    live_at_the_limit("zns-tiny", 100, env("SHINGLE_ROUNDS", 3));
}

#[test]
fn full_store_recovers_by_deleting_on_nor() {
    live_at_the_limit("nor-1m", 300, env("SHINGLE_ROUNDS", 6));
}

/// Lengths at which zones or nodes are badly filled: what is promised can be put all the same.
#[test]
fn values_of_any_length_fill_what_is_promised() {
    for (media, value_len) in [
        ("zns-tiny", 4000),
        ("zns-tiny", 4096),
        ("zns-tiny", 60_000),
        ("zns-tiny", 100_000),
        ("smr-tiny", 100_000),
        ("disk-tiny", 3000),
        ("nor-1m", 100),
        ("nor-1m", 191),
        ("nor-1m", 5000),
    ] {
        live_at_the_limit(media, value_len, 2);
    }
}

/// Old versions that a snapshot kept in the bottom, with nothing above it, give their space back
/// when a write needs it.
#[test]
fn space_that_a_snapshot_held_comes_back_when_it_is_gone() {
    const LEN: usize = 1 << 20;
    let drive = drive_of("smr-tiny");
    let mut memory = vec![0; 8 << 20];
    set_up(&drive, &mut memory, Limits::for_geometry(&drive.geometry()));
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let capacity = store.stats().capacity_bytes;
    let put = |index, len| {
        let (key, value) = (key(index), synthetic::value(index, len));
        drive.block_on(store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED))
    };
    let fill = |share: u64| {
        for index in 0..capacity * share / 100 / LEN as u64 {
            put(index, LEN).expect("there is room");
        }
    };
    fill(45);
    let snapshot = store.snapshot().expect("one is free");
    fill(45);
    drive.block_on(store.compact()).expect("compact");
    assert_eq!((store.stats().runs, store.stats().snapshots), (1, 1));
    let left = capacity - store.stats().used_bytes;
    let more = left as usize + LEN;
    assert_eq!(put(1000, more), Err(WriteError::Full), "the snapshot is held");
    drop(snapshot);
    put(1000, more).expect("what only the snapshot saw makes room");
    drive.block_on(store.close()).expect("close");
}
