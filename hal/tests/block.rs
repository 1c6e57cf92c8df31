//! The block device adaptor keeps the contract, and refuses devices that do not fit it.

mod common;

use common::disk::Disk;
use common::run_all;
use shingle_hal::adapt::BlockZones;
use shingle_hal::adapt::block::{BlockLayoutError, BlockZonesError};
use shingle_hal::conformance::{Bench, CHECKS};
use shingle_hal::{Device, Error, ErrorKind, Lba, Request, ZoneDescriptor, ZoneId, block_on};

/// Why checks are skipped on a device of conventional zones without a clock.
const LACKING: [&str; 8] = [
    "too few sequential zones",
    "no zone of less capacity than size",
    "no limit of open zones",
    "no limit of active zones",
    "no limit of open or active zones",
    "no zone is read only",
    "no zone is offline",
    "the device has no clock",
];

struct DiskBench(BlockZones<Disk>);

impl Bench for DiskBench {
    type Device = BlockZones<Disk>;

    fn device(&self) -> &Self::Device {
        &self.0
    }

    async fn power_cycle(&mut self) -> bool {
        self.0.inner().cut();
        true
    }
}

#[test]
fn block_zones_pass_the_conformance_checks() {
    for seed in 1..=16 {
        let zones = BlockZones::new(Disk::new(100, seed), 16).unwrap();
        let skipped = run_all(&mut DiskBench(zones), "block zones");
        for (check, why) in &skipped {
            assert!(LACKING.contains(why), "{}: {why}", check.name);
        }
        assert_eq!(CHECKS.len() - skipped.len(), 38, "checks passed");
    }
}

#[test]
fn block_zones_leave_out_the_partial_zone() {
    let zones = BlockZones::new(Disk::new(100, 1), 16).unwrap();
    assert_eq!(zones.geometry().zone_count, 6);
    let mut out = [ZoneDescriptor::EMPTY; 8];
    assert_eq!(block_on(zones.report(ZoneId(4), &mut out)), Ok(2));
    assert_eq!(out[1].start, Lba(80));
    let mut buf = [0; 512];
    let error = block_on(zones.read(Lba(96), &mut buf, Request::default())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfDevice);
}

#[test]
fn block_zones_pass_device_errors_on() {
    let zones = BlockZones::new(Disk::new(64, 1), 16).unwrap();
    zones.inner().broken.set(true);
    let error = block_on(zones.sync()).unwrap_err();
    assert_eq!(error, BlockZonesError::Device(ErrorKind::Hardware));
    assert_eq!(error.kind(), ErrorKind::Hardware);
    assert!(zones.into_inner().broken.take());
}

#[test]
fn block_zones_of_unfit_sizes_are_refused() {
    let refused = |blocks, zone| BlockZones::new(Disk::new(blocks, 1), zone).err();
    assert_eq!(refused(10, 0), Some(BlockLayoutError::Empty));
    assert_eq!(refused(10, 11), Some(BlockLayoutError::TooSmall { block_count: 10 }));
    assert_eq!(refused(10, 10), None);
}
