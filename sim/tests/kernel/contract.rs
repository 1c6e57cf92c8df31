//! Every check of the contract on a device of this kernel, by io_uring and by threads.

use std::path::Path;
use std::time::Duration;

use shingle_hal::Device as _;
use shingle_hal::conformance::{self, Bench, CHECKS, Outcome, scratch_len_bytes};
use shingle_sim::linux::{LinuxDevice, Queue, runtime, sleep};

struct Reopened<'p> {
    path: &'p Path,
    device: Option<LinuxDevice>,
}

impl Bench for Reopened<'_> {
    type Device = LinuxDevice;

    fn device(&self) -> &LinuxDevice {
        self.device.as_ref().expect("a device is open between cycles")
    }

    /// The mildest of power cuts: everything unsynced survives.
    async fn power_cycle(&mut self) -> bool {
        self.device = None;
        loop {
            match LinuxDevice::open(self.path).await {
                Ok(device) => {
                    self.device = Some(device);
                    return true;
                }
                // A request that was dropped may hold it for a moment.
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

/// Says what each check came to; fails if one did, or if fewer passed than `passed_min`.
pub(crate) fn run(path: &Path, passed_min: usize) -> Result<(), String> {
    for queue in [Queue::IoUring, Queue::Threads] {
        let runtime = runtime(queue).map_err(|error| error.to_string())?;
        let (passed, failed) = runtime.block_on(run_on(path, queue))?;
        println!("{} by {queue:?}: {passed} passed, {failed} failed", path.display());
        if failed > 0 || passed < passed_min {
            return Err(format!("{passed} checks passed of at least {passed_min}"));
        }
    }
    Ok(())
}

async fn run_on(path: &Path, queue: Queue) -> Result<(usize, usize), String> {
    let device = LinuxDevice::open(path).await.map_err(|error| error.to_string())?;
    let geometry = device.geometry();
    println!("{} by {queue:?}: {geometry:?}", path.display());
    let mut bench = Reopened { path, device: Some(device) };
    // Enough for a transfer that is too long.
    let more = (geometry.transfer_blocks_max + 1) * geometry.block_len_bytes;
    // As badly aligned as it can be: direct I/O is the device's own affair.
    let mut scratch = vec![0; scratch_len_bytes(&geometry) + more as usize + 1];
    let scratch = &mut scratch[1..];
    let (mut passed, mut failed) = (0, 0);
    for check in CHECKS {
        match conformance::run(&mut bench, check, scratch).await {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(_) => {}
            Outcome::Failed(failure) => {
                failed += 1;
                println!("FAILED: {}: {failure} ({})", check.name, check.clause);
            }
        }
    }
    Ok((passed, failed))
}
