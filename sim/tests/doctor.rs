//! The doctor names the right cause, element and band.

use crate::shelf::{MEDIA, MEMORY_LEN, Model, Shop, new_drive, open, plan, put};
use shingle_engine::zone::Role;
use shingle_hal::ZoneId;
use shingle_sim::doctor::{Cause, Diagnosis, Kind, diagnose};
use shingle_sim::{Drive, Outcome};

fn filled<'m, 'd>(drive: &'d Drive, memory: &'m mut [u8]) -> Shop<'m, 'd> {
    let mut model = Model::new();
    let store = open(drive, memory);
    for index in 0..1200 {
        put(drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    store
}

fn only(diagnosis: &Diagnosis) -> &Cause {
    assert_eq!(diagnosis.causes.len(), 1, "{:#?}", diagnosis.lines());
    &diagnosis.causes[0]
}

/// A zone of values in the middle of them.
fn value_zone(store: &Shop<'_, '_>) -> ZoneId {
    let uses = (0..240).filter_map(|zone| store.zone_use(ZoneId(zone)));
    let values: Vec<_> = uses.filter(|zone| zone.role == Role::Log && !zone.head).collect();
    values[values.len() / 2].zone
}

#[test]
fn sound_drive_has_nothing_wrong_also_after_cuts() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    drop(filled(&drive, &mut memory));
    for life in 0..5 {
        drive.cut_after(0);
        drive.power_on(Outcome::Seeded(life));
        let store = open(&drive, &mut memory);
        let diagnosis = drive.block_on(diagnose(&store));
        assert!(diagnosis.causes.is_empty(), "{:#?}", diagnosis.lines());
        assert!(diagnosis.untold.is_empty() && diagnosis.lost_keys == 0);
        put(&drive, &store, &mut Model::new(), life as u32, 7);
    }
}

#[test]
fn dead_head_is_named_with_its_element_and_lost_keys() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let store = filled(&drive, &mut memory);
    drive.set_faults(&plan("element-lost sticky element=2 at=request:0"), 1);
    drive.block_on(store.maintain(2000)).expect("maintain");
    let diagnosis = drive.block_on(diagnose(&store));
    let cause = only(&diagnosis);
    assert_eq!((cause.kind, cause.element), (Kind::ElementLost, Some(2)));
    assert_eq!(cause.seen, 60);
    assert!(diagnosis.lost_keys > 50 && !diagnosis.first_lost.is_empty());
}

#[test]
fn failing_head_is_told_from_a_damaged_surface() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let store = filled(&drive, &mut memory);
    drive.set_faults(&plan("read-error sticky element=1 p=0.3"), 1);
    let diagnosis = drive.block_on(diagnose(&store));
    let cause = only(&diagnosis);
    assert_eq!((cause.kind, cause.element), (Kind::HeadFailing, Some(1)));
    drop(store);

    let drive = new_drive(MEDIA, true);
    let store = filled(&drive, &mut memory);
    let zone = value_zone(&store);
    let first = u64::from(zone.0) * 64 + 20;
    // The end of one zone and the beginning of the next, which another head reads.
    drive.set_faults(&plan(&format!("read-error sticky extent={first}+60")), 1);
    let diagnosis = drive.block_on(diagnose(&store));
    let cause = only(&diagnosis);
    assert_eq!(cause.kind, Kind::SurfaceDamaged);
    let (from, to) = cause.band.expect("a band");
    assert!(from >= first && to < first + 64, "{from} to {to}, and not {first} to {}", first + 60);
}

#[test]
fn lost_and_misdirected_writes_are_told_apart() {
    for (fault, kind) in [
        ("lost-write 6x structure=value p=0.1", Kind::LostWrites),
        ("misdirected-write 4x structure=value p=0.1", Kind::MisdirectedWrites),
    ] {
        let drive = new_drive(MEDIA, true);
        let mut memory = vec![0; MEMORY_LEN];
        drop(filled(&drive, &mut memory));
        let store = open(&drive, &mut memory);
        drive.set_faults(&plan(fault), 1);
        let mut model = Model::new();
        for index in 0..300 {
            put(&drive, &store, &mut model, index, 1);
        }
        assert!(drive.fault_counts().total() >= 4, "writes went wrong");
        let diagnosis = drive.block_on(diagnose(&store));
        let cause = only(&diagnosis);
        assert_eq!(cause.kind, kind, "{:#?}", diagnosis.lines());
        assert!(cause.kind.is_firmware());
    }
}

#[test]
fn rot_and_write_faults_are_the_mediums() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let store = filled(&drive, &mut memory);
    drive.set_faults(&plan("bit-rot 12x structure=value p=0.2"), 1);
    let diagnosis = drive.block_on(diagnose(&store));
    let cause = only(&diagnosis);
    assert_eq!(cause.kind, Kind::Rot);
    assert!(!cause.kind.is_firmware());
    drop(store);

    let drive = new_drive(MEDIA, true);
    let store = filled(&drive, &mut memory);
    drive.set_faults(&plan("write-error 8x element=3 p=0.3"), 1);
    for index in 0..300 {
        put(&drive, &store, &mut Model::new(), index, 1);
    }
    drive.lift_faults();
    let diagnosis = drive.block_on(diagnose(&store));
    let cause = only(&diagnosis);
    assert_eq!((cause.kind, cause.element), (Kind::WriteFaults, Some(3)));
}

#[test]
fn sync_that_lied_is_named_where_records_are_gone_and_no_block_is_bad() {
    let mut named = 0;
    for seed in 0..40 {
        let drive = new_drive(MEDIA, true);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        let zone = |store: &Shop<'_, '_>| {
            let mut uses = (0..240).filter_map(|zone| store.zone_use(ZoneId(zone)));
            uses.find(|zone| zone.role == Role::Log && zone.head).map(|zone| zone.zone)
        };
        for index in 0..20 {
            put(&drive, &store, &mut model, index, 0);
        }
        // What lies behind the end of a zone that lost its tail says that the tail was durable.
        let first = zone(&store);
        drive.set_faults(&plan("sync-lie sticky at=request:0"), seed);
        for index in 20..100 {
            put(&drive, &store, &mut model, index, 0);
            if index % 4 == 0 && zone(&store) != first {
                break;
            }
        }
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::Seeded(seed));
        drive.lift_faults();
        let store = open(&drive, &mut memory);
        if store.stats().lost_seqs.is_none() {
            continue; // the end of the log is gone as a whole, or nothing is
        }
        let diagnosis = drive.block_on(diagnose(&store));
        if !diagnosis.findings.is_empty() {
            continue; // the cut tore a block that was held to be durable
        }
        let cause = only(&diagnosis);
        assert_eq!(cause.kind, Kind::SyncLied, "seed {seed}: {:#?}", diagnosis.lines());
        assert!(cause.kind.is_firmware() && cause.element.is_none() && cause.band.is_none());
        named += 1;
    }
    assert!(named > 4, "{named} of 40");
}
