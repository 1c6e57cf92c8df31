//! Requests in flight: what a sync covers, what a cut and a dropped future leave of them.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use shingle_hal::{Device, ErrorKind, Lba, Request, ZoneDescriptor, ZoneId};
use shingle_sim::media::{MediaKind, MediaSpec};
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, DriveError, Executor, Outcome};

const BLOCK: usize = 512;
const ZONE: Lba = Lba(16);

fn drive(kind: MediaKind) -> Drive {
    let spec = MediaSpec {
        name: "flight".into(),
        kind,
        block_len_bytes: BLOCK as u32,
        zone_count: 3,
        zone_blocks: 16,
        zone_capacity_blocks: 16,
        conventional_zone_count: 1,
        open_zones_max: None,
        active_zones_max: None,
        transfer_blocks_max: 6,
        element_count: 1,
        timing: TimingSpec::Instant,
    };
    Drive::new(spec, 1)
}

fn write(drive: &Drive, at: Lba, bytes: &[u8]) -> Result<(), DriveError> {
    drive.block_on(drive.write(at, bytes, Request::default()))
}

fn read(drive: &Drive, at: Lba) -> Result<Vec<u8>, DriveError> {
    let mut bytes = vec![0xee; BLOCK];
    drive.block_on(drive.read(at, &mut bytes, Request::default())).map(|()| bytes)
}

fn write_pointer(drive: &Drive) -> u32 {
    let mut out = [ZoneDescriptor::EMPTY];
    drive.block_on(drive.report(ZoneId(1), &mut out)).unwrap();
    out[0].write_pointer.0
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn sync_covers_what_completed_before_it_and_no_more() {
    let drive = drive(MediaKind::Smr);
    let [first, second] = [[1; BLOCK], [2; BLOCK]];
    for at in [Lba(0), ZONE] {
        assert_eq!(write(&drive, at, &first), Ok(()));
    }
    let mut late = pin!(drive.write(ZONE.plus(1), &second, Request::default()));
    let mut patch = pin!(drive.write(Lba(0), &second, Request::default()));
    let mut sync = pin!(drive.sync());
    assert!(poll(late.as_mut()).is_pending() && poll(patch.as_mut()).is_pending());
    assert!(poll(sync.as_mut()).is_pending());
    while drive.advance() {}
    assert_eq!(poll(late.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(poll(patch.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(poll(sync.as_mut()), Poll::Ready(Ok(())));
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    assert_eq!(write_pointer(&drive), 1);
    assert_eq!(read(&drive, Lba(0)), Ok(first.to_vec()));
}

#[test]
fn sync_that_did_not_complete_covers_nothing() {
    let drive = drive(MediaKind::Smr);
    assert_eq!(write(&drive, ZONE, &[1; BLOCK]), Ok(()));
    let mut sync = pin!(drive.sync());
    assert!(poll(sync.as_mut()).is_pending());
    drive.cut_after(0);
    assert_eq!(poll(sync.as_mut()), Poll::Ready(Err(ErrorKind::NotReady.into())));
    drive.power_on(Outcome::LoseAll);
    assert_eq!(write_pointer(&drive), 0);
}

#[test]
fn request_in_flight_at_a_cut_fails_and_may_have_taken_effect() {
    for (outcome, written) in [(Outcome::KeepAll, 1), (Outcome::LoseAll, 0)] {
        let drive = drive(MediaKind::Nor);
        let mut write = pin!(drive.write(ZONE, &[1; BLOCK], Request::default()));
        assert!(poll(write.as_mut()).is_pending());
        drive.cut_after(0);
        assert_eq!(poll(write.as_mut()), Poll::Ready(Err(ErrorKind::NotReady.into())));
        let report = drive.block_on(drive.report(ZoneId(0), &mut []));
        assert_eq!(report, Err(ErrorKind::NotReady.into()));
        drive.power_on(outcome);
        assert_eq!(write_pointer(&drive), written);
    }
}

#[test]
fn nor_write_is_durable_when_it_completed() {
    let drive = drive(MediaKind::Nor);
    assert_eq!(write(&drive, ZONE, &[1; BLOCK]), Ok(()));
    assert_eq!(drive.outcome_count(100), 1);
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
    assert_eq!(read(&drive, ZONE), Ok(vec![1; BLOCK]));
}

#[test]
fn dropped_write_takes_its_course_in_the_drive_and_in_its_copy() {
    let drive = drive(MediaKind::Smr);
    {
        let mut write = pin!(drive.write(ZONE, &[1; BLOCK], Request::default()));
        assert!(poll(write.as_mut()).is_pending());
    }
    let copy = drive.fork();
    for drive in [&drive, &copy] {
        assert_eq!(drive.block_on(drive.sync()), Ok(()));
        assert_eq!(read(drive, ZONE), Ok(vec![1; BLOCK]));
        assert!(!drive.advance());
    }
    assert_eq!(drive.trace_hash(), copy.trace_hash());
}

/// Thirty-two gets on a store with few buffers woke each other without end, and the clock stood.
#[test]
fn tasks_that_only_wake_each_other_do_not_stop_the_clock() {
    const UNTIL_NS: u64 = 1_000_000;
    let drive = drive(MediaKind::Smr);
    let executor = Executor::new(&drive);
    for _ in 0..3 {
        executor.spawn(poll_fn(|context| {
            if drive.now_ns() >= UNTIL_NS {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }));
    }
    executor.spawn(drive.sleep_until(UNTIL_NS));
    executor.run();
    assert_eq!(drive.now_ns(), UNTIL_NS);
}
