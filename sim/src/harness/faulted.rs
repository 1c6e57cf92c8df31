//! A store on a drive that fails: operations, power cuts and a plan of faults, against a model.
//!
//! The torture next door knows to the commit what must be there after a cut. Here the medium itself
//! loses things, so what is asked is what a user asks: whatever comes back is right, and what was
//! acknowledged as durable is there or is called damaged.
//!
//! Every write is durable. One that failed may have taken effect or not, until it shows. What is
//! held against the model, by the plan's [budget](crate::fault::Budget):
//!
//! | | within the budget | beyond it |
//! |---|---|---|
//! | a value, or absence | the last acknowledged, or in doubt since | any that the key ever had |
//! | bytes that no put wrote | never | never |
//! | `Damaged` | for a large value | for anything |
//! | the store opens | always, tried a few times | or says why not |
//! | panics, loops without end | never | never |
//!
//! One exception: damage in the group that was synced last before a cut may be taken for its tear.
//!
//! Where runs and the log are kept on two elements, the one that the log is on may die together
//! with power, which is within the budget then.

use std::collections::BTreeMap;

use shingle_engine::zone::Role;
use shingle_engine::{
    FormatOptions, Meta, OpenError, ReadError, ReadOptions, Redundancy, Store, WriteError,
    WriteOptions, format,
};
use shingle_hal::{Device, ZoneId};

use crate::fault::{Budget, FaultCounts, FaultKind, FaultPlan, Rule, Times};
use crate::harness::choices::Choices;
use crate::harness::oracle::{Key, Version};
use crate::harness::panics;
use crate::harness::workload::{
    draw_limits, draw_memory, has_mirror_room, key_bytes, mirror_memory,
};
use crate::media::MediaSpec;
use crate::{Drive, DriveError, Outcome};

/// Times a store is opened in vain before that counts.
const OPENS_MAX: u32 = 40;
/// Requests after which a life is held to turn in circles.
const REQUESTS_MAX: u64 = 4_000_000;

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
    /// One that the seed draws, whatever it costs.
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
    /// Faults injected, by kind.
    pub faults: FaultCounts,
}

impl Outcomes {
    /// Takes on what another seed came to.
    pub fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.cuts += other.cuts;
        self.damaged += other.damaged;
        self.rebuilds += other.rebuilds;
        self.failed_zones += other.failed_zones;
        self.faults.add(&other.faults);
    }
}

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

/// Runs a seed on `media` with `ops` operations.
///
/// # Errors
/// What is wrong, behind the plan under which it showed.
pub fn run(seed: u64, media: &str, ops: u64, faults: &Faults) -> Result<Outcomes, String> {
    let mut choices = Choices::new(seed ^ 0x0066_6175_6c74_6564);
    let spec = MediaSpec::parse(media).map_err(|error| error.to_string())?;
    let drive = Drive::new(spec, seed);
    let plan = match faults {
        Faults::Within => FaultPlan::draw_within_budget(&mut choices, &drive.geometry(), 30),
        Faults::Any => FaultPlan::draw(&mut choices, &drive.geometry(), 30),
        Faults::Plan(plan) => plan.clone(),
    };
    let may_die = *faults == Faults::Within;
    let result = panics::catch(|| Bed::new(&drive, choices, ops, &plan).run(seed, may_die));
    match result {
        Ok(Ok(outcomes)) => Ok(outcomes),
        Ok(Err(what)) | Err(what) => Err(format!("under `{plan}`: {what}")),
    }
}

/// How a life ended.
enum End {
    /// With the operations.
    Done,
    /// The store takes no more writes, or power failed.
    Over,
}

