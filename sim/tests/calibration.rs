//! The time models against what was measured and what physics says.
//!
//! Each test drives a model directly, as `fio` drove the disk: jobs with a fixed number of requests
//! in flight. `cargo test -p shingle-sim --test calibration -- --nocapture` prints the figures side
//! by side.
//!
//! # Source
//! The fio runs on a 15 TB host-managed SATA disk (Ultrastar DC HC620 class) that
//! zonedstorage.io publishes under "fio Examples for SMR hard-disks".

use std::collections::{BTreeMap, VecDeque};

use shingle_sim::media::MediaSpec;
use shingle_sim::timing::{Op, Timing, Work};

const MIB: f64 = 1_048_576.0;
const KIB_256: u32 = 64;

/// A seeded generator (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What a run gave.
struct Run {
    bytes: u64,
    count: u64,
    elapsed_ns: u64,
    latencies_ns: Vec<u64>,
}

impl Run {
    fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / MIB / (self.elapsed_ns as f64 / 1e9)
    }
    fn iops(&self) -> f64 {
        self.count as f64 / (self.elapsed_ns as f64 / 1e9)
    }
    fn mean_us(&self) -> f64 {
        self.latencies_ns.iter().sum::<u64>() as f64 / self.count as f64 / 1e3
    }
    fn max_ms(&self) -> f64 {
        self.latencies_ns.iter().copied().max().unwrap_or(0) as f64 / 1e6
    }
}

