//! The image as a device keeps the contract, also when it is stopped, and the simulator finds on
//! it what it wrote.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use shingle_hal::conformance::{self, Bench, CHECKS, Outcome};
use shingle_hal::{Device, Lba, Request, ZoneDescriptor, ZoneId, block_on};
use shingle_sim::Image;
use shingle_sim::media::MediaSpec;

use image::{File, ImageDrive, Model};

#[path = "../firmware/src/image.rs"]
#[allow(unreachable_pub, reason = "part of a library there")]
mod image;

const MEDIA: &str = "smr:zones=12,zone-kib=64,conventional=2,elements=1,timing=instant";

struct HostFile(fs::File);

impl File for HostFile {
    type Error = io::ErrorKind;

    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), io::ErrorKind> {
        self.0.read_exact_at(out, at).map_err(|error| error.kind())
    }

    fn write_at(&self, at: u64, data: &[u8]) -> Result<(), io::ErrorKind> {
        self.0.write_all_at(data, at).map_err(|error| error.kind())
    }
}

fn spec() -> MediaSpec {
    MediaSpec::parse(MEDIA).expect("a drive")
}

fn open(path: &Path) -> ImageDrive<HostFile> {
    let spec = spec();
    let model = Model {
        block_len_bytes: spec.block_len_bytes,
        zone_count: spec.zone_count,
        zone_blocks: spec.zone_blocks,
    };
    let file = fs::File::options().read(true).write(true).open(path).expect("an image");
    ImageDrive::open(HostFile(file), model).expect("a drive")
}

struct Board<'p> {
    path: &'p Path,
    drive: ImageDrive<HostFile>,
}

impl Bench for Board<'_> {
    type Device = ImageDrive<HostFile>;

    fn device(&self) -> &Self::Device {
        &self.drive
    }

    async fn power_cycle(&mut self) -> bool {
        self.drive = open(self.path);
        true
    }
}

#[test]
fn image_passes_the_conformance_checks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("drive.image");
    Image::create(&path, spec(), 1).expect("an image").save().expect("a save");
    let mut board = Board { path: &path, drive: open(&path) };
    let mut scratch = vec![0; conformance::scratch_len_bytes(&board.drive.geometry())];
    let mut passed = 0;
    for check in CHECKS {
        match block_on(conformance::run(&mut board, check, &mut scratch)) {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(_) => {}
            Outcome::Failed(failure) => panic!("{}: {failure} ({})", check.name, check.clause),
        }
    }
    assert!(passed > 80, "{passed} checks");
}

#[test]
fn simulator_finds_what_the_board_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("drive.image");
    Image::create(&path, spec(), 1).expect("an image").save().expect("a save");
    let board = open(&path);
    let block_len = spec().block_len_bytes as usize;
    let at = |zone: u32| Lba(u64::from(zone * spec().zone_blocks));
    for zone in [1, 5, 7] {
        let data = vec![zone as u8; 3 * block_len];
        block_on(board.write(at(zone), &data, Request::default())).expect("a write");
    }
    block_on(board.finish(ZoneId(7))).expect("a finish");
    let mut said = [ZoneDescriptor::EMPTY; 12];
    block_on(board.close(ZoneId(5))).expect("a close");
    block_on(board.report(ZoneId(0), &mut said)).expect("a report");
    drop(board);

    let image = Image::open(&path).expect("an image");
    let drive = image.drive();
    let mut found = [ZoneDescriptor::EMPTY; 12];
    drive.block_on(drive.report(ZoneId(0), &mut found)).expect("a report");
    assert_eq!(said, found);
    for zone in [1, 5, 7] {
        let mut data = vec![0; 3 * block_len];
        drive.block_on(drive.read(at(zone), &mut data, Request::default())).expect("a read");
        assert!(data.iter().all(|byte| *byte == zone as u8), "zone {zone}");
    }
}
