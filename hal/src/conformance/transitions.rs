//! The zone state machine: every condition under every request.
//!
//! The table is that of `libzbc`'s state machine scripts, in [`ZoneCondition`]'s drawing. After
//! each step the condition *and* the write pointer are reported and compared.

use super::outcome::{Answer, Bound};
use super::rig::{Bench, Checked, Rig, Verb, answer, number};
use crate::zone::{ZoneCondition, ZoneDescriptor};

/// Blocks that are written to a zone before it is brought into a condition.
const WRITTEN: u32 = 2;

/// Brings the first sequential zone into `from`.
async fn bring<B: Bench>(rig: &mut Rig<'_, B>, from: ZoneCondition) -> Checked<ZoneDescriptor> {
    let zone = rig.sequential(0).await?;
    let written = match from {
        ZoneCondition::Empty => 0,
        ZoneCondition::ImplicitOpen => {
            rig.write(zone.start, WRITTEN, 1).await?;
            WRITTEN
        }
        ZoneCondition::ExplicitOpen => {
            rig.verb(Verb::Open, zone.zone).await?;
            rig.write(zone.start, WRITTEN, 1).await?;
            WRITTEN
        }
        ZoneCondition::Closed => {
            rig.write(zone.start, WRITTEN, 1).await?;
            rig.verb(Verb::Close, zone.zone).await?;
            WRITTEN
        }
        ZoneCondition::Full => {
            rig.write(zone.start, WRITTEN, 1).await?;
            rig.verb(Verb::Finish, zone.zone).await?;
            zone.capacity.0
        }
        ZoneCondition::NotWritePointer | ZoneCondition::ReadOnly | ZoneCondition::Offline => {
            unreachable!("no request leads to this condition")
        }
    };
    rig.expect("prepare a zone", zone.zone, from, written).await?;
    rig.report(zone.zone).await
}

/// A zone operation on a zone in `from` leads to `to`.
pub(super) async fn by_verb<B: Bench>(
    rig: &mut Rig<'_, B>,
    from: ZoneCondition,
    verb: Verb,
    to: ZoneCondition,
) -> Checked {
    let before = bring(rig, from).await?;
    rig.verb(verb, before.zone).await?;
    let pointer = match to {
        ZoneCondition::Empty => 0,
        ZoneCondition::Full => before.capacity.0,
        _ => before.write_pointer.0,
    };
    rig.expect("look at the zone after the operation", before.zone, to, pointer).await?;
    let kept = before.write_pointer.0.min(WRITTEN);
    if to == ZoneCondition::Empty {
        return Ok(());
    }
    rig.verify(before.start, kept, 1).await
}

/// A write of one block to a zone in `from` leads to `to`.
pub(super) async fn by_write<B: Bench>(
    rig: &mut Rig<'_, B>,
    from: ZoneCondition,
    to: ZoneCondition,
) -> Checked {
    let before = bring(rig, from).await?;
    rig.write(before.write_lba(), 1, 2).await?;
    let pointer = before.write_pointer.0 + 1;
    rig.expect("look at the zone after a write", before.zone, to, pointer).await?;
    rig.verify(before.start, before.write_pointer.0, 1).await?;
    rig.verify(before.write_lba(), 1, 2).await
}

/// A write to a full zone is refused and changes nothing.
pub(super) async fn write_to_full<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let full = bring(rig, ZoneCondition::Full).await?;
    let result = rig.try_write(full.start, 1, 2).await;
    answer("write to a full zone", Answer::Refusal, result)?;
    rig.unchanged("look at the full zone", &full).await?;
    rig.verify(full.start, WRITTEN, 1).await
}

/// Writing the last block of the capacity makes a zone full, whichever way it was opened.
pub(super) async fn filling<B: Bench>(rig: &mut Rig<'_, B>, from: ZoneCondition) -> Checked {
    let zone = bring(rig, from).await?;
    let left = zone.capacity.0.saturating_sub(zone.write_pointer.0);
    number("blocks left in the zone", Bound::AtLeast(2), left.into())?;
    rig.write(zone.write_lba(), left - 1, 1).await?;
    let before_last = rig.report(zone.zone).await?;
    let open = match from {
        ZoneCondition::ExplicitOpen => ZoneCondition::ExplicitOpen,
        _ => ZoneCondition::ImplicitOpen,
    };
    rig.expect("look at the zone one block before its end", zone.zone, open, zone.capacity.0 - 1)
        .await?;
    rig.write(before_last.write_lba(), 1, 1).await?;
    rig.expect("look at the filled zone", zone.zone, ZoneCondition::Full, zone.capacity.0).await?;
    rig.verify(zone.start, zone.capacity.0, 1).await
}

/// An explicitly opened zone that was never written closes to empty.
pub(super) async fn close_unwritten<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.verb(Verb::Open, zone.zone).await?;
    let open = ZoneCondition::ExplicitOpen;
    rig.expect("look at the opened zone", zone.zone, open, 0).await?;
    rig.verb(Verb::Close, zone.zone).await?;
    let empty = ZoneCondition::Empty;
    rig.expect("look at the closed zone", zone.zone, empty, 0).await
}

/// An empty zone that was opened and then written stays explicitly open.
pub(super) async fn write_opened_empty<B: Bench>(rig: &mut Rig<'_, B>) -> Checked {
    let zone = rig.sequential(0).await?;
    rig.verb(Verb::Open, zone.zone).await?;
    rig.write(zone.start, 1, 1).await?;
    let open = ZoneCondition::ExplicitOpen;
    rig.expect("look at the written zone", zone.zone, open, 1).await
}
