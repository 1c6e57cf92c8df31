//! How the memory handed in at open is divided: a pure function, so that what fits is known before.
//!
//! Every part has a least size, which depends on the limits fixed at format and on the device; what
//! is left over goes to the parts by weight, and the rest to the cache.

use shingle_hal::Geometry;

use crate::format::entry;
use crate::format::record::{OP_HEADER_LEN, RECORD_HEADER_LEN};
use crate::format::superblock::{Limits, Redundancy};
use crate::limits::{
    FANOUT, FRAGMENT_LEN_MAX, NODE_BUFFERS_MAX, SEAL_LEN, SWEEP_LEN_MAX, TREE_HEIGHT_MAX,
    VALUE_BUFFERS_MAX,
};
use crate::run::builder::{self, COVER_LEN_MAX};
use crate::run::tree;
use crate::zone;

/// The division of the memory; all lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Plan {
    /// Zone table and its index.
    pub zones_len: usize,
    /// Pieces that the table of runs holds.
    pub pieces: usize,
    /// Both buffers of the log.
    pub log_len: usize,
    /// Both buffers of the log of survivors; 0 if survivors share the log.
    pub cold_len: usize,
    /// Both buffers of the log's mirror; 0 if it has none.
    pub mirror_len: usize,
    /// Notes of a log for its next index; one for each log.
    pub notes_len: usize,
    /// Each of the two memtables.
    pub memtable_len: usize,
    /// Buffers for reading nodes.
    pub node_buffers: usize,
    /// Buffers for reading values.
    pub value_buffers: usize,
    /// Each of them.
    pub value_buffer_len: usize,
    /// Levels of nodes in a piece.
    pub height: usize,
    /// Output of the piece builder.
    pub output_len: usize,
    /// Inputs of a merge together.
    pub merge_len: usize,
    /// Runs of a tier at which it is merged.
    pub fanout: usize,
    /// One manifest edit.
    pub edit_len: usize,
    /// Window for reading the log back.
    pub window_len: usize,
    /// The same memory and more, for what reclaim reads of a zone at once.
    pub sweep_len: usize,
    /// Blocks of other zones, from which one is rebuilt; 0 without parity.
    pub spare_len: usize,
    /// Cache of nodes.
    pub cache_len: usize,
}

/// Sums of what the plan is made from.
struct Needs {
    node_len: usize,
    block_len: usize,
    key_len: usize,
}

impl Plan {
    /// Divides `memory_len` bytes.
    ///
    /// # Errors
    /// The bytes needed at least, if `memory_len` is less.
    pub fn new(geometry: &Geometry, limits: &Limits, memory_len: usize) -> Result<Self, usize> {
        Self::with_redundancy(geometry, limits, Redundancy::NONE, memory_len)
    }

    /// The same where something is kept on more than one storage element.
    ///
    /// # Errors
    /// The bytes needed at least, if `memory_len` is less.
    pub fn with_redundancy(
        geometry: &Geometry,
        limits: &Limits,
        redundancy: Redundancy,
        memory_len: usize,
    ) -> Result<Self, usize> {
        let mut least = Self::least(geometry, limits);
        if redundancy.mirror_log {
            let block_len = geometry.block_len_bytes as usize;
            // The longest record with its values is the longest of the mirror, but for the head.
            least.mirror_len = least.log_least(limits, block_len) + 2 * block_len;
        }
        if redundancy.parity > 0 {
            let block_len = geometry.block_len_bytes as usize;
            least.spare_len = 2 * block_len;
            // An eighth of the window is for rebuilding what another element cannot give.
            least.window_len += (least.window_len / block_len / 7 + 1) * block_len;
            least.sweep_len = least.window_len;
        }
        let needed = least.total(limits);
        if memory_len < needed {
            return Err(needed);
        }
        Ok(least.grown(geometry, limits, memory_len - needed))
    }

    fn needs(geometry: &Geometry, limits: &Limits) -> Needs {
        Needs {
            node_len: limits.node_len_bytes as usize,
            block_len: geometry.block_len_bytes as usize,
            key_len: usize::from(limits.key_len_max),
        }
    }

