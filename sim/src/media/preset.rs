//! The drives known by name.
//!
//! # Source
//! - Geometry of `smr-15tb` and every timing figure said to be measured: the zone report and the
//!   fio runs of a 15 TB host-managed SATA disk (Ultrastar DC HC620 class) that zonedstorage.io
//!   publishes ("fio Examples for SMR hard-disks"). `sim/tests/calibration.rs` holds the model
//!   against each of those rows.
//! - `smr-14tb`: 14,000,519,643,136 bytes (27,344,764,928 sectors), the size 14 TB disks report,
//!   are exactly 52,156 zones of 256 MiB; of these 0.94 % are conventional as on the 15 TB member.
//! - `smr-30tb`: 111,760 zones, 1,118 of them conventional, from the XFS documentation's example of
//!   a 30 TB class disk; twenty surfaces and its higher rate are assumptions.
//! - `zns-zn540`, `zns-proto`: `ssd_config.h` of NVMeVirt (Kim et al., FAST 2023), WD_ZN540 and
//!   ZNS_PROTOTYPE; 14 open zones from zonedstorage.io's examples, 1077 MiB of capacity as tools
//!   for that drive have it. NVMeVirt erases in no time and its prototype acknowledges a write when
//!   programmed; here an erase takes what is typical of TLC flash, an assumption, and a write
//!   completes in the buffer.
//! - `nor-*`: typical figures of 128 Mbit serial NOR data sheets (W25Q128JV class): page program
//!   0.4 ms, 4 KiB erase 45 ms, 64 KiB erase 150 ms, suspend 20 µs; bus at 50 MB/s.
//! - Scaled-down members (`-demo`, `-tiny`) have the mechanics of the large ones: seeks are a share
//!   of the stroke, tracks are as long.

use super::spec::{MediaKind, MediaSpec};
use crate::timing::{DiskTiming, NorTiming, TimingSpec, ZnsTiming};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A name and the function that makes the drive.
type Preset = (&'static str, fn() -> MediaSpec);

/// Every drive known by name.
const PRESETS: [Preset; 16] = [
    ("smr-14tb", || smr("smr-14tb", 52_156, 256 * MIB, 489, 16)),
    ("smr-15tb", smr_15tb),
    ("smr-30tb", smr_30tb),
    ("smr-15tb-swr", || without_conventional("smr-15tb-swr", smr_15tb())),
    ("smr-30tb-swr", || without_conventional("smr-30tb-swr", smr_30tb())),
    ("smr-demo", smr_demo),
    ("smr-demo-swr", || without_conventional("smr-demo-swr", smr_demo())),
    ("smr-tiny", smr_tiny),
    ("disk-8tb", || disk("disk-8tb", 476_837, 16 * MIB, 10)),
    ("disk-tiny", disk_tiny),
    ("zns-zn540", zns_zn540),
    ("zns-proto", zns_proto),
    ("zns-tiny", zns_tiny),
    ("nor-16m", || nor("nor-16m", 256, 64 * KIB, 512)),
    ("nor-1m", || nor("nor-1m", 64, 16 * KIB, 512)),
    ("nor-tiny", || nor("nor-tiny", 48, 8 * KIB, 256)),
];

/// Family names and the members they stand for.
const FAMILIES: [(&str, &str); 4] =
    [("smr", "smr-15tb"), ("disk", "disk-8tb"), ("zns", "zns-zn540"), ("nor", "nor-16m")];

impl MediaSpec {
    /// The drive known as `name`, or the usual member of the family of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let family = FAMILIES.iter().find(|(family, _)| *family == name);
        let name = family.map_or(name, |(_, member)| member);
        let (_, make) = PRESETS.iter().find(|(known, _)| *known == name)?;
        Some(make())
    }

    /// The names of all known drives.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        PRESETS.iter().map(|(name, _)| *name).collect()
    }
}

