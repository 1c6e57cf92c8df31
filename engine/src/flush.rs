//! Flush: the frozen memtable becomes a run of the top level.
//!
//! Points and range deletions are walked together in key order; a range deletion becomes the cover
//! of the keys from its start to its end. The run may come to several pieces; they are installed by
//! one edit, which also moves the checkpoint on, so that replay begins behind what was flushed.
//! Order of the install: see [`compact`](crate::compact).
//!
//! Invariants: `J3` pieces are cut between keys, never between versions of a key (a merge holds it
//! too). Tests: script `flush` of `sim/tests/exhaustive.rs`.

use shingle_hal::Device;

use crate::canary::{Bug, planted};
use crate::compact::{FLUSH_PIECES_MAX, Job, Step, add_piece, fill_zones, liveness_holds};
use crate::error::Fault;
use crate::format::edit::{Change, PieceRecord};
use crate::format::entry::Entry;
use crate::manifest::EditBuilder;
use crate::memtable;
use crate::merge::Merging;
use crate::run::builder::{Cover, PieceBuilder, Pushed};
use crate::run::cursor::malformed;
use crate::state::{Core, Side, State};
use crate::sync::For;
use crate::versions::{Fate, VersionFilter};
use crate::zone::{Role, spans};

/// A flush under way.
pub(crate) struct Flush {
    run: u32,
    filter: VersionFilter,
    cursor: Option<memtable::Cursor>,
    before: Option<memtable::Cursor>,
    /// The range-delete events up to this one have been passed.
    event: Option<Event>,
    pieces: heapless::Vec<PieceRecord, FLUSH_PIECES_MAX>,
    /// All is written: how many syncs had begun by then.
    written: Option<u64>,
}

/// Where a range deletion begins or ends, as its place in the memtable's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    range: usize,
    end: bool,
}

impl<'m, D: Device> Core<'m, D> {
    /// Begins a flush; a merge that is between two pieces gives way to it.
    pub(crate) fn begin_flush(&self, job: &mut Job<'m>) {
        job.builder.abandon();
        job.merging.iter_mut().for_each(Merging::give_way);
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let filter = VersionFilter::new(state.snapshot_seqs(), false);
        let table = &state.tables[1 - state.active];
        let run = state.tree.next_run;
        state.tree.next_run += 1;
        job.flush = Some(Flush {
            run,
            filter,
            cursor: table.first(),
            before: None,
            event: None,
            pieces: heapless::Vec::new(),
            written: None,
        });
    }

    /// Moves entries of the frozen memtable into the builder, and installs the run at the end.
    pub(crate) async fn flush_step(
        &self,
        job: &mut Job<'m>,
        budget: u64,
    ) -> Result<Step, Fault<D::Error>> {
        let mut did = 0;
        loop {
            let Some(flush) = &mut job.flush else { unreachable!("a flush") };
            if let Some(syncs) = flush.written {
                if !self.is_flush_durable(syncs) {
                    if budget != u64::MAX {
                        return Ok(if did > 0 { Step::Did(did) } else { Step::Waits });
                    }
                    self.make_flush_durable(syncs).await?;
                }
                self.install_flush(job).await?;
                return Ok(Step::Did(did + 1));
            }
            let versions = flush.filter.versions_max();
            if !job.builder.is_begun() {
                let ranged = {
                    let state = self.state.borrow();
                    state.tables[1 - state.active].range_count() > 0
                };
                self.begin_piece(job, Role::Run, versions, ranged).await?;
                continue;
            }
            let filled = flush_entries(&mut self.state.borrow_mut(), flush, &mut job.builder);
            match filled {
                Filled::OutputFull => did += self.write_output(job).await?,
                Filled::KeyBoundary => did += self.end_flush_piece(job).await?,
                Filled::End => {
                    did += self.end_flush_piece(job).await?;
                    let Some(flush) = &mut job.flush else { unreachable!("a flush") };
                    flush.written = Some(self.state.borrow().syncs);
                }
            }
            if did >= budget {
                return Ok(Step::Did(did));
            }
        }
    }

