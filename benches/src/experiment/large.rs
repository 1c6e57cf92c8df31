//! Values of 1 MiB on a shingled disk: filling, overwriting, reading, ranges.

use shingle_sim::media::MediaSpec;

use super::values::{Work, sequential_rate, zones_used};
use super::{Scale, spec};
use crate::goal::{Bound, Goal};
use crate::load::Choice;
use crate::measure::Phase;
use crate::report::Section;
use crate::subject::leveldb::LevelDb;
use crate::subject::shingle::{self, Shingle};

/// What one size of the work is.
struct Size {
    /// The shingled disk.
    smr: &'static str,
    /// A conventional one of the same size and mechanics, for a peer that knows no zones.
    disk: &'static str,
    value_len: usize,
    memory_len: usize,
    /// How often the capacity is overwritten.
    times: f64,
    gets: u64,
    range_len: usize,
    /// Values of a range that are put in order of place, and how many of them are read at a time.
    range_window: (usize, usize),
}

const FULL: Size = Size {
    smr: "smr:zones=400,zone-mib=64,conventional=0",
    disk: "disk-8tb:zones=1600,cache-kib=65536",
    value_len: 1 << 20,
    memory_len: 64 << 20,
    times: 3.0,
    gets: 4000,
    range_len: 4000,
    range_window: (256, 8),
};

const QUICK: Size = Size {
    smr: "smr:zones=256,zone-mib=4,conventional=0",
    disk: "disk-8tb:zones=64,cache-kib=65536",
    value_len: 256 << 10,
    memory_len: 24 << 20,
    times: 1.0,
    gets: 300,
    range_len: 300,
    range_window: (64, 8),
};

/// Longest put that is allowed: what is asked, and the disk's longest seek, a turn, and a transfer.
const LONGEST_MS: f64 = 100.0 + 16.0 + 8.3 + 5.1;

/// Keys that fill four fifths of what a store promises to hold.
fn four_fifths(subject: &Shingle<'_>, value_len: usize) -> u64 {
    let cost = subject.store.cost_bytes(crate::load::KEY_LEN, 0, value_len as u64);
    subject.store.stats().capacity_bytes / cost * 4 / 5
}

/// The disk's own rate in the zones that a store has used; its values lie all over them.
fn rate_where_used(subject: &Shingle<'_>) -> f64 {
    sequential_rate(subject.drive(), zones_used(subject.drive()))
}

/// The experiment and its goals.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let size = if scale == Scale::Full { FULL } else { QUICK };
    let disk = spec(size.smr);
    let about = format!(
        "Values of {} KiB in random key order on `{}` with {} MiB of memory, {:.1} times over \
         at 80 % of the capacity. LevelDB has `{}`, a disk of the same mechanics that any block of \
         may be written at any time. A put is buffered; a sync ends each phase.",
        size.value_len >> 10,
        size.smr,
        size.memory_len >> 20,
        size.times,
        size.disk,
    );
    let mut section = Section::new("Large values on a shingled disk", about);
    let (mut goals, fill_rate) = ours(&size, &disk, &mut section);
    let zipf = shingle::with(&disk, size.memory_len, |subject| {
        let mut work = Work::new(size.value_len);
        let count = four_fifths(subject, size.value_len);
        let _ = work.fill(subject, count);
        let puts = (count as f64 * size.times) as u64;
        work.overwrite(subject, &Choice::zipf(count), puts)
    });
    goals.push(Goal::new(
        "1 MiB, overwriting at 80 %, Zipf 0.99: write amplification",
        zipf.write_amplification(),
        Bound::AtMost(1.6),
    ));
    section.phases.push(zipf);
    let count = 1000;
    let mut plain = LevelDb::plain(&spec(size.disk), size.memory_len, size.value_len);
    let mut work = Work::new(size.value_len);
    let fill = work.fill(&mut plain, count);
    goals.push(Goal::against(
        "1 MiB, filling: values a second",
        fill_rate,
        ("leveldb", fill.ops_per_s()),
        Bound::AtLeast(5.0),
    ));
    section.phases.push(fill);
    let mut kinetic = LevelDb::kinetic(&spec(size.disk), size.memory_len, size.value_len);
    let mut work = Work::new(size.value_len);
    section.phases.push(work.fill(&mut kinetic, count));
    section.phases.push(work.overwrite(&mut kinetic, &Choice::Uniform, count));
    section.phases.push(work.get(&mut kinetic, size.gets.min(500)));
    section.notes.push(format!(
        "LevelDB was given {count} values, too few to compact much: more would be slower. \
         `kinetic` is LevelDB with the drive's own settings, values of 8 KiB and more in files \
         of their own."
    ));
    (section, goals)
}

fn ours(size: &Size, disk: &MediaSpec, section: &mut Section) -> (Vec<Goal>, f64) {
    shingle::with(disk, size.memory_len, |subject| {
        let mut work = Work::new(size.value_len);
        let count = four_fifths(subject, size.value_len);
        let fill = work.fill(subject, count);
        let fill_rate = rate_where_used(subject);
        let puts = (count as f64 * size.times) as u64;
        let over = work.overwrite(subject, &Choice::Uniform, puts);
        let get = work.get_together(subject, 1, size.gets);
        let deep = work.get_together(subject, 32, size.gets);
        let miss = work.miss(subject, size.gets);
        let len = size.range_len.min(count as usize / 2);
        let range = work.range_together(subject, size.range_window, len);
        let rate = rate_where_used(subject);
        let longest = over.longest_ms();
        let read = (over.after.read_bytes - over.before.read_bytes) as f64;
        let traffic = (over.written_bytes() as f64 + read) / over.seconds();
        section.notes.push(format!(
            "Written in order, the zones that were filled take {:.1} MB/s, and those that were \
             used when all was overwritten {:.1}. While overwriting it wrote and read {:.2} of \
             that.",
            fill_rate / 1e6,
            rate / 1e6,
            traffic / rate
        ));
        let goals = vec![
            Goal::new(
                "1 MiB, filling: share of the disk's sequential rate",
                fill.bytes_per_s() / fill_rate,
                Bound::AtLeast(0.98),
            ),
            Goal::new(
                "1 MiB, overwriting at 80 %, uniform: write amplification",
                over.write_amplification(),
                Bound::AtMost(2.6),
            ),
            Goal::new(
                "1 MiB, overwriting at 80 %, uniform: share of the rate that this leaves",
                over.bytes_per_s() * over.write_amplification() / rate,
                Bound::AtLeast(0.9),
            ),
            Goal::new(
                "1 MiB, overwriting at 80 %, uniform: p99.99 of a put by p50",
                over.latency_ms(0.9999) / over.latency_ms(0.5),
                Bound::AtMost(5.0),
            ),
            Goal::new(
                "1 MiB, overwriting at 80 %, uniform: longest put, ms",
                longest,
                Bound::AtMost(LONGEST_MS),
            ),
            Goal::new("1 MiB, get: reads of the device", get.reads_per_op(), Bound::AtMost(1.05)),
            Goal::new(
                "absent key, get: reads of the device",
                miss.reads_per_op(),
                Bound::AtMost(0.02),
            ),
            Goal::new(
                format!(
                    "1 MiB, ordered range after overwriting, {} values at a time in order of \
                     place: share of the sequential rate",
                    size.range_window.0
                ),
                range.bytes_per_s() / rate,
                Bound::AtLeast(0.5),
            ),
        ];
        let fill_rate = fill.ops_per_s();
        section.phases.extend([fill, over, get, deep, miss, range] as [Phase; 6]);
        (goals, fill_rate)
    })
}
