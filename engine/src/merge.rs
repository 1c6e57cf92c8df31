//! Merge: runs of a level become one run of the next, piece by piece.
//!
//! With the pieces that are installed, a few at a time, the key that the merge has reached moves
//! on, and input pieces that lie wholly below it are dropped, so that a merge of any size needs the
//! space of a few zones. It can stop after any piece and go on later, also after a restart.
//!
//! ```text
//!          key reached ──┐
//!   input   ▒▒▒▒▒▒▒▒▒▒▒▒▒│████████████      ▒ spent: dropped, or skipped by readers
//!   input   ▒▒▒▒▒▒▒▒▒│▒▒▒│██████            █ still read
//!   output  █████████████│(being built)
//! ```
//!
//! Order of an install: see [`compact`](crate::compact).
//!
//! Invariants: `J4` a piece that is cut inside a range deletion ends it at the key reached, where
//! the next piece takes it up again: beyond, the inputs still answer. Tests: scripts `compaction`
//! and `delete-range` of `sim/tests/exhaustive.rs`.

use core::cmp::Ordering;

use shingle_hal::Device;

use crate::compact::{
    FLUSH_PIECES_MAX, Job, Step, add_piece, change_run_live, fill_zones, liveness_holds,
};
use crate::error::Fault;
use crate::format::edit::{Change, KEY_PART_LEN, PieceRecord};
use crate::format::entry::{Entry, Kind, Rank};
use crate::limits::{BOTTOM, MERGE_INPUTS_MAX};
use crate::manifest::EditBuilder;
use crate::nodes::Direct;
use crate::run::builder::{Cover, Pushed};
use crate::run::cursor::{Pieces, RunCursor, malformed};
use crate::run::tree::{Merge, Tree};
use crate::state::{Core, State};
use crate::versions::{Fate, VersionFilter};
use crate::zone::{Role, spans};

/// How many times a level may fit into the bottom to be merged into it when it is over its fanout;
/// a smaller one becomes a run of the next tier: written once more, and the bottom less often.
const WORTH_BOTTOM: u64 = 4;
/// What a merge that takes no run of its level names as the last: no run has this number.
const NO_RUN: u32 = 0;
/// Bytes of a bottom that is merged by itself for a write that finds no room, on a small drive.
const BARE_MERGE_BYTES_MAX: u64 = 64 << 20;
/// Zones that a merge takes beside those of its inputs: of the bottom that which is being read,
/// that which is being written, and one begun.
pub(crate) const MERGE_ZONES: u32 = 3;
/// Nodes of a zone, for each version of a key, to which room for versions is worth a merge.
const ROOMY_NODES_MAX: u64 = 64;

/// Pieces of a merge that are installed together at most.
pub(crate) const PIECES_MAX: usize = 4;

/// Sources of a merge, a bit for each.
type Holders = u32;

/// A merge under way.
pub(crate) struct Merging<'m> {
    level: u8,
    into: u8,
    run: u32,
    filter: VersionFilter,
    pub(crate) sources: heapless::Vec<RunCursor<'m>, MERGE_INPUTS_MAX>,
    /// Stop at the next key: the builder is wanted for a flush.
    pub(crate) hurry: bool,
    /// A flush had the builder since.
    pub(crate) gave_way: bool,
    /// A piece begins inside a range deletion: its first key gets a Boundary.
    cover_due: bool,
    /// Pieces that are written and not installed.
    pieces: heapless::Vec<PieceRecord, PIECES_MAX>,
    /// They are to be installed, and how many syncs had begun when the last of them was written.
    written: Option<u64>,
}

/// What is installed of a merge.
pub(crate) struct EndedPieces<'k> {
    records: heapless::Vec<PieceRecord, PIECES_MAX>,
    /// The key that the merge has reached: none if it is over.
    pub(crate) reached: Option<&'k [u8]>,
}

