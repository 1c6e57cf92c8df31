//! Flush and merge: entries in order into new pieces, which an edit then puts in place of the old.
//!
//! Both are one job with one builder; a job goes on in steps, so that foreground work can take
//! turns with it. A merge installs its output piece by piece: with each piece the key that the
//! merge has reached moves on, and input pieces that lie wholly below it are dropped, so that a
//! merge of any size needs the space of a few zones. It can stop after any piece and go on later,
//! also after a restart.
//!
//! ```text
//!          key reached ──┐
//!   input   ▒▒▒▒▒▒▒▒▒▒▒▒▒│████████████      ▒ spent: dropped, or skipped by readers
//!   input   ▒▒▒▒▒▒▒▒▒│▒▒▒│██████            █ still read
//!   output  █████████████│(being built)
//! ```
//!
//! Order of an install: nodes (and for a flush the log records they point to), sync, edit, (a later sync), and only then are the inputs' zones
//! released (`checkpoint::release_dead`). Were the edit before the sync, a cut between them would
//! leave a tree that names nodes which were never written (canary `CheckpointBeforeSync`).
//!
//! Invariants: `J1` a job's pieces become visible together with the end of what they replace.
//! `J2` changes of liveness are installed by the same edit as the entries they come from.
//! `J3` pieces are cut between keys, never between versions of a key. `J4` a piece that is cut inside
//! a range deletion ends it at the key reached, where the next piece takes it up again: beyond, the
//! inputs still answer.

use shingle_hal::{Class, Device};

use crate::canary::{Bug, planted};
use crate::error::Fault;
use crate::format::edit::{Change, KEY_PART_LEN, PieceRecord};
use crate::format::entry::{Entry, Kind, Rank};
use crate::limits::{BOTTOM, MERGE_INPUTS_MAX};
use crate::manifest::EditBuilder;
use crate::memtable;
use crate::run::builder::{Cover, PieceBuilder, PiecePlace, Pushed};
use crate::run::cursor::{CursorMemory, RunCursor};
use crate::run::tree::Merge;
use crate::state::{Core, Direct, RunHead, Side, State};
use crate::versions::{Fate, VersionFilter};
use crate::zone::Role;

/// Pieces a flush may come to.
pub(crate) const FLUSH_PIECES_MAX: usize = 24;

/// What the job's builder is used for.
///
/// There is one, in the job itself: without a heap nothing is gained by making it smaller.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Work<'m> {
    /// Nothing.
    Idle,
    /// The frozen memtable becomes a run.
    Flush(Flush),
    /// Runs become one run of the next level.
    Merging(Merging<'m>),
}

/// A flush under way.
pub(crate) struct Flush {
    run: u32,
    filter: VersionFilter,
    cursor: Option<memtable::Cursor>,
    before: Option<memtable::Cursor>,
    /// The range-delete events up to this one have been passed.
    event: Option<Event>,
    pieces: heapless::Vec<PieceRecord, FLUSH_PIECES_MAX>,
}

/// Where a range deletion begins or ends, as its place in the memtable's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    range: usize,
    end: bool,
}

/// A merge under way.
pub(crate) struct Merging<'m> {
    level: u8,
    into: u8,
    run: u32,
    filter: VersionFilter,
    sources: heapless::Vec<RunCursor<'m>, MERGE_INPUTS_MAX>,
    /// Stop at the next key: the builder is wanted for a flush.
    hurry: bool,
    /// A piece begins inside a range deletion: its first key gets a Boundary.
    cover_due: bool,
}

/// The builder, the merge buffers, and what they are used for.
pub(crate) struct Job<'m> {
    pub(crate) builder: PieceBuilder<'m>,
    pub(crate) inputs: heapless::Vec<CursorMemory<'m>, MERGE_INPUTS_MAX>,
    pub(crate) work: Work<'m>,
    /// The zone and role the builder writes to.
    role: Role,
}

impl<'m> Job<'m> {
    pub(crate) fn new(
        builder: PieceBuilder<'m>,
        inputs: heapless::Vec<CursorMemory<'m>, MERGE_INPUTS_MAX>,
    ) -> Self {
        Self { builder, inputs, work: Work::Idle, role: Role::Run }
    }

