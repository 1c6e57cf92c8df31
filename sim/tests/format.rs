//! `engine/FORMAT.md` against the code: every table in it that says *checked*.
//!
//! The document is the only place where the bytes are written down, so a table that is wrong would
//! mislead whoever reads media with another program. Each structure is encoded with a different
//! value in every field, and each field is looked for where its row says it is.
//!
//! Invariants: `F1` the rows of a structure cover it without gap or overlap. `F2` what a row names
//! is there, in that order, with that length. `F3` an enum's rows are its variants.

use std::path::PathBuf;

use shingle_engine::Limits;
use shingle_engine::format::edit::{Change, EDIT_HEADER_LEN, EditHeader, LogPlace, PieceRecord};
use shingle_engine::format::entry::Kind;
use shingle_engine::format::node::NodeType;
use shingle_engine::format::record::{
    OP_HEADER_LEN, OpHeader, OpKind, RECORD_HEADER_LEN, RecordHeader, RecordKind,
};
use shingle_engine::format::superblock::{MAGIC, ManifestPlace, Redundancy, Superblock, VERSION};
use shingle_engine::format::{data, entry, marks, seal};
use shingle_engine::limits;
use shingle_engine::zone::Role;

/// The rows of the checked table under a heading, without head and rule.
fn table(heading: &str) -> Vec<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engine/FORMAT.md");
    let text = std::fs::read_to_string(path).expect("FORMAT.md");
    let mark = format!("### {heading} *checked*");
    let mut lines = text.lines().skip_while(|line| *line != mark).skip(1);
    assert!(lines.next().is_some(), "FORMAT.md has no `{mark}`");
    let rows: Vec<Vec<String>> = lines
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "{heading}: no rows");
    rows
}

/// Checks that rows of offset, bytes, name cover `[0, len)` and that `bytes` has `values` in them.
fn check_fields(heading: &str, len: usize, bytes: &[u8], values: &[(&str, u64)]) {
    let (mut at, mut seen) = (0, 0);
    for row in table(heading) {
        let offset: usize = row[0].parse().expect("an offset");
        let width: usize = row[1].parse().expect("a number of bytes");
        assert_eq!(offset, at, "{heading}: {} does not follow the field before", row[2]);
        at += width;
        let mut value = [0; 8];
        value[..width.min(8)].copy_from_slice(&bytes[offset..offset + width.min(8)]);
        let value = u64::from_le_bytes(value);
        let known = values.iter().find(|(name, _)| *name == row[2]);
        let blank = ["zero", "reserved"].contains(&row[2].as_str());
        let expected = known.map_or(0, |(_, value)| *value);
        assert!(known.is_some() || blank, "{heading}: the test has no value for {}", row[2]);
        assert_eq!(value, expected, "{heading}: {}", row[2]);
        seen += usize::from(known.is_some());
    }
    assert_eq!(at, len, "{heading}: the rows end elsewhere than the structure");
    assert_eq!(seen, values.len(), "{heading}: a field has no row");
}

/// Checks rows of value, name.
fn check_values(heading: &str, values: &[(u64, String)]) {
    let rows: Vec<(u64, String)> = table(heading)
        .into_iter()
        .map(|row| (row[0].parse().expect("a value"), row[1].clone()))
        .collect();
    assert_eq!(rows, values, "{heading}");
}

