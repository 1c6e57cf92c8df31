//! What all operations share: the device, the state, and the buffers that are lent across awaits.
//!
//! The state is one `RefCell`; a borrow lives for a section without awaits. Sections that must not
//! interleave although they await hold a lock, taken in this order and never backwards:
//!
//! ```text
//!   jobs     one step of flush, merge, reclaim or release at a time
//!   rolls    one log changes its zone at a time
//!   edits    one manifest edit at a time, from encoding to the last copy
//! ```

use core::cell::{Cell, RefCell};
use shingle_hal::{Device, Error as _, ZoneId};

use crate::cache::Cache;
use crate::canary::{Bug, planted};
use crate::error::Fault;
use crate::format::edit::LogPlace;
use crate::format::entry::{Entry, Kind};
use crate::format::superblock::{Limits, Superblock};
use crate::limits::{
    LOG_ZONES_AHEAD, NODE_BUFFERS_MAX, PARITY_MAX, RELEASED_AT_ONCE, SNAPSHOTS_MAX, TORN_MAX,
    VALUE_BUFFERS_MAX,
};
use crate::log::Head;
use crate::log::mirror::Mirror;
use crate::manifest::Manifest;
use crate::media::Media;
use crate::memtable::Memtable;
use crate::plan::Plan;
use crate::run::builder::Shape;
use crate::run::tree::Tree;
use crate::sync::{For, Lock, Lot, Pool};
use crate::zone::{Zones, spans};

/// Where both logs stand, and the highest sequence number before that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) log: LogPlace,
    pub(crate) cold: LogPlace,
    pub(crate) seq: u64,
    /// What must be durable in either log before this may be relied on.
    pub(crate) tickets: [u64; 2],
}

/// Where runs are written: a zone and the next block in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunHead {
    pub(crate) zone: ZoneId,
    pub(crate) generation: u32,
    pub(crate) next: u32,
    pub(crate) capacity: u32,
    pub(crate) twin: Option<ZoneId>,
}

impl RunHead {
    /// Nodes that the whole zone takes.
    pub(crate) fn nodes_of(&self, node_blocks: u32) -> u32 {
        self.capacity.saturating_sub(1) / node_blocks
    }
}

/// What a new copy of a zone of runs takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// Nothing: the zone has no twin and gets one.
    Nothing,
    /// The twin.
    Twin,
    /// The zone, whose twin takes its place and gets this one for its twin.
    Zone,
    /// The zone, which has no twin, nor will have.
    Lone,
}

/// A pair of zones of runs being rebuilt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rebuild {
    /// The pair's generation.
    pub(crate) generation: u32,
    /// Where the new copy goes.
    pub(crate) into: ZoneId,
    /// What it takes the place of.
    pub(crate) replaces: Replaces,
    /// The next block to copy, and the end.
    pub(crate) next: u32,
    pub(crate) end: u32,
}

/// A zone of values that comes into a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) zone: ZoneId,
    pub(crate) generation: u32,
    /// Blocks that it may have, and that were found.
    pub(crate) blocks: u32,
    pub(crate) len: u32,
}

/// A group being put together.
#[derive(Clone, Debug)]
pub(crate) struct Regroup {
    pub(crate) members: heapless::Vec<Member, PARITY_MAX>,
    /// The zone of parity.
    pub(crate) into: ZoneId,
    /// The next block of it to write, and the end.
    pub(crate) next: u32,
    pub(crate) end: u32,
}

/// Which groups are to be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of fewer zones than a group takes, too.
    pub(crate) narrow: bool,
    /// Of zones that have no copy, too: that gives no zone back.
    pub(crate) bare: bool,
}

/// When the zones were last looked at for groups: see `parity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) sum: u64,
    pub(crate) free: u32,
    pub(crate) wanted: Wanted,
}

