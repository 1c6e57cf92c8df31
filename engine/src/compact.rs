//! The job that builds pieces: a flush or a merge, and what both have in common.
//!
//! There is one job with one builder. It goes on in steps, so that foreground work can take turns
//! with it, and a flush that is due interrupts a merge: see [`flush`](crate::flush) and
//! [`merge`](crate::merge).
//!
//! ```text
//!            a memtable is frozen         install
//!   Idle ─────────────────────────> Flush ─────────────> Idle, or the merge goes on
//!    │                                ^
//!    │ begin_merge                    │ between two pieces, installed or not
//!    └───────────> Merge ─────────────┘
//!                  │   ^ pieces are installed: go on
//!                  └───┘
//! ```
//!
//! A merge that waits for a flush keeps its cursors, for to find its places again costs a read or
//! two of each source. The pieces it has written are installed with the flush's: one sync makes all
//! durable, and one edit names them.
//!
//! Order of an install: nodes (and for a flush the log records they point to), sync, edit, (a later
//! sync), and only then are the inputs' zones released (`checkpoint::release_dead`). Were the edit
//! before the sync, a cut between them would leave a tree that names nodes which were never written
//! (canary `CheckpointBeforeSync`). The sync is one that comes anyway, where other work brings one.
//!
//! When a device write fails or a step's future is dropped, [`JobGuard`] forgets the half-built
//! piece and the job starts over from what is installed.
//!
//! Invariants: `J1` a job's pieces become visible together with the end of what they replace.
//! `J2` changes of liveness are installed by the same edit as the entries they come from. `J3` and
//! `J4` are the merge's and the flush's. All are checked by the harness: `sim/tests/exhaustive.rs`
//! (scripts `flush` and `compaction`) and `sim/tests/torture.rs`.

use shingle_hal::{Device, Error as _, ZoneId};

use crate::cache::Cache;
use crate::canary::{Bug, planted};
use crate::error::{Fault, is_of_zone};
use crate::flush::Flush;
use crate::format::edit::{Change, PieceRecord};
use crate::format::marks::{DAMAGED, SICK};
use crate::limits::{MERGE_INPUTS_MAX, ZONE_FAILURES_MAX};
use crate::manifest::EditBuilder;
use crate::merge::{Merging, PIECES_MAX};
use crate::run::builder::{PieceBuilder, PiecePlace};
use crate::run::cursor::{CursorMemory, RunCursor};
use crate::state::{Core, RunHead, State};
use crate::zone::Role;

/// Pieces a flush may come to.
pub(crate) const FLUSH_PIECES_MAX: usize = 24;

/// The builder, the merge buffers, and what they are used for.
pub(crate) struct Job<'m> {
    pub(crate) builder: PieceBuilder<'m>,
    pub(crate) inputs: heapless::Vec<CursorMemory<'m>, MERGE_INPUTS_MAX>,
    /// The frozen memtable becomes a run; until it is one, the builder is the flush's.
    pub(crate) flush: Option<Flush>,
    /// Runs become one run of the next level.
    pub(crate) merging: Option<Merging<'m>>,
    /// The zone and role the builder writes to.
    role: Role,
}

impl<'m> Job<'m> {
    pub(crate) fn new(
        builder: PieceBuilder<'m>,
        inputs: heapless::Vec<CursorMemory<'m>, MERGE_INPUTS_MAX>,
    ) -> Self {
        Self { builder, inputs, flush: None, merging: None, role: Role::Run }
    }

    /// Ends what is under way.
    fn end(&mut self, cache: &mut Cache<'m>) {
        self.flush = None;
        self.end_merge(cache);
    }

    /// Ends the merge; what the cache lent it, it gets back.
    pub(crate) fn end_merge(&mut self, cache: &mut Cache<'m>) {
        for source in self.merging.take().into_iter().flat_map(|merging| merging.sources) {
            let mut memory = source.into_memory();
            if let Some(bank) = memory.lent.take() {
                cache.take_back(bank);
            }
            assert!(self.inputs.push(memory).is_ok());
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
            job.end(&mut self.core.state.borrow_mut().cache);
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
    /// Nothing: a job goes on once what it wrote is durable.
    Waits,
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
            for id in core::iter::once(head.zone).chain(head.twin) {
                let zone = state.zones.get_mut(id);
                zone.set_head(false);
                zone.set_abandoned(head.next < head.capacity);
            }
        }
    }

    /// One step of the flush or merge under way, or of the next one that is due; without a bound it
    /// does not wait for a sync that comes anyway. Under `jobs`.
    pub(crate) async fn job_step(&self, budget: u64) -> Result<Step, Fault<D::Error>> {
        for _ in 0..ZONE_FAILURES_MAX {
            match self.try_job_step(budget).await {
                // The step left the zone that failed: it starts over from what is installed.
                Err(Fault::Device(error)) if is_of_zone(error.kind()) && !self.is_read_only() => {}
                other => return other,
            }
        }
        Err(Fault::NoSpace)
    }

