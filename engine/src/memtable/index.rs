//! The memtable's index: a B+-tree over the entries of its arena, which leads to one by its key.
//!
//! ```text
//! node: count u16, zero 6, prefix u64 * slots, entry u32 * slots, child u32 * slots (no leaf)
//! ```
//!
//! A slot of a leaf is an entry and the first 8 bytes of its key, as a number; one of an inner node
//! is a child, with the entry that was its first when it was split off. Most comparisons end at the
//! prefix, so a search reads a few nodes and the entries that it cannot tell apart by that.
//!
//! Why no skip list: with 100 000 entries a search takes some 25 steps there, each of which misses
//! the cache, and four here.
//!
//! Invariants: `M1`, checked by [`Index::check`].
//!
//! Source: Comer, "The Ubiquitous B-Tree" (1979).

use core::cmp::Ordering;

use super::arena::{Arena, ENDS, Target};

const PREFIXES: usize = 8;
/// Levels, of which 2^32 bytes need nine with half of the slots used.
const DEPTH_MAX: usize = 12;
/// Slots of a node: few in a small arena, where half-empty nodes would take much of it.
const SLOTS: usize = 32;
const SLOTS_OF_SMALL: usize = 8;
const SMALL_LEN: usize = 32 << 10;

/// Where a search went: a node and a slot on each level, and what it came to.
pub(super) struct Path {
    nodes: [(u32, u16); DEPTH_MAX],
    /// The first entry not before the target, or [`ENDS`].
    pub(super) next: u32,
    /// Whether that is the target.
    pub(super) equal: bool,
}

#[derive(Debug)]
pub(super) struct Index {
    root: u32,
    /// Levels, that of the leaves included.
    levels: usize,
    slots: usize,
}

impl Index {
    pub(super) fn new(arena_len: usize) -> Self {
        let slots = if arena_len < SMALL_LEN { SLOTS_OF_SMALL } else { SLOTS };
        Self { root: 0, levels: 0, slots }
    }

    pub(super) fn clear(&mut self) {
        (self.root, self.levels) = (0, 0);
    }

    fn node_len(&self, is_leaf: bool) -> usize {
        PREFIXES + self.slots * if is_leaf { 12 } else { 16 }
    }

    /// Bytes that an insert takes at most.
    #[inline]
    pub(super) fn growth_max(&self) -> usize {
        self.node_len(true) + self.levels * self.node_len(false)
    }

    #[inline]
    fn count(&self, arena: &Arena<'_>, node: u32) -> usize {
        usize::from(arena.u16_at(node as usize))
    }

    #[inline]
    fn prefix(&self, arena: &Arena<'_>, node: u32, slot: usize) -> u64 {
        arena.u64_at(node as usize + PREFIXES + 8 * slot)
    }

    #[inline]
    fn entries_at(&self, node: u32) -> usize {
        node as usize + PREFIXES + 8 * self.slots
    }

    #[inline]
    fn entry(&self, arena: &Arena<'_>, node: u32, slot: usize) -> u32 {
        arena.u32_at(self.entries_at(node) + 4 * slot)
    }

    #[inline]
    fn children_at(&self, node: u32) -> usize {
        node as usize + PREFIXES + 12 * self.slots
    }

    #[inline]
    fn child(&self, arena: &Arena<'_>, node: u32, slot: usize) -> u32 {
        arena.u32_at(self.children_at(node) + 4 * slot)
    }

    /// The first slot of a node, from slot `from` on, that is not before the target, and whether it
    /// is the target.
    #[inline]
    fn search(
        &self,
        arena: &Arena<'_>,
        node: u32,
        from: usize,
        target: &Target<'_>,
    ) -> (usize, bool) {
        let count = self.count(arena, node);
        let at = node as usize + PREFIXES;
        let (prefixes, _) = arena.bytes[at..at + 8 * count].as_chunks::<8>();
        let is_before = |prefix: &&[u8; 8]| u64::from_le_bytes(**prefix) < target.prefix;
        let mut first = from + prefixes[from..].iter().filter(is_before).count();
        // Equal prefixes of short keys are padded, so they say nothing of the lengths.
        let is_equal = |prefix: &&[u8; 8]| u64::from_le_bytes(**prefix) == target.prefix;
        let mut end = first + prefixes[first..].iter().take_while(is_equal).count();
        while first < end {
            let middle = first.midpoint(end);
            match arena.compare(self.entry(arena, node, middle), target) {
                Ordering::Less => first = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => end = middle,
            }
        }
        (first, false)
    }

    /// Goes to where the target is, or would be.
    #[inline]
    pub(super) fn find(&self, arena: &Arena<'_>, target: &Target<'_>) -> Path {
        let mut path = Path { nodes: [(0, 0); DEPTH_MAX], next: ENDS, equal: false };
        let mut node = self.root;
        for level in 1..self.levels {
            // The first child also gets what comes before the entry that was its first once.
            let (slot, equal) = self.search(arena, node, 1, target);
            let slot = if equal { slot } else { slot - 1 };
            path.nodes[level - 1] = (node, slot as u16);
            node = self.child(arena, node, slot);
        }
        if self.levels > 0 {
            let (slot, equal) = self.search(arena, node, 0, target);
            path.nodes[self.levels - 1] = (node, slot as u16);
            path.equal = equal;
            path.next = if slot < self.count(arena, node) {
                self.entry(arena, node, slot)
            } else {
                arena.next_of(self.entry(arena, node, slot - 1))
            };
        }
        path
    }

