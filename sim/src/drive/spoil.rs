//! What a fault makes of a request's effect: reads, writes, syncs, resets, and power that returns.
//!
//! ```text
//!   try_read  ──> spoil_read, spoil_unread    after the bytes were fetched
//!   try_write ──> spoil_write                 before the effect
//!   sync      ──> spoil_sync                  before it is issued
//!   reset     ──> take_contents               the contents go
//!   power_on  ──> spoil_power_on              after the cuts were applied
//! ```
//!
//! Every function here does nothing on a drive without a plan. Invariants are those of
//! [`faulty`](super::faulty); `sim/tests/fault.rs` has a test for each kind.

use std::rc::Rc;

use shingle_hal::{ErrorKind, Extent, Lba, ZoneCondition, ZoneId};

use super::blocks::ZoneBlocks;
use super::faulty::between_ns;
use super::flight::Duty;
use super::journal::{Mark, Point};
use super::mix::Rng;
use super::state::{Accepted, Place, State};
use crate::fault::{FaultKind, Stage, Strike};

/// What a recovered read takes more: a few hundred revolutions.
const EFFORT_MS: (u64, u64) = (300, 3_000);
/// Most blocks of garbage that a write pointer jumps over.
const GARBAGE_BLOCKS_MAX: u64 = 4;

impl State {
    /// The bytes in `buf` were fetched: what comes of them.
    pub(crate) fn spoil_read(
        &mut self,
        place: Place,
        buf: &mut [u8],
        mut read: Accepted,
    ) -> Accepted {
        let Some(faults) = self.faults.as_deref() else {
            return read;
        };
        let block_len = self.spec.block_len_bytes as usize;
        let extent = self.place_extent(place);
        let start = extent.start.0;
        faults.overlay.apply(start, block_len, buf);
        self.struck.ledger.read(extent);
        for mut strike in self.ask(Stage::Read, Some(extent), false, &[], &[]) {
            let first = Some(Lba(strike.blocks[0]));
            let mut hit = true;
            match strike.kind {
                FaultKind::BitRot => hit = self.rot(&mut strike, start, buf),
                FaultKind::StaleRead => {
                    for &lba in &strike.blocks {
                        let stale = self.stale(lba, &mut strike.dice);
                        let at = (lba - start) as usize * block_len;
                        buf[at..at + block_len].copy_from_slice(&stale);
                    }
                }
                FaultKind::SlowRead => {
                    read.extra_ns += between_ns(&mut strike.dice, EFFORT_MS);
                    let recovered = Err(ErrorKind::RecoveredRead { first });
                    read.planned = read.planned.and(recovered);
                }
                _ => {
                    let known = match read.planned {
                        Err(ErrorKind::UnrecoveredRead { first }) => first,
                        _ => first,
                    };
                    let first = known.min(first);
                    if read.planned != Err(ErrorKind::Hardware) {
                        read.planned = Err(ErrorKind::UnrecoveredRead { first });
                    }
                }
            }
            if hit {
                self.note_blocks(&strike);
            }
        }
        read
    }

    /// Flips a bit in each block that is hit; whether any was still sound.
    fn rot(&mut self, strike: &mut Strike, start: u64, buf: &mut [u8]) -> bool {
        let block_len = self.spec.block_len_bytes as usize;
        let Some(faults) = self.faults.as_deref_mut() else {
            return false;
        };
        let mut hit = false;
        for &lba in &strike.blocks {
            let bit = strike.dice.below(block_len as u64 * 8) as u32;
            let is_new = strike.fresh || !faults.overlay.is_rotten(lba);
            if is_new && faults.overlay.flip(lba, bit) {
                let at = (lba - start) as usize * block_len;
                buf[at + bit as usize / 8] ^= 1 << (bit % 8);
                hit = true;
            }
        }
        hit
    }

    /// After an error nobody may look at the bytes: makes them useless.
    pub(crate) fn spoil_unread(&mut self, read: &Result<Accepted, ErrorKind>, buf: &mut [u8]) {
        let Some(faults) = self.faults.as_deref_mut() else {
            return;
        };
        let answer = match read {
            Ok(accepted) => accepted.planned,
            Err(kind) => Err(*kind),
        };
        if answer.is_err_and(|kind| !matches!(kind, ErrorKind::RecoveredRead { .. })) {
            buf.fill(faults.dice.next() as u8);
        }
    }

