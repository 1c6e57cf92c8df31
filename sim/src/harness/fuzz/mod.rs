//! Fuzzing: what a fuzzer's bytes are used for, and how a finding is replayed without one.
//!
//! ```text
//!   target     the table of targets, one body each; seeds, corpora, failures
//!   decode     every decoder on any bytes                (sample: valid structures by seed)
//!   mutated    opening and using mutated images          (stock: the images, by number)
//!   mutation   what is done to an image, and repair: so that checksums do not notice
//!   faults     operations under a plan of faults          (the body: `faulted`)
//!   sense      sense data
//!   conformance  the device contract's checks            (device: answers by the bytes)
//! ```
//!
//! The targets `operations` and `power_cuts` are [`torture`](super::torture) with the bytes as
//! choices.
//!
//! A target takes any bytes and reads them with [`arbitrary`], so that libFuzzer, a seed and a file
//! all lead to the same body. Nothing here depends on libFuzzer.

mod conformance;
mod decode;
mod device;
mod faults;
mod mutated;
mod mutation;
mod repair;
mod sample;
mod sense;
mod stock;
pub mod target;
