//! Devices in memory that the tests of this crate share, and how to run the checks on them.
#![allow(dead_code)] // each test binary uses a part of it

pub(crate) mod disk;
pub(crate) mod fault;
pub(crate) mod flash;
pub(crate) mod ram;
pub(crate) mod ram_power;
pub(crate) mod ram_state;
pub(crate) mod ram_transfer;
pub(crate) mod wrong;

use shingle_hal::conformance::{self, Bench, CHECKS, Check, Outcome};
use shingle_hal::{Device, block_on};

/// Runs every check and returns those that were skipped, with the reason.
///
/// # Panics
/// If a check fails.
pub(crate) fn run_all<B: Bench>(bench: &mut B, label: &str) -> Vec<(&'static Check, &'static str)> {
    let geometry = bench.device().geometry();
    let mut scratch = vec![0; conformance::scratch_len_bytes(&geometry)];
    let mut skipped = Vec::new();
    for check in CHECKS {
        match block_on(conformance::run(bench, check, &mut scratch)) {
            Outcome::Passed => {}
            Outcome::Skipped(why) => skipped.push((check, why)),
            Outcome::Failed(failure) => panic!("{label}: {}: {failure}", check.name),
        }
    }
    skipped
}
