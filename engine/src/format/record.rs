//! Log records and the operations in them. Layout: `FORMAT.md` §5.
//!
//! The log of a zone is a stream of bytes, cut into the payloads of sealed blocks. A record is a
//! header of 32 bytes and its operations; it takes effect as a whole or not at all, which is what
//! makes a batch atomic. A zero byte where a header would start means that the rest of the block
//! is padding.
//!
//! Invariants: `R1` decoding never reads outside its input and never panics (test
//! `record_of_any_bytes_never_panics`). `R2` a record lies in one zone.

use super::edit::LogPlace;
use super::seal::{checksum, le_u32};

/// Bytes of a record header.
pub const RECORD_HEADER_LEN: usize = 32;
/// Bytes of an operation header.
pub const OP_HEADER_LEN: usize = 16;

/// What a record is for. Values are on media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// Operations that were committed.
    Commit = 1,
    /// A part of a large value; takes effect only through a later commit that names it.
    Fragment = 2,
    /// A value that reclaim moved, with the sequence number it always had.
    Moved = 3,
    /// Nothing more in this zone; the log goes on in its next zone.
    End = 4,
    /// What replay needs of the records before it.
    Index = 5,
    /// What another record says of keys and small values, on another storage element.
    Mirror = 6,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What it is for.
    pub kind: RecordKind,
    /// Number of operations.
    pub op_count: u16,
    /// Bytes of the record, header included.
    pub len: u32,
    /// Sequence number of the first operation; the others follow by one.
    pub seq: u64,
    /// Where the record starts in its zone's payload.
    pub offset: u32,
    /// What was synced before the record was appended: the whole log up to this place. A record
    /// that is whole says so truly, whether it was ever acknowledged or not. Generation 0 says
    /// nothing.
    pub durable: LogPlace,
}

impl RecordHeader {
    /// Writes the header.
    pub fn encode(&self) -> [u8; RECORD_HEADER_LEN] {
        let mut out = [0; RECORD_HEADER_LEN];
        out[0] = self.kind as u8;
        out[2..4].copy_from_slice(&self.op_count.to_le_bytes());
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..16].copy_from_slice(&self.seq.to_le_bytes());
        out[16..20].copy_from_slice(&self.offset.to_le_bytes());
        out[20..24].copy_from_slice(&self.durable.generation.to_le_bytes());
        out[24..28].copy_from_slice(&self.durable.offset.to_le_bytes());
        let check = checksum(&out[..28]);
        out[28..].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads a header; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER_LEN] = bytes.get(..RECORD_HEADER_LEN)?.try_into().ok()?;
        if checksum(&bytes[..28]) != le_u32(&bytes[28..]) {
            return None;
        }
        let kind = match bytes[0] {
            1 => RecordKind::Commit,
            2 => RecordKind::Fragment,
            3 => RecordKind::Moved,
            4 => RecordKind::End,
            5 => RecordKind::Index,
            6 => RecordKind::Mirror,
            _ => return None,
        };
        let header = Self {
            kind,
            op_count: u16::from_le_bytes([bytes[2], bytes[3]]),
            len: le_u32(&bytes[4..]),
            seq: u64::from(le_u32(&bytes[8..])) | u64::from(le_u32(&bytes[12..])) << 32,
            offset: le_u32(&bytes[16..]),
            durable: LogPlace { generation: le_u32(&bytes[20..]), offset: le_u32(&bytes[24..]) },
        };
        (header.len as usize >= RECORD_HEADER_LEN).then_some(header)
    }
}

/// What an operation does. Values are on media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpKind {
    /// Sets a key to the value that follows.
    Put = 1,
    /// Removes a key.
    Delete = 2,
    /// Removes every key from the operation's key up to, not including, the one in its value.
    DeleteRange = 3,
    /// Removes every key from the operation's key on.
    DeleteFrom = 4,
    /// Sets a key to the value whose fragments are listed.
    PutFragments = 5,
    /// Bytes of a value, to be listed by a `PutFragments`.
    Fragment = 6,
}

/// The header of an operation; key, metadata and value follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpHeader {
    /// What it does.
    pub kind: OpKind,
    /// Bytes of the key.
    pub key_len: u16,
    /// Bytes of the version, the first part of the metadata.
    pub version_len: u16,
    /// Bytes of the metadata.
    pub meta_len: u16,
    /// Bytes of the value as it stands here.
    pub value_len: u32,
    /// Generation of the zone that reclaim moved it from; 0 if it did not move it.
    pub moved_from: u32,
}

impl OpHeader {
    /// Bytes of the operation, header included.
    #[must_use]
    pub fn op_len(&self) -> usize {
        // Where an address has 32 bits, a length of 4 GiB is more than any record has.
        (OP_HEADER_LEN + self.head_len()).saturating_add(self.value_len as usize)
    }

    /// Whether its value stays in the log and is pointed to.
    #[must_use]
    pub fn is_apart(&self, separate_from: u32) -> bool {
        self.kind == OpKind::Put && self.value_len >= separate_from
    }

    /// Bytes of key and metadata.
    #[must_use]
    pub fn head_len(&self) -> usize {
        usize::from(self.key_len) + usize::from(self.meta_len)
    }

    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; OP_HEADER_LEN] {
        let mut out = [0; OP_HEADER_LEN];
        out[0] = self.kind as u8;
        out[2..4].copy_from_slice(&self.key_len.to_le_bytes());
        out[4..6].copy_from_slice(&self.version_len.to_le_bytes());
        out[6..8].copy_from_slice(&self.meta_len.to_le_bytes());
        out[8..12].copy_from_slice(&self.value_len.to_le_bytes());
        out[12..].copy_from_slice(&self.moved_from.to_le_bytes());
        out
    }

    /// Reads a header; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; OP_HEADER_LEN] = bytes.get(..OP_HEADER_LEN)?.try_into().ok()?;
        let kind = match bytes[0] {
            1 => OpKind::Put,
            2 => OpKind::Delete,
            3 => OpKind::DeleteRange,
            4 => OpKind::DeleteFrom,
            5 => OpKind::PutFragments,
            6 => OpKind::Fragment,
            _ => return None,
        };
        let header = Self {
            kind,
            key_len: u16::from_le_bytes([bytes[2], bytes[3]]),
            version_len: u16::from_le_bytes([bytes[4], bytes[5]]),
            meta_len: u16::from_le_bytes([bytes[6], bytes[7]]),
            value_len: le_u32(&bytes[8..]),
            moved_from: le_u32(&bytes[12..]),
        };
        (header.version_len <= header.meta_len).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn record_of_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = RecordHeader::decode(&bytes);
            let _ = OpHeader::decode(&bytes);
        }

        #[test]
        fn record_header_round_trips(
            op_count: u16,
            len in 32u32..,
            seq: u64,
            offset: u32,
            durable: (u32, u32),
        ) {
            let kind = RecordKind::Commit;
            let durable = LogPlace { generation: durable.0, offset: durable.1 };
            let header = RecordHeader { kind, op_count, len, seq, offset, durable };
            prop_assert_eq!(RecordHeader::decode(&header.encode()), Some(header));
        }
    }

    #[test]
    fn record_header_with_a_flipped_bit_is_refused() {
        let (kind, durable) = (RecordKind::Moved, LogPlace { generation: 7, offset: 4 });
        let header = RecordHeader { kind, op_count: 1, len: 99, seq: 5, offset: 8, durable };
        for bit in 0..RECORD_HEADER_LEN * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes), None, "bit {bit}");
        }
    }
}
