//! The NOR flash adaptor keeps the contract, also when the power fails within its operations.

mod common;

use common::flash::Flash;
use common::run_all;
use shingle_hal::adapt::nor::{NorLayout, NorLayoutError, zone_count};
use shingle_hal::adapt::{NorSlot, NorZones};
use shingle_hal::conformance::{Bench, CHECKS};
use shingle_hal::{
    Device, ErrorKind, Lba, Request, ZoneCondition, ZoneDescriptor, ZoneId, block_on,
};

const LAYOUT: NorLayout = NorLayout { block_len_bytes: 128, zone_erase_blocks: 3 };
const ZONE_BLOCKS: u32 = 24;
const ZONE_LEN: usize = 3072;

type Zones = NorZones<'static, Flash>;

fn mount(flash: Flash) -> Zones {
    let slots = vec![NorSlot::NEW; 16].leak();
    NorZones::new(flash, slots, LAYOUT).unwrap()
}

/// Mounts again what a cut has left.
fn remount(zones: Zones) -> Zones {
    let mut flash = zones.into_inner();
    flash.steps_left = None;
    mount(flash)
}

/// Eight zones, of which zone 1 holds `count` blocks of its number.
fn written(count: usize, steps_left: Option<u32>) -> Zones {
    let zones = mount(Flash::new(8 * ZONE_LEN));
    if count > 0 {
        write(&zones, 0, &vec![1; count * 128]).unwrap();
    }
    let mut flash = zones.into_inner();
    flash.steps_left = steps_left;
    mount(flash)
}

fn write(zones: &Zones, at: u64, data: &[u8]) -> Result<(), ErrorKind> {
    block_on(zones.write(Lba(u64::from(ZONE_BLOCKS) + at), data, Request::default()))
}

fn state(zones: &Zones) -> (ZoneCondition, u32) {
    let mut out = [ZoneDescriptor::EMPTY];
    assert_eq!(block_on(zones.report(ZoneId(1), &mut out)), Ok(1));
    (out[0].condition, out[0].write_pointer.0)
}

fn read(zones: &Zones, at: u64) -> [u8; 128] {
    let mut buf = [0; 128];
    let start = Lba(u64::from(ZONE_BLOCKS) + at);
    block_on(zones.read(start, &mut buf, Request::default())).unwrap();
    buf
}

/// Why checks are skipped on flash: all zones are alike, and nothing is scarce.
const LACKING: [&str; 9] = [
    "too few conventional zones",
    "no zone of less capacity than size",
    "no limit of open zones",
    "no limit of active zones",
    "no limit of open or active zones",
    "no zone is read only",
    "no zone is offline",
    "the device has no clock",
    "the maximum transfer is larger than scratch memory",
];

struct NorBench(Option<Zones>);

impl Bench for NorBench {
    type Device = Zones;

    fn device(&self) -> &Zones {
        self.0.as_ref().unwrap()
    }

    async fn power_cycle(&mut self) -> bool {
        self.0 = self.0.take().map(remount);
        true
    }
}

#[test]
fn nor_zones_pass_the_conformance_checks() {
    let mut bench = NorBench(Some(mount(Flash::new(8 * ZONE_LEN))));
    let skipped = run_all(&mut bench, "nor zones");
    for (check, why) in &skipped {
        assert!(LACKING.contains(why), "{}: {why}", check.name);
    }
    assert_eq!(CHECKS.len() - skipped.len(), 86, "checks passed");
}

#[test]
fn reset_cut_between_erase_blocks_is_completed_at_mount() {
    for steps in 1..3 {
        let zones = written(20, Some(steps));
        assert!(block_on(zones.reset(ZoneId(1))).is_err());
        let zones = remount(zones);
        assert_eq!(state(&zones), (ZoneCondition::Empty, 0), "{steps} erases");
        for at in 0..20 {
            assert_eq!(read(&zones, at), [0xff; 128]);
        }
        write(&zones, 0, &[2; 128]).unwrap();
    }
}

#[test]
fn reset_cut_before_the_first_erase_is_undone_as_a_whole() {
    let mut flash = written(20, None).into_inner();
    flash.steps_left = Some(0);
    let zones = mount(flash);
    assert!(block_on(zones.reset(ZoneId(1))).is_err());
    let zones = remount(zones);
    assert_eq!(state(&zones), (ZoneCondition::Closed, 20));
    assert_eq!(read(&zones, 19), [1; 128]);
}

#[test]
fn write_cut_at_every_unit_leaves_a_prefix() {
    for steps in 1..=64_u32 {
        let zones = written(2, Some(steps));
        let result = write(&zones, 2, &[2; 4 * 128]);
        assert_eq!(result.is_ok(), steps == 64);
        let zones = remount(zones);
        let survived = steps.div_ceil(16);
        assert_eq!(state(&zones), (ZoneCondition::Closed, 2 + survived));
        for at in 0..u64::from(steps / 16) {
            assert_eq!(read(&zones, 2 + at), [2; 128]);
        }
        write(&zones, u64::from(2 + survived), &[3; 128]).unwrap();
    }
}

