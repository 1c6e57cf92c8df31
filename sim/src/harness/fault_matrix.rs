//! The matrix of faults: each kind of fault, aimed at each structure, and what becomes of it.
//!
//! Random plans say that nothing forbidden happens; they do not say what does. Here one fault at a
//! time hits one structure of a small store, kept as `shingle format` keeps it, and the outcome is
//! *observed*, in one of a few words. The README has the table, and `sim/tests/fault_matrix.rs`
//! compares the two.
//!
//! ```text
//!   base    format, fill, checkpoint, write more, cut the power             (once a seed)
//!   run     arm the fault, before the store is opened or after (the seed says which);
//!           open, compare, write, delete, checkpoint, compact, cut, again and again until the
//!           fault struck and six rounds more; then maintain, scrub, compare, restore what is lost
//! ```
//!
//! Syncs and power that returns have no blocks. For those a copy of the drive goes ahead, and shows
//! which zone the structure is written to next: that zone is aimed at.
//!
//! Whatever the fault, it is an error if bytes come back that nobody wrote for the key, if a key
//! whose value is lost is missing from the list of lost keys or one that reads is on it, if a lost
//! value cannot be written anew, if an invariant of the store fails, or if a life does not end.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

use shingle_engine::store::scan::Direction;
use shingle_engine::{
    FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Remedy, Store,
    Structure as Found, WriteError, WriteOptions, format,
};
use shingle_hal::{Device, ZoneId};

use crate::fault::{FaultKind, FaultPlan, Rule, Scope, Structure, Times, Trigger};
use crate::harness::choices::{Choices, mix_of};
use crate::harness::panics;
use crate::media::MediaSpec;
use crate::{Drive, DriveError, Outcome, synthetic};

/// The drive: four storage elements, zones written in order alone.
pub const MEDIA: &str = "smr:zones=120,zone-kib=256,conventional=0,elements=4,timing=instant";
const MEMORY_LEN: usize = 2 << 20;
const KEYS: u32 = 120;
const SMALL_LEN: usize = 100;
const LARGE_LEN: usize = 5_000;
/// Rounds of operations in a life, and in a run before the fault is held not to come.
const LIFE_ROUNDS: u32 = 4;
const ROUNDS_MAX: u32 = 120;
/// Writes of a round; one of them is background work.
const WRITES: u32 = 12;
/// Lives in which a run must come to its end.
const LIVES_MAX: u32 = 100;
/// Rounds after the first strike.
const ROUNDS_AFTER: u32 = 6;
/// Attempts at an operation, and at opening.
const ATTEMPTS: u32 = 4;
const OPENS_MAX: u32 = 12;
/// Requests after which a run is held to turn in circles.
const REQUESTS_MAX: u64 = 400_000;
/// Steps of background work after which nothing should be due.
const STEPS: u32 = 4_000;
/// What a run takes without faults is nothing; what makes it slow is at least this.
const SLOW_NS: u64 = 20_000_000;

/// What became of a fault, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every answer as without it.
    Unharmed,
    /// The same, later.
    Slower,
    /// Something was bad, and is not any more: a scrub of everything finds nothing.
    Mended,
    /// Something stays bad where it is, and the other copy serves.
    OtherCopy,
    /// A call failed, and succeeded when it was made again.
    CallFails,
    /// Writes were refused until the store was opened again.
    ReadOnly,
    /// The store opened at another attempt.
    OpenFails,
    /// Large values are lost; their keys are there, say so and are listed.
    ValuesLost,
    /// Writes that no run held are lost; the store says which sequence numbers.
    RecordsLost,
    /// The last write before a power cut is gone, taken for torn.
    LastLost,
    /// What is in runs is lost: keys say that they are damaged.
    KeysLost,
    /// Something older than what was acknowledged came back.
    Older,
    /// The store did not open any more.
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unharmed => "unharmed",
            Self::Slower => "slower",
            Self::Mended => "mended",
            Self::OtherCopy => "other copy",
            Self::CallFails => "call fails",
            Self::ReadOnly => "reopen",
            Self::OpenFails => "open fails",
            Self::ValuesLost => "values",
            Self::RecordsLost => "records",
            Self::LastLost => "last write",
            Self::KeysLost => "keys",
            Self::Older => "older",
            Self::Refused => "refused",
        })
    }
}

/// What a key may hold: the stamps of its values, absence included.
#[derive(Clone, Debug)]
struct Slot {
    ever: Vec<Option<u64>>,
    /// From this one on it may be now: the last acknowledged, then those in doubt.
    from: usize,
}

