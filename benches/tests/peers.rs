//! Peers, on a simulated disk and on files, give back what they were given, in order, and are
//! charged for it.

use std::collections::BTreeMap;

use shingle_benches::load::{self, Random};
use shingle_benches::subject::Subject;
use shingle_benches::subject::leveldb::LevelDb;
use shingle_benches::subject::redb::Redb;
use shingle_sim::media::MediaSpec;

/// What a subject must hold: versions and value lengths by key, with the keys' numbers.
type Model = BTreeMap<[u8; load::KEY_LEN], (u64, u32, usize)>;

fn disk(text: &str) -> MediaSpec {
    MediaSpec::parse(text).expect("a disk")
}

fn small_disk() -> MediaSpec {
    disk("disk-tiny:zones=400")
}

fn value((index, version, len): (u64, u32, usize)) -> Vec<u8> {
    let mut value = vec![0; len];
    load::fill_value(index, version, &mut value);
    value
}

/// Puts, overwrites and deletes keys below `keys`, with values up to `len_max`; says what must be
/// there then and how many bytes were put.
fn exercise(subject: &mut dyn Subject, keys: u64, steps: u32, len_max: u64) -> (Model, u64) {
    let (mut model, mut random, mut user_bytes) = (Model::new(), Random::new(3), 0);
    for step in 0..steps {
        let (index, len) = (random.below(keys), 1 + random.below(len_max) as usize);
        let key = load::key(index);
        match random.below(8) {
            0 | 1 => {
                subject.delete(&key);
                model.remove(&key);
            }
            2 => {
                let other = random.below(keys);
                let pairs = [(index, step, len), (other, step + steps, len)];
                let entries = pairs.map(|pair| (load::key(pair.0), value(pair)));
                let entries = entries.each_ref().map(|(key, value)| (&key[..], &value[..]));
                subject.put_batch(&entries);
                pairs.iter().for_each(|&pair| _ = model.insert(load::key(pair.0), pair));
                user_bytes += 2 * (load::KEY_LEN + len) as u64;
            }
            _ => {
                subject.put(&key, &value((index, step, len)));
                model.insert(key, (index, step, len));
                user_bytes += (load::KEY_LEN + len) as u64;
            }
        }
        if step % 500 == 0 {
            subject.sync();
        }
    }
    subject.sync();
    (model, user_bytes)
}

fn compare(subject: &mut dyn Subject, model: &Model, keys: u64) {
    let mut got = Vec::new();
    for index in 0..keys {
        let key = load::key(index);
        let is_there = subject.get(&key, &mut got);
        assert_eq!(is_there, model.contains_key(&key), "key {index}");
        assert!(!is_there || got == value(model[&key]), "key {index} has another value");
    }
    let mut random = Random::new(4);
    for (is_reverse, count) in [(false, 1), (false, 100), (true, 1), (true, 100)].repeat(20) {
        let from = load::key(random.below(2 * keys));
        let forward: Vec<_> = model.range(from..).take(count).collect();
        let reverse: Vec<_> = model.range(..=from).rev().take(count).collect();
        let mut wanted = if is_reverse { reverse } else { forward }.into_iter();
        let wanted_count = wanted.len();
        let given = subject.scan(&from, is_reverse, count, &mut |key, got| {
            let (wanted_key, &wanted) = wanted.next().expect("no more than wanted");
            assert!(key == wanted_key && got == value(wanted), "another entry");
        });
        assert_eq!(given, Some(wanted_count), "reverse {is_reverse}, {count}");
    }
}

fn check(subject: &mut dyn Subject, len_max: u64) {
    let keys = 2_000;
    let (model, user_bytes) = exercise(subject, keys, 12_000, len_max);
    compare(subject, &model, keys);
    let reading = subject.reading();
    assert!(reading.written_bytes > user_bytes, "{user_bytes} bytes put, {reading:?}");
    assert!(reading.now_ns > 0 && reading.reads > 0 && reading.occupied_bytes > 0);
}

