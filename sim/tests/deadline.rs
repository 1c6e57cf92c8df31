//! A read ends with its deadline: with the value, from the other copy where that is quicker, or
//! with an error that says no more than that; and never later than one device request after it.

use std::ops::Bound;

use crate::shelf::{
    MEDIA, MEMORY_LEN, Model, formatted, key, lost_by_get, lost_by_list, new_drive,
};
use crate::shelf::{open, plan, put};
use shingle_engine::{Direction, ReadError, ReadOptions, Redundancy, Store};
use shingle_hal::{
    Device, Error as _, ErrorKind, Event, Geometry, Lba, Request, ZoneDescriptor, ZoneId,
};
use shingle_sim::{Drive, DriveError, synthetic};

/// Every element is slow: a request takes 20 to 200 ms.
const SLOW: &str = "element-slow element=0; element-slow element=1; \
    element-slow element=2; element-slow element=3";
/// The longest request to a slow element.
const REQUEST_US: u64 = 200_000;

/// A drive that does not look at deadlines, and perhaps has no clock.
struct Deaf<'d> {
    drive: &'d Drive,
    has_clock: bool,
}

impl Device for Deaf<'_> {
    type Error = DriveError;
    fn geometry(&self) -> Geometry {
        self.drive.geometry()
    }
    fn now_us(&self) -> Option<u64> {
        self.drive.now_us().filter(|_| self.has_clock)
    }
    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), DriveError> {
        self.drive.read(start, buf, Request::of(request.class)).await
    }
    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), DriveError> {
        self.drive.write(start, data, request).await
    }
    async fn sync(&self) -> Result<(), DriveError> {
        self.drive.sync().await
    }
    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, DriveError> {
        self.drive.report(first, out).await
    }
    async fn open(&self, zone: ZoneId) -> Result<(), DriveError> {
        self.drive.open(zone).await
    }
    async fn close(&self, zone: ZoneId) -> Result<(), DriveError> {
        self.drive.close(zone).await
    }
    async fn finish(&self, zone: ZoneId) -> Result<(), DriveError> {
        self.drive.finish(zone).await
    }
    async fn reset(&self, zone: ZoneId) -> Result<(), DriveError> {
        self.drive.reset(zone).await
    }
    fn poll_event(&self) -> Option<Event> {
        self.drive.poll_event()
    }
}

/// Fills a store with `count` keys, all in runs and zones that are written out.
fn fill(drive: &Drive, count: u32) -> Model {
    let mut memory = vec![0; MEMORY_LEN];
    let mut model = Model::new();
    let store = open(drive, &mut memory);
    for index in 0..count {
        put(drive, &store, &mut model, index, 0);
    }
    drive.block_on(store.compact()).expect("compact");
    drive.block_on(store.maintain(3000)).expect("maintain");
    drive.block_on(store.checkpoint()).expect("checkpoint");
    model
}

/// How a get came out.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Value,
    Late,
    Damaged,
}

/// Gets a key within `left_us` and gives how that came out and how long it took.
fn get<D: Device<Error = DriveError>>(
    drive: &Drive,
    store: &Store<'_, D>,
    model: &Model,
    index: u32,
    left_us: Option<u64>,
) -> (Got, u64) {
    let mut out = vec![0; 64 << 10];
    let start_us = drive.now_us().expect("a clock");
    let deadline_us = left_us.map(|left_us| start_us + left_us);
    let options = ReadOptions { deadline_us, ..ReadOptions::default() };
    let got = drive.block_on(store.get(&key(index), &mut out, options));
    let took_us = drive.now_us().expect("a clock") - start_us;
    let (seed, len) = model[&index];
    let got = match got {
        Ok(found) => {
            assert_eq!(found.expect("present").value_len, len as u64, "key {index}");
            assert!(out[..len] == synthetic::value(seed, len), "key {index}: wrong data");
            Got::Value
        }
        Err(ReadError::DeadlineExceeded) => Got::Late,
        Err(ReadError::Damaged(_)) => Got::Damaged,
        Err(error) => panic!("key {index}: {error}"),
    };
    (got, took_us)
}

