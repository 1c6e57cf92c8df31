//! The branch node: which child of a run may hold a key, and whether any child does.
//!
//! Why: a get reads one branch, and then one data node or none. An index node is a branch without
//! a filter, for the levels above.
//!
//! Layout: see [`node`](super::node); the payload of an item is the child's number as a varint,
//! counted from the start of the piece of the run. The filter area is [`super::filter`]'s.
//!
//! Invariants:
//! - `B1` `child_for` is the last child whose separator is not above the key, and the first child
//!   for a key below every separator. `branch_child_for_agrees_with_ordered_map`.
//! - `B2` Of the hashes added to a branch, `may_contain` denies none; an index denies nothing.
//!   `branch_filter_holds_every_added_key`.
//! - `B3` A reader has at least one child, so `child_for` is `None` only over malformed bytes.

use super::entry::Rank;
use super::filter;
use super::node::{KeyBuf, List, ListBuilder, NodeType, Payload, Position, node_type};
use super::varint;

#[derive(Clone, Copy, Debug)]
struct ChildPayload;

impl Payload for ChildPayload {
    #[inline]
    fn read(bytes: &[u8]) -> Option<(usize, Rank)> {
        // Separators are unique, so all have one rank, and `AFTER_KEY` is above it.
        Some((varint::decode_u32(bytes)?.1, Rank::BOUNDARY))
    }
}

const AFTER_KEY: Rank = Rank::LAST;

/// Fills a branch or index node; the buffer is given to each call.
#[derive(Clone, Copy, Debug)]
pub struct BranchBuilder {
    list: ListBuilder,
    filter_len: usize,
    key_count: usize,
}

impl BranchBuilder {
    /// Begins a node that takes all of `buf`, with a filter of `filter_len` bytes; a node without
    /// a filter is an index node.
    ///
    /// # Panics
    /// If `buf` is not of a node's length, or the filter is not whole blocks or leaves no room.
    pub fn new(buf: &mut [u8], level: u8, filter_len: usize) -> Self {
        assert!(filter_len.is_multiple_of(filter::BLOCK_LEN), "filter is not whole blocks");
        let node_type = if filter_len == 0 { NodeType::Index } else { NodeType::Branch };
        let list = ListBuilder::new(buf, node_type, level, filter_len);
        BranchBuilder { list, filter_len, key_count: 0 }
    }

    /// Adds a child; `false`, and nothing changed, if it does not fit. Separators must ascend
    /// strictly.
    pub fn push_child(&mut self, buf: &mut [u8], separator: &[u8], child: u32) -> bool {
        let child = u64::from(child);
        let len = varint::encoded_len(child);
        self.list.push(buf, separator, false, len, |out| varint::encode(child, out))
    }

    /// Adds a key to the filter; `false`, and nothing changed, if the filter is full. An index node
    /// has no filter and takes any.
    pub fn add_key_hash(&mut self, buf: &mut [u8], hash: u64) -> bool {
        if self.filter_len == 0 {
            return true;
        }
        if self.key_count >= self.key_capacity() {
            return false;
        }
        let area = super::node::HEADER..super::node::HEADER + self.filter_len;
        let Some(area) = buf.get_mut(area) else {
            return false;
        };
        filter::add(area, hash);
        self.key_count += 1;
        true
    }

    /// How many keys the filter may hold.
    pub fn key_capacity(&self) -> usize {
        filter::capacity(self.filter_len)
    }

    /// How many keys were added to the filter.
    pub fn key_count(&self) -> usize {
        self.key_count
    }

    /// How many children were added.
    pub fn count(&self) -> usize {
        self.list.count()
    }

    /// Whether no child was added.
    pub fn is_empty(&self) -> bool {
        self.list.count() == 0
    }

    /// About how many bytes are left for children.
    pub fn room(&self) -> usize {
        self.list.room()
    }

    /// Writes the header; the node then lacks only its seal.
    ///
    /// # Panics
    /// If there is no child.
    pub fn finish(self, buf: &mut [u8]) {
        assert!(!self.is_empty(), "B3: a branch has a child");
        self.list.finish(buf);
    }
}

/// Reads a branch or index node.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a>(List<'a, ChildPayload>);

impl<'a> Branch<'a> {
    /// A reader, if `node` has the header of a branch or index node. Constant cost.
    #[inline]
    pub fn new(node: &'a [u8]) -> Option<Self> {
        let list = List::new(node)?;
        let filter_len = list.filter().len();
        let filter_fits = match node_type(node)? {
            NodeType::Data => false,
            NodeType::Branch => filter_len > 0 && filter_len.is_multiple_of(filter::BLOCK_LEN),
            NodeType::Index => filter_len == 0,
        };
        (filter_fits && list.count() > 0 && !list.has_boundaries()).then_some(Branch(list))
    }

    /// How many children it has; at least one.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// The level the builder gave it.
    pub fn level(&self) -> u8 {
        self.0.level()
    }

