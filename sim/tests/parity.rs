//! Parity: an element that dies takes nothing with it, whenever it dies, and what it leaves is
//! protected again.
//!
//! Each test writes a store with parity, lets an element die, and compares every key with what was
//! acknowledged. Nothing may be lost, neither by reading nor by the list of lost keys.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;

use embedded_io_async::{ErrorType, Read};
use shingle_engine::zone::Role;
use shingle_engine::{
    Direction, FormatError, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Stats, Store,
    WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Outcome, synthetic};

const DURABLE: WriteOptions<'static> = WriteOptions::DURABLE;
const MEMORY_LEN: usize = 2 << 20;

/// A key and what it holds: the seed of its value, and its length.
type Model = BTreeMap<u32, (u64, usize)>;

fn key(index: u32) -> [u8; 8] {
    (u64::from(index) << 20).to_be_bytes()
}

fn media(zones: u32, elements: u16) -> MediaSpec {
    let text = format!("smr:zones={zones},zone-kib=256,conventional=0,elements={elements}");
    MediaSpec::parse(&format!("{text},timing=instant")).expect("a medium")
}

fn options(drive: &Drive, parity: u8) -> FormatOptions {
    let limits = Limits::for_geometry(&drive.geometry());
    let redundancy = Redundancy { mirror_runs: true, parity, ..Redundancy::NONE };
    FormatOptions { store_id: [6; 16], limits, redundancy }
}

fn new_drive(zones: u32, elements: u16, parity: u8) -> Drive {
    let drive = Drive::new(media(zones, elements), 1);
    let mut memory = vec![0; MEMORY_LEN];
    drive.block_on(format(&&drive, &mut memory, &options(&drive, parity))).expect("format");
    drive
}

fn kill(drive: &Drive, element: u16, after: u64) {
    let plan = format!("element-lost sticky element={element} at=request:{after}");
    drive.set_faults(&plan.parse().expect("a plan"), 1);
}

/// Puts a key with a value of its own; small ones go into runs, large ones stay in the log.
fn put(drive: &Drive, store: &Store<'_, &Drive>, model: &mut Model, index: u32, round: u64) {
    let seed = u64::from(index) << 16 | round;
    let len = if index.is_multiple_of(5) { 100 } else { 5000 + (index as usize % 7) * 3000 };
    let value = synthetic::value(seed, len);
    drive.block_on(store.put(&key(index), Meta::NONE, &value, DURABLE)).unwrap_or_else(|error| {
        let mut roles = BTreeMap::new();
        for zone in 0..store.stats().zone_count {
            let zone = store.zone_use(shingle_hal::ZoneId(zone)).expect("a zone");
            let sum: &mut (u32, u64) = roles.entry(zone.role).or_default();
            sum.0 += 1;
            sum.1 += zone.live_bytes;
        }
        panic!("put {index} of round {round}: {error}; {roles:?} {:?}", store.stats())
    });
    model.insert(index, (seed, len));
}

/// Panics unless every key gives its value, and the list of lost keys is empty.
fn all_there(drive: &Drive, store: &Store<'_, &Drive>, model: &Model, when: &str) {
    let mut out = vec![0; 64 << 10];
    for (&index, &(seed, len)) in model {
        let got = drive.block_on(store.get(&key(index), &mut out, ReadOptions::default()));
        let found = got.unwrap_or_else(|error| panic!("{when}: key {index}: {error}"));
        assert_eq!(found.expect("present").value_len as usize, len, "{when}: key {index}");
        assert!(out[..len] == synthetic::value(seed, len), "{when}: key {index}: wrong data");
    }
    let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
    let all = (Bound::Unbounded, Bound::Unbounded);
    drive.block_on(async {
        let scan =
            store.scan(all.0, all.1, Direction::Forward, &mut scratch, ReadOptions::default());
        let mut scan = scan.await.expect("scan");
        let lost = scan.next_lost().await.expect("next");
        assert!(lost.is_none(), "{when}: {:?} is on the list", lost.map(|item| item.key.to_vec()));
    });
}

