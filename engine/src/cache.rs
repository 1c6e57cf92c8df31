//! Nodes kept in memory: a set-associative cache over one slab.
//!
//! A node is found by generation and block, so a node of a zone that was since emptied can never be
//! taken for one of its successor. Eight frames make a set; the least recently used one goes first,
//! data nodes before the nodes that lead to them.
//!
//! Invariants: `C1` only nodes whose seal was checked enter. `C2` frames never change but by
//! `insert`.

use crate::format::node::{NodeType, node_type};

const WAYS: usize = 8;
/// How much longer an index node stays than a data node, in ticks of its set.
const INDEX_CREDIT: u32 = 64;
/// Bytes of bookkeeping a frame.
pub(crate) const FRAME_META_LEN: usize = size_of::<Frame>();

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Frame {
    generation: U32,
    block: U32,
    used: U32,
}

/// The cache.
pub(crate) struct Cache<'m> {
    frames: &'m mut [Frame],
    slab: &'m mut [u8],
    node_len: usize,
    clock: u32,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl<'m> Cache<'m> {
    /// A cache of as many frames as fit into `memory`; possibly none.
    pub(crate) fn new(memory: &'m mut [u8], node_len: usize) -> Self {
        let count = memory.len() / (node_len + FRAME_META_LEN);
        let (frames, rest) = memory.split_at_mut(count * FRAME_META_LEN);
        frames.fill(0);
        let frames = <[Frame]>::mut_from_bytes(frames).expect("sized above");
        let slab = &mut rest[..count * node_len];
        Self { frames, slab, node_len, clock: 1, hits: 0, misses: 0 }
    }

    fn set(&self, generation: u32, block: u32) -> core::ops::Range<usize> {
        let count = self.frames.len();
        let ways = WAYS.min(count);
        if ways == 0 {
            return 0..0;
        }
        let sets = count / ways;
        let hash =
            (u64::from(generation) << 32 | u64::from(block)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = ((hash >> 32) as usize) % sets;
        set * ways..(set + 1) * ways
    }

    /// The node at this place, if it is here.
    pub(crate) fn get(&mut self, generation: u32, block: u32) -> Option<&[u8]> {
        let set = self.set(generation, block);
        let found = set.clone().find(|&index| {
            let frame = &self.frames[index];
            frame.generation.get() == generation && frame.block.get() == block
        });
        let Some(index) = found else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.touch(index);
        Some(&self.slab[index * self.node_len..(index + 1) * self.node_len])
    }

    fn touch(&mut self, index: usize) {
        self.clock = self.clock.wrapping_add(1);
        let node = &self.slab[index * self.node_len..];
        let credit = if node_type(node) == Some(NodeType::Data) { 0 } else { INDEX_CREDIT };
        let credit = credit * self.frames.len() as u32;
        self.frames[index].used = U32::new(self.clock.wrapping_add(credit));
    }

    /// Puts a checked node in the place of the one used longest ago.
    pub(crate) fn insert(&mut self, generation: u32, block: u32, node: &[u8]) {
        let set = self.set(generation, block);
        let clock = self.clock;
        let victim = set.min_by_key(|&index| {
            let frame = &self.frames[index];
            let same = frame.generation.get() == generation && frame.block.get() == block;
            let empty = frame.generation.get() == 0;
            let age = frame.used.get().wrapping_sub(clock) as i32;
            (if same || empty { i32::MIN } else { age }, index)
        });
        let Some(index) = victim else { return };
        self.slab[index * self.node_len..(index + 1) * self.node_len].copy_from_slice(node);
        self.frames[index].generation = U32::new(generation);
        self.frames[index].block = U32::new(block);
        self.touch(index);
    }
}
