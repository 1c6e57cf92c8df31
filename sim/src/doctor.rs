//! The doctor: from what a store and its drive show, what is likely wrong with the drive.
//!
//! Evidence is what is in the store (marks of zones, retired zones, lost keys, sequence numbers
//! that are missing), what the drive reports of its zones, and a pass of the scrub: each bad unit
//! with its address, the check that failed, and whose bytes it holds.
//!
//! ```text
//!   nearly all zones of an element are offline                  the element is lost
//!   unreadable, nearly all on one element, over its stroke      the head is failing
//!   unreadable, nearly all in a narrow band                     the surface is damaged there
//!   unreadable, here and there                                  scattered defects
//!   readable, but the block of another place                    misdirected writes: firmware
//!   readable, but zeros or the life before                      lost writes: firmware
//!   readable, but nobody's bytes                                rot, or torn writes
//!   zones retired that the drive still takes for usable         write faults
//!   sequence numbers missing, and no damage in the log          a sync that lied
//! ```
//!
//! A cause is named by likelihood, not proven: what one bad unit means depends on the others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use shingle_engine::format::marks::SICK;
use shingle_engine::zone::Role;
use shingle_engine::{
    Check, Direction, Evacuation, Finding, Origin, ReadOptions, Remedy, Stats, Store, Structure,
};
use shingle_hal::{Device, Lba, ZoneCondition, ZoneDescriptor, ZoneId};

/// Keys of the list of lost ones that are kept; more are only counted.
const KEYS_MAX: usize = 20;
/// Bad units of one kind that make a pattern.
const PATTERN_MIN: usize = 3;
/// A band takes at most this part of the drive's zones, or two zones.
const BAND_PART: u32 = 20;

/// What is likely wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A storage element is gone.
    ElementLost,
    /// A storage element returns less and less.
    HeadFailing,
    /// A band of addresses cannot be read.
    SurfaceDamaged,
    /// Blocks here and there cannot be read.
    ScatteredDefects,
    /// Writes landed in another place.
    MisdirectedWrites,
    /// Writes that were acknowledged never happened.
    LostWrites,
    /// Bytes changed where they lay, or while they were written.
    Rot,
    /// Writes failed.
    WriteFaults,
    /// The drive took zones out of use.
    ZonesTaken,
    /// What was reported as synced was not.
    SyncLied,
}

impl Kind {
    /// A word for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ElementLost => "element-lost",
            Self::HeadFailing => "head-failing",
            Self::SurfaceDamaged => "surface-damaged",
            Self::ScatteredDefects => "scattered-defects",
            Self::MisdirectedWrites => "misdirected-writes",
            Self::LostWrites => "lost-writes",
            Self::Rot => "rot",
            Self::WriteFaults => "write-faults",
            Self::ZonesTaken => "zones-taken",
            Self::SyncLied => "sync-lied",
        }
    }

    /// Whether the medium is at fault, or what drives it.
    #[must_use]
    pub const fn is_firmware(self) -> bool {
        matches!(self, Self::MisdirectedWrites | Self::LostWrites | Self::SyncLied)
    }

    /// What it is, in words.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::ElementLost => "a storage element is gone: its head or its surface died",
            Self::HeadFailing => "a head is failing: reads fail all over its surface",
            Self::SurfaceDamaged => "the surface is damaged in a band of addresses",
            Self::ScatteredDefects => "blocks here and there can no longer be read",
            Self::MisdirectedWrites => "the firmware put writes where others belong",
            Self::LostWrites => "the firmware acknowledged writes that never reached the medium",
            Self::Rot => "bytes changed on the medium, or were torn while written",
            Self::WriteFaults => "writes failed, and their zones were retired",
            Self::ZonesTaken => "the drive took zones out of use",
            Self::SyncLied => "the drive reported a sync that had not happened",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::ElementLost => "keep the drive at less capacity, and restore the lost keys",
            Self::HeadFailing => {
                "evacuate the element while it can be read, then restore lost keys"
            }
            Self::SurfaceDamaged => {
                "evacuate the zones of the band; the rest of the drive is sound"
            }
            Self::ScatteredDefects => "let maintenance rewrite them, and scrub more often",
            Self::MisdirectedWrites | Self::LostWrites => {
                "update the firmware; until then trust no write that was not read back by a scrub"
            }
            Self::Rot => "scrub more often; replace the drive if it goes on",
            Self::WriteFaults => "keep the drive; if most are on one element, evacuate that",
            Self::ZonesTaken => "keep the drive: what they held is moved as far as it can be read",
            Self::SyncLied => "switch the write cache off, or update the firmware",
        }
    }
}

