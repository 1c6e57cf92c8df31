//! A digest of a data node: where its values lie, without the keys.
//!
//! Why: with values kept apart, a get of a large value costs one read only if the leaf that names
//! its place is in memory. Of what a leaf spends on such an entry, more than half is the key; yet
//! the key stands before the value in the log and is compared there (`V1`). So memory holds two
//! bytes of the key's hash instead, and places in as few bits as those of one leaf differ in: four
//! times as many leaves.
//!
//! Layout, integers little-endian:
//!
//! ```text
//! 0  count u16    2  key_len u8    3  bits of a place's generation, offset, value_len u8 each
//! 6  generation u32    10  value_len u32    14  count hashes u16
//! ..  count places, one behind another, lower bits first: generation, offset, value_len
//! ```
//!
//! A place's generation is what it is above that of the head, and one more; so is its value's
//! length, without the one.
//!
//! A digest answers "not here", "perhaps there" or "look yourself". It is made of nodes under whose
//! keys, all of one length, stand whole values kept apart, without metadata: then the bytes before
//! the value are the key and nothing else could stand there. A few other entries (values in
//! fragments, as each zone has one at its end) may be among them; their generation is 0, and the
//! node itself must be asked.
//!
//! Invariants: `I1` "not here" is true. `I2` of the answers "perhaps there" exactly those are wrong
//! that the comparison with the key before the value refuses.

use crate::format::data::Data;
use crate::format::entry::{Entry, Fragment, Kind};
use crate::format::filter;
use crate::format::node::KeyBuf;

const HEADER: usize = 14;
const HASH_LEN: usize = 2;
/// One in so many entries may be of another kind.
const OTHERS_SHARE: usize = 8;
/// The longest key that nodes with a digest have.
const KEY_LEN_MAX: usize = 64;

/// What a digest says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The node has no entry of the key.
    Absent,
    /// If the node has the key, its value is here.
    Perhaps(Fragment),
    /// The node itself must be asked.
    Unknown,
}

/// How a digest is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    count: usize,
    key_len: usize,
    /// Bits of a place's generation, offset and value's length.
    widths: [u32; 3],
    /// The least of all.
    generation: u32,
    /// The least of all.
    value_len: u32,
}

impl Layout {
    /// That of the digest of `node`; `None` if it can have none.
    pub(crate) fn of(node: &[u8]) -> Option<Self> {
        let data = Data::new(node)?;
        let count = data.count();
        let (mut key_len, mut others) = (None, 0);
        let (mut least, mut most) = ([u32::MAX; 3], [0; 3]);
        walk(&data, |key, target| {
            if *key_len.get_or_insert(key.len()) != key.len() {
                return None;
            }
            let Some(Fragment { generation, offset, len }) = target else {
                others += 1;
                return (others <= count / OTHERS_SHARE).then_some(());
            };
            for (index, field) in [generation, offset, len].into_iter().enumerate() {
                least[index] = least[index].min(field);
                most[index] = most[index].max(field);
            }
            Some(())
        })?;
        let above = |index: usize| most[index].saturating_sub(least[index]);
        Some(Self {
            count,
            key_len: key_len?,
            widths: [width(above(0) + 1), width(most[1]), width(above(2))],
            generation: least[0],
            value_len: least[2],
        })
    }

    /// That of a digest.
    fn read(digest: &[u8]) -> Self {
        let &[a, b, key_len, generation_bits, offset_bits, len_bits, g, h, i, j, v, w, x, y] =
            digest.first_chunk::<HEADER>().expect("a digest has a head");
        Self {
            count: usize::from(u16::from_le_bytes([a, b])),
            key_len: usize::from(key_len),
            widths: [generation_bits, offset_bits, len_bits].map(u32::from),
            generation: u32::from_le_bytes([g, h, i, j]),
            value_len: u32::from_le_bytes([v, w, x, y]),
        }
    }

    fn place_bits(&self) -> usize {
        self.widths.iter().sum::<u32>() as usize
    }

    /// Bytes of the digest.
    pub(crate) fn len(&self) -> usize {
        HEADER + self.count * HASH_LEN + (self.count * self.place_bits()).div_ceil(8)
    }

