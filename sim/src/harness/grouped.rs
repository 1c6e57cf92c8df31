//! Groups under power cuts: an element dies, whatever the store was at, and values with parity lose
//! nothing; nor does anything but large values where there is a mirror of the log alone.
//!
//! Power fails at a request that the seed draws while keys are written and groups are put together;
//! what was not synced is kept, lost or torn as the seed decides. An element is gone when power is
//! back, or dies when a recovery and maintenance went before. Every key then holds what was
//! acknowledged as durable last, or what a put since would have made of it, or just what it held
//! after that recovery; it can be read, and is not on the list of lost keys.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use shingle_engine::{
    Direction, Durability, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::Device;

use crate::harness::choices::Choices;
use crate::media::MediaSpec;
use crate::{Drive, Outcome, synthetic};

/// The drives: zones written in order, large and small ones, zones without a write pointer, and few
/// that may be active.
const MEDIA: [&str; 5] = [
    "smr:zones=240,zone-kib=256,conventional=0,elements=4,timing=instant",
    "smr:zones=120,zone-kib=256,conventional=0,elements=4,timing=instant",
    "smr:zones=480,zone-kib=128,conventional=0,elements=4,timing=instant",
    "disk-tiny:zones=160,timing=instant",
    "zns-tiny:zones=160,elements=4,active=20,timing=instant",
];
const ELEMENTS: u64 = 4;
/// The most lets a group be put together with about nine requests; with the least, memtables are
/// flushed and runs are merged.
const MEMORY_LENS: [usize; 3] = [3 << 20, 5 << 20, 16 << 20];
const KEYS: u64 = 120;
/// Lives of a drive before its element dies.
const LIVES_MAX: u64 = 8;
/// And after that.
const LIVES_AFTER_MAX: u64 = 3;

/// The seeds of the values that a key may have now, `None` for absence: the last that is durable,
/// and those of puts since. Of such a put the zone may have more than its copy.
type Model = BTreeMap<u32, Vec<Option<u64>>>;

fn len_of(seed: u64) -> usize {
    if seed.is_multiple_of(6) {
        return 100;
    }
    5000 + (seed as usize % 7) * 1000
}

/// Runs a seed.
///
/// # Errors
/// What is wrong.
pub fn run(seed: u64) -> Result<(), String> {
    let mut choices = Choices::new(seed ^ 0x0067_726f_7570_6564);
    let media = MEDIA[choices.below(MEDIA.len() as u64) as usize];
    let drive = Drive::new(MediaSpec::parse(media).map_err(|error| error.to_string())?, seed);
    let parity = choices.below(4) as u8;
    let mirror_log = parity == 0 || choices.below(2) == 0;
    let redundancy = Redundancy { mirror_runs: true, mirror_log, parity };
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [6; 16], limits, redundancy };
    let flushes = choices.below(2) == 0;
    let most = MEMORY_LENS.len() as u64 - 1;
    let memory_len = MEMORY_LENS[if flushes { choices.below(most) } else { most } as usize];
    let mut memory = vec![0; memory_len];
    drive.block_on(format(&&drive, &mut memory, &options)).map_err(|error| error.to_string())?;
    let mut model = Model::new();
    let mut stamp = seed << 20;
    for _ in 0..1 + choices.below(LIVES_MAX) {
        let store = drive.block_on(Store::open(&drive, &mut memory)).map_err(|e| e.to_string())?;
        check(&drive, &store, &mut model, false)?;
        live(&drive, store, &mut model, &mut choices, &mut stamp, flushes)?;
    }
    if choices.below(2) == 0 {
        let store = drive.block_on(Store::open(&drive, &mut memory)).map_err(|e| e.to_string())?;
        check(&drive, &store, &mut model, false)?;
        // What was there once stays, with whatever protects it.
        model.values_mut().for_each(|may| may.truncate(1));
        drive.block_on(store.maintain(10_000)).map_err(|error| format!("maintain: {error}"))?;
        drop(store);
        if choices.below(2) == 0 {
            drive.cut_after(0);
            drive.power_on(Outcome::Seeded(choices.word()));
        }
    }
    let element = choices.below(ELEMENTS);
    let dies = format!("element-lost sticky element={element} at=request:0");
    drive.set_faults(&dies.parse().map_err(|error| format!("{error}"))?, seed);
    let store = drive.block_on(Store::open(&drive, &mut memory)).map_err(|e| e.to_string())?;
    let context = |what| format!("{media}, {redundancy:?}, {element} died: {what}");
    check(&drive, &store, &mut model, parity == 0).map_err(context)?;
    drive.block_on(store.maintain(10_000)).map_err(|error| format!("maintain: {error}"))?;
    store.check_invariants();
    check(&drive, &store, &mut model, parity == 0)
        .map_err(|what| context(format!("rebuilt: {what}")))?;
    match store.stats().bare_zones {
        0 => {}
        bare => return Err(format!("{bare} zones of values are protected by nothing")),
    }
    drop(store);
    for _ in 0..choices.below(LIVES_AFTER_MAX) {
        let store = drive.block_on(Store::open(&drive, &mut memory)).map_err(|e| e.to_string())?;
        let checked = check(&drive, &store, &mut model, parity == 0);
        checked.map_err(|what| context(format!("and later: {what}")))?;
        live(&drive, store, &mut model, &mut choices, &mut stamp, flushes)?;
    }
    Ok(())
}