/// How far the scrub has come, and what this pass found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scrubbing {
    /// Passes that were begun, this one included.
    pub(crate) pass: u32,
    /// The zone under way and the next block in it.
    pub(crate) zone: u32,
    pub(crate) block: u32,
    /// Where that zone was found to end, where that had to be looked for.
    pub(crate) end: u32,
    /// Units found bad in this pass, and those of them that have no other copy.
    pub(crate) found: u32,
    pub(crate) lost: u32,
    /// The zone that the manifest knows as the next.
    pub(crate) recorded: u32,
}

impl Scrubbing {
    /// Takes over what the manifest says.
    pub(crate) fn restore(&mut self, pass: u32, zone: u32, found: u32, lost: u32) {
        *self = Self { pass, zone, block: 0, end: 0, found, lost, recorded: zone };
    }
}

/// What scrubbing came to since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ScrubStats {
    /// Blocks read.
    pub blocks: u64,
    /// Bad units found, by [`Structure`](crate::Structure) in its order: those that the device
    /// could not return, and those that are not what was written.
    pub found: [[u64; 2]; 5],
    /// Of these, the ones that were written anew from another copy or from memory.
    pub mended: u64,
    /// And those of which there is no other copy.
    pub lost: u64,
    /// Passes ended.
    pub passes: u32,
}

impl ScrubStats {
    /// Bad units found.
    #[must_use]
    pub fn found_total(&self) -> u64 {
        self.found.iter().flatten().sum()
    }
}

/// Counts since open, for `stats`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of keys, metadata and values that callers wrote.
    pub(crate) user_bytes: u64,
    pub(crate) flushes: u64,
    pub(crate) merges: u64,
    pub(crate) reclaims: u64,
    pub(crate) moved_bytes: u64,
    pub(crate) run_bytes: u64,
    pub(crate) snapshots: u64,
    pub(crate) rebuilds: u64,
    pub(crate) regroups: u64,
    pub(crate) scrub: ScrubStats,
    /// `appended` of the log when the bottom was last merged.
    pub(crate) bottom_merge_at: u64,
}

/// Which head a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The log in commit order.
    Log,
    /// The log of survivors.
    Cold,
    /// What the log holds of keys and small values, once more.
    Mirror,
}

