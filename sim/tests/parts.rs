//! A drive that fails in parts: what each failure costs, and that nothing else is lost.
//!
//! Each test writes a store, lets one part of the drive fail, and compares every key with what was
//! acknowledged: whatever comes back is right, what does not come back says `Damaged`, and the list
//! of lost keys is exactly those.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::shelf::{MEDIA, MEMORY_LEN, Model, Shop, key, lost_by_get, new_drive, open, plan, put};
use shingle_engine::zone::Role;
use shingle_engine::{Meta, ReadOptions, Store, WriteOptions};
use shingle_hal::{Device, ZoneId};
use shingle_sim::{Drive, Outcome};

/// What the store says is lost, without reading values; and counts the keys.
fn lost_by_list(drive: &Drive, store: &Shop<'_, '_>, model: &Model) -> BTreeSet<u32> {
    let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
    let all = (Bound::Unbounded, Bound::Unbounded);
    let count = store.count(all.0, all.1, &mut scratch, ReadOptions::default());
    assert_eq!(drive.block_on(count).expect("count"), model.len() as u64, "every key is there");
    crate::shelf::lost_by_list(drive, store)
}

#[test]
fn element_that_dies_under_load_takes_its_large_values_alone() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    for index in 0..900 {
        put(&drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    let before = store.stats().capacity_bytes;
    drive.set_faults(&plan("element-lost sticky element=2 at=request:40"), 1);
    for index in 900..1000 {
        put(&drive, &store, &mut model, index, 0);
    }
    assert!(drive.fault_counts().total() > 0, "the element died");
    drive.block_on(store.maintain(2000)).expect("maintain");
    assert!(store.stats().capacity_bytes < before, "the store promises less");
    let lost = lost_by_get(&drive, &store, &model);
    assert!(!lost.is_empty() && lost.len() < model.len() / 2, "{} lost", lost.len());
    assert!(lost.iter().all(|index| !index.is_multiple_of(3)), "small values are on two elements");
    assert_eq!(lost_by_list(&drive, &store, &model), lost);
    drive.block_on(store.checkpoint()).expect("checkpoint");
    drop(store);

    // Once more after a power cut; then the lost keys are written anew.
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    assert_eq!(lost_by_get(&drive, &store, &model), lost);
    assert_eq!(lost_by_list(&drive, &store, &model), lost);
    for &index in &lost {
        put(&drive, &store, &mut model, index, 1);
    }
    drive.block_on(store.compact()).expect("compact");
    assert!(lost_by_get(&drive, &store, &model).is_empty());
    assert!(lost_by_list(&drive, &store, &model).is_empty());
    store.check_invariants();
}

#[test]
fn node_that_one_copy_cannot_give_comes_from_the_other_and_is_rebuilt() {
    // On the second drive the copies are in conventional zones, of which nothing is given back.
    for media in [MEDIA, "smr:zones=96,zone-mib=1,conventional=90,elements=4,timing=instant"] {
        let drive = new_drive(media, true);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        for index in 0..300 {
            put(&drive, &store, &mut model, index * 3, 0);
        }
        drive.block_on(store.compact()).expect("compact");
        drop(store);
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        drive.set_faults(&plan("read-error sticky structure=run-data at=request:0"), 1);
        assert!(lost_by_get(&drive, &store, &model).is_empty());
        assert!(drive.fault_counts().total() > 0, "a node could not be read");
        drive.block_on(store.maintain(1000)).expect("maintain");
        assert!(store.stats().rebuilds > 0, "{:?}", store.stats());
        store.check_invariants();
        assert!(lost_by_get(&drive, &store, &model).is_empty());
    }
}

/// Found by campaign: `torture --media smr-tiny --seed 502006 --ops 5000 --faults any`. Wherever a
/// copy was put, some of its blocks could not be read either. Each rebuild thus found another one
/// to do, and a put that waited for room waited for the last of them.
#[test]
fn rebuilding_where_no_copy_is_ever_whole_comes_to_an_end() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    for index in 0..4000 {
        put(&drive, &store, &mut model, index * 3, 0);
    }
    drive.block_on(store.compact()).expect("compact");
    drop(store);
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    // Everywhere but in the anchors, or the store would take no more writes.
    drive.set_faults(&plan("read-error sticky extent=128+15232 p=0.2"), 1);
    for index in 0..4000 {
        let mut out = [0; 100];
        // Either answer will do: what counts is that what is bad was met.
        let _ = drive.block_on(store.get(&key(index * 3), &mut out, ReadOptions::default()));
    }
    let most = 2 * u64::from(drive.geometry().zone_count);
    let steps = drive.block_on(store.maintain(10_000)).expect("maintain");
    let rebuilds = store.stats().rebuilds;
    assert!(rebuilds > most / 2, "{rebuilds} rebuilds: each found the next one");
    assert!(rebuilds <= most && steps < 10_000, "{rebuilds} rebuilds in {steps} steps");
    // What is written earns more of them.
    for index in 4000..4040 {
        put(&drive, &store, &mut model, index * 3, 0);
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    drive.block_on(store.maintain(10_000)).expect("maintain");
    assert!(store.stats().rebuilds > rebuilds, "{rebuilds} rebuilds, and no more");
    store.check_invariants();
}

#[test]
fn write_fault_in_any_zone_goes_on_elsewhere() {
    for mirror in [false, true] {
        for seed in 0..20 {
            let drive = new_drive(MEDIA, mirror);
            let mut memory = vec![0; MEMORY_LEN];
            let mut model = Model::new();
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            drive.set_faults(&plan("write-error 30x p=0.03"), seed);
            for round in 0..3 {
                for index in 0..200 {
                    put(&drive, &store, &mut model, index, round);
                }
                drive.block_on(store.maintain(200)).expect("maintain");
            }
            assert!(drive.fault_counts().total() > 5, "writes failed");
            assert!(store.stats().failed_zones > 0, "their zones are not used again");
            assert!(lost_by_get(&drive, &store, &model).is_empty(), "seed {seed}");
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::Seeded(seed));
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            assert!(lost_by_get(&drive, &store, &model).is_empty(), "seed {seed}, after a cut");
            drive.block_on(store.compact()).expect("compact");
            assert!(lost_by_get(&drive, &store, &model).is_empty(), "seed {seed}, compacted");
        }
    }
}