fn le(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field's bytes by its type in a table: postcard.
fn encode_field(kind: &str, value: u64, raw: &[u8]) -> Vec<u8> {
    match kind {
        "u16" | "u32" | "u64" => varint(value),
        "u8" | "bool" => vec![value as u8],
        _ if kind.starts_with("[u8;") => raw.to_vec(),
        _ => panic!("a type {kind}"),
    }
}

#[test]
fn limits_are_those_of_the_code() {
    let known = [
        ("KEY_LEN_MAX", limits::KEY_LEN_MAX),
        ("META_LEN_MAX", limits::META_LEN_MAX),
        ("BLOCK_LEN_MIN", limits::BLOCK_LEN_MIN),
        ("NODE_LEN_MIN", limits::NODE_LEN_MIN),
        ("NODE_LEN_MAX", limits::NODE_LEN_MAX),
        ("SEAL_LEN", limits::SEAL_LEN),
        ("TIERS", limits::TIERS),
        ("RUNS_MAX", limits::RUNS_MAX),
        ("FRAGMENTS_MAX", limits::FRAGMENTS_MAX),
        ("TREE_HEIGHT_MAX", limits::TREE_HEIGHT_MAX),
        ("ANCHORS", limits::ANCHORS),
    ];
    let rows = table("Limits");
    assert_eq!(rows.len(), known.len());
    for (row, (name, value)) in rows.iter().zip(known) {
        assert_eq!((row[0].as_str(), row[1].as_str()), (name, value.to_string().as_str()));
    }
}

#[test]
fn seal_is_tag_and_checksum_over_the_identity() {
    let rows = table("Seal, from the end of the unit");
    assert_eq!(rows[0][..3], ["-8", "4", "tag"]);
    assert_eq!(rows[1][..3], ["-4", "4", "checksum"]);
    let identity = seal::Identity { store_tag: 0x0102_0304, generation: 0x0506_0708, block: 9 };
    let mut unit = [0x5a; 64];
    seal::seal(&mut unit, 0x1122_3344, identity);
    assert_eq!(le(&unit[56..60]), 0x1122_3344);
    let mut covered = unit[..60].to_vec();
    for part in [identity.store_tag, identity.generation, identity.block] {
        covered.extend(part.to_le_bytes());
    }
    assert_eq!(le(&unit[60..]), crc32c::crc32c(&covered));
}

#[test]
fn zone_header_is_as_the_golden_image_has_it() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.txt");
    let image = std::fs::read_to_string(path).expect("the golden image");
    let manifest = image.lines().skip_while(|line| !line.starts_with("zone 2 ")).nth(1);
    let header = manifest.expect("the first copy of the manifest").split('(').next();
    let hex = header.expect("bytes");
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("a byte");
    let bytes: Vec<u8> = (0..29).map(byte).collect();
    let values = [
        ("magic", u64::from_le_bytes(*b"SHNGZONE")),
        ("store_id", u64::from_le_bytes(*b"golden i")),
        ("generation", 1),
        ("role", Role::Manifest as u64),
    ];
    check_fields("Header block of a zone", 29, &bytes, &values);
}

#[test]
fn roles_are_those_of_the_code() {
    let roles = (0..=u8::MAX).filter_map(|value| Some((value.into(), Role::from_u8(value)?)));
    let named: Vec<_> = roles.map(|(value, role)| (value, format!("{role:?}"))).collect();
    check_values("Role of a zone", &named);
}

#[test]
fn superblock_fields_are_in_this_order() {
    let superblock = Superblock {
        magic: MAGIC,
        version: VERSION,
        ordinal: 1001,
        store_id: *b"sixteen bytes id",
        block_len_bytes: 1002,
        zone_count: 1003,
        zone_blocks: 1004,
        limits: Limits {
            key_len_max: 1005,
            meta_len_max: 1006,
            value_len_max: 1007,
            node_len_bytes: 1008,
            separate_from_bytes: 1009,
        },
        manifest: [
            ManifestPlace { zone: 1010, generation: 1011 },
            ManifestPlace { zone: 1012, generation: 1013 },
        ],
        first_edit: 1014,
        redundancy: Redundancy { mirror_runs: true, mirror_log: true, parity: 7 },
    };
    let mut block = [0; 512];
    superblock.encode(&mut block, 3);
    let mut expected = Vec::new();
    // Every number of the struct is one more than the one before, `version` and redundancy apart.
    let mut next = 1000;
    for row in table("Superblock") {
        let (value, raw): (u64, &[u8]) = match row[0].as_str() {
            "magic" => (0, &MAGIC),
            "store_id" => (0, b"sixteen bytes id"),
            "version" => (VERSION.into(), &[]),
            "redundancy.mirror_runs" | "redundancy.mirror_log" => (1, &[]),
            "redundancy.parity" => (7, &[]),
            _ => {
                next += 1;
                (next, &[])
            }
        };
        expected.extend(encode_field(&row[1], value, raw));
    }
    assert_eq!(next, 1014, "rows for every field");
    assert_eq!(block[..expected.len()], expected);
    assert!(block[expected.len()..504].iter().all(|byte| *byte == 0));
    let names = ["key_len_max", "meta_len_max", "value_len_max", "node_len_bytes"];
    let rows = table("Superblock");
    for (row, name) in rows[7..].iter().zip(names) {
        assert_eq!(row[0], format!("limits.{name}"));
    }
    let anchor = seal::Identity { store_tag: 0, generation: u32::MAX, block: 3 };
    assert_eq!(seal::check(&block, anchor), Ok(0));
}

#[test]
fn manifest_block_header_is_at_these_offsets() {
    let header =
        EditHeader { edit: 0x1_0000_0002, part: 3, last: true, len: 0x0405, chain: 0x0607_0809 };
    let mut bytes = [0xff; EDIT_HEADER_LEN];
    header.encode(&mut bytes);
    let values = [
        ("edit", 0x1_0000_0002),
        ("part", 3),
        ("len", 0x0405),
        ("last", 1),
        ("chain", 0x0607_0809),
    ];
    check_fields("Manifest block", EDIT_HEADER_LEN, &bytes, &values);
}

