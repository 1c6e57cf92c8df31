//! The fuzz targets by seed, as much as fits a test. `SHINGLE_SEEDS` scales it up.

use shingle_hal::{Lba, Sense};
use shingle_sim::harness::campaign::setting;
use shingle_sim::harness::fuzz::target::{TARGETS, Target};

/// Tries so many seeds of a target.
#[track_caller]
fn passes(name: &str, usual: u64) {
    let target = Target::find(name).expect("a target");
    let first = setting("SHINGLE_FIRST", 0);
    let seeds = first..first + setting("SHINGLE_SEEDS", usual);
    let failures = target.run_seeds(seeds, setting("SHINGLE_FAILURES", 1) as usize);
    let texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{} failures:\n{}", texts.len(), texts.join("\n"));
}

#[test]
fn decode_of_any_bytes_ends_and_round_trips() {
    passes("decode", 40_000);
}

#[test]
fn mutated_images_never_panic_nor_give_wrong_data() {
    passes("mutated_images", 600);
}

/// Each of these images once ended the process when it was opened or used, although its checksums
/// hold: an operation longer than the reader's window; a list of fragments that is none; an index
/// shorter than its own header; limits of zero, a zone that is not there or an anchor as the place
/// of the manifest; an anchor or the manifest's zone freed by the manifest; no generation left;
/// metadata longer than the limits say; a record that ends at the end of all offsets.
#[test]
fn images_that_once_ended_the_process_are_damage() {
    let target = Target::find("mutated_images").expect("a target");
    for seed in [31, 39, 87, 401, 1078, 1617, 1683, 2986, 2610, 4505, 5905, 6869, 7126, 7475, 7717]
    {
        assert_eq!(target.run(&target.input(seed)), Ok(()), "seed {seed}");
    }
}

/// A merge into the last run but one of all numbers: the next flush counted past the end.
#[test]
fn image_whose_runs_have_no_numbers_left_is_damage() {
    let target = Target::find("mutated_images").expect("a target");
    let input = [
        b":\x13\xfa\x95qa\xb9JE\xa2\xfe\xff\xff\xff\xff\xff\xff\xfe".as_slice(),
        &[0xe0; 21],
        b"up\x1b1\xa9\xde\xa3z\xa5\x07\x07\x01\0\0\0\0\0\0\x0b\x07\x07\x07\x07\x07",
    ];
    assert_eq!(target.run(&input.concat()), Ok(()));
}

#[test]
fn operations_agree_with_the_model() {
    passes("operations", 30);
}

#[test]
fn power_cuts_agree_with_the_model() {
    passes("power_cuts", 60);
}

#[test]
fn faults_agree_with_the_model() {
    passes("faults", 150);
}

#[test]
fn conformance_ends_on_any_device() {
    passes("conformance", 400);
}

/// Zones that begin at the end of all addresses: places after it were counted on.
#[test]
fn seed_1423_zone_beyond_the_device_fails_the_check() {
    let target = Target::find("conformance").expect("a target");
    for seed in [1423, 3166] {
        assert_eq!(target.run(&target.input(seed)), Ok(()), "seed {seed}");
    }
}

#[test]
fn sense_of_any_bytes_is_some_kind() {
    passes("sense", 10_000);
    for code in 0..1 << 20 {
        let [ascq, asc, key, _] = u32::to_le_bytes(code);
        for info in [None, Some(Lba(u64::MAX))] {
            let _ = Sense::new(key, asc, ascq).kind(info).disposition();
        }
    }
}

#[test]
fn targets_take_any_bytes() {
    for target in TARGETS {
        for len in [0, 1, 2, 3, 9, 40] {
            for byte in [0, 1, 0x55, 0xff] {
                let bytes = vec![byte; len];
                let result = target.run(&bytes);
                assert_eq!(result, Ok(()), "{} on {len} times {byte}", target.name);
            }
        }
    }
}

#[test]
fn same_seed_same_input() {
    for target in TARGETS {
        for seed in 0..20 {
            assert_eq!(target.input(seed), target.input(seed), "{}", target.name);
        }
        let differ = (0..20).filter(|seed| target.input(*seed) != target.input(seed + 1));
        assert!(differ.count() > 10, "{}: seeds are alike", target.name);
    }
}
