//! What fixed work costs, in counts that are kept in the tree.
//!
//! When to flush, to merge, to reclaim, and how many zones to keep for it: all of this shows in
//! requests and bytes and in nothing that is read back. Here lives are drawn by seed, on drives
//! that answer at once, so each count is exact, and a change of policy that nobody meant is found.
//! One that was meant is written down with `SHINGLE_BLESS=1 cargo test --release -p shingle-sim
//! --test store costs::`, and its diff says what it costs.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::shelf::{Random, scattered_key as key};
use shingle_engine::{
    Durability, FormatOptions, Limits, MediaStats, Meta, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, synthetic};

const NONE: Redundancy = Redundancy::NONE;
const MIRRORED: Redundancy = Redundancy { mirror_runs: true, mirror_log: true, parity: 0 };
const WITH_PARITY: Redundancy = Redundancy { mirror_runs: true, mirror_log: false, parity: 3 };

/// A drive, the engine's memory, the longest value, and what is kept twice.
const LIVES: [(&str, usize, u64, Redundancy); 9] = [
    ("smr-tiny", 2 << 20, 4000, NONE),
    ("smr-tiny", 16 << 20, 60_000, NONE),
    ("smr-tiny", 4 << 20, 20_000, MIRRORED),
    ("smr-tiny", 4 << 20, 600, MIRRORED),
    ("smr-tiny", 4 << 20, 20_000, WITH_PARITY),
    ("disk-tiny", 2 << 20, 8000, NONE),
    ("zns-tiny", 2 << 20, 8000, NONE),
    ("nor-1m", 64 << 10, 120, NONE),
    ("nor-1m", 128 << 10, 2000, NONE),
];

/// What the store did since the last time.
fn tell(
    text: &mut String,
    what: &str,
    done: u64,
    store: &Store<'_, &Drive>,
    last: &mut MediaStats,
) {
    let (stats, media) = (store.stats(), store.media_stats());
    writeln!(
        text,
        "{what} {done}: used {} of {}, {} zones free, runs {:?}, flushes {}, merges {}, \
         reclaims {}, moved {} B, rebuilds {}, regroups {}, reads {} of {} B, \
         writes {} of {} B, syncs {}, resets {}",
        stats.used_bytes,
        stats.capacity_bytes,
        stats.free_zones,
        store.runs_by_level(),
        stats.flushes,
        stats.merges,
        stats.reclaims,
        stats.moved_bytes,
        stats.rebuilds,
        stats.regroups,
        media.reads - last.reads,
        media.read_bytes - last.read_bytes,
        media.writes - last.writes,
        media.written_bytes - last.written_bytes,
        media.syncs - last.syncs,
        media.resets - last.resets,
    )
    .expect("memory is there");
    *last = media;
}

fn live(media: &str, memory_len: usize, len_max: u64, redundancy: Redundancy) -> String {
    let spec = MediaSpec::parse(&format!("{media}:timing=instant")).expect("a medium");
    let drive = Drive::new(spec, 5);
    let mut memory = vec![0; memory_len];
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [3; 16], limits, redundancy };
    drive.block_on(format(&drive, &mut memory, &options)).expect("format");
    let mut random = Random(7);
    let (mut text, mut count) = (format!("{media} {memory_len} B\n"), 0);
    for round in 0..2 {
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let mut last = MediaStats::default();
        tell(&mut text, "open", round, &store, &mut last);
        let put = |index: u64, random: &mut Random| {
            let value = synthetic::value(index, random.below(len_max + 1) as usize);
            drive.block_on(store.put(&key(index), Meta::NONE, &value, WriteOptions::BUFFERED))
        };
        let delete = |index: u64| {
            let deleted = drive.block_on(store.delete(&key(index), WriteOptions::BUFFERED));
            deleted.expect("a full store takes deletes");
        };
        let before = count;
        while put(count, &mut random).is_ok() {
            count += 1;
        }
        tell(&mut text, "fill", count - before, &store, &mut last);
        (0..count).filter(|index| index % 4 == round).for_each(delete);
        tell(&mut text, "delete", count / 4, &store, &mut last);
        for _ in 0..count / 2 {
            let index = random.below(count / 4) * 4 + 2 + random.below(2);
            put(index, &mut random).expect("a quarter is free");
        }
        tell(&mut text, "overwrite", count / 2, &store, &mut last);
        let snapshot = store.snapshot().expect("one is free");
        for first in (0x40..0x80).step_by(2) {
            let (from, to) = ([first], [first + 1]);
            let deleted = store.delete_range(&from, Some(&to), Durability::Durable);
            drive.block_on(deleted).expect("a full store takes deletes");
        }
        let steps = drive.block_on(store.maintain(1000)).expect("maintain");
        tell(&mut text, "delete an eighth, a snapshot held", steps.into(), &store, &mut last);
        drop(snapshot);
        drive.block_on(store.compact()).expect("compact");
        tell(&mut text, "compact", 1, &store, &mut last);
        store.check_invariants();
    }
    text
}

#[test]
fn fixed_work_costs_what_is_written_down() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/costs.txt");
    let found: String = LIVES
        .map(|(media, memory_len, len_max, redundancy)| {
            live(media, memory_len, len_max, redundancy)
        })
        .concat();
    if std::env::var_os("SHINGLE_BLESS").is_some() {
        std::fs::write(&path, &found).expect("the tree can be written");
    }
    let expected = std::fs::read_to_string(&path).expect("the counts are in the tree");
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "a cost changed; if it was to, SHINGLE_BLESS=1 writes it down");
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}
