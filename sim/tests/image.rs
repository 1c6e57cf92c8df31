//! Images: what one process saves, the next one finds; what is no image is refused in words.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use shingle_hal::{Device, ErrorKind, Lba, Request, ZoneCondition, ZoneDescriptor, ZoneId};
use shingle_sim::image::ImageErrorKind;
use shingle_sim::media::{MediaKind, MediaSpec};
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, Image, Outcome, synthetic};
use tempfile::TempDir;

const BLOCK: usize = 4096;

fn spec() -> MediaSpec {
    MediaSpec {
        name: "test".into(),
        kind: MediaKind::Smr,
        block_len_bytes: BLOCK as u32,
        zone_count: 6,
        zone_blocks: 64,
        zone_capacity_blocks: 64,
        conventional_zone_count: 1,
        open_zones_max: Some(2),
        active_zones_max: None,
        transfer_blocks_max: 64,
        element_count: 1,
        timing: TimingSpec::Instant,
    }
}

fn path() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drive.img");
    (dir, path)
}

fn data(seed: u64, blocks: usize) -> Vec<u8> {
    let mut bytes = synthetic::value(seed, blocks * BLOCK);
    bytes[100] ^= 1;
    bytes
}

fn write(drive: &Drive, at: u64, bytes: &[u8]) {
    let done = drive.block_on(drive.write(Lba(at), bytes, Request::default()));
    assert_eq!(done, Ok(()));
}

fn read(drive: &Drive, at: u64, blocks: usize) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = vec![0xee; blocks * BLOCK];
    let done = drive.block_on(drive.read(Lba(at), &mut bytes, Request::default()));
    done.map(|()| bytes).map_err(|e| e.kind)
}

fn conditions(drive: &Drive) -> Vec<(ZoneCondition, u32)> {
    let mut out = [ZoneDescriptor::EMPTY; 16];
    let count = drive.block_on(drive.report(ZoneId(0), &mut out)).unwrap();
    let zones = out[..count].iter();
    zones.map(|zone| (zone.condition, zone.write_pointer.0)).collect()
}

fn message(opened: Result<Image, shingle_sim::ImageError>) -> String {
    opened.expect_err("it should be refused").to_string()
}

#[test]
fn what_is_saved_is_found_again_at_rest() {
    use ZoneCondition as C;
    let (_dir, path) = path();
    let mut image = Image::create(&path, spec(), 3).unwrap();
    let drive = image.drive();
    write(drive, 5, &data(1, 3));
    write(drive, 64, &data(2, 10));
    write(drive, 128, &data(3, 64));
    write(drive, 192, &data(4, 2));
    drive.block_on(drive.finish(ZoneId(3))).unwrap();
    drive.block_on(drive.open(ZoneId(4))).unwrap();
    image.save().unwrap();
    // The drive that was saved goes on, from the file now.
    write(image.drive(), 74, &data(5, 1));
    assert_eq!(read(image.drive(), 64, 10), Ok(data(2, 10)));
    image.save().unwrap();
    let hash = image.drive().trace_hash();
    drop(image);
    let image = Image::open(&path).unwrap();
    assert!(!image.was_interrupted());
    let drive = image.drive();
    assert_eq!(drive.trace_hash(), hash);
    let zones = [
        (C::NotWritePointer, 0),
        (C::Closed, 11),
        (C::Full, 64),
        (C::Full, 64),
        (C::Empty, 0),
        (C::Empty, 0),
    ];
    assert_eq!(conditions(drive), zones);
    assert_eq!(read(drive, 5, 3), Ok(data(1, 3)));
    assert_eq!(read(drive, 0, 5), Ok(vec![0; 5 * BLOCK]));
    assert_eq!(read(drive, 64, 11), Ok([data(2, 10), data(5, 1)].concat()));
    assert_eq!(read(drive, 128, 64), Ok(data(3, 64)));
}

#[test]
fn reset_and_rewrite_hide_what_the_file_held() {
    let (_dir, path) = path();
    let mut image = Image::create(&path, spec(), 3).unwrap();
    write(image.drive(), 64, &data(1, 8));
    write(image.drive(), 3, &data(2, 2));
    image.save().unwrap();
    let drive = image.drive();
    drive.block_on(drive.reset(ZoneId(1))).unwrap();
    write(drive, 64, &data(3, 1));
    write(drive, 4, &data(4, 1));
    let undone = drive.fork();
    undone.cut_after(0);
    undone.power_on(Outcome::LoseAll);
    assert_eq!(read(&undone, 64, 8), Ok(data(1, 8)));
    assert_eq!(read(&undone, 3, 2), Ok(data(2, 2)));
    drop(undone);
    drive.block_on(drive.finish(ZoneId(1))).unwrap();
    assert_eq!(read(drive, 65, 1), Ok(vec![0; BLOCK]));
    image.save().unwrap();
    drop(image);
    let image = Image::open(&path).unwrap();
    assert_eq!(read(image.drive(), 64, 1), Ok(data(3, 1)));
    assert_eq!(read(image.drive(), 3, 2), Ok([&data(2, 2)[..BLOCK], &data(4, 1)].concat()));
}

