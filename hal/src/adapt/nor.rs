//! NOR flash behind `embedded-storage`, as sequential zones.
//!
//! A zone is a number of erase blocks; a block is a power of two of bytes that the flash can
//! program and read. Flash has no write pointers, so [`NorZones`] keeps one for each zone in
//! memory that the caller hands in, and finds them again at construction. The flash blocks the
//! processor while it works, so every future is ready at once; a completed request is on media,
//! and [`sync`](Device::sync) has nothing to do.
//!
//! # Finding write pointers
//!
//! Each zone is scanned *backwards* for the last block that is not all 0xFF; the write pointer
//! stands behind it. A search by halves would be wrong: torn or lost programs leave erased blocks
//! among written ones.
//!
//! ```text
//!   |written|written|torn   |erased |erased |        closed, write pointer 3
//!   |written|written|erased |erased |marker |        full (finished): write pointer 5
//!   |marker |erased |erased |erased |marker |        full (finished while empty)
//!   |erased |erased |written|written|erased |        a reset was cut: erased on, then empty
//! ```
//!
//! - **No block of all 0xFF is taken.** It could not be told from an erased one, so a write that
//!   contains one is refused as [`InvalidRequest`](ErrorKind::InvalidRequest). A caller whose
//!   blocks each carry a checksum or a type byte never meets this.
//! - **Finish** programs a marker, one write unit of zeros, into the last block of the zone, and
//!   into the first too if the zone is empty: last before first, so that a cut between them looks
//!   like a reset that was cut and undoes the finish. Like all else it is durable at once.
//! - **Reset** erases the zone's erase blocks one by one, first to last. The first block names
//!   what a zone holds, and it goes first: nothing behind it can be taken for live. A zone that
//!   begins with an erased block and is written behind it can only come from a cut reset, and
//!   construction completes it. If that erase fails the zone is full, until a reset succeeds.
//! - A block that cannot be read in the scan counts as written.
//!
//! # Power loss
//!
//! The flash must program a request in ascending order. What flash does when the power fails
//! *within* one erase or program is not specified by any driver trait: the erase block that was
//! being erased, or the write unit that was being programmed, may read as anything. So a cut in
//! the first erase block of a reset leaves a zone whose first erase block is garbage and whose
//! rest is old: a reset that was neither kept nor undone as a whole. It reports as closed or full,
//! and a caller that checks the zone's first block sees that it holds nothing. Flash that reads as
//! erased after such a cut may be weak; a reset of an *empty* zone therefore erases it again, for
//! callers that want to be sure.
//!
//! # When the medium fails
//!
//! A failed program is a [`WriteFault`](ErrorKind::WriteFault), and the zone is scanned again, so
//! that the next report is what the medium says. After a failed erase the zone reports full: it
//! takes no write until a reset succeeds.
//!
//! Source: the `nor_flash` traits of `embedded-storage` 0.3.

use core::cell::RefCell;

use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};

use crate::device::Device;
use crate::error::ErrorKind;
use crate::geometry::Geometry;
use crate::request::Request;
use crate::zone::{BlockCount, ElementId, Lba, ZoneCondition, ZoneDescriptor, ZoneId, ZoneType};

/// Bytes looked at together in a scan, on the stack; also the largest read and write unit.
const PIECE_LEN_BYTES: usize = 256;

/// Most blocks of a zone: the two top bits of a slot say how the zone is open.
const ZONE_BLOCKS_MAX: u32 = (1 << 30) - 1;

/// What the adaptor remembers of one zone: its write pointer, and whether it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NorSlot(u32);

/// How a zone is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    None = 0,
    Implicit = 1,
    Explicit = 2,
}

impl NorSlot {
    /// To fill the slots with before construction.
    pub const NEW: Self = Self(0);

    const fn new(pointer: u32, hold: Hold) -> Self {
        Self(pointer | (hold as u32) << 30)
    }

    const fn pointer(self) -> u32 {
        self.0 & ZONE_BLOCKS_MAX
    }

    const fn hold(self) -> Hold {
        match self.0 >> 30 {
            0 => Hold::None,
            1 => Hold::Implicit,
            _ => Hold::Explicit,
        }
    }