#[test]
fn leveldb_gives_back_what_it_was_given() {
    check(&mut LevelDb::plain(&small_disk(), 192 << 10, 1000), 1000);
}

#[test]
fn kinetic_gives_back_what_it_was_given() {
    check(&mut LevelDb::kinetic(&small_disk(), 1 << 20, 1000), 1000);
}

#[test]
fn redb_gives_back_what_it_was_given() {
    check(&mut Redb::new(&small_disk(), 256 << 10), 1000);
}

/// In wall-clock time, on files and in memory.
#[cfg(target_os = "linux")]
mod wall {
    use super::*;
    use shingle_benches::experiment::Scale;
    use shingle_benches::experiment::wall::{cases, judge};
    use shingle_benches::subject::file::FileHost;
    use shingle_benches::subject::fjall::Fjall;
    use shingle_benches::subject::ram::Ram;
    use shingle_benches::subject::shingle;
    use tempfile::tempdir;

    #[test]
    fn fjall_gives_back_what_it_was_given() {
        for values_apart in [false, true] {
            let folder = tempdir().expect("a folder");
            check(&mut Fjall::new(folder.path(), 3 << 20, values_apart), 3000);
        }
    }

    #[cfg(feature = "cpp")]
    #[test]
    fn rocksdb_gives_back_what_it_was_given() {
        use shingle_benches::subject::rocksdb::RocksDb;
        for values_apart in [false, true] {
            let folder = tempdir().expect("a folder");
            check(&mut RocksDb::new(folder.path(), 3 << 20, values_apart), 3000);
        }
    }

    #[test]
    fn redb_in_a_file_gives_back_what_it_was_given() {
        let folder = tempdir().expect("a folder");
        check(&mut Redb::in_folder(folder.path(), 1 << 20), 1000);
    }

    #[test]
    fn shingle_in_memory_and_on_a_file_gives_back_what_it_was_given() {
        const ZONE_LEN: usize = 1 << 20;
        shingle::on(&Ram::new(64, ZONE_LEN), 2 << 20, |_| {}, |subject| check(subject, 6000));
        let folder = tempdir().expect("a folder");
        let host = FileHost::new(&folder.path().join("device"), 64, ZONE_LEN);
        shingle::on(&host, 2 << 20, |_| {}, |subject| check(subject, 6000));
    }

    #[test]
    fn round_of_lives_has_a_goal_for_each_figure_that_is_asked() {
        let folder = tempdir().expect("a folder");
        let mut case = cases(Scale::Quick).remove(0);
        (case.job.keys, case.job.gets, case.memory_len) = (2_000, 100, 64 << 20);
        let round = case.kinds().into_iter().map(|kind| (kind, case.live(kind, folder.path())));
        let (section, goals) = judge(&case, &[round.collect()]);
        assert_eq!((goals.len(), section.notes.len()), (8, 2));
        assert!(goals.iter().all(|goal| goal.measure().is_finite()), "{goals:?}");
        let left = std::fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(left, 0, "files of stores that are gone");
    }
}

#[test]
fn kinetic_empties_value_files_when_its_disk_is_nearly_full() {
    let spec = disk("disk-tiny:zones=200");
    let mut subject = LevelDb::kinetic(&spec, 1 << 20, 32 << 10);
    // Values of 16 KiB on average: 1 400 of them are three quarters of what is kept apart.
    let (model, user_bytes) = exercise(&mut subject, 2_000, 12_000, 32 << 10);
    assert!(user_bytes > 2 * spec.capacity_bytes());
    compare(&mut subject, &model, 2_000);
}

#[test]
fn same_work_takes_the_same_time() {
    let run = || {
        let mut subject = LevelDb::plain(&small_disk(), 192 << 10, 1000);
        exercise(&mut subject, 500, 3_000, 1000);
        subject.reading()
    };
    assert_eq!(run(), run());
}
