//! The device contract: one trait, `&self` methods, many requests in flight.
//!
//! # For those who implement it
//!
//! - **Order.** Requests in flight at once may be served in any order, but two writes to one
//!   sequential zone of which the second was issued after the first (polled once, or completed)
//!   take effect in that order.
//! - **Visibility.** A read issued after a write completed returns what it wrote.
//! - **Durability.** A completed write is durable only once a [`sync`](Device::sync) that was
//!   issued after its completion has succeeded. After a failed sync nothing may be assumed of
//!   writes since the last successful one, whatever a further sync says.
//! - **Power loss.** What was synced stays. Of what was not: in a *sequential* zone a prefix of
//!   the blocks written since the sync survives, and the write pointer stands at its end; the last
//!   surviving unsynced block may be torn (its bytes are then garbage or its read fails). In a
//!   *conventional* zone each unsynced block is kept, lost (its old bytes return) or torn,
//!   independently. Zones are independent of each other. Resets and finishes since the last sync
//!   may be undone or kept; a reset that was undone brings back the zone as a whole, and
//!   with it go the writes behind the reset. What can be read after power returns is durable.
//! - **Zone state after power loss.** Open zones are closed (or empty, or full); nothing is
//!   explicitly open.
//! - **Errors.** A request that fails with a [caller's bug](crate::Disposition::CallerBug), as an
//!   [unaligned write](crate::ErrorKind::UnalignedWrite), or on a
//!   [full](crate::ErrorKind::ZoneFull), [read-only](crate::ErrorKind::ZoneReadOnly) or
//!   [offline](crate::ErrorKind::ZoneOffline) zone had no effect. A refused write opens no zone.
//!   Where several of these kinds fit a request, the device chooses.
//! - **Limits.** Zones opened by a write are closed by the device when an open or a write needs
//!   their resource; those opened explicitly never are. A closed zone stays active. Reads need no
//!   resource.
//! - **Cancellation.** Dropping a future before it completes leaves the effect of its request
//!   unknown, as for [`Timeout`](crate::ErrorKind::Timeout); the device serves other requests on.
//!
//! # For those who use it
//!
//! Write a sequential zone only at its write pointer, sync before depending on order between
//! zones, and after any write that did not plainly succeed, report the zone and believe the
//! device. [`conformance`](crate::conformance) is this text as checks.
#![allow(async_fn_in_trait)] // single-threaded executors; no `Send` bound is wanted

use crate::error::Error;
use crate::geometry::Geometry;
use crate::request::Request;
use crate::zone::{ElementId, Lba, ZoneDescriptor, ZoneId};

/// A fact the device learned by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// A zone's condition changed without a request: report it.
    ZoneChanged(ZoneId),
    /// A storage element is gone; its zones are read only or offline.
    ElementLost(ElementId),
    /// The device recommends to reset this zone soon, moving what it holds.
    ResetRecommended(ZoneId),
}

/// A zoned device. See the [module](self) for the contract.
pub trait Device {
    /// What this device's requests fail with.
    type Error: Error;

    /// Sizes and limits; the same at every call.
    fn geometry(&self) -> Geometry;

    /// The device's clock in microseconds, if it has one: what deadlines are measured against.
    fn now_us(&self) -> Option<u64> {
        None
    }

    /// Reads `buf.len()` bytes from `start`.
    ///
    /// The length is a positive multiple of the block, at most the maximum transfer, within one
    /// zone (also where both are conventional, though a disk would allow it). Reading blocks at or
    /// above the write pointer either fails with
    /// [`ReadPastWritePointer`](crate::ErrorKind::ReadPastWritePointer) or returns bytes that mean
    /// nothing.
    ///
    /// # Errors
    /// Any; after an error the contents of `buf` mean nothing, except for
    /// [`RecoveredRead`](crate::ErrorKind::RecoveredRead), when they are right.
    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), Self::Error>;

    /// Writes `data` at `start`; in a sequential zone `start` must be the write pointer, after the
    /// writes issued before this one.
    ///
    /// The length is a positive multiple of the block, at most the maximum transfer, within the
    /// capacity of one zone. An empty or closed zone is opened implicitly.
    ///
    /// # Errors
    /// Any; see [`WriteFault`](crate::ErrorKind::WriteFault) for what is then known.
    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), Self::Error>;

    /// Makes every write, reset and finish that completed before this call durable.
    ///
    /// # Errors
    /// Any; nothing unsynced may then be assumed on media.
    async fn sync(&self) -> Result<(), Self::Error>;

    /// Describes zones from `first` on into `out` and returns how many; fewer than `out.len()`
    /// only at the end of the device, none from behind it.
    ///
    /// # Errors
    /// Those of a device that cannot answer at all.
    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor])
    -> Result<usize, Self::Error>;

    /// Opens a sequential zone explicitly: its resource is held until it is closed, finished,
    /// reset or written full. On a full zone it does nothing.
    ///
    /// # Errors
    /// [`TooManyOpenZones`](crate::ErrorKind::TooManyOpenZones) and
    /// [`TooManyActiveZones`](crate::ErrorKind::TooManyActiveZones) when no resource is free,
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) for a conventional zone.
    async fn open(&self, zone: ZoneId) -> Result<(), Self::Error>;

    /// Closes an open zone (to empty if nothing was written); on a zone that is not open it does
    /// nothing.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) for a conventional zone.
    async fn close(&self, zone: ZoneId) -> Result<(), Self::Error>;

    /// Makes a sequential zone full; blocks not written read as bytes that mean nothing, or fail.
    /// On a full zone it does nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open); a device may pass an empty zone through an open condition and so
    /// need a resource for it, or not.
    async fn finish(&self, zone: ZoneId) -> Result<(), Self::Error>;

    /// Makes a sequential zone empty; its contents are gone, and no read returns them unless a
    /// power loss undoes the reset.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) for a conventional zone.
    async fn reset(&self, zone: ZoneId) -> Result<(), Self::Error>;

    /// The next fact the device learned by itself, oldest first; `None` when there is none.
    fn poll_event(&self) -> Option<Event> {
        None
    }
}

impl<D: Device> Device for &D {
    type Error = D::Error;

    fn geometry(&self) -> Geometry {
        (**self).geometry()
    }
    fn now_us(&self) -> Option<u64> {
        (**self).now_us()
    }
    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), Self::Error> {
        (**self).read(start, buf, request).await
    }
    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), Self::Error> {
        (**self).write(start, data, request).await
    }
    async fn sync(&self) -> Result<(), Self::Error> {
        (**self).sync().await
    }
    async fn report(
        &self,
        first: ZoneId,
        out: &mut [ZoneDescriptor],
    ) -> Result<usize, Self::Error> {
        (**self).report(first, out).await
    }
    async fn open(&self, zone: ZoneId) -> Result<(), Self::Error> {
        (**self).open(zone).await
    }
    async fn close(&self, zone: ZoneId) -> Result<(), Self::Error> {
        (**self).close(zone).await
    }
    async fn finish(&self, zone: ZoneId) -> Result<(), Self::Error> {
        (**self).finish(zone).await
    }
    async fn reset(&self, zone: ZoneId) -> Result<(), Self::Error> {
        (**self).reset(zone).await
    }
    fn poll_event(&self) -> Option<Event> {
        (**self).poll_event()
    }
}
