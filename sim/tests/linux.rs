//! A file as a device: it keeps the contract, holds a store, and fails in a sentence.
//!
//! Invariants: `L1` no check of the contract fails, by whichever queue requests reach the kernel.
//! `L2` what a store was told to keep is there when the file is opened again. `L3` a file that is
//! no device, or stopped being one, is told apart, and nothing is written to it.

use std::fs::{self, File};
use std::path::Path;

use shingle_engine::{FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteOptions};
use shingle_hal::adapt::{BlockDevice as _, BlockZones};
use shingle_hal::conformance::{self, Bench, CHECKS, Outcome, scratch_len_bytes};
use shingle_hal::{Device, Error as _, ErrorKind, Lba, Request, both};
use shingle_sim::linux::{FileDevice, FileFault, OpenErrorKind, Queue, Reason, Runtime, runtime};
use shingle_sim::synthetic;
use tempfile::TempDir;

const ZONE_BLOCKS: u32 = 64;
const ZONES: u64 = 64;
const LEN_BYTES: u64 = ZONES * ZONE_BLOCKS as u64 * 4096;

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

type Zones = BlockZones<FileDevice>;

/// Every way to the kernel that there is here, with its name.
fn runtimes() -> Vec<(&'static str, Runtime)> {
    let mut all = vec![("threads", runtime(Queue::Threads).expect("threads are always there"))];
    match runtime(Queue::IoUring) {
        Ok(ring) => {
            assert!(runtime(Queue::Best).expect("as good").driver_type().is_iouring());
            all.push(("io_uring", ring));
        }
        Err(error) => println!("no io_uring here: {error}"),
    }
    all
}

fn zones(file: FileDevice) -> Zones {
    BlockZones::new(file, ZONE_BLOCKS).expect("sizes that fit the contract")
}

struct FileBench<'f> {
    path: &'f Path,
    zones: Option<Zones>,
}

impl Bench for FileBench<'_> {
    type Device = Zones;

    fn device(&self) -> &Zones {
        self.zones.as_ref().expect("a device is open between cycles")
    }

    /// The mildest of power cuts: everything unsynced survives. What a file keeps of a real one is
    /// up to the file system, and the contract allows any of it.
    async fn power_cycle(&mut self) -> bool {
        self.zones = None;
        loop {
            // A write that was dropped may hold the file for a moment.
            match FileDevice::open(self.path).await {
                Err(error) if matches!(error.kind, OpenErrorKind::Locked) => {
                    std::thread::yield_now();
                }
                opened => {
                    self.zones = Some(zones(opened.expect("open")));
                    return true;
                }
            }
        }
    }
}

#[test]
fn file_keeps_the_contract() {
    for (queue, runtime) in runtimes() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("device");
        let passed = runtime.block_on(async {
            let file = FileDevice::create(&path, LEN_BYTES).await.expect("create");
            let mut bench = FileBench { path: &path, zones: Some(zones(file)) };
            let geometry = bench.device().geometry();
            // Enough for a transfer that is too long.
            let more = (geometry.transfer_blocks_max + 1) * geometry.block_len_bytes;
            let mut scratch = vec![0; scratch_len_bytes(&geometry) + more as usize];
            let mut passed = 0;
            for check in CHECKS {
                match conformance::run(&mut bench, check, &mut scratch).await {
                    Outcome::Passed => passed += 1,
                    Outcome::Skipped(why) => {
                        assert!(LACKING.contains(&why), "{queue}: {}: {why}", check.name);
                    }
                    Outcome::Failed(failure) => {
                        panic!("{queue}: {}: {failure} ({})", check.name, check.clause)
                    }
                }
            }
            passed
        });
        // As many as other conventional zones pass in the tests of `hal`.
        assert_eq!(passed, 38, "{queue}: checks passed");
    }
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn value(number: u32) -> Vec<u8> {
    let mut value = vec![0; [100, 5000, 70_000][number as usize % 3]];
    synthetic::fill(u64::from(number), 0, &mut value);
    value
}

/// Puts `numbers`, one after another.
async fn put_all(store: &Store<'_, &Zones>, numbers: impl Iterator<Item = u32>) {
    for number in numbers {
        let (key, value) = (key(number), value(number));
        store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED).await.expect("put");
    }
}

