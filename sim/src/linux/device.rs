//! Whatever a path leads to, as a zoned device.

use std::path::Path;

use shingle_hal::adapt::block::BlockZonesError;
use shingle_hal::adapt::{BlockDevice as _, BlockZones};
use shingle_hal::{Device, Geometry, Lba, Request, ZoneDescriptor, ZoneId};

use super::error::{FileFault, FileOp, OpenError, OpenErrorKind, Reason};
use super::file::FileDevice;
use super::ioctl::Act;
use super::node::Node;
use super::zoned::ZonedDevice;

/// Zones that a disk without any is cut into, about.
const ZONES: u64 = 1024;
/// Bytes of such a zone, at least and at most.
const ZONE_LEN_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=256 << 20;

/// A file, a disk, or a zoned disk. See the [module](super).
#[derive(Debug)]
#[non_exhaustive]
pub enum LinuxDevice {
    /// Written anywhere, and cut into conventional zones.
    Plain(BlockZones<FileDevice>),
    /// Written at write pointers.
    Zoned(ZonedDevice),
}

impl LinuxDevice {
    /// Opens what is at `path`, whatever it holds. What has no zones gets them by its length: as
    /// many as it has, of a power of two between 1 and 256 MiB, for about 1024 of them.
    ///
    /// # Errors
    /// As [`FileDevice::open`] and [`ZonedDevice::open`]; a [length](OpenErrorKind::Length) of
    /// less than a zone.
    ///
    /// # Panics
    /// If no runtime runs.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = async {
            let node = Node::open(path).await?;
            if node.disk().is_some_and(super::sysfs::Disk::is_host_managed) {
                return Ok(Self::Zoned(ZonedDevice::of(node)?));
            }
            let len_bytes = node.len_bytes()?;
            let file = FileDevice::of(node)?;
            let zone_blocks = zone_len_bytes(len_bytes) / u64::from(file.block_len_bytes());
            let zones = BlockZones::new(file, zone_blocks as u32);
            Ok(Self::Plain(zones.map_err(|_| OpenErrorKind::Length { found: len_bytes })?))
        };
        opened.await.map_err(|kind: OpenErrorKind| kind.at(path))
    }
}

/// Bytes of a zone of a disk of `len_bytes` without zones.
fn zone_len_bytes(len_bytes: u64) -> u64 {
    let (least, most) = ZONE_LEN_BYTES.into_inner();
    (len_bytes / ZONES).max(1).next_power_of_two().clamp(least, most)
}

/// The device behind, and its error with what was asked for.
macro_rules! forward {
    ($self:ident, $op:expr, $zones:ident => $asked:expr) => {
        match $self {
            Self::Zoned($zones) => $asked,
            Self::Plain($zones) => $asked.map_err(|error| plain($op, error)),
        }
    };
}

impl Device for LinuxDevice {
    type Error = FileFault;

    fn geometry(&self) -> Geometry {
        match self {
            Self::Plain(zones) => zones.geometry(),
            Self::Zoned(zones) => zones.geometry(),
        }
    }

    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), FileFault> {
        let op = FileOp::Read { start, blocks: self.blocks(buf.len()) };
        forward!(self, op, zones => zones.read(start, buf, request).await)
    }

    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), FileFault> {
        let op = FileOp::Write { start, blocks: self.blocks(data.len()) };
        forward!(self, op, zones => zones.write(start, data, request).await)
    }

    async fn sync(&self) -> Result<(), FileFault> {
        forward!(self, FileOp::Sync, zones => zones.sync().await)
    }

    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, FileFault> {
        forward!(self, FileOp::Report { first }, zones => zones.report(first, out).await)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), FileFault> {
        let op = FileOp::Manage { act: Act::Open, zone };
        forward!(self, op, zones => zones.open(zone).await)
    }

    async fn close(&self, zone: ZoneId) -> Result<(), FileFault> {
        let op = FileOp::Manage { act: Act::Close, zone };
        forward!(self, op, zones => zones.close(zone).await)
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), FileFault> {
        let op = FileOp::Manage { act: Act::Finish, zone };
        forward!(self, op, zones => zones.finish(zone).await)
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), FileFault> {
        let op = FileOp::Manage { act: Act::Reset, zone };
        forward!(self, op, zones => zones.reset(zone).await)
    }
}

impl LinuxDevice {
    fn blocks(&self, len_bytes: usize) -> u32 {
        len_bytes as u32 / self.geometry().block_len_bytes
    }
}

fn plain(op: FileOp, error: BlockZonesError<FileFault>) -> FileFault {
    match error {
        BlockZonesError::Device(fault) => fault,
        BlockZonesError::Refused(kind) => FileFault { op, reason: Reason::Refused(kind) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_of_a_disk_without_any_follow_from_its_length() {
        let of = |mib: u64| zone_len_bytes(mib << 20) >> 20;
        assert_eq!([of(1), of(64), of(1024), of(1025)], [1, 1, 1, 2]);
        assert_eq!([of(100_000), of(1 << 20), of(1 << 24)], [128, 256, 256]);
    }
}