    /// Bytes of the longest list of fragments.
    fn fragments_len_max(limits: &Limits) -> usize {
        limits.fragments_max() * FRAGMENT_LEN_MAX + 10
    }

    /// Bytes of the longest record with a value that is not kept apart.
    fn inline_record_len(limits: &Limits) -> usize {
        let fragments = Self::fragments_len_max(limits);
        let parts = 2 * limits.value_len_max.div_ceil(limits.fragments_max() as u64) as usize;
        RECORD_HEADER_LEN
            + 2 * OP_HEADER_LEN
            + 2 * usize::from(limits.key_len_max)
            + usize::from(limits.meta_len_max)
            + (limits.separate_from_bytes as usize)
                .max(fragments.min(limits.value_len_max as usize))
                .max(parts)
    }

    /// Bytes that a memtable must take at least: one entry of the longest kind, several times.
    fn memtable_least(limits: &Limits) -> usize {
        let entry = usize::from(limits.key_len_max)
            + usize::from(limits.meta_len_max)
            + (limits.separate_from_bytes as usize).max(Self::fragments_len_max(limits))
            + 384;
        (2 * entry).max(2048)
    }

    fn least(geometry: &Geometry, limits: &Limits) -> Self {
        let Needs { node_len, block_len, key_len } = Self::needs(geometry, limits);
        let payload = block_len - SEAL_LEN;
        let record_blocks = Self::inline_record_len(limits).div_ceil(payload) + 3;
        let zone_nodes = geometry.zone_blocks as usize * block_len / node_len;
        let height = if zone_nodes <= 64 {
            3
        } else if zone_nodes <= 1024 {
            4
        } else {
            TREE_HEIGHT_MAX
        };
        let window_blocks = (key_len
            + usize::from(limits.meta_len_max)
            + (limits.separate_from_bytes as usize).max(Self::fragments_len_max(limits))
            + 64)
            .div_ceil(payload)
            + 2;
        let fanout = FANOUT;
        Self {
            zones_len: zone::memory_len(geometry.zone_count as usize),
            pieces: geometry.zone_count as usize + 23,
            log_len: 2 * record_blocks * block_len,
            cold_len: 0,
            mirror_len: 0,
            notes_len: 0,
            memtable_len: Self::memtable_least(limits),
            node_buffers: 1,
            value_buffers: 1,
            value_buffer_len: ((key_len + usize::from(limits.meta_len_max)).div_ceil(payload) + 3)
                * block_len,
            height,
            output_len: builder::output_nodes_min(height) * node_len,
            merge_len: (fanout + 2) * (node_len + key_len + 1),
            fanout,
            edit_len: 2 * block_len,
            window_len: window_blocks * block_len,
            sweep_len: window_blocks * block_len,
            spare_len: 0,
            cache_len: 0,
        }
    }

    /// Bytes of everything.
    fn total(&self, limits: &Limits) -> usize {
        let node_len = limits.node_len_bytes as usize;
        let key_len = usize::from(limits.key_len_max);
        self.zones_len
            + tree::memory_len(self.pieces, key_len)
            + self.log_len
            + self.cold_len
            + self.mirror_len
            + self.notes_len * (1 + usize::from(self.cold_len > 0))
            + 2 * self.memtable_len
            + self.node_buffers * node_len
            + self.value_buffers * self.value_buffer_len
            + builder::memory_len(self.height, node_len, key_len)
            + self.output_len
            + self.merge_len
            + self.edit_len
            + self.sweep_len
            + self.spare_len
            + self.cache_len
            + Self::scratch_len(limits)
            + usize::from(limits.meta_len_max).max(1)
    }

    /// Bytes for one key and one entry being handed on between parts.
    pub(crate) fn scratch_len(limits: &Limits) -> usize {
        usize::from(limits.key_len_max) + 1 + Self::entry_len_max(limits)
    }

