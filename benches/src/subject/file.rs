//! A file as a device, with the runtime that its requests need, in the time of the wall clock.

use std::path::Path;
use std::time::Instant;

use shingle_hal::adapt::BlockZones;
use shingle_sim::linux::{FileDevice, Queue, Runtime, runtime};

use super::host::Host;

const BLOCK_LEN: usize = 4096;

/// A host whose device is a file.
pub struct FileHost {
    // Before the runtime, which ends what is in flight.
    zones: BlockZones<FileDevice>,
    runtime: Runtime,
    began: Instant,
}

impl FileHost {
    /// A new file at `path`, of `zone_count` zones of `zone_len` bytes.
    ///
    /// # Panics
    /// If there is one, or these are no sizes of a device.
    #[must_use]
    pub fn new(path: &Path, zone_count: u32, zone_len: usize) -> Self {
        let runtime = runtime(Queue::Best).expect("a runtime");
        let len_bytes = u64::from(zone_count) * zone_len as u64;
        let file = runtime.block_on(FileDevice::create(path, len_bytes)).expect("a file");
        let zones = BlockZones::new(file, (zone_len / BLOCK_LEN) as u32);
        let zones = zones.expect("sizes that fit the contract");
        Self { zones, runtime, began: Instant::now() }
    }

    /// Whether requests go by io_uring, and not by threads.
    #[must_use]
    pub fn is_ring(&self) -> bool {
        self.runtime.driver_type().is_iouring()
    }
}

impl Host for FileHost {
    type Device = BlockZones<FileDevice>;

    fn name(&self) -> &str {
        "shingle"
    }

    fn device(&self) -> &Self::Device {
        &self.zones
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn batch_len_bytes(&self) -> usize {
        super::WALL_BATCH_LEN_BYTES
    }
}
