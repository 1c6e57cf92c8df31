//! Values of 100 B on a shingled disk, with much more data than memory.

use super::values::{Work, sequential_rate};
use super::{Scale, spec};
use crate::goal::{Bound, Goal};
use crate::load::Choice;
use crate::measure::Phase;
use crate::report::Section;
use crate::subject::Subject as _;
use crate::subject::leveldb::LevelDb;
use crate::subject::shingle;

/// What one size of the work is.
struct Size {
    smr: &'static str,
    disk: &'static str,
    memory_len: usize,
    keys: u64,
    gets: u64,
}

/// 812 MB of keys and values with 16 MiB of memory.
const FULL: Size = Size {
    smr: "smr:zones=280,zone-mib=8,conventional=0",
    disk: "disk-8tb:zones=192,cache-kib=65536",
    memory_len: 16 << 20,
    keys: 7_000_000,
    gets: 5_000,
};

const QUICK: Size = Size {
    smr: "smr:zones=300,zone-kib=256,conventional=0",
    disk: "disk-8tb:zones=16,cache-kib=65536",
    memory_len: 8 << 20,
    keys: 100_000,
    gets: 300,
};

const VALUE_LEN: usize = 100;
const BATCH_LEN: usize = 100;
/// Short ranges, and entries in each.
const RANGES: u64 = 100;
const RANGE_LEN: usize = 100;

/// The experiment and its goals.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let size = if scale == Scale::Full { FULL } else { QUICK };
    let user_len = VALUE_LEN + crate::load::KEY_LEN;
    let about = format!(
        "{} keys with values of {VALUE_LEN} B in random order, batches of {BATCH_LEN}, then all \
         of them once more in another order; {} times the memory of {} KiB. LevelDB has `{}`.",
        size.keys,
        size.keys as usize * user_len / size.memory_len,
        size.memory_len >> 10,
        size.disk,
    );
    let mut section = Section::new("Small values on a shingled disk", about);
    let mut goals = Vec::new();
    let disk = spec(size.smr);
    let (ours, fill) = shingle::with(&disk, size.memory_len, |subject| {
        let mut work = Work::new(VALUE_LEN);
        let fill = work.fill_batches(subject, size.keys, BATCH_LEN);
        let over = work.overwrite_batches(subject, &Choice::Uniform, size.keys, BATCH_LEN);
        let get = work.get(subject, size.gets / 5);
        let range = work.ranges(subject, false, RANGES, RANGE_LEN);
        section.phases.extend([fill.clone(), over.clone(), get]);
        section.phases.extend(range);
        let mut compact = Phase::begin(subject, "compaction of it all");
        let began = subject.now_ns();
        subject.compact();
        compact.note(work.live_bytes() as usize, subject.now_ns() - began);
        section.phases.push(compact.end(subject, work.live_bytes()));
        let get = work.get(subject, size.gets);
        let miss = work.miss(subject, size.gets);
        section.phases.extend([get, miss]);
        for is_reverse in [false, true] {
            section.phases.extend(work.ranges(subject, is_reverse, RANGES, RANGE_LEN));
        }
        let range = work.ranges(subject, false, 1, size.keys as usize / 4);
        // Of the outermost zones that so much fits: the fastest there are.
        let drive = subject.drive();
        let (spec, geometry) = (drive.spec(), shingle_hal::Device::geometry(drive));
        let zone_bytes = u64::from(spec.zone_capacity_blocks * geometry.block_len_bytes);
        let rate =
            sequential_rate(drive, (size.keys * user_len as u64).div_ceil(zone_bytes) as u32);
        if let Some(range) = &range {
            goals.push(Goal::new(
                "100 B, ordered range, compacted: share of the sequential rate",
                range.bytes_per_s() / rate,
                Bound::AtLeast(0.8),
            ));
        }
        section.phases.extend(range);
        (over, fill)
    });
    let mut peer = LevelDb::plain(&spec(size.disk), size.memory_len, VALUE_LEN);
    let mut work = Work::new(VALUE_LEN);
    let peer_fill = work.fill_batches(&mut peer, size.keys, BATCH_LEN);
    let peer_over = work.overwrite_batches(&mut peer, &Choice::Uniform, size.keys, BATCH_LEN);
    let peer_get = work.get(&mut peer, size.gets.min(1000));
    let peer_range = work.ranges(&mut peer, false, RANGES, RANGE_LEN);
    let peer_long = work.ranges(&mut peer, false, 1, size.keys as usize / 4);
    for (what, ours, peer) in [("filling", &fill, &peer_fill), ("overwriting", &ours, &peer_over)] {
        goals.push(Goal::against(
            format!("100 B, {what}: write amplification"),
            ours.write_amplification(),
            ("leveldb", peer.write_amplification()),
            Bound::AtMost(0.5),
        ));
        goals.push(Goal::against(
            format!("100 B, {what}: puts a second"),
            ours.ops_per_s(),
            ("leveldb", peer.ops_per_s()),
            Bound::AtLeast(5.0),
        ));
    }
    section.phases.extend([peer_fill, peer_over, peer_get]);
    section.phases.extend(peer_range.into_iter().chain(peer_long));
    section.notes.push(
        "The port of LevelDB that is used here compacts once for each buffer that it writes out, \
         so on deep trees its debt grows: it writes less than the original would, and reads more."
            .to_owned(),
    );
    (section, goals)
}