    async fn end_flush_piece(&self, job: &mut Job<'m>) -> Result<u64, Fault<D::Error>> {
        let mut did = 0;
        if job.builder.is_output_ready() {
            did += self.write_output(job).await?;
        }
        let Some(flush) = &mut job.flush else { unreachable!("a flush") };
        if let Some(record) = job.builder.finish(flush.run, 0) {
            if flush.pieces.push(record).is_err() {
                return Err(Fault::NoMemory);
            }
            did += self.write_output(job).await?;
        }
        Ok(did)
    }

    /// Whether the run is durable, and the log that it refers to.
    fn is_flush_durable(&self, syncs: u64) -> bool {
        let heads = self.are_durable(self.frozen_tickets());
        self.is_durable_since(syncs) && (heads || planted(Bug::CheckpointBeforeSync))
    }

    fn frozen_tickets(&self) -> [u64; 2] {
        self.state.borrow().frozen.map_or([0; 2], |mark| mark.tickets)
    }

    async fn make_flush_durable(&self, syncs: u64) -> Result<(), Fault<D::Error>> {
        let [log, cold] = self.frozen_tickets();
        // Before the sync that makes the log durable, which does for both.
        if self.state.borrow_mut().head(Side::Cold).written < cold {
            self.write_out(Side::Cold, true).await?;
        }
        self.make_durable(Side::Log, log).await?;
        self.make_durable(Side::Cold, cold).await?;
        if !self.is_durable_since(syncs) {
            self.sync_device().await?;
        }
        Ok(())
    }

    /// Installs the run, and with it the pieces of a merge that gave way to the flush.
    async fn install_flush(&self, job: &mut Job<'m>) -> Result<(), Fault<D::Error>> {
        let Some(flush) = job.flush.take() else { unreachable!("a flush") };
        let node_len = self.shape.node_len as u32;
        if !liveness_holds(&self.state.borrow()) {
            return Err(malformed());
        }
        let mut scratch = self.scratch.take(&self.lot).await;
        let ended = job.merging.as_mut().and_then(|merging| merging.take_written(&mut scratch));
        self.commit_edit(|state, edit| {
            if let Some((merging, ended)) = job.merging.as_ref().zip(ended.as_ref()) {
                self.push_merge_pieces(state, edit, merging, ended);
            }
            for record in &flush.pieces {
                add_piece(state, edit, record, node_len);
            }
            for id in 0..state.zones.len() {
                let zone = state.zones.get_mut(shingle_hal::ZoneId(id));
                zone.live_mem =
                    table_share_left(zone.live_mem.get(), zone.flush_delta.get()).into();
                zone.flush_delta = 0.into();
            }
            fill_zones(state, edit);
            let Some(mark) = state.frozen.take() else { unreachable!("flushed") };
            state.checkpoint = mark;
            settle_torn(state, edit);
            let table = 1 - state.active;
            state.tables[table].clear();
            state.counters.flushes += 1;
            event!(info, "flushed up to sequence number {}", mark.seq);
            state.tree.version += 1;
            edit.push(&Change::Checkpoint { log: mark.log, cold: mark.cold, seq: mark.seq });
        })
        .await?;
        if let Some(ended) = ended {
            self.merge_pieces_installed(job, ended.reached.is_some());
        }
        self.lot.wake_all(For::Progress);
        Ok(())
    }
}

/// How far the builder was filled.
enum Filled {
    OutputFull,
    KeyBoundary,
    End,
}

/// What the mirror alone had of the log is in a run: from now on those zones end where their own
/// records do.
fn settle_torn(state: &mut State<'_>, edit: &mut EditBuilder<'_>) {
    let State { torn, zones, checkpoint, .. } = state;
    let flushed = |generation: u32| generation < checkpoint.log.generation;
    for &(generation, at) in torn.iter().filter(|(generation, _)| flushed(*generation)) {
        let Some(zone) = zones.find(generation) else { continue };
        zones.get_mut(zone).sealed = (at + 1).into();
        edit.push(&Change::Seal { zone: zone.0, end: at + 1 });
    }
    torn.retain(|(generation, _)| !flushed(*generation));
}

