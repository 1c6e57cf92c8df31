//! Golden images: the bytes of a small store, kept in the tree.
//!
//! A format is what was written yesterday. Two claims hold it: today's code writes the same bytes
//! for the same operations, and it reads back what the committed image must hold. The first finds
//! a change nobody meant; the second is the one that users feel.
//!
//! `SHINGLE_BLESS=1 cargo test -p shingle-sim --test store golden::` rewrites the image. An image
//! of an older version is never rewritten: it gets a new name and stays, for the second test.
//!
//! The dump is text: for each zone its number and write pointer, then a line for each block with
//! its bytes in hexadecimal, where `(n)` stands for n zero bytes.

use std::fmt::Write as _;
use std::path::PathBuf;

use shingle_engine::{
    Batch, Condition, Durability, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::{Device, Request, ZoneDescriptor, ZoneId};
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;

const MEDIA: &str = "nor-16m:zones=64,timing=instant";
const STORE_ID: [u8; 16] = *b"golden image v1\0";
const LIMITS: Limits = Limits {
    key_len_max: 64,
    meta_len_max: 32,
    value_len_max: 16 << 10,
    node_len_bytes: 2048,
    separate_from_bytes: 192,
};
const MEMORY_LEN: usize = 256 << 10;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v4.txt")
}

fn new_drive() -> Drive {
    Drive::new(MediaSpec::parse(MEDIA).expect("a known medium"), 1)
}

/// A value that says whose it is and tells every byte from its neighbours.
fn value(key: &str, len: usize) -> Vec<u8> {
    let seed = key.bytes().fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    (0..len).map(|at| seed.wrapping_add((at % 251) as u8)).collect()
}

/// What the store holds at the end of [`write_store`]: key, version, metadata, value length.
fn contents() -> Vec<(&'static str, &'static [u8], &'static [u8], usize)> {
    vec![
        ("batch/a", b"", b"", 3),
        ("batch/b", b"v7", b"v7 and more", 40),
        ("bottom/inline", b"", b"", 20),
        ("bottom/pointer", b"v1", b"v1", 700),
        ("empty", b"", b"", 0),
        ("overwritten", b"v2", b"v2", 11),
        ("range/a", b"", b"", 5),
        ("range/z", b"", b"", 6),
        ("split", b"", b"s", 9000),
        ("tail/inline", b"", b"", 30),
        ("tail/pointer", b"", b"", 300),
        ("tier/inline", b"", b"", 25),
    ]
}

const ABSENT: [&str; 5] = ["deleted", "range/m", "range/n", "tail/deleted", "zzz"];

fn put(drive: &Drive, store: &Store<'_, &Drive>, key: &str, meta: Meta<'_>, len: usize) {
    let value = value(key, len);
    drive
        .block_on(store.put(key.as_bytes(), meta, &value, WriteOptions::BUFFERED))
        .unwrap_or_else(|error| panic!("put {key}: {error}"));
}

/// Every structure of the format once: the bottom run, a run of a tier with a range deletion, and
/// records of each kind behind the checkpoint.
fn write_store(drive: &Drive) {
    let mut memory = vec![0; MEMORY_LEN];
    let options =
        FormatOptions { store_id: STORE_ID, limits: LIMITS, redundancy: Redundancy::NONE };
    drive.block_on(format(&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(drive, &mut memory)).expect("open");
    let put = |key, meta, len| put(drive, &store, key, meta, len);

    put("bottom/inline", Meta::NONE, 20);
    put("bottom/pointer", Meta::version(b"v1"), 700);
    put("deleted", Meta::NONE, 10);
    put("overwritten", Meta::version(b"v1"), 400);
    for key in ["range/a", "range/m", "range/n"] {
        put(key, Meta::NONE, 5);
    }
    drive.block_on(store.compact()).expect("compact");

    put("tier/inline", Meta::NONE, 25);
    let (split, mut buffer) = (value("split", 9000), [0; 4096]);
    let options = WriteOptions::BUFFERED;
    let meta = Meta::new(b"s", 0);
    let mut reader = &split[..];
    let streamed = store.put_from(b"split", meta, 9000, &mut reader, &mut buffer, options);
    drive.block_on(streamed).expect("put in fragments");
    put("overwritten", Meta::version(b"v2"), 11);
    let buffered = WriteOptions::BUFFERED;
    drive.block_on(store.delete(b"deleted", buffered)).expect("delete");
    let end = Some(&b"range/z"[..]);
    let ranged = store.delete_range(b"range/b", end, Durability::Buffered);
    drive.block_on(ranged).expect("delete a range");
    put("range/z", Meta::NONE, 6);
    drive.block_on(store.checkpoint()).expect("checkpoint");

    put("tail/inline", Meta::NONE, 30);
    put("tail/pointer", Meta::NONE, 300);
    put("tail/deleted", Meta::NONE, 1);
    put("empty", Meta::NONE, 0);
    let mut room = [0; 512];
    let mut batch = Batch::new(&mut room);
    batch.put(b"batch/a", Meta::NONE, &value("batch/a", 3), Condition::Absent).expect("room");
    let meta = Meta::new(b"v7 and more", 2);
    batch.put(b"batch/b", meta, &value("batch/b", 40), Condition::None).expect("room");
    batch.delete(b"tail/deleted", Condition::Present).expect("room");
    batch.delete_range(b"zz", None).expect("room");
    drive.block_on(store.write(&batch, Durability::Durable)).expect("batch");
    store.check_invariants();
    // Not closed: the records since the checkpoint are in the log alone.
}

fn zones(drive: &Drive) -> Vec<ZoneDescriptor> {
    let mut zones = vec![ZoneDescriptor::EMPTY; drive.geometry().zone_count as usize];
    let count = drive.block_on(drive.report(ZoneId(0), &mut zones)).expect("report");
    assert_eq!(count, zones.len());
    zones
}

fn dump(drive: &Drive) -> String {
    let block_len = drive.geometry().block_len_bytes as usize;
    let mut text = format!("shingle golden image, format 4, on {MEDIA}\n");
    for zone in zones(drive).iter().filter(|zone| zone.write_pointer.0 > 0) {
        writeln!(text, "zone {} {}", zone.zone.0, zone.write_pointer.0).expect("to memory");
        for block in 0..zone.write_pointer.0 {
            let mut bytes = vec![0; block_len];
            let lba = zone.start.plus(block.into());
            drive.block_on(drive.read(lba, &mut bytes, Request::default())).expect("read");
            text.push_str(&to_hex(&bytes));
            text.push('\n');
        }
    }
    text
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let zeros = bytes[at..].iter().take_while(|byte| **byte == 0).count();
        if zeros >= 4 {
            write!(text, "({zeros})").expect("to memory");
            at += zeros;
        } else {
            write!(text, "{:02x}", bytes[at]).expect("to memory");
            at += 1;
        }
    }
    text
}

