//! A store on a drive that fails: operations, power cuts and a plan of faults, against a model.
//!
//! The torture next door knows to the commit what must be there after a cut. Here the medium itself
//! loses things, so what is asked is what a user asks: whatever comes back is right, and what was
//! acknowledged as durable is there or is called damaged.
//!
//! A write is durable when it is answered, or when the sync behind a burst of them is. Before that,
//! and if it failed, it may have taken effect or not, until it shows. What is held against the
//! model, by the plan's [budget](crate::fault::Budget):
//!
//! | | within the budget | beyond it |
//! |---|---|---|
//! | a value, or absence | the last acknowledged, or in doubt since | any that the key ever had |
//! | bytes that no put wrote | never | never |
//! | `Damaged` | for a large value | for anything |
//! | the store opens | always, tried a few times | or says why not |
//! | panics, loops without end | never | never |
//!
//! One exception: damage in the group that was synced last may be taken for the tear of a cut.
//!
//! A plan whose rules all lie on one storage element is within the budget where runs are on two:
//! then large values there may be lost, and of the others those writes alone that no run holds yet
//! when the store is opened; none where the log has a mirror. The list of lost keys is held against
//! what reading them answers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use shingle_engine::ZoneUse;
use shingle_engine::format::marks::LEAVE;
use shingle_engine::store::scan::Direction;
use shingle_engine::zone::Role;
use shingle_engine::{
    FormatOptions, Meta, OpenError, ReadError, ReadOptions, Redundancy, Store, WriteError,
    WriteOptions, format,
};
use shingle_hal::{Device, ElementId, ZoneId};

use crate::fault::{Budget, FaultKind, FaultPlan, FaultTally, Rule, Times};
use crate::harness::choices::{Choices, mix_of};
use crate::harness::oracle::{Key, Version};
use crate::harness::panics;
use crate::harness::workload::{
    draw_limits, draw_memory, draw_parity, has_mirror_room, key_bytes, mirror_memory,
};
use crate::media::MediaSpec;
use crate::{Drive, DriveError, Outcome};

/// Times a store is opened in vain before that counts.
const OPENS_MAX: u32 = 40;
/// Lives in a row in which hardly anything was done before a drive is given up.
const FUTILE_MAX: u32 = 8;
/// Most operations of a life.
const LIFE_OPS_MAX: u64 = 600;
/// Operations of a life that is not futile.
const LIFE_OPS_MIN: u64 = 4;
/// Operations on one drive; then comes another.
const DRIVE_OPS: [u64; 4] = [300, 600, 1_200, 2_400];
/// Most drives of a seed; most of them were dead when they came.
const DRIVES_MAX: u64 = 1_000;
/// Keys that are compared when a store was opened, most of the time.
const KEYS_COMPARED: Key = 24;
/// Most writes that share a sync.
const BURST_MAX: u64 = 24;
/// Memory of a scan besides what it asks for.
const SCAN_ROOM: usize = 1 << 20;
/// Intensity of the plans that are drawn.
const INTENSITY: u32 = 40;
/// Requests after which a life is held to turn in circles.
const REQUESTS_MAX: u64 = 4_000_000;

/// Zones that a store is asked to take out of use, at most.
const LEAVING_MAX: usize = 3;

/// Kinds that damage what was written.
const DAMAGE: [FaultKind; 6] = [
    FaultKind::ReadError,
    FaultKind::BitRot,
    FaultKind::StaleRead,
    FaultKind::TornWrite,
    FaultKind::LostWrite,
    FaultKind::ZoneReadOnly,
];

/// What plan a seed runs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// One that the seed draws, within the budget.
    Within,
    /// One that the seed draws, all of it on one storage element, with runs on two; within the
    /// budget on drives of one element.
    Element,
    /// One that the seed draws: a quarter of them within the budget, a quarter on one element, the
    /// others whatever they cost.
    Any,
    /// This one.
    Plan(FaultPlan),
}

