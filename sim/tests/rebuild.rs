//! What an element that dies costs those who read, where values have parity: while nobody rebuilds,
//! while it is rebuilt, and afterwards. Virtual time.

use std::cell::{Cell, RefCell};

use crate::shelf::{key, open};
use shingle_engine::{Meta, ReadOptions, Redundancy, Store, WriteOptions};
use shingle_sim::harness::choices::Choices;
use shingle_sim::{Drive, Executor, synthetic};

const SECOND: u64 = 1_000_000_000;
const KEYS: u32 = 30_000;
const LEN: usize = 16 << 10;

/// Median and 99th percentile, in microseconds.
fn percentiles(mut latencies: Vec<u64>) -> (u64, u64) {
    latencies.sort_unstable();
    (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100])
}

/// Gets at their own pace for so many seconds, or until what `maintains` does in the background is
/// done; what they took, and the seconds.
fn load(
    drive: &Drive,
    store: &Store<'_, &Drive>,
    seconds: u64,
    maintains: bool,
) -> ((u64, u64), u64) {
    let begun = drive.now_ns();
    let end = begun + seconds * SECOND;
    let (gets, done) = (RefCell::new(Vec::new()), Cell::new(false));
    let executor = Executor::new(drive);
    for task in 0..2u64 {
        let (gets, done) = (&gets, &done);
        executor.spawn(async move {
            let mut choices = Choices::new(task);
            let mut out = vec![0; 64 << 10];
            while drive.now_ns() < end && !done.get() {
                drive.sleep_until(drive.now_ns() + choices.between(10, 190) * 1_000_000).await;
                let begun = drive.now_ns();
                let name = key(choices.below(u64::from(KEYS)) as u32);
                let got = store.get(&name, &mut out, ReadOptions::default()).await;
                assert!(got.expect("get").is_some());
                gets.borrow_mut().push((drive.now_ns() - begun) / 1000);
            }
        });
    }
    if maintains {
        let done = &done;
        executor.spawn(async move {
            while drive.now_ns() < end && store.maintain(1).await.expect("maintain") > 0 {}
            done.set(true);
        });
    }
    executor.run();
    (percentiles(gets.take()), (drive.now_ns() - begun) / SECOND)
}

#[test]
fn reads_while_a_dead_element_is_rebuilt_stay_within_bounds() {
    let redundancy = Redundancy { mirror_runs: true, parity: 4, ..Redundancy::NONE };
    let drive =
        crate::shelf::formatted("smr:zones=600,zone-mib=4,conventional=0,elements=8", redundancy);
    let mut memory = vec![0; 16 << 20];
    let store = open(&drive, &mut memory);
    for index in 0..KEYS {
        let (name, value) = (key(index), synthetic::value(index.into(), LEN));
        let put = store.put(&name, Meta::NONE, &value, WriteOptions::BUFFERED);
        drive.block_on(put).expect("put");
    }
    drive.block_on(store.checkpoint()).expect("checkpoint");
    drive.block_on(store.maintain(100_000)).expect("maintain");
    let (before, _) = load(&drive, &store, 300, false);
    drive.set_faults(&crate::shelf::plan("element-lost sticky element=3 at=request:0"), 1);
    let (dead, _) = load(&drive, &store, 300, false);
    let moved = store.stats().moved_bytes;
    let (rebuilding, took) = load(&drive, &store, 3600, true);
    let moved = store.stats().moved_bytes - moved;
    assert_eq!(store.stats().bare_zones, 0, "{:?}", store.stats());
    let (after, _) = load(&drive, &store, 300, false);
    let show = |what: &str, (p50, p99): (u64, u64)| {
        let ratio = p99 as f64 / before.1 as f64;
        println!("gets {what}: p50 {p50} µs, p99 {p99} µs, {ratio:.2} of before");
    };
    show("before", before);
    show("with an element dead", dead);
    show("while it is rebuilt", rebuilding);
    show("afterwards", after);
    println!("{} MB rebuilt in {took} s", moved / 1_000_000);
    assert!(moved > 20 << 20, "{moved} bytes were on the element");
    assert!(after.1 * 10 < before.1 * 13, "{after:?}, and before {before:?}");
    assert!(rebuilding.1 < before.1 * 8, "{rebuilding:?}, and before {before:?}");
}
