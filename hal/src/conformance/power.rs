//! What is left when the power fails.
//!
//! The contract leaves the device choices: unsynced writes of a sequential zone survive as a
//! prefix whose last block may be torn, those of a conventional zone each for itself, resets and
//! finishes are kept or undone. A check compares what every choice has in common. One pass sees
//! one outcome; a bench whose power cuts vary is run several times.

use super::outcome::Bound;
use super::rig::{Bench, Checked, Rig, Verb, fill, number, pointer, poll_once};
use crate::device::Device;
use crate::request::Request;
use crate::zone::{Lba, ZoneCondition, ZoneDescriptor, ZoneId};

/// What a power cut may leave of a zone that was synced at `synced` blocks and written up to
/// `written`.
#[derive(Clone, Copy)]
struct Cut {
    zone: ZoneId,
    synced: u32,
    written: u32,
}

/// Fails unless the zone holds a prefix of what was written, no shorter than what was synced.
async fn is_prefix<B: Bench>(rig: &mut Rig<'_, B>, cut: Cut) -> Checked<ZoneDescriptor> {
    let zone = rig.report(cut.zone).await?;
    let step = "look at the write pointer after the power cycle";
    pointer(step, &zone, Bound::AtLeast(cut.synced.into()))?;
    pointer(step, &zone, Bound::AtMost(cut.written.into()))?;
    rig.verify(zone.start, cut.synced, 1).await?;
    // The last surviving block may be torn, so of the unsynced ones all but it are compared.
    let left = zone.write_pointer.0;
    if left > cut.synced + 1 {
        let from = zone.start.plus(cut.synced.into());
        rig.verify(from, left - cut.synced - 1, 1).await?;
    }
    Ok(zone)
}

/// Synced writes of a sequential zone are there after a power cycle.
pub(super) async fn synced_is_kept<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 3, 1).await?;
    rig.sync().await?;
    rig.power_cycle().await?;
    rig.expect("look at the synced zone", zone.zone, ZoneCondition::Closed, 3).await?;
    rig.verify(zone.start, 3, 1).await
}

/// Synced writes of a conventional zone are there after a power cycle, unsynced ones beside them
/// or not.
pub(super) async fn conventional_synced<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.conventional(0).await?;
    rig.write(zone.start, 5, 1).await?;
    rig.sync().await?;
    rig.write(zone.start.plus(1), 1, 2).await?;
    rig.write(zone.start.plus(3), 1, 2).await?;
    rig.power_cycle().await?;
    for at in [0, 2, 4] {
        rig.verify(zone.start.plus(at), 1, 1).await?;
    }
    let none = ZoneCondition::NotWritePointer;
    rig.expect("look at the conventional zone", zone.zone, none, 0).await
}

/// Of unsynced writes a prefix survives, with the write pointer at its end.
pub(super) async fn unsynced_is_prefix<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    let written = zone.capacity.0.min(12) - 1;
    rig.write(zone.start, 2, 1).await?;
    rig.sync().await?;
    for at in 2..written {
        rig.write(zone.start.plus(at.into()), 1, 1).await?;
    }
    rig.power_cycle().await?;
    let cut = Cut { zone: zone.zone, synced: 2, written };
    is_prefix(rig, cut).await?;
    Ok(())
}

/// A write in flight when the power fails leaves a prefix of its blocks, or none.
pub(super) async fn in_flight_is_prefix<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 2, 1).await?;
    rig.sync().await?;
    let count = rig.transfer_max().min(3);
    let block_len = rig.block_len();
    let data = &mut rig.scratch[..count as usize * block_len];
    let start = zone.start.plus(2);
    fill(data, start, 1, block_len);
    let device = rig.bench.device();
    poll_once(device.write(start, data, Request::default())).await;
    rig.power_cycle().await?;
    let cut = Cut { zone: zone.zone, synced: 2, written: 2 + count };
    is_prefix(rig, cut).await?;
    Ok(())
}

/// Unsynced writes to one zone put nothing at risk in another.
pub(super) async fn zones_independent<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let (here, there) = (rig.sequential(0).await?, rig.sequential(1).await?);
    for zone in [here, there] {
        rig.write(zone.start, 2, 1).await?;
    }
    rig.sync().await?;
    rig.write(here.start.plus(2), 2, 1).await?;
    rig.power_cycle().await?;
    rig.expect("look at the other zone", there.zone, ZoneCondition::Closed, 2).await?;
    rig.verify(there.start, 2, 1).await?;
    let cut = Cut { zone: here.zone, synced: 2, written: 4 };
    is_prefix(rig, cut).await?;
    Ok(())
}

/// No zone is open after a power cycle, and each condition fits its write pointer.
pub(super) async fn nothing_is_open<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let (written, opened) = (rig.sequential(0).await?, rig.sequential(1).await?);
    rig.write(written.start, 1, 1).await?;
    if rig.geometry.open_zones_max != Some(1) {
        rig.verb(Verb::Open, opened.zone).await?;
    }
    rig.sync().await?;
    rig.power_cycle().await?;
    rig.expect("look at the written zone", written.zone, ZoneCondition::Closed, 1).await?;
    rig.expect("look at the opened zone", opened.zone, ZoneCondition::Empty, 0).await
}

