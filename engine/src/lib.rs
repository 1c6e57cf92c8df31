//! The store.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod format;
pub mod memtable;
