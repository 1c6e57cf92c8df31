//! The superblock: what a store is and where its manifest starts. Layout: `FORMAT.md` §3.
//!
//! Encoded with postcard, sealed like any block but with store tag 0 and a fixed generation, since
//! it is what tells the store's tag.

use serde::{Deserialize, Serialize};

use super::header::{SUPERBLOCK_AT, generation};
use super::seal::{Identity, check, seal};
use crate::limits::{FRAGMENT_LEN_MAX, FRAGMENTS_MAX, SEAL_LEN};

/// The first bytes of every superblock.
pub const MAGIC: [u8; 8] = *b"SHINGLE\0";
/// The format this code writes; it reads this one and those before.
pub const VERSION: u16 = 4;
/// In place of the first edit: there is no store, and one that was is not to be looked for.
pub const NO_STORE: u64 = 0;
/// The generation in the seal of anchor blocks, which outlive every reset of their zone.
pub const ANCHOR_GENERATION: u32 = u32::MAX;

/// What is fixed at format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Longest key in bytes, 1 to [`KEY_LEN_MAX`](crate::limits::KEY_LEN_MAX).
    pub key_len_max: u16,
    /// Longest metadata in bytes, version included.
    pub meta_len_max: u16,
    /// Longest value in bytes.
    pub value_len_max: u64,
    /// Bytes of a node of a run: a power of two and a multiple of the block.
    pub node_len_bytes: u32,
    /// Values of this many bytes and more stay in the log; shorter ones are copied into runs.
    pub separate_from_bytes: u32,
}

impl Limits {
    /// Fragments that a value may come in, so that their list fits a node.
    #[must_use]
    pub fn fragments_max(&self) -> usize {
        (self.node_len_bytes as usize / 4 / FRAGMENT_LEN_MAX).clamp(2, FRAGMENTS_MAX)
    }
}

/// What is kept on more than one storage element; fixed at format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Redundancy {
    /// Whether runs (keys, metadata and small values) are kept on two storage elements. What an
    /// element that dies takes with it is then large values alone.
    pub mirror_runs: bool,
    /// Whether what the log holds of them before a flush is kept on two, too.
    pub mirror_log: bool,
    /// Zones of values that a zone of parity on another element protects; 0 for no parity.
    pub parity: u8,
}

impl Redundancy {
    /// One copy of everything but superblocks and manifest.
    pub const NONE: Self = Self { mirror_runs: false, mirror_log: false, parity: 0 };
}

/// One copy of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPlace {
    /// Its zone.
    pub zone: u32,
    /// The zone's generation.
    pub generation: u32,
}

/// The root of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// Must be [`MAGIC`].
    pub magic: [u8; 8],
    /// The format, at most [`VERSION`].
    pub version: u16,
    /// Counts publications; the highest valid one wins.
    pub ordinal: u64,
    /// Names the store.
    pub store_id: [u8; 16],
    /// Block length it was formatted with.
    pub block_len_bytes: u32,
    /// Zone count it was formatted with.
    pub zone_count: u32,
    /// Zone size it was formatted with.
    pub zone_blocks: u32,
    /// What is fixed.
    pub limits: Limits,
    /// The copies of the manifest, equal in content.
    pub manifest: [ManifestPlace; 2],
    /// Number of the first edit, the snapshot, or [`NO_STORE`].
    pub first_edit: u64,
    /// What is kept twice. Zeros stand in place of what an older version did not know.
    pub redundancy: Redundancy,
}

const fn identity(block: u32) -> Identity {
    Identity { store_tag: 0, generation: ANCHOR_GENERATION, block }
}

impl Superblock {
    /// Writes the superblock as block `block` of an anchor zone.
    ///
    /// # Panics
    /// If a superblock does not fit; `BLOCK_LEN_MIN` is chosen so that it does.
    pub fn encode(&self, out: &mut [u8], block: u32) {
        out.fill(0);
        let body = out.split_last_chunk_mut::<SEAL_LEN>().map(|(body, _)| body);
        assert!(body.is_some_and(|body| postcard::to_slice(self, body).is_ok()));
        seal(out, 0, identity(block));
    }

    /// Reads block `block` of an anchor zone; `None` if it is not a whole superblock.
    #[must_use]
    pub fn decode(bytes: &[u8], block: u32) -> Option<Self> {
        check(bytes, identity(block)).ok()?;
        let (superblock, _) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        (superblock.magic == MAGIC).then_some(superblock)
    }

    /// Writes the superblock into the header block of a copy of the manifest, unsealed.
    ///
    /// # Panics
    /// As [`encode`](Self::encode).
    pub fn encode_in_header(&self, header: &mut [u8]) {
        let body = header.split_last_chunk_mut::<SEAL_LEN>().map(|(body, _)| body);
        let body = body.and_then(|body| body.get_mut(SUPERBLOCK_AT..));
        assert!(body.is_some_and(|body| postcard::to_slice(self, body).is_ok()));
    }

    /// Reads the superblock that the header block of a copy of the manifest carries; `None` if it
    /// is no such block, or was written before version 4.
    #[must_use]
    pub fn decode_in_header(header: &[u8]) -> Option<Self> {
        let (superblock, _) =
            postcard::take_from_bytes::<Self>(header.get(SUPERBLOCK_AT..)?).ok()?;
        let generation = generation(header)?;
        let identity = Identity { store_tag: superblock.store_tag(), generation, block: 0 };
        check(header, identity).ok()?;
        (superblock.magic == MAGIC).then_some(superblock)
    }

    /// The tag that seals of this store's other blocks carry.
    #[must_use]
    pub fn store_tag(&self) -> u32 {
        super::seal::checksum(&self.store_id)
    }
}
