//! Devices in memory that the tests of this crate share, and how to run the checks on them.
#![allow(dead_code)] // each test binary uses a part of it

pub(crate) mod disk;
pub(crate) mod fault;
pub(crate) mod flash;
pub(crate) mod ram;
pub(crate) mod ram_power;
pub(crate) mod wrong;

use shingle_hal::conformance::{self, Bench, CHECKS, Outcome};
use shingle_hal::{Device, block_on};

/// Runs every check and returns the names of those that were skipped.
///
/// # Panics
/// If a check fails.
pub(crate) fn run_all<B: Bench>(bench: &mut B, label: &str) -> Vec<&'static str> {
    let mut scratch = vec![0; conformance::scratch_len_bytes(&bench.device().geometry())];
    let mut skipped = Vec::new();
    for check in CHECKS {
        match block_on(conformance::run(bench, check, &mut scratch)) {
            Outcome::Passed => {}
            Outcome::Skipped(_) => skipped.push(check.name),
            Outcome::Failed(failure) => panic!("{label}: {}: {failure}", check.name),
        }
    }
    skipped
}