    /// Bytes that an entry at the end of `path` takes.
    #[inline]
    pub(super) fn growth(&self, arena: &Arena<'_>, path: &Path) -> usize {
        let mut len = 0;
        for level in (0..self.levels).rev() {
            if self.count(arena, path.nodes[level].0) < self.slots {
                return len;
            }
            len += self.node_len(level + 1 == self.levels);
        }
        len + self.node_len(self.levels == 0)
    }

    /// Adds `entry` where `path` leads; there is room for what it [takes](Self::growth).
    #[inline]
    pub(super) fn insert(&mut self, arena: &mut Arena<'_>, path: &Path, prefix: u64, entry: u32) {
        let (mut prefix, mut entry, mut child) = (prefix, entry, 0);
        for level in (0..self.levels).rev() {
            let is_leaf = level + 1 == self.levels;
            let (node, slot) = path.nodes[level];
            // A child that was split off goes behind the one it was split from.
            let slot = usize::from(slot) + usize::from(!is_leaf);
            let count = self.count(arena, node);
            if count < self.slots {
                self.add(arena, (node, slot), (prefix, entry, child), is_leaf);
                return;
            }
            // Ascending keys leave full nodes behind.
            let is_last = path.next == ENDS && slot == count;
            let half = if is_last { count } else { count / 2 };
            let new = self.split(arena, node, half, is_leaf);
            let place = if slot < half || (slot == half && !is_last) {
                (node, slot)
            } else {
                (new, slot - half)
            };
            self.add(arena, place, (prefix, entry, child), is_leaf);
            (prefix, entry, child) = (self.prefix(arena, new, 0), self.entry(arena, new, 0), new);
        }
        let root = self.new_node(arena, self.levels == 0);
        if self.levels > 0 {
            let first = (self.prefix(arena, self.root, 0), self.entry(arena, self.root, 0));
            self.add(arena, (root, 0), (first.0, first.1, self.root), false);
            self.add(arena, (root, 1), (prefix, entry, child), false);
        } else {
            self.add(arena, (root, 0), (prefix, entry, child), true);
        }
        self.root = root;
        self.levels += 1;
        assert!(self.levels <= DEPTH_MAX);
    }

    fn new_node(&self, arena: &mut Arena<'_>, is_leaf: bool) -> u32 {
        let node = arena.take(self.node_len(is_leaf));
        arena.put(node as usize, &[0; 2]);
        node
    }

    fn set_count(&self, arena: &mut Arena<'_>, node: u32, count: usize) {
        arena.put(node as usize, &(count as u16).to_le_bytes());
    }

    /// Where a node's arrays are, and the bytes of an element of each.
    fn arrays(&self, node: u32, is_leaf: bool) -> impl Iterator<Item = (usize, usize)> {
        let arrays = [
            (node as usize + PREFIXES, 8),
            (self.entries_at(node), 4),
            (self.children_at(node), 4),
        ];
        arrays.into_iter().take(if is_leaf { 2 } else { 3 })
    }

    /// Puts an element into a slot of a node that is not full; those from there on move up.
    #[inline]
    fn add(
        &self,
        arena: &mut Arena<'_>,
        (node, slot): (u32, usize),
        (prefix, entry, child): (u64, u32, u32),
        is_leaf: bool,
    ) {
        let count = self.count(arena, node);
        for (at, len) in self.arrays(node, is_leaf) {
            arena.bytes.copy_within(at + slot * len..at + count * len, at + (slot + 1) * len);
        }
        arena.put(node as usize + PREFIXES + 8 * slot, &prefix.to_le_bytes());
        arena.put(self.entries_at(node) + 4 * slot, &entry.to_le_bytes());
        if !is_leaf {
            arena.put(self.children_at(node) + 4 * slot, &child.to_le_bytes());
        }
        self.set_count(arena, node, count + 1);
    }

    /// Moves the slots of a full node from `half` on to a new one.
    fn split(&self, arena: &mut Arena<'_>, node: u32, half: usize, is_leaf: bool) -> u32 {
        let new = self.new_node(arena, is_leaf);
        let count = self.count(arena, node);
        let arrays = self.arrays(node, is_leaf).zip(self.arrays(new, is_leaf));
        for ((from, len), (to, _)) in arrays {
            arena.bytes.copy_within(from + half * len..from + count * len, to);
        }
        self.set_count(arena, node, half);
        self.set_count(arena, new, count - half);
        new
    }

    /// Checks that the leaves hold the entries of the list, in its order, and that each inner slot
    /// tells what is below it from what is before.
    ///
    /// # Panics
    /// If they do not.
    pub(super) fn check(&self, arena: &Arena<'_>) {
        let mut at = arena.next_of(ENDS);
        if self.levels > 0 {
            self.check_node(arena, self.root, 1, &mut at);
        }
        assert_eq!(at, ENDS, "M1: an entry is in no leaf");
    }

    fn check_node(&self, arena: &Arena<'_>, node: u32, level: usize, at: &mut u32) {
        let count = self.count(arena, node);
        assert!((1..=self.slots).contains(&count));
        for slot in 0..count {
            let entry = self.entry(arena, node, slot);
            let key = arena.key_of(entry);
            assert_eq!(self.prefix(arena, node, slot), super::arena::prefix(key), "M1: prefix");
            if level == self.levels {
                assert_eq!(entry, *at, "M1: a leaf's order");
                *at = arena.next_of(*at);
                continue;
            }
            if slot > 0 {
                assert_eq!(entry, *at, "M1: the first entry below a slot");
            }
            self.check_node(arena, self.child(arena, node, slot), level + 1, at);
        }
    }
}
