//! What reads return: order, visibility, and nothing written where it was not meant to be.

use super::outcome::{Answer, Mismatch};
use super::rig::{
    Bench, Checked, Rig, Verb, answer, differs, fail, fill, kind_of, pattern, poll_once,
};
use crate::both::both;
use crate::device::Device;
use crate::request::{Class, Request};
use crate::zone::{ZoneCondition, ZoneDescriptor};

/// Blocks of each request that is in flight with others.
const FLIGHT: usize = 4;

/// A read returns what a completed write wrote, whole and in part.
pub(super) async fn read_your_writes<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.writable().await?;
    for at in 0..4 {
        rig.write(zone.start.plus(at), 1, 1).await?;
        rig.verify(zone.start, at as u32 + 1, 1).await?;
    }
    rig.verify(zone.start.plus(1), 2, 1).await
}

/// A request of several blocks writes each of them to its place.
pub(super) async fn long_transfer<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.writable().await?;
    let count = rig.transfer_max();
    rig.write(zone.start, count, 1).await?;
    for at in 0..count {
        rig.verify(zone.start.plus(u64::from(at)), 1, 1).await?;
    }
    Ok(())
}

/// Writes to one zone that are issued without waiting take effect in their order.
pub(super) async fn writes_in_order<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    let len = rig.block_len();
    let data = &mut rig.scratch[..FLIGHT * len];
    fill(data, zone.start, 1, len);
    let device = rig.bench.device();
    let write = |at: usize| {
        let block = &data[at * len..(at + 1) * len];
        device.write(zone.start.plus(at as u64), block, Request::default())
    };
    let early = both(write(0), write(1));
    let late = both(write(2), write(3));
    let ((first, second), (third, fourth)) = both(early, late).await;
    for result in [first, second, third, fourth] {
        answer("write behind a write in flight", Answer::Success, kind_of(result))?;
    }
    let open = ZoneCondition::ImplicitOpen;
    rig.expect("look at the zone", zone.zone, open, FLIGHT as u32).await?;
    rig.verify(zone.start, FLIGHT as u32, 1).await
}

/// Writes to two zones can be in flight at once.
pub(super) async fn writes_to_two_zones<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let here = rig.sequential(0).await?;
    let there = rig.sequential(1).await?;
    if rig.geometry.open_zones_max == Some(1) {
        return Err(super::rig::Stop::Skip("only one zone can be open"));
    }
    let len = rig.block_len();
    let (left, right) = rig.scratch[..2 * len].split_at_mut(len);
    fill(left, here.start, 1, len);
    fill(right, there.start, 2, len);
    let device = rig.bench.device();
    let (first, second) = both(
        device.write(here.start, left, Request::default()),
        device.write(there.start, right, Request::default()),
    )
    .await;
    answer("write to a zone", Answer::Success, kind_of(first))?;
    answer("write to another zone", Answer::Success, kind_of(second))?;
    rig.verify(here.start, 1, 1).await?;
    rig.verify(there.start, 1, 2).await
}

/// Each of many reads in flight gets its own blocks.
pub(super) async fn reads_in_flight<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.writable().await?;
    rig.write(zone.start, FLIGHT as u32, 1).await?;
    let len = rig.block_len();
    let device = rig.bench.device();
    let (front, back) = rig.scratch[..2 * FLIGHT * len].split_at_mut(FLIGHT * len);
    let issue = |at: usize, buf| {
        device.read(zone.start.plus(at as u64), buf, Request::of(Class::Foreground))
    };
    let (a, b) = front.split_at_mut(2 * len);
    let ((a0, a1), (b0, b1)) = (a.split_at_mut(len), b.split_at_mut(len));
    let (c, d) = back.split_at_mut(2 * len);
    let ((c0, c1), (d0, d1)) = (c.split_at_mut(len), d.split_at_mut(len));
    let one = both(both(issue(0, a0), issue(1, a1)), both(issue(2, b0), issue(3, b1)));
    let two = both(both(issue(3, c0), issue(2, c1)), both(issue(1, d0), issue(0, d1)));
    let (((r0, r1), (r2, r3)), ((r4, r5), (r6, r7))) = both(one, two).await;
    for result in [r0, r1, r2, r3, r4, r5, r6, r7] {
        answer("read among reads in flight", Answer::Success, kind_of(result))?;
    }
    let blocks = [0, 1, 2, 3, 3, 2, 1, 0];
    for (slot, at) in blocks.into_iter().enumerate() {
        let seen = &rig.scratch[slot * len..(slot + 1) * len];
        if let Some(mismatch) = differs(seen, zone.start.plus(at), 1, len) {
            return Err(fail("compare a read among reads in flight", mismatch));
        }
    }
    Ok(())
}

