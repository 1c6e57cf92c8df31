//! Life at the limit: full, deleted in part or whole, full again, many times over.
//!
//! The store must say "full" cleanly and not before it holds what it promises, always take deletes,
//! always recover from them, and lose no key. What is promised, and what overwriting costs:
//! `overwrite.rs`.

use std::cell::{Cell, RefCell};

use crate::shelf::{Random, scattered_key as key};
use shingle_engine::{
    Durability, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteError,
    WriteOptions, format,
};
use shingle_hal::{Device, ZoneId};
use shingle_sim::media::MediaSpec;
use shingle_sim::synthetic;
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, Executor};

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn drive_of(media: &str) -> Drive {
    let mut spec = MediaSpec::parse(media).expect("a medium");
    spec.timing = TimingSpec::Instant;
    Drive::new(spec, 5)
}

/// What the zones are for, with how much of each lives.
fn use_of(store: &Store<'_, &Drive>, drive: &Drive) -> String {
    let mut roles = std::collections::BTreeMap::new();
    for zone in 0..drive.geometry().zone_count {
        let usage = store.zone_use(ZoneId(zone)).expect("a zone");
        let entry: &mut (u32, u64) = roles.entry(format!("{:?}", usage.role)).or_default();
        entry.0 += 1;
        entry.1 += usage.live_bytes;
    }
    let (runs, stats) = (store.runs_by_level(), store.stats());
    format!("{roles:?} runs {runs:?} used {} of {}", stats.used_bytes, stats.capacity_bytes)
}

fn set_up(drive: &Drive, memory: &mut [u8], redundancy: Redundancy) {
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [3; 16], limits, redundancy };
    drive.block_on(format(drive, memory, &options)).expect("format");
}

/// A life at the limit: fills to "full", deletes, and so on.
struct Life {
    media: &'static str,
    /// Least and longest value.
    lens: [usize; 2],
    memory_len: usize,
    redundancy: Redundancy,
    /// Draws how many write at once, how much is deleted, in which order and how, whether the
    /// store is opened anew or compacted, and whether a snapshot is held meanwhile. Without it one
    /// writes, and half of the keys are deleted one by one.
    varied: bool,
    seed: u64,
}

/// A key's value: by which round it was put, and how long it is.
type Written = Option<(u64, usize)>;

impl Life {
    fn new(media: &'static str, value_len: usize) -> Self {
        let memory_len = if media.starts_with("nor") { 128 << 10 } else { 16 << 20 };
        let redundancy = Redundancy::for_geometry(&drive_of(media).geometry());
        Self { media, lens: [value_len; 2], memory_len, redundancy, varied: false, seed: 7 }
    }

    fn live(&self, rounds: u64) {
        let drive = drive_of(self.media);
        let mut memory = vec![0; self.memory_len];
        set_up(&drive, &mut memory, self.redundancy);
        let mut random = Random(self.seed);
        let (mut keys, mut round) = (Vec::new(), 0);
        while round < rounds {
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            loop {
                round += 1;
                let name = format!("{} seed {} round {round}", self.media, self.seed);
                let held = self.varied && random.below(6) == 0;
                let snapshot = held.then(|| store.snapshot().expect("one is free"));
                let (cost, capacity) =
                    self.fill(&drive, &store, &mut random, (&mut keys, round), &name);
                // What only the snapshot sees has room, too.
                assert!(held || cost > capacity, "{name}: full with {cost} of {capacity} promised");
                self.delete(&drive, &store, &mut random, (&mut keys, held), &name);
                drop(snapshot);
                let step = if rounds > 4 { 7 } else { 1 };
                check(&drive, &store, keys.iter().enumerate().step_by(step), &name);
                store.check_invariants();
                if round == rounds || self.varied && random.below(3) == 0 {
                    drive.block_on(store.sync()).expect("sync");
                    break;
                }
                if self.varied && random.below(8) == 0 {
                    drive.block_on(store.compact()).expect("compact");
                }
            }
        }
    }

