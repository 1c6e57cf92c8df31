//! A drive image of the host as a device; what each byte of it means is said in the simulator's
//! `image` module.
//!
//! There is no cache: a request that completed is on the image, and stays there whenever the board
//! is stopped. A write goes to its blocks first, then the table of zones that is not in use, then
//! the mark that makes it the one in use.
//!
//! Invariants: `F1` the table in use is whole, and behind no write that was acknowledged.

use core::cell::{Cell, RefCell};

use crc::{CRC_32_ISCSI, Crc, Table};
use shingle_hal::{
    BlockCount, Device, ElementId, Error, ErrorKind, Geometry, Lba, Request, ZoneCondition,
    ZoneDescriptor, ZoneId, ZoneType,
};

/// Most zones of an image.
pub const ZONES_MAX: usize = 256;

const CONTENTS_AT: u64 = 64 << 10;
const MARKS_AT: [u64; 2] = [32 << 10, 40 << 10];
const TABLE_ROOM: u64 = 256 << 20;
const TABLE_HEAD_LEN: usize = 40;
const ZONE_LEN: usize = 12;
const TABLE_LEN_MAX: usize = TABLE_HEAD_LEN + ZONES_MAX * ZONE_LEN;
const MARK_LEN: usize = 32;
const MARK_MAGIC: [u8; 8] = *b"SHNGMARK";
const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// A file of the host.
pub trait File {
    /// What its requests fail with.
    type Error: Copy + core::fmt::Debug;

    /// Reads exactly `out.len()` bytes at `at`.
    ///
    /// # Errors
    /// The host's, or that there are fewer.
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes all of `data` at `at`.
    ///
    /// # Errors
    /// The host's.
    fn write_at(&self, at: u64, data: &[u8]) -> Result<(), Self::Error>;
}

/// Sizes of the drive in an image, which the host tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Bytes of a block.
    pub block_len_bytes: u32,
    /// Zones, at most [`ZONES_MAX`].
    pub zone_count: u32,
    /// Blocks from one zone to the next.
    pub zone_blocks: u32,
}

/// Why an image is no device, or what a request failed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError<E> {
    /// The file.
    File(E),
    /// The image has more zones than are known here, or other than the model says, or no table.
    Table,
    /// The request, and why it is refused.
    Refused(ErrorKind),
}

impl<E: Copy + core::fmt::Debug> Error for ImageError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::File(_) | Self::Table => ErrorKind::Hardware,
            Self::Refused(kind) => *kind,
        }
    }
}

/// A drive in an image.
#[derive(Debug)]
pub struct ImageDrive<F> {
    file: F,
    model: Model,
    generation: Cell<u64>,
    table: RefCell<[u8; TABLE_LEN_MAX]>,
    table_len: usize,
    /// Which zones are open: the table has no such condition.
    open: RefCell<[Option<ZoneCondition>; ZONES_MAX]>,
}

/// A zone as its entry in the table says.
#[derive(Clone, Copy)]
struct Entry {
    condition: ZoneCondition,
    capacity: u32,
    written: u32,
}

type Done<F> = Result<(), ImageError<<F as File>::Error>>;

