//! Memory as a device of conventional zones, in the time of the wall clock: what the engine itself
//! takes, with next to nothing below it.

use std::cell::RefCell;
use std::time::Instant;

use shingle_hal::adapt::{BlockDevice, BlockZones};
use shingle_hal::{ErrorKind, Lba, Request, block_on};

use super::host::Host;

const BLOCK_LEN: usize = 4096;
/// As a file's device has it.
const TRANSFER_BLOCKS_MAX: u32 = 256;

/// Blocks in memory. Requests are within it, as the adaptor above sees to.
pub struct Memory(RefCell<Vec<u8>>);

impl BlockDevice for Memory {
    type Error = ErrorKind;

    fn block_len_bytes(&self) -> u32 {
        BLOCK_LEN as u32
    }

    fn block_count(&self) -> u64 {
        (self.0.borrow().len() / BLOCK_LEN) as u64
    }

    fn transfer_blocks_max(&self) -> u32 {
        TRANSFER_BLOCKS_MAX
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), ErrorKind> {
        let from = start.0 as usize * BLOCK_LEN;
        buf.copy_from_slice(&self.0.borrow()[from..from + buf.len()]);
        Ok(())
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), ErrorKind> {
        let from = start.0 as usize * BLOCK_LEN;
        self.0.borrow_mut()[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }

    async fn sync(&self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// A host whose device is memory.
pub struct Ram {
    zones: BlockZones<Memory>,
    began: Instant,
}

impl Ram {
    /// A device of `zone_count` zones of `zone_len` bytes.
    ///
    /// # Panics
    /// If these are no sizes of a device.
    #[must_use]
    pub fn new(zone_count: u32, zone_len: usize) -> Self {
        let memory = Memory(RefCell::new(vec![0; zone_count as usize * zone_len]));
        let zones = BlockZones::new(memory, (zone_len / BLOCK_LEN) as u32);
        Self { zones: zones.expect("sizes that fit the contract"), began: Instant::now() }
    }
}

impl Host for Ram {
    type Device = BlockZones<Memory>;

    fn name(&self) -> &str {
        "shingle, memory"
    }

    fn device(&self) -> &Self::Device {
        &self.zones
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        block_on(future)
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn batch_len_bytes(&self) -> usize {
        super::WALL_BATCH_LEN_BYTES
    }
}
