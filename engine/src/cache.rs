//! Nodes kept in memory: a set-associative cache over one slab.
//!
//! A node is found by generation and block, so a node of a zone that was since emptied can never be
//! taken for one of its successor. Sixteen frames make a set; the least recently used one goes
//! first, data nodes before the nodes that lead to them. A frame holds one node whole, or the
//! [digests](crate::digest) of up to four, one behind another.
//!
//! The slab is cut into banks. A merge borrows some of them to read far ahead, and what it would
//! need all the time caches nodes while there is no merge. A node belongs to one bank; while that
//! is away, to another.
//!
//! Invariants: `C1` only nodes whose seal was checked enter. `C2` frames never change but by
//! `insert` and `insert_digest`. `C3` a bank comes back empty.

use crate::digest::{self, Answer, Layout};
use crate::format::node::{NodeType, node_type};
use crate::limits::MERGE_INPUTS_MAX;

const WAYS: usize = 16;
/// Digests that a frame holds at most.
const DIGESTS_MAX: usize = 4;
/// Banks of a cache, unless it is too small for several.
const BANKS: usize = MERGE_INPUTS_MAX + 1;
/// Nodes that a bank holds at least where there are several.
const BANK_NODES_MIN: usize = 8;
/// How much longer an index node stays than a data node, in ticks of its set.
const INDEX_CREDIT: u32 = 64;
/// Misses after which a merge that rests gives back what it was lent.
const MISSES_MAX: u32 = 128;
/// Bytes of bookkeeping a frame.
pub(crate) const FRAME_META_LEN: usize = size_of::<Frame>();

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Which node: its generation, which is 0 for none, and its block.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
struct Name(U64);

impl Name {
    const NONE: Self = Self(U64::ZERO);
    /// The second of a frame: its first takes the whole frame.
    const WHOLE: Self = Self(U64::MAX_VALUE);

    fn new(generation: u32, block: u32) -> Self {
        Self(U64::new(u64::from(generation) << 32 | u64::from(block)))
    }

