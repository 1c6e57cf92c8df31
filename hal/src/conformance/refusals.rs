//! Requests that must fail, and must have no effect when they do.
//!
//! Which of several kinds comes back is the device's choice (a write that crosses a zone may be
//! unaligned, to a full zone, or over a boundary): a check asks for the reaction it calls for,
//! and then that neither the zone nor its blocks have changed.

use super::outcome::{Answer, Mismatch};
use super::rig::{Bench, Checked, Rig, Stop, Verb, answer, fail, fill, is_sequential, kind_of};
use crate::device::Device;
use crate::error::ErrorKind;
use crate::request::Request;
use crate::zone::{Lba, ZoneCondition, ZoneDescriptor, ZoneId};

/// A read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// [`Device::read`].
    Read,
    /// [`Device::write`].
    Write,
}

/// A wrong length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Nothing.
    Zero,
    /// A block and a byte.
    Ragged,
    /// A block more than the maximum transfer.
    TooLong,
}

/// A request of `len_bytes` at `start`; the device's answer.
async fn request<B: Bench>(
    rig: &mut Rig<'_, B>,
    way: Way,
    start: Lba,
    len_bytes: usize,
) -> Result<(), ErrorKind> {
    let block_len = rig.block_len();
    let buf = &mut rig.scratch[..len_bytes];
    fill(buf, start, 9, block_len);
    let device = rig.bench.device();
    kind_of(match way {
        Way::Read => device.read(start, buf, Request::default()).await,
        Way::Write => device.write(start, buf, Request::default()).await,
    })
}

/// A zone with two written blocks, as reported.
async fn two_written<B: Bench>(rig: &mut Rig<'_, B>) -> Checked<ZoneDescriptor> {
    let zone = rig.writable().await?;
    rig.write(zone.start, 2, 1).await?;
    rig.report(zone.zone).await
}

/// Fails unless the zone of [`two_written`] is as it was.
async fn still_two<B: Bench>(rig: &mut Rig<'_, B>, before: &ZoneDescriptor) -> Checked {
    rig.unchanged("look at the zone after a refusal", before).await?;
    rig.verify(before.start, 2, 1).await
}

/// A request of a wrong length is refused without effect.
pub(super) async fn bad_length<B: Bench>(
    rig: &mut Rig<'_, B>,
    way: Way,
    length: Length,
) -> Checked {
    let zone = two_written(rig).await?;
    let block_len = rig.block_len();
    let len_bytes = match length {
        Length::Zero => 0,
        Length::Ragged => block_len + 1,
        Length::TooLong => {
            (rig.geometry.transfer_blocks_max as usize).saturating_add(1).saturating_mul(block_len)
        }
    };
    if len_bytes > rig.scratch.len() {
        return Err(Stop::Skip("the maximum transfer is larger than scratch memory"));
    }
    let start = match (way, is_sequential(&zone)) {
        (Way::Write, true) => zone.write_lba(),
        _ => zone.start,
    };
    let result = request(rig, way, start, len_bytes).await;
    answer("request of a wrong length", Answer::Refusal, result)?;
    still_two(rig, &zone).await
}

/// A request that reaches past the device is refused, whatever the address.
pub(super) async fn out_of_device<B: Bench>(rig: &mut Rig<'_, B>, way: Way) -> Checked {
    let zone = two_written(rig).await?;
    let end = rig.geometry.end();
    let block_len = rig.block_len();
    for start in [end, end.plus(1), Lba(u64::MAX / block_len as u64), Lba(u64::MAX)] {
        let result = request(rig, way, start, block_len).await;
        answer("request past the device", Answer::Refusal, result)?;
    }
    still_two(rig, &zone).await
}

/// A request that starts in one zone and ends in the next is refused.
pub(super) async fn across_zones<B: Bench>(rig: &mut Rig<'_, B>, way: Way) -> Checked {
    if rig.geometry.transfer_blocks_max < 2 {
        return Err(Stop::Skip("a transfer is one block"));
    }
    let size = rig.geometry.zone_blocks;
    let count = rig.geometry.zone_count;
    let zone = rig
        .find(0, "no full-sized zone with a zone behind it", |zone| {
            zone.condition.is_usable()
                && zone.capacity.0 == size
                && size >= super::rig::ZONE_BLOCKS_MIN
                && zone.zone.0 + 1 < count
        })
        .await?;
    let last = zone.start.plus(u64::from(size) - 1);
    let sequential = is_sequential(&zone);
    if sequential {
        rig.write(zone.start, size - 1, 1).await?;
        if way == Way::Read {
            rig.write(last, 1, 1).await?;
        }
    } else {
        rig.write(last, 1, 1).await?;
    }
    let before = rig.report(zone.zone).await?;
    let behind = rig.report(ZoneId(zone.zone.0 + 1)).await?;
    let len_bytes = 2 * rig.block_len();
    let result = request(rig, way, last, len_bytes).await;
    answer("request across zones", Answer::Refusal, result)?;
    rig.unchanged("look at the zone after a refusal", &before).await?;
    rig.unchanged("look at the zone behind it", &behind).await?;
    if sequential && way == Way::Write {
        return rig.write(last, 1, 1).await;
    }
    rig.verify(last, 1, 1).await
}

