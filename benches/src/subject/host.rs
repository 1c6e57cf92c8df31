//! What a store runs on: a device, something that drives its futures, and a clock.

use shingle_hal::Device;
use shingle_sim::Drive;

/// A device with what drives its futures, and its clock.
pub trait Host {
    /// The device.
    type Device: Device;

    /// What the engine on it is called in a table.
    fn name(&self) -> &str;

    /// The device.
    fn device(&self) -> &Self::Device;

    /// Drives a future to its end.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T;

    /// The time, as in [`Reading::now_ns`](super::Reading::now_ns).
    fn now_ns(&self) -> u64;

    /// Memory in which a batch is put together; what does not fit goes in the next one.
    fn batch_len_bytes(&self) -> usize {
        256 << 10
    }
}

/// A simulated drive, in its virtual time.
impl Host for Drive {
    type Device = Self;

    fn name(&self) -> &str {
        "shingle"
    }

    fn device(&self) -> &Self {
        self
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        Self::block_on(self, future)
    }

    fn now_ns(&self) -> u64 {
        Self::now_ns(self)
    }
}