/// What a seed came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    /// Operations done.
    pub ops: u64,
    /// Power cuts, those that follow a store that went read only included.
    pub cuts: u64,
    /// Reads that answered `Damaged`.
    pub damaged: u64,
    /// Zones of runs rebuilt from their twins.
    pub rebuilds: u64,
    /// Zones that failed, by the store's own count at the end.
    pub failed_zones: u64,
    /// Drives, each with a plan of its own.
    pub drives: u64,
    /// Of the reads that answered `Damaged`, those whose place no fault had hit.
    pub unblamed: u64,
    /// Answers held against the model.
    pub compared: u64,
    /// Of them, those older than what was last acknowledged; only beyond the budget.
    pub older: u64,
    /// Mounts at which records of the log were reported lost.
    pub lost_logs: u64,
    /// Faults by kind, and what became of them.
    pub faults: FaultTally,
}

impl Outcomes {
    /// Takes on what another seed came to.
    pub fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.cuts += other.cuts;
        self.damaged += other.damaged;
        self.rebuilds += other.rebuilds;
        self.failed_zones += other.failed_zones;
        self.drives += other.drives;
        self.unblamed += other.unblamed;
        self.compared += other.compared;
        self.older += other.older;
        self.lost_logs += other.lost_logs;
        self.faults.add(&other.faults);
    }
}

/// What [`Faults::Any`] draws.
const DRAWN: [Faults; 4] = [Faults::Within, Faults::Element, Faults::Any, Faults::Any];

/// What a key may hold.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Every version the key ever had, absence included.
    ever: Vec<Option<Version>>,
    /// From this one on it may be now: the last acknowledged, then those in doubt.
    from: usize,
}

impl Slot {
    fn may(&self, beyond: bool) -> &[Option<Version>] {
        if beyond { &self.ever } else { &self.ever[self.from..] }
    }
}

/// Runs a seed on `media` with `ops` operations, on one drive after another, each under a plan of
/// its own: what a drive does when it is old is tried, and most faults come once in its life.
///
/// # Errors
/// What is wrong, behind the plan under which it showed.
pub fn run(seed: u64, media: &str, ops: u64, faults: &Faults) -> Result<Outcomes, String> {
    let spec = MediaSpec::parse(media).map_err(|error| error.to_string())?;
    let mut all = Outcomes::default();
    while all.ops < ops && all.drives < DRIVES_MAX {
        let seed = if all.drives == 0 { seed } else { mix_of(seed ^ all.drives << 48) };
        let mut choices = Choices::new(seed ^ 0x0066_6175_6c74_6564);
        let drive = Drive::new(spec.clone(), seed);
        let geometry = drive.geometry();
        let drawn = match faults {
            Faults::Any => DRAWN[choices.below(DRAWN.len() as u64) as usize].clone(),
            other => other.clone(),
        };
        let mut is_element = false;
        let plan = match &drawn {
            Faults::Element if geometry.element_count > 1 => {
                let failing = ElementId(choices.below(geometry.element_count.into()) as u16);
                is_element = true;
                FaultPlan::draw_on_element(&mut choices, failing, INTENSITY)
            }
            Faults::Within | Faults::Element => {
                FaultPlan::draw_within_budget(&mut choices, &geometry, INTENSITY)
            }
            Faults::Any => FaultPlan::draw(&mut choices, &geometry, INTENSITY),
            Faults::Plan(plan) => plan.clone(),
        };
        let share = choices.pick(&DRIVE_OPS).min(ops - all.ops);
        let result = panics::catch(|| {
            let mut bed = Bed::new(&drive, choices, share, &plan);
            bed.is_element = is_element;
            bed.run(seed)
        });
        match result {
            Ok(Ok(outcomes)) => all.add(&outcomes),
            Ok(Err(what)) | Err(what) => {
                return Err(format!("drive {} under `{plan}`: {what}", all.drives));
            }
        }
    }
    Ok(all)
}

