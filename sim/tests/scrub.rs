//! The scrub: it finds what is bad, what can be mended is, it goes on after a cut, and those who
//! read and write meanwhile hardly notice.

use std::cell::{Cell, RefCell};

use crate::shelf::{MEDIA, MEMORY_LEN, Model, key, lost_by_get, new_drive, open, put};
use shingle_engine::zone::Role;
use shingle_engine::{Meta, ReadOptions, Store, WriteOptions};
use shingle_hal::{Device, ZoneId};
use shingle_sim::harness::choices::Choices;
use shingle_sim::harness::scrubbed::{ScrubConfig, run};
use shingle_sim::{Drive, Executor, Outcome, synthetic};

#[test]
fn pass_finds_every_latent_error_and_what_has_a_copy_is_mended() {
    let config = ScrubConfig { keys: 12_000, errors: 1000, mirror: true, parity: 0 };
    let scrubbed = run(1, config).unwrap_or_else(|error| panic!("{error}"));
    println!("{scrubbed:#?}");
    assert_eq!(scrubbed.errors.values().sum::<usize>(), 1000);
    assert!(scrubbed.mended > 300, "{scrubbed:?}");
    for seed in 2..12 {
        for mirror in [false, true] {
            let config = ScrubConfig { keys: 600, errors: 60, mirror, parity: 0 };
            run(seed, config).unwrap_or_else(|error| panic!("seed {seed}, {mirror}: {error}"));
        }
    }
}

#[test]
fn pass_on_a_sound_drive_finds_nothing_on_any_medium() {
    for media in ["smr-tiny", "disk-tiny", "zns-tiny", "nor-1m", MEDIA] {
        let drive = new_drive(&media.replace(",timing=instant", ""), false);
        let mut memory = vec![0; MEMORY_LEN];
        for life in 0..12 {
            let store = open(&drive, &mut memory);
            for index in 0..40 {
                let value = synthetic::value(index as u64, 300);
                let key = [index as u8, 1];
                let put = store.put(&key, Meta::NONE, &value, WriteOptions::DURABLE);
                drive.block_on(put).expect("put");
            }
            // The first one may be the end of one that was cut.
            while store.stats().scrub.passes < 2 {
                drive.block_on(store.scrub(1 << 20)).expect("scrub");
            }
            let stats = store.stats().scrub;
            assert_eq!(stats.found_total(), 0, "{media}, life {life}: {stats:?}");
            assert!(stats.blocks > 10, "{stats:?}");
            drop(store);
            drive.cut_after(0);
            drive.power_on(Outcome::Seeded(life));
        }
    }
}

