//! The simulated drive: conditions, limits, time, and what survives a power cut.

use shingle_hal::{
    Device, ErrorKind, Lba, Request, ZoneCondition as C, ZoneDescriptor, ZoneId, ZoneType,
};
use shingle_sim::media::{MediaKind, MediaSpec};
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, Executor, Outcome};

const BLOCK: usize = 512;
const ZONE: u64 = 16;

fn spec() -> MediaSpec {
    MediaSpec {
        name: "test".into(),
        kind: MediaKind::Smr,
        block_len_bytes: BLOCK as u32,
        zone_count: 8,
        zone_blocks: ZONE as u32,
        zone_capacity_blocks: 12,
        conventional_zone_count: 2,
        open_zones_max: Some(2),
        active_zones_max: Some(3),
        transfer_blocks_max: 8,
        element_count: 2,
        timing: TimingSpec::Instant,
    }
}

fn data(tag: u8, blocks: usize) -> Vec<u8> {
    let byte = |i: usize| tag ^ (i / BLOCK) as u8 ^ (i % 7) as u8;
    (0..blocks * BLOCK).map(byte).collect()
}

fn write(drive: &Drive, at: u64, bytes: &[u8]) -> Result<(), ErrorKind> {
    let done = drive.block_on(drive.write(Lba(at), bytes, Request::default()));
    done.map_err(|e| e.kind)
}

fn read(drive: &Drive, at: u64, blocks: usize) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = vec![0xee; blocks * BLOCK];
    let done = drive.block_on(drive.read(Lba(at), &mut bytes, Request::default()));
    done.map(|()| bytes).map_err(|e| e.kind)
}

fn zone(drive: &Drive, zone: u32) -> ZoneDescriptor {
    let mut out = [ZoneDescriptor::EMPTY];
    let count = drive.block_on(drive.report(ZoneId(zone), &mut out));
    assert_eq!(count, Ok(1));
    drive.check_invariants();
    out[0]
}

fn condition(drive: &Drive, z: u32) -> (C, u32) {
    let zone = zone(drive, z);
    (zone.condition, zone.write_pointer.0)
}

fn open(drive: &Drive, z: u32) -> Result<(), ErrorKind> {
    drive.block_on(drive.open(ZoneId(z))).map_err(|e| e.kind)
}

fn close(drive: &Drive, z: u32) -> Result<(), ErrorKind> {
    drive.block_on(drive.close(ZoneId(z))).map_err(|e| e.kind)
}

fn finish(drive: &Drive, z: u32) -> Result<(), ErrorKind> {
    drive.block_on(drive.finish(ZoneId(z))).map_err(|e| e.kind)
}

fn reset(drive: &Drive, z: u32) -> Result<(), ErrorKind> {
    drive.block_on(drive.reset(ZoneId(z))).map_err(|e| e.kind)
}

fn sync(drive: &Drive) {
    assert_eq!(drive.block_on(drive.sync()), Ok(()));
}

fn cycle(drive: &Drive, outcome: Outcome) {
    drive.cut_after(0);
    drive.power_on(outcome);
    drive.check_invariants();
}

#[test]
fn zone_walks_through_its_conditions() {
    let drive = Drive::new(spec(), 1);
    let at = 2 * ZONE;
    assert_eq!(condition(&drive, 2), (C::Empty, 0));
    assert_eq!(open(&drive, 2), Ok(()));
    assert_eq!(condition(&drive, 2), (C::ExplicitOpen, 0));
    assert_eq!(close(&drive, 2), Ok(()));
    assert_eq!(condition(&drive, 2), (C::Empty, 0));
    assert_eq!(write(&drive, at, &data(1, 3)), Ok(()));
    assert_eq!(condition(&drive, 2), (C::ImplicitOpen, 3));
    assert_eq!(open(&drive, 2), Ok(()));
    assert_eq!(write(&drive, at + 3, &data(2, 1)), Ok(()));
    assert_eq!(condition(&drive, 2), (C::ExplicitOpen, 4));
    assert_eq!(close(&drive, 2), Ok(()));
    assert_eq!(condition(&drive, 2), (C::Closed, 4));
    assert_eq!(close(&drive, 2), Ok(()));
    assert_eq!(write(&drive, at + 4, &data(3, 8)), Ok(()));
    assert_eq!(condition(&drive, 2), (C::Full, 12));
    assert_eq!(open(&drive, 2), Ok(()));
    assert_eq!(finish(&drive, 2), Ok(()));
    assert_eq!(condition(&drive, 2), (C::Full, 12));
    assert_eq!(read(&drive, at + 4, 8), Ok(data(3, 8)));
    assert_eq!(reset(&drive, 2), Ok(()));
    assert_eq!(condition(&drive, 2), (C::Empty, 0));
    assert_eq!(finish(&drive, 2), Ok(()));
    assert_eq!(condition(&drive, 2), (C::Full, 12));
    assert_eq!(read(&drive, at, 8).map(|b| b.len()), Ok(8 * BLOCK));
}