/// Reads are served in every class, and with a deadline that is far away.
pub(super) async fn every_class<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.writable().await?;
    let len = rig.block_len();
    let classes = [Class::Urgent, Class::Foreground, Class::Maintenance, Class::Idle];
    for (at, class) in classes.into_iter().enumerate() {
        let start = zone.start.plus(at as u64);
        let block = &mut rig.scratch[..len];
        fill(block, start, 1, len);
        let mut request = Request::of(class);
        request.deadline_us = Some(u64::MAX);
        let device = rig.bench.device();
        let result = kind_of(device.write(start, block, request).await);
        answer("write in a class", Answer::Success, result)?;
        block.fill(0);
        let result = kind_of(device.read(start, block, request).await);
        answer("read in a class", Answer::Success, result)?;
        if let Some(mismatch) = differs(block, start, 1, len) {
            return Err(fail("compare what was read in a class", mismatch));
        }
    }
    Ok(())
}

/// A request that is dropped in flight leaves the device usable.
pub(super) async fn dropped_request<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let dropped = rig.writable().await?;
    let used = match dropped.condition {
        ZoneCondition::NotWritePointer => rig.conventional(1).await?,
        _ => rig.sequential(1).await?,
    };
    let len = rig.block_len();
    let block = &mut rig.scratch[..len];
    fill(block, dropped.start, 1, len);
    let device = rig.bench.device();
    poll_once(device.write(dropped.start, block, Request::default())).await;
    poll_once(device.read(dropped.start, block, Request::default())).await;
    poll_once(device.sync()).await;
    rig.write(used.start, 1, 2).await?;
    rig.verify(used.start, 1, 2).await?;
    rig.report(dropped.zone).await?;
    rig.sync().await
}

/// A read changes neither condition nor write pointer.
pub(super) async fn read_changes_nothing<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 2, 1).await?;
    rig.verb(Verb::Close, zone.zone).await?;
    rig.verify(zone.start, 2, 1).await?;
    let closed = ZoneCondition::Closed;
    rig.expect("look at the zone after reads", zone.zone, closed, 2).await
}

/// A read of unwritten blocks succeeds with bytes that mean nothing or fails as such a read.
pub(super) async fn read_unwritten<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 1, 1).await?;
    let past = rig.try_read(zone.start.plus(1), 1).await;
    answer("read at the write pointer", Answer::SuccessOrUnwritten, past)?;
    let count = rig.transfer_max().min(2);
    let across = rig.try_read(zone.start, count).await;
    answer("read across the write pointer", Answer::SuccessOrUnwritten, across)?;
    let open = ZoneCondition::ImplicitOpen;
    rig.expect("look at the zone after reads", zone.zone, open, 1).await
}

/// The blocks between capacity and zone end are read as unwritten ones.
pub(super) async fn read_above_capacity<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let size = rig.geometry.zone_blocks;
    let zone = below_size(rig, size).await?;
    let above = zone.start.plus(u64::from(zone.capacity.0));
    let result = rig.try_read(above, 1).await;
    answer("read above the capacity", Answer::SuccessOrUnwritten, result)
}

