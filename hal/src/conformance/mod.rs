//! The device contract as runnable checks.
//!
//! The prose of [`device`](crate::device) can be read in more than one way; a check cannot. Each
//! [`Check`] has a name and the clause it stands for, and [`run`] tries it on any [`Device`]
//! that a [`Bench`] holds. An implementation is right when every check passes or is skipped for
//! want of a feature (conventional zones, limits, power control) that it really does not have.
//!
//! **Destructive.** The checks reset every sequential zone and overwrite conventional ones. What
//! the device held is lost.
//!
//! ```
//! use shingle_hal::conformance::{self, Bench, CHECKS, Outcome};
//! # use shingle_hal::Device;
//! # async fn all<B: Bench>(bench: &mut B, scratch: &mut [u8]) {
//! // `scratch` holds conformance::scratch_len_bytes(&geometry) bytes or more.
//! for check in CHECKS {
//!     if let Outcome::Failed(failure) = conformance::run(bench, check, scratch).await {
//!         panic!("{}: {failure} ({})", check.name, check.clause);
//!     }
//! }
//! # }
//! ```
//!
//! - `table`: the list of checks, and what runs one by its place in the list.
//! - `transitions`: the zone state machine. `limits`: open and active zones. `data`: what reads
//!   return. `refusals`: requests that must fail without effect. `reports`: geometry, zone
//!   report, events. `power`: what is left when the power fails.
//! - `rig`: what the checks are built of. `outcome`: what they answer.
//!
//! Invariants:
//! - `C1` Every check can fail: the tests of this crate hold a wrong device for each.
//! - `C2` A check demands what the contract says and no more; where the contract leaves a choice
//!   (which kind of several, what survives of unsynced data) every choice passes.
//! - `C3` The checks only `await` the device's futures, so any executor can run them.
//!
//! [`Device`]: crate::Device

mod data;
mod limits;
mod outcome;
mod power;
mod refusals;
mod reports;
mod rig;
mod table;
mod transitions;

pub use outcome::{Answer, Bound, Failure, Mismatch, Outcome};
pub use rig::{Bench, scratch_len_bytes};
pub use table::{CHECKS, Check, find, run};