    /// Whether a key of this hash may be under this node; an index node always says so.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        filter::may_contain(self.0.filter(), hash)
    }

    #[inline]
    fn child(&self, position: Position) -> Option<u32> {
        Some(varint::decode_u32(self.0.payload(position)?)?.0)
    }

    /// The child a key belongs to, as `(index, child)`; `None` only over malformed bytes.
    #[inline]
    pub fn child_for(&self, key: &[u8]) -> Option<(usize, u32)> {
        let (before, at) = self.0.search(key, AFTER_KEY).ok()?;
        let position = before.or(at)?;
        Some((position.index(), self.child(position)?))
    }

    /// The child of this index; `None` past the last, or over malformed bytes.
    pub fn child_at(&self, index: usize) -> Option<u32> {
        self.child(self.0.at(index).ok()??)
    }

    /// Puts the separator of this index into `key`; `None` past the last, over malformed bytes, or
    /// if it does not fit.
    pub fn separator_at(&self, index: usize, key: &mut KeyBuf<'_>) -> Option<()> {
        let (head, suffix) = self.0.key_parts(self.0.at(index).ok()??)?;
        key.set(head, suffix).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::{HEADER, separator, separator_len};
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0u8..4, 0..8)
    }

    fn build(model: &mut BTreeMap<Vec<u8>, u32>, node_len: usize, filter_len: usize) -> Vec<u8> {
        let mut buf = vec![0xee; node_len];
        let mut builder = BranchBuilder::new(&mut buf, 3, filter_len);
        let full = model
            .iter()
            .find(|(key, child)| !builder.push_child(&mut buf, key, **child))
            .map(|(key, _)| key.clone());
        if let Some(key) = full {
            model.split_off(&key);
        }
        builder.finish(&mut buf);
        buf
    }

    proptest! {
        #[test]
        fn branch_child_for_agrees_with_ordered_map(
            mut model in prop::collection::btree_map(key(), any::<u32>(), 1..200),
            targets in prop::collection::vec(key(), 1..50),
            filter_blocks in 0usize..4,
        ) {
            let node = build(&mut model, 1024, filter_blocks * 64);
            let branch = Branch::new(&node).unwrap();
            prop_assert_eq!((branch.count(), branch.level()), (model.len(), 3));
            let present: Vec<_> = model.keys().cloned().collect();
            for target in targets.iter().chain(&present) {
                let want = model.range(..=target.clone()).next_back().or(model.iter().next());
                let (index, child) = branch.child_for(target).unwrap();
                prop_assert_eq!(Some(child), want.map(|(_, child)| *child));
                prop_assert_eq!(branch.child_at(index), Some(child));
                let mut room = [0u8; 16];
                let mut key = KeyBuf::new(&mut room);
                branch.separator_at(index, &mut key).unwrap();
                prop_assert_eq!(Some(key.key()), want.map(|(key, _)| &key[..]));
            }
            prop_assert_eq!(branch.child_at(model.len()), None);
        }

        #[test]
        fn branch_of_mutated_bytes_never_panics(
            mut model in prop::collection::btree_map(key(), any::<u32>(), 1..100),
            mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            target in key(),
            filter_blocks in 0usize..3,
        ) {
            let mut node = build(&mut model, 512, filter_blocks * 64);
            for (n, (at, value)) in mutations.into_iter().enumerate() {
                let len = if n % 3 == 0 { HEADER } else { node.len() };
                node[at.index(len)] = value;
            }
            if let Some(branch) = Branch::new(&node) {
                let _ = branch.child_for(&target);
                let mut room = [0u8; 16];
                for index in 0..branch.count() + 2 {
                    let _ = branch.child_at(index);
                    let _ = branch.separator_at(index, &mut KeyBuf::new(&mut room));
                }
                let _ = branch.may_contain(filter::hash(1, &target));
            }
        }

        #[test]
        fn separator_divides_prev_from_next(keys in prop::collection::btree_set(key(), 2..9)) {
            let keys: Vec<_> = BTreeSet::into_iter(keys).collect();
            for pair in keys.windows(2) {
                let (prev, next) = (&pair[0], &pair[1]);
                let len = separator_len(prev, next);
                prop_assert!(next[..len] > prev[..] && next[..len] <= next[..]);
                prop_assert!(len == 0 || next[..len - 1] <= prev[..]);
                let mut out = [9u8; 16];
                prop_assert_eq!(separator(prev, next, &mut out), Some(&next[..len]));
            }
        }
    }

    #[test]
    fn separator_of_key_that_spans_nodes_is_its_successor() {
        let mut out = [9u8; 4];
        assert_eq!(separator(b"abc", b"abc", &mut out), Some(&b"abc\0"[..]));
        assert_eq!(separator(b"abcd", b"abcd", &mut out), None);
    }

    #[test]
    fn branch_filter_holds_every_added_key() {
        let mut buf = vec![0xee; 4096];
        let mut builder = BranchBuilder::new(&mut buf, 1, 1024);
        let mut added = 0u64;
        while builder.add_key_hash(&mut buf, filter::hash(5, &added.to_le_bytes())) {
            added += 1;
        }
        assert_eq!(added as usize, builder.key_capacity());
        assert!(builder.push_child(&mut buf, b"", 0));
        builder.finish(&mut buf);
        let branch = Branch::new(&buf).unwrap();
        let found = |n: u64| branch.may_contain(filter::hash(5, &n.to_le_bytes()));
        assert!((0..added).all(found));
        assert!((added..added + 1000).filter(|n| found(*n)).count() < 40);
    }

    #[test]
    fn index_denies_no_key() {
        let mut buf = vec![0; 512];
        let mut builder = BranchBuilder::new(&mut buf, 2, 0);
        assert!(builder.add_key_hash(&mut buf, 1) && builder.push_child(&mut buf, b"k", 8));
        builder.finish(&mut buf);
        let index = Branch::new(&buf).unwrap();
        assert!(index.may_contain(1) && index.may_contain(2));
        assert_eq!(index.child_for(b"a"), Some((0, 8)));
    }

    #[test]
    fn room_of_a_branch_goes_as_children_come() {
        let mut buf = [0; 512];
        let mut builder = BranchBuilder::new(&mut buf, 1, 64);
        let mut before = builder.room();
        assert!(before > 300 && before < 512 - 64, "{before}");
        for child in 0..20u32 {
            assert!(builder.push_child(&mut buf, &child.to_be_bytes(), child));
            assert!(builder.room() < before && builder.room() + 24 >= before, "child {child}");
            before = builder.room();
        }
    }
}
