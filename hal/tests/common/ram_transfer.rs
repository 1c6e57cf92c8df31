//! Reads and writes of the reference device.

use shingle_hal::{ErrorKind, Lba, ZoneCondition, ZoneId};

use super::fault::{Fault, Length};
use super::ram::Ram;
use super::ram_state::State;

impl Ram {
    /// The device-wide checks of a transfer; `Ok(false)` if a fault has it answered as done.
    pub(super) fn admit(&self, start: Lba, len: usize, write: bool) -> Result<bool, ErrorKind> {
        let geometry = self.shape.geometry;
        let length = match len {
            0 => Some(Length::Zero),
            _ if !len.is_multiple_of(self.block_len()) => Some(Length::Ragged),
            _ if len / self.block_len() > geometry.transfer_blocks_max as usize => {
                Some(Length::TooLong)
            }
            _ => None,
        };
        let error = match geometry.transfer(start, len) {
            Ok(_) => return Ok(true),
            Err(error) => error,
        };
        let accepted = match (error, write, length) {
            (ErrorKind::InvalidRequest, false, Some(length)) => Fault::AcceptsRead(length),
            (ErrorKind::InvalidRequest, true, Some(length)) => Fault::AcceptsWrite(length),
            (ErrorKind::OutOfDevice, false, _) => Fault::AcceptsReadOutOfDevice,
            (ErrorKind::OutOfDevice, true, _) => Fault::AcceptsWriteOutOfDevice,
            (_, false, _) => Fault::AcceptsReadAcrossZones,
            (_, true, _) => Fault::AcceptsWriteAcrossZones,
        };
        if self.is(accepted) { Ok(false) } else { Err(error) }
    }

    pub(super) fn read_now(&self, start: Lba, buf: &mut [u8]) -> Result<(), ErrorKind> {
        if !self.admit(start, buf.len(), false)? {
            return Ok(());
        }
        let state = &mut *self.state.borrow_mut();
        let start = if self.is(Fault::SwapsReads) { state.last_read } else { start };
        let (at, offset) = self.locate(start);
        if self.is(Fault::ReadNeedsResource)
            && self.open_count(state) >= self.shape.geometry.open_zones_max.unwrap_or(99)
        {
            return Err(ErrorKind::TooManyOpenZones);
        }
        let zone = &mut state.zones[at];
        match zone.condition {
            ZoneCondition::Offline if !self.is(Fault::ServesOffline) => {
                return Err(ErrorKind::ZoneOffline);
            }
            ZoneCondition::ReadOnly if self.is(Fault::RefusesReadOnlyRead) => {
                return Err(ErrorKind::ZoneReadOnly);
            }
            ZoneCondition::Closed if self.is(Fault::ReadOpens) => {
                zone.condition = ZoneCondition::ImplicitOpen;
            }
            _ => {}
        }
        let end = offset + (buf.len() / self.block_len()) as u32;
        if zone.condition.is_usable() && zone.condition != ZoneCondition::NotWritePointer {
            if end > zone.capacity && self.is(Fault::ReadAboveCapacityCrosses) {
                return Err(ErrorKind::CrossesZone);
            }
            if end > zone.pointer && self.is(Fault::UnwrittenReadIsHardware) {
                return Err(ErrorKind::Hardware);
            }
            if end > zone.pointer && !self.shape.read_unwritten {
                let first = Some(start.plus(u64::from(zone.pointer.saturating_sub(offset))));
                return Err(ErrorKind::ReadPastWritePointer { first });
            }
        }
        let from = offset as usize * self.block_len();
        let len = buf.len();
        buf.copy_from_slice(&zone.data[from..from + len]);
        Ok(())
    }

    /// Zone index, and blocks from its start.
    fn locate(&self, lba: Lba) -> (usize, u32) {
        let zone = self.shape.geometry.zone_of(lba);
        let start = self.shape.geometry.zone_start(zone);
        (zone.0 as usize, (lba.0 - start.0) as u32)
    }

    /// Whether a sequential zone takes a write of `count` blocks at `offset`.
    fn may_write(
        &self,
        state: &mut State,
        at: usize,
        offset: u32,
        count: u32,
    ) -> Result<bool, ErrorKind> {
        let zone = &state.zones[at];
        let pointer = zone.pointer - u32::from(state.forgets && zone.pointer > 0);
        if zone.condition == ZoneCondition::Full {
            return if self.is(Fault::AcceptsWriteToFull) {
                Ok(false)
            } else {
                Err(ErrorKind::ZoneFull)
            };
        }
        if offset != pointer {
            let start = self.shape.geometry.zone_start(ZoneId(at as u32));
            let accepted = match offset < pointer {
                true => self.is(Fault::AcceptsWriteBelowPointer),
                false => self.is(Fault::AcceptsWriteAbovePointer),
            };
            if accepted {
                return Ok(false);
            }
            if self.is(Fault::RefusedWriteOpens) {
                state.zones[at].condition = ZoneCondition::ImplicitOpen;
            }
            return Err(ErrorKind::UnalignedWrite {
                write_pointer: Some(start.plus(u64::from(pointer))),
            });
        }
        if offset + count > zone.capacity {
            let accepted = self.is(Fault::AcceptsWriteAcrossCapacity);
            return if accepted { Ok(false) } else { Err(ErrorKind::CrossesZone) };
        }
        self.make_room(state, at, false)?;
        Ok(true)
    }

    pub(super) fn write_now(&self, start: Lba, data: &[u8]) -> Result<(), ErrorKind> {
        if !self.admit(start, data.len(), true)? {
            return Ok(());
        }
        let state = &mut *self.state.borrow_mut();
        let (at, offset) = self.locate(start);
        let count = (data.len() / self.block_len()) as u32;
        let before = state.zones[at].condition;
        match before {
            _ if !before.is_usable() && self.is(Fault::AcceptsRetiredWrite) => return Ok(()),
            ZoneCondition::ReadOnly => return Err(ErrorKind::ZoneReadOnly),
            ZoneCondition::Offline => return Err(ErrorKind::ZoneOffline),
            ZoneCondition::NotWritePointer => {}
            _ if !self.may_write(state, at, offset, count)? => return Ok(()),
            _ => {}
        }
        state.clock += 1;
        state.writes += 1;
        state.dirty = true;
        let now = state.clock;
        let zone = &mut state.zones[at];
        let from = offset as usize * self.block_len();
        let mut len = data.len();
        if count > 1 && self.is(Fault::LosesLastOfMany) {
            len -= self.block_len();
        }
        let old = &mut zone.data[from..from + len];
        let rewrite = old.iter().any(|byte| *byte != 0);
        let last = offset + count == zone.capacity;
        let lost = self.is(Fault::LosesWrites)
            || before == ZoneCondition::NotWritePointer
                && (rewrite && self.is(Fault::ConventionalWritesOnce)
                    || last && self.is(Fault::ConventionalEndIsLost));
        if !lost {
            old.copy_from_slice(&data[..len]);
        }
        if before == ZoneCondition::NotWritePointer {
            return Ok(());
        }
        zone.pointer = offset + count;
        zone.written = zone.pointer;
        if !before.is_open() {
            zone.condition = ZoneCondition::ImplicitOpen;
            zone.opened = now;
        }
        if zone.pointer == zone.capacity && !self.is(Fault::FilledStaysOpen) {
            zone.condition = ZoneCondition::Full;
            state.leaked_open += u32::from(self.is(Fault::FillLeaksOpen));
        } else if self.is(Fault::WriteCloses(before)) {
            zone.condition = ZoneCondition::Closed;
        }
        Ok(())
    }
}
