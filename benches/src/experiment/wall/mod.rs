//! Wall-clock time: stores on the file system of this machine, and in its memory.
//!
//! Absolute figures are this machine's, and those of what else it did meanwhile. What is held
//! against goals are ratios: every store does the same work, one after another and over again, in
//! one process, so that a slow hour is slow for all; and each ratio is given with its spread.
//!
//! - `life`: what is measured: one store, from its making on. `case`: the sizes of the work, and
//!   who does it. `verdict`: tables, ratios, goals.

mod case;
mod life;
mod verdict;

pub use case::{Case, Kind, cases};
pub use life::{Job, Life, Work};
pub use verdict::{Round, judge};
