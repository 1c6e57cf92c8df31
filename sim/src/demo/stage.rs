//! The stage: a drive, memory for a store, chance, and everything that is counted on the way.

use std::collections::BTreeSet;

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use shingle_engine::{OpenError, Stats, Store};
use shingle_sim::drive::Counts;
use shingle_sim::{Drive, Outcome};

use crate::cli::{Failure, Medium, MediumError, Shop};
use crate::report::summary::Summary;

/// One recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    /// Virtual time.
    pub(super) time_ns: u64,
    /// Reads of the device.
    pub(super) reads: u64,
}

/// Sums over all openings of the store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) user_bytes: u64,
    pub(super) flushes: u64,
    pub(super) merges: u64,
    pub(super) reclaims: u64,
    pub(super) moved_bytes: u64,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) recoveries: Vec<Recovery>,
    /// Power cuts while the store was in use.
    pub(super) cuts: u32,
    /// Power cuts during recovery.
    pub(super) recovery_cuts: u32,
    /// Openings that said they succeeded although power failed in them.
    pub(super) opened_without_power: u32,
    /// Comparisons with what was acknowledged.
    pub(super) checks: u64,
    pub(super) totals: Totals,
    /// What was lost or wrong.
    pub(super) losses: BTreeSet<String>,
}

/// The stage.
pub(super) struct Stage<'d> {
    /// What the store is on, and the drive in it.
    pub(super) medium: &'d Medium,
    pub(super) drive: &'d Drive,
    pub(super) rng: Rng,
    pub(super) tally: Tally,
}

impl Stage<'_> {
    /// Adds what a store counted before it goes away.
    pub(super) fn note(&mut self, stats: &Stats) {
        let totals = &mut self.tally.totals;
        totals.user_bytes += stats.user_bytes;
        totals.flushes += stats.flushes;
        totals.merges += stats.merges;
        totals.reclaims += stats.reclaims;
        totals.moved_bytes += stats.moved_bytes;
    }

    /// Notes that something acknowledged did not come back.
    pub(super) fn lost(&mut self, what: String) {
        self.tally.losses.insert(what);
    }

    /// Power returns after a cut; chance decides what survived.
    pub(super) fn power_on(&mut self) {
        self.drive.power_on(Outcome::Seeded(self.rng.u64(..)));
    }
}

impl<'d> Stage<'d> {
    /// The stage over an image, and chance of `seed`.
    ///
    /// # Panics
    /// If it is a disk.
    pub(super) fn new(medium: &'d Medium, seed: u64) -> Self {
        let drive = medium.drive().expect("the demonstration is on an image");
        Self { medium, drive, rng: Rng::with_seed(seed), tally: Tally::default() }
    }

    /// Opens the store after a cut and measures how long that takes. Every fourth time power fails
    /// once more while it is at it.
    pub(super) fn recover<'m>(&mut self, memory: &'m mut [u8]) -> Result<Shop<'m, 'd>, Failure> {
        let drive = self.drive;
        if self.rng.u8(..4) == 0 {
            drive.cut_after(self.rng.u64(1..30));
            let opened = drive.block_on(Store::open(self.medium, &mut *memory)).map(|_| ());
            if drive.is_cut() {
                self.power_on();
                self.tally.recovery_cuts += 1;
                self.tally.opened_without_power += u32::from(opened.is_ok());
            } else {
                drive.disarm();
                opened.map_err(Self::not_opened)?;
            }
        }
        let (now_ns, reads) = (drive.now_ns(), drive.stats().all.reads);
        let store = self.open(memory)?;
        let (time_ns, reads) = (drive.now_ns() - now_ns, drive.stats().all.reads - reads);
        self.tally.recoveries.push(Recovery { time_ns, reads });
        Ok(store)
    }

    /// Opens the store.
    pub(super) fn open<'m>(&self, memory: &'m mut [u8]) -> Result<Shop<'m, 'd>, Failure> {
        self.drive.block_on(Store::open(self.medium, memory)).map_err(Self::not_opened)
    }

    fn not_opened(error: OpenError<MediumError>) -> Failure {
        Failure::from(error).about("the store did not open, so everything is lost")
    }

    /// Bytes that the drive was told to write since `before`.
    pub(super) fn written_bytes(&self, before: &Counts) -> u64 {
        let block_len = u64::from(self.drive.spec().block_len_bytes);
        (self.drive.stats().all.written_blocks - before.written_blocks) * block_len
    }
}

impl Summary {
    /// Takes over what the stage counted.
    pub(super) fn take(&mut self, stage: &Stage<'_>) {
        let (tally, totals) = (&stage.tally, &stage.tally.totals);
        self.cuts = tally.cuts;
        self.recovery_cuts = tally.recovery_cuts;
        self.opened_without_power = tally.opened_without_power;
        self.checks = tally.checks;
        self.recovery_ms = tally.recoveries.iter().map(|one| one.time_ns as f64 / 1e6).collect();
        self.recovery_ms.sort_by(f64::total_cmp);
        self.recovery_reads = tally.recoveries.iter().map(|one| one.reads).collect();
        self.recovery_reads.sort_unstable();
        self.flushes = totals.flushes;
        self.merges = totals.merges;
        self.reclaims = totals.reclaims;
        self.moved_bytes = totals.moved_bytes;
        self.losses = tally.losses.iter().cloned().collect();
    }
}

/// A bar with what is going on before it.
pub(super) fn progress(what: &'static str, len: u64) -> ProgressBar {
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("{prefix:24} {bar:40} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}