    const fn condition(self, capacity: u32) -> ZoneCondition {
        match (self.pointer(), self.hold()) {
            (end, _) if end == capacity => ZoneCondition::Full,
            (_, Hold::Implicit) => ZoneCondition::ImplicitOpen,
            (_, Hold::Explicit) => ZoneCondition::ExplicitOpen,
            (0, Hold::None) => ZoneCondition::Empty,
            (_, Hold::None) => ZoneCondition::Closed,
        }
    }
}

/// How to lay zones on flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NorLayout {
    /// Bytes of a block: a power of two from 64 to 65 536, a multiple of the flash's read and
    /// write units, and a divisor of its erase block.
    pub block_len_bytes: u32,
    /// Erase blocks of a zone.
    pub zone_erase_blocks: u32,
}

/// Why zones cannot be laid on a flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NorLayoutError {
    /// The block is not a power of two from 64 to 65 536 bytes.
    BlockLen,
    /// The block is not a multiple of the flash's read unit and write unit, or does not divide
    /// its erase block.
    BlockUnits,
    /// The flash's read or write unit is longer than 256 bytes.
    UnitLen,
    /// A zone has no erase blocks, or more blocks or bytes than can be addressed.
    ZoneLen,
    /// The flash has more bytes than its 32-bit addresses reach.
    Capacity,
    /// The flash is smaller than one zone.
    TooSmall,
    /// Fewer slots than zones were handed in.
    Slots {
        /// How many are needed.
        needed: u32,
    },
}

/// NOR flash as sequential zones. See the [module](self) for what it does to the flash.
#[derive(Debug)]
pub struct NorZones<'m, F> {
    inner: RefCell<Inner<'m, F>>,
    geometry: Geometry,
}

/// What changes. Borrowed within one call and never across an `await`.
#[derive(Debug)]
struct Inner<'m, F> {
    flash: F,
    slots: &'m mut [NorSlot],
    block_len: u32,
    zone_blocks: u32,
}

/// How many zones `layout` makes of a flash like `F` with this many bytes: the slots to hand to
/// [`NorZones::new`].
///
/// # Errors
/// [`NorLayoutError`], when sizes do not fit the flash or the contract.
pub const fn zone_count<F: NorFlash>(
    capacity_bytes: usize,
    layout: NorLayout,
) -> Result<u32, NorLayoutError> {
    let block_len = layout.block_len_bytes as usize;
    if !layout.block_len_bytes.is_power_of_two() || block_len < 64 || block_len > 65_536 {
        return Err(NorLayoutError::BlockLen);
    }
    let (read, write, erase) = (F::READ_SIZE, F::WRITE_SIZE, F::ERASE_SIZE);
    if read > PIECE_LEN_BYTES || write > PIECE_LEN_BYTES {
        return Err(NorLayoutError::UnitLen);
    }
    // `is_multiple_of` holds for no unit of 0 bytes.
    if !block_len.is_multiple_of(read)
        || !block_len.is_multiple_of(write)
        || erase == 0
        || !erase.is_multiple_of(block_len)
    {
        return Err(NorLayoutError::BlockUnits);
    }
    if capacity_bytes as u64 > u32::MAX as u64 {
        return Err(NorLayoutError::Capacity);
    }
    let zone_len = erase as u64 * layout.zone_erase_blocks as u64;
    if zone_len == 0
        || zone_len > u32::MAX as u64
        || zone_len / block_len as u64 > ZONE_BLOCKS_MAX as u64
    {
        return Err(NorLayoutError::ZoneLen);
    }
    match capacity_bytes as u64 / zone_len {
        0 => Err(NorLayoutError::TooSmall),
        count => Ok(count as u32),
    }
}

