//! Every cut of a short script, and for each every outcome up to a depth.
//!
//! A script runs once to count its requests. Then power fails at each of them in turn, and the
//! drive is forked for each [`Outcome::Enumerated`]: power returns, the store is opened and held
//! against the model, a little is written and made durable, power fails again with everything
//! unsynced lost, and the store is opened and compared once more.

use std::cell::RefCell;
use std::fmt;

use shingle_engine::{FormatOptions, Limits, OpenError, Plan, Redundancy, Store, format};
use shingle_hal::Device;

use crate::harness::life::{Life, Stop};
use crate::harness::oracle::{Change, Key, Oracle};
use crate::harness::panics;
use crate::harness::workload::{Feed, Op, Part, Shape, When};
use crate::media::MediaSpec;
use crate::{Drive, Outcome};

/// Small zones, sequential only.
const SMALL: &str = "smr-tiny:timing=instant,conventional=0,block=512,zone-kib=32,zones=64";
/// The same without write pointers.
const DISK: &str = "disk-tiny:timing=instant,block=512,zone-kib=32,zones=64";
/// Erase blocks of 32 KiB: every manifest copy soon fills.
const FLASH: &str = "nor-1m:timing=instant,zones=64,zone-kib=32";
/// So few zones that reclaim is due at once.
const TIGHT: &str = "smr-tiny:timing=instant,conventional=0,block=512,zone-kib=32,zones=32";
/// Limited open and active zones.
const ZNS: &str = "zns-tiny:timing=instant,block=512,zone-kib=32,zones=64";

/// How a script begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// On a store that was checkpointed.
    Clean,
    /// On a store whose power failed: recovery is part of the script.
    AfterCut,
    /// By formatting a device that holds a store.
    Format,
}

/// A script.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name.
    pub name: &'static str,
    /// The medium.
    pub media: &'static str,
    /// Bytes of memory beyond the least.
    pub spare_len: usize,
    /// How it begins.
    pub start: Start,
    /// What was done before, with power on.
    pub before: Vec<Op>,
    /// What is cut.
    pub ops: Vec<Op>,
}

const KEYS: Key = 16;

fn shape(len: u32) -> Shape {
    Shape { len, meta_len: 8, version_len: 8 }
}

fn put(key: Key, len: u32) -> Op {
    Op::One(Part::Put(key, shape(len), When::Always), false)
}

fn durable(key: Key, len: u32) -> Op {
    Op::One(Part::Put(key, shape(len), When::Always), true)
}

fn rounds(count: u32, each: impl Fn(u32) -> Vec<Op>) -> Vec<Op> {
    (0..count).flat_map(each).collect()
}

fn puts(round: u32, len: u32) -> Vec<Op> {
    (0..KEYS).map(|key| put(key, len + u32::from(key) * 37 + round)).collect()
}

fn stream(key: Key, len: u32, fails_at: Option<u32>) -> Op {
    Op::Stream(key, shape(len), Feed { buffer_len: 1500, step: 700, fails_at }, false)
}

