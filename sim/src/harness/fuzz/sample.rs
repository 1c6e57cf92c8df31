//! Valid structures by seed, most of them with a few bytes changed: where decoding begins to get
//! interesting.

use shingle_engine::Limits;
use shingle_engine::format::branch::BranchBuilder;
use shingle_engine::format::data::DataBuilder;
use shingle_engine::format::edit::{Change, EDIT_HEADER_LEN, EditHeader, LogPlace, PieceRecord};
use shingle_engine::format::entry::{
    Entry, Fragment, Place, encode_fragments, encode_place, encode_seqs,
};
use shingle_engine::format::filter;
use shingle_engine::format::record::{OpHeader, OpKind, RecordHeader, RecordKind};
use shingle_engine::format::superblock::{MAGIC, ManifestPlace, Redundancy, Superblock, VERSION};
use shingle_engine::limits::SEAL_LEN;

use super::decode::{STRUCTURES, Structure};
use super::target::some_bytes;
use crate::harness::choices::Choices;

/// The input of a seed for [`decode`](super::decode).
pub(super) fn input(seed: u64) -> Vec<u8> {
    let mut choices = Choices::new(seed);
    let number = choices.below(STRUCTURES.len() as u64) as usize;
    let repair = choices.below(2) as u8;
    let mut bytes = structure(&mut choices, STRUCTURES[number]);
    for _ in 0..choices.pick(&[0, 1, 1, 2, 8]) {
        let len = bytes.len().max(1) as u64;
        let at = choices.magnitude(len).min(len - 1) as usize;
        let value = choices.pick(&[0, 1, 0x7f, 0x80, 0xff, choices.clone().word() as u8]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }
    [vec![number as u8, repair], bytes].concat()
}

fn structure(choices: &mut Choices, structure: Structure) -> Vec<u8> {
    match structure {
        Structure::Superblock => superblock(choices),
        Structure::Edit => edit(choices),
        Structure::Record => {
            let kind = choices.pick(&[RecordKind::Commit, RecordKind::Moved, RecordKind::Index]);
            let (op_count, len) = (choices.below(9) as u16, choices.word() as u32 | 32);
            let (seq, offset) = (choices.word(), choices.word() as u32);
            let durable = LogPlace { generation: choices.word() as u32, offset };
            RecordHeader { kind, op_count, len, seq, offset, durable }.encode().to_vec()
        }
        Structure::Op => {
            let kind = choices.pick(&[OpKind::Put, OpKind::DeleteRange, OpKind::PutFragments]);
            let (key_len, meta_len) = (choices.below(64) as u16, choices.below(64) as u16);
            let (version_len, value_len) = (meta_len / 2, choices.word() as u32);
            let moved_from = choices.word() as u32;
            OpHeader { kind, key_len, version_len, meta_len, value_len, moved_from }
                .encode()
                .to_vec()
        }
        Structure::Entry => entry(choices, |entry| {
            let mut out = vec![0; entry.encoded_len()];
            assert!(entry.encode(&mut out).is_some());
            out
        }),
        Structure::Data => data(choices),
        Structure::Branch => branch(choices),
        Structure::Filter => vec![choices.word() as u8; 64 * choices.below(9) as usize],
        Structure::Seal => some_bytes(choices.word(), 300),
        Structure::Varint => {
            let mut out = Vec::new();
            for _ in 0..choices.below(12) {
                out.extend((0..choices.below(10)).map(|_| choices.word() as u8 | 0x80));
                out.push(choices.word() as u8 & 0x7f);
            }
            out
        }
    }
}

fn superblock(choices: &mut Choices) -> Vec<u8> {
    let place = ManifestPlace { zone: choices.below(40) as u32, generation: 7 };
    let superblock = Superblock {
        magic: MAGIC,
        version: VERSION,
        ordinal: choices.word(),
        store_id: [choices.word() as u8; 16],
        block_len_bytes: 512,
        zone_count: choices.word() as u32,
        zone_blocks: 64,
        limits: Limits {
            key_len_max: 64,
            meta_len_max: 64,
            value_len_max: choices.word(),
            node_len_bytes: choices.word() as u32,
            separate_from_bytes: 192,
        },
        manifest: [place, place],
        first_edit: choices.word(),
        redundancy: Redundancy {
            mirror_runs: choices.once_in(2),
            mirror_log: choices.once_in(2),
            parity: choices.word() as u8,
        },
    };
    let mut out = vec![0; 256];
    superblock.encode(&mut out, 3);
    out
}

fn edit(choices: &mut Choices) -> Vec<u8> {
    let mut out = vec![0; 512];
    let mut len = 0;
    for _ in 0..choices.below(20) {
        let (zone, number) = (choices.below(40) as u32, choices.word() as u32);
        let level = choices.below(9) as u8;
        let place = LogPlace { generation: zone, offset: number };
        let change = match choices.below(7) {
            0 => Change::Take { zone, generation: number, role: level },
            1 => Change::Fill { zone, written: number, live: number },
            2 => Change::Piece(PieceRecord {
                generation: number,
                start: zone,
                nodes: number,
                entries: number,
                run: zone,
                level,
                boundaries: level > 3,
                first_len: zone as u16,
                first: [level; 16],
            }),
            3 => Change::Merge { level, into: 7, run: number, last_input: number },
            4 => Change::MergeKey { level, first: level > 3, part: &[b'k'; 30] },
            5 => Change::Checkpoint { log: place, cold: place, seq: u64::from(number) },
            _ => Change::Counters { generation_limit: number, next_run: number },
        };
        let room = &mut out[EDIT_HEADER_LEN + len..512 - SEAL_LEN];
        let Ok(used) = postcard::to_slice(&change, room) else { break };
        len += used.len();
    }
    let (edit, part, chain) = (choices.word(), choices.below(3) as u32, choices.word() as u32);
    EditHeader { edit, part, last: true, len: len as u16, chain }.encode(&mut out);
    out
}

/// Makes an entry and gives it to `take`.
fn entry<T>(choices: &mut Choices, take: impl FnOnce(&Entry<'_>) -> T) -> T {
    let mut body = [0; 256];
    let seq = choices.magnitude(1 << 40);
    let place = Place { generation: choices.word() as u32, offset: choices.word() as u32 };
    let meta = [7; 40];
    let meta = &meta[..choices.below(41) as usize];
    let entry = match choices.below(5) {
        0 => Entry::tombstone(seq),
        1 => {
            let len = encode_place(place, &mut body).unwrap_or(0);
            Entry::pointer(seq, choices.word(), &body[..len])
        }
        2 => {
            let part = Fragment { generation: 5, offset: 9, len: choices.below(5000) as u32 };
            let parts = vec![part; choices.below(12) as usize];
            let len = encode_fragments(&parts, &mut body).unwrap_or(0);
            Entry::fragmented(seq, parts.len() as u64 * u64::from(part.len), &body[..len])
        }
        3 => {
            let len = encode_seqs(&[seq + 9, seq + 1, seq], &mut body).unwrap_or(0);
            return take(&Entry::boundary(&body[..len]));
        }
        _ => Entry::inline(seq, &body[..choices.below(100) as usize]),
    };
    take(&entry.with_meta(meta.len() as u16 / 2, meta))
}

fn data(choices: &mut Choices) -> Vec<u8> {
    let mut out = vec![0; choices.pick(&[512, 512, 2048])];
    let mut builder = DataBuilder::new(&mut out);
    for number in 0..choices.magnitude(80) {
        let key = format!("k{:04}{}", number * 3, "x".repeat(number as usize % 9));
        if !entry(choices, |entry| builder.push(&mut out, key.as_bytes(), entry)) {
            break;
        }
    }
    builder.finish(&mut out);
    out
}

fn branch(choices: &mut Choices) -> Vec<u8> {
    let mut out = vec![0; choices.pick(&[512, 512, 2048])];
    let filter_len = 64 * choices.below(4) as usize;
    let mut builder = BranchBuilder::new(&mut out, 1, filter_len);
    let mut added = builder.push_child(&mut out, b"", 0);
    for number in 1..choices.magnitude(80) as u32 {
        let key = format!("k{:04}", number * 3);
        added &= builder.push_child(&mut out, key.as_bytes(), number);
        builder.add_key_hash(&mut out, filter::hash(1, key.as_bytes()));
        if !added {
            break;
        }
    }
    builder.finish(&mut out);
    out
}
