//! A digest of a data node: where its values lie, without the keys.
//!
//! Why: with values kept apart, a get of a large value costs one read only if the leaf that names
//! its place is in memory. Of what a leaf spends on such an entry, more than half is the key; yet
//! the key stands before the value in the log and is compared there (`V1`). So memory holds some
//! bits of the key's hash instead, and places in as few bits as those of one leaf differ in: four
//! times as many leaves.
//!
//! Layout, integers little-endian:
//!
//! ```text
//! 0  count u16    2  key_len u8    3  bits of rest, generation, offset, value_len u8 each
//! 7  generation u32    11  value_len u32
//! 15 buckets, lower bits first: of each a 1 for every entry it has, then a 0
//! ..  count entries by bucket, lower bits first: rest, generation, offset, value_len
//! ```
//!
//! The low bits of a key's hash are its bucket (there is at most one for each entry), those above
//! the rest: of hashes that are sorted so, the bits that differ less need not be kept (as with the
//! quotients of Cleary, "Compact Hash Tables Using Bidirectional Linear Probing", 1984). A place's
//! generation is what it is above that of the head, and one more; so is its value's length, without
//! the one.
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

const HEADER: usize = 15;
/// There are at most two to the power of this.
const BUCKET_BITS_MAX: u32 = 8;
/// Bits of a hash that are kept at least, its bucket among them, and at most.
const HASH_BITS: core::ops::RangeInclusive<u32> = 16..=20;
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
    /// Bits of the rest of a hash, a place's generation, its offset and its value's length.
    widths: [u32; 4],
    /// The least of all.
    generation: u32,
    /// The least of all.
    value_len: u32,
}

impl Layout {
    /// That of the digest of `node`, of which as many go into the node's length as can, at most
    /// `share_max`; `None` if it can have none, or not two would.
    pub(crate) fn of(node: &[u8], share_max: usize) -> Option<Self> {
        let data = Data::new(node)?;
        let count = data.count();
        // Most nodes that can have none are told by their ends.
        let is_other =
            |position| data.entry_at(position).is_some_and(|entry| target(&entry).is_none());
        let [first, last] = [data.first_position()?, data.last_position().ok()??];
        if is_other(first) && is_other(last) {
            return None;
        }
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
        let layout = Self {
            count,
            key_len: key_len?,
            widths: [0, width(above(0) + 1), width(most[1]), width(above(2))],
            generation: least[0],
            value_len: least[2],
        };
        let keep = |bits: u32| {
            let mut layout = layout;
            layout.widths[0] = bits - layout.bucket_bits();
            layout
        };
        let mut shares = (2..=share_max).rev().map(|share| node.len() / share);
        shares.find_map(|most| HASH_BITS.rev().map(keep).find(|layout| layout.len() <= most))
    }

    /// That of a digest.
    fn read(digest: &[u8]) -> Self {
        let &[a, b, key_len, rest, generation_bits, offset, len, g, h, i, j, v, w, x, y] =
            digest.first_chunk::<HEADER>().expect("a digest has a head");
        Self {
            count: usize::from(u16::from_le_bytes([a, b])),
            key_len: usize::from(key_len),
            widths: [rest, generation_bits, offset, len].map(u32::from),
            generation: u32::from_le_bytes([g, h, i, j]),
            value_len: u32::from_le_bytes([v, w, x, y]),
        }
    }

    fn bucket_bits(&self) -> u32 {
        self.count.max(1).ilog2().min(BUCKET_BITS_MAX)
    }

    /// Bytes of all buckets.
    fn buckets_len(&self) -> usize {
        (self.count + (1 << self.bucket_bits())).div_ceil(8)
    }

    fn entry_bits(&self) -> usize {
        self.widths.iter().sum::<u32>() as usize
    }

    /// Bytes of the digest.
    pub(crate) fn len(&self) -> usize {
        HEADER + self.buckets_len() + (self.count * self.entry_bits()).div_ceil(8)
    }

    /// The bucket of a hash, and its rest.
    fn split(&self, hash: u64) -> (usize, u32) {
        let (bits, hash) = (self.bucket_bits(), hash as u32);
        ((hash & ((1 << bits) - 1)) as usize, (hash >> bits) & ((1 << self.widths[0]) - 1))
    }