impl Merging<'_> {
    /// Whether something is written and not installed.
    pub(crate) fn has_pieces(&self) -> bool {
        self.written.is_some() || !self.pieces.is_empty()
    }

    /// What is written is to be installed; so many syncs have begun.
    pub(crate) fn end_pieces(&mut self, syncs: u64) {
        self.written.get_or_insert(syncs);
    }

    /// Leaves the builder to a flush.
    pub(crate) fn give_way(&mut self) {
        (self.hurry, self.gave_way) = (false, true);
    }

    /// The least key that a source stands at, if any does, and which do.
    fn next_key<'k>(&self, room: &'k mut [u8]) -> (Option<&'k [u8]>, Holders) {
        let holders = at_least_key(&self.sources);
        let key = (holders != 0).then(|| {
            let least = self.sources[holders.trailing_zeros() as usize].key();
            let key = &mut room[..least.len()];
            key.copy_from_slice(least);
            &*key
        });
        (key, holders)
    }

    /// Takes what is written and not installed, between two pieces. `room` is for the longest key.
    pub(crate) fn take_written<'k>(&mut self, room: &'k mut [u8]) -> Option<EndedPieces<'k>> {
        if self.written.take().is_none() && self.pieces.is_empty() {
            return None;
        }
        let records = core::mem::take(&mut self.pieces);
        Some(EndedPieces { records, reached: self.next_key(room).0 })
    }
}

impl<'m, D: Device> Core<'m, D> {
    /// The merge that is due most, if any: one that was begun, else the level that is over its
    /// fanout, else, when liveness must be known, everything.
    pub(crate) fn next_merge(&self) -> Option<u8> {
        let state = self.state.borrow();
        let tree = &state.tree;
        let ready = |level: u8| tree.merge(level).is_some() || tree.whole(level).count() > 0;
        let fanout = self.plan.fanout;
        let over = (0..BOTTOM).find(|&level| tree.level(level).count() >= fanout && ready(level));
        let over = over.filter(|&level| tree.merge(level).is_some() || !self.is_tight(&state));
        let begun = (0..BOTTOM).find(|&level| tree.merge(level).is_some());
        let forced = self.is_bottom_forced(&state);
        let cheap = self.is_bottom_cheap(&state);
        let due = |level| forced || cheap && 2 * tree.whole(level).count() >= fanout;
        let deepest = tree.deepest_tier().filter(|&level| ready(level) && due(level));
        let held_back = self.is_bottom_due(&state).then_some(BOTTOM - 1);
        over.or(begun).or(deepest).or(held_back)
    }

    /// Whether what is merged goes into the bottom, whatever that costs.
    fn is_bottom_forced(&self, state: &State<'_>) -> bool {
        let room = state.tree.has_room(FLUSH_PIECES_MAX);
        state.full_merge || state.squeeze || !room || state.is_read_often() || self.is_tight(state)
    }

    /// Whether there are so few zones that what is in the tiers goes into the bottom while it can.
    pub(crate) fn is_tight(&self, state: &State<'_>) -> bool {
        let tiers = state.tree.deepest_tier().is_some();
        tiers && state.zones.free_count() <= self.merge_room(state, 2)
    }

    /// Whether a merge of `level` is left until a snapshot is gone or there are more zones: under a
    /// snapshot it may free nothing, and its pieces leave room for more than one version of a key.
    pub(crate) fn rests(&self, level: u8) -> bool {
        let state = self.state.borrow();
        let held = state.snapshots.iter().any(Option::is_some);
        let into_bottom = state.tree.merge(level).is_none_or(|merge| merge.into == BOTTOM);
        held && into_bottom && state.zones.free_count() <= self.merge_room(&state, 1)
    }

    /// Whether the bottom is to be merged by itself: space is wanted, no tier has anything, and
    /// what the bottom kept for snapshots no snapshot needs any more.
    ///
    /// Such a merge is one of the lowest tier without a run of it.
    fn is_bottom_due(&self, state: &State<'_>) -> bool {
        let bottom = state.tree.nodes_of_level(BOTTOM) * self.shape.node_len as u64;
        // A write does not wait for more than this, nor is more done on suspicion.
        let cheap = bottom <= (self.capacity.get() / 64).max(BARE_MERGE_BYTES_MAX);
        let known = state.held_back > Some(0);
        let wanted = state.full_merge && (cheap || known) || state.squeeze && cheap;
        wanted && bottom > 0 && state.is_held_for_nobody()
    }

