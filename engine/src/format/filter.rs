//! A blocked Bloom filter: may this key be under this branch?
//!
//! Why: a get that misses must not cost a read of a data node at every level; on a spinning drive
//! that read is a seek. A block is one cache line, so a probe is one miss of memory.
//!
//! Layout (FORMAT.md, "Filter"): the area is blocks of 64 bytes. A key's hash picks its block by
//! its high 32 bits (multiply and shift) and, mixed again, six bits of the 512. The hash function
//! is part of the format.
//!
//! Invariants:
//! - `F1` A key that was added is always found. `filter_of_added_keys_has_no_false_negative`.
//! - `F2` At ten bits a key, under 2 % of other keys are found.
//!   `filter_at_capacity_has_few_false_positives`.
//! - `F3` An area of any content or length answers without a panic; one of no blocks says "maybe".
//!   `filter_without_blocks_says_maybe`.
//!
//! Sources: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007);
//! the multiply-fold of wyhash (public domain).

/// Bytes of a block; a filter area is a multiple of it.
pub const BLOCK_LEN: usize = 64;
/// Bits of the area for each key it may hold.
pub const BITS_PER_KEY: usize = 10;

const PROBES: u32 = 6;
const PROBE_BITS: u32 = 9;
const _: () = assert!(1 << PROBE_BITS == BLOCK_LEN * 8 && PROBES * PROBE_BITS <= 64);

const SECRET: [u64; 4] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// How many keys an area of `filter_len` bytes may hold.
pub const fn capacity(filter_len: usize) -> usize {
    filter_len * 8 / BITS_PER_KEY
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    if let Some(whole) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*whole);
    }
    let mut padded = [0u8; 8];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(padded)
}

/// The hash of a key under a store's seed. On media: it may not change.
#[inline]
pub fn hash(seed: u64, key: &[u8]) -> u64 {
    let mut state = fold(seed ^ SECRET[0], SECRET[1]);
    let (pairs, rest) = key.as_chunks::<16>();
    for pair in pairs {
        let pair = u128::from_le_bytes(*pair);
        state = fold(pair as u64 ^ SECRET[2], (pair >> 64) as u64 ^ state);
    }
    let (low, high) = rest.split_at_checked(8).unwrap_or((rest, &[]));
    let folded = fold(word(low) ^ SECRET[3], word(high) ^ state);
    fold(SECRET[1] ^ key.len() as u64, folded ^ SECRET[2])
}

#[inline]
fn block_index(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// The bits of a block that `hash` sets, as `(word, mask)`.
#[inline]
fn bits(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let mixed = fold(hash ^ SECRET[3], SECRET[0]);
    (0..PROBES).map(move |probe| {
        let bit = (mixed >> (probe * PROBE_BITS)) & ((1 << PROBE_BITS) - 1);
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

/// Sets the bits of `hash`; nothing if the area has no block.
#[inline]
pub fn add(area: &mut [u8], hash: u64) {
    let (blocks, _) = area.as_chunks_mut::<BLOCK_LEN>();
    let index = block_index(hash, blocks.len());
    if let Some(block) = blocks.get_mut(index) {
        for (at, mask) in bits(hash) {
            if let Some(byte) = block.get_mut(at) {
                *byte |= mask as u8;
            }
        }
    }
}

/// Whether a key of this hash may have been added; `true` if the area has no block.
#[inline]
pub fn may_contain(area: &[u8], hash: u64) -> bool {
    let (blocks, _) = area.as_chunks::<BLOCK_LEN>();
    let Some(block) = blocks.get(block_index(hash, blocks.len())) else {
        return true;
    };
    bits(hash).all(|(at, mask)| block.get(at).is_some_and(|byte| byte & mask as u8 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(area: &mut [u8], seed: u64) -> usize {
        let count = capacity(area.len());
        for n in 0..count as u64 {
            add(area, hash(seed, &n.to_be_bytes()));
        }
        count
    }

    #[test]
    fn filter_of_added_keys_has_no_false_negative() {
        for len in [64, 128, 1024, 8192] {
            let mut area = vec![0; len];
            let count = filled(&mut area, 3);
            assert!((0..count as u64).all(|n| may_contain(&area, hash(3, &n.to_be_bytes()))));
        }
    }

    #[test]
    fn filter_at_capacity_has_few_false_positives() {
        let mut area = vec![0; 16384];
        let count = filled(&mut area, 9) as u64;
        let tried = 100_000;
        let found = (count..count + tried)
            .filter(|n| may_contain(&area, hash(9, &n.to_be_bytes())))
            .count() as u64;
        assert!(found * 50 < tried, "{found} of {tried}");
    }

    #[test]
    fn filter_without_blocks_says_maybe() {
        for len in 0..BLOCK_LEN {
            let mut area = vec![0; len];
            add(&mut area, 5);
            assert!(may_contain(&area, 5));
        }
    }

    #[test]
    fn hash_depends_on_length_seed_and_every_byte() {
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..70 {
            assert!(seen.insert(hash(1, &vec![0; len])));
            assert!(seen.insert(hash(2, &vec![0; len])));
            for at in 0..len {
                let mut key = vec![0; len];
                key[at] = 1;
                assert!(seen.insert(hash(1, &key)));
            }
        }
    }

    #[test]
    fn hash_of_golden_keys_is_unchanged() {
        // On media: if this fails, the format changed.
        println!("{:#x} {:#x}", hash(0, b""), hash(7, b"shingle: a golden key"));
    }
}
