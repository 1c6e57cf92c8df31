//! The device contract's checks on a device that may answer anything.
//!
//! Invariant: `C1` every check ends, with whatever outcome, and none panics: what a device says is
//! no more to be trusted than what a medium holds.

use arbitrary::Unstructured;
use shingle_hal::Device;
use shingle_hal::conformance::{self, Bench, CHECKS};

use super::device::FuzzedDevice;
use crate::media::MediaSpec;
use crate::{Drive, Outcome};

/// Drives under the fuzzed one.
const MEDIA: [&str; 4] = [
    "smr-tiny:timing=instant,zones=40,zone-kib=64",
    "zns-tiny:timing=instant,open=3,active=5",
    "nor-tiny:timing=instant",
    "disk-tiny:timing=instant,zones=8",
];
/// Checks of one input.
const CHECKS_MAX: usize = 6;

struct FuzzedBench<'d, 'b> {
    device: FuzzedDevice<'d, 'b>,
}

impl<'d, 'b> Bench for FuzzedBench<'d, 'b> {
    type Device = FuzzedDevice<'d, 'b>;

    fn device(&self) -> &Self::Device {
        &self.device
    }

    async fn power_cycle(&mut self) -> bool {
        let outcome = Outcome::Seeded(self.device.byte().into());
        self.device.drive.cut_after(0);
        self.device.drive.power_on(outcome);
        true
    }
}

/// Runs some of the checks on a device that the bytes make.
pub(super) fn run(bytes: &[u8]) -> Result<(), String> {
    let mut bytes = Unstructured::new(bytes);
    let Ok(media) = bytes.choose(&MEDIA) else { return Ok(()) };
    let Ok(first) = bytes.choose_index(CHECKS.len()) else { return Ok(()) };
    let spec = MediaSpec::parse(media).map_err(|error| error.to_string())?;
    let drive = Drive::new(spec, 0);
    let Ok(device) = FuzzedDevice::new(&drive, bytes) else { return Ok(()) };
    let mut scratch = vec![0; conformance::scratch_len_bytes(&device.geometry())];
    let mut bench = FuzzedBench { device };
    for check in CHECKS.iter().cycle().skip(first).take(CHECKS_MAX) {
        // Any outcome will do.
        let _ = drive.block_on(conformance::run(&mut bench, check, &mut scratch));
    }
    Ok(())
}
