//! `shingle contract`: every check of the contract between the engine and its media, on a disk.

use std::path::Path;

use serde_json::{Value, json};
use shingle_hal::Device as _;
use shingle_hal::conformance::{self, Bench, CHECKS, Outcome, scratch_len_bytes};
use shingle_sim::linux::{LinuxDevice, Queue, runtime};

use super::args::ContractArgs;
use super::{Failure, Output, format};

struct Reopened<'p> {
    path: &'p Path,
    device: Option<LinuxDevice>,
}

impl Bench for Reopened<'_> {
    type Device = LinuxDevice;

    fn device(&self) -> &LinuxDevice {
        self.device.as_ref().expect("a device is open between cycles")
    }

    /// The mildest of power cuts: everything unsynced survives. What a disk keeps of a real one is
    /// up to it, and the contract allows any of it.
    async fn power_cycle(&mut self) -> bool {
        self.device = None;
        match LinuxDevice::open(self.path).await {
            Ok(device) => self.device = Some(device),
            // No check can say anything about a disk that went.
            Err(error) => {
                Failure::new(error.to_string()).print();
                std::process::exit(1);
            }
        }
        true
    }
}

/// What the checks came to by one way to the kernel.
#[derive(Default)]
struct Sum {
    passed: u32,
    skipped: Vec<Value>,
    failed: Vec<Value>,
}

pub(super) fn run(args: &ContractArgs) -> Result<(), Failure> {
    let path = &args.disk;
    drop(format::claim(path, args.force)?);
    let mut out = Output::new();
    let mut all = Vec::new();
    let mut verdict = Ok(());
    for (queue, name) in [(Queue::IoUring, "io_uring"), (Queue::Threads, "threads")] {
        let runtime = match runtime(queue) {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("shingle: the kernel takes no requests by {name}: {error}");
                continue;
            }
        };
        let sum = runtime.block_on(run_on(path)).map_err(|failure| failure.about(name))?;
        if !sum.failed.is_empty() {
            verdict = Err(Failure::new(format!(
                "{} does not keep the contract: {} checks failed",
                path.display(),
                sum.failed.len()
            )));
        } else if sum.passed < args.least {
            verdict = Err(Failure::new(format!(
                "{} checks passed by {name}, of at least {}",
                sum.passed, args.least
            )));
        }
        let Sum { passed, skipped, failed } = sum;
        if args.json {
            all.push(json!({
                "queue": name, "passed": passed, "skipped": skipped, "failed": failed,
            }));
        } else {
            for check in &failed {
                let said = |what: &str| check[what].as_str().unwrap_or_default().to_owned();
                out.line(&format!("FAILED: {}: {}", said("check"), said("why")))?;
            }
            out.line(&format!(
                "by {name}: {passed} checks passed, {} failed, {} need what the disk has not",
                failed.len(),
                skipped.len()
            ))?;
        }
    }
    if args.json {
        out.document(&json!(all))?;
    }
    out.finish()?;
    verdict
}

async fn run_on(path: &Path) -> Result<Sum, Failure> {
    let device = LinuxDevice::open(path).await.map_err(|error| Failure::new(error.to_string()))?;
    let geometry = device.geometry();
    let mut bench = Reopened { path, device: Some(device) };
    // Enough for a transfer that is too long.
    let more = (geometry.transfer_blocks_max + 1) * geometry.block_len_bytes;
    // As badly aligned as it can be: direct I/O is the device's own affair.
    let mut scratch = vec![0; scratch_len_bytes(&geometry) + more as usize + 1];
    let mut sum = Sum::default();
    for check in CHECKS {
        let why = match conformance::run(&mut bench, check, &mut scratch[1..]).await {
            Outcome::Passed => {
                sum.passed += 1;
                continue;
            }
            Outcome::Skipped(why) => {
                sum.skipped.push(json!({ "check": check.name, "why": why }));
                continue;
            }
            Outcome::Failed(failure) => format!("{failure} ({})", check.clause),
        };
        sum.failed.push(json!({ "check": check.name, "why": why }));
    }
    Ok(sum)
}
