//! Building a piece: entries in order go in, sealed nodes in order come out.
//!
//! ```text
//!   data 0 · data 1 · … · branch · data … · branch · … · index · … · root
//!   └──────── under branch ──────┘          a node stands behind all nodes under it
//! ```
//!
//! The number of a data node is known when it begins, because nothing else is emitted while it
//! fills; so its branch gets the child first, and then the hashes of the keys that go into it.
//! Finished nodes are sealed into an output buffer, which the caller writes when it has filled.
//!
//! Invariants: `B1` every key of a data node is in the filter of its branch. `B2` a data node that
//! begins inside a range deletion begins with a Boundary at its separator, so that a key between
//! the nodes' keys finds the state too. `B3` the root is the last node.

use crate::format::branch::{Branch, BranchBuilder};
use crate::format::data::DataBuilder;
use crate::format::edit::PieceRecord;
use crate::format::entry::{Entry, Kind};
use crate::format::filter;
use crate::format::node::{KeyBuf, separator};
use crate::format::seal::{Identity, seal};
use crate::limits::{SNAPSHOTS_MAX, TREE_HEIGHT_MAX};
use crate::run::tree::FIRST_LEN;

/// Levels above the data nodes at most; a store on small zones gets by with fewer.
const UPPER: usize = TREE_HEIGHT_MAX - 1;
/// Sequence numbers of a range-delete state, one for each snapshot stripe.
pub(crate) type Cover = heapless::Vec<u64, { SNAPSHOTS_MAX + 1 }>;
/// Bytes of an encoded state at most.
pub(crate) const COVER_LEN_MAX: usize = 10 * (SNAPSHOTS_MAX + 2);

/// Where a piece goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PiecePlace {
    pub(crate) generation: u32,
    /// First block, in the zone.
    pub(crate) start: u32,
    /// Nodes that fit.
    pub(crate) nodes_max: u32,
    /// Whether Boundaries may come: then no more is known of what a key takes than the most.
    pub(crate) ranged: bool,
}

/// What a push came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The entry is in.
    Taken,
    /// Nothing happened: write the output first.
    OutputFull,
}

/// What all pieces of a store have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) node_len: usize,
    pub(crate) block_len: usize,
    pub(crate) store_tag: u32,
    pub(crate) filter_len: usize,
    /// Levels of nodes, data nodes included.
    pub(crate) height: usize,
}

impl Shape {
    /// Nodes of the shortest piece that is sure to hold `versions` entries of one key.
    pub(crate) const fn piece_nodes_least(&self, versions: u32) -> u32 {
        versions + self.height as u32 + 2
    }

    pub(crate) fn new(
        node_len: usize,
        block_len: usize,
        store_tag: u32,
        key_len_max: usize,
        height: usize,
    ) -> Self {
        assert!((3..=TREE_HEIGHT_MAX).contains(&height));
        // Up to five eighths of a branch for the filter, as long as the longest separator fits.
        let for_keys = key_len_max + 64;
        let filter_len = (node_len * 5 / 8).min(node_len.saturating_sub(for_keys));
        let filter_len =
            (filter_len / filter::BLOCK_LEN * filter::BLOCK_LEN).max(filter::BLOCK_LEN);
        Self { node_len, block_len, store_tag, filter_len, height }
    }

    pub(crate) fn node_blocks(&self) -> u32 {
        (self.node_len / self.block_len) as u32
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        filter::hash(self.seed(), key)
    }

    /// What keys are hashed with.
    pub(crate) fn seed(&self) -> u64 {
        u64::from(self.store_tag)
    }
}

/// Bytes of memory a builder needs besides its output buffer.
pub(crate) const fn memory_len(height: usize, node_len: usize, key_len_max: usize) -> usize {
    height * node_len + 2 * (key_len_max + 1)
}

/// Nodes that the output must hold: what one push may emit, twice.
pub(crate) const fn output_nodes_min(height: usize) -> usize {
    2 * (height + 1)
}

