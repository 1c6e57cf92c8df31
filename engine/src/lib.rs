//! An ordered key/value store that owns zoned media.
//!
//! It needs no operating system, no heap and no thread: the memory it uses is handed in at open,
//! the media stand behind [`shingle_hal::Device`], and operations are futures that any executor
//! polls. Why it is built as it is: `DESIGN.md`; every byte on media: `FORMAT.md`.
//!
//! Where does a put go?
//!
//! 1. `store/write.rs` checks it, decides its condition, and waits for room.
//! 2. `log/head.rs` takes the record into a buffer of blocks; `memtable/` takes the entry.
//! 3. `append.rs` writes the buffer and syncs, once for all who wait.
//! 4. `flush.rs` turns memtables into runs (`run/`), `merge.rs` merges runs, `reclaim.rs` empties
//!    log zones, all a step at a time (`compact.rs`), paced by `maintain.rs`.
//! 5. `checkpoint.rs` records in the manifest what changed, `anchor.rs` where that is; `recover.rs`
//!    and `replay.rs` read it all back.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[macro_use]
mod event;

mod anchor;
mod append;
pub mod blocking;
mod cache;
pub mod canary;
mod checkpoint;
mod compact;
mod create;
mod digest;
pub mod error;
mod evacuate;
mod flush;
pub mod format;
mod group;
mod haste;
mod health;
mod hole;
pub mod limits;
mod log;
mod maintain;
mod manifest;
mod marks;
mod media;
pub mod memtable;
mod merge;
mod mirror;
mod nodes;
mod open;
mod parity;
pub mod plan;
#[cfg(test)]
mod ram;
mod reclaim;
mod recover;
mod refill;
mod replay;
mod rescue;
mod run;
mod sanity;
mod scrub;
mod search;
mod state;
pub mod store;
mod sync;
mod twin;
mod value;
mod verify;
mod versions;
pub mod zone;

pub use create::{FormatOptions, format};
pub use error::{Check, Damage, FormatError, OpenError, ReadError, Structure, WriteError};
pub use evacuate::Evacuation;
pub use format::superblock::{Limits, Redundancy};
pub use media::MediaStats;
pub use plan::Plan;
pub use scrub::{Finding, Origin, Remedy, ScrubProgress};
pub use state::ScrubStats;
pub use store::Store;
pub use store::batch::{Batch, BatchFull};
pub use store::options::{Condition, Durability, Meta, ReadOptions, WriteOptions};
pub use store::read::{Found, Snapshot};
pub use store::scan::{Direction, Item, Scan};
pub use store::stats::{Stats, ZoneUse};