/// Runs `ops` operations on one drive under `plan`, with choices from a fuzzer's bytes, until the
/// drive was asked for `bytes_max` bytes. `is_element` says that the plan lies on one element.
///
/// # Errors
/// What is wrong.
pub(crate) fn run_bytes(
    media: &str,
    plan: &FaultPlan,
    is_element: bool,
    choices: Choices,
    ops: u64,
    bytes_max: u64,
) -> Result<Outcomes, String> {
    let spec = MediaSpec::parse(media).map_err(|error| error.to_string())?;
    let drive = Drive::new(spec, 0);
    let mut bed = Bed::new(&drive, choices, ops, plan);
    bed.is_element = is_element;
    bed.bytes_max = bytes_max;
    bed.run(0)
}

/// How a life ended.
enum End {
    /// With the operations.
    Done,
    /// The store takes no more writes, or power failed.
    Over,
}

/// A durable write that perhaps no run holds yet.
#[derive(Clone, Copy)]
struct Unflushed {
    key: Key,
    /// From where the key's versions counted before it.
    from: usize,
    /// The sync that it shares with others.
    group: u64,
}

struct Bed<'d> {
    drive: &'d Drive,
    choices: Choices,
    ops: u64,
    plan: &'d FaultPlan,
    beyond: bool,
    /// All faults are on one storage element.
    is_element: bool,
    /// Bytes asked of the drive after which no further operation is begun.
    bytes_max: u64,
    keys: Key,
    /// Values from this length on are in the log alone.
    separate_from: u32,
    len_max: u64,
    slots: BTreeMap<Key, Slot>,
    /// Writes since the last checkpoint.
    unflushed: Vec<Unflushed>,
    /// Syncs that made writes durable.
    groups: u64,
    /// Whether damage may be met in the log before it is flushed.
    hits_log: bool,
    mirror_log: bool,
    /// Values have parity, and no more than it protects from fails.
    protects: bool,
    stamp: u64,
    /// Where values are read to.
    buf: Vec<u8>,
    /// Zones that the store was asked to take out of use.
    leaving: Vec<ZoneId>,
    outcomes: Outcomes,
}

impl<'d> Bed<'d> {
    fn new(drive: &'d Drive, mut choices: Choices, ops: u64, plan: &'d FaultPlan) -> Self {
        let keys = choices.pick(&[12, 60, 200]);
        let capacity = drive.spec().capacity_bytes();
        let slots = (0..keys).map(|key| (key, Slot { ever: vec![None], from: 0 })).collect();
        Self {
            drive,
            choices,
            ops,
            plan,
            beyond: plan.budget() == Budget::Beyond,
            is_element: false,
            bytes_max: u64::MAX,
            separate_from: 0,
            keys,
            len_max: capacity / 8 / u64::from(keys),
            slots,
            unflushed: Vec::new(),
            groups: 0,
            hits_log: plan.rules.iter().any(|rule| DAMAGE.contains(&rule.kind)),
            mirror_log: false,
            protects: false,
            stamp: 0,
            buf: Vec::new(),
            leaving: Vec::new(),
            outcomes: Outcomes { drives: 1, ..Outcomes::default() },
        }
    }