/// A filled drive without power, and what is on it.
pub struct Base {
    drive: Drive,
    seed: u64,
    slots: Vec<Slot>,
    stamp: u64,
    last: Option<u32>,
}

impl Base {
    /// The seed that it was made by.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }
}

/// What a run saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Times that the fault struck.
    pub strikes: u64,
    slow: bool,
    mended: bool,
    stays_bad: bool,
    call_failed: bool,
    read_only: bool,
    open_failed: bool,
    refused: bool,
    /// Reads of lost values, of lost keys; records lost by number, unsaid, at the end of the log.
    values: u32,
    keys: u32,
    records: u32,
    older: u32,
    last: u32,
    /// The first call that failed, or value that was lost, and what with.
    failure: Option<String>,
}

impl Seen {
    /// The worst of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let found = [
            (self.slow, Verdict::Slower),
            (self.mended, Verdict::Mended),
            (self.stays_bad, Verdict::OtherCopy),
            (self.call_failed, Verdict::CallFails),
            (self.read_only, Verdict::ReadOnly),
            (self.open_failed, Verdict::OpenFails),
            (self.values > 0, Verdict::ValuesLost),
            (self.records > 0, Verdict::RecordsLost),
            (self.last > 0, Verdict::LastLost),
            (self.keys > 0, Verdict::KeysLost),
            (self.older > 0, Verdict::Older),
            (self.refused, Verdict::Refused),
        ];
        let worst = found.iter().rev().find(|(seen, _)| *seen);
        worst.map_or(Verdict::Unharmed, |(_, verdict)| *verdict)
    }
}

/// Fills a drive and cuts its power.
///
/// # Errors
/// What is wrong.
pub fn base(seed: u64) -> Result<Base, String> {
    let spec = MediaSpec::parse(MEDIA).map_err(|error| error.to_string())?;
    let drive = Drive::new(spec, seed);
    let limits = Limits::for_geometry(&drive.geometry());
    let redundancy = Redundancy { mirror_runs: true, ..Redundancy::NONE };
    let options = FormatOptions { store_id: [9; 16], limits, redundancy };
    let mut memory = vec![0; MEMORY_LEN];
    let formatted = drive.block_on(format(&&drive, &mut memory, &options));
    formatted.map_err(|error| format!("format: {error}"))?;
    let slots = vec![Slot { ever: vec![None], from: 0 }; KEYS as usize];
    let mut bed = Bed::new(&drive, seed, slots, 0, None);
    let store = drive.block_on(Store::open(&drive, &mut memory));
    let store = store.map_err(|error| format!("open: {error}"))?;
    for key in 0..KEYS {
        bed.put(&store, key)?;
    }
    bed.maintenance(&store, 2)?;
    for key in 0..KEYS / 4 {
        bed.put(&store, key * 3 % KEYS)?;
    }
    drop(store);
    let Bed { slots, stamp, last, .. } = bed;
    drive.cut_after(0);
    Ok(Base { drive, seed, slots, stamp, last })
}

/// Aims `kind` at `structure` and sees what happens.
///
/// # Errors
/// What must never be.
pub fn run(base: &Base, kind: FaultKind, structure: Structure) -> Result<Seen, String> {
    let plan = match kind {
        FaultKind::SyncError | FaultKind::SyncLie | FaultKind::PointerAfterPower => {
            let Some((request, zone)) = probe(base, structure)? else {
                return Ok(Seen::default());
            };
            let sure = Rule { trigger: Trigger::Request(request), ..Rule::new(kind) };
            let at_zone = Rule { scope: Scope::Zone(zone), ..sure };
            match kind {
                FaultKind::SyncLie => vec![Rule { times: Times::Sticky, ..at_zone }],
                FaultKind::SyncError => vec![at_zone],
                // Power fails while what was written there is under way.
                _ => {
                    let trigger = Trigger::Request(request + 1);
                    let cut = Rule { trigger, ..Rule::new(FaultKind::PowerCut) };
                    vec![cut, at_zone]
                }
            }
        }
        _ => vec![rule(base.seed, kind, structure)],
    };
    observe(base, &FaultPlan { rules: plan }, kind).map(|(seen, _)| seen)
}