fn piece() -> PieceRecord {
    PieceRecord {
        generation: 2001,
        start: 2002,
        nodes: 2003,
        entries: 2004,
        run: 2005,
        level: 6,
        boundaries: true,
        first_len: 2006,
        first: *b"first key's head",
    }
}

fn postcard_of(change: &Change<'_>) -> Vec<u8> {
    let mut out = [0; 256];
    postcard::to_slice(change, &mut out).expect("room").to_vec()
}

#[test]
fn changes_have_these_numbers_and_fields() {
    let place = |generation, offset| LogPlace { generation, offset };
    let key = b"part of a key";
    let changes = [
        Change::Take { zone: 301, generation: 302, role: 3 },
        Change::Free { zone: 301 },
        Change::Retire { zone: 301 },
        Change::Fill { zone: 301, written: 302, live: 303 },
        Change::Seal { zone: 301, end: 302 },
        Change::Piece(piece()),
        Change::Drop { generation: 301, start: 302 },
        Change::Merge { level: 1, into: 2, run: 301, last_input: 302 },
        Change::MergeKey { level: 1, first: true, part: key },
        Change::MergeEnd { level: 1 },
        Change::Checkpoint { log: place(301, 302), cold: place(303, 304), seq: 305 },
        Change::Counters { generation_limit: 301, next_run: 302 },
        Change::Extend { zone: 301, from: 302, into: 303 },
        Change::Twin { zone: 301, twin: 302 },
        Change::Promote { zone: 301 },
        Change::Protect { zone: 301, parity: 302, blocks: 303 },
        Change::Reserved16,
        Change::Mark { zone: 301, marks: 1, found: 302 },
        Change::Scrub { pass: 301, zone: 302, found: 303, lost: 304 },
    ];
    let rows = table("Change");
    assert_eq!(rows.len(), changes.len(), "rows for every change");
    for ((index, change), row) in changes.iter().enumerate().zip(&rows) {
        let name = format!("{change:?}");
        assert!(name.starts_with(&row[1]), "{name} is called {}", row[1]);
        assert_eq!(row[0], index.to_string(), "{name}");
        let (mut expected, mut wide, mut narrow) = (varint(index as u64), 300, 0);
        for field in row[2].split(", ").filter(|field| !field.is_empty()) {
            let kind = field.rsplit(' ').next().expect("a type");
            match kind {
                "below" => {}
                "place" => {
                    expected.extend(varint(wide + 1));
                    expected.extend(varint(wide + 2));
                    wide += 2;
                }
                "bytes" => {
                    expected.extend(varint(key.len() as u64));
                    expected.extend(key);
                }
                "bool" => expected.push(1),
                "u8" if row[1] == "Take" => expected.push(3),
                "u8" => {
                    narrow += 1;
                    expected.push(narrow);
                }
                _ if row[1] == "Piece" => {}
                _ => {
                    wide += 1;
                    expected.extend(encode_field(kind, wide, &[]));
                }
            }
            let known = kind == "place" || row[1] == "Piece" || name.contains(&field_name(field));
            assert!(known, "{name} has no field {field}");
        }
        let written = postcard_of(change);
        let compared = if row[1] == "Piece" { 1 } else { written.len() };
        assert_eq!(written[..compared], expected, "{name}");
    }
}

#[test]
fn marks_have_these_values() {
    let marks = [
        ("SICK", marks::SICK),
        ("DAMAGED", marks::DAMAGED),
        ("LEAVE", marks::LEAVE),
        ("EFFORT", marks::EFFORT),
        ("UNREADABLE", marks::UNREADABLE),
        ("MISMATCH", marks::MISMATCH),
    ];
    let rows = table("Mark");
    assert_eq!(rows.len(), marks.len());
    for ((name, value), row) in marks.iter().zip(&rows) {
        assert_eq!((row[0].as_str(), row[1].as_str()), (value.to_string().as_str(), *name));
    }
    assert_eq!(marks.iter().fold(0, |all, (_, mark)| all | mark), marks::KNOWN);
}

fn field_name(field: &str) -> String {
    format!("{}:", field.split(' ').next().unwrap_or(field))
}

