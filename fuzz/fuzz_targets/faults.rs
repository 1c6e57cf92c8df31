//! Operations and power cuts under a plan of faults, drawn from the bytes.
//! The body: `sim/src/harness/fuzz/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shingle_sim::harness::fuzz::target::hit;

fuzz_target!(|bytes: &[u8]| hit("faults", bytes));