/// One likely cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What.
    pub kind: Kind,
    /// The storage element, if it is one's.
    pub element: Option<u16>,
    /// The first and last address of what was seen.
    pub band: Option<(u64, u64)>,
    /// Units, or zones, that show it.
    pub seen: usize,
    /// The zones.
    pub zones: BTreeSet<u32>,
}

/// What was found out.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// Likely causes, gravest first; none on a sound drive.
    pub causes: Vec<Cause>,
    /// Every bad unit.
    pub findings: Vec<Finding>,
    /// Figures of the store.
    pub stats: Stats,
    /// What is still to be moved off zones that failed.
    pub evacuation: Evacuation,
    /// Keys whose values are lost, and the first of them.
    pub lost_keys: u64,
    /// The first of them.
    pub first_lost: Vec<Vec<u8>>,
    /// What could not be looked at.
    pub untold: Vec<String>,
}

impl Diagnosis {
    /// Units that have no other copy.
    #[must_use]
    pub fn without_copy(&self) -> usize {
        self.findings.iter().filter(|one| one.remedy == Remedy::None).count()
    }

    /// In words, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for cause in &self.causes {
            let side = if cause.kind.is_firmware() { "firmware" } else { "medium" };
            lines.push(format!("{} ({side}): {}", cause.kind.word(), cause.kind.says()));
            let element = cause.element.map_or(String::new(), |e| format!("element {e}, "));
            let band = cause
                .band
                .map_or(String::new(), |(first, last)| format!("LBA {first} to {last}, "));
            let (seen, zones) = (cause.seen, cause.zones.len());
            lines.push(format!("  seen: {element}{band}{seen} times in {zones} zones"));
            lines.push(format!("  do: {}", cause.kind.advice()));
        }
        if self.causes.is_empty() {
            lines.push("nothing is wrong with the drive".to_owned());
        }
        let (stats, found) = (&self.stats, self.findings.len());
        lines.push(format!(
            "isolated: {} of {} zones not used any more, {} still to be emptied; {found} bad \
             units, {} of them without another copy",
            stats.failed_zones,
            stats.zone_count,
            self.evacuation.zones_left,
            self.without_copy()
        ));
        lines.push(match self.lost_keys {
            0 => "no key has lost its value".to_owned(),
            count => {
                format!("{count} keys have lost their values: `shingle scan --lost` lists them")
            }
        });
        lines.extend(self.untold.iter().cloned());
        lines
    }
}

/// Looks at everything: at the keys and zones last, for a drive may fail while it is read. Writes
/// nothing but where the scrub stands, and marks.
pub async fn diagnose<D: Device>(store: &Store<'_, D>) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let passes = store.stats().scrub.passes;
    // What is left of a pass under way, and then a whole one.
    let mut seen = BTreeSet::new();
    while store.stats().scrub.passes < passes + 2 {
        let findings = &mut diagnosis.findings;
        let take = &mut |one: &Finding| {
            if seen.insert(one.extent.start) {
                findings.push(*one);
            }
        };
        if let Err(error) = store.scrub_each(1 << 20, take).await {
            diagnosis.untold.push(format!("the scrub ended early: {error}"));
            break;
        }
    }
    let zones = zones_of(store, &mut diagnosis).await;
    list_lost(store, &mut diagnosis).await;
    (diagnosis.stats, diagnosis.evacuation) = (store.stats(), store.evacuation());
    let mut causes = Vec::new();
    elements_lost(&zones, &mut causes);
    zones_taken(&zones, &mut causes);
    // What was met while the drive took a zone out of use says no more than that.
    let is_usable = |one: &&Finding| {
        zones.get(one.zone.0 as usize).is_none_or(|zone| zone.condition.is_usable())
    };
    let read: Vec<Finding> = diagnosis.findings.iter().filter(is_usable).copied().collect();
    unreadable(store, &read, &mut causes);
    mismatched(&diagnosis.findings, &mut causes);
    write_faults(store, &zones, &mut causes);
    let hits_log = |one: &Finding| one.structure == Structure::LogRecord;
    let gap = diagnosis.stats.lost_seqs.is_some();
    if gap && causes.is_empty() && !diagnosis.findings.iter().any(hits_log) {
        let (zones, seen) = (BTreeSet::new(), 1);
        causes.push(Cause { kind: Kind::SyncLied, element: None, band: None, seen, zones });
    }
    causes.sort_by_key(|cause| cause.kind);
    diagnosis.causes = causes;
    diagnosis
}

