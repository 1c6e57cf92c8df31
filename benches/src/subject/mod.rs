//! What is measured: an engine on a device, behind the few calls that every ordered store has.
//!
//! A subject answers or panics: a store that fails has no figures.

mod disk;
pub mod ekv;
mod extents;
#[cfg(target_os = "linux")]
pub mod file;
#[cfg(target_os = "linux")]
pub mod fjall;
pub mod flash;
#[cfg(target_os = "linux")]
pub mod folder;
pub mod host;
pub mod leveldb;
pub mod on_flash;
pub mod ram;
pub mod redb;
#[cfg(all(target_os = "linux", feature = "cpp"))]
pub mod rocksdb;
pub mod sequential;
pub mod shingle;

/// Memory in which a batch is put together in wall-clock time: room for a hundred values of 4 KiB.
const WALL_BATCH_LEN_BYTES: usize = 448 << 10;

/// What a device was asked for so far, and the time there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The time, in nanoseconds from any moment: the drive's virtual time, or the wall clock's.
    pub now_ns: u64,
    /// Read requests.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of the device that hold something, also what is dead and not freed yet.
    pub occupied_bytes: u64,
}

/// An engine under test.
pub trait Subject {
    /// What it is called in a table.
    fn name(&self) -> &str;

    /// Puts `value` under `key`; it need not be durable before [`sync`](Self::sync).
    fn put(&mut self, key: &[u8], value: &[u8]);

    /// Puts all of `pairs`, at once where the engine can.
    fn put_batch(&mut self, pairs: &[(&[u8], &[u8])]) {
        for (key, value) in pairs {
            self.put(key, value);
        }
    }

    /// Deletes `key`.
    fn delete(&mut self, key: &[u8]);

    /// Makes everything before durable.
    fn sync(&mut self);

    /// Does the work in the background that is due, or waits until it is done; nothing where the
    /// engine has none, or does not say.
    fn settle(&mut self) {}

    /// The value of `key` in `out`; whether there is one.
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool;

    /// Gives keys and values in order, from `from` on upwards, or downwards, `count` of them at
    /// most; how many there were. `None` if the engine has no order, or not that one.
    fn scan(
        &mut self,
        from: &[u8],
        is_reverse: bool,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize>;

    /// The time now, as in [`Reading::now_ns`].
    fn now_ns(&self) -> u64 {
        self.reading().now_ns
    }

    /// The device's figures now.
    fn reading(&self) -> Reading;
}
