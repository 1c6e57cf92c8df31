//! What to do next in the background, and how much of it a foreground write pays for.
//!
//! ```text
//!   due first   dead zones are freed                     (cheap, makes room)
//!               a frozen memtable is flushed             (writers will wait for it)
//!               a level over its fanout is merged        (readers pay for every run)
//!               a log zone is reclaimed                  (when free zones run low)
//! ```
//!
//! Every write adds to a debt, more the more is due; whoever maintains works it off in steps
//! (after bLSM's "spring and gear" and TigerBeetle's per-operation pacing). A writer works off
//! what `maintain` has left, so that nothing piles up where nobody calls it.
//!
//! Invariants: `P1` a step does a bounded amount of media work. `P2` without room for a write,
//! steps are taken until there is room or nothing is left to do; only then the store is full.

use shingle_hal::{Device, ZoneId};

use crate::compact::Step;
use crate::error::Fault;
use crate::format::record::RECORD_HEADER_LEN;
use crate::limits::{BOTTOM, FANOUT, RUNS_MAX, UNSYNCED_BYTES_MAX};
use crate::memtable::RANGES_MAX;
use crate::merge::MERGE_ZONES;
use crate::replay::REPLAY_READS_MAX;
use crate::state::{Core, State, Wanted};

/// Range deletions that one batch may bring.
pub(crate) const RANGES_AT_ONCE: usize = 16;
/// Zones that only maintenance may take: flush, merge, survivors, manifest copies, changes of zone.
const RESERVE: u32 = 12;
/// And where zones of runs have twins: those of a flush, a merge, and a rebuild.
const RESERVE_FOR_TWINS: u32 = 8;
/// And where the log has a mirror: its next zone, and those that wait for a flush.
const RESERVE_FOR_LOG_MIRROR: u32 = 4;
/// Of these, what deletes may use up.
const RESERVE_FOR_DELETES: u32 = 6;
/// Of a debt larger than its own a write pays one part in so many; where it is above eight times as
/// many steps, it pays though it waited for a sync.
const DEBT_SHARE: u64 = 16;
/// Nothing more is begun for a write when what it works off has taken so long.
const WORK_US_MAX: u64 = 20_000;
/// How often a write looks for more that is dead when nothing is left to do.
const IDLE_MAX: u32 = 4;
/// Of all zones, so many are emptied for one write before tiers are merged for it.
const RECLAIMS_SHARE: u64 = 16;
/// Bytes of scrub that writes can earn ahead of it.
const SCRUB_CREDIT_MAX: u64 = 64 << 20;

/// What the device has been asked for.
pub(crate) struct Load {
    read_bytes: u64,
    syncs: u64,
    now_us: Option<u64>,
}

