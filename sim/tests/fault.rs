//! The fault plan on a drive: what each kind does, and that lifting shows the pristine medium.

use std::cell::Cell;

use shingle_engine::format::edit::LogPlace;
use shingle_engine::format::record::{
    OpHeader, OpKind, RECORD_HEADER_LEN, RecordHeader, RecordKind,
};
use shingle_hal::{
    Device, ElementId, ErrorKind, Event, Lba, Request, ZoneCondition as C, ZoneDescriptor, ZoneId,
};
use shingle_sim::fault::{FaultKind, FaultPlan};
use shingle_sim::harness::choices::Choices;
use shingle_sim::media::{MediaKind, MediaSpec};
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, Outcome};

const BLOCK: usize = 512;
const ZONE: u64 = 16;
const SEQUENTIAL: u64 = 4 * ZONE;

fn spec() -> MediaSpec {
    MediaSpec {
        name: "test".into(),
        kind: MediaKind::Smr,
        block_len_bytes: BLOCK as u32,
        zone_count: 12,
        zone_blocks: ZONE as u32,
        zone_capacity_blocks: 12,
        conventional_zone_count: 2,
        open_zones_max: Some(3),
        active_zones_max: Some(4),
        transfer_blocks_max: 12,
        element_count: 3,
        timing: TimingSpec::Instant,
    }
}

/// A drive under a plan; zones 0 and 4 hold twelve blocks each, written and synced before.
fn drive(plan: &str, seed: u64) -> Drive {
    let drive = Drive::new(spec(), 7);
    write(&drive, 0, &data(1, 12)).unwrap();
    write(&drive, SEQUENTIAL, &data(2, 12)).unwrap();
    sync(&drive).unwrap();
    drive.set_faults(&plan.parse().unwrap(), seed);
    drive
}

fn data(tag: u8, blocks: usize) -> Vec<u8> {
    let byte = |i: usize| tag ^ (i / BLOCK) as u8 ^ (i % 7) as u8;
    (0..blocks * BLOCK).map(byte).collect()
}

fn write(drive: &Drive, at: u64, bytes: &[u8]) -> Result<(), ErrorKind> {
    let done = drive.block_on(drive.write(Lba(at), bytes, Request::default()));
    done.map_err(|e| e.kind)
}

/// The answer, and the bytes even if it is an error.
fn fetch(drive: &Drive, at: u64, blocks: usize) -> (Result<(), ErrorKind>, Vec<u8>) {
    let mut bytes = vec![0xee; blocks * BLOCK];
    let done = drive.block_on(drive.read(Lba(at), &mut bytes, Request::default()));
    (done.map_err(|e| e.kind), bytes)
}

fn read(drive: &Drive, at: u64, blocks: usize) -> Result<Vec<u8>, ErrorKind> {
    let (done, bytes) = fetch(drive, at, blocks);
    done.map(|()| bytes)
}

fn sync(drive: &Drive) -> Result<(), ErrorKind> {
    drive.block_on(drive.sync()).map_err(|e| e.kind)
}

