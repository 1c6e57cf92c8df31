//! Operations and power cuts, drawn from the bytes, against the model.
//! The body: `sim/src/harness/fuzz/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shingle_sim::harness::fuzz::target::hit;

fuzz_target!(|bytes: &[u8]| hit("power_cuts", bytes));
