//! The append end of a log: records go into a buffer of whole blocks, which is written at once.
//!
//! Two buffers take turns: one takes records while the other is on its way to the device. When a
//! write begins, the last block, if it is not full, is carried over into the other buffer, so that
//! blocks are padded only when someone waits for durability.
//!
//! ```text
//!   append ──> active ──begin_write──> on its way ──end_write──> spare ──> active …
//!                 └── the part of a block that is not full ──────────────────┘
//! ```
//!
//! Offsets count *payload* bytes: block `b` of a zone (from 1; block 0 is the zone's header) holds
//! payload `[(b - 1) · P, b · P)` with `P` the block length less the seal.
//!
//! Invariants: `L1` a record lies in one zone and leaves room for the `End` record behind it.
//! `L2` writes of one head never overlap in time, so the zone is written in order. `L3` what is in
//! neither buffer is on the device. `L4` a record's mark of what is durable is behind what a sync
//! that ended before it was appended has covered (canary `DurableMarkAhead`).

use shingle_hal::{Lba, ZoneId};

use crate::canary::{Bug, planted};
use crate::format::edit::LogPlace;
use crate::format::record::{RECORD_HEADER_LEN, RecordHeader, RecordKind};
use crate::format::seal::{Identity, seal};
use crate::limits::SEAL_LEN;
use crate::log::index::{Note, Notes};
use crate::media::ZoneMap;

/// Bytes of records that an index covers.
const INDEX_STRETCH: u32 = 24 << 20;
/// In the lower half of a log block's tag: no record starts in it.
pub(crate) const NO_RECORD: u32 = 0xffff;

/// The zone a head appends to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadZone {
    pub(crate) id: ZoneId,
    pub(crate) generation: u32,
    pub(crate) map: ZoneMap,
    /// Blocks that can be written, the header included.
    pub(crate) capacity: u32,
    /// Whether what lies before a block that survives a cut survives too.
    pub(crate) sequential: bool,
}

/// A buffer on its way to the device.
pub(crate) struct Writing<'m> {
    pub(crate) buffer: &'m mut [u8],
    pub(crate) lba: Lba,
    pub(crate) len: usize,
    /// The zone block that it begins at.
    pub(crate) first: u32,
    /// The zone block behind the last one.
    pub(crate) blocks: u32,
    /// `Head::appended` when the write was begun, as far as it is covered.
    pub(crate) covers: u64,
}

/// The append end of a log.
pub(crate) struct Head<'m> {
    block_len: usize,
    active: Option<&'m mut [u8]>,
    spare: Option<&'m mut [u8]>,
    pub(crate) zone: Option<HeadZone>,
    /// Zone block that the active buffer starts at.
    first_block: u32,
    /// Zone block up to which the device has taken everything.
    written_block: u32,
    /// Payload offset at which the next record goes.
    pos: u32,
    /// The last zone block whose tag was set up.
    tagged_block: u32,
    /// Bytes appended since open, over all zones; tickets for durability.
    pub(crate) appended: u64,
    /// As much of `appended` as the device has taken.
    pub(crate) written: u64,
    /// As much of `appended` as is durable.
    pub(crate) synced: u64,
    /// The place in the log up to which all of it is durable; each record says so (`L4`).
    durable: LogPlace,
    pub(crate) writing: bool,
    /// The zone is being left: nothing more goes into it.
    pub(crate) leaving: bool,
    /// Nothing but the `End` and what goes with it is to go into the zone.
    ending: bool,
    notes: Notes<'m>,
    /// Bytes between indexes.
    stretch: u32,
    /// Bytes that replay would read of what no index covers, and of what one does.
    walk_cost: u64,
    settled_cost: u64,
    /// The latter has the last index.
    counts_index: bool,
}

impl<'m> Head<'m> {
    /// A head over two equal buffers of whole blocks.
    pub(crate) fn new(memory: &'m mut [u8], notes: &'m mut [u8], block_len: usize) -> Self {
        let half = memory.len() / 2 / block_len * block_len;
        assert!(half >= 2 * block_len);
        let (active, rest) = memory.split_at_mut(half);
        Self {
            block_len,
            active: Some(active),
            spare: Some(&mut rest[..half]),
            zone: None,
            first_block: 0,
            written_block: 0,
            pos: 0,
            tagged_block: 0,
            appended: 0,
            written: 0,
            synced: 0,
            durable: LogPlace::default(),
            writing: false,
            leaving: false,
            ending: false,
            notes: Notes::new(notes),
            stretch: INDEX_STRETCH,
            walk_cost: 0,
            settled_cost: 0,
            counts_index: false,
        }
    }

