//! Adaptors: media without zones, as zoned devices.
//!
//! - [`block`]: a block device that may be written anywhere, as conventional zones.
//! - [`nor`]: NOR flash behind `embedded-storage`, as sequential zones.
//!
//! Both pass the [conformance checks](crate::conformance) over devices in memory in the tests of
//! this crate.

pub mod block;
pub mod nor;

pub use block::{BlockDevice, BlockZones};
pub use nor::{NorSlot, NorZones};
