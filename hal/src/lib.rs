//! The contract between a storage engine that owns its media and the media themselves.
//!
//! A drive is a set of *zones* ([`ZoneId`]), each a row of *blocks* ([`Lba`]). One async trait,
//! [`Device`], reads, writes, syncs and manages them; [`Error`] says what went wrong in terms that
//! generic code can act on. The contract is prose in the trait and runnable in [`conformance`].
//!
//! ```text
//! engine ──> Device ──> controller hardware, simulated drive, kernel block device,
//!              │        or an adaptor: `adapt::block`, `adapt::nor`
//!              └─ geometry · read · write · sync · report · open · close · finish · reset · event
//! ```
//!
//! For implementers: implement [`Device`], then run [`conformance`] against it; `PORTING.md` goes
//! through it step by step.
#![no_std]
#![forbid(unsafe_code)]

pub mod adapt;
mod block_on;
mod both;
pub mod conformance;
pub mod device;
pub mod error;
pub mod geometry;
pub mod request;
pub mod sense;
pub mod zone;

pub use block_on::block_on;
pub use both::both;
pub use device::{Device, Event};
pub use error::{Disposition, Error, ErrorKind};
pub use geometry::Geometry;
pub use request::{Class, Request};
pub use sense::Sense;
pub use zone::{
    BlockCount, ElementId, Extent, Lba, ZoneCondition, ZoneDescriptor, ZoneId, ZoneType,
};

/// The guide's example is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../PORTING.md")]
struct Porting;