    /// Payload bytes of a block.
    pub(crate) fn payload(&self) -> u32 {
        (self.block_len - SEAL_LEN) as u32
    }

    /// The longest record that an empty buffer takes.
    pub(crate) fn record_len_max(&self) -> usize {
        let blocks =
            self.active.as_ref().or(self.spare.as_ref()).map_or(0, |b| b.len()) / self.block_len;
        // One block for the zone header and one for a block carried over.
        (blocks - 2) * self.payload() as usize
    }

    /// Payload bytes left in the zone for records, the `End` record's kept back.
    pub(crate) fn zone_room(&self) -> u32 {
        if self.leaving || self.ending {
            return 0;
        }
        let index = self.notes.index_len(self.pos);
        let index = if index > 0 { index + RECORD_HEADER_LEN } else { 0 };
        self.payload_left().saturating_sub((RECORD_HEADER_LEN + index) as u32)
    }

    fn payload_left(&self) -> u32 {
        self.zone.map_or(0, |zone| {
            let end = u64::from(zone.capacity - 1) * u64::from(self.payload());
            u32::try_from(end).unwrap_or(u32::MAX).saturating_sub(self.pos)
        })
    }

    fn buffer_room(&self) -> usize {
        let Some(active) = &self.active else { return 0 };
        let blocks = (active.len() / self.block_len) as u32;
        let end = u64::from(self.first_block + blocks - 1) * u64::from(self.payload());
        end.saturating_sub(u64::from(self.pos)) as usize
    }

    /// Whether a record of `len` bytes can be appended now.
    pub(crate) fn fits(&self, len: usize) -> bool {
        len <= self.zone_room() as usize && len <= self.buffer_room()
    }