impl<F: File> ImageDrive<F> {
    /// The drive of `model` in `file`.
    ///
    /// # Errors
    /// [`File`](ImageError::File), or [`Table`](ImageError::Table) if none of the two tables is
    /// that of the model.
    pub fn open(file: F, model: Model) -> Result<Self, ImageError<F::Error>> {
        let mut best: Option<(u64, usize, u32)> = None;
        for at in MARKS_AT {
            let mut mark = [0; MARK_LEN];
            file.read_at(at, &mut mark).map_err(ImageError::File)?;
            let whole = CRC.checksum(&mark[..28]).to_le_bytes() == mark[28..];
            let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| mark[at + i]));
            let found = (word(8), word(16) as usize, word(24) as u32);
            let newer = best.is_none_or(|(generation, ..)| found.0 > generation);
            if whole && mark[..8] == MARK_MAGIC && newer {
                best = Some(found);
            }
        }
        let (generation, table_len, checksum) = best.ok_or(ImageError::Table)?;
        let mut table = [0; TABLE_LEN_MAX];
        let zones_len = TABLE_HEAD_LEN + model.zone_count as usize * ZONE_LEN;
        if table_len != zones_len || table_len > TABLE_LEN_MAX {
            return Err(ImageError::Table);
        }
        let at = table_at(&model, generation);
        file.read_at(at, &mut table[..table_len]).map_err(ImageError::File)?;
        if CRC.checksum(&table[..table_len]) != checksum {
            return Err(ImageError::Table);
        }
        Ok(Self {
            file,
            model,
            generation: Cell::new(generation),
            table: RefCell::new(table),
            table_len,
            open: RefCell::new([None; ZONES_MAX]),
        })
    }

    fn entry(&self, zone: ZoneId) -> Result<Entry, ImageError<F::Error>> {
        use ZoneCondition as C;
        if zone.0 >= self.model.zone_count {
            return Err(ImageError::Refused(ErrorKind::OutOfDevice));
        }
        let table = self.table.borrow();
        let at = TABLE_HEAD_LEN + zone.0 as usize * ZONE_LEN;
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| table[at + i]));
        let known = [C::NotWritePointer, C::Empty, C::Closed, C::ReadOnly, C::Full, C::Offline];
        let condition = known.into_iter().find(|condition| *condition as u8 == table[at]);
        let condition = condition.ok_or(ImageError::Table)?;
        let condition = self.open.borrow()[zone.0 as usize].unwrap_or(condition);
        Ok(Entry { condition, capacity: word(at + 4), written: word(at + 8) })
    }

    /// Sets a zone's entry, and says so in the image where that outlives the board.
    fn set(&self, zone: ZoneId, entry: Entry) -> Done<F> {
        let is_open = entry.condition.is_open();
        self.open.borrow_mut()[zone.0 as usize] = is_open.then_some(entry.condition);
        let rests = match (is_open, entry.written) {
            (true, 0) => ZoneCondition::Empty,
            (true, _) => ZoneCondition::Closed,
            (false, _) => entry.condition,
        };
        let mut table = self.table.borrow_mut();
        let at = TABLE_HEAD_LEN + zone.0 as usize * ZONE_LEN;
        let old: [u8; ZONE_LEN] = core::array::from_fn(|i| table[at + i]);
        table[at] = rests as u8;
        // Whether the image has contents of it.
        let conventional = entry.condition == ZoneCondition::NotWritePointer;
        table[at + 1] = u8::from(entry.written > 0 || conventional);
        table[at + 4..][..4].copy_from_slice(&entry.capacity.to_le_bytes());
        table[at + 8..][..4].copy_from_slice(&entry.written.to_le_bytes());
        if table[at..][..ZONE_LEN] == old { Ok(()) } else { self.save(&table[..self.table_len]) }
    }

    fn save(&self, table: &[u8]) -> Done<F> {
        let generation = self.generation.get() + 1;
        let file = &self.file;
        file.write_at(table_at(&self.model, generation), table).map_err(ImageError::File)?;
        let mut mark = [0; MARK_LEN];
        mark[..8].copy_from_slice(&MARK_MAGIC);
        mark[8..16].copy_from_slice(&generation.to_le_bytes());
        mark[16..24].copy_from_slice(&(table.len() as u64).to_le_bytes());
        mark[24..28].copy_from_slice(&CRC.checksum(table).to_le_bytes());
        let checksum = CRC.checksum(&mark[..28]);
        mark[28..].copy_from_slice(&checksum.to_le_bytes());
        file.write_at(MARKS_AT[generation as usize % 2], &mark).map_err(ImageError::File)?;
        self.generation.set(generation);
        Ok(())
    }

    /// The zone of a transfer, its first block in it, and how many there are.
    fn place(&self, start: Lba, len: usize) -> Result<(ZoneId, u32, u32), ImageError<F::Error>> {
        let refused = |kind| Err(ImageError::Refused(kind));
        let block_len = self.model.block_len_bytes as usize;
        let blocks = (len / block_len) as u64;
        let zone_blocks = u64::from(self.model.zone_blocks);
        if len == 0 || !len.is_multiple_of(block_len) || blocks > zone_blocks {
            return refused(ErrorKind::InvalidRequest);
        }
        let zone = start.0 / zone_blocks;
        if zone >= u64::from(self.model.zone_count) {
            return refused(ErrorKind::OutOfDevice);
        }
        let first = start.0 % zone_blocks;
        if first + blocks > zone_blocks {
            return refused(ErrorKind::CrossesZone);
        }
        Ok((ZoneId(zone as u32), first as u32, blocks as u32))
    }

    fn byte_at(&self, start: Lba) -> u64 {
        CONTENTS_AT + start.0 * u64::from(self.model.block_len_bytes)
    }

    /// The entry of a zone whose condition is to be changed by a request.
    fn sequential(&self, zone: ZoneId) -> Result<Entry, ImageError<F::Error>> {
        let entry = self.entry(zone)?;
        match entry.condition {
            ZoneCondition::NotWritePointer => Err(ImageError::Refused(ErrorKind::InvalidRequest)),
            ZoneCondition::ReadOnly => Err(ImageError::Refused(ErrorKind::ZoneReadOnly)),
            ZoneCondition::Offline => Err(ImageError::Refused(ErrorKind::ZoneOffline)),
            _ => Ok(entry),
        }
    }
}

/// Where the table of a generation is.
fn table_at(model: &Model, generation: u64) -> u64 {
    let blocks = u64::from(model.zone_count) * u64::from(model.zone_blocks);
    CONTENTS_AT + blocks * u64::from(model.block_len_bytes) + generation % 2 * TABLE_ROOM
}

