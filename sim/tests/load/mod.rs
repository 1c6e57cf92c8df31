//! Drives a time model as `fio` drives a disk: jobs with a fixed number of requests in flight.
#![allow(dead_code)] // each test file uses a part of it

use std::collections::{BTreeMap, VecDeque};

use shingle_sim::media::MediaSpec;
use shingle_sim::timing::{Op, Timing, Work};

pub(crate) const MIB: f64 = 1_048_576.0;

/// A seeded generator (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What a run gave.
pub(crate) struct Run {
    pub(crate) bytes: u64,
    pub(crate) count: u64,
    pub(crate) elapsed_ns: u64,
    pub(crate) latencies_ns: Vec<u64>,
}

impl Run {
    pub(crate) fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / MIB / (self.elapsed_ns as f64 / 1e9)
    }
    pub(crate) fn iops(&self) -> f64 {
        self.count as f64 / (self.elapsed_ns as f64 / 1e9)
    }
    pub(crate) fn mean_us(&self) -> f64 {
        self.latencies_ns.iter().sum::<u64>() as f64 / self.count as f64 / 1e3
    }
    pub(crate) fn max_ms(&self) -> f64 {
        self.latencies_ns.iter().copied().max().unwrap_or(0) as f64 / 1e6
    }
}

/// Keeps `depth` requests of each job in flight until `end_ns`, or until no job has more. `next`
/// gives the next request of a job, or nothing while it must wait.
pub(crate) fn run(
    media: &MediaSpec,
    timing: &mut dyn Timing,
    (jobs, depth): (usize, usize),
    end_ns: u64,
    mut next: impl FnMut(usize) -> Option<Work>,
) -> Run {
    let mut now_ns = 0;
    let mut id = 0;
    let mut flying: BTreeMap<u64, (usize, u64, u32)> = BTreeMap::new();
    let mut idle: VecDeque<usize> = (0..depth).flat_map(|_| 0..jobs).collect();
    let mut result = Run { bytes: 0, count: 0, elapsed_ns: 0, latencies_ns: Vec::new() };
    loop {
        for _ in 0..idle.len() {
            let job = idle.pop_front().expect("counted");
            let work = if now_ns < end_ns { next(job) } else { None };
            if let Some(work) = work {
                timing.submit(now_ns, Work { id, ..work });
                flying.insert(id, (job, now_ns, work.blocks));
                id += 1;
            } else {
                idle.push_back(job);
            }
        }
        let Some((done, at_ns)) = timing.next_completion() else {
            break;
        };
        assert!(at_ns >= now_ns, "completions go forward");
        now_ns = at_ns;
        let (job, since_ns, blocks) = flying.remove(&done).expect("in flight");
        result.bytes += u64::from(blocks) * u64::from(media.block_len_bytes);
        result.count += 1;
        result.latencies_ns.push(now_ns - since_ns);
        idle.push_back(job);
    }
    assert!(flying.is_empty(), "every request completes");
    result.elapsed_ns = now_ns;
    result
}

pub(crate) fn work(op: Op, lba: u64, blocks: u32) -> Work {
    Work { id: 0, op, lba, blocks, class: 1, unwritten: false }
}

/// Requests of `blocks` one after another from the start of `zone`, `count` of them.
pub(crate) fn in_row(
    media: &MediaSpec,
    op: Op,
    zone: u32,
    blocks: u32,
    count: u64,
) -> impl FnMut(usize) -> Option<Work> {
    let start = u64::from(zone) * u64::from(media.zone_blocks);
    let mut at = 0;
    move |_| {
        at += 1;
        (at <= count).then(|| work(op, start + (at - 1) * u64::from(blocks), blocks))
    }
}

/// Prints measured and model side by side and asserts that they are within 15 %.
pub(crate) fn compare(row: &str, unit: &str, measured: f64, model: f64) {
    let off = (model / measured - 1.0) * 100.0;
    println!("{row:<52} measured {measured:>8.1} {unit:<6} model {model:>8.1} ({off:+.1} %)");
    assert!(off.abs() <= 15.0, "{row}: measured {measured}, model {model}");
}

pub(crate) const SECONDS: u64 = 1_000_000_000;

/// The drive `name` and its model, idle.
pub(crate) fn preset(name: &str) -> (MediaSpec, Box<dyn Timing>) {
    let media = MediaSpec::by_name(name).expect("a preset");
    let timing = media.timing.build(&media);
    (media, timing)
}
