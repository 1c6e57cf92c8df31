//! The block device adaptor keeps the contract, and refuses devices that do not fit it.

mod common;

use common::disk::Disk;
use common::run_all;
use shingle_hal::adapt::BlockZones;
use shingle_hal::adapt::block::{BlockLayoutError, BlockZonesError};
use shingle_hal::conformance::Bench;
use shingle_hal::{Device, Error, ErrorKind, Lba, Request, ZoneDescriptor, ZoneId, block_on};

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
        let sequential = ["open_", "close_", "finish_", "reset_", "fill_"];
        for name in skipped {
            let about_pointer = sequential.iter().any(|verb| name.starts_with(verb));
            let refusal = name.ends_with("conventional_zone_is_refused");
            assert!(!refusal, "{name} skipped");
            assert!(
                about_pointer || !name.starts_with("report"),
                "{name} skipped"
            );
        }
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
    assert_eq!(zones.into_inner().broken.take(), true);
}

#[test]
fn block_zones_of_unfit_sizes_are_refused() {
    let refused = |blocks, zone| BlockZones::new(Disk::new(blocks, 1), zone).err();
    assert_eq!(refused(10, 0), Some(BlockLayoutError::Empty));
    assert_eq!(
        refused(10, 11),
        Some(BlockLayoutError::TooSmall { block_count: 10 })
    );
    assert_eq!(refused(10, 10), None);
}
