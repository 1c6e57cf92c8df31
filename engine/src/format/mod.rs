//! Bytes to representations and back; nothing here sees a device.
//!
//! `varint` <- `entry` <- `node` <- `data`, `branch`; `filter` stands alone.
//! A decoder given bytes from media answers `None` or [`node::Malformed`]; it never panics. The
//! lints below hold that: no slice in this folder is taken by a length that was not checked.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

pub mod branch;
pub mod data;
pub mod edit;
pub mod entry;
pub mod filter;
pub mod header;
pub mod marks;
pub mod node;
pub mod record;
pub mod seal;
pub mod superblock;
pub mod varint;