    fn hash(self) -> u64 {
        self.0.get().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Frame {
    names: [Name; DIGESTS_MAX],
    used: U32,
}

impl Frame {
    const EMPTY: Self = Self { names: [Name::NONE; DIGESTS_MAX], used: U32::ZERO };

    fn is_whole(&self) -> bool {
        self.names[1] == Name::WHOLE
    }
}

/// A part of the cache, or a buffer while it is lent.
pub(crate) struct Bank<'m> {
    frames: &'m mut [Frame],
    pub(crate) slab: &'m mut [u8],
    node_len: usize,
    clock: u32,
}

/// The cache.
pub(crate) struct Cache<'m> {
    /// The banks, but for those that are lent.
    banks: [Option<Bank<'m>>; BANKS],
    /// How many there are, lent ones included.
    count: usize,
    /// Misses since a bank was lent last.
    missed: u32,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl<'m> Cache<'m> {
    /// A cache of as many frames as fit into `memory`; possibly none.
    pub(crate) fn new(memory: &'m mut [u8], node_len: usize) -> Self {
        let frames = memory.len() / (node_len + FRAME_META_LEN);
        let count = if frames < BANKS * BANK_NODES_MIN { frames.min(1) } else { BANKS };
        let bank_len = frames / count.max(1) * (node_len + FRAME_META_LEN);
        let mut parts = memory.chunks_exact_mut(bank_len.max(1)).take(count);
        let banks = core::array::from_fn(|_| parts.next().map(|part| Bank::new(part, node_len)));
        Self { banks, count, missed: 0, hits: 0, misses: 0 }
    }

    /// A bank for a buffer, if there are several and it is longer than `len`. Its nodes are
    /// forgotten.
    pub(crate) fn lend(&mut self, len: usize) -> Option<Bank<'m>> {
        let here = self.banks.iter().flatten().count();
        if here + MERGE_INPUTS_MAX <= self.count.max(1) {
            return None;
        }
        let several = self.count > 1;
        let bank = self.banks.iter_mut().find(|bank| bank.is_some())?;
        let lent = bank.take_if(|bank| several && bank.slab.len() > len)?;
        self.missed = 0;
        Some(lent)
    }

    /// Takes back what was [lent](Self::lend).
    pub(crate) fn take_back(&mut self, bank: Bank<'m>) {
        bank.frames.fill(Frame::EMPTY);
        let place = self.banks.iter_mut().find(|bank| bank.is_none());
        *place.expect("C3: its place is empty") = Some(bank);
    }

    /// Whether banks are lent, and readers missed enough since to be worth reading anew what a
    /// merge has in them.
    pub(crate) fn wants_back(&self) -> bool {
        self.missed >= MISSES_MAX && self.banks[..self.count].iter().any(Option::is_none)
    }

    /// A node is read that is not here.
    pub(crate) fn count_miss(&mut self) {
        self.misses += 1;
        self.missed = self.missed.saturating_add(1);
    }

    /// The node at this place, if it is here.
    pub(crate) fn get(&mut self, generation: u32, block: u32) -> Option<&[u8]> {
        let name = Name::new(generation, block);
        let bank = bank_of(&mut self.banks, self.count, name)?;
        let index = bank.find(name)?;
        self.hits += 1;
        Some(bank.use_node(index))
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
        let answer = bank_of(&mut self.banks, self.count, name)?.ask_digest(name, hash, key_len)?;
        self.hits += 1;
        Some(answer)
    }

    /// Puts a checked node in the place of the one used longest ago.
    pub(crate) fn insert(&mut self, generation: u32, block: u32, node: &[u8]) {
        let name = Name::new(generation, block);
        if let Some(bank) = bank_of(&mut self.banks, self.count, name) {
            bank.insert(name, node);
        }
    }

    /// Puts the digest of a checked node beside another, or in the place of what was used longest
    /// ago; the node itself if it can have none.
    pub(crate) fn insert_digest(&mut self, generation: u32, block: u32, node: &[u8], seed: u64) {
        let name = Name::new(generation, block);
        if let Some(bank) = bank_of(&mut self.banks, self.count, name) {
            bank.insert_digest(name, node, seed);
        }
    }
}

/// The bank of a node, or what stands in for it; `count` includes banks that are lent.
fn bank_of<'b, 'm>(
    banks: &'b mut [Option<Bank<'m>>; BANKS],
    count: usize,
    name: Name,
) -> Option<&'b mut Bank<'m>> {
    let hash = (name.hash() >> 48) as usize;
    let own = hash.checked_rem(count)?;
    if banks[own].is_some() {
        return banks[own].as_mut();
    }
    let here = banks.iter().flatten().count();
    let other = (hash / count).checked_rem(here)?;
    banks.iter_mut().flatten().nth(other)
}

impl<'m> Bank<'m> {
    fn new(memory: &'m mut [u8], node_len: usize) -> Self {
        let count = memory.len() / (node_len + FRAME_META_LEN);
        let (frames, slab) = memory.split_at_mut(count * FRAME_META_LEN);
        frames.fill(0);
        let frames = <[Frame]>::mut_from_bytes(frames).expect("sized above");
        Self { frames, slab, node_len, clock: 1 }
    }

    /// The frames where a node may be. Such sets overlap, so that a full one and an empty one
    /// beside it are seldom.
    fn set(&self, name: Name) -> impl Iterator<Item = usize> + use<> {
        let count = self.frames.len();
        let start = ((name.hash() >> 32) as usize) % count;
        let end = start + WAYS.min(count);
        (start..end.min(count)).chain(0..end.saturating_sub(count))
    }

    fn node_at(&mut self, index: usize) -> &mut [u8] {
        &mut self.slab[index * self.node_len..(index + 1) * self.node_len]
    }

    /// The digest in this place of a frame, and what is behind it.
    fn digest_at(&mut self, index: usize, place: usize) -> &mut [u8] {
        let mut rest = self.node_at(index);
        for _ in 0..place {
            let len = digest::len(rest);
            rest = &mut rest[len..];
        }
        rest
    }

    /// The first free place of a frame of digests.
    fn free_place(&self, index: usize) -> Option<usize> {
        let frame = &self.frames[index];
        let place = frame.names.iter().position(|name| *name == Name::NONE)?;
        (place > 0 && !frame.is_whole()).then_some(place)
    }

    fn find(&self, name: Name) -> Option<usize> {
        self.set(name).find(|&index| {
            let frame = &self.frames[index];
            frame.names[0] == name && frame.is_whole()
        })
    }

    fn use_node(&mut self, index: usize) -> &[u8] {
        self.touch(index);
        self.node_at(index)
    }

