//! Runs: immutable, sorted, made of *pieces*, each a tree of nodes within one zone.
//!
//! [`tree`] knows which pieces there are; [`builder`] makes one; [`cursor`] walks a run in order.
//! Layout: `FORMAT.md` §6.

pub(crate) mod builder;
pub(crate) mod cursor;
pub(crate) mod tree;