    /// Puts until the store is full. Returns what would have been in it, by cost, with the value
    /// that was refused, and what it promises to hold.
    fn fill(
        &self,
        drive: &Drive,
        store: &Store<'_, &Drive>,
        random: &mut Random,
        (keys, round): (&mut Vec<Written>, u64),
        name: &str,
    ) -> (u64, u64) {
        // Several at once may be refused for what the others have under way; then one goes on.
        let together = self.varied && random.below(3) == 0;
        let (filled, next, refused) = (Cell::new(0u64), Cell::new(0), Cell::new(None));
        let (shared, random) = (RefCell::new(&mut *keys), RefCell::new(random));
        let write = async || {
            let mut value = vec![0; self.lens[1]];
            while refused.get().is_none() {
                let index = next.replace(next.get() + 1);
                if index == shared.borrow().len() {
                    shared.borrow_mut().push(None);
                }
                if shared.borrow()[index].is_some() {
                    continue;
                }
                let spread = (self.lens[1] - self.lens[0]) as u64 + 1;
                let len = self.lens[0] + random.borrow_mut().below(spread) as usize;
                let value = &mut value[..len];
                synthetic::fill(round * 1_000_000 + index as u64, 0, value);
                let key = key(index as u64);
                match store.put(&key, Meta::NONE, value, WriteOptions::BUFFERED).await {
                    Ok(()) => shared.borrow_mut()[index] = Some((round, len)),
                    Err(WriteError::Full) => return refused.set(Some(len)),
                    Err(error) => panic!("{name} put {index}: {error:?}"),
                }
                filled.set(filled.get() + 1);
            }
        };
        if together {
            let executor = Executor::new(drive);
            for _ in 0..4 {
                executor.spawn(write());
            }
            executor.run();
            refused.set(None);
            next.set(0);
        }
        drive.block_on(write());
        let (filled, refused) = (filled.get(), refused.get().expect("it is full"));
        assert!(self.varied || filled > 0, "{name}: deleting made no room");
        let lens = keys.iter().flatten().map(|(_, len)| *len as u64);
        let (live, bytes) = (lens.clone().count(), lens.clone().sum::<u64>());
        let cost: u64 = lens.map(|len| store.cost_bytes(16, 0, len)).sum();
        let stats = store.stats();
        eprintln!(
            "{name}: {filled} put, {live} live of {:?} B, {:.1} % of capacity, free {} of {}\n  {}",
            self.lens,
            bytes as f64 * 100.0 / stats.capacity_bytes as f64,
            stats.free_zones,
            stats.zone_count,
            use_of(store, drive)
        );
        (cost + store.cost_bytes(16, 0, refused as u64), stats.capacity_bytes)
    }

    /// Deletes some: the store must take it, unless a snapshot is held and it has no zone for it.
    fn delete(
        &self,
        drive: &Drive,
        store: &Store<'_, &Drive>,
        random: &mut Random,
        (keys, held): (&mut [Written], bool),
        name: &str,
    ) {
        let refused = |error| -> ! { panic!("{name} delete: {error:?}, {}", use_of(store, drive)) };
        let percent = if self.varied { [5, 50, 95, 100][random.below(4) as usize] } else { 50 };
        if self.varied && random.below(4) == 0 {
            // The first byte of a key is as good as random.
            let (first, count) = (random.below(256) as u8, 255 * percent / 100);
            let end = first.checked_add(count as u8).map(|end| [end]);
            let (start, end) = ([first], end.as_ref().map(|end| &end[..]));
            match drive.block_on(store.delete_range(&start, end, Durability::Buffered)) {
                Err(WriteError::Full) if held => return,
                deleted => deleted.unwrap_or_else(|error| refused(error)),
            }
            for (index, written) in keys.iter_mut().enumerate() {
                let key = key(index as u64);
                if key[..] >= start[..] && end.is_none_or(|end| key[..] < *end) {
                    *written = None;
                }
            }
            return;
        }
        let backwards = self.varied && random.below(2) == 0;
        for at in 0..keys.len() {
            let index = if backwards { keys.len() - 1 - at } else { at };
            if keys[index].is_some() && random.below(100) < percent {
                let key = key(index as u64);
                match drive.block_on(store.delete(&key, WriteOptions::BUFFERED)) {
                    Err(WriteError::Full) if held => return,
                    deleted => deleted.unwrap_or_else(|error| refused(error)),
                }
                keys[index] = None;
            }
        }
    }
}

fn check<'a>(
    drive: &Drive,
    store: &Store<'_, &Drive>,
    keys: impl Iterator<Item = (usize, &'a Written)>,
    name: &str,
) {
    for (index, written) in keys {
        let len = written.map_or(0, |(_, len)| len);
        let (mut value, mut expected) = (vec![0; len], vec![0; len]);
        let got = drive
            .block_on(store.get(&key(index as u64), &mut value, ReadOptions::default()))
            .unwrap_or_else(|error| panic!("{name} get {index}: {error:?}"));
        assert_eq!(got.is_some(), written.is_some(), "{name} key {index}");
        if let Some((round, _)) = written {
            synthetic::fill(round * 1_000_000 + index as u64, 0, &mut expected);
            assert!(value == expected, "{name} key {index} has another value");
        }
    }
}