impl<F: File> Device for ImageDrive<F> {
    type Error = ImageError<F::Error>;

    fn geometry(&self) -> Geometry {
        Geometry {
            block_len_bytes: self.model.block_len_bytes,
            zone_count: self.model.zone_count,
            zone_blocks: self.model.zone_blocks,
            open_zones_max: None,
            active_zones_max: None,
            transfer_blocks_max: self.model.zone_blocks,
            buffer_align_bytes: 1,
            element_count: 1,
        }
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), Self::Error> {
        let (zone, first, blocks) = self.place(start, buf.len())?;
        let entry = self.entry(zone)?;
        match entry.condition {
            ZoneCondition::Offline => return Err(ImageError::Refused(ErrorKind::ZoneOffline)),
            ZoneCondition::NotWritePointer | ZoneCondition::ReadOnly => {}
            _ if first + blocks > entry.written => {
                let first = Some(Lba(start.0 + u64::from(entry.written.saturating_sub(first))));
                let kind = ErrorKind::ReadPastWritePointer { first };
                return Err(ImageError::Refused(kind));
            }
            _ => {}
        }
        self.file.read_at(self.byte_at(start), buf).map_err(ImageError::File)
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), Self::Error> {
        let refused = |kind| Err(ImageError::Refused(kind));
        let (zone, first, blocks) = self.place(start, data.len())?;
        let entry = self.entry(zone)?;
        let end = first + blocks;
        let sequential = match entry.condition {
            ZoneCondition::ReadOnly => return refused(ErrorKind::ZoneReadOnly),
            ZoneCondition::Offline => return refused(ErrorKind::ZoneOffline),
            ZoneCondition::Full => return refused(ErrorKind::ZoneFull),
            ZoneCondition::NotWritePointer => false,
            _ if first != entry.written => {
                let zone_start = start.0 - u64::from(first);
                let write_pointer = Some(Lba(zone_start + u64::from(entry.written)));
                return refused(ErrorKind::UnalignedWrite { write_pointer });
            }
            _ => true,
        };
        if end > entry.capacity {
            return refused(ErrorKind::CrossesZone);
        }
        self.file.write_at(self.byte_at(start), data).map_err(ImageError::File)?;
        if !sequential {
            return self.set(zone, entry);
        }
        let condition = match entry.condition {
            _ if end == entry.capacity => ZoneCondition::Full,
            ZoneCondition::ExplicitOpen => ZoneCondition::ExplicitOpen,
            _ => ZoneCondition::ImplicitOpen,
        };
        self.set(zone, Entry { condition, written: end, ..entry })
    }

    async fn sync(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn report(
        &self,
        first: ZoneId,
        out: &mut [ZoneDescriptor],
    ) -> Result<usize, Self::Error> {
        let left = self.model.zone_count.saturating_sub(first.0) as usize;
        let count = out.len().min(left);
        for (slot, id) in out[..count].iter_mut().zip(first.0..) {
            let Entry { condition, capacity, written } = self.entry(ZoneId(id))?;
            let conventional = condition == ZoneCondition::NotWritePointer;
            let write_pointer = match condition {
                ZoneCondition::Full => capacity,
                ZoneCondition::NotWritePointer
                | ZoneCondition::ReadOnly
                | ZoneCondition::Offline => 0,
                _ => written,
            };
            *slot = ZoneDescriptor {
                zone: ZoneId(id),
                zone_type: match conventional {
                    true => ZoneType::Conventional,
                    false => ZoneType::SequentialRequired,
                },
                condition,
                start: Lba(u64::from(id) * u64::from(self.model.zone_blocks)),
                capacity: BlockCount(capacity),
                write_pointer: BlockCount(write_pointer),
                element: ElementId(0),
            };
        }
        Ok(count)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), Self::Error> {
        let entry = self.sequential(zone)?;
        if entry.condition == ZoneCondition::Full {
            return Ok(());
        }
        self.set(zone, Entry { condition: ZoneCondition::ExplicitOpen, ..entry })
    }

    async fn close(&self, zone: ZoneId) -> Result<(), Self::Error> {
        let entry = self.sequential(zone)?;
        let condition = match (entry.condition.is_open(), entry.written) {
            (false, _) => return Ok(()),
            (true, 0) => ZoneCondition::Empty,
            (true, _) => ZoneCondition::Closed,
        };
        self.set(zone, Entry { condition, ..entry })
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), Self::Error> {
        let entry = self.sequential(zone)?;
        self.set(zone, Entry { condition: ZoneCondition::Full, ..entry })
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), Self::Error> {
        let entry = self.sequential(zone)?;
        self.set(zone, Entry { condition: ZoneCondition::Empty, written: 0, ..entry })
    }
}
