//! Batches: several operations that take effect together or not at all.
//!
//! A batch is encoded into memory of the caller's, in the form in which the log takes it; each
//! operation carries the condition it was given.

use crate::format::record::{OP_HEADER_LEN, OpHeader, OpKind};
use crate::log::mirror::mirrored_value_len;
use crate::store::options::{Condition, Meta};

/// Bytes before each operation: condition, length of its version.
const PREFIX_LEN: usize = 4;

/// The batch's memory is used up; the operation was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchFull;

/// Operations being put together. Later ones see nothing of earlier ones in their conditions; of
/// two on one key the later takes effect.
pub struct Batch<'b> {
    memory: &'b mut [u8],
    len: usize,
    count: u16,
}

/// An operation of a batch.
pub(crate) struct BatchOp<'a> {
    pub(crate) condition: Condition<'a>,
    pub(crate) header: OpHeader,
    pub(crate) key: &'a [u8],
    /// Metadata and value.
    pub(crate) rest: &'a [u8],
    /// The operation as the log takes it.
    pub(crate) bytes: &'a [u8],
}

impl BatchOp<'_> {
    /// Bytes of key, metadata and value that the log's mirror holds.
    pub(crate) fn mirrored_len(&self, separate_from: u32) -> usize {
        self.header.head_len() + mirrored_value_len(&self.header, separate_from)
    }
}

impl<'b> Batch<'b> {
    /// An empty batch over memory.
    pub fn new(memory: &'b mut [u8]) -> Self {
        Self { memory, len: 0, count: 0 }
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets the operations.
    pub fn clear(&mut self) {
        self.len = 0;
        self.count = 0;
    }

    /// Adds a put.
    ///
    /// # Errors
    /// [`BatchFull`] when the memory is used up.
    pub fn put(
        &mut self,
        key: &[u8],
        meta: Meta<'_>,
        value: &[u8],
        condition: Condition<'_>,
    ) -> Result<(), BatchFull> {
        self.push(OpKind::Put, key, meta, value, condition)
    }

    /// Adds a delete.
    ///
    /// # Errors
    /// [`BatchFull`] when the memory is used up.
    pub fn delete(&mut self, key: &[u8], condition: Condition<'_>) -> Result<(), BatchFull> {
        self.push(OpKind::Delete, key, Meta::NONE, &[], condition)
    }

    /// Adds the removal of every key from `start` up to, not including, `end`; without an end, of
    /// every key from `start` on.
    ///
    /// # Errors
    /// [`BatchFull`] when the memory is used up.
    pub fn delete_range(&mut self, start: &[u8], end: Option<&[u8]>) -> Result<(), BatchFull> {
        let kind = if end.is_some() { OpKind::DeleteRange } else { OpKind::DeleteFrom };
        self.push(kind, start, Meta::NONE, end.unwrap_or(&[]), Condition::None)
    }

    fn push(
        &mut self,
        kind: OpKind,
        key: &[u8],
        meta: Meta<'_>,
        value: &[u8],
        condition: Condition<'_>,
    ) -> Result<(), BatchFull> {
        let (tag, version) = match condition {
            Condition::None => (0, &[][..]),
            Condition::Absent => (1, &[][..]),
            Condition::Present => (2, &[][..]),
            Condition::Version(version) => (3, version),
        };
        let header = OpHeader {
            kind,
            key_len: u16::try_from(key.len()).map_err(|_| BatchFull)?,
            version_len: meta.version_len,
            meta_len: meta.bytes.len() as u16,
            value_len: u32::try_from(value.len()).map_err(|_| BatchFull)?,
            moved_from: 0,
        };
        let version_len = u16::try_from(version.len()).map_err(|_| BatchFull)?;
        let count = self.count.checked_add(1).ok_or(BatchFull)?;
        let parts: [&[u8]; 6] = [
            &[tag, 0, version_len.to_le_bytes()[0], version_len.to_le_bytes()[1]],
            version,
            &header.encode(),
            key,
            meta.bytes,
            value,
        ];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let out = self.memory.get_mut(self.len..self.len + total).ok_or(BatchFull)?;
        let mut at = 0;
        for part in parts {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.len += total;
        self.count = count;
        Ok(())
    }

    /// The operations in order.
    pub(crate) fn ops(&self) -> impl Iterator<Item = BatchOp<'_>> {
        let mut rest = &self.memory[..self.len];
        (0..self.count).map_while(move |_| {
            let (prefix, after) = rest.split_at_checked(PREFIX_LEN)?;
            let version_len = usize::from(u16::from_le_bytes([prefix[2], prefix[3]]));
            let (version, after) = after.split_at_checked(version_len)?;
            let header = OpHeader::decode(after)?;
            let (bytes, next) = after.split_at_checked(header.op_len())?;
            rest = next;
            let body = &bytes[OP_HEADER_LEN..];
            let (key, op_rest) = body.split_at(usize::from(header.key_len));
            let condition = match prefix[0] {
                0 => Condition::None,
                1 => Condition::Absent,
                2 => Condition::Present,
                _ => Condition::Version(version),
            };
            Some(BatchOp { condition, header, key, rest: op_rest, bytes })
        })
    }
}
