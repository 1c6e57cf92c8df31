//! Many seeds of [`faulted`](super::faulted) on several threads, with progress, and an eye on seeds
//! that never end.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::campaign::Watchdog;
use crate::harness::faulted::{Faults, Outcomes, run};
use crate::harness::torture::Failure;

/// The drives that seeds take turns on, where none is named.
pub const MEDIA: [&str; 4] = [
    "smr-tiny:timing=instant",
    "disk-tiny:timing=instant",
    "zns-tiny:timing=instant",
    "nor-1m:timing=instant,zone-kib=32",
];

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seeds.
    pub seeds: Range<u64>,
    /// The drive; `None` lets seeds take turns on [`MEDIA`].
    pub media: Option<String>,
    /// Operations of a seed.
    pub ops: u64,
    /// Under what plans.
    pub faults: Faults,
    /// The plans as the command line says them.
    pub text: String,
    /// Threads.
    pub jobs: usize,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Seeds that passed.
    pub passed: u64,
    /// What they came to together.
    pub sum: Outcomes,
    /// What failed.
    pub failures: Vec<Failure>,
}

impl Campaign {
    /// The drive of a seed.
    fn media(&self, seed: u64) -> &str {
        self.media.as_deref().unwrap_or(MEDIA[seed as usize % MEDIA.len()])
    }

    /// Runs all seeds; `tell` is given each failure as it shows, and now and then how far it is.
    #[must_use]
    pub fn run(&self, tell: &(dyn Fn(&str) + Sync)) -> Total {
        let (next, total) = (AtomicU64::new(self.seeds.start), Mutex::new(Total::default()));
        let (started, told) = (Instant::now(), Mutex::new(Instant::now()));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    let setting = format!("--ops {} --faults '{}'", self.ops, self.text);
                    let watchdog = Watchdog::new(setting);
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            break;
                        }
                        watchdog.begin(seed);
                        let result = run(seed, self.media(seed), self.ops, &self.faults);
                        let Ok(mut total) = total.lock() else { break };
                        self.take(seed, result, &mut total, tell);
                        let Ok(mut told) = told.lock() else { break };
                        if told.elapsed() >= TELL_EVERY {
                            *told = Instant::now();
                            tell(&self.progress(&total, started.elapsed()));
                        }
                    }
                });
            }
        });
        total.into_inner().unwrap_or_default()
    }

    fn take(
        &self,
        seed: u64,
        result: Result<Outcomes, String>,
        total: &mut Total,
        tell: &(dyn Fn(&str) + Sync),
    ) {
        match result {
            Ok(outcomes) => {
                total.passed += 1;
                total.sum.add(&outcomes);
            }
            Err(what) => {
                let (media, ops, text) = (self.media(seed), self.ops, &self.text);
                let replay = format!(
                    "shingle torture --media {media} --seed {seed} --ops {ops} --faults '{text}'"
                );
                tell(&format!("{replay}\n  {what}"));
                total.failures.push(Failure { replay, what, setting: media.to_owned() });
            }
        }
    }

    /// How far it is, in a line.
    fn progress(&self, total: &Total, elapsed: Duration) -> String {
        let (failed, all) = (total.failures.len(), self.seeds.end - self.seeds.start);
        let done = total.passed + failed as u64;
        let seconds = elapsed.as_secs_f64().max(0.001);
        let left = seconds * (all - done) as f64 / done.max(1) as f64;
        format!(
            "{done} of {all} seeds, {} operations ({:.0} a second), {} faults, {failed} failed, \
             {left:.0} s to go",
            total.sum.ops,
            total.sum.ops as f64 / seconds,
            total.sum.faults.injected.total()
        )
    }
}
