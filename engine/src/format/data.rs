//! The data node: keys and [`Entry`]s, the leaves of a run.
//!
//! Why: see [`node`](super::node), which has the layout; the payload of an item is an entry.
//!
//! Invariants:
//! - `D1` `seek` finds the same item as a scan from the front would, for every key and rank.
//!   `data_seek_agrees_with_ordered_map`.
//! - `D2` `next` and `prev` are inverse and visit every item once.
//!   `data_walks_agree_with_ordered_map`.
//! - `D3` `boundary_at_or_before` is the nearest Boundary behind, however far, at the cost of two
//!   groups. `data_boundaries_agree_with_ordered_map`.

use super::entry::{Entry, Rank};
use super::node::{
    Group, HEADER, KeyBuf, List, ListBuilder, Malformed, NodeType, Payload, Position, TRAILER,
    node_type,
};

#[derive(Clone, Copy, Debug)]
struct EntryPayload;

impl Payload for EntryPayload {
    #[inline]
    fn read(bytes: &[u8]) -> Option<(usize, Rank)> {
        let (entry, len) = Entry::decode(bytes)?;
        Some((len, entry.rank()))
    }
}

/// Fills a data node; the buffer is given to each call.
#[derive(Clone, Copy, Debug)]
pub struct DataBuilder(ListBuilder);

impl DataBuilder {
    /// Begins a node that takes all of `buf`.
    ///
    /// # Panics
    /// If `buf` is not of a node's length.
    pub fn new(buf: &mut [u8]) -> Self {
        DataBuilder(ListBuilder::new(buf, NodeType::Data, 0, 0))
    }

    /// The most bytes that key and encoded entry may have together to fit an empty node.
    pub const fn item_len_max(node_len: usize) -> usize {
        // Two lengths of at most three bytes, and one group.
        node_len.saturating_sub(HEADER + TRAILER + 6 + 4)
    }

    /// Adds an entry; `false`, and nothing changed, if it does not fit. Entries must ascend by key
    /// and then by rank.
    ///
    /// # Panics
    /// If `buf` has another length than at the start, or the lengths in `entry` disagree.
    #[inline]
    pub fn push(&mut self, buf: &mut [u8], key: &[u8], entry: &Entry<'_>) -> bool {
        let is_boundary = entry.rank() == Rank::BOUNDARY;
        self.0.push(buf, key, is_boundary, entry.encoded_len(), |out| entry.encode(out))
    }

    /// Writes the header; the node then lacks only its seal.
    pub fn finish(self, buf: &mut [u8]) {
        self.0.finish(buf);
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.count() == 0
    }

    /// How many entries were added.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// About how many bytes are left.
    pub fn room(&self) -> usize {
        self.0.room()
    }
}

/// Reads a data node.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a>(List<'a, EntryPayload>);

impl<'a> Data<'a> {
    /// A reader, if `node` has the header of a data node. Constant cost.
    #[inline]
    pub fn new(node: &'a [u8]) -> Option<Self> {
        let list = List::new(node)?;
        let is_data = node_type(node) == Some(NodeType::Data) && list.filter().is_empty();
        is_data.then_some(Data(list))
    }

