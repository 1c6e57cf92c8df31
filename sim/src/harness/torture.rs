//! Many lives of one drive: operations, a power cut anywhere, recovery, comparison, again.
//!
//! A seed decides the medium (if none is given), the limits, the memory of each life, the
//! operations, when power fails and what of the unsynced effects survives. It also decides whether
//! power fails during format or recovery, whether a life ends in a cut, an orderly close, or by
//! simply stopping, and whether tasks run side by side. The same seed does the same every time:
//! [`Summary::trace_hash`] is a hash over every request to the drive.

use std::cell::{Cell, RefCell};
use std::fmt;

use shingle_engine::{FormatOptions, Limits, OpenError, Redundancy, Store, format};
use shingle_hal::Device;

use crate::harness::choices::Choices;
use crate::harness::life::{Life, Step, Stop};
use crate::harness::oracle::Oracle;
use crate::harness::panics;
use crate::harness::workload::{
    Op, Profile, draw_limits, draw_memory, draw_parity, has_mirror_room, mirror_memory,
};
use crate::media::MediaSpec;
use crate::{Drive, Executor, Outcome};

/// The media that seeds take turns on.
pub const MEDIA: [&str; 10] = [
    "smr-tiny:timing=instant",
    "disk-tiny:timing=instant",
    "zns-tiny:timing=instant",
    "nor-1m:timing=instant,zone-kib=32",
    "smr-tiny:timing=instant,conventional=0,zone-kib=64",
    "disk-tiny:block=512,zone-kib=32,zones=40,timing=instant",
    "nor-1m:timing=instant",
    "smr-tiny:block=512,zone-kib=32,zones=40,conventional=3,timing=instant",
    "zns-tiny",
    "nor-tiny:timing=instant",
];

/// Requests after which a life is held to turn in circles.
const REQUESTS_MAX: u64 = 20_000_000;
/// Reads beside writers, by a reader, for each of the writers' operations.
const READS_BESIDE_MAX: u64 = 8;
/// How many of the longest values a budget of bytes is, and how often it is all that is kept.
const VALUES_OF_BUDGET: u64 = 256;
const LIVES_OF_BUDGET: u64 = 32;

/// What to torture with.
#[derive(Clone, Debug)]
pub struct TortureConfig {
    /// The medium as [`MediaSpec::parse`] takes it; `None` lets the seed pick one of [`MEDIA`].
    pub media: Option<String>,
    /// Operations, over all lives.
    pub ops: u64,
    /// Whether power fails; without, it is a test of the store against the model alone.
    pub cuts: bool,
    /// Share of the capacity, in percent, below which the store must not say that it is full.
    pub full_percent: u64,
    /// Bytes of memory for every life, instead of what the seed picks.
    pub memory_len: Option<usize>,
    /// Writers side by side, instead of what the seed picks.
    pub writers: Option<usize>,
    /// Bytes asked of the drive after which no further operation is begun; longest values are a
    /// small share of it.
    pub bytes_max: Option<u64>,
    /// Print every operation on stderr.
    pub trace: bool,
}

impl Default for TortureConfig {
    fn default() -> Self {
        Self {
            media: None,
            ops: 400,
            cuts: true,
            full_percent: 45,
            memory_len: None,
            writers: None,
            bytes_max: None,
            trace: false,
        }
    }
}

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operations done.
    pub ops: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Times the store was opened and compared.
    pub remounts: u64,
    /// Requests to the drive.
    pub requests: u64,
    /// Operations refused for want of room.
    pub full: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Merges ended.
    pub merges: u64,
    /// Zones reclaimed.
    pub reclaims: u64,
    /// Hash over every request.
    pub trace_hash: u64,
}

impl Summary {
    /// Takes on what another seed came to.
    pub fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.cuts += other.cuts;
        self.remounts += other.remounts;
        self.requests += other.requests;
        self.full += other.full;
        self.flushes += other.flushes;
        self.merges += other.merges;
        self.reclaims += other.reclaims;
        self.trace_hash = self.trace_hash.rotate_left(1) ^ other.trace_hash;
    }
}

