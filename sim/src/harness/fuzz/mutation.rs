//! What is done to an image.
//!
//! Blind mutations (a bit, bytes, a splice, a swap) meet every byte; aimed ones change one field of
//! a structure and leave the rest of it sensible, which is what gets past the first check.

use arbitrary::Arbitrary;
use shingle_engine::format::edit::{Change, Changes, EDIT_HEADER_LEN, EditHeader};
use shingle_engine::format::superblock::Superblock;
use shingle_engine::limits::SEAL_LEN;
use shingle_engine::zone::Role;

use super::repair::{Changed, Layout, Unit};
use crate::Drive;

/// Bytes of an input that are one mutation.
pub(super) const MUTATION_LEN: usize = 11;

/// A mutation; what its numbers mean depends on the image.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Mutation {
    verb: u8,
    unit: u16,
    other: u16,
    at: u16,
    value: u32,
}

impl Mutation {
    /// A number in the place of `before`.
    fn number(&self, before: u64) -> u64 {
        match self.other % 10 {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => u64::from(u32::MAX),
            4 => before.wrapping_add(1),
            5 => before.wrapping_sub(1),
            6 => before ^ (1 << (self.value % 64)),
            7 => before / 2,
            8 => u64::from(self.value % 256),
            _ => u64::from(self.value),
        }
    }

    /// The unit that is mutated: of a role drawn first, as most units are of logs.
    fn target(&self, layout: &Layout) -> Option<usize> {
        const ROLES: [Role; 8] = [
            Role::Anchor,
            Role::Manifest,
            Role::Manifest,
            Role::Log,
            Role::Log,
            Role::Cold,
            Role::Run,
            Role::Bottom,
        ];
        let role = ROLES[usize::from(self.unit) % ROLES.len()];
        let of_role = |(_, unit): &(usize, &Unit)| unit.role == role;
        let count = layout.units.iter().enumerate().filter(of_role).count();
        if count == 0 {
            return (usize::from(self.unit)).checked_rem(layout.units.len());
        }
        // From the last one back: that is where a small number should lead.
        let nth = usize::from(self.unit) / ROLES.len() % count;
        layout.units.iter().enumerate().filter(of_role).rev().nth(nth).map(|(number, _)| number)
    }

    /// Mutates.
    pub(super) fn apply(&self, drive: &Drive, layout: &Layout, changed: &mut Changed) {
        let Some(target) = self.target(layout) else { return };
        let bytes = layout.bytes(drive, changed, target);
        let at = usize::from(self.at) % bytes.len();
        match self.verb % 12 {
            0 => bytes[at] ^= 1 << (self.value % 8),
            1 => {
                let end = bytes.len().min(at + usize::from(self.other % 64) + 1);
                bytes[at..end].fill(self.value as u8);
            }
            2 => {
                let other = usize::from(self.other) % layout.units.len();
                let from = layout.bytes(drive, changed, other).clone();
                let to = layout.bytes(drive, changed, target);
                let len = from.len().min(to.len() - at).min(self.value as usize % from.len() + 1);
                let start = (at + self.value as usize / 7) % (from.len() - len + 1);
                to[at..at + len].copy_from_slice(&from[start..start + len]);
            }
            3 => {
                let other = usize::from(self.other) % layout.units.len();
                let there = layout.bytes(drive, changed, other).clone();
                if there.len() == layout.bytes(drive, changed, target).len() {
                    let here = layout.bytes(drive, changed, target).clone();
                    *layout.bytes(drive, changed, other) = here;
                    *layout.bytes(drive, changed, target) = there;
                }
            }
            4 => {
                let width = [1, 2, 4, 8][self.value as usize / 256 % 4];
                self.overwrite(bytes, at, width);
            }
            _ => self.aimed(drive, layout, changed, target),
        }
    }

