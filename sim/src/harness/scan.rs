//! The one place that asks the store for a scan.

use std::ops::Bound;

use shingle_engine::store::read::SnapshotSeq;
use shingle_engine::store::scan::Direction;
use shingle_engine::{ReadOptions, Store};
use shingle_hal::Device;

use crate::harness::oracle::{Key, Observed};
use crate::harness::workload::key_bytes;

/// Bytes of a value fetched at a time.
const STEP_LEN: usize = 3000;

/// Keys to scan, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where the range starts.
    pub start: Bound<Key>,
    /// Where it ends.
    pub end: Bound<Key>,
    /// From its end to its start.
    pub reverse: bool,
}

impl Span {
    /// Every key.
    #[must_use]
    pub const fn all(reverse: bool) -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded, reverse }
    }

    /// The keys of a universe of `keys` that lie in the range.
    #[must_use]
    pub fn keys(&self, keys: Key) -> std::ops::Range<Key> {
        let start = match self.start {
            Bound::Included(key) => key,
            Bound::Excluded(key) => key + 1,
            Bound::Unbounded => 0,
        };
        let end = match self.end {
            Bound::Included(key) => key + 1,
            Bound::Excluded(key) => key,
            Bound::Unbounded => keys,
        };
        start..end.max(start)
    }

    /// The range without open ends, within `keys`.
    #[must_use]
    pub fn within(self, keys: &std::ops::Range<Key>) -> Self {
        let start = match self.start {
            Bound::Unbounded => Bound::Included(keys.start),
            start => start,
        };
        let end = match self.end {
            Bound::Unbounded => Bound::Excluded(keys.end),
            end => end,
        };
        Self { start, end, ..self }
    }
}

/// What a scan returned, in the order of the keys, also of a reverse one.
pub(crate) async fn scan<D: Device>(
    store: &Store<'_, D>,
    span: &Span,
    snapshot: Option<&SnapshotSeq>,
) -> Result<Vec<(Vec<u8>, Observed)>, String> {
    let direction = if span.reverse { Direction::Reverse } else { Direction::Forward };
    // Beside writers runs may come while the scan goes on, also beside one that scans its own keys.
    let mut scratch = vec![0; 4 * store.scan_memory_len()];
    let (start, end) = (span.start.map(key_bytes), span.end.map(key_bytes));
    let start = start.as_ref().map(Vec::as_slice);
    let end = end.as_ref().map(Vec::as_slice);
    let failed = |error| format!("a scan failed with {error:?}");
    let options = ReadOptions { snapshot, ..ReadOptions::default() };
    let mut all = Vec::new();
    let mut items =
        store.scan(start, end, direction, &mut scratch, options).await.map_err(failed)?;
    loop {
        let Some(item) = items.next().await.map_err(failed)? else { break };
        let (key, meta, version_len) = (item.key.to_vec(), item.meta.to_vec(), item.version_len);
        if item.value_len > store.limits().value_len_max {
            return Err(format!("a scan found a value of {} bytes", item.value_len));
        }
        let mut value = vec![0; item.value_len as usize];
        for (number, part) in value.chunks_mut(STEP_LEN).enumerate() {
            let offset = (number * STEP_LEN) as u64;
            let read = items.value(offset, part).await.map_err(failed)?;
            if read != part.len() {
                return Err(format!("a scan gave {read} bytes of {} at {offset}", part.len()));
            }
        }
        all.push((key, Observed { value, meta, version_len }));
    }
    drop(items);
    scratch.resize(scratch.len().max(4 * store.scan_memory_len()), 0);
    let counted = store.count(start, end, &mut scratch, options).await.map_err(failed)?;
    if counted != all.len() as u64 {
        return Err(format!("a scan returned {} keys, a count {counted}", all.len()));
    }
    if span.reverse {
        all.reverse();
    }
    Ok(all)
}