    /// The same where nothing else goes on, so that no sync comes by itself; what the step before
    /// made dead is freed first when zones are few. Under `jobs`.
    pub(crate) async fn lone_job_step(&self, budget: u64) -> Result<Step, Fault<D::Error>> {
        if self.state.borrow().zones.free_count() < self.low_water() {
            self.release_dead(true).await?;
        }
        match self.job_step(budget).await? {
            Step::Waits => self.job_step(u64::MAX).await,
            step => Ok(step),
        }
    }

    async fn try_job_step(&self, budget: u64) -> Result<Step, Fault<D::Error>> {
        let mut guard = JobGuard::take(self);
        let (frozen, room, scarce, syncs) = {
            let state = self.state.borrow();
            let room = state.tree.has_room(FLUSH_PIECES_MAX + PIECES_MAX);
            let scarce = state.zones.free_count() < self.low_water();
            (state.frozen.is_some(), room, scarce, state.syncs)
        };
        let job = guard.job();
        if frozen && room && job.flush.is_none() {
            let begun = job.builder.is_begun();
            match &mut job.merging {
                Some(merging) if begun => merging.hurry = true,
                // What its pieces free comes first where zones are few.
                Some(merging) if scarce && merging.has_pieces() => merging.end_pieces(syncs),
                _ => self.begin_flush(job),
            }
        }
        if job.flush.is_none() {
            self.choose_merge(job, frozen).await?;
        }
        let step = match (&job.flush, &job.merging) {
            (Some(_), _) => self.flush_step(job, budget).await?,
            (None, Some(_)) => self.merge_step(job, budget).await?,
            (None, None) => Step::Idle,
        };
        guard.whole = true;
        Ok(step)
    }

    /// Begins what is due, unless a merge is under way.
    async fn choose_merge(&self, job: &mut Job<'m>, frozen: bool) -> Result<(), Fault<D::Error>> {
        if job.merging.as_ref().is_some_and(|merging| !merging.gave_way) {
            return Ok(());
        }
        match self.next_merge() {
            Some(level) if self.rests(level) => {
                job.end_merge(&mut self.state.borrow_mut().cache);
                return if frozen { Err(Fault::NoSpace) } else { Ok(()) };
            }
            Some(level) if self.resume_merge(job, level) => {}
            Some(level) => self.begin_merge(job, level).await?,
            None => {
                job.end_merge(&mut self.state.borrow_mut().cache);
                if frozen {
                    self.begin_flush(job);
                }
            }
        }
        Ok(())
    }

    /// Whether what was written when so many syncs had begun is durable.
    pub(crate) fn is_durable_since(&self, syncs: u64) -> bool {
        self.state.borrow().synced > syncs || planted(Bug::CheckpointBeforeSync)
    }

    /// Gives back what the cache lent to a merge that rests, if readers could use it better.
    pub(crate) fn recall_banks(&self) {
        if !self.state.borrow().cache.wants_back() {
            return;
        }
        let Some(mut job) = self.job.take() else { return };
        if let Some(merging) = &mut job.merging {
            let cache = &mut self.state.borrow_mut().cache;
            let banks = merging.sources.iter_mut().filter_map(RunCursor::rest);
            banks.for_each(|bank| cache.take_back(bank));
        }
        self.job.set(Some(job));
    }