/// Everything that changes.
pub(crate) struct State<'m> {
    pub(crate) zones: Zones<'m>,
    pub(crate) tree: Tree<'m>,
    pub(crate) cache: Cache<'m>,
    pub(crate) tables: [Memtable<'m>; 2],
    pub(crate) active: usize,
    /// The other memtable waits to be flushed; the mark says what is in it or in runs.
    pub(crate) frozen: Option<Mark>,
    pub(crate) log: Head<'m>,
    /// Zones the log goes on in, in this order; the manifest knows them already.
    pub(crate) ahead: heapless::Vec<ZoneId, LOG_ZONES_AHEAD>,
    /// None where survivors share the log.
    pub(crate) cold: Option<Head<'m>>,
    /// None where the log has no mirror.
    pub(crate) mirror: Option<Mirror<'m>>,
    pub(crate) manifest: Manifest,
    pub(crate) anchors: [crate::anchor::Anchor; 2],
    pub(crate) scrub: Scrubbing,
    /// Bad units of manifest and superblocks, and of the log, that are not written anew yet.
    pub(crate) unmended: [u32; 2],
    /// Zones that may be written anew because they are read with effort, and the bytes written
    /// towards one more.
    pub(crate) effort_zones: u32,
    pub(crate) effort_earned: u64,
    /// Zones of runs that may be rebuilt until more of them are written (`D3`).
    pub(crate) rebuilds_left: u32,
    /// Bytes of scrub that `maintain` does for each 16 that are written, and those it may do now.
    pub(crate) scrub_share: u32,
    pub(crate) scrub_credit: u64,
    pub(crate) run_heads: [Option<RunHead>; 2],
    /// Where replay would start.
    pub(crate) checkpoint: Mark,
    /// The highest sequence number given out.
    pub(crate) seq: u64,
    pub(crate) snapshots: [Option<u64>; SNAPSHOTS_MAX],
    /// Values being written in fragments.
    pub(crate) streams: usize,
    /// The first generation of this life: what is replayed lies before it.
    pub(crate) born: u32,
    /// Bytes of maintenance owed for foreground writes.
    pub(crate) debt: u64,
    pub(crate) counters: Counters,
    /// What recovery read may still be in the device's cache: the store may have been opened again
    /// without a power cut.
    pub(crate) unsynced: bool,
    /// Syncs that were begun, and the newest of them that ended: what was written before it began
    /// is durable.
    pub(crate) syncs: u64,
    pub(crate) synced: u64,
    /// Zones whose release is in the manifest and not durable, and how many there were before them.
    pub(crate) releasing: heapless::Vec<ZoneId, RELEASED_AT_ONCE>,
    pub(crate) released: u64,
    /// Recovery is still reading the logs.
    pub(crate) replaying: bool,
    /// Records of the log could not be read: the last sequence number before them.
    pub(crate) gap: Option<u64>,
    /// The mirror has all that was acknowledged behind that one.
    pub(crate) gap_filled: bool,
    /// Where in the mirror replay goes on.
    pub(crate) mirror_at: LogPlace,
    /// Sequence numbers among which are those of records that could not be read at open.
    pub(crate) lost_seqs: Option<(u64, u64)>,
    /// Zones of the log whose last records the mirror alone has, until they are flushed; the
    /// generation of each, and where its own records end.
    pub(crate) torn: heapless::Vec<(u32, u32), TORN_MAX>,
    /// Records of the survivors' log could not be read at open.
    pub(crate) survivors_missing: bool,
    /// Some zone failed, or something in one could not be read.
    pub(crate) failed: bool,
    /// Zones of values wait to come into a group.
    pub(crate) loose: bool,
    /// When the last look at them found that none comes into a group.
    pub(crate) none_loose: Option<Moment>,
    /// The manifest does not know all marks of zones.
    pub(crate) marks_due: bool,
    /// A copy of the manifest or a superblock is bad: both are to be written anew.
    pub(crate) renewal_due: bool,
    /// Records that no run holds yet are bad where they lie, or a cut may have taken their copies:
    /// they are to be flushed.
    pub(crate) flush_due: bool,
    /// A flush takes in what replay might not find: a sync is due behind it.
    pub(crate) rescued: bool,
    /// A write failed: nothing is written any more.
    pub(crate) read_only: bool,
    /// Bytes in use when the log had `.0` bytes and the tree version `.1`.
    pub(crate) used: (u64, u64, u64),
    /// Everything is to be merged into the bottom, so that liveness is known exactly.
    pub(crate) full_merge: bool,
    /// Reads of nodes in tiers that led to nothing, since the last merge into the bottom.
    pub(crate) wasted_reads: u64,
    /// A write found no room: the tiers are merged into the bottom, the largest first, until it
    /// has.
    pub(crate) squeeze: bool,
    /// The most bytes that such a write asked for.
    pub(crate) wanted: u64,
    /// The bottom may hold versions that were kept for snapshots alone, or room for such, the
    /// newest of this number.
    pub(crate) held_back: Option<u64>,
    /// The same of what the merge under way writes.
    pub(crate) holding_back: Option<u64>,
}

impl<'m> State<'m> {
    /// Releases whose edits were written so far.
    fn released_so_far(&self) -> u64 {
        self.released + self.releasing.len() as u64
    }

    /// The edits of the first `until` releases are durable: those zones are free.
    fn end_releases(&mut self, until: u64) {
        while self.released < until && !self.releasing.is_empty() {
            let id = self.releasing.remove(0);
            self.released += 1;
            self.freed(id);
        }
    }

    /// The edit that released a logical zone is durable.
    pub(crate) fn freed(&mut self, id: ZoneId) {
        for zone in self.zones.group(id) {
            for zone in self.zones.members(zone) {
                self.zones.freed(zone);
            }
        }
    }

