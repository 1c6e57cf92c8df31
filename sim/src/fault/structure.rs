//! What a block is to the engine, found from what the medium holds.
//!
//! Block 0 of a zone says what role the zone has (`FORMAT.md` §2); a superblock begins with its
//! magic (§3); in a log, the lower half of the tag says whether a record begins in the block
//! (§5.2), and if none does, the record that reaches into it says whether that is a value that no
//! run takes over (§5.3); in a run, the nearest header of a node at or before the block says what
//! the node is (§6.1). No checksum is looked at: what is damaged on the pristine medium is nothing,
//! and what looks like something by chance is hit like it.

use shingle_engine::format::record::{
    OP_HEADER_LEN, OpHeader, OpKind, RECORD_HEADER_LEN, RecordHeader,
};
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
/// Blocks that a record with a value which is kept in runs may reach into.
const SMALL_BLOCKS_MAX: u64 = 4;
/// Bytes from which on the values of all limits that are drawn lie in the log alone.
const LARGE_BYTES_MIN: usize = 4096;
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
            let large = first_record(&block)?.is_none() && is_in_value(lba, start, fetch);
            Some(if large { Structure::Value } else { Structure::LogRecord })
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

/// Where in a block of a log the first record begins, if one does.
fn first_record(block: &[u8]) -> Option<Option<usize>> {
    let tag = &block[block.len().checked_sub(TAG_FROM_END)?..];
    let begins = tag[..2] != NO_RECORD;
    Some(begins.then(|| usize::from(u16::from_le_bytes([tag[0], tag[1]]))))
}

/// Whether a block of a log in which no record begins holds nothing but bytes of a large value.
fn is_in_value(lba: Lba, start: Lba, fetch: &dyn Fn(Lba) -> Option<Vec<u8>>) -> bool {
    let least = (start.0 + 1).max(lba.0.saturating_sub(SMALL_BLOCKS_MAX));
    for before in (least..lba.0).rev() {
        let Some(block) = fetch(Lba(before)) else { return false };
        let payload = block.len() - TAG_FROM_END;
        let Some(first) = first_record(&block) else { return false };
        let Some(mut at) = first else { continue };
        // The last record that begins there is the one that reaches further.
        loop {
            let Some(header) = block[..payload].get(at..at + RECORD_HEADER_LEN) else {
                return false;
            };
            let Some(header) = RecordHeader::decode(header) else { return false };
            if at + header.len as usize > payload {
                break;
            }
            at += header.len as usize;
        }
        let op_at = at + RECORD_HEADER_LEN;
        let op = block[..payload].get(op_at..op_at + OP_HEADER_LEN).and_then(OpHeader::decode);
        let Some(op) = op else { return false };
        let value_at = op_at + OP_HEADER_LEN + op.head_len();
        let is_apart = match op.kind {
            OpKind::Fragment => true,
            OpKind::Put => op.value_len as usize >= LARGE_BYTES_MIN.min(2 * block.len()),
            _ => false,
        };
        return is_apart && value_at <= payload + (lba.0 - 1 - before) as usize * payload;
    }
    true
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