fn reset(drive: &Drive, zone: u32) -> Result<(), ErrorKind> {
    drive.block_on(drive.reset(ZoneId(zone))).map_err(|e| e.kind)
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

fn cycle(drive: &Drive, outcome: Outcome) {
    drive.cut_after(0);
    drive.power_on(outcome);
    drive.check_invariants();
}

fn events(drive: &Drive) -> Vec<Event> {
    std::iter::from_fn(|| drive.poll_event()).collect()
}

fn unrecovered(lba: u64) -> Result<Vec<u8>, ErrorKind> {
    Err(ErrorKind::UnrecoveredRead { first: Some(Lba(lba)) })
}

/// Which blocks of `seen` differ from `right`.
fn wrong(seen: &[u8], right: &[u8]) -> Vec<usize> {
    let blocks = seen.chunks(BLOCK).zip(right.chunks(BLOCK)).enumerate();
    blocks.filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect()
}

#[test]
fn read_error_once_fails_one_read_and_garbles_the_buffer() {
    let drive = drive("read-error lba=66 at=request:2", 1);
    assert_eq!(read(&drive, 66, 1), Ok(data(2, 12)[2 * BLOCK..][..BLOCK].to_vec()));
    let (answer, bytes) = fetch(&drive, 64, 12);
    assert_eq!(answer.err(), unrecovered(66).err());
    assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    assert_eq!(read(&drive, 64, 12), Ok(data(2, 12)));
    assert_eq!(drive.fault_counts().of(FaultKind::ReadError), 1);
    let hits = drive.take_fault_hits();
    assert_eq!(hits[0].to_string(), "read-error at LBA 66+1, request 2");
    assert!(hits.len() == 1 && drive.take_fault_hits().is_empty());
}

#[test]
fn read_error_that_sticks_outlives_a_reset_until_it_is_lifted() {
    let drive = drive("read-error sticky extent=66+2", 1);
    assert_eq!(read(&drive, 64, 12), unrecovered(66));
    assert_eq!(read(&drive, 67, 5), unrecovered(67));
    assert_eq!(read(&drive, 68, 8).unwrap(), data(2, 12)[4 * BLOCK..]);
    reset(&drive, 4).unwrap();
    write(&drive, SEQUENTIAL, &data(3, 12)).unwrap();
    assert_eq!(read(&drive, 64, 12), unrecovered(66));
    cycle(&drive, Outcome::KeepAll);
    assert_eq!(read(&drive, 64, 12), unrecovered(66));
    drive.lift_faults();
    assert_eq!(read(&drive, 64, 12), Ok(data(3, 12)));
}

#[test]
fn read_error_that_grows_spreads_within_its_zone() {
    let drive = drive("read-error growing lba=64", 1);
    assert_eq!(read(&drive, 65, 1).map(|_| ()), Ok(()));
    for _ in 0..3 {
        assert_eq!(read(&drive, 64, 12), unrecovered(64));
    }
    assert_eq!(read(&drive, 67, 1), unrecovered(67));
    assert_eq!(read(&drive, 0, 12), Ok(data(1, 12)));
    assert_eq!(read(&drive, 70, 1).map(|_| ()), Ok(()));
}

#[test]
fn slow_read_returns_the_bytes_late() {
    let drive = drive("slow-read 2x zone=4", 1);
    assert_eq!(read(&drive, 0, 12), Ok(data(1, 12)));
    assert_eq!(drive.now_ns(), 0);
    let (answer, bytes) = fetch(&drive, 64, 12);
    assert!(matches!(answer, Err(ErrorKind::RecoveredRead { first: Some(_) })), "{answer:?}");
    assert!(bytes == data(2, 12) && drive.now_ns() >= 300_000_000);
    let _ = fetch(&drive, 64, 12);
    assert_eq!(read(&drive, 64, 12), Ok(data(2, 12)));
}

#[test]
fn slow_read_is_overtaken_by_another() {
    let drive = drive("slow-read zone=4", 1);
    let order = Cell::new(0);
    let (mut late, mut other) = (vec![0; BLOCK], vec![0; BLOCK]);
    let both = async {
        let first = async {
            let done = drive.read(Lba(64), &mut late, Request::default()).await;
            assert!(done.is_err() && order.get() == 1);
            order.set(2);
        };
        let second = async {
            drive.read(Lba(0), &mut other, Request::default()).await.unwrap();
            order.set(1);
        };
        join(first, second).await;
    };
    drive.block_on(both);
    assert_eq!(order.get(), 2);
}

/// Polls both until both are done.
async fn join(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut a_done, mut b_done) = (false, false);
    std::future::poll_fn(|cx| {
        a_done = a_done || a.as_mut().poll(cx).is_ready();
        b_done = b_done || b.as_mut().poll(cx).is_ready();
        if a_done && b_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[test]
fn write_error_leaves_a_prefix_and_the_pointer_behind_it() {
    let mut pointers = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let drive = drive("write-error zone=5", seed);
        let bytes = data(3, 6);
        let answer = write(&drive, 80, &bytes);
        let (_, pointer) = condition(&drive, 5);
        let first = Some(Lba(80 + u64::from(pointer.min(5))));
        assert_eq!(answer, Err(ErrorKind::WriteFault { first }));
        if pointer > 0 {
            let written = pointer as usize;
            assert_eq!(read(&drive, 80, written).unwrap(), bytes[..written * BLOCK]);
        }
        write(&drive, 80 + u64::from(pointer), &data(4, 3)).unwrap();
        sync(&drive).unwrap();
        cycle(&drive, Outcome::LoseAll);
        assert_eq!(condition(&drive, 5).1, pointer + 3);
        pointers.insert(pointer);
    }
    assert_eq!(pointers.len(), 7);
}

#[test]
fn write_error_that_sticks_is_never_written_over() {
    let drive = drive("write-error sticky lba=5", 3);
    let _ = write(&drive, 0, &data(3, 12));
    for tag in 4..20 {
        assert!(write(&drive, 0, &data(tag, 12)).is_err());
        let seen = read(&drive, 5, 1).unwrap();
        assert!(
            seen == data(1, 12)[5 * BLOCK..][..BLOCK] || seen == data(3, 12)[5 * BLOCK..][..BLOCK]
        );
        write(&drive, 6, &data(tag, 6)).unwrap();
    }
    drive.lift_faults();
    write(&drive, 0, &data(9, 12)).unwrap();
}

#[test]
fn torn_write_spoils_its_last_block_until_lifted() {
    let drive = drive("torn-write zone=5", 1);
    write(&drive, 80, &data(3, 6)).unwrap();
    assert_eq!(wrong(&read(&drive, 80, 6).unwrap(), &data(3, 6)), [5]);
    let copy = drive.fork();
    reset(&copy, 5).unwrap();
    write(&copy, 80, &data(4, 6)).unwrap();
    assert_eq!(read(&copy, 80, 6), Ok(data(4, 6)));
    drive.lift_faults();
    assert_eq!(read(&drive, 80, 6), Ok(data(3, 6)));
}

#[test]
fn lost_write_shows_the_zones_life_before() {
    let drive = drive("lost-write zone=4; lost-write zone=5; lost-write zone=1", 1);
    reset(&drive, 4).unwrap();
    write(&drive, 64, &data(3, 6)).unwrap();
    assert_eq!(condition(&drive, 4).1, 6);
    assert_eq!(read(&drive, 64, 6).unwrap(), data(2, 12)[..6 * BLOCK]);
    write(&drive, 80, &data(3, 6)).unwrap();
    assert_eq!(read(&drive, 80, 6).unwrap(), vec![0; 6 * BLOCK]);
    write(&drive, 16, &data(3, 6)).unwrap();
    assert_eq!(read(&drive, 16, 6).unwrap(), vec![0; 6 * BLOCK]);
    assert_eq!(drive.fault_counts().to_string(), "3 lost-write");
    drive.lift_faults();
    for at in [64, 80, 16] {
        assert_eq!(read(&drive, at, 6), Ok(data(3, 6)));
    }
}

#[test]
fn lost_overwrite_keeps_the_old_blocks_and_the_next_write_heals() {
    let drive = drive("lost-write zone=0", 1);
    write(&drive, 0, &data(3, 6)).unwrap();
    assert_eq!(read(&drive, 0, 12), Ok(data(1, 12)));
    write(&drive, 0, &data(4, 3)).unwrap();
    let seen = read(&drive, 0, 6).unwrap();
    assert_eq!(wrong(&seen, &data(4, 6)), [3, 4, 5]);
    assert_eq!(seen[3 * BLOCK..], data(1, 12)[3 * BLOCK..6 * BLOCK]);
}

#[test]
fn misdirected_write_lands_in_another_zone() {
    for seed in 0..20 {
        let drive = drive("misdirected-write zone=5", seed);
        write(&drive, 80, &data(3, 4)).unwrap();
        assert_eq!(read(&drive, 80, 4).unwrap(), vec![0; 4 * BLOCK]);
        let hits = drive.take_fault_hits();
        assert_eq!(hits.len(), 2, "{hits:?}");
        let victim = hits[1].extent;
        let count = victim.count.0 as usize;
        assert!((victim.start.0 < 12 || victim.start.0 >= 64) && count <= 4);
        assert_eq!(read(&drive, victim.start.0, count).unwrap(), data(3, 4)[..count * BLOCK]);
        drive.lift_faults();
        assert_eq!(read(&drive, 80, 4), Ok(data(3, 4)));
        assert_eq!(read(&drive, 0, 12), Ok(data(1, 12)));
        assert_eq!(read(&drive, 64, 12), Ok(data(2, 12)));
    }
}

#[test]
fn bit_rot_flips_one_bit_that_stays_until_rewritten_or_lifted() {
    let drive = drive("bit-rot zone=0", 1);
    let seen = read(&drive, 0, 12).unwrap();
    let flipped = seen.iter().zip(data(1, 12)).map(|(a, b)| (a ^ b).count_ones());
    assert_eq!(flipped.sum::<u32>(), 1);
    assert_eq!(read(&drive, 0, 12), Ok(seen));
    cycle(&drive, Outcome::LoseAll);
    assert_eq!(wrong(&read(&drive, 0, 12).unwrap(), &data(1, 12)).len(), 1);
    let rewritten = drive.fork();
    write(&rewritten, 0, &data(1, 12)).unwrap();
    assert_eq!(read(&rewritten, 0, 12), Ok(data(1, 12)));
    drive.lift_faults();
    assert_eq!(read(&drive, 0, 12), Ok(data(1, 12)));
}

#[test]
fn bit_rot_goes_with_a_reset_and_comes_back_if_that_is_undone() {
    let drive = drive("bit-rot zone=4", 1);
    let seen = read(&drive, 64, 12).unwrap();
    reset(&drive, 4).unwrap();
    let kept = drive.fork();
    write(&kept, 64, &data(3, 12)).unwrap();
    assert_eq!(read(&kept, 64, 12), Ok(data(3, 12)));
    write(&drive, 64, &data(3, 12)).unwrap();
    cycle(&drive, Outcome::LoseAll);
    assert_eq!(read(&drive, 64, 12), Ok(seen));
}

#[test]
fn stale_read_returns_what_was_there_before() {
    let drive = drive("stale-read 2x lba=66 at=request:4; stale-read lba=1 at=request:4", 1);
    reset(&drive, 4).unwrap();
    write(&drive, 64, &data(3, 12)).unwrap();
    write(&drive, 0, &data(4, 12)).unwrap();
    for _ in 0..2 {
        let seen = read(&drive, 64, 12).unwrap();
        assert_eq!(wrong(&seen, &data(3, 12)), [2]);
        assert_eq!(seen[2 * BLOCK..3 * BLOCK], data(2, 12)[2 * BLOCK..3 * BLOCK]);
    }
    assert_eq!(read(&drive, 64, 12), Ok(data(3, 12)));
    let seen = read(&drive, 0, 12).unwrap();
    assert_eq!(wrong(&seen, &data(4, 12)), [1]);
    assert_eq!(seen[BLOCK..2 * BLOCK], data(1, 12)[BLOCK..2 * BLOCK]);
}

#[test]
fn stale_read_of_a_block_without_past_returns_another_block() {
    let drive = drive("stale-read sticky lba=66", 1);
    let others = data(2, 12);
    let seen = read(&drive, 66, 1).unwrap();
    assert!(others.chunks(BLOCK).any(|block| block == seen));
}

#[test]
fn zone_taken_out_of_use_comes_back_as_it_was() {
    let drive = drive("zone-read-only zone=5 at=request:2; zone-offline zone=0 at=request:2", 1);
    write(&drive, 80, &data(3, 6)).unwrap();
    assert_eq!(write(&drive, 86, &data(3, 1)), Err(ErrorKind::ZoneReadOnly));
    assert_eq!(events(&drive), [5, 0].map(|z| Event::ZoneChanged(ZoneId(z))));
    assert_eq!(condition(&drive, 5).0, C::ReadOnly);
    assert_eq!(read(&drive, 80, 6), Ok(data(3, 6)));
    assert_eq!(read(&drive, 0, 1), Err(ErrorKind::ZoneOffline));
    assert_eq!(reset(&drive, 5), Err(ErrorKind::ZoneReadOnly));
    cycle(&drive, Outcome::LoseAll);
    assert_eq!((condition(&drive, 5).0, condition(&drive, 0).0), (C::ReadOnly, C::Offline));
    drive.lift_faults();
    assert_eq!(condition(&drive, 5), (C::Closed, 6));
    assert_eq!(condition(&drive, 0).0, C::NotWritePointer);
    assert_eq!(read(&drive, 0, 12), Ok(data(1, 12)));
    write(&drive, 86, &data(4, 6)).unwrap();
}

#[test]
fn zone_that_comes_back_to_a_drive_without_room_is_full() {
    let drive = drive("zone-offline zone=5 at=request:2", 1);
    write(&drive, 80, &data(3, 6)).unwrap();
    for zone in 6..10 {
        write(&drive, zone * ZONE, &data(4, 1)).unwrap();
    }
    drive.lift_faults();
    assert_eq!(condition(&drive, 5).0, C::Full);
    assert_eq!(read(&drive, 80, 6), Ok(data(3, 6)));
}

#[test]
fn element_lost_takes_all_its_zones_until_lifted() {
    let drive = drive("element-lost element=1 at=time:0s", 1);
    assert_eq!(write(&drive, 80, &data(3, 1)), Ok(()));
    assert_eq!(events(&drive), [Event::ElementLost(ElementId(1))]);
    let mut answers = Vec::new();
    for z in 0..12 {
        let is_lost = z % 3 == 1;
        assert_eq!(condition(&drive, z).0 == C::Offline, is_lost, "zone {z}");
        if is_lost {
            answers.extend(read(&drive, u64::from(z) * ZONE, 1).err());
            assert!(write(&drive, u64::from(z) * ZONE, &data(3, 1)).is_err());
        }
    }
    let allowed = [ErrorKind::ElementLost, ErrorKind::ZoneOffline];
    assert!(answers.len() == 4 && answers.iter().all(|kind| allowed.contains(kind)));
    drive.lift_faults();
    assert_eq!(condition(&drive, 4).0, C::Full);
    assert_eq!(read(&drive, 64, 12), Ok(data(2, 12)));
    write(&drive, 7 * ZONE, &data(3, 1)).unwrap();
}

#[test]
fn element_slow_delays_what_is_on_it() {
    let drive = drive("element-slow element=1", 1);
    read(&drive, 0, 12).unwrap();
    assert_eq!(drive.now_ns(), 0);
    read(&drive, 64, 12).unwrap();
    assert!(drive.now_ns() >= 20_000_000);
    drive.lift_faults();
    let before = drive.now_ns();
    read(&drive, 64, 12).unwrap();
    assert_eq!(drive.now_ns(), before);
}

#[test]
fn transient_error_has_no_effect_and_a_retry_succeeds() {
    let drive = drive("transient-error 4x", 1);
    assert_eq!(write(&drive, 80, &data(3, 1)), Err(ErrorKind::Timeout));
    assert_eq!(reset(&drive, 4), Err(ErrorKind::Timeout));
    assert_eq!(read(&drive, 64, 12), Err(ErrorKind::Timeout));
    assert_eq!(sync(&drive), Err(ErrorKind::Timeout));
    assert_eq!((condition(&drive, 5), condition(&drive, 4)), ((C::Empty, 0), (C::Full, 12)));
    assert_eq!(write(&drive, 80, &data(3, 1)), Ok(()));
}

#[test]
fn timeout_comes_late_with_or_without_effect() {
    let mut effects = 0;
    for seed in 0..40 {
        let drive = drive("timeout zone=5", seed);
        assert_eq!(write(&drive, 80, &data(3, 2)), Err(ErrorKind::Timeout));
        assert!(drive.now_ns() >= 8_000_000_000);
        match condition(&drive, 5) {
            (C::Empty, 0) => {}
            (C::ImplicitOpen, 2) => effects += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((5..35).contains(&effects), "{effects}");
}

#[test]
fn pointer_after_power_stands_behind_garbage() {
    let drive = drive("pointer-after-power", 1);
    write(&drive, 80, &data(3, 4)).unwrap();
    sync(&drive).unwrap();
    write(&drive, 84, &data(4, 2)).unwrap();
    cycle(&drive, Outcome::LoseAll);
    let (state, pointer) = condition(&drive, 5);
    assert!(state == C::Closed && (5..=8).contains(&pointer), "{pointer}");
    assert_eq!(read(&drive, 80, 4), Ok(data(3, 4)));
    cycle(&drive, Outcome::LoseAll);
    assert_eq!(condition(&drive, 5), (C::Closed, pointer));
    write(&drive, 80 + u64::from(pointer), &data(4, 1)).unwrap();
}

#[test]
fn pointer_after_reset_is_not_at_the_start() {
    let drive = drive("pointer-after-reset zone=4", 1);
    reset(&drive, 4).unwrap();
    let (state, pointer) = condition(&drive, 4);
    assert!(state == C::Closed && (1..=4).contains(&pointer), "{pointer}");
    let undone = drive.fork();
    cycle(&undone, Outcome::LoseAll);
    assert_eq!(read(&undone, 64, 12), Ok(data(2, 12)));
    sync(&drive).unwrap();
    cycle(&drive, Outcome::LoseAll);
    assert_eq!(condition(&drive, 4), (C::Closed, pointer));
    reset(&drive, 4).unwrap();
    assert_eq!(condition(&drive, 4), (C::Empty, 0));
}

#[test]
fn sync_error_drops_the_tail_of_one_zone() {
    for seed in 0..40 {
        let drive = drive("sync-error zone=5 at=request:4", seed);
        write(&drive, 80, &data(3, 4)).unwrap();
        sync(&drive).unwrap();
        write(&drive, 84, &data(4, 4)).unwrap();
        write(&drive, 96, &data(5, 4)).unwrap();
        let answer = sync(&drive);
        let is_plain = matches!(answer, Err(ErrorKind::Hardware | ErrorKind::WriteFault { .. }));
        assert!(is_plain, "{answer:?}");
        let (_, pointer) = condition(&drive, 5);
        assert!((4..8).contains(&pointer), "{pointer}");
        assert_eq!(condition(&drive, 6).1, 4);
        assert_eq!(read(&drive, 80, 4), Ok(data(3, 4)));
        let hits = drive.take_fault_hits();
        assert_eq!(hits[0].extent.end(), Lba(88));
        let at = 80 + u64::from(pointer);
        write(&drive, at, &data(6, 1)).unwrap();
        sync(&drive).unwrap();
        cycle(&drive, Outcome::LoseAll);
        assert_eq!(condition(&drive, 5).1, pointer + 1);
    }
}

#[test]
fn sync_error_drops_the_last_writes_of_a_conventional_zone() {
    for seed in 0..20 {
        let drive = drive("sync-error", seed);
        write(&drive, 0, &data(3, 4)).unwrap();
        write(&drive, 2, &data(4, 4)).unwrap();
        assert!(sync(&drive).is_err());
        let seen = read(&drive, 0, 12).unwrap();
        let (old, first) = (data(1, 12), data(3, 4));
        assert_eq!(seen[4 * BLOCK..], old[4 * BLOCK..]);
        assert!(seen[..4 * BLOCK] == old[..4 * BLOCK] || seen[..4 * BLOCK] == first);
        cycle(&drive, Outcome::LoseAll);
        assert_eq!(read(&drive, 0, 12), Ok(data(1, 12)));
    }
}

#[test]
fn sync_that_lies_leaves_writes_to_be_lost() {
    let drive = drive("sync-lie zone=5", 1);
    write(&drive, 80, &data(3, 4)).unwrap();
    write(&drive, 96, &data(3, 4)).unwrap();
    sync(&drive).unwrap();
    let honest = drive.fork();
    cycle(&drive, Outcome::LoseAll);
    assert_eq!((condition(&drive, 5).1, condition(&drive, 6).1), (0, 4));
    sync(&honest).unwrap();
    cycle(&honest, Outcome::LoseAll);
    assert_eq!(condition(&honest, 5).1, 4);
}

#[test]
fn capacity_shrinks_with_a_reset_and_comes_back_with_its_undoing_or_lifting() {
    let drive = drive("capacity-shrink zone=4", 1);
    reset(&drive, 4).unwrap();
    let capacity = zone(&drive, 4).capacity.0;
    assert!((9..12).contains(&capacity), "{capacity}");
    let undone = drive.fork();
    cycle(&undone, Outcome::LoseAll);
    assert_eq!((zone(&undone, 4).capacity.0, read(&undone, 64, 12)), (12, Ok(data(2, 12))));
    sync(&drive).unwrap();
    assert_eq!(write(&drive, 64, &data(3, 12)), Err(ErrorKind::CrossesZone));
    write(&drive, 64, &data(3, capacity as usize)).unwrap();
    assert_eq!(condition(&drive, 4), (C::Full, capacity));
    drive.lift_faults();
    assert_eq!(zone(&drive, 4).capacity.0, 12);
}

#[test]
fn power_cut_comes_with_its_request() {
    let drive = drive("power-cut at=request:2", 1);
    write(&drive, 80, &data(3, 4)).unwrap();
    assert_eq!(write(&drive, 84, &data(3, 4)), Err(ErrorKind::NotReady));
    assert!(drive.is_cut());
    drive.power_on(Outcome::KeepAll);
    assert_eq!(condition(&drive, 5).1, 8);
}

#[test]
fn scope_of_a_structure_hits_only_that() {
    let header = |role: u8| {
        let mut block = data(9, 1);
        block[..8].copy_from_slice(b"SHNGZONE");
        block[28] = role;
        block
    };
    let tagged = |tag: u16| {
        let mut block = data(8, 1);
        block[BLOCK - 8..BLOCK - 6].copy_from_slice(&tag.to_le_bytes());
        block
    };
    let record = |at: usize| {
        let mut block = tagged(at as u16);
        let value_len = 2 * BLOCK as u32;
        let op = OpHeader {
            kind: OpKind::Put,
            key_len: 3,
            version_len: 0,
            meta_len: 0,
            value_len,
            moved_from: 0,
        };
        let len = (RECORD_HEADER_LEN + op.op_len()) as u32;
        let (kind, offset) = (RecordKind::Commit, at as u32);
        let durable = LogPlace::default();
        let header = RecordHeader { kind, op_count: 1, len, seq: 1, offset, durable };
        let head = [&header.encode()[..], &op.encode()].concat();
        block[at..at + head.len()].copy_from_slice(&head);
        block
    };
    let node = |kind: u8, level: u8| {
        let mut block = data(7, 1);
        block[..16].copy_from_slice(&[kind, level, 0, 0, 1, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        block
    };
    let superblock = [&b"SHINGLE\0"[..], &data(6, 1)[8..]].concat();
    let log = [header(3), record(4), tagged(0xffff), tagged(0)].concat();
    let run = [header(5), node(1, 0), data(5, 1), node(2, 1), data(5, 1)].concat();
    let manifest = [header(2), data(4, 2)].concat();
    let cases = [
        ("superblock", vec![0]),
        ("manifest", vec![112, 113, 114]),
        ("run-data", vec![97, 98]),
        ("run-index", vec![99, 100]),
        ("log-record", vec![81, 83]),
        ("value", vec![82]),
    ];
    for (structure, places) in cases {
        let plan = format!("read-error 99x structure={structure}");
        let drive = drive(&plan, 1);
        for (at, bytes) in [(0, &superblock), (80, &log), (96, &run), (112, &manifest)] {
            write(&drive, at, bytes).unwrap();
        }
        let written = (0..12).chain(64..76).chain(80..84).chain(96..101).chain(112..115);
        let bad: Vec<u64> = written.filter(|at| read(&drive, *at, 1).is_err()).collect();
        assert_eq!(bad, places, "{structure}");
    }
}

#[test]
fn scope_of_copies_hits_one_of_them() {
    let superblock = [&b"SHINGLE\0"[..], &data(6, 1)[8..]].concat();
    let drive = drive("read-error 99x structure=superblock", 1);
    write(&drive, 0, &superblock).unwrap();
    write(&drive, 16, &superblock).unwrap();
    assert_eq!(read(&drive, 0, 1), unrecovered(0));
    assert_eq!(read(&drive, 16, 1), Ok(superblock));
    assert_eq!(read(&drive, 0, 1), unrecovered(0));
}

/// Random requests, some of which make no sense.
fn play(drive: &Drive, choices: &mut Choices, requests: u64) {
    for step in 0..requests {
        if drive.is_cut() {
            drive.power_on(Outcome::Seeded(choices.word()));
            drive.check_invariants();
        }
        let z = choices.below(12) as u32;
        let now = zone(drive, z);
        let count = choices.between(1, 6);
        let write_lba = match now.zone_type {
            shingle_hal::ZoneType::Conventional => now.start.plus(choices.below(6)),
            _ => now.write_lba(),
        };
        let _ = match choices.below(12) {
            0 => reset(drive, z),
            1 => drive.block_on(drive.finish(ZoneId(z))).map_err(|e| e.kind),
            2 => sync(drive),
            3 if choices.once_in(6) => {
                drive.cut_after(0);
                Ok(())
            }
            4..=7 => fetch(drive, now.start.0 + choices.below(8), count as usize).0,
            _ => write(drive, write_lba.0, &data(step as u8, count as usize)),
        };
    }
}

#[test]
fn any_plan_keeps_the_drive_consistent_and_is_repeated_by_its_seed() {
    let mut struck = [0_u64; 20];
    for seed in 0..300 {
        let run = || {
            let mut choices = Choices::new(seed);
            let drive = Drive::new(spec(), seed);
            let plan = FaultPlan::draw(&mut choices, &drive.geometry(), 200);
            play(&drive, &mut choices, 30);
            drive.set_faults(&plan, seed);
            play(&drive, &mut choices, 200);
            let copy = drive.fork();
            copy.lift_faults();
            copy.check_invariants();
            play(&copy, &mut choices.clone(), 50);
            play(&drive, &mut choices, 50);
            (drive.trace_hash(), copy.trace_hash(), drive.fault_counts())
        };
        let first = run();
        for (kind, count) in FaultKind::all().zip(&mut struck) {
            *count += first.2.of(kind);
        }
        assert_eq!(first, run(), "seed {seed}");
    }
    for (kind, count) in FaultKind::all().zip(struck) {
        assert!(count > 0, "{kind} never struck");
    }
}

#[test]
fn every_preset_strikes() {
    for name in FaultPlan::preset_names() {
        let mut choices = Choices::new(5);
        let drive = Drive::new(spec(), 5);
        drive.set_faults(&FaultPlan::preset(name).unwrap(), 5);
        play(&drive, &mut choices, 3000);
        let is_structural = name == "reads" || name == "silent";
        assert!(drive.fault_counts().total() > 0 || is_structural, "{name}");
    }
}

#[test]
fn drive_without_a_plan_is_as_it_was() {
    let run = |plan: Option<&FaultPlan>| {
        let mut choices = Choices::new(3);
        let drive = Drive::new(spec(), 3);
        if let Some(plan) = plan {
            drive.set_faults(plan, 9);
        }
        play(&drive, &mut choices, 500);
        drive.trace_hash()
    };
    let never: FaultPlan = "read-error at=request:1000000; sync-lie at=time:1000s".parse().unwrap();
    assert_eq!(run(None), run(Some(&FaultPlan::default())));
    assert_eq!(run(None), run(Some(&never)));
}
