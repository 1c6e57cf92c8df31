//! Values of one length on a disk: fill in random order, overwrite, read, and go through ranges.

use std::cell::{Cell, RefCell};

use shingle_hal::{Class, Device, Lba, Request, ZoneDescriptor, ZoneId};
use shingle_sim::Drive;

use crate::load::{self, Choice, KEY_LEN, Random, Zipf};
use crate::measure::Phase;
use crate::subject::Subject;
use crate::subject::shingle::Shingle;

/// Keys with their versions, and what is in the store under each.
pub struct Work {
    /// Bytes of each value.
    pub value_len: usize,
    /// How often each key was written.
    versions: Vec<u32>,
    random: Random,
    value: Vec<u8>,
    got: Vec<u8>,
}

/// Operations, mixed: percents of all; the rest are inserts.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// What it is called in a table.
    pub name: &'static str,
    /// Gets.
    pub gets: u64,
    /// Puts of keys that are there.
    pub puts: u64,
    /// Gets with a put behind them.
    pub changes: u64,
    /// Ranges of 1 to 100 keys.
    pub ranges: u64,
    /// The newest keys are the likeliest, and not some at random.
    pub newest: bool,
}

impl Mix {
    /// Nothing but inserts.
    pub const NONE: Self =
        Self { name: "inserts", gets: 0, puts: 0, changes: 0, ranges: 0, newest: false };

    /// The operation that a number below 100 stands for.
    fn op(&self, drawn: u64) -> Op {
        let shares = [
            (self.gets, Op::Get),
            (self.puts, Op::Put),
            (self.changes, Op::Change),
            (self.ranges, Op::Range),
        ];
        let mut below = 0;
        for (share, op) in shares {
            below += share;
            if drawn < below {
                return op;
            }
        }
        Op::Insert
    }
}

/// One operation of a mix.
enum Op {
    Get,
    Put,
    Change,
    Range,
    Insert,
}

impl Work {
    /// No keys yet; values of `value_len` bytes.
    #[must_use]
    pub fn new(value_len: usize) -> Self {
        Self {
            value_len,
            versions: Vec::new(),
            random: Random::new(11),
            value: vec![0; value_len],
            got: Vec::with_capacity(value_len),
        }
    }

