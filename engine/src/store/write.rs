//! Writing: `put`, `delete`, `delete_range`, batches; conditions and durability.
//!
//! ```text
//!   check ─> conditions (search, may read) ─> room (zone, memtable, buffer; may wait)
//!         ─> still so? append + memtable + sequence number (no await) ─> durable? ─> pay
//! ```
//!
//! A condition is decided twice: by a search, which may read, and again in the section without
//! awaits, by the memtables and by the tree not having changed since. What lies between can only
//! have gone into the memtables.

use shingle_hal::{Class, Device};

use crate::canary::{Bug, planted};
use crate::error::{Fault, WriteError};
use crate::format::entry::{Entry, Fragment, Place, encode_fragments};
use crate::format::record::{OP_HEADER_LEN, OpHeader, OpKind, RECORD_HEADER_LEN, RecordKind};
use crate::limits::{FRAGMENT_LEN_MAX, FRAGMENTS_MAX, STREAMS_MAX};
use crate::log::index::Note;
use crate::log::mirror::{MIRROR_HEADER_LEN, Mirrored};
use crate::maintain::RANGES_AT_ONCE;
use crate::reclaim::Fragments;
use crate::replay::apply_op;
use crate::state::{Core, Side, State};
use crate::store::Store;
use crate::store::batch::Batch;
use crate::store::options::{Condition, Durability, Meta, WriteOptions};

/// Bytes that an entry takes in a memtable beyond its key, metadata and value.
const ENTRY_OVERHEAD: usize = 256;

/// One operation on its way into the log.
#[derive(Clone, Copy)]
struct Op<'a> {
    header: OpHeader,
    key: &'a [u8],
    meta: Meta<'a>,
    value: &'a [u8],
}

impl<'a> Op<'a> {
    fn new(kind: OpKind, key: &'a [u8], meta: Meta<'a>, value: &'a [u8]) -> Self {
        let header = OpHeader {
            kind,
            key_len: key.len() as u16,
            version_len: meta.version_len,
            meta_len: meta.bytes.len() as u16,
            value_len: value.len() as u32,
            moved_from: 0,
        };
        Self { header, key, meta, value }
    }

    fn record_len(&self) -> usize {
        RECORD_HEADER_LEN + self.header.op_len()
    }
}

/// Whether an entry fulfils a condition.
fn holds(condition: &Condition<'_>, entry: Option<&Entry<'_>>) -> bool {
    match condition {
        Condition::None => true,
        Condition::Absent => entry.is_none(),
        Condition::Present => entry.is_some(),
        Condition::Version(version) => entry.is_some_and(|entry| entry.version() == *version),
    }
}