#[test]
fn bad_blocks_stay_bad() {
    let (_dir, path) = path();
    let mut image = Image::create(&path, spec(), 3).unwrap();
    write(image.drive(), 64, &data(1, 4));
    image.drive().cut_after(0);
    assert!(matches!(image.save().unwrap_err().kind, ImageErrorKind::PowerCut));
    let unreadable = image.drive().outcome_count(100) - 1;
    image.drive().power_on(Outcome::Enumerated(unreadable));
    let bad = Err(ErrorKind::UnrecoveredRead { first: Some(Lba(67)) });
    assert_eq!(read(image.drive(), 64, 4), bad);
    image.save().unwrap();
    assert_eq!(read(image.drive(), 64, 4), bad);
    drop(image);
    let image = Image::open(&path).unwrap();
    assert_eq!(read(image.drive(), 64, 4), bad);
    assert_eq!(read(image.drive(), 64, 3), Ok(data(1, 4)[..3 * BLOCK].to_vec()));
}

#[test]
fn what_was_not_saved_is_as_if_it_never_was() {
    let (_dir, path) = path();
    let image = Image::create(&path, spec(), 3).unwrap();
    write(image.drive(), 64, &data(1, 4));
    drop(image);
    let image = Image::open(&path).unwrap();
    assert_eq!(conditions(image.drive())[1], (ZoneCondition::Empty, 0));
}

#[test]
fn second_user_is_refused() {
    let (_dir, path) = path();
    let _image = Image::create(&path, spec(), 3).unwrap();
    assert!(message(Image::open(&path)).ends_with("is in use by another process"));
    assert!(message(Image::create(&path, spec(), 3)).ends_with("exists already"));
}

#[test]
fn file_that_is_no_image_of_ours_is_refused() {
    let (dir, path) = path();
    drop(Image::create(&path, spec(), 3).unwrap());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let whole = file.metadata().unwrap().len();
    file.set_len(whole - 1).unwrap();
    assert!(message(Image::open(&path)).contains("is truncated"));
    file.set_len(20).unwrap();
    assert!(message(Image::open(&path)).contains("is truncated"));
    file.set_len(0).unwrap();
    assert!(message(Image::open(&path)).ends_with("is not an image of a simulated drive"));
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    assert!(message(Image::open(&path)).ends_with("is not an image of a simulated drive"));
    assert!(message(Image::open(&dir.path().join("none"))).contains("cannot be used"));
}

#[test]
fn damage_is_found_by_checksum() {
    let broken = |at: u64, byte: u8| {
        let (_dir, path) = path();
        drop(Image::create(&path, spec(), 3).unwrap());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[byte], at).unwrap();
        message(Image::open(&path))
    };
    assert!(broken(16, 9).ends_with("has image version 9, and this program reads version 1"));
    assert!(broken(20, 0xff).ends_with("is damaged in its header"));
    assert!(broken(40, 0xff).ends_with("is damaged in its header"));
    assert!(broken(32 << 10, 0).ends_with("is damaged in its table mark"));
    let table_at = (64 << 10) + 6 * 64 * BLOCK as u64;
    assert!(broken(table_at + 50, 0xff).ends_with("is damaged in its zone table"));
}

#[test]
fn interrupted_save_leaves_the_table_before_it() {
    let (_dir, path) = path();
    let mut image = Image::create(&path, spec(), 3).unwrap();
    write(image.drive(), 64, &data(1, 4));
    image.save().unwrap();
    write(image.drive(), 68, &data(2, 4));
    image.save().unwrap();
    drop(image);
    // The second save's mark never came to be.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 8], 32 << 10).unwrap();
    let mut image = Image::open(&path).unwrap();
    assert!(image.was_interrupted());
    assert_eq!(conditions(image.drive())[1], (ZoneCondition::Closed, 4));
    assert_eq!(read(image.drive(), 64, 4), Ok(data(1, 4)));
    image.save().unwrap();
    drop(image);
    assert!(!Image::open(&path).unwrap().was_interrupted());
}

#[test]
fn large_image_takes_no_room_and_opens_at_once() {
    let (_dir, path) = path();
    let large = MediaSpec {
        zone_count: 55_880,
        zone_blocks: 65_536,
        zone_capacity_blocks: 65_536,
        ..spec()
    };
    let mut image = Image::create(&path, large, 3).unwrap();
    let last = 55_879 * 65_536;
    write(image.drive(), last, &data(1, 4));
    image.save().unwrap();
    drop(image);
    let began = Instant::now();
    let image = Image::open(&path).unwrap();
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(read(image.drive(), last, 4), Ok(data(1, 4)));
    let blocks = std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap());
    assert!(blocks * 512 < 8 << 20, "{blocks}");
}

#[test]
#[should_panic(expected = "after its image was saved")]
fn copy_made_before_a_save_is_not_read_after_it() {
    let (_dir, path) = path();
    let mut image = Image::create(&path, spec(), 3).unwrap();
    write(image.drive(), 64, &data(1, 4));
    image.save().unwrap();
    let copy = image.drive().fork();
    image.save().unwrap();
    let _ = read(&copy, 64, 4);
}