#[test]
fn requests_that_break_the_contract_are_refused_without_effect() {
    let drive = Drive::new(spec(), 1);
    let at = 2 * ZONE;
    write(&drive, at, &data(1, 3)).unwrap();
    let wp = Some(Lba(at + 3));
    let unaligned = Err(ErrorKind::UnalignedWrite { write_pointer: wp });
    assert_eq!(write(&drive, at, &data(1, 1)), unaligned);
    assert_eq!(write(&drive, at + 4, &data(1, 1)), unaligned);
    let past = Err(ErrorKind::ReadPastWritePointer { first: wp });
    assert_eq!(read(&drive, at + 2, 2), past);
    assert_eq!(write(&drive, at + 3, &[0; 100]), Err(ErrorKind::InvalidRequest));
    assert_eq!(write(&drive, at + 3, &[]), Err(ErrorKind::InvalidRequest));
    assert_eq!(write(&drive, at + 3, &data(1, 9)), Err(ErrorKind::InvalidRequest));
    write(&drive, at + 3, &data(1, 6)).unwrap();
    assert_eq!(write(&drive, at + 9, &data(1, 4)), Err(ErrorKind::CrossesZone));
    assert_eq!(write(&drive, at + 9, &data(1, 8)), Err(ErrorKind::CrossesZone));
    assert_eq!(read(&drive, at + 12, 8), Err(ErrorKind::CrossesZone));
    assert_eq!(write(&drive, 8 * ZONE, &data(1, 1)), Err(ErrorKind::OutOfDevice));
    assert_eq!(read(&drive, u64::MAX, 1), Err(ErrorKind::OutOfDevice));
    assert_eq!(reset(&drive, 8), Err(ErrorKind::OutOfDevice));
    for op in [open, close, finish, reset] {
        assert_eq!(op(&drive, 0), Err(ErrorKind::InvalidRequest));
    }
    assert_eq!(condition(&drive, 2), (C::ImplicitOpen, 9));
    write(&drive, at + 9, &data(1, 3)).unwrap();
    assert_eq!(write(&drive, at + 12, &data(1, 1)), Err(ErrorKind::ZoneFull));
}

#[test]
fn open_limit_closes_the_zone_used_longest_ago() {
    let drive = Drive::new(MediaSpec { active_zones_max: None, ..spec() }, 1);
    for z in [2, 3, 2] {
        let wp = zone(&drive, z).write_lba();
        write(&drive, wp.0, &data(1, 1)).unwrap();
    }
    write(&drive, 4 * ZONE, &data(1, 1)).unwrap();
    assert_eq!(condition(&drive, 3), (C::Closed, 1));
    assert_eq!(condition(&drive, 2), (C::ImplicitOpen, 2));
    assert_eq!((open(&drive, 5), open(&drive, 6)), (Ok(()), Ok(())));
    assert_eq!(condition(&drive, 2), (C::Closed, 2));
    assert_eq!(open(&drive, 7), Err(ErrorKind::TooManyOpenZones));
    assert_eq!(write(&drive, 3 * ZONE + 1, &data(1, 1)), Err(ErrorKind::TooManyOpenZones));
    assert_eq!(finish(&drive, 7), Err(ErrorKind::TooManyOpenZones));
    assert_eq!(read(&drive, 3 * ZONE, 1), Ok(data(1, 1)));
}

