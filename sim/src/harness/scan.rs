//! The one place that asks the store for a scan.

use shingle_engine::Store;
use shingle_hal::Device;

use crate::harness::oracle::Observed;

/// What a scan over everything returned, in its order; `None` while the store has no scan.
pub(crate) async fn scan_all<D: Device>(
    _store: &Store<'_, D>,
    _reverse: bool,
) -> Option<Result<Vec<(Vec<u8>, Observed)>, String>> {
    None
}