/// The zone of a copy of the manifest fails: the copy moves, and the zone is used no more in any
/// later life, though the manifest is all that ever said so.
#[test]
fn zone_of_a_manifest_copy_that_failed_is_retired_for_good() {
    let drive = new_drive(MEDIA, false);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let manifests = |store: &Shop<'_, '_>| -> Vec<u32> {
        let zones = 0..drive.geometry().zone_count;
        let role = |zone: &u32| store.zone_use(ZoneId(*zone)).expect("a zone").role;
        zones.filter(|zone| role(zone) == Role::Manifest).collect()
    };
    let store = open(&drive, &mut memory);
    put(&drive, &store, &mut model, 0, 0);
    let failing = manifests(&store)[0];
    drive.set_faults(&plan(&format!("write-error sticky zone={failing}")), 1);
    for index in 1..100 {
        put(&drive, &store, &mut model, index, 0);
        drive.block_on(store.checkpoint()).expect("checkpoint");
    }
    assert!(!manifests(&store).contains(&failing), "the copy is elsewhere");
    drop(store);
    for life in 0..4 {
        let store = open(&drive, &mut memory);
        let role = store.zone_use(ZoneId(failing)).expect("a zone").role;
        assert_eq!(role, Role::Retired, "life {life}");
        assert_eq!(store.stats().failed_zones, 1, "life {life}");
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "life {life}");
        put(&drive, &store, &mut model, 100, life);
        drive.block_on(store.checkpoint()).expect("checkpoint");
    }
}

#[test]
fn record_over_the_place_where_its_zone_goes_on_is_replayed() {
    for seed in 0..20 {
        let drive = new_drive(MEDIA, false);
        let mut memory = vec![0; MEMORY_LEN];
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        drive.set_faults(&plan("write-error 6x p=0.1"), seed);
        // Not padded one by one: records lie across the blocks that the writes end at.
        for index in 0..400 {
            let value = vec![index as u8; 1500];
            let bytes = key(index);
            let put = store.put(&bytes, Meta::NONE, &value, WriteOptions::BUFFERED);
            drive.block_on(put).expect("put");
        }
        drive.block_on(store.sync()).expect("sync");
        assert!(drive.fault_counts().total() > 0, "writes failed");
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let mut value = vec![0; 1500];
        for index in 0..400 {
            let bytes = key(index);
            let got = store.get(&bytes, &mut value, ReadOptions::default());
            let found = drive.block_on(got).expect("get");
            assert!(found.is_some() && value == [index as u8; 1500], "seed {seed}, key {index}");
        }
    }
}

