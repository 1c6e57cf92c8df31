//! One version of a key, without the key: what a put, a delete or a range delete left behind.
//!
//! Why: the memtable and the nodes of a run hold the same bytes, so a flush copies instead of
//! translating, and one strict decoder guards both.
//!
//! Layout (FORMAT.md, "Entry"); every integer but the flags is a [`varint`]:
//!
//! ```text
//! flags u8: bits 0..=2 kind, bit 3 meta present, bit 4 sequence number is zero, 5..=7 zero
//! seq                          unless bit 4
//! version_len meta_len meta    if bit 3
//! Inline:    value_len value            Pointer:  value_len generation offset
//! Fragments: count (generation offset len)*       Tombstone: nothing
//! Boundary:  count seq*
//! ```
//!
//! Order: key ascending; within a key a Boundary first, then the highest sequence number first.
//! [`Rank`] is the second half of that order as one integer.
//!
//! Invariants:
//! - `E1` `decode(encode(e)) == e` and both say the same length. `entry_round_trip_is_identity`.
//! - `E2` `decode` of any bytes is `None` or an entry whose typed accessors agree with it: an
//!   Inline body has `value_len` bytes, fragments add up to `value_len`, the sequence numbers of
//!   a Boundary descend strictly. `decode_any_bytes_yields_consistent_entry_or_none`.
//! - `E3` One entry has one encoding: `decode` refuses what `encode` would not write.
//!   `decode_any_bytes_yields_consistent_entry_or_none`.

use core::cmp::Ordering;

use super::varint::{self, Reader, Writer};

/// The highest sequence number an entry may carry; `u64::MAX` would sort with a Boundary.
pub const SEQ_MAX: u64 = u64::MAX - 1;

/// The most bytes [`encode_place`] writes.
pub const PLACE_LEN_MAX: usize = 10;

const KIND_MASK: u8 = 0b111;
const FLAG_META: u8 = 1 << 3;
const FLAG_SEQ_ZERO: u8 = 1 << 4;
const FLAGS_ALL: u8 = KIND_MASK | FLAG_META | FLAG_SEQ_ZERO;

/// What a version is. The values are on media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The value's bytes are in the entry.
    Inline = 0,
    /// The value's bytes are in one log zone.
    Pointer = 1,
    /// The value's bytes are in several pieces.
    Fragments = 2,
    /// The key was deleted.
    Tombstone = 3,
    /// The range-delete state from this key on up to the next Boundary.
    Boundary = 4,
}

impl Kind {
    /// The kind with this value on media.
    #[inline]
    pub const fn from_u8(value: u8) -> Option<Kind> {
        match value {
            0 => Some(Kind::Inline),
            1 => Some(Kind::Pointer),
            2 => Some(Kind::Fragments),
            3 => Some(Kind::Tombstone),
            4 => Some(Kind::Boundary),
            _ => None,
        }
    }
}

/// Where an entry stands among the entries of its key; the lower rank comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64);

impl Rank {
    /// A Boundary's: before every version of its key.
    pub const BOUNDARY: Rank = Rank(0);
    /// After every version of a key but one of sequence number zero, which has this rank.
    pub const LAST: Rank = Rank(u64::MAX);

    /// The rank of the version `seq`; where a reader at the snapshot `seq` begins to look. A `seq`
    /// past [`SEQ_MAX`] stands for [`SEQ_MAX`].
    #[inline]
    pub const fn of_seq(seq: u64) -> Rank {
        if seq > SEQ_MAX { Rank(1) } else { Rank(!seq) }
    }

    /// The rank of an entry of this kind and sequence number.
    #[inline]
    pub const fn new(kind: Kind, seq: u64) -> Rank {
        match kind {
            Kind::Boundary => Rank::BOUNDARY,
            _ => Rank::of_seq(seq),
        }
    }

    /// The rank as an integer; it orders as the rank does.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The rank [`Rank::to_u64`] gave.
    #[inline]
    pub const fn from_u64(value: u64) -> Rank {
        Rank(value)
    }
}

/// The order of entries: key ascending, then rank ascending.
#[inline]
pub fn compare(key_a: &[u8], rank_a: Rank, key_b: &[u8], rank_b: Rank) -> Ordering {
    key_a.cmp(key_b).then(rank_a.cmp(&rank_b))
}

/// Where a value's bytes begin in a log zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which filling of which zone.
    pub generation: u32,
    /// The offset within it, in the units the log defines.
    pub offset: u32,
}

