//! Zones and elements that are taken out of use where values have parity: nothing is lost, also
//! across power cuts, and what moved is protected as before.

use std::collections::{BTreeMap, BTreeSet};

use crate::shelf::{
    MEMORY_LEN, Model, Shop, formatted, lost_by_get, lost_by_list, open, plan, put,
};
use shingle_engine::Redundancy;
use shingle_engine::zone::Role;
use shingle_hal::{ElementId, ZoneId};
use shingle_sim::{Drive, Outcome};

const MEDIA: &str = "smr:zones=300,zone-kib=256,conventional=0,elements=5,timing=instant";
const REDUNDANCY: Redundancy = Redundancy { mirror_runs: true, mirror_log: true, parity: 2 };

fn role_of(store: &Shop<'_, '_>, zone: ZoneId) -> Role {
    store.zone_use(zone).expect("a zone").role
}

/// Zones of `element` that are in use for anything but superblocks.
fn in_use(drive: &Drive, store: &Shop<'_, '_>, element: u16) -> usize {
    let zones = crate::shelf::zones_of(drive).into_iter();
    let of_element = zones.filter(|zone| zone.element == ElementId(element));
    let roles = of_element.map(|zone| role_of(store, zone.zone));
    roles.filter(|role| !matches!(role, Role::Retired | Role::Anchor)).count()
}

fn assert_whole(drive: &Drive, store: &Shop<'_, '_>, model: &Model, when: &str) {
    assert!(lost_by_get(drive, store, model).is_empty(), "{when}");
    assert!(lost_by_list(drive, store).is_empty(), "{when}");
    store.check_invariants();
}

#[test]
fn any_zone_of_a_store_with_parity_can_be_evacuated() {
    let drive = formatted(MEDIA, REDUNDANCY);
    let mut memory = vec![0; 2 * MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    for index in 0..400 {
        put(&drive, &store, &mut model, index, 0);
    }
    let (mut roles, mut tried) = (BTreeMap::new(), BTreeSet::new());
    for round in 0..60 {
        // The role that was tried the least so far.
        let left = (0..300).map(ZoneId).filter(|zone| !tried.contains(zone));
        let usable = left.filter(|zone| role_of(&store, *zone) != Role::Retired);
        let count = |zone: &ZoneId| roles.get(&role_of(&store, *zone)).copied().unwrap_or(0);
        let zone = usable.min_by_key(count).expect("a zone");
        let role = role_of(&store, zone);
        *roles.entry(role).or_insert(0) += 1;
        tried.insert(zone);
        drive.block_on(store.evacuate_zone(zone)).expect("evacuate");
        put(&drive, &store, &mut model, round, 1);
        drive.block_on(store.maintain(2000)).expect("maintain");
        store.check_invariants();
        let gone = if role == Role::Anchor { Role::Anchor } else { Role::Retired };
        assert_eq!(role_of(&store, zone), gone, "{zone} was {role:?}");
        assert_eq!(store.stats().bare_zones, 0, "{zone} was {role:?}");
    }
    for role in [Role::Log, Role::Parity, Role::LogMirror, Role::Run, Role::Twin, Role::Manifest] {
        assert!(roles.get(&role) > Some(&3), "{role:?} zones were among them: {roles:?}");
    }
    assert_whole(&drive, &store, &model, "evacuated");
    drive.set_faults(&plan("element-lost sticky element=3 at=request:0"), 1);
    assert_whole(&drive, &store, &model, "evacuated, and an element died");
}

#[test]
fn element_of_a_store_with_parity_is_evacuated_across_cuts_and_another_may_die() {
    for dies in [0, 1, 3, 4] {
        let drive = formatted(MEDIA, REDUNDANCY);
        let mut memory = vec![0; 2 * MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        for index in 0..700 {
            put(&drive, &store, &mut model, index, 0);
        }
        drive.block_on(store.evacuate_element(ElementId(2))).expect("evacuate");
        let mut left = store.evacuation().asked_left;
        assert!(left > 10, "{left} zones to empty");
        drop(store);
        let mut lives = 0u64;
        while left > 0 {
            assert!(lives < 400, "{left} zones left: it does not go on");
            drive.cut_after(0);
            drive.power_on(Outcome::Seeded(lives));
            let store = open(&drive, &mut memory);
            let steps = drive.block_on(store.maintain(8)).expect("maintain");
            assert!(steps > 0 || store.evacuation().asked_left == 0, "{:?}", store.evacuation());
            if lives.is_multiple_of(5) {
                put(&drive, &store, &mut model, lives as u32 % 700, 1 + lives);
            }
            left = store.evacuation().asked_left;
            store.check_invariants();
            lives += 1;
        }
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        let store = open(&drive, &mut memory);
        assert_eq!(in_use(&drive, &store, 2), 0);
        assert_whole(&drive, &store, &model, "evacuated");
        drive.block_on(store.maintain(10_000)).expect("maintain");
        assert_eq!(store.stats().bare_zones, 0, "{:?}", store.stats());
        let lost = format!("element-lost sticky element={dies} at=request:0");
        drive.set_faults(&plan(&lost), 1);
        assert_whole(&drive, &store, &model, "another element died");
        for index in 0..100 {
            put(&drive, &store, &mut model, index, 900);
        }
        assert_eq!(in_use(&drive, &store, 2), 0, "what was taken out of use is not used");
        assert_whole(&drive, &store, &model, "and keys were written");
    }
}