/// The scripts.
#[must_use]
pub fn scripts() -> Vec<Script> {
    let script =
        |name, media, start, before, ops| Script { name, media, spare_len: 0, start, before, ops };
    let clean = Start::Clean;
    let batch = |salt: u32, lasts: bool| {
        let parts = vec![
            Part::Put(1, shape(40 + salt), When::Always),
            Part::Delete(2, When::Always),
            Part::Put(3, shape(300 + salt), When::Always),
            Part::DeleteRange(5, Some(8)),
            Part::Put(6, shape(0), When::Always),
        ];
        Op::Batch(parts, lasts)
    };
    let range = |start, end| Op::One(Part::DeleteRange(start, end), false);
    let mut anchors = rounds(60, |r| vec![durable((r % 16) as Key, 30 + r), Op::Checkpoint]);
    anchors.push(Op::Verify);
    vec![
        script(
            "put",
            SMALL,
            clean,
            vec![],
            rounds(3, |r| vec![put(1, 10 + r), durable(2, 600), put(3, 3000), put(4, 0), Op::Sync]),
        ),
        script(
            "put-disk",
            DISK,
            clean,
            puts(0, 400),
            rounds(4, |r| vec![put(1, 10 + r), durable(2, 600), put(3, 3000), put(4, 0)]),
        ),
        script(
            "overwrite",
            ZNS,
            clean,
            puts(0, 100),
            rounds(4, |r| vec![put(7, 900 - r), put(7, 5), durable(7, 200 + r), put(7, 2000)]),
        ),
        script(
            "batch",
            SMALL,
            clean,
            puts(0, 50),
            rounds(6, |r| vec![batch(r, r % 2 == 0), put(9, r)]),
        ),
        script(
            "batch-disk",
            DISK,
            clean,
            puts(0, 50),
            rounds(6, |r| vec![batch(r, false), batch(r + 9, true)]),
        ),
        script(
            "delete-range",
            SMALL,
            clean,
            puts(0, 80),
            vec![
                range(2, Some(6)),
                put(3, 70),
                Op::Checkpoint,
                range(8, None),
                put(12, 9),
                Op::Sync,
                range(0, Some(4)),
                Op::Checkpoint,
                Op::Compact,
                Op::Verify,
            ],
        ),
        script(
            "flush",
            SMALL,
            clean,
            vec![],
            rounds(2, |r| {
                let mut ops = puts(r, 150);
                ops.push(Op::Checkpoint);
                ops
            }),
        ),
        script(
            "compaction",
            ZNS,
            clean,
            puts(0, 120),
            rounds(6, |r| {
                let mut ops = puts(r, 120);
                ops.push(Op::One(Part::Delete((r % 16) as Key, When::Always), false));
                ops.extend([Op::Checkpoint, Op::Maintain(20)]);
                if r == 5 {
                    ops.push(Op::Compact);
                }
                ops
            }),
        ),
        script(
            "reclaim",
            SMALL,
            clean,
            vec![],
            rounds(60, |r| {
                let key = (r % 5) as Key;
                let last = if r % 12 == 11 { Op::Compact } else { Op::Maintain(4) };
                vec![put(key, 3000), put(9, 10 + r), put((8 + r % 8) as Key, 900), last]
            }),
        ),
        script(
            "reclaim-disk",
            DISK,
            clean,
            vec![],
            rounds(60, |r| {
                let key = (r % 5) as Key;
                let last = if r % 12 == 11 { Op::Compact } else { Op::Maintain(4) };
                vec![put(key, 3000), put(9, 10 + r), put((8 + r % 8) as Key, 900), last]
            }),
        ),
        // Values put once among others that die soon; then each is overwritten just before the zone
        // it lies in is reclaimed.
        script(
            "reclaim-overwritten",
            TIGHT,
            clean,
            rounds(20, |r| {
                let hot = |n: u32| put((12 + (r + n) % 4) as Key, 9000);
                vec![put((r % 12) as Key, 9000), hot(0), hot(1)]
            }),
            rounds(12, |r| {
                let hot = |n: u32| put((12 + (r + n) % 4) as Key, 9000);
                vec![hot(0), hot(1), hot(2), put(r as Key, 100), Op::Maintain(12)]
            }),
        ),
        script(
            "checkpoint",
            FLASH,
            clean,
            puts(0, 30),
            rounds(5, |r| vec![put(3, 100 + r), Op::Checkpoint, put(4, 20 + r)]),
        ),
        script("anchor-switch", FLASH, clean, vec![], anchors.clone()),
        script("anchor-switch-disk", DISK, clean, vec![], anchors),
        script(
            "manifest-snapshot",
            SMALL,
            clean,
            puts(0, 30),
            rounds(12, |r| vec![put(3, 100 + r), Op::Checkpoint]),
        ),
        script("format", SMALL, Start::Format, puts(0, 60), vec![put(1, 20), Op::Sync]),
        script("format-disk", DISK, Start::Format, puts(0, 60), vec![put(1, 20), Op::Sync]),
        script(
            "recovery",
            SMALL,
            Start::AfterCut,
            rounds(4, |r| puts(r, 200)),
            vec![put(1, 10), durable(2, 20), Op::Checkpoint, Op::Verify],
        ),
        script(
            "recovery-disk",
            DISK,
            Start::AfterCut,
            rounds(4, |r| puts(r, 200)),
            vec![put(1, 10), durable(2, 20), Op::Checkpoint, Op::Verify],
        ),
        script(
            "streams",
            SMALL,
            clean,
            vec![],
            vec![
                stream(1, 9000, None),
                stream(2, 8000, Some(5000)),
                stream(1, 4000, None),
                Op::Sync,
                stream(3, 100, None),
                stream(4, 12_000, None),
                Op::Checkpoint,
                stream(1, 7000, None),
            ],
        ),
        script(
            "snapshots",
            SMALL,
            clean,
            puts(0, 300),
            rounds(3, |r| {
                let mut ops = vec![Op::Snapshot];
                ops.extend(puts(r, 250));
                ops.extend([
                    Op::Checkpoint,
                    Op::ReadSnapshot(0, 3),
                    Op::Compact,
                    Op::ReadSnapshot(0, 5),
                ]);
                ops
            }),
        ),
    ]
}