fn from_hex(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        if let Some(run) = rest.strip_prefix('(') {
            let (count, after) = run.split_once(')').expect("a closed run of zeros");
            bytes.resize(bytes.len() + count.parse::<usize>().expect("a count"), 0);
            rest = after;
        } else {
            let (byte, after) = rest.split_at(2);
            bytes.push(u8::from_str_radix(byte, 16).expect("two hexadecimal digits"));
            rest = after;
        }
    }
    bytes
}

fn restore(text: &str) -> Drive {
    let drive = new_drive();
    let geometry = drive.geometry();
    let mut at = geometry.zone_start(ZoneId(0));
    for line in text.lines().skip(1) {
        if let Some(zone) = line.strip_prefix("zone ") {
            let (zone, _) = zone.split_once(' ').expect("a zone and its write pointer");
            at = geometry.zone_start(ZoneId(zone.parse().expect("a zone's number")));
            continue;
        }
        let bytes = from_hex(line);
        assert_eq!(bytes.len(), geometry.block_len_bytes as usize, "a whole block");
        drive.block_on(drive.write(at, &bytes, Request::default())).expect("write");
        at = at.plus(1);
    }
    drive.block_on(Device::sync(&drive)).expect("sync");
    drive
}

/// Panics unless the store on `drive` holds exactly [`contents`].
fn check_contents(drive: &Drive) {
    let mut memory = vec![0; MEMORY_LEN];
    let store = drive.block_on(Store::open(drive, &mut memory)).expect("open");
    assert_eq!(*store.limits(), LIMITS);
    let mut out = vec![0; 16 << 10];
    for (key, version, meta, len) in contents() {
        let get = store.get(key.as_bytes(), &mut out, ReadOptions::default());
        let found = drive.block_on(get).unwrap_or_else(|error| panic!("{key}: {error}"));
        let found = found.unwrap_or_else(|| panic!("{key} is absent"));
        assert_eq!(found.value_len as usize, len, "{key}");
        assert!(out[..len] == value(key, len), "{key} has another value");
        let mut bytes = [0; 32];
        let get = store.get_meta(key.as_bytes(), &mut bytes, ReadOptions::default());
        let found = drive.block_on(get).expect("metadata").expect("present");
        assert_eq!(&bytes[..found.meta_len], meta, "{key}");
        assert_eq!(&bytes[..found.version_len], version, "{key}");
    }
    for key in ABSENT {
        let get = store.contains(key.as_bytes(), ReadOptions::default());
        assert!(!drive.block_on(get).expect("search"), "{key} is present");
    }
}

#[test]
fn golden_image_is_what_the_code_writes() {
    let drive = new_drive();
    write_store(&drive);
    let written = dump(&drive);
    if std::env::var_os("SHINGLE_BLESS").is_some() {
        std::fs::write(path(), &written).expect("write the golden image");
        return;
    }
    let committed = std::fs::read_to_string(path()).expect("the golden image");
    for (number, (is, was)) in written.lines().zip(committed.lines()).enumerate() {
        assert!(
            is == was,
            "the format changed: line {} of {} is no longer what the code writes\n\
             was {was}\n is {is}\n\
             If that is meant, raise VERSION, keep the old image under its own name, say so in \
             FORMAT.md, and bless the new one with SHINGLE_BLESS=1.",
            number + 1,
            path().display(),
        );
    }
    assert_eq!(written.lines().count(), committed.lines().count(), "blocks written");
}

#[test]
fn golden_image_opens_and_holds_what_was_written() {
    if std::env::var_os("SHINGLE_BLESS").is_some() {
        return;
    }
    let committed = std::fs::read_to_string(path()).expect("the golden image");
    check_contents(&restore(&committed));
}

/// The formats before; the first also as it was written when a tier was merged at four runs.
#[test]
fn golden_images_of_older_versions_open_and_hold_what_was_written() {
    for name in ["v1.txt", "v1-four-runs.txt", "v2.txt", "v3.txt"] {
        let committed = std::fs::read_to_string(path().with_file_name(name));
        check_contents(&restore(&committed.expect("the golden image")));
    }
}

#[test]
fn store_of_the_script_holds_its_contents() {
    let drive = new_drive();
    write_store(&drive);
    check_contents(&drive);
    check_contents(&restore(&dump(&drive)));
}
