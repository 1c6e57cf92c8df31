//! The memtable: what was committed and is not yet in a run, ordered, in one arena of bytes.
//!
//! Why: a put must be readable at once and a flush must find the entries in order, without a heap.
//! Entries never move, so a cursor is an offset; a B+-tree leads to them, and each knows its
//! neighbours.
//!
//! Invariants:
//! - `M1` The list holds every entry once, ascending by key, then rank, without equals, and the
//!   index leads to each. `check_invariants`.
//! - `M2` An operation that answers [`Full`] changed nothing. `memtable_when_full_is_unchanged`.
//! - `M3` A [`Cursor`] stays good until `clear`, whatever is inserted.
//!   `memtable_cursor_survives_inserts`.
//! - `M4` Every answer is that of an ordered map. `memtable_agrees_with_ordered_map`.
//! - `M5` `room_for(k, e)` means the next insert of such lengths succeeds.
//!   `memtable_when_full_is_unchanged`.

mod arena;
mod index;

use core::cmp::Ordering;

use arena::{Arena, ENDS, ENTRY_LEN, Target};
use index::Index;

use crate::format::entry::{Entry, Rank};

/// The most range tombstones a memtable holds.
pub const RANGES_MAX: usize = 64;
/// The most bytes of a key.
pub const KEY_LEN_MAX: usize = u16::MAX as usize;

/// Range in the arena: seq u64, start_len u16, end_len u16, bounded u8, start, end.
const RANGE_HEAD: usize = 13;

/// The memtable has no room for this now; after a flush it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Where an entry lies; good until [`Memtable::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(u32);

/// An ordered map from key and rank to [`Entry`], and a list of range tombstones.
#[derive(Debug)]
pub struct Memtable<'m> {
    arena: Arena<'m>,
    index: Index,
    count: u32,
    entry_bytes: u32,
    ranges: [u32; RANGES_MAX],
    range_count: usize,
}

impl<'m> Memtable<'m> {
    /// An empty memtable in `arena`.
    ///
    /// # Panics
    /// If the arena is shorter than 26 bytes or longer than 4 GiB.
    pub fn new(arena: &'m mut [u8]) -> Self {
        assert!(arena.len() >= ENTRY_LEN && u32::try_from(arena.len()).is_ok());
        let index = Index::new(arena.len());
        let arena = Arena { bytes: arena, used: 0 };
        let ranges = [0; RANGES_MAX];
        let mut memtable =
            Memtable { arena, index, count: 0, entry_bytes: 0, ranges, range_count: 0 };
        memtable.clear();
        memtable
    }

