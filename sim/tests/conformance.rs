//! The contract of `hal`, run on every simulated medium.
//!
//! The engine is written against the contract and tested on these drives, so a drive that is more
//! lenient than the contract would hide a fault of the engine, and a stricter one would invent one.
//!
//! Invariants: `C1` no check fails on any medium, whatever survives its power cuts. `C2` every
//! check is performed on some medium: none is skipped everywhere.

use std::collections::BTreeSet;

use shingle_hal::conformance::{self, Bench, CHECKS, Outcome as Answer, scratch_len_bytes};
use shingle_hal::{Device, ZoneCondition, ZoneId};
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Outcome};

/// Large drives are cut down to some dozens of zones; limits and shapes stay.
const MEDIA: [&str; 17] = [
    "smr-tiny",
    "smr-tiny:conventional=0",
    "smr-tiny:conventional=0,open=1",
    "smr-tiny:block=512,transfer-kib=1",
    "smr-15tb:zones=64,zone-kib=512,conventional=6",
    "smr-15tb-swr:zones=64,zone-kib=512,open=2",
    "smr-15tb-swr:zones=40,zone-kib=64,capacity-kib=48,open=none",
    "smr-30tb:zones=48,zone-kib=256,conventional=3,elements=2",
    "disk-tiny",
    "disk-tiny:block=512,timing=instant",
    "zns-tiny",
    "zns-tiny:open=2,active=2",
    "zns-tiny:open=3,active=5,timing=instant",
    "zns-tiny:open=none,active=none",
    "zns-zn540:zones=32,zone-kib=512,capacity-kib=300",
    "nor-tiny",
    "nor-1m",
];

/// Power cuts differ by seed; each seed runs the suite once.
const SEEDS: u64 = 4;

struct DriveBench<'d> {
    drive: &'d Drive,
    cuts: u64,
}

impl Bench for DriveBench<'_> {
    type Device = Drive;

    fn device(&self) -> &Drive {
        self.drive
    }

    async fn power_cycle(&mut self) -> bool {
        self.cuts = self.cuts.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        self.drive.cut_after(0);
        self.drive.power_on(Outcome::Seeded(self.cuts));
        true
    }
}

/// Runs every check on one drive; gives the names of those that were performed.
fn run_all(drive: &Drive, seed: u64, label: &str) -> BTreeSet<&'static str> {
    let mut bench = DriveBench { drive, cuts: seed };
    let mut scratch = vec![0; scratch_len_bytes(&drive.geometry())];
    let mut performed = BTreeSet::new();
    for check in CHECKS {
        match drive.block_on(conformance::run(&mut bench, check, &mut scratch)) {
            Answer::Passed => {
                performed.insert(check.name);
            }
            Answer::Skipped(_) => {}
            Answer::Failed(failure) => {
                panic!("{label} seed {seed}: {}: {failure} ({})", check.name, check.clause)
            }
        }
        drive.check_invariants();
    }
    performed
}

fn drive_of(media: &str, seed: u64) -> Drive {
    let spec = MediaSpec::parse(media).unwrap_or_else(|error| panic!("{media}: {error}"));
    Drive::new(spec, seed)
}

#[test]
fn every_medium_keeps_the_contract() {
    let mut performed = BTreeSet::new();
    for media in MEDIA {
        for seed in 1..=SEEDS {
            performed.append(&mut run_all(&drive_of(media, seed), seed, media));
        }
    }
    // Zones that can no longer be written are faults, not media: see the test below.
    for check in CHECKS {
        let about_faults = check.name.contains("read_only") || check.name.contains("offline");
        assert!(performed.contains(check.name) || about_faults, "{}: never run", check.name);
    }
}

#[test]
fn drive_with_zones_taken_out_keeps_the_contract() {
    let mut performed = BTreeSet::new();
    for media in ["smr-tiny", "zns-tiny", "nor-tiny"] {
        let drive = drive_of(media, 7);
        drive.take_out_zone(ZoneId(20), ZoneCondition::ReadOnly);
        drive.take_out_zone(ZoneId(21), ZoneCondition::Offline);
        while drive.poll_event().is_some() {}
        performed.append(&mut run_all(&drive, 7, media));
    }
    for check in CHECKS {
        let about_faults = check.name.contains("read_only") || check.name.contains("offline");
        assert!(performed.contains(check.name) || !about_faults, "{}: never run", check.name);
    }
}

#[test]
fn drive_without_write_cache_keeps_the_contract() {
    for media in ["smr-tiny", "disk-tiny", "zns-tiny"] {
        let drive = drive_of(media, 3);
        drive.set_write_cache(false);
        run_all(&drive, 3, media);
    }
}
