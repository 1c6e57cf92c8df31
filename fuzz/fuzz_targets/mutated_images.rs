//! Opening and using images with mutated blocks, checksums repaired or not.
//! The body: `sim/src/harness/fuzz/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shingle_sim::harness::fuzz::target::hit;

fuzz_target!(|bytes: &[u8]| hit("mutated_images", bytes));
