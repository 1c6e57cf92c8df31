//! Zones and elements that are taken out of use: what lives there moves, also across power cuts.

use crate::shelf::{
    MEDIA, MEMORY_LEN, Model, Shop, lost_by_get, lost_by_list, new_drive, open, put,
};
use shingle_engine::WriteError;
use shingle_engine::zone::Role;
use shingle_hal::{ElementId, ZoneId};
use shingle_sim::{Drive, Outcome};

/// Zones of `element` that are in use for anything but superblocks.
fn in_use(drive: &Drive, store: &Shop<'_, '_>, element: u16) -> usize {
    let zones = crate::shelf::zones_of(drive);
    let of_element = zones.iter().filter(|zone| zone.element == ElementId(element));
    let roles = of_element.filter_map(|zone| store.zone_use(zone.zone)).map(|zone| zone.role);
    roles.filter(|role| !matches!(role, Role::Retired | Role::Anchor)).count()
}

fn fill(drive: &Drive, store: &Shop<'_, '_>, model: &mut Model, keys: std::ops::Range<u32>) {
    for index in keys {
        put(drive, store, model, index, 0);
    }
}

#[test]
fn element_is_evacuated_across_power_cuts_and_never_used_again() {
    for mirror in [false, true] {
        let drive = new_drive(MEDIA, mirror);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        fill(&drive, &store, &mut model, 0..1200);
        let before = store.stats().capacity_bytes;
        drive.block_on(store.evacuate_element(ElementId(2))).expect("evacuate");
        assert!(store.stats().capacity_bytes < before, "the store promises less at once");
        let first = store.evacuation().asked_left;
        assert!(first > 10, "{first} zones to empty");
        drop(store);
        let (mut left, mut lives) = (first, 0u64);
        while left > 0 {
            assert!(lives < 400, "{left} zones left: it does not go on");
            drive.cut_after(0);
            drive.power_on(Outcome::Seeded(lives));
            let store = open(&drive, &mut memory);
            let known = store.evacuation().asked_left;
            assert!(known > 0 || left == 1, "what was asked for is known after a cut");
            let steps = drive.block_on(store.maintain(5)).expect("maintain");
            assert!(steps > 0 || store.evacuation().asked_left == 0, "{:?}", store.evacuation());
            if lives.is_multiple_of(5) {
                let index = lives as u32 % 1200;
                put(&drive, &store, &mut model, index, 1 + lives);
            }
            left = store.evacuation().asked_left;
            store.check_invariants();
            lives += 1;
        }
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        let store = open(&drive, &mut memory);
        assert_eq!(in_use(&drive, &store, 2), 0, "mirror {mirror}");
        for round in 100..103 {
            for index in 0..400 {
                put(&drive, &store, &mut model, index, round);
            }
        }
        drive.block_on(store.compact()).expect("compact");
        assert_eq!(in_use(&drive, &store, 2), 0, "mirror {mirror}");
        assert!(lost_by_get(&drive, &store, &model).is_empty());
        assert!(lost_by_list(&drive, &store).is_empty());
        store.check_invariants();
    }
}

#[test]
fn zone_of_the_open_log_is_evacuated_without_losing_its_records() {
    for life in 0..10 {
        let drive = new_drive(MEDIA, false);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        fill(&drive, &store, &mut model, 0..30 + life);
        let count = store.stats().zone_count;
        let uses = (0..count).filter_map(|zone| store.zone_use(ZoneId(zone)));
        let head = uses.filter(|zone| zone.role == Role::Log && zone.head).last();
        let head = head.expect("the log has a zone").zone;
        drive.block_on(store.evacuate_zone(head)).expect("evacuate");
        drive.block_on(store.maintain(200)).expect("maintain");
        assert_eq!(store.zone_use(head).map(|zone| zone.role), Some(Role::Retired));
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        let store = open(&drive, &mut memory);
        assert!(lost_by_get(&drive, &store, &model).is_empty());
        assert_eq!(store.zone_use(head).map(|zone| zone.role), Some(Role::Retired));
    }
}

#[test]
fn any_zone_can_be_evacuated() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    fill(&drive, &store, &mut model, 0..300);
    let mut roles = std::collections::BTreeSet::new();
    for zone in (0..60).map(|index| ZoneId(index * 2)) {
        let role = store.zone_use(zone).expect("a zone").role;
        roles.insert(role);
        drive.block_on(store.evacuate_zone(zone)).expect("evacuate");
        put(&drive, &store, &mut model, zone.0, 1);
        drive.block_on(store.maintain(300)).expect("maintain");
        store.check_invariants();
        let now = store.zone_use(zone).expect("a zone").role;
        let gone = if role == Role::Anchor { Role::Anchor } else { Role::Retired };
        assert_eq!(now, gone, "{zone} was {role:?}");
    }
    for role in [Role::Anchor, Role::Manifest, Role::Log, Role::Run, Role::Twin, Role::Free] {
        assert!(roles.contains(&role), "a {role:?} zone was among them: {roles:?}");
    }
    assert!(lost_by_get(&drive, &store, &model).is_empty());
    assert!(lost_by_list(&drive, &store).is_empty());
}

#[test]
fn evacuation_that_would_not_fit_is_refused() {
    let drive = new_drive(MEDIA, false);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    let mut index = 0;
    while store.stats().used_bytes < store.stats().capacity_bytes * 9 / 10 {
        index += 1;
        put(&drive, &store, &mut model, index, 0);
    }
    let refused = drive.block_on(store.evacuate_element(ElementId(1)));
    assert!(matches!(refused, Err(WriteError::Full)), "{refused:?}");
    assert_eq!(store.evacuation().asked_left, 0);
    put(&drive, &store, &mut model, 1, 1);
    assert!(lost_by_get(&drive, &store, &model).is_empty());
}

#[test]
fn zone_that_failed_is_retired_in_later_lives() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    drive.set_faults(&crate::shelf::plan("write-error 12x p=0.05"), 3);
    for round in 0..3 {
        for index in 0..200 {
            put(&drive, &store, &mut model, index, round);
        }
    }
    drive.lift_faults();
    let failed = store.stats().failed_zones;
    assert!(failed > 5, "{failed} zones failed");
    drive.block_on(store.checkpoint()).expect("checkpoint");
    drop(store);
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    // The drive has forgotten; the store has not.
    let store = open(&drive, &mut memory);
    assert_eq!(store.stats().failed_zones, failed);
    drive.block_on(store.maintain(2000)).expect("maintain");
    assert_eq!(store.evacuation().zones_left, 0);
    assert_eq!(store.stats().failed_zones, failed);
    assert!(lost_by_get(&drive, &store, &model).is_empty());
}