    /// The head of a side; survivors share the log where memory is small.
    pub(crate) fn head(&mut self, side: Side) -> &mut Head<'m> {
        match (side, &mut self.cold, &mut self.mirror) {
            (Side::Cold, Some(cold), _) => cold,
            (Side::Mirror, _, Some(mirror)) => &mut mirror.head,
            _ => &mut self.log,
        }
    }

    /// The side whose head a record for `side` really goes to.
    pub(crate) fn real_side(&self, side: Side) -> Side {
        if side == Side::Mirror || self.cold.is_some() { side } else { Side::Log }
    }

    /// Replay met damage: records are missing behind what it has read.
    pub(crate) fn begin_gap(&mut self) {
        let seq = self.seq;
        self.gap.get_or_insert(seq);
        self.gap_filled = false;
    }

    /// Replay goes on at `seq`: what is missing lies before it.
    pub(crate) fn end_gap(&mut self, seq: u64) {
        let Some(before) = self.gap.take() else { return };
        if seq > before + 1 {
            let first = self.lost_seqs.map_or(before + 1, |(first, _)| first);
            self.lost_seqs = Some((first, seq - 1));
        }
    }

    /// Where both logs stand now.
    pub(crate) fn mark(&self) -> Mark {
        let place = |head: &Head<'_>| match head.zone {
            // Its `End` record may be in already: what comes next begins a later zone.
            Some(zone) if head.leaving => LogPlace { generation: zone.generation + 1, offset: 0 },
            Some(zone) => LogPlace { generation: zone.generation, offset: head.place().1 },
            // A zone may have been taken for it already, but none before this life began.
            None => LogPlace { generation: self.born, offset: 0 },
        };
        let log = place(&self.log);
        let cold_ticket = self.cold.as_ref().map_or(0, |cold| cold.appended);
        Mark {
            log,
            cold: self.cold.as_ref().map_or(log, place),
            seq: self.seq,
            tickets: [self.log.appended, cold_ticket],
        }
    }

    /// Puts an entry into the active memtable and counts what it refers to.
    ///
    /// # Panics
    /// If there is no room; callers ask first.
    pub(crate) fn insert(&mut self, key: &[u8], entry: &Entry<'_>) {
        let Self { tables, active, zones, none_loose, .. } = self;
        let table = &mut tables[*active];
        if let Some(old) = table.get(key, entry.seq).filter(|old| old.seq == entry.seq) {
            for (generation, span) in spans(key, &old) {
                zones.add_live_mem(generation, -span);
            }
        }
        assert!(table.insert(key, entry).is_ok(), "room was asked for");
        for (generation, span) in spans(key, entry) {
            // A value that was long in writing: its zone may be full by now.
            if zones.add_live_mem(generation, span) {
                *none_loose = None;
            }
        }
    }

    /// Looks for a key in the memtables as [`find`](Core::find) does; false if runs must be asked.
    pub(crate) fn find_in_memory(
        &self,
        key: &[u8],
        seq: u64,
        visit: &mut dyn FnMut(Option<&Entry<'_>>),
    ) -> bool {
        let older = self.frozen.map(|_| 1 - self.active);
        for table in core::iter::once(self.active).chain(older) {
            let table = &self.tables[table];
            let entry = table.get(key, seq);
            let covered = table.covering(key, seq);
            if entry.is_none() && covered == 0 {
                continue;
            }
            let live = entry.filter(|entry| entry.seq >= covered && entry.kind != Kind::Tombstone);
            visit(live.as_ref());
            return true;
        }
        false
    }

    /// Bytes that replaying both logs since the last freeze would read.
    pub(crate) fn replay_cost(&self) -> u64 {
        self.log.replay_cost() + self.cold.as_ref().map_or(0, Head::replay_cost)
    }

    /// The same without what the next index of each will cover.
    pub(crate) fn settled_replay_cost(&self) -> u64 {
        self.log.settled_cost() + self.cold.as_ref().map_or(0, Head::settled_cost)
    }

    /// Snapshots, oldest first.
    pub(crate) fn snapshot_seqs(&self) -> heapless::Vec<u64, SNAPSHOTS_MAX> {
        let mut seqs: heapless::Vec<u64, SNAPSHOTS_MAX> =
            self.snapshots.iter().flatten().copied().collect();
        seqs.sort_unstable();
        seqs
    }

    /// Makes the active memtable the frozen one.
    ///
    /// # Panics
    /// If there still is a frozen one.
    pub(crate) fn freeze(&mut self) {
        assert!(self.frozen.is_none(), "one memtable is flushed at a time");
        self.frozen = Some(self.mark());
        self.active = 1 - self.active;
        self.tables[self.active].clear();
        self.log.reset_cost();
        if let Some(cold) = &mut self.cold {
            cold.reset_cost();
        }
        self.tree.version += 1;
    }

    /// Blocks of values that something refers to, and blocks of runs with what the memtables hold.
    pub(crate) fn used_blocks(&self, node_blocks: u32, payload: u32, copies: u64) -> (u64, u64) {
        let values: u64 = self
            .zones
            .iter()
            .filter(|(_, zone)| zone.role().holds_values() && !zone.is_sick() && !zone.is_emptied())
            .map(|(_, zone)| u64::from(zone.live.get()) + u64::from(zone.live_mem.get()))
            .sum();
        let frozen = self.frozen.map_or(0, |_| self.tables[1 - self.active].entry_bytes());
        let tables = u64::from(self.tables[self.active].entry_bytes()) + u64::from(frozen);
        let runs = self.tree.node_count() * u64::from(node_blocks);
        let payload = u64::from(payload);
        (values.div_ceil(payload), (runs + tables.div_ceil(payload)) * copies)
    }

    /// Panics if an invariant does not hold.
    pub(crate) fn check_invariants(&self) {
        self.zones.check_invariants();
        for table in &self.tables {
            table.check_invariants();
        }
        for piece in self.tree.pieces() {
            let zone = self.zones.find(piece.record().generation);
            assert!(
                zone.is_some_and(|zone| self.zones.get(zone).role().holds_runs()),
                "T3: a piece lies in a zone that holds none"
            );
        }
    }
}