/// How deep to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Most outcomes of one cut.
    pub outcomes: u64,
    /// Most cuts of a script; more are thinned out evenly.
    pub cuts: u64,
}

/// What a script came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Requests of the uncut run.
    pub requests: u64,
    /// Cuts tried.
    pub cuts: u64,
    /// Times a store was opened and compared.
    pub remounts: u64,
}

/// What is wrong, and where it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The script.
    pub script: &'static str,
    /// The request at which power failed; 0 for none.
    pub cut: u64,
    /// The outcome of the cut.
    pub outcome: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { script, cut, outcome, what } = self;
        write!(f, "shingle torture --script {script} --cut {cut} --outcome {outcome}\n  {what}")
    }
}

impl std::error::Error for Found {}

/// A script with what it starts on.
struct Stage<'s> {
    script: &'s Script,
    drive: Drive,
    oracle: Oracle,
    limits: Limits,
    memory_len: usize,
}

type Done<T> = Result<T, String>;

fn limits_of(drive: &Drive) -> Limits {
    Limits {
        key_len_max: 64,
        meta_len_max: 32,
        value_len_max: 16 << 10,
        node_len_bytes: drive.geometry().block_len_bytes.max(2048),
        separate_from_bytes: 192,
    }
}

impl<'s> Stage<'s> {
    fn new(script: &'s Script) -> Done<Self> {
        let spec = MediaSpec::parse(script.media).map_err(|error| error.to_string())?;
        let drive = Drive::new(spec, 1);
        let limits = limits_of(&drive);
        let least = Plan::new(&drive.geometry(), &limits, 0).err().unwrap_or(0);
        let memory_len = least + script.spare_len;
        let mut stage = Self { script, drive, oracle: Oracle::new(KEYS), limits, memory_len };
        stage.format(&stage.drive, 1)?;
        let oracle = RefCell::new(stage.oracle.clone());
        let mut before = script.before.clone();
        if script.start != Start::AfterCut {
            before.push(Op::Checkpoint);
        }
        stage.play(&stage.drive, &oracle, &before)?;
        stage.drive.cut_after(0);
        stage.drive.power_on(Outcome::KeepAll);
        // Which commits survived is known only to recovery; let a copy tell.
        stage.check(&stage.drive.fork(), &oracle)?;
        stage.oracle = oracle.into_inner();
        Ok(stage)
    }

    fn format(&self, drive: &Drive, name: u8) -> Done<bool> {
        let options = FormatOptions {
            store_id: [name; 16],
            limits: self.limits,
            redundancy: Redundancy::NONE,
        };
        let mut memory = vec![0; 8 * drive.geometry().block_len_bytes as usize];
        match drive.block_on(format(&drive, &mut memory, &options)) {
            Ok(()) => Ok(true),
            Err(_) if drive.is_cut() => Ok(false),
            Err(error) => Err(format!("format failed with {error:?}")),
        }
    }

    /// Opens and does `ops`; false if power failed.
    fn play(&self, drive: &Drive, oracle: &RefCell<Oracle>, ops: &[Op]) -> Done<bool> {
        let mut memory = vec![0; self.memory_len];
        let store = match drive.block_on(Store::open(drive, &mut memory)) {
            Ok(store) => store,
            Err(_) if drive.is_cut() => return Ok(false),
            Err(error) => return Err(format!("open failed with {error:?}")),
        };
        let life = Life::new(&store, oracle, 45);
        for op in ops {
            match drive.block_on(life.step(op, 0)) {
                Ok(()) => {}
                Err(Stop::Cut) => return Ok(false),
                Err(Stop::Wrong(what)) => return Err(what),
            }
        }
        Ok(!drive.is_cut())
    }

    /// Opens, compares, and takes on what is there.
    fn check(&self, drive: &Drive, oracle: &RefCell<Oracle>) -> Done<()> {
        let mut memory = vec![0; self.memory_len];
        let store = match drive.block_on(Store::open(drive, &mut memory)) {
            Ok(store) => store,
            Err(OpenError::NotFormatted) if self.script.start == Start::Format => return Ok(()),
            Err(error) => return Err(format!("open failed with {error:?}")),
        };
        let life = Life::new(&store, oracle, 45);
        drive.block_on(life.remounted(true)).map_err(|stop| format!("{stop:?}"))
    }