    /// Whether rewriting the bottom costs little against what was written since it last was.
    fn is_bottom_cheap(&self, state: &State<'_>) -> bool {
        let bytes = state.tree.node_count() * self.shape.node_len as u64;
        let since = state.log.appended - state.counters.bottom_merge_at;
        bytes.saturating_mul(128) < since
    }

    pub(crate) async fn begin_merge(
        &self,
        job: &mut Job<'m>,
        level: u8,
    ) -> Result<(), Fault<D::Error>> {
        // One of another level that was paused would have the memory.
        job.end_merge(&mut self.state.borrow_mut().cache);
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
        // None that was begun here reads more, so this is what some other writer left.
        if runs.len() > job.inputs.len() {
            return Err(malformed());
        }
        let mut merging = Merging {
            level,
            into: merge.into,
            run: merge.run,
            filter,
            sources: heapless::Vec::new(),
            hurry: false,
            gave_way: false,
            cover_due: false,
            pieces: heapless::Vec::new(),
            written: None,
        };
        for run in runs {
            let Some(mut memory) = job.inputs.pop() else { unreachable!("inputs are bounded") };
            memory.lent = self.state.borrow_mut().cache.lend(memory.len());
            assert!(merging.sources.push(RunCursor::of_whole(run, memory)).is_ok());
        }
        job.merging = Some(merging);
        self.seek_sources(job).await
    }

    /// Brings every source to the key the merge has reached.
    async fn seek_sources(&self, job: &mut Job<'m>) -> Result<(), Fault<D::Error>> {
        let pieces = Direct(self);
        let mut scratch = self.scratch.take(&self.lot).await;
        let Some(merging) = &mut job.merging else { unreachable!("a merge") };
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
        take_up_cover(job);
        Ok(())
    }

    /// Goes on with a merge of this level that gave way, if it keeps what one would that began now.
    pub(crate) fn resume_merge(&self, job: &mut Job<'m>, level: u8) -> bool {
        let Some(merging) = &mut job.merging else { return false };
        let state = self.state.borrow();
        let same = state.tree.merge(level).is_some_and(|merge| merge.run == merging.run);
        if !same || !merging.filter.is_for(&state.snapshot_seqs()) {
            return false;
        }
        merging.gave_way = false;
        take_up_cover(job);
        true
    }

    /// Brings back what the sources had in banks that readers were given in between.
    async fn wake_sources(&self, job: &mut Job<'m>) -> Result<(), Fault<D::Error>> {
        let Some(merging) = &mut job.merging else { unreachable!("a merge") };
        for source in merging.sources.iter_mut().filter(|source| source.is_at_rest()) {
            let bank = self.state.borrow_mut().cache.lend(source.buffer_len());
            source.wake(&Direct(self), bank).await?;
        }
        Ok(())
    }

    /// Records a new merge: which runs take part and what they become.
    async fn declare_merge(&self, level: u8) -> Result<(), Fault<D::Error>> {
        let inputs_max = self.plan.merge_inputs();
        let (forced, bare, zones) = {
            let state = self.state.borrow();
            let zones = state.zones.free_count() / self.run_copies() as u32;
            let forced = self.is_bottom_cheap(&state) || self.is_bottom_forced(&state);
            (forced, self.is_bottom_due(&state), zones.saturating_sub(MERGE_ZONES))
        };
        self.commit_edit(|state, edit| {
            let tree = &state.tree;
            let below = tree.runs().iter().any(|run| run.level > level && run.level < BOTTOM);
            let bottom = tree.nodes_of_level(BOTTOM);
            let small = tree.nodes_of_level(level) * WORTH_BOTTOM < bottom;
            let next = level + 1;
            let tier = below || (small && !forced && next < BOTTOM);
            let into = if tier { next } else { BOTTOM };
            let inputs_max = if into == BOTTOM { inputs_max - 1 } else { inputs_max };
            let last = self.last_input(tree, level, inputs_max, zones);
            let Some(last_input) = last.or(bare.then_some(NO_RUN)) else {
                return;
            };
            let run = tree.next_run;
            state.tree.set_merge(level, Some(Merge { into, run, last_input, key_len: 0 }));
            if into == BOTTOM {
                state.holding_back = None;
            }
            edit.push(&Change::Merge { level, into, run, last_input });
        })
        .await
    }

