//! Index records: what replay needs of the records before them, so that it need not walk values.
//!
//! A head notes the operations it takes. When the records noted are many times longer than the
//! notes, the notes become an `Index` record in the log; the tag of every later block tells how
//! far back it starts, and each index tells where the one before it is. Replay goes back from the
//! last block of the zone along this chain, and walks only what no index covers.
//!
//! Only zones that are written in order have indexes: there, what lies before a block that survived
//! survived too. Layout: `FORMAT.md` §5.
//!
//! Invariants: `I1` an index covers every operation of the records from its `from` up to itself
//! that brings an entry. `I2` notes that do not fit are given up whole, and `from` moves on.

use crate::format::record::{OP_HEADER_LEN, OpHeader};
use crate::format::seal::le_u32;

/// Bytes of an index's own header: the index before it, and where it covers from.
pub(crate) const INDEX_HEADER_LEN: usize = 8;
/// Bytes of a note before key and metadata.
pub(crate) const NOTE_HEADER_LEN: usize = 20 + OP_HEADER_LEN;
/// No index before this one.
pub(crate) const NO_INDEX: u32 = u32::MAX;
/// How many times longer than the notes the records must be.
const WORTH: u32 = 16;

/// An operation as an index holds it.
#[derive(Clone, Copy)]
pub(crate) struct Note<'a> {
    /// Where its record starts.
    pub(crate) record: u32,
    /// Whether reclaim moved it.
    pub(crate) moved: bool,
    pub(crate) seq: u64,
    /// Where its value starts.
    pub(crate) value_at: u32,
    pub(crate) op: OpHeader,
    /// Key and metadata, and the value unless it stays in the log.
    pub(crate) body: &'a [u8],
}

impl<'a> Note<'a> {
    /// The first note in `bytes`, and the rest.
    pub(crate) fn decode(bytes: &'a [u8], separate_from: u32) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_at_checked(NOTE_HEADER_LEN)?;
        let op = OpHeader::decode(&head[20..])?;
        let (body, rest) = rest.split_at_checked(body_len(&op, separate_from))?;
        let note = Self {
            record: le_u32(head),
            value_at: le_u32(&head[4..]),
            seq: u64::from(le_u32(&head[8..])) | u64::from(le_u32(&head[12..])) << 32,
            moved: head[16] == 1,
            op,
            body,
        };
        Some((note, rest))
    }
}

/// Bytes of key, metadata, and a value that does not stay in the log.
fn body_len(op: &OpHeader, separate_from: u32) -> usize {
    op.head_len() + if op.is_apart(separate_from) { 0 } else { op.value_len as usize }
}

/// Notes of a head since its last index.
pub(crate) struct Notes<'m> {
    memory: &'m mut [u8],
    len: usize,
    /// The first record covered.
    from: u32,
    /// The last index of the zone.
    last: u32,
}

impl<'m> Notes<'m> {
    pub(crate) fn new(memory: &'m mut [u8]) -> Self {
        Self { memory, len: 0, from: 0, last: NO_INDEX }
    }

    /// Notes without memory, while the real ones are being written at `last`.
    pub(crate) fn stand_in(last: u32) -> Self {
        Self { memory: &mut [], len: 0, from: 0, last }
    }

    /// A zone begins.
    pub(crate) fn start(&mut self) {
        self.len = 0;
        self.from = 0;
        self.last = NO_INDEX;
    }

    /// Notes an operation of a record that ends at `end`. False if there was no room: the notes
    /// are given up, and what they would have covered will be walked.
    pub(crate) fn push(&mut self, note: &Note<'_>, parts: &[&[u8]], end: u32) -> bool {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        let at = self.len.max(INDEX_HEADER_LEN);
        let total = at + NOTE_HEADER_LEN + body;
        let Some(out) = self.memory.get_mut(at..total) else {
            self.len = 0;
            self.from = end;
            return false;
        };
        let (head, mut rest) = out.split_at_mut(NOTE_HEADER_LEN);
        head[..4].copy_from_slice(&note.record.to_le_bytes());
        head[4..8].copy_from_slice(&note.value_at.to_le_bytes());
        head[8..16].copy_from_slice(&note.seq.to_le_bytes());
        head[16..20].copy_from_slice(&[u8::from(note.moved), 0, 0, 0]);
        head[20..].copy_from_slice(&note.op.encode());
        for part in parts {
            let (now, later) = rest.split_at_mut(part.len());
            now.copy_from_slice(part);
            rest = later;
        }
        self.len = total;
        true
    }

    /// Bytes of the index that the notes would make; 0 if it is not worth it.
    pub(crate) fn index_len(&self, pos: u32) -> usize {
        let covered = pos.saturating_sub(self.from);
        if self.len == 0 || covered / WORTH < self.len as u32 { 0 } else { self.len }
    }

    /// Whether it is time for an index: enough is covered, or the memory is nearly used up.
    pub(crate) fn is_due(&self, pos: u32, stretch: u32) -> bool {
        let full = self.len > self.memory.len() / 4 * 3;
        (full || pos.saturating_sub(self.from) >= stretch) && self.index_len(pos) > 0
    }

    /// The body of the index that stands at `pos`; the notes begin anew behind it, at `end`.
    pub(crate) fn take(&mut self, pos: u32, end: u32) -> &[u8] {
        self.memory[..4].copy_from_slice(&self.last.to_le_bytes());
        self.memory[4..8].copy_from_slice(&self.from.to_le_bytes());
        let len = core::mem::take(&mut self.len);
        self.last = pos;
        self.from = end;
        &self.memory[..len]
    }

    /// The last index of the zone.
    pub(crate) fn last(&self) -> Option<u32> {
        (self.last != NO_INDEX).then_some(self.last)
    }
}