/// A fault once, or one that stays, as the seed has it.
fn rule(seed: u64, kind: FaultKind, structure: Structure) -> Rule {
    let times = match kind {
        _ if kind.hits_blocks() && is_sticky(seed) => Times::Sticky,
        FaultKind::TransientError
        | FaultKind::Timeout
        | FaultKind::PowerCut
        | FaultKind::CapacityShrink
        | FaultKind::PointerAfterReset => Times::Times(3),
        _ => Times::Times(1),
    };
    Rule { times, scope: Scope::Structure(structure), ..Rule::new(kind) }
}

/// Whether the fault strikes from before the store is opened.
const fn is_early(seed: u64) -> bool {
    seed & 1 == 0
}

/// Whether what is hit stays bad.
const fn is_sticky(seed: u64) -> bool {
    seed & 2 != 0
}

/// Whether power fails with the operation in which the fault struck.
const fn is_cut_at_once(seed: u64) -> bool {
    (seed ^ seed >> 1) & 1 != 0
}

/// The request that writes such a structure next, and the zone that it goes to.
fn probe(base: &Base, structure: Structure) -> Result<Option<(u64, ZoneId)>, String> {
    let scope = Scope::Structure(structure);
    let rule = Rule { scope, ..Rule::new(FaultKind::WriteError) };
    let (_, hit) = observe(base, &FaultPlan { rules: vec![rule] }, FaultKind::WriteError)?;
    Ok(hit)
}

/// Runs a plan on a copy of the base; also where its first strike was.
fn observe(
    base: &Base,
    plan: &FaultPlan,
    kind: FaultKind,
) -> Result<(Seen, Option<(u64, ZoneId)>), String> {
    let drive = base.drive.fork();
    drive.power_on(Outcome::Seeded(base.seed));
    let outcome = panics::catch(|| {
        let mut bed = Bed::new(&drive, base.seed, base.slots.clone(), base.stamp, base.last);
        bed.kind = kind;
        bed.run(plan)?;
        let hit = bed.hit;
        Ok((bed.seen, hit.map(|hit| (hit.request, hit.zone))))
    });
    outcome.and_then(|result| result).map_err(|what| format!("under `{plan}`: {what}"))
}

type Shop<'m, 'd> = Store<'m, &'d Drive>;

/// How a call ended, or what is wrong.
type Checked = Result<Call, String>;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Done,
    /// The store takes no more writes, or power failed.
    Over,
}

/// The first strike.
#[derive(Clone, Copy)]
struct Hit {
    request: u64,
    zone: ZoneId,
    generation: Option<u32>,
}

struct Bed<'d> {
    drive: &'d Drive,
    seed: u64,
    kind: FaultKind,
    choices: Choices,
    slots: Vec<Slot>,
    stamp: u64,
    /// The key written last.
    last: Option<u32>,
    hit: Option<Hit>,
    seen: Seen,
}

impl<'d> Bed<'d> {
    fn new(drive: &'d Drive, seed: u64, slots: Vec<Slot>, stamp: u64, last: Option<u32>) -> Self {
        let choices = Choices::new(mix_of(seed));
        let kind = FaultKind::PowerCut;
        Self { drive, seed, kind, choices, slots, stamp, last, hit: None, seen: Seen::default() }
    }

    fn strikes(&self) -> u64 {
        self.drive.fault_counts().of(self.kind)
    }

    /// Lives until the fault struck and a while longer.
    fn run(&mut self, plan: &FaultPlan) -> Result<(), String> {
        let begun_ns = self.drive.now_ns();
        let mut armed = is_early(self.seed);
        if armed {
            self.drive.set_faults(plan, 1);
        }
        let mut memory = vec![0; MEMORY_LEN];
        let (mut round, mut rounds_left) = (0, ROUNDS_MAX);
        let (mut refused, mut lives) = (0, 0);
        while rounds_left > 0 {
            lives += 1;
            if lives > LIVES_MAX {
                return Err(format!("not at an end after {LIVES_MAX} lives"));
            }
            self.drive.cut_after(REQUESTS_MAX);
            let store = match self.drive.block_on(Store::open(self.drive, &mut memory)) {
                Ok(store) => store,
                Err(_) => {
                    self.seen.open_failed |= !self.drive.is_cut();
                    refused += 1;
                    if refused > OPENS_MAX {
                        self.seen.refused = true;
                        self.seen.strikes = self.strikes();
                        return Ok(());
                    }
                    self.power_cycle()?;
                    continue;
                }
            };
            refused = 0;
            if !armed {
                self.drive.set_faults(plan, 1);
                armed = true;
            }
            let mut call = self.compare(&store, true, false)?;
            if self.watch(&store) {
                call = Call::Over;
            }
            for _ in 0..LIFE_ROUNDS {
                if call == Call::Over || rounds_left == 0 {
                    break;
                }
                call = self.round(&store, round)?;
                round += 1;
                rounds_left -= 1;
                if self.strikes() > 0 {
                    rounds_left = rounds_left.min(ROUNDS_AFTER);
                }
            }
            if rounds_left == 0 && call == Call::Done {
                call = self.end(&store)?;
            }
            drop(store);
            // The end is not over before everything was compared in it.
            rounds_left = rounds_left.max(u32::from(call == Call::Over));
            if rounds_left > 0 {
                self.power_cycle()?;
            }
        }
        self.seen.strikes = self.strikes();
        self.seen.slow = self.drive.now_ns() - begun_ns > SLOW_NS;
        Ok(())
    }