impl<D: Device> Core<'_, D> {
    /// Decides a condition by a search; gives the tree's version that the answer belongs to, or
    /// `None` if there is nothing to decide.
    async fn decide(
        &self,
        key: &[u8],
        condition: &Condition<'_>,
    ) -> Result<Option<u64>, WriteError<D::Error>> {
        if *condition == Condition::None {
            return Ok(None);
        }
        let mut held = false;
        let version = self
            .find(key, u64::MAX, Class::Foreground, &mut |entry| held = holds(condition, entry))
            .await?;
        if held { Ok(Some(version)) } else { Err(WriteError::ConditionFailed) }
    }

    /// Decides the conditions of a batch; gives the oldest version of the tree that an answer
    /// belongs to.
    async fn decide_all(&self, batch: &Batch<'_>) -> Result<Option<u64>, WriteError<D::Error>> {
        let mut oldest: Option<u64> = None;
        for op in batch.ops() {
            let version = self.decide(op.key, &op.condition).await?;
            oldest = oldest.min(version).or(oldest).or(version);
        }
        Ok(oldest)
    }

    /// Whether the tree has changed since a decision.
    fn is_outdated(&self, decided: Option<u64>) -> bool {
        decided.is_some_and(|version| version != self.state.borrow().tree.version)
    }

    /// Room for a write everywhere; the caller checks it again without an await between.
    async fn make_write_room(
        &self,
        entries_len: usize,
        record_len: usize,
        mirrored: usize,
        is_delete: bool,
    ) -> Result<(), WriteError<D::Error>> {
        if self.is_read_only() {
            return Err(WriteError::ReadOnly);
        }
        if !self.make_zone_room(record_len as u64, is_delete).await? {
            return Err(WriteError::Full);
        }
        self.make_entry_room(entries_len, 0, false).await?;
        self.make_record_room(Side::Log, record_len, mirrored).await?;
        Ok(())
    }

    fn read_only_or(&self, fault: Fault<D::Error>) -> WriteError<D::Error> {
        match fault {
            Fault::NoSpace if self.is_read_only() => WriteError::ReadOnly,
            fault => fault.into(),
        }
    }

    /// Makes a write durable if it is to be, and pays for it.
    async fn complete(
        &self,
        ticket: u64,
        bytes: u64,
        durability: Durability,
    ) -> Result<(), WriteError<D::Error>> {
        if durability == Durability::Durable {
            self.make_durable(Side::Log, ticket).await.map_err(|fault| self.read_only_or(fault))?;
        }
        match self.pay(bytes).await {
            // The write is done; what maintenance lacks, or cannot read, the next one is told.
            Ok(()) | Err(Fault::NoSpace | Fault::NoMemory | Fault::Damaged(_)) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// Accounts for a record that was appended; gives its ticket for durability.
fn account<D: Device>(
    core: &Core<'_, D>,
    state: &mut State<'_>,
    bytes: u64,
    record_len: usize,
) -> u64 {
    state.counters.user_bytes += bytes;
    // Replay reads a window for each record that fills one, and small records by the window.
    state.log.add_walk_cost(record_len.min(core.plan.window_len) as u64);
    state.log.appended
}

impl<D: Device> Store<'_, D> {
    /// Sets `key` to `value` with metadata `meta`.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cost
    /// One append to the log; a condition costs a [`get_meta`](Self::get_meta).
    pub async fn put(
        &self,
        key: &[u8],
        meta: Meta<'_>,
        value: &[u8],
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<D::Error>> {
        self.check_put(key, &meta, value.len() as u64)?;
        let op = Op::new(OpKind::Put, key, meta, value);
        let apart = op.header.value_len >= self.core.limits.separate_from_bytes;
        if apart && self.is_split(&op) {
            return self.put_split(key, meta, value, options).await;
        }
        self.write_op(&op, options, 0).await
    }

    pub(crate) fn check_put(
        &self,
        key: &[u8],
        meta: &Meta<'_>,
        value_len: u64,
    ) -> Result<(), WriteError<D::Error>> {
        let limits = &self.core.limits;
        if !self.check_key(key) {
            return Err(WriteError::KeyLength);
        }
        if meta.bytes.len() > usize::from(limits.meta_len_max) {
            return Err(WriteError::MetaTooLong);
        }
        if value_len > limits.value_len_max {
            return Err(WriteError::ValueTooLong);
        }
        Ok(())
    }

    /// Removes `key`; removing what is absent is no error, unless a condition says so.
    ///
    /// # Errors
    /// See [`WriteError`]. A full store still takes deletes.
    pub async fn delete(
        &self,
        key: &[u8],
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<D::Error>> {
        if !self.check_key(key) {
            return Err(WriteError::KeyLength);
        }
        self.write_op(&Op::new(OpKind::Delete, key, Meta::NONE, &[]), options, 0).await
    }

    /// Removes every key from `start` up to, not including, `end`; without an end, every key from
    /// `start` on.
    ///
    /// # Errors
    /// See [`WriteError`].
    ///
    /// # Cost
    /// That of one delete, however many keys there are.
    pub async fn delete_range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        durability: Durability,
    ) -> Result<(), WriteError<D::Error>> {
        if !self.check_key(start) || end.is_some_and(|end| !self.check_key(end)) {
            return Err(WriteError::KeyLength);
        }
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        let kind = if end.is_some() { OpKind::DeleteRange } else { OpKind::DeleteFrom };
        let op = Op::new(kind, start, Meta::NONE, end.unwrap_or(&[]));
        self.write_op(&op, WriteOptions { durability, condition: Condition::None }, 0).await
    }

    /// Writes one operation, and pays for the bytes that were written for it `before`, too.
    async fn write_op(
        &self,
        op: &Op<'_>,
        options: WriteOptions<'_>,
        before: u64,
    ) -> Result<(), WriteError<D::Error>> {
        let core = &self.core;
        let is_delete = !matches!(op.header.kind, OpKind::Put | OpKind::PutFragments);
        let record_len = op.record_len();
        let apart =
            op.header.kind == OpKind::Put && op.header.value_len >= core.limits.separate_from_bytes;
        let inline = if apart { 0 } else { op.value.len() };
        let entry_len = op.header.head_len() + inline + ENTRY_OVERHEAD;
        let mirrored = OP_HEADER_LEN + op.header.head_len() + inline;
        let bytes = (op.header.head_len() + op.value.len()) as u64;
        let ticket = loop {
            let mut decided = core.decide(op.key, &options.condition).await?;
            core.make_write_room(entry_len, record_len, mirrored, is_delete).await?;
            if core.is_outdated(decided) {
                // Making room changed the tree. Deciding again does not, so this ends.
                decided = core.decide(op.key, &options.condition).await?;
            }
            let mut state = core.state.borrow_mut();
            if !has_room(&mut state, entry_len, record_len, mirrored) {
                continue;
            }
            if let Some(version) = decided
                && !still_holds(&state, op.key, &options.condition, version)?
            {
                continue;
            }
            state.seq += 1;
            let seq = state.seq;
            let parts = [&op.header.encode()[..], op.key, op.meta.bytes, op.value];
            let (generation, _) = state.log.place();
            let record = state.log.append(RecordKind::Commit, 1, seq, &parts);
            let offset = record + (RECORD_HEADER_LEN + OP_HEADER_LEN + op.header.head_len()) as u32;
            let place = Place { generation, offset };
            let separate_from = core.limits.separate_from_bytes;
            let value = if op.header.is_apart(separate_from) { &[] } else { op.value };
            let note =
                Note { record, moved: false, seq, value_at: offset, op: op.header, body: &[] };
            state.log.note(&note, &[op.key, op.meta.bytes, value]);
            let of = Mirrored { generation, offset: record, len: record_len as u32, moved: false };
            let header = op.header.encode();
            let parts = [&header[..], op.key, op.meta.bytes, value];
            let leans = op.header.kind == OpKind::PutFragments;
            state.mirror_record(&of, 1, seq, mirrored, leans, parts.into_iter());
            apply_op(
                &mut state,
                &op.header,
                op.key,
                op.meta.bytes,
                op.value,
                seq,
                place,
                separate_from,
                false,
            );
            break account(core, &mut state, bytes, record_len);
        };
        core.complete(ticket, bytes + before, options.durability).await
    }

    /// Applies a batch: all of it or nothing, also over a power cut.
    ///
    /// # Errors
    /// See [`WriteError`]; [`ConditionFailed`](WriteError::ConditionFailed) if any condition does
    /// not hold.
    pub async fn write(
        &self,
        batch: &Batch<'_>,
        durability: Durability,
    ) -> Result<(), WriteError<D::Error>> {
        let core = &self.core;
        let mut record_len = RECORD_HEADER_LEN;
        let mut entries_len = 0;
        let mut mirrored = 0;
        let mut bytes = 0;
        let mut is_delete = true;
        for op in batch.ops() {
            let value_len = u64::from(op.header.value_len);
            let meta = &op.rest[..usize::from(op.header.meta_len)];
            let meta = Meta { bytes: meta, version_len: op.header.version_len };
            self.check_put(op.key, &meta, value_len)?;
            let ranged = op.header.kind == OpKind::DeleteRange;
            if ranged && !self.check_key(&op.rest[..op.header.value_len as usize]) {
                return Err(WriteError::KeyLength);
            }
            is_delete &= op.header.kind != OpKind::Put;
            record_len += op.bytes.len();
            mirrored += OP_HEADER_LEN + op.mirrored_len(core.limits.separate_from_bytes);
            let inline = value_len.min(u64::from(core.limits.separate_from_bytes)) as usize;
            entries_len += op.header.head_len() + inline + ENTRY_OVERHEAD;
            bytes += op.header.head_len() as u64 + value_len;
        }
        if batch.is_empty() {
            return Ok(());
        }
        let ranges = batch.ops().filter(|op| is_range(op.header.kind)).count();
        let fits_table =
            entries_len + 4096.min(core.plan.memtable_len / 4) <= core.plan.memtable_len;
        let too_long = record_len > core.record_len_max(Side::Log)
            || mirrored + RECORD_HEADER_LEN + MIRROR_HEADER_LEN > core.mirror_len_max();
        if too_long || !fits_table || ranges > RANGES_AT_ONCE {
            return Err(WriteError::BatchTooLarge);
        }
        let ticket = loop {
            let mut decided = core.decide_all(batch).await?;
            core.make_write_room(entries_len, record_len, mirrored, is_delete).await?;
            if core.is_outdated(decided) {
                decided = core.decide_all(batch).await?;
            }
            let mut state = core.state.borrow_mut();
            if !has_room(&mut state, entries_len, record_len, mirrored) {
                continue;
            }
            let mut still = true;
            for op in batch.ops().filter(|op| op.condition != Condition::None) {
                still &= still_holds(&state, op.key, &op.condition, decided.unwrap_or(0))?;
            }
            if !still {
                continue;
            }
            append_batch(&mut state, batch, &core.limits, mirrored);
            break account(core, &mut state, bytes, record_len);
        };
        core.complete(ticket, bytes, durability).await
    }

    /// Whether a value is better written in several records: too long for one, or the zone's rest
    /// is worth using.
    fn is_split(&self, op: &Op<'_>) -> bool {
        let most = self.core.record_len_max(Side::Log);
        let room = self.core.state.borrow().log.zone_room() as usize;
        let least = self.core.fragment_least();
        op.record_len() > most
            || (op.record_len() > room && room > least && op.value.len() > 2 * least)
    }

    async fn put_split(
        &self,
        key: &[u8],
        meta: Meta<'_>,
        value: &[u8],
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<D::Error>> {
        let mut pen = self.begin_fragments(key)?;
        let mut at = 0;
        while at < value.len() {
            at += pen.append(&value[at..], value.len()).await?;
        }
        pen.commit(meta, options).await
    }
}

fn is_range(kind: OpKind) -> bool {
    matches!(kind, OpKind::DeleteRange | OpKind::DeleteFrom)
}

fn has_room(state: &mut State<'_>, entries_len: usize, record_len: usize, mirrored: usize) -> bool {
    let table = &state.tables[state.active];
    let ranges_left = crate::memtable::RANGES_MAX - table.range_count();
    state.log.fits(record_len)
        && state.mirror_fits(Side::Log, mirrored)
        && table.room_for(entries_len, 0)
        && ranges_left >= RANGES_AT_ONCE
}

/// Decides a condition again without reading; false if that takes a new search.
fn still_holds<E>(
    state: &State<'_>,
    key: &[u8],
    condition: &Condition<'_>,
    version: u64,
) -> Result<bool, WriteError<E>> {
    let mut held = false;
    if state.find_in_memory(key, u64::MAX, &mut |entry| held = holds(condition, entry)) {
        return if held { Ok(true) } else { Err(WriteError::ConditionFailed) };
    }
    Ok(state.tree.version == version)
}

fn append_batch(
    state: &mut State<'_>,
    batch: &Batch<'_>,
    limits: &crate::format::superblock::Limits,
    mirrored: usize,
) {
    let first = state.seq + 1;
    let (generation, start) = state.log.place();
    let len: usize = batch.ops().map(|op| op.bytes.len()).sum();
    let parts = batch.ops().map(|op| op.bytes);
    let count = batch.len() as u16;
    let record = state.log.append_parts(RecordKind::Commit, count, first, len, parts);
    debug_assert_eq!(record, start);
    let separate_from = limits.separate_from_bytes;
    let of =
        Mirrored { generation, offset: start, len: (RECORD_HEADER_LEN + len) as u32, moved: false };
    let parts = batch.ops().map(|op| &op.bytes[..OP_HEADER_LEN + op.mirrored_len(separate_from)]);
    state.mirror_record(&of, count, first, mirrored, false, parts);
    let mut at = start + RECORD_HEADER_LEN as u32;
    let mut another = None;
    for op in batch.ops() {
        state.seq += 1;
        let seq = state.seq;
        let offset = at + (OP_HEADER_LEN + op.header.head_len()) as u32;
        let mut value_at = Place { generation, offset };
        if planted(Bug::ValueOfAnotherKey) {
            value_at = *another.get_or_insert(value_at);
        }
        let (meta, value) = op.rest.split_at(usize::from(op.header.meta_len));
        let inline = if op.header.is_apart(separate_from) { &[] } else { value };
        let note = Note { record, moved: false, seq, value_at: offset, op: op.header, body: &[] };
        state.log.note(&note, &[op.key, meta, inline]);
        apply_op(state, &op.header, op.key, meta, value, seq, value_at, separate_from, false);
        at += op.bytes.len() as u32;
    }
}

/// A value being written in fragments, before it is committed under its key.
pub(crate) struct Pen<'s, 'm, 'k, D: Device> {
    store: &'s Store<'m, D>,
    key: &'k [u8],
    fragments: Fragments,
    bytes: u64,
}

impl<D: Device> Drop for Pen<'_, '_, '_, D> {
    fn drop(&mut self) {
        let mut state = self.store.core.state.borrow_mut();
        state.streams -= 1;
        let mut before = None;
        for fragment in &self.fragments {
            if before != Some(fragment.generation) {
                let zone = state.zones.find(fragment.generation);
                let Some(zone) = zone else { unreachable!("a zone with a fragment is kept") };
                state.zones.get_mut(zone).pens -= 1;
            }
            before = Some(fragment.generation);
        }
    }
}

impl<'m, D: Device> Store<'m, D> {
    pub(crate) fn begin_fragments<'s, 'k>(
        &'s self,
        key: &'k [u8],
    ) -> Result<Pen<'s, 'm, 'k, D>, WriteError<D::Error>> {
        let mut state = self.core.state.borrow_mut();
        if state.streams == STREAMS_MAX {
            return Err(WriteError::TooManyStreams);
        }
        state.streams += 1;
        Ok(Pen { store: self, key, fragments: Fragments::new(), bytes: 0 })
    }
}

