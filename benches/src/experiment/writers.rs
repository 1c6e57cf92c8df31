//! Small durable puts by one writer and by many at once: what sharing a sync saves.

use super::{Scale, spec};
use crate::goal::Goal;
use crate::load::{self, KEY_LEN};
use crate::measure::Phase;
use crate::report::Section;
use crate::subject::leveldb::LevelDb;
use crate::subject::shingle;

const VALUE_LEN: usize = 100;
const MEMORY_LEN: usize = 16 << 20;
const WRITERS: [usize; 4] = [1, 4, 16, 64];

/// The experiment; nothing is asked of it.
#[must_use]
pub fn run(scale: Scale) -> (Section, Vec<Goal>) {
    let puts = if scale == Scale::Full { 6_400 } else { 320 };
    let about = format!(
        "{puts} puts of {VALUE_LEN} B, each durable before it is answered, by so many writers at \
         once. LevelDB's port knows one writer alone; its log is synced after each put."
    );
    let mut section = Section::new("Durable puts", about);
    let drives =
        [("SMR", "smr:zones=100,zone-mib=16,conventional=0"), ("ZNS", "zns-zn540:zones=60")];
    for (name, text) in drives {
        for writers in WRITERS {
            shingle::with(&spec(text), MEMORY_LEN, |subject| {
                let work = format!("durable put, {writers} at a time on {name}");
                let mut phase = Phase::begin(subject, work);
                let mut left = puts;
                let next = || {
                    left = u64::checked_sub(left, 1)?;
                    Some((load::key(left), value(left)))
                };
                subject.put_together(writers, next, |took_ns| {
                    phase.note(KEY_LEN + VALUE_LEN, took_ns);
                });
                section.phases.push(phase.end(subject, puts * (KEY_LEN + VALUE_LEN) as u64));
            });
        }
    }
    let disk = spec("disk-8tb:zones=16,cache-kib=65536");
    let mut peer = LevelDb::plain(&disk, MEMORY_LEN, VALUE_LEN);
    let mut phase = Phase::begin(&peer, "durable put, 1 at a time on a disk");
    for index in 0..puts / 8 {
        let (key, value) = (load::key(index), value(index));
        phase.step(&mut peer, KEY_LEN + VALUE_LEN, |peer| {
            peer.put(&key, &value);
            peer.sync();
        });
    }
    section.phases.push(phase.end(&peer, puts / 8 * (KEY_LEN + VALUE_LEN) as u64));
    (section, Vec::new())
}

fn value(index: u64) -> Vec<u8> {
    let mut value = vec![0; VALUE_LEN];
    load::fill_value(index, 1, &mut value);
    value
}