#[test]
fn active_limit_is_freed_by_finish_and_reset_only() {
    let drive = Drive::new(spec(), 1);
    for z in 2..5 {
        write(&drive, z * ZONE, &data(1, 1)).unwrap();
        close(&drive, z as u32).unwrap();
    }
    assert_eq!(write(&drive, 5 * ZONE, &data(1, 1)), Err(ErrorKind::TooManyActiveZones));
    finish(&drive, 2).unwrap();
    assert_eq!(open(&drive, 5), Ok(()));
    assert_eq!(open(&drive, 6), Err(ErrorKind::TooManyActiveZones));
    reset(&drive, 3).unwrap();
    assert_eq!(open(&drive, 6), Ok(()));
}

#[test]
fn conventional_zone_takes_writes_anywhere() {
    let drive = Drive::new(spec(), 1);
    assert_eq!(zone(&drive, 1).zone_type, ZoneType::Conventional);
    write(&drive, 4, &data(1, 6)).unwrap();
    write(&drive, 6, &data(9, 2)).unwrap();
    let mut want = data(1, 6);
    want[2 * BLOCK..4 * BLOCK].copy_from_slice(&data(9, 2));
    assert_eq!(read(&drive, 4, 6), Ok(want));
    assert_eq!(read(&drive, 0, 2), Ok(vec![0; 2 * BLOCK]));
    assert_eq!(condition(&drive, 0), (C::NotWritePointer, 0));
}

#[test]
fn power_cut_keeps_what_was_synced_and_a_prefix_of_the_rest() {
    let drive = Drive::new(spec(), 1);
    let at = 2 * ZONE;
    write(&drive, at, &data(1, 4)).unwrap();
    write(&drive, 3, &data(5, 1)).unwrap();
    sync(&drive);
    write(&drive, at + 4, &data(2, 4)).unwrap();
    write(&drive, 3, &data(6, 2)).unwrap();
    let lost = drive.fork();
    cycle(&lost, Outcome::LoseAll);
    assert_eq!(condition(&lost, 2), (C::Closed, 4));
    assert_eq!(read(&lost, at, 4), Ok(data(1, 4)));
    assert_eq!(read(&lost, 3, 1), Ok(data(5, 1)));
    assert_eq!(read(&lost, 4, 1), Ok(vec![0; BLOCK]));
    let kept = drive.fork();
    cycle(&kept, Outcome::KeepAll);
    assert_eq!(condition(&kept, 2), (C::Closed, 8));
    assert_eq!(read(&kept, 3, 2), Ok(data(6, 2)));
    let count = drive.outcome_count(u64::MAX);
    assert_eq!(count, 5 * 4);
    for index in 0..count {
        let drive = drive.fork();
        cycle(&drive, Outcome::Enumerated(index));
        let (_, written) = condition(&drive, 2);
        assert!((4..=8).contains(&written));
        assert_eq!(read(&drive, at, 4), Ok(data(1, 4)));
    }
}

#[test]
fn reset_undone_brings_back_the_zone() {
    let drive = Drive::new(spec(), 1);
    let at = 3 * ZONE;
    write(&drive, at, &data(1, 8)).unwrap();
    sync(&drive);
    reset(&drive, 3).unwrap();
    write(&drive, at, &data(2, 2)).unwrap();
    let undone = drive.fork();
    cycle(&undone, Outcome::LoseAll);
    assert_eq!(read(&undone, at, 8), Ok(data(1, 8)));
    cycle(&drive, Outcome::KeepAll);
    assert_eq!(condition(&drive, 3), (C::Closed, 2));
    assert_eq!(read(&drive, at, 2), Ok(data(2, 2)));
}

#[test]
fn cut_falls_on_the_request_it_was_armed_for() {
    let drive = Drive::new(spec(), 1);
    drive.cut_after(3);
    assert_eq!(write(&drive, 2 * ZONE, &data(1, 1)), Ok(()));
    assert_eq!(condition(&drive, 2).1, 1);
    sync(&drive);
    assert_eq!(write(&drive, 2 * ZONE + 1, &data(2, 4)), Err(ErrorKind::NotReady));
    assert!(drive.is_cut() && drive.request_count() == 3);
    assert_eq!(read(&drive, 2 * ZONE, 1), Err(ErrorKind::NotReady));
    drive.power_on(Outcome::Enumerated(2));
    drive.check_invariants();
    assert_eq!(read(&drive, 2 * ZONE, 1), Ok(data(1, 1)));
}

