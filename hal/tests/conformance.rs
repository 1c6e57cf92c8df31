//! The checks are themselves checked: the reference device passes all of them in every shape, and
//! for each there is a device that it fails.

mod common;

use common::fault::Fault;
use common::ram::{Ram, RamBench, Shape};
use common::run_all;
use common::wrong::WRONG;
use shingle_hal::conformance::{self, CHECKS, Outcome};
use shingle_hal::{Geometry, block_on};

fn bench(shape: Shape, fault: Option<Fault>) -> RamBench {
    RamBench {
        device: Ram::new(shape, fault),
        has_power_control: true,
    }
}

fn shapes() -> Vec<(&'static str, Shape)> {
    let plain = Shape::PLAIN;
    let rich = Shape::RICH;
    let with = |geometry: Geometry| Shape { geometry, ..plain };
    vec![
        ("plain", plain),
        ("rich", rich),
        (
            "sequential only",
            Shape {
                conventional: 0,
                ..plain
            },
        ),
        (
            "conventional only",
            Shape {
                conventional: 12,
                ..plain
            },
        ),
        (
            "refuses unwritten reads",
            Shape {
                read_unwritten: false,
                ..rich
            },
        ),
        ("rich and slow", Shape { lag: 3, ..rich }),
        (
            "capacity below size",
            Shape {
                capacity: 7,
                conventional: 0,
                ..plain
            },
        ),
        (
            "one block a transfer",
            with(Geometry {
                transfer_blocks_max: 1,
                ..plain.geometry
            }),
        ),
        (
            "long transfers",
            with(Geometry {
                transfer_blocks_max: 999,
                ..plain.geometry
            }),
        ),
        (
            "small blocks",
            with(Geometry {
                block_len_bytes: 64,
                ..plain.geometry
            }),
        ),
        (
            "large blocks",
            with(Geometry {
                block_len_bytes: 4096,
                ..plain.geometry
            }),
        ),
        (
            "aligned buffers",
            with(Geometry {
                buffer_align_bytes: 64,
                ..plain.geometry
            }),
        ),
        (
            "one open zone",
            with(Geometry {
                open_zones_max: Some(1),
                ..plain.geometry
            }),
        ),
        (
            "as many open as active",
            with(Geometry {
                open_zones_max: Some(4),
                active_zones_max: Some(4),
                ..plain.geometry
            }),
        ),
        (
            "active limit alone",
            with(Geometry {
                active_zones_max: Some(2),
                ..plain.geometry
            }),
        ),
    ]
}

#[test]
fn reference_device_in_every_shape_passes() {
    for (label, shape) in shapes() {
        for seed in 1..=16 {
            run_all(&mut bench(Shape { seed, ..shape }, None), label);
        }
    }
}

#[test]
fn reference_device_with_every_feature_skips_nothing() {
    let skipped = run_all(&mut bench(Shape::RICH, None), "rich");
    assert_eq!(skipped, Vec::<&str>::new());
}

#[test]
fn bench_without_power_control_skips_only_power_checks() {
    let mut bench = RamBench {
        has_power_control: false,
        ..bench(Shape::RICH, None)
    };
    let skipped = run_all(&mut bench, "no power control");
    assert!(!skipped.is_empty());
    for name in skipped {
        assert_eq!(conformance::find(name).unwrap().subject, "power", "{name}");
    }
}

#[test]
fn conventional_device_skips_what_is_about_write_pointers() {
    let shape = Shape {
        conventional: 12,
        ..Shape::PLAIN
    };
    let skipped = run_all(&mut bench(shape, None), "conventional only");
    assert!(skipped.contains(&"open_empty_zone_is_explicit_open"));
    assert!(!skipped.contains(&"conventional_zone_is_rewritten_in_place"));
    assert!(!skipped.contains(&"read_returns_completed_write"));
}

#[test]
fn names_are_unique_and_found() {
    assert!(CHECKS.len() >= 40);
    for (index, check) in CHECKS.iter().enumerate() {
        assert_eq!(conformance::find(check.name), Some(check));
        assert!(
            CHECKS[index + 1..]
                .iter()
                .all(|other| other.name != check.name)
        );
    }
    assert_eq!(conformance::find("no_such_check"), None);
}

#[test]
fn every_check_fails_a_wrong_device() {
    for check in CHECKS {
        let Some((_, fault)) = WRONG.iter().find(|(name, _)| *name == check.name) else {
            panic!(
                "{}: no wrong device shows that this check can fail",
                check.name
            );
        };
        // A cut may by luck do no harm: some seed must show it.
        let failed = (1..=16).any(|seed| {
            let shape = Shape {
                lag: 1,
                seed,
                ..Shape::RICH
            };
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
