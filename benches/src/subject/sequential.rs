//! The map of sequential-storage on a raw flash.
//!
//! It keeps no order and no index: a get walks all that was written until it meets the key, and so
//! does the emptying of a page, for each of its entries. What memory it is given goes to its
//! caches: the state of every page and two places in it, and the rest for places of keys.
//!
//! Each put is durable when it returns; [`sync`](Subject::sync) has nothing to do.

use embassy_futures::block_on;
use sequential_storage::cache::Cache;
use sequential_storage::cache::key_pointers::HeapKeyPointers;
use sequential_storage::cache::page_pointers::HeapPagePointers;
use sequential_storage::cache::page_states::HeapPageStates;
use sequential_storage::map::{MapConfig, MapStorage};

use super::flash::{ERASE_LEN, Flash};
use super::{Reading, Subject};
use crate::load::KEY_LEN;

type Key = [u8; KEY_LEN];
type Caches = Cache<HeapPageStates, HeapPagePointers, HeapKeyPointers<Key>, Key>;

/// Bytes of an entry of the cache of keys: the key and its place.
const CACHED_KEY_BYTES: usize = KEY_LEN + 4;
/// Bytes that the caches know of a page: its state, and two places in it.
const CACHED_PAGE_BYTES: usize = 1 + 8;
/// Bytes of the longest key and value together.
const ITEM_LEN_MAX: usize = 1024;

/// A map on a raw flash.
pub struct Sequential {
    store: MapStorage<Key, Flash, Caches>,
    item: Vec<u8>,
    reading: Reading,
    /// Bytes erased so far.
    pub erased_bytes: u64,
}

impl Sequential {
    /// A map on `flash`, which is erased, with `memory_bytes` for its caches.
    ///
    /// # Panics
    /// If the memory is not even enough to know the pages.
    #[must_use]
    pub fn new(flash: Flash, memory_bytes: usize) -> Self {
        let pages = flash.capacity_bytes() / ERASE_LEN;
        let config = MapConfig::new(0..flash.capacity_bytes() as u32);
        let keys = memory_bytes.checked_sub(pages * CACHED_PAGE_BYTES).expect("memory for pages")
            / CACHED_KEY_BYTES;
        let caches = Cache::new(
            HeapPageStates::new(pages),
            HeapPagePointers::new(pages),
            HeapKeyPointers::new(keys),
        );
        let reading = flash.reading();
        let store = MapStorage::new(flash, config, caches);
        Self { store, item: vec![0; ITEM_LEN_MAX], reading, erased_bytes: 0 }
    }

    /// The flash can only be looked at by who may change it.
    fn note(&mut self) {
        let flash = self.store.flash();
        (self.reading, self.erased_bytes) = (flash.reading(), flash.erased_bytes());
    }
}

fn key_of(key: &[u8]) -> Key {
    key.try_into().expect("keys have one length")
}

impl Subject for Sequential {
    fn name(&self) -> &str {
        "sequential-storage"
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        block_on(self.store.store_item(&mut self.item, &key_of(key), &value)).expect("store");
        self.note();
    }

    fn delete(&mut self, key: &[u8]) {
        block_on(self.store.remove_item(&mut self.item, &key_of(key))).expect("remove");
        self.note();
    }

    fn sync(&mut self) {}

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let key = key_of(key);
        let fetch = self.store.fetch_item::<&[u8]>(&mut self.item, &key);
        let found = block_on(fetch).expect("fetch").map(|value| out.extend_from_slice(value));
        let is_found = found.is_some();
        self.note();
        is_found
    }

    fn scan(
        &mut self,
        _from: &[u8],
        _is_reverse: bool,
        _count: usize,
        _each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        None
    }

    fn reading(&self) -> Reading {
        self.reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;
    use crate::subject::flash::Charge;

    #[test]
    fn deleted_key_is_gone_and_newest_value_is_found() {
        let mut map = Sequential::new(Flash::new(16 * ERASE_LEN, Charge::Share), 1024);
        let (kept, deleted) = (load::key(1), load::key(2));
        map.put(&kept, b"old");
        map.put(&deleted, b"some");
        map.put(&kept, b"new");
        map.delete(&deleted);
        let mut value = Vec::new();
        assert!(map.get(&kept, &mut value) && value == b"new");
        assert!(!map.get(&deleted, &mut value));
    }
}
