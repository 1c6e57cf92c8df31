//! Geometry, zone report, clock and events: what the device says of itself.

use super::outcome::{Bound, Mismatch};
use super::rig::{
    Bench, Checked, REPORT_BATCH, Rig, Stop, Verb, fail, is_sequential, number, pointer,
};
use crate::device::{Device, Event};
use crate::zone::{ElementId, ZoneCondition, ZoneDescriptor, ZoneId, ZoneType};

/// Calls `look` with every zone of the device, in order of number.
async fn every_zone<B: Bench>(
    rig: &mut Rig<'_, B>,
    look: impl Fn(u32, &ZoneDescriptor) -> Checked,
) -> Checked {
    let mut first = 0;
    while first < rig.geometry.zone_count {
        let mut batch = [ZoneDescriptor::EMPTY; REPORT_BATCH];
        let count = rig.report_into(ZoneId(first), &mut batch).await?;
        number("report zones", Bound::AtLeast(1), count as u64)?;
        for zone in &batch[..count] {
            look(first, zone)?;
            first += 1;
        }
    }
    Ok(())
}

/// Block length, counts and limits make sense.
pub(super) async fn geometry_sane<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let geometry = rig.geometry;
    let block_len = u64::from(geometry.block_len_bytes);
    number("block length", Bound::PowerOfTwo, block_len)?;
    number("block length", Bound::AtLeast(64), block_len)?;
    number("block length", Bound::AtMost(65_536), block_len)?;
    number("zone count", Bound::AtLeast(1), geometry.zone_count.into())?;
    number("zone size", Bound::AtLeast(1), geometry.zone_blocks.into())?;
    let transfer = geometry.transfer_blocks_max.into();
    number("maximum transfer", Bound::AtLeast(1), transfer)?;
    let align = geometry.buffer_align_bytes.into();
    number("buffer alignment", Bound::AtLeast(1), align)?;
    number("element count", Bound::AtLeast(1), geometry.element_count.into())
}

/// Limits are at least one, and no more zones can be open than active.
pub(super) async fn limits_sane<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let (open, active) = (rig.geometry.open_zones_max, rig.geometry.active_zones_max);
    if open.is_none() && active.is_none() {
        return Err(Stop::Skip("no limit of open or active zones"));
    }
    let least = open.unwrap_or(1);
    number("open limit", Bound::AtLeast(1), least.into())?;
    match active {
        Some(active) => number("active limit", Bound::AtLeast(least.into()), active.into()),
        None => Ok(()),
    }
}

/// The geometry is the same at every call, also after requests.
pub(super) async fn geometry_constant<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.writable().await?;
    rig.write(zone.start, 1, 1).await?;
    let same = rig.bench.device().geometry() == rig.geometry;
    number("compare geometry with that before", Bound::Is(1), same.into())
}

/// Zones are numbered from 0 without a gap, and each starts where the geometry says.
pub(super) async fn zones_in_order<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let geometry = rig.geometry;
    every_zone(rig, |expected, zone| {
        number("number of a zone", Bound::Is(expected.into()), zone.zone.0.into())?;
        let start = geometry.zone_start(ZoneId(expected)).0;
        number("start of a zone", Bound::Is(start), zone.start.0)
    })
    .await
}

/// No capacity is above the zone size, no write pointer above the capacity.
pub(super) async fn capacity_sane<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let size = rig.geometry.zone_blocks;
    every_zone(rig, |_, zone| {
        number("capacity", Bound::AtMost(size.into()), zone.capacity.0.into())?;
        if zone.condition.is_usable() {
            number("capacity", Bound::AtLeast(1), zone.capacity.0.into())?;
        }
        pointer("write pointer", zone, Bound::AtMost(zone.capacity.0.into()))
    })
    .await
}

/// Each zone names one of the device's elements.
pub(super) async fn elements_known<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let last = u64::from(rig.geometry.element_count) - 1;
    every_zone(rig, |_, zone| {
        let ElementId(element) = zone.element;
        number("element of a zone", Bound::AtMost(last), element.into())
    })
    .await
}