    /// Writes the digest of `node`, whose layout this is, to the head of `out`. `None` if it does
    /// not fit.
    pub(crate) fn write(&self, node: &[u8], seed: u64, out: &mut [u8]) -> Option<()> {
        let data = Data::new(node)?;
        let mut ends = [0u16; 1 << BUCKET_BITS_MAX];
        let ends = &mut ends[..1 << self.bucket_bits()];
        walk(&data, |key, _| {
            ends[self.split(filter::hash(seed, key)).0] += 1;
            Some(())
        })?;
        let out = out.get_mut(..self.len())?;
        out.fill(0);
        let (head, rest) = out.split_at_mut(HEADER);
        head[..2].copy_from_slice(&(self.count as u16).to_le_bytes());
        head[2] = self.key_len as u8;
        head[3..7].copy_from_slice(&self.widths.map(|width| width as u8));
        head[7..11].copy_from_slice(&self.generation.to_le_bytes());
        head[11..].copy_from_slice(&self.value_len.to_le_bytes());
        let (buckets, entries) = rest.split_at_mut(self.buckets_len());
        let mut first = 0;
        for (bucket, end) in ends.iter_mut().enumerate() {
            let next = first + *end;
            for bit in usize::from(first) + bucket..usize::from(next) + bucket {
                buckets[bit / 8] |= 1 << (bit % 8);
            }
            // Of those in the bucket, none is written.
            *end = first;
            first = next;
        }
        walk(&data, |key, target| {
            let (bucket, rest) = self.split(filter::hash(seed, key));
            let [generation, offset, len] = target.map_or([0; 3], |place| {
                let Fragment { generation, offset, len } = place;
                [generation - self.generation + 1, offset, len - self.value_len]
            });
            let mut bit = usize::from(ends[bucket]) * self.entry_bits();
            for (field, width) in [rest, generation, offset, len].into_iter().zip(self.widths) {
                let bytes = (u64::from(field) << (bit % 8)).to_le_bytes();
                for (to, byte) in entries[bit / 8..].iter_mut().zip(bytes) {
                    *to |= byte;
                }
                bit += width as usize;
            }
            ends[bucket] += 1;
            Some(())
        })
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
    let (buckets, entries) = digest[HEADER..].split_at(layout.buckets_len());
    let (bucket, wanted) = layout.split(hash);
    let mut answer = Answer::Absent;
    for index in entries_of(buckets, bucket) {
        let first_bit = index * layout.entry_bits();
        let mut bytes = [0; size_of::<u128>()];
        for (byte, &entry) in bytes.iter_mut().zip(&entries[first_bit / 8..]) {
            *byte = entry;
        }
        let mut entry = u128::from_le_bytes(bytes) >> (first_bit % 8);
        let [rest, generation, offset, len] = layout.widths.map(|width| {
            let field = entry & ((1 << width) - 1);
            entry >>= width;
            field as u32
        });
        if rest != wanted {
            continue;
        }
        if answer != Answer::Absent || generation == 0 {
            return Answer::Unknown;
        }
        answer = Answer::Perhaps(Fragment {
            generation: layout.generation + generation - 1,
            offset,
            len: layout.value_len + len,
        });
    }
    answer
}

/// Which entries a bucket has.
fn entries_of(buckets: &[u8], bucket: usize) -> core::ops::Range<usize> {
    let (mut bit, mut ended) = (0, 0);
    // Bytes at whose end it has not begun.
    for byte in buckets {
        let zeros = byte.count_zeros() as usize;
        if ended + zeros >= bucket {
            break;
        }
        ended += zeros;
        bit += 8;
    }
    let is_set = |bit: usize| buckets.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    while ended < bucket {
        ended += usize::from(!is_set(bit));
        bit += 1;
    }
    let first = bit - bucket;
    while is_set(bit) {
        bit += 1;
    }
    first..bit - bucket
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
            let Some(layout) = Layout::of(&node, 4) else {
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
        assert_eq!(Layout::of(&node(&mixed), 4), None, "keys of two lengths");
        let long = BTreeMap::from([(vec![1; 65], place)]);
        assert_eq!(Layout::of(&node(&long), 4), None, "a long key");
        let large = BTreeMap::from([(vec![1; 4], (place.0, 1 << 32))]);
        assert_eq!(Layout::of(&node(&large), 4), None, "a value of 4 GiB");
        for entry in [Entry::inline(1, b"a"), Entry::tombstone(1)] {
            let mut node = vec![0; 512];
            let mut builder = DataBuilder::new(&mut node);
            assert!(builder.push(&mut node, b"key", &entry));
            builder.finish(&mut node);
            assert_eq!(Layout::of(&node, 4), None);
        }
        assert_eq!(Layout::of(&node(&BTreeMap::new()), 4), None, "no keys");
    }

    #[test]
    fn digest_of_values_alike_takes_few_bits() {
        let place = |index: u32| Place { generation: 70_000 + index, offset: index << 20 };
        let keys = (0..200).map(|index| (vec![index as u8; 16], (place(index), 1 << 20)));
        let layout = Layout::of(&node(&keys.collect()), 4).expect("one");
        // Of 20 bits of a hash, 7 are the bucket's.
        assert_eq!(layout.len(), HEADER + (200 + 128) / 8 + 200 * (13 + 8 + 28) / 8);
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
        let layout = Layout::of(&node, 4).expect("few others");
        assert!(layout.write(&node, SEED, &mut digest).is_some());
        for key in 0..20u8 {
            let answer = look(&digest, filter::hash(SEED, &[key]), 1);
            assert_eq!(answer == Answer::Unknown, key % 10 == 3, "{key}: {answer:?}");
        }
    }
}
