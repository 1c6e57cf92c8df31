//! Ranges of keys as the command line names them, and walking them in order.

use std::ops::Bound;

use shingle_engine::Store;
use shingle_hal::Device;

use super::args::Keys;
use super::scan::{self, Walk};
use super::{Failure, key};

/// A range of keys, with owned ends.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(super) start: Bound<Vec<u8>>,
    pub(super) end: Bound<Vec<u8>>,
    pub(super) reverse: bool,
}

/// An entry of the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its key.
    pub(crate) key: Vec<u8>,
    /// Its metadata, version first.
    pub(crate) meta: Vec<u8>,
    /// Bytes of the version.
    pub(crate) version_len: usize,
    /// Bytes of the value.
    pub(crate) value_len: u64,
}

impl Range {
    /// Every key.
    pub(crate) const ALL: Self =
        Self { start: Bound::Unbounded, end: Bound::Unbounded, reverse: false };

    /// The range that the command line names.
    pub(crate) fn of(keys: &Keys) -> Result<Self, Failure> {
        if let Some(prefix) = &keys.prefix {
            return Ok(Self::prefix(key::parse(prefix)?));
        }
        let start = keys.start.as_deref().map(key::parse).transpose()?;
        let end = keys.end.as_deref().map(key::parse).transpose()?;
        Ok(Self {
            start: start.map_or(Bound::Unbounded, Bound::Included),
            end: end.map_or(Bound::Unbounded, Bound::Excluded),
            reverse: false,
        })
    }

    /// Every key that begins with `prefix`.
    pub(crate) fn prefix(prefix: Vec<u8>) -> Self {
        if prefix.is_empty() {
            return Self::ALL;
        }
        let end = key::after_prefix(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self { start: Bound::Included(prefix), end, reverse: false }
    }

    /// The same keys from the last to the first.
    pub(crate) fn reversed(self, reverse: bool) -> Self {
        Self { reverse, ..self }
    }

    /// Begins a walk in [`scratch`](Self::scratch).
    pub(crate) async fn walk<'s, 'm, 'b, D: Device>(
        &self,
        store: &'s Store<'m, D>,
        scratch: &'b mut [u8],
    ) -> Result<Walk<'s, 'm, 'b, D>, Failure> {
        scan::begin(self, store, scratch).await
    }

    /// Memory for a walk.
    pub(crate) fn scratch<D: Device>(store: &Store<'_, D>) -> Vec<u8> {
        vec![0; scan::memory_len(store)]
    }

    /// How many keys there are.
    pub(crate) async fn count<D: Device>(&self, store: &Store<'_, D>) -> Result<u64, Failure> {
        let mut scratch = Self::scratch(store);
        scan::count(self, store, &mut scratch).await
    }
}
