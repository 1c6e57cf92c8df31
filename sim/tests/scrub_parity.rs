//! The scrub of what makes up for a storage element: a latent error in a zone of values, in parity,
//! in a copy, or in the log's mirror is found and mended before an element dies, which then takes
//! nothing with it.

use std::collections::BTreeMap;

use crate::shelf::{
    MEDIA, MEMORY_LEN, Model, Shop, formatted, lost_by_get, lost_by_list, open, plan, put,
};
use shingle_engine::zone::Role;
use shingle_engine::{Finding, Meta, Redundancy, Remedy, WriteOptions, ZoneUse};
use shingle_hal::{Class, Device, Lba, Request, ZoneId};
use shingle_sim::harness::choices::Choices;
use shingle_sim::harness::grouped;
use shingle_sim::harness::scrubbed::{ScrubConfig, run};
use shingle_sim::{Drive, Outcome, synthetic};

const WITH_PARITY: Redundancy = Redundancy { mirror_runs: true, parity: 2, ..Redundancy::NONE };

/// Zones of a role, with the blocks that each was written.
fn zones(drive: &Drive, store: &Shop<'_, '_>, role: Role) -> Vec<(ZoneUse, u64)> {
    let written = crate::shelf::zones_of(drive).into_iter();
    let both = written.filter_map(|zone| Some((store.zone_use(zone.zone)?, zone.write_pointer.0)));
    both.map(|(zone, blocks)| (zone, u64::from(blocks)))
        .filter(|(zone, blocks)| zone.role == role && *blocks > 2)
        .collect()
}

fn read(drive: &Drive, lba: Lba) -> Vec<u8> {
    let mut block = vec![0; drive.geometry().block_len_bytes as usize];
    drive.block_on(drive.read(lba, &mut block, Request::of(Class::Idle))).expect("read");
    block
}

/// Scrubs until a pass ends that was begun now; gives what it found.
fn pass(drive: &Drive, store: &Shop<'_, '_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let passes = store.stats().scrub.passes;
    while store.stats().scrub.passes == passes {
        let take = &mut |one: &Finding| found.push(*one);
        drive.block_on(store.scrub_each(1 << 20, take)).expect("scrub");
    }
    found
}

#[test]
fn latent_errors_where_values_have_parity_cost_nothing() {
    for seed in 0..24 {
        let parity = 1 + (seed % 3) as u8;
        let config = ScrubConfig { keys: 400, errors: 30, mirror: true, parity };
        let scrubbed = run(seed, config).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(scrubbed.lost_keys, 0);
        if seed < 3 {
            println!("{parity}+1: {scrubbed:?}");
        }
    }
}

#[test]
fn latent_error_in_any_part_of_a_group_is_mended_before_an_element_dies() {
    let mut hits = BTreeMap::new();
    for seed in 0..48u64 {
        let mut choices = Choices::new(seed);
        let drive = formatted(MEDIA, WITH_PARITY);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = open(&drive, &mut memory);
        for index in 0..300 + choices.below(30) as u32 {
            put(&drive, &store, &mut model, index, 0);
        }
        if seed % 8 < 4 {
            // Or they have copies.
            drive.block_on(store.maintain(10_000)).expect("maintain");
        }
        let role = if seed % 2 == 0 { Role::Log } else { Role::Parity };
        let mut targets = zones(&drive, &store, role);
        targets.retain(|(zone, _)| {
            zone.head == (seed % 4 < 2) && (role != Role::Log || zone.live_bytes > 0)
        });
        let (target, blocks) = targets[choices.below(targets.len() as u64) as usize];
        let number = 1 + choices.below(blocks - 1);
        let lba = Lba(u64::from(target.zone.0) * 64 + number);
        let bytes = read(&drive, lba);
        let same = |(zone, _): &(ZoneUse, u64)| {
            read(&drive, Lba(u64::from(zone.zone.0) * 64 + number)) == bytes
        };
        let is_copy = role == Role::Parity
            && zones(&drive, &store, Role::Log)
                .iter()
                .filter(|(_, blocks)| *blocks > number)
                .any(same);
        *hits.entry((format!("{role:?}"), target.head, is_copy)).or_insert(0) += 1;
        let kind = choices.pick(&["read-error", "bit-rot"]);
        drive.set_faults(&plan(&format!("{kind} sticky lba={}", lba.0)), seed);
        let when = format!("seed {seed}: {kind} in {target:?}, copy {is_copy}");
        let found = pass(&drive, &store);
        let at: Vec<Lba> = found.iter().map(|one| one.extent.start).collect();
        assert_eq!(at, [lba], "{when}");
        assert!(found[0].role == role && found[0].remedy != Remedy::None, "{when}: {found:?}");
        drive.block_on(store.maintain(10_000)).expect("maintain");
        store.check_invariants();
        let now = store.zone_use(target.zone).expect("a zone");
        assert_ne!(now.generation, target.generation, "{when}: it is in use yet");
        assert_eq!(store.stats().bare_zones, 0, "{when}: {:?}", store.stats());
        assert_eq!(store.stats().scrub.mended, 1, "{when}");
        let element = choices.below(4);
        drive.set_faults(&plan(&format!("element-lost sticky element={element} at=request:0")), 1);
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "{when}, {element} died");
        assert!(lost_by_list(&drive, &store).is_empty(), "{when}, {element} died");
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::Seeded(seed));
        let store = open(&drive, &mut memory);
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "{when}, after a cut");
    }
    println!("{hits:?}");
    let of =
        |role: &str, head, copy| hits.get(&(role.to_owned(), head, copy)).copied().unwrap_or(0);
    assert!(of("Log", true, false) > 5 && of("Log", false, false) > 5, "{hits:?}");
    assert!(
        of("Parity", true, true) > 5
            && of("Parity", false, false) > 4
            && of("Parity", false, true) > 4,
        "{hits:?}"
    );
}