    /// Nodes that an input of a merge may keep though they were read: of the zone that is being
    /// read, and of its first, whose rest may be the end of another input.
    pub(crate) fn input_nodes(&self, nodes: u64) -> u64 {
        let zone_nodes = self.zone_nodes();
        (2 * nodes).min(zone_nodes).max(nodes.min(2 * zone_nodes))
    }

    /// The newest of the level's runs that a merge takes with all older ones: as many as can be
    /// read at once, and as there are `zones` for. One can always be merged.
    fn last_input(&self, tree: &Tree<'_>, level: u8, inputs_max: usize, zones: u32) -> Option<u32> {
        let nodes_max = u64::from(zones) * self.zone_nodes();
        let left_out = tree.whole(level).count().saturating_sub(inputs_max);
        let mut nodes: u64 =
            tree.whole(level).skip(left_out).map(|run| self.input_nodes(run.nodes)).sum();
        let mut last = None;
        for run in tree.whole(level).skip(left_out) {
            last = Some(run.run);
            if nodes <= nodes_max {
                break;
            }
            nodes -= self.input_nodes(run.nodes);
        }
        last
    }

    /// Merges until the budget is spent, a piece is full, or the inputs are at their end.
    pub(crate) async fn merge_step(
        &self,
        job: &mut Job<'m>,
        budget: u64,
    ) -> Result<Step, Fault<D::Error>> {
        let mut did = 0;
        let Some(merging) = &mut job.merging else { unreachable!("a merge") };
        if let Some(syncs) = merging.written
            && !self.is_durable_since(syncs)
        {
            if budget != u64::MAX {
                return Ok(Step::Waits);
            }
            self.sync_device().await?;
        }
        self.wake_sources(job).await?;
        let mut scratch = self.scratch.take(&self.lot).await;
        let key_room = usize::from(self.limits.key_len_max) + 1;
        let (key_room, _) = scratch.split_at_mut(key_room);
        loop {
            let Some(merging) = &mut job.merging else { unreachable!("a merge") };
            if merging.written.is_some()
                && let Some(ended) = merging.take_written(key_room)
            {
                self.install_merge_pieces(job, &ended).await?;
                return Ok(Step::Did(did + 1));
            }
            let (key, holders) = merging.next_key(key_room);
            let Some(key) = key else {
                self.write_merge_piece(job, None).await?;
                return Ok(Step::Did(did + 1));
            };
            let role = if merging.into == BOTTOM { Role::Bottom } else { Role::Run };
            let versions = merging.filter.versions_max();
            if !job.builder.is_begun() {
                let ranged = merging.filter.keeps_cover() && self.has_boundaries(&merging.sources);
                self.begin_piece(job, role, versions, ranged).await?;
                let due = !job.builder.cover().is_empty();
                let Some(merging) = &mut job.merging else { unreachable!("a merge") };
                merging.cover_due = due;
                continue;
            }
            let room = job.builder.has_room(versions)
                || (versions == 1 && {
                    let item_len = item_len_max(&merging.sources, holders, self.shape.node_len);
                    job.builder.has_room_for(key.len(), item_len)
                });
            if !room || (merging.hurry && !job.builder.is_empty()) {
                self.write_merge_piece(job, Some(key)).await?;
                return Ok(Step::Did(did + 1));
            }
            if did >= budget {
                return Ok(Step::Did(did));
            }
            did += self.merge_key(job, key, holders).await?;
        }
    }