    fn run(mut self, seed: u64) -> Result<Outcomes, String> {
        let geometry = self.drive.geometry();
        let limits = draw_limits(&mut self.choices, &geometry);
        self.len_max = self.len_max.min(limits.value_len_max).max(1);
        self.separate_from = limits.separate_from_bytes;
        let room = geometry.active_zones_max.is_none_or(|max| max >= 14);
        let chosen = self.choices.once_in(2) || self.is_element;
        let mirror = geometry.element_count > 1 && room && chosen;
        // One element is not too much where nothing but values is on one alone.
        self.beyond &= !(self.is_element && mirror);
        let may_mirror = geometry.element_count > 1 && has_mirror_room(&geometry);
        self.mirror_log = may_mirror && self.choices.once_in(2);
        let mirror_log = self.mirror_log;
        // Drawn apart, so that what a seed does besides stays as it was.
        let parity = if mirror { draw_parity(seed, &geometry) } else { 0 };
        self.protects = self.is_element && parity > 0;
        let redundancy = Redundancy { mirror_runs: mirror, mirror_log, parity };
        let mut memory = vec![0; 16 * geometry.block_len_bytes as usize];
        let options = FormatOptions { store_id: [7; 16], limits, redundancy };
        let formatted = self.drive.block_on(format(&self.drive, &mut memory, &options));
        formatted.map_err(|error| format!("format failed with {error:?}"))?;
        self.drive.set_faults(self.plan, seed);
        self.buf = vec![0; self.len_max as usize];
        let (mut refused, mut futile) = (0, 0);
        let mut is_last = false;
        while !is_last && futile < FUTILE_MAX {
            let more = mirror_memory(&geometry, &limits, redundancy);
            let len = draw_memory(&mut self.choices, &geometry, &limits).max(64 << 10) + more;
            let mut memory = vec![0; len];
            self.drive.cut_after(REQUESTS_MAX);
            self.lose_tail();
            self.drive.watch_faults();
            match self.drive.block_on(Store::open(self.drive, &mut memory)) {
                Ok(store) => {
                    refused = 0;
                    let before = self.outcomes.ops;
                    // When all is done everything is compared once more.
                    is_last = before >= self.ops || self.is_spent();
                    self.note_lost_log(&store);
                    let end = self.live(&store, is_last)?;
                    let stats = store.stats();
                    self.outcomes.rebuilds += stats.rebuilds;
                    self.outcomes.failed_zones = u64::from(stats.failed_zones);
                    is_last &= matches!(end, End::Done);
                    let gives_up = self.beyond || self.never_answers();
                    let is_futile = gives_up && self.outcomes.ops < before + LIFE_OPS_MIN;
                    futile = if is_futile { futile + 1 } else { 0 };
                    if matches!(end, End::Done) && self.choices.once_in(2) {
                        continue;
                    }
                }
                Err(OpenError::MemoryTooSmall { .. }) => continue,
                Err(error) => {
                    refused += 1;
                    let over = refused > OPENS_MAX;
                    if refused > FUTILE_MAX && (self.beyond || self.never_answers()) {
                        break;
                    }
                    if over {
                        return Err(format!("open fails again and again, now with {error:?}"));
                    }
                }
            }
            self.power_cycle()?;
        }
        self.outcomes.faults = self.drive.fault_tally();
        Ok(self.outcomes)
    }

    /// Whenever some place is touched, power fails or no answer comes: nothing may get past it.
    fn never_answers(&self) -> bool {
        let stops = [FaultKind::PowerCut, FaultKind::Timeout, FaultKind::TransientError];
        let often = |times: Times| !matches!(times, Times::Times(count) if count < FUTILE_MAX);
        let stops = |rule: &Rule| stops.contains(&rule.kind) && often(rule.times);
        self.plan.rules.iter().any(stops)
    }

    fn is_spent(&self) -> bool {
        let all = self.drive.stats().all;
        let blocks = all.read_blocks + all.written_blocks;
        blocks * u64::from(self.drive.geometry().block_len_bytes) >= self.bytes_max
    }

    /// Records that the store says are lost are put down to the faults that it met in the log.
    fn note_lost_log(&mut self, store: &Store<'_, &Drive>) {
        if store.stats().lost_seqs.is_none() {
            return;
        }
        self.outcomes.lost_logs += 1;
        self.drive.blame_faults_met(|zone| {
            let role = store.zone_use(zone).map(|found| found.role);
            role.is_some_and(|role| role.holds_values())
        });
    }

    fn power_cycle(&mut self) -> Result<(), String> {
        self.drive.disarm();
        if !self.drive.is_cut() {
            self.drive.cut_after(0);
        }
        if self.drive.request_count() > REQUESTS_MAX {
            return Err(format!("{REQUESTS_MAX} requests: it turns in circles"));
        }
        self.outcomes.cuts += 1;
        let outcome = match self.choices.below(3) {
            0 => Outcome::KeepAll,
            1 => Outcome::LoseAll,
            _ => Outcome::Seeded(self.choices.word()),
        };
        self.drive.power_on(outcome);
        Ok(())
    }