/// A write over the capacity is refused, also where it ends within the zone's size.
pub(super) async fn write_across_capacity<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let size = rig.geometry.zone_blocks;
    if rig.geometry.transfer_blocks_max < 2 {
        return Err(Stop::Skip("a transfer is one block"));
    }
    let zone = super::data::below_size(rig, size).await?;
    let last = zone.capacity.0 - 1;
    rig.write(zone.start, last, 1).await?;
    let before = rig.report(zone.zone).await?;
    let result = rig.try_write(before.write_lba(), 2, 9).await;
    answer("write across the capacity", Answer::Refusal, result)?;
    rig.unchanged("look at the zone after a refusal", &before).await?;
    rig.write(before.write_lba(), 1, 1).await?;
    let (full, end) = (ZoneCondition::Full, zone.capacity.0);
    rig.expect("look at the filled zone", zone.zone, full, end).await?;
    rig.verify(zone.start, zone.capacity.0, 1).await
}

/// A write beside the write pointer, by `skip` blocks from the zone's start, is refused.
pub(super) async fn write_beside_pointer<B: Bench>(rig: &mut Rig<'_, B>, skip: u64) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 2, 1).await?;
    let before = rig.report(zone.zone).await?;
    let result = rig.try_write(zone.start.plus(skip), 1, 9).await;
    answer("write beside the write pointer", Answer::Refusal, result)?;
    if let Err(ErrorKind::UnalignedWrite { write_pointer: Some(seen) }) = result
        && seen != before.write_lba()
    {
        let expected = super::outcome::Bound::Is(before.write_lba().0);
        let seen = seen.0;
        return Err(fail("name the write pointer", Mismatch::Number { expected, seen }));
    }
    rig.unchanged("look at the zone after a refusal", &before).await?;
    rig.verify(zone.start, 2, 1).await
}

/// A write into an empty zone beyond its start is refused and does not open it.
pub(super) async fn write_into_empty<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    let result = rig.try_write(zone.start.plus(1), 1, 9).await;
    answer("write into an empty zone", Answer::Refusal, result)?;
    rig.unchanged("look at the empty zone", &zone).await
}

/// A zone operation on a conventional zone is refused and destroys nothing.
pub(super) async fn verb_on_conventional<B: Bench>(rig: &mut Rig<'_, B>, verb: Verb) -> Checked {
    let zone = rig.conventional(0).await?;
    rig.write(zone.start, 2, 1).await?;
    let result = rig.try_verb(verb, zone.zone).await;
    answer("operate a conventional zone", Answer::CallerBug, result)?;
    rig.unchanged("look at the conventional zone", &zone).await?;
    rig.verify(zone.start, 2, 1).await
}

/// A zone operation on a zone that the device does not have is refused.
pub(super) async fn verb_out_of_device<B: Bench>(rig: &mut Rig<'_, B>, verb: Verb) -> Checked {
    let zone = two_written(rig).await?;
    for number in [rig.geometry.zone_count, u32::MAX] {
        let result = rig.try_verb(verb, ZoneId(number)).await;
        answer("operate a zone past the device", Answer::CallerBug, result)?;
    }
    still_two(rig, &zone).await
}

/// The first sequential zone in `condition`.
async fn retired<B: Bench>(
    rig: &mut Rig<'_, B>,
    condition: ZoneCondition,
) -> Checked<ZoneDescriptor> {
    let lacking = match condition {
        ZoneCondition::ReadOnly => "no zone is read only",
        _ => "no zone is offline",
    };
    rig.find(0, lacking, |zone| zone.condition == condition).await
}

/// A zone operation on a read-only or offline zone is refused; nothing leads back.
pub(super) async fn verb_on_retired<B: Bench>(
    rig: &mut Rig<'_, B>,
    condition: ZoneCondition,
) -> Checked {
    let zone = retired(rig, condition).await?;
    for verb in [Verb::Open, Verb::Close, Verb::Finish, Verb::Reset] {
        let result = rig.try_verb(verb, zone.zone).await;
        answer("operate a retired zone", Answer::RetiredOrCallerBug, result)?;
        rig.unchanged("look at the retired zone", &zone).await?;
    }
    Ok(())
}

/// A write to a read-only or offline zone is refused.
pub(super) async fn write_to_retired<B: Bench>(
    rig: &mut Rig<'_, B>,
    condition: ZoneCondition,
) -> Checked {
    let zone = retired(rig, condition).await?;
    let result = rig.try_write(zone.start, 1, 9).await;
    answer("write to a retired zone", Answer::Retired, result)?;
    rig.unchanged("look at the retired zone", &zone).await
}

/// A read of an offline zone is refused; of a read-only zone it is served.
pub(super) async fn read_of_retired<B: Bench>(
    rig: &mut Rig<'_, B>,
    condition: ZoneCondition,
) -> Checked {
    let zone = retired(rig, condition).await?;
    let result = rig.try_read(zone.start, 1).await;
    if condition == ZoneCondition::Offline {
        return answer("read an offline zone", Answer::Retired, result);
    }
    // How far it was written is not known any more, and its medium may be bad: what must not
    // happen is a refusal for being read only.
    let refused = matches!(result, Err(ErrorKind::ZoneReadOnly | ErrorKind::ZoneOffline));
    if refused {
        return answer("read a read-only zone", Answer::SuccessOrUnwritten, result);
    }
    Ok(())
}