/// What is wrong, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The command that replays it.
    pub replay: String,
    /// What is wrong.
    pub what: String,
    /// On what, with what.
    pub setting: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.replay)?;
        writeln!(f, "  {}", self.what)?;
        write!(f, "  {}", self.setting)
    }
}

impl std::error::Error for Failure {}

/// Tortures with the choices of a seed.
///
/// # Errors
/// What is wrong.
pub fn run(seed: u64, config: &TortureConfig) -> Result<Summary, Failure> {
    run_choices(seed, Choices::new(seed), config)
}

/// Tortures with choices from a fuzzer's bytes.
///
/// # Errors
/// What is wrong.
pub fn run_bytes(bytes: &[u8], config: &TortureConfig) -> Result<Summary, Failure> {
    run_choices(0, Choices::from_bytes(0, bytes.to_vec()), config)
}

fn run_choices(
    seed: u64,
    mut choices: Choices,
    config: &TortureConfig,
) -> Result<Summary, Failure> {
    let drawn = choices.pick(&MEDIA);
    let media = config.media.as_deref().unwrap_or(drawn);
    let setting = RefCell::new(String::new());
    let fail = |what: String| {
        let calm = if config.cuts { "" } else { " --no-cuts" };
        let flag = |name, value: Option<u64>| {
            value.map_or(String::new(), |value| format!(" --{name} {value}"))
        };
        let writers = flag("writers", config.writers.map(|count| count as u64));
        let memory = flag("memory", config.memory_len.map(|len| len as u64));
        let usual = TortureConfig::default().full_percent;
        let full = flag("full", Some(config.full_percent).filter(|percent| *percent != usual));
        let ops = config.ops;
        Failure {
            replay: format!(
                "shingle torture --media {media} --seed {seed} --ops {ops}\
                 {calm}{writers}{memory}{full}"
            ),
            what,
            setting: setting.borrow().clone(),
        }
    };
    let spec = MediaSpec::parse(media).map_err(|error| fail(error.to_string()))?;
    let result = panics::catch(|| {
        let drive = Drive::new(spec, seed);
        let oracle = RefCell::new(Oracle::new(1));
        let mut bed = Bed::new(&drive, &oracle, (seed, choices), config, &setting);
        bed.run().map(|()| bed.summary())
    });
    match result {
        Ok(Ok(summary)) => Ok(summary),
        Ok(Err(what)) | Err(what) => Err(fail(what)),
    }
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Power failed.
    Cut,
    /// It was closed, and all is durable.
    Closed,
    /// It just stopped; power stayed on.
    Stopped,
}

/// A drive with its model.
struct Bed<'c> {
    drive: &'c Drive,
    oracle: &'c RefCell<Oracle>,
    limits: Limits,
    profile: Profile,
    choices: Choices,
    config: &'c TortureConfig,
    setting: &'c RefCell<String>,
    summary: Summary,
    /// Writers beside each other.
    lanes: usize,
    /// Whether runs are kept on two elements.
    redundancy: Redundancy,
}

impl<'c> Bed<'c> {
    fn new(
        drive: &'c Drive,
        oracle: &'c RefCell<Oracle>,
        (seed, mut choices): (u64, Choices),
        config: &'c TortureConfig,
        setting: &'c RefCell<String>,
    ) -> Self {
        let capacity = drive.spec().capacity_bytes();
        let geometry = drive.geometry();
        let limits = draw_limits(&mut choices, &geometry);
        let mut profile = Profile::draw(&mut choices, &geometry, &limits, capacity);
        if let Some(bytes_max) = config.bytes_max {
            let most = u32::try_from(bytes_max / VALUES_OF_BUDGET).unwrap_or(u32::MAX);
            profile.len_max = profile.len_max.min(most);
            profile.common_max = profile.common_max.min(most);
            profile.live_max = profile.live_max.min(bytes_max / LIVES_OF_BUDGET);
        }
        let drawn = choices.pick(&[1, 1, 1, 2, 3]);
        let lanes = config.writers.unwrap_or(drawn);
        let room = geometry.active_zones_max.is_none_or(|max| max >= 14);
        let mirror_runs = choices.once_in(3) && geometry.element_count > 1 && room;
        let mirror_log =
            choices.once_in(3) && geometry.element_count > 1 && has_mirror_room(&geometry);
        let parity = if mirror_runs { draw_parity(seed, &geometry) } else { 0 };
        let redundancy = Redundancy { mirror_runs, mirror_log, parity };
        oracle.replace(Oracle::new(profile.keys));
        let summary = Summary::default();
        Self {
            drive,
            oracle,
            limits,
            profile,
            choices,
            config,
            setting,
            summary,
            lanes,
            redundancy,
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            requests: self.drive.request_count(),
            trace_hash: self.drive.trace_hash(),
            ..self.summary
        }
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.config.trace {
            eprintln!("[{}] {}", self.drive.request_count(), what());
        }
    }

