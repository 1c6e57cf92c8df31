//! Harnesses: one body that holds a store against a model while power fails.
//!
//! ```text
//!   workload   what to do next, from a seed or a fuzzer's bytes
//!   life       does it to a store, and to the model
//!   oracle     the model: what may, and what must, be there
//!   torture    many lives of one drive with cuts between          (seeds)
//!   faulted    the same under a plan of faults                   (seeds)
//!   fault_campaign  many seeds of that, and what became of each kind of fault
//!   fault_matrix    one fault at a time, aimed at one structure
//!   scrubbed   latent errors, found by a scrub                  (seeds)
//!   grouped    an element that dies with power, where values have parity  (seeds)
//!   exhaustive every cut of a short script, every outcome          (scripts)
//!   fuzz       what a fuzzer's bytes are used for
//!   campaign   many seeds, with progress and a watchdog
//!   canary     planted bugs must be found
//! ```
//!
//! Three front doors: `cargo test`, `shingle torture`, and the targets in `fuzz/`.

pub mod campaign;
#[cfg(feature = "canary")]
pub mod canary;
pub mod choices;
pub mod exhaustive;
pub mod fault_campaign;
pub mod fault_matrix;
pub mod faulted;
pub mod fuzz;
pub mod grouped;
pub mod life;
pub mod oracle;
mod panics;
mod scan;
pub mod scrubbed;
pub mod torture;
pub mod workload;
