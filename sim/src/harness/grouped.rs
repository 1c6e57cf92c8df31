//! Groups under power cuts: an element dies together with power, whatever the store was at, and
//! values with parity lose nothing.
//!
//! Power fails at a request that the seed draws while keys are written and groups are put together;
//! what was not synced is kept or lost as the seed decides; and when power is back an element is
//! gone. Every key then holds what was acknowledged last, or what a put since that was cut would
//! have made of it; what was acknowledged can be read, and is not on the list of lost keys.

use std::collections::BTreeMap;
use std::ops::Bound;

use shingle_engine::{
    Direction, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::Device;

use crate::harness::choices::Choices;
use crate::media::MediaSpec;
use crate::{Drive, Outcome, synthetic};

/// The drive: zones written in order, so that nothing that is lost passes for a tear.
const MEDIA: &str = "smr:zones=240,zone-kib=256,conventional=0,elements=4,timing=instant";
const ELEMENTS: u64 = 4;
/// As much as lets a group be put together with about nine requests.
const MEMORY_LEN: usize = 16 << 20;
const KEYS: u64 = 120;
/// Lives of a drive before its element dies.
const LIVES_MAX: u64 = 4;

/// The seeds of the values that a key may have now, `None` for absence: the last acknowledged, and
/// those of puts since that were cut. Of such a put the zone may have more than its copy.
type Model = BTreeMap<u32, Vec<Option<u64>>>;

fn len_of(seed: u64) -> usize {
    5000 + (seed as usize % 7) * 3000
}

/// Runs a seed.
///
/// # Errors
/// What is wrong.
pub fn run(seed: u64) -> Result<(), String> {
    let mut choices = Choices::new(seed ^ 0x0067_726f_7570_6564);
    let drive = Drive::new(MediaSpec::parse(MEDIA).map_err(|error| error.to_string())?, seed);
    let parity = 2 + choices.below(2) as u8;
    let redundancy = Redundancy { mirror_runs: true, parity, ..Redundancy::NONE };
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [6; 16], limits, redundancy };
    let mut memory = vec![0; MEMORY_LEN];
    drive.block_on(format(&&drive, &mut memory, &options)).map_err(|error| error.to_string())?;
    let mut model = Model::new();
    let mut stamp = seed << 20;
    for _ in 0..1 + choices.below(LIVES_MAX) {
        let store = drive.block_on(Store::open(&drive, &mut memory)).map_err(|e| e.to_string())?;
        check(&drive, &store, &model)?;
        let puts = 100 + choices.below(150);
        let cut_in = choices.between(puts / 2, puts);
        for index in 0..puts {
            if index == cut_in {
                // Zones wait to come into groups by now; and between the edit that names one and
                // the sync behind that there are few requests.
                drive.cut_after(choices.below(40));
                let _ = drive.block_on(store.maintain(50));
                if drive.is_cut() {
                    break;
                }
            }
            stamp += 1;
            let key = choices.below(KEYS) as u32;
            let value = synthetic::value(stamp, len_of(stamp));
            let name = key.to_be_bytes();
            let put = store.put(&name, Meta::NONE, &value, WriteOptions::DURABLE);
            let may = model.entry(key).or_insert_with(|| vec![None]);
            match drive.block_on(put) {
                Ok(()) => *may = vec![Some(stamp)],
                Err(_) if drive.is_cut() => {
                    may.push(Some(stamp));
                    break;
                }
                Err(error) => return Err(format!("put: {error}")),
            }
        }
        drop(store);
        if !drive.is_cut() {
            drive.cut_after(0);
        }
        drive.power_on(Outcome::Seeded(choices.word()));
    }
    let element = choices.below(ELEMENTS);
    let dies = format!("element-lost sticky element={element} at=request:0");
    drive.set_faults(&dies.parse().map_err(|error| format!("{error}"))?, seed);
    let store = drive.block_on(Store::open(&drive, &mut memory)).map_err(|e| e.to_string())?;
    check(&drive, &store, &model).map_err(|what| format!("{element} died: {what}"))?;
    drive.block_on(store.maintain(10_000)).map_err(|error| format!("maintain: {error}"))?;
    store.check_invariants();
    check(&drive, &store, &model).map_err(|what| format!("{element} died, rebuilt: {what}"))?;
    match store.stats().bare_zones {
        0 => Ok(()),
        bare => Err(format!("{bare} zones of values are protected by nothing")),
    }
}

/// Compares every key, and the list of lost ones.
fn check(drive: &Drive, store: &Store<'_, &Drive>, model: &Model) -> Result<(), String> {
    let mut out = vec![0; 64 << 10];
    for (&key, may) in model {
        let name = key.to_be_bytes();
        let got = drive.block_on(store.get(&name, &mut out, ReadOptions::default()));
        let len = match got {
            Ok(found) => found.map(|found| found.value_len as usize),
            Err(ReadError::Damaged(_)) if may.len() > 1 => continue,
            Err(error) => return Err(format!("key {key}: {error}")),
        };
        let is_it = |may: &Option<u64>| match (may, len) {
            (None, None) => true,
            (&Some(seed), Some(len)) => {
                len == len_of(seed) && out[..len] == synthetic::value(seed, len)
            }
            _ => false,
        };
        if !may.iter().any(is_it) {
            return Err(format!("key {key} of {len:?} bytes is none of {may:?}"));
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
    match lost.iter().find(|key| model.get(key).is_none_or(|may| may.len() < 2)) {
        None => Ok(()),
        Some(key) => Err(format!("key {key} is on the list of lost keys")),
    }
}
