//! The anchors: whichever of the two fails, and whenever, the other one leads to what was
//! acknowledged.

use std::cmp::Ordering;

use crate::shelf::{MEMORY_LEN, Model, key, lost_by_get, new_drive, plan};
use shingle_engine::format::superblock::Superblock;
use shingle_engine::{
    FormatOptions, Limits, Meta, OpenError, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::{Device, Request, ZoneCondition, ZoneDescriptor, ZoneId};
use shingle_sim::{Drive, Outcome, synthetic};

const MEDIA: &str = "nor-1m:timing=instant";
const KEYS: u32 = 8;

/// Puts a key of few bytes, durable; whether that succeeded.
fn put(drive: &Drive, store: &Store<'_, &Drive>, model: &mut Model, index: u32) -> bool {
    let seed = u64::from(index) << 16;
    let (key, value) = (key(index), synthetic::value(seed, 100));
    let done = drive.block_on(store.put(&key, Meta::NONE, &value, WriteOptions::DURABLE));
    if done.is_ok() {
        model.insert(index, (seed, 100));
    }
    done.is_ok()
}

/// Puts keys until one fails; says how many were put.
fn fill(drive: &Drive, model: &mut Model, first: u32) -> u32 {
    let mut memory = vec![0; MEMORY_LEN];
    let Ok(store) = drive.block_on(Store::open(drive, &mut memory)) else { return 0 };
    let done = (first..first + KEYS).take_while(|index| put(drive, &store, model, *index));
    done.count() as u32
}

/// Puts keys and checkpoints after each, so that the manifest moves on within one life, as long as
/// `goes_on` says so.
fn churn(drive: &Drive, model: &mut Model, goes_on: impl Fn(u32) -> bool) {
    let mut memory = vec![0; MEMORY_LEN];
    let Ok(store) = drive.block_on(Store::open(drive, &mut memory)) else { return };
    for index in (0..8 * KEYS).take_while(|index| goes_on(*index)) {
        if !put(drive, &store, model, index) || drive.block_on(store.checkpoint()).is_err() {
            return;
        }
    }
}

/// Panics if anything is missing.
fn check(drive: &Drive, model: &Model, what: &str) {
    let mut memory = vec![0; MEMORY_LEN];
    let store = drive.block_on(Store::open(drive, &mut memory));
    let store = store.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(lost_by_get(drive, &store, model).is_empty(), "{what}");
}

fn cut(drive: &Drive) {
    cut_to(drive, Outcome::LoseAll);
}

/// Power fails, if it has not, and returns with what a cut may leave.
fn cut_to(drive: &Drive, outcome: Outcome) {
    if !drive.is_cut() {
        drive.cut_after(0);
    }
    drive.power_on(outcome);
}

fn written(drive: &Drive, zone: u32) -> u32 {
    let mut out = [ZoneDescriptor::EMPTY];
    drive.block_on(drive.report(ZoneId(zone), &mut out)).expect("report");
    out[0].write_pointer.0
}

/// A device may say that it wrote a superblock, or that it did not, and be right or wrong.
#[test]
fn superblock_that_one_anchor_did_not_get_is_written_again() {
    for kind in ["lost-write", "torn-write", "timeout", "write-error"] {
        for other in [0, 1] {
            let what = format!("{kind}, then zone {other} is gone");
            let drive = new_drive(MEDIA, false);
            let mut model = Model::new();
            assert_eq!(fill(&drive, &mut model, 0), KEYS, "{what}");
            drive.set_faults(&plan(&format!("{kind} structure=superblock")), 1);
            assert_eq!(fill(&drive, &mut model, KEYS), KEYS, "{what}");
            assert_eq!(drive.fault_counts().total(), 1, "{what}");
            cut(&drive);
            drive.take_out_zone(ZoneId(other), ZoneCondition::Offline);
            check(&drive, &model, &what);
        }
    }
}

/// The newest superblock is in one anchor only, and that fails at some request of the next life.
#[test]
fn anchor_left_behind_by_a_cut_is_evened_before_anything_is_reset() {
    let full = new_drive(MEDIA, false);
    let mut before = Model::new();
    assert_eq!(fill(&full, &mut before, 0), KEYS);
    let (mut uneven, mut cases) = (0, 0);
    for at in 1..40 {
        let drive = full.fork();
        let mut model = before.clone();
        drive.cut_after_changes(at);
        fill(&drive, &mut model, KEYS);
        cut(&drive);
        let ahead = match written(&drive, 0).cmp(&written(&drive, 1)) {
            Ordering::Equal => continue,
            Ordering::Greater => ZoneId(0),
            Ordering::Less => ZoneId(1),
        };
        uneven += 1;
        for then in 1..40 {
            let drive = drive.fork();
            let mut model = model.clone();
            drive.cut_after_changes(then);
            let done = fill(&drive, &mut model, 2 * KEYS);
            cut(&drive);
            drive.take_out_zone(ahead, ZoneCondition::Offline);
            check(&drive, &model, &format!("cuts at {at} and {then}, {done} puts"));
            cases += 1;
        }
    }
    assert!(uneven > 0 && cases > 30, "{uneven} cuts between the anchors, {cases} cases");
}

/// A cut leaves the newest superblock in one anchor only, whose reads are stale in the next life:
/// that one publishes another of the same ordinal, maybe in the other anchor alone.
#[test]
fn superblocks_of_one_ordinal_do_not_hide_what_came_later() {
    let full = new_drive(MEDIA, false);
    let mut before = Model::new();
    assert_eq!(fill(&full, &mut before, 0), KEYS);
    let mut disputes = [0; 2];
    for (at, times) in (1..24).flat_map(|at| (1..12).map(move |times| (at, times))) {
        let (drive, mut model) = (full.fork(), before.clone());
        drive.set_faults(&plan(&format!("stale-read {times}x zone=0 p=1")), 1);
        drive.cut_after_changes(at);
        fill(&drive, &mut model, KEYS);
        cut(&drive);
        let published = newest(&drive.fork(), 1);
        // What the newest snapshot is in can be read, but not used again.
        let zones = 2..drive.geometry().zone_count;
        for zone in zones.filter(|zone| newest(&drive.fork(), *zone) > published) {
            drive.take_out_zone(ZoneId(zone), ZoneCondition::ReadOnly);
        }
        for is_read_only in [false, true] {
            let (drive, mut model) = (drive.fork(), model.clone());
            if is_read_only {
                drive.take_out_zone(ZoneId(0), ZoneCondition::ReadOnly);
            }
            fill(&drive, &mut model, 2 * KEYS);
            cut(&drive);
            drive.set_faults(&plan(""), 0);
            let [a, b] = [0, 1].map(|zone| superblocks(&drive, zone));
            let differs = |one: &Superblock| {
                let same = |other: &&Superblock| other.ordinal == one.ordinal;
                a.iter().chain(&b).filter(same).any(|other| other.manifest != one.manifest)
            };
            disputes[usize::from(is_read_only)] += u32::from(a.iter().any(differs));
            let what = format!("cut at {at}, {times} stale, {is_read_only}");
            check(&drive, &model, &what);
        }
    }
    assert!(disputes.iter().all(|count| *count > 0), "{disputes:?}");
}

/// With one anchor dead for good, the other one is reset now and then while it is the only one.
#[test]
fn only_anchor_may_be_empty_when_power_fails() {
    let mut empty = 0;
    for kind in ["write-error", "zone-read-only", "zone-offline"] {
        let drive = new_drive(MEDIA, false);
        let mut model = Model::new();
        assert_eq!(fill(&drive, &mut model, 0), KEYS);
        drive.set_faults(&plan(&format!("{kind} sticky zone=0 at=request:0")), 1);
        for life in 1..24 {
            for at in 1..24 {
                let (drive, mut model) = (drive.fork(), model.clone());
                drive.cut_after_changes(at);
                let done = fill(&drive, &mut model, life * KEYS);
                cut(&drive);
                empty += u32::from(written(&drive, 1) == 0);
                check(&drive, &model, &format!("{kind}, life {life}, cut at {at}, {done} puts"));
                // It goes on from there.
                fill(&drive, &mut model, (life + 1) * KEYS);
                cut(&drive);
                check(&drive, &model, &format!("{kind}, life {life}, cut at {at}, and on"));
                drive.take_out_zone(ZoneId(1), ZoneCondition::Offline);
                check(&drive, &model, &format!("{kind}, life {life}, cut at {at}, no anchor"));
            }
            fill(&drive, &mut model, life * KEYS);
            cut(&drive);
        }
    }
    assert!(empty > 0, "no cut left the only anchor empty");
}

/// The superblocks in a zone: in its first blocks, or in the header of a copy of the manifest.
fn superblocks(drive: &Drive, zone: u32) -> Vec<Superblock> {
    let geometry = drive.geometry();
    let mut block = vec![0; geometry.block_len_bytes as usize];
    let mut found = Vec::new();
    for at in 0..16 {
        let lba = geometry.zone_start(ZoneId(zone)).plus(at.into());
        if drive.block_on(drive.read(lba, &mut block, Request::default())).is_ok() {
            found.extend(Superblock::decode(&block, at));
            found.extend(Superblock::decode_in_header(&block).filter(|_| at == 0));
        }
    }
    found
}

/// The ordinal of the newest one in a zone.
fn newest(drive: &Drive, zone: u32) -> Option<u64> {
    superblocks(drive, zone).iter().map(|found| found.ordinal).max()
}

/// An anchor whose write failed gets the same superblock at once, after a reset, as the other one
/// leads to the last that was published.
#[test]
fn anchor_whose_write_failed_is_not_left_behind() {
    for media in ["nor-1m", "zns-tiny"] {
        let full = new_drive(&format!("{media}:timing=instant"), false);
        let mut before = Model::new();
        assert_eq!(fill(&full, &mut before, 0), KEYS);
        // What answers that it failed may have been written.
        for seed in 0..16 {
            let (drive, mut model) = (full.fork(), before.clone());
            drive.set_faults(&plan("write-error structure=superblock"), seed);
            churn(&drive, &mut model, |index| index < 1);
            assert_eq!(drive.fault_counts().total(), 1, "{media}, seed {seed}");
            assert_eq!(newest(&drive, 0), newest(&drive, 1), "{media}, seed {seed}");
        }
    }
}

/// One block of each anchor cannot be read: the others say enough, and no zone is searched.
#[test]
fn anchor_with_a_bad_block_is_read_block_by_block() {
    let drive = new_drive(MEDIA, false);
    let mut model = Model::new();
    for life in 0..3 {
        assert_eq!(fill(&drive, &mut model, life * KEYS), KEYS);
        cut(&drive);
    }
    let mount_reads = |drive: &Drive| {
        let mut memory = vec![0; MEMORY_LEN];
        let store = drive.block_on(Store::open(drive, &mut memory)).expect("open");
        (store.media_stats().reads, newest(drive, 0).min(newest(drive, 1)))
    };
    let (good, ordinal) = mount_reads(&drive.fork());
    let bad = drive.fork();
    let second = |zone| bad.geometry().zone_start(ZoneId(zone)).0 + 1;
    let rule = |zone| format!("read-error sticky lba={}", second(zone));
    bad.set_faults(&plan(&format!("{}; {}", rule(0), rule(1))), 1);
    let (reads, found) = mount_reads(&bad);
    assert!(bad.fault_counts().total() >= 2, "both blocks were asked for");
    assert_eq!(found, ordinal);
    let blocks = written(&bad, 0) + written(&bad, 1);
    assert!(reads <= good + u64::from(blocks), "{reads} reads, {good} when all is well");
    check(&bad, &model, "an older superblock is bad in each anchor");
}

/// An anchor that can be read, but not written any more, goes on naming an old manifest; the other
/// one is lost then. A cut may have come between the two before.
#[test]
fn anchor_that_cannot_be_written_leads_to_no_old_manifest() {
    for media in ["disk-tiny", "smr-tiny"] {
        let full = new_drive(&format!("{media}:timing=instant"), false);
        let mut before = Model::new();
        assert_eq!(fill(&full, &mut before, 0), KEYS);
        let (mut uneven, mut stale) = (0, 0);
        for (at, behind) in (1..600).flat_map(|at| [(at, 0), (at, 1)]) {
            let (full, mut before) = (full.fork(), before.clone());
            full.cut_after_changes(at);
            churn(&full, &mut before, |_| true);
            cut(&full);
            let is_uneven = newest(&full, behind) < newest(&full, 1 - behind);
            uneven += u32::from(is_uneven);
            // What answers that it failed may have been written.
            for seed in 0..if is_uneven { 64 } else { u64::from(at < 20) } {
                let (drive, mut model) = (full.fork(), before.clone());
                drive.set_faults(&plan(&format!("write-error 1000x zone={behind} p=1")), seed);
                fill(&drive, &mut model, 8 * KEYS);
                cut(&drive);
                stale += u32::from(newest(&drive, behind) < newest(&drive, 1 - behind));
                drive.take_out_zone(ZoneId(1 - behind), ZoneCondition::Offline);
                check(&drive, &model, &format!("{media}, cut at {at}, seed {seed}"));
            }
        }
        assert!(uneven > 0 && stale > 20, "{media}: {uneven} and {stale} anchors behind");
    }
}

/// A manifest is replaced because a copy of it fails, and just then an anchor fails, too.
#[test]
fn copy_that_failed_leads_to_no_old_manifest() {
    for media in ["disk-tiny", "smr-tiny"] {
        for (behind, seed) in (0..256).flat_map(|seed| [(0, seed), (1, seed)]) {
            let drive = new_drive(&format!("{media}:timing=instant"), false);
            let mut model = Model::new();
            let rules =
                format!("write-error 1000x zone={behind} p=1; write-error structure=manifest");
            churn(&drive, &mut model, |index| {
                if index == KEYS {
                    drive.set_faults(&plan(&rules), seed);
                }
                index < KEYS + 2
            });
            cut(&drive);
            fill(&drive, &mut model, 8 * KEYS);
            cut(&drive);
            assert!(drive.fault_counts().total() > 1, "{media}: the copy and the anchor fail");
            drive.take_out_zone(ZoneId(1 - behind), ZoneCondition::Offline);
            check(&drive, &model, &format!("{media}, anchor {behind} is behind, seed {seed}"));
        }
    }
}

/// A cut keeps a whole snapshot from being published, and the next life takes other zones for its
/// own, which has the same ordinal. Then both anchors are lost.
#[test]
fn snapshot_that_a_cut_kept_from_being_published_counts_no_more() {
    let full = new_drive(MEDIA, false);
    let mut before = Model::new();
    assert_eq!(fill(&full, &mut before, 0), KEYS);
    let mut cases = 0;
    for at in 1..24 {
        let (drive, mut model) = (full.fork(), before.clone());
        drive.cut_after_changes(at);
        fill(&drive, &mut model, KEYS);
        cut(&drive);
        let published = newest(&drive, 0).max(newest(&drive, 1));
        let zones = 2..drive.geometry().zone_count;
        for zone in zones.filter(|zone| newest(&drive, *zone) > published) {
            // It can be read, but not used again.
            drive.take_out_zone(ZoneId(zone), ZoneCondition::ReadOnly);
            cases += 1;
        }
        fill(&drive, &mut model, 2 * KEYS);
        cut(&drive);
        drive.take_out_zone(ZoneId(0), ZoneCondition::Offline);
        drive.take_out_zone(ZoneId(1), ZoneCondition::Offline);
        check(&drive, &model, &format!("cut at {at}"));
    }
    assert!(cases > 0, "no cut came between a snapshot and its superblock");
}

/// Both anchors are lost after a cut in the midst of whatever was written then, a snapshot of the
/// manifest among it: one that is not whole leads nowhere.
#[test]
fn snapshot_that_is_not_whole_counts_no_more() {
    let full = new_drive(MEDIA, false);
    let mut before = Model::new();
    assert_eq!(fill(&full, &mut before, 0), KEYS);
    let mut unpublished = 0;
    for (at, seed) in (1..24).flat_map(|at| (0..8).map(move |seed| (at, seed))) {
        let (drive, mut model) = (full.fork(), before.clone());
        drive.cut_after_changes(at);
        fill(&drive, &mut model, KEYS);
        cut_to(&drive, Outcome::Seeded(seed));
        let published = newest(&drive, 0).max(newest(&drive, 1));
        let mut zones = 2..drive.geometry().zone_count;
        unpublished += u32::from(zones.any(|zone| newest(&drive, zone) > published));
        drive.take_out_zone(ZoneId(0), ZoneCondition::Offline);
        drive.take_out_zone(ZoneId(1), ZoneCondition::Offline);
        check(&drive, &model, &format!("cut at {at}, seed {seed}"));
    }
    assert!(unpublished > 8, "{unpublished} snapshots that no anchor names");
}

/// What a cut leaves of formatting anew is one of the two stores, or none: never a mixture.
#[test]
fn cut_while_another_store_is_formatted_brings_nothing_older_back() {
    let full = new_drive(MEDIA, false);
    let mut model = Model::new();
    for life in 0..6 {
        assert_eq!(fill(&full, &mut model, life * KEYS), KEYS);
        cut(&full);
    }
    let mut seen = [0; 3];
    for at in 1..40 {
        let drive = full.fork();
        drive.cut_after_changes(at);
        let limits = Limits::for_geometry(&drive.geometry());
        let options = FormatOptions { store_id: [6; 16], limits, redundancy: Redundancy::NONE };
        let mut memory = vec![0; MEMORY_LEN];
        let formatted = drive.block_on(format(&&drive, &mut memory, &options));
        cut(&drive);
        let what = match drive.block_on(Store::open(&drive, &mut memory)) {
            Err(OpenError::NotFormatted) => 0,
            Ok(store) => {
                let has = |index| {
                    let key = key(index);
                    drive.block_on(store.contains(&key, ReadOptions::default())).expect("search")
                };
                let (first, all) = (has(0), model.keys().filter(|index| has(**index)).count());
                assert_eq!(all, if first { model.len() } else { 0 }, "cut at {at}");
                assert!(!first || lost_by_get(&drive, &store, &model).is_empty(), "cut at {at}");
                1 + usize::from(first)
            }
            Err(error) => panic!("cut at {at}: {error}"),
        };
        assert!(formatted.is_err() || what == 1, "cut at {at}");
        seen[what] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
