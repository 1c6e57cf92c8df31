//! A device that answers what a fuzzer's bytes say: a simulated drive, most of the time.
//!
//! Each call takes a byte; most bytes mean to do what was asked. When the bytes are used up the
//! device is a good one, and after [`REQUESTS_MAX`] calls it is broken for good, so that whoever
//! goes on as long as it answers comes to an end.

use std::cell::{Cell, RefCell};

use arbitrary::{Result, Unstructured};
use shingle_hal::{
    BlockCount, Device, ElementId, Error, ErrorKind, Event, Geometry, Lba, Request, ZoneCondition,
    ZoneDescriptor, ZoneId, ZoneType,
};

use crate::Drive;

/// Calls that are answered.
const REQUESTS_MAX: u32 = 50_000;
/// One byte in so many makes the device do something else than it should.
const ODD_ONE_IN: u8 = 16;

/// A device with a mind of its own.
pub(super) struct FuzzedDevice<'d, 'b> {
    pub(super) drive: &'d Drive,
    geometry: Geometry,
    bytes: RefCell<Unstructured<'b>>,
    left: Cell<u32>,
}

impl<'d, 'b> FuzzedDevice<'d, 'b> {
    /// A device over `drive`. Its geometry may already be a lie.
    pub(super) fn new(drive: &'d Drive, mut bytes: Unstructured<'b>) -> Result<Self> {
        let mut geometry = drive.geometry();
        // Lengths of memory must stay what a harness can have.
        match bytes.arbitrary::<u8>()? % 32 {
            0 => geometry.block_len_bytes = *bytes.choose(&[0, 1, 48, 64, 65_536, 131_072])?,
            1 => geometry.buffer_align_bytes = *bytes.choose(&[0, 3, 512, 4096])?,
            2 => geometry.zone_count = bytes.int_in_range(0..=4096)?,
            3 => geometry.zone_blocks = bytes.arbitrary()?,
            4 => geometry.open_zones_max = bytes.arbitrary()?,
            5 => geometry.active_zones_max = bytes.arbitrary()?,
            6 => geometry.transfer_blocks_max = bytes.arbitrary()?,
            7 => geometry.element_count = bytes.arbitrary()?,
            _ => {}
        }
        let left = Cell::new(REQUESTS_MAX);
        Ok(Self { drive, geometry, bytes: RefCell::new(bytes), left })
    }

    /// The next byte, 0 when there is none.
    pub(super) fn byte(&self) -> u8 {
        self.bytes.borrow_mut().arbitrary().unwrap_or(0)
    }

    /// The next number.
    fn number(&self) -> u64 {
        let number = self.bytes.borrow_mut().arbitrary().unwrap_or(0);
        [number, u64::MAX, u64::from(u32::MAX), number % 100][usize::from(self.byte() % 4)]
    }

    /// What odd thing to do, if any.
    ///
    /// # Errors
    /// The device is broken by now.
    fn oddity(&self) -> std::result::Result<Option<u8>, ErrorKind> {
        let left = self.left.get().checked_sub(1).ok_or(ErrorKind::Hardware)?;
        self.left.set(left);
        let odd = self.byte() % ODD_ONE_IN == ODD_ONE_IN - 1;
        Ok(odd.then(|| self.byte()))
    }

    /// Any error.
    fn error(&self) -> ErrorKind {
        let first = (self.byte() % 2 == 1).then(|| Lba(self.number()));
        let kinds = [
            ErrorKind::UnrecoveredRead { first },
            ErrorKind::RecoveredRead { first },
            ErrorKind::WriteFault { first },
            ErrorKind::UnalignedWrite { write_pointer: first },
            ErrorKind::ReadPastWritePointer { first },
            ErrorKind::ZoneFull,
            ErrorKind::ZoneReadOnly,
            ErrorKind::ZoneOffline,
            ErrorKind::TooManyOpenZones,
            ErrorKind::TooManyActiveZones,
            ErrorKind::CrossesZone,
            ErrorKind::OutOfDevice,
            ErrorKind::InvalidRequest,
            ErrorKind::ElementLost,
            ErrorKind::Timeout,
            ErrorKind::NotReady,
            ErrorKind::Hardware,
        ];
        kinds[usize::from(self.byte()) % kinds.len()]
    }

