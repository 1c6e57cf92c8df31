//! Random gets of values of 4 KiB at several depths, on a shingled disk and on a zoned SSD.

use shingle_engine::Limits;

use super::values::Work;
use super::{Scale, spec};
use crate::goal::{Bound, Goal};
use crate::measure::Phase;
use crate::plot::Line;
use crate::report::{Plot, Section};
use crate::subject::Subject as _;
use crate::subject::shingle;

const VALUE_LEN: usize = 4096;
const DEPTHS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// The experiment and its goals.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let full = scale == Scale::Full;
    let (keys, gets) = if full { (400_000, 4_000) } else { (20_000, 400) };
    let about = format!(
        "{keys} values of 4 KiB, memory of a thousandth of the data or the least that the store \
         takes, then {gets} random gets at each depth."
    );
    let mut section = Section::new("Reads at depth", about);
    let (mut goals, mut lines) = (Vec::new(), Vec::new());
    let media = [
        ("SMR", "smr:zones=120,zone-mib=32,conventional=0", 2.2),
        ("ZNS", "zns-zn540:zones=120", 12.0),
    ];
    for (name, text, least) in media {
        let phases = gets_on(text, keys, gets);
        let rate = |phase: &Phase| phase.ops_per_s();
        let (first, last) = (&phases[0], &phases[DEPTHS.len() - 1]);
        goals.push(Goal::new(
            format!("4 KiB, get on {name}: rate at depth 32 by that at depth 1"),
            rate(last) / rate(first),
            Bound::AtLeast(least),
        ));
        goals.push(Goal::new(
            format!("4 KiB, get on {name}: reads of the device"),
            first.reads_per_op(),
            Bound::AtMost(1.05),
        ));
        let points = DEPTHS.iter().zip(&phases);
        let points = points.map(|(depth, phase)| (*depth as f64, rate(phase) / rate(first)));
        lines.push(Line { name: name.to_owned(), points: points.collect() });
        section.phases.extend(phases.into_iter().map(|phase| {
            let work = format!("{} on {name}", phase.work);
            Phase { work, ..phase }
        }));
    }
    section.plots.push(Plot {
        name: "depth".to_owned(),
        title: "Gets of 4 KiB by depth".to_owned(),
        axes: ["at a time".to_owned(), "rate by that of one at a time".to_owned()],
        lines,
    });
    (section, goals)
}

fn gets_on(text: &str, keys: u64, gets: u64) -> Vec<Phase> {
    const MEMORY_LEN: usize = 2 << 20;
    // Formatted for what there is, or buffers for longer keys and values would take the memory.
    let limits = |limits: &mut Limits| {
        (limits.key_len_max, limits.meta_len_max) = (64, 32);
        (limits.value_len_max, limits.node_len_bytes) = (64 << 10, 4096);
        limits.separate_from_bytes = 1024;
    };
    shingle::with_limits(&spec(text), MEMORY_LEN, limits, |subject| {
        let mut work = Work::new(VALUE_LEN);
        let _ = work.fill(subject, keys);
        subject.settle();
        DEPTHS.iter().map(|depth| work.get_together(subject, *depth, gets)).collect()
    })
}