/// Compares `numbers`, one after another.
async fn compare(store: &Store<'_, &Zones>, numbers: impl Iterator<Item = u32>) {
    let mut out = vec![0; store.read_room(70_000) as usize];
    for number in numbers {
        let found = store.get(&key(number), &mut out, ReadOptions::default()).await.expect("get");
        let len = found.expect("the key is there").value_len as usize;
        assert!(out[..len] == value(number), "{number}");
    }
}

#[test]
fn store_on_a_file_is_there_when_it_is_opened_again() {
    const KEYS: u32 = 200;
    for (_, runtime) in runtimes() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("device");
        let mut memory = vec![0; 2 << 20];
        runtime.block_on(async {
            let device = zones(FileDevice::create(&path, LEN_BYTES).await.expect("create"));
            let limits = Limits::for_geometry(&device.geometry());
            let options = FormatOptions { store_id: [3; 16], limits, redundancy: Redundancy::NONE };
            shingle_engine::format(&&device, &mut memory, &options).await.expect("format");
            let store = Store::open(&device, &mut memory).await.expect("open");
            // Side by side on one thread, as many requests in flight as the engine makes of them.
            both(put_all(&store, 0..KEYS / 2), put_all(&store, KEYS / 2..KEYS)).await;
            store.sync().await.expect("sync");
            both(compare(&store, 0..KEYS / 2), compare(&store, (0..KEYS).rev())).await;
        });
        runtime.block_on(async {
            let device = zones(FileDevice::open(&path).await.expect("open the file"));
            let store = Store::open(&device, &mut memory).await.expect("open the store");
            compare(&store, 0..KEYS).await;
        });
    }
}

#[test]
fn file_that_is_no_device_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("device");
    let other = folder.path().join("other");
    runtime(Queue::Best).expect("a runtime").block_on(async {
        let refused = FileDevice::create(&path, 4097).await.expect_err("no whole block");
        assert!(matches!(refused.kind, OpenErrorKind::Length { found: 4097 }), "{refused}");
        assert!(!path.exists(), "nothing was made");
        let device = FileDevice::create(&path, 8192).await.expect("create");
        let refused = FileDevice::create(&path, 8192).await.expect_err("there is one");
        assert!(matches!(refused.kind, OpenErrorKind::Exists), "{refused}");
        let refused = FileDevice::open(&path).await.expect_err("it is open");
        assert!(matches!(refused.kind, OpenErrorKind::Locked), "{refused}");
        assert_eq!(refused.to_string(), format!("{} is in use already", path.display()));
        drop(device);
        assert_eq!(FileDevice::open(&path).await.expect("it is free").block_count(), 2);

        fs::write(&other, [1; 100]).expect("write");
        let refused = FileDevice::open(&other).await.expect_err("no whole block");
        assert!(matches!(refused.kind, OpenErrorKind::Length { found: 100 }), "{refused}");
        assert_eq!(fs::read(&other).expect("read"), [1; 100], "it is left alone");
        let refused = FileDevice::open(folder.path()).await.expect_err("a directory");
        assert!(matches!(refused.kind, OpenErrorKind::NotAFile), "{refused}");
        let refused = FileDevice::open(&folder.path().join("none")).await.expect_err("none");
        assert!(matches!(refused.kind, OpenErrorKind::Io(_)), "{refused}");
    });
}

#[test]
fn file_that_is_cut_short_cannot_be_read_where_it_was() {
    for (_, runtime) in runtimes() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("device");
        runtime.block_on(async {
            let device = FileDevice::create(&path, 16 * 4096).await.expect("create");
            let mut block = vec![7; 4096];
            for lba in 0..16 {
                device.write(Lba(lba), &block, Request::default()).await.expect("write");
            }
            File::options().write(true).open(&path).and_then(|file| file.set_len(10 * 4096)).ok();
            let mut four = vec![0; 4 * 4096];
            let fault = device.read(Lba(8), &mut four, Request::default()).await.expect_err("cut");
            assert!(matches!(fault, FileFault { reason: Reason::Short { first: Lba(10) }, .. }));
            assert_eq!(fault.kind(), ErrorKind::UnrecoveredRead { first: Some(Lba(10)) });
            assert_eq!(device.block_count(), 16);
            device.read(Lba(9), &mut block, Request::default()).await.expect("it was kept");
            device.write(Lba(15), &block, Request::default()).await.expect("write");
            device.read(Lba(12), &mut four, Request::default()).await.expect("it is long again");
            assert!(four[..4096] == [0; 4096] && four[3 * 4096..] == [7; 4096]);
        });
    }
}