    /// Writes a number of `width` bytes.
    fn overwrite(&self, bytes: &mut [u8], at: usize, width: usize) {
        let Some(place) = bytes.get_mut(at..at + width) else { return };
        let mut number = [0; 8];
        number[..width].copy_from_slice(place);
        let number = self.number(u64::from_le_bytes(number)).to_le_bytes();
        place.copy_from_slice(&number[..width]);
    }

    fn aimed(&self, drive: &Drive, layout: &Layout, changed: &mut Changed, target: usize) {
        let unit = layout.units[target];
        match unit.role {
            Role::Anchor => self.superblock(layout.bytes(drive, changed, target)),
            Role::Manifest => self.edit(layout.bytes(drive, changed, target)),
            Role::Run | Role::Bottom => self.node(layout.bytes(drive, changed, target)),
            _ => self.record(drive, layout, changed, unit.zone),
        }
    }

    fn superblock(&self, bytes: &mut [u8]) {
        let Ok((mut found, _)) = postcard::take_from_bytes::<Superblock>(bytes) else { return };
        let set32 = |field: &mut u32| *field = self.number(u64::from(*field)) as u32;
        let set16 = |field: &mut u16| *field = self.number(u64::from(*field)) as u16;
        match self.at % 14 {
            0 => set16(&mut found.version),
            1 => found.ordinal = self.number(found.ordinal),
            2 => found.store_id[0] ^= 1,
            3 => set32(&mut found.block_len_bytes),
            4 => set32(&mut found.zone_count),
            5 => set32(&mut found.zone_blocks),
            6 => set16(&mut found.limits.key_len_max),
            7 => set16(&mut found.limits.meta_len_max),
            8 => found.limits.value_len_max = self.number(found.limits.value_len_max),
            9 => set32(&mut found.limits.node_len_bytes),
            10 => set32(&mut found.limits.separate_from_bytes),
            11 => set32(&mut found.manifest[self.value as usize % 2].zone),
            12 => set32(&mut found.manifest[self.value as usize % 2].generation),
            _ => found.first_edit = self.number(found.first_edit),
        }
        let end = bytes.len() - SEAL_LEN;
        bytes[..end].fill(0);
        // A superblock always fits the shortest block.
        assert!(postcard::to_slice(&found, &mut bytes[..end]).is_ok());
    }

    /// Changes a field of one change, drops it, or says it twice.
    fn edit(&self, bytes: &mut [u8]) {
        let original = bytes.to_vec();
        let Some((mut header, body)) = EditHeader::decode(&original) else { return };
        let count = Changes::new(body).count();
        let chosen = usize::from(self.at / 8).checked_rem(count);
        let end = bytes.len() - SEAL_LEN;
        let mut len = 0;
        for (number, change) in Changes::new(body).enumerate() {
            let times = match self.at % 8 {
                0 if Some(number) == chosen => 0,
                1 if Some(number) == chosen => 2,
                _ => 1,
            };
            let change =
                if Some(number) == chosen && times == 1 { self.change(change) } else { change };
            for _ in 0..times {
                let room = &mut bytes[EDIT_HEADER_LEN + len..end];
                len += postcard::to_slice(&change, room).map_or(0, |used| used.len());
            }
        }
        header.len = len as u16;
        header.encode(bytes);
    }