    /// A write is about to have its effect: of how many of its blocks, and what it answers.
    pub(crate) fn spoil_write(
        &mut self,
        place: Place,
        data: &[u8],
    ) -> Result<(u32, Result<(), ErrorKind>), ErrorKind> {
        let Place { zone, at, count } = place;
        if self.faults.is_none() {
            return Ok((count, Ok(())));
        }
        self.zones.check_write(zone, at, count)?;
        let extent = self.place_extent(place);
        let start = extent.start.0;
        let strike = self.ask(Stage::Write, Some(extent), false, data, &[]).pop();
        let Some(mut strike) = strike else {
            self.renew(place, count);
            return Ok((count, Ok(())));
        };
        if strike.kind == FaultKind::WriteError {
            // What sticks is never written; otherwise it may have been all of it.
            let first_bad = (strike.blocks[0] - start) as u32;
            let most = if strike.fresh { count } else { first_bad };
            let written = strike.dice.below(u64::from(most) + 1) as u32;
            self.renew(place, written);
            let first = start + u64::from(written.min(count - 1));
            let left = Extent::new(Lba(start + u64::from(written)), count - written);
            self.note(strike.kind, left, strike.fresh);
            let fault = ErrorKind::WriteFault { first: Some(Lba(first)) };
            return Ok((written, Err(fault)));
        }
        let block_len = self.spec.block_len_bytes as usize;
        let offset = |lba: u64| (lba - start) as usize * block_len;
        let mut hidden = Vec::with_capacity(strike.blocks.len());
        for &lba in &strike.blocks {
            hidden.push(match strike.kind {
                FaultKind::TornWrite => {
                    torn(&data[offset(lba)..offset(lba) + block_len], &mut strike.dice)
                }
                _ => self.unwritten(lba),
            });
        }
        self.renew(place, count);
        let victim = match strike.kind {
            FaultKind::MisdirectedWrite => self.victim(zone, &mut strike),
            _ => None,
        };
        self.note_blocks(&strike);
        if let Some(victim) = victim {
            self.struck.ledger.hide(victim);
            self.strike_out(victim, strike.kind);
        }
        if let Some(faults) = self.faults.as_deref_mut() {
            for (&lba, bytes) in strike.blocks.iter().zip(&hidden) {
                faults.overlay.put(lba, bytes);
            }
            let victims = victim.map_or(0..0, |extent| extent.start.0..extent.end().0);
            for (lba, &from) in victims.zip(&strike.blocks) {
                faults.overlay.put(lba, &data[offset(from)..offset(from) + block_len]);
            }
        }
        Ok((count, Ok(())))
    }

    /// The first `written` blocks of a place get new contents: nothing hides them any more.
    fn renew(&mut self, place: Place, written: u32) {
        let Place { zone, at, .. } = place;
        let start = self.place_extent(place).start.0;
        let Some(faults) = self.faults.as_deref_mut() else {
            return;
        };
        faults.overlay.heal(start..start + u64::from(written));
        self.struck.ledger.heal(start..start + u64::from(written));
        if faults.rules.has(FaultKind::StaleRead) && self.zones.is_conventional(zone) {
            for block in at..at + written {
                match self.blocks.take_copy(zone, block) {
                    Some(run) => faults.before.insert((zone, block), run),
                    None => faults.before.remove(&(zone, block)),
                };
            }
        }
    }

    /// What block `lba` would hold without the write that is about to come.
    fn unwritten(&self, lba: u64) -> Vec<u8> {
        let (zone, at) = self.split(lba);
        let mut bytes = vec![0; self.spec.block_len_bytes as usize];
        if self.zones.is_conventional(zone) {
            let read = self.blocks.read(zone, at, &mut bytes);
            if let (Ok(()), Some(faults)) = (read, self.faults.as_deref()) {
                faults.overlay.apply(lba, bytes.len(), &mut bytes);
            }
        } else {
            let _ = self.past_life(zone, at, &mut bytes);
        }
        bytes
    }

    /// What block `at` of sequential `zone` held before the zone was reset; `false` and zeros if
    /// that is not known.
    fn past_life(&self, zone: u32, at: u32, bytes: &mut [u8]) -> bool {
        let life = self.faults.as_deref().and_then(|faults| faults.lives.get(&zone));
        let mut is_known = life.is_some_and(|life| life.take_copy(at).is_some());
        if let Some(life) = life.filter(|_| is_known) {
            let zeros = |_, out: &mut [u8]| {
                out.fill(0);
                Ok(())
            };
            is_known = life.read(bytes.len(), at, bytes, &zeros).is_ok();
        }
        is_known
    }

