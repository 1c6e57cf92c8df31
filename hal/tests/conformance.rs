//! The checks are themselves checked: the reference device passes all of them in every shape, and
//! for each there is a device that it fails.

mod common;

use common::fault::Fault;
use common::ram::{Ram, RamBench};
use common::ram_state::Shape;
use common::run_all;
use common::wrong::WRONG;
use shingle_hal::conformance::{self, CHECKS, Outcome};
use shingle_hal::{Geometry, block_on};

const NO_SEQUENTIAL: &str = "too few sequential zones";

/// Reasons to skip checks on [`Shape::PLAIN`].
const LACKED_BY_PLAIN: [&str; 6] = [
    "no zone of less capacity than size",
    "no limit of open zones",
    "no limit of active zones",
    "no limit of open or active zones",
    "no zone is read only",
    "no zone is offline",
];

fn bench(shape: Shape, fault: Option<Fault>) -> RamBench {
    RamBench { device: Ram::new(shape, fault), has_power_control: true }
}

/// Devices that differ in their zones.
fn zone_shapes() -> [(&'static str, Shape); 7] {
    let (plain, rich) = (Shape::PLAIN, Shape::RICH);
    let with_conventional = |conventional| Shape { conventional, ..plain };
    let eager = Shape { read_unwritten: false, ..rich };
    let short = Shape { capacity: 7, ..with_conventional(0) };
    [
        ("plain", plain),
        ("rich", rich),
        ("sequential only", with_conventional(0)),
        ("conventional only", with_conventional(12)),
        ("refuses unwritten reads", eager),
        ("rich and slow", Shape { lag: 3, ..rich }),
        ("capacity below size", short),
    ]
}

/// Devices that differ in sizes and limits.
fn geometry_shapes() -> [(&'static str, Shape); 8] {
    let with = |change: fn(&mut Geometry)| {
        let mut shape = Shape::PLAIN;
        change(&mut shape.geometry);
        shape
    };
    let tight = with(|geometry| {
        geometry.open_zones_max = Some(4);
        geometry.active_zones_max = Some(4);
    });
    [
        ("short transfers", with(|g| g.transfer_blocks_max = 1)),
        ("long transfers", with(|g| g.transfer_blocks_max = 999)),
        ("small blocks", with(|g| g.block_len_bytes = 64)),
        ("large blocks", with(|g| g.block_len_bytes = 4096)),
        ("aligned buffers", with(|g| g.buffer_align_bytes = 64)),
        ("one open zone", with(|g| g.open_zones_max = Some(1))),
        ("as many open as active", tight),
        ("active limit", with(|g| g.active_zones_max = Some(2))),
    ]
}

#[test]
fn reference_device_in_every_shape_passes() {
    for (label, shape) in zone_shapes().into_iter().chain(geometry_shapes()) {
        for seed in 1..=16 {
            run_all(&mut bench(Shape { seed, ..shape }, None), label);
        }
    }
}

#[test]
fn reference_device_with_every_feature_skips_nothing() {
    let skipped = run_all(&mut bench(Shape::RICH, None), "rich");
    assert!(skipped.is_empty(), "{skipped:?}");
}

#[test]
fn bench_without_power_control_skips_only_power_checks() {
    let mut bench = RamBench { has_power_control: false, ..bench(Shape::RICH, None) };
    let skipped = run_all(&mut bench, "no power control");
    assert!(!skipped.is_empty());
    for (check, why) in skipped {
        assert_eq!(check.subject, "power", "{}: {why}", check.name);
    }
}

#[test]
fn conventional_device_skips_what_is_about_write_pointers() {
    let shape = Shape { conventional: 12, ..Shape::PLAIN };
    let skipped = run_all(&mut bench(shape, None), "conventional only");
    for (check, why) in &skipped {
        assert!(LACKED_BY_PLAIN.contains(why) || *why == NO_SEQUENTIAL, "{}: {why}", check.name);
    }
    assert!(CHECKS.len() - skipped.len() >= 38);
}

#[test]
fn names_are_unique_and_found() {
    assert!(CHECKS.len() >= 40);
    for (index, check) in CHECKS.iter().enumerate() {
        assert_eq!(conformance::find(check.name), Some(check));
        assert!(CHECKS[index + 1..].iter().all(|other| other.name != check.name));
    }
    assert_eq!(conformance::find("no_such_check"), None);
}

#[test]
fn every_check_fails_a_wrong_device() {
    for check in CHECKS {
        let Some((_, fault)) = WRONG.iter().find(|(name, _)| *name == check.name) else {
            panic!("{}: no wrong device shows that this check can fail", check.name);
        };
        // A cut may by luck do no harm: some seed must show it.
        let failed = (1..=16).any(|seed| {
            let shape = Shape { lag: 1, seed, ..Shape::RICH };
            let mut bench = bench(shape, Some(*fault));
            let mut scratch = vec![0; 64 * 1024];
            let outcome = block_on(conformance::run(&mut bench, check, &mut scratch));
            matches!(outcome, Outcome::Failed(_))
        });
        assert!(failed, "{}: passes a device with {fault:?}", check.name);
    }
    assert_eq!(WRONG.len(), CHECKS.len(), "a wrong device names no check");
}

#[test]
fn failure_prints_what_was_expected_and_seen() {
    let mut bench = bench(Shape::PLAIN, Some(Fault::ResetKeepsData));
    let mut scratch = vec![0; 64 * 1024];
    let check = conformance::find("reset_destroys_data").unwrap();
    let outcome = block_on(conformance::run(&mut bench, check, &mut scratch));
    let expected = "failed: read a reset block: LBA 32 returned data that must be gone";
    assert_eq!(outcome.to_string(), expected);
}
