//! Nodes kept in memory: a set-associative cache over one slab.
//!
//! A node is found by generation and block, so a node of a zone that was since emptied can never be
//! taken for one of its successor. Sixteen frames make a set; the least recently used one goes
//! first, data nodes before the nodes that lead to them. A frame holds one node whole, or the
//! [digests](crate::digest) of two.
//!
//! Invariants: `C1` only nodes whose seal was checked enter. `C2` frames never change but by
//! `insert` and `insert_digest`.

use crate::digest::{self, Answer};
use crate::format::node::{NodeType, node_type};

const WAYS: usize = 16;
/// How much longer an index node stays than a data node, in ticks of its set.
const INDEX_CREDIT: u32 = 64;
/// Bytes of bookkeeping a frame.
pub(crate) const FRAME_META_LEN: usize = size_of::<Frame>();

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Which node; generation 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Name {
    generation: U32,
    block: U32,
}

impl Name {
    const NONE: Self = Self { generation: U32::ZERO, block: U32::ZERO };
    /// In the second half of a frame: the first half's node takes the whole frame.
    const WHOLE: Self = Self { generation: U32::MAX_VALUE, block: U32::ZERO };

    fn new(generation: u32, block: u32) -> Self {
        Self { generation: U32::new(generation), block: U32::new(block) }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Frame {
    halves: [Name; 2],
    used: U32,
}

impl Frame {
    fn is_whole(&self) -> bool {
        self.halves[1] == Name::WHOLE
    }
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

    fn set(&self, name: Name) -> core::ops::Range<usize> {
        let count = self.frames.len();
        let ways = WAYS.min(count);
        if ways == 0 {
            return 0..0;
        }
        let sets = count / ways;
        let hash = (u64::from(name.generation.get()) << 32 | u64::from(name.block.get()))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = ((hash >> 32) as usize) % sets;
        set * ways..(set + 1) * ways
    }

    fn node_at(&mut self, index: usize) -> &mut [u8] {
        &mut self.slab[index * self.node_len..(index + 1) * self.node_len]
    }

    fn half_at(&mut self, index: usize, half: usize) -> &mut [u8] {
        let len = self.node_len / 2;
        &mut self.node_at(index)[half * len..(half + 1) * len]
    }

    /// The node at this place, if it is here.
    pub(crate) fn get(&mut self, generation: u32, block: u32) -> Option<&[u8]> {
        let name = Name::new(generation, block);
        let found = self.set(name).find(|&index| {
            let frame = &self.frames[index];
            frame.halves[0] == name && frame.is_whole()
        });
        let Some(index) = found else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.touch(index);
        Some(self.node_at(index))
    }

    /// What the digest of the node at this place, if it is here, says of a key.
    pub(crate) fn ask_digest(
        &mut self,
        generation: u32,
        block: u32,
        hash: u64,
        key_len: usize,
    ) -> Option<Answer> {
        let name = Name::new(generation, block);
        let (index, half) = self.set(name).find_map(|index| {
            let frame = &self.frames[index];
            let half = frame.halves.iter().position(|&half| half == name)?;
            (!frame.is_whole()).then_some((index, half))
        })?;
        self.hits += 1;
        self.touch(index);
        Some(digest::look(self.half_at(index, half), hash, key_len))
    }

    fn touch(&mut self, index: usize) {
        self.clock = self.clock.wrapping_add(1);
        let leads =
            self.frames[index].is_whole() && node_type(self.node_at(index)) != Some(NodeType::Data);
        let credit = if leads { INDEX_CREDIT * self.frames.len() as u32 } else { 0 };
        self.frames[index].used = U32::new(self.clock.wrapping_add(credit));
    }

    /// The frame to give up for `name`: the one used longest ago.
    fn victim(&self, name: Name) -> Option<usize> {
        let clock = self.clock;
        self.set(name).min_by_key(|&index| {
            let frame = &self.frames[index];
            let same = frame.halves[0] == name && frame.is_whole();
            let empty = frame.halves[0] == Name::NONE;
            let age = frame.used.get().wrapping_sub(clock) as i32;
            (if same || empty { i32::MIN } else { age }, index)
        })
    }

    /// Puts a checked node in the place of the one used longest ago.
    pub(crate) fn insert(&mut self, generation: u32, block: u32, node: &[u8]) {
        let name = Name::new(generation, block);
        let Some(index) = self.victim(name) else { return };
        self.node_at(index).copy_from_slice(node);
        self.frames[index].halves = [name, Name::WHOLE];
        self.touch(index);
    }

    /// Puts the digest of a checked node beside another, or in the place of what was used longest
    /// ago; the node itself if it can have none.
    pub(crate) fn insert_digest(&mut self, generation: u32, block: u32, node: &[u8], seed: u64) {
        let name = Name::new(generation, block);
        let beside = self.set(name).find(|&index| {
            let [first, second] = self.frames[index].halves;
            first != Name::NONE && second == Name::NONE
        });
        let Some(index) = beside.or_else(|| self.victim(name)) else { return };
        let half = usize::from(beside.is_some());
        if half == 0 {
            self.frames[index].halves = [Name::NONE; 2];
        }
        if digest::write(node, seed, self.half_at(index, half)).is_none() {
            return self.insert(generation, block, node);
        }
        self.frames[index].halves[half] = name;
        self.touch(index);
    }
}
