//! LEB128: unsigned integers of 64 or 32 bits in one to ten bytes, low seven bits first.
//!
//! Why: most lengths and sequence numbers are small, and a node holds thousands of them.
//!
//! Invariants:
//! - `V1` A value has exactly one encoding: the shortest. An encoding with a zero last byte, or
//!   with bits past the integer's width, is refused, so `decode` consumes `encoded_len` bytes.
//!   Checked by `decode_any_bytes_consumes_the_shortest_encoding`.
//! - `V2` `decode` reads no byte past the encoding and answers `None` for a cut one.
//!   Checked by `decode_of_cut_encoding_is_none`.
//!
//! Source: the LEB128 definition in DWARF 4, §7.6.

/// The most bytes a `u64` takes.
pub const LEN_MAX: usize = 10;

/// The bytes `value` takes.
#[inline]
pub const fn encoded_len(value: u64) -> usize {
    // One byte for each begun group of seven bits; zero takes one.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes `value` at the start of `out`; `None`, and nothing promised of `out`, if it is too short.
#[inline]
pub fn encode(mut value: u64, out: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    for byte in out.iter_mut().take(LEN_MAX) {
        len += 1;
        if value < 0x80 {
            *byte = value as u8;
            return Some(len);
        }
        *byte = value as u8 | 0x80;
        value >>= 7;
    }
    None
}

/// Reads a `u64` from the start of `bytes`, with the bytes it took.
#[inline]
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    decode_long(bytes)
}

#[inline]
fn decode_long(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(LEN_MAX).enumerate() {
        if index == LEN_MAX - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return if byte == 0 && index > 0 { None } else { Some((value, index + 1)) };
        }
    }
    None
}

/// Reads a `u32`; a larger value is refused.
#[inline]
pub fn decode_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    let (value, len) = decode(bytes)?;
    Some((u32::try_from(value).ok()?, len))
}

/// Reads integers one after another from a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Bytes consumed so far.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (value, len) = decode(self.bytes.get(self.at..)?)?;
        self.at += len;
        Some(value)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.u64()?).ok()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}

/// Writes integers and bytes one after another into a slice.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Writer { bytes, at: 0 }
    }

    /// Bytes written so far.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn u8(&mut self, value: u8) -> Option<()> {
        *self.bytes.get_mut(self.at)? = value;
        self.at += 1;
        Some(())
    }

    #[inline]
    pub(crate) fn u64(&mut self, value: u64) -> Option<()> {
        self.at += encode(value, self.bytes.get_mut(self.at..)?)?;
        Some(())
    }

    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.bytes.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encode_at_group_edges_has_the_shortest_length() {
        let mut out = [0u8; LEN_MAX];
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let len = encode(value, &mut out).unwrap();
                assert_eq!(len, encoded_len(value));
                assert_eq!(decode(&out[..len]), Some((value, len)));
                assert_eq!(encode(value, &mut out[..len - 1]), None);
            }
        }
    }

    #[test]
    fn decode_of_overlong_encoding_is_refused() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0x80, 0]), None);
        assert_eq!(decode(&[0xff; 11]), None);
        let mut widest = [0xff; 10];
        widest[9] = 1;
        assert_eq!(decode(&widest), Some((u64::MAX, 10)));
        widest[9] = 2;
        assert_eq!(decode(&widest), None);
        assert_eq!(decode_u32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(decode_u32(&[0x80, 0x80, 0x80, 0x80, 0x10]), None);
    }

    proptest! {
        #[test]
        fn decode_of_cut_encoding_is_none(value: u64) {
            let mut out = [0u8; LEN_MAX];
            let len = encode(value, &mut out).unwrap();
            for cut in 0..len {
                prop_assert_eq!(decode(&out[..cut]), None);
            }
        }

        #[test]
        fn decode_any_bytes_consumes_the_shortest_encoding(bytes: [u8; 12]) {
            if let Some((value, len)) = decode(&bytes) {
                let mut again = [0u8; LEN_MAX];
                prop_assert_eq!(encode(value, &mut again), Some(len));
                prop_assert_eq!(&again[..len], &bytes[..len]);
            }
        }
    }
}
