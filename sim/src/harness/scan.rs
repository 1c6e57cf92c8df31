//! The one place that asks the store for a scan.

use std::ops::Bound;

use shingle_engine::store::scan::Direction;
use shingle_engine::{ReadOptions, Store};
use shingle_hal::Device;

use crate::harness::oracle::Observed;

/// Bytes of a value fetched at a time.
const STEP_LEN: usize = 3000;

/// What a scan over everything returned, in its order; `None` while the store has no scan.
pub(crate) async fn scan_all<D: Device>(
    store: &Store<'_, D>,
    reverse: bool,
) -> Option<Result<Vec<(Vec<u8>, Observed)>, String>> {
    Some(scan(store, reverse).await)
}

async fn scan<D: Device>(
    store: &Store<'_, D>,
    reverse: bool,
) -> Result<Vec<(Vec<u8>, Observed)>, String> {
    let direction = if reverse { Direction::Reverse } else { Direction::Forward };
    let mut scratch = vec![0; store.scan_memory_len()];
    let (start, end) = (Bound::Unbounded, Bound::Unbounded);
    let failed = |error| format!("a scan failed with {error:?}");
    let options = ReadOptions::default();
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
    let counted = store.count(start, end, &mut scratch, options).await.map_err(failed)?;
    if counted != all.len() as u64 {
        return Err(format!("a scan returned {} keys, a count {counted}", all.len()));
    }
    Ok(all)
}
