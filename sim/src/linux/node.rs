//! An open file or disk: bytes at offsets, whatever they mean.
//!
//! A plain file goes through the kernel's cache, a disk by direct I/O past it. One process at a
//! time has it open, by an advisory lock that ends with the process, or with the node once its
//! last request has ended; a disk that the kernel itself uses (mounted, swapped to, below another
//! device) is not opened at all.
//!
//! Invariants: `L1` a request that was dropped harms nobody's memory: the kernel has buffers of its
//! own. `L4` a disk that was unplugged fails as a device that is not there, never as blocks that
//! cannot be read: nothing on it is lost.

use std::fs::{File as StdFile, TryLockError};
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compio::BufResult;
use compio::buf::IoBuf as _;
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncReadAtExt as _, AsyncWriteAtExt as _};
use rustix::fs::OFlags;
use rustix::io::Errno;
use shingle_hal::Lba;

use super::buffers::{Buffer, Buffers};
use super::error::{FileFault, FileOp, OpenErrorKind, Reason};
use super::ioctl::SECTOR_LEN_BYTES;
use super::sysfs::Disk;

/// How long one that is in use is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// An open file or disk. See the [module](self).
#[derive(Debug)]
pub(super) struct Node {
    file: File,
    /// The same open file: it holds the lock, and takes what blocks a thread.
    held: Arc<StdFile>,
    /// What the kernel says of it, if it is a disk.
    disk: Option<Disk>,
    block_len_bytes: u32,
    buffers: Buffers,
}

impl Node {
    /// Makes a file at `path` of `len_bytes`, all of it a hole.
    pub(super) async fn create(
        path: &Path,
        len_bytes: u64,
        block_len_bytes: u32,
    ) -> Result<Self, OpenErrorKind> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path).await?;
        let held = lock(&file)?;
        held.set_len(len_bytes)?;
        Ok(Self { file, held, disk: None, block_len_bytes, buffers: Buffers::default() })
    }

    /// Opens the file or disk at `path`; its blocks are as long as the disk can write one at once.
    /// Waits for a moment for one that is in use: the kernel still has it when a process was killed
    /// with requests on their way.
    pub(super) async fn open(path: &Path) -> Result<Self, OpenErrorKind> {
        let begun = Instant::now();
        loop {
            match Self::open_now(path).await {
                Err(OpenErrorKind::Locked | OpenErrorKind::Busy) if begun.elapsed() < GRACE => {
                    compio::time::sleep(GRACE / 50).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open_now(path: &Path) -> Result<Self, OpenErrorKind> {
        // Before it is opened: opening a pipe waits for whoever reads it.
        let metadata = std::fs::metadata(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let disk = if metadata.is_file() {
            None
        } else if metadata.file_type().is_block_device() {
            // On a disk `EXCL` is for one at a time, among whom the kernel's own uses are.
            options.custom_flags((OFlags::DIRECT | OFlags::EXCL).bits() as i32);
            Some(Disk::of(&metadata))
        } else {
            return Err(OpenErrorKind::NotAFile);
        };
        let file = options.open(path).await?;
        let held = lock(&file)?;
        let own = disk.as_ref().and_then(|disk| disk.limit("physical_block_size"));
        let block_len_bytes = own.unwrap_or(SECTOR_LEN_BYTES as u32);
        Ok(Self { file, held, disk, block_len_bytes, buffers: Buffers::default() })
    }

    /// The same with blocks of `block_len_bytes` at least.
    pub(super) fn with_blocks_of(self, block_len_bytes: u32) -> Self {
        Self { block_len_bytes: self.block_len_bytes.max(block_len_bytes), ..self }
    }

    /// What the kernel says of it, if it is a disk.
    pub(super) const fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// The open file, for what blocks a thread.
    pub(super) const fn held(&self) -> &Arc<StdFile> {
        &self.held
    }

    pub(super) const fn block_len_bytes(&self) -> u32 {
        self.block_len_bytes
    }

    /// How long it is now.
    pub(super) fn len_bytes(&self) -> io::Result<u64> {
        (&*self.held).seek(SeekFrom::End(0))
    }

    /// A buffer that holds `data`, to be written.
    pub(super) fn buffer(&self, data: &[u8]) -> Buffer {
        self.buffers.filled(data)
    }

    pub(super) async fn read(&self, start: Lba, buf: &mut [u8]) -> Result<(), FileFault> {
        let op = FileOp::Read { start, blocks: self.blocks(buf.len()) };
        let owned = self.buffers.empty(buf.len());
        let BufResult(result, owned) = self.file.read_exact_at(owned, self.offset(start)).await;
        if result.is_ok() {
            buf.copy_from_slice(owned.as_init());
        }
        self.buffers.put_back(owned);
        result.map_err(|error| self.fault(op, &error))
    }

    pub(super) async fn write(&self, start: Lba, owned: Buffer) -> Result<(), FileFault> {
        let op = FileOp::Write { start, blocks: self.blocks(owned.buf_len()) };
        let offset = self.offset(start);
        let BufResult(result, owned) = (&self.file).write_all_at(owned, offset).await;
        self.buffers.put_back(owned);
        result.map_err(|error| self.fault(op, &error))
    }

    pub(super) async fn sync(&self) -> Result<(), FileFault> {
        self.file.sync_data().await.map_err(|error| self.fault(FileOp::Sync, &error))
    }

    /// Why a request failed.
    pub(super) fn fault(&self, op: FileOp, error: &io::Error) -> FileFault {
        let gone = self.disk.as_ref().is_some_and(|disk| {
            let no_disk = [Errno::NODEV, Errno::NXIO].map(|errno| Some(errno.raw_os_error()));
            // While it goes requests may end without an error, and its length is none.
            let fades =
                error.kind() == io::ErrorKind::WriteZero || self.len_bytes().ok() == Some(0);
            no_disk.contains(&error.raw_os_error()) || fades || !disk.is_there()
        });
        let reason = match (op, error.kind()) {
            _ if gone => Reason::Gone,
            (FileOp::Read { start, .. }, io::ErrorKind::UnexpectedEof) => {
                let len_bytes = self.len_bytes().unwrap_or(0);
                let first = Lba(len_bytes / u64::from(self.block_len_bytes)).max(start);
                Reason::Short { first }
            }
            _ => Reason::of(error),
        };
        FileFault { op, reason }
    }

    /// Blocks of a transfer that was admitted.
    pub(super) const fn blocks(&self, len_bytes: usize) -> u32 {
        len_bytes as u32 / self.block_len_bytes
    }

    fn offset(&self, start: Lba) -> u64 {
        start.0 * u64::from(self.block_len_bytes)
    }
}

/// Takes the lock of an open file; the handle that is returned stands for the same open file.
fn lock(file: &File) -> Result<Arc<StdFile>, OpenErrorKind> {
    let held = StdFile::from(file.as_fd().try_clone_to_owned()?);
    held.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenErrorKind::Locked,
        TryLockError::Error(error) => error.into(),
    })?;
    Ok(Arc::new(held))
}
