//! A file as a device: it fails in a sentence. That it keeps the contract and holds a store, by
//! either way to the kernel, is tested through the command, in `cli.rs`.
//!
//! Invariant: a file that is no device, or stopped being one, is told apart, and nothing is written
//! to it.

use std::fs::{self, File};

use shingle_hal::adapt::BlockDevice as _;
use shingle_hal::{Error as _, ErrorKind, Lba, Request};
use shingle_sim::linux::{FileDevice, FileFault, OpenErrorKind, Queue, Reason, Runtime, runtime};
use tempfile::TempDir;

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
