//! The disk model against what was measured and what physics says.
//!
//! Each test drives the model directly, as `fio` drove the disk.
//! `cargo test -p shingle-sim --test device calibration:: -- --nocapture` prints the figures side
//! by side.
//!
//! # Source
//! The fio runs on a 15 TB host-managed SATA disk (Ultrastar DC HC620 class) that
//! zonedstorage.io publishes under "fio Examples for SMR hard-disks".

use std::collections::BTreeMap;

use crate::load::{MIB, Random, Run, SECONDS, compare, in_row, preset, run, work};
use shingle_sim::timing::{Op, Work};

/// 256 KiB in blocks.
const KIB_256: u32 = 64;

#[test]
fn hc620_sequential_write_at_depth_8_matches() {
    let (media, mut timing) = preset("smr-15tb");
    let next = in_row(&media, Op::Write, 524, KIB_256, 4096);
    let run = run(&media, &mut *timing, (1, 8), u64::MAX, next);
    compare("sequential write, 256 KiB, depth 8", "MiB/s", 236.0, run.mib_per_s());
    compare("  mean latency", "us", 8_370.0, run.mean_us());
}

#[test]
fn hc620_sequential_read_at_depth_8_matches() {
    let (media, mut timing) = preset("smr-15tb");
    let next = in_row(&media, Op::Read, 524, KIB_256, 4096);
    let run = run(&media, &mut *timing, (1, 8), u64::MAX, next);
    compare("sequential read, 256 KiB, depth 8", "MiB/s", 238.0, run.mib_per_s());
}

#[test]
fn hc620_sequential_streams_at_depth_1_run_at_media_rate() {
    for op in [Op::Read, Op::Write] {
        let (media, mut timing) = preset("smr-15tb");
        let next = in_row(&media, op, 524, KIB_256, 4096);
        let run = run(&media, &mut *timing, (1, 1), u64::MAX, next);
        let rate = media.sequential_rate_bytes_per_s(524).expect("a disk") / MIB;
        compare(&format!("sequential {op:?}, 256 KiB, depth 1"), "MiB/s", rate, run.mib_per_s());
    }
}

#[test]
fn hc620_read_of_unwritten_zones_matches() {
    let (media, mut timing) = preset("smr-15tb");
    let mut next = in_row(&media, Op::Read, 524, KIB_256, 4096);
    let next = move |job| next(job).map(|work| Work { unwritten: true, ..work });
    let run = run(&media, &mut *timing, (1, 8), u64::MAX, next);
    compare("read of unwritten zones, 256 KiB, depth 8", "MiB/s", 353.0, run.mib_per_s());
}

/// Writes at the write pointers of random sequential zones; returns the zones written and the run.
fn random_zone_writes() -> (Vec<(u32, u32)>, Run) {
    let (media, mut timing) = preset("smr-15tb");
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
    println!("  {} zones written, slowest {:.0} ms", zones.len(), run.max_ms());
    compare("random zone writes, 256 KiB, 4 jobs of depth 4", "IOPS", 160.0, run.iops());
    compare("  mean latency", "us", 98_857.0, run.mean_us());
}

#[test]
fn hc620_random_reads_of_written_zones_match() {
    let (zones, _) = random_zone_writes();
    let (media, mut timing) = preset("smr-15tb");
    let mut random = Random(2);
    let next = |_| {
        let (zone, pointer) = zones[random.below(zones.len() as u64) as usize];
        let start = u64::from(zone) * u64::from(media.zone_blocks);
        let offset = random.below(u64::from(pointer / KIB_256)) * u64::from(KIB_256);
        Some(work(Op::Read, start + offset, KIB_256))
    };
    let run = run(&media, &mut *timing, (4, 4), 30 * SECONDS, next);
    println!("  slowest {:.0} ms (measured 1538)", run.max_ms());
    compare("random reads of them, 256 KiB, 4 jobs of depth 4", "IOPS", 118.0, run.iops());
}

#[test]
fn hc620_random_reads_of_conventional_zones_match() {
    let (media, mut timing) = preset("smr-15tb");
    let mut random = Random(3);
    let places = 524 * u64::from(media.zone_blocks / KIB_256);
    let next = |_| {
        let lba = random.below(places) * u64::from(KIB_256);
        Some(work(Op::Read, lba, KIB_256))
    };
    let run = run(&media, &mut *timing, (4, 4), 30 * SECONDS, next);
    println!("  slowest {:.0} ms (measured 959)", run.max_ms());
    compare("random reads of 524 conventional zones, same", "IOPS", 215.0, run.iops());
}

/// Eight jobs write 64 KiB at the write pointer of one of four zones; `fio` lets one job at a time
/// into a zone, so at most four requests are in flight.
#[test]
fn hc620_eight_small_writers_on_four_zones_match() {
    let (media, mut timing) = preset("smr-15tb");
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
    compare("8 writers on 4 zones, 64 KiB, depth 1", "MiB/s", 125.0, run.mib_per_s());
}

/// Four jobs fill random zones of a quarter of the disk each, 2 GiB a job.
#[test]
fn hc620_four_zone_streams_match() {
    let (media, mut timing) = preset("smr-15tb");
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
    compare("4 zone streams, 512 KiB, depth 1", "MiB/s", 143.0, run.mib_per_s());
}

#[test]
fn hc620_random_read_at_depth_1_is_seek_and_half_a_turn_and_transfer() {
    let (media, mut timing) = preset("smr-15tb");
    let mut random = Random(5);
    let blocks = u64::from(media.zone_count) * u64::from(media.zone_blocks);
    let next = |_| Some(work(Op::Read, random.below(blocks - 1), 1));
    let run = run(&media, &mut *timing, (1, 1), 30 * SECONDS, next);
    // Mean seek of the disks of this class 8 ms, half a turn 4.17 ms, transfer and command 0.06 ms.
    compare("random read, 4 KiB, depth 1", "us", 8_000.0 + 4_167.0 + 60.0, run.mean_us());
}