    fn power_cycle(&mut self) -> Result<(), String> {
        self.drive.disarm();
        if self.drive.request_count() > REQUESTS_MAX {
            return Err(format!("{REQUESTS_MAX} requests: it turns in circles"));
        }
        if !self.drive.is_cut() {
            self.drive.cut_after(0);
        }
        let outcome = match self.choices.below(3) {
            0 => Outcome::KeepAll,
            1 => Outcome::LoseAll,
            _ => Outcome::Seeded(self.choices.word()),
        };
        self.drive.power_on(outcome);
        Ok(())
    }

    /// Some writes, background work, more writes.
    fn round(&mut self, store: &Shop<'_, '_>, round: u32) -> Checked {
        for index in 0..WRITES {
            let key = self.choices.below(KEYS.into()) as u32;
            let call = match index {
                3 => self.delete(store, key)?,
                8 => self.maintenance(store, round)?,
                _ => self.put(store, key)?,
            };
            if call == Call::Over || self.watch(store) {
                return Ok(Call::Over);
            }
            store.check_invariants();
        }
        if round % 2 == 1 { self.compare(store, false, false) } else { Ok(Call::Done) }
    }

    /// Sees whether the fault struck; whether power is to fail now.
    ///
    /// A place that stays bad is held to be mended by the drive when its zone begins a new life:
    /// else it would be met again by whatever is written there next, and not by what was aimed at.
    fn watch(&mut self, store: &Shop<'_, '_>) -> bool {
        if self.hit.is_none() {
            let hits = self.drive.take_fault_hits();
            self.hit = hits.into_iter().find(|hit| hit.kind == self.kind).map(|hit| {
                let zone = self.drive.geometry().zone_of(hit.extent.start);
                let generation = store.zone_use(zone).map(|zone| zone.generation);
                Hit { request: hit.request, zone, generation }
            });
            return self.hit.is_some() && is_cut_at_once(self.seed);
        }
        let generation = |zone| store.zone_use(zone).map(|zone| zone.generation);
        if let Some(hit) = self.hit
            && self.kind.hits_blocks()
            && is_sticky(self.seed)
            && generation(hit.zone) != hit.generation
        {
            self.drive.lift_faults();
        }
        false
    }

    fn maintenance(&mut self, store: &Shop<'_, '_>, round: u32) -> Checked {
        let drive = self.drive;
        self.call("maintenance", || {
            drive.block_on(async {
                match round % 4 {
                    1 => {
                        store.checkpoint().await?;
                        store.maintain(50).await.map(drop)
                    }
                    2 => store.compact().await,
                    _ => store.checkpoint().await,
                }
            })
        })
    }