/// Builds one piece after another.
pub(crate) struct PieceBuilder<'m> {
    shape: Shape,
    data_node: &'m mut [u8],
    upper_nodes: &'m mut [u8],
    output: &'m mut [u8],
    last_key: KeyBuf<'m>,
    separator: &'m mut [u8],
    data: Option<DataBuilder>,
    upper: [Option<BranchBuilder>; UPPER],
    place: Option<PiecePlace>,
    /// First block of the piece that the output belongs to.
    start: u32,
    /// Nodes emitted, and how many of them the output still holds.
    nodes: u32,
    pending: u32,
    entries: u32,
    boundaries: bool,
    cover: Cover,
    /// The state before the Boundary that is being pushed.
    cover_before: Cover,
    first: [u8; FIRST_LEN],
    first_len: u16,
}

impl<'m> PieceBuilder<'m> {
    /// A builder; `output` takes at least twice the height of a tree in nodes.
    pub(crate) fn new(
        shape: Shape,
        memory: &'m mut [u8],
        output: &'m mut [u8],
        key_len_max: usize,
    ) -> Self {
        assert!(output.len() >= output_nodes_min(shape.height) * shape.node_len);
        let (data_node, rest) = memory.split_at_mut(shape.node_len);
        let (upper_nodes, rest) = rest.split_at_mut((shape.height - 1) * shape.node_len);
        let (last_key, separator) = rest.split_at_mut(key_len_max + 1);
        Self {
            shape,
            data_node,
            upper_nodes,
            output,
            last_key: KeyBuf::new(last_key),
            separator,
            data: None,
            upper: [const { None }; UPPER],
            place: None,
            start: 0,
            nodes: 0,
            pending: 0,
            entries: 0,
            boundaries: false,
            cover: Cover::new(),
            cover_before: Cover::new(),
            first: [0; FIRST_LEN],
            first_len: 0,
        }
    }

    /// Forgets a piece under way.
    pub(crate) fn abandon(&mut self) {
        self.place = None;
        self.data = None;
        self.upper = [const { None }; UPPER];
        self.nodes = 0;
        self.pending = 0;
        self.entries = 0;
        self.cover.clear();
    }