    /// Writes the digest of `node`, whose layout this is, to the head of `out`. `None` if it does
    /// not fit.
    pub(crate) fn write(&self, node: &[u8], seed: u64, out: &mut [u8]) -> Option<()> {
        let (head, rest) = out.split_at_mut_checked(HEADER)?;
        head[..2].copy_from_slice(&(self.count as u16).to_le_bytes());
        head[2] = self.key_len as u8;
        head[3..6].copy_from_slice(&self.widths.map(|width| width as u8));
        head[6..10].copy_from_slice(&self.generation.to_le_bytes());
        head[10..].copy_from_slice(&self.value_len.to_le_bytes());
        let (mut hashes, mut places) = rest.split_at_mut_checked(self.count * HASH_LEN)?;
        let (mut held, mut held_bits) = (0u128, 0);
        walk(&Data::new(node)?, |key, target| {
            hashes.split_off_mut(..HASH_LEN)?.copy_from_slice(&short(filter::hash(seed, key)));
            let fields = target.map_or([0; 3], |Fragment { generation, offset, len }| {
                [generation - self.generation + 1, offset, len - self.value_len]
            });
            for (field, width) in fields.into_iter().zip(self.widths) {
                held |= u128::from(field) << held_bits;
                held_bits += width;
            }
            while held_bits >= 8 {
                *places.split_off_first_mut()? = held as u8;
                (held, held_bits) = (held >> 8, held_bits - 8);
            }
            Some(())
        })?;
        if held_bits > 0 {
            *places.split_off_first_mut()? = held as u8;
        }
        Some(())
    }
}

/// Bits that a number takes which is at most this.
fn width(most: u32) -> u32 {
    u32::BITS - most.leading_zeros()
}

/// Gives each key of a node to `visit`, with the place of its value where a digest can say that;
/// `None` if the node can have none, or `visit` says so.
fn walk(
    data: &Data<'_>,
    mut visit: impl FnMut(&[u8], Option<Fragment>) -> Option<()>,
) -> Option<()> {
    if data.has_boundaries() {
        return None;
    }
    let mut room = [0; KEY_LEN_MAX];
    let mut key = KeyBuf::new(&mut room);
    let mut position = data.first(&mut key).ok()?;
    for _ in 0..data.count() {
        let at = position?;
        visit(key.key(), target(&data.entry_at(at)?))?;
        position = data.next(at, &mut key).ok()?;
    }
    Some(())
}

/// Where the whole value of an entry without metadata is.
fn target(entry: &Entry<'_>) -> Option<Fragment> {
    let plain = entry.kind == Kind::Pointer && entry.meta.is_empty();
    let place = entry.place().filter(|place| plain && place.generation > 0)?;
    let len = u32::try_from(entry.value_len).ok()?;
    Some(Fragment { generation: place.generation, offset: place.offset, len })
}

/// Bytes of the digest that `digest` begins with.
pub(crate) fn len(digest: &[u8]) -> usize {
    Layout::read(digest).len()
}

/// Looks a key of this hash and length up in the digest that `digest` begins with.
pub(crate) fn look(digest: &[u8], hash: u64, key_len: usize) -> Answer {
    let layout = Layout::read(digest);
    if layout.key_len != key_len {
        return Answer::Absent;
    }
    let (hashes, places) = digest[HEADER..].split_at(layout.count * HASH_LEN);
    let wanted = short(hash);
    let mut same = hashes.as_chunks().0.iter().enumerate().filter(|(_, hash)| **hash == wanted);
    let Some((index, _)) = same.next() else { return Answer::Absent };
    if same.next().is_some() {
        return Answer::Unknown;
    }
    let first_bit = index * layout.place_bits();
    let mut bytes = [0; size_of::<u128>()];
    for (byte, &place) in bytes.iter_mut().zip(&places[first_bit / 8..]) {
        *byte = place;
    }
    let mut place = u128::from_le_bytes(bytes) >> (first_bit % 8);
    let fields = layout.widths.map(|width| {
        let field = place & ((1 << width) - 1);
        place >>= width;
        field as u32
    });
    let [generation, offset, len] = fields;
    if generation == 0 {
        return Answer::Unknown;
    }
    Answer::Perhaps(Fragment {
        generation: layout.generation + generation - 1,
        offset,
        len: layout.value_len + len,
    })
}

