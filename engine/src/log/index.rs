//! Index records: what replay needs of the records before them, so that it need not walk values.
//!
//! A head notes the operations it takes. When the records noted are many times longer than the
//! notes, the notes become an `Index` record in the log; the tag of every later block tells how
//! far back it starts. The notes stay, so that the next index stands for that one, too, until there
//! is little memory left for more: then they begin anew, and what they become tells where the index
//! before them is. Replay goes back from the last block of the zone along this chain, and walks
//! only what no index covers.
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

/// Notes of a head, for its next index.
pub(crate) struct Notes<'m> {
    memory: &'m mut [u8],
    len: usize,
    /// As much of `len` as the last index has.
    indexed: usize,
    /// The first record covered.
    from: u32,
    /// The index before it.
    before: u32,
    /// The last index of the zone, and where it ends.
    last: u32,
    last_end: u32,
}

impl<'m> Notes<'m> {
    pub(crate) fn new(memory: &'m mut [u8]) -> Self {
        let (len, indexed, from, last_end) = (0, 0, 0, 0);
        Self { memory, len, indexed, from, before: NO_INDEX, last: NO_INDEX, last_end }
    }

    /// Notes without memory, while the real ones are being written at `last`.
    pub(crate) fn stand_in(last: u32) -> Self {
        Self { last, ..Self::new(&mut []) }
    }

    /// A zone begins.
    pub(crate) fn start(&mut self) {
        (self.last, self.last_end) = (NO_INDEX, 0);
        self.begin_anew(0);
    }

    /// What is noted from now on is of records from `from` on.
    fn begin_anew(&mut self, from: u32) {
        (self.len, self.indexed) = (0, 0);
        (self.from, self.before) = (from, self.last);
    }

    /// Notes an operation of a record that ends at `end`. False if there was no room: the notes
    /// are given up, and what no index has of them will be walked.
    pub(crate) fn push(&mut self, note: &Note<'_>, parts: &[&[u8]], end: u32) -> bool {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        let at = self.len.max(INDEX_HEADER_LEN);
        let total = at + NOTE_HEADER_LEN + body;
        let Some(out) = self.memory.get_mut(at..total) else {
            self.begin_anew(end);
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
        if covered / WORTH < self.len as u32 { 0 } else { self.len }
    }

    /// Whether an index at `pos` would say more than the last one.
    pub(crate) fn is_worth(&self, pos: u32) -> bool {
        self.len > self.indexed && self.index_len(pos) > 0
    }

    /// Whether it is time for an index: enough is covered that the last one does not have, or the
    /// memory is nearly used up.
    pub(crate) fn is_due(&self, pos: u32, stretch: u32) -> bool {
        let since = pos.saturating_sub(self.from.max(self.last_end));
        (self.is_nearly_full() || since >= stretch) && self.is_worth(pos)
    }

    /// Whether the last index has some of what is noted, and the next will stand for it.
    pub(crate) fn replaces_last(&self) -> bool {
        self.indexed > 0
    }

    fn is_nearly_full(&self) -> bool {
        self.len > self.memory.len() / 4 * 3
    }

    /// The body of the index that stands at `pos` and ends at `end`. If it nearly fills the memory,
    /// the notes begin anew behind it.
    pub(crate) fn take(&mut self, pos: u32, end: u32) -> &[u8] {
        self.memory[..4].copy_from_slice(&self.before.to_le_bytes());
        self.memory[4..8].copy_from_slice(&self.from.to_le_bytes());
        let len = self.len;
        (self.last, self.last_end, self.indexed) = (pos, end, len);
        if self.is_nearly_full() {
            self.begin_anew(end);
        }
        &self.memory[..len]
    }

    /// The last index of the zone.
    pub(crate) fn last(&self) -> Option<u32> {
        (self.last != NO_INDEX).then_some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::OpKind;

    /// An operation whose record begins at `record` and is a thousand bytes long.
    fn push(notes: &mut Notes<'_>, record: u32) -> bool {
        let op = OpHeader {
            kind: OpKind::Put,
            key_len: 4,
            version_len: 0,
            meta_len: 0,
            value_len: 900,
            moved_from: 0,
        };
        let note = Note { record, moved: false, seq: 1, value_at: record + 60, op, body: &[] };
        notes.push(&note, &[&record.to_be_bytes()], record + 1000)
    }

    /// The index before the one of this body, where it covers from, and the records in it.
    fn read(body: &[u8]) -> (u32, u32, Vec<u32>) {
        let (head, mut rest) = body.split_at(INDEX_HEADER_LEN);
        let mut records = Vec::new();
        while let Some((note, after)) = Note::decode(rest, 512) {
            records.push(note.record);
            rest = after;
        }
        (le_u32(head), le_u32(&head[4..]), records)
    }

    #[test]
    fn index_stands_for_those_before_it_until_the_notes_nearly_fill_their_memory() {
        let mut memory = [0; 320];
        let mut notes = Notes::new(&mut memory);
        notes.start();
        assert!(push(&mut notes, 0) && push(&mut notes, 1000));
        assert!(!notes.replaces_last() && notes.is_due(2000, 2000) && !notes.is_due(2000, 2001));
        assert_eq!(read(notes.take(2000, 2100)), (NO_INDEX, 0, vec![0, 1000]));
        assert!(!notes.is_worth(9000), "nothing new");
        assert!(push(&mut notes, 2100) && push(&mut notes, 3100) && push(&mut notes, 4100));
        assert!(notes.replaces_last() && !notes.is_due(5100, 3001) && notes.is_due(5100, 3000));
        let all = vec![0, 1000, 2100, 3100, 4100];
        assert_eq!(read(notes.take(5100, 5400)), (NO_INDEX, 0, all.clone()));
        assert!(push(&mut notes, 5400) && notes.is_due(6400, u32::MAX), "nearly full");
        assert_eq!(read(notes.take(6400, 6700)), (NO_INDEX, 0, [all, vec![5400]].concat()));
        assert!(!notes.replaces_last() && push(&mut notes, 6700));
        assert_eq!(read(notes.take(7700, 7800)), (6400, 6700, vec![6700]));
    }

    #[test]
    fn notes_that_do_not_fit_are_given_up_and_what_an_index_has_of_them_is_not() {
        let mut memory = [0; 120];
        let mut notes = Notes::new(&mut memory);
        notes.start();
        assert!(push(&mut notes, 0));
        let _ = notes.take(1000, 1100);
        assert!(push(&mut notes, 1100) && !push(&mut notes, 2100));
        assert!(!notes.is_worth(9000) && push(&mut notes, 3100));
        assert_eq!(read(notes.take(4100, 4200)), (1000, 3100, vec![3100]));
    }
}