impl<'m, F: NorFlash> NorZones<'m, F> {
    /// Lays zones on `flash` and finds their write pointers; bytes behind the last whole zone are
    /// not used. `slots` holds [`zone_count`] slots or more.
    ///
    /// # Errors
    /// [`NorLayoutError`], when sizes do not fit. Media that fail are no error here: the zone is
    /// then full.
    ///
    /// # Cost
    /// Reads what is erased, at most the whole flash once; erases a zone whose reset was cut.
    pub fn new(
        flash: F,
        slots: &'m mut [NorSlot],
        layout: NorLayout,
    ) -> Result<Self, NorLayoutError> {
        let needed = zone_count::<F>(flash.capacity(), layout)?;
        if slots.len() < needed as usize {
            return Err(NorLayoutError::Slots { needed });
        }
        let zone_blocks =
            (F::ERASE_SIZE / layout.block_len_bytes as usize) as u32 * layout.zone_erase_blocks;
        let geometry = Geometry {
            block_len_bytes: layout.block_len_bytes,
            zone_count: needed,
            zone_blocks,
            open_zones_max: None,
            active_zones_max: None,
            transfer_blocks_max: zone_blocks,
            buffer_align_bytes: 1,
            element_count: 1,
        };
        let mut inner = Inner { flash, slots, block_len: layout.block_len_bytes, zone_blocks };
        for zone in 0..needed {
            inner.recover(zone);
        }
        Ok(Self { inner: RefCell::new(inner), geometry })
    }

    /// Gives the flash back.
    pub fn into_inner(self) -> F {
        self.inner.into_inner().flash
    }

    /// Fails for a zone that the device does not have.
    const fn known(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        if zone.0 < self.geometry.zone_count { Ok(()) } else { Err(ErrorKind::OutOfDevice) }
    }
}

impl<F: NorFlash> Inner<'_, F> {
    /// Byte address of a block of a zone; fits, as construction checked the capacity.
    fn address(&self, zone: u32, block: u32) -> u32 {
        (zone * self.zone_blocks + block) * self.block_len
    }

    /// Whether a block reads as erased; one that cannot be read does not.
    fn is_erased(&mut self, zone: u32, block: u32) -> bool {
        let mut piece = [0; PIECE_LEN_BYTES];
        let len = PIECE_LEN_BYTES.min(self.block_len as usize);
        let start = self.address(zone, block);
        (start..start + self.block_len).step_by(len).all(|address| {
            let read = self.flash.read(address, &mut piece[..len]);
            read.is_ok() && piece[..len].iter().all(|byte| *byte == 0xff)
        })
    }

    /// The write pointer according to the medium.
    fn scan(&mut self, zone: u32) -> u32 {
        let last = (0..self.zone_blocks).rev().find(|block| !self.is_erased(zone, *block));
        last.map_or(0, |block| block + 1)
    }

    /// Finds the write pointer of a zone at construction, and completes a reset that was cut.
    fn recover(&mut self, zone: u32) {
        let pointer = self.scan(zone);
        self.set(zone, pointer, Hold::None);
        if pointer > 1 && self.is_erased(zone, 0) {
            // A failure leaves the zone full, which is all there is to say of it.
            let _ = self.erase(zone);
        }
    }

    /// Erases a zone, first erase block to last.
    fn erase(&mut self, zone: u32) -> Result<(), ErrorKind> {
        self.set(zone, self.zone_blocks, Hold::None);
        let start = self.address(zone, 0);
        let len = self.zone_blocks * self.block_len;
        for from in (start..start + len).step_by(F::ERASE_SIZE) {
            let result = self.flash.erase(from, from + F::ERASE_SIZE as u32);
            result.map_err(|error| fault(error.kind()))?;
        }
        self.set(zone, 0, Hold::None);
        Ok(())
    }

    /// Programs a marker into a block of a zone that is about to be full.
    fn mark(&mut self, zone: u32, block: u32) -> Result<(), ErrorKind> {
        let marker = [0; PIECE_LEN_BYTES];
        let address = self.address(zone, block);
        let result = self.flash.write(address, &marker[..F::WRITE_SIZE]);
        result.map_err(|error| fault(error.kind()))
    }

    fn slot(&self, zone: u32) -> NorSlot {
        self.slots[zone as usize]
    }

    fn set(&mut self, zone: u32, pointer: u32, hold: Hold) {
        assert!(pointer <= self.zone_blocks, "write pointer behind the zone");
        self.slots[zone as usize] = NorSlot::new(pointer, hold);
    }

    fn condition(&self, zone: u32) -> ZoneCondition {
        self.slot(zone).condition(self.zone_blocks)
    }

    fn write(&mut self, zone: u32, offset: u32, data: &[u8]) -> Result<(), ErrorKind> {
        let slot = self.slot(zone);
        if self.condition(zone) == ZoneCondition::Full {
            return Err(ErrorKind::ZoneFull);
        }
        if offset != slot.pointer() {
            let start = u64::from(zone) * u64::from(self.zone_blocks);
            let write_pointer = Some(Lba(start + u64::from(slot.pointer())));
            return Err(ErrorKind::UnalignedWrite { write_pointer });
        }
        let mut blocks = data.chunks_exact(self.block_len as usize);
        if blocks.any(|block| block.iter().all(|byte| *byte == 0xff)) {
            return Err(ErrorKind::InvalidRequest);
        }
        let hold = match slot.hold() {
            Hold::Explicit => Hold::Explicit,
            Hold::None | Hold::Implicit => Hold::Implicit,
        };
        if let Err(error) = self.flash.write(self.address(zone, offset), data) {
            let pointer = self.scan(zone).max(offset);
            self.set(zone, pointer, hold);
            return Err(fault(error.kind()));
        }
        let end = offset + data.len() as u32 / self.block_len;
        self.set(zone, end, hold);
        Ok(())
    }

    fn finish(&mut self, zone: u32) -> Result<(), ErrorKind> {
        if self.condition(zone) == ZoneCondition::Full {
            return Ok(());
        }
        let pointer = self.slot(zone).pointer();
        let last = self.zone_blocks - 1;
        // Whatever becomes of the markers, nothing more may be programmed behind them.
        self.set(zone, self.zone_blocks, Hold::None);
        self.mark(zone, last)?;
        if pointer == 0 && last > 0 {
            self.mark(zone, 0)?;
        }
        Ok(())
    }
}