    fn run(&mut self) -> Result<(), String> {
        self.format()?;
        let mut after_cut = true;
        let mut closed = false;
        // Every life does at least one operation or ends in a cut that was drawn.
        while self.summary.ops < self.config.ops && !self.is_spent() {
            let least = draw_memory(&mut self.choices, &self.drive.geometry(), &self.limits);
            let more = mirror_memory(&self.drive.geometry(), &self.limits, self.redundancy);
            let memory_len = self.config.memory_len.unwrap_or(least + more);
            let mut memory = vec![0; memory_len];
            *self.setting.borrow_mut() = format!(
                "on {}, {memory_len} bytes of memory, {:?}, {} keys, {} writers, {:?}",
                self.drive.spec().name,
                self.limits,
                self.profile.keys,
                self.lanes,
                self.summary
            );
            let (mut choices, lanes) = (self.choices.fork(), self.lanes);
            if self.config.cuts && choices.once_in(3) {
                self.drive.cut_after(choices.magnitude(60));
            } else {
                self.drive.cut_after(REQUESTS_MAX);
            }
            self.note(|| format!("open with {memory_len} bytes after_cut={after_cut}"));
            let end = match self.drive.block_on(Store::open(self.drive, &mut memory)) {
                Ok(store) => {
                    let durable = after_cut || closed;
                    self.live(&store, &mut choices, lanes, durable)?
                }
                Err(_) if self.drive.is_cut() => End::Cut,
                Err(error) => return Err(format!("open failed with {error:?}")),
            };
            self.drive.disarm();
            if end == End::Cut || self.drive.is_cut() {
                self.power(&mut choices)?;
                after_cut = true;
            } else {
                after_cut = false;
            }
            closed = end == End::Closed;
        }
        Ok(())
    }

    /// Whether the drive was asked for as many bytes as it may be.
    fn is_spent(&self) -> bool {
        let all = self.drive.stats().all;
        let blocks = all.read_blocks + all.written_blocks;
        let bytes = blocks * u64::from(self.drive.geometry().block_len_bytes);
        self.config.bytes_max.is_some_and(|most| bytes >= most)
    }

    /// Formats, also more than once, and with power failing meanwhile.
    fn format(&mut self) -> Result<(), String> {
        for life in 0..8u8 {
            let mut store_id = [life; 16];
            store_id[..8].copy_from_slice(&self.choices.word().to_le_bytes());
            let options =
                FormatOptions { store_id, limits: self.limits, redundancy: self.redundancy };
            let cut = self.config.cuts && life < 7 && self.choices.once_in(4);
            if cut {
                self.drive.cut_after(self.choices.magnitude(20));
            }
            let mut memory = vec![0; 16 * self.drive.geometry().block_len_bytes as usize];
            let done = self.drive.block_on(format(&self.drive, &mut memory, &options));
            self.drive.disarm();
            match done {
                Ok(()) => return Ok(()),
                Err(_) if self.drive.is_cut() => {}
                Err(error) => return Err(format!("format failed with {error:?}")),
            }
            let mut choices = self.choices.fork();
            self.power(&mut choices)?;
            let more = mirror_memory(&self.drive.geometry(), &self.limits, self.redundancy);
            let mut memory =
                vec![0; draw_memory(&mut choices, &self.drive.geometry(), &self.limits) + more];
            match self.drive.block_on(Store::open(self.drive, &mut memory)) {
                Err(OpenError::NotFormatted) => {}
                Err(error) => return Err(format!("open after a cut format: {error:?}")),
                Ok(store) => {
                    let life = Life::new(&store, self.oracle, 0);
                    let done = self.drive.block_on(life.remounted(true));
                    done.map_err(|stop| format!("after a cut format: {stop:?}"))?;
                }
            }
        }
        Err("format never ends".to_owned())
    }