/// The memtable's live bytes after a flush took its share; see `flush_entries`.
fn table_share_left(live_mem: u32, flushed: i32) -> u32 {
    live_mem.checked_add_signed(-flushed).expect("Z3: what was flushed was counted")
}

/// Moves entries of the frozen memtable into the builder until it must be attended to.
///
/// `flush_delta` counts the bytes that the memtable refers to less, `merge_delta` those that runs
/// refer to more.
fn flush_entries(
    state: &mut State<'_>,
    flush: &mut Flush,
    builder: &mut PieceBuilder<'_>,
) -> Filled {
    let State { tables, active, zones, .. } = state;
    let table = &tables[1 - *active];
    loop {
        if builder.is_output_ready() {
            return Filled::OutputFull;
        }
        let point = flush.cursor.map(|cursor| table.at(cursor));
        let before = flush.before.map(|cursor| table.key_at(cursor));
        let new_key = point.is_none_or(|(key, _)| before != Some(key));
        let event = next_event(table, flush.event);
        if point.is_none() && event.is_none() {
            return Filled::End;
        }
        if new_key && !has_room(builder, &flush.filter, point) {
            return Filled::KeyBoundary;
        }
        if let Some((event_key, event)) = event
            && new_key
            && point.is_none_or(|(key, _)| event_key <= key)
        {
            let mut cover = cover_at(table, event_key, &flush.filter);
            flush.filter.reduce(&mut cover, true);
            if *builder.cover() != cover {
                assert_eq!(builder.push_cover(event_key, &cover), Pushed::Taken);
            }
            flush.event = Some(event);
            continue;
        }
        let Some((key, entry)) = point else {
            return Filled::End;
        };
        if new_key {
            flush.filter.next_key();
        }
        let fate = flush.filter.fate(entry.seq, entry.kind, builder.cover());
        for (generation, span) in spans(key, &entry) {
            zones.add_delta(generation, span, true);
            if fate != Fate::Drop {
                zones.add_delta(generation, span, false);
            }
        }
        if fate != Fate::Drop {
            assert_eq!(builder.push(key, &entry), Pushed::Taken, "the output has room");
        }
        flush.before = flush.cursor;
        flush.cursor = flush.cursor.and_then(|cursor| table.next(cursor));
    }
}

/// Whether the next key is sure to fit the piece.
fn has_room(
    builder: &PieceBuilder<'_>,
    filter: &VersionFilter,
    point: Option<(&[u8], Entry<'_>)>,
) -> bool {
    let versions = filter.versions_max();
    builder.has_room(versions)
        || (versions == 1
            && point.is_some_and(|(key, entry)| {
                builder.has_room_for(key.len(), key.len() + entry.encoded_len())
            }))
}

/// The key of a range-delete event; an open end has none.
fn event_key<'t>(table: &'t memtable::Memtable<'_>, event: Event) -> Option<&'t [u8]> {
    let (start, end, _) = table.ranges().nth(event.range)?;
    if event.end { end } else { Some(start) }
}

/// The first event after `last` in key order; events of equal key come as one.
fn next_event<'t>(
    table: &'t memtable::Memtable<'_>,
    last: Option<Event>,
) -> Option<(&'t [u8], Event)> {
    let after = last.and_then(|event| event_key(table, event));
    let starts = table
        .ranges()
        .enumerate()
        .map(|(range, (start, ..))| (Some(start), Event { range, end: false }));
    let ends =
        table.ranges().enumerate().map(|(range, (_, end, _))| (end, Event { range, end: true }));
    starts
        .chain(ends)
        .filter_map(|(key, event)| Some((key?, event)))
        .filter(|(key, _)| after.is_none_or(|after| *key > after))
        .min_by_key(|(key, _)| *key)
}

/// Range deletions in force at `key`, reduced where there are many.
fn cover_at(table: &memtable::Memtable<'_>, key: &[u8], filter: &VersionFilter) -> Cover {
    let mut cover = Cover::new();
    for (start, end, seq) in table.ranges() {
        if start <= key && end.is_none_or(|end| key < end) && cover.push(seq).is_err() {
            filter.reduce(&mut cover, true);
            let _ = cover.push(seq);
        }
    }
    cover
}
