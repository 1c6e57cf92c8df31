//! A store for programs without an executor: every call returns when it is done.
//!
//! [`Blocking`] polls the store's futures with [`shingle_hal::block_on`], which suits devices whose
//! requests are done when they return (memory, a blocking driver) or progress when polled. It adds
//! nothing else: promises, errors and costs are those of the methods of [`Store`] that it calls,
//! and [`Blocking::store`] gives the store itself.
//!
//! # Example
//! A store in 32 KiB of memory, on a chip of 64 zones of 16 KiB:
//!
//! ```
//! use core::cell::RefCell;
//! use core::ops::Bound;
//!
//! use shingle_engine::blocking::Blocking;
//! use shingle_engine::{FormatOptions, Limits, Meta, ReadOptions, Redundancy, WriteOptions};
//! use shingle_hal::adapt::{BlockDevice, BlockZones};
//! use shingle_hal::{ErrorKind, Lba, Request};
//!
//! const BLOCK_LEN: usize = 512;
//! const BLOCKS: usize = 64 * 32;
//!
//! /// The chip. Yours is not in memory.
//! struct Chip<'c>(RefCell<&'c mut [u8]>);
//!
//! impl BlockDevice for Chip<'_> {
//!     type Error = ErrorKind;
//!
//!     fn block_len_bytes(&self) -> u32 {
//!         BLOCK_LEN as u32
//!     }
//!     fn block_count(&self) -> u64 {
//!         BLOCKS as u64
//!     }
//!     fn transfer_blocks_max(&self) -> u32 {
//!         16
//!     }
//!     async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), ErrorKind> {
//!         let at = start.0 as usize * BLOCK_LEN;
//!         buf.copy_from_slice(&self.0.borrow()[at..at + buf.len()]);
//!         Ok(())
//!     }
//!     async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), ErrorKind> {
//!         let at = start.0 as usize * BLOCK_LEN;
//!         self.0.borrow_mut()[at..at + data.len()].copy_from_slice(data);
//!         Ok(())
//!     }
//!     async fn sync(&self) -> Result<(), ErrorKind> {
//!         Ok(())
//!     }
//! }
//!
//! # let mut media = vec![0; BLOCKS * BLOCK_LEN];
//! let chip = Chip(RefCell::new(&mut media));
//! let zones = BlockZones::new(chip, 32).unwrap();
//! let mut memory = [0; 32 * 1024];
//!
//! let limits = Limits {
//!     key_len_max: 32,
//!     meta_len_max: 16,
//!     value_len_max: 1024,
//!     node_len_bytes: 512,
//!     separate_from_bytes: 128,
//! };
//! let redundancy = Redundancy::NONE;
//! let options = FormatOptions { store_id: *b"sixteen bytes id", limits, redundancy };
//! Blocking::format(&zones, &mut memory, &options).unwrap();
//!
//! let store = Blocking::open(&zones, &mut memory).unwrap();
//! for number in 0..2000_u32 {
//!     let key = (number % 100).to_be_bytes();
//!     store.put(&key, Meta::NONE, &[number as u8; 200], WriteOptions::BUFFERED).unwrap();
//! }
//! store.delete_range(&[0, 0, 0, 50], None, Default::default()).unwrap();
//! store.close().unwrap();
//!
//! let store = Blocking::open(&zones, &mut memory).unwrap();
//! let mut value = [0; 1024];
//! let found = store.get(&[0, 0, 0, 7], &mut value, ReadOptions::default()).unwrap();
//! assert_eq!(found.unwrap().value_len, 200);
//! assert_eq!(value[..200], [1907_u32 as u8; 200]);
//!
//! let (mut scratch, mut count) = ([0; 16 * 1024], 0);
//! let all = (Bound::Unbounded, Bound::Unbounded);
//! store.scan(all, &mut scratch, ReadOptions::default(), |_| { count += 1; true }).unwrap();
//! assert_eq!(count, 50);
//! ```

use core::ops::Bound;

use shingle_hal::{Device, block_on};

use crate::create::FormatOptions;
use crate::error::{FormatError, OpenError, ReadError, WriteError};
use crate::store::Store;
use crate::store::batch::Batch;
use crate::store::options::{Durability, Meta, ReadOptions, WriteOptions};
use crate::store::read::Found;
use crate::store::scan::{Direction, Item};

/// A [`Store`] whose calls return when they are done.
pub struct Blocking<'m, D: Device> {
    store: Store<'m, D>,
}

impl<'m, D: Device> Blocking<'m, D> {
    /// Formats a device; see [`format`](fn@crate::format).
    ///
    /// # Errors
    /// See [`FormatError`].
    pub fn format(
        device: &D,
        memory: &mut [u8],
        options: &FormatOptions,
    ) -> Result<(), FormatError<D::Error>> {
        block_on(crate::create::format(device, memory, options))
    }

    /// Opens a store; see [`Store::open`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(device: D, memory: &'m mut [u8]) -> Result<Self, OpenError<D::Error>> {
        Ok(Self { store: block_on(Store::open(device, memory))? })
    }

    /// The store.
    pub fn store(&self) -> &Store<'m, D> {
        &self.store
    }

    /// Reads a value into `value`; see [`Store::get`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn get(
        &self,
        key: &[u8],
        value: &mut [u8],
        options: ReadOptions<'_>,
    ) -> Result<Option<Found>, ReadError<D::Error>> {
        block_on(self.store.get(key, value, options))
    }

    /// Sets a key; see [`Store::put`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn put(
        &self,
        key: &[u8],
        meta: Meta<'_>,
        value: &[u8],
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<D::Error>> {
        block_on(self.store.put(key, meta, value, options))
    }

    /// Removes a key; see [`Store::delete`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn delete(
        &self,
        key: &[u8],
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<D::Error>> {
        block_on(self.store.delete(key, options))
    }

    /// Removes the keys from `start` up to, not including, `end`; see [`Store::delete_range`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn delete_range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        durability: Durability,
    ) -> Result<(), WriteError<D::Error>> {
        block_on(self.store.delete_range(start, end, durability))
    }

    /// Does several operations as one; see [`Store::write`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(
        &self,
        batch: &Batch<'_>,
        durability: Durability,
    ) -> Result<(), WriteError<D::Error>> {
        block_on(self.store.write(batch, durability))
    }

    /// Calls `each` with the entries in `range`, in the order of their keys, until it answers
    /// false; see [`Store::scan`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn scan(
        &self,
        (start, end): (Bound<&[u8]>, Bound<&[u8]>),
        scratch: &mut [u8],
        options: ReadOptions<'_>,
        mut each: impl FnMut(&Item<'_>) -> bool,
    ) -> Result<(), ReadError<D::Error>> {
        block_on(async {
            let mut scan =
                self.store.scan(start, end, Direction::Forward, scratch, options).await?;
            while let Some(item) = scan.next().await? {
                if !each(&item) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Makes everything acknowledged so far durable; see [`Store::sync`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn sync(&self) -> Result<(), WriteError<D::Error>> {
        block_on(self.store.sync())
    }

    /// Moves everything in memory into runs; see [`Store::checkpoint`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn checkpoint(&self) -> Result<(), WriteError<D::Error>> {
        block_on(self.store.checkpoint())
    }

    /// Checkpoints and gives the device back; see [`Store::close`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn close(self) -> Result<D, WriteError<D::Error>> {
        block_on(self.store.close())
    }
}