    fn end(&mut self) {
        if let Work::Merging(merging) = core::mem::replace(&mut self.work, Work::Idle) {
            for source in merging.sources {
                assert!(self.inputs.push(source.into_memory()).is_ok());
            }
        }
        self.builder.abandon();
    }
}

/// Lends the job for one step and puts it back; a step that was cut short starts over.
pub(crate) struct JobGuard<'c, 'm, D: Device> {
    core: &'c Core<'m, D>,
    job: Option<Job<'m>>,
    whole: bool,
}

impl<'c, 'm, D: Device> JobGuard<'c, 'm, D> {
    pub(crate) fn take(core: &'c Core<'m, D>) -> Self {
        Self { core, job: core.job.take(), whole: false }
    }
    fn job(&mut self) -> &mut Job<'m> {
        self.job.as_mut().expect("under the jobs lock")
    }
}

impl<D: Device> Drop for JobGuard<'_, '_, D> {
    fn drop(&mut self) {
        let Some(mut job) = self.job.take() else {
            return;
        };
        if !self.whole {
            job.end();
            self.core.abandon_job(job.role);
        }
        self.core.job.set(Some(job));
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: there was nothing to do.
    Idle,
    /// About so many bytes of media traffic.
    Did(u64),
}

impl<'m, D: Device> Core<'m, D> {
    /// Forgets a half-built piece: its zone is not appended to again, its deltas never happened.
    fn abandon_job(&self, role: Role) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        for id in 0..state.zones.len() {
            let zone = state.zones.get_mut(shingle_hal::ZoneId(id));
            zone.flush_delta = 0.into();
            zone.merge_delta = 0.into();
            zone.set_pending(false);
        }
        if let Some(head) = state.run_heads[head_index(role)].take() {
            state.zones.get_mut(head.zone).set_head(false);
        }
    }

    /// One step of the flush or merge under way, or of the next one that is due. Under `jobs`.
    pub(crate) async fn job_step(&self, budget: u64) -> Result<Step, Fault<D::Error>> {
        let mut guard = JobGuard::take(self);
        let (frozen, room) = {
            let state = self.state.borrow();
            (state.frozen.is_some(), state.tree.has_room(FLUSH_PIECES_MAX))
        };
        let job = guard.job();
        match &mut job.work {
            Work::Merging(merging) => merging.hurry |= frozen && room,
            Work::Flush(_) => {}
            Work::Idle if frozen && room => self.begin_flush(job),
            Work::Idle => match self.next_merge() {
                Some(merge) => self.begin_merge(job, merge).await?,
                None if frozen => self.begin_flush(job),
                None => {
                    guard.whole = true;
                    return Ok(Step::Idle);
                }
            },
        }
        let did = match &job.work {
            Work::Flush(_) => self.flush_step(job, budget).await?,
            _ => self.merge_step(job, budget).await?,
        };
        guard.whole = true;
        Ok(Step::Did(did.max(1)))
    }

    /// Writes the builder's output.
    async fn write_output(&self, job: &mut Job<'m>) -> Result<u64, Fault<D::Error>> {
        let (block, output) = job.builder.output();
        if output.is_empty() {
            return Ok(0);
        }
        let len = output.len() as u64;
        let lba = {
            let state = self.state.borrow();
            let head = state.run_heads[head_index(job.role)];
            let head = head.expect("a piece is written at its head");
            state.zones.start(head.zone).plus(u64::from(block))
        };
        if let Err(error) = self.media.write(lba, output, Class::Maintenance).await {
            return self.poison(Fault::Device(error));
        }
        job.builder.output_written();
        let mut state = self.state.borrow_mut();
        state.counters.run_bytes += len;
        if let Some(head) = &mut state.run_heads[head_index(job.role)] {
            head.next = block + (len / u64::from(self.media.geometry.block_len_bytes)) as u32;
        }
        Ok(len)
    }

