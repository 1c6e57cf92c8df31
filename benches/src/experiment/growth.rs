//! What a put, a get and opening cost when there is ten and a hundred times as much.

use super::values::Work;
use super::{Scale, spec};
use crate::goal::{Bound, Goal};
use crate::report::Section;
use crate::subject::shingle;

const VALUE_LEN: usize = 100;
const MEMORY_LEN: usize = 4 << 20;
/// Gets at a moment, and moments at which there are some before the fill ends.
const GETS: u64 = 200;
const MOMENTS: u64 = 8;

/// The experiment and its goals.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let least = if scale == Scale::Full { 300_000 } else { 2_000 };
    let about = format!(
        "{least} keys with values of {VALUE_LEN} B, then ten and a hundred times as many, in \
         random order with {} KiB of memory.",
        MEMORY_LEN >> 10
    );
    let mut section = Section::new("Growth", about);
    let disk = spec("smr:zones=1600,zone-mib=8,conventional=0");
    let (mut writes, mut reads, mut opens) = (Vec::new(), Vec::new(), Vec::new());
    for times in [1, 10, 100] {
        shingle::with(&disk, MEMORY_LEN, |subject| {
            let mut work = Work::new(VALUE_LEN);
            // How many runs there are depends on where merges stand: the mean of some moments.
            let count = least * times;
            let mut fill = work.fill_batches(subject, count - MOMENTS * (count / 20), 100);
            let mut get = work.get(subject, GETS);
            for _ in 0..MOMENTS {
                fill = fill.and(work.fill_batches(subject, count / 20, 100));
                get = get.and(work.get(subject, GETS));
            }
            fill.work = format!("fill, {times} times");
            get.work = format!("get, {times} times");
            writes.push(fill.write_amplification());
            reads.push(get.reads_per_op());
            opens.push(subject.mount_reads(MEMORY_LEN));
            section.phases.extend([fill, get]);
        });
    }
    section.notes.push(format!("Opening it took {opens:?} reads of the device."));
    // A hundredfold has at most a few levels more: what each tenfold adds should not rise.
    let slope = |figures: &[f64]| (figures[2] - figures[1]) / (figures[1] - figures[0]).max(0.5);
    let goals = vec![
        Goal::new(
            "growth: write amplification that the second tenfold adds by what the first did",
            slope(&writes),
            Bound::AtMost(1.5),
        ),
        Goal::new(
            "growth: reads a get that the second tenfold adds by what the first did",
            slope(&reads),
            Bound::AtMost(1.5),
        ),
        Goal::new(
            "growth: reads to open a hundredfold by those at first",
            opens[2] as f64 / opens[0].max(1) as f64,
            Bound::AtMost(2.0),
        ),
    ];
    (section, goals)
}
