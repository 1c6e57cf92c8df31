//! What lies where on an image, and how to make its checksums hold again.
//!
//! Every zone but an anchor says in its first block what it is and which generation, which is all
//! that a seal is bound to besides the store; the rest follows from `FORMAT.md`.
//!
//! Invariants: `L1` a unit is listed only if its seal holds on the image as it was made. `L2` after
//! [`Layout::repair`] the seal of every unit holds, its tag is what it was mutated to, a record
//! header's check holds, and a manifest's blocks are chained.

use std::collections::{BTreeMap, BTreeSet};

use shingle_engine::Limits;
use shingle_engine::format::edit::EDIT_HEADER_LEN;
use shingle_engine::format::record::{RECORD_HEADER_LEN, RecordHeader};
use shingle_engine::format::seal::{self, Identity};
use shingle_engine::format::superblock::{ANCHOR_GENERATION, Superblock};
use shingle_engine::limits::SEAL_LEN;
use shingle_engine::zone::Role;
use shingle_hal::Device;

use crate::Drive;

/// What every zone but an anchor begins with.
const MAGIC: &[u8; 8] = b"SHNGZONE";
/// Blocks of a zone that may hold superblocks.
const ANCHOR_BLOCKS: u32 = 16;

/// Bytes that a seal covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) zone: u32,
    pub(super) role: Role,
    blocks: u32,
    identity: Identity,
}

/// The units of an image.
#[derive(Debug, Default)]
pub(super) struct Layout {
    block_len: usize,
    pub(super) units: Vec<Unit>,
    /// Record headers of each log zone, by their offset in the payload.
    records: BTreeMap<u32, Vec<u32>>,
    /// The unit of each block, by zone and block.
    unit_at: BTreeMap<(u32, u32), usize>,
}

/// The bytes of units that were changed, by number.
pub(super) type Changed = BTreeMap<usize, Vec<u8>>;

impl Layout {
    /// Looks at every zone.
    pub(super) fn of(drive: &Drive, limits: &Limits) -> Self {
        let geometry = drive.geometry();
        let block_len = geometry.block_len_bytes as usize;
        let mut layout = Self { block_len, ..Self::default() };
        let mut stores = BTreeSet::new();
        for zone in 0..geometry.zone_count {
            let blocks = drive.readable_blocks(zone);
            let Some(head) = drive.stored_blocks(zone, 0, 1).filter(|_| blocks > 0) else {
                continue;
            };
            if head.starts_with(MAGIC) {
                let role = Role::from_u8(head[28]).unwrap_or(Role::Free);
                let store_tag = seal::checksum(&head[8..24]);
                let generation = u32::from_le_bytes([head[24], head[25], head[26], head[27]]);
                let node_blocks = limits.node_len_bytes / geometry.block_len_bytes;
                let is_run = matches!(role, Role::Run | Role::Bottom);
                let step = if is_run { node_blocks } else { 1 };
                let identity = Identity { store_tag, generation, block: 0 };
                layout.add(drive, Unit { zone, role, blocks: 1, identity });
                for block in (1..(blocks + 1).saturating_sub(step)).step_by(step as usize) {
                    let identity = Identity { block, ..identity };
                    layout.add(drive, Unit { zone, role, blocks: step, identity });
                }
                continue;
            }
            for block in 0..blocks.min(ANCHOR_BLOCKS) {
                let identity = Identity { store_tag: 0, generation: ANCHOR_GENERATION, block };
                let bytes = drive.stored_blocks(zone, block, 1).unwrap_or_default();
                if let Some(found) = Superblock::decode(&bytes, block) {
                    stores.insert(found.store_id);
                    layout.add(drive, Unit { zone, role: Role::Anchor, blocks: 1, identity });
                }
            }
        }
        assert_eq!(stores.len(), 1, "one store on one drive");
        layout.find_records(drive);
        layout
    }

    fn add(&mut self, drive: &Drive, unit: Unit) {
        let block = unit.identity.block;
        let bytes = drive.stored_blocks(unit.zone, block, unit.blocks).unwrap_or_default();
        if seal::check(&bytes, unit.identity).is_err() {
            return;
        }
        for part in 0..unit.blocks {
            self.unit_at.insert((unit.zone, block + part), self.units.len());
        }
        self.units.push(unit);
    }

    fn payload(&self) -> usize {
        self.block_len - SEAL_LEN
    }