/// The bits of the hash that a digest keeps; the filters use others first.
fn short(hash: u64) -> [u8; HASH_LEN] {
    (hash as u16).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::data::DataBuilder;
    use crate::format::entry::{Place, encode_place};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SEED: u64 = 7;

    fn node(places: &BTreeMap<Vec<u8>, (Place, u64)>) -> Vec<u8> {
        let mut node = vec![0; 16384];
        let mut builder = DataBuilder::new(&mut node);
        for (key, &(place, value_len)) in places {
            let mut body = [0; 10];
            let len = encode_place(place, &mut body).expect("fits");
            let entry = Entry::pointer(1, value_len, &body[..len]);
            assert!(builder.push(&mut node, key, &entry), "small enough");
        }
        builder.finish(&mut node);
        node
    }

    proptest! {
        #[test]
        fn digest_of_a_node_leads_to_every_value_and_denies_no_key(
            keys in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 9),
                (any::<u32>(), any::<u32>(), any::<u32>()),
                0..400,
            ),
            masks in (any::<u32>(), any::<u32>(), any::<u32>()),
            other in prop::collection::vec(any::<u8>(), 8..10),
        ) {
            let keys: BTreeMap<_, _> = keys
                .into_iter()
                .map(|(key, (generation, offset, len))| {
                    let generation = (generation & masks.0).max(1);
                    let place = Place { generation, offset: offset & masks.1 };
                    (key, (place, u64::from(len & masks.2)))
                })
                .collect();
            let mut digest = vec![0xee; 8192];
            let node = node(&keys);
            let Some(layout) = Layout::of(&node) else {
                prop_assert!(keys.is_empty());
                return Ok(());
            };
            prop_assert!(layout.write(&node, SEED, &mut digest).is_some());
            prop_assert_eq!(len(&digest), layout.len());
            prop_assert!(digest[layout.len()..].iter().all(|&byte| byte == 0xee));
            for (key, (place, len)) in &keys {
                let Place { generation, offset } = *place;
                match look(&digest, filter::hash(SEED, key), key.len()) {
                    Answer::Perhaps(found) => {
                        prop_assert_eq!(found, Fragment { generation, offset, len: *len as u32 });
                    }
                    answer => prop_assert_eq!(answer, Answer::Unknown),
                }
            }
            if !keys.contains_key(&other) && other.len() != 9 {
                let answer = look(&digest, filter::hash(SEED, &other), other.len());
                prop_assert_eq!(answer, Answer::Absent);
            }
        }
    }

    #[test]
    fn digest_of_other_entries_is_refused() {
        let place = (Place { generation: 5, offset: 6 }, 700);
        let mixed = BTreeMap::from([(vec![1; 4], place), (vec![2; 5], place)]);
        assert_eq!(Layout::of(&node(&mixed)), None, "keys of two lengths");
        let long = BTreeMap::from([(vec![1; 65], place)]);
        assert_eq!(Layout::of(&node(&long)), None, "a long key");
        let large = BTreeMap::from([(vec![1; 4], (place.0, 1 << 32))]);
        assert_eq!(Layout::of(&node(&large)), None, "a value of 4 GiB");
        for entry in [Entry::inline(1, b"a"), Entry::tombstone(1)] {
            let mut node = vec![0; 512];
            let mut builder = DataBuilder::new(&mut node);
            assert!(builder.push(&mut node, b"key", &entry));
            builder.finish(&mut node);
            assert_eq!(Layout::of(&node), None);
        }
        assert_eq!(Layout::of(&node(&BTreeMap::new())), None, "no keys");
    }

    #[test]
    fn digest_of_values_alike_takes_few_bits() {
        let place = |index: u32| Place { generation: 70_000 + index, offset: index << 20 };
        let keys = (0..200).map(|index| (vec![index as u8; 16], (place(index), 1 << 20)));
        let layout = Layout::of(&node(&keys.collect())).expect("one");
        assert_eq!(layout.len(), HEADER + 200 * 2 + 200 * (8 + 28) / 8);
    }

    #[test]
    fn digest_with_a_few_other_entries_sends_to_the_node_for_them() {
        let mut node = vec![0; 4096];
        let mut builder = DataBuilder::new(&mut node);
        let mut body = [0; 10];
        let len = encode_place(Place { generation: 5, offset: 6 }, &mut body).expect("fits");
        for key in 0..20u8 {
            let pointer = Entry::pointer(1, 700, &body[..len]);
            let entry = if key % 10 == 3 { Entry::tombstone(1) } else { pointer };
            assert!(builder.push(&mut node, &[key], &entry));
        }
        builder.finish(&mut node);
        let mut digest = vec![0; 2048];
        let layout = Layout::of(&node).expect("few others");
        assert!(layout.write(&node, SEED, &mut digest).is_some());
        for key in 0..20u8 {
            let answer = look(&digest, filter::hash(SEED, &[key]), 1);
            assert_eq!(answer == Answer::Unknown, key % 10 == 3, "{key}: {answer:?}");
        }
    }
}
