//! Devices of Linux: a store on a plain file, on a disk, or on a zoned disk.
//!
//! A [`FileDevice`] is a block device that may be written anywhere; the adaptor
//! [`BlockZones`](shingle_hal::adapt::BlockZones) cuts it into conventional zones. A
//! [`ZonedDevice`] is a disk whose zones are written in order. A [`LinuxDevice`] is whichever of
//! them a path leads to. Requests are asynchronous, by io_uring where the kernel has it and by a
//! pool of threads elsewhere, so they need a [runtime](runtime()) of the crate `compio` around
//! them:
//!
//! ```
//! use shingle_hal::adapt::BlockZones;
//! use shingle_hal::{Device, Lba, Request};
//! use shingle_sim::linux::{FileDevice, Queue, runtime};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("store");
//! let runtime = runtime(Queue::Best).unwrap();
//! runtime.block_on(async {
//!     let file = FileDevice::create(&path, 64 << 20).await.unwrap();
//!     let zones = BlockZones::new(file, 512).unwrap();
//!     zones.write(Lba(7), &[1; 4096], Request::default()).await.unwrap();
//!     zones.sync().await.unwrap();
//! });
//! ```
//!
//! - `file`, `zoned`: the devices; `device`: whichever of them a path leads to. `node`: what both
//!   read and write. `ioctl`, `sysfs`: what else the kernel is asked. `buffers`: the memory that it
//!   reads from and writes to. `runtime`: what requests run on. `error`: why there is no device,
//!   and what requests fail with.

mod buffers;
mod device;
mod error;
mod file;
mod ioctl;
mod node;
mod runtime;
mod sysfs;
mod zoned;

pub use device::LinuxDevice;
pub use error::{FileFault, FileOp, OpenError, OpenErrorKind, Reason};
pub use file::FileDevice;
pub use ioctl::Act;
pub use runtime::{Queue, Runtime, runtime, sleep};
pub use zoned::ZonedDevice;