    /// Everything is mended that can be, and compared; then what is lost is written anew.
    fn end(&mut self, store: &Shop<'_, '_>) -> Checked {
        let drive = self.drive;
        let mut snapshots = store.stats().manifest_snapshots;
        let mut struck = 0;
        // What a write hit that went elsewhere, nobody may have scrubbed since.
        let is_elsewhere = self.kind == FaultKind::MisdirectedWrite;
        let is_quiet = |struck| !is_elsewhere || drive.fault_counts().total() == struck;
        for pass in 0..3 {
            struck = drive.fault_counts().total();
            let call = self.call("maintain", || drive.block_on(store.maintain(STEPS)).map(drop))?;
            if call == Call::Over {
                return Ok(call);
            }
            // A superblock is behind the new one when that is published.
            let published = store.stats().manifest_snapshots > snapshots;
            snapshots = store.stats().manifest_snapshots;
            let (mut bad, mut behind) = (0, 0);
            let scrubbed = drive.block_on(store.scrub_each(u64::MAX, &mut |finding| {
                let is_behind = published && finding.structure == Found::Superblock;
                let is_dead = is_behind || finding.remedy == Remedy::Dead;
                bad += u32::from(!is_dead);
                behind += u32::from(is_dead);
            }));
            if scrubbed.is_err() {
                self.seen.call_failed |= !self.drive.is_cut();
                return Ok(Call::Over);
            }
            self.seen.mended |= bad + behind > 0;
            self.seen.stays_bad = bad > 0;
            if bad == 0 && pass > 0 {
                break;
            }
        }
        let stats = store.stats();
        self.seen.mended |= stats.failed_zones > 0 || stats.rebuilds > 0;
        if self.compare(store, false, is_quiet(struck))? == Call::Over {
            return Ok(Call::Over);
        }
        for key in 0..KEYS {
            if self.put(store, key)? == Call::Over {
                return Ok(Call::Over);
            }
        }
        let before = (self.seen.values, self.seen.keys);
        let call = self.call("checkpoint", || drive.block_on(store.checkpoint()))?;
        if call == Call::Over || self.compare(store, false, is_quiet(struck))? == Call::Over {
            return Ok(Call::Over);
        }
        if before != (self.seen.values, self.seen.keys) {
            return Err("a lost key was written anew, and is lost".to_owned());
        }
        store.check_invariants();
        Ok(Call::Done)
    }

    /// A call, made again if it fails.
    fn call(
        &mut self,
        name: &str,
        call: impl Fn() -> Result<(), WriteError<DriveError>>,
    ) -> Checked {
        for _ in 0..ATTEMPTS {
            let result = call();
            if self.drive.is_cut() {
                return Ok(Call::Over);
            }
            match result {
                Ok(()) => return Ok(Call::Done),
                Err(WriteError::ReadOnly) => break,
                Err(
                    error @ (WriteError::Device(_) | WriteError::Damaged(_) | WriteError::Full),
                ) => {
                    let failure = format!("{name}: {error}");
                    self.seen.failure.get_or_insert(failure);
                    self.seen.call_failed = true;
                }
                Err(error) => return Err(format!("a call failed with {error:?}")),
            }
        }
        self.seen.read_only = true;
        Ok(Call::Over)
    }

    fn put(&mut self, store: &Shop<'_, '_>, key: u32) -> Checked {
        self.stamp += 1;
        self.write(store, key, Some(self.stamp))
    }

    fn delete(&mut self, store: &Shop<'_, '_>, key: u32) -> Checked {
        self.write(store, key, None)
    }

    /// A durable write. One that fails may be there or not, until it shows.
    fn write(&mut self, store: &Shop<'_, '_>, key: u32, stamp: Option<u64>) -> Checked {
        let (drive, bytes) = (self.drive, key.to_be_bytes());
        self.slots[key as usize].ever.push(stamp);
        let value = stamp.map(|stamp| value_of(key, stamp));
        let call = self.call("write", || {
            drive.block_on(async {
                match &value {
                    Some(value) => {
                        store.put(&bytes, Meta::NONE, value, WriteOptions::DURABLE).await
                    }
                    None => store.delete(&bytes, WriteOptions::DURABLE).await,
                }
            })
        })?;
        if call == Call::Done {
            let slot = &mut self.slots[key as usize];
            slot.from = slot.ever.len() - 1;
            self.last = Some(key);
        }
        Ok(call)
    }

    /// Reads every key and the list of lost keys. `opened` says that nothing was written since the
    /// store was opened, `mended` that nothing is left to be done in the background.
    fn compare(&mut self, store: &Shop<'_, '_>, opened: bool, mended: bool) -> Checked {
        let mut buf = vec![0; LARGE_LEN];
        let mut lost = BTreeSet::new();
        for key in 0..KEYS {
            match self.get(store, key, &mut buf)? {
                Got::Value(len) => self.judge(store, key, len.map(|len| &buf[..len]), opened)?,
                Got::Lost => drop(lost.insert(key)),
                Got::Nothing => return Ok(Call::Over),
            }
        }
        let Some(listed) = self.listed(store)? else { return Ok(Call::Over) };
        // Those may have been lost since they were read.
        for &key in listed.difference(&lost) {
            match self.get(store, key, &mut buf)? {
                Got::Value(_) => return Err(format!("key {key} is listed as lost, but read")),
                Got::Lost => {}
                Got::Nothing => return Ok(Call::Over),
            }
        }
        match lost.difference(&listed).next() {
            Some(key) if mended => Err(format!("key {key} is lost, but not listed")),
            _ => Ok(Call::Done),
        }
    }

