//! A device in memory for unit tests, which answers as it is told.

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;

use shingle_hal::{Device, ErrorKind, Geometry, Lba, Request, ZoneDescriptor, ZoneId};

/// Eight zones of 64 blocks of 512 bytes; write pointers are not kept.
pub(crate) struct Ram {
    bytes: RefCell<Vec<u8>>,
    /// What the next requests answer, one each; all others succeed.
    pub(crate) answers: RefCell<VecDeque<Result<(), ErrorKind>>>,
    /// What was asked so far, as verb and block or zone.
    pub(crate) asked: RefCell<Vec<(&'static str, u64)>>,
    /// The clock.
    pub(crate) now_us: Cell<u64>,
}

impl Ram {
    pub(crate) const GEOMETRY: Geometry = Geometry {
        block_len_bytes: 512,
        zone_count: 8,
        zone_blocks: 64,
        open_zones_max: None,
        active_zones_max: None,
        transfer_blocks_max: 4,
        buffer_align_bytes: 1,
        element_count: 1,
    };

    pub(crate) fn new() -> Self {
        let bytes = RefCell::new(vec![0; 8 * 64 * 512]);
        Self { bytes, answers: RefCell::default(), asked: RefCell::default(), now_us: Cell::new(0) }
    }

    /// The bytes of `blocks` blocks from `start` on.
    pub(crate) fn blocks(&self, start: u64, blocks: usize) -> Vec<u8> {
        self.bytes.borrow()[start as usize * 512..][..blocks * 512].to_vec()
    }

    fn answer(&self, verb: &'static str, place: u64) -> Result<(), ErrorKind> {
        self.asked.borrow_mut().push((verb, place));
        self.answers.borrow_mut().pop_front().unwrap_or(Ok(()))
    }
}

impl Device for Ram {
    type Error = ErrorKind;

    fn geometry(&self) -> Geometry {
        Self::GEOMETRY
    }
    fn now_us(&self) -> Option<u64> {
        Some(self.now_us.get())
    }
    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), ErrorKind> {
        self.answer("read", start.0)?;
        buf.copy_from_slice(&self.bytes.borrow()[start.0 as usize * 512..][..buf.len()]);
        Ok(())
    }
    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), ErrorKind> {
        self.answer("write", start.0)?;
        self.bytes.borrow_mut()[start.0 as usize * 512..][..data.len()].copy_from_slice(data);
        Ok(())
    }
    async fn sync(&self) -> Result<(), ErrorKind> {
        self.answer("sync", 0)
    }
    async fn report(&self, _: ZoneId, _: &mut [ZoneDescriptor]) -> Result<usize, ErrorKind> {
        self.answer("report", 0).map(|()| 0)
    }
    async fn open(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.answer("open", zone.0.into())
    }
    async fn close(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.answer("close", zone.0.into())
    }
    async fn finish(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.answer("finish", zone.0.into())
    }
    async fn reset(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.answer("reset", zone.0.into())
    }
}
