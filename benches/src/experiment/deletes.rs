//! Ranges where nine keys in ten were deleted: what tombstones cost a reader.

use super::values::Work;
use super::{Scale, spec};
use crate::goal::Goal;
use crate::load::{self, KEY_LEN};
use crate::measure::Phase;
use crate::report::Section;
use crate::subject::Subject;
use crate::subject::leveldb::LevelDb;
use crate::subject::shingle;

const VALUE_LEN: usize = 100;
const MEMORY_LEN: usize = 8 << 20;
/// One key in so many is kept.
const KEPT: u64 = 10;
const RANGES: u64 = 50;
const RANGE_LEN: usize = 100;

/// The experiment; nothing is asked of it.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let keys = if scale == Scale::Full { 1_000_000 } else { 20_000 };
    let about = format!(
        "{keys} keys with values of {VALUE_LEN} B, of which all but one in {KEPT} are deleted, one \
         by one; then {RANGES} ranges of {RANGE_LEN} keys that are left, and, of this engine, the \
         same once more after a compaction. {} MiB of memory.",
        MEMORY_LEN >> 20
    );
    let mut section = Section::new("Ranges among deleted keys", about);
    shingle::with(&spec("smr:zones=120,zone-mib=8,conventional=0"), MEMORY_LEN, |subject| {
        let mut work = Work::new(VALUE_LEN);
        section.phases.extend(delete_and_range(&mut work, subject, keys));
        subject.compact();
        let ranges = work.ranges(subject, false, RANGES, RANGE_LEN);
        section.phases.extend(
            ranges.map(|phase| Phase { work: format!("{}, compacted", phase.work), ..phase }),
        );
    });
    let disk = spec("disk-8tb:zones=48,cache-kib=65536");
    let mut peer = LevelDb::plain(&disk, MEMORY_LEN, VALUE_LEN);
    section.phases.extend(delete_and_range(&mut Work::new(VALUE_LEN), &mut peer, keys));
    (section, Vec::new())
}

fn delete_and_range(work: &mut Work, subject: &mut dyn Subject, keys: u64) -> Vec<Phase> {
    let _ = work.fill_batches(subject, keys, 100);
    let mut phase = Phase::begin(subject, "delete");
    for index in (0..keys).filter(|index| index % KEPT != 0) {
        let key = load::key(index);
        phase.step(subject, KEY_LEN, |subject| subject.delete(&key));
    }
    subject.sync();
    let live_bytes = keys / KEPT * (KEY_LEN + VALUE_LEN) as u64;
    let mut phases = vec![phase.end(subject, live_bytes)];
    phases.extend(work.ranges(subject, false, RANGES, RANGE_LEN));
    phases
}