    fn find_records(&mut self, drive: &Drive) {
        let logs: BTreeSet<u32> = self
            .units
            .iter()
            .filter(|unit| unit.role.holds_values())
            .map(|unit| unit.zone)
            .collect();
        for zone in logs {
            let mut stream = Vec::new();
            let mut block = 1;
            while self.unit_at.contains_key(&(zone, block)) {
                let bytes = drive.stored_blocks(zone, block, 1).unwrap_or_default();
                stream.extend_from_slice(&bytes[..self.payload()]);
                block += 1;
            }
            let is_header = |at: &u32| {
                let found = RecordHeader::decode(&stream[*at as usize..]);
                found.is_some_and(|header| header.offset == *at)
            };
            let records = (0..stream.len() as u32).filter(is_header).collect();
            self.records.insert(zone, records);
        }
    }

    /// The record headers of a log zone.
    pub(super) fn records(&self, zone: u32) -> &[u32] {
        self.records.get(&zone).map_or(&[], Vec::as_slice)
    }

    /// The unit that holds `offset` of the payload of log zone `zone`, and where in it.
    pub(super) fn log_place(&self, zone: u32, offset: usize) -> Option<(usize, usize)> {
        let block = 1 + (offset / self.payload()) as u32;
        let unit = *self.unit_at.get(&(zone, block))?;
        Some((unit, offset % self.payload()))
    }

    /// The bytes of a unit, to be changed.
    pub(super) fn bytes<'c>(
        &self,
        drive: &Drive,
        changed: &'c mut Changed,
        number: usize,
    ) -> &'c mut Vec<u8> {
        changed.entry(number).or_insert_with(|| self.stored(drive, number))
    }

    fn stored(&self, drive: &Drive, number: usize) -> Vec<u8> {
        let unit = &self.units[number];
        let stored = drive.stored_blocks(unit.zone, unit.identity.block, unit.blocks);
        stored.unwrap_or_default()
    }

    /// Makes sure that no seal of what was changed holds: a fuzzer may find a checksum.
    pub(super) fn spoil(&self, drive: &Drive, changed: &mut Changed) {
        for (&number, bytes) in changed {
            let holds = seal::check(bytes, self.units[number].identity).is_ok();
            if holds && *bytes != self.stored(drive, number) {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
            }
        }
    }

    /// Makes every checksum hold; the headers of records too with `records`.
    pub(super) fn repair(&self, drive: &Drive, changed: &mut Changed, records: bool) {
        if records {
            self.repair_records(drive, changed);
        }
        let zones: BTreeSet<u32> = changed
            .keys()
            .map(|&number| &self.units[number])
            .filter(|unit| unit.role == Role::Manifest)
            .map(|unit| unit.zone)
            .collect();
        for (&number, bytes) in changed.iter_mut() {
            reseal(bytes, self.units[number].identity);
        }
        for zone in zones {
            self.repair_chain(drive, changed, zone);
        }
    }

    fn repair_records(&self, drive: &Drive, changed: &mut Changed) {
        let zones: BTreeSet<u32> = changed.keys().map(|&number| self.units[number].zone).collect();
        for zone in zones {
            for &at in self.records(zone) {
                let places: Option<Vec<_>> = (0..RECORD_HEADER_LEN)
                    .map(|byte| self.log_place(zone, at as usize + byte))
                    .collect();
                let Some(places) = places else { continue };
                if !places.iter().any(|(unit, _)| changed.contains_key(unit)) {
                    continue;
                }
                let head: Vec<u8> = places
                    .iter()
                    .map(|&(unit, byte)| self.bytes(drive, changed, unit)[byte])
                    .collect();
                let check = seal::checksum(&head[..28]).to_le_bytes();
                for (&(unit, byte), value) in places[28..].iter().zip(check) {
                    self.bytes(drive, changed, unit)[byte] = value;
                }
            }
        }
    }

    fn repair_chain(&self, drive: &Drive, changed: &mut Changed, zone: u32) {
        let (mut chain, mut block) = ([0; 4], 1);
        while let Some(&number) = self.unit_at.get(&(zone, block)) {
            let bytes = self.bytes(drive, changed, number);
            bytes[EDIT_HEADER_LEN - 4..EDIT_HEADER_LEN].copy_from_slice(&chain);
            reseal(bytes, self.units[number].identity);
            chain = *bytes.last_chunk().unwrap_or(&[0; 4]);
            block += 1;
        }
    }

    /// Stores what was changed.
    pub(super) fn write(&self, drive: &Drive, changed: &Changed) {
        for (&number, bytes) in changed {
            let unit = &self.units[number];
            drive.replace_blocks(unit.zone, unit.identity.block, bytes);
        }
    }
}

fn reseal(bytes: &mut [u8], identity: Identity) {
    let at = bytes.len() - SEAL_LEN;
    let tag = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    seal::seal(bytes, tag, identity);
}