/// Lives drawn by seed: media, lengths, memory, redundancy, and how they are deleted.
#[test]
fn full_store_recovers_whatever_is_in_it() {
    const MEDIA: [&str; 4] = ["smr-tiny", "disk-tiny", "zns-tiny", "nor-1m"];
    /// Of six hundred the first that find a bottom that stays as roomy as a snapshot left it, and
    /// merges that take more runs than there are zones for.
    const FOUND: [u64; 2] = [41, 500];
    let from = env("SHINGLE_LIVES_FROM", 0);
    let drawn = from..from + env("SHINGLE_LIVES", 12);
    for seed in drawn.chain(FOUND) {
        let mut random = Random(seed);
        // The first number hardly differs from one seed to the next.
        random.below(1);
        let media = MEDIA[random.below(4) as usize];
        let mut life = Life::new(media, 0);
        let doublings = if media == "nor-1m" { 8 } else { 14 };
        let most = (60 << random.below(doublings)) as usize + random.below(500) as usize;
        life.lens = [if random.below(2) == 0 { most } else { 0 }, most];
        life.memory_len <<= random.below(2);
        match random.below(4) {
            0 => life.redundancy = Redundancy::NONE,
            1 if life.redundancy.mirror_runs => {
                life.redundancy = Redundancy { mirror_runs: true, mirror_log: true, parity: 2 };
            }
            _ => {}
        }
        (life.varied, life.seed) = (true, seed);
        life.live(env("SHINGLE_ROUNDS", 6));
    }
}

#[test]
fn full_store_recovers_by_deleting_on_smr() {
    Life::new("smr-tiny", 20_000).live(env("SHINGLE_ROUNDS", 20));
}

#[test]
fn full_store_recovers_by_deleting_on_disk() {
    Life::new("disk-tiny", 5_000).live(env("SHINGLE_ROUNDS", 6));
}

#[test]
fn full_store_recovers_by_deleting_on_zns() {
    Life::new("zns-tiny", 100).live(env("SHINGLE_ROUNDS", 3));
}

#[test]
fn full_store_recovers_by_deleting_on_nor() {
    Life::new("nor-1m", 300).live(env("SHINGLE_ROUNDS", 6));
}

/// Lengths at which zones or nodes are badly filled: what is promised can be put all the same.
#[test]
fn values_of_any_length_fill_what_is_promised() {
    for (media, value_len) in [
        ("zns-tiny", 4000),
        ("zns-tiny", 4096),
        ("zns-tiny", 60_000),
        ("zns-tiny", 100_000),
        ("smr-tiny", 100_000),
        ("disk-tiny", 3000),
        ("nor-1m", 100),
        ("nor-1m", 191),
        ("nor-1m", 5000),
    ] {
        Life::new(media, value_len).live(env("SHINGLE_ROUNDS", 2));
    }
}

/// Old versions that a snapshot kept in the bottom, with nothing above it, give their space back
/// when a write needs it.
#[test]
fn space_that_a_snapshot_held_comes_back_when_it_is_gone() {
    const LEN: usize = 1 << 20;
    let drive = drive_of("smr-tiny");
    let mut memory = vec![0; 8 << 20];
    set_up(&drive, &mut memory, Redundancy::for_geometry(&drive.geometry()));
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let capacity = store.stats().capacity_bytes;
    let put = |index, len| {
        let (key, value) = (key(index), synthetic::value(index, len));
        drive.block_on(store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED))
    };
    let fill = |share: u64| {
        for index in 0..capacity * share / 100 / LEN as u64 {
            put(index, LEN).expect("there is room");
        }
    };
    fill(45);
    let snapshot = store.snapshot().expect("one is free");
    fill(45);
    drive.block_on(store.compact()).expect("compact");
    assert_eq!((store.stats().runs, store.stats().snapshots), (1, 1));
    let left = capacity - store.stats().used_bytes;
    let more = left as usize + LEN;
    assert_eq!(put(1000, more), Err(WriteError::Full), "the snapshot is held");
    drop(snapshot);
    put(1000, more).expect("what only the snapshot saw makes room");
    drive.block_on(store.close()).expect("close");
}

/// Far more zones are dead at once than one edit of the manifest gives back.
#[test]
fn all_zones_come_back_when_everything_is_deleted() {
    const COUNT: u64 = 300;
    let drive = drive_of("smr:zones=400,zone-mib=1,conventional=0");
    let mut memory = vec![0; 16 << 20];
    set_up(&drive, &mut memory, Redundancy::for_geometry(&drive.geometry()));
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let free = store.stats().free_zones;
    for round in 0..3 {
        for index in 0..COUNT {
            let (key, value) = (key(index), synthetic::value(round * COUNT + index, 1_000_000));
            let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED);
            drive.block_on(put).expect("there is room");
        }
        let all = store.delete_range(&[0], None, Durability::Buffered);
        drive.block_on(all).expect("delete_range");
        drive.block_on(store.compact()).expect("compact");
        drive.block_on(store.maintain(1000)).expect("maintain");
        drive.block_on(store.sync()).expect("sync");
        let left = free - store.stats().free_zones;
        assert!(
            left < 16,
            "round {round}: {left} zones are still taken, {}",
            use_of(&store, &drive)
        );
    }
}