/// Works in the background until nothing is due.
fn maintain(drive: &Drive, store: &Store<'_, &Drive>) -> Stats {
    let steps = drive.block_on(store.maintain(10_000)).expect("maintain");
    assert!(steps < 10_000, "it never ends: {:?}", store.stats());
    store.check_invariants();
    store.stats()
}

/// Keys that come to a share of the capacity.
fn keys_for(store: &Store<'_, &Drive>, percent: u64) -> u32 {
    let mut room = store.stats().capacity_bytes * percent / 100;
    let mut keys = 0;
    loop {
        let len = if keys % 5 == 0 { 100 } else { 5000 + (u64::from(keys) % 7) * 3000 };
        let cost = store.cost_bytes(8, 0, len);
        if cost > room {
            return keys;
        }
        room -= cost;
        keys += 1;
    }
}

#[test]
fn element_that_dies_under_load_takes_nothing_where_values_have_parity() {
    // What the elements that are left must hold is less than they can, also where half of what was
    // overwritten is not known to be dead.
    for (parity, elements, percent) in [(1, 4, 50), (2, 6, 60), (3, 6, 55), (3, 4, 45)] {
        for dies_after in [0, 40, 700] {
            let drive = new_drive(300, elements, parity);
            let mut memory = vec![0; MEMORY_LEN];
            let mut model = Model::new();
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            let keys = keys_for(&store, percent);
            for round in 0..2 {
                for index in 0..keys {
                    put(&drive, &store, &mut model, index, round);
                }
            }
            let when = format!("{parity}+1 on {elements}, {dies_after}");
            assert!(parity == 1 || store.stats().regroups > 0, "{when}: groups are put together");
            all_there(&drive, &store, &model, &when);
            kill(&drive, elements / 2, dies_after);
            for index in 0..keys / 3 {
                put(&drive, &store, &mut model, index * 3, 2);
            }
            assert!(drive.fault_counts().total() > 0, "the element died");
            all_there(&drive, &store, &model, &format!("{when}, dead"));
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::LoseAll);
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            all_there(&drive, &store, &model, &format!("{when}, after a cut"));
            maintain(&drive, &store);
            all_there(&drive, &store, &model, &format!("{when}, maintained"));
            store.check_invariants();
        }
    }
}

#[test]
fn second_element_may_die_after_the_first_was_rebuilt() {
    for (parity, elements) in [(1, 4), (2, 5), (3, 5)] {
        let drive = new_drive(320, elements, parity);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let keys = keys_for(&store, 40);
        for index in 0..keys {
            put(&drive, &store, &mut model, index, 0);
        }
        kill(&drive, 1, 0);
        for index in 0..keys / 4 {
            put(&drive, &store, &mut model, index * 4, 1);
        }
        let stats = maintain(&drive, &store);
        assert_eq!(stats.bare_zones, 0, "{parity}+1: {stats:?}");
        all_there(&drive, &store, &model, &format!("{parity}+1, rebuilt"));
        let plan = "element-lost sticky element=1 at=request:0; \
                    element-lost sticky element=2 at=request:0";
        drive.set_faults(&plan.parse().expect("a plan"), 1);
        for index in 0..keys / 4 {
            put(&drive, &store, &mut model, index * 4, 2);
        }
        all_there(&drive, &store, &model, &format!("{parity}+1, another died"));
        let stats = maintain(&drive, &store);
        assert_eq!(stats.bare_zones, 0, "{parity}+1, another died: {stats:?}");
        all_there(&drive, &store, &model, &format!("{parity}+1, rebuilt again"));
    }
}

#[test]
fn cut_at_any_request_of_regrouping_loses_nothing_with_the_element() {
    for seed in 0..40 {
        let drive = new_drive(240, 4, 2);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        for index in 0..250 {
            put(&drive, &store, &mut model, index, 0);
        }
        drive.cut_after(seed * 7);
        let _ = drive.block_on(store.maintain(1000));
        drop(store);
        if !drive.is_cut() {
            drive.cut_after(0);
        }
        drive.power_on(Outcome::Seeded(seed));
        kill(&drive, (seed % 4) as u16, 0);
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        all_there(&drive, &store, &model, &format!("seed {seed}"));
        maintain(&drive, &store);
        all_there(&drive, &store, &model, &format!("seed {seed}, maintained"));
    }
}