/// Puts and deletes keys, durably or not, until power fails.
fn live(
    drive: &Drive,
    store: Store<'_, &Drive>,
    model: &mut Model,
    choices: &mut Choices,
    stamp: &mut u64,
    flushes: bool,
) -> Result<(), String> {
    let ops = 100 + choices.below(150);
    let cut_in = choices.between(ops / 2, ops);
    // Keys of which something was written that is not known to be durable.
    let mut open = BTreeSet::new();
    for index in 0..ops {
        if index == cut_in {
            // Zones wait to come into groups by now; and between the edit that names one and
            // the sync behind that there are few requests.
            drive.cut_after(choices.below(40));
            if choices.below(2) == 0 {
                let _ = drive.block_on(store.maintain(50));
            }
        }
        if drive.is_cut() {
            break;
        }
        let first = choices.below(KEYS) as u32;
        let mut note = |key: u32, what: Option<u64>| {
            model.entry(key).or_insert_with(|| vec![None]).insert(0, what);
            open.insert(key);
        };
        let mut durable = choices.below(3) == 0;
        let durability = if durable { Durability::Durable } else { Durability::Buffered };
        let options = WriteOptions { durability, ..WriteOptions::DURABLE };
        let (key, end) = (first.to_be_bytes(), (first + 10).to_be_bytes());
        // Without flushes all lives are replayed.
        let done = match choices.between(if flushes { 0 } else { 2 }, 39) {
            0 => {
                durable = true;
                drive.block_on(store.checkpoint())
            }
            1 => {
                durable = true;
                drive.block_on(store.compact())
            }
            2 => {
                (first..first + 10).for_each(|key| note(key, None));
                drive.block_on(store.delete_range(&key, Some(&end), durability))
            }
            3..8 => {
                note(first, None);
                drive.block_on(store.delete(&key, options))
            }
            _ => {
                *stamp += 1;
                note(first, Some(*stamp));
                let value = synthetic::value(*stamp, len_of(*stamp));
                drive.block_on(store.put(&key, Meta::NONE, &value, options))
            }
        };
        match done {
            Ok(()) if durable => {
                // So is all that was written before it in this life.
                for key in std::mem::take(&mut open) {
                    model.entry(key).and_modify(|may| may.truncate(1));
                }
            }
            Ok(()) => {}
            Err(_) if drive.is_cut() => break,
            Err(error) => return Err(format!("operation {index}: {error}")),
        }
    }
    drop(store);
    if !drive.is_cut() {
        drive.cut_after(0);
    }
    drive.power_on(Outcome::Seeded(choices.word()));
    Ok(())
}

/// Compares every key, and the list of lost ones; what a key is seen to hold comes first of what it
/// may. Where an element died `without_parity`, large values on it are lost.
fn check(
    drive: &Drive,
    store: &Store<'_, &Drive>,
    model: &mut Model,
    without_parity: bool,
) -> Result<(), String> {
    let is_large = |may: &Vec<Option<u64>>| may[0].is_some_and(|seed| len_of(seed) > 100);
    let may_be_lost = |may: &Vec<Option<u64>>| may.len() > 1 || without_parity && is_large(may);
    let mut out = vec![0; 64 << 10];
    for (&key, may) in model.iter_mut() {
        let name = key.to_be_bytes();
        let got = drive.block_on(store.get(&name, &mut out, ReadOptions::default()));
        let len = match got {
            Ok(found) => found.map(|found| found.value_len as usize),
            Err(ReadError::Damaged(_)) if may_be_lost(may) => continue,
            Err(error) => return Err(format!("key {key}: {error}")),
        };
        let is_it = |may: &Option<u64>| match (may, len) {
            (None, None) => true,
            (&Some(seed), Some(len)) => {
                len == len_of(seed) && out[..len] == synthetic::value(seed, len)
            }
            _ => false,
        };
        match may.iter().position(is_it) {
            Some(at) => may.swap(0, at),
            None => return Err(format!("key {key} of {len:?} bytes is none of {may:?}")),
        }
    }
    let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
    let (all, options) = ((Bound::Unbounded, Bound::Unbounded), ReadOptions::default());
    let lost = drive.block_on(async {
        let mut scan = store.scan(all.0, all.1, Direction::Forward, &mut scratch, options).await?;
        let mut lost = Vec::new();
        while let Some(item) = scan.next_lost().await? {
            lost.extend(item.key.try_into().map(u32::from_be_bytes));
        }
        Ok::<_, ReadError<crate::DriveError>>(lost)
    });
    let lost = lost.map_err(|error| format!("the list of lost keys: {error}"))?;
    match lost.iter().find(|key| model.get(key).is_none_or(|may| !may_be_lost(may))) {
        None => Ok(()),
        Some(key) => Err(format!("key {key} is on the list of lost keys")),
    }
}