/// The mechanics and electronics of the 15 TB disk that was measured.
///
/// - `outer_rate`, `track_switch`: 240 MiB/s sustained, which is what its sequential runs show
///   between their first and last request.
/// - `host`: the fastest 64 KiB and 512 KiB writes took 148 µs and 992 µs: 550 MB/s and 30 µs.
/// - `fill`: reads of unwritten zones took 708.6 µs each at depth 8.
/// - `write_command`: with four zones written in 64 KiB pieces at depth 1 half of the writes took
///   1.37 ms or more at 3.2 in flight, whatever the arm did.
/// - `cache`: the first 5 % of 4,836 random writes of 256 KiB went in fast, the rest did not.
/// - seeks, settling and head switch: within what such disks do, chosen to meet the random reads.
/// - `destage_run`, `stream_switch`: chosen to meet the rows of four streams and of random writes.
/// - zone commands: no figure is published; an assumption.
#[must_use]
pub fn hc620_timing() -> DiskTiming {
    DiskTiming {
        rpm: 7200,
        outer_rate_bytes_per_s: 281_900_000,
        inner_rate_permille: 500,
        track_switch_us: 1_000,
        head_switch_us: 2_500,
        seek_min_us: 1_800,
        seek_third_us: 8_500,
        seek_full_us: 16_000,
        write_settle_us: 300,
        stream_switch_us: 500,
        command_us: 30,
        write_command_us: 480,
        zone_command_us: 500,
        host_bytes_per_s: 550_000_000,
        fill_bytes_per_s: 386_000_000,
        cache_bytes: 64 * MIB,
        destage_run_bytes: 12 * MIB,
        destage_delay_us: 2_000,
        ahead_bytes: 2 * MIB,
        segment_count: 16,
        queue_depth: 32,
        age_us_max: 1_500_000,
    }
}

fn smr(name: &str, zones: u32, zone_bytes: u64, conventional: u32, elements: u16) -> MediaSpec {
    let block_len_bytes = 4096;
    let zone_blocks = (zone_bytes / u64::from(block_len_bytes)) as u32;
    MediaSpec {
        name: name.to_owned(),
        kind: MediaKind::Smr,
        block_len_bytes,
        zone_count: zones,
        zone_blocks,
        zone_capacity_blocks: zone_blocks,
        conventional_zone_count: conventional,
        open_zones_max: Some(128),
        active_zones_max: None,
        transfer_blocks_max: 512.min(zone_blocks),
        element_count: elements,
        timing: TimingSpec::Disk(hc620_timing()),
    }
}

fn smr_15tb() -> MediaSpec {
    smr("smr-15tb", 55_880, 256 * MIB, 524, 16)
}

fn smr_30tb() -> MediaSpec {
    let timing = DiskTiming { outer_rate_bytes_per_s: 312_000_000, ..hc620_timing() };
    MediaSpec { timing: TimingSpec::Disk(timing), ..smr("smr-30tb", 111_760, 256 * MIB, 1_118, 20) }
}

/// 4.3 GiB with sixteen surfaces; the cache shrinks with the zones, or it would hold a good part of
/// the drive.
fn smr_demo() -> MediaSpec {
    let timing = DiskTiming { cache_bytes: 16 * MIB, destage_run_bytes: 2 * MIB, ..hc620_timing() };
    MediaSpec { timing: TimingSpec::Disk(timing), ..smr("smr-demo", 1_100, 4 * MIB, 10, 16) }
}

fn smr_tiny() -> MediaSpec {
    let timing = DiskTiming {
        cache_bytes: MIB,
        destage_run_bytes: 512 * KIB,
        ahead_bytes: 256 * KIB,
        ..hc620_timing()
    };
    MediaSpec {
        open_zones_max: Some(16),
        timing: TimingSpec::Disk(timing),
        ..smr("smr-tiny", 96, 256 * KIB, 4, 4)
    }
}

fn without_conventional(name: &str, spec: MediaSpec) -> MediaSpec {
    MediaSpec { name: name.to_owned(), conventional_zone_count: 0, ..spec }
}

/// A conventional disk: the same mechanics without streams, all its cache usable.
fn disk(name: &str, zones: u32, zone_bytes: u64, elements: u16) -> MediaSpec {
    let timing = DiskTiming {
        outer_rate_bytes_per_s: 278_000_000,
        stream_switch_us: 500,
        write_command_us: 0,
        fill_bytes_per_s: 550_000_000,
        cache_bytes: 128 * MIB,
        ..hc620_timing()
    };
    MediaSpec {
        kind: MediaKind::Conventional,
        conventional_zone_count: zones,
        open_zones_max: None,
        timing: TimingSpec::Disk(timing),
        ..smr(name, zones, zone_bytes, 0, elements)
    }
}

fn disk_tiny() -> MediaSpec {
    let mut spec = disk("disk-tiny", 96, 256 * KIB, 4);
    if let TimingSpec::Disk(timing) = &mut spec.timing {
        timing.cache_bytes = MIB;
        timing.destage_run_bytes = 512 * KIB;
        timing.ahead_bytes = 256 * KIB;
    }
    spec
}

