//! A plain file, or a disk that may be written anywhere, as a block device.
//!
//! Blocks lie at their natural offsets; of a file, what was never written is a hole, and reads as
//! zeros. There are no write pointers: zones over it are conventional. [`sync`](BlockDevice::sync)
//! is `fdatasync`: of a file it also makes durable what the file system needs to find blocks that a
//! write filled a hole with, and a disk's cache it flushes.
//!
//! # Cost
//! Every byte is copied once more than the device needs, between the caller's memory and the
//! buffer that a request owns: see `buffers`.
//!
//! Invariants: `L1` and `L4` of `node`. `L2` the size never changes while the device is open,
//! though the file's may: blocks that another process cut off are unreadable, and come back when
//! they are written.

use std::path::Path;

use shingle_hal::adapt::BlockDevice;
use shingle_hal::{Lba, Request};

use super::error::{FileFault, OpenError, OpenErrorKind};
use super::node::Node;

/// Bytes of a block: a page of the kernel's cache, so that no write makes the kernel read first.
const BLOCK_LEN_BYTES: u32 = 4096;
/// Bytes of a request at most.
pub(super) const TRANSFER_LEN_BYTES_MAX: u32 = 1 << 20;

/// A file or a disk as a block device. See the [module](super).
///
/// It belongs to the [runtime](super::runtime()) that it was opened on.
#[derive(Debug)]
pub struct FileDevice {
    node: Node,
    block_count: u64,
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
            let block_count = whole_blocks(len_bytes)?;
            let node = Node::create(path, len_bytes, BLOCK_LEN_BYTES).await?;
            Ok(Self { node, block_count })
        };
        created.await.map_err(|kind: OpenErrorKind| kind.at(path))
    }

    /// Opens the file or disk at `path`, whatever it holds, as a device of its length.
    ///
    /// # Errors
    /// [`Locked`](OpenErrorKind::Locked), [`Busy`](OpenErrorKind::Busy), something else than a
    /// plain file or a disk, a file that is no whole number of blocks long, a disk whose
    /// [zones](OpenErrorKind::Zones) want to be written in order, and those of the file system.
    ///
    /// # Panics
    /// If no runtime runs.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = async { Self::of(Node::open(path).await?) };
        opened.await.map_err(|kind| kind.at(path))
    }

    pub(super) fn of(node: Node) -> Result<Self, OpenErrorKind> {
        let node = node.with_blocks_of(BLOCK_LEN_BYTES);
        let len_bytes = node.len_bytes()?;
        let block_count = match node.disk() {
            Some(disk) if disk.is_host_managed() => {
                let why = "they can be written in order only";
                return Err(OpenErrorKind::Zones { why });
            }
            // The last sectors of a disk may be fewer than a block; they are left alone.
            Some(_) => match len_bytes / u64::from(node.block_len_bytes()) {
                0 => return Err(OpenErrorKind::Length { found: len_bytes }),
                count => count,
            },
            None => whole_blocks(len_bytes)?,
        };
        Ok(Self { node, block_count })
    }
}

impl BlockDevice for FileDevice {
    type Error = FileFault;

    fn block_len_bytes(&self) -> u32 {
        self.node.block_len_bytes()
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn transfer_blocks_max(&self) -> u32 {
        (TRANSFER_LEN_BYTES_MAX / self.node.block_len_bytes()).max(1)
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), FileFault> {
        self.node.read(start, buf).await
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), FileFault> {
        self.node.write(start, self.node.buffer(data)).await
    }

    async fn sync(&self) -> Result<(), FileFault> {
        self.node.sync().await
    }
}

/// Blocks of a file of `len_bytes`.
fn whole_blocks(len_bytes: u64) -> Result<u64, OpenErrorKind> {
    let block_len = u64::from(BLOCK_LEN_BYTES);
    if len_bytes == 0 || !len_bytes.is_multiple_of(block_len) {
        return Err(OpenErrorKind::Length { found: len_bytes });
    }
    Ok(len_bytes / block_len)
}