/// The store's shared parts.
pub(crate) struct Core<'m, D> {
    pub(crate) media: Media<D>,
    pub(crate) plan: Plan,
    pub(crate) limits: Limits,
    pub(crate) superblock: Cell<Superblock>,
    pub(crate) shape: Shape,
    pub(crate) state: RefCell<State<'m>>,
    pub(crate) nodes: Pool<'m, NODE_BUFFERS_MAX>,
    pub(crate) values: Pool<'m, VALUE_BUFFERS_MAX>,
    /// Memory of one manifest edit; lent under the `edits` lock.
    pub(crate) edit: Pool<'m, 1>,
    /// Window for reading a log back; lent under the `jobs` lock.
    pub(crate) window: Pool<'m, 1>,
    /// Blocks of other zones, from which one is rebuilt.
    pub(crate) spare: Pool<'m, 1>,
    /// A key and an entry; lent under the `jobs` lock.
    pub(crate) scratch: Pool<'m, 1>,
    /// Metadata of a value that reclaim moves.
    pub(crate) meta: Pool<'m, 1>,
    /// The write under way waited for a sync already.
    pub(crate) paid: Cell<bool>,
    /// What the log and the survivors' log had appended when the last zone was emptied.
    pub(crate) emptied_at: Cell<[u64; 2]>,
    pub(crate) jobs: Lock,
    pub(crate) rolls: Lock,
    pub(crate) edits: Lock,
    /// One group commit at a time; innermost, holds no other lock while it waits.
    pub(crate) commits: Lock,
    /// Something moved on: a log write or sync ended, room was made, a job step was done.
    pub(crate) lot: Lot,
    /// The flush or merge under way, and its buffers.
    pub(crate) job: Cell<Option<crate::compact::Job<'m>>>,
    /// Bytes that the store promises to hold.
    pub(crate) capacity: Cell<u64>,
    /// The longest record that every zone can take.
    pub(crate) zone_record_max: usize,
    /// The zone being reclaimed and how far.
    pub(crate) reclaiming: Cell<Option<crate::reclaim::Victim>>,
    /// The pair of zones being rebuilt and how far.
    pub(crate) rebuilding: Cell<Option<Rebuild>>,
    /// The group being put together and how far.
    pub(crate) regrouping: Cell<Option<Regroup>>,
}