/// One piece of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which filling of which zone.
    pub generation: u32,
    /// The offset within it, in the units the log defines.
    pub offset: u32,
    /// Bytes of the value in this piece.
    pub len: u32,
}

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was written; at most [`SEQ_MAX`].
    pub seq: u64,
    /// What it is.
    pub kind: Kind,
    /// How many bytes of `meta` are the caller's version.
    pub version_len: u16,
    /// The version bytes, then the rest of the caller's attributes.
    pub meta: &'a [u8],
    /// The value's length in bytes; zero for Tombstone and Boundary.
    pub value_len: u64,
    /// By kind: the value, or the encoded place, fragments or sequence numbers.
    pub body: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A value held in the entry itself.
    pub const fn inline(seq: u64, value: &'a [u8]) -> Entry<'a> {
        let value_len = value.len() as u64;
        Entry { seq, kind: Kind::Inline, version_len: 0, meta: &[], value_len, body: value }
    }

    /// A delete.
    pub const fn tombstone(seq: u64) -> Entry<'a> {
        Entry { seq, kind: Kind::Tombstone, version_len: 0, meta: &[], value_len: 0, body: &[] }
    }

    /// A range-delete state; `body` is what [`encode_seqs`] wrote.
    pub const fn boundary(body: &'a [u8]) -> Entry<'a> {
        Entry { seq: 0, kind: Kind::Boundary, version_len: 0, meta: &[], value_len: 0, body }
    }

    /// A value elsewhere; `body` is what [`encode_place`] wrote.
    pub const fn pointer(seq: u64, value_len: u64, body: &'a [u8]) -> Entry<'a> {
        Entry { seq, kind: Kind::Pointer, version_len: 0, meta: &[], value_len, body }
    }

    /// A value in pieces of `value_len` bytes together; `body` is what [`encode_fragments`] wrote.
    pub const fn fragmented(seq: u64, value_len: u64, body: &'a [u8]) -> Entry<'a> {
        Entry { seq, kind: Kind::Fragments, version_len: 0, meta: &[], value_len, body }
    }

    /// The same with the caller's attributes, of which the first `version_len` are the version.
    pub const fn with_meta(mut self, version_len: u16, meta: &'a [u8]) -> Entry<'a> {
        self.version_len = version_len;
        self.meta = meta;
        self
    }

    /// Where it stands among the entries of its key.
    #[inline]
    pub const fn rank(&self) -> Rank {
        Rank::new(self.kind, self.seq)
    }

    /// The caller's version: the first `version_len` bytes of `meta`.
    #[inline]
    pub fn version(&self) -> &'a [u8] {
        self.meta.get(..usize::from(self.version_len)).unwrap_or(self.meta)
    }

    /// The bytes [`Entry::encode`] writes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        let mut len = 1 + self.body.len();
        if self.seq != 0 {
            len += varint::encoded_len(self.seq);
        }
        if !self.meta.is_empty() {
            len += varint::encoded_len(u64::from(self.version_len));
            len += varint::encoded_len(self.meta.len() as u64) + self.meta.len();
        }
        if matches!(self.kind, Kind::Inline | Kind::Pointer) {
            len += varint::encoded_len(self.value_len);
        }
        len
    }

    /// Writes the entry at the start of `out`.
    ///
    /// # Errors
    /// `None` if `out` is too short, or if the lengths disagree with each other: a version longer
    /// than `meta`, an Inline body that is not `value_len` bytes, a Tombstone with a body.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let body_fits_kind = match self.kind {
            Kind::Inline => self.value_len == self.body.len() as u64,
            Kind::Tombstone => self.value_len == 0 && self.body.is_empty(),
            Kind::Boundary => self.value_len == 0,
            Kind::Pointer | Kind::Fragments => true,
        };
        let version_fits = usize::from(self.version_len) <= self.meta.len();
        if !body_fits_kind || !version_fits || self.seq > SEQ_MAX {
            return None;
        }
        debug_assert!(self.kind == Kind::Inline || read_body(self.kind, self.body).is_some());
        let mut flags = self.kind as u8;
        if self.seq == 0 {
            flags |= FLAG_SEQ_ZERO;
        }
        if !self.meta.is_empty() {
            flags |= FLAG_META;
        }
        let mut writer = Writer::new(out);
        writer.u8(flags)?;
        if self.seq != 0 {
            writer.u64(self.seq)?;
        }
        if !self.meta.is_empty() {
            writer.u64(u64::from(self.version_len))?;
            writer.u64(self.meta.len() as u64)?;
            writer.put(self.meta)?;
        }
        if matches!(self.kind, Kind::Inline | Kind::Pointer) {
            writer.u64(self.value_len)?;
        }
        writer.put(self.body)?;
        Some(writer.at())
    }

    /// Reads an entry from the start of `bytes`, with the bytes it took; `None` for anything
    /// [`Entry::encode`] does not write.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Option<(Entry<'a>, usize)> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        if flags & !FLAGS_ALL != 0 {
            return None;
        }
        let kind = Kind::from_u8(flags & KIND_MASK)?;
        let mut seq = 0;
        if flags & FLAG_SEQ_ZERO == 0 {
            seq = reader.u64()?;
            if seq == 0 || seq > SEQ_MAX {
                return None;
            }
        }
        let (mut version_len, mut meta) = (0, &[][..]);
        if flags & FLAG_META != 0 {
            version_len = u16::try_from(reader.u64()?).ok()?;
            let meta_len = reader.u64()?;
            meta = reader.take(meta_len)?;
            if meta.is_empty() || usize::from(version_len) > meta.len() {
                return None;
            }
        }
        let (value_len, body) = match kind {
            Kind::Tombstone => (0, &[][..]),
            Kind::Inline => {
                let value_len = reader.u64()?;
                (value_len, reader.take(value_len)?)
            }
            Kind::Pointer => {
                let value_len = reader.u64()?;
                let (_, len) = read_body(kind, bytes.get(reader.at()..)?)?;
                (value_len, reader.take(len as u64)?)
            }
            Kind::Fragments | Kind::Boundary => {
                let (value_len, len) = read_body(kind, bytes.get(reader.at()..)?)?;
                (value_len, reader.take(len as u64)?)
            }
        };
        Some((Entry { seq, kind, version_len, meta, value_len, body }, reader.at()))
    }

    /// Where a Pointer points; `None` for another kind.
    #[inline]
    pub fn place(&self) -> Option<Place> {
        if self.kind != Kind::Pointer {
            return None;
        }
        let mut reader = Reader::new(self.body);
        Some(Place { generation: reader.u32()?, offset: reader.u32()? })
    }

    /// The pieces of a Fragments entry in the value's order; none for another kind.
    #[inline]
    pub fn fragments(&self) -> Fragments<'a> {
        let body = if self.kind == Kind::Fragments { self.body } else { &[] };
        let mut reader = Reader::new(body);
        let left = reader.u64().unwrap_or(0);
        Fragments { reader, left }
    }

    /// The sequence numbers of a Boundary, highest first; none for another kind.
    #[inline]
    pub fn seqs(&self) -> Seqs<'a> {
        let body = if self.kind == Kind::Boundary { self.body } else { &[] };
        let mut reader = Reader::new(body);
        let left = reader.u64().unwrap_or(0);
        Seqs { reader, left }
    }

    /// Every place outside the entry that holds bytes of the value, as `(generation, offset, len)`:
    /// one for a Pointer, each piece for Fragments, none otherwise.
    #[inline]
    pub fn places(&self) -> impl Iterator<Item = (u32, u32, u64)> + use<'a> {
        let value_len = self.value_len;
        let whole = self.place().map(|place| (place.generation, place.offset, value_len));
        let pieces = self.fragments();
        whole.into_iter().chain(pieces.map(|f| (f.generation, f.offset, u64::from(f.len))))
    }
}

