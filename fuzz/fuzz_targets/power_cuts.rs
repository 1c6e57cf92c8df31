//! The torture harness with the fuzzer's bytes as choices.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shingle_sim::harness::torture::{TortureConfig, run_bytes};

fuzz_target!(|bytes: &[u8]| {
    let config = TortureConfig { ops: 200, ..TortureConfig::default() };
    if let Err(failure) = run_bytes(bytes, &config) {
        panic!("{failure}");
    }
});
