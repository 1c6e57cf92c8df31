//! A ZNS SSD: dies behind channels behind one link, and a write buffer for each zone.
//!
//! ```text
//!   write ──> link ──> zone buffer (completes) ──> channel ──> die: program
//!   read  ──────────────────────────────────────> die: sense ──> channel ──> link (completes)
//!   reset ──────────────────────────────────────> dies of the zone: erase (completes)
//!   finish ─────────────────────────────────────> dies of the zone: program the rest
//! ```
//!
//! A zone is striped over its dies in program units. A die serves one operation at a time and picks
//! the next when it is free: lowest class first, waiting counted in favour, reads before programs.
//!
//! # Source
//! Structure and parameters after NVMeVirt (Kim et al., FAST 2023), its ZNS models.

mod die;
mod model;

pub use model::Zns;
