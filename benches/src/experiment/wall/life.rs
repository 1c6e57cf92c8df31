//! The life of one store: loaded, overwritten, read, gone through both ways, everything compared.
//!
//! Only time inside the store counts, and each phase of writes ends with a sync that counts too.
//! Making values and comparing them does not count.

use hdrhistogram::Histogram;

use crate::load::{self, KEY_LEN, Random};
use crate::subject::Subject;

/// Sizes of the work.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Keys.
    pub keys: u64,
    /// Bytes of each value.
    pub value_len: usize,
    /// Puts of a batch.
    pub batch_len: usize,
    /// Gets, of keys that are there and as many of others.
    pub gets: u64,
}

/// A phase of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Every key put, in random order.
    Load,
    /// Every key put again, in another random order.
    Overwrite,
    /// Gets of keys that are there, at random.
    Hit,
    /// Gets of keys that are not.
    Miss,
    /// All entries in order.
    Forward,
    /// All entries in the order from the last.
    Reverse,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Life {
    /// Operations a second, by work.
    rates: [f64; Work::ALL.len()],
    /// Seconds that work in the background went on after the last put.
    pub settle_s: f64,
    /// Bytes written a byte put, everything included that was written until the end.
    pub write_amplification: f64,
    /// Bytes that the store takes a byte of keys and values, after it settled.
    pub space_amplification: f64,
    /// Milliseconds that 999 of 1000 batches took no longer than.
    pub batch_p999_ms: f64,
    /// Milliseconds of the longest batch.
    pub batch_max_ms: f64,
}

impl Job {
    /// Bytes of keys and values that are there in the end.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.keys * (KEY_LEN + self.value_len) as u64
    }
}

impl Work {
    /// All of it, in the order in which it is done.
    pub const ALL: [Self; 6] =
        [Self::Load, Self::Overwrite, Self::Hit, Self::Miss, Self::Forward, Self::Reverse];

    /// What it is called in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Overwrite => "overwrite",
            Self::Hit => "get hit",
            Self::Miss => "get miss",
            Self::Forward => "scan",
            Self::Reverse => "scan reverse",
        }
    }
}

impl Life {
    /// Operations a second.
    #[must_use]
    pub fn rate(&self, work: Work) -> f64 {
        self.rates[work as usize]
    }

    /// Lives it.
    ///
    /// # Panics
    /// If anything that the store gives is not what was put.
    #[must_use]
    pub fn of(subject: &mut dyn Subject, job: &Job) -> Self {
        let before = subject.reading().written_bytes;
        let mut batch_ns = Histogram::new(3).expect("three digits are legal");
        let mut order: Vec<u64> = (0..job.keys).collect();
        let load = put_all(subject, job, &order, 1, &mut batch_ns);
        Random::new(5).shuffle(&mut order);
        let overwrite = put_all(subject, job, &order, 2, &mut batch_ns);
        let began = subject.now_ns();
        subject.settle();
        let settle_s = (subject.now_ns() - began) as f64 / 1e9;
        let occupied = subject.reading().occupied_bytes;
        let hit = get(subject, job, true);
        let miss = get(subject, job, false);
        let [forward, reverse] = [false, true].map(|is_reverse| scan(subject, job, is_reverse));
        let written = subject.reading().written_bytes - before;
        Self {
            rates: [load, overwrite, hit, miss, forward, reverse],
            settle_s,
            write_amplification: written as f64 / (2 * job.live_bytes()) as f64,
            space_amplification: occupied as f64 / job.live_bytes() as f64,
            batch_p999_ms: batch_ns.value_at_quantile(0.999) as f64 / 1e6,
            batch_max_ms: batch_ns.max() as f64 / 1e6,
        }
    }
}

/// A store that answers faster than the clock ticks has no rate to speak of, but a finite one.
fn rate(ops: u64, took_ns: u64) -> f64 {
    ops as f64 * 1e9 / took_ns.max(1) as f64
}

/// Puts `version` of every key of `order`, and syncs.
fn put_all(
    subject: &mut dyn Subject,
    job: &Job,
    order: &[u64],
    version: u32,
    batch_ns: &mut Histogram<u64>,
) -> f64 {
    let mut took_ns = 0;
    load::batches(order, job.batch_len, job.value_len, version, |pairs| {
        let began = subject.now_ns();
        match pairs {
            [(key, value)] => subject.put(key, value),
            _ => subject.put_batch(pairs),
        }
        let batch = subject.now_ns() - began;
        batch_ns.record(batch).expect("it grows as needed");
        took_ns += batch;
    });
    let began = subject.now_ns();
    subject.sync();
    rate(job.keys, took_ns + subject.now_ns() - began)
}

/// Gets keys at random that are there, or are not.
fn get(subject: &mut dyn Subject, job: &Job, is_there: bool) -> f64 {
    let (mut random, mut got, mut took_ns) = (Random::new(7), Vec::new(), 0);
    for _ in 0..job.gets {
        let index = random.below(job.keys) + if is_there { 0 } else { job.keys };
        let key = load::key(index);
        let began = subject.now_ns();
        let found = subject.get(&key, &mut got);
        took_ns += subject.now_ns() - began;
        assert_eq!(found, is_there, "{}: key {index}", subject.name());
        let is_right = got.len() == job.value_len && load::is_value(index, 2, &got);
        assert!(is_right || !is_there, "{}: key {index} has another value", subject.name());
    }
    rate(job.gets, took_ns)
}

/// Goes through everything, and copies it out: a store that only lends its bytes has not brought
/// them yet.
fn scan(subject: &mut dyn Subject, job: &Job, is_reverse: bool) -> f64 {
    let from = if is_reverse { [0xff; KEY_LEN] } else { [0; KEY_LEN] };
    let (mut before, mut count, mut bytes) = ([0; KEY_LEN], 0, 0);
    let mut copy = vec![0; job.value_len];
    let began = subject.now_ns();
    let found = subject.scan(&from, is_reverse, job.keys as usize + 1, &mut |key, value| {
        assert!(count == 0 || (key > &before[..]) != is_reverse, "a scan is out of order");
        before.copy_from_slice(key);
        copy.copy_from_slice(value);
        // Or the copy, which nobody reads, is left out.
        std::hint::black_box(&mut copy);
        count += 1;
        bytes += (key.len() + value.len()) as u64;
    });
    let took_ns = subject.now_ns() - began;
    assert_eq!((found, count), (Some(job.keys as usize), job.keys), "{}", subject.name());
    assert_eq!(bytes, job.live_bytes(), "{}", subject.name());
    rate(job.keys, took_ns)
}
