//! What the kernel is asked of a zoned disk beside reads and writes: `linux/blkzoned.h`.
//!
//! Each call blocks its thread until the drive has answered. The only `unsafe` code of this crate
//! is here: an ioctl is a number and a pointer, and that both fit is up to the caller.
//!
//! # Source
//! `include/uapi/linux/blkzoned.h`: `blk_zone`, `blk_zone_report`, `blk_zone_range`, the numbers
//! 130 to 136 of group 0x12, and `BLK_ZONE_REP_CAPACITY`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, Setter, Updater, ioctl, opcode};
use zerocopy::FromZeros;

/// Bytes of a sector: what the kernel counts in, whatever the disk's block is.
pub(super) const SECTOR_LEN_BYTES: u64 = 512;
/// Zones of one report.
pub(super) const REPORT_ZONES_MAX: usize = 256;

const GROUP: u8 = 0x12;
const REPORT: Opcode = opcode::read_write::<ReportHead>(GROUP, 130);
const RESET: Opcode = opcode::write::<Range>(GROUP, 131);
const ZONE_SECTORS: Opcode = opcode::read::<u32>(GROUP, 132);
const ZONE_COUNT: Opcode = opcode::read::<u32>(GROUP, 133);
const OPEN: Opcode = opcode::write::<Range>(GROUP, 134);
const CLOSE: Opcode = opcode::write::<Range>(GROUP, 135);
const FINISH: Opcode = opcode::write::<Range>(GROUP, 136);

/// The report's zones have a capacity of their own.
const HAS_CAPACITY: u32 = 1;

/// `struct blk_zone`.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(super) struct RawZone {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) write_pointer: u64,
    pub(super) zone_type: u8,
    pub(super) condition: u8,
    non_sequential: u8,
    reset_recommended: u8,
    reserved: [u8; 4],
    pub(super) capacity: u64,
    reserved_too: [u8; 24],
}

/// `struct blk_zone_report` without its zones, as its number counts it.
#[derive(FromZeros)]
#[repr(C)]
struct ReportHead {
    sector: u64,
    zone_count: u32,
    flags: u32,
}

/// `struct blk_zone_report`.
#[derive(FromZeros)]
#[repr(C)]
struct Report {
    head: ReportHead,
    zones: [RawZone; REPORT_ZONES_MAX],
}

/// `struct blk_zone_range`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Range {
    sector: u64,
    sector_count: u64,
}

const _: () = assert!(size_of::<RawZone>() == 64 && size_of::<ReportHead>() == 16);
const _: () = assert!(size_of::<Report>() == 16 + 64 * REPORT_ZONES_MAX);

/// What is done to a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Open it explicitly.
    Open,
    /// Close it.
    Close,
    /// Make it full.
    Finish,
    /// Make it empty.
    Reset,
}

/// Sectors of a zone of `disk`, and how many zones it has.
pub(super) fn layout(disk: impl AsFd) -> io::Result<(u32, u32)> {
    // SAFETY: both calls write a `u32` and read nothing.
    let (sectors, count) = unsafe {
        (
            ioctl(&disk, Getter::<ZONE_SECTORS, u32>::new())?,
            ioctl(&disk, Getter::<ZONE_COUNT, u32>::new())?,
        )
    };
    Ok((sectors, count))
}

/// At most `zone_count` zones from the one at `sector` on, at most [`REPORT_ZONES_MAX`].
pub(super) fn report(disk: impl AsFd, sector: u64, zone_count: usize) -> io::Result<Vec<RawZone>> {
    let mut report = Report::new_zeroed();
    report.head.sector = sector;
    report.head.zone_count = zone_count.min(REPORT_ZONES_MAX) as u32;
    // SAFETY: the kernel writes the head and at most `head.zone_count` zones behind it, for which
    // there is room; any bytes are a valid `Report`.
    unsafe { ioctl(disk, Updater::<REPORT, Report>::new(&mut report))? };
    let count = (report.head.zone_count as usize).min(REPORT_ZONES_MAX);
    let has_capacity = report.head.flags & HAS_CAPACITY != 0;
    let zones = report.zones[..count].iter();
    Ok(zones
        .map(|zone| RawZone {
            capacity: if has_capacity { zone.capacity } else { zone.len },
            ..*zone
        })
        .collect())
}

/// Does `act` to the zone of `sector_count` sectors at `sector`.
pub(super) fn manage(disk: impl AsFd, act: Act, sector: u64, sector_count: u64) -> io::Result<()> {
    let range = Range { sector, sector_count };
    // SAFETY: each call reads a `blk_zone_range` and writes nothing.
    unsafe {
        match act {
            Act::Open => ioctl(disk, Setter::<OPEN, Range>::new(range)),
            Act::Close => ioctl(disk, Setter::<CLOSE, Range>::new(range)),
            Act::Finish => ioctl(disk, Setter::<FINISH, Range>::new(range)),
            Act::Reset => ioctl(disk, Setter::<RESET, Range>::new(range)),
        }
    }?;
    Ok(())
}
