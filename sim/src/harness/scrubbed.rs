//! A store on a drive with latent errors: what a scrub finds, what is mended, and what is lost.
//!
//! Blocks of everything that was written are drawn, of the two copies of a node one at most, and
//! where values have parity, of the blocks with one number in their zones and those of parity; and
//! from then on each of them either cannot be read or reads with a flipped bit. Nobody has read
//! them yet, so only a scrub can know. Held against the drawn list:
//!
//! - a pass finds every one of them, and nothing else;
//! - what has another copy is whole after maintenance: no key is absent, small values are all
//!   there, and what does not come back is on the list of lost keys; with parity, all comes back;
//! - the next pass finds nothing that has another copy.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use shingle_engine::zone::Role;
use shingle_engine::{
    Direction, Finding, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Remedy,
    Store, WriteOptions, format,
};
use shingle_hal::{Class, Device, Extent, Lba, Request, ZoneDescriptor, ZoneId};

use crate::fault::{FaultKind, FaultPlan, Rule, Scope, Times};
use crate::harness::choices::Choices;
use crate::media::MediaSpec;
use crate::{Drive, DriveError, synthetic};

/// The drive that is scrubbed: four elements, zones written in order.
const MEDIA: &str = "smr:zones=480,zone-kib=256,conventional=0,elements=4,timing=instant";
const MEMORY_LEN: usize = 2 << 20;
/// Steps of maintenance after which something must be wrong.
const STEPS_MAX: u32 = 20_000;
/// Values of at least this length stay in the log.
const LARGE: usize = 5000;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubConfig {
    /// Keys that are put.
    pub keys: u32,
    /// Blocks that go bad.
    pub errors: usize,
    /// Whether runs have twins.
    pub mirror: bool,
    /// Zones of values that a zone of parity protects, or 0; only where runs have twins.
    pub parity: u8,
}

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Blocks that went bad, by the role of their zone.
    pub errors: BTreeMap<String, usize>,
    /// Bad units that the pass found.
    pub found: usize,
    /// Of these, the ones that were written anew.
    pub mended: u64,
    /// And those without another copy.
    pub lost: u64,
    /// Keys whose values did not come back.
    pub lost_keys: usize,
    /// Bytes that the pass read.
    pub bytes: u64,
}

type Shop<'m, 'd> = Store<'m, &'d Drive>;
type Model = BTreeMap<u32, usize>;

/// Runs a seed.
///
/// # Errors
/// What is wrong.
pub fn run(seed: u64, config: ScrubConfig) -> Result<Scrubbed, String> {
    let mut choices = Choices::new(seed ^ 0x0073_6372_7562);
    let drive = Drive::new(MediaSpec::parse(MEDIA).map_err(|error| error.to_string())?, seed);
    let mut memory = vec![0; MEMORY_LEN];
    let redundancy =
        Redundancy { mirror_runs: config.mirror, parity: config.parity, ..Redundancy::NONE };
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [6; 16], limits, redundancy };
    drive.block_on(format(&&drive, &mut memory, &options)).map_err(|error| error.to_string())?;
    let store = drive.block_on(Store::open(&drive, &mut memory)).map_err(|e| e.to_string())?;
    let bed = Bed { drive: &drive, store: &store };
    let mut model = Model::new();
    for index in 0..config.keys {
        bed.put(&mut model, index)?;
    }
    bed.done(drive.block_on(store.compact()), "compact")?;
    // Some are in no run yet; and the cache knows the runs.
    for index in config.keys..config.keys + 40 {
        bed.put(&mut model, index)?;
    }
    if config.parity > 0 {
        // No group is half written.
        bed.done(drive.block_on(store.maintain(STEPS_MAX)), "maintain")?;
    }
    bed.check(&model)?;
    let bad = bed.spoil(&mut choices, config, seed);
    let mut result = Scrubbed::default();
    for (_, role) in bad.values() {
        *result.errors.entry(format!("{role:?}")).or_default() += 1;
    }
    let found = bed.pass(&mut result.bytes)?;
    bed.compare(&bad, &found)?;
    bed.settle(&bad, seed)?;
    let stats = store.stats().scrub;
    (result.found, result.mended, result.lost) = (found.len(), stats.mended, stats.lost);
    let redundant = found.iter().filter(|one| matches!(one.remedy, Remedy::Copy | Remedy::Memory));
    if stats.mended != redundant.count() as u64 {
        return Err(format!("{stats:?}: not everything that could be was mended"));
    }
    result.lost_keys = bed.check(&model)?;
    if config.parity > 0 && (result.lost_keys > 0 || store.stats().bare_zones > 0) {
        return Err(format!("parity does not make up for it: {result:?}, {:?}", store.stats()));
    }
    // What cannot be read stays so where it is, but nothing with another copy is there any more.
    let again = bed.pass(&mut 0)?;
    let mendable = again.iter().find(|one| one.remedy == Remedy::Copy);
    match mendable {
        Some(one) => Err(format!("still bad after it was mended: {one:?}")),
        None => Ok(result),
    }
}