/// A cut may leave a zone whole and tear its copy, which must not count as one then: in the last
/// block of what is written in order, or in any where there is no write pointer.
#[test]
fn copy_that_a_cut_tore_protects_nothing_after_recovery() {
    let smr = "smr:zones=120,zone-kib=64,conventional=0,elements=4";
    for (media, seeds) in [(smr, 200), ("disk-tiny:zones=240", 30)] {
        let media = format!("{media},timing=instant");
        for seed in 0..seeds {
            let drive = Drive::new(MediaSpec::parse(&media).expect("a medium"), seed);
            let mut memory = vec![0; MEMORY_LEN];
            drive.block_on(format(&&drive, &mut memory, &options(&drive, 1))).expect("format");
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            drive.cut_after(20 + seed * 3);
            for index in 0..400 {
                let value = synthetic::value(index, 3000 + (seed as usize * 577) % 6000);
                let options = WriteOptions::BUFFERED;
                let key = key(index as u32);
                if drive.block_on(store.put(&key, Meta::NONE, &value, options)).is_err() {
                    break;
                }
            }
            drop(store);
            if !drive.is_cut() {
                drive.cut_after(0);
            }
            drive.power_on(Outcome::Seeded(seed));
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            let mut model = Model::new();
            let mut out = vec![0; 64 << 10];
            for index in 0..400 {
                let key = key(index);
                let got = store.get(&key, &mut out, ReadOptions::default());
                if let Some(found) = drive.block_on(got).expect("get") {
                    model.insert(index, (u64::from(index), found.value_len as usize));
                }
            }
            maintain(&drive, &store);
            kill(&drive, (seed % 4) as u16, 0);
            all_there(&drive, &store, &model, &format!("{media}, seed {seed}"));
        }
    }
}

/// Of a value that reclaim was moving, either the zone that it moves to or its copy may lose the
/// tail with the power: the value is then still where it was, and protected there.
#[test]
fn value_that_was_being_moved_at_a_cut_is_protected_where_it_was() {
    let mut moved = 0;
    for seed in 0..20 {
        let drive = new_drive(120, 4, 2);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let keys = keys_for(&store, 75);
        for index in 0..keys {
            put(&drive, &store, &mut model, index, 0);
        }
        // Every zone keeps values that live and has some that do not.
        for index in (0..3 * keys).map(|turn| turn * 7 % keys) {
            put(&drive, &store, &mut model, index, 1);
        }
        let before = store.stats().moved_bytes;
        drive.cut_after(40 + seed * 40);
        let _ = drive.block_on(async {
            for index in (0..keys).map(|turn| turn * 11 % keys) {
                // Of what power takes under way, either may be there.
                model.remove(&index);
                let value = synthetic::value(u64::from(index) << 16 | 2, 5000);
                store.put(&key(index), Meta::NONE, &value, DURABLE).await?;
                model.insert(index, (u64::from(index) << 16 | 2, 5000));
            }
            Ok::<_, shingle_engine::WriteError<_>>(())
        });
        moved += store.stats().moved_bytes - before;
        drop(store);
        if !drive.is_cut() {
            drive.cut_after(0);
        }
        drive.power_on(Outcome::Seeded(seed));
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        kill(&drive, (seed % 4) as u16, 0);
        all_there(&drive, &store, &model, &format!("seed {seed}"));
    }
    assert!(moved > 0, "values were being moved");
}

#[test]
fn element_that_died_while_power_was_off_takes_nothing() {
    for parity in [1, 3] {
        let drive = new_drive(240, 4, parity);
        let mut memory = vec![0; MEMORY_LEN];
        let mut model = Model::new();
        for life in 0..8 {
            let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
            all_there(&drive, &store, &model, &format!("{parity}+1, life {life}"));
            for index in 0..30 {
                put(&drive, &store, &mut model, index + 20 * life as u32, life);
            }
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::Seeded(life));
            if life == 6 {
                kill(&drive, 2, 0);
            }
        }
    }
}