    /// Begins a piece at the head for `role`, in a fresh zone if the old one is nearly full.
    async fn begin_piece(
        &self,
        job: &mut Job<'m>,
        role: Role,
        versions: u32,
    ) -> Result<(), Fault<D::Error>> {
        job.role = role;
        let index = head_index(role);
        let node_blocks = self.shape.node_blocks();
        let least = self.shape.height as u32 + versions + 4;
        for _ in 0..2 {
            let head = self.state.borrow().run_heads[index];
            if let Some(head) = head {
                let nodes_max = (head.capacity - head.next) / node_blocks;
                if nodes_max >= least {
                    self.state.borrow_mut().zones.get_mut(head.zone).set_pending(true);
                    job.builder.begin(PiecePlace {
                        generation: head.generation,
                        start: head.next,
                        nodes_max,
                    });
                    return Ok(());
                }
                self.leave_run_zone(index, head).await?;
            }
            self.start_run_zone(index, role).await?;
        }
        Err(Fault::NoSpace)
    }

    async fn leave_run_zone(&self, index: usize, head: RunHead) -> Result<(), Fault<D::Error>> {
        let conventional = {
            let mut state = self.state.borrow_mut();
            state.run_heads[index] = None;
            let zone = state.zones.get_mut(head.zone);
            zone.set_head(false);
            zone.is_conventional()
        };
        if head.next < head.capacity && !conventional {
            self.give_back(head.zone).await
        } else {
            Ok(())
        }
    }

    async fn start_run_zone(&self, index: usize, role: Role) -> Result<(), Fault<D::Error>> {
        let zone = self.take_zone(role, true).await?;
        let (generation, capacity, start) = {
            let mut state = self.state.borrow_mut();
            state.zones.get_mut(zone).set_head(true);
            let entry = state.zones.get(zone);
            (entry.generation.get(), entry.capacity.get(), state.zones.start(zone))
        };
        let mut buffer = self.nodes.take().await;
        let header = &mut buffer[..self.media.block_len()];
        self.zone_header(header, generation, role);
        if let Err(error) = self.media.write(start, header, Class::Maintenance).await {
            return self.poison(Fault::Device(error));
        }
        self.state.borrow_mut().run_heads[index] =
            Some(RunHead { zone, generation, next: 1, capacity });
        Ok(())
    }

    fn begin_flush(&self, job: &mut Job<'m>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let filter = VersionFilter::new(state.snapshot_seqs(), false);
        let table = &state.tables[1 - state.active];
        let run = state.tree.next_run;
        state.tree.next_run += 1;
        job.work = Work::Flush(Flush {
            run,
            filter,
            cursor: table.first(),
            before: None,
            event: None,
            pieces: heapless::Vec::new(),
        });
    }

    /// Moves entries of the frozen memtable into the builder, and installs the run at the end.
    async fn flush_step(&self, job: &mut Job<'m>, budget: u64) -> Result<u64, Fault<D::Error>> {
        let mut did = 0;
        loop {
            let Work::Flush(flush) = &mut job.work else { unreachable!("a flush") };
            let versions = flush.filter.versions_max();
            if job.builder.is_begun() && !job.builder.has_room(versions) {
                did += self.end_flush_piece(job).await?;
                continue;
            }
            if !job.builder.is_begun() {
                self.begin_piece(job, Role::Run, versions).await?;
                continue;
            }
            let Work::Flush(flush) = &mut job.work else { unreachable!("a flush") };
            let filled = flush_entries(&mut self.state.borrow_mut(), flush, &mut job.builder);
            match filled {
                Filled::OutputFull => did += self.write_output(job).await?,
                Filled::KeyBoundary => {}
                Filled::End => {
                    did += self.end_flush_piece(job).await?;
                    self.install_flush(job).await?;
                    return Ok(did);
                }
            }
            if did >= budget {
                return Ok(did);
            }
        }
    }

    async fn end_flush_piece(&self, job: &mut Job<'m>) -> Result<u64, Fault<D::Error>> {
        let mut did = 0;
        if job.builder.is_output_ready() {
            did += self.write_output(job).await?;
        }
        let Work::Flush(flush) = &mut job.work else { unreachable!("a flush") };
        if let Some(record) = job.builder.finish(flush.run, 0) {
            if flush.pieces.push(record).is_err() {
                return Err(Fault::NoMemory);
            }
            did += self.write_output(job).await?;
        }
        Ok(did)
    }