    /// Keys that there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.versions.len() as u64
    }

    /// Bytes of keys and values that there are.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.count() * self.user_len() as u64
    }

    fn user_len(&self) -> usize {
        KEY_LEN + self.value_len
    }

    fn put(&mut self, subject: &mut dyn Subject, phase: &mut Phase, index: u64) {
        phase.step(subject, self.user_len(), |subject| self.put_one(subject, index));
    }

    /// Puts `count` new keys, in random order, one after another.
    pub fn fill(&mut self, subject: &mut dyn Subject, count: u64) -> Phase {
        let mut phase = Phase::begin(subject, "fill");
        for _ in 0..count {
            self.versions.push(0);
            self.put(subject, &mut phase, self.count() - 1);
        }
        subject.sync();
        phase.end(subject, self.live_bytes())
    }

    /// Overwrites keys as `choice` has it, `puts` times.
    pub fn overwrite(&mut self, subject: &mut dyn Subject, choice: &Choice, puts: u64) -> Phase {
        let mut phase = Phase::begin(subject, format!("overwrite, {}", choice.name()));
        for _ in 0..puts {
            let count = self.count();
            let index = choice.draw(&mut self.random, count);
            self.put(subject, &mut phase, index);
        }
        subject.sync();
        phase.end(subject, self.live_bytes())
    }

    /// Puts `count` new keys, in random order, `batch_len` at once.
    pub fn fill_batches(
        &mut self,
        subject: &mut dyn Subject,
        count: u64,
        batch_len: usize,
    ) -> Phase {
        let mut phase = Phase::begin(subject, format!("fill, batches of {batch_len}"));
        let first = self.count();
        self.versions.resize((first + count) as usize, 0);
        let mut indexes = first..first + count;
        self.batches(subject, &mut phase, batch_len, &mut || indexes.next());
        phase.end(subject, self.live_bytes())
    }

    /// Overwrites keys as `choice` has it, `puts` times, `batch_len` at once.
    pub fn overwrite_batches(
        &mut self,
        subject: &mut dyn Subject,
        choice: &Choice,
        puts: u64,
        batch_len: usize,
    ) -> Phase {
        let work = format!("overwrite, {}, batches of {batch_len}", choice.name());
        let mut phase = Phase::begin(subject, work);
        let (mut random, count) = (self.random.clone(), self.count());
        let mut left = puts;
        self.batches(subject, &mut phase, batch_len, &mut || {
            left = left.checked_sub(1)?;
            Some(choice.draw(&mut random, count))
        });
        self.random = random;
        phase.end(subject, self.live_bytes())
    }

    /// Puts what `next` gives, and syncs. A batch's time counts for its puts in equal parts.
    fn batches(
        &mut self,
        subject: &mut dyn Subject,
        phase: &mut Phase,
        batch_len: usize,
        next: &mut dyn FnMut() -> Option<u64>,
    ) {
        loop {
            let mut pairs = Vec::with_capacity(batch_len);
            while pairs.len() < batch_len
                && let Some(index) = next()
            {
                let version = &mut self.versions[index as usize];
                *version += 1;
                let mut value = vec![0; self.value_len];
                load::fill_value(index, *version, &mut value);
                pairs.push((load::key(index), value));
            }
            if pairs.is_empty() {
                break;
            }
            let batch: Vec<(&[u8], &[u8])> =
                pairs.iter().map(|(key, value)| (&key[..], &value[..])).collect();
            let began = subject.now_ns();
            subject.put_batch(&batch);
            let took_ns = (subject.now_ns() - began) / batch.len() as u64;
            for _ in &batch {
                phase.note(self.user_len(), took_ns);
            }
        }
        subject.sync();
    }

    /// Gets `gets` keys at random, one after another, and compares what comes.
    ///
    /// # Panics
    /// If a value is wrong or missing.
    pub fn get(&mut self, subject: &mut dyn Subject, gets: u64) -> Phase {
        let mut phase = Phase::begin(subject, "get");
        for _ in 0..gets {
            let index = self.random.below(self.count());
            let (key, got) = (load::key(index), &mut self.got);
            let user_len = KEY_LEN + self.value_len;
            assert!(phase.step(subject, user_len, |subject| subject.get(&key, got)));
            self.compare(index);
        }
        phase.end(subject, self.live_bytes())
    }

    /// Gets `gets` keys at random, `depth` at a time.
    ///
    /// # Panics
    /// If a value is wrong or missing.
    pub fn get_together(&mut self, subject: &mut Shingle<'_>, depth: usize, gets: u64) -> Phase {
        let mut phase = Phase::begin(subject, format!("get, {depth} at a time"));
        let user_len = self.user_len();
        let (versions, random) = (&self.versions, &mut self.random);
        let mut left = gets;
        let next = || {
            left = left.checked_sub(1)?;
            let index = random.below(versions.len() as u64);
            Some((index, load::key(index)))
        };
        subject.get_together(depth, next, |index, value, took_ns| {
            assert!(load::is_value(index, versions[index as usize], value), "key {index}");
            phase.note(user_len, took_ns);
        });
        phase.end(subject, self.live_bytes())
    }

    /// Goes through one range of `len` entries from a random key on: the keys come first, then
    /// their values, `window` by `window`, those of each in the order of their places and `depth`
    /// at a time.
    ///
    /// # Panics
    /// If a value is wrong or missing.
    pub fn range_together(
        &mut self,
        subject: &mut Shingle<'_>,
        (window, depth): (usize, usize),
        len: usize,
    ) -> Phase {
        let work = format!("range of {len}, {window} values in order of place, {depth} at a time");
        let mut phase = Phase::begin(subject, work);
        let from = load::key(self.random.below(self.count() / 2));
        let mut keys = subject.keys(&from, len);
        let (versions, user_len) = (&self.versions, self.user_len());
        for window in keys.chunks_mut(window) {
            window.sort_unstable_by_key(|(_, lba)| *lba);
            let mut keys = window.iter();
            let next = || {
                let (key, _) = *keys.next()?;
                let (_, index) = key.split_at(KEY_LEN - 8);
                Some((u64::from_be_bytes(index.try_into().ok()?), key))
            };
            subject.get_together(depth, next, |index, value, took_ns| {
                assert!(load::is_value(index, versions[index as usize], value), "key {index}");
                phase.note(user_len, took_ns);
            });
        }
        phase.end(subject, self.live_bytes())
    }

    /// Does `ops` operations of a mix, one after another, on keys by Zipf's law.
    ///
    /// # Panics
    /// If a value is wrong or missing, or the subject has no ranges.
    pub fn mix(&mut self, subject: &mut dyn Subject, mix: &Mix, ops: u64) -> Phase {
        let mut phase = Phase::begin(subject, mix.name);
        let (choice, ranks) = (Choice::zipf(self.count()), Zipf::new(self.count(), 0.99));
        for _ in 0..ops {
            let count = self.count();
            let index = match mix.newest {
                true => count - 1 - ranks.draw(&mut self.random),
                false => choice.draw(&mut self.random, count),
            };
            let op = mix.op(self.random.below(100));
            let began = subject.now_ns();
            let bytes = match op {
                Op::Get => self.get_one(subject, index),
                Op::Put => self.put_one(subject, index),
                Op::Change => self.get_one(subject, index) + self.put_one(subject, index),
                Op::Range => self.range_one(subject, index),
                Op::Insert => {
                    self.versions.push(0);
                    self.put_one(subject, count)
                }
            };
            phase.note(bytes, subject.now_ns() - began);
        }
        subject.sync();
        phase.end(subject, self.live_bytes())
    }

    /// Gets `count` values of random keys, one at a time and urgent, while `writers` overwrite
    /// random keys, each those of its own; their bytes are not among the phase's.
    ///
    /// # Panics
    /// If a value is not one that its key had during the get.
    pub fn get_beside_puts(
        &mut self,
        subject: &mut Shingle<'_>,
        count: u64,
        writers: usize,
    ) -> Phase {
        let name = if writers == 0 { "urgent get at rest" } else { "urgent get beside puts" };
        let mut phase = Phase::begin(subject, name);
        let (keys, user_len, live) = (self.count(), self.user_len(), self.live_bytes());
        // What was put, and what is known to be in the store.
        let put: Vec<Cell<u32>> = self.versions.iter().copied().map(Cell::new).collect();
        let there = put.clone();
        let left = Cell::new(count);
        let under_way: Vec<Cell<Option<u64>>> = vec![Cell::new(None); writers];
        let random = RefCell::new(&mut self.random);
        let from = Cell::new(0);
        let next = || {
            left.set(left.get().checked_sub(1)?);
            let index = random.borrow_mut().below(keys);
            from.set(there[index as usize].get());
            Some((index, load::key(index)))
        };
        let each = |index: u64, value: &[u8], took_ns: u64| {
            let mut versions = from.get()..=put[index as usize].get();
            assert!(versions.any(|version| load::is_value(index, version, value)), "key {index}");
            phase.note(user_len, took_ns);
        };
        let value_len = self.value_len;
        let overwrite = |writer: usize| {
            if let Some(index) = under_way[writer].take() {
                there[index as usize].set(put[index as usize].get());
            }
            if left.get() == 0 {
                return None;
            }
            let of_each = keys / writers as u64;
            let index = random.borrow_mut().below(of_each) * writers as u64 + writer as u64;
            let version = put[index as usize].get() + 1;
            put[index as usize].set(version);
            under_way[writer].set(Some(index));
            let mut value = vec![0; value_len];
            load::fill_value(index, version, &mut value);
            Some((load::key(index), value))
        };
        subject.get_beside_puts(writers, next, each, &overwrite);
        self.versions = put.into_iter().map(Cell::into_inner).collect();
        phase.end(subject, live)
    }

    /// Puts the next version of a key; gives the bytes.
    fn put_one(&mut self, subject: &mut dyn Subject, index: u64) -> usize {
        let version = &mut self.versions[index as usize];
        *version += 1;
        load::fill_value(index, *version, &mut self.value);
        subject.put(&load::key(index), &self.value);
        self.user_len()
    }

    fn get_one(&mut self, subject: &mut dyn Subject, index: u64) -> usize {
        assert!(subject.get(&load::key(index), &mut self.got), "key {index}");
        self.compare(index);
        self.user_len()
    }

    /// Goes through 1 to 100 entries from a key on.
    fn range_one(&mut self, subject: &mut dyn Subject, index: u64) -> usize {
        let (len, mut bytes) = (1 + self.random.below(100) as usize, 0);
        let found = subject.scan(&load::key(index), false, len, &mut |key, value| {
            bytes += key.len() + value.len();
        });
        assert!(found.is_some_and(|found| found > 0), "the key itself is there");
        bytes
    }

    fn compare(&self, index: u64) {
        let version = self.versions[index as usize];
        assert_eq!(self.got.len(), self.value_len, "key {index}");
        assert!(load::is_value(index, version, &self.got), "key {index} has another value");
    }

    /// Gets `gets` keys that are not there.
    ///
    /// # Panics
    /// If one is.
    pub fn miss(&mut self, subject: &mut dyn Subject, gets: u64) -> Phase {
        let mut phase = Phase::begin(subject, "get, absent");
        for _ in 0..gets {
            let index = self.count() + self.random.below(1 << 40);
            let (key, got) = (load::key(index), &mut self.got);
            assert!(!phase.step(subject, KEY_LEN, |subject| subject.get(&key, got)));
        }
        phase.end(subject, self.live_bytes())
    }

    /// Goes through `ranges` ranges of `len` entries from random keys on; `None` if the subject
    /// has no such order.
    ///
    /// # Panics
    /// If the keys are not in order.
    pub fn ranges(
        &mut self,
        subject: &mut dyn Subject,
        is_reverse: bool,
        ranges: u64,
        len: usize,
    ) -> Option<Phase> {
        let way = if is_reverse { "reverse" } else { "forward" };
        let mut phase = Phase::begin(subject, format!("range of {len}, {way}"));
        for _ in 0..ranges {
            let from = load::key(self.random.below(self.count()));
            let (mut before, mut bytes) = (Vec::new(), 0);
            let began = subject.now_ns();
            subject.scan(&from, is_reverse, len, &mut |key, value| {
                let in_order = before.is_empty() || (key > before.as_slice()) != is_reverse;
                assert!(in_order, "a range is out of order");
                before = key.to_vec();
                bytes += key.len() + value.len();
            })?;
            phase.note(bytes, subject.now_ns() - began);
        }
        Some(phase.end(subject, self.live_bytes()))
    }
}