async fn zones_of<D: Device>(
    store: &Store<'_, D>,
    diagnosis: &mut Diagnosis,
) -> Vec<ZoneDescriptor> {
    let count = store.device().geometry().zone_count as usize;
    let mut zones = vec![ZoneDescriptor::EMPTY; count];
    match store.device().report(ZoneId(0), &mut zones).await {
        Ok(found) => zones.truncate(found),
        Err(error) => {
            zones.clear();
            diagnosis.untold.push(format!("the drive does not report its zones: {error:?}"));
        }
    }
    zones
}

async fn list_lost<D: Device>(store: &Store<'_, D>, diagnosis: &mut Diagnosis) {
    let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
    let (all, options) = ((Bound::Unbounded, Bound::Unbounded), ReadOptions::default());
    let mut scan = match store.scan(all.0, all.1, Direction::Forward, &mut scratch, options).await {
        Ok(scan) => scan,
        Err(error) => return diagnosis.untold.push(format!("the keys cannot be listed: {error}")),
    };
    loop {
        match scan.next_lost().await {
            Ok(None) => return,
            Ok(Some(item)) => {
                diagnosis.lost_keys += 1;
                if diagnosis.first_lost.len() < KEYS_MAX {
                    diagnosis.first_lost.push(item.key.to_vec());
                }
            }
            Err(error) => {
                return diagnosis.untold.push(format!("the list of lost keys ends early: {error}"));
            }
        }
    }
}

fn elements_lost(zones: &[ZoneDescriptor], causes: &mut Vec<Cause>) {
    let mut elements: BTreeMap<u16, (usize, Vec<&ZoneDescriptor>)> = BTreeMap::new();
    for zone in zones {
        let (count, gone) = elements.entry(zone.element.0).or_default();
        *count += 1;
        if zone.condition == ZoneCondition::Offline {
            gone.push(zone);
        }
    }
    for (element, (count, gone)) in elements {
        if gone.len() * 10 >= count * 9 {
            let cause = cause_of_zones(Kind::ElementLost, Some(element), &gone);
            causes.push(cause);
        }
    }
}

fn zones_taken(zones: &[ZoneDescriptor], causes: &mut Vec<Cause>) {
    let lost: BTreeSet<Option<u16>> = causes.iter().map(|cause| cause.element).collect();
    let taken = |zone: &&ZoneDescriptor| {
        !zone.condition.is_usable() && !lost.contains(&Some(zone.element.0))
    };
    let taken: Vec<&ZoneDescriptor> = zones.iter().filter(taken).collect();
    if !taken.is_empty() {
        let element = majority(taken.iter().map(|zone| zone.element.0));
        causes.push(cause_of_zones(Kind::ZonesTaken, element, &taken));
    }
}

/// Zones that the store gave up although the drive takes them for sound.
fn write_faults<D: Device>(
    store: &Store<'_, D>,
    zones: &[ZoneDescriptor],
    causes: &mut Vec<Cause>,
) {
    let given_up = |zone: &&ZoneDescriptor| {
        let used = store.zone_use(zone.zone);
        let sick = used.is_some_and(|used| used.role == Role::Retired || used.marks & SICK != 0);
        let asked = used.is_some_and(|used| used.marks & shingle_engine::format::marks::LEAVE != 0);
        sick && !asked && zone.condition.is_usable()
    };
    let given_up: Vec<&ZoneDescriptor> = zones.iter().filter(given_up).collect();
    if !given_up.is_empty() {
        let element = majority(given_up.iter().map(|zone| zone.element.0));
        causes.push(cause_of_zones(Kind::WriteFaults, element, &given_up));
    }
}