    /// Makes one field of a descriptor something else.
    fn distort(&self, zone: &mut ZoneDescriptor) {
        let number = self.number();
        match self.byte() % 7 {
            0 => zone.zone = ZoneId(number as u32),
            1 => {
                let types = [
                    ZoneType::Conventional,
                    ZoneType::SequentialRequired,
                    ZoneType::SequentialPreferred,
                ];
                zone.zone_type = types[number as usize % types.len()];
            }
            2 => {
                let conditions = [
                    ZoneCondition::NotWritePointer,
                    ZoneCondition::Empty,
                    ZoneCondition::ImplicitOpen,
                    ZoneCondition::ExplicitOpen,
                    ZoneCondition::Closed,
                    ZoneCondition::ReadOnly,
                    ZoneCondition::Full,
                    ZoneCondition::Offline,
                ];
                zone.condition = conditions[number as usize % conditions.len()];
            }
            3 => zone.start = Lba(number),
            4 => zone.capacity = BlockCount(number as u32),
            5 => zone.write_pointer = BlockCount(number as u32),
            _ => zone.element = ElementId(number as u16),
        }
    }

    /// A request that changes the medium: done, refused, forgotten, or done and refused.
    async fn change(
        &self,
        done: impl Future<Output = std::result::Result<(), crate::DriveError>>,
    ) -> std::result::Result<(), ErrorKind> {
        let kind = |error: crate::DriveError| error.kind();
        match self.oddity()?.map(|odd| odd % 3) {
            None => done.await.map_err(kind),
            Some(0) => Ok(()),
            Some(1) => Err(self.error()),
            Some(_) => {
                let _ = done.await;
                Err(self.error())
            }
        }
    }
}

impl Device for FuzzedDevice<'_, '_> {
    type Error = ErrorKind;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn now_us(&self) -> Option<u64> {
        match self.oddity() {
            Ok(None) => self.drive.now_us(),
            Ok(Some(odd)) if odd % 2 == 0 => None,
            _ => Some(self.number()),
        }
    }

    async fn read(
        &self,
        start: Lba,
        buf: &mut [u8],
        request: Request,
    ) -> std::result::Result<(), ErrorKind> {
        match self.oddity()?.map(|odd| odd % 3) {
            Some(0) => return Ok(()),
            Some(1) => return Err(self.error()),
            _ => {}
        }
        self.drive.read(start, buf, request).await.map_err(|error| error.kind())?;
        if let (Ok(Some(odd)), false) = (self.oddity(), buf.is_empty()) {
            let at = self.number() as usize % buf.len();
            buf[at] ^= odd;
        }
        Ok(())
    }

    async fn write(
        &self,
        start: Lba,
        data: &[u8],
        request: Request,
    ) -> std::result::Result<(), ErrorKind> {
        self.change(self.drive.write(start, data, request)).await
    }

    async fn sync(&self) -> std::result::Result<(), ErrorKind> {
        self.change(self.drive.sync()).await
    }

    async fn report(
        &self,
        first: ZoneId,
        out: &mut [ZoneDescriptor],
    ) -> std::result::Result<usize, ErrorKind> {
        let odd = self.oddity()?;
        if odd.is_some_and(|odd| odd % 8 == 0) {
            return Err(self.error());
        }
        let count = self.drive.report(first, out).await.map_err(|error| error.kind())?;
        match odd.map(|odd| odd % 8) {
            Some(1) => return Ok(self.number() as usize),
            Some(2) => return Ok(0),
            Some(_) if count > 0 => self.distort(&mut out[self.number() as usize % count]),
            _ => {}
        }
        Ok(count)
    }

    async fn open(&self, zone: ZoneId) -> std::result::Result<(), ErrorKind> {
        self.change(self.drive.open(zone)).await
    }

    async fn close(&self, zone: ZoneId) -> std::result::Result<(), ErrorKind> {
        self.change(self.drive.close(zone)).await
    }

    async fn finish(&self, zone: ZoneId) -> std::result::Result<(), ErrorKind> {
        self.change(self.drive.finish(zone)).await
    }

    async fn reset(&self, zone: ZoneId) -> std::result::Result<(), ErrorKind> {
        self.change(self.drive.reset(zone)).await
    }

    fn poll_event(&self) -> Option<Event> {
        match self.oddity() {
            Ok(None) => self.drive.poll_event(),
            Ok(Some(_)) => Some(Event::ZoneChanged(ZoneId(self.number() as u32))),
            Err(_) => None,
        }
    }
}