    /// Whether the sources hold range deletions.
    fn has_boundaries(&self, sources: &[RunCursor<'_>]) -> bool {
        let state = self.state.borrow();
        sources.iter().any(|source| {
            !source.cover.is_empty() || state.tree.run(source.run).is_some_and(|run| run.boundaries)
        })
    }

    /// Merges all that the sources hold of one key, which `holders` stand at.
    async fn merge_key(
        &self,
        job: &mut Job<'m>,
        key: &[u8],
        mut holders: Holders,
    ) -> Result<u64, Fault<D::Error>> {
        let pieces = Direct(self);
        let node_len = self.shape.node_len;
        let mut did = 0;
        let Some(merging) = &mut job.merging else { unreachable!("a merge") };
        let mut changed = false;
        for (index, source) in merging.sources.iter_mut().enumerate() {
            while holders >> index & 1 == 1 {
                let entry = source.entry(node_len).ok_or_else(malformed)?;
                if entry.kind != Kind::Boundary {
                    break;
                }
                go_on(source, &pieces, key, &mut holders, index).await?;
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
        let Some(merging) = &mut job.merging else { unreachable!("a merge") };
        merging.filter.reduce(&mut cover, true);
        // Versions of the key: at most as many as the sources hold.
        loop {
            let Some(merging) = &mut job.merging else { unreachable!("a merge") };
            let newest = newest_version(&merging.sources, holders, node_len);
            let Some(newest) = newest.ok_or_else(malformed)? else { return Ok(did) };
            let Merging { sources, filter, .. } = merging;
            let entry = sources[newest].entry(node_len).ok_or_else(malformed)?;
            if entry.kind == Kind::Boundary {
                // The state repeated at the start of a node, between versions of the key.
                go_on(&mut sources[newest], &pieces, key, &mut holders, newest).await?;
                continue;
            }
            let fate = filter.fate(entry.seq, entry.kind, &cover);
            if fate == Fate::Drop {
                drop_places(&mut self.state.borrow_mut(), key, &entry);
            } else {
                let seq = if fate == Fate::KeepAsOldest { 0 } else { entry.seq };
                let kept = Entry { seq, ..entry };
                if job.builder.push(key, &kept) == Pushed::OutputFull {
                    did += self.write_output(job).await?;
                    let Some(merging) = &job.merging else { unreachable!("a merge") };
                    let entry = merging.sources[newest].entry(node_len);
                    let entry = entry.ok_or_else(malformed)?;
                    assert_eq!(job.builder.push(key, &Entry { seq, ..entry }), Pushed::Taken);
                }
            }
            let Some(merging) = &mut job.merging else { unreachable!("a merge") };
            let source = &mut merging.sources[newest];
            go_on(source, &pieces, key, &mut holders, newest).await?;
        }
    }

    /// Ends the piece under way: it has everything below `reached`, or everything if there is no
    /// more.
    async fn write_merge_piece(
        &self,
        job: &mut Job<'m>,
        reached: Option<&[u8]>,
    ) -> Result<(), Fault<D::Error>> {
        let Some(merging) = &job.merging else { unreachable!("a merge") };
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
        let Some(merging) = &mut job.merging else { unreachable!("a merge") };
        assert!(
            piece.is_none_or(|piece| merging.pieces.push(piece).is_ok()),
            "installed when full"
        );
        // A flush that comes soon makes them durable, and brings an edit. What they free is wanted
        // where zones are few.
        let state = self.state.borrow();
        let waits = reached.is_some() && !merging.hurry && !merging.pieces.is_full();
        if !waits || state.zones.free_count() < self.low_water() {
            merging.end_pieces(state.syncs);
        }
        Ok(())
    }

    /// Installs pieces that are durable; see [`write_merge_piece`](Self::write_merge_piece).
    async fn install_merge_pieces(
        &self,
        job: &mut Job<'m>,
        ended: &EndedPieces<'_>,
    ) -> Result<(), Fault<D::Error>> {
        let Some(merging) = &job.merging else { unreachable!("a merge") };
        if !liveness_holds(&self.state.borrow()) {
            return Err(malformed());
        }
        self.commit_edit(|state, edit| {
            self.push_merge_pieces(state, edit, merging, ended);
            fill_zones(state, edit);
        })
        .await?;
        self.merge_pieces_installed(job, ended.reached.is_some());
        Ok(())
    }

    /// Makes pieces of a merge part of the tree in the place of what they were made from.
    pub(crate) fn push_merge_pieces(
        &self,
        state: &mut State<'_>,
        edit: &mut EditBuilder<'_>,
        merging: &Merging<'_>,
        ended: &EndedPieces<'_>,
    ) {
        let node_len = self.shape.node_len as u32;
        let (level, into) = (merging.level, merging.into);
        for record in &ended.records {
            add_piece(state, edit, record, node_len);
        }
        for source in &merging.sources {
            let spent = match ended.reached {
                Some(_) => source.spent_pieces(),
                None => source.piece_index(),
            };
            drop_spent(state, edit, source.run, spent, node_len);
        }
        if into == BOTTOM {
            // What a piece leaves unused for versions of its last key is much of a short zone.
            let versions_max = u64::from(merging.filter.versions_max());
            let roomy = self.zone_nodes() < ROOMY_NODES_MAX * versions_max;
            state.holding_back = state.holding_back.max(merging.filter.held_back(roomy));
        }
        if let Some(key) = ended.reached {
            return set_merge_key(state, edit, level, key);
        }
        state.tree.set_merge(level, None);
        edit.push(&Change::MergeEnd { level });
        state.counters.merges += 1;
        event!(info, "level {} is merged", level);
        if into == BOTTOM {
            state.held_back = state.holding_back.take();
            state.counters.bottom_merge_at = state.log.appended;
            state.wasted_reads = 0;
            let tiers = state.tree.deepest_tier().is_some();
            state.full_merge &= tiers;
            state.squeeze &= tiers;
            state.wanted = if tiers { state.wanted } else { 0 };
        }
    }

    /// After an install: the merge goes on, unless it is over or rests.
    pub(crate) fn merge_pieces_installed(&self, job: &mut Job<'m>, more: bool) {
        let Some(merging) = &mut job.merging else { unreachable!("a merge") };
        if more && !self.rests(merging.level) {
            merging.sources.iter_mut().for_each(RunCursor::rebase);
        } else {
            job.end_merge(&mut self.state.borrow_mut().cache);
        }
    }
}

impl State<'_> {
    /// Whether no tier has anything, and the bottom has what was kept for snapshots now gone.
    pub(crate) fn is_held_for_nobody(&self) -> bool {
        let oldest = self.snapshots.iter().flatten().min();
        let gone = |newest: u64| oldest.is_none_or(|&oldest| oldest > newest);
        self.tree.deepest_tier().is_none() && self.held_back.is_some_and(gone)
    }

    /// Whether a merge of everything has something to merge.
    pub(crate) fn is_full_merge_due(&self) -> bool {
        self.full_merge && self.is_merge_worth()
    }

    /// Whether a merge into the bottom may show something dead.
    pub(crate) fn is_merge_worth(&self) -> bool {
        self.tree.deepest_tier().is_some() || self.is_held_for_nobody()
    }

    /// Whether reads lost so much in tiers that a merge of the deepest one would have paid: an
    /// eighth of the nodes that there are, if it is worth one.
    fn is_read_often(&self) -> bool {
        let worth = self.tree.tier_nodes() * 8 >= self.tree.nodes_of_level(BOTTOM);
        worth && self.wasted_reads * 8 >= self.tree.node_count()
    }
}

/// Goes to a source's next entry; it is no holder any more if that is of another key.
async fn go_on<P: Pieces>(
    source: &mut RunCursor<'_>,
    pieces: &P,
    key: &[u8],
    holders: &mut Holders,
    index: usize,
) -> Result<(), Fault<P::Error>> {
    source.next(pieces).await?;
    if !source.is_valid() || source.key() != key {
        *holders &= !(1 << index);
    }
    Ok(())
}

/// Which of the sources stand at the least key of all: a bit for each; 0 at their end.
fn at_least_key(sources: &[RunCursor<'_>]) -> Holders {
    const { assert!(MERGE_INPUTS_MAX <= Holders::BITS as usize) };
    let (mut holders, mut least) = (0, None::<&[u8]>);
    for (index, source) in sources.iter().enumerate().filter(|(_, source)| source.is_valid()) {
        let order = least.map_or(Ordering::Less, |least| compare(source.key(), least));
        if order == Ordering::Less {
            (holders, least) = (1 << index, Some(source.key()));
        } else if order == Ordering::Equal {
            holders |= 1 << index;
        }
    }
    holders
}

/// Compares keys, most of which differ in their first bytes.
#[inline]
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    match (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        (Some(a), Some(b)) if a != b => u64::from_be_bytes(*a).cmp(&u64::from_be_bytes(*b)),
        _ => a.cmp(b),
    }
}

/// The sources of a set of `holders`, with their index.
fn held<'s, 'b>(
    sources: &'s [RunCursor<'b>],
    holders: Holders,
) -> impl Iterator<Item = (usize, &'s RunCursor<'b>)> {
    let is_holder = move |index: &usize| holders >> index & 1 == 1;
    (0..sources.len()).filter(is_holder).map(|index| (index, &sources[index]))
}

/// The holder with the newest version; of equal ones the newer run, which stands first.
fn newest_version(
    sources: &[RunCursor<'_>],
    holders: Holders,
    node_len: usize,
) -> Option<Option<usize>> {
    let mut best: Option<(Rank, usize)> = None;
    for (index, source) in held(sources, holders) {
        let rank = source.entry(node_len)?.rank();
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, index));
        }
    }
    Some(best.map(|(_, index)| index))
}