/// Whether `bytes` are a list of fragments, as [`encode_fragments`] writes it, and no more.
#[must_use]
pub fn are_fragments(bytes: &[u8]) -> bool {
    read_body(Kind::Fragments, bytes).is_some_and(|(_, len)| len == bytes.len())
}

/// Checks the body of a Pointer, Fragments or Boundary at the start of `bytes`; the length of the
/// value it describes (zero for a Pointer, which does not know it) and the bytes it takes.
fn read_body(kind: Kind, bytes: &[u8]) -> Option<(u64, usize)> {
    let mut reader = Reader::new(bytes);
    let mut value_len = 0u64;
    match kind {
        Kind::Pointer => {
            reader.u32()?;
            reader.u32()?;
        }
        Kind::Fragments => {
            // Each turn consumes at least three bytes, so a false count ends with the bytes.
            for _ in 0..reader.u64()? {
                reader.u32()?;
                reader.u32()?;
                value_len = value_len.checked_add(u64::from(reader.u32()?))?;
            }
        }
        Kind::Boundary => {
            let mut below = u64::MAX;
            for _ in 0..reader.u64()? {
                let seq = reader.u64()?;
                if seq >= below {
                    return None;
                }
                below = seq;
            }
        }
        Kind::Inline | Kind::Tombstone => {}
    }
    Some((value_len, reader.at()))
}