    async fn install_flush(&self, job: &mut Job<'m>) -> Result<(), Fault<D::Error>> {
        let tickets = self.state.borrow().frozen.map_or([0; 2], |mark| mark.tickets);
        if !planted(Bug::CheckpointBeforeSync) {
            self.make_durable(Side::Log, tickets[0]).await?;
            self.make_durable(Side::Cold, tickets[1]).await?;
            self.sync_device().await?;
        }
        let Work::Flush(flush) = &job.work else { unreachable!("a flush") };
        let node_len = self.shape.node_len as u32;
        self.commit_edit(|state, edit| {
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
            let table = 1 - state.active;
            state.tables[table].clear();
            state.counters.flushes += 1;
            state.tree.version += 1;
            edit.push(&Change::Checkpoint { log: mark.log, cold: mark.cold, seq: mark.seq });
        })
        .await?;
        job.end();
        self.progress.notify();
        Ok(())
    }

    /// The merge that is due most, if any: one that was begun, else the level that is over its
    /// fanout, else, when liveness must be known, everything.
    pub(crate) fn next_merge(&self) -> Option<u8> {
        let state = self.state.borrow();
        let tree = &state.tree;
        let ready = |level: u8| tree.merge(level).is_some() || tree.whole(level).count() > 0;
        let fanout = self.plan.fanout;
        let over = (0..BOTTOM).find(|&level| tree.level(level).count() >= fanout && ready(level));
        let begun = (0..BOTTOM).find(|&level| tree.merge(level).is_some());
        let room = tree.has_room(FLUSH_PIECES_MAX);
        let forced = state.full_merge || !room || self.is_bottom_cheap(&state);
        let deepest = tree.deepest_tier().filter(|&level| forced && ready(level));
        over.or(begun).or(deepest)
    }

    /// Whether rewriting the bottom costs little against what was written since it last was.
    fn is_bottom_cheap(&self, state: &State<'_>) -> bool {
        let bytes = state.tree.node_count() * self.shape.node_len as u64;
        let since = state.log.appended - state.counters.bottom_merge_at;
        bytes.saturating_mul(128) < since
    }

    async fn begin_merge(&self, job: &mut Job<'m>, level: u8) -> Result<(), Fault<D::Error>> {
        self.begin_writing().await?;
        if self.state.borrow().tree.merge(level).is_none() {
            self.declare_merge(level).await?;
        }
        let (merge, filter, runs) = {
            let state = self.state.borrow();
            let Some(merge) = state.tree.merge(level) else {
                return Err(Fault::NoSpace);
            };
            let bottom = merge.into == BOTTOM;
            let filter = VersionFilter::new(state.snapshot_seqs(), bottom);
            let runs: heapless::Vec<u32, { crate::limits::RUNS_MAX }> = state
                .tree
                .runs()
                .iter()
                .filter(|run| state.tree.is_input(run) == Some(level))
                .map(|run| run.run)
                .collect();
            (merge, filter, runs)
        };
        let mut merging = Merging {
            level,
            into: merge.into,
            run: merge.run,
            filter,
            sources: heapless::Vec::new(),
            hurry: false,
            cover_due: false,
        };
        for run in runs {
            let Some(memory) = job.inputs.pop() else { unreachable!("inputs are bounded") };
            assert!(merging.sources.push(RunCursor::new(run, memory)).is_ok());
        }
        job.work = Work::Merging(merging);
        self.seek_sources(job).await
    }

    /// Brings every source to the key the merge has reached.
    async fn seek_sources(&self, job: &mut Job<'m>) -> Result<(), Fault<D::Error>> {
        let pieces = Direct(self);
        let mut scratch = self.scratch.take().await;
        let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
        let len = {
            let state = self.state.borrow();
            let key = state.tree.merge_key(merging.level);
            scratch[..key.len()].copy_from_slice(key);
            key.len()
        };
        for source in &mut merging.sources {
            if len == 0 {
                source.first(&pieces).await?;
            } else {
                source.seek(&pieces, &scratch[..len], Rank::BOUNDARY).await?;
            }
        }
        let mut cover = union(merging);
        merging.filter.reduce(&mut cover, !merging.filter.is_bottom());
        job.builder.set_cover(cover);
        Ok(())
    }

