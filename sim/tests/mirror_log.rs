//! The mirror of the log: an element that dies together with power takes large values alone, and
//! each of those is named; and what the mirror costs.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::shelf::{Model, formatted, open};
use shingle_engine::zone::Role;
use shingle_engine::{
    Batch, Condition, Direction, Durability, Meta, ReadError, ReadOptions, Redundancy, Store,
    WriteOptions,
};
use shingle_hal::{Device, ZoneId};
use shingle_sim::{Drive, Outcome, synthetic};

const MEDIA: [&str; 3] = [
    "smr:zones=240,zone-kib=256,conventional=0,elements=4,timing=instant",
    "disk-tiny:zones=240,timing=instant",
    "smr:zones=240,zone-kib=256,conventional=0,elements=2,timing=instant",
];
const MEMORY_LEN: usize = 3 << 20;

fn new_drive(media: &str, mirror_log: bool) -> Drive {
    formatted(media, Redundancy { mirror_runs: true, mirror_log, ..Redundancy::NONE })
}

fn len_of(seed: u64) -> usize {
    if seed.is_multiple_of(3) { 100 } else { 5000 + (seed as usize % 7) * 3000 }
}

/// Puts a key, sometimes by a batch with its neighbour, as the seed decides.
fn put(drive: &Drive, store: &Store<'_, &Drive>, model: &mut Model, key: u32, seed: u64) {
    let value = synthetic::value(seed, len_of(seed));
    if seed.is_multiple_of(5) {
        let mut memory = vec![0; 64 << 10];
        let mut batch = Batch::new(&mut memory);
        let other = synthetic::value(seed + 1, 50);
        let (first, second) = (key.to_be_bytes(), (key ^ 1).to_be_bytes());
        batch.put(&first, Meta::NONE, &value, Condition::None).expect("room");
        batch.put(&second, Meta::NONE, &other, Condition::None).expect("room");
        drive.block_on(store.write(&batch, Durability::Durable)).expect("write");
        model.insert(key ^ 1, (seed + 1, 50));
    } else {
        let bytes = key.to_be_bytes();
        let done = store.put(&bytes, Meta::NONE, &value, WriteOptions::DURABLE);
        drive.block_on(done).expect("put");
    }
    model.insert(key, (seed, len_of(seed)));
}

/// Reads every key; gives those whose values are lost. Panics if anything else is wrong.
fn lost_by_get(drive: &Drive, store: &Store<'_, &Drive>, model: &Model) -> BTreeSet<u32> {
    let mut lost = BTreeSet::new();
    let mut out = vec![0; 64 << 10];
    for (&key, &(seed, len)) in model {
        let bytes = key.to_be_bytes();
        match drive.block_on(store.get(&bytes, &mut out, ReadOptions::default())) {
            Ok(Some(found)) => {
                assert_eq!(found.value_len as usize, len, "key {key}");
                assert!(out[..len] == synthetic::value(seed, len), "key {key}: wrong data");
            }
            Err(ReadError::Damaged(_)) if len >= 4096 => drop(lost.insert(key)),
            other => panic!("key {key} of {len} bytes: {other:?}"),
        }
    }
    lost
}

fn lost_by_list(drive: &Drive, store: &Store<'_, &Drive>) -> BTreeSet<u32> {
    let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
    drive.block_on(async {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let options = ReadOptions::default();
        let scan = store.scan(all.0, all.1, Direction::Forward, &mut scratch, options);
        let mut scan = scan.await.expect("scan");
        let mut lost = BTreeSet::new();
        while let Some(item) = scan.next_lost().await.expect("next") {
            lost.insert(u32::from_be_bytes(item.key.try_into().expect("four bytes")));
        }
        lost
    })
}

/// The element of the zone that the log is written to now.
fn log_element(store: &Store<'_, &Drive>, elements: u32) -> u32 {
    let mut uses = (0..).map_while(|zone| store.zone_use(ZoneId(zone)));
    let head = uses.find(|zone| zone.role == Role::Log && zone.head);
    head.expect("the log has a head").zone.0 % elements
}