    /// Bytes of the longest encoded entry.
    pub(crate) fn entry_len_max(limits: &Limits) -> usize {
        let body = (limits.separate_from_bytes as usize)
            .max(Self::fragments_len_max(limits))
            .max(COVER_LEN_MAX)
            .max(entry::PLACE_LEN_MAX);
        usize::from(limits.meta_len_max) + body + 48
    }

    fn grown(mut self, geometry: &Geometry, limits: &Limits, spare: usize) -> Self {
        let Needs { node_len, block_len, .. } = Self::needs(geometry, limits);
        let blocks = |len: usize| len / block_len * block_len;
        let transfer = geometry.transfer_blocks_max as usize * block_len;
        let value_len = usize::try_from(limits.value_len_max).unwrap_or(usize::MAX);
        // The longest record that is worth a buffer, and a buffer for reading it back.
        let record = value_len.saturating_add(Self::inline_record_len(limits) + 4 * block_len);
        let whole_value = (value_len + value_len / 64).saturating_add(4 * block_len);
        let grow = |now: usize, most: usize, share: usize| now.max(most.min(spare / 100 * share));

        let least = self.total(limits);
        self.pieces += (spare / 100 * 4 / tree::PIECE_LEN).min(geometry.zone_count as usize / 2);
        let log_most = (2 * record).max(2 * transfer).min(8 << 20);
        self.log_len += 2 * blocks(grow(0, log_most, 8) / 2);
        if spare > 16 * node_len.max(4 * block_len) {
            let cold_most = (2 * record).max(transfer).min(4 << 20);
            self.cold_len = 2 * blocks(grow(0, cold_most, 5) / 2);
            if self.cold_len < self.log_least(limits, block_len) {
                self.cold_len = 0;
            }
        }
        if self.mirror_len > 0 {
            self.mirror_len += 2 * blocks(grow(0, log_most.min(1 << 20), 4) / 2);
        }
        // Its flush must fit the zones that are kept free for maintenance, beside much else.
        let zone_len = geometry.zone_blocks as usize * block_len;
        let memtable_most = (2 * zone_len).min(256 << 20).saturating_sub(self.memtable_len);
        self.memtable_len += grow(0, memtable_most, 12);
        // Several reads in flight come before a longer cache.
        let nodes = |share: usize| spare / 100 * share / node_len;
        self.node_buffers = nodes(3).max(nodes(12).min(16)).clamp(1, NODE_BUFFERS_MAX);
        self.value_buffer_len = blocks(grow(self.value_buffer_len, whole_value.min(8 << 20), 3));
        self.value_buffers = (spare / 100 * 4 / self.value_buffer_len).clamp(1, VALUE_BUFFERS_MAX);
        self.output_len += grow(0, transfer.clamp(1 << 20, 2 << 20), 4) / node_len * node_len;
        // Beside the banks that a merge borrows from the cache.
        self.merge_len = grow(self.merge_len, 16 << 20, 2);
        self.edit_len = blocks(grow(self.edit_len, 64 * block_len, 2));
        self.window_len = blocks(grow(self.window_len, transfer.min(1 << 20), 3));
        let sweep_most = zone_len.min(SWEEP_LEN_MAX);
        self.sweep_len = blocks(grow(self.window_len, sweep_most, 12));
        if self.spare_len > 0 {
            self.spare_len = blocks(grow(self.spare_len, (2 * transfer).min(2 << 20), 2));
        }
        self.notes_len = (spare / 100).min(64 << 10).min(self.window_len / 2);
        let used = self.total(limits);
        // Shares add up to less than all, so what is left is not negative.
        self.cache_len = (least + spare).saturating_sub(used);
        self
    }

    fn log_least(&self, limits: &Limits, block_len: usize) -> usize {
        let payload = block_len - SEAL_LEN;
        2 * (Self::inline_record_len(limits).div_ceil(payload) + 3) * block_len
    }

    /// Inputs that a merge can read.
    pub(crate) fn merge_inputs(&self) -> usize {
        self.fanout + 2
    }
}
