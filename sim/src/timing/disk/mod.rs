//! A rotating disk: one arm, a queue, a write cache, read-ahead and a link.
//!
//! ```text
//!            ┌──────────── link: command, transfer ────────────┐
//!   submit ──┤ read  ──> read buffer hit ──────────────────────┼──> completion
//!            │       └─> queue ──> arm: seek, rotate, sweep ───┤
//!            │ write ──> room? ──> write cache ────────────────┤
//!            │       └─> waits for room   └─> arm: destage run │
//!            │ sync  ──> waits until what was cached is clean ─┘
//! ```
//!
//! The arm decides what to do next at the moment it is free, as `choose.rs` says.
//! What is in a zone is none of its business; the drive says whether blocks were ever written.
//!
//! | file | part |
//! |---|---|
//! | `model.rs` | the events: submission, end of an arm operation, admission to the cache |
//! | `choose.rs` | what the arm does next |
//! | `arm.rs` | seek and rotation |
//! | `layout.rs` | radius, track and angle of a block |
//! | `cache.rs` | the write cache |
//! | `ahead.rs` | the read buffer |

mod ahead;
mod arm;
mod cache;
mod choose;
mod layout;
mod model;

pub(crate) use layout::sustained_bytes_per_s;
pub use model::Disk;