#[test]
fn piece_fields_are_in_this_order() {
    let mut expected = vec![5];
    let mut next = 2000;
    for row in table("Piece") {
        let value = match row[0].as_str() {
            "level" => 6,
            "boundaries" => 1,
            "first" => 0,
            _ => {
                next += 1;
                next
            }
        };
        assert!(format!("{:?}", piece()).contains(&format!("{}: ", row[0])), "{}", row[0]);
        expected.extend(encode_field(&row[1], value, b"first key's head"));
    }
    assert_eq!(postcard_of(&Change::Piece(piece())), expected);
}

#[test]
fn record_header_is_at_these_offsets() {
    let header = RecordHeader {
        kind: RecordKind::Moved,
        op_count: 0x0102,
        len: 0x0304_0506,
        seq: 0x0708_090a_0b0c_0d0e,
        offset: 0x0f10_1112,
        durable: LogPlace { generation: 0x1314_1516, offset: 0x1718_191a },
    };
    let bytes = header.encode();
    let values = [
        ("kind", 3),
        ("op_count", 0x0102),
        ("len", 0x0304_0506),
        ("seq", 0x0708_090a_0b0c_0d0e),
        ("offset", 0x0f10_1112),
        ("durable_generation", 0x1314_1516),
        ("durable_offset", 0x1718_191a),
        ("check", crc32c::crc32c(&bytes[..28]).into()),
    ];
    check_fields("Record header", RECORD_HEADER_LEN, &bytes, &values);
}

#[test]
fn record_kinds_are_those_of_the_code() {
    let mut named = Vec::new();
    for value in 0..=u8::MAX {
        let mut bytes = RecordHeader {
            kind: RecordKind::Commit,
            op_count: 0,
            len: RECORD_HEADER_LEN as u32,
            seq: 0,
            offset: 0,
            durable: LogPlace::default(),
        }
        .encode();
        bytes[0] = value;
        let check = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&check.to_le_bytes());
        if let Some(header) = RecordHeader::decode(&bytes) {
            named.push((value.into(), format!("{:?}", header.kind)));
        }
    }
    check_values("Record kind", &named);
}

#[test]
fn operation_header_is_at_these_offsets() {
    let header = OpHeader {
        kind: OpKind::PutFragments,
        key_len: 0x0102,
        version_len: 0x0304,
        meta_len: 0x0506,
        value_len: 0x0708_090a,
        moved_from: 0x0b0c_0d0e,
    };
    let values = [
        ("kind", 5),
        ("key_len", 0x0102),
        ("version_len", 0x0304),
        ("meta_len", 0x0506),
        ("value_len", 0x0708_090a),
        ("moved_from", 0x0b0c_0d0e),
    ];
    check_fields("Operation header", OP_HEADER_LEN, &header.encode(), &values);
}

#[test]
fn operation_kinds_are_those_of_the_code() {
    let mut named = Vec::new();
    for value in 0..=u8::MAX {
        let mut bytes = [0; OP_HEADER_LEN];
        bytes[0] = value;
        if let Some(header) = OpHeader::decode(&bytes) {
            named.push((value.into(), format!("{:?}", header.kind)));
        }
    }
    check_values("Operation kind", &named);
}

#[test]
fn node_header_is_at_these_offsets() {
    let mut node = [0; 512];
    let mut builder = data::DataBuilder::new(&mut node);
    let mut body = [0; 16];
    let len = entry::encode_seqs(&[9, 4], &mut body).expect("room");
    assert!(builder.push(&mut node, b"key", &entry::Entry::boundary(&body[..len])));
    assert!(builder.push(&mut node, b"key", &entry::Entry::inline(7, b"value")));
    builder.finish(&mut node);
    // shared, suffix_len, "key", flags, count, two numbers; shared, suffix_len, flags, seq,
    // value_len, "value".
    let end = 16 + (2 + 3 + 4) + (2 + 3 + 5);
    let values = [
        ("type", NodeType::Data as u64),
        ("level", 0),
        ("flags", 1),
        ("count", 2),
        ("end", end),
        ("filter_len", 0),
    ];
    check_fields("Node header", 16, &node, &values);
    assert_eq!(node[16..25], [0, 3, b'k', b'e', b'y', 0x14, 2, 9, 4]);
    assert_eq!(node[25..35], [3, 0, 0, 7, 5, b'v', b'a', b'l', b'u', b'e']);
    assert_eq!(node[500..504], [16, 0, 0, 0], "the first group: where it begins, no Boundary yet");
}

#[test]
fn entry_kinds_are_those_of_the_code() {
    let kinds = (0..=u8::MAX).filter_map(|value| Some((value.into(), Kind::from_u8(value)?)));
    let named: Vec<_> = kinds.map(|(value, kind)| (value, format!("{kind:?}"))).collect();
    check_values("Entry kind", &named);
}