fn zns(name: &str, zones: u32, size: u64, capacity: u64, timing: ZnsTiming) -> MediaSpec {
    let block_len_bytes = 4096;
    let zone_blocks = (size / u64::from(block_len_bytes)) as u32;
    let die_count = timing.channel_count * timing.dies_per_channel;
    // What fails together is a die where a zone lies on one, else a channel's share of each zone;
    // no zone survives that alone, so a drive that stripes zones over all dies is one element.
    let element_count = (die_count / timing.dies_per_zone).max(1) as u16;
    MediaSpec {
        name: name.to_owned(),
        kind: MediaKind::Zns,
        block_len_bytes,
        zone_count: zones,
        zone_blocks,
        zone_capacity_blocks: (capacity / u64::from(block_len_bytes)) as u32,
        conventional_zone_count: 0,
        open_zones_max: Some(14),
        active_zones_max: Some(14),
        transfer_blocks_max: 256.min(zone_blocks),
        element_count,
        timing: TimingSpec::Zns(timing),
    }
}

fn zn540_timing() -> ZnsTiming {
    ZnsTiming {
        channel_count: 8,
        dies_per_channel: 4,
        dies_per_zone: 32,
        page_bytes: (32 * KIB) as u32,
        program_bytes: (96 * KIB) as u32,
        read_4k_ns: 50_000,
        read_ns: 58_000,
        program_ns: 561_000,
        erase_ns: 3_500_000,
        channel_bytes_per_s: 450_000_000,
        host_bytes_per_s: 3_050_000_000,
        command_read_ns: 20_000,
        command_write_ns: 5_600,
        buffer_units_per_zone: 10,
        buffer_protected: true,
        age_step_us: 5_000,
    }
}

/// 904 zones of 1077 MiB: 1.02 TB can be written.
fn zns_zn540() -> MediaSpec {
    zns("zns-zn540", 904, 2048 * MIB, 1077 * MIB, zn540_timing())
}

/// 128 dies, each zone of 96 MiB on one of them.
fn zns_proto() -> MediaSpec {
    let timing = ZnsTiming {
        dies_per_channel: 16,
        dies_per_zone: 1,
        page_bytes: (64 * KIB) as u32,
        read_4k_ns: 25_485,
        read_ns: 40_950,
        command_read_ns: 32_150,
        program_bytes: (192 * KIB) as u32,
        program_ns: 1_913_640,
        channel_bytes_per_s: 800_000_000,
        host_bytes_per_s: 3_200_000_000,
        buffer_units_per_zone: 2,
        ..zn540_timing()
    };
    MediaSpec {
        open_zones_max: None,
        active_zones_max: None,
        ..zns("zns-proto", 2_560, 96 * MIB, 96 * MIB, timing)
    }
}

/// Zones of 256 KiB with 192 KiB to write, on eight dies; the buffer is lost in a power cut.
fn zns_tiny() -> MediaSpec {
    let timing = ZnsTiming {
        channel_count: 4,
        dies_per_channel: 2,
        dies_per_zone: 2,
        page_bytes: (16 * KIB) as u32,
        program_bytes: (32 * KIB) as u32,
        buffer_units_per_zone: 4,
        buffer_protected: false,
        ..zn540_timing()
    };
    MediaSpec {
        open_zones_max: Some(8),
        active_zones_max: Some(12),
        ..zns("zns-tiny", 128, 256 * KIB, 192 * KIB, timing)
    }
}

fn nor(name: &str, zones: u32, zone_bytes: u64, block_len_bytes: u32) -> MediaSpec {
    let zone_blocks = (zone_bytes / u64::from(block_len_bytes)) as u32;
    let whole = zone_bytes.is_multiple_of(64 * KIB);
    let timing = NorTiming {
        command_ns: 1_000,
        bus_bytes_per_s: 50_000_000,
        page_bytes: 256,
        program_ns: 400_000,
        erase_block_bytes: if whole { 64 * KIB } else { 4 * KIB } as u32,
        erase_ns: if whole { 150_000_000 } else { 45_000_000 },
        suspend_ns: Some(20_000),
        age_step_us: 20_000,
    };
    MediaSpec {
        name: name.to_owned(),
        kind: MediaKind::Nor,
        block_len_bytes,
        zone_count: zones,
        zone_blocks,
        zone_capacity_blocks: zone_blocks,
        conventional_zone_count: 0,
        open_zones_max: None,
        active_zones_max: None,
        transfer_blocks_max: (4096 / block_len_bytes).max(1),
        element_count: 1,
        timing: TimingSpec::Nor(timing),
    }
}