/// Bytes of the key with the longest entry that a holder has for it next: a node's if that is not
/// known, since a range-delete state stands before it.
fn item_len_max(sources: &[RunCursor<'_>], holders: Holders, node_len: usize) -> usize {
    let lens = held(sources, holders).map(|(_, source)| {
        // What is malformed is told when it is merged.
        let entry = source.entry(node_len).filter(|entry| entry.kind != Kind::Boundary);
        source.key().len() + entry.map_or(node_len, |entry| entry.encoded_len())
    });
    lens.max().unwrap_or(node_len)
}

/// The piece that comes next begins in the range-delete state that the sources are in.
fn take_up_cover(job: &mut Job<'_>) {
    let Some(merging) = &mut job.merging else { unreachable!("a merge") };
    let mut cover = union(merging);
    merging.filter.reduce(&mut cover, !merging.filter.is_bottom());
    job.builder.set_cover(cover);
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

/// An entry of a run is no more: what it referred to in zones that still are is referred to less.
fn drop_places(state: &mut State<'_>, key: &[u8], entry: &Entry<'_>) {
    for (generation, span) in spans(key, entry) {
        state.zones.add_delta(generation, -span, false);
    }
}

/// Drops the first `count` pieces of a run.
fn drop_spent(
    state: &mut State<'_>,
    edit: &mut EditBuilder<'_>,
    run: u32,
    count: u32,
    node_len: u32,
) {
    for _ in 0..count {
        let first = state.tree.run(run).and_then(|run| state.tree.piece(&run, 0));
        let Some(record) = first else { break };
        state.tree.remove(record.generation, record.start);
        change_run_live(state, record.generation, -i64::from(record.nodes * node_len));
        edit.push(&Change::Drop { generation: record.generation, start: record.start });
    }
}

fn set_merge_key(state: &mut State<'_>, edit: &mut EditBuilder<'_>, level: u8, key: &[u8]) {
    for (index, part) in key.chunks(KEY_PART_LEN).enumerate() {
        let first = index == 0;
        assert!(state.tree.extend_merge_key(level, first, part));
        edit.push(&Change::MergeKey { level, first, part });
    }
}