/// The element of the zone that the log is written to now.
fn log_element(store: &Shop<'_, '_>) -> u32 {
    let mut uses = (0..240).filter_map(|zone| store.zone_use(ZoneId(zone)));
    let head = uses.find(|zone| zone.role == Role::Log && zone.head);
    head.expect("the log has a head").zone.0 % 4
}

#[test]
fn latent_error_in_the_mirror_of_the_log_is_mended_before_the_element_of_the_log_dies() {
    for seed in 0..24u64 {
        let mut choices = Choices::new(seed);
        let drive = formatted(
            MEDIA,
            Redundancy { mirror_log: true, mirror_runs: true, ..Redundancy::NONE },
        );
        let mut memory = vec![0; 2 * MEMORY_LEN];
        let mut model = Model::new();
        let mut store = open(&drive, &mut memory);
        for index in 0..40 + choices.below(40) as u32 {
            let small = synthetic::value(u64::from(index) << 16, 100);
            let name = crate::shelf::key(index);
            let done = store.put(&name, Meta::NONE, &small, WriteOptions::DURABLE);
            drive.block_on(done).expect("put");
            model.insert(index, (u64::from(index) << 16, 100));
        }
        let log = log_element(&store);
        if seed % 3 == 2 {
            // Of a life before, it covers what replay brought and no run holds.
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::LoseAll);
            store = open(&drive, &mut memory);
        }
        let (mirror, blocks) = zones(&drive, &store, Role::LogMirror)[0];
        let lba = u64::from(mirror.zone.0) * 64 + 1 + choices.below(blocks - 2);
        let kind = choices.pick(&["read-error", "bit-rot"]);
        let latent = format!("{kind} sticky lba={lba}");
        drive.set_faults(&plan(&latent), seed);
        let found = pass(&drive, &store);
        let at: Vec<u64> = found.iter().map(|one| one.extent.start.0).collect();
        assert_eq!(at, [lba], "seed {seed}: {found:?}");
        assert!(found[0].role == Role::LogMirror && found[0].remedy == Remedy::Memory);
        drive.block_on(store.maintain(1000)).expect("maintain");
        assert_eq!(store.stats().scrub.mended, 1, "seed {seed}");
        assert!(pass(&drive, &store).is_empty(), "seed {seed}: what it covers is in a run");
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        drive.set_faults(&plan(&format!("{latent}; element-lost element={log} at=request:0")), 1);
        let store = open(&drive, &mut memory);
        assert!(lost_by_get(&drive, &store, &model).is_empty(), "seed {seed}: {kind}");
        store.check_invariants();
    }
}

#[test]
fn element_that_dies_with_power_takes_nothing_whatever_groups_are_under_way() {
    for seed in (0..300).chain([25764]) {
        grouped::run(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn pass_on_a_sound_drive_with_parity_and_a_mirror_finds_nothing() {
    let media = ["disk-tiny:zones=240", "smr:zones=240,zone-kib=256,elements=4", MEDIA];
    for (media, seed) in media.into_iter().zip(0..) {
        for parity in [1, 2] {
            let media = format!("{},timing=instant", media.replace(",timing=instant", ""));
            let redundancy = Redundancy { mirror_log: true, parity, ..WITH_PARITY };
            let drive = formatted(&media, redundancy);
            let mut memory = vec![0; 2 * MEMORY_LEN];
            let mut model = Model::new();
            for life in 0..12u64 {
                let store = open(&drive, &mut memory);
                for index in 0..60 {
                    put(&drive, &store, &mut model, index * 7 % 100, life);
                }
                let found = [pass(&drive, &store), pass(&drive, &store)];
                let stats = store.stats().scrub;
                assert_eq!(stats.found_total(), 0, "{media}, life {life}: {found:?}");
                drop(store);
                drive.cut_after(0);
                drive.power_on(Outcome::Seeded(life + seed));
            }
        }
    }
}