#[test]
fn finish_cut_between_markers_is_undone() {
    let zones = written(0, Some(1));
    assert!(block_on(zones.finish(ZoneId(1))).is_err());
    assert_eq!(state(&zones), (ZoneCondition::Full, ZONE_BLOCKS));
    assert_eq!(state(&remount(zones)), (ZoneCondition::Empty, 0));
}

#[test]
fn finish_of_empty_and_written_zones_is_durable() {
    for count in [0, 1, 23, 24] {
        let zones = written(count, None);
        block_on(zones.finish(ZoneId(1))).unwrap();
        let zones = remount(zones);
        assert_eq!(state(&zones), (ZoneCondition::Full, ZONE_BLOCKS), "{count} blocks");
        for at in 0..count as u64 {
            assert_eq!(read(&zones, at), [1; 128]);
        }
    }
}

#[test]
fn write_of_an_erased_looking_block_is_refused_without_effect() {
    let zones = written(2, None);
    let mut data = [2; 3 * 128];
    data[128..256].fill(0xff);
    assert_eq!(write(&zones, 2, &data), Err(ErrorKind::InvalidRequest));
    assert_eq!(state(&zones), (ZoneCondition::Closed, 2));
    data[200] = 0;
    assert_eq!(write(&zones, 2, &data), Ok(()));
    assert_eq!(state(&remount(zones)), (ZoneCondition::Closed, 5));
}

#[test]
fn write_fault_reports_what_the_medium_says() {
    let mut flash = written(2, None).into_inner();
    flash.stuck_write = Some((ZONE_LEN + 3 * 128 + 64) as u32);
    let zones = mount(flash);
    assert_eq!(write(&zones, 2, &[2; 4 * 128]), Err(ErrorKind::WriteFault { first: None }));
    assert_eq!(state(&zones), (ZoneCondition::ImplicitOpen, 4));
    assert_eq!(read(&zones, 2), [2; 128]);
    write(&zones, 4, &[2; 128]).unwrap();
}

#[test]
fn erase_that_fails_leaves_the_zone_full_until_a_reset_succeeds() {
    let mut flash = written(20, None).into_inner();
    flash.stuck_erase = Some(4);
    let zones = mount(flash);
    let fault = Err(ErrorKind::WriteFault { first: None });
    assert_eq!(block_on(zones.reset(ZoneId(1))), fault);
    assert_eq!(state(&zones), (ZoneCondition::Full, ZONE_BLOCKS));
    let mut flash = remount(zones).into_inner();
    assert_eq!(state(&mount(clone(&flash))), (ZoneCondition::Full, ZONE_BLOCKS));
    flash.stuck_erase = None;
    assert_eq!(state(&mount(flash)), (ZoneCondition::Empty, 0));
}

fn clone(flash: &Flash) -> Flash {
    Flash { data: flash.data.clone(), ..*flash }
}

#[test]
fn reset_of_an_empty_zone_erases_it_again() {
    let mut flash = written(0, None).into_inner();
    flash.stuck_erase = Some(3);
    let zones = mount(flash);
    assert!(block_on(zones.reset(ZoneId(1))).is_err());
}

#[test]
fn layouts_that_do_not_fit_are_refused() {
    let count = |block_len_bytes, zone_erase_blocks, capacity| {
        let layout = NorLayout { block_len_bytes, zone_erase_blocks };
        zone_count::<Flash>(capacity, layout)
    };
    assert_eq!(count(128, 3, 8 * ZONE_LEN + 5), Ok(8));
    assert_eq!(count(96, 3, ZONE_LEN), Err(NorLayoutError::BlockLen));
    assert_eq!(count(32, 3, ZONE_LEN), Err(NorLayoutError::BlockLen));
    assert_eq!(count(2048, 3, ZONE_LEN), Err(NorLayoutError::BlockUnits));
    assert_eq!(count(128, 0, ZONE_LEN), Err(NorLayoutError::ZoneLen));
    assert_eq!(count(128, u32::MAX, ZONE_LEN), Err(NorLayoutError::ZoneLen));
    assert_eq!(count(128, 3, 1 << 32), Err(NorLayoutError::Capacity));
    assert_eq!(count(128, 3, 100), Err(NorLayoutError::TooSmall));
    let slots = vec![NorSlot::NEW; 7].leak();
    let refused = NorZones::new(Flash::new(8 * ZONE_LEN), slots, LAYOUT).err();
    assert_eq!(refused, Some(NorLayoutError::Slots { needed: 8 }));
}