    /// Records a new merge: which runs take part and what they become.
    async fn declare_merge(&self, level: u8) -> Result<(), Fault<D::Error>> {
        let inputs_max = self.plan.merge_inputs();
        self.commit_edit(|state, edit| {
            let tree = &mut state.tree;
            let below = tree.runs().iter().any(|run| run.level > level && run.level < BOTTOM);
            let bottom = tree.nodes_of_level(BOTTOM);
            let fanout = self.plan.fanout as u64;
            let small = tree.nodes_of_level(level) * fanout < bottom;
            let forced = state.full_merge || !tree.has_room(FLUSH_PIECES_MAX);
            let next = level + 1;
            let tier = below || (small && !forced && next < BOTTOM);
            let into = if tier { next } else { BOTTOM };
            // The oldest runs of the level, as many as can be read at once.
            let take = if into == BOTTOM { inputs_max - 1 } else { inputs_max };
            let count = tree.whole(level).count();
            let Some(last) = tree.whole(level).nth(count.saturating_sub(take)) else {
                return;
            };
            let merge = Merge { into, run: tree.next_run, last_input: last.run, key_len: 0 };
            tree.set_merge(level, Some(merge));
            let (run, last_input) = (merge.run, merge.last_input);
            edit.push(&Change::Merge { level, into, run, last_input });
        })
        .await
    }

    /// Merges until the budget is spent, a piece is full, or the inputs are at their end.
    async fn merge_step(&self, job: &mut Job<'m>, budget: u64) -> Result<u64, Fault<D::Error>> {
        let mut did = 0;
        let mut scratch = self.scratch.take().await;
        let key_room = usize::from(self.limits.key_len_max) + 1;
        let (key_room, _) = scratch.split_at_mut(key_room);
        loop {
            let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
            let Some(least) = least_key(&merging.sources) else {
                self.finish_merge_piece(job, None).await?;
                return Ok(did + 1);
            };
            let key_len = merging.sources[least].key().len();
            let key = &mut key_room[..key_len];
            key.copy_from_slice(merging.sources[least].key());
            let role = if merging.into == BOTTOM { Role::Bottom } else { Role::Run };
            let versions = merging.filter.versions_max();
            if !job.builder.is_begun() {
                self.begin_piece(job, role, versions).await?;
                let due = !job.builder.cover().is_empty();
                let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
                merging.cover_due = due;
                continue;
            }
            if !job.builder.has_room(versions) || (merging.hurry && !job.builder.is_empty()) {
                self.finish_merge_piece(job, Some(key)).await?;
                return Ok(did + 1);
            }
            if did >= budget {
                return Ok(did);
            }
            did += self.merge_key(job, key).await?;
        }
    }

    /// Merges all that the sources hold of one key.
    async fn merge_key(&self, job: &mut Job<'m>, key: &[u8]) -> Result<u64, Fault<D::Error>> {
        let pieces = Direct(self);
        let node_len = self.shape.node_len;
        let mut did = 0;
        let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
        let mut changed = false;
        for source in &mut merging.sources {
            while source.is_valid() && source.key() == key {
                let entry = source.entry(node_len).ok_or_else(crate::run::cursor::malformed)?;
                if entry.kind != Kind::Boundary {
                    break;
                }
                source.next(&pieces).await?;
                changed = true;
            }
        }
        merging.filter.next_key();
        let mut cover = union(merging);
        let due = core::mem::take(&mut merging.cover_due);
        if changed || due {
            let mut kept = cover.clone();
            merging.filter.reduce(&mut kept, !merging.filter.is_bottom());
            while (due && !kept.is_empty()) || *job.builder.cover() != kept {
                if job.builder.push_cover(key, &kept) == Pushed::Taken {
                    break;
                }
                did += self.write_output(job).await?;
            }
        }
        let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
        merging.filter.reduce(&mut cover, true);
        // Versions of the key: at most as many as the sources hold.
        loop {
            let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
            let Some(newest) = newest_version(&merging.sources, key, node_len) else {
                return Ok(did);
            };
            let Merging { sources, filter, .. } = merging;
            let entry =
                sources[newest].entry(node_len).ok_or_else(crate::run::cursor::malformed)?;
            if entry.kind == Kind::Boundary {
                // The state repeated at the start of a node, between versions of the key.
                sources[newest].next(&pieces).await?;
                continue;
            }
            let fate = filter.fate(entry.seq, entry.kind, &cover);
            if fate == Fate::Drop {
                drop_places(&mut self.state.borrow_mut(), &entry, false);
            } else {
                let seq = if fate == Fate::KeepAsOldest { 0 } else { entry.seq };
                let kept = Entry { seq, ..entry };
                if job.builder.push(key, &kept) == Pushed::OutputFull {
                    did += self.write_output(job).await?;
                    let Work::Merging(merging) = &job.work else { unreachable!("a merge") };
                    let entry = merging.sources[newest].entry(node_len);
                    let entry = entry.ok_or_else(crate::run::cursor::malformed)?;
                    assert_eq!(job.builder.push(key, &Entry { seq, ..entry }), Pushed::Taken);
                }
            }
            let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
            merging.sources[newest].next(&pieces).await?;
        }
    }

