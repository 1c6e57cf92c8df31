//! What a block is to the engine, found from what the medium holds.
//!
//! Block 0 of a zone says what role the zone has (`FORMAT.md` §2); a superblock begins with its
//! magic (§3); in a log, the lower half of the tag says whether a record begins in the block
//! (§5.2); in a run, the nearest header of a node at or before the block says what the node is
//! (§6.1). Nothing is decoded further and no checksum is looked at: what is damaged on the pristine
//! medium is nothing, and what looks like something by chance is hit like it.

use shingle_hal::Lba;

use super::medium::Medium;
use super::plan::Structure;

const ZONE_MAGIC: &[u8] = b"SHNGZONE";
const SUPERBLOCK_MAGIC: &[u8] = b"SHINGLE\0";
const ROLE_AT: usize = 28;
const ROLE_MANIFEST: u8 = 2;
const ROLE_LOG: u8 = 3;
const ROLE_COLD: u8 = 4;
const ROLE_RUN: u8 = 5;
const ROLE_BOTTOM: u8 = 6;
/// What the lower half of a log block's tag says if no record begins in it.
const NO_RECORD: [u8; 2] = [0xff; 2];
/// Where the tag is, from the end of the block.
const TAG_FROM_END: usize = 8;
const NODE_LEN_BYTES_MAX: usize = 65_536;
const NODE_HEADER_LEN: usize = 16;

/// The structure at `lba`; `fetch` reads a block of the pristine medium.
pub(crate) fn structure_at(
    medium: &dyn Medium,
    lba: Lba,
    fetch: &dyn Fn(Lba) -> Option<Vec<u8>>,
) -> Option<Structure> {
    let geometry = medium.geometry();
    let zone = geometry.zone_of(lba);
    let block = fetch(lba)?;
    if block.starts_with(SUPERBLOCK_MAGIC) {
        return Some(Structure::Superblock);
    }
    let start = geometry.zone_start(zone);
    match role(&fetch(start)?)? {
        ROLE_MANIFEST => Some(Structure::Manifest),
        _ if lba == start => None,
        ROLE_LOG | ROLE_COLD => {
            let tag_at = block.len().checked_sub(TAG_FROM_END)?;
            let begins = block[tag_at..tag_at + 2] != NO_RECORD;
            Some(if begins { Structure::LogRecord } else { Structure::Value })
        }
        ROLE_RUN | ROLE_BOTTOM => {
            let blocks_max = (NODE_LEN_BYTES_MAX / block.len()).max(1) as u64;
            let first = (lba.0 + 1).saturating_sub(blocks_max).max(start.0 + 1);
            let before = (first..=lba.0).rev();
            before.filter_map(|lba| node(&fetch(Lba(lba))?)).next()
        }
        _ => None,
    }
}

/// Whether the zone with `header` as its first block holds such structures.
pub(crate) fn zone_holds(header: &[u8], structure: Structure) -> bool {
    if header.starts_with(SUPERBLOCK_MAGIC) {
        return structure == Structure::Superblock;
    }
    match role(header) {
        Some(ROLE_MANIFEST) => structure == Structure::Manifest,
        Some(ROLE_LOG | ROLE_COLD) => {
            matches!(structure, Structure::LogRecord | Structure::Value)
        }
        Some(ROLE_RUN | ROLE_BOTTOM) => {
            matches!(structure, Structure::RunIndex | Structure::RunData)
        }
        _ => false,
    }
}

fn role(header: &[u8]) -> Option<u8> {
    let found = header.starts_with(ZONE_MAGIC);
    found.then(|| header.get(ROLE_AT).copied()).flatten()
}

/// What begins with `block`, if a node does.
fn node(block: &[u8]) -> Option<Structure> {
    let header = block.get(..NODE_HEADER_LEN)?;
    let plain = header[2] <= 1 && header[3] == 0 && header[10..].iter().all(|&b| b == 0);
    match (header[0], header[1]) {
        _ if !plain || header[4..6] == [0; 2] => None,
        (1, 0) => Some(Structure::RunData),
        (2, 1) => Some(Structure::RunIndex),
        (3, 2..=8) => Some(Structure::RunIndex),
        _ => None,
    }
}
