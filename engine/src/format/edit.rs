//! Manifest blocks and the changes in them. Layout: `FORMAT.md` §4.
//!
//! The manifest is a snapshot followed by edits, each one or more whole blocks. A block names its
//! edit, its part in it, and the checksum of the block before it. An edit takes effect only when
//! its last block is there.
//!
//! Invariants: `E1` a change fits into one block (keys travel in parts of
//! [`KEY_PART_LEN`] bytes). `E2` a block whose chain does not continue the block before it ends
//! the manifest.

use serde::{Deserialize, Serialize};

use super::seal::le_u32;
use crate::limits::SEAL_LEN;

/// Bytes of a manifest block before its changes.
pub const EDIT_HEADER_LEN: usize = 20;
/// Most bytes of a key in one change.
pub const KEY_PART_LEN: usize = 192;

/// A place in a log: everything before it has been flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPlace {
    /// Generation of the zone; 0 is no place.
    pub generation: u32,
    /// Offset in the zone's payload.
    pub offset: u32,
}

/// A piece of a run as the manifest knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceRecord {
    /// Generation of its zone.
    pub generation: u32,
    /// First block in the zone.
    pub start: u32,
    /// Number of nodes; the last one is the root.
    pub nodes: u32,
    /// Number of entries.
    pub entries: u32,
    /// The run it belongs to.
    pub run: u32,
    /// The run's level.
    pub level: u8,
    /// Whether it holds range deletions.
    pub boundaries: bool,
    /// Bytes of the first key.
    pub first_len: u16,
    /// The first bytes of the first key, padded with zeros.
    pub first: [u8; 16],
}

/// One change of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change<'a> {
    /// A zone is taken into use.
    Take {
        /// Which.
        zone: u32,
        /// Its new generation.
        generation: u32,
        /// What for ([`Role`](crate::zone::Role) as a number).
        role: u8,
    },
    /// A zone holds nothing any more.
    Free {
        /// Which.
        zone: u32,
    },
    /// A zone is never to be used again.
    Retire {
        /// Which.
        zone: u32,
    },
    /// How far a zone is written and how many of its bytes runs refer to.
    Fill {
        /// Which.
        zone: u32,
        /// Blocks written.
        written: u32,
        /// Bytes referred to.
        live: u32,
    },
    /// Recovery found a log zone's records to end here; the log goes on in its next zone.
    Seal {
        /// Which.
        zone: u32,
        /// One more than the offset in its payload.
        end: u32,
    },
    /// A piece is added behind the last one of its run.
    Piece(PieceRecord),
    /// A piece is spent.
    Drop {
        /// Generation of its zone.
        generation: u32,
        /// Its first block.
        start: u32,
    },
    /// A merge of a level's runs is under way.
    Merge {
        /// The level whose runs are merged.
        level: u8,
        /// The level of the output.
        into: u8,
        /// The output run.
        run: u32,
        /// The newest run of the level that takes part.
        last_input: u32,
    },
    /// The next bytes of the key below which a merge's inputs are spent.
    MergeKey {
        /// The level.
        level: u8,
        /// Whether these are the first bytes.
        first: bool,
        /// The bytes.
        #[serde(borrow)]
        part: &'a [u8],
    },
    /// A merge is over.
    MergeEnd {
        /// The level.
        level: u8,
    },
    /// Everything before these places is in runs.
    Checkpoint {
        /// Place in the log.
        log: LogPlace,
        /// Place in the log of survivors.
        cold: LogPlace,
        /// Highest sequence number in runs.
        seq: u64,
    },
    /// Counters that must never be used twice.
    Counters {
        /// Generations below this may be in use.
        generation_limit: u32,
        /// The next run.
        next_run: u32,
    },
    /// A zone could not be written on: from this block on, what it holds is in another.
    Extend {
        /// Which.
        zone: u32,
        /// The first block that is not in it.
        from: u32,
        /// The other zone, which holds that block first.
        into: u32,
    },
    /// A zone of runs has its blocks in another zone, too.
    Twin {
        /// Which.
        zone: u32,
        /// The other zone.
        twin: u32,
    },
    /// A zone of runs is given up, and its twin takes its place.
    Promote {
        /// Which.
        zone: u32,
    },
    /// A zone of values can be rebuilt from a zone of parity and the others that it protects.
    Protect {
        /// Which.
        zone: u32,
        /// The zone of parity.
        parity: u32,
        /// Blocks of the zone that are in it; 0 for all, in a zone of parity that is a copy.
        blocks: u32,
    },
    /// A number that no version gives a meaning yet.
    Reserved16,
    /// What is known of a zone's health, in place of what was known before.
    Mark {
        /// Which.
        zone: u32,
        /// What is known ([`marks`](super::marks)).
        marks: u8,
        /// Units in it that a scrub found bad.
        found: u16,
    },
    /// How far the scrub has come.
    Scrub {
        /// Number of the pass.
        pass: u32,
        /// The zone that comes next.
        zone: u32,
        /// Units that this pass found bad.
        found: u32,
        /// Those of them of which there is no other copy.
        lost: u32,
    },
}

