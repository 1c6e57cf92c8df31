//! The one place that calls the store's ordered scan.

use shingle_engine::{Direction, ReadOptions, Scan};
use shingle_sim::Drive;

use crate::cli::range::{Entry, Range};
use crate::cli::{Failure, Shop};

/// A walk under way.
pub(crate) struct Walk<'s, 'm, 'd, 'b>(Scan<'s, 'm, 'b, &'d Drive>);

/// Memory that a walk needs.
pub(crate) fn memory_len(store: &Shop<'_, '_>) -> usize {
    store.scan_memory_len()
}

/// Begins a walk over `range`.
pub(crate) async fn begin<'s, 'm, 'd, 'b>(
    range: &Range,
    store: &'s Shop<'m, 'd>,
    scratch: &'b mut [u8],
) -> Result<Walk<'s, 'm, 'd, 'b>, Failure> {
    let start = range.start.as_ref().map(Vec::as_slice);
    let end = range.end.as_ref().map(Vec::as_slice);
    let direction = if range.reverse { Direction::Reverse } else { Direction::Forward };
    Ok(Walk(store.scan(start, end, direction, scratch, ReadOptions::default()).await?))
}

/// How many keys `range` holds.
pub(crate) async fn count(
    range: &Range,
    store: &Shop<'_, '_>,
    scratch: &mut [u8],
) -> Result<u64, Failure> {
    let start = range.start.as_ref().map(Vec::as_slice);
    let end = range.end.as_ref().map(Vec::as_slice);
    Ok(store.count(start, end, scratch, ReadOptions::default()).await?)
}

impl Walk<'_, '_, '_, '_> {
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
