//! The fault plan: what goes wrong on a drive besides its losing power, as data with a seed.
//!
//! Without it a fault is a test of its own, and what two of them do together is never seen. A plan
//! is one line of text that a person can write and a failure prints; the same plan, seed and
//! requests do the same.
//!
//! ```text
//! FaultPlan ──set_faults──> strike ──which rules strike──> drive/faulty, drive/spoil ──> the drive
//!   text      draw            │ structure: what a block is to the engine       │
//!                             └ medium: what the drive holds                   v
//!                                      overlay: what hides the pristine blocks from reads
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | the plan: kinds, times, scopes, triggers |
//! | `text` | plans as text |
//! | `budget` | which plans a store must survive |
//! | `draw` | plans at random, and presets |
//! | `strike` | which rules strike a request |
//! | `structure` | what a block is to the engine |
//! | `overlay` | blocks that read differently from what the medium holds |
//! | `log` | what struck, how often and where |
//! | `ledger` | what became of each strike |
//!
//! # The budget
//! A redundancy group is what holds the same thing more than once: the two anchors, the two copies
//! of the manifest. A fault domain is what fails together: a zone, an element, one copy.
//!
//! *Within the budget*, which is any single fault domain per redundancy group and any number of
//! faults that hit values alone, no acknowledged operation may be lost but for values that are
//! physically gone: their keys are there, and reading them says that they are damaged.
//! Where runs are on two elements, all faults of one element are within it, too, but for the writes
//! that no run holds yet: `harness/faulted` says what is then asked of a store.
//! *Beyond it* there may be errors, but never wrong data, a panic, or a request that never ends.
//! [`FaultPlan::budget`] tells which of the two a plan is.
//!
//! # What is a fault and what is the medium
//! Silent faults of writes and rot are an overlay: the pristine medium holds what it should, and
//! [`Drive::lift_faults`](crate::Drive::lift_faults) shows it again. Zones that were taken out of
//! use come back as they were, closed if they were open; should the drive have no active zone to
//! spare by then, full. Capacities come back. What the drive admitted or moved stays: blocks that a
//! write did not write, the tail that a sync dropped, garbage behind a write pointer.
//!
//! A new write heals what it covers, but for what sticks. A reset takes the overlay of its zone
//! with the contents, and brings it back if power undoes it. Power does not lift faults.
//!
//! Neither a plan nor its overlay is saved in an image: that holds the pristine medium.

mod budget;
mod draw;
mod ledger;
mod log;
mod medium;
mod overlay;
mod plan;
mod strike;
mod structure;
mod text;

pub use budget::Budget;
pub use ledger::FaultTally;
pub(crate) use ledger::Ledger;
pub use log::{FaultCounts, FaultHit};
pub(crate) use medium::Medium;
pub(crate) use overlay::Overlay;
pub(crate) use plan::Stage;
pub use plan::{FaultKind, FaultPlan, PPB_ALWAYS, Rule, Scope, Structure, Times, Trigger};
pub(crate) use strike::{Ask, Rules, Strike};
pub use text::FaultPlanError;