impl<D: Device> Core<'_, D> {
    /// Payload bytes of a block.
    pub(crate) fn payload(&self) -> u32 {
        (self.media.block_len() - crate::limits::SEAL_LEN) as u32
    }

    /// The longest record for a side: what its buffer and every zone can take.
    pub(crate) fn record_len_max(&self, side: Side) -> usize {
        let mut state = self.state.borrow_mut();
        state.head(side).record_len_max().min(self.zone_record_max)
    }

    /// Bytes at the end of a zone that are worth a fragment: little against a fragment's cost, or
    /// against the zone.
    pub(crate) fn fragment_least(&self) -> usize {
        let blocks = (self.media.geometry.zone_blocks / 64).clamp(1, 16);
        blocks as usize * self.media.block_len()
    }

    /// Cuts in a value that its cost counts: where a buffer ends, and at the ends of two zones, by
    /// the log and by reclaim.
    pub(crate) fn cuts_max(&self, value_len: u64) -> u64 {
        if value_len <= 2 * self.fragment_least() as u64 {
            return 0;
        }
        2 + value_len / self.record_len_max(Side::Log).max(1) as u64
    }

    /// Stops all writing after a failure whose effect on the media is unknown.
    pub(crate) fn poison<T>(&self, fault: Fault<D::Error>) -> Result<T, Fault<D::Error>> {
        if let Fault::Device(error) = &fault {
            event!(error, "nothing is written any more: {}", error.kind());
            self.state.borrow_mut().read_only = true;
        }
        self.lot.wake_all(For::Progress);
        Err(fault)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.state.borrow().read_only
    }

    /// Device sync, with every log byte written before it then durable.
    pub(crate) async fn sync_device(&self) -> Result<(), Fault<D::Error>> {
        let (log, log_written, cold, mirror) = {
            let state = self.state.borrow();
            let written = |head: &Head<'_>| (head.written, head.written_place());
            let (log, place) = written(&state.log);
            let mirror = state.mirror.as_ref().map(|mirror| written(&mirror.head));
            let covered = (log.min(state.mirrored()), place);
            (covered, log, state.cold.as_ref().map(written), mirror)
        };
        let (released, sync) = {
            let mut state = self.state.borrow_mut();
            state.syncs += 1;
            (state.released_so_far(), state.syncs)
        };
        if let Err(error) = self.media.sync().await
            && !planted(Bug::SyncErrorIgnored)
        {
            return self.poison(Fault::Device(error));
        }
        let mut state = self.state.borrow_mut();
        state.unsynced = false;
        let synced = |head: &mut Head<'_>, (written, place): (u64, LogPlace)| {
            head.synced = head.synced.max(written);
            head.set_durable(place);
        };
        synced(&mut state.log, log);
        if let (Some(head), Some(written)) = (&mut state.cold, cold) {
            synced(head, written);
        }
        if let (Some(mirror), Some(written)) = (&mut state.mirror, mirror) {
            synced(&mut mirror.head, written);
            mirror.settled = mirror.settled.max(log_written);
        }
        state.synced = state.synced.max(sync);
        state.end_releases(released);
        drop(state);
        self.lot.wake_all(For::Progress);
        Ok(())
    }
}