#[test]
fn zones_that_turn_read_only_are_emptied_and_not_used_again() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    drive.set_faults(&plan("zone-read-only 12x p=0.02"), 3);
    for round in 0..4 {
        for index in 0..200 {
            put(&drive, &store, &mut model, index, round);
        }
        drive.block_on(store.maintain(500)).expect("maintain");
    }
    assert!(drive.fault_counts().total() >= 12, "zones turned read only");
    assert!(lost_by_get(&drive, &store, &model).is_empty());
    assert!(lost_by_list(&drive, &store, &model).is_empty());
}

#[test]
fn bad_block_in_the_log_costs_the_records_in_it() {
    let drive = new_drive(MEDIA, false);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    for index in 0..30 {
        put(&drive, &store, &mut model, index * 3, 0);
    }
    drop(store);
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    // Each record has a block of its own, as each was durable by itself: one is gone.
    drive.set_faults(&plan("read-error sticky structure=log-record at=request:0"), 1);
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let mut out = [0; 200];
    let there = |index: &&u32| {
        let got = drive.block_on(store.get(&key(**index), &mut out, ReadOptions::default()));
        got.expect("get").is_none()
    };
    let missing: Vec<u32> = model.keys().filter(there).copied().collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let seq = u64::from(missing[0] / 3) + 1;
    assert_eq!(store.stats().lost_seqs, Some((seq, seq)), "the store says which");
}

#[test]
fn bad_block_in_a_value_costs_that_value_also_after_its_zone_was_emptied() {
    let drive = new_drive(MEDIA, false);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    for index in 0..400 {
        put(&drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    drive.set_faults(
        &plan("read-error 4x structure=value p=0.02; bit-rot 4x structure=value p=0.02"),
        7,
    );
    let first = lost_by_get(&drive, &store, &model);
    drive.block_on(store.maintain(3000)).expect("maintain");
    let lost = lost_by_get(&drive, &store, &model);
    assert!(!lost.is_empty() && lost.len() < 20, "{} lost", lost.len());
    drive.block_on(store.compact()).expect("compact");
    drop(store);
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    assert_eq!(lost_by_get(&drive, &store, &model), lost, "{first:?}");
    for &index in &lost {
        put(&drive, &store, &mut model, index, 1);
    }
    assert!(lost_by_get(&drive, &store, &model).is_empty());
}

/// Values that cannot be read do not keep their zone: reclaim gives it up, and they are lost.
#[test]
fn zone_of_values_that_cannot_be_read_is_emptied_all_the_same() {
    const KEYS: u32 = 300;
    let drive = new_drive(MEDIA, false);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    for index in 0..KEYS {
        put(&drive, &store, &mut model, index, 0);
    }
    let zone_use = |zone| store.zone_use(zone).expect("a zone");
    let mut zones = (0..drive.geometry().zone_count).map(ZoneId);
    let is_full = |zone: &ZoneId| zone_use(*zone).role == Role::Log && !zone_use(*zone).head;
    let bad = zones.find(is_full).expect("a zone of values");
    let generation = zone_use(bad).generation;
    drive.set_faults(&plan(&format!("read-error sticky zone={}", bad.0)), 1);
    let lost = lost_by_get(&drive, &store, &model);
    let is_there = || zone_use(bad).generation == generation;
    // Of ten keys one stays, so each zone has some that live; and one or two that are lost.
    let left: BTreeSet<u32> = lost.into_iter().take(2).collect();
    let stays = |index: &u32| index.is_multiple_of(10) || left.contains(index);
    let mut round = 0;
    while is_there() && round < 50 {
        round += 1;
        for index in (0..KEYS).filter(|index| !stays(index)) {
            put(&drive, &store, &mut model, index, round);
        }
    }
    assert!(!is_there(), "after {round} rounds, {} reclaims", store.stats().reclaims);
    assert!(!left.is_empty());
    assert_eq!(lost_by_get(&drive, &store, &model), left);
    assert_eq!(lost_by_list(&drive, &store, &model), left);
}
