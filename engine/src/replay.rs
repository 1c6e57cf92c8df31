//! Replaying the logs: what was committed since the last flush goes into the memtables again.
//!
//! The log is replayed zone after zone in the order of generations. It ends at the first zone whose
//! records end without an `End` record, unless an earlier recovery already found that end and said
//! so in the manifest: whatever lies behind it was never acknowledged, or it would have been synced
//! together with what is missing. Where the log has a mirror, that may have more, and is replayed
//! to its own end ([`refill`](crate::refill)).
//!
//! **Damage is no end.** Where a block is not whole, a cut may have torn it, or the medium failed;
//! [`hole`](crate::hole) says how the two are told apart. Of damage the records in it are lost,
//! those behind it are replayed, and [`Stats`](crate::Stats) says between which sequence numbers
//! there may be missing ones. One case cannot be told, and is taken for a tear where the log has no
//! mirror: a block that fails in the group that was synced last before the cut, with no record
//! behind it.
//!
//! Invariants: `O1` a record takes effect only if all its blocks are there (canary
//! `TornBatchReplayed`). `O2` nothing behind a hole takes effect (canary `ReplayPastHole`). `O4` a
//! bad block costs the records in it and no others (test
//! `bad_block_in_the_log_costs_the_records_in_it`).

use shingle_hal::{Class, Device, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::{Fault, Structure};
use crate::format::edit::{Change, LogPlace};
use crate::format::entry::{Entry, Fragment, Kind, Place, encode_place};
use crate::format::marks::DAMAGED;
use crate::format::record::{
    OP_HEADER_LEN, OpHeader, OpKind, RECORD_HEADER_LEN, RecordHeader, RecordKind,
};
use crate::format::seal::le_u32;
use crate::hole::{Hole, Passed};
use crate::limits::{INDEXES_MAX, SEAL_LEN};
use crate::log::RecordReader;
use crate::log::index::{INDEX_HEADER_LEN, NO_INDEX, Note};
use crate::log::reader::{self, LogZone};
use crate::media::Place as UnitPlace;
use crate::refill::{Tail, Wanted};
use crate::sanity::op_holds;
use crate::state::{Core, State};
use crate::zone::Role;

/// Reads that replaying the logs may take, about.
pub(crate) const REPLAY_READS_MAX: u64 = 56;

impl<D: Device> Core<'_, D> {
    /// Replays both logs from the checkpoint on.
    pub(crate) async fn replay(&self) -> Result<(), Fault<D::Error>> {
        let mark = self.state.borrow().checkpoint;
        {
            let mut state = self.state.borrow_mut();
            state.seq = mark.seq;
            state.replaying = true;
        }
        let reads = self.media.stats().reads;
        // Survivors first: a later version in the log must find them there (`G2`).
        self.replay_log(Role::Cold, mark.cold).await?;
        self.replay_log(Role::Log, mark.log).await?;
        {
            let mut state = self.state.borrow_mut();
            state.replaying = false;
            if state.gap_filled {
                state.gap = None;
            }
            // Nothing followed: how far it reached is unknown.
            state.end_gap(u64::MAX);
            // What was replayed now is replayed again until the memtable is flushed.
            let reads = self.media.stats().reads - reads;
            state.log.add_walk_cost(reads * self.plan.window_len as u64);
            state.log.settle();
            // A cut may have left records in the log alone, and not in its mirror.
            state.flush_due |= self.is_log_mirrored() && !state.tables[state.active].is_empty();
        }
        self.record_ends().await
    }

    async fn replay_log(&self, role: Role, from: LogPlace) -> Result<(), Fault<D::Error>> {
        let mut place = from;
        let mut broken = false;
        let mut durable = from;
        for _ in 0..self.media.geometry.zone_count {
            let next = {
                let state = self.state.borrow();
                state
                    .zones
                    .iter()
                    .filter(|(_, zone)| {
                        zone.role() == role && zone.generation.get() >= place.generation
                    })
                    .min_by_key(|(_, zone)| zone.generation.get())
                    .map(|(id, zone)| (id, *zone))
            };
            let Some((id, zone)) = next else { break };
            let generation = zone.generation.get();
            let start = if generation == place.generation { place.offset } else { 0 };
            if broken && !planted(Bug::ReplayPastHole) {
                // Behind the end of the log: nothing here was acknowledged.
                self.state.borrow_mut().zones.get_mut(id).sealed = 1.into();
            } else {
                broken = !self.replay_zone(id, start, &mut durable).await?;
            }
            place = LogPlace { generation: generation + 1, offset: 0 };
        }
        self.judge_copies(role, durable.generation).await
    }

    /// Replays a zone's records from an offset; false if they end without saying so. Puts on
    /// `durable` as far as they say that the log was.
    async fn replay_zone(
        &self,
        id: ZoneId,
        from: u32,
        durable: &mut LogPlace,
    ) -> Result<bool, Fault<D::Error>> {
        self.look_at_copy(id).await?;
        let (zone, map, blocks) = {
            let state = self.state.borrow();
            let blocks = state.zones.written_here(id);
            (*state.zones.get(id), state.zones.map(id), blocks)
        };
        let sources = self.sources_of(zone.generation.get());
        // A zone that goes on in another may have shrunk since.
        let goes_on = self.state.borrow().zones.extension(id).is_some();
        let whole = self.media.geometry.zone_blocks;
        let capacity = if goes_on { whole } else { zone.capacity.get() };
        let even = self.even_until(id);
        // Where the device does not say how far a zone is written, its records tell.
        let sequential = !zone.is_conventional() && !self.state.borrow().zones.is_failed(id);
        let log_zone = LogZone { map, generation: zone.generation.get(), blocks, sources };
        let mut window = self.window.take(&self.lot).await;
        let window = &mut window[..self.plan.window_len];
        let mut reader = RecordReader::new(log_zone, window, self.media.block_len());
        let mut walk = Walk {
            from,
            until: u32::MAX,
            sealed: zone.sealed.get(),
            capacity,
            // Of a zone written in order, only the last block can be torn, and what follows it.
            checked_from: if sequential { blocks.saturating_sub(1) } else { 0 },
            place: (zone.role() == Role::Log).then_some(log_zone.generation),
            in_order: sequential,
            blocks,
            even,
            zone: id,
            role: zone.role(),
        };
        if sequential && zone.sealed.get() == 0 {
            let tail = reader.load_tail(&self.media).await?;
            // After a cut, garbage may follow what was written.
            let last = tail.as_ref().map_or(0, |tail| tail.last.0);
            walk.checked_from = walk.checked_from.min(last);
            walk.from = self.replay_indexes(&mut reader, log_zone, &walk, tail).await?;
        }
        let walked = self.walk(&mut reader, log_zone.generation, &walk).await?;
        *durable = (*durable).max(reader.durable);
        let uneven = self.is_uneven(id) || matches!(walked, Walked::Broken(_));
        if reader.rebuilt || (uneven && !sources.is_none()) {
            // The zone or its copy may not have all that counts: what lives in it is moved to where
            // it is protected.
            self.state.borrow_mut().note_mark(id, DAMAGED);
        }
        match walked {
            Walked::Ended => Ok(true),
            Walked::Broken(at) => {
                let mut tail = Tail::default();
                if zone.role() == Role::Log && self.is_log_mirrored() {
                    let in_place = walk.place.is_some();
                    let generation = log_zone.generation;
                    let wanted = Wanted { generation, from: at, until: u32::MAX, in_place };
                    tail = self.replay_tail(&mut reader, &wanted).await?;
                }
                let end = tail.end.unwrap_or(at);
                if tail.end.is_some() {
                    self.note_torn(log_zone.generation, at);
                }
                self.state.borrow_mut().zones.get_mut(id).sealed = end.saturating_add(1).into();
                Ok(tail.goes_on)
            }
        }
    }

    /// Replays records one after the other.
    async fn walk(
        &self,
        reader: &mut RecordReader<'_>,
        generation: u32,
        walk: &Walk,
    ) -> Result<Walked, Fault<D::Error>> {
        let mut offset = walk.from;
        // Each turn goes on by at least a byte, so the zone's length bounds the loop.
        while offset < walk.until {
            if walk.sealed > 0 && offset >= walk.sealed - 1 {
                return Ok(Walked::Ended);
            }
            let header = reader.record(&self.media, offset).await?;
            let whole = match &header {
                Some(header) => {
                    planted(Bug::TornBatchReplayed)
                        || reader.is_whole(&self.media, header, walk.checked_from).await?
                }
                None => false,
            };
            // Behind padding, the record begins later than where it was looked for.
            let at = header.map_or(offset, |header| header.offset);
            let mut kept = header.filter(|_| whole);
            if kept.is_none() {
                let full = header.is_none()
                    && reader.is_full_at(&self.media, offset, walk.capacity).await?;
                if full {
                    return Ok(Walked::Ended);
                }
                match self.judge_hole(reader, &walk.hole(at, header.as_ref())).await? {
                    Passed::Tear => return Ok(Walked::Broken(offset)),
                    Passed::Record => kept = header,
                    Passed::Rest => {
                        let until = if walk.sealed > 0 { walk.sealed - 1 } else { u32::MAX };
                        self.pass_over(reader, generation, walk, at, until).await?;
                        if self.state.borrow().gap_filled {
                            self.note_torn(generation, at);
                        }
                        return Ok(Walked::Ended);
                    }
                    Passed::To(next) => {
                        self.pass_over(reader, generation, walk, at, next).await?;
                        offset = next;
                    }
                }
            }
            let Some(header) = kept else { continue };
            reader.durable = reader.durable.max(header.durable);
            if header.kind == RecordKind::End {
                return Ok(Walked::Ended);
            }
            if crate::reclaim::brings_entries(&header) {
                let offset = header.offset;
                let place = walk.place.map(|generation| LogPlace { generation, offset });
                if header.kind == RecordKind::Commit {
                    self.state.borrow_mut().end_gap(header.seq);
                }
                if !self.replay_record(&header, reader, generation, place, walk.even).await? {
                    let end = header.offset.saturating_add(header.len);
                    self.pass_over(reader, generation, walk, header.offset, end).await?;
                    reader.renew(walk.blocks);
                }
            }
            offset = header.offset.saturating_add(header.len);
        }
        Ok(Walked::Ended)
    }

    /// Records from `from` to `until` cannot be read: what the mirror has of them takes effect.
    /// Sequence numbers are missing only from the log in commit order.
    async fn pass_over(
        &self,
        reader: &mut RecordReader<'_>,
        generation: u32,
        walk: &Walk,
        from: u32,
        until: u32,
    ) -> Result<(), Fault<D::Error>> {
        if walk.role != Role::Log {
            self.state.borrow_mut().survivors_missing = true;
            return Ok(());
        }
        self.state.borrow_mut().begin_gap();
        if self.is_log_mirrored() {
            let wanted = Wanted { generation, from, until, in_place: walk.place.is_some() };
            let filled = self.refill(reader, &wanted).await?;
            self.state.borrow_mut().gap_filled = filled;
        }
        Ok(())
    }

    /// The mirror alone has what follows in a zone: it is to be flushed.
    fn note_torn(&self, generation: u32, at: u32) {
        let mut state = self.state.borrow_mut();
        let _ = state.torn.push((generation, at));
        state.flush_due = true;
    }

    /// Replays what a zone's indexes cover: finds them from the last one back, then takes them in
    /// order and walks the gaps between them. Gives where the walk of the rest begins.
    async fn replay_indexes(
        &self,
        reader: &mut RecordReader<'_>,
        zone: LogZone,
        walk: &Walk,
        tail: Option<reader::Tail>,
    ) -> Result<u32, Fault<D::Error>> {
        let mut chain = heapless::Vec::<Link, INDEXES_MAX>::new();
        let mut next = self.last_index(reader, zone, tail).await?;
        while let Some(found) = next.filter(|found| found.at >= walk.from) {
            let body = found.at + RECORD_HEADER_LEN as u32;
            if !reader.covers(&self.media, body, INDEX_HEADER_LEN).await? {
                break;
            }
            let head = reader.bytes(body, INDEX_HEADER_LEN);
            let (previous, covers_from) = (le_u32(head), le_u32(&head[4..]));
            if chain.push(Link { found, covers_from }).is_err() || previous == NO_INDEX {
                break;
            }
            let header = reader.record(&self.media, previous).await?;
            next = header.and_then(|header| Found::of(&header)).filter(|next| next.at < found.at);
        }
        // Forward, so that what a memtable frozen on the way holds is older than what follows.
        let mut done = walk.from;
        for Link { found, covers_from } in chain.iter().rev() {
            if done < *covers_from {
                let gap = Walk { from: done, until: *covers_from, place: None, ..*walk };
                self.walk(reader, zone.generation, &gap).await?;
            }
            let body = found.at + RECORD_HEADER_LEN as u32;
            let len = found.len - RECORD_HEADER_LEN;
            // Written with more memory than there is now: walk what it covers instead.
            if !reader.takes(body, len) {
                continue;
            }
            if !reader.covers(&self.media, body, len).await? {
                // Damaged: what it covers is walked with the next gap.
                reader.renew(walk.blocks);
                continue;
            }
            done = found.at + found.len as u32;
            let is_even = done <= walk.even;
            self.replay_notes(reader, zone.generation, body, len, walk.from, is_even).await?;
        }
        Ok(done)
    }

    /// Replays the notes of an index whose body lies at `at`, of records from `from` on.
    async fn replay_notes(
        &self,
        reader: &RecordReader<'_>,
        generation: u32,
        at: u32,
        len: usize,
        from: u32,
        is_even: bool,
    ) -> Result<(), Fault<D::Error>> {
        let separate_from = self.limits.separate_from_bytes;
        let mut bytes = &reader.bytes(at, len)[INDEX_HEADER_LEN..];
        while let Some((note, rest)) = Note::decode(bytes, separate_from) {
            bytes = rest;
            if note.record < from {
                continue;
            }
            let (key, body) = note.body.split_at(usize::from(note.op.key_len));
            let value = &body[usize::from(note.op.meta_len)..];
            if !op_holds(&self.limits, &note.op, note.seq, value) {
                return Ok(());
            }
            if !note.moved {
                self.state.borrow_mut().end_gap(note.seq);
            } else if !is_even && self.is_where_it_was(&note.op) {
                continue;
            }
            self.replay_room(key.len(), body.len() + 64, None).await?;
            let place = Place { generation, offset: note.value_at };
            self.replay_op(&note.op, key, body, note.seq, place, note.moved);
        }
        Ok(())
    }

    /// The last index of a zone, found by the tag of its last whole block.
    async fn last_index(
        &self,
        reader: &mut RecordReader<'_>,
        zone: LogZone,
        tail: Option<reader::Tail>,
    ) -> Result<Option<Found>, Fault<D::Error>> {
        let Some(tail) = tail else { return Ok(None) };
        // A block's tag is set when it is begun, so it does not know of an index in it.
        let (block, tag) = tail.last;
        if let Some(found) = self.index_in(reader, block, tag).await? {
            return Ok(Some(found));
        }
        let Some((block, tag)) = tail.before else { return Ok(None) };
        let tag = match tag {
            Some(tag) => Some(tag),
            None => self.tag(zone, block).await?,
        };
        let Some(tag) = tag else { return Ok(None) };
        self.index_in(reader, block, tag).await
    }

    /// The last index among the records that start in a block of this tag.
    async fn index_in(
        &self,
        reader: &mut RecordReader<'_>,
        block: u32,
        tag: u32,
    ) -> Result<Option<Found>, Fault<D::Error>> {
        let mut offset = (block - 1) * self.payload() + (tag & 0xffff);
        let mut last = None;
        while offset < block * self.payload() {
            let Some(header) = reader.record(&self.media, offset).await? else { break };
            last = Found::of(&header).or(last);
            offset = header.offset.saturating_add(header.len);
        }
        Ok(last)
    }

    /// The tag of a log block; `None` if the block is not whole.
    async fn tag(&self, zone: LogZone, block: u32) -> Result<Option<u32>, Fault<D::Error>> {
        let mut buffer = self.nodes.take(&self.lot).await;
        let len = self.media.block_len();
        let unit = &mut buffer[..len];
        let place = UnitPlace { map: zone.map, generation: zone.generation, block };
        let class = Class::Foreground;
        match self.media.read_units(place, unit, len, Structure::LogRecord, class).await {
            Ok(()) => Ok(Some(le_u32(&unit[len - SEAL_LEN..]))),
            Err(Fault::Damaged(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Replays a record; false if it could not be read after all. What was moved and lies behind
    /// `even` takes effect only if it is not still where it was.
    async fn replay_record(
        &self,
        header: &RecordHeader,
        reader: &mut RecordReader<'_>,
        generation: u32,
        place: Option<LogPlace>,
        even: u32,
    ) -> Result<bool, Fault<D::Error>> {
        let moved = header.kind == RecordKind::Moved;
        let is_even = header.offset.saturating_add(header.len) <= even;
        // All of it or nothing: a batch is looked through before any of it takes effect.
        if header.op_count > 1 && !self.is_readable(header, reader).await? {
            return Ok(false);
        }
        let mut at = header.offset + RECORD_HEADER_LEN as u32;
        for index in 0..header.op_count {
            let Some(op) = reader.op(&self.media, at).await? else {
                return Ok(false);
            };
            let head = OP_HEADER_LEN + op.head_len();
            let len = self.replayed_len(&op);
            if !reader.covers(&self.media, at, len).await? {
                return Ok(false);
            }
            let seq = header.seq.wrapping_add(u64::from(index));
            let bytes = reader.bytes(at + OP_HEADER_LEN as u32, len - OP_HEADER_LEN);
            let value_at = Place { generation, offset: at + head as u32 };
            let (key, rest) = bytes.split_at(usize::from(op.key_len));
            let counts = !moved || is_even || !self.is_where_it_was(&op);
            if op.kind != OpKind::Fragment && counts {
                if !op_holds(&self.limits, &op, seq, &rest[usize::from(op.meta_len)..]) {
                    return Ok(false);
                }
                self.replay_room(key.len(), rest.len() + 64, place).await?;
                if op.kind == OpKind::PutFragments && !moved {
                    self.keep_lost_list(&op, key, rest, seq).await?;
                }
                self.replay_op(&op, key, rest, seq, value_at, moved);
            }
            // Not past the record, nor around the end of all offsets.
            let end = u64::from(at) + op.op_len() as u64;
            if end > u64::from(header.offset) + u64::from(header.len) {
                return Ok(false);
            }
            at = end as u32;
        }
        Ok(true)
    }

    /// Whether the zone is there that reclaim moved a value from: an entry leads to it still, and
    /// the value is as safe in it as it ever was. A zone is freed only when what was moved from it
    /// is durable, in both a zone and its copy.
    pub(crate) fn is_where_it_was(&self, op: &OpHeader) -> bool {
        self.state.borrow().zones.find(op.moved_from).is_some()
    }

    /// A list that names a zone which is gone stands for nothing, because the value was moved and
    /// the list of its new places is known (`apply_op`); but not if that list was lost with the
    /// survivors' log. Then the old one goes in: the value is gone, and its key says so.
    pub(crate) async fn keep_lost_list(
        &self,
        op: &OpHeader,
        key: &[u8],
        rest: &[u8],
        seq: u64,
    ) -> Result<(), Fault<D::Error>> {
        let (meta, list) = rest.split_at(usize::from(op.meta_len));
        let entry = Entry::fragmented(seq, 0, list);
        {
            let state = self.state.borrow();
            let gone = |part: Fragment| state.zones.find(part.generation).is_none();
            if !state.survivors_missing || !entry.fragments().any(gone) {
                return Ok(());
            }
        }
        let mut newest = 0;
        let visit = &mut |entry: Option<&Entry<'_>>| newest = entry.map_or(0, |entry| entry.seq);
        match self.find(key, u64::MAX, Class::Foreground, visit).await {
            Ok(_) | Err(Fault::Damaged(_)) => {}
            Err(fault) => return Err(fault),
        }
        if newest < seq {
            let value_len = entry.fragments().map(|part| u64::from(part.len)).sum();
            let entry = Entry::fragmented(seq, value_len, list);
            self.state.borrow_mut().insert(key, &entry.with_meta(op.version_len, meta));
        }
        Ok(())
    }

    /// Whether all that replay needs of a record's operations can be read.
    async fn is_readable(
        &self,
        header: &RecordHeader,
        reader: &mut RecordReader<'_>,
    ) -> Result<bool, Fault<D::Error>> {
        let mut at = header.offset + RECORD_HEADER_LEN as u32;
        for _ in 0..header.op_count {
            let Some(op) = reader.op(&self.media, at).await? else { return Ok(false) };
            let len = self.replayed_len(&op);
            if !reader.covers(&self.media, at, len).await? {
                return Ok(false);
            }
            at = at.saturating_add(op.op_len() as u32);
        }
        Ok(true)
    }

    /// Bytes of an operation that replay needs: without the value where it stays in the log.
    fn replayed_len(&self, op: &OpHeader) -> usize {
        let apart = op.kind == OpKind::Put && op.value_len >= self.limits.separate_from_bytes;
        let skips = apart || op.kind == OpKind::Fragment;
        if skips { OP_HEADER_LEN + op.head_len() } else { op.op_len() }
    }

    pub(crate) fn replay_op(
        &self,
        op: &OpHeader,
        key: &[u8],
        rest: &[u8],
        seq: u64,
        value_at: Place,
        moved: bool,
    ) {
        let mut state = self.state.borrow_mut();
        if !moved {
            state.seq = state.seq.max(seq);
        }
        let (meta, value) = rest.split_at(usize::from(op.meta_len));
        let separate_from = self.limits.separate_from_bytes;
        apply_op(&mut state, op, key, meta, value, seq, value_at, separate_from, moved);
    }

    /// Room in the memtables during replay. `place` is where the log stands, once the survivors
    /// are replayed: everything before it is then in the memtable that is frozen here.
    pub(crate) async fn replay_room(
        &self,
        key_len: usize,
        entry_len: usize,
        place: Option<LogPlace>,
    ) -> Result<(), Fault<D::Error>> {
        for _ in 0..3 {
            {
                let mut state = self.state.borrow_mut();
                let active = state.active;
                let ranges = state.tables[active].range_count() < crate::memtable::RANGES_MAX;
                if ranges && state.tables[active].room_for(key_len, entry_len) {
                    return Ok(());
                }
                if state.frozen.is_none() {
                    let cold = LogPlace { generation: state.born, offset: 0 };
                    let seq = state.seq;
                    let mark =
                        place.map(|log| crate::state::Mark { log, cold, seq, tickets: [0; 2] });
                    let mark = mark.unwrap_or(state.checkpoint);
                    state.frozen = Some(mark);
                    state.active = 1 - active;
                    continue;
                }
            }
            // The store was written with more memory than there is now: flush already here.
            self.begin_writing().await?;
            while self.state.borrow().frozen.is_some() {
                self.job_step(u64::MAX).await?;
            }
        }
        Err(Fault::NoMemory)
    }

    /// Records where the logs ended, if the manifest was written to during replay; otherwise the
    /// snapshot before the first write does.
    async fn record_ends(&self) -> Result<(), Fault<D::Error>> {
        if self.state.borrow().manifest.copies.is_none() {
            return Ok(());
        }
        self.commit_edit(|state, edit| {
            for (id, zone) in state.zones.iter() {
                if zone.role().holds_values() && zone.sealed.get() > 0 {
                    edit.push(&Change::Seal { zone: id.0, end: zone.sealed.get() });
                }
            }
        })
        .await?;
        // A copy that is finished no longer tells that it has less than its zone.
        self.record_marks().await?;
        self.sync_device().await?;
        self.give_back_after_mount(true).await
    }
}

/// Which records of a zone to walk.
#[derive(Clone, Copy)]
struct Walk {
    from: u32,
    until: u32,
    /// One more than where an earlier recovery found the records to end, or 0.
    sealed: u32,
    /// Blocks that records may fill without an `End`.
    capacity: u32,
    /// Records that reach this block are read to their end before they count.
    checked_from: u32,
    /// The zone's generation, where a memtable frozen during the walk may take its place.
    place: Option<u32>,
    /// What lies before a block that survived a cut survived too.
    in_order: bool,
    /// Blocks that may hold records.
    blocks: u32,
    /// Up to where both the zone and its copy hold what was written.
    even: u32,
    zone: ZoneId,
    role: Role,
}

impl Walk {
    fn hole(&self, at: u32, header: Option<&RecordHeader>) -> Hole {
        let Self { zone, blocks, in_order, sealed, .. } = *self;
        let record_end = header.and_then(|header| header.offset.checked_add(header.len));
        // An index behind it was found whole.
        let proven = in_order && self.until < u32::MAX;
        Hole { zone, at, record_end, blocks, in_order, sealed, proven }
    }
}

/// How a walk ended.
enum Walked {
    /// Where it was to end.
    Ended,
    /// At this offset, for want of a whole record.
    Broken(u32),
}

/// Where an index lies.
#[derive(Clone, Copy)]
struct Found {
    at: u32,
    len: usize,
}

impl Found {
    /// The index that a record is, if it is one.
    fn of(header: &RecordHeader) -> Option<Self> {
        let len = header.len as usize;
        let is_index = header.kind == RecordKind::Index
            && len >= RECORD_HEADER_LEN + INDEX_HEADER_LEN
            && header.offset.checked_add(header.len).is_some();
        is_index.then_some(Self { at: header.offset, len })
    }
}

/// An index, and the first record it covers.
struct Link {
    found: Found,
    covers_from: u32,
}

/// Turns an operation of the log into an entry of the memtable.
#[allow(clippy::too_many_arguments)] // one place that knows all of an operation
pub(crate) fn apply_op(
    state: &mut State<'_>,
    op: &OpHeader,
    key: &[u8],
    meta: &[u8],
    value: &[u8],
    seq: u64,
    value_at: Place,
    separate_from: u32,
    moved: bool,
) {
    let mut body = [0; 16];
    let entry = match op.kind {
        OpKind::Put if op.value_len >= separate_from => {
            let len = encode_place(value_at, &mut body).unwrap_or(0);
            Entry::pointer(seq, u64::from(op.value_len), &body[..len])
        }
        OpKind::Put => Entry::inline(seq, value),
        OpKind::Delete => Entry::tombstone(seq),
        OpKind::PutFragments => {
            let listed = Entry::fragmented(seq, 0, value);
            // The list lies behind the checkpoint, but a fragment before it: its zone was freed, so
            // the value was moved, and the list of its new places is known already, or it is dead.
            if listed.fragments().any(|part| state.zones.find(part.generation).is_none()) {
                return;
            }
            let value_len = listed.fragments().map(|part| u64::from(part.len)).sum();
            Entry::fragmented(seq, value_len, value)
        }
        OpKind::DeleteRange | OpKind::DeleteFrom => {
            let end = (op.kind == OpKind::DeleteRange).then_some(value);
            let active = state.active;
            assert!(state.tables[active].insert_range(key, end, seq).is_ok(), "room was asked for");
            return;
        }
        OpKind::Fragment => return,
    };
    if moved {
        // A version written later is there already only if replay split the memtable elsewhere.
        let mut newest = 0;
        state.find_in_memory(key, u64::MAX, &mut |entry| {
            newest = newest.max(entry.map_or(u64::MAX, |entry| entry.seq));
        });
        if newest > seq {
            return;
        }
    }
    debug_assert!(entry.kind != Kind::Boundary);
    state.insert(key, &entry.with_meta(op.version_len, meta));
}
