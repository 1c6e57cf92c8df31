//! The core workloads of YCSB, A to F: gets, puts, inserts and short ranges, mixed.
//!
//! # Source
//! Cooper et al., "Benchmarking cloud serving systems with YCSB", SoCC 2010: values of 1 KiB, keys
//! by Zipf's law with exponent 0.99, in D the newest most often, ranges of 1 to 100 keys in E. They
//! run in the order that its authors recommend, D and E at the end, since they insert.

use super::values::{Mix, Work};
use super::{Scale, spec};
use crate::goal::Goal;
use crate::measure::Phase;
use crate::report::Section;
use crate::subject::Subject;
use crate::subject::leveldb::LevelDb;
use crate::subject::redb::Redb;
use crate::subject::shingle;

const VALUE_LEN: usize = 1 << 10;
const MEMORY_LEN: usize = 8 << 20;

/// Shares are in percent.
const MIXES: [Mix; 6] = [
    Mix { name: "A: 50 % gets, 50 % puts", gets: 50, puts: 50, ..Mix::NONE },
    Mix { name: "B: 95 % gets, 5 % puts", gets: 95, puts: 5, ..Mix::NONE },
    Mix { name: "C: gets", gets: 100, ..Mix::NONE },
    Mix { name: "F: 50 % gets, 50 % gets and puts", gets: 50, changes: 50, ..Mix::NONE },
    Mix { name: "D: 95 % gets of the newest, 5 % inserts", gets: 95, newest: true, ..Mix::NONE },
    Mix { name: "E: 95 % ranges, 5 % inserts", ranges: 95, ..Mix::NONE },
];

/// The experiment; nothing is asked of it.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let (keys, ops) = if scale == Scale::Full { (400_000, 20_000) } else { (8_000, 200) };
    let about = format!(
        "{keys} values of {VALUE_LEN} B, filled in batches of 100, then {ops} operations of each \
         mix, one at a time, buffered, with {} MiB of memory. Writes are counted for all that an \
         operation brought or fetched.",
        MEMORY_LEN >> 20
    );
    let mut section = Section::new("YCSB", about);
    shingle::with(&spec("smr:zones=120,zone-mib=8,conventional=0"), MEMORY_LEN, |subject| {
        section.phases.extend(mixes(subject, keys, ops));
    });
    let disk = spec("disk-8tb:zones=48,cache-kib=65536");
    let mut leveldb = LevelDb::plain(&disk, MEMORY_LEN, VALUE_LEN);
    section.phases.extend(mixes(&mut leveldb, keys, ops));
    let mut redb = Redb::new(&disk, MEMORY_LEN);
    section.phases.extend(mixes(&mut redb, keys, ops));
    (section, Vec::new())
}

fn mixes(subject: &mut dyn Subject, keys: u64, ops: u64) -> Vec<Phase> {
    let mut work = Work::new(VALUE_LEN);
    let mut phases = vec![work.fill_batches(subject, keys, 100)];
    phases.extend(MIXES.iter().map(|mix| work.mix(subject, mix, ops)));
    phases
}