/// The header of a manifest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditHeader {
    /// Number of the edit.
    pub edit: u64,
    /// Number of this block in the edit.
    pub part: u32,
    /// Whether it is the edit's last block.
    pub last: bool,
    /// Bytes of changes.
    pub len: u16,
    /// Checksum of the block before, 0 for the first of a zone.
    pub chain: u32,
}

impl EditHeader {
    /// Writes the header to the start of `block`.
    ///
    /// # Panics
    /// If the block is shorter than a header.
    pub fn encode(&self, block: &mut [u8]) {
        let mut head = [0; EDIT_HEADER_LEN];
        head[..8].copy_from_slice(&self.edit.to_le_bytes());
        head[8..12].copy_from_slice(&self.part.to_le_bytes());
        head[12..14].copy_from_slice(&self.len.to_le_bytes());
        head[14] = u8::from(self.last);
        head[16..].copy_from_slice(&self.chain.to_le_bytes());
        let place = block.first_chunk_mut::<EDIT_HEADER_LEN>();
        assert!(place.map(|place| *place = head).is_some(), "a block holds a header");
    }

    /// Reads the header of a sealed block and gives it with the changes' bytes.
    #[must_use]
    pub fn decode(block: &[u8]) -> Option<(Self, &[u8])> {
        let head: &[u8; EDIT_HEADER_LEN] = block.first_chunk()?;
        let header = Self {
            edit: u64::from(le_u32(head)) | u64::from(le_u32(&head[4..])) << 32,
            part: le_u32(&head[8..]),
            len: u16::from_le_bytes([head[12], head[13]]),
            last: head[14] == 1,
            chain: le_u32(&head[16..]),
        };
        let end = EDIT_HEADER_LEN.checked_add(usize::from(header.len))?;
        let body_end = block.len().checked_sub(SEAL_LEN)?;
        (end <= body_end).then_some(())?;
        Some((header, block.get(EDIT_HEADER_LEN..end)?))
    }
}

/// The changes in a block's bytes; ends early at the first that makes no sense.
pub struct Changes<'a> {
    bytes: &'a [u8],
    /// Set when the bytes did not end with a whole change.
    pub malformed: bool,
}

impl<'a> Changes<'a> {
    /// Reads the changes in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, malformed: false }
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        if self.bytes.is_empty() {
            return None;
        }
        match postcard::take_from_bytes::<Change<'a>>(self.bytes) {
            Ok((change, rest)) if rest.len() < self.bytes.len() => {
                self.bytes = rest;
                Some(change)
            }
            _ => {
                self.malformed = true;
                self.bytes = &[];
                None
            }
        }
    }
}
