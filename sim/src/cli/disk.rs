//! A file or a disk of this machine under a command, and what it holds before it is formatted.

use std::path::Path;
use std::time::Instant;

use shingle_hal::{Class, Device, Request, ZoneCondition, ZoneDescriptor, ZoneId};
use shingle_sim::linux::{LinuxDevice, Queue, Runtime, runtime};

use super::Failure;

/// An open file or disk, and what its requests run on.
pub(crate) struct Disk {
    device: LinuxDevice,
    runtime: Runtime,
    opened: Instant,
}

/// What a disk that others use begins with: where, the bytes, and whose they are. After the magic
/// table of util-linux's `libblkid`.
const SIGNATURES: [(usize, &[u8], &str); 15] = [
    (0, b"XFSB", "an XFS file system"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"hsqs", "a squashfs file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (54, b"FAT", "a FAT file system"),
    (82, b"FAT32   ", "a FAT file system"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (0, b"SFZ", "a zonefs file system"),
    (4086, b"SWAPSPACE2", "swap space"),
    (65_600, b"_BHRfS_M", "a Btrfs file system"),
    (4096, b"\xfc\x4e\x2b\xa9", "a part of a RAID"),
    (536, b"LVM2 001", "an LVM volume"),
    (512, b"EFI PART", "a partition table"),
];
/// Bytes from the start in which signatures are looked for.
const HEAD_LEN: usize = 128 << 10;

impl Disk {
    /// Opens the file or disk at `path`, whatever it holds; requests go by `queue`.
    pub(crate) fn open(path: &Path, queue: Queue) -> Result<Self, Failure> {
        let runtime = runtime(queue)
            .map_err(|error| Failure::new(format!("the kernel takes no requests: {error}")))?;
        let device = runtime.block_on(LinuxDevice::open(path));
        let device = device.map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self { device, runtime, opened: Instant::now() })
    }

    pub(crate) const fn device(&self) -> &LinuxDevice {
        &self.device
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.opened.elapsed().as_nanos() as u64
    }

    /// What kind it is.
    pub(crate) const fn name(&self) -> &'static str {
        match self.device {
            LinuxDevice::Zoned(_) => "a zoned disk",
            _ => "a disk or file",
        }
    }

    /// What it holds that is not a store's, in words; `None` if it is blank.
    pub(crate) fn foreign(&self) -> Result<Option<String>, Failure> {
        self.block_on(async {
            if let Some(found) = self.head().await? {
                return Ok(Some(found.to_owned()));
            }
            let written = self.written_zones().await?;
            Ok((written > 0).then(|| format!("data in {written} of its zones")))
        })
    }

    /// What the first bytes are of; those of a zone that was never written are no bytes.
    async fn head(&self) -> Result<Option<&'static str>, Failure> {
        let geometry = self.device.geometry();
        let block_len = geometry.block_len_bytes as usize;
        let mut zone = [ZoneDescriptor::EMPTY];
        self.device.report(ZoneId(0), &mut zone).await.map_err(failed)?;
        let readable = match zone[0].condition {
            ZoneCondition::NotWritePointer => zone[0].capacity.0,
            ZoneCondition::Offline => 0,
            _ => zone[0].write_pointer.0,
        };
        let len = HEAD_LEN.min(readable as usize * block_len);
        let mut head = vec![0; len];
        let piece = (geometry.transfer_blocks_max as usize) * block_len;
        let mut start = geometry.zone_start(ZoneId(0));
        for part in head.chunks_mut(piece) {
            self.device.read(start, part, Request::of(Class::Foreground)).await.map_err(failed)?;
            start = start.plus((part.len() / block_len) as u64);
        }
        let named = SIGNATURES.iter().find(|(at, bytes, _)| {
            head.get(*at..at + bytes.len()).is_some_and(|found| found == *bytes)
        });
        let has_data = head.iter().any(|byte| *byte != 0);
        Ok(named.map(|(_, _, name)| *name).or(has_data.then_some("data of a kind unknown here")))
    }

    /// How many zones with write pointers are not empty.
    async fn written_zones(&self) -> Result<u32, Failure> {
        let mut zones = vec![ZoneDescriptor::EMPTY; 256];
        let (mut next, mut written) = (0, 0);
        loop {
            let count = self.device.report(ZoneId(next), &mut zones).await.map_err(failed)?;
            if count == 0 {
                return Ok(written);
            }
            let is_written = |zone: &&ZoneDescriptor| {
                !matches!(
                    zone.condition,
                    ZoneCondition::NotWritePointer | ZoneCondition::Empty | ZoneCondition::Offline
                )
            };
            written += zones[..count].iter().filter(is_written).count() as u32;
            next += count as u32;
        }
    }
}

fn failed(fault: shingle_sim::linux::FileFault) -> Failure {
    Failure::new(fault.to_string())
}