/// Gets of unreadable values on slow elements: how many were too late, and the worst time that one
/// took beyond its deadline.
fn late_gets(has_clock: bool) -> (u32, u64) {
    let drive = new_drive(MEDIA, false);
    let model = fill(&drive, 300);
    let mut memory = vec![0; MEMORY_LEN];
    let deaf = Deaf { drive: &drive, has_clock };
    let store = drive.block_on(Store::open(&deaf, &mut memory)).expect("open");
    for &index in model.keys() {
        assert_eq!(get(&drive, &store, &model, index, None).0, Got::Value, "nodes are in memory");
    }
    drive.set_faults(&plan(&format!("{SLOW}; read-error sticky p=1")), 1);
    let (mut late, mut beyond_us) = (0, 0);
    for &index in model.keys().filter(|index| !index.is_multiple_of(3)) {
        let left_us = 25_000 * (u64::from(index) % 8);
        let (got, took_us) = get(&drive, &store, &model, index, Some(left_us));
        assert!(got != Got::Value || took_us == 0, "key {index} cannot be read");
        late += u32::from(got == Got::Late);
        beyond_us = beyond_us.max(took_us.saturating_sub(left_us));
    }
    (late, beyond_us)
}

#[test]
fn get_that_meets_its_deadline_in_halving_stops() {
    let (late, beyond_us) = late_gets(true);
    assert!(late > 100, "{late} were too late");
    assert!(beyond_us <= REQUEST_US, "{beyond_us} us beyond the deadline");
}

#[test]
fn device_without_a_clock_has_no_deadlines() {
    let (late, beyond_us) = late_gets(false);
    assert_eq!(late, 0);
    assert!(beyond_us > 2 * REQUEST_US, "there is something to stop: {beyond_us} us");
}

#[test]
fn reads_that_end_for_the_deadline_mark_nothing() {
    let drive = new_drive(MEDIA, true);
    let model = fill(&drive, 300);
    let mut memory = vec![0; MEMORY_LEN];
    let store = open(&drive, &mut memory);
    drive.set_faults(&plan(&format!("{SLOW}; read-error sticky p=1")), 1);
    let before = store.stats();
    for index in 0..300 {
        for left_us in [0, 1, 60_000] {
            let (got, took_us) = get(&drive, &store, &model, index, Some(left_us));
            assert!(got == Got::Late || got == Got::Value, "key {index}: {got:?}");
            assert!(took_us <= left_us, "the drive gives up at the deadline: {took_us} us");
        }
    }
    drive.lift_faults();
    assert!(lost_by_list(&drive, &store).is_empty());
    drive.block_on(store.maintain(3000)).expect("maintain");
    let after = store.stats();
    assert_eq!((before.rebuilds, before.reclaims), (after.rebuilds, after.reclaims));
    assert_eq!(before.capacity_bytes, after.capacity_bytes);
    assert!(lost_by_get(&drive, &store, &model).is_empty());
    store.check_invariants();
}

#[test]
fn node_that_takes_effort_comes_from_the_twin_before_the_deadline() {
    for mirror in [true, false] {
        let drive = new_drive(MEDIA, mirror);
        let model = fill(&drive, 300);
        let (mut late, mut slow) = (0, 0);
        for index in (0..300).step_by(30) {
            for element in 0..4 {
                drive.lift_faults();
                let mut memory = vec![0; MEMORY_LEN];
                let store = open(&drive, &mut memory);
                let effort = format!("slow-read sticky element={element} p=1");
                drive.set_faults(&plan(&effort), 1);
                let left_us = 250_000;
                let (got, took_us) = get(&drive, &store, &model, index, Some(left_us));
                assert!(took_us <= left_us, "{took_us} us");
                late += u32::from(got == Got::Late);
                slow += u32::from(got == Got::Value && took_us > 0);
                if got == Got::Late {
                    assert_eq!(took_us, left_us, "it is tried until then");
                    let (got, took_us) = get(&drive, &store, &model, index, None);
                    assert_eq!(got, Got::Value, "key {index} with all the time");
                    assert!(took_us >= 300_000, "{took_us} us");
                }
            }
        }
        if mirror {
            assert!(late == 0 && slow > 0, "{late} late, {slow} from the twin");
        } else {
            assert!(late > 0 && slow == 0, "{late} late, {slow} in part of the time");
        }
    }
}

