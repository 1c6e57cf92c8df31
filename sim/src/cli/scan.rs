//! The one place that calls the store's ordered scan.

use shingle_engine::{Direction, ReadOptions, Scan, Store};
use shingle_hal::Device;

use crate::cli::Failure;
use crate::cli::range::{Entry, Range};

/// A walk under way.
pub(crate) struct Walk<'s, 'm, 'b, D: Device>(Scan<'s, 'm, 'b, D>);

/// Memory that a walk needs.
pub(crate) fn memory_len<D: Device>(store: &Store<'_, D>) -> usize {
    store.scan_memory_len()
}

/// Begins a walk over `range`.
pub(crate) async fn begin<'s, 'm, 'b, D: Device>(
    range: &Range,
    store: &'s Store<'m, D>,
    scratch: &'b mut [u8],
) -> Result<Walk<'s, 'm, 'b, D>, Failure> {
    let start = range.start.as_ref().map(Vec::as_slice);
    let end = range.end.as_ref().map(Vec::as_slice);
    let direction = if range.reverse { Direction::Reverse } else { Direction::Forward };
    Ok(Walk(store.scan(start, end, direction, scratch, ReadOptions::default()).await?))
}

/// How many keys `range` holds.
pub(crate) async fn count<D: Device>(
    range: &Range,
    store: &Store<'_, D>,
    scratch: &mut [u8],
) -> Result<u64, Failure> {
    let start = range.start.as_ref().map(Vec::as_slice);
    let end = range.end.as_ref().map(Vec::as_slice);
    Ok(store.count(start, end, scratch, ReadOptions::default()).await?)
}

impl<D: Device> Walk<'_, '_, '_, D> {
    /// The next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, Failure> {
        let item = self.0.next().await?;
        Ok(item.map(|item| Entry {
            key: item.key.to_vec(),
            meta: item.meta.to_vec(),
            version_len: item.version_len,
            value_len: item.value_len,
        }))
    }

    /// The next entry whose value is lost.
    pub(crate) async fn next_lost(&mut self) -> Result<Option<Entry>, Failure> {
        let item = self.0.next_lost().await?;
        Ok(item.map(|item| Entry {
            key: item.key.to_vec(),
            meta: item.meta.to_vec(),
            version_len: item.version_len,
            value_len: item.value_len,
        }))
    }

    /// Part of the value of the entry that came last.
    pub(crate) async fn value(&mut self, offset: u64, out: &mut [u8]) -> Result<usize, Failure> {
        Ok(self.0.value(offset, out).await?)
    }
}