#[test]
fn parity_without_elements_enough_is_refused() {
    let drive = Drive::new(media(240, 3), 1);
    let mut memory = vec![0; MEMORY_LEN];
    let refused = drive.block_on(format(&&drive, &mut memory, &options(&drive, 3)));
    assert!(matches!(refused, Err(FormatError::UnsupportedGeometry(_))), "{refused:?}");
    drive.block_on(format(&&drive, &mut memory, &options(&drive, 2))).expect("2+1 on three");
}

/// What a store of so much parity writes and takes up for each byte of values of one length.
fn amplification(parity: u8, value_len: usize) -> (f64, f64) {
    let drive = new_drive(1200, 6, parity);
    let mut memory = vec![0; 8 << 20];
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let (total, before) = (64 << 20, store.media_stats().written_bytes);
    let value = synthetic::value(7, value_len);
    for index in 0..total / value_len {
        let key = key(index as u32);
        let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED);
        drive.block_on(put).expect("put");
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    maintain(&drive, &store);
    let written = store.media_stats().written_bytes - before;
    let of_values = |zone: u32| {
        let zone = store.zone_use(shingle_hal::ZoneId(zone)).expect("a zone");
        matches!(zone.role, Role::Log | Role::Cold | Role::Parity) && {
            zone.live_bytes > 0 || zone.role == Role::Parity && !zone.head
        }
    };
    let zones = (0..1200).filter(|zone| of_values(*zone)).count() * (256 << 10);
    (written as f64 / total as f64, zones as f64 / total as f64)
}

#[test]
fn parity_costs_two_writes_and_a_share_and_the_share_in_space() {
    for value_len in [1 << 20, 4 << 10] {
        let (written_alone, space_alone) = amplification(0, value_len);
        println!("{value_len} bytes, none: written {written_alone:.2}, space {space_alone:.2}");
        for (parity, share) in [(1, 1.0), (2, 0.5), (3, 1.0 / 3.0), (5, 0.2)] {
            let (written, space) = amplification(parity, value_len);
            println!("{value_len} bytes, {parity}+1: written {written:.2}, space {space:.2}");
            let more = if parity > 1 { 1.0 + share } else { 1.0 };
            assert!(written < written_alone * (1.0 + more) + 0.05, "{parity}+1: {written}");
            // What waits for the other zones of its group has a copy.
            assert!(space < space_alone * (1.0 + share) + 0.15, "{parity}+1: {space}");
        }
    }
}

/// A value that takes so long in writing that all else in its first zones is overwritten meanwhile.
struct Slow<'a, 'd, 'm> {
    store: &'a Store<'m, &'d Drive>,
    value: &'a [u8],
    at: usize,
}

impl ErrorType for Slow<'_, '_, '_> {
    type Error = Infallible;
}

impl Read for Slow<'_, '_, '_> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        if self.at > 0 {
            for round in 0..100 {
                let other = synthetic::value(round, 8000);
                self.store.put(&key(1), Meta::NONE, &other, DURABLE).await.expect("put");
            }
            self.store.checkpoint().await.expect("checkpoint");
            self.store.maintain(100_000).await.expect("maintain");
        }
        let part = out.len().min(self.value.len() - self.at);
        out[..part].copy_from_slice(&self.value[self.at..][..part]);
        self.at += part;
        Ok(part)
    }
}

#[test]
fn value_that_was_long_in_writing_comes_into_a_group() {
    let drive = new_drive(240, 4, 2);
    let mut memory = vec![0; MEMORY_LEN];
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let value = synthetic::value(7, 40_000);
    let (name, mut buffer) = (key(0), [0; 8192]);
    let mut reader = Slow { store: &store, value: &value, at: 0 };
    let streamed = store.put_from(&name, Meta::NONE, 40_000, &mut reader, &mut buffer, DURABLE);
    drive.block_on(streamed).expect("put in fragments");
    store.check_invariants();
    let stats = maintain(&drive, &store);
    assert!(stats.regroups > 0, "{stats:?}");
    kill(&drive, 1, 0);
    let model = Model::from([(0, (7, 40_000)), (1, (99, 8000))]);
    all_there(&drive, &store, &model, "an element died");
}