    fn get(&mut self, store: &Shop<'_, '_>, key: u32, buf: &mut [u8]) -> Result<Got, String> {
        let (bytes, options) = (key.to_be_bytes(), ReadOptions::default());
        for _ in 0..ATTEMPTS {
            let got = self.drive.block_on(store.get(&bytes, buf, options));
            let known = self.drive.block_on(store.get_meta(&bytes, &mut [], options));
            if self.drive.is_cut() {
                return Ok(Got::Nothing);
            }
            if let Err(ReadError::Damaged(damage)) = got {
                let Slot { ever, from } = &self.slots[key as usize];
                let failure = format!("key {key}, which may be {:?}: {damage}", &ever[*from..]);
                self.seen.failure.get_or_insert(failure);
            }
            match (got, known) {
                (Ok(found), Ok(known)) if found == known => {
                    return Ok(Got::Value(found.map(|found| found.value_len as usize)));
                }
                (Err(ReadError::Damaged(_)), Ok(Some(_))) if len_of(key) == LARGE_LEN => {
                    self.seen.values += 1;
                    return Ok(Got::Lost);
                }
                (Err(ReadError::Damaged(_)), _) | (_, Err(ReadError::Damaged(_))) => {
                    self.seen.keys += 1;
                    return Ok(Got::Lost);
                }
                (Err(ReadError::Device(_)), _) | (_, Err(ReadError::Device(_))) => {
                    self.seen.call_failed = true;
                }
                (got, known) => return Err(format!("key {key}: get {got:?}, get_meta {known:?}")),
            }
        }
        Ok(Got::Nothing)
    }

    /// Holds what came back for a key against what it may hold.
    fn judge(
        &mut self,
        store: &Shop<'_, '_>,
        key: u32,
        found: Option<&[u8]>,
        opened: bool,
    ) -> Result<(), String> {
        let slot = &mut self.slots[key as usize];
        let fits = |stamp: &Option<u64>| match (stamp, found) {
            (None, None) => true,
            (Some(stamp), Some(found)) => found == value_of(key, *stamp),
            _ => false,
        };
        if slot.ever[slot.from..].iter().any(fits) {
            return Ok(());
        }
        let Some(older) = slot.ever.iter().rposition(fits) else {
            return Err(format!("key {key}: bytes that nobody wrote for it"));
        };
        let stamp = slot.ever[older];
        slot.ever.push(stamp);
        slot.from = slot.ever.len() - 1;
        let which = match opened {
            true if store.stats().lost_seqs.is_some() => &mut self.seen.records,
            true if self.last == Some(key) => &mut self.seen.last,
            _ => &mut self.seen.older,
        };
        *which += 1;
        Ok(())
    }

    /// The list of lost keys, if it can be read now.
    fn listed(&mut self, store: &Shop<'_, '_>) -> Result<Option<BTreeSet<u32>>, String> {
        let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
        for _ in 0..ATTEMPTS {
            let listed = self.drive.block_on(async {
                let (all, options) = ((Bound::Unbounded, Bound::Unbounded), ReadOptions::default());
                let scan = store.scan(all.0, all.1, Direction::Forward, &mut scratch, options);
                let mut scan = scan.await?;
                let mut listed = BTreeSet::new();
                while let Some(item) = scan.next_lost().await? {
                    let bytes = item.key.try_into().unwrap_or_default();
                    listed.insert(u32::from_be_bytes(bytes));
                }
                Ok::<_, ReadError<DriveError>>(listed)
            });
            match listed {
                _ if self.drive.is_cut() => return Ok(None),
                Ok(listed) => return Ok(Some(listed)),
                Err(ReadError::Device(_)) => self.seen.call_failed = true,
                Err(ReadError::Damaged(_)) => {
                    self.seen.keys += 1;
                    return Ok(None);
                }
                Err(error) => return Err(format!("the list of lost keys: {error:?}")),
            }
        }
        Ok(None)
    }
}

/// What reading a key came to.
enum Got {
    /// The length of its value, if it has one.
    Value(Option<usize>),
    Lost,
    /// Power failed, or the device does not answer.
    Nothing,
}

/// Small values are kept in runs, large ones in the log alone.
fn len_of(key: u32) -> usize {
    if key.is_multiple_of(3) { SMALL_LEN } else { LARGE_LEN }
}

fn value_of(key: u32, stamp: u64) -> Vec<u8> {
    synthetic::value(stamp << 8 | u64::from(key), len_of(key))
}