    /// The script with power failing at request `cut`; false if it ended before.
    fn run(&self, cut: u64) -> Done<(bool, Drive, RefCell<Oracle>)> {
        let drive = self.drive.fork();
        let oracle = RefCell::new(self.oracle.clone());
        if cut > 0 {
            drive.cut_after(cut);
        }
        let mut powered = true;
        if self.script.start == Start::Format {
            // Formatting is the removal of everything, which may or may not have happened.
            oracle.borrow_mut().issue(0, vec![Change::DeleteRange(0, None)]);
            powered = self.format(&drive, 2)?;
            if powered {
                let mut oracle = oracle.borrow_mut();
                oracle.acknowledge(0);
                let now = oracle.tick();
                oracle.synced(now);
            }
        }
        powered = powered && self.play(&drive, &oracle, &self.script.ops)?;
        Ok((!powered, drive, oracle))
    }

    /// Power returns; what then?
    fn outcome(&self, drive: &Drive, oracle: &RefCell<Oracle>, outcome: u64) -> Done<()> {
        drive.power_on(Outcome::Enumerated(outcome));
        let formatted = self.opens(drive)?;
        if !formatted {
            self.format(drive, 3)?;
            oracle.replace(Oracle::new(KEYS));
        }
        self.check(drive, oracle)?;
        let little = [durable(2, 25), put(3, 400), put(5, 1200), Op::Sync, put(6, 30)];
        self.play(drive, oracle, &little)?;
        drive.cut_after(0);
        drive.power_on(Outcome::LoseAll);
        self.check(drive, oracle).map_err(|what| format!("after a second cut: {what}"))
    }

    fn opens(&self, drive: &Drive) -> Done<bool> {
        let mut memory = vec![0; self.memory_len];
        match drive.block_on(Store::open(drive, &mut memory)) {
            Ok(_) => Ok(true),
            Err(OpenError::NotFormatted) if self.script.start == Start::Format => Ok(false),
            Err(error) => Err(format!("open failed with {error:?}")),
        }
    }
}

/// Tries a script to a depth.
///
/// # Errors
/// The first thing that is wrong.
pub fn try_script(script: &Script, depth: Depth) -> Result<Tried, Found> {
    let found =
        |cut, outcome| move |what: String| Found { script: script.name, cut, outcome, what };
    let whole = panics::catch(|| {
        let stage = Stage::new(script).map_err(|what| format!("before the script: {what}"))?;
        let before = stage.drive.request_count();
        let (_, drive, oracle) = stage.run(0)?;
        let requests = drive.request_count() - before;
        drive.cut_after(0);
        drive.power_on(Outcome::KeepAll);
        stage.check(&drive, &oracle)?;
        Ok((stage, requests))
    });
    let (stage, requests) = whole.and_then(|inner| inner).map_err(found(0, 0))?;
    let mut tried = Tried { requests, ..Tried::default() };
    let cuts = requests.min(depth.cuts);
    for number in 0..cuts {
        let cut = 1 + number * requests / cuts;
        let run = panics::catch(|| stage.run(cut)).and_then(|inner| inner);
        let (is_cut, drive, oracle) = run.map_err(found(cut, 0))?;
        if !is_cut && !drive.is_cut() {
            drive.cut_after(0);
        }
        tried.cuts += 1;
        for outcome in 0..drive.outcome_count(depth.outcomes) {
            let (drive, oracle) = (drive.fork(), oracle.clone());
            panics::catch(|| stage.outcome(&drive, &oracle, outcome))
                .and_then(|inner| inner)
                .map_err(found(cut, outcome))?;
            tried.remounts += 3;
        }
    }
    Ok(tried)
}

/// Tries one cut and outcome of a script again.
///
/// # Errors
/// What is wrong, also if there is no such script.
pub fn replay(name: &str, cut: u64, outcome: u64) -> Result<(), String> {
    let all = scripts();
    let script = all.iter().find(|script| script.name == name).ok_or("there is no such script")?;
    panics::catch(|| {
        let stage = Stage::new(script)?;
        let (_, drive, oracle) = stage.run(cut)?;
        if !drive.is_cut() {
            drive.cut_after(0);
        }
        stage.outcome(&drive, &oracle, outcome)
    })?
}