    fn ask_digest(&mut self, name: Name, hash: u64, key_len: usize) -> Option<Answer> {
        let (index, place) = self.set(name).find_map(|index| {
            let frame = &self.frames[index];
            let place = frame.names.iter().position(|&other| other == name)?;
            (!frame.is_whole()).then_some((index, place))
        })?;
        self.touch(index);
        Some(digest::look(self.digest_at(index, place), hash, key_len))
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
            let same = frame.names[0] == name && frame.is_whole();
            let empty = frame.names[0] == Name::NONE;
            let age = frame.used.get().wrapping_sub(clock) as i32;
            (if same || empty { i32::MIN } else { age }, index)
        })
    }

    fn insert(&mut self, name: Name, node: &[u8]) {
        let Some(index) = self.victim(name) else { return };
        self.node_at(index).copy_from_slice(node);
        self.frames[index].names = Frame::EMPTY.names;
        self.frames[index].names[..2].copy_from_slice(&[name, Name::WHOLE]);
        self.touch(index);
    }

    fn insert_digest(&mut self, name: Name, node: &[u8], seed: u64) {
        let Some(layout) = Layout::of(node, DIGESTS_MAX) else { return self.insert(name, node) };
        let beside = self.set(name).find_map(|index| {
            let place = self.free_place(index)?;
            (self.digest_at(index, place).len() >= layout.len()).then_some((index, place))
        });
        let Some((index, place)) = beside.or_else(|| Some((self.victim(name)?, 0))) else { return };
        if place == 0 {
            self.frames[index].names = Frame::EMPTY.names;
        }
        if layout.write(node, seed, self.digest_at(index, place)).is_none() {
            return self.insert(name, node);
        }
        self.frames[index].names[place] = name;
        self.touch(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::data::DataBuilder;
    use crate::format::entry::{Entry, Place, encode_place};
    use crate::format::filter;

    const NODE_LEN: usize = 1024;
    const SEED: u64 = 7;

    /// A node of the keys `first..first + count` with values apart, generation `first`.
    fn node(first: u32, count: u32) -> Vec<u8> {
        let mut node = vec![0; NODE_LEN];
        let mut builder = DataBuilder::new(&mut node);
        let mut body = [0; 10];
        for key in first..first + count {
            let place = Place { generation: first + 1, offset: !key };
            let len = encode_place(place, &mut body).expect("fits");
            let entry = Entry::pointer(1, 700, &body[..len]);
            assert!(builder.push(&mut node, &key.to_be_bytes(), &entry));
        }
        builder.finish(&mut node);
        node
    }

    /// Whether the digest of the node from key `first` on is there; and if so, it must be right.
    fn is_there(cache: &mut Cache<'_>, first: u32, count: u32) -> bool {
        let mut known = 0;
        for key in first..first + count {
            let bytes = key.to_be_bytes();
            let hash = filter::hash(SEED, &bytes);
            match cache.ask_digest(first + 1, 0, hash, bytes.len()) {
                Some(Answer::Perhaps(found)) => {
                    assert_eq!((found.generation, found.offset, found.len), (first + 1, !key, 700));
                    known += 1;
                }
                Some(Answer::Unknown) => known += 1,
                Some(Answer::Absent) => panic!("the node has key {key}"),
                None => {}
            }
        }
        assert!(known == 0 || known == count, "{known} of {count}");
        known > 0
    }

    #[test]
    fn frame_holds_as_many_digests_as_fit_and_whole_nodes_beside_them() {
        let mut memory = vec![0; WAYS * (NODE_LEN + FRAME_META_LEN)];
        // Entries of a node, and how many such nodes a frame holds as digests.
        for (count, each) in [(20, DIGESTS_MAX), (56, 3), (58, 2)] {
            let mut cache = Cache::new(&mut memory, NODE_LEN);
            let all = (WAYS * each) as u32;
            for number in 0..all {
                let first = number * 100;
                cache.insert_digest(first + 1, 0, &node(first, count), SEED);
            }
            for number in 0..all {
                assert!(is_there(&mut cache, number * 100, count), "{number} of {all}");
            }
            // One whole node takes the place of a frame of digests.
            let whole = node(9_000, count);
            cache.insert(9_001, 0, &whole);
            assert_eq!(cache.get(9_001, 0), Some(&whole[..]));
            let left = (0..all).filter(|&number| is_there(&mut cache, number * 100, count)).count();
            assert_eq!(left, all as usize - each);
        }
    }
}