    /// Ends the piece under way and installs it: everything below `reached` is merged now, or
    /// everything if there is no more.
    async fn finish_merge_piece(
        &self,
        job: &mut Job<'m>,
        reached: Option<&[u8]>,
    ) -> Result<(), Fault<D::Error>> {
        let Work::Merging(merging) = &job.work else { unreachable!("a merge") };
        let (run, into) = (merging.run, merging.into);
        if job.builder.is_output_ready() {
            self.write_output(job).await?;
        }
        let cover = job.builder.cover().clone();
        if let Some(key) = reached
            && !cover.is_empty()
        {
            // From here on the inputs answer: what this piece says must not reach beyond.
            assert_eq!(job.builder.push_cover(key, &Cover::new()), Pushed::Taken);
            if job.builder.is_output_ready() {
                self.write_output(job).await?;
            }
        }
        let piece = job.builder.finish(run, into);
        self.write_output(job).await?;
        job.builder.set_cover(cover);
        if !planted(Bug::CheckpointBeforeSync) {
            self.sync_device().await?;
        }
        let Work::Merging(merging) = &job.work else { unreachable!("a merge") };
        let node_len = self.shape.node_len as u32;
        let level = merging.level;
        self.commit_edit(|state, edit| {
            if let Some(record) = &piece {
                add_piece(state, edit, record, node_len);
            }
            for source in &merging.sources {
                drop_spent(state, edit, source, node_len);
            }
            fill_zones(state, edit);
            match reached {
                Some(key) => set_merge_key(state, edit, level, key),
                None => {
                    state.tree.set_merge(level, None);
                    edit.push(&Change::MergeEnd { level });
                    state.counters.merges += 1;
                    if into == BOTTOM {
                        state.counters.bottom_merge_at = state.log.appended;
                        state.full_merge &= state.tree.deepest_tier().is_some();
                    }
                }
            }
        })
        .await?;
        let Work::Merging(merging) = &mut job.work else { unreachable!("a merge") };
        if reached.is_none() || merging.hurry {
            job.end();
        } else {
            merging.sources.iter_mut().for_each(RunCursor::rebase);
        }
        Ok(())
    }
}

/// How far the builder was filled.
enum Filled {
    OutputFull,
    KeyBoundary,
    End,
}

/// The memtable's live bytes after a flush took its share; see `flush_entries`.
fn table_share_left(live_mem: u32, flushed: i32) -> u32 {
    live_mem.checked_add_signed(-flushed).expect("Z3: what was flushed was counted")
}

const fn head_index(role: Role) -> usize {
    if matches!(role, Role::Bottom) { 1 } else { 0 }
}

