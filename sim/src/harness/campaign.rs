//! Many seeds, with progress on stderr and an eye on seeds that never end.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::torture::{Failure, Summary, TortureConfig, run};

/// A seed that takes longer spins without a request.
const SEED_TIME_MAX: Duration = Duration::from_secs(120);

/// A number from the environment, or what it usually is.
#[must_use]
pub fn setting(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What a campaign came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    /// Seeds run.
    pub seeds: u64,
    /// Operations.
    pub ops: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Remounts compared.
    pub remounts: u64,
    /// Requests to drives.
    pub requests: u64,
}

impl Total {
    fn add(&mut self, summary: &Summary) {
        self.seeds += 1;
        self.ops += summary.ops;
        self.cuts += summary.cuts;
        self.remounts += summary.remounts;
        self.requests += summary.requests;
    }
}

/// Prints which seed it is when one never ends, and ends the process: a loop that asks nothing of
/// the drive cannot be ended otherwise.
struct Watchdog {
    seed: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watchdog {
    fn new(config: &TortureConfig) -> Self {
        let (seed, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (watched, ended, config) = (seed.clone(), over.clone(), config.clone());
        std::thread::spawn(move || {
            let (mut last, mut since) = (u64::MAX, Instant::now());
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                let now = watched.load(Ordering::Relaxed);
                if now != last {
                    (last, since) = (now, Instant::now());
                } else if since.elapsed() > SEED_TIME_MAX {
                    eprintln!("seed {now} never ends, with {config:?}");
                    std::process::abort();
                }
            }
        });
        Self { seed, over }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Runs seeds until `failures_max` failed; gives what they came to and the failures.
#[must_use]
pub fn run_seeds(
    seeds: std::ops::Range<u64>,
    config: &TortureConfig,
    failures_max: usize,
) -> (Total, Vec<Failure>) {
    let watchdog = Watchdog::new(config);
    let (mut total, mut failures) = (Total::default(), Vec::new());
    let mut shown = Instant::now();
    for seed in seeds {
        watchdog.seed.store(seed, Ordering::Relaxed);
        match run(seed, config) {
            Ok(summary) => total.add(&summary),
            Err(failure) => {
                eprintln!("{failure}");
                failures.push(failure);
                if failures.len() >= failures_max {
                    break;
                }
            }
        }
        if shown.elapsed() > Duration::from_secs(10) {
            eprintln!("seed {seed}: {total:?}, {} failures", failures.len());
            shown = Instant::now();
        }
    }
    (total, failures)
}

/// Several campaigns side by side, one thread for each configuration.
#[must_use]
pub fn run_all(
    seeds: &std::ops::Range<u64>,
    configs: &[TortureConfig],
    failures_max: usize,
) -> (Total, Vec<Failure>) {
    let all = Mutex::new((Total::default(), Vec::new()));
    std::thread::scope(|scope| {
        for half in configs.chunks(configs.len().div_ceil(2).max(1)) {
            let (all, seeds) = (&all, seeds.clone());
            scope.spawn(move || {
                for config in half {
                    let (total, failures) = run_seeds(seeds.clone(), config, failures_max);
                    let Ok(mut all) = all.lock() else { return };
                    all.0.seeds += total.seeds;
                    all.0.ops += total.ops;
                    all.0.cuts += total.cuts;
                    all.0.remounts += total.remounts;
                    all.0.requests += total.requests;
                    all.1.extend(failures);
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}