struct Bed<'a, 'm, 'd> {
    drive: &'d Drive,
    store: &'a Shop<'m, 'd>,
}

impl Bed<'_, '_, '_> {
    fn done<T>(
        &self,
        result: Result<T, shingle_engine::WriteError<DriveError>>,
        what: &str,
    ) -> Result<T, String> {
        result.map_err(|error| format!("{what}: {error}"))
    }

    fn put(&self, model: &mut Model, index: u32) -> Result<(), String> {
        let large = LARGE + (index as usize % 7) * 3000;
        let small = 100 + index as usize * 37 % 1400;
        let len = if index.is_multiple_of(4) { large } else { small };
        let value = synthetic::value(index.into(), len);
        let key = index.to_be_bytes();
        let put = self.store.put(&key, Meta::NONE, &value, WriteOptions::DURABLE);
        self.done(self.drive.block_on(put), "put")?;
        model.insert(index, len);
        Ok(())
    }

    /// The first blocks of zones of runs in which nothing lives, and so of their twins.
    fn dead_headers(&self) -> BTreeSet<Vec<u8>> {
        let is_dead = |zone: &ZoneDescriptor| {
            let now = self.store.zone_use(zone.zone);
            now.is_some_and(|now| {
                matches!(now.role, Role::Run | Role::Bottom) && now.live_bytes == 0
            })
        };
        let zones = zones_of(self.drive).into_iter().filter(is_dead);
        zones.map(|zone| self.node_at(zone.start)).collect()
    }

    /// The bytes of the node of a run at a block: the same in both copies.
    fn node_at(&self, lba: Lba) -> Vec<u8> {
        let geometry = self.drive.geometry();
        let start = geometry.zone_start(geometry.zone_of(lba)).0;
        let blocks = u64::from(self.store.limits().node_len_bytes / geometry.block_len_bytes);
        let at = match lba.0 - start {
            0 => 0,
            block => 1 + (block - 1) / blocks * blocks,
        };
        let blocks = if at == 0 { 1 } else { blocks };
        let mut node = vec![0; (blocks * u64::from(geometry.block_len_bytes)) as usize];
        let request = Request::of(Class::Idle);
        let read = self.drive.block_on(self.drive.read(Lba(start + at), &mut node, request));
        read.map_or(Vec::new(), |()| node)
    }

    /// Lets blocks of everything that was written go bad; gives them with the roles of their zones.
    fn spoil(
        &self,
        choices: &mut Choices,
        config: ScrubConfig,
        seed: u64,
    ) -> BTreeMap<u64, (Rule, Role)> {
        let ScrubConfig { errors, mirror, parity, .. } = config;
        let mut numbers = BTreeSet::new();
        let mut written = Vec::new();
        let dead = self.dead_headers();
        for zone in zones_of(self.drive) {
            let role = self.store.zone_use(zone.zone).map_or(Role::Retired, |zone| zone.role);
            let grouped = self.store.zone_use(zone.zone).is_some_and(|zone| zone.grouped);
            // Parity of a group that came to nothing, or is not whole yet, is nobody's.
            let is_idle = role == Role::Parity && !grouped;
            let is_dead = is_idle || dead.contains(&self.node_at(zone.start));
            if !is_dead && !matches!(role, Role::Free | Role::Retired) {
                let blocks = 0..u64::from(zone.write_pointer.0);
                written.extend(blocks.map(|block| (zone.start.0 + block, role)));
            }
        }
        let (mut bad, mut nodes) = (BTreeMap::new(), BTreeSet::new());
        for _ in 0..1000 * errors {
            if bad.len() == errors {
                break;
            }
            let (lba, role) = written[choices.below(written.len() as u64) as usize];
            let of_values = matches!(role, Role::Log | Role::Cold | Role::Parity);
            let of_runs = matches!(role, Role::Run | Role::Bottom | Role::Twin);
            // Of what there is little, some is hit too.
            if of_values && choices.below(8) > 0 || of_runs && bad.len() < 4 {
                continue;
            }
            let geometry = self.drive.geometry();
            let number = lba - geometry.zone_start(geometry.zone_of(Lba(lba))).0;
            if of_values && parity > 0 && !numbers.insert(number) {
                continue;
            }
            if of_runs && (!mirror || !nodes.insert(self.node_at(Lba(lba)))) {
                continue;
            }
            let kind = choices.pick(&[FaultKind::ReadError, FaultKind::BitRot]);
            let rule =
                Rule { times: Times::Sticky, scope: Scope::Lba(Lba(lba)), ..Rule::new(kind) };
            bad.insert(lba, (rule, role));
        }
        let rules = bad.values().map(|(rule, _)| *rule).collect();
        self.drive.set_faults(&FaultPlan { rules }, seed);
        bad
    }

    /// Scrubs until a pass ends; gives what it found.
    fn pass(&self, bytes: &mut u64) -> Result<Vec<Finding>, String> {
        let mut found = Vec::new();
        loop {
            let take = &mut |one: &Finding| found.push(*one);
            let scrub = self.store.scrub_each(1 << 20, take);
            let progress = self.done(self.drive.block_on(scrub), "scrub")?;
            *bytes += progress.bytes;
            if progress.ended {
                return Ok(found);
            }
        }
    }

    fn compare(&self, bad: &BTreeMap<u64, (Rule, Role)>, found: &[Finding]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for one in found {
            let hit = bad.range(one.extent.start.0..one.extent.end().0).next();
            if hit.is_none() {
                return Err(format!("found what is sound: {one:?}"));
            }
            seen.extend(blocks(one.extent));
        }
        for (lba, (rule, role)) in bad {
            let zone = self.drive.geometry().zone_of(Lba(*lba));
            let now = self.store.zone_use(zone).map(|zone| zone.role);
            // A new snapshot of the manifest takes the place of the old copies.
            let gone = *role == Role::Manifest && now != Some(Role::Manifest);
            if !seen.contains(lba) && !gone {
                return Err(format!("not found: `{rule}` in a zone of role {role:?}"));
            }
        }
        Ok(())
    }

    /// Works until nothing is due. What is written anew is sound: the drive puts it elsewhere.
    fn settle(&self, bad: &BTreeMap<u64, (Rule, Role)>, seed: u64) -> Result<(), String> {
        let life_of = |lba: &u64| {
            let zone = self.drive.geometry().zone_of(Lba(*lba));
            self.store.zone_use(zone).map(|zone| zone.generation)
        };
        let lives: BTreeMap<u64, Option<u32>> =
            bad.keys().map(|lba| (*lba, life_of(lba))).collect();
        let mut left = lives.len();
        for _ in 0..STEPS_MAX {
            if self.done(self.drive.block_on(self.store.maintain(1)), "maintain")? == 0 {
                self.store.check_invariants();
                return Ok(());
            }
            let still = |(lba, _): &(&u64, _)| lives[lba] == life_of(lba);
            let rules: Vec<Rule> = bad.iter().filter(still).map(|(_, (rule, _))| *rule).collect();
            if rules.len() < left {
                left = rules.len();
                self.drive.set_faults(&FaultPlan { rules }, seed);
            }
        }
        Err("maintenance turns in circles".to_owned())
    }

    fn has(&self, key: &[u8]) -> bool {
        let known = self.store.get_meta(key, &mut [], ReadOptions::default());
        matches!(self.drive.block_on(known), Ok(Some(_)))
    }

    /// Compares every key; gives how many are lost, which must be those that are listed.
    fn check(&self, model: &Model) -> Result<usize, String> {
        let mut lost = BTreeSet::new();
        let mut out = vec![0; 64 << 10];
        for (&index, &len) in model {
            let key = index.to_be_bytes();
            let get = self.store.get(&key, &mut out, ReadOptions::default());
            match self.drive.block_on(get) {
                Ok(Some(found)) if found.value_len == len as u64 => {
                    if out[..len] != synthetic::value(index.into(), len) {
                        return Err(format!("key {index}: wrong data"));
                    }
                }
                // A value alone is gone: its key is there.
                Err(ReadError::Damaged(_)) if len >= LARGE && self.has(&key) => {
                    lost.insert(index);
                }
                other => return Err(format!("key {index}: {other:?}")),
            }
        }
        let mut scratch = vec![0; self.store.scan_memory_len() + (1 << 20)];
        let (all, options) = ((Bound::Unbounded, Bound::Unbounded), ReadOptions::default());
        let listed = self.drive.block_on(async {
            let scan = self.store.scan(all.0, all.1, Direction::Forward, &mut scratch, options);
            let mut scan = scan.await?;
            let mut listed = BTreeSet::new();
            while let Some(item) = scan.next_lost().await? {
                listed.extend(item.key.try_into().map(u32::from_be_bytes));
            }
            Ok::<_, ReadError<DriveError>>(listed)
        });
        let listed = listed.map_err(|error| format!("the list of lost keys: {error}"))?;
        match listed.is_subset(&lost) {
            true => Ok(lost.len()),
            false => Err(format!("listed as lost, but there: {:?}", &listed - &lost)),
        }
    }
}

fn blocks(extent: Extent) -> std::ops::Range<u64> {
    extent.start.0..extent.end().0
}

fn zones_of(drive: &Drive) -> Vec<ZoneDescriptor> {
    let mut zones = vec![ZoneDescriptor::EMPTY; drive.geometry().zone_count as usize];
    let found = drive.block_on(drive.report(ZoneId(0), &mut zones)).unwrap_or(0);
    zones.truncate(found);
    zones
}
