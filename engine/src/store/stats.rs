//! How the store stands: capacity, use, and what was done since open.

use shingle_hal::{Device, ZoneId};

use crate::format::record::{OP_HEADER_LEN, RECORD_HEADER_LEN};
use crate::limits::{BOTTOM, FRAGMENT_LEN_MAX};
use crate::state::ScrubStats;
use crate::store::Store;
use crate::zone::Role;

/// Figures of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stats {
    /// Bytes of values, and of runs with keys and small values, that the store promises to hold:
    /// entries whose [`cost_bytes`](crate::Store::cost_bytes) add up to it.
    pub capacity_bytes: u64,
    /// Bytes of them in use, dead ones counted until they are known to be dead.
    pub used_bytes: u64,
    /// First and last of the sequence numbers among which are those of records that could not be
    /// read when the store was opened: writes that were in no run yet, and whose place in the log
    /// was damaged. The last is `u64::MAX - 1` if nothing was found behind them.
    pub lost_seqs: Option<(u64, u64)>,
    /// Zones that failed: nothing more is written to them.
    pub failed_zones: u32,
    /// Zones of values that could not be rebuilt, were their storage element to fail; 0 where
    /// values have no parity.
    pub bare_zones: u32,
    /// Zones that hold nothing.
    pub free_zones: u32,
    /// Zones of the device.
    pub zone_count: u32,
    /// Bytes of keys, metadata and values written since open.
    pub user_bytes: u64,
    /// Memtables flushed since open.
    pub flushes: u64,
    /// Merges ended since open.
    pub merges: u64,
    /// Zones of runs rebuilt from their twins since open.
    pub rebuilds: u64,
    /// Groups of zones of values with their parity put together since open.
    pub regroups: u64,
    /// What scrubbing came to since open.
    pub scrub: ScrubStats,
    /// Zones emptied by reclaim since open.
    pub reclaims: u64,
    /// Bytes of values that reclaim moved since open.
    pub moved_bytes: u64,
    /// Bytes of runs written since open.
    pub run_bytes: u64,
    /// Manifest snapshots since open.
    pub manifest_snapshots: u64,
    /// Snapshots held, those of scans among them: space is not got back from what they see.
    pub snapshots: u32,
    /// Entries in runs, old versions and tombstones included.
    pub entries: u64,
    /// Runs.
    pub runs: u32,
    /// Pieces of runs.
    pub pieces: u32,
    /// Nodes found in the cache since open.
    pub cache_hits: u64,
    /// Nodes not found in the cache since open.
    pub cache_misses: u64,
}

/// Bytes that the head of an entry takes in a node, and what leads to a value kept apart.
const ENTRY_HEAD_BYTES: u64 = 16;
const POINTER_BYTES: u64 = 16;
/// Bytes of a node that no entry can have, and of filters for each key.
const NODE_HEAD_BYTES: u64 = 64;
const FILTER_BYTES: u64 = 2;

/// What a zone is used for, for pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZoneUse {
    /// Which.
    pub zone: ZoneId,
    /// What for.
    pub role: Role,
    /// Generation, 0 for a free zone.
    pub generation: u32,
    /// Whether something is still being appended.
    pub head: bool,
    /// Blocks that can be written.
    pub capacity_blocks: u32,
    /// Bytes that something refers to.
    pub live_bytes: u64,
    /// What is known of its health: [`marks`](crate::format::marks).
    pub marks: u8,
    /// Units in it that a scrub found bad.
    pub found: u16,
    /// Whether it is in a group: protected by parity, or the parity of others.
    pub grouped: bool,
}

impl<D: Device> Store<'_, D> {
    /// What an entry counts against [`capacity_bytes`](Stats::capacity_bytes), at most: whatever
    /// the lengths, entries whose costs add up to the capacity can be put.
    ///
    /// A value kept apart counts with its record in the log, and its key and metadata once more in
    /// a run; a shorter one counts in a run only. In a run an entry counts a node by the number of
    /// its like that a node holds.
    #[must_use]
    pub fn cost_bytes(&self, key_len: usize, meta_len: usize, value_len: u64) -> u64 {
        let head = (key_len + meta_len) as u64;
        let apart = value_len >= u64::from(self.core.limits.separate_from_bytes);
        let cuts = if apart { self.core.cuts_max(value_len) } else { 0 };
        let body = if apart { POINTER_BYTES + cuts * FRAGMENT_LEN_MAX as u64 } else { value_len };
        let node_len = u64::from(self.core.limits.node_len_bytes);
        let in_node = (node_len - NODE_HEAD_BYTES) / (head + ENTRY_HEAD_BYTES + body);
        // A node with its separator in the branch above, of which a zone has one at least.
        let zone_len = u64::from(self.core.state.borrow().zones.capacity_min().saturating_sub(1))
            * self.core.media.block_len() as u64;
        let branch = node_len / (zone_len / node_len).saturating_sub(1).max(1);
        let node = node_len + key_len as u64 + ENTRY_HEAD_BYTES + branch;
        let in_run = node.div_ceil(in_node.max(1)) + FILTER_BYTES;
        let in_run = in_run * self.core.run_copies();
        if !apart {
            return in_run;
        }
        let record = head + (RECORD_HEADER_LEN + OP_HEADER_LEN) as u64;
        in_run + self.core.with_parity(value_len + (1 + cuts) * record)
    }

    /// The figures now.
    pub fn stats(&self) -> Stats {
        let (used_bytes, bare_zones) = (self.core.used_bytes(), self.core.bare_zones());
        let state = self.core.state.borrow();
        let counters = state.counters;
        let pieces = state.tree.pieces();
        Stats {
            capacity_bytes: self.core.capacity.get(),
            used_bytes,
            lost_seqs: state.lost_seqs,
            bare_zones,
            failed_zones: state.zones.failed_count(),
            free_zones: state.zones.free_count(),
            zone_count: state.zones.len(),
            user_bytes: counters.user_bytes,
            flushes: counters.flushes,
            merges: counters.merges,
            rebuilds: counters.rebuilds,
            regroups: counters.regroups,
            scrub: counters.scrub,
            reclaims: counters.reclaims,
            moved_bytes: counters.moved_bytes,
            run_bytes: counters.run_bytes,
            manifest_snapshots: counters.snapshots,
            snapshots: state.snapshot_seqs().len() as u32,
            entries: pieces.iter().map(|piece| u64::from(piece.record().entries)).sum(),
            runs: state.tree.runs().len() as u32,
            pieces: pieces.len() as u32,
            cache_hits: state.cache.hits,
            cache_misses: state.cache.misses,
        }
    }

    /// What a zone is used for; `None` beyond the last.
    pub fn zone_use(&self, zone: ZoneId) -> Option<ZoneUse> {
        let state = self.core.state.borrow();
        (zone.0 < state.zones.len()).then(|| {
            let entry = state.zones.get(zone);
            ZoneUse {
                zone,
                role: entry.role(),
                generation: entry.generation.get(),
                head: entry.is_head(),
                capacity_blocks: entry.capacity.get(),
                live_bytes: u64::from(entry.live.get()) + u64::from(entry.live_mem.get()),
                marks: entry.health(),
                found: entry.found.get(),
                grouped: state.zones.is_grouped(zone),
            }
        })
    }

    /// Number of runs at each level, the bottom last.
    pub fn runs_by_level(&self) -> [u8; BOTTOM as usize + 1] {
        let state = self.core.state.borrow();
        let mut counts = [0; BOTTOM as usize + 1];
        for run in state.tree.runs() {
            counts[usize::from(run.level)] += 1;
        }
        counts
    }
}