    /// Damage in the group that was synced last may be taken for the tear of a cut (see
    /// `engine/src/hole.rs`): its writes may be gone with a mount. Where an element fails, its part
    /// of the log is gone, unless it has a mirror.
    fn lose_tail(&mut self) {
        // Parity protects the log's records with its values.
        if self.protects || (!self.hits_log && !self.is_element) {
            return;
        }
        if self.is_element && self.mirror_log {
            return;
        }
        let first = if self.is_element { 0 } else { self.groups };
        for write in self.unflushed.iter().filter(|write| write.group >= first) {
            if let Some(slot) = self.slots.get_mut(&write.key) {
                slot.from = slot.from.min(write.from);
            }
        }
    }

    fn live(&mut self, store: &Store<'_, &Drive>, is_last: bool) -> Result<End, String> {
        store.check_invariants();
        self.check_leaving(store)?;
        let all = is_last || self.choices.once_in(4);
        let count = if all { self.keys } else { self.keys.min(KEYS_COMPARED) };
        let first = self.choices.below(u64::from(self.keys)) as Key;
        for key in first..first + count {
            if !self.check(store, key % self.keys)? {
                return Ok(End::Over);
            }
        }
        let left = self.ops.saturating_sub(self.outcomes.ops);
        if is_last {
            self.check_lost(store)?;
            return Ok(End::Done);
        }
        if self.choices.once_in(3) {
            self.drive.cut_after(self.choices.magnitude(8 * left));
        }
        for _ in 0..self.choices.magnitude(LIFE_OPS_MAX).min(left).max(1) {
            self.outcomes.ops += 1;
            if self.leaving.len() < LEAVING_MAX && self.choices.once_in(60) {
                if !self.evacuate(store) || self.drive.is_cut() {
                    return Ok(End::Over);
                }
                continue;
            }
            let key = self.choices.below(u64::from(self.keys)) as Key;
            let goes_on = match self.choices.below(20) {
                0..8 => self.put(store, key)?,
                8 => self.burst(store)?,
                9..11 => self.delete(store, key)?,
                11..17 => self.check(store, key)?,
                17 => {
                    let done = self.drive.block_on(store.checkpoint());
                    if done.is_ok() {
                        self.unflushed.clear();
                    }
                    work(done)
                }
                18 => {
                    let steps = self.choices.magnitude(60) as u32;
                    work(self.drive.block_on(store.maintain(steps)).map(|_| ()))
                }
                _ => work(self.drive.block_on(store.compact())),
            };
            if !goes_on || self.drive.is_cut() {
                return Ok(End::Over);
            }
            if self.is_spent() {
                break;
            }
            store.check_invariants();
        }
        Ok(End::Done)
    }

    /// Holds the list of lost keys, which no value is read for, against what reading them answers.
    fn check_lost(&mut self, store: &Store<'_, &Drive>) -> Result<(), String> {
        if self.beyond {
            return Ok(());
        }
        let mut scratch = vec![0; store.scan_memory_len() + SCAN_ROOM];
        let listed = self.drive.block_on(async {
            let (all, options) = ((Bound::Unbounded, Bound::Unbounded), ReadOptions::default());
            let scan = store.scan(all.0, all.1, Direction::Forward, &mut scratch, options);
            let mut scan = scan.await?;
            let mut listed = BTreeSet::new();
            while let Some(item) = scan.next_lost().await? {
                listed.insert(item.key.to_vec());
            }
            Ok::<_, ReadError<DriveError>>(listed)
        });
        // A device that does not answer now may do so later.
        let Ok(listed) = listed else { return Ok(()) };
        let mut value = std::mem::take(&mut self.buf);
        for key in 0..self.keys {
            let bytes = key_bytes(key);
            let got = store.get(&bytes, &mut value, ReadOptions::default());
            let is_listed = listed.contains(&bytes);
            match self.drive.block_on(got) {
                Ok(_) if is_listed => return Err(format!("key {key} is listed as lost, but read")),
                // Without a place: where it was is no more.
                Err(ReadError::Damaged(damage)) if damage.extent.count.0 == 0 && !is_listed => {
                    return Err(format!("key {key} is lost, but not listed: {damage:?}"));
                }
                _ => {}
            }
        }
        self.buf = value;
        Ok(())
    }

