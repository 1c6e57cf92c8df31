//! The memtable: what was committed and is not yet in a run, ordered, in one arena of bytes.
//!
//! Why: a put must be readable at once and a flush must find the entries in order, without a heap.
//! A skip list needs no balancing and never moves an entry, so a cursor is an offset.
//!
//! Layout of the arena (memory only, never on media), integers little-endian:
//!
//! ```text
//! 0    the head: a node of full height without a key; the offset 0 also means "none"
//! ..   nodes, payloads and ranges in the order they came, up to `used`
//!
//! node:  rank u64, payload u32, payload_len u32, key_len u16, height u8, zero u8,
//!        link * height, key
//! link:  next u32, prefix u64: the first 8 bytes of the next node's key, as a number
//! range: seq u64, start_len u16, end_len u16, bounded u8, start, end
//! ```
//!
//! A payload is an encoded [`Entry`]. Most comparisons end at the prefix in the link, so a search
//! touches the nodes it steps on and not those it only looks at. The height of a tower comes from a
//! hash of key and sequence number under the seed, so the same operations build the same list.
//!
//! Invariants:
//! - `M1` Level 0 holds every node once, ascending by key, then rank, without equals; each level
//!   above holds exactly the nodes tall enough for it, in the same order. `check_invariants`.
//! - `M2` An operation that answers [`Full`] changed nothing. `memtable_when_full_is_unchanged`.
//! - `M3` A [`Cursor`] stays good until `clear`, whatever is inserted.
//!   `memtable_cursor_survives_inserts`.
//! - `M4` Every answer is that of an ordered map. `memtable_agrees_with_ordered_map`.
//! - `M5` `room_for(k, e)` means the next insert of such lengths succeeds.
//!   `memtable_when_full_is_unchanged`.
//!
//! Source: Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees" (1990).

use core::cmp::Ordering;

use crate::format::entry::{Entry, Rank};
use crate::format::filter::hash;

/// The most range tombstones a memtable holds.
pub const RANGES_MAX: usize = 64;
/// The most bytes of a key.
pub const KEY_LEN_MAX: usize = u16::MAX as usize;

const HEIGHT_MAX: usize = 12;
const HEAD: u32 = 0;
const RANK: usize = 0;
const PAYLOAD: usize = 8;
const PAYLOAD_LEN: usize = 12;
const KEY_LEN: usize = 16;
const HEIGHT: usize = 18;
const TOWER: usize = 20;
const LINK: usize = 12;
const HEAD_LEN: usize = TOWER + LINK * HEIGHT_MAX;
const RANGE_HEAD: usize = 13;

/// The memtable has no room for this now; after a flush it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Where an entry lies; good until [`Memtable::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(u32);

/// A key and rank as the search compares them.
#[derive(Clone, Copy)]
struct Target<'k> {
    prefix: u64,
    rank: Rank,
    key: &'k [u8],
}

impl<'k> Target<'k> {
    #[inline]
    fn new(key: &'k [u8], rank: Rank) -> Self {
        Target { prefix: prefix(key), rank, key }
    }
}

#[inline]
fn prefix(key: &[u8]) -> u64 {
    if let Some(whole) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*whole);
    }
    let mut padded = [0u8; 8];
    padded[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(padded)
}

/// An ordered map from key and rank to [`Entry`], and a list of range tombstones.
#[derive(Debug)]
pub struct Memtable<'m> {
    arena: &'m mut [u8],
    seed: u64,
    used: u32,
    count: u32,
    /// The last node of each level.
    lasts: [u32; HEIGHT_MAX],
    /// Levels in use: one more than the highest that has a node.
    levels: usize,
    ranges: [u32; RANGES_MAX],
    range_count: usize,
}

impl<'m> Memtable<'m> {
    /// An empty memtable in `arena`.
    ///
    /// # Panics
    /// If the arena is shorter than the head (164 bytes) or longer than 4 GiB.
    pub fn new(arena: &'m mut [u8], seed: u64) -> Self {
        assert!(arena.len() >= HEAD_LEN && u32::try_from(arena.len()).is_ok());
        let mut memtable = Memtable {
            arena,
            seed,
            used: 0,
            count: 0,
            lasts: [HEAD; HEIGHT_MAX],
            levels: 1,
            ranges: [0; RANGES_MAX],
            range_count: 0,
        };
        memtable.clear();
        memtable
    }