    /// Forgets everything; cursors from before are no longer good.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.index.clear();
        self.count = 0;
        self.entry_bytes = 0;
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
        self.arena.used as usize
    }

    /// Bytes of keys and encoded entries, as they were when they came.
    pub fn entry_bytes(&self) -> u32 {
        self.entry_bytes
    }

    /// Whether an insert of a key and an encoded entry of these lengths will succeed; it takes for
    /// granted that the index splits a node on each level.
    #[inline]
    pub fn room_for(&self, key_len: usize, entry_len: usize) -> bool {
        let len = ENTRY_LEN + self.index.growth_max();
        let len = len.checked_add(key_len).and_then(|len| len.checked_add(entry_len));
        len.is_some_and(|len| len <= self.arena.left())
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
        let path = self.index.find(&self.arena, &target);
        if path.equal {
            let replaced = self.arena.replace(path.next, entry, payload_len);
            return if replaced { Ok(()) } else { Err(Full) };
        }
        let len = ENTRY_LEN + key.len() + payload_len;
        if len + self.index.growth(&self.arena, &path) > self.arena.left() {
            return Err(Full);
        }
        let at = self.arena.insert(&target, entry, payload_len, path.next);
        self.index.insert(&mut self.arena, &path, target.prefix, at);
        self.count += 1;
        self.entry_bytes += (key.len() + payload_len) as u32;
        Ok(())
    }

    /// The newest version of `key` with a sequence number of at most `seq`; a Tombstone is a
    /// version. Range tombstones are not looked at: see [`Memtable::covering`].
    #[inline]
    pub fn get(&self, key: &[u8], seq: u64) -> Option<Entry<'_>> {
        let found = self.index.find(&self.arena, &Target::new(key, Rank::of_seq(seq))).next;
        let is_there = found != ENDS && self.arena.key_of(found) == key;
        is_there.then(|| self.arena.entry_of(found))
    }

    #[inline]
    fn cursor(&self, entry: u32) -> Option<Cursor> {
        if entry == ENDS { None } else { Some(Cursor(entry)) }
    }

    /// The first entry.
    #[inline]
    pub fn first(&self) -> Option<Cursor> {
        self.cursor(self.arena.next_of(ENDS))
    }

    /// The last entry.
    #[inline]
    pub fn last(&self) -> Option<Cursor> {
        self.cursor(self.arena.previous_of(ENDS))
    }

    /// The first entry not before `(key, rank)`.
    #[inline]
    pub fn seek(&self, key: &[u8], rank: Rank) -> Option<Cursor> {
        self.cursor(self.index.find(&self.arena, &Target::new(key, rank)).next)
    }

    /// The first entry not before the version `seq` of `key`.
    #[inline]
    pub fn seek_ge(&self, key: &[u8], seq: u64) -> Option<Cursor> {
        self.seek(key, Rank::of_seq(seq))
    }

    /// The last entry before `(key, rank)`.
    #[inline]
    pub fn seek_lt(&self, key: &[u8], rank: Rank) -> Option<Cursor> {
        let path = self.index.find(&self.arena, &Target::new(key, rank));
        self.cursor(self.arena.previous_of(path.next))
    }

    /// The last entry not after the version `seq` of `key`.
    #[inline]
    pub fn seek_le(&self, key: &[u8], seq: u64) -> Option<Cursor> {
        let path = self.index.find(&self.arena, &Target::new(key, Rank::of_seq(seq)));
        let previous = self.arena.previous_of(path.next);
        self.cursor(if path.equal { path.next } else { previous })
    }

    /// The entry after `cursor`.
    #[inline]
    pub fn next(&self, cursor: Cursor) -> Option<Cursor> {
        self.cursor(self.arena.next_of(cursor.0))
    }

    /// The entry before `cursor`.
    #[inline]
    pub fn prev(&self, cursor: Cursor) -> Option<Cursor> {
        self.cursor(self.arena.previous_of(cursor.0))
    }

    /// The key and entry at `cursor`.
    #[inline]
    pub fn at(&self, cursor: Cursor) -> (&[u8], Entry<'_>) {
        (self.key_at(cursor), self.arena.entry_of(cursor.0))
    }

    /// The key at `cursor`.
    #[inline]
    pub fn key_at(&self, cursor: Cursor) -> &[u8] {
        self.arena.key_of(cursor.0)
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
        if self.range_count == RANGES_MAX || len > self.arena.left() {
            return Err(Full);
        }
        let at = self.arena.take(len) as usize;
        let room = &mut self.arena.bytes[at..at + len];
        room[..8].copy_from_slice(&seq.to_le_bytes());
        room[8..10].copy_from_slice(&(start.len() as u16).to_le_bytes());
        room[10..12].copy_from_slice(&(end.len() as u16).to_le_bytes());
        room[12] = u8::from(bounded);
        room[RANGE_HEAD..RANGE_HEAD + start.len()].copy_from_slice(start);
        room[RANGE_HEAD + start.len()..].copy_from_slice(end);
        self.ranges[self.range_count] = at as u32;
        self.range_count += 1;
        Ok(())
    }

    fn range_at(&self, at: u32) -> (&[u8], Option<&[u8]>, u64) {
        let bytes = &self.arena.bytes[at as usize..];
        let start_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let end_len = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        let (start, rest) = bytes[RANGE_HEAD..].split_at(start_len);
        let end = if bytes[12] != 0 { Some(&rest[..end_len]) } else { None };
        (start, end, self.arena.u64_at(at as usize))
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

    /// Checks `M1`.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check_invariants(&self) {
        assert!(self.bytes_used() <= self.arena.bytes.len() && self.range_count <= RANGES_MAX);
        let (mut previous, mut count) = (ENDS, 0);
        let mut entry = self.arena.next_of(ENDS);
        while entry != ENDS {
            count += 1;
            assert!(count <= self.count, "M1: more entries than were inserted, or a cycle");
            let rank = self.arena.entry_of(entry).rank();
            assert_eq!(self.arena.rank_of(entry), rank);
            assert_eq!(self.arena.previous_of(entry), previous, "M1: the way back");
            if previous != ENDS {
                let target = Target::new(self.arena.key_of(entry), rank);
                assert_eq!(self.arena.compare(previous, &target), Ordering::Less, "M1: order");
            }
            previous = entry;
            entry = self.arena.next_of(entry);
        }
        assert_eq!(self.arena.previous_of(ENDS), previous, "M1: the last");
        assert_eq!(count, self.count);
        self.index.check(&self.arena);
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
            small: bool,
        ) {
            let mut arena = vec![0xcc; if small { 1 << 14 } else { 1 << 16 }];
            let mut memtable = Memtable::new(&mut arena);
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
            arena_len in ENTRY_LEN..1500,
        ) {
            let mut arena = vec![0xcc; arena_len];
            let mut memtable = Memtable::new(&mut arena);
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
            let mut memtable = Memtable::new(&mut arena);
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
        let mut memtable = Memtable::new(&mut arena);
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
        let mut memtable = Memtable::new(&mut arena);
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
    fn memtable_of_many_entries_keeps_their_order() {
        let orders: [fn(u64) -> u64; 3] =
            [|n| n, |n| !n, |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3];
        // Keys that differ in their first 8 bytes, and behind them.
        for (order, shift) in orders.iter().flat_map(|order| [(order, 0), (order, 64)]) {
            let mut arena = vec![0; 1 << 20];
            let mut memtable = Memtable::new(&mut arena);
            let key_of = |n: u64| (u128::from(order(n)) << shift).to_be_bytes();
            for n in 0..5000 {
                memtable.insert(&key_of(n), &Entry::tombstone(n)).unwrap();
                assert!(n % 500 > 0 || memtable.get(&key_of(n / 2), n).is_some());
            }
            memtable.check_invariants();
            for n in 0..5000 {
                assert_eq!(memtable.get(&key_of(n), u64::MAX), Some(Entry::tombstone(n)));
            }
        }
    }

    #[test]
    fn memtable_range_past_the_bound_is_full() {
        let mut arena = vec![0; 1 << 16];
        let mut memtable = Memtable::new(&mut arena);
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
            let mut memtable = Memtable::new(&mut arena);
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