    fn power(&mut self, choices: &mut Choices) -> Result<(), String> {
        self.summary.cuts += 1;
        if !self.config.cuts {
            return Err(format!("{REQUESTS_MAX} requests in one life: it turns in circles"));
        }
        let outcome = match choices.below(8) {
            0 => Outcome::KeepAll,
            1 => Outcome::LoseAll,
            2..4 => Outcome::Enumerated(choices.below(self.drive.outcome_count(64))),
            _ => Outcome::Seeded(choices.word()),
        };
        self.note(|| format!("power returns with {outcome:?}"));
        self.drive.power_on(outcome);
        Ok(())
    }

    /// One life; with `durable`, what is there at its start is there for good.
    fn live(
        &mut self,
        store: &Store<'_, &Drive>,
        choices: &mut Choices,
        lanes: usize,
        durable: bool,
    ) -> Result<End, String> {
        let life = Life::new(store, self.oracle, self.config.full_percent);
        let text = |stop: Stop| match stop {
            Stop::Cut => Ok(End::Cut),
            Stop::Wrong(what) => Err(what),
        };
        if let Err(stop) = self.drive.block_on(life.remounted(durable)) {
            return text(stop);
        }
        self.summary.remounts += 1;
        self.note(|| format!("found {:?}", self.oracle.borrow().now()));
        let lanes = if self.oracle.borrow().is_pinned() { lanes } else { 1 };
        let left = self.config.ops - self.summary.ops;
        let most = if self.config.cuts { 400 } else { 4000 };
        let ops = choices.magnitude(most).min(left).max(1);
        if self.config.cuts {
            match choices.below(4) {
                0 => self.drive.cut_after(choices.magnitude(8 * ops)),
                1 => self.drive.cut_after_changes(choices.magnitude(4 * ops)),
                _ => {}
            }
        }
        let step = if self.oracle.borrow().is_pinned() && lanes > 1 {
            self.oracle.borrow_mut().set_lanes(lanes);
            self.oracle.borrow_mut().keep_history = true;
            let step = self.side_by_side(&life, choices, lanes, ops);
            self.oracle.borrow_mut().keep_history = false;
            step
        } else {
            self.alone(&life, choices, ops)
        };
        life.drop_snapshots();
        self.summary.full += life.full_count.get();
        let stats = store.stats();
        self.summary.flushes += stats.flushes;
        self.summary.merges += stats.merges;
        self.summary.reclaims += stats.reclaims;
        if let Err(stop) = step {
            return text(stop);
        }
        self.end(&life, choices).or_else(text)
    }

    fn end(&self, life: &Life<'_, '_, '_>, choices: &mut Choices) -> Result<End, Stop> {
        match choices.below(4) {
            0 if self.config.cuts => {
                self.drive.cut_after(0);
                Ok(End::Cut)
            }
            1 => Ok(End::Stopped),
            // Checkpoint is what close does.
            _ => self.drive.block_on(life.step(&Op::Checkpoint, 0)).map(|()| End::Closed),
        }
    }