/// Unsynced writes leave a condition that fits the write pointer they leave.
pub(super) async fn condition_fits_pointer<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, zone.capacity.0, 1).await?;
    rig.power_cycle().await?;
    let zone = rig.report(zone.zone).await?;
    let expected = match zone.write_pointer.0 {
        0 => ZoneCondition::Empty,
        end if end == zone.capacity.0 => ZoneCondition::Full,
        _ => ZoneCondition::Closed,
    };
    rig.expect("compare condition with write pointer", zone.zone, expected, zone.write_pointer.0)
        .await
}

/// A zone is written on from where the report says the power cut left it.
pub(super) async fn writes_go_on<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 1, 1).await?;
    rig.sync().await?;
    rig.write(zone.start.plus(1), 2, 1).await?;
    rig.power_cycle().await?;
    let left = rig.report(zone.zone).await?;
    rig.write(left.write_lba(), 2, 2).await?;
    rig.verify(left.write_lba(), 2, 2).await?;
    rig.verify(zone.start, 1, 1).await
}

/// A hash of each block below `end`, 0 where the read fails.
async fn digest<B: Bench>(rig: &mut Rig<'_, B>, start: Lba, end: u32) -> [u64; 12] {
    let mut digests = [0; 12];
    for (at, digest) in digests.iter_mut().enumerate().take(end as usize) {
        if rig.try_read(start.plus(at as u64), 1).await.is_ok() {
            let block = &rig.scratch[..rig.block_len()];
            let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            *digest = block.iter().fold(0xcbf2_9ce4_8422_2325, fold);
        }
    }
    digests
}

/// What was readable after one power cycle is durable: it stays over a second one.
pub(super) async fn readable_is_durable<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    let written = zone.capacity.0.min(12) - 1;
    rig.write(zone.start, 1, 1).await?;
    rig.sync().await?;
    rig.write(zone.start.plus(1), written - 1, 1).await?;
    rig.power_cycle().await?;
    let first = rig.report(zone.zone).await?;
    let before = digest(rig, zone.start, first.write_pointer.0).await;
    rig.power_cycle().await?;
    rig.unchanged("look at the zone after a second power cycle", &first).await?;
    let after = digest(rig, zone.start, first.write_pointer.0).await;
    for (before, after) in before.into_iter().zip(after) {
        if before != 0 {
            number("compare a block over a second power cycle", Bound::Is(before), after)?;
        }
    }
    Ok(())
}

/// A synced reset stays.
pub(super) async fn synced_reset<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 3, 1).await?;
    rig.sync().await?;
    rig.verb(Verb::Reset, zone.zone).await?;
    rig.sync().await?;
    rig.power_cycle().await?;
    rig.expect("look at the reset zone", zone.zone, ZoneCondition::Empty, 0).await
}

/// A synced finish stays, of a written zone and of an empty one.
pub(super) async fn synced_finish<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let (zone, empty) = (rig.sequential(0).await?, rig.sequential(1).await?);
    rig.write(zone.start, 3, 1).await?;
    for zone in [zone, empty] {
        rig.verb(Verb::Finish, zone.zone).await?;
    }
    rig.sync().await?;
    rig.power_cycle().await?;
    for zone in [zone, empty] {
        let (full, end) = (ZoneCondition::Full, zone.capacity.0);
        rig.expect("look at the finished zone", zone.zone, full, end).await?;
    }
    rig.verify(zone.start, 3, 1).await
}

/// An unsynced reset is kept, or undone for the zone as a whole.
pub(super) async fn unsynced_reset<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 3, 1).await?;
    rig.sync().await?;
    rig.verb(Verb::Reset, zone.zone).await?;
    rig.power_cycle().await?;
    let left = rig.report(zone.zone).await?;
    pointer("look at the reset zone", &left, Bound::Either(0, 3))?;
    rig.verify(zone.start, left.write_pointer.0, 1).await
}

/// A reset and the writes behind it survive as the old zone or as a prefix of the new one.
pub(super) async fn unsynced_rewrite<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 5, 1).await?;
    rig.sync().await?;
    rig.verb(Verb::Reset, zone.zone).await?;
    rig.write(zone.start, 3, 2).await?;
    rig.power_cycle().await?;
    let left = rig.report(zone.zone).await?.write_pointer.0;
    if left == 5 {
        return rig.verify(zone.start, 5, 1).await;
    }
    number("look at the rewritten zone", Bound::AtMost(3), left.into())?;
    rig.verify(zone.start, left.saturating_sub(1), 2).await
}

/// An unsynced finish is kept or undone; what was written before it stays.
pub(super) async fn unsynced_finish<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.write(zone.start, 3, 1).await?;
    rig.sync().await?;
    rig.verb(Verb::Finish, zone.zone).await?;
    rig.power_cycle().await?;
    let left = rig.report(zone.zone).await?;
    let either = Bound::Either(3, zone.capacity.0.into());
    pointer("look at the finished zone", &left, either)?;
    rig.verify(zone.start, 3, 1).await
}

/// A device is the same device after a power cycle.
pub(super) async fn geometry_is_kept<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    rig.power_cycle().await?;
    let same = rig.bench.device().geometry() == rig.geometry;
    number("compare geometry over a power cycle", Bound::Is(1), same.into())
}

/// A sync succeeds with and without something to make durable, and changes no data.
pub(super) async fn sync_idle<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.writable().await?;
    rig.sync().await?;
    rig.write(zone.start, 2, 1).await?;
    rig.sync().await?;
    rig.sync().await?;
    rig.verify(zone.start, 2, 1).await
}