/// Zones of `drive` from the first one up to the last that holds anything.
///
/// # Panics
/// If the drive refuses.
#[must_use]
pub fn zones_used(drive: &Drive) -> u32 {
    let mut zones = vec![ZoneDescriptor::EMPTY; drive.geometry().zone_count as usize];
    drive.block_on(drive.report(ZoneId(0), &mut zones)).expect("report");
    zones.iter().rposition(|zone| zone.write_pointer.0 > 0).map_or(0, |last| last as u32 + 1)
}

/// Bytes a second at which the first `zones` of a drive like this one are written in order, by
/// nobody in particular: what is there to be had in that part of a disk, which is slower the
/// further in it is.
///
/// # Panics
/// If the drive refuses.
#[must_use]
pub fn sequential_rate(drive: &Drive, zones: u32) -> f64 {
    let (spec, geometry) = (drive.spec(), drive.geometry());
    let drive = Drive::new(spec.clone(), 1);
    let step = geometry.transfer_blocks_max;
    let data = vec![0; step as usize * geometry.block_len_bytes as usize];
    let mut written = 0;
    drive.block_on(async {
        for zone in 0..zones {
            let start = geometry.zone_start(ZoneId(zone)).0;
            for block in (0..spec.zone_capacity_blocks).step_by(step as usize) {
                let count = step.min(spec.zone_capacity_blocks - block);
                let part = &data[..count as usize * geometry.block_len_bytes as usize];
                let request = Request { class: Class::default(), ..Request::default() };
                drive.write(Lba(start + u64::from(block)), part, request).await.expect("write");
                written += part.len() as u64;
            }
        }
        drive.sync().await.expect("sync");
    });
    written as f64 / (drive.now_ns() as f64 / 1e9)
}
