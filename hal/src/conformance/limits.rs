//! Open and active zone limits.
//!
//! Explicit opens count hard. Implicitly open zones are closed by the device to make room, so a
//! writer meets the open limit only when that many zones are *explicitly* open. Closed zones
//! still count as active. No limit ever stands in the way of a read.

use super::outcome::{Answer, Bound};
use super::rig::{Bench, Checked, REPORT_BATCH, Rig, Stop, Verb, answer, number};
use crate::zone::{ZoneCondition, ZoneDescriptor, ZoneId};

/// What gives an open resource back.
#[derive(Clone, Copy)]
pub(super) enum Release {
    /// An operation.
    By(Verb),
    /// Writing the zone up to its capacity.
    Fill,
}

/// The open limit, with a zone more than it to try.
async fn open_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked<u32> {
    let Some(limit) = rig.geometry.open_zones_max else {
        return Err(Stop::Skip("no limit of open zones"));
    };
    rig.sequential(limit).await?;
    Ok(limit)
}

/// The active limit, with a zone more than it to try.
async fn active_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked<u32> {
    let Some(limit) = rig.geometry.active_zones_max else {
        return Err(Stop::Skip("no limit of active zones"));
    };
    rig.sequential(limit).await?;
    Ok(limit)
}

/// Opens the sequential zones `[first, first + count)` explicitly.
async fn open_all<B: Bench>(rig: &mut Rig<'_, B>, first: u32, count: u32) -> Checked {
    for nth in first..first + count {
        let zone = rig.sequential(nth).await?;
        rig.verb(Verb::Open, zone.zone).await?;
    }
    Ok(())
}

/// Writes one block to each of the first `count` sequential zones, and closes them if asked to.
async fn write_all<B: Bench>(rig: &mut Rig<'_, B>, count: u32, close: bool) -> Checked {
    for nth in 0..count {
        let zone = rig.sequential(nth).await?;
        rig.write(zone.start, 1, 1).await?;
        if close {
            rig.verb(Verb::Close, zone.zone).await?;
        }
    }
    Ok(())
}

/// The number of open zones of the device.
async fn open_count<B: Bench>(rig: &mut Rig<'_, B>) -> Checked<u64> {
    let (mut first, mut open) = (0, 0);
    while first < rig.geometry.zone_count {
        let mut batch = [ZoneDescriptor::EMPTY; REPORT_BATCH];
        let count = rig.report_into(ZoneId(first), &mut batch).await?;
        number("report zones", Bound::AtLeast(1), count as u64)?;
        let here = batch[..count].iter().filter(|zone| zone.condition.is_open());
        open += here.count() as u64;
        first += count as u32;
    }
    Ok(open)
}

/// As many zones as the limit can be open explicitly at once.
pub(super) async fn opens_up_to_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    open_all(rig, 0, limit).await?;
    for nth in 0..limit {
        let zone = rig.sequential(nth).await?.zone;
        let open = ZoneCondition::ExplicitOpen;
        rig.expect("look at an opened zone", zone, open, 0).await?;
    }
    Ok(())
}

/// One explicit open more than the limit is refused without effect.
pub(super) async fn open_over_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    open_all(rig, 0, limit).await?;
    let next = rig.sequential(limit).await?;
    let result = rig.try_verb(Verb::Open, next.zone).await;
    answer("open a zone over the limit", Answer::NoResource, result)?;
    rig.unchanged("look at the refused zone", &next).await
}

/// A write that would open one zone more than are explicitly open is refused without effect.
pub(super) async fn write_over_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    open_all(rig, 0, limit).await?;
    let next = rig.sequential(limit).await?;
    let result = rig.try_write(next.start, 1, 1).await;
    answer("write to a zone over the limit", Answer::NoResource, result)?;
    rig.unchanged("look at the refused zone", &next).await
}

/// A finish when all resources are explicitly open either works or is refused without effect.
pub(super) async fn finish_at_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    open_all(rig, 0, limit).await?;
    let next = rig.sequential(limit).await?;
    let result = rig.try_verb(Verb::Finish, next.zone).await;
    answer("finish at the limit", Answer::SuccessOrNoResource, result)?;
    if result.is_ok() {
        let (full, end) = (ZoneCondition::Full, next.capacity.0);
        return rig.expect("look at the finished zone", next.zone, full, end).await;
    }
    rig.unchanged("look at the refused zone", &next).await
}

/// A zone that is open already can be opened again and written at the limit.
pub(super) async fn open_zone_at_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    open_all(rig, 0, limit).await?;
    let zone = rig.sequential(0).await?;
    rig.verb(Verb::Open, zone.zone).await?;
    rig.write(zone.start, 1, 1).await?;
    let open = ZoneCondition::ExplicitOpen;
    rig.expect("look at the zone", zone.zone, open, 1).await
}