/// The value that at least four of five, and three of all, have.
fn majority(values: impl Iterator<Item = u16>) -> Option<u16> {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let all: usize = counts.values().sum();
    let (value, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (most >= PATTERN_MIN && most * 5 >= all * 4).then_some(value)
}

fn cause_of_zones(kind: Kind, element: Option<u16>, zones: &[&ZoneDescriptor]) -> Cause {
    let first = zones.iter().map(|zone| zone.start.0).min();
    let last = zones.iter().map(|zone| zone.extent().end().0.saturating_sub(1)).max();
    let numbers = zones.iter().map(|zone| zone.zone.0).collect();
    Cause { kind, element, band: first.zip(last), seen: zones.len(), zones: numbers }
}

fn cause_of_units(kind: Kind, element: Option<u16>, units: &[&Finding]) -> Cause {
    let first = units.iter().map(|one| one.extent.start.0).min();
    let last = units.iter().map(|one| one.extent.end().0.saturating_sub(1)).max();
    let zones = units.iter().map(|one| one.zone.0).collect();
    Cause { kind, element, band: first.zip(last), seen: units.len(), zones }
}

fn unreadable<D: Device>(store: &Store<'_, D>, findings: &[Finding], causes: &mut Vec<Cause>) {
    let is_unreadable = |one: &&Finding| matches!(one.check, Check::Unreadable(_));
    let units: Vec<&Finding> = findings.iter().filter(is_unreadable).collect();
    if units.is_empty() {
        return;
    }
    let zones: BTreeSet<u32> = units.iter().map(|one| one.zone.0).collect();
    let span = zones.last().zip(zones.first()).map_or(0, |(last, first)| last - first + 1);
    let geometry = store.device().geometry();
    let element = majority(units.iter().map(|one| one.element.0));
    let narrow = span <= (geometry.zone_count / BAND_PART).max(2);
    let many = geometry.element_count > 1;
    let kind = match element {
        _ if units.len() < PATTERN_MIN => Kind::ScatteredDefects,
        _ if narrow => Kind::SurfaceDamaged,
        Some(_) if many => Kind::HeadFailing,
        _ => Kind::ScatteredDefects,
    };
    let element = match kind {
        Kind::ScatteredDefects => None,
        _ => element.filter(|_| many),
    };
    causes.push(cause_of_units(kind, element, &units));
}

fn mismatched(findings: &[Finding], causes: &mut Vec<Cause>) {
    let of = |wanted: &dyn Fn(&Finding) -> bool| -> Vec<&Finding> {
        findings.iter().filter(|one| wanted(one)).collect()
    };
    let moved = of(&|one| matches!(one.origin, Origin::OtherPlace { .. }));
    let stale = of(&|one| matches!(one.origin, Origin::EarlierLife { .. } | Origin::Zeros));
    let changed = of(&|one| one.origin == Origin::Nobody);
    // A write that landed elsewhere is missing where it belongs.
    if moved.is_empty() {
        if !stale.is_empty() {
            let element = majority(stale.iter().map(|one| one.element.0));
            causes.push(cause_of_units(Kind::LostWrites, element, &stale));
        }
    } else {
        let all: Vec<&Finding> = moved.iter().chain(&stale).copied().collect();
        let element = majority(all.iter().map(|one| one.element.0));
        causes.push(cause_of_units(Kind::MisdirectedWrites, element, &all));
    }
    if !changed.is_empty() {
        let element = majority(changed.iter().map(|one| one.element.0));
        causes.push(cause_of_units(Kind::Rot, element, &changed));
    }
}

/// Whether a diagnosis speaks of an address.
#[must_use]
pub fn is_in_band(cause: &Cause, lba: Lba) -> bool {
    cause.band.is_some_and(|(first, last)| (first..=last).contains(&lba.0))
}