/// Keeps `depth` requests of each job in flight until `end_ns`, or until no job has more. `next`
/// gives the next request of a job, or nothing while it must wait.
fn run(
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
    let mut result = Run {
        bytes: 0,
        count: 0,
        elapsed_ns: 0,
        latencies_ns: Vec::new(),
    };
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

fn work(op: Op, lba: u64, blocks: u32) -> Work {
    Work {
        id: 0,
        op,
        lba,
        blocks,
        class: 1,
        unwritten: false,
    }
}

/// Requests of `blocks` one after another from the start of `zone`, `count` of them.
fn in_row(
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
fn compare(row: &str, unit: &str, measured: f64, model: f64) {
    let off = (model / measured - 1.0) * 100.0;
    println!("{row:<52} measured {measured:>8.1} {unit:<6} model {model:>8.1} ({off:+.1} %)");
    assert!(
        off.abs() <= 15.0,
        "{row}: measured {measured}, model {model}"
    );
}

fn hc620() -> (MediaSpec, Box<dyn Timing>) {
    let media = MediaSpec::by_name("smr-15tb").expect("a preset");
    let timing = media.timing.build(&media);
    (media, timing)
}

const SECONDS: u64 = 1_000_000_000;

#[test]
fn hc620_sequential_write_at_depth_8_matches() {
    let (media, mut timing) = hc620();
    let next = in_row(&media, Op::Write, 524, KIB_256, 4096);
    let run = run(&media, &mut *timing, (1, 8), u64::MAX, next);
    compare(
        "sequential write, 256 KiB, depth 8",
        "MiB/s",
        236.0,
        run.mib_per_s(),
    );
    compare("  mean latency", "us", 8_370.0, run.mean_us());
}

#[test]
fn hc620_sequential_read_at_depth_8_matches() {
    let (media, mut timing) = hc620();
    let next = in_row(&media, Op::Read, 524, KIB_256, 4096);
    let run = run(&media, &mut *timing, (1, 8), u64::MAX, next);
    compare(
        "sequential read, 256 KiB, depth 8",
        "MiB/s",
        238.0,
        run.mib_per_s(),
    );
}

#[test]
fn hc620_sequential_streams_at_depth_1_run_at_media_rate() {
    for op in [Op::Read, Op::Write] {
        let (media, mut timing) = hc620();
        let next = in_row(&media, op, 524, KIB_256, 4096);
        let run = run(&media, &mut *timing, (1, 1), u64::MAX, next);
        let rate = media.sequential_rate_bytes_per_s(524).expect("a disk") / MIB;
        compare(
            &format!("sequential {op:?}, 256 KiB, depth 1"),
            "MiB/s",
            rate,
            run.mib_per_s(),
        );
    }
}

#[test]
fn hc620_read_of_unwritten_zones_matches() {
    let (media, mut timing) = hc620();
    let mut next = in_row(&media, Op::Read, 524, KIB_256, 4096);
    let next = move |job| {
        next(job).map(|work| Work {
            unwritten: true,
            ..work
        })
    };
    let run = run(&media, &mut *timing, (1, 8), u64::MAX, next);
    compare(
        "read of unwritten zones, 256 KiB, depth 8",
        "MiB/s",
        353.0,
        run.mib_per_s(),
    );
}

/// Writes at the write pointers of random sequential zones; returns the zones written and the run.
fn random_zone_writes() -> (Vec<(u32, u32)>, Run) {
    let (media, mut timing) = hc620();
    let mut random = Random(1);
    let mut pointers: BTreeMap<u32, u32> = BTreeMap::new();
    let next = |_| {
        let zone = 524 + random.below(u64::from(media.zone_count - 524)) as u32;
        let pointer = pointers.entry(zone).or_default();
        let lba = u64::from(zone) * u64::from(media.zone_blocks) + u64::from(*pointer);
        *pointer += KIB_256;
        Some(work(Op::Write, lba, KIB_256))
    };
    let run = run(&media, &mut *timing, (4, 4), 30 * SECONDS, next);
    (pointers.into_iter().collect(), run)
}

#[test]
fn hc620_random_zone_writes_match() {
    let (zones, run) = random_zone_writes();
    println!(
        "  {} zones written, slowest {:.0} ms",
        zones.len(),
        run.max_ms()
    );
    compare(
        "random zone writes, 256 KiB, 4 jobs of depth 4",
        "IOPS",
        160.0,
        run.iops(),
    );
    compare("  mean latency", "us", 98_857.0, run.mean_us());
}

#[test]
fn hc620_random_reads_of_written_zones_match() {
    let (zones, _) = random_zone_writes();
    let (media, mut timing) = hc620();
    let mut random = Random(2);
    let next = |_| {
        let (zone, pointer) = zones[random.below(zones.len() as u64) as usize];
        let start = u64::from(zone) * u64::from(media.zone_blocks);
        let offset = random.below(u64::from(pointer / KIB_256)) * u64::from(KIB_256);
        Some(work(Op::Read, start + offset, KIB_256))
    };
    let run = run(&media, &mut *timing, (4, 4), 30 * SECONDS, next);
    println!("  slowest {:.0} ms (measured 1538)", run.max_ms());
    compare(
        "random reads of them, 256 KiB, 4 jobs of depth 4",
        "IOPS",
        118.0,
        run.iops(),
    );
}

#[test]
fn hc620_random_reads_of_conventional_zones_match() {
    let (media, mut timing) = hc620();
    let mut random = Random(3);
    let places = 524 * u64::from(media.zone_blocks / KIB_256);
    let next = |_| {
        let lba = random.below(places) * u64::from(KIB_256);
        Some(work(Op::Read, lba, KIB_256))
    };
    let run = run(&media, &mut *timing, (4, 4), 30 * SECONDS, next);
    println!("  slowest {:.0} ms (measured 959)", run.max_ms());
    compare(
        "random reads of 524 conventional zones, same",
        "IOPS",
        215.0,
        run.iops(),
    );
}

/// Eight jobs write 64 KiB at the write pointer of one of four zones; `fio` lets one job at a time
/// into a zone, so at most four requests are in flight.
#[test]
fn hc620_eight_small_writers_on_four_zones_match() {
    let (media, mut timing) = hc620();
    let mut pointers = [0_u64; 4];
    let mut turn = 0;
    let next = |_: usize| {
        let zone = turn % 4;
        turn += 1;
        let start = (524 + zone as u64) * u64::from(media.zone_blocks);
        let lba = start + pointers[zone];
        pointers[zone] = (pointers[zone] + 16) % u64::from(media.zone_blocks);
        Some(work(Op::Write, lba, 16))
    };
    let run = run(&media, &mut *timing, (4, 1), 30 * SECONDS, next);
    println!("  mean latency {:.0} us (measured 1589)", run.mean_us());
    compare(
        "8 writers on 4 zones, 64 KiB, depth 1",
        "MiB/s",
        125.0,
        run.mib_per_s(),
    );
}

/// Four jobs fill random zones of a quarter of the disk each, 2 GiB a job.
#[test]
fn hc620_four_zone_streams_match() {
    let (media, mut timing) = hc620();
    let zone_blocks = u64::from(media.zone_blocks);
    let mut random = Random(4);
    let mut streams = [(0_u64, 0_u64, 0_u64); 4];
    let next = |job: usize| {
        let (zone, pointer, count) = &mut streams[job];
        if *count == 4096 {
            return None;
        }
        if *count % 512 == 0 {
            *zone = 524 + 13_839 * job as u64 + random.below(13_839);
            *pointer = 0;
        }
        let lba = *zone * zone_blocks + *pointer;
        *pointer += 128;
        *count += 1;
        Some(work(Op::Write, lba, 128))
    };
    let run = run(&media, &mut *timing, (4, 1), u64::MAX, next);
    println!("  slowest {:.0} ms (measured 5788)", run.max_ms());
    compare(
        "4 zone streams, 512 KiB, depth 1",
        "MiB/s",
        143.0,
        run.mib_per_s(),
    );
}

#[test]
fn hc620_random_read_at_depth_1_is_seek_and_half_a_turn_and_transfer() {
    let (media, mut timing) = hc620();
    let mut random = Random(5);
    let blocks = u64::from(media.zone_count) * u64::from(media.zone_blocks);
    let next = |_| Some(work(Op::Read, random.below(blocks - 1), 1));
    let run = run(&media, &mut *timing, (1, 1), 30 * SECONDS, next);
    // Mean seek of the disks of this class 8 ms, half a turn 4.17 ms, transfer and command 0.06 ms.
    compare(
        "random read, 4 KiB, depth 1",
        "us",
        8_000.0 + 4_167.0 + 60.0,
        run.mean_us(),
    );
}