    /// Takes a zone out of use; false if the store is not to be asked further.
    fn evacuate(&mut self, store: &Store<'_, &Drive>) -> bool {
        let count = self.drive.geometry().zone_count;
        let first = self.choices.below(count.into()) as u32;
        let role = |zone: ZoneId| store.zone_use(zone).map(|zone| zone.role);
        let mut zones = (first..count).chain(0..first).map(ZoneId);
        // What the log holds of entries that no run has: often enough, or it is hardly ever met.
        let of_log = zones.find(|zone| role(*zone) == Some(Role::Log));
        let zone = of_log.filter(|_| self.choices.once_in(2)).unwrap_or(ZoneId(first));
        let result = self.drive.block_on(store.evacuate_zone(zone));
        if result.is_ok() {
            self.leaving.push(zone);
        }
        let steps = self.choices.magnitude(60) as u32;
        work(result) && work(self.drive.block_on(store.maintain(steps)).map(|_| ()))
    }

    /// A zone that was taken out of use stays so, whatever happens.
    fn check_leaving(&self, store: &Store<'_, &Drive>) -> Result<(), String> {
        let comes_back = |zone: &&ZoneId| {
            let zone = store.zone_use(**zone);
            let out = |zone: ZoneUse| {
                matches!(zone.role, Role::Retired | Role::Anchor) || zone.marks & LEAVE != 0
            };
            !zone.is_some_and(out)
        };
        match self.leaving.iter().find(comes_back) {
            Some(zone) if !self.beyond => {
                let now = store.zone_use(*zone);
                Err(format!("{zone} was taken out of use, and is {now:?}"))
            }
            _ => Ok(()),
        }
    }

    fn draw_version(&mut self) -> Version {
        self.stamp += 1;
        let small = self.choices.once_in(3);
        let len = self.choices.magnitude(if small { 100 } else { self.len_max }) as u32;
        let meta_len = self.choices.pick(&[0, 0, 8]);
        Version { stamp: self.stamp, len, meta_len, version_len: 0 }
    }