    /// What a stale read of block `lba` returns: what it held before, or another block's bytes.
    fn stale(&self, lba: u64, dice: &mut Rng) -> Vec<u8> {
        let (zone, at) = self.split(lba);
        let mut bytes = vec![0; self.spec.block_len_bytes as usize];
        let before = self.faults.as_deref().and_then(|faults| faults.before.get(&(zone, at)));
        if let Some(run) = before {
            let block_len = bytes.len();
            let _ = run.read(block_len, 0, &mut bytes);
        } else if !self.past_life(zone, at, &mut bytes)
            && let Some(other) = self.written_near(zone, dice)
        {
            let (zone, at) = self.split(other.start.0);
            let _ = self.blocks.read(zone, at, &mut bytes);
        }
        bytes
    }

    /// Where a misdirected write to `zone` lands.
    fn victim(&self, zone: u32, strike: &mut Strike) -> Option<Extent> {
        let zones = self.zones.len();
        let from = strike.dice.below(zones.into()) as u32;
        let others = (0..zones).map(|i| (from + i) % zones).filter(|other| *other != zone);
        let usable = others.filter(|zone| self.zones.condition(*zone) != ZoneCondition::Offline);
        let mut written = usable.filter_map(|zone| self.written_near(zone, &mut strike.dice));
        let extent = written.next()?;
        let count = extent.count.0.min(strike.blocks.len() as u32);
        Some(Extent::new(extent.start, count))
    }

    /// Some blocks of `zone` that were written.
    fn written_near(&self, zone: u32, dice: &mut Rng) -> Option<Extent> {
        let start = self.geometry.zone_start(ZoneId(zone));
        let (at, count) = if self.zones.is_conventional(zone) {
            let near = dice.below(self.zones.capacity(zone).into()) as u32;
            self.blocks.row_near(zone, near)?
        } else {
            let written = self.zones.written(zone);
            let at = dice.below(written.max(1).into()) as u32;
            (at, written - at.min(written))
        };
        (count > 0).then(|| Extent::new(start.plus(at.into()), count))
    }

    /// A sync that would cover `mark`: what completing it entails, and what it answers.
    pub(crate) fn spoil_sync(&mut self, mut mark: Mark) -> (Duty, Result<(), ErrorKind>) {
        if self.faults.is_none() {
            return (Duty::Sync(mark), Ok(()));
        }
        let lines = self.journal.lines.keys();
        let zones: Vec<u32> = lines.chain(self.journal.patches.keys()).copied().collect();
        let (mut answer, mut lied) = (Ok(()), false);
        for mut strike in self.ask(Stage::Sync, None, false, &[], &zones) {
            if strike.kind == FaultKind::SyncLie {
                mark.leave(&strike.zones);
                self.note(strike.kind, Extent::default(), strike.fresh);
                self.struck.ledger.lie(&strike.zones);
                lied = true;
                continue;
            }
            let zone = strike.zone();
            let dropped = zone.and_then(|zone| self.drop_tail(zone, &mut strike.dice));
            let first = dropped.map(|extent| extent.start);
            self.note(strike.kind, dropped.unwrap_or_default(), strike.fresh);
            answer = Err(match strike.dice.below(2) {
                0 => ErrorKind::Hardware,
                _ => ErrorKind::WriteFault { first },
            });
        }
        if answer.is_ok() && !lied {
            self.struck.ledger.sync();
        }
        match answer {
            Ok(()) => (Duty::Sync(mark), answer),
            Err(_) => (Duty::None, answer),
        }
    }

    /// The last unsynced writes to `zone` are gone, from some block on; where they were.
    fn drop_tail(&mut self, zone: u32, dice: &mut Rng) -> Option<Extent> {
        let start = self.geometry.zone_start(ZoneId(zone));
        if let Some(patches) = self.journal.patches.get(&zone) {
            let mut writes = patches.writes.keys();
            let from = *writes.nth(dice.below(patches.writes.len() as u64) as usize)?;
            let held = self.journal.cut_patches(zone, from);
            let (first, last) = (held.first()?.0, held.last()?.0);
            for (block, run) in held {
                self.blocks.zone_mut(zone).put(block, run);
            }
            return Some(Extent::new(start.plus(first.into()), last - first + 1));
        }
        let from = self.journal.lines.get(&zone)?.tail_from()?;
        let written = self.zones.written(zone);
        let is_active = self.zones.condition(zone).is_active();
        if from >= written || !is_active && self.zones.active_left() == 0 {
            return None;
        }
        let keep = from + dice.below((written - from).into()) as u32;
        self.journal.cut_tail(zone, keep);
        self.blocks.zone_mut(zone).truncate(keep);
        self.zones.restore(zone, keep, false);
        Some(Extent::new(start.plus(keep.into()), written - keep))
    }

