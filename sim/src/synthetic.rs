//! Synthetic values: bytes that look random, can be made again from any offset, and say by
//! themselves where they come from.
//!
//! A stream is a row of *cells* of 16 bytes. Cell `i` of stream `seed` is the pair `(seed, i)`
//! under a fixed permutation of 128 bits, three Feistel rounds of multiply and fold. So any part is
//! regenerated from `(seed, offset)`; and two neighbouring cells, wherever they are found, give
//! back seed and offset, with 92 bits of check (equal seeds, successive small indices). A drive
//! that is filled with such values need not keep them: see the drive's contents.
//!
//! Values do not compress, and equal seeds give equal values: use a seed of its own for each.

/// Bytes of a cell.
pub const CELL_LEN_BYTES: usize = 16;

/// Bytes in which [`find`] is sure to find a stream if all of them belong to one.
pub const WINDOW_LEN_BYTES: usize = 3 * CELL_LEN_BYTES - 1;

/// No offset reaches this: what makes a cell index recognisable.
pub const OFFSET_END: u64 = 1 << 40;

/// One round: a 64-bit product, folded.
#[inline(always)]
const fn fold(x: u64, key: u64, factor: u64) -> u64 {
    let product = (x ^ key) as u128 * factor as u128;
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline(always)]
const fn round_a(x: u64) -> u64 {
    fold(x, 0x243f_6a88_85a3_08d3, 0x9e37_79b9_7f4a_7c15)
}

#[inline(always)]
const fn round_b(x: u64) -> u64 {
    fold(x, 0x1319_8a2e_0370_7344, 0xd6e8_feb8_6659_fd93)
}

#[inline(always)]
const fn round_c(x: u64) -> u64 {
    fold(x, 0xa409_3822_299f_31d0, 0xa076_1d64_78bd_642f)
}

/// Cell `index` of stream `seed`.
#[inline(always)]
const fn cell(seed: u64, index: u64) -> u128 {
    let left = seed ^ round_a(index);
    let right = index ^ round_b(left);
    let left = left ^ round_c(right);
    (right as u128) << 64 | left as u128
}

/// The seed and index of which `cell` is made.
#[inline(always)]
const fn source(cell: u128) -> (u64, u64) {
    let right = (cell >> 64) as u64;
    let left = cell as u64 ^ round_c(right);
    let index = right ^ round_b(left);
    (left ^ round_a(index), index)
}

/// Writes the bytes of stream `seed` from `offset` on into `out`.
///
/// # Panics
/// If the last byte lies at or above [`OFFSET_END`].
pub fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    assert!(offset + out.len() as u64 <= OFFSET_END, "offset {offset}");
    let skip = (offset % CELL_LEN_BYTES as u64) as usize;
    let mut index = offset / CELL_LEN_BYTES as u64;
    let first = if skip == 0 { 0 } else { (CELL_LEN_BYTES - skip).min(out.len()) };
    let (head, rest) = out.split_at_mut(first);
    if first > 0 {
        head.copy_from_slice(&cell(seed, index).to_le_bytes()[skip..skip + first]);
        index += 1;
    }
    let (cells, rest) = rest.as_chunks_mut::<CELL_LEN_BYTES>();
    for bytes in cells {
        *bytes = cell(seed, index).to_le_bytes();
        index += 1;
    }
    if !rest.is_empty() {
        rest.copy_from_slice(&cell(seed, index).to_le_bytes()[..rest.len()]);
    }
}

/// A synthetic value: `len` bytes of stream `seed` from its beginning.
#[must_use]
pub fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(seed, 0, &mut bytes);
    bytes
}

/// How many bytes at the start of `bytes` are those of stream `seed` from `offset` on.
#[must_use]
pub fn match_len(seed: u64, offset: u64, bytes: &[u8]) -> usize {
    let left = OFFSET_END.saturating_sub(offset).min(bytes.len() as u64);
    let bytes = &bytes[..left as usize];
    let same = |bytes: &[u8], index: u64, skip: usize| {
        let want = cell(seed, index).to_le_bytes();
        bytes.iter().zip(&want[skip..]).take_while(|(a, b)| a == b).count()
    };
    let skip = (offset % CELL_LEN_BYTES as u64) as usize;
    let mut index = offset / CELL_LEN_BYTES as u64;
    let first = if skip == 0 { 0 } else { (CELL_LEN_BYTES - skip).min(bytes.len()) };
    let (head, rest) = bytes.split_at(first);
    if first > 0 {
        let count = same(head, index, skip);
        if count < first {
            return count;
        }
        index += 1;
    }
    let (cells, rest) = rest.as_chunks::<CELL_LEN_BYTES>();
    for (i, bytes) in cells.iter().enumerate() {
        if u128::from_le_bytes(*bytes) != cell(seed, index) {
            return first + i * CELL_LEN_BYTES + same(bytes, index, 0);
        }
        index += 1;
    }
    first + cells.len() * CELL_LEN_BYTES + same(rest, index, 0)
}