struct Bed<'d> {
    drive: &'d Drive,
    choices: Choices,
    ops: u64,
    plan: &'d FaultPlan,
    beyond: bool,
    keys: Key,
    len_max: u64,
    slots: BTreeMap<Key, Slot>,
    /// Writes since the last checkpoint, and from where their keys' versions counted before.
    unflushed: Vec<(Key, usize)>,
    /// Whether damage may be met in the log before it is flushed.
    hits_log: bool,
    /// Whether the log's element is yet to die together with power.
    dies: bool,
    log_element: Option<u32>,
    stamp: u64,
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
            keys,
            len_max: capacity / 8 / u64::from(keys),
            slots,
            unflushed: Vec::new(),
            hits_log: plan.rules.iter().any(|rule| DAMAGE.contains(&rule.kind)),
            dies: false,
            log_element: None,
            stamp: 0,
            outcomes: Outcomes::default(),
        }
    }

    fn run(mut self, seed: u64, may_die: bool) -> Result<Outcomes, String> {
        let geometry = self.drive.geometry();
        let limits = draw_limits(&mut self.choices, &geometry);
        self.len_max = self.len_max.min(limits.value_len_max).max(1);
        let room = geometry.active_zones_max.is_none_or(|max| max >= 14);
        let mirror = geometry.element_count > 1 && room && self.choices.once_in(2);
        // What sticks to a value's block is met again when the zone holds something else.
        let sticks = |rule: &Rule| rule.times == Times::Sticky && DAMAGE.contains(&rule.kind);
        self.beyond |= !mirror && self.plan.rules.iter().any(sticks);
        let may_mirror = geometry.element_count > 1 && has_mirror_room(&geometry);
        let mirror_log = may_mirror && self.choices.once_in(2);
        let redundancy = Redundancy { mirror_runs: mirror, mirror_log, ..Redundancy::NONE };
        let mut memory = vec![0; 16 * geometry.block_len_bytes as usize];
        let options = FormatOptions { store_id: [7; 16], limits, redundancy };
        let formatted = self.drive.block_on(format(&self.drive, &mut memory, &options));
        formatted.map_err(|error| format!("format failed with {error:?}"))?;
        // Instead of the plan, the element that the log is on may die with the power, once.
        self.dies = may_die && mirror && mirror_log && self.choices.once_in(2);
        if self.dies {
            (self.beyond, self.hits_log) = (false, false);
        } else {
            self.drive.set_faults(self.plan, seed);
        }
        let mut refused = 0;
        while self.outcomes.ops < self.ops {
            let more = mirror_memory(&geometry, &limits, redundancy);
            let len = draw_memory(&mut self.choices, &geometry, &limits).max(64 << 10) + more;
            let mut memory = vec![0; len];
            self.drive.cut_after(REQUESTS_MAX);
            self.lose_tail();
            match self.drive.block_on(Store::open(self.drive, &mut memory)) {
                Ok(store) => {
                    refused = 0;
                    let end = self.live(&store)?;
                    self.log_element = log_element(&store, geometry.element_count);
                    let stats = store.stats();
                    self.outcomes.rebuilds += stats.rebuilds;
                    self.outcomes.failed_zones = u64::from(stats.failed_zones);
                    if matches!(end, End::Done) && self.choices.once_in(2) {
                        continue;
                    }
                }
                Err(OpenError::MemoryTooSmall { .. }) => continue,
                Err(error) => {
                    refused += 1;
                    let over = refused > OPENS_MAX;
                    if over && self.beyond {
                        break;
                    }
                    if over {
                        return Err(format!("open fails again and again, now with {error:?}"));
                    }
                }
            }
            self.power_cycle()?;
        }
        self.outcomes.faults = self.drive.fault_counts();
        Ok(self.outcomes)
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
        if let Some(element) = self.log_element.filter(|_| self.dies && self.choices.once_in(2)) {
            let plan = format!("element-lost element={element} at=request:0");
            let plan: FaultPlan = plan.parse().map_err(|error| format!("{error}"))?;
            self.drive.set_faults(&plan, 1);
            self.dies = false;
        }
        Ok(())
    }

    /// Damage in the last group of a log is taken for the tear of a cut (see `engine/src/hole.rs`):
    /// the write there may be gone with a mount.
    fn lose_tail(&mut self) {
        if !self.hits_log {
            return;
        }
        for &(key, from) in self.unflushed.iter().rev().take(1) {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.from = slot.from.min(from);
            }
        }
    }

    fn live(&mut self, store: &Store<'_, &Drive>) -> Result<End, String> {
        store.check_invariants();
        for key in 0..self.keys {
            if !self.check(store, key)? {
                return Ok(End::Over);
            }
        }
        let left = self.ops - self.outcomes.ops;
        if self.choices.once_in(3) {
            self.drive.cut_after(self.choices.magnitude(8 * left));
        }
        for _ in 0..self.choices.magnitude(200).min(left).max(1) {
            self.outcomes.ops += 1;
            let key = self.choices.below(u64::from(self.keys)) as Key;
            let goes_on = match self.choices.below(20) {
                0..9 => self.put(store, key)?,
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
            store.check_invariants();
        }
        Ok(End::Done)
    }

    fn put(&mut self, store: &Store<'_, &Drive>, key: Key) -> Result<bool, String> {
        self.stamp += 1;
        let small = self.choices.once_in(3);
        let len = self.choices.magnitude(if small { 100 } else { self.len_max }) as u32;
        let meta_len = self.choices.pick(&[0, 0, 8]);
        let version = Version { stamp: self.stamp, len, meta_len, version_len: 0 };
        let meta = version.meta();
        let (bytes, value) = (key_bytes(key), version.value());
        let put = store.put(&bytes, Meta::new(&meta, 0), &value, WriteOptions::DURABLE);
        let result = self.drive.block_on(put);
        self.written(key, Some(version), result)
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
                self.unflushed.push((key, slot.from));
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
        let mut value = vec![0; self.len_max as usize];
        let mut meta = [0; 8];
        let options = ReadOptions::default();
        let got = self.drive.block_on(store.get(&bytes, &mut value, options));
        let known = self.drive.block_on(store.get_meta(&bytes, &mut meta, options));
        if self.drive.is_cut() {
            return Ok(false);
        }
        let slot = &self.slots[&key];
        let may = slot.may(self.beyond);
        let found = match (got, known) {
            (Err(ReadError::Damaged(damage)), known) => {
                self.outcomes.damaged += 1;
                let present = matches!(known, Ok(Some(_)));
                let large = may.iter().flatten().any(|version| version.len > 64);
                let allowed = self.beyond || (present && large);
                if !allowed {
                    return Err(format!("key {key}: {damage:?}, and its metadata {known:?}"));
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
        Ok(true)
    }
}

/// The element of the zone that the log is written to, if it is any.
fn log_element(store: &Store<'_, &Drive>, elements: u16) -> Option<u32> {
    let mut uses = (0..).map_while(|zone| store.zone_use(ZoneId(zone)));
    let head = uses.find(|zone| zone.role == Role::Log && zone.head)?;
    Some(head.zone.0 % u32::from(elements.max(1)))
}

/// Whether a store whose background work came to this is to be asked further.
fn work(result: Result<(), WriteError<DriveError>>) -> bool {
    match result {
        Ok(()) | Err(WriteError::Full | WriteError::Damaged(_)) => true,
        Err(_) => false,
    }
}