    fn alone(&mut self, life: &Life<'_, '_, '_>, choices: &mut Choices, ops: u64) -> Step {
        let lanes = self.oracle.borrow().lanes();
        for _ in 0..ops {
            let lane = choices.below(lanes as u64) as usize;
            let (keys, live) = {
                let oracle = self.oracle.borrow();
                (oracle.lane_keys(lane), oracle.live_bytes())
            };
            if self.is_spent() {
                break;
            }
            let op = self.profile.draw_op(choices, &keys, live);
            self.note(|| format!("{op:?}"));
            self.summary.ops += 1;
            // What background work does in order, a cut in its midst tells.
            let background = matches!(op, Op::Checkpoint | Op::Compact | Op::Maintain(_));
            if self.config.cuts && background && choices.once_in(8) {
                self.drive.cut_after_changes(choices.magnitude(32));
            }
            self.drive.block_on(life.step(&op, lane))?;
        }
        Ok(())
    }

    /// Writers, readers and a task that maintains, on one store.
    fn side_by_side(
        &mut self,
        life: &Life<'_, '_, '_>,
        choices: &mut Choices,
        lanes: usize,
        ops: u64,
    ) -> Step {
        let stopped = RefCell::new(None);
        let writing = Cell::new(lanes);
        let done = Cell::new(0);
        let executor = Executor::new(self.drive);
        let stop = |step: Step| {
            if let Err(stop) = step {
                let mut stopped = stopped.borrow_mut();
                // A finding outweighs the cut that came of it.
                if !matches!(*stopped, Some(Stop::Wrong(_))) {
                    *stopped = Some(stop);
                }
            }
        };
        let (profile, oracle, stopped_ref) = (&self.profile, self.oracle, &stopped);
        let (writing, done, stop, drive) = (&writing, &done, &stop, self.drive);
        let (trace, cuts) = (self.config.trace, self.config.cuts);
        let spent = &|| self.is_spent();
        for lane in 0..lanes {
            let mut choices = choices.fork();
            executor.spawn(async move {
                for _ in 0..ops / lanes as u64 {
                    if stopped_ref.borrow().is_some() || spent() {
                        break;
                    }
                    let (keys, live) =
                        (oracle.borrow().lane_keys(lane), oracle.borrow().live_bytes());
                    let op = profile.draw_op(&mut choices, &keys, live);
                    let op = match op {
                        Op::Verify | Op::Snapshot => Op::Read(keys.start),
                        Op::Scan(span) => Op::Scan(span.within(&keys)),
                        op => op,
                    };
                    let own = match op {
                        Op::Read(key) | Op::ReadAt(key, ..) => keys.contains(&key),
                        _ => true,
                    };
                    if trace {
                        eprintln!("[{}] writer {lane}: {op:?}", drive.request_count());
                    }
                    done.set(done.get() + 1);
                    if own {
                        stop(life.step(&op, lane).await);
                    }
                }
                writing.set(writing.get() - 1);
            });
        }
        for _ in 0..choices.below(3) {
            let mut choices = choices.fork();
            executor.spawn(async move {
                // A read from memory takes no time of the drive's: with no bound, thousands go by
                // while a writer waits.
                for _ in 0..READS_BESIDE_MAX * ops {
                    if writing.get() == 0 || stopped_ref.borrow().is_some() {
                        break;
                    }
                    if choices.once_in(8) {
                        let span = profile.span(&mut choices, &(0..profile.keys));
                        stop(life.scan_beside(&span).await);
                    } else {
                        let key = choices.below(u64::from(profile.keys)) as u16;
                        stop(life.read_beside(key).await);
                    }
                    drive.sleep_until(drive.now_ns() + 1 + choices.below(50_000)).await;
                }
            });
        }
        if choices.once_in(2) {
            let mut choices = choices.fork();
            executor.spawn(async move {
                while writing.get() > 0 && stopped_ref.borrow().is_none() {
                    let steps = choices.magnitude(8) as u32;
                    let all = choices.once_in(8);
                    let work = if all { Op::Compact } else { Op::Maintain(steps) };
                    stop(life.step(&work, 0).await);
                    if cuts && all && choices.once_in(4) {
                        drive.cut_after_changes(choices.magnitude(8));
                    }
                    drive.sleep_until(drive.now_ns() + 1 + choices.below(200_000)).await;
                }
            });
        }
        executor.run();
        drop(executor);
        self.summary.ops += done.get().max(1);
        stopped.into_inner().map_or(Ok(()), Err)
    }
}
