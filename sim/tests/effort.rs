//! What is read with effort is written anew elsewhere before it dies, and a slow element is not.

use crate::shelf::{MEDIA, MEMORY_LEN, Model, lost_by_get, new_drive, open, plan, put};
use shingle_engine::zone::Role;
use shingle_hal::ZoneId;

#[test]
fn zone_that_is_read_with_effort_is_written_anew() {
    for (structure, mirror) in
        [("value", false), ("run-data", false), ("run-data", true), ("run-index", false)]
    {
        let drive = new_drive(MEDIA, mirror);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        for index in 0..600 {
            put(&drive, &store, &mut model, index, 0);
        }
        drive.block_on(store.compact()).expect("compact");
        drive.block_on(store.checkpoint()).expect("checkpoint");
        drop(store);
        let store = open(&drive, &mut memory);
        drive.set_faults(&plan(&format!("slow-read sticky structure={structure} at=request:0")), 1);
        assert!(lost_by_get(&drive, &store, &model).is_empty());
        let hit = drive.take_fault_hits()[0].extent.start;
        let zone = ZoneId((hit.0 / 64) as u32);
        let before = store.zone_use(zone).expect("a zone");
        drive.block_on(store.maintain(3000)).expect("maintain");
        let after = store.zone_use(zone).expect("a zone");
        assert_ne!(before.generation, after.generation, "{structure}: {before:?}");
        assert!(after.role != Role::Retired, "it can be used again");
        // Now it dies: nothing is lost by it.
        drive.lift_faults();
        drive.set_faults(&plan(&format!("read-error sticky lba={}", hit.0)), 1);
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "{structure}");
        store.check_invariants();
    }
}

#[test]
fn slow_element_is_not_written_anew() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    for index in 0..1200 {
        put(&drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.compact()).expect("compact");
    drive.block_on(store.checkpoint()).expect("checkpoint");
    drop(store);
    let store = open(&drive, &mut memory);
    drive.set_faults(&plan("slow-read sticky element=1 p=1; element-slow element=2"), 1);
    for _ in 0..10 {
        assert!(lost_by_get(&drive, &store, &model).is_empty());
        drive.block_on(store.maintain(3000)).expect("maintain");
    }
    let stats = store.stats();
    let anew = stats.rebuilds + stats.reclaims;
    assert!(anew <= 4 + 240 / 64 + 4, "{anew} zones were written anew");
}