    /// Empties `zone`, which was reset; what it held, and its state now.
    pub(crate) fn take_contents(&mut self, zone: u32) -> (Rc<ZoneBlocks>, Point) {
        if self.faults.is_none() {
            return (self.blocks.take(zone), Point::default());
        }
        let extent = self.zone_extent(zone);
        // The zone table has it empty already: what it was for is told by its first block.
        let mut header = vec![0; self.spec.block_len_bytes as usize];
        let header = self.blocks.read(zone, 0, &mut header).map(|()| header).unwrap_or_default();
        let strikes = self.ask(Stage::Reset, Some(extent), true, &header, &[]);
        let held = self.blocks.take(zone);
        if let Some(faults) = self.faults.as_deref_mut() {
            faults.overlay.shelve(zone, extent.start.0..extent.end().0, self.issued);
            self.struck.ledger.heal(extent.start.0..extent.end().0);
            faults.lives.insert(zone, held.clone());
        }
        for mut strike in strikes {
            let capacity = self.zones.capacity(zone);
            let written = self.zones.written(zone);
            match strike.kind {
                FaultKind::CapacityShrink if written == 0 && capacity >= 4 => {
                    let less = 1 + strike.dice.below(u64::from(capacity) / 4) as u32;
                    self.zones.set_capacity(zone, capacity - less);
                    if let Some(faults) = self.faults.as_deref_mut() {
                        let shrunk = faults.capacities.entry(zone).or_default();
                        shrunk.push((self.issued, capacity));
                    }
                    let lost = extent.start.plus((capacity - less).into());
                    self.note(strike.kind, Extent::new(lost, less), true);
                }
                FaultKind::PointerAfterReset if self.zones.active_left() > 0 => {
                    self.grow_garbage(zone, &mut strike, capacity - 1);
                }
                _ => {}
            }
        }
        (held, self.point(zone))
    }

    /// Garbage follows what `zone` holds, but not beyond block `end`.
    fn grow_garbage(&mut self, zone: u32, strike: &mut Strike, end: u32) {
        let at = self.zones.written(zone);
        if at >= end {
            return;
        }
        let most = GARBAGE_BLOCKS_MAX.min((end - at).into());
        let count = 1 + strike.dice.below(most) as u32;
        let mut garbage = vec![0; (count * self.spec.block_len_bytes) as usize];
        garbage.iter_mut().for_each(|byte| *byte = strike.dice.next() as u8);
        self.renew(Place { zone, at, count }, count);
        self.blocks.write(zone, at, &garbage);
        let is_full = at + count == self.zones.capacity(zone);
        self.zones.restore(zone, at + count, is_full);
        let extent = self.place_extent(Place { zone, at, count });
        self.note(strike.kind, extent, true);
    }

    /// Power returned and the zones are at rest; `undone` are the resets that never were.
    pub(crate) fn spoil_power_on(&mut self, undone: &[(u32, u64)]) {
        let Some(faults) = self.faults.as_deref_mut() else {
            return;
        };
        faults.overlay.unshelve(undone);
        for &(zone, request) in undone {
            faults.lives.remove(&zone);
            let Some(shrunk) = faults.capacities.get_mut(&zone) else {
                continue;
            };
            if let Some(at) = shrunk.iter().position(|(reset, _)| *reset >= request) {
                self.zones.set_capacity(zone, shrunk[at].1);
                shrunk.truncate(at);
            }
            if shrunk.is_empty() {
                faults.capacities.remove(&zone);
            }
        }
        let is_closed = |zone: &u32| self.zones.condition(*zone) == ZoneCondition::Closed;
        // Where power failed in the middle of writing, rather than anywhere.
        let lines = self.journal.lines.keys();
        let mut zones: Vec<u32> = lines.copied().filter(is_closed).collect();
        if zones.is_empty() {
            zones = (0..self.zones.len()).filter(is_closed).collect();
        }
        for mut strike in self.ask(Stage::PowerOn, None, false, &[], &zones) {
            if let Some(zone) = strike.zone() {
                self.grow_garbage(zone, &mut strike, self.zones.capacity(zone));
            }
        }
    }
}

/// A block of which the end was not written: other bytes from some point on.
fn torn(block: &[u8], dice: &mut Rng) -> Vec<u8> {
    let mut bytes = block.to_vec();
    let from = dice.below(bytes.len() as u64) as usize;
    let differs = 1 + dice.below(255) as u8;
    bytes[from..].iter_mut().for_each(|byte| *byte = dice.next() as u8);
    bytes[from] = block[from] ^ differs;
    bytes
}