    /// Begins a piece.
    pub(crate) fn begin(&mut self, place: PiecePlace) {
        assert!(self.place.is_none(), "one piece at a time");
        let cover = core::mem::take(&mut self.cover);
        self.abandon();
        self.cover = cover;
        self.boundaries = false;
        self.start = place.start;
        self.place = Some(place);
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.place.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether `versions` more entries of one key are sure to fit before the piece must end.
    pub(crate) fn has_room(&self, versions: u32) -> bool {
        let Some(place) = self.place else {
            return false;
        };
        let needed = self.nodes + self.shape.piece_nodes_least(versions);
        let top = self.upper[self.shape.height - 2].as_ref();
        let top_room = top.is_none_or(|top| top.room() > 4 * self.separator.len());
        needed <= place.nodes_max && top_room
    }

    /// Whether one more version of a key is sure to fit, if no other version of it and no Boundary
    /// comes: its key and encoded entry have `item_len` bytes together. Closer than
    /// [`has_room`](Self::has_room), so that a piece fills its zone.
    pub(crate) fn has_room_for(&self, key_len: usize, item_len: usize) -> bool {
        /// More than an item's head takes in a node.
        const ITEM_HEAD: usize = 24;
        let Some(place) = self.place.filter(|place| !place.ranged && self.cover.is_empty()) else {
            return false;
        };
        // No upper node is ended by this key, nor by the end of the piece: as many as now, or one.
        // A key that fills the filter ends the branch if it does not fit the data node.
        let branch_holds = self.upper[0].as_ref().is_none_or(|branch| {
            branch.room() >= key_len + ITEM_HEAD && branch.key_count() + 1 < branch.key_capacity()
        });
        let separator_max = self.separator.len() + ITEM_HEAD;
        let index_holds =
            self.upper[1..].iter().flatten().all(|index| index.room() >= separator_max);
        let upper = self.upper.iter().flatten().count().max(1) as u32;
        let begun = u32::from(self.data.is_some());
        let data_holds = |data: &DataBuilder| data.room() >= item_len + ITEM_HEAD;
        let begins = u32::from(!self.data.as_ref().is_some_and(data_holds));
        branch_holds && index_holds && self.nodes + begun + begins + upper <= place.nodes_max
    }

    /// The range-delete state that the last Boundary set.
    pub(crate) fn cover(&self) -> &Cover {
        &self.cover
    }

    fn output_room(&self) -> usize {
        self.output.len() / self.shape.node_len - self.pending as usize
    }

    /// Sets the range-delete state from `key` on.
    pub(crate) fn push_cover(&mut self, key: &[u8], cover: &Cover) -> Pushed {
        if self.output_room() < self.shape.height + 1 {
            return Pushed::OutputFull;
        }
        self.cover_before = core::mem::replace(&mut self.cover, cover.clone());
        self.boundaries = true;
        let mut body = [0; COVER_LEN_MAX];
        let entry = cover_entry(cover, &mut body);
        self.push_entry(key, &entry);
        Pushed::Taken
    }

    /// Adds a version of a key.
    pub(crate) fn push(&mut self, key: &[u8], entry: &Entry<'_>) -> Pushed {
        if self.output_room() < self.shape.height + 1 {
            return Pushed::OutputFull;
        }
        self.push_entry(key, entry);
        Pushed::Taken
    }

    fn push_entry(&mut self, key: &[u8], entry: &Entry<'_>) {
        assert!(self.place.is_some());
        if self.nodes == 0 && self.data.is_none() {
            self.first = [0; FIRST_LEN];
            let kept = key.len().min(FIRST_LEN);
            self.first[..kept].copy_from_slice(&key[..kept]);
            self.first_len = key.len() as u16;
        }
        let boundary = entry.kind == Kind::Boundary;
        let hash = (!boundary).then(|| self.shape.hash(key));
        if self.data.is_none() {
            self.begin_data(key, boundary);
        }
        if let Some(hash) = hash
            && !self.add_hash(hash)
        {
            // The filter is full: this key begins the next branch.
            self.end_data();
            self.end_upper(0);
            self.begin_data(key, boundary);
            assert!(self.add_hash(hash), "B1: an empty filter takes a key");
        }
        let Some(data) = self.data.as_mut() else { unreachable!("begun above") };
        if !data.push(self.data_node, key, entry) {
            self.end_data();
            if hash.is_some() && self.is_filter_full() {
                self.end_upper(0);
            }
            self.begin_data(key, boundary);
            if let Some(hash) = hash {
                assert!(self.add_hash(hash), "B1: there is room for a key");
            }
            let Some(data) = self.data.as_mut() else { unreachable!("begun above") };
            assert!(data.push(self.data_node, key, entry), "an entry fits an empty node");
        }
        self.entries += 1;
        assert!(self.last_key.set(key, &[]).is_ok());
    }

    fn is_filter_full(&self) -> bool {
        self.upper[0].as_ref().is_some_and(|branch| branch.key_count() == branch.key_capacity())
    }

    fn add_hash(&mut self, hash: u64) -> bool {
        let node = &mut self.upper_nodes[..self.shape.node_len];
        self.upper[0].as_mut().is_some_and(|branch| branch.add_key_hash(node, hash))
    }

    fn begin_data(&mut self, key: &[u8], boundary: bool) {
        debug_assert!(self.data.is_none());
        let separator_len = if self.nodes == 0 {
            0
        } else {
            separator(self.last_key.key(), key, self.separator).map_or(0, <[u8]>::len)
        };
        self.add_child(0, separator_len, None);
        let mut data = DataBuilder::new(self.data_node);
        // Keys from the separator on are looked for here, so the state must stand there already:
        // the one in force before `key`, if the entry to come changes it.
        let split = &self.separator[..separator_len];
        let early = separator_len > 0 && split < key;
        let state = if boundary { &self.cover_before } else { &self.cover };
        if !state.is_empty() && (early || !boundary) {
            let mut body = [0; COVER_LEN_MAX];
            let entry = cover_entry(state, &mut body);
            let at = if early { split } else { key };
            assert!(data.push(self.data_node, at, &entry), "B2: a state fits an empty node");
            self.boundaries = true;
        }
        self.data = Some(data);
    }

    /// Adds a child to the node of an upper level; the separator stands in `self.separator`.
    /// Without a number the child is the node that is emitted next.
    fn add_child(&mut self, level: usize, separator_len: usize, child: Option<u32>) {
        for _ in 0..2 {
            let len = self.shape.node_len;
            let node = &mut self.upper_nodes[level * len..(level + 1) * len];
            let filter_len = if level == 0 { self.shape.filter_len } else { 0 };
            let number = level as u8 + 1;
            let builder = self.upper[level]
                .get_or_insert_with(|| BranchBuilder::new(node, number, filter_len));
            let separator = &self.separator[..separator_len];
            if builder.push_child(node, separator, child.unwrap_or(self.nodes)) {
                return;
            }
            self.end_upper_keeping(level, separator_len);
        }
        unreachable!("a separator fits an empty node");
    }

    /// Ends an upper node while `self.separator` is still needed.
    fn end_upper_keeping(&mut self, level: usize, separator_len: usize) {
        // The parent's separator is rebuilt from the node itself, in the space of the last key's
        // buffer's twin; keep ours on the side in the data node, which is not begun yet.
        let keep = &mut self.data_node[..separator_len.min(self.shape.node_len)];
        keep.copy_from_slice(&self.separator[..separator_len]);
        self.end_upper(level);
        self.separator[..separator_len].copy_from_slice(&self.data_node[..separator_len]);
    }

    /// Finishes a node of an upper level and hands it to the level above.
    fn end_upper(&mut self, level: usize) {
        let Some(builder) = self.upper[level].take() else {
            return;
        };
        let len = self.shape.node_len;
        let node = &mut self.upper_nodes[level * len..(level + 1) * len];
        builder.finish(node);
        let mut key = KeyBuf::new(self.separator);
        let known = Branch::new(node).and_then(|node| node.separator_at(0, &mut key));
        assert!(known.is_some(), "a node just built is whole");
        let separator_len = key.len;
        assert!(level + 2 < self.shape.height, "the piece is ended before its top level overflows");
        // The parent may itself end first; then it is emitted before this node, with only nodes
        // before it under it.
        self.add_child_of(level, separator_len);
        self.emit_upper(level);
    }

    fn add_child_of(&mut self, level: usize, separator_len: usize) {
        let parent = level + 1;
        let len = self.shape.node_len;
        let fits = {
            let node = &mut self.upper_nodes[parent * len..(parent + 1) * len];
            let builder = self.upper[parent]
                .get_or_insert_with(|| BranchBuilder::new(node, parent as u8 + 1, 0));
            builder.push_child(node, &self.separator[..separator_len], self.nodes)
        };
        if fits {
            return;
        }
        self.end_upper(parent);
        // `end_upper` used the separator buffer for the parent: rebuild this node's.
        let node = &self.upper_nodes[level * len..(level + 1) * len];
        let mut key = KeyBuf::new(self.separator);
        assert!(Branch::new(node).and_then(|node| node.separator_at(0, &mut key)).is_some());
        let separator_len = key.len;
        let node = &mut self.upper_nodes[parent * len..(parent + 1) * len];
        let mut builder = BranchBuilder::new(node, parent as u8 + 1, 0);
        assert!(builder.push_child(node, &self.separator[..separator_len], self.nodes));
        self.upper[parent] = Some(builder);
    }

    fn end_data(&mut self) {
        if let Some(data) = self.data.take() {
            data.finish(self.data_node);
            let at = self.pending as usize * self.shape.node_len;
            self.output[at..at + self.shape.node_len].copy_from_slice(self.data_node);
            self.seal_output(at);
        }
    }

    fn emit_upper(&mut self, level: usize) {
        let len = self.shape.node_len;
        let at = self.pending as usize * len;
        self.output[at..at + len]
            .copy_from_slice(&self.upper_nodes[level * len..(level + 1) * len]);
        self.seal_output(at);
    }

    fn seal_output(&mut self, at: usize) {
        let Some(place) = self.place else { unreachable!("begun") };
        assert!(self.nodes < place.nodes_max, "has_room was asked");
        let block = place.start + self.nodes * self.shape.node_blocks();
        let identity =
            Identity { store_tag: self.shape.store_tag, generation: place.generation, block };
        seal(&mut self.output[at..at + self.shape.node_len], 0, identity);
        self.nodes += 1;
        self.pending += 1;
    }

    /// Ends the piece; its last nodes are in the output. `None` if nothing was pushed.
    ///
    /// # Panics
    /// If the output has no room for the upper nodes: write it first, see
    /// [`is_output_ready`](Self::is_output_ready).
    pub(crate) fn finish(&mut self, run: u32, level: u8) -> Option<PieceRecord> {
        let place = self.place?;
        if self.entries == 0 {
            self.abandon();
            return None;
        }
        assert!(!self.is_output_ready());
        self.end_data();
        for upper in 0..self.shape.height - 1 {
            let above = self.upper[upper + 1..].iter().any(Option::is_some);
            if above {
                self.end_upper(upper);
            } else if let Some(root) = self.upper[upper].take() {
                let len = self.shape.node_len;
                root.finish(&mut self.upper_nodes[upper * len..(upper + 1) * len]);
                self.emit_upper(upper);
                break;
            }
        }
        self.place = None;
        Some(PieceRecord {
            generation: place.generation,
            start: place.start,
            nodes: self.nodes,
            entries: self.entries,
            run,
            level,
            boundaries: self.boundaries,
            first_len: self.first_len,
            first: self.first,
        })
    }

    /// Whether the output must be written before the next push or finish.
    pub(crate) fn is_output_ready(&self) -> bool {
        self.output_room() < self.shape.height + 1
    }

    /// The sealed nodes to write and the block of the zone where they go.
    pub(crate) fn output(&self) -> (u32, &[u8]) {
        let first = self.nodes - self.pending;
        let block = self.start + first * self.shape.node_blocks();
        (block, &self.output[..self.pending as usize * self.shape.node_len])
    }

    /// Goes on in the range-delete state of a merge that was interrupted.
    pub(crate) fn set_cover(&mut self, cover: Cover) {
        assert!(self.place.is_none());
        self.cover = cover;
    }

    /// The output was written.
    pub(crate) fn output_written(&mut self) {
        self.pending = 0;
    }
}

/// The Boundary entry of a state.
pub(crate) fn cover_entry<'b>(cover: &Cover, body: &'b mut [u8; COVER_LEN_MAX]) -> Entry<'b> {
    let len = crate::format::entry::encode_seqs(cover, body);
    Entry::boundary(&body[..len.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::data::Data;
    use crate::format::entry::Rank;

    const KEY_LEN_MAX: usize = 16;
    const NODE_LEN: usize = 512;

    fn key(index: u32) -> [u8; 8] {
        (u64::from(index) << 20).to_be_bytes()
    }

    /// Fills a piece of `nodes_max` nodes with keys for as long as there is room; gives the nodes
    /// that it came to, and how many keys they have.
    fn fill(height: usize, nodes_max: u32, value_lens: impl Fn(u32) -> usize) -> (Vec<u8>, u32) {
        let shape = Shape::new(NODE_LEN, 256, 7, KEY_LEN_MAX, height);
        let mut memory = vec![0; memory_len(shape.height, shape.node_len, KEY_LEN_MAX)];
        let mut output = vec![0; output_nodes_min(shape.height) * shape.node_len];
        let mut builder = PieceBuilder::new(shape, &mut memory, &mut output, KEY_LEN_MAX);
        builder.begin(PiecePlace { generation: 1, start: 1, nodes_max, ranged: false });
        let (mut nodes, mut count) = (Vec::new(), 0);
        for index in 0.. {
            let key = key(index);
            let value = vec![0; value_lens(index)];
            let entry = Entry {
                seq: 5,
                kind: Kind::Inline,
                version_len: 0,
                meta: &[],
                value_len: value.len() as u64,
                body: &value,
            };
            let room = builder.has_room(1)
                || builder.has_room_for(key.len(), key.len() + entry.encoded_len());
            if !room {
                count = index;
                break;
            }
            while builder.push(&key, &entry) == Pushed::OutputFull {
                nodes.extend_from_slice(builder.output().1);
                builder.output_written();
            }
        }
        if builder.is_output_ready() {
            nodes.extend_from_slice(builder.output().1);
            builder.output_written();
        }
        let record = builder.finish(1, 0).expect("a piece");
        nodes.extend_from_slice(builder.output().1);
        assert_eq!((nodes.len() / NODE_LEN, count), (record.nodes as usize, record.entries));
        (nodes, count)
    }

    /// Keys that fill nodes of three levels, which end each other.
    #[test]
    fn piece_of_any_height_leads_from_its_root_to_each_key() {
        for (height, nodes_max, level_count) in
            [(3, 60, 3), (4, 400, 3), (5, 3_000, 4), (6, 12_000, 4)]
        {
            let (nodes, count) = fill(height, nodes_max, |index| (index % 5 * 20) as usize);
            let node = |number: usize| &nodes[number * NODE_LEN..(number + 1) * NODE_LEN];
            let root = nodes.len() / NODE_LEN - 1;
            let mut levels = 0;
            for index in 0..count {
                let (key, mut number) = (key(index), root);
                levels = 1;
                while let Some(branch) = Branch::new(node(number)) {
                    let (_, child) = branch.child_for(&key).expect("a child for each key");
                    assert!((child as usize) < number, "a child stands before its parent");
                    (number, levels) = (child as usize, levels + 1);
                }
                let data = Data::new(node(number)).expect("a data node");
                let mut room = [0; KEY_LEN_MAX];
                let mut found = KeyBuf::new(&mut room);
                let at = data.find_ge(&key, Rank::of_seq(u64::MAX)).expect("whole").expect("there");
                data.read_key(at, &mut found).expect("whole");
                assert_eq!(found.key(), key, "key {index} of {count}, height {height}");
            }
            assert_eq!(levels, level_count, "of {height}");
        }
    }

    /// A key that filled the filter of a branch and did not fit the data node ended both, and the
    /// branch had not been counted: the piece ran over its last node.
    #[test]
    fn piece_with_room_never_outgrows_its_place() {
        for nodes_max in 8..200 {
            for len in (0..120).step_by(3) {
                let count = |(nodes, _): (Vec<u8>, u32)| (nodes.len() / NODE_LEN) as u32;
                let nodes = count(fill(4, nodes_max, |index| (len + index as usize * 7) % 120));
                assert!(nodes <= nodes_max && nodes + 4 >= nodes_max, "{nodes} of {nodes_max}");
                let nodes = count(fill(4, nodes_max, |_| len));
                assert!(nodes <= nodes_max, "{nodes} of {nodes_max}");
            }
        }
    }
}
