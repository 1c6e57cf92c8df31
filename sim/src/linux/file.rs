//! A plain file as a block device, with many requests in flight.
//!
//! Blocks lie at their natural offsets; what was never written is a hole, and reads as zeros. A
//! file has no write pointers: zones over it are conventional. Reads and writes go through the
//! kernel's cache; [`sync`](BlockDevice::sync) is `fdatasync`, which also makes durable what the
//! file system needs to find blocks that a write filled a hole with.
//!
//! One process at a time has a device open, by an advisory lock that ends with the process, or
//! with the device once its last request has ended.
//!
//! # Cost
//! Every byte is copied once more than the device needs, between the caller's memory and the
//! buffer that a request owns: see `buffers`.
//!
//! Invariants: `L1` a request that was dropped harms nobody's memory: the kernel has buffers of its
//! own. `L2` the size never changes while the device is open, though the file's may: blocks that
//! another process cut off are unreadable, and come back when they are written.

use std::fs::{File as StdFile, TryLockError};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use compio::BufResult;
use compio::buf::{IntoInner as _, IoBuf as _};
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncReadAtExt as _, AsyncWriteAtExt as _};
use shingle_hal::adapt::BlockDevice;
use shingle_hal::{Lba, Request};

use super::buffers::Buffers;
use super::error::{FileFault, FileOp, OpenError, OpenErrorKind, Reason};

/// Bytes of a block: a page of the kernel's cache, so that no write makes the kernel read first.
const BLOCK_LEN_BYTES: u32 = 4096;
/// Blocks of a request at most: 1 MiB.
const TRANSFER_BLOCKS_MAX: u32 = 256;

/// A file as a block device. See the [module](super).
///
/// It belongs to the [runtime](super::runtime()) that it was opened on.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    /// The same open file: it holds the lock, and answers at once how long the file is.
    held: StdFile,
    block_count: u64,
    buffers: Buffers,
}

impl FileDevice {
    /// Makes a file at `path` of `len_bytes`, all of it a hole.
    ///
    /// # Errors
    /// [`Exists`](OpenErrorKind::Exists) if there is a file already, a length that is no positive
    /// multiple of 4096, and those of the file system.
    ///
    /// # Panics
    /// If no runtime runs.
    pub async fn create(path: &Path, len_bytes: u64) -> Result<Self, OpenError> {
        let created = async {
            block_count(len_bytes)?;
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).open(path).await?;
            let held = lock(&file)?;
            held.set_len(len_bytes)?;
            Self::of(file, held)
        };
        created.await.map_err(|kind| kind.at(path))
    }

    /// Opens the file at `path`, whatever it holds, as a device of its length.
    ///
    /// # Errors
    /// [`Locked`](OpenErrorKind::Locked), something else than a plain file, one that is no whole
    /// number of blocks long, and those of the file system.
    ///
    /// # Panics
    /// If no runtime runs.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = async {
            // Before the file is opened: opening a pipe waits for whoever reads it.
            if !std::fs::metadata(path)?.is_file() {
                return Err(OpenErrorKind::NotAFile);
            }
            let file = OpenOptions::new().read(true).write(true).open(path).await?;
            let held = lock(&file)?;
            Self::of(file, held)
        };
        opened.await.map_err(|kind| kind.at(path))
    }

    fn of(file: File, held: StdFile) -> Result<Self, OpenErrorKind> {
        let block_count = block_count(held.metadata()?.len())?;
        Ok(Self { file, held, block_count, buffers: Buffers::default() })
    }

    /// Why a request failed.
    fn fault(&self, op: FileOp, error: &io::Error) -> FileFault {
        let reason = match (op, error.kind()) {
            (FileOp::Read { start, .. }, io::ErrorKind::UnexpectedEof) => {
                let len_bytes = self.held.metadata().map_or(0, |metadata| metadata.len());
                let first = Lba(len_bytes / u64::from(BLOCK_LEN_BYTES)).max(start);
                Reason::Short { first }
            }
            _ => Reason::of(error),
        };
        FileFault { op, reason }
    }
}

impl BlockDevice for FileDevice {
    type Error = FileFault;

    fn block_len_bytes(&self) -> u32 {
        BLOCK_LEN_BYTES
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn transfer_blocks_max(&self) -> u32 {
        TRANSFER_BLOCKS_MAX
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), FileFault> {
        let op = FileOp::Read { start, blocks: blocks(buf.len()) };
        let owned = self.buffers.take(buf.len()).slice(..buf.len());
        let BufResult(result, owned) = self.file.read_exact_at(owned, offset(start)).await;
        let owned = owned.into_inner();
        if result.is_ok() {
            buf.copy_from_slice(&owned);
        }
        self.buffers.put_back(owned);
        result.map_err(|error| self.fault(op, &error))
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), FileFault> {
        let op = FileOp::Write { start, blocks: blocks(data.len()) };
        let mut owned = self.buffers.take(data.len());
        owned.extend_from_slice(data);
        let BufResult(result, owned) = (&self.file).write_all_at(owned, offset(start)).await;
        self.buffers.put_back(owned);
        result.map_err(|error| self.fault(op, &error))
    }

    async fn sync(&self) -> Result<(), FileFault> {
        self.file.sync_data().await.map_err(|error| self.fault(FileOp::Sync, &error))
    }
}

/// Blocks of a file of `len_bytes`.
fn block_count(len_bytes: u64) -> Result<u64, OpenErrorKind> {
    let block_len = u64::from(BLOCK_LEN_BYTES);
    if len_bytes == 0 || !len_bytes.is_multiple_of(block_len) {
        return Err(OpenErrorKind::Length { found: len_bytes });
    }
    Ok(len_bytes / block_len)
}

/// Blocks of a transfer, which the adaptor above has admitted.
fn blocks(len_bytes: usize) -> u32 {
    len_bytes as u32 / BLOCK_LEN_BYTES
}

fn offset(start: Lba) -> u64 {
    start.0 * u64::from(BLOCK_LEN_BYTES)
}

/// Takes the lock of an open file; the handle that is returned stands for the same open file.
fn lock(file: &File) -> Result<StdFile, OpenErrorKind> {
    let held = StdFile::from(file.as_fd().try_clone_to_owned()?);
    held.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenErrorKind::Locked,
        TryLockError::Error(error) => error.into(),
    })?;
    Ok(held)
}
