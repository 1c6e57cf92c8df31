//! Urgent gets while the store is overwritten as fast as it lets, against the same gets of a store
//! that rests.

use super::values::Work;
use super::{Scale, spec};
use crate::goal::{Bound, Goal};
use crate::load::Choice;
use crate::report::Section;
use crate::subject::Subject as _;
use crate::subject::shingle;

const MEMORY_LEN: usize = 64 << 20;
const WRITERS: usize = 4;
/// How much longer than at rest the slowest hundredth may take.
const TIMES_MAX: f64 = 1.5;

/// The experiment and its goals.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let full = scale == Scale::Full;
    let gets = if full { 4_000 } else { 200 };
    let media = if full {
        [
            ("SMR", "smr:zones=400,zone-mib=64,conventional=0", 1 << 20),
            ("ZNS", "zns-zn540:zones=100,zone-mib=64,capacity-mib=64", 64 << 10),
        ]
    } else {
        [
            ("SMR", "smr:zones=256,zone-mib=4,conventional=0", 256 << 10),
            ("ZNS", "zns-zn540:zones=60,zone-mib=4,capacity-mib=4", 64 << 10),
        ]
    };
    let about = format!(
        "{gets} gets of whole values, one at a time and urgent: first of a store that rests, then \
         while {WRITERS} writers overwrite keys at random at 80 % of the capacity, buffered and \
         without a pause, with all the reclaim and merging that this needs."
    );
    let mut section = Section::new("Urgent gets beside overwriting", about);
    let mut goals = Vec::new();
    for (name, text, value_len) in media {
        let (idle, busy) = shingle::with(&spec(text), MEMORY_LEN, |subject| {
            let mut work = Work::new(value_len);
            let cost = subject.store.cost_bytes(crate::load::KEY_LEN, 0, value_len as u64);
            let count = subject.store.stats().capacity_bytes / cost * 4 / 5;
            let _ = work.fill(subject, count);
            let _ = work.overwrite(subject, &Choice::Uniform, count / 2);
            subject.settle();
            let idle = work.get_beside_puts(subject, gets, 0);
            (idle, work.get_beside_puts(subject, gets, WRITERS))
        });
        goals.push(Goal::new(
            format!("urgent get on {name} beside overwriting: p99 by that at rest"),
            busy.latency_ms(0.99) / idle.latency_ms(0.99),
            Bound::AtMost(TIMES_MAX),
        ));
        for mut phase in [idle, busy] {
            phase.work += &format!(" on {name}, {} KiB", value_len >> 10);
            section.phases.push(phase);
        }
    }
    (section, goals)
}