/// The kind of a failed program or erase.
const fn fault(kind: NorFlashErrorKind) -> ErrorKind {
    match kind {
        NorFlashErrorKind::NotAligned => ErrorKind::InvalidRequest,
        NorFlashErrorKind::OutOfBounds => ErrorKind::OutOfDevice,
        _ => ErrorKind::WriteFault { first: None },
    }
}

impl<F: NorFlash> Device for NorZones<'_, F> {
    type Error = ErrorKind;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), ErrorKind> {
        let extent = self.geometry.transfer(start, buf.len())?;
        let address = extent.start.0 as u32 * self.geometry.block_len_bytes;
        let result = self.inner.borrow_mut().flash.read(address, buf);
        result.map_err(|_| ErrorKind::UnrecoveredRead { first: None })
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), ErrorKind> {
        self.geometry.transfer(start, data.len())?;
        let zone = self.geometry.zone_of(start);
        let offset = start.0 - self.geometry.zone_start(zone).0;
        self.inner.borrow_mut().write(zone.0, offset as u32, data)
    }

    async fn sync(&self) -> Result<(), ErrorKind> {
        Ok(())
    }

    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, ErrorKind> {
        let inner = self.inner.borrow();
        let zones = (first.0..self.geometry.zone_count).map(ZoneId);
        let mut count = 0;
        for (descriptor, zone) in out.iter_mut().zip(zones) {
            *descriptor = ZoneDescriptor {
                zone,
                zone_type: ZoneType::SequentialRequired,
                condition: inner.condition(zone.0),
                start: self.geometry.zone_start(zone),
                capacity: BlockCount(self.geometry.zone_blocks),
                write_pointer: BlockCount(inner.slot(zone.0).pointer()),
                element: ElementId(0),
            };
            count += 1;
        }
        Ok(count)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.known(zone)?;
        let mut inner = self.inner.borrow_mut();
        if inner.condition(zone.0) != ZoneCondition::Full {
            let pointer = inner.slot(zone.0).pointer();
            inner.set(zone.0, pointer, Hold::Explicit);
        }
        Ok(())
    }

    async fn close(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.known(zone)?;
        let mut inner = self.inner.borrow_mut();
        let pointer = inner.slot(zone.0).pointer();
        inner.set(zone.0, pointer, Hold::None);
        Ok(())
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.known(zone)?;
        self.inner.borrow_mut().finish(zone.0)
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.known(zone)?;
        self.inner.borrow_mut().erase(zone.0)
    }
}
