//! A block device that may be written anywhere, as conventional zones.
//!
//! For an ordinary disk, an SD card, or a file: [`BlockDevice`] is what they all can do, and
//! [`BlockZones`] cuts it into zones of a chosen size. Every zone is conventional: it has no
//! write pointer, and opening, closing, finishing or resetting it is refused, as on a drive whose
//! zones are of that type.
//!
//! What is left behind the last whole zone is not used. The adaptor holds no state: requests pass
//! straight through, as many in flight as the device below takes.

use crate::device::Device;
use crate::error::{Error, ErrorKind};
use crate::geometry::Geometry;
use crate::request::Request;
use crate::zone::{BlockCount, ElementId, Lba, ZoneCondition, ZoneDescriptor, ZoneId, ZoneType};

/// A device of equal blocks, each writable at any time.
///
/// # Power loss
/// As for a conventional zone in [the contract](crate::device): what was synced stays; each
/// unsynced block is kept, lost or torn, independently of every other.
#[allow(async_fn_in_trait)] // single-threaded executors; no `Send` bound is wanted
pub trait BlockDevice {
    /// What this device's requests fail with.
    type Error: Error;

    /// Bytes of a block; a power of two from 64 to 65 536. The same at every call, as are the
    /// other sizes.
    fn block_len_bytes(&self) -> u32;

    /// Number of blocks.
    fn block_count(&self) -> u64;

    /// Most blocks in one read or write; at least 1.
    fn transfer_blocks_max(&self) -> u32;

    /// Buffers start at a multiple of this address; 1 is no demand.
    fn buffer_align_bytes(&self) -> u32 {
        1
    }

    /// Reads `buf.len()` bytes from `start`; the length is a positive multiple of the block, at
    /// most the maximum transfer, on the device.
    ///
    /// # Errors
    /// Those of [`Device::read`].
    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), Self::Error>;

    /// Writes `data` at `start`; lengths as for [`read`](Self::read).
    ///
    /// # Errors
    /// Those of [`Device::write`].
    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), Self::Error>;

    /// Makes every write that completed before this call durable.
    ///
    /// # Errors
    /// Any; nothing unsynced may then be assumed on media.
    async fn sync(&self) -> Result<(), Self::Error>;
}

/// Why a block device cannot be cut into zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BlockLayoutError {
    /// The block is not a power of two from 64 to 65 536 bytes.
    BlockLen {
        /// Its length.
        block_len_bytes: u32,
    },
    /// A zone of no blocks was asked for, or the device takes no block in one transfer.
    Empty,
    /// The device has fewer blocks than one zone.
    TooSmall {
        /// Its blocks.
        block_count: u64,
    },
    /// The device has more zones than can be numbered.
    TooManyZones {
        /// How many.
        zone_count: u64,
    },
}

/// What a request to [`BlockZones`] fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BlockZonesError<E> {
    /// The adaptor refused the request.
    Refused(ErrorKind),
    /// The block device failed.
    Device(E),
}

impl<E: Error> Error for BlockZonesError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(kind) => *kind,
            Self::Device(error) => error.kind(),
        }
    }
}

/// A block device cut into conventional zones.
#[derive(Debug)]
pub struct BlockZones<B> {
    device: B,
    geometry: Geometry,
}

impl<B: BlockDevice> BlockZones<B> {
    /// Cuts `device` into zones of `zone_blocks` blocks.
    ///
    /// # Errors
    /// [`BlockLayoutError`], when the sizes do not fit the contract.
    pub fn new(device: B, zone_blocks: u32) -> Result<Self, BlockLayoutError> {
        let block_len_bytes = device.block_len_bytes();
        if !block_len_bytes.is_power_of_two() || !(64..=65_536).contains(&block_len_bytes) {
            return Err(BlockLayoutError::BlockLen { block_len_bytes });
        }
        let transfer_blocks_max = device.transfer_blocks_max();
        if zone_blocks == 0 || transfer_blocks_max == 0 {
            return Err(BlockLayoutError::Empty);
        }
        let block_count = device.block_count();
        let zone_count = block_count / u64::from(zone_blocks);
        if zone_count == 0 {
            return Err(BlockLayoutError::TooSmall { block_count });
        }
        let Ok(zones) = u32::try_from(zone_count) else {
            return Err(BlockLayoutError::TooManyZones { zone_count });
        };
        let geometry = Geometry {
            block_len_bytes,
            zone_count: zones,
            zone_blocks,
            open_zones_max: None,
            active_zones_max: None,
            transfer_blocks_max,
            buffer_align_bytes: device.buffer_align_bytes().max(1),
            element_count: 1,
        };
        Ok(Self { device, geometry })
    }

    /// The device below.
    pub const fn inner(&self) -> &B {
        &self.device
    }

    /// Gives the device below back.
    pub fn into_inner(self) -> B {
        self.device
    }

    /// Fails unless a transfer of `len_bytes` at `start` lies in one zone.
    fn admit(&self, start: Lba, len_bytes: usize) -> Result<(), BlockZonesError<B::Error>> {
        match self.geometry.transfer(start, len_bytes) {
            Ok(_) => Ok(()),
            Err(kind) => Err(BlockZonesError::Refused(kind)),
        }
    }

    /// The answer to every zone operation.
    const fn refuse(&self, zone: ZoneId) -> Result<(), BlockZonesError<B::Error>> {
        let kind = if zone.0 < self.geometry.zone_count {
            ErrorKind::InvalidRequest
        } else {
            ErrorKind::OutOfDevice
        };
        Err(BlockZonesError::Refused(kind))
    }
}

impl<B: BlockDevice> Device for BlockZones<B> {
    type Error = BlockZonesError<B::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), Self::Error> {
        self.admit(start, buf.len())?;
        let result = self.device.read(start, buf, request).await;
        result.map_err(BlockZonesError::Device)
    }

    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), Self::Error> {
        self.admit(start, data.len())?;
        let result = self.device.write(start, data, request).await;
        result.map_err(BlockZonesError::Device)
    }

    async fn sync(&self) -> Result<(), Self::Error> {
        self.device.sync().await.map_err(BlockZonesError::Device)
    }

    async fn report(
        &self,
        first: ZoneId,
        out: &mut [ZoneDescriptor],
    ) -> Result<usize, Self::Error> {
        let zones = (first.0..self.geometry.zone_count).map(ZoneId);
        let mut count = 0;
        for (slot, zone) in out.iter_mut().zip(zones) {
            *slot = ZoneDescriptor {
                zone,
                zone_type: ZoneType::Conventional,
                condition: ZoneCondition::NotWritePointer,
                start: self.geometry.zone_start(zone),
                capacity: BlockCount(self.geometry.zone_blocks),
                write_pointer: BlockCount(0),
                element: ElementId(0),
            };
            count += 1;
        }
        Ok(count)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), Self::Error> {
        self.refuse(zone)
    }

    async fn close(&self, zone: ZoneId) -> Result<(), Self::Error> {
        self.refuse(zone)
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), Self::Error> {
        self.refuse(zone)
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), Self::Error> {
        self.refuse(zone)
    }
}