#[test]
fn tasks_run_side_by_side_in_the_same_order_every_time() {
    let run = || {
        let drive = Drive::new(spec(), 7);
        let executor = Executor::new(&drive);
        for z in 2..4 {
            let drive = &drive;
            executor.spawn(async move {
                for i in 0..6 {
                    let at = Lba(z * ZONE + i);
                    let bytes = data(i as u8, 1);
                    drive.write(at, &bytes, Request::default()).await.unwrap();
                    drive.sync().await.unwrap();
                }
            });
        }
        executor.run();
        drop(executor);
        (drive.trace_hash(), drive.stats())
    };
    assert_eq!(run(), run());
    assert_eq!(run().1.all.written_blocks, 12);
}

#[test]
#[should_panic(expected = "hang")]
fn block_on_a_future_that_never_ends_panics() {
    Drive::new(spec(), 1).block_on(std::future::pending::<()>());
}

#[test]
fn sleep_ends_in_virtual_time_and_in_order() {
    let drive = Drive::new(spec(), 7);
    let order = std::cell::RefCell::new(Vec::new());
    let executor = Executor::new(&drive);
    for until in [30_000, 10_000, 20_000, 10_000] {
        let (drive, order) = (&drive, &order);
        executor.spawn(async move {
            drive.sleep_until(until).await;
            order.borrow_mut().push((until, drive.now_ns()));
        });
    }
    executor.run();
    drop(executor);
    let want = [10_000, 10_000, 20_000, 30_000].map(|until| (until, until));
    assert_eq!(order.into_inner(), want);
    assert_eq!(drive.now_us(), Some(30));
}

#[test]
fn drive_without_write_cache_loses_nothing_that_completed() {
    let drive = Drive::new(spec(), 1);
    drive.set_write_cache(false);
    write(&drive, 2 * ZONE, &data(1, 4)).unwrap();
    write(&drive, 3, &data(2, 2)).unwrap();
    reset(&drive, 3).unwrap();
    cycle(&drive, Outcome::LoseAll);
    assert_eq!(read(&drive, 2 * ZONE, 4), Ok(data(1, 4)));
    assert_eq!(read(&drive, 3, 2), Ok(data(2, 2)));
}

#[test]
fn zone_that_fails_is_announced_and_refuses() {
    let drive = Drive::new(spec(), 1);
    write(&drive, 2 * ZONE, &data(1, 4)).unwrap();
    write(&drive, 3 * ZONE, &data(2, 4)).unwrap();
    drive.take_out_zone(ZoneId(2), C::ReadOnly);
    drive.take_out_zone(ZoneId(3), C::Offline);
    drive.take_out_zone(ZoneId(0), C::ReadOnly);
    assert_eq!(drive.poll_event(), Some(shingle_hal::Event::ZoneChanged(ZoneId(2))));
    assert_eq!(read(&drive, 2 * ZONE, 4), Ok(data(1, 4)));
    assert_eq!(write(&drive, 2 * ZONE + 4, &data(1, 1)), Err(ErrorKind::ZoneReadOnly));
    assert_eq!(reset(&drive, 2), Err(ErrorKind::ZoneReadOnly));
    assert_eq!(read(&drive, 3 * ZONE, 1), Err(ErrorKind::ZoneOffline));
    assert_eq!(finish(&drive, 3), Err(ErrorKind::ZoneOffline));
    assert_eq!(read(&drive, 0, 1), Ok(vec![0; BLOCK]));
    assert_eq!(write(&drive, 0, &data(1, 1)), Err(ErrorKind::ZoneReadOnly));
    cycle(&drive, Outcome::LoseAll);
    assert_eq!(condition(&drive, 2), (C::ReadOnly, 0));
    assert_eq!(zone(&drive, 0).zone_type, ZoneType::Conventional);
}