impl<D: Device> Pen<'_, '_, '_, D> {
    /// Appends the first bytes of `part` as a fragment; returns how many. `total` is the length of
    /// the whole value, by which the fragments are made long enough.
    pub(crate) async fn append(
        &mut self,
        part: &[u8],
        total: usize,
    ) -> Result<usize, WriteError<D::Error>> {
        let core = &self.store.core;
        if self.fragments.len() == core.limits.fragments_max() {
            return Err(WriteError::ValueTooLong);
        }
        let overhead = RECORD_HEADER_LEN + OP_HEADER_LEN + self.key.len();
        let most = core.record_len_max(Side::Log) - overhead;
        let room = core.state.borrow().log.zone_room() as usize;
        let least = core.fragment_least().max(total / (core.limits.fragments_max() / 2)).min(most);
        let mut len = part.len().min(most);
        if len + overhead > room && room > least + overhead {
            len = room - overhead;
        }
        loop {
            if core.is_read_only() {
                return Err(WriteError::ReadOnly);
            }
            // Fragments count as used once they are committed, so the first asks for all of them.
            let wanted = if self.fragments.is_empty() { total.max(len) } else { len };
            if !core.make_zone_room((overhead + wanted) as u64, false).await? {
                return Err(WriteError::Full);
            }
            core.make_room(Side::Log, overhead + len).await?;
            let mut state = core.state.borrow_mut();
            if !state.log.fits(overhead + len) {
                continue;
            }
            let op = Op::new(OpKind::Fragment, self.key, Meta::NONE, &part[..len]);
            let (generation, _) = state.log.place();
            let parts = [&op.header.encode()[..], self.key, op.value];
            let record = state.log.append(RecordKind::Fragment, 1, 0, &parts);
            let fragment =
                Fragment { generation, offset: record + overhead as u32, len: len as u32 };
            account(core, &mut state, len as u64, overhead + len);
            if self.fragments.last().is_none_or(|last| last.generation != generation) {
                let zone = state.zones.find(generation);
                let Some(zone) = zone else { unreachable!("the head's zone is in use") };
                state.zones.get_mut(zone).pens += 1;
            }
            let _ = self.fragments.push(fragment);
            self.bytes += len as u64;
            return Ok(len);
        }
    }

    /// Sets the key to the value made of the fragments.
    pub(crate) async fn commit(
        self,
        meta: Meta<'_>,
        options: WriteOptions<'_>,
    ) -> Result<(), WriteError<D::Error>> {
        let mut body = [0; FRAGMENTS_MAX * FRAGMENT_LEN_MAX + 10];
        let len = encode_fragments(&self.fragments, &mut body).unwrap_or(0);
        let op = Op::new(OpKind::PutFragments, self.key, meta, &body[..len]);
        self.store.write_op(&op, options, self.bytes).await
    }
}
