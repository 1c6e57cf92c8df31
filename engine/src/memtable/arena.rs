//! The memtable's bytes: entries in the order they came, each linked to its neighbours by key.
//!
//! ```text
//! 0   the ends: what looks like an entry, before the first and after the last
//! ..  entries, payloads, ranges and nodes of the index in the order they came, up to `used`
//!
//! entry: rank u64, payload u32, payload_len u32, next u32, previous u32, key_len u16, key
//! ```
//!
//! An entry stays where it is, so its offset names it; 0 means none. A payload is an encoded
//! [`Entry`]; integers are little-endian.

use core::cmp::Ordering;

use crate::format::entry::{Entry, Rank};

const RANK: usize = 0;
const PAYLOAD: usize = 8;
const PAYLOAD_LEN: usize = 12;
const NEXT: usize = 16;
const PREVIOUS: usize = 20;
const KEY_LEN: usize = 24;
/// Bytes of an entry without its key.
pub(super) const ENTRY_LEN: usize = 26;
/// Stands before the first entry and after the last.
pub(super) const ENDS: u32 = 0;

/// A key and rank as searches compare them.
#[derive(Clone, Copy)]
pub(super) struct Target<'k> {
    /// The first 8 bytes of the key, as a number.
    pub(super) prefix: u64,
    pub(super) rank: Rank,
    pub(super) key: &'k [u8],
}

impl<'k> Target<'k> {
    #[inline]
    pub(super) fn new(key: &'k [u8], rank: Rank) -> Self {
        Target { prefix: prefix(key), rank, key }
    }
}

#[inline]
pub(super) fn prefix(key: &[u8]) -> u64 {
    if let Some(whole) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*whole);
    }
    let mut padded = [0u8; 8];
    padded[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(padded)
}

/// Bytes that are taken from the front on, and given back all at once.
#[derive(Debug)]
pub(super) struct Arena<'m> {
    pub(super) bytes: &'m mut [u8],
    pub(super) used: u32,
}

impl Arena<'_> {
    pub(super) fn clear(&mut self) {
        self.bytes[..ENTRY_LEN].fill(0);
        self.used = ENTRY_LEN as u32;
    }

    #[inline]
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.used as usize
    }

    /// Takes so many bytes, which are there.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> u32 {
        let at = self.used;
        self.used += len as u32;
        assert!(self.used as usize <= self.bytes.len());
        at
    }

    #[inline]
    pub(super) fn u16_at(&self, at: usize) -> u16 {
        let bytes = self.bytes[at..at + 2].first_chunk::<2>();
        u16::from_le_bytes(*bytes.expect("two bytes"))
    }

    #[inline]
    pub(super) fn u32_at(&self, at: usize) -> u32 {
        let bytes = self.bytes[at..at + 4].first_chunk::<4>();
        u32::from_le_bytes(*bytes.expect("four bytes"))
    }

    #[inline]
    pub(super) fn u64_at(&self, at: usize) -> u64 {
        let bytes = self.bytes[at..at + 8].first_chunk::<8>();
        u64::from_le_bytes(*bytes.expect("eight bytes"))
    }

    #[inline]
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[inline]
    fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    #[inline]
    pub(super) fn rank_of(&self, entry: u32) -> Rank {
        Rank::from_u64(self.u64_at(entry as usize + RANK))
    }

    #[inline]
    pub(super) fn key_of(&self, entry: u32) -> &[u8] {
        let at = entry as usize;
        let len = usize::from(self.u16_at(at + KEY_LEN));
        &self.bytes[at + ENTRY_LEN..at + ENTRY_LEN + len]
    }

    #[inline]
    pub(super) fn next_of(&self, entry: u32) -> u32 {
        self.u32_at(entry as usize + NEXT)
    }

    #[inline]
    pub(super) fn previous_of(&self, entry: u32) -> u32 {
        self.u32_at(entry as usize + PREVIOUS)
    }

    #[inline]
    pub(super) fn entry_of(&self, entry: u32) -> Entry<'_> {
        let at = self.u32_at(entry as usize + PAYLOAD) as usize;
        let len = self.u32_at(entry as usize + PAYLOAD_LEN) as usize;
        let decoded = Entry::decode(&self.bytes[at..at + len]);
        decoded.expect("a payload this memtable encoded").0
    }

    #[inline]
    pub(super) fn compare(&self, entry: u32, target: &Target<'_>) -> Ordering {
        self.key_of(entry).cmp(target.key).then_with(|| self.rank_of(entry).cmp(&target.rank))
    }

    /// Adds an entry before `next`, for which there is room.
    pub(super) fn insert(
        &mut self,
        target: &Target<'_>,
        entry: &Entry<'_>,
        payload_len: usize,
        next: u32,
    ) -> u32 {
        let key_len = target.key.len();
        let at = self.take(ENTRY_LEN + key_len + payload_len);
        let payload = at as usize + ENTRY_LEN + key_len;
        let previous = self.previous_of(next);
        let head = &mut self.bytes[at as usize..payload + payload_len];
        head[RANK..RANK + 8].copy_from_slice(&target.rank.to_u64().to_le_bytes());
        head[PAYLOAD..PAYLOAD + 4].copy_from_slice(&(payload as u32).to_le_bytes());
        head[PAYLOAD_LEN..PAYLOAD_LEN + 4].copy_from_slice(&(payload_len as u32).to_le_bytes());
        head[NEXT..NEXT + 4].copy_from_slice(&next.to_le_bytes());
        head[PREVIOUS..PREVIOUS + 4].copy_from_slice(&previous.to_le_bytes());
        head[KEY_LEN..KEY_LEN + 2].copy_from_slice(&(key_len as u16).to_le_bytes());
        head[ENTRY_LEN..ENTRY_LEN + key_len].copy_from_slice(target.key);
        let written = entry.encode(&mut head[ENTRY_LEN + key_len..]);
        assert_eq!(written, Some(payload_len), "an entry whose lengths disagree");
        self.put_u32(previous as usize + NEXT, at);
        self.put_u32(next as usize + PREVIOUS, at);
        at
    }

    /// Gives an entry another payload: in the place of the old one if it fits, else at the end.
    /// False if there is no room.
    pub(super) fn replace(&mut self, at: u32, entry: &Entry<'_>, len: usize) -> bool {
        let old_len = self.u32_at(at as usize + PAYLOAD_LEN) as usize;
        let mut payload = self.u32_at(at as usize + PAYLOAD) as usize;
        if len > old_len {
            if len > self.left() {
                return false;
            }
            payload = self.take(len) as usize;
        }
        let written = entry.encode(&mut self.bytes[payload..payload + len]);
        assert_eq!(written, Some(len), "an entry whose lengths disagree");
        self.put_u32(at as usize + PAYLOAD, payload as u32);
        self.put_u32(at as usize + PAYLOAD_LEN, len as u32);
        true
    }
}
