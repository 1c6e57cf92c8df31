//! ekv on a raw flash.
//!
//! Built for pages of 4 KiB, as many as 16 MiB have, with checksums on, as this engine cannot do
//! without, and with extents ("chunks") of 512 bytes: its structures take 3 kB then, and 10 kB
//! with 4 KiB, which costs four times the bytes a get and saves nothing when writing. It has no
//! other use for memory. All else is its default.
//!
//! A transaction is durable when it is committed, so a put alone is one and
//! [`sync`](Subject::sync) has nothing to do. Keys of a transaction must ascend: a batch is sorted
//! first. Cursors go forward only.

use std::mem::size_of;

use ekv::{Config, Database, ReadError};
use embassy_futures::block_on;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

use super::flash::Flash;
use super::{Reading, Subject};

type Store = Database<Flash, NoopRawMutex>;

/// A database on a raw flash.
pub struct Ekv {
    store: Store,
}

impl Ekv {
    /// Formats `flash`.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn new(flash: Flash) -> Self {
        let store = Store::new(flash, Config::default());
        block_on(store.format()).expect("format");
        Self { store }
    }

    /// Looks at the flash.
    pub fn with_flash<T>(&self, look: impl FnOnce(&Flash) -> T) -> T {
        block_on(async { look(&*self.store.lock_flash().await) })
    }

    /// Mounts what is on `flash`, and gives the flash's figures then.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn mount_on(flash: Flash) -> Reading {
        let store = Store::new(flash, Config::default());
        block_on(async {
            store.mount().await.expect("mount");
            store.lock_flash().await.reading()
        })
    }

    /// Bytes of memory that it takes, without the flash itself and what is on the stack.
    #[must_use]
    pub fn memory_bytes() -> usize {
        size_of::<Store>() - size_of::<Flash>()
    }
}

impl Subject for Ekv {
    fn name(&self) -> &str {
        "ekv"
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.put_batch(&[(key, value)]);
    }

    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        let mut sorted = pairs.to_vec();
        sorted.sort_unstable();
        block_on(async {
            let mut transaction = self.store.write_transaction().await;
            for (key, value) in sorted {
                transaction.write(key, value).await.expect("write");
            }
            transaction.commit().await.expect("commit");
        });
    }

    fn delete(&mut self, key: &[u8]) {
        block_on(async {
            let mut transaction = self.store.write_transaction().await;
            transaction.delete(key).await.expect("delete");
            transaction.commit().await.expect("commit");
        });
    }

    fn sync(&mut self) {}

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        out.resize(ekv::config::MAX_VALUE_SIZE, 0);
        let found = block_on(async {
            let transaction = self.store.read_transaction().await;
            transaction.read(key, out).await
        });
        let len = match found {
            Ok(len) => Some(len),
            Err(ReadError::KeyNotFound) => None,
            Err(error) => panic!("get: {error:?}"),
        };
        out.truncate(len.unwrap_or(0));
        len.is_some()
    }

    fn scan(
        &mut self,
        from: &[u8],
        is_reverse: bool,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        if is_reverse {
            return None;
        }
        let mut key = [0; ekv::config::MAX_KEY_SIZE];
        let mut value = [0; ekv::config::MAX_VALUE_SIZE];
        block_on(async {
            let transaction = self.store.read_transaction().await;
            let mut cursor = transaction.read_range(from..).await.expect("cursor");
            for given in 0..count {
                let Some(lens) = cursor.next(&mut key, &mut value).await.expect("next") else {
                    return Some(given);
                };
                each(&key[..lens.0], &value[..lens.1]);
            }
            Some(count)
        })
    }

    fn reading(&self) -> Reading {
        self.with_flash(Flash::reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::flash::{Charge, ERASE_LEN};

    #[test]
    fn deleted_key_is_gone_and_others_come_in_order() {
        let mut ekv = Ekv::new(Flash::new(64 * ERASE_LEN, Charge::Share));
        ekv.put_batch(&[(b"c", b"3"), (b"a", b"1"), (b"b", b"2")]);
        ekv.delete(b"b");
        let mut value = Vec::new();
        assert!(ekv.get(b"a", &mut value) && value == b"1");
        assert!(!ekv.get(b"b", &mut value));
        let mut keys = Vec::new();
        let count = ekv.scan(b"a", false, 9, &mut |key, _| keys.push(key.to_vec()));
        assert_eq!((count, keys), (Some(2), vec![b"a".to_vec(), b"c".to_vec()]));
        assert_eq!(ekv.scan(b"c", true, 9, &mut |_, _| ()), None);
    }
}