    /// Where the next record goes.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.zone.map_or(0, |zone| zone.generation), self.pos)
    }

    /// The place up to which the device has taken everything.
    pub(crate) fn written_place(&self) -> LogPlace {
        let offset = self.written_block.saturating_sub(1) * self.payload();
        self.zone.map_or(LogPlace::default(), |zone| {
            let generation = zone.generation;
            LogPlace { generation, offset }
        })
    }

    /// A sync has made durable what lies before a place.
    pub(crate) fn set_durable(&mut self, place: LogPlace) {
        self.durable = self.durable.max(place);
    }

    /// Starts a zone; `header` is its first block, sealed.
    pub(crate) fn start(&mut self, zone: HeadZone, header: impl FnOnce(&mut [u8])) {
        assert!(!self.writing, "L2");
        self.zone = Some(zone);
        self.leaving = false;
        self.ending = false;
        self.settle();
        self.notes.start();
        self.first_block = 0;
        self.written_block = 0;
        self.pos = 0;
        self.tagged_block = 0;
        let active = self.active.as_mut().expect("no write under way");
        header(&mut active[..self.block_len]);
    }

    /// No further record goes into the zone, which is to go on in another: a drive on which many
    /// writes fail has few extents in a zone. Gives the blocks of what was appended and its `End`.
    pub(crate) fn end_here(&mut self) -> u32 {
        self.ending = true;
        let needed = 1 + (self.pos + RECORD_HEADER_LEN as u32).div_ceil(self.payload());
        self.zone.map_or(needed, |zone| needed.min(zone.capacity))
    }

    /// The zone goes on in others, as `map` says, up to block `capacity`.
    pub(crate) fn go_on_in(&mut self, map: ZoneMap, capacity: u32) {
        if let Some(zone) = &mut self.zone {
            zone.map = map;
            zone.capacity = zone.capacity.min(capacity);
        }
    }

    /// No further record goes into the zone.
    pub(crate) fn end_soon(&mut self) {
        self.ending = true;
    }

    /// Appends a record made of `parts`. Returns its offset.
    ///
    /// # Panics
    /// If it does not [fit](Self::fits).
    pub(crate) fn append(
        &mut self,
        kind: RecordKind,
        op_count: u16,
        seq: u64,
        parts: &[&[u8]],
    ) -> u32 {
        let len = parts.iter().map(|part| part.len()).sum();
        self.append_parts(kind, op_count, seq, len, parts.iter().copied())
    }

    /// Appends a record whose parts come to `body_len` bytes. Returns its offset.
    ///
    /// # Panics
    /// If it does not [fit](Self::fits), or the parts have another length.
    pub(crate) fn append_parts<'a>(
        &mut self,
        kind: RecordKind,
        op_count: u16,
        seq: u64,
        body_len: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> u32 {
        let len = RECORD_HEADER_LEN + body_len;
        let own = matches!(kind, RecordKind::End | RecordKind::Index);
        assert!(own || self.fits(len), "L1");
        let offset = self.pos;
        let durable = if planted(Bug::DurableMarkAhead) {
            LogPlace { generation: self.place().0, offset: offset + len as u32 }
        } else {
            self.durable
        };
        let header = RecordHeader { kind, op_count, len: len as u32, seq, offset, durable };
        self.mark_record();
        self.copy(&header.encode());
        for part in parts {
            self.copy(part);
        }
        assert_eq!(self.pos as usize, offset as usize + len, "the parts are as long as was said");
        self.appended += len as u64;
        offset
    }

    /// Ends the zone's records; false if the buffer has no room for it now. Where padding took the
    /// zone's last bytes, it has [ended](Self::end_before_padding) them already.
    pub(crate) fn append_end(&mut self) -> bool {
        if self.payload_left() == 0 {
            return true;
        }
        let room = self.buffer_room() >= RECORD_HEADER_LEN;
        if room {
            self.append(RecordKind::End, 0, 0, &[]);
        }
        room
    }

    /// Ends the zone's records if padding of `len` bytes is to take its last ones. There is room by
    /// `L1`, unless they were ended before, and the block that is padded is in the buffer.
    fn end_before_padding(&mut self, len: u32) {
        if self.payload_left() == len && len >= RECORD_HEADER_LEN as u32 {
            self.append(RecordKind::End, 0, 0, &[]);
            self.leaving = true;
        }
    }

    fn mark_record(&mut self) {
        self.enter_block();
        let in_block = self.pos % self.payload();
        let at = self.tag_at(self.pos);
        let tag = &mut self.active.as_mut().expect("active buffer")[at..at + 4];
        if tag[..2] == NO_RECORD.to_le_bytes()[..2] {
            tag[..2].copy_from_slice(&in_block.to_le_bytes()[..2]);
        }
    }

    /// Gives the block of `pos` its tag when the first byte goes into it: no record yet, and how
    /// many blocks back the last index starts (0 for none, or too far).
    fn enter_block(&mut self) {
        let block = 1 + self.pos / self.payload();
        if block > self.tagged_block {
            let index_block = |at: u32| 1 + at / self.payload();
            let back = self.notes.last().map_or(0, |at| block - index_block(at));
            let back = if back > 0xffff { 0 } else { back };
            let at = self.tag_at(self.pos);
            let active = self.active.as_mut().expect("active buffer");
            active[at..at + 4].copy_from_slice(&(NO_RECORD | back << 16).to_le_bytes());
            self.tagged_block = block;
        }
    }

    /// Notes an operation of the record at `record`, for replay, whatever kind of zone it is in.
    pub(crate) fn note(&mut self, note: &Note<'_>, parts: &[&[u8]]) {
        let indexed = self.zone.is_some_and(|zone| zone.sequential);
        if indexed && !self.notes.push(note, parts, self.pos) {
            self.settle();
        }
    }

    /// A record costs replay this much, until an index covers it.
    pub(crate) fn add_walk_cost(&mut self, bytes: u64) {
        self.walk_cost += bytes;
    }

    /// What no index covers yet will have to be walked.
    pub(crate) fn settle(&mut self) {
        self.settled_cost += core::mem::take(&mut self.walk_cost);
    }

    /// Bytes that replay would read of this log since [`reset_cost`](Self::reset_cost).
    pub(crate) fn replay_cost(&self) -> u64 {
        self.settled_cost + self.walk_cost
    }

    /// The same without what the next index will cover.
    pub(crate) fn settled_cost(&self) -> u64 {
        self.settled_cost
    }

    /// Everything so far has gone into a memtable that is flushed as a whole.
    pub(crate) fn reset_cost(&mut self) {
        self.settled_cost = 0;
        self.walk_cost = 0;
        self.counts_index = false;
    }

    /// Appends an index when one is due, or with `now` when one is worth it, and it fits the
    /// buffer. `cost` is what replay pays to read one.
    pub(crate) fn append_index(&mut self, now: bool, cost: u64) {
        let due = if now {
            self.notes.is_worth(self.pos)
        } else {
            !self.leaving && self.notes.is_due(self.pos, self.stretch)
        };
        let len = RECORD_HEADER_LEN + self.notes.index_len(self.pos);
        let fits =
            len <= self.buffer_room() && (len + RECORD_HEADER_LEN) as u32 <= self.payload_left();
        if !due || !fits || self.zone.is_none() {
            return;
        }
        // The record's own copy of the body: the notes' memory is lent out of `self` meanwhile.
        let stand_in = Notes::stand_in(self.pos);
        let counted = self.counts_index && self.notes.replaces_last();
        let mut notes = core::mem::replace(&mut self.notes, stand_in);
        let body = notes.take(self.pos, self.pos + len as u32);
        self.append(RecordKind::Index, 0, 0, &[body]);
        self.notes = notes;
        self.settled_cost += if counted { 0 } else { cost };
        (self.walk_cost, self.counts_index) = (0, true);
    }

    /// Index in the active buffer of the tag of the block that holds payload offset `pos`.
    fn tag_at(&self, pos: u32) -> usize {
        let block = (1 + pos / self.payload() - self.first_block) as usize;
        (block + 1) * self.block_len - SEAL_LEN
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        let payload = self.payload();
        while !bytes.is_empty() {
            self.enter_block();
            let in_block = (self.pos % payload) as usize;
            let at = self.tag_at(self.pos) + SEAL_LEN - self.block_len + in_block;
            let len = bytes.len().min(payload as usize - in_block);
            let active = self.active.as_mut().expect("active buffer");
            active[at..at + len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            self.pos += len as u32;
        }
    }

    /// Whether a write would have something to write.
    pub(crate) fn is_dirty(&self) -> bool {
        self.written < self.appended
    }

    /// Takes what was appended out for writing: whole blocks, or with `pad` all of it. `None` when
    /// there is nothing to write or a write is under way.
    pub(crate) fn begin_write(
        &mut self,
        pad: bool,
        identity: impl Fn(u32) -> Identity,
    ) -> Option<Writing<'m>> {
        let zone = self.zone?;
        if self.writing {
            return None;
        }
        let payload = self.payload();
        if pad && !self.pos.is_multiple_of(payload) {
            self.end_before_padding(payload - self.pos % payload);
        }
        let partial = (self.pos % payload) as usize;
        if pad && partial > 0 {
            let at = self.tag_at(self.pos) + SEAL_LEN - self.block_len + partial;
            let end = self.tag_at(self.pos);
            self.active.as_mut()?[at..end].fill(0);
            self.pos += payload - partial as u32;
        }
        let blocks = 1 + self.pos / payload - self.first_block;
        if blocks == 0 || (blocks == 1 && self.first_block == 0 && !pad) {
            return None;
        }
        let len = blocks as usize * self.block_len;
        let carried = if pad { 0 } else { partial };
        self.spare.as_ref()?;
        let buffer = self.active.take()?;
        let next = self.spare.take()?;
        if carried > 0 {
            next[..carried].copy_from_slice(&buffer[len..len + carried]);
            let tag = self.block_len - SEAL_LEN;
            next[tag..tag + 4].copy_from_slice(&buffer[len + tag..len + tag + 4]);
        }
        self.active = Some(next);
        let first = self.first_block;
        let skip = u32::from(first == 0); // the header block is sealed already
        for (index, unit) in buffer[..len].chunks_exact_mut(self.block_len).enumerate() {
            if index as u32 >= skip {
                let tag = crate::format::seal::le_u32(&unit[self.block_len - SEAL_LEN..]);
                seal(unit, tag, identity(first + index as u32));
            }
        }
        self.first_block += blocks;
        self.writing = true;
        Some(Writing {
            buffer,
            lba: zone.map.lba(first),
            len,
            first,
            blocks: first + blocks,
            covers: self.appended - carried as u64,
        })
    }

    /// The write is done.
    pub(crate) fn end_write(&mut self, writing: Writing<'m>) {
        assert!(self.writing && self.spare.is_none(), "L2");
        self.writing = false;
        self.written = writing.covers;
        self.written_block = writing.blocks;
        self.spare = Some(writing.buffer);
    }

    /// Gives the zone up with all that was not written; gives the zone. The head begins anew in
    /// another.
    pub(crate) fn give_up(&mut self) -> Option<ZoneId> {
        self.written = self.appended;
        self.leaving = true;
        self.zone.take().map(|zone| zone.id)
    }

    /// Blocks of the zone that are in neither buffer nor on their way.
    pub(crate) fn first_buffered_block(&self) -> u32 {
        self.first_block
    }

    /// The first block that is not on the device; below the first buffered one while a write is
    /// under way.
    pub(crate) fn first_unwritten_block(&self) -> u32 {
        self.written_block
    }

    /// Copies blocks that are still in the active buffer, unsealed.
    ///
    /// # Panics
    /// If they are not.
    pub(crate) fn copy_blocks(&self, first: u32, out: &mut [u8]) {
        assert!(first >= self.first_block, "L3");
        let active = self.active.as_ref().expect("active buffer");
        let at = (first - self.first_block) as usize * self.block_len;
        out.copy_from_slice(&active[at..at + out.len()]);
    }
}