#[test]
fn value_that_takes_effort_comes_from_its_group_before_the_deadline() {
    for parity in [1, 2] {
        for fault in ["slow-read", "read-error"] {
            let redundancy = Redundancy { mirror_runs: true, parity, ..Redundancy::NONE };
            let drive = formatted(MEDIA, redundancy);
            let model = fill(&drive, 600);
            let mut memory = vec![0; MEMORY_LEN];
            let store = open(&drive, &mut memory);
            assert!(lost_by_get(&drive, &store, &model).is_empty(), "nodes are in memory now");
            let (mut slow, mut reads, mut hits) = (0, 0, 0);
            for element in 0..4 {
                drive.set_faults(&plan(&format!("{fault} sticky element={element} p=1")), 1);
                for &index in model.keys().filter(|index| !index.is_multiple_of(3)) {
                    let before = store.media_stats().reads;
                    let (got, took_us) = get(&drive, &store, &model, index, Some(200_000));
                    let what = format!("parity {parity}, {fault} of {element}, key {index}");
                    assert_eq!(got, Got::Value, "{what}");
                    assert!(took_us <= 200_000, "{what}: {took_us} us");
                    slow += u32::from(took_us > 0);
                    reads = reads.max(store.media_stats().reads - before);
                }
                hits += drive.fault_counts().total();
            }
            assert!(hits > 300, "{hits} reads were hit");
            assert!(fault != "slow-read" || slow > 300, "{slow} came from the group");
            let most = if parity == 1 { 8 } else { 24 };
            assert!(reads <= most, "parity {parity}, {fault}, no halving: {reads} reads");
            store.check_invariants();
        }
    }
}

#[test]
fn scan_that_its_deadline_ended_goes_on_where_it_stood() {
    for direction in [Direction::Forward, Direction::Reverse] {
        let drive = new_drive(MEDIA, false);
        let model = fill(&drive, 900);
        let mut memory = vec![0; MEMORY_LEN];
        let store = open(&drive, &mut memory);
        drive.set_faults(&plan(SLOW), 1);
        let mut scratch = vec![0; store.scan_memory_len()];
        let (mut keys, mut late) = (Vec::new(), 0);
        drive.block_on(async {
            let all = (Bound::Unbounded, Bound::Unbounded);
            let options = ReadOptions { deadline_us: Some(0), ..ReadOptions::default() };
            let scan = store.scan(all.0, all.1, direction, &mut scratch, options);
            let mut scan = scan.await.expect("scan");
            loop {
                match scan.next().await {
                    Ok(Some(item)) => keys.push(item.key.to_vec()),
                    Ok(None) => break,
                    Err(ReadError::DeadlineExceeded) => {
                        late += 1;
                        let left_us = 30_000 * (late % 9);
                        scan.set_deadline_us(Some(store.now_us().expect("a clock") + left_us));
                    }
                    Err(error) => panic!("{error}"),
                }
                assert!(late < 10_000, "the scan gets nowhere");
            }
        });
        if direction == Direction::Reverse {
            keys.reverse();
        }
        assert!(late > 2, "{late} times too late");
        assert!(
            keys.iter().eq(model
                .keys()
                .map(|index| key(*index).to_vec())
                .collect::<Vec<_>>()
                .iter())
        );
    }
}

#[test]
fn drive_cuts_off_a_read_with_effort_at_its_deadline() {
    let drive = new_drive(MEDIA, false);
    fill(&drive, 60);
    drive.set_faults(&plan("slow-read sticky p=1"), 1);
    let mut buf = vec![0; drive.geometry().block_len_bytes as usize];
    for left_us in [0, 1, 299_999, 3_000_001] {
        let start_us = drive.now_us().expect("a clock");
        let deadline_us = Some(start_us + left_us);
        let request = Request { deadline_us, ..Request::default() };
        let answer = drive.block_on(drive.read(Lba(0), &mut buf, request));
        let kind = answer.expect_err("it takes effort").kind();
        let took_us = drive.now_us().expect("a clock") - start_us;
        if left_us > 3_000_000 {
            assert!(matches!(kind, ErrorKind::RecoveredRead { .. }), "{kind:?}");
            assert!((300_000..=3_000_000).contains(&took_us), "{took_us} us");
        } else {
            assert_eq!(kind, ErrorKind::Timeout);
            assert_eq!(took_us, left_us);
        }
    }
}
