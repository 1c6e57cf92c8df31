//! What the requests of a device run on: one thread, with the kernel's queue or a pool of threads
//! behind it.

use std::io;
use std::time::Duration;

use compio::driver::{DriverType, ProactorBuilder};
pub use compio::runtime::Runtime;
use compio::runtime::RuntimeBuilder;

/// How requests reach the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queue {
    /// By io_uring where the kernel has it, else by threads.
    #[default]
    Best,
    /// By io_uring.
    IoUring,
    /// By threads that each wait for one request.
    Threads,
}

/// A runtime for this thread, whose requests go by `queue`.
///
/// Its `block_on` runs any future of this thread, one that borrows or that no other thread may
/// have, as the engine's are.
///
/// # Errors
/// What the kernel says; without io_uring that of [`Queue::IoUring`].
pub fn runtime(queue: Queue) -> io::Result<Runtime> {
    let mut driver = ProactorBuilder::new();
    match queue {
        Queue::Best => {}
        Queue::IoUring => _ = driver.driver_type(DriverType::IoUring),
        Queue::Threads => _ = driver.driver_type(DriverType::Poll),
    }
    RuntimeBuilder::new().with_proactor(driver).build()
}

/// Waits for `time`, on the runtime that runs.
pub async fn sleep(time: Duration) {
    compio::time::sleep(time).await;
}