/// A conventional zone has no write pointer, a sequential one has; read-only and offline, none.
pub(super) async fn condition_fits_type<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    every_zone(rig, |_, zone| {
        let none = zone.condition == ZoneCondition::NotWritePointer;
        let conventional = zone.zone_type == ZoneType::Conventional;
        let expected = match (zone.condition.is_usable(), conventional, none) {
            (true, true, false) => Some(ZoneCondition::NotWritePointer),
            (true, false, true) => Some(ZoneCondition::Empty),
            _ => None,
        };
        if let Some(expected) = expected {
            let (zone, seen) = (zone.zone, zone.condition);
            let mismatch = Mismatch::Condition { zone, expected, seen };
            return Err(fail("compare condition with type", mismatch));
        }
        if conventional || !zone.condition.is_usable() {
            return pointer("write pointer of a zone without one", zone, Bound::Is(0));
        }
        Ok(())
    })
    .await
}

/// A report from the middle begins with the zone asked for.
pub(super) async fn report_from_middle<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let count = rig.geometry.zone_count;
    if count < 2 {
        return Err(Stop::Skip("the device has one zone"));
    }
    for first in [1, count / 2, count - 1] {
        let mut out = [ZoneDescriptor::EMPTY; 2];
        let seen = rig.report_into(ZoneId(first), &mut out).await?;
        let expected = u64::from(count - first).min(2);
        number("count a report from the middle", Bound::Is(expected), seen as u64)?;
        for (index, zone) in out[..seen].iter().enumerate() {
            let expected = u64::from(first) + index as u64;
            number("number of a zone", Bound::Is(expected), zone.zone.0.into())?;
        }
    }
    Ok(())
}

/// A report fills a short buffer, and no more than it.
pub(super) async fn report_short<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let count = rig.geometry.zone_count as usize;
    for room in 0..=count.min(REPORT_BATCH) {
        let mut out = [ZoneDescriptor::EMPTY; REPORT_BATCH];
        let seen = rig.report_into(ZoneId(0), &mut out[..room]).await?;
        number("count a short report", Bound::Is(room as u64), seen as u64)?;
    }
    Ok(())
}

/// A report that reaches the last zone ends there; one from behind it is empty.
pub(super) async fn report_at_end<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let count = rig.geometry.zone_count;
    let mut out = [ZoneDescriptor::EMPTY; 3];
    let seen = rig.report_into(ZoneId(count - 1), &mut out).await?;
    number("count a report of the last zone", Bound::Is(1), seen as u64)?;
    for first in [count, u32::MAX] {
        let seen = rig.report_into(ZoneId(first), &mut out).await?;
        number("count a report from behind the end", Bound::Is(0), seen as u64)?;
    }
    Ok(())
}

/// The report follows every write of a zone from empty to full.
pub(super) async fn pointer_follows<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    let (mut at, mut part) = (0, 1);
    while at + part < zone.capacity.0 && at < 32 {
        rig.write(zone.start.plus(at.into()), part, 1).await?;
        at += part;
        let open = ZoneCondition::ImplicitOpen;
        rig.expect("look at the zone after a write", zone.zone, open, at).await?;
        part = part % rig.transfer_max() + 1;
    }
    Ok(())
}

/// The write pointer of a finished zone is its capacity.
pub(super) async fn finished_pointer<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig
        .find(0, "too few sequential zones", |zone| {
            is_sequential(zone) && zone.condition.is_usable()
        })
        .await?;
    rig.verb(Verb::Finish, zone.zone).await?;
    let (full, end) = (ZoneCondition::Full, zone.capacity.0);
    rig.expect("look at the finished zone", zone.zone, full, end).await
}

/// The clock, where there is one, never goes back.
pub(super) async fn clock_forward<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let Some(mut last) = rig.bench.device().now_us() else {
        return Err(Stop::Skip("the device has no clock"));
    };
    let zone = rig.writable().await?;
    for at in 0..4 {
        rig.write(zone.start.plus(at), 1, 1).await?;
        let now = rig.bench.device().now_us().unwrap_or(0);
        number("read the clock", Bound::AtLeast(last), now)?;
        last = now;
    }
    Ok(())
}

/// Events run dry, and name zones and elements that exist.
pub(super) async fn events_end<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zones = u64::from(rig.geometry.zone_count);
    let elements = u64::from(rig.geometry.element_count);
    let bound = 4 * (zones + elements) + 64;
    for seen in 0..=bound {
        match rig.bench.device().poll_event() {
            None => return Ok(()),
            Some(Event::ZoneChanged(zone) | Event::ResetRecommended(zone)) => {
                number("zone of an event", Bound::AtMost(zones - 1), zone.0.into())?;
            }
            Some(Event::ElementLost(element)) => {
                let last = elements - 1;
                number("element of an event", Bound::AtMost(last), element.0.into())?;
            }
        }
        number("count events", Bound::AtMost(bound - 1), seen)?;
    }
    Ok(())
}