/// How many bytes at the end of `bytes` are those of stream `seed` that end before `offset`.
#[must_use]
pub fn match_len_back(seed: u64, offset: u64, bytes: &[u8]) -> usize {
    let mut count = 0;
    for &byte in bytes.iter().rev() {
        let Some(at) = offset.checked_sub(count as u64 + 1) else {
            break;
        };
        let cell = cell(seed, at / CELL_LEN_BYTES as u64).to_le_bytes();
        if cell[(at % CELL_LEN_BYTES as u64) as usize] != byte {
            break;
        }
        count += 1;
    }
    count
}

/// Where a stream passes through a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which stream.
    pub seed: u64,
    /// The first byte of the window that begins a cell.
    pub at: usize,
    /// The offset of that byte in the stream.
    pub offset: u64,
}

/// Looks for two whole neighbouring cells of a stream, at any alignment, within the first
/// [`WINDOW_LEN_BYTES`] of `window`.
///
/// # Cost
/// Without a stream, 16 inversions of a cell: tens of nanoseconds.
#[must_use]
pub fn find(window: &[u8]) -> Option<Found> {
    let starts = window.windows(2 * CELL_LEN_BYTES).take(CELL_LEN_BYTES);
    for (at, bytes) in starts.enumerate() {
        let (cells, _) = bytes.as_chunks::<CELL_LEN_BYTES>();
        let (seed, index) = source(u128::from_le_bytes(cells[0]));
        if index >= OFFSET_END / CELL_LEN_BYTES as u64 {
            continue;
        }
        if cell(seed, index + 1) == u128::from_le_bytes(cells[1]) {
            let offset = index * CELL_LEN_BYTES as u64;
            return Some(Found { seed, at, offset });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_regenerated_from_seed_and_offset() {
        let whole = value(0xfeed, 500);
        for from in 0..60 {
            for to in from..whole.len() {
                let mut part = vec![0; to - from];
                fill(0xfeed, from as u64, &mut part);
                assert_eq!(part, whole[from..to]);
                assert_eq!(match_len(0xfeed, from as u64, &whole[from..to]), to - from);
            }
        }
    }

    #[test]
    fn stream_is_found_at_every_alignment() {
        let whole = value(77, 4096);
        for from in 0..100 {
            let window = &whole[from..from + WINDOW_LEN_BYTES];
            let found = find(window).unwrap();
            assert_eq!((found.seed, found.offset), (77, (from + found.at) as u64));
        }
        assert_eq!(find(&[0; WINDOW_LEN_BYTES]), None);
        assert_eq!(find(&whole[..20]), None);
    }

    #[test]
    fn match_ends_at_the_first_byte_that_differs() {
        let mut bytes = value(5, 256);
        for at in 0..256 {
            bytes[at] ^= 1;
            assert_eq!(match_len(5, 0, &bytes), at);
            assert_eq!(match_len_back(5, 256, &bytes), 255 - at);
            bytes[at] ^= 1;
        }
        assert_eq!(match_len_back(5, 256, &bytes), 256);
        assert_eq!(match_len_back(5, 10, &bytes[..10]), 10);
    }

    #[test]
    fn bytes_are_spread_evenly_and_neighbours_differ_in_half_their_bits() {
        let bytes = value(1, 1 << 20);
        let mut counts = [0_u32; 256];
        bytes.iter().for_each(|&b| counts[usize::from(b)] += 1);
        assert!(counts.iter().all(|&n| (3700..4500).contains(&n)), "{counts:?}");
        for other in [value(1 ^ (1 << 63), 1 << 16), value(2, 1 << 16), bytes[16..].to_vec()] {
            let pairs = bytes.iter().zip(&other).take(1 << 16);
            let flipped: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
            assert!((260_000..264_300).contains(&flipped), "{flipped}");
        }
    }
}