#[test]
fn element_of_the_log_that_dies_with_power_takes_large_values_alone() {
    let (mut lost_in_all, mut rounds) = (0, 0);
    for media in MEDIA {
        for round in 0..12u64 {
            let drive = new_drive(media, true);
            let elements = u32::from(drive.geometry().element_count);
            let mut memory = vec![0; MEMORY_LEN];
            let mut model = Model::new();
            let store = open(&drive, &mut memory);
            let count = 30 + 37 * round;
            let mut written = 0;
            for index in 0..count {
                let key = (synthetic::value(index ^ round << 32, 1)[0] % 100).into();
                let seed = round << 20 | index;
                put(&drive, &store, &mut model, key, seed);
                written += 1 + u64::from(seed.is_multiple_of(5));
                if index == count / 2 && round % 3 == 0 {
                    drive.block_on(store.checkpoint()).expect("checkpoint");
                }
            }
            let element = match round % 4 {
                3 => round as u32 / 4 % elements,
                _ => log_element(&store, elements),
            };
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::Seeded(round));
            let plan = format!("element-lost element={element} at=request:0");
            drive.set_faults(&plan.parse().expect("a plan"), 1);
            let store = open(&drive, &mut memory);
            // It may say that it does not know of what came behind the last, but of none before.
            let unsure = store.stats().lost_seqs.map_or(u64::MAX, |(first, _)| first);
            assert!(unsure > written, "on {media}, round {round}: {unsure} of {written}");
            let lost = lost_by_get(&drive, &store, &model);
            assert_eq!(lost_by_list(&drive, &store), lost, "on {media}, round {round}");
            lost_in_all += lost.len();
            rounds += 1;
            // What is there now stays there, also after another cut.
            drive.block_on(store.checkpoint()).expect("checkpoint");
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::LoseAll);
            let store = open(&drive, &mut memory);
            assert_eq!(lost_by_get(&drive, &store, &model), lost, "on {media}, round {round}");
            store.check_invariants();
        }
    }
    assert!(lost_in_all > rounds, "the log was on the element: {lost_in_all} values");
}

/// A cut may leave records in the log alone, and not in its mirror. What a recovery gave has two
/// copies again when the store has been maintained.
#[test]
fn what_a_recovery_gave_has_two_copies_again() {
    for media in MEDIA {
        for seed in 0..60u64 {
            let drive = new_drive(media, true);
            let elements = u32::from(drive.geometry().element_count);
            let mut memory = vec![0; MEMORY_LEN];
            let store = open(&drive, &mut memory);
            drive.cut_after(30 + seed * 2);
            for index in 0..3000u32 {
                let value = synthetic::value(u64::from(index), 100);
                let options = WriteOptions::BUFFERED;
                let key = index.to_be_bytes();
                let put = store.put(&key, Meta::NONE, &value, options);
                if drive.block_on(put).is_err() {
                    break;
                }
            }
            let element = log_element(&store, elements);
            drop(store);
            if !drive.is_cut() {
                drive.cut_after(0);
            }
            drive.power_on(Outcome::Seeded(seed));
            let store = open(&drive, &mut memory);
            let mut model = Model::new();
            let mut out = vec![0; 4 << 10];
            for index in 0..3000u32 {
                let key = index.to_be_bytes();
                let got = drive.block_on(store.get(&key, &mut out, ReadOptions::default()));
                if got.expect("get").is_some() {
                    model.insert(index, (u64::from(index), 100));
                }
            }
            drive.block_on(store.maintain(1000)).expect("maintain");
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::LoseAll);
            let plan = format!("element-lost element={element} at=request:0");
            drive.set_faults(&plan.parse().expect("a plan"), 1);
            let store = open(&drive, &mut memory);
            for (index, _) in model {
                let key = index.to_be_bytes();
                let got = drive.block_on(store.get(&key, &mut out, ReadOptions::default()));
                assert!(matches!(got, Ok(Some(_))), "{media}, seed {seed}: {index}: {got:?}");
            }
        }
    }
}

