//! A digest of a data node: where its values lie, without the keys.
//!
//! Why: with values kept apart, a get of a large value costs one read only if the leaf that names
//! its place is in memory. Of what a leaf spends on such an entry, more than half is the key; yet
//! the key stands before the value in the log and is compared there (`V1`). So memory holds two
//! bytes of the key's hash instead, and more than twice as many leaves.
//!
//! Layout, integers little-endian:
//!
//! ```text
//! 0  count u16    2  key_len u16    4  count hashes u16    ..  count places of 10 bytes:
//! value_len u24, generation u24, offset u32
//! ```
//!
//! A digest answers "not here", "perhaps there" or "look yourself". It is made of nodes under whose
//! keys, all of one length, stand whole values kept apart, without metadata: then the bytes before
//! the value are the key and nothing else could stand there. A few other entries (values in
//! fragments, as each zone has one at its end) may be among them; their generation is 0, which no
//! zone has, and the node itself must be asked.
//!
//! Invariants: `I1` "not here" is true. `I2` of the answers "perhaps there" exactly those are wrong
//! that the comparison with the key before the value refuses.

use crate::format::data::Data;
use crate::format::entry::{Fragment, Kind, Place};
use crate::format::filter;
use crate::format::node::KeyBuf;

const HEADER: usize = 4;
const HASH_LEN: usize = 2;
const PLACE_LEN: usize = 10;
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

/// Writes the digest of `node` to `out`. `None` if it can have none; `out` is then of no use.
pub(crate) fn write(node: &[u8], seed: u64, out: &mut [u8]) -> Option<()> {
    let data = Data::new(node)?;
    let count = data.count();
    let places_at = HEADER + count * HASH_LEN;
    let places_len = count * PLACE_LEN;
    if data.has_boundaries() || out.len() < places_at + places_len {
        return None;
    }
    let (head, places) = out.split_at_mut(places_at);
    let (head, hashes) = head.split_at_mut(HEADER);
    let mut room = [0; KEY_LEN_MAX];
    let mut key = KeyBuf::new(&mut room);
    let mut position = data.first(&mut key).ok()?;
    let key_len = key.len;
    let mut others = 0;
    let slots = hashes.chunks_exact_mut(HASH_LEN).zip(places.chunks_exact_mut(PLACE_LEN));
    for (hash, place) in slots {
        let at = position?;
        let entry = data.entry_at(at)?;
        if key.len != key_len {
            return None;
        }
        let plain = entry.kind == Kind::Pointer && entry.meta.is_empty();
        let small = plain && entry.value_len < 1 << 24;
        let target = entry.place().filter(|place| small && place.generation < 1 << 24);
        others += usize::from(target.is_none());
        let target = target.unwrap_or(Place { generation: 0, offset: 0 });
        hash.copy_from_slice(&short(filter::hash(seed, key.key())));
        place[..3].copy_from_slice(&entry.value_len.to_le_bytes()[..3]);
        place[3..6].copy_from_slice(&target.generation.to_le_bytes()[..3]);
        place[6..].copy_from_slice(&target.offset.to_le_bytes());
        position = data.next(at, &mut key).ok()?;
    }
    if others > count / OTHERS_SHARE {
        return None;
    }
    head[..2].copy_from_slice(&(count as u16).to_le_bytes());
    head[2..].copy_from_slice(&(key_len as u16).to_le_bytes());
    Some(())
}

/// Looks a key of this hash and length up.
pub(crate) fn look(digest: &[u8], hash: u64, key_len: usize) -> Answer {
    let count = usize::from(u16::from_le_bytes([digest[0], digest[1]]));
    if usize::from(u16::from_le_bytes([digest[2], digest[3]])) != key_len {
        return Answer::Absent;
    }
    let (hashes, places) = digest[HEADER..].split_at(count * HASH_LEN);
    let wanted = short(hash);
    let mut same = hashes.as_chunks().0.iter().enumerate().filter(|(_, hash)| **hash == wanted);
    let Some((index, _)) = same.next() else { return Answer::Absent };
    if same.next().is_some() {
        return Answer::Unknown;
    }
    let (places, _) = places.as_chunks::<PLACE_LEN>();
    let &[a, b, c, d, e, f, g, h, i, j] = &places[index];
    let generation = u32::from_le_bytes([d, e, f, 0]);
    if generation == 0 {
        return Answer::Unknown;
    }
    Answer::Perhaps(Fragment {
        generation,
        offset: u32::from_le_bytes([g, h, i, j]),
        len: u32::from_le_bytes([a, b, c, 0]),
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
    use crate::format::entry::{Entry, encode_place};
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
                (1u32..1 << 24, any::<u32>(), 0u64..1 << 24), 0..400),
            other in prop::collection::vec(any::<u8>(), 8..10),
        ) {
            let keys: BTreeMap<_, _> = keys
                .into_iter()
                .map(|(key, (generation, offset, len))| (key, (Place { generation, offset }, len)))
                .collect();
            let mut digest = vec![0xee; 8192];
            prop_assert!(write(&node(&keys), SEED, &mut digest).is_some());
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
        let mut out = vec![0; 8192];
        let mixed = BTreeMap::from([(vec![1; 4], place), (vec![2; 5], place)]);
        assert!(write(&node(&mixed), SEED, &mut out).is_none(), "keys of two lengths");
        let long = BTreeMap::from([(vec![1; 65], place)]);
        assert!(write(&node(&long), SEED, &mut out).is_none(), "a long key");
        let large = BTreeMap::from([(vec![1; 4], (place.0, 1 << 24))]);
        assert!(write(&node(&large), SEED, &mut out).is_none(), "a value of 16 MiB");
        let old = Place { generation: 1 << 24, offset: 0 };
        assert!(write(&node(&BTreeMap::from([(vec![1], (old, 1))])), SEED, &mut out).is_none());
        for entry in [Entry::inline(1, b"a"), Entry::tombstone(1)] {
            let mut node = vec![0; 512];
            let mut builder = DataBuilder::new(&mut node);
            assert!(builder.push(&mut node, b"key", &entry));
            builder.finish(&mut node);
            assert!(write(&node, SEED, &mut out).is_none());
        }
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
        assert!(write(&node, SEED, &mut digest).is_some());
        for key in 0..20u8 {
            let answer = look(&digest, filter::hash(SEED, &[key]), 1);
            assert_eq!(answer == Answer::Unknown, key % 10 == 3, "{key}: {answer:?}");
        }
    }
}