    fn change<'a>(&self, mut change: Change<'a>) -> Change<'a> {
        let set = |field: &mut u32| *field = self.number(u64::from(*field)) as u32;
        let set8 = |field: &mut u8| *field = self.number(u64::from(*field)) as u8;
        let which = self.value / 256 % 8;
        match &mut change {
            Change::Take { zone, generation, role } => match which % 3 {
                0 => set(zone),
                1 => set(generation),
                _ => set8(role),
            },
            Change::Free { zone } | Change::Retire { zone } | Change::Promote { zone } => set(zone),
            Change::Extend { zone, from, into } => match which % 3 {
                0 => set(zone),
                1 => set(from),
                _ => set(into),
            },
            Change::Twin { zone, twin } => set(if which.is_multiple_of(2) { zone } else { twin }),
            Change::Protect { zone, parity, blocks } => match which % 3 {
                0 => set(zone),
                1 => set(parity),
                _ => set(blocks),
            },
            Change::Fill { zone, written, live } => match which % 3 {
                0 => set(zone),
                1 => set(written),
                _ => set(live),
            },
            Change::Seal { zone, end } => set(if which.is_multiple_of(2) { zone } else { end }),
            Change::Piece(piece) => match which {
                0 => set(&mut piece.generation),
                1 => set(&mut piece.start),
                2 => set(&mut piece.nodes),
                3 => set(&mut piece.entries),
                4 => set(&mut piece.run),
                5 => set8(&mut piece.level),
                6 => piece.first_len = self.number(u64::from(piece.first_len)) as u16,
                _ => set8(&mut piece.first[0]),
            },
            Change::Drop { generation, start } => {
                set(if which.is_multiple_of(2) { generation } else { start });
            }
            Change::Merge { level, into, run, last_input } => match which % 4 {
                0 => set8(level),
                1 => set8(into),
                2 => set(run),
                _ => set(last_input),
            },
            Change::MergeKey { level, .. } | Change::MergeEnd { level } => set8(level),
            Change::Checkpoint { log, cold, seq } => match which % 5 {
                0 => set(&mut log.generation),
                1 => set(&mut log.offset),
                2 => set(&mut cold.generation),
                3 => set(&mut cold.offset),
                _ => *seq = self.number(*seq),
            },
            Change::Mark { zone, marks, .. } => match which % 2 {
                0 => set(zone),
                _ => set8(marks),
            },
            Change::Scrub { pass, zone, .. } => {
                set(if which.is_multiple_of(2) { pass } else { zone })
            }
            Change::Reserved16 => {}
            Change::Counters { generation_limit, next_run } => {
                set(if which.is_multiple_of(2) { generation_limit } else { next_run });
            }
        }
        change
    }

    /// A field of the header, or of the last groups, or the first bytes of the items.
    fn node(&self, bytes: &mut [u8]) {
        let len = bytes.len();
        let at = usize::from(self.at);
        match self.value / 1024 % 3 {
            0 => self.overwrite(bytes, at % 10, if at % 10 < 4 { 1 } else { 2 }),
            1 => self.overwrite(bytes, len - SEAL_LEN - 2 * (1 + at % 16), 2),
            _ => self.overwrite(bytes, 16 + at % (len / 2), 1),
        }
    }

    /// A field of a record header, or of what begins behind it: an operation or an index.
    fn record(&self, drive: &Drive, layout: &Layout, changed: &mut Changed, zone: u32) {
        const FIELDS: [(usize, usize); 14] = [
            (0, 1),
            (2, 2),
            (4, 4),
            (8, 8),
            (16, 4),
            (32, 1),
            (34, 2),
            (36, 2),
            (38, 2),
            (40, 4),
            (32, 4),
            (36, 4),
            (44, 4),
            (60, 16),
        ];
        let records = layout.records(zone);
        let Some(nth) = usize::from(self.at / 16).checked_rem(records.len()) else { return };
        let start = records[records.len() - 1 - nth] as usize;
        let (field, width) = FIELDS[usize::from(self.at % 16) % FIELDS.len()];
        let offset = start + field + if width > 8 { self.value as usize / 64 % width } else { 0 };
        let width = if width > 8 { 1 } else { width };
        let places: Option<Vec<_>> =
            (0..width).map(|byte| layout.log_place(zone, offset + byte)).collect();
        let Some(places) = places else { return };
        let mut number = [0; 8];
        for (to, &(unit, byte)) in number.iter_mut().zip(&places) {
            *to = layout.bytes(drive, changed, unit)[byte];
        }
        let number = self.number(u64::from_le_bytes(number)).to_le_bytes();
        for (from, (unit, byte)) in number.into_iter().zip(places) {
            layout.bytes(drive, changed, unit)[byte] = from;
        }
    }
}