    /// Forgets everything; cursors from before are no longer good.
    pub fn clear(&mut self) {
        self.arena[..HEAD_LEN].fill(0);
        self.arena[HEIGHT] = HEIGHT_MAX as u8;
        self.used = HEAD_LEN as u32;
        self.count = 0;
        self.lasts = [HEAD; HEIGHT_MAX];
        self.levels = 1;
        self.range_count = 0;
    }

    /// Entries, without range tombstones.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether it holds neither an entry nor a range tombstone.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.range_count == 0
    }

    /// Bytes of the arena in use.
    pub fn bytes_used(&self) -> usize {
        self.used as usize
    }

    #[inline]
    fn bytes_left(&self) -> usize {
        self.arena.len() - self.used as usize
    }

    /// Whether an insert of a key and an encoded entry of these lengths will succeed; it takes the
    /// tallest tower for granted.
    #[inline]
    pub fn room_for(&self, key_len: usize, entry_len: usize) -> bool {
        let node_len = HEAD_LEN.checked_add(key_len).and_then(|len| len.checked_add(entry_len));
        node_len.is_some_and(|len| len <= self.bytes_left())
    }

    #[inline]
    fn u32_at(&self, at: usize) -> u32 {
        let bytes = self.arena[at..at + 4].first_chunk::<4>();
        u32::from_le_bytes(*bytes.expect("four bytes"))
    }

    #[inline]
    fn u64_at(&self, at: usize) -> u64 {
        let bytes = self.arena[at..at + 8].first_chunk::<8>();
        u64::from_le_bytes(*bytes.expect("eight bytes"))
    }

    #[inline]
    fn put_u32(&mut self, at: usize, value: u32) {
        self.arena[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// The next node on a level, or the head for none, and the prefix of its key.
    #[inline]
    fn link_of(&self, node: u32, level: usize) -> (u32, u64) {
        let at = node as usize + TOWER + LINK * level;
        let link = self.arena[at..at + LINK].first_chunk::<LINK>();
        let &[a, b, c, d, ref prefix @ ..] = link.expect("a link");
        (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(*prefix))
    }

    #[inline]
    fn put_link(&mut self, node: u32, level: usize, (next, prefix): (u32, u64)) {
        let at = node as usize + TOWER + LINK * level;
        let link = &mut self.arena[at..at + LINK];
        link[..4].copy_from_slice(&next.to_le_bytes());
        link[4..].copy_from_slice(&prefix.to_le_bytes());
    }

    #[inline]
    fn next_of(&self, node: u32, level: usize) -> u32 {
        self.link_of(node, level).0
    }

    #[inline]
    fn rank_of(&self, node: u32) -> Rank {
        Rank::from_u64(self.u64_at(node as usize + RANK))
    }

    #[inline]
    fn height_of(&self, node: u32) -> usize {
        usize::from(self.arena[node as usize + HEIGHT])
    }

    #[inline]
    fn key_of(&self, node: u32) -> &[u8] {
        let node = node as usize;
        let len = u16::from_le_bytes([self.arena[node + KEY_LEN], self.arena[node + KEY_LEN + 1]]);
        let key_at = node + TOWER + LINK * usize::from(self.arena[node + HEIGHT]);
        &self.arena[key_at..key_at + usize::from(len)]
    }

    #[inline]
    fn entry_of(&self, node: u32) -> Entry<'_> {
        let at = self.u32_at(node as usize + PAYLOAD) as usize;
        let len = self.u32_at(node as usize + PAYLOAD_LEN) as usize;
        let decoded = Entry::decode(&self.arena[at..at + len]);
        decoded.expect("a payload this memtable encoded").0
    }

    #[inline]
    fn compare(&self, node: u32, target: &Target<'_>) -> Ordering {
        self.key_of(node).cmp(target.key).then_with(|| self.rank_of(node).cmp(&target.rank))
    }

    /// The last node before the target on each level in use, and the first not before it.
    #[inline]
    fn splice(&self, target: &Target<'_>, before: &mut [u32; HEIGHT_MAX]) -> (u32, bool) {
        let last = self.lasts[0];
        if last == HEAD || self.compare(last, target) == Ordering::Less {
            // Ascending inserts: the new node goes last on every level.
            *before = self.lasts;
            return (HEAD, false);
        }
        let (mut node, mut beyond, mut equal) = (HEAD, HEAD, false);
        for level in (0..self.levels).rev() {
            loop {
                let (next, prefix) = self.link_of(node, level);
                // A node already found beyond the target need not be compared again.
                if next == HEAD || next == beyond {
                    break;
                }
                // Equal prefixes of short keys are padded, so they say nothing of the lengths.
                let order = match prefix.cmp(&target.prefix) {
                    Ordering::Equal => self.compare(next, target),
                    order => order,
                };
                if order != Ordering::Less {
                    beyond = next;
                    equal = order == Ordering::Equal;
                    break;
                }
                node = next;
            }
            before[level] = node;
        }
        (beyond, equal)
    }

    /// The first node not before the target, or none.
    #[inline]
    fn find(&self, target: &Target<'_>) -> (u32, bool) {
        let mut before = [HEAD; HEIGHT_MAX];
        self.splice(target, &mut before)
    }

    #[inline]
    fn height_for(&self, key: &[u8], rank: Rank) -> usize {
        // Two bits a level: one node in four is on the next.
        let bits = hash(self.seed ^ rank.to_u64().wrapping_mul(0x9e37_79b9_7f4a_7c15), key);
        (bits.trailing_zeros() as usize / 2 + 1).min(HEIGHT_MAX)
    }

    /// Adds an entry. One of the same key and sequence number takes the place of the old one.
    ///
    /// # Errors
    /// [`Full`], and nothing changed.
    ///
    /// # Panics
    /// If the key is longer than [`KEY_LEN_MAX`], or the lengths in `entry` disagree.
    pub fn insert(&mut self, key: &[u8], entry: &Entry<'_>) -> Result<(), Full> {
        assert!(key.len() <= KEY_LEN_MAX);
        let target = Target::new(key, entry.rank());
        let payload_len = entry.encoded_len();
        let mut before = [HEAD; HEIGHT_MAX];
        let (beyond, equal) = self.splice(&target, &mut before);
        if equal {
            return self.replace(beyond, entry, payload_len);
        }
        let height = self.height_for(key, target.rank);
        let node_len = TOWER + LINK * height + key.len();
        if node_len + payload_len > self.bytes_left() {
            return Err(Full);
        }
        let node = self.used as usize;
        let payload = node + node_len;
        let room = &mut self.arena[node..payload + payload_len];
        room[RANK..RANK + 8].copy_from_slice(&target.rank.to_u64().to_le_bytes());
        room[PAYLOAD..PAYLOAD + 4].copy_from_slice(&(payload as u32).to_le_bytes());
        room[PAYLOAD_LEN..PAYLOAD_LEN + 4].copy_from_slice(&(payload_len as u32).to_le_bytes());
        room[KEY_LEN..KEY_LEN + 2].copy_from_slice(&(key.len() as u16).to_le_bytes());
        room[HEIGHT] = height as u8;
        room[HEIGHT + 1] = 0;
        room[TOWER + LINK * height..node_len].copy_from_slice(key);
        let written = entry.encode(&mut room[node_len..]);
        assert_eq!(written, Some(payload_len), "an entry whose lengths disagree");
        self.link(node as u32, height, target.prefix, &before);
        self.used = (payload + payload_len) as u32;
        self.count += 1;
        Ok(())
    }

    #[inline]
    fn link(&mut self, node: u32, height: usize, prefix: u64, before: &[u32; HEIGHT_MAX]) {
        // Above the levels in use `before` is still the head.
        for (level, &previous) in before.iter().enumerate().take(height) {
            let link = self.link_of(previous, level);
            self.put_link(node, level, link);
            self.put_link(previous, level, (node, prefix));
            if link.0 == HEAD {
                self.lasts[level] = node;
            }
        }
        self.levels = self.levels.max(height);
    }

    /// Gives a node another payload: in the place of the old one if it fits, else at the end.
    fn replace(&mut self, node: u32, entry: &Entry<'_>, len: usize) -> Result<(), Full> {
        let old_len = self.u32_at(node as usize + PAYLOAD_LEN) as usize;
        let mut at = self.u32_at(node as usize + PAYLOAD) as usize;
        if len > old_len {
            if len > self.bytes_left() {
                return Err(Full);
            }
            at = self.used as usize;
            self.used += len as u32;
        }
        let written = entry.encode(&mut self.arena[at..at + len]);
        assert_eq!(written, Some(len), "an entry whose lengths disagree");
        self.put_u32(node as usize + PAYLOAD, at as u32);
        self.put_u32(node as usize + PAYLOAD_LEN, len as u32);
        Ok(())
    }

    /// The newest version of `key` with a sequence number of at most `seq`; a Tombstone is a
    /// version. Range tombstones are not looked at: see [`Memtable::covering`].
    #[inline]
    pub fn get(&self, key: &[u8], seq: u64) -> Option<Entry<'_>> {
        let target = Target::new(key, Rank::of_seq(seq));
        let (node, _) = self.find(&target);
        if node == HEAD || self.key_of(node) != key {
            return None;
        }
        Some(self.entry_of(node))
    }

    #[inline]
    fn cursor(&self, node: u32) -> Option<Cursor> {
        if node == HEAD { None } else { Some(Cursor(node)) }
    }

    /// The first entry.
    #[inline]
    pub fn first(&self) -> Option<Cursor> {
        self.cursor(self.next_of(HEAD, 0))
    }

    /// The last entry.
    #[inline]
    pub fn last(&self) -> Option<Cursor> {
        self.cursor(self.lasts[0])
    }

    /// The first entry not before `(key, rank)`.
    #[inline]
    pub fn seek(&self, key: &[u8], rank: Rank) -> Option<Cursor> {
        self.cursor(self.find(&Target::new(key, rank)).0)
    }

    /// The first entry not before the version `seq` of `key`.
    #[inline]
    pub fn seek_ge(&self, key: &[u8], seq: u64) -> Option<Cursor> {
        self.seek(key, Rank::of_seq(seq))
    }

    /// The last entry before `(key, rank)`.
    #[inline]
    pub fn seek_lt(&self, key: &[u8], rank: Rank) -> Option<Cursor> {
        let mut before = [HEAD; HEIGHT_MAX];
        self.splice(&Target::new(key, rank), &mut before);
        self.cursor(before[0])
    }

    /// The last entry not after the version `seq` of `key`.
    #[inline]
    pub fn seek_le(&self, key: &[u8], seq: u64) -> Option<Cursor> {
        let mut before = [HEAD; HEIGHT_MAX];
        let (node, equal) = self.splice(&Target::new(key, Rank::of_seq(seq)), &mut before);
        self.cursor(if equal { node } else { before[0] })
    }

    /// The entry after `cursor`.
    #[inline]
    pub fn next(&self, cursor: Cursor) -> Option<Cursor> {
        self.cursor(self.next_of(cursor.0, 0))
    }

    /// The entry before `cursor`.
    ///
    /// # Cost
    /// A search.
    #[inline]
    pub fn prev(&self, cursor: Cursor) -> Option<Cursor> {
        self.seek_lt(self.key_of(cursor.0), self.rank_of(cursor.0))
    }

    /// The key and entry at `cursor`.
    #[inline]
    pub fn at(&self, cursor: Cursor) -> (&[u8], Entry<'_>) {
        (self.key_of(cursor.0), self.entry_of(cursor.0))
    }

    /// Deletes, as of `seq`, the keys from `start` up to but not including `end`, or all from
    /// `start` on for `None`. An empty extent of keys is accepted and not kept.
    ///
    /// # Errors
    /// [`Full`], and nothing changed: no bytes, or already [`RANGES_MAX`] of them.
    pub fn insert_range(&mut self, start: &[u8], end: Option<&[u8]>, seq: u64) -> Result<(), Full> {
        assert!(start.len() <= KEY_LEN_MAX && end.is_none_or(|end| end.len() <= KEY_LEN_MAX));
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        let (end, bounded) = (end.unwrap_or(&[]), end.is_some());
        let len = RANGE_HEAD + start.len() + end.len();
        if self.range_count == RANGES_MAX || len > self.bytes_left() {
            return Err(Full);
        }
        let at = self.used as usize;
        let room = &mut self.arena[at..at + len];
        room[..8].copy_from_slice(&seq.to_le_bytes());
        room[8..10].copy_from_slice(&(start.len() as u16).to_le_bytes());
        room[10..12].copy_from_slice(&(end.len() as u16).to_le_bytes());
        room[12] = u8::from(bounded);
        room[RANGE_HEAD..RANGE_HEAD + start.len()].copy_from_slice(start);
        room[RANGE_HEAD + start.len()..].copy_from_slice(end);
        self.ranges[self.range_count] = at as u32;
        self.range_count += 1;
        self.used += len as u32;
        Ok(())
    }

    fn range_at(&self, at: u32) -> (&[u8], Option<&[u8]>, u64) {
        let bytes = &self.arena[at as usize..];
        let start_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let end_len = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        let (start, rest) = bytes[RANGE_HEAD..].split_at(start_len);
        let end = if bytes[12] != 0 { Some(&rest[..end_len]) } else { None };
        (start, end, self.u64_at(at as usize))
    }

    /// The range tombstones as `(start, end, seq)`, in the order they came.
    pub fn ranges(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>, u64)> {
        self.ranges[..self.range_count].iter().map(|&at| self.range_at(at))
    }

    /// How many range tombstones it holds.
    pub fn range_count(&self) -> usize {
        self.range_count
    }

    /// The highest sequence number of at most `seq` of a range tombstone over `key`, or zero.
    ///
    /// # Cost
    /// Every range tombstone is looked at.
    #[inline]
    pub fn covering(&self, key: &[u8], seq: u64) -> u64 {
        let covers = |start: &[u8], end: Option<&[u8]>| start <= key && end.is_none_or(|e| key < e);
        self.ranges()
            .filter(|&(start, end, at)| at <= seq && covers(start, end))
            .map(|(_, _, at)| at)
            .max()
            .unwrap_or(0)
    }

    /// Checks `M1` and that every offset lies within what is used.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn check_invariants(&self) {
        let used = self.used as usize;
        assert!(HEAD_LEN <= used && used <= self.arena.len());
        assert!((1..=HEIGHT_MAX).contains(&self.levels) && self.range_count <= RANGES_MAX);
        assert_eq!(self.height_of(HEAD), HEIGHT_MAX);
        // The next node expected on each level, as level 0 is walked.
        let mut expected: [(u32, u64); HEIGHT_MAX] =
            core::array::from_fn(|level| self.link_of(HEAD, level));
        let (mut previous, mut count) = (HEAD, 0);
        while expected[0].0 != HEAD {
            let node = expected[0].0;
            count += 1;
            assert!(count <= self.count, "M1: more nodes than were inserted, or a cycle");
            let (key, entry) = (self.key_of(node), self.entry_of(node));
            assert_eq!(self.rank_of(node), entry.rank());
            assert_eq!(self.height_of(node), self.height_for(key, entry.rank()));
            if previous != HEAD {
                let target = Target::new(key, entry.rank());
                assert_eq!(self.compare(previous, &target), Ordering::Less, "M1: order");
            }
            for (level, link) in expected.iter_mut().enumerate().take(self.height_of(node)) {
                assert!(level < self.levels, "M1: a tower above the levels in use");
                assert_eq!(*link, (node, prefix(key)), "M1: level {level} misses a node");
                *link = self.link_of(node, level);
                assert!(link.0 != HEAD || self.lasts[level] == node, "M1: last of level {level}");
            }
            previous = node;
        }
        assert_eq!(count, self.count);
        assert!(expected.iter().all(|link| link.0 == HEAD), "M1: a node above is not on level 0");
        for (start, end, _) in self.ranges() {
            assert!(end.is_none_or(|end| start < end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::tests::{Owned, owned};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(Vec<u8>, Rank), Owned>;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let long = prop::collection::vec(0u8..2, 7..12);
        prop_oneof![prop::collection::vec(0u8..3, 0..5), long]
    }

    fn fill(memtable: &mut Memtable<'_>, list: &[(Vec<u8>, Owned)]) -> Model {
        let mut model = Model::new();
        for (key, e) in list {
            let entry = e.entry();
            let promised = memtable.room_for(key.len(), entry.encoded_len());
            match memtable.insert(key, &entry) {
                Ok(()) => {
                    model.insert((key.clone(), entry.rank()), e.clone());
                }
                Err(Full) => assert!(!promised, "M5"),
            }
            memtable.check_invariants();
        }
        model
    }

    fn check_at(
        memtable: &Memtable<'_>,
        cursor: Option<Cursor>,
        expect: Option<(&(Vec<u8>, Rank), &Owned)>,
    ) {
        let found = cursor.map(|cursor| memtable.at(cursor));
        assert_eq!(found, expect.map(|((key, _), e)| (&key[..], e.entry())));
    }

    fn check_walks(memtable: &Memtable<'_>, model: &Model) {
        assert_eq!(memtable.count(), model.len());
        let mut at = memtable.first();
        for item in model {
            check_at(memtable, at, Some(item));
            at = memtable.next(at.unwrap());
        }
        assert_eq!(at, None);
        let mut at = memtable.last();
        for item in model.iter().rev() {
            check_at(memtable, at, Some(item));
            at = memtable.prev(at.unwrap());
        }
        assert_eq!(at, None);
    }

    proptest! {
        #[test]
        fn memtable_agrees_with_ordered_map(
            list in prop::collection::vec((key(), owned(0u64..6)), 0..150),
            targets in prop::collection::vec((key(), 0u64..8), 1..40),
            seed: u64,
        ) {
            let mut arena = vec![0xcc; 1 << 16];
            let mut memtable = Memtable::new(&mut arena, seed);
            let model = fill(&mut memtable, &list);
            check_walks(&memtable, &model);
            let present = list.iter().map(|(key, e)| (key.clone(), e.seq));
            for (key, seq) in targets.into_iter().chain(present) {
                let at = (key.clone(), Rank::of_seq(seq));
                let from = model.range(at.clone()..).next();
                check_at(&memtable, memtable.seek_ge(&key, seq), from);
                check_at(&memtable, memtable.seek_le(&key, seq), model.range(..=&at).next_back());
                check_at(&memtable, memtable.seek_lt(&key, at.1), model.range(..&at).next_back());
                let boundary = (key.clone(), Rank::BOUNDARY);
                let cursor = memtable.seek(&key, Rank::BOUNDARY);
                check_at(&memtable, cursor, model.range(boundary..).next());
                let want = from.filter(|((k, _), _)| *k == key).map(|(_, e)| e.entry());
                prop_assert_eq!(memtable.get(&key, seq), want);
            }
            memtable.clear();
            memtable.check_invariants();
            prop_assert!(memtable.is_empty() && memtable.first().is_none());
            prop_assert!(memtable.last().is_none() && memtable.get(b"", 9).is_none());
        }

        #[test]
        fn memtable_when_full_is_unchanged(
            list in prop::collection::vec((key(), owned(0u64..6)), 20..60),
            arena_len in HEAD_LEN..1500,
        ) {
            let mut arena = vec![0xcc; arena_len];
            let mut memtable = Memtable::new(&mut arena, 1);
            let model = fill(&mut memtable, &list);
            check_walks(&memtable, &model);
            let used = memtable.bytes_used();
            let big = vec![1; arena_len];
            prop_assert_eq!(memtable.insert(b"big", &Entry::inline(9, &big)), Err(Full));
            prop_assert_eq!(memtable.insert_range(b"", Some(&big), 9), Err(Full));
            prop_assert_eq!(memtable.bytes_used(), used);
            check_walks(&memtable, &model);
        }

        #[test]
        fn memtable_ranges_cover_as_a_list_would(
            list in prop::collection::vec((key(), prop::option::of(key()), 1u64..20), 0..30),
            targets in prop::collection::vec((key(), 0u64..22), 1..40),
        ) {
            let mut arena = vec![0xcc; 1 << 14];
            let mut memtable = Memtable::new(&mut arena, 1);
            for (n, (start, end, seq)) in list.iter().enumerate() {
                memtable.insert(start, &Entry::tombstone(n as u64)).unwrap();
                memtable.insert_range(start, end.as_deref(), *seq).unwrap();
            }
            memtable.check_invariants();
            let kept: Vec<_> = list
                .iter()
                .filter(|(start, end, _)| end.as_ref().is_none_or(|end| start < end))
                .map(|(start, end, seq)| (&start[..], end.as_deref(), *seq))
                .collect();
            prop_assert_eq!(memtable.ranges().collect::<Vec<_>>(), kept.clone());
            for (key, seq) in targets {
                let want = kept
                    .iter()
                    .filter(|(start, end, at)| {
                        *start <= &key[..] && end.is_none_or(|end| &key[..] < end) && *at <= seq
                    })
                    .map(|(_, _, at)| *at)
                    .max();
                prop_assert_eq!(memtable.covering(&key, seq), want.unwrap_or(0));
            }
        }
    }

    #[test]
    fn memtable_insert_of_same_version_replaces_payload() {
        let mut arena = vec![0; 4096];
        let mut memtable = Memtable::new(&mut arena, 1);
        memtable.insert(b"k", &Entry::inline(5, b"short")).unwrap();
        let cursor = memtable.first().unwrap();
        memtable.insert(b"k", &Entry::inline(5, b"a longer value")).unwrap();
        let used = memtable.bytes_used();
        assert_eq!(memtable.at(cursor).1.body, b"a longer value");
        memtable.insert(b"k", &Entry::inline(5, b"s")).unwrap();
        assert_eq!(memtable.at(cursor).1.body, b"s");
        assert_eq!((memtable.count(), memtable.bytes_used()), (1, used));
        memtable.check_invariants();
    }

    #[test]
    fn memtable_cursor_survives_inserts() {
        let mut arena = vec![0; 1 << 16];
        let mut memtable = Memtable::new(&mut arena, 1);
        memtable.insert(b"m", &Entry::inline(1, b"v")).unwrap();
        let cursor = memtable.first().unwrap();
        for n in 0..200u8 {
            memtable.insert(&[n], &Entry::tombstone(2)).unwrap();
        }
        assert_eq!(memtable.at(cursor), (&b"m"[..], Entry::inline(1, b"v")));
        assert_eq!(memtable.at(memtable.prev(cursor).unwrap()), (&b"m"[..], Entry::tombstone(2)));
        assert_eq!(memtable.at(memtable.next(cursor).unwrap()).0, b"n");
    }

    #[test]
    fn memtable_range_past_the_bound_is_full() {
        let mut arena = vec![0; 1 << 16];
        let mut memtable = Memtable::new(&mut arena, 1);
        for seq in 0..RANGES_MAX as u64 {
            memtable.insert_range(b"a", None, seq).unwrap();
        }
        assert_eq!(memtable.insert_range(b"a", None, 99), Err(Full));
        assert_eq!(memtable.covering(b"b", u64::MAX), RANGES_MAX as u64 - 1);
        assert!(!memtable.is_empty() && memtable.count() == 0);
    }

    #[test]
    #[ignore = "a measurement: cargo test -- --ignored --nocapture memtable_speed"]
    fn memtable_speed() {
        for (count, ascending) in [(20_000u64, false), (200_000, false), (200_000, true)] {
            let mut arena = vec![0; 64 << 20];
            let mut memtable = Memtable::new(&mut arena, 1);
            let key_of = |n: u64| {
                let n = if ascending { n } else { n.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
                (u128::from(n) << 64).to_be_bytes()
            };
            let begun = std::time::Instant::now();
            let rounds = 1_000_000 / count;
            for _ in 0..rounds {
                memtable.clear();
                for n in 0..count {
                    memtable.insert(&key_of(n), &Entry::inline(n, &[7; 32])).unwrap();
                }
            }
            let insert = begun.elapsed().as_nanos() as u64 / (rounds * count);
            let begun = std::time::Instant::now();
            let found =
                (0..count).filter(|n| memtable.get(&key_of(*n), u64::MAX).is_some()).count();
            let get = begun.elapsed().as_nanos() as u64 / count;
            let begun = std::time::Instant::now();
            let (mut at, mut sum) = (memtable.first(), found);
            while let Some(cursor) = at {
                let (key, entry) = memtable.at(cursor);
                sum += key.len() + entry.body.len();
                at = memtable.next(cursor);
            }
            let step = begun.elapsed().as_nanos() as u64 / count;
            println!("{count} {ascending}: insert {insert} ns, get {get} ns, step {step} ns {sum}");
        }
    }
}
