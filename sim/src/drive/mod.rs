//! A simulated zoned drive: contents, zone conditions, virtual time and power cuts.
//!
//! [`Drive`] implements [`shingle_hal::Device`] over memory. It is deterministic: the same
//! [`MediaSpec`](crate::media::MediaSpec), seed and requests give the same contents, the same
//! times and the same [`trace_hash`](Drive::trace_hash).
//!
//! ```text
//! Device call ─> device ─> state ─┬─> zones     conditions, write pointers, open limits
//!                                 ├─> blocks    contents, sparse
//!                                 ├─> journal   what a power cut may still undo
//!                                 └─> flight    requests in flight, virtual clock
//! power_on ────> power ───────────────> journal, blocks, zones
//! set_faults ──> faulty, spoil ───────> all of these, where a rule of the plan strikes
//! ```
//!
//! A request takes effect when its future is first polled, in that order; it *completes* when the
//! time model says so, which happens in [`Drive::advance`]. Between the two it is in flight, and a
//! power cut may undo it; so it may any effect that no sync has covered yet.

mod backing;
mod blocks;
mod device;
mod error;
mod faulty;
mod flight;
mod journal;
mod mix;
mod power;
mod raw;
mod run;
mod spoil;
mod state;
mod stats;
mod stored;
mod zones;

pub use device::Drive;
pub use error::DriveError;
pub(crate) use mix::{Rng, mix};
pub use power::Outcome;
pub use stats::{Counts, LABELS_MAX, Stats};
pub(crate) use stored::Stored;