impl<D: Device> Core<'_, D> {
    /// Media bytes that one step may move.
    fn step_bytes(&self) -> u64 {
        (self.plan.output_len as u64).clamp(4 * self.shape.node_len as u64, 1 << 20)
    }

    /// Free zones below which nothing but deletes and maintenance may take one.
    pub(crate) fn reserve(&self) -> u32 {
        let twins = if self.is_mirrored() { RESERVE_FOR_TWINS } else { 0 };
        // Emptying a group takes its survivors' zones, each with a copy until they are regrouped;
        // and the heads' copies, and the zone of parity being written.
        let parity = match self.parity() as u32 {
            0 => 0,
            members => 2 * members + 4,
        };
        let log = if self.is_log_mirrored() { RESERVE_FOR_LOG_MIRROR } else { 0 };
        RESERVE + twins + log + parity
    }

    /// How often a node of a run is written.
    pub(crate) fn run_copies(&self) -> u64 {
        if self.is_mirrored() { 2 } else { 1 }
    }

    /// Free zones below which reclaim is due.
    pub(crate) fn low_water(&self) -> u32 {
        let zones = self.state.borrow().zones.len();
        self.reserve() + 4 + zones / 128
    }

    /// Dead zones that are worth the syncs of freeing them: where there are many zones some are
    /// freed together, unless the last free zones go.
    pub(crate) fn release_least(&self, free: u32) -> u32 {
        const TOGETHER_MAX: u32 = 8;
        let together = (self.state.borrow().zones.len() / 128).clamp(1, TOGETHER_MAX);
        if free <= self.reserve() + 1 { 1 } else { together }
    }

    /// Whether a write may go on: what is left of the head's zone stays for maintenance too, and
    /// what deletes have of the reserve is for a merge from tier to tier while there is one.
    pub(crate) fn has_room_for_write(&self, is_delete: bool) -> bool {
        let state = self.state.borrow();
        // The mirror takes zones for deletes, too.
        let mirror = if self.is_log_mirrored() { RESERVE_FOR_LOG_MIRROR / 2 } else { 0 };
        let for_deletes = RESERVE_FOR_DELETES + mirror;
        let digs = is_delete && !state.tree.has_tier_merge();
        let least = if digs { self.reserve() - for_deletes } else { self.reserve() };
        let flushes = if is_delete { 1 } else { 2 };
        state.zones.free_count() > least.max(self.merge_room(&state, flushes))
    }

    /// Free zones that are enough to merge all tiers into the bottom, with so many flushes
    /// meanwhile: a run's zones are freed as it is read, but for that which is being read.
    pub(crate) fn merge_room(&self, state: &State<'_>, flushes: u32) -> u32 {
        const ZONES_OF_FLUSH: u32 = 2;
        let zone_nodes = self.zone_nodes();
        // Short runs share a zone.
        let tiers = state.tree.runs().iter().filter(|run| run.level < BOTTOM);
        let being_read = tiers.map(|run| {
            let is_input = state.tree.is_input(run).is_some();
            if is_input { self.input_nodes(run.nodes) } else { (2 * run.nodes).min(zone_nodes) }
        });
        let being_read = being_read.sum::<u64>().div_ceil(zone_nodes) as u32;
        let log = if self.is_log_mirrored() { RESERVE_FOR_LOG_MIRROR / 2 } else { 0 };
        let zones = being_read + MERGE_ZONES + ZONES_OF_FLUSH * flushes;
        zones * self.run_copies() as u32 + log
    }

    /// Nodes that a zone takes.
    pub(crate) fn zone_nodes(&self) -> u64 {
        (self.zone_payload() / self.shape.node_len as u64).max(1)
    }

    /// One step of whatever is due most. Waits for a step under way first.
    pub(crate) async fn step(&self) -> Result<Step, Fault<D::Error>> {
        let _guard = self.jobs.enter(&self.lot).await;
        self.step_locked().await
    }

    async fn step_locked(&self) -> Result<Step, Fault<D::Error>> {
        if self.is_read_only() {
            return Ok(Step::Idle);
        }
        self.learn_events().await?;
        self.learn_efforts();
        self.record_marks().await?;
        let (free, releasing) = {
            let state = self.state.borrow();
            (state.zones.free_count(), !state.releasing.is_empty())
        };
        let urgent = free <= self.reserve() + 1;
        if urgent && releasing {
            self.sync_device().await?;
            return Ok(Step::Did(1));
        }
        let is_due = free < self.low_water() * 2 && self.dead_zones() >= self.release_least(free);
        if is_due && (urgent || self.are_moves_durable()) {
            let freed = self.release_dead(urgent).await?;
            if freed > 0 {
                return Ok(Step::Did(u64::from(freed) * u64::from(self.payload())));
            }
        }
        let budget = self.step_bytes();
        if free > self.reserve() / 2 {
            match self.rebuild_step(budget, false).await? {
                Step::Idle => {}
                did => return Ok(did),
            }
            match self.evacuate_step(budget).await? {
                Step::Idle => {}
                did => return Ok(did),
            }
            self.flush_for_failed_zones();
            if self.has_failed_log_zone() {
                match self.reclaim_step(budget, u64::MAX).await? {
                    Step::Idle => {}
                    did => return Ok(did),
                }
            }
        }
        // A group of zones with copies gives back more of them than it takes, so it is put together
        // even where few are left; any other only takes.
        if free > 2 {
            let wanted =
                Wanted { narrow: free < self.low_water(), bare: free > self.reserve() / 2 };
            match self.regroup_step(budget, wanted).await? {
                Step::Idle => {}
                did => return Ok(did),
            }
        }
        // A flush goes before all else, and levels are kept short, or the survivors' own entries
        // would pile up, and merged while they can be; any other merge gives way to reclaim when
        // zones run out.
        let (flushing, crowded) = {
            let state = self.state.borrow();
            let over = (0..BOTTOM).any(|level| state.tree.level(level).count() >= FANOUT);
            (state.frozen.is_some(), over || self.is_tight(&state))
        };
        if !urgent || flushing || crowded {
            match self.job_step(budget).await? {
                Step::Idle | Step::Waits => {}
                did => return Ok(did),
            }
        }
        let zone_bytes = self.zone_payload();
        // What reclaim moves takes room in tiers, too: where they rest, none comes back.
        if free < self.low_water() && !self.next_merge().is_some_and(|level| self.rests(level)) {
            let gain = if urgent { zone_bytes / 20 } else { zone_bytes / 10 };
            // A zone's header and its last block's padding are not gained, or it would never end.
            let gain = gain.max(2 * u64::from(self.payload()));
            match self.reclaim_step(budget, gain).await? {
                Step::Idle => {}
                did => return Ok(did),
            }
        }
        let job = self.job_step(budget).await?;
        if let Step::Did(_) = job {
            return Ok(job);
        }
        match self.effort_step(budget).await? {
            Step::Idle => {}
            did => return Ok(did),
        }
        // Where nothing else is due no sync comes by itself.
        if job == Step::Waits {
            return self.job_step(u64::MAX).await;
        }
        if (is_due || releasing) && self.release_dead(true).await? > 0 {
            return Ok(Step::Did(1));
        }
        self.scrub_due().await
    }

    /// Writes anew what is read with effort, when nothing else is due.
    async fn effort_step(&self, budget: u64) -> Result<Step, Fault<D::Error>> {
        if !self.state.borrow().failed || self.state.borrow().zones.free_count() <= self.low_water()
        {
            return Ok(Step::Idle);
        }
        match self.rebuild_step(budget, true).await? {
            Step::Idle if self.has_effort_log_zone() => self.reclaim_step(budget, u64::MAX).await,
            other => Ok(other),
        }
    }

    /// Scrubs a part, if writes have earned it.
    async fn scrub_due(&self) -> Result<Step, Fault<D::Error>> {
        if self.state.borrow().scrub_credit == 0 {
            return Ok(Step::Idle);
        }
        let progress = self.scrub_locked(&mut |_| {}).await?;
        let mut state = self.state.borrow_mut();
        let did = progress.bytes.max(1);
        state.scrub_credit = state.scrub_credit.saturating_sub(did);
        Ok(Step::Did(did))
    }

    pub(crate) fn zone_payload(&self) -> u64 {
        u64::from(self.media.geometry.zone_blocks) * u64::from(self.payload())
    }

    /// How many bytes of maintenance a byte of foreground writing pays for, in sixteenths.
    fn gear(&self) -> u64 {
        // In parts of a zone, or what a byte costs would jump with every zone taken or freed.
        const PARTS: u64 = 256;
        let (squeeze, frozen, runs_over, room) = {
            let state = self.state.borrow();
            let over: usize = (0..BOTTOM)
                .map(|level| (state.tree.level(level).count() + 1).saturating_sub(self.plan.fanout))
                .sum();
            let zone_bytes = self.zone_payload().max(1);
            let rest = u64::from(state.log.zone_room()).min(zone_bytes) * PARTS / zone_bytes;
            let free = u64::from(state.zones.free_count());
            (state.squeeze, state.frozen.is_some(), over, free * PARTS + rest)
        };
        let low = u64::from(self.low_water()) * PARTS;
        let mut gear = if squeeze { 96 } else { 0 };
        if frozen {
            gear += 32;
        }
        if self.has_loose_zones() {
            gear += 40;
        }
        if runs_over > 0 {
            gear += 48 + 32 * runs_over as u64;
        }
        if room < low {
            // Survivors to copy for each byte gained, rising as the last free zones go: it settles
            // where as much is gained as is written.
            let span = low - u64::from(self.reserve()) * PARTS;
            gear += 160 * (low - room) / span;
        }
        gear
    }

    /// Begins to merge into the bottom before there is no room, and ends when there is some.
    fn note_use(&self) {
        let capacity = self.capacity.get();
        let left = capacity.saturating_sub(self.used_bytes());
        let mut state = self.state.borrow_mut();
        if left < capacity / 64 {
            let tiers = state.tree.tier_nodes() * 8 > state.tree.nodes_of_level(BOTTOM);
            state.squeeze |= tiers;
        } else if left > (capacity / 32).max(state.wanted) {
            state.squeeze = false;
            state.wanted = 0;
        }
    }

    /// Whether the manifest is to begin anew now, where the sync that it takes has little to do: if
    /// its edits' room were used up, a write would wait for that and for what else it came upon.
    fn is_manifest_ending(&self) -> bool {
        let state = self.state.borrow();
        let roomy = state.zones.free_count() > self.reserve();
        let idle = self.media.unsynced_bytes() < UNSYNCED_BYTES_MAX / 4;
        state.manifest.is_ending() && roomy && idle && !state.read_only
    }

    /// What the device was asked for so far, and when that was, if it has a clock.
    pub(crate) fn load(&self) -> Load {
        Load {
            read_bytes: self.media.stats().read_bytes,
            syncs: self.state.borrow().syncs,
            now_us: self.media.device.now_us(),
        }
    }

    /// Whether since then more than `bytes` were read, or something was synced, or it took long:
    /// enough for who does a part of the maintenance beside something else.
    pub(crate) fn has_waited_since(&self, since: &Load, bytes: u64) -> bool {
        let now = self.load();
        let took_us = now.now_us.zip(since.now_us).map(|(now, then)| now.saturating_sub(then));
        now.read_bytes - since.read_bytes > bytes
            || now.syncs > since.syncs
            || took_us.is_some_and(|took_us| took_us > WORK_US_MAX)
    }

    /// Takes note of a write of `bytes` and works off what is owed.
    pub(crate) async fn pay(&self, bytes: u64) -> Result<(), Fault<D::Error>> {
        self.note_use();
        let gear = self.gear();
        let owed = bytes * gear / 16;
        {
            let mut state = self.state.borrow_mut();
            let earned = bytes.saturating_mul(u64::from(state.scrub_share)) / 16;
            state.scrub_credit = (state.scrub_credit + earned).min(SCRUB_CREDIT_MAX);
        }
        self.state.borrow_mut().debt += owed;
        self.earn_effort(bytes);
        let step = self.step_bytes();
        // Who waited for a sync leaves the rest to others, if there is time, and nobody pays much
        // at once: what a few writes owe that came while much was due is paid by those behind, too.
        let most = (2 * step).max(self.state.borrow().debt / DEBT_SHARE);
        let waited = self.paid.take();
        if !waited && self.is_manifest_ending() {
            let Some(_guard) = self.jobs.try_enter(&self.lot) else { return Ok(()) };
            return self.snapshot_manifest().await;
        }
        if waited && self.state.borrow().debt < 8 * DEBT_SHARE * step {
            return Ok(());
        }
        let (mut paid, load) = (0, self.load());
        // A long read or a sync is enough for one write, too, and so are many short reads.
        let has_waited = || self.has_waited_since(&load, step);
        while self.state.borrow().debt >= step && paid < most && !has_waited() {
            let Some(_guard) = self.jobs.try_enter(&self.lot) else {
                return Ok(());
            };
            match self.step_locked().await? {
                Step::Did(did) => {
                    let mut state = self.state.borrow_mut();
                    state.debt = state.debt.saturating_sub(did.max(step / 4));
                    paid += did.max(step / 4);
                }
                Step::Idle | Step::Waits => self.state.borrow_mut().debt = 0,
            }
        }
        self.paid.set(false);
        Ok(())
    }

    /// Works until nothing is due, or until `steps` steps were taken. Returns the steps taken.
    pub(crate) async fn work(&self, steps: u32) -> Result<u32, Fault<D::Error>> {
        for step in 0..steps {
            if self.step().await? == Step::Idle {
                return Ok(step);
            }
        }
        Ok(steps)
    }

    /// Makes room in the memtable for an entry: freezes it when it is full, and flushes the other
    /// one first if that is still waiting.
    ///
    /// `holds_jobs` says whether the caller holds the `jobs` lock.
    pub(crate) async fn make_entry_room(
        &self,
        key_len: usize,
        entry_len: usize,
        holds_jobs: bool,
    ) -> Result<(), Fault<D::Error>> {
        loop {
            {
                let mut state = self.state.borrow_mut();
                let active = state.active;
                let ranges = state.tables[active].range_count() + RANGES_AT_ONCE <= RANGES_MAX;
                // What is frozen in time is flushed step by step.
                let replay_max = self.plan.window_len as u64 * REPLAY_READS_MAX;
                let soon = state.settled_replay_cost() > replay_max / 8 * 6;
                let bound = state.replay_cost() > replay_max || soon && state.frozen.is_none();
                if ranges && state.tables[active].room_for(key_len, entry_len) && !bound {
                    return Ok(());
                }
                let empty = state.tables[active].is_empty() && ranges;
                if state.frozen.is_none() && !empty {
                    state.freeze();
                    continue;
                }
                if ranges && state.tables[active].room_for(key_len, entry_len) {
                    if state.frozen.is_none() {
                        return Ok(());
                    }
                } else if state.frozen.is_none() {
                    return Err(Fault::NoMemory);
                }
            }
            if self.is_read_only() {
                return Err(Fault::NoSpace);
            }
            self.flush_now(holds_jobs).await?;
        }
    }

    /// Takes steps until the frozen memtable is flushed.
    async fn flush_now(&self, holds_jobs: bool) -> Result<(), Fault<D::Error>> {
        let _guard = if holds_jobs { None } else { Some(self.jobs.enter(&self.lot).await) };
        while self.state.borrow().frozen.is_some() {
            if self.is_read_only() {
                return Err(Fault::NoSpace);
            }
            self.lone_job_step(u64::MAX).await?;
        }
        Ok(())
    }

    /// Flushes until no memtable refers to a zone; false if that does not end. Under `jobs`.
    pub(crate) async fn flush_entries_of(&self, zone: ZoneId) -> Result<bool, Fault<D::Error>> {
        for _ in 0..4 {
            {
                let mut state = self.state.borrow_mut();
                if state.zones.get(zone).live_mem.get() == 0 {
                    return Ok(true);
                }
                if state.frozen.is_none() {
                    state.freeze();
                }
            }
            self.flush_now(true).await?;
        }
        Ok(false)
    }

    /// Makes room for a write, or finds that the store is full.
    pub(crate) async fn make_zone_room(
        &self,
        bytes: u64,
        is_delete: bool,
    ) -> Result<bool, Fault<D::Error>> {
        let mut idle = 0;
        let (zones, reclaims) = {
            let state = self.state.borrow();
            (u64::from(state.zones.len()), state.counters.reclaims)
        };
        // Each zone can be emptied once or twice for one write, not without end; and what little
        // each gives goes into tiers, until they are merged.
        let reclaims_max = reclaims + 2 * zones;
        let mut merges_at = reclaims + zones / RECLAIMS_SHARE + 1;
        loop {
            let reclaims = self.state.borrow().counters.reclaims;
            if reclaims > reclaims_max {
                return Ok(false);
            }
            if self.is_read_only() {
                return Err(Fault::NoSpace);
            }
            let has_room =
                || self.has_room_for_write(is_delete) && (is_delete || self.has_capacity(bytes));
            if has_room() {
                return Ok(true);
            }
            // Where there are zones reclaim is no help: what it moves counts twice until merged.
            let merges = reclaims >= merges_at;
            let step = if merges || self.has_room_for_write(is_delete) {
                let _guard = self.jobs.enter(&self.lot).await;
                self.state.borrow_mut().squeeze |= merges;
                self.lone_job_step(self.step_bytes()).await?
            } else {
                self.step().await?
            };
            if merges && step == Step::Idle {
                merges_at = reclaims + zones / RECLAIMS_SHARE + 1;
                continue;
            }
            // A step waits for those of others, which may have made room and left nothing to do.
            if step == Step::Idle && !has_room() {
                // What is known to be dead is freed; find out about the rest. Again, if another
                // writer's merge ended this one's, or a snapshot was dropped, or reclaim moved
                // something meanwhile: until that is merged it counts where it was, too.
                let mut state = self.state.borrow_mut();
                let is_flushed = state.tables[state.active].is_empty();
                if idle == IDLE_MAX || idle > 0 && is_flushed && !state.is_merge_worth() {
                    return Ok(false);
                }
                idle += 1;
                state.squeeze = true;
                state.wanted = state.wanted.max(bytes);
                // Also without an entry: what aborted values left in the log is behind it then.
                if state.frozen.is_none() {
                    state.freeze();
                }
            }
        }
    }

    /// Flushes everything that is in the memtables now.
    pub(crate) async fn flush_all(&self) -> Result<(), Fault<D::Error>> {
        for _ in 0..2 {
            self.flush_now(false).await?;
            let mut state = self.state.borrow_mut();
            let active = state.active;
            if state.tables[active].is_empty() && state.tables[active].range_count() == 0 {
                return Ok(());
            }
            if state.frozen.is_none() {
                state.freeze();
            }
        }
        self.flush_now(false).await
    }

    /// Merges everything into the bottom and frees what is dead.
    pub(crate) async fn merge_all(&self) -> Result<(), Fault<D::Error>> {
        // Each merge takes runs from a tier, and there are so many.
        let merges_max = {
            let mut state = self.state.borrow_mut();
            state.full_merge = true;
            state.counters.merges + 2 * RUNS_MAX as u64
        };
        let mut rests = false;
        while self.state.borrow().is_full_merge_due() {
            let _guard = self.jobs.enter(&self.lot).await;
            if self.lone_job_step(u64::MAX).await? == Step::Idle {
                rests = self.next_merge().is_some_and(|level| self.rests(level));
                break;
            }
            if self.state.borrow().counters.merges > merges_max {
                self.state.borrow_mut().full_merge = false;
                return Err(crate::run::cursor::malformed());
            }
        }
        self.state.borrow_mut().full_merge = false;
        let _guard = self.jobs.enter(&self.lot).await;
        while self.release_dead(true).await? > 0 {}
        if rests { Err(Fault::NoSpace) } else { Ok(()) }
    }

    /// The longest record that the smallest zone can take beside its `End`.
    pub(crate) fn zone_record_max(&self) -> usize {
        let capacity = self.state.borrow().zones.capacity_min();
        let payload = u64::from(capacity.saturating_sub(1)) * u64::from(self.payload());
        usize::try_from(payload).unwrap_or(usize::MAX).saturating_sub(RECORD_HEADER_LEN)
    }

    /// Bytes of values and runs that the store promises to hold, whichever of the two they are.
    ///
    /// Values leave a little at the end of each zone, and reclaim needs some that is dead in each
    /// to gain by. Runs take whole nodes, and new versions need room until a merge drops the old.
    /// Nodes that a run has however little is in it no entry's cost counts.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        const HEADS: u32 = 8;
        /// One of a flush and one of a merge.
        const TWIN_HEADS: u32 = 2;
        /// The mirror's, and those that it left since the last flush.
        const MIRROR_ZONES: u32 = 3;
        let heads = if self.is_mirrored() { HEADS + TWIN_HEADS } else { HEADS };
        let heads = heads + if self.is_log_mirrored() { MIRROR_ZONES } else { 0 };
        let state = self.state.borrow();
        let node_blocks = u64::from(self.shape.node_blocks());
        let (mut zones, mut for_values, mut for_runs) = (0, 0, 0);
        for (_, zone) in state.zones.iter() {
            if zone.role() != crate::zone::Role::Retired && !zone.is_sick() {
                zones += 1;
                let blocks = u64::from(zone.capacity.get().saturating_sub(1));
                for_values += blocks;
                for_runs += blocks / node_blocks * node_blocks;
            }
        }
        let left = zones - u64::from(self.reserve() + heads).min(zones);
        let blocks = (for_values * 94).min(for_runs * 97) / 100;
        let bytes = blocks * left / zones.max(1) * u64::from(self.payload());
        bytes.saturating_sub(self.uncounted_bytes())
    }

    /// Bytes of values and runs that are referred to; what is not yet known to be dead counts.
    pub(crate) fn used_bytes(&self) -> u64 {
        let with_parity = self.parity_scale();
        let mut state = self.state.borrow_mut();
        let appended = state.log.appended;
        let (at, version, bytes) = state.used;
        let stale =
            version != state.tree.version || at > appended || appended - at > self.zone_payload();
        if stale {
            let node_blocks = self.shape.node_blocks();
            let (payload, copies) = (self.payload(), self.run_copies());
            let (values, runs) = state.used_blocks(node_blocks, payload, copies);
            let bytes = (with_parity(values) + runs) * u64::from(payload);
            state.used = (appended, state.tree.version, bytes);
            return bytes;
        }
        bytes + with_parity(appended - at)
    }

    /// Bytes of nodes that a run has however little is in it.
    fn uncounted_bytes(&self) -> u64 {
        /// The last leaf, what is over the leaves, and the filter's.
        const NODES: u64 = 4;
        NODES * self.run_copies() * self.shape.node_len as u64
    }

    /// Whether `bytes` more fit what the store promises to hold.
    pub(crate) fn has_capacity(&self, bytes: u64) -> bool {
        let used = self.used_bytes() + self.with_parity(bytes);
        used <= self.capacity.get() + self.uncounted_bytes()
    }
}
