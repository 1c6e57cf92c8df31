//! The fuzz targets: a name, a body, and inputs by seed.
//!
//! ```text
//!   cargo test  ── seeds ──┐
//!   shingle torture --fuzz ┼─> run ─> the body, in which a panic is a finding
//!   libFuzzer   ── bytes ──┘
//! ```

use std::fmt;
use std::ops::Range;

use super::{conformance, decode, faults, mutated, sample, sense};
use crate::harness::campaign::Watchdog;
use crate::harness::choices::Choices;
use crate::harness::panics;
use crate::harness::torture::{TortureConfig, run_bytes};

/// Operations that one input of `operations` or `power_cuts` decides.
const OPS: u64 = 200;
/// Bytes asked of the drive that one input is worth: about a second.
pub(super) const BYTES_MAX: u64 = 192 << 20;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of the libFuzzer target.
    pub name: &'static str,
    /// What it tries.
    pub about: &'static str,
    body: fn(&[u8]) -> Result<(), String>,
    input: fn(u64) -> Vec<u8>,
}

/// The targets.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "decode",
        about: "every decoder of the format on any bytes",
        body: decode::run,
        input: sample::input,
    },
    Target {
        name: "mutated_images",
        about: "opening and using images with mutated blocks, checksums repaired or not",
        body: mutated::run,
        input: mutated::input,
    },
    Target {
        name: "operations",
        about: "operations against the model",
        body: |bytes| torture(bytes, false),
        input: words,
    },
    Target {
        name: "power_cuts",
        about: "operations and power cuts against the model",
        body: |bytes| torture(bytes, true),
        input: words,
    },
    Target {
        name: "faults",
        about: "operations under a plan of faults, and power cuts",
        body: faults::run,
        input: faults::input,
    },
    Target {
        name: "sense",
        about: "any sense data",
        body: sense::run,
        input: |seed| some_bytes(seed, 16),
    },
    Target {
        name: "conformance",
        about: "the contract's checks on a device that answers anything",
        body: conformance::run,
        input: |seed| some_bytes(seed, 600),
    },
];

/// An input that a target failed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The command that replays it.
    pub replay: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.replay, self.what)
    }
}

impl std::error::Error for Failure {}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// The input that `seed` stands for: what a seed corpus is made of.
    #[must_use]
    pub fn input(&self, seed: u64) -> Vec<u8> {
        (self.input)(seed)
    }

    /// Tries one input.
    ///
    /// # Errors
    /// What is wrong, a panic included.
    pub fn run(&self, bytes: &[u8]) -> Result<(), String> {
        panics::catch(|| (self.body)(bytes)).and_then(|result| result)
    }

    /// Tries the inputs of `seeds`, and gives up after `failures_max`.
    #[must_use]
    pub fn run_seeds(&self, seeds: Range<u64>, failures_max: usize) -> Vec<Failure> {
        let watchdog = Watchdog::new(format!("target {}", self.name));
        let mut failures = Vec::new();
        for seed in seeds {
            watchdog.begin(seed);
            let Err(what) = self.run(&self.input(seed)) else { continue };
            let replay = format!("shingle torture --fuzz {} --seed {seed}", self.name);
            failures.push(Failure { replay, what });
            if failures.len() >= failures_max {
                break;
            }
        }
        failures
    }
}

/// What a libFuzzer target does: tries `bytes`, and panics if something is wrong.
///
/// # Panics
/// If there is no target `name`, or something is wrong.
pub fn hit(name: &str, bytes: &[u8]) {
    let target = Target::find(name).unwrap_or_else(|| panic!("there is no target {name}"));
    if let Err(what) = target.run(bytes) {
        panic!("{what}\nto replay: shingle torture --fuzz {name} --bytes FILE");
    }
}

fn torture(bytes: &[u8], cuts: bool) -> Result<(), String> {
    let bytes_max = Some(BYTES_MAX);
    let config = TortureConfig { ops: OPS, cuts, bytes_max, ..TortureConfig::default() };
    match run_bytes(bytes, &config) {
        Ok(_) => Ok(()),
        Err(failure) => Err(format!("{}\n  {}", failure.what, failure.setting)),
    }
}

/// Up to `len_max` bytes.
pub(super) fn some_bytes(seed: u64, len_max: u64) -> Vec<u8> {
    let mut choices = Choices::new(seed);
    let len = choices.below(len_max + 1);
    (0..len).map(|_| choices.below(256) as u8).collect()
}

fn words(seed: u64) -> Vec<u8> {
    some_bytes(seed, 1024)
}