    /// Writes the builder's output.
    pub(crate) async fn write_output(&self, job: &mut Job<'m>) -> Result<u64, Fault<D::Error>> {
        let (block, output) = job.builder.output();
        if output.is_empty() {
            return Ok(0);
        }
        let len = output.len() as u64;
        let head = self.state.borrow().run_heads[head_index(job.role)];
        let head = head.expect("a piece is written at its head");
        if let Err((zone, error)) = self.write_both(head.zone, head.twin, block, output).await {
            return self.run_zone_failed(zone, error);
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
    /// `ranged` says whether Boundaries may come.
    pub(crate) async fn begin_piece(
        &self,
        job: &mut Job<'m>,
        role: Role,
        versions: u32,
        ranged: bool,
    ) -> Result<(), Fault<D::Error>> {
        job.role = role;
        let index = head_index(role);
        let node_blocks = self.shape.node_blocks();
        for _ in 0..2 {
            let head = self.state.borrow().run_heads[index];
            if let Some(head) = head {
                let nodes_max = (head.capacity - head.next) / node_blocks;
                // A fresh zone that holds a key with all its versions must do. In the rest of one a
                // piece must be worth its place in the table; where each key has one version, it
                // fills what there is.
                let least = self.shape.piece_nodes_least(versions);
                let worth = if versions == 1 && !ranged { 4 } else { least + 2 };
                let least =
                    if head.next == 1 { least } else { worth.max(head.nodes_of(node_blocks) / 8) };
                if nodes_max >= least && !self.is_run_head_bad(&head) {
                    self.state.borrow_mut().zones.get_mut(head.zone).set_pending(true);
                    job.builder.begin(PiecePlace {
                        generation: head.generation,
                        start: head.next,
                        nodes_max,
                        ranged,
                    });
                    return Ok(());
                }
                self.leave_run_zone(index, head).await?;
            }
            self.start_run_zone(index, role).await?;
        }
        Err(Fault::NoSpace)
    }

    /// A write to a run's zone failed: the job gives up the piece, and begins it anew elsewhere
    /// ([`job_step`](Self::job_step)) if that zone alone is at fault.
    fn run_zone_failed<T>(&self, zone: ZoneId, error: D::Error) -> Result<T, Fault<D::Error>> {
        let fault = Fault::Device(error);
        if self.note_failed(zone, error.kind()) { Err(fault) } else { self.poison(fault) }
    }

    pub(crate) async fn leave_run_zone(
        &self,
        index: usize,
        head: RunHead,
    ) -> Result<(), Fault<D::Error>> {
        self.state.borrow_mut().run_heads[index] = None;
        for id in core::iter::once(head.zone).chain(head.twin) {
            self.state.borrow_mut().zones.get_mut(id).set_head(false);
            if head.next < head.capacity {
                self.give_back(id).await?;
            }
        }
        Ok(())
    }

    /// Gives back the resources of zones whose job was abandoned.
    async fn leave_abandoned_zones(&self) -> Result<(), Fault<D::Error>> {
        let count = self.state.borrow().zones.len();
        for id in (0..count).map(shingle_hal::ZoneId) {
            let left = self.state.borrow_mut().zones.get_mut(id).take_abandoned();
            if left {
                self.give_back(id).await?;
            }
        }
        Ok(())
    }

    /// Whether nothing more is to be written where runs are: it failed, or is to be rebuilt.
    pub(crate) fn is_run_head_bad(&self, head: &RunHead) -> bool {
        let state = self.state.borrow();
        let mut zones = core::iter::once(head.zone).chain(head.twin);
        zones.any(|id| state.zones.get(id).has_mark(SICK | DAMAGED))
    }

    async fn start_run_zone(&self, index: usize, role: Role) -> Result<(), Fault<D::Error>> {
        self.leave_abandoned_zones().await?;
        let zone = self.take_zone(role, None, false).await?;
        let twin = self.take_twin(zone).await?;
        let (generation, capacity) = {
            let state = self.state.borrow();
            let entry = state.zones.get(zone);
            (entry.generation.get(), entry.capacity.get())
        };
        self.commit_edit(|state, edit| {
            state.earn_rebuild();
            for id in core::iter::once(zone).chain(twin) {
                state.zones.get_mut(id).set_head(true);
            }
            // From now on the step can be cut short: `abandon_job` leaves the zones.
            state.run_heads[index] = Some(RunHead { zone, generation, next: 1, capacity, twin });
            edit.push(&Change::Take { zone: zone.0, generation, role: role as u8 });
            if let Some(twin) = twin {
                let generation = state.zones.get(twin).generation.get();
                edit.push(&Change::Take { zone: twin.0, generation, role: Role::Twin as u8 });
                assert!(state.zones.set_twin(zone, twin), "a fresh zone is nobody's twin");
                edit.push(&Change::Twin { zone: zone.0, twin: twin.0 });
            }
        })
        .await?;
        let mut buffer = self.nodes.take(&self.lot).await;
        let header = &mut buffer[..self.media.block_len()];
        self.zone_header(header, generation, role);
        let written = self.write_both(zone, twin, 0, header).await;
        written.or_else(|(zone, error)| self.run_zone_failed(zone, error))
    }
}

const fn head_index(role: Role) -> usize {
    if matches!(role, Role::Bottom) { 1 } else { 0 }
}

pub(crate) fn change_run_live(state: &mut State<'_>, generation: u32, bytes: i64) {
    let Some(zone) = state.zones.find(generation) else { unreachable!("T3") };
    let zone = state.zones.get_mut(zone);
    let live = i64::from(zone.live.get()) + bytes;
    zone.live = u32::try_from(live).expect("Z3: run liveness is exact").into();
}

pub(crate) fn add_piece(
    state: &mut State<'_>,
    edit: &mut EditBuilder<'_>,
    record: &PieceRecord,
    node_len: u32,
) {
    assert!(state.tree.add(record), "room was checked before the job began");
    change_run_live(state, record.generation, i64::from(record.nodes * node_len));
    edit.push(&Change::Piece(*record));
}

/// Whether the changes of liveness can be installed: whether no zone is left fewer bytes than none.
/// What the manifest says of live bytes cannot be held against anything when it is read; a lie
/// shows here, before anything is said in its name.
pub(crate) fn liveness_holds(state: &State<'_>) -> bool {
    state.zones.iter().all(|(_, zone)| {
        zone.live.get().checked_add_signed(zone.merge_delta.get()).is_some()
            && zone
                .live_mem
                .get()
                .checked_add_signed(zone.flush_delta.get().saturating_neg())
                .is_some()
    })
}

/// Installs changes of liveness, which [hold](liveness_holds), and says so in the edit.
pub(crate) fn fill_zones(state: &mut State<'_>, edit: &mut EditBuilder<'_>) {
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