/// A sequential zone of less capacity than size, that is not the last.
pub(super) async fn below_size<B: Bench>(
    rig: &mut Rig<'_, B>,
    size: u32,
) -> Checked<ZoneDescriptor> {
    rig.find(0, "no zone of less capacity than size", |zone| {
        super::rig::is_sequential(zone)
            && zone.condition.is_usable()
            && zone.capacity.0 >= super::rig::ZONE_BLOCKS_MIN
            && zone.capacity.0 < size
    })
    .await
}

/// Reads `count` blocks from the start of a reset zone: never the pattern of `version`.
async fn gone<B: Bench>(
    rig: &mut Rig<'_, B>,
    zone: &ZoneDescriptor,
    count: u32,
    version: u8,
) -> Checked {
    for at in 0..count {
        let lba = zone.start.plus(u64::from(at));
        let result = rig.try_read(lba, 1).await;
        answer("read a reset block", Answer::SuccessOrUnwritten, result)?;
        let block = &rig.scratch[..rig.block_len()];
        let same = |(offset, byte): (usize, &u8)| *byte == pattern(lba, version, offset);
        if result.is_ok() && block.iter().enumerate().all(same) {
            return Err(fail("read a reset block", Mismatch::StaleData { block: lba }));
        }
    }
    Ok(())
}

/// A reset destroys what the zone held.
pub(super) async fn reset_destroys<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 3, 1).await?;
    rig.verb(Verb::Reset, zone.zone).await?;
    gone(rig, &zone, 3, 1).await?;
    rig.write(zone.start, 1, 2).await?;
    rig.verify(zone.start, 1, 2).await?;
    rig.verb(Verb::Reset, zone.zone).await?;
    gone(rig, &zone, 3, 1).await
}

/// A reset zone is written again from its start.
pub(super) async fn reset_then_rewrite<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    for version in 1..4 {
        rig.write(zone.start, 3, version).await?;
        rig.verify(zone.start, 3, version).await?;
        rig.verb(Verb::Reset, zone.zone).await?;
        let empty = ZoneCondition::Empty;
        rig.expect("look at the reset zone", zone.zone, empty, 0).await?;
    }
    Ok(())
}

/// Zones are apart: a verb or write on one leaves its neighbour as it was.
pub(super) async fn zones_apart<B: Bench>(rig: &mut Rig<'_, B>, verb: Verb) -> Checked {
    let here = rig.sequential(0).await?;
    let there = rig.sequential(1).await?;
    for zone in [here, there] {
        rig.write(zone.start, 2, 1).await?;
        rig.verb(Verb::Close, zone.zone).await?;
    }
    let before = rig.report(there.zone).await?;
    rig.write(here.start.plus(2), 1, 2).await?;
    rig.verb(verb, here.zone).await?;
    rig.unchanged("look at the neighbour", &before).await?;
    rig.verify(there.start, 2, 1).await
}

/// A conventional zone is rewritten in place, in any order, block by block.
pub(super) async fn conventional_rewrite<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.conventional(0).await?;
    for at in [3, 1, 0, 2] {
        rig.write(zone.start.plus(at), 1, 1).await?;
    }
    rig.verify(zone.start, 4, 1).await?;
    rig.write(zone.start.plus(1), 2, 2).await?;
    rig.verify(zone.start, 1, 1).await?;
    rig.verify(zone.start.plus(1), 2, 2).await?;
    rig.verify(zone.start.plus(3), 1, 1).await?;
    let none = ZoneCondition::NotWritePointer;
    rig.expect("look at the zone after writes", zone.zone, none, 0).await
}

/// The last block of a conventional zone is written and read like any other.
pub(super) async fn conventional_end<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.conventional(0).await?;
    let last = zone.start.plus(u64::from(zone.capacity.0) - 1);
    rig.write(zone.start, 1, 1).await?;
    rig.write(last, 1, 2).await?;
    rig.verify(last, 1, 2).await?;
    rig.verify(zone.start, 1, 1).await
}