#[test]
fn pass_that_was_cut_goes_on_where_it_was() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    for index in 0..1500 {
        put(&drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    let whole = store.scrub_len_bytes();
    drop(store);
    let (mut bytes, mut at, mut lives) = (0, 0, 0u64);
    loop {
        let store = open(&drive, &mut memory);
        let progress = drive.block_on(store.scrub(1 << 20)).expect("scrub");
        bytes += progress.bytes;
        if progress.ended {
            break;
        }
        assert_eq!(progress.pass, 1);
        assert!(progress.zone + 4 >= at, "it was at {at}, now at {}", progress.zone);
        at = progress.zone;
        drop(store);
        drive.cut_after(0);
        drive.power_on(Outcome::Seeded(lives));
        lives += 1;
        assert!(lives < 400, "it does not go on");
    }
    assert!(lives > 10, "{lives} lives");
    // Of each life, no more than a 64th of the zones is read again, and zones that are half read.
    assert!(bytes < whole * 3, "{bytes} bytes read of {whole}");
    let store = open(&drive, &mut memory);
    assert!(lost_by_get(&drive, &store, &model).is_empty());
    let progress = drive.block_on(store.scrub(1)).expect("scrub");
    assert_eq!(progress.pass, 2, "the pass that ended is not begun again");
}

/// A manifest that is written anew says how far the pass got: the edits that did are gone.
#[test]
fn pass_goes_on_behind_a_manifest_that_was_written_anew() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    for index in 0..600 {
        put(&drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    let mut at = 0;
    while at < 40 {
        at = drive.block_on(store.scrub(64 << 10)).expect("scrub").zone;
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    let manifest = || {
        let zones = (0..drive.geometry().zone_count).filter_map(|id| store.zone_use(ZoneId(id)));
        zones.filter(|zone| zone.role == Role::Manifest).map(|zone| zone.generation).max()
    };
    let (before, mut round) = (manifest(), 1);
    while manifest() == before {
        for index in 0..600 {
            put(&drive, &store, &mut model, index, round);
        }
        round += 1;
        assert!(round < 200, "no other manifest");
    }
    drop(store);
    drive.cut_after(0);
    drive.power_on(Outcome::Seeded(1));
    let store = open(&drive, &mut memory);
    let progress = drive.block_on(store.scrub(1)).expect("scrub");
    // What was behind may hold nothing any more: then the pass has ended.
    assert!(progress.zone + 4 >= at || progress.pass > 1, "it was at {at}, now: {progress:?}");
}

#[test]
fn scrub_that_writes_pace_reads_what_they_earn() {
    let drive = new_drive(MEDIA, true);
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(&drive, &mut memory);
    for index in 0..300 {
        put(&drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.maintain(1000)).expect("maintain");
    assert_eq!(store.stats().scrub.blocks, 0, "nobody asked for it");
    store.pace_scrub(8);
    let before = store.stats().user_bytes;
    for index in 0..300 {
        put(&drive, &store, &mut model, index, 1);
    }
    drive.block_on(store.maintain(1000)).expect("maintain");
    let earned = (store.stats().user_bytes - before) / 2;
    let read = store.stats().scrub.blocks * 4096;
    assert!(read >= earned / 2 && read <= earned + (1 << 20), "{read} read, {earned} earned");
}

/// The 99th percentile.
fn p99(mut latencies: Vec<u64>) -> u64 {
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

/// Gets and puts at their own pace for a while of virtual time; p99 of gets, of puts, and of both
/// together, in microseconds, and the bytes scrubbed.
fn load(drive: &Drive, store: &Store<'_, &Drive>, keys: u32, scrub_rate: u64) -> ([u64; 3], u64) {
    const SECOND: u64 = 1_000_000_000;
    const BURST: u64 = 8 << 20;
    let end = drive.now_ns() + 600 * SECOND;
    let (gets, puts) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let (scrubbed, done) = (Cell::new(0), Cell::new(false));
    let executor = Executor::new(drive);
    for task in 0..3u64 {
        let (gets, puts) = (&gets, &puts);
        executor.spawn(async move {
            let mut choices = Choices::new(task);
            let mut out = vec![0; 64 << 10];
            while drive.now_ns() < end {
                drive.sleep_until(drive.now_ns() + choices.between(10, 190) * 1_000_000).await;
                let begun = drive.now_ns();
                let index = choices.below(u64::from(keys)) as u32;
                if task == 0 {
                    let (name, value) = (key(index), synthetic::value(begun, 16 << 10));
                    let put = store.put(&name, Meta::NONE, &value, WriteOptions::DURABLE);
                    put.await.expect("put");
                    puts.borrow_mut().push((drive.now_ns() - begun) / 1000);
                } else {
                    let got = store.get(&key(index), &mut out, ReadOptions::default()).await;
                    assert!(got.expect("get").is_some());
                    gets.borrow_mut().push((drive.now_ns() - begun) / 1000);
                }
            }
        });
    }
    if scrub_rate > 0 {
        let (scrubbed, done) = (&scrubbed, &done);
        executor.spawn(async move {
            let pause = BURST * SECOND / scrub_rate;
            let mut next = drive.now_ns();
            while drive.now_ns() < end {
                let progress = store.scrub(BURST).await.expect("scrub");
                scrubbed.set(scrubbed.get() + progress.bytes);
                next += pause;
                drive.sleep_until(next.max(drive.now_ns() + 1)).await;
            }
            done.set(true);
        });
    }
    executor.run();
    let (gets, puts) = (gets.take(), puts.take());
    let both = gets.iter().chain(&puts).copied().collect();
    ([p99(gets), p99(puts), p99(both)], scrubbed.get())
}

#[test]
fn scrub_costs_foreground_requests_less_than_a_third_at_p99() {
    const KEYS: u32 = 40_000;
    // 14 TB in two weeks.
    const RATE: u64 = 14_000_000_000_000 / (14 * 86_400);
    let drive = new_drive("smr:zones=600,zone-mib=4", false);
    let mut memory = vec![0; 16 << 20];
    let store = open(&drive, &mut memory);
    for index in 0..KEYS {
        let (name, value) = (key(index), synthetic::value(index.into(), 16 << 10));
        let put = store.put(&name, Meta::NONE, &value, WriteOptions::BUFFERED);
        drive.block_on(put).expect("put");
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    let (without, _) = load(&drive, &store, KEYS, 0);
    let (under, bytes) = load(&drive, &store, KEYS, RATE);
    for (name, (without, under)) in ["gets", "puts", "both"].iter().zip(without.iter().zip(under)) {
        let ratio = under as f64 / *without as f64;
        println!("p99 of {name} {without} µs, under scrub {under}: {ratio:.3}");
    }
    println!("{} MB scrubbed in 600 s", bytes / 1_000_000);
    assert!(bytes > 600 * RATE * 9 / 10, "{bytes} bytes");
    let ([gets, puts, both], [gets_under, puts_under, both_under]) = (without, under);
    assert!(both_under * 10 <= both * 13, "{both} µs, under scrub {both_under}");
    assert!(gets_under * 10 <= gets * 13, "gets: {gets} µs, under scrub {gets_under}");
    // A durable put is a write and a sync, which wait for the arm one after the other.
    assert!(puts_under * 10 <= puts * 14, "puts: {puts} µs, under scrub {puts_under}");
}
