//! Many seeds, with progress on stderr and an eye on seeds that never end.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::torture::{Failure, Summary, TortureConfig, run};

/// A seed that takes longer spins without a request.
const SEED_TIME_MAX: Duration = Duration::from_secs(900);
/// How often that is looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(200);

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
    /// What they came to together.
    pub sum: Summary,
}

impl Total {
    fn add(&mut self, summary: &Summary) {
        self.seeds += 1;
        self.sum.add(summary);
    }

    /// Takes on what another part came to.
    pub fn join(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.sum.add(&other.sum);
    }
}

/// Prints which seed it is when one never ends, and ends the process: a loop that asks nothing of
/// the drive cannot be ended otherwise.
pub(crate) struct Watchdog {
    seed: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watchdog {
    /// Watches seeds; `setting` is printed with one that never ends.
    pub(crate) fn new(setting: String) -> Self {
        let (seed, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (watched, ended) = (seed.clone(), over.clone());
        std::thread::spawn(move || {
            // Counted, as while the process is stopped the clock goes on.
            let (mut last, mut time) = (u64::MAX, Duration::ZERO);
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(WATCH_PERIOD);
                let now = watched.load(Ordering::Relaxed);
                time += WATCH_PERIOD;
                if now != last {
                    (last, time) = (now, Duration::ZERO);
                } else if time > SEED_TIME_MAX {
                    eprintln!("seed {now} never ends, with {setting}");
                    std::process::abort();
                }
            }
        });
        Self { seed, over }
    }

    /// A seed begins.
    pub(crate) fn begin(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
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
    let watchdog = Watchdog::new(format!("{config:?}"));
    let (mut total, mut failures) = (Total::default(), Vec::new());
    let mut shown = Instant::now();
    for seed in seeds {
        watchdog.begin(seed);
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
                    all.0.join(&total);
                    all.1.extend(failures);
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}

/// One campaign spread over `jobs` threads, each with seeds of its own.
#[must_use]
pub fn run_spread(
    seeds: &std::ops::Range<u64>,
    config: &TortureConfig,
    failures_max: usize,
    jobs: usize,
) -> (Total, Vec<Failure>) {
    let share = (seeds.end - seeds.start).div_ceil(jobs.max(1) as u64).max(1);
    let starts: Vec<u64> = seeds.clone().step_by(share as usize).collect();
    std::thread::scope(|scope| {
        let spawn = |&start: &u64| {
            let part = start..start.saturating_add(share).min(seeds.end);
            scope.spawn(move || run_seeds(part, config, failures_max))
        };
        let threads: Vec<_> = starts.iter().map(spawn).collect();
        let (mut all, mut failed) = (Total::default(), Vec::new());
        for thread in threads {
            // A panic of the store is a finding; one that gets here is the harness's own.
            let Ok((total, failures)) = thread.join() else { panic!("a campaign panicked") };
            all.join(&total);
            failed.extend(failures);
        }
        (all, failed)
    })
}