fn least_key(sources: &[RunCursor<'_>]) -> Option<usize> {
    let valid = sources.iter().enumerate().filter(|(_, source)| source.is_valid());
    valid.min_by(|(_, a), (_, b)| a.key().cmp(b.key())).map(|(index, _)| index)
}

/// The source with the newest version of `key`; of equal ones the newer run, which stands first.
fn newest_version(sources: &[RunCursor<'_>], key: &[u8], node_len: usize) -> Option<usize> {
    let mut best: Option<(Rank, usize)> = None;
    for (index, source) in sources.iter().enumerate() {
        if source.is_valid() && source.key() == key {
            let rank = source.entry(node_len)?.rank();
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, index));
            }
        }
    }
    best.map(|(_, index)| index)
}

fn union(merging: &Merging<'_>) -> Cover {
    let mut all = Cover::new();
    for source in &merging.sources {
        for &seq in &source.cover {
            if !all.contains(&seq) && all.push(seq).is_err() {
                merging.filter.reduce(&mut all, true);
                let _ = all.push(seq);
            }
        }
    }
    all
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
        let before = flush.before.map(|cursor| table.at(cursor).0);
        let new_key = point.is_none_or(|(key, _)| before != Some(key));
        if new_key && !builder.has_room(flush.filter.versions_max()) {
            return Filled::KeyBoundary;
        }
        let event = next_event(table, flush.event);
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
        for (generation, _, len) in entry.places() {
            zones.add_delta(generation, len as i32, true);
            if fate != Fate::Drop {
                zones.add_delta(generation, len as i32, false);
            }
        }
        if fate != Fate::Drop {
            assert_eq!(builder.push(key, &entry), Pushed::Taken, "the output has room");
        }
        flush.before = flush.cursor;
        flush.cursor = flush.cursor.and_then(|cursor| table.next(cursor));
    }
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

/// An entry of a run is no more: what it referred to in zones that still are is referred to less.
fn drop_places(state: &mut State<'_>, entry: &Entry<'_>, flush: bool) {
    for (generation, _, len) in entry.places() {
        state.zones.add_delta(generation, -(len as i32), flush);
    }
}

fn change_run_live(state: &mut State<'_>, generation: u32, bytes: i64) {
    let Some(zone) = state.zones.find(generation) else { unreachable!("T3") };
    let zone = state.zones.get_mut(zone);
    let live = i64::from(zone.live.get()) + bytes;
    zone.live = u32::try_from(live).expect("Z3: run liveness is exact").into();
}

fn add_piece(
    state: &mut State<'_>,
    edit: &mut EditBuilder<'_>,
    record: &PieceRecord,
    node_len: u32,
) {
    assert!(state.tree.add(record), "room was checked before the job began");
    change_run_live(state, record.generation, i64::from(record.nodes * node_len));
    edit.push(&Change::Piece(*record));
}

/// Drops the pieces that a source has left behind.
fn drop_spent(
    state: &mut State<'_>,
    edit: &mut EditBuilder<'_>,
    source: &RunCursor<'_>,
    node_len: u32,
) {
    for _ in 0..source.piece_index() {
        let first = state.tree.run(source.run).and_then(|run| state.tree.piece(&run, 0));
        let Some(record) = first else { break };
        state.tree.remove(record.generation, record.start);
        change_run_live(state, record.generation, -i64::from(record.nodes * node_len));
        edit.push(&Change::Drop { generation: record.generation, start: record.start });
    }
}

/// Installs changes of liveness and says so in the edit.
fn fill_zones(state: &mut State<'_>, edit: &mut EditBuilder<'_>) {
    for id in 0..state.zones.len() {
        let zone = state.zones.get_mut(shingle_hal::ZoneId(id));
        zone.set_pending(false);
        let delta = zone.merge_delta.get();
        if delta == 0 {
            continue;
        }
        zone.merge_delta = 0.into();
        let live = zone.live.get().checked_add_signed(delta).expect("Z3: liveness is exact");
        zone.live = live.into();
        edit.push(&Change::Fill { zone: id, written: zone.written.get(), live });
    }
}

fn set_merge_key(state: &mut State<'_>, edit: &mut EditBuilder<'_>, level: u8, key: &[u8]) {
    for (index, part) in key.chunks(KEY_PART_LEN).enumerate() {
        let first = index == 0;
        assert!(state.tree.extend_merge_key(level, first, part));
        edit.push(&Change::MergeKey { level, first, part });
    }
}
