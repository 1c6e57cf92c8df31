//! The header block of a zone. Layout: `FORMAT.md` §2.

use super::seal::le_u32;

const MAGIC: [u8; 8] = *b"SHNGZONE";
const GENERATION_AT: usize = 24;
/// Where the header of a copy of the manifest carries its superblock.
pub const SUPERBLOCK_AT: usize = 32;

/// What a zone's header block says.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The store that the zone belongs to.
    pub store_id: [u8; 16],
    /// Of this life of the zone.
    pub generation: u32,
    /// What it is used for, a `Role`.
    pub role: u8,
}

impl Header {
    /// Fills `block`, which is not sealed yet.
    ///
    /// # Panics
    /// If it is shorter than `BLOCK_LEN_MIN`.
    pub fn encode(&self, block: &mut [u8]) {
        assert!(block.len() >= SUPERBLOCK_AT, "a block holds its header");
        block.fill(0);
        let generation = self.generation.to_le_bytes();
        let fields: [(usize, &[u8]); 4] = [
            (0, &MAGIC),
            (8, &self.store_id),
            (GENERATION_AT, &generation),
            (GENERATION_AT + 4, &[self.role]),
        ];
        for (at, bytes) in fields {
            if let Some(field) = block.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        }
    }
}

/// The generation that a header block says, whether or not it is whole.
#[must_use]
pub fn generation(block: &[u8]) -> Option<u32> {
    block.get(GENERATION_AT..SUPERBLOCK_AT).map(le_u32)
}