/// The pieces of a value; see [`Entry::fragments`].
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl Iterator for Fragments<'_> {
    type Item = Fragment;

    #[inline]
    fn next(&mut self) -> Option<Fragment> {
        self.left = self.left.checked_sub(1)?;
        let generation = self.reader.u32()?;
        Some(Fragment { generation, offset: self.reader.u32()?, len: self.reader.u32()? })
    }
}

/// The sequence numbers of a Boundary; see [`Entry::seqs`].
#[derive(Clone, Debug)]
pub struct Seqs<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl Iterator for Seqs<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        self.reader.u64()
    }
}

/// Writes the body of a Pointer; at most [`PLACE_LEN_MAX`] bytes.
pub fn encode_place(place: Place, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(out);
    writer.u64(u64::from(place.generation))?;
    writer.u64(u64::from(place.offset))?;
    Some(writer.at())
}

/// Writes the body of a Fragments entry.
pub fn encode_fragments(fragments: &[Fragment], out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(out);
    writer.u64(fragments.len() as u64)?;
    for fragment in fragments {
        writer.u64(u64::from(fragment.generation))?;
        writer.u64(u64::from(fragment.offset))?;
        writer.u64(u64::from(fragment.len))?;
    }
    Some(writer.at())
}

/// Writes the body of a Boundary; `seqs` must descend strictly.
pub fn encode_seqs(seqs: &[u64], out: &mut [u8]) -> Option<usize> {
    debug_assert!(seqs.is_sorted_by(|a, b| a > b));
    let mut writer = Writer::new(out);
    writer.u64(seqs.len() as u64)?;
    for &seq in seqs {
        writer.u64(seq)?;
    }
    Some(writer.at())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An entry that owns its bytes, for models.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Owned {
        pub(crate) seq: u64,
        pub(crate) kind: Kind,
        pub(crate) version_len: u16,
        pub(crate) meta: Vec<u8>,
        pub(crate) value_len: u64,
        pub(crate) body: Vec<u8>,
    }

    impl Owned {
        pub(crate) fn entry(&self) -> Entry<'_> {
            Entry {
                seq: self.seq,
                kind: self.kind,
                version_len: self.version_len,
                meta: &self.meta,
                value_len: self.value_len,
                body: &self.body,
            }
        }
    }

    fn body() -> impl Strategy<Value = (Kind, u64, Vec<u8>)> {
        let encoded = |write: &dyn Fn(&mut [u8]) -> Option<usize>| {
            let mut out = vec![0u8; 256];
            let len = write(&mut out).unwrap();
            out.truncate(len);
            out
        };
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..40)
                .prop_map(|v| (Kind::Inline, v.len() as u64, v)),
            1 => Just((Kind::Tombstone, 0, vec![])),
            1 => any::<(u64, u32, u32)>().prop_map(move |(value_len, generation, offset)| {
                let place = Place { generation, offset };
                (Kind::Pointer, value_len, encoded(&|out| encode_place(place, out)))
            }),
            1 => prop::collection::vec(any::<(u32, u32, u32)>(), 0..5).prop_map(move |list| {
                let list: Vec<_> = list
                    .into_iter()
                    .map(|(generation, offset, len)| Fragment { generation, offset, len })
                    .collect();
                let value_len = list.iter().map(|f| u64::from(f.len)).sum();
                (Kind::Fragments, value_len, encoded(&|out| encode_fragments(&list, out)))
            }),
            1 => prop::collection::btree_set(0..SEQ_MAX, 0..5).prop_map(move |set| {
                let list: Vec<_> = set.into_iter().rev().collect();
                (Kind::Boundary, 0, encoded(&|out| encode_seqs(&list, out)))
            }),
        ]
    }

    /// Any valid entry; a Boundary has sequence number zero.
    pub(crate) fn owned(seqs: impl Strategy<Value = u64>) -> impl Strategy<Value = Owned> {
        let meta = prop_oneof![Just(vec![]), prop::collection::vec(any::<u8>(), 1..20)];
        (seqs, body(), meta, any::<prop::sample::Index>()).prop_map(|(seq, body, meta, at)| {
            let (kind, value_len, body) = body;
            let seq = if kind == Kind::Boundary { 0 } else { seq };
            Owned { seq, kind, version_len: at.index(meta.len() + 1) as u16, meta, value_len, body }
        })
    }

    #[test]
    fn typed_accessors_return_what_was_encoded() {
        let mut out = [0u8; 64];
        let place = Place { generation: 300, offset: u32::MAX };
        let len = encode_place(place, &mut out).unwrap();
        assert!(len <= PLACE_LEN_MAX);
        let entry = Entry::pointer(9, 77, &out[..len]).with_meta(2, b"vvrest");
        assert_eq!(entry.place(), Some(place));
        assert_eq!(entry.version(), b"vv");
        assert_eq!(entry.places().collect::<Vec<_>>(), [(300, u32::MAX, 77)]);
        assert_eq!(entry.fragments().count() + entry.seqs().count(), 0);

        let list = [
            Fragment { generation: 1, offset: 2, len: 3 },
            Fragment { generation: 4, offset: 5, len: 600 },
        ];
        let len = encode_fragments(&list, &mut out).unwrap();
        let entry = Entry::fragmented(9, 603, &out[..len]);
        assert_eq!(entry.fragments().collect::<Vec<_>>(), list);
        assert_eq!(entry.places().collect::<Vec<_>>(), [(1, 2, 3), (4, 5, 600)]);

        let len = encode_seqs(&[90, 7, 0], &mut out).unwrap();
        let entry = Entry::boundary(&out[..len]);
        assert_eq!(entry.seqs().collect::<Vec<_>>(), [90, 7, 0]);
        assert_eq!(entry.places().count(), 0);
    }

    #[test]
    fn order_within_key_is_boundary_then_newest_first() {
        let newest = Rank::of_seq(SEQ_MAX);
        assert!(Rank::BOUNDARY < newest && newest < Rank::of_seq(0));
        assert_eq!(Rank::of_seq(u64::MAX), newest);
        assert_eq!(Rank::of_seq(0), Rank::LAST);
        assert_eq!(compare(b"a", Rank::LAST, b"b", Rank::BOUNDARY), Ordering::Less);
        assert_eq!(compare(b"a", Rank::of_seq(5), b"a", Rank::of_seq(6)), Ordering::Greater);
    }

    #[test]
    fn encode_of_inconsistent_entry_is_refused() {
        let mut out = [0u8; 64];
        let mut entry = Entry::inline(1, b"abc");
        entry.value_len = 2;
        assert_eq!(entry.encode(&mut out), None);
        assert_eq!(Entry::inline(1, b"abc").with_meta(3, b"xy").encode(&mut out), None);
        assert_eq!(Entry::tombstone(u64::MAX).encode(&mut out), None);
        assert_eq!(Entry { value_len: 1, ..Entry::tombstone(1) }.encode(&mut out), None);
        assert_eq!(Entry { body: b"x", ..Entry::tombstone(1) }.encode(&mut out), None);
    }

    #[test]
    fn decode_of_rising_boundary_seqs_is_refused() {
        let flags = Kind::Boundary as u8 | FLAG_SEQ_ZERO;
        assert!(Entry::decode(&[flags, 2, 7, 6]).is_some());
        assert!(Entry::decode(&[flags, 2, 7, 7]).is_none());
    }

    proptest! {
        #[test]
        fn entry_round_trip_is_identity(owned in owned(0..=SEQ_MAX)) {
            let entry = owned.entry();
            let mut out = vec![0xa5; entry.encoded_len() + 3];
            let len = entry.encode(&mut out).unwrap();
            prop_assert_eq!(len, entry.encoded_len());
            prop_assert_eq!(Entry::decode(&out), Some((entry, len)));
            for cut in 0..len {
                prop_assert_eq!(Entry::decode(&out[..cut]), None);
                prop_assert_eq!(entry.encode(&mut vec![0; cut]), None);
            }
        }

        #[test]
        fn decode_any_bytes_yields_consistent_entry_or_none(
            first in 0u8..32,
            rest in prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..40),
        ) {
            let bytes: Vec<u8> = core::iter::once(first).chain(rest).collect();
            if let Some((entry, len)) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encoded_len(), len);
                let mut again = vec![0; len];
                prop_assert_eq!(entry.encode(&mut again), Some(len));
                prop_assert_eq!(&again, &bytes[..len]);
                if entry.kind == Kind::Fragments {
                    let sum: u64 = entry.fragments().map(|f| u64::from(f.len)).sum();
                    prop_assert_eq!(sum, entry.value_len);
                }
                prop_assert!(entry.seqs().is_sorted_by(|a, b| a > b));
                prop_assert_eq!(entry.place().is_some(), entry.kind == Kind::Pointer);
            }
        }
    }
}