    /// How many entries it has.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.count() == 0
    }

    /// Whether any entry is a Boundary.
    pub fn has_boundaries(&self) -> bool {
        self.0.has_boundaries()
    }

    #[inline]
    fn with_key(
        &self,
        position: Option<Position>,
        key: &mut KeyBuf<'_>,
    ) -> Result<Option<Position>, Malformed> {
        if let Some(position) = position {
            self.read_key(position, key)?;
        }
        Ok(position)
    }

    /// The first entry; its key goes to `key`.
    #[inline]
    pub fn first(&self, key: &mut KeyBuf<'_>) -> Result<Option<Position>, Malformed> {
        self.with_key(self.0.first()?, key)
    }

    /// The last entry.
    #[inline]
    pub fn last(&self, key: &mut KeyBuf<'_>) -> Result<Option<Position>, Malformed> {
        self.with_key(self.0.last()?, key)
    }

    /// The entry after `position`; what `key` held before does not matter.
    #[inline]
    pub fn next(
        &self,
        position: Position,
        key: &mut KeyBuf<'_>,
    ) -> Result<Option<Position>, Malformed> {
        self.with_key(self.0.next(position)?, key)
    }

    /// The entry before `position`. `group` is what the last call for this node left there, its
    /// default at first.
    ///
    /// # Cost
    /// A scan of one group where it is not that of the last call.
    #[inline]
    pub fn prev(
        &self,
        position: Position,
        group: &mut Group,
        key: &mut KeyBuf<'_>,
    ) -> Result<Option<Position>, Malformed> {
        self.with_key(self.0.prev(position, group)?, key)
    }

    /// Where the first entry not before `(target, rank)` is, without its key.
    #[inline]
    pub fn find_ge(&self, target: &[u8], rank: Rank) -> Result<Option<Position>, Malformed> {
        Ok(self.0.search(target, rank)?.1)
    }

    /// Where the first entry is.
    pub fn first_position(&self) -> Option<Position> {
        self.0.first().ok().flatten()
    }

    /// Where the last entry is.
    pub fn last_position(&self) -> Result<Option<Position>, Malformed> {
        self.0.last()
    }

    /// The first entry not before `(target, rank)`.
    #[inline]
    pub fn seek(
        &self,
        target: &[u8],
        rank: Rank,
        key: &mut KeyBuf<'_>,
    ) -> Result<Option<Position>, Malformed> {
        self.with_key(self.0.search(target, rank)?.1, key)
    }

    /// The first entry not before the version `seq` of `target`: if `key` is `target` then, the
    /// newest version with a sequence number of at most `seq`. A Boundary at `target` is passed.
    #[inline]
    pub fn seek_ge(
        &self,
        target: &[u8],
        seq: u64,
        key: &mut KeyBuf<'_>,
    ) -> Result<Option<Position>, Malformed> {
        self.seek(target, Rank::of_seq(seq), key)
    }

    /// The last entry before `(target, rank)`.
    #[inline]
    pub fn seek_lt(
        &self,
        target: &[u8],
        rank: Rank,
        key: &mut KeyBuf<'_>,
    ) -> Result<Option<Position>, Malformed> {
        self.with_key(self.0.search(target, rank)?.0, key)
    }

    /// The entry at a position of this node; `None` if the bytes there are no entry.
    #[inline]
    pub fn entry_at(&self, position: Position) -> Option<Entry<'a>> {
        Some(Entry::decode(self.0.payload(position)?)?.0)
    }

    /// The key at a position, in two parts that are to be read as one.
    #[inline]
    pub fn key_parts(&self, position: Position) -> Option<(&'a [u8], &'a [u8])> {
        self.0.key_parts(position)
    }

    /// Puts the key at a position into `key`.
    #[inline]
    pub fn read_key(&self, position: Position, key: &mut KeyBuf<'_>) -> Result<(), Malformed> {
        let (head, suffix) = self.0.key_parts(position).ok_or(Malformed)?;
        key.set(head, suffix)
    }

    /// The nearest Boundary at or before `position`.
    pub fn boundary_at_or_before(&self, position: Position) -> Result<Option<Position>, Malformed> {
        self.0.boundary_below(position.index() + 1)
    }

    /// The nearest Boundary before `position`, or the last of the node for `None`. With what
    /// [`Data::seek_ge`] answered for a key, this is the range-delete state at that key, even if
    /// the seek ended on another key's Boundary or off the end.
    pub fn boundary_before(
        &self,
        position: Option<Position>,
    ) -> Result<Option<Position>, Malformed> {
        self.0.boundary_below(position.map_or(self.count(), |position| position.index()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::{Owned, owned};
    use super::super::entry::{Kind, encode_seqs};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(Vec<u8>, Rank), Owned>;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let long = prop::collection::vec(0u8..2, 130..140);
        prop_oneof![12 => prop::collection::vec(0u8..3, 0..7), 1 => long]
    }

    fn model() -> impl Strategy<Value = Model> {
        prop::collection::vec((key(), owned(0u64..4)), 0..200)
            .prop_map(|list| list.into_iter().map(|(k, e)| ((k, e.entry().rank()), e)).collect())
    }

    /// Builds a node of as much of the model as fits, and drops the rest from the model.
    fn build(model: &mut Model, node_len: usize) -> Vec<u8> {
        let mut buf = vec![0xee; node_len];
        let mut builder = DataBuilder::new(&mut buf);
        let full = model
            .iter()
            .find(|((key, _), e)| !builder.push(&mut buf, key, &e.entry()))
            .map(|(at, _)| at.clone());
        if let Some(at) = full {
            model.split_off(&at);
        }
        assert_eq!(builder.count(), model.len());
        builder.finish(&mut buf);
        buf
    }

    fn check_at(
        data: &Data<'_>,
        found: Option<Position>,
        key: &KeyBuf<'_>,
        expect: Option<(&(Vec<u8>, Rank), &Owned)>,
    ) {
        assert_eq!(found.is_some(), expect.is_some());
        if let (Some(position), Some(((want, _), entry))) = (found, expect) {
            assert_eq!(key.key(), &want[..]);
            assert_eq!(data.entry_at(position), Some(entry.entry()));
        }
    }

    proptest! {
        #[test]
        fn data_walks_agree_with_ordered_map(mut model in model(), big: bool) {
            let node = build(&mut model, if big { 65536 } else { 2048 });
            let data = Data::new(&node).unwrap();
            prop_assert_eq!(data.count(), model.len());
            let mut room = [0u8; 200];
            let (mut key, mut group) = (KeyBuf::new(&mut room), Group::default());
            let mut at = data.first(&mut key).unwrap();
            for item in &model {
                check_at(&data, at, &key, Some(item));
                let here = at.unwrap();
                let next = data.next(here, &mut key).unwrap();
                if let Some(next) = next {
                    let back = data.prev(next, &mut group, &mut key).unwrap();
                    prop_assert_eq!(back, Some(here));
                    data.read_key(next, &mut key).unwrap();
                }
                at = next;
            }
            prop_assert_eq!(at, None);
            let mut at = data.last(&mut key).unwrap();
            for item in model.iter().rev() {
                check_at(&data, at, &key, Some(item));
                at = data.prev(at.unwrap(), &mut group, &mut key).unwrap();
            }
            prop_assert_eq!(at, None);
        }

        #[test]
        fn data_seek_agrees_with_ordered_map(
            mut model in model(), targets in prop::collection::vec((key(), 0u64..6), 1..60),
        ) {
            let node = build(&mut model, 4096);
            let data = Data::new(&node).unwrap();
            let mut room = [0u8; 200];
            let mut key = KeyBuf::new(&mut room);
            let present = model.keys().cloned();
            let targets = targets.into_iter().map(|(k, n)| match n {
                4 => (k, Rank::BOUNDARY),
                5 => (k, Rank::of_seq(u64::MAX)),
                seq => (k, Rank::of_seq(seq)),
            });
            for target in targets.chain(present).collect::<Vec<_>>() {
                let found = data.seek(&target.0, target.1, &mut key).unwrap();
                check_at(&data, found, &key, model.range(target.clone()..).next());
                let found = data.seek_lt(&target.0, target.1, &mut key).unwrap();
                check_at(&data, found, &key, model.range(..target).next_back());
            }
        }

        #[test]
        fn data_boundaries_agree_with_ordered_map(mut model in model(), thin: bool) {
            if thin {
                // Leave few Boundaries, so that they lie groups behind.
                let mut n = 0;
                model.retain(|(_, rank), _| {
                    n += 1;
                    *rank != Rank::BOUNDARY || n % 5 == 0
                });
            }
            let node = build(&mut model, 8192);
            let data = Data::new(&node).unwrap();
            let mut room = [0u8; 200];
            let mut key = KeyBuf::new(&mut room);
            let mut at = data.first(&mut key).unwrap();
            let mut nearest = None;
            while let Some(position) = at {
                prop_assert_eq!(data.boundary_before(at).unwrap(), nearest);
                if data.entry_at(position).unwrap().kind == Kind::Boundary {
                    nearest = at;
                }
                prop_assert_eq!(data.boundary_at_or_before(position).unwrap(), nearest);
                at = data.next(position, &mut key).unwrap();
            }
            prop_assert_eq!(data.boundary_before(None).unwrap(), nearest);
            prop_assert_eq!(data.has_boundaries(), nearest.is_some());
        }

        #[test]
        fn data_of_mutated_bytes_never_panics(
            mut model in model(),
            mutations in prop::collection::vec(
                (any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 1..12),
            target in key(),
        ) {
            let sound = build(&mut model, 1024);
            let mut node = sound.clone();
            for (at, part, value) in mutations {
                let offset = match part {
                    0 => at.index(HEADER),
                    1 => node.len() - TRAILER - 1 - at.index(64),
                    _ => at.index(node.len()),
                };
                node[offset] = value;
            }
            drive(&sound, &node, &target);
        }

        #[test]
        fn data_of_random_bytes_never_panics(
            mut node in prop::collection::vec(0u8..8, 512), count in 0u8..80, target in key(),
        ) {
            node[..HEADER].copy_from_slice(&[1, 0, 1, 0, count, 0, 200, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
            let sound = node.clone();
            drive(&sound, &node, &target);
        }

        #[test]
        fn node_of_equal_content_is_equal_bytes(mut model in model()) {
            let a = build(&mut model, 4096);
            let mut b = vec![0x11; 4096];
            let mut builder = DataBuilder::new(&mut b);
            for ((key, _), e) in &model {
                prop_assert!(builder.push(&mut b, key, &e.entry()));
            }
            builder.finish(&mut b);
            prop_assert!(a == b);
            prop_assert!(a[4096 - TRAILER..].iter().all(|&byte| byte == 0));
        }
    }

    /// Calls everything on `node`, also with positions of another node.
    fn drive(other: &[u8], node: &[u8], target: &[u8]) {
        let Some(data) = Data::new(node) else { return };
        let mut room = [0u8; 200];
        let mut key = KeyBuf::new(&mut room);
        let mut at = data.first(&mut key);
        let mut steps = 0;
        while let Ok(Some(position)) = at {
            let _ = data.entry_at(position).map(|e| e.places().count() + e.seqs().count());
            let _ = data.boundary_at_or_before(position);
            let _ = data.prev(position, &mut Group::default(), &mut key);
            at = data.next(position, &mut key);
            steps += 1;
            assert!(steps <= data.count());
        }
        for seq in [0, 2, u64::MAX] {
            let _ = data.seek_ge(target, seq, &mut key);
            let _ = data.seek_lt(target, Rank::of_seq(seq), &mut key);
        }
        let _ = data.last(&mut key);
        let _ = data.boundary_before(None);
        if let Some(other) = Data::new(other) {
            let mut at = other.first(&mut key);
            while let Ok(Some(position)) = at {
                let _ = data.entry_at(position);
                let _ = data.read_key(position, &mut key);
                let _ = data.next(position, &mut key);
                let _ = data.prev(position, &mut Group::default(), &mut key);
                let _ = data.boundary_before(Some(position));
                at = other.next(position, &mut key);
            }
        }
    }

    #[test]
    fn data_push_of_longest_item_fits_empty_node() {
        for node_len in [512, 4096, 65536] {
            let mut buf = vec![0; node_len];
            let mut builder = DataBuilder::new(&mut buf);
            let key = vec![7; 300.min(node_len / 4)];
            let entry_len = DataBuilder::item_len_max(node_len) - key.len();
            let value = vec![1; entry_len - 1 - 3];
            let entry = Entry::inline(0, &value);
            assert!(entry.encoded_len() <= entry_len);
            assert!(builder.push(&mut buf, &key, &entry));
            assert!(!builder.push(&mut buf, b"z", &entry));
            builder.finish(&mut buf);
            let data = Data::new(&buf).unwrap();
            let mut room = [0u8; 300];
            let at = data.first(&mut KeyBuf::new(&mut room)).unwrap().unwrap();
            assert_eq!(data.entry_at(at), Some(entry));
        }
    }

    #[test]
    fn data_of_two_entries_is_these_bytes() {
        // On media: if this fails, the format changed.
        let mut buf = vec![0xee; 512];
        let mut builder = DataBuilder::new(&mut buf);
        assert!(builder.push(&mut buf, b"ab", &Entry::inline(1, b"x")));
        assert!(builder.push(&mut buf, b"abc", &Entry::tombstone(0)));
        builder.finish(&mut buf);
        let mut want = vec![0; 512];
        want[..16].copy_from_slice(&[1, 0, 0, 0, 2, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        want[16..24].copy_from_slice(&[0, 2, b'a', b'b', 0, 1, 1, b'x']);
        want[24..28].copy_from_slice(&[2, 1, b'c', 0b1_0011]);
        want[500..502].copy_from_slice(&[16, 0]);
        assert_eq!(buf, want);
    }

    #[test]
    fn data_key_longer_than_buffer_is_malformed_not_a_panic() {
        let mut buf = vec![0; 512];
        let mut builder = DataBuilder::new(&mut buf);
        let mut body = [0u8; 8];
        let len = encode_seqs(&[3], &mut body).unwrap();
        assert!(builder.push(&mut buf, b"long key", &Entry::boundary(&body[..len])));
        builder.finish(&mut buf);
        let mut room = [0u8; 4];
        let data = Data::new(&buf).unwrap();
        assert_eq!(data.first(&mut KeyBuf::new(&mut room)), Err(Malformed));
    }

    #[test]
    #[ignore = "a measurement: cargo test --release -- --ignored --nocapture data_speed"]
    fn data_speed() {
        for (node_len, value_len) in [(4096, 16), (16384, 100), (65536, 16)] {
            let mut buf = vec![0; node_len];
            let mut builder = DataBuilder::new(&mut buf);
            let value = vec![0; value_len];
            let key_of = |n: u64| {
                let mut key = *b"user____12345678";
                key[8..].copy_from_slice(&(n * 0x0123_4567_89ab).to_be_bytes());
                key
            };
            let mut count = 0;
            while builder.push(&mut buf, &key_of(count), &Entry::inline(count + 1, &value)) {
                count += 1;
            }
            builder.finish(&mut buf);
            let data = Data::new(&buf).unwrap();
            let mut room = [0u8; 64];
            let mut key = KeyBuf::new(&mut room);
            let begun = std::time::Instant::now();
            let rounds = 1_000_000;
            let mut sum = 0;
            for n in 0..rounds {
                let target = key_of(n * 7919 % count);
                sum += data.seek_ge(&target, u64::MAX, &mut key).unwrap().unwrap().index();
            }
            let seek = begun.elapsed().as_nanos() as u64 / rounds;
            let begun = std::time::Instant::now();
            let walks = 20_000_000 / count;
            for _ in 0..walks {
                let mut at = data.first(&mut key).unwrap();
                while let Some(position) = at {
                    sum += data.entry_at(position).unwrap().body.len() + key.len;
                    at = data.next(position, &mut key).unwrap();
                }
            }
            let step = begun.elapsed().as_nanos() as f64 / (walks * count) as f64;
            println!(
                "{node_len}/{value_len}: {count} items, seek {seek} ns, step {step:.1} ns {sum}"
            );
        }
    }
}
