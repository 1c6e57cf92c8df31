//! Zones whose capacity shrinks when they are reset.

use crate::shelf::{MEMORY_LEN, Model, key, lost_by_get, new_drive, open, plan};
use shingle_engine::zone::Role;
use shingle_engine::{Durability, Meta, Store, WriteOptions};
use shingle_hal::{Device, ZoneDescriptor, ZoneId};
use shingle_sim::{Drive, Outcome, synthetic};

/// 64 zones of 32 blocks.
const MEDIA: &str = "nor-1m:timing=instant";

fn put(
    drive: &Drive,
    store: &Store<'_, &Drive>,
    model: &mut Model,
    (index, len): (u32, usize),
    options: WriteOptions<'_>,
) {
    let seed = u64::from(index) << 32 | len as u64;
    let value = synthetic::value(seed, len);
    let done = drive.block_on(store.put(&key(index), Meta::NONE, &value, options));
    done.unwrap_or_else(|error| panic!("put {index} of {len} bytes: {error}"));
    model.insert(index, (seed, len));
}

fn capacities(drive: &Drive) -> Vec<u32> {
    let mut out = vec![ZoneDescriptor::EMPTY; drive.geometry().zone_count as usize];
    drive.block_on(drive.report(ZoneId(0), &mut out)).expect("report");
    out.iter().map(|zone| zone.capacity.0).collect()
}

/// Zones of which little is left would bound every record.
#[test]
fn zones_that_shrank_below_half_are_left_out() {
    let drive = new_drive(MEDIA, false);
    let mut memory = vec![0; MEMORY_LEN];
    let before = open(&drive, &mut memory).stats().capacity_bytes;
    drive.set_faults(&plan("capacity-shrink 9999x extent=1024+512 p=0.4"), 1);
    let options = WriteOptions { durability: Durability::Buffered, ..WriteOptions::DURABLE };
    let mut model = Model::new();
    for round in 0..40 {
        let store = open(&drive, &mut memory);
        for index in 0..40 {
            let item = (index, 4000 + round * 10);
            put(&drive, &store, &mut model, item, options);
        }
        drive.block_on(store.close()).expect("close");
    }
    let store = open(&drive, &mut memory);
    let small = (0..).zip(capacities(&drive)).filter(|(_, capacity)| *capacity < 16);
    let small: Vec<_> = small.filter_map(|(zone, _)| store.zone_use(ZoneId(zone))).collect();
    // What is in use still is retired later.
    assert!(small.iter().any(|zone| zone.role == Role::Retired), "{small:?}");
    assert!(small.iter().all(|zone| zone.role != Role::Free), "{small:?}");
    assert!(store.stats().capacity_bytes < before);
    put(&drive, &store, &mut model, (99, 16 << 10), options);
    assert!(lost_by_get(&drive, &store, &model).is_empty());
}

/// The log's zone may have shrunk before it was taken, be written up to its last byte, and go on in
/// another zone from any of its blocks on: the log goes on behind it.
#[test]
fn shrunk_zone_that_goes_on_elsewhere_ends_where_the_log_left_it() {
    for at in 1..400 {
        let drive = new_drive(MEDIA, false);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let faults = format!("capacity-shrink 9999x p=1; write-error at=request:{at}");
        drive.set_faults(&plan(&faults), at);
        for life in 0..6 {
            let store = open(&drive, &mut memory);
            for index in 0..24 {
                let item = (100 * life + index, 300);
                put(&drive, &store, &mut model, item, WriteOptions::DURABLE);
            }
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::LoseAll);
        }
        let store = open(&drive, &mut memory);
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "write {at} failed");
    }
}