#[test]
fn zones_of_the_mirror_are_free_after_a_checkpoint() {
    let drive = new_drive(MEDIA[0], true);
    let mut memory = vec![0; MEMORY_LEN];
    let store = open(&drive, &mut memory);
    let mut model = Model::new();
    for round in 0..6 {
        for index in 0..300 {
            put(&drive, &store, &mut model, index, u64::from(index) << 8 | round);
        }
        drive.block_on(store.checkpoint()).expect("checkpoint");
    }
    drive.block_on(store.maintain(200)).expect("maintain");
    drive.block_on(store.compact()).expect("compact");
    let uses = (0..).map_while(|zone| store.zone_use(ZoneId(zone)));
    let mirrors = uses.filter(|zone| zone.role == Role::LogMirror).count();
    assert!((1..=2).contains(&mirrors), "{mirrors} zones of the mirror");
}

#[test]
fn log_that_cannot_be_read_at_all_comes_from_its_mirror() {
    for count in [1, 2, 5, 15] {
        let drive = new_drive(MEDIA[0], true);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        for index in 0..count {
            put(&drive, &store, &mut model, index, index.into());
        }
        let mut uses = (0..).map_while(|zone| store.zone_use(ZoneId(zone)));
        let log = uses.find(|zone| zone.role == Role::Log && zone.head).expect("a head").zone;
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        // No block of it, so no mark either: neither its header nor anything behind tells a tear
        // from damage.
        let start = drive.geometry().zone_start(log).0;
        let plan = format!("read-error sticky extent={start}+64 at=request:0");
        drive.set_faults(&plan.parse().expect("a plan"), 1);
        let store = open(&drive, &mut memory);
        let large: BTreeSet<u32> =
            model.iter().filter(|(_, (_, len))| *len >= 4096).map(|(&key, _)| key).collect();
        assert_eq!(lost_by_get(&drive, &store, &model), large, "{count} writes");
        // And it stays so, whether or not the log can be read again.
        drop(store);
        drive.lift_faults();
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        let store = open(&drive, &mut memory);
        let left = lost_by_get(&drive, &store, &model);
        assert!(left.is_subset(&large), "{left:?}");
    }
}

#[test]
fn zone_of_the_mirror_that_fails_costs_the_log_nothing() {
    for seed in 0..10 {
        let drive = new_drive(MEDIA[0], true);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        drive.set_faults(&"write-error 30x p=0.03".parse().expect("a plan"), seed);
        for index in 0..300 {
            put(&drive, &store, &mut model, index % 100, seed << 20 | u64::from(index));
        }
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "seed {seed}");
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::Seeded(seed));
        let store = open(&drive, &mut memory);
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "seed {seed}, after a cut");
    }
}

/// What a way of writing costs: bytes written to the media, and virtual time in ns.
fn cost(mirror_log: bool, value_len: usize, count: u64, group: u64) -> (u64, u64) {
    let drive = new_drive("smr-demo", mirror_log);
    let mut memory = vec![0; 48 << 20];
    let store = open(&drive, &mut memory);
    let (bytes, start) = (store.media_stats().written_bytes, drive.now_ns());
    for index in 0..count {
        let value = synthetic::value(index, value_len);
        let last = index % group == group - 1;
        let options = if last { WriteOptions::DURABLE } else { WriteOptions::BUFFERED };
        let key = index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        drive.block_on(store.put(&key, Meta::NONE, &value, options)).expect("put");
    }
    drive.block_on(store.sync()).expect("sync");
    (store.media_stats().written_bytes - bytes, drive.now_ns() - start)
}

#[test]
fn mirror_of_the_log_costs_little_beside_large_values() {
    let ways = [
        ("1 MiB, each durable", 1 << 20, 200, 1),
        ("1 MiB, a sync for 16", 1 << 20, 200, 16),
        ("100 B, each durable", 100, 500, 1),
        ("100 B, a sync for 64", 100, 20_000, 64),
    ];
    for (what, len, count, group) in ways {
        let (plain, mirrored) = (cost(false, len, count, group), cost(true, len, count, group));
        let user = (len as u64 + 8) * count;
        println!(
            "{what}: {:.3} bytes written for each of the user's without, {:.3} with the mirror; \
             {:.3} ms an operation without, {:.3} with",
            plain.0 as f64 / user as f64,
            mirrored.0 as f64 / user as f64,
            plain.1 as f64 / 1e6 / count as f64,
            mirrored.1 as f64 / 1e6 / count as f64,
        );
        if len > 4096 {
            assert!(mirrored.0 < plain.0 + plain.0 / 100, "bytes: {what}");
        }
    }
}
