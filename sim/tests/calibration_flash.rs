//! The ZNS and NOR models against the figures they are made of, as a load sees them.
//!
//! # Source
//! NVMeVirt (Kim et al., FAST 2023) for the SSDs, serial NOR data sheets for the chips; see
//! `sim/src/media/preset.rs`.

use crate::load::{MIB, Random, Run, SECONDS, compare, in_row, preset, run, work};
use shingle_sim::media::MediaSpec;
use shingle_sim::timing::{Op, Timing, Work};

/// Writes the first `zones` zones full, in requests of the largest size, four in flight each.
fn fill(media: &MediaSpec, timing: &mut dyn Timing, zones: u32) -> Run {
    let blocks = media.transfer_blocks_max;
    let count = media.zone_capacity_blocks / blocks;
    let mut at = vec![0; zones as usize];
    let next = |job: usize| {
        at[job] += 1;
        let start = job as u64 * u64::from(media.zone_blocks);
        let offset = u64::from(at[job] - 1) * u64::from(blocks);
        (at[job] <= count).then(|| work(Op::Write, start + offset, blocks))
    };
    run(media, timing, (zones as usize, 4), u64::MAX, next)
}

/// Random reads of 4 KiB in four filled zones.
fn zns_random_reads(depth: usize) -> Run {
    let (media, mut timing) = preset("zns-zn540");
    let written = fill(&media, &mut *timing, 4);
    timing.power_cut(written.elapsed_ns + SECONDS);
    let mut timing = Later { timing, by_ns: written.elapsed_ns + SECONDS };
    let mut random = Random(6);
    let next = |_| {
        let start = random.below(4) * u64::from(media.zone_blocks);
        let offset = random.below(u64::from(media.zone_capacity_blocks));
        Some(work(Op::Read, start + offset, 1))
    };
    run(&media, &mut timing, (1, depth), SECONDS / 5, next)
}

/// A model that was used before: its time 0 is later.
struct Later {
    timing: Box<dyn Timing>,
    by_ns: u64,
}

impl Timing for Later {
    fn submit(&mut self, now_ns: u64, work: Work) {
        self.timing.submit(now_ns + self.by_ns, work);
    }
    fn next_completion(&mut self) -> Option<(u64, u64)> {
        let (id, at_ns) = self.timing.next_completion()?;
        Some((id, at_ns - self.by_ns))
    }
    fn power_cut(&mut self, now_ns: u64) {
        self.timing.power_cut(now_ns + self.by_ns);
    }
    fn boxed_clone(&self) -> Box<dyn Timing> {
        self.timing.boxed_clone()
    }
}

/// NVMeVirt's ZN540 senses 4 KiB in 50 us; command, channel and link add theirs.
#[test]
fn zns_random_read_at_depth_1_is_command_and_sense_and_transfer() {
    let run = zns_random_reads(1);
    let physics_us = 20.0 + 50.0 + 4096.0 / 450.0 + 4096.0 / 3050.0;
    compare("ZN540 random read, 4 KiB, depth 1", "us", physics_us, run.mean_us());
}

/// Thirty-two requests thrown on 32 dies keep 63 % of them busy (1 - 1/e) if none waits for
/// another; queues raise or lower this little.
#[test]
fn zns_random_read_scales_with_dies() {
    let (one, many) = (zns_random_reads(1).iops(), zns_random_reads(32).iops());
    println!("ZN540 random read, 4 KiB: depth 1 {one:.0} IOPS, depth 32 {many:.0} IOPS");
    assert!((14.0..32.0).contains(&(many / one)), "{}", many / one);
    let deep = zns_random_reads(256).iops();
    let link = 3050e6 / 4096.0;
    assert!(deep > many && deep <= link, "{deep} of {link}");
}

#[test]
fn zns_sequential_write_is_limited_by_buffer_then_by_link() {
    let (media, mut timing) = preset("zns-zn540");
    let one = fill(&media, &mut *timing, 1).mib_per_s();
    let rate = media.sequential_rate_bytes_per_s(0).expect("timed") / MIB;
    compare("ZN540 sequential write of one zone", "MiB/s", rate, one);
    let (media, mut timing) = preset("zns-zn540");
    let many = fill(&media, &mut *timing, 14).mib_per_s();
    compare("ZN540 sequential write of 14 zones", "MiB/s", 3050e6 / MIB, many);
}

#[test]
fn zns_proto_zone_is_limited_by_its_die() {
    let (media, mut timing) = preset("zns-proto");
    let one = fill(&media, &mut *timing, 1).mib_per_s();
    let rate = media.sequential_rate_bytes_per_s(0).expect("timed") / MIB;
    compare("ZNS prototype, write of one zone", "MiB/s", rate, one);
    let (media, mut timing) = preset("zns-proto");
    let many = fill(&media, &mut *timing, 16).mib_per_s();
    compare("ZNS prototype, write of 16 zones", "MiB/s", 16.0 * rate, many);
}

/// A serial chip's figures are its data sheet's.
#[test]
fn nor_reads_programs_and_erases_as_its_data_sheet_says() {
    let (media, mut timing) = preset("nor-16m");
    let next = in_row(&media, Op::Read, 0, 8, 1_000);
    let read = run(&media, &mut *timing, (1, 1), u64::MAX, next);
    compare("NOR read, 4 KiB", "MB/s", 50.0, read.mib_per_s() * MIB / 1e6);
    let (media, mut timing) = preset("nor-16m");
    let next = in_row(&media, Op::Write, 0, 8, 16);
    let written = run(&media, &mut *timing, (1, 1), u64::MAX, next);
    compare("NOR program, 4 KiB", "us", 16.0 * 400.0, written.mean_us());
    let (media, mut timing) = preset("nor-16m");
    let next = in_row(&media, Op::Reset, 3, 0, 1);
    let erased = run(&media, &mut *timing, (1, 1), u64::MAX, next);
    compare("NOR erase, 64 KiB", "us", 150_000.0, erased.mean_us());
}

/// A read in the middle of an erase waits for the suspend only, and the erase still ends.
#[test]
fn nor_read_during_erase_suspends_it() {
    let (_, mut timing) = preset("nor-16m");
    timing.submit(0, Work { id: 1, ..work(Op::Reset, 0, 0) });
    timing.submit(50_000_000, Work { id: 2, ..work(Op::Read, 4096, 1) });
    let (id, at_ns) = timing.next_completion().expect("the read");
    assert_eq!(id, 2);
    assert!(at_ns - 50_000_000 < 100_000, "{at_ns}");
    let (id, at_ns) = timing.next_completion().expect("the erase");
    assert_eq!(id, 1);
    assert!((150_000_000..151_000_000).contains(&at_ns), "{at_ns}");
}