/// A released zone makes room for another at the open limit.
pub(super) async fn release_makes_room<B: Bench>(rig: &mut Rig<'_, B>, by: Release) -> Checked {
    let limit = open_limit(rig).await?;
    open_all(rig, 0, limit).await?;
    let first = rig.sequential(0).await?;
    match by {
        Release::By(verb) => rig.verb(verb, first.zone).await?,
        Release::Fill => rig.write(first.start, first.capacity.0, 1).await?,
    }
    open_all(rig, limit, 1).await?;
    number("count open zones", Bound::Is(u64::from(limit)), open_count(rig).await?)
}

/// Skips unless a closed zone and as many open ones as the limit fit the active limit.
fn room_to_close<B: Bench>(rig: &Rig<'_, B>, limit: u32) -> Checked {
    match rig.geometry.active_zones_max {
        Some(active) if active <= limit => Err(Stop::Skip("active limit equals open limit")),
        _ => Ok(()),
    }
}

/// An implicitly open zone is closed, losing nothing, when an open needs its resource.
pub(super) async fn implicit_yields_to_open<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    room_to_close(rig, limit)?;
    write_all(rig, limit, false).await?;
    let next = rig.sequential(limit).await?;
    rig.verb(Verb::Open, next.zone).await?;
    let open = ZoneCondition::ExplicitOpen;
    rig.expect("look at the opened zone", next.zone, open, 0).await?;
    number("count open zones", Bound::AtMost(u64::from(limit)), open_count(rig).await?)
}

/// Writes go round more zones than can be open; the device closes and opens as it needs.
pub(super) async fn implicit_yields_to_write<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    room_to_close(rig, limit)?;
    write_all(rig, limit + 1, false).await?;
    number("count open zones", Bound::AtMost(u64::from(limit)), open_count(rig).await?)?;
    for nth in 0..=limit {
        let zone = rig.sequential(nth).await?;
        super::rig::pointer("look at a zone that was closed", &zone, Bound::Is(1))?;
        rig.write(zone.write_lba(), 1, 1).await?;
        rig.verify(zone.start, 2, 1).await?;
    }
    number("count open zones", Bound::AtMost(u64::from(limit)), open_count(rig).await?)
}

/// An explicitly open zone is never closed to make room for writes elsewhere.
pub(super) async fn explicit_never_yields<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    room_to_close(rig, limit)?;
    if limit < 2 {
        return Err(Stop::Skip("only one zone can be open"));
    }
    let held = rig.sequential(0).await?.zone;
    rig.verb(Verb::Open, held).await?;
    for nth in 1..=limit {
        let zone = rig.sequential(nth).await?;
        rig.write(zone.start, 1, 1).await?;
    }
    let open = ZoneCondition::ExplicitOpen;
    rig.expect("look at the explicitly open zone", held, open, 0).await
}

/// A read needs no open resource.
pub(super) async fn read_at_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = open_limit(rig).await?;
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 1, 1).await?;
    rig.verb(Verb::Finish, zone.zone).await?;
    open_all(rig, 1, limit).await?;
    rig.verify(zone.start, 1, 1).await?;
    number("count open zones", Bound::Is(u64::from(limit)), open_count(rig).await?)
}

/// With as many closed zones as may be active, `open` or a write of one more is refused.
pub(super) async fn activate_over_limit<B: Bench>(rig: &mut Rig<'_, B>, write: bool) -> Checked {
    let limit = active_limit(rig).await?;
    write_all(rig, limit, true).await?;
    let next = rig.sequential(limit).await?;
    let result = if write {
        rig.try_write(next.start, 1, 1).await
    } else {
        rig.try_verb(Verb::Open, next.zone).await
    };
    answer("activate a zone over the limit", Answer::NoResource, result)?;
    rig.unchanged("look at the refused zone", &next).await
}

/// A closed zone is active already: it can be written at the active limit.
pub(super) async fn closed_zone_at_limit<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let limit = active_limit(rig).await?;
    write_all(rig, limit, true).await?;
    let zone = rig.sequential(0).await?;
    rig.write(zone.write_lba(), 1, 1).await?;
    let open = ZoneCondition::ImplicitOpen;
    rig.expect("look at the zone", zone.zone, open, 2).await
}

/// A zone that is reset or finished is no longer active.
pub(super) async fn deactivate<B: Bench>(rig: &mut Rig<'_, B>, verb: Verb) -> Checked {
    let limit = active_limit(rig).await?;
    write_all(rig, limit, true).await?;
    let first = rig.sequential(0).await?;
    rig.verb(verb, first.zone).await?;
    let next = rig.sequential(limit).await?;
    rig.write(next.start, 1, 1).await?;
    rig.verify(next.start, 1, 1).await
}