    fn put_version(
        &self,
        store: &Store<'_, &Drive>,
        key: Key,
        version: &Version,
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<DriveError>> {
        let (bytes, meta, value) = (key_bytes(key), version.meta(), version.value());
        self.drive.block_on(store.put(&bytes, Meta::new(&meta, 0), &value, options))
    }

    fn put(&mut self, store: &Store<'_, &Drive>, key: Key) -> Result<bool, String> {
        let version = self.draw_version();
        let result = self.put_version(store, key, &version, WriteOptions::DURABLE);
        self.written(key, Some(version), result)
    }

    /// Puts that are durable when the sync behind them is answered.
    fn burst(&mut self, store: &Store<'_, &Drive>) -> Result<bool, String> {
        let mut begun = Vec::new();
        for _ in 0..self.choices.magnitude(BURST_MAX) {
            self.outcomes.ops += 1;
            let key = self.choices.below(u64::from(self.keys)) as Key;
            let version = self.draw_version();
            let result = self.put_version(store, key, &version, WriteOptions::BUFFERED);
            let slot = self.slots.get_mut(&key).ok_or("a key of the universe")?;
            if !matches!(result, Err(WriteError::Full)) {
                slot.ever.push(Some(version));
            }
            match result {
                Ok(()) => begun.push((key, slot.ever.len() - 1)),
                Err(WriteError::Full) => {}
                Err(WriteError::Device(_) | WriteError::Damaged(_) | WriteError::ReadOnly) => {
                    return Ok(false);
                }
                Err(error) => return Err(format!("a put of key {key} failed with {error:?}")),
            }
        }
        if self.drive.block_on(store.sync()).is_err() {
            return Ok(false);
        }
        self.groups += 1;
        for (key, index) in begun {
            let slot = self.slots.get_mut(&key).ok_or("a key of the universe")?;
            self.unflushed.push(Unflushed { key, from: slot.from, group: self.groups });
            slot.from = index;
        }
        Ok(true)
    }

    fn delete(&mut self, store: &Store<'_, &Drive>, key: Key) -> Result<bool, String> {
        let result = self.drive.block_on(store.delete(&key_bytes(key), WriteOptions::DURABLE));
        self.written(key, None, result)
    }

    /// Takes note of a write; false if the store is not to be asked further.
    fn written(
        &mut self,
        key: Key,
        version: Option<Version>,
        result: Result<(), WriteError<DriveError>>,
    ) -> Result<bool, String> {
        let slot = self.slots.get_mut(&key).ok_or("a key of the universe")?;
        match result {
            Ok(()) => {
                self.groups += 1;
                self.unflushed.push(Unflushed { key, from: slot.from, group: self.groups });
                slot.ever.push(version);
                slot.from = slot.ever.len() - 1;
                Ok(true)
            }
            Err(WriteError::Full) => Ok(true),
            Err(WriteError::Device(_) | WriteError::Damaged(_) | WriteError::ReadOnly) => {
                slot.ever.push(version);
                Ok(false)
            }
            Err(error) => Err(format!("a write of key {key} failed with {error:?}")),
        }
    }

    /// Reads a key and its metadata; false if the store is not to be asked further.
    fn check(&mut self, store: &Store<'_, &Drive>, key: Key) -> Result<bool, String> {
        let bytes = key_bytes(key);
        let mut value = std::mem::take(&mut self.buf);
        let result = self.check_into(store, key, &bytes, &mut value);
        self.buf = value;
        result
    }

    fn check_into(
        &mut self,
        store: &Store<'_, &Drive>,
        key: Key,
        bytes: &[u8],
        value: &mut [u8],
    ) -> Result<bool, String> {
        let mut meta = [0; 8];
        let options = ReadOptions::default();
        let got = self.drive.block_on(store.get(bytes, value, options));
        let known = self.drive.block_on(store.get_meta(bytes, &mut meta, options));
        if self.drive.is_cut() {
            return Ok(false);
        }
        self.outcomes.compared += 1;
        let slot = &self.slots[&key];
        let may = slot.may(self.beyond);
        let found = match (got, known) {
            (Err(ReadError::Damaged(damage)), known) => {
                self.outcomes.damaged += 1;
                self.outcomes.unblamed += u64::from(!self.drive.blame_fault(damage.extent));
                let present = matches!(known, Ok(Some(_)));
                let large = may.iter().flatten().any(|version| version.len >= self.separate_from);
                // A write that was cut may be in its zone and not yet in the copy.
                let alone = !self.protects || may.len() > 1;
                let allowed = self.beyond || (present && large && alone);
                if !allowed {
                    return Err(format!(
                        "key {key}: {damage:?}, and its metadata {known:?}; may be {may:?}"
                    ));
                }
                return Ok(true);
            }
            // A device that does not answer now may do so later.
            (Err(ReadError::Device(_)), _) | (_, Err(ReadError::Device(_))) => return Ok(false),
            (Ok(found), Ok(known)) if found == known => found,
            (_, Err(ReadError::Damaged(_))) if self.beyond => return Ok(true),
            (got, known) => return Err(format!("key {key}: get {got:?}, get_meta {known:?}")),
        };
        let fits = |version: &Option<Version>| match (version, found) {
            (None, None) => true,
            (Some(version), Some(found)) => {
                found.value_len == u64::from(version.len)
                    && version.has(0, &value[..version.len as usize])
                    && version.meta() == meta[..found.meta_len]
            }
            _ => false,
        };
        if !may.iter().any(fits) {
            return Err(format!("key {key}: found {found:?}, which is none of {may:?}"));
        }
        self.outcomes.older += u64::from(!slot.may(false).iter().any(fits));
        Ok(true)
    }
}

/// Whether a store whose background work came to this is to be asked further.
fn work(result: Result<(), WriteError<DriveError>>) -> bool {
    match result {
        Ok(()) | Err(WriteError::Full | WriteError::Damaged(_)) => true,
        Err(_) => false,
    }
}
