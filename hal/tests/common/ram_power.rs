//! What the reference device keeps when the power fails: every choice the contract leaves is
//! drawn from its seed.

use shingle_hal::{ErrorKind, ZoneCondition};

use super::fault::Fault;
use super::ram::Ram;
use super::ram_state::{State, Zone};

/// A number below `bound`.
fn draw(rng: &mut u64, bound: u32) -> u32 {
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    ((*rng >> 32) as u32) % bound
}

/// Makes everything durable.
pub(crate) fn sync(device: &Ram) -> Result<(), ErrorKind> {
    let state = &mut *device.state.borrow_mut();
    if !state.dirty && device.is(Fault::IdleSyncFails) {
        return Err(ErrorKind::Hardware);
    }
    state.dirty = false;
    if device.is(Fault::SyncDoesNothing) {
        return Ok(());
    }
    for (zone, durable) in state.zones.iter_mut().zip(&mut state.durable) {
        if zone.reset_since_sync && device.is(Fault::SyncSkipsResets) {
            continue;
        }
        zone.reset_since_sync = false;
        *durable = zone.clone();
        if zone.written < zone.pointer && device.is(Fault::SyncSkipsFinishes) {
            durable.pointer = zone.written;
        }
    }
    Ok(())
}

/// Cuts the power and turns it on again.
pub(crate) fn cut(device: &Ram) {
    let block_len = device.shape.geometry.block_len_bytes as usize;
    let state = &mut *device.state.borrow_mut();
    state.cycles += 1;
    for at in 0..state.zones.len() {
        match state.zones[at].condition {
            ZoneCondition::NotWritePointer => cut_conventional(device, state, at, block_len),
            ZoneCondition::ReadOnly | ZoneCondition::Offline => {}
            _ => cut_sequential(device, state, at, block_len),
        }
    }
    state.forgets = device.is(Fault::CutForgetsPointer);
    if !device.is(Fault::SurvivorsNotDurable) {
        state.durable = state.zones.clone();
    }
}

/// Each unsynced block is kept, lost or torn by itself.
fn cut_conventional(device: &Ram, state: &mut State, at: usize, block_len: usize) {
    let State { zones, durable, rng, .. } = state;
    let (zone, old) = (&mut zones[at], &durable[at]);
    let blocks = zone.data.chunks_exact_mut(block_len).zip(old.data.chunks_exact(block_len));
    let mut hit = false;
    for (new, old) in blocks {
        if hit && device.is(Fault::CutHitsConventional) {
            new.fill(0xee);
        }
        hit = new != old;
        if !hit {
            continue;
        }
        match draw(rng, 3) {
            0 => {}
            1 => new.copy_from_slice(old),
            _ => new.fill(0x77),
        }
    }
}

/// A prefix of what was written survives; a reset or finish is kept or undone.
fn cut_sequential(device: &Ram, state: &mut State, at: usize, block_len: usize) {
    let unsynced_before = at > 0 && state.durable[at - 1].written < state.zones[at - 1].written;
    let State { zones, durable, rng, .. } = state;
    let (zone, old) = (&mut zones[at], &durable[at]);
    let opened = zone.condition.is_open();
    let fresh = zone.written;
    let finish_is_new = zone.pointer > zone.written && old.pointer <= old.written;
    if zone.reset_since_sync && device.is(Fault::ResetHalfUndone) && zone.written == 0 {
        *zone = old.clone();
        keep(zone, zone.pointer.min(1), block_len);
    } else if zone.reset_since_sync && device.is(Fault::RewriteMixesOldAndNew) {
        let mixed = fresh as usize * block_len;
        zone.data[mixed..].copy_from_slice(&old.data[mixed..]);
        (zone.written, zone.pointer) = (old.written, old.pointer);
    } else if zone.reset_since_sync && (draw(rng, 2) == 0 || device.is(Fault::SyncSkipsResets)) {
        *zone = old.clone();
    } else if finish_is_new && device.is(Fault::UndoneFinishLosesData) {
        keep(zone, 0, block_len);
    } else if old.written < old.pointer && !zone.reset_since_sync {
        // A finish that was synced: nothing unsynced can have come behind it.
    } else if finish_is_new && draw(rng, 2) == 0 && !device.is(Fault::SyncSkipsFinishes) {
        // The finish is kept, and with it all that was written before it.
    } else if zone.pointer > 0 {
        let base = if zone.reset_since_sync { 0 } else { old.written };
        let survive = match device.fault {
            Some(Fault::CutLeavesHole | Fault::CutFullIsClosed) => fresh,
            Some(Fault::SurvivorsNotDurable) if device_cycles_odd(state.cycles) => fresh,
            Some(Fault::SurvivorsNotDurable) => base,
            _ => base + draw(rng, fresh - base + 1),
        };
        keep(zone, survive, block_len);
        if survive > base && draw(rng, 3) == 0 {
            let last = (survive as usize - 1) * block_len;
            zone.data[last + block_len / 2..last + block_len].fill(0x77);
        }
        if device.is(Fault::CutLeavesHole) && survive > base {
            zone.data[base as usize * block_len..][..block_len].fill(0);
        }
    }
    if device.is(Fault::CutHitsNeighbour) && unsynced_before && zone.pointer > 0 {
        keep(zone, zone.pointer - 1, block_len);
    }
    zone.reset_since_sync = false;
    zone.condition = match zone.pointer {
        _ if opened && device.is(Fault::CutLeavesOpen) => ZoneCondition::ImplicitOpen,
        0 => ZoneCondition::Empty,
        end if end == zone.capacity && !device.is(Fault::CutFullIsClosed) => ZoneCondition::Full,
        _ => ZoneCondition::Closed,
    };
}

fn device_cycles_odd(cycles: u32) -> bool {
    cycles % 2 == 1
}

/// Leaves the first `blocks` of the zone and nothing behind them.
fn keep(zone: &mut Zone, blocks: u32, block_len: usize) {
    zone.data[blocks as usize * block_len..].fill(0);
    zone.written = blocks;
    zone.pointer = blocks;
}
