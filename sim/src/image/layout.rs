//! The bytes of an image file's header, marks and tables; numbers are little endian.
//!
//! ```text
//! header   magic[16] version:u32 spec_len:u32 spec_crc:u32 header_crc:u32 spec[spec_len] (JSON)
//! mark     magic[8] generation:u64 table_len:u64 table_crc:u32 mark_crc:u32
//! saving   generation:u64, of the save that began last
//! table    now:u64 requests:u64 trace:u64 rng:u64 zone_count:u32 bad_count:u32
//!          zone_count x { condition:u8 held:u8 0:u16 capacity:u32 written:u32 }
//!          bad_count x { zone:u32 block:u32 }
//! ```
//!
//! Checksums are CRC-32C; those of header and mark cover the bytes before them.

use shingle_hal::ZoneCondition;

use super::error::{ImageErrorKind, Structure};
use crate::drive::Stored;
use crate::media::MediaSpec;

/// The version that this program writes and reads.
pub(super) const VERSION: u32 = 1;
/// Where the contents begin: a multiple of every block length.
pub(super) const CONTENTS_AT: u64 = 64 << 10;
/// Where the two marks are.
pub(super) const MARKS_AT: [u64; 2] = [32 << 10, 40 << 10];
/// Where the generation of the save that began last is.
pub(super) const SAVING_AT: u64 = 48 << 10;
/// Room for each table, most of it a hole.
pub(super) const TABLE_ROOM: u64 = 256 << 20;
/// Bytes of a mark.
pub(super) const MARK_LEN: usize = 32;

const MAGIC: [u8; 16] = *b"SHINGLE\0SIMDRIVE";
const MARK_MAGIC: [u8; 8] = *b"SHNGMARK";
const HEADER_LEN: usize = 32;
const ZONE_LEN: usize = 12;
const BAD_LEN: usize = 8;
const TABLE_HEAD_LEN: usize = 40;

/// Reads numbers off the front of bytes.
struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Bytes that the contents of a drive of model `spec` take.
pub(super) fn contents_len(spec: &MediaSpec) -> u64 {
    u64::from(spec.zone_count) * u64::from(spec.zone_blocks) * u64::from(spec.block_len_bytes)
}

/// Length of the image file of a drive of model `spec`.
pub(super) fn file_len(spec: &MediaSpec) -> u64 {
    table_at(spec, 2)
}

/// Where table `number` of the two is.
pub(super) fn table_at(spec: &MediaSpec, number: u64) -> u64 {
    CONTENTS_AT + contents_len(spec) + number * TABLE_ROOM
}

/// The header of a drive of model `spec`; `None` if there is no room for so large a model.
pub(super) fn encode_header(spec: &MediaSpec) -> Option<Vec<u8>> {
    let spec = serde_json::to_vec(spec).ok()?;
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((spec.len() as u32).to_le_bytes());
    bytes.extend(crc32c::crc32c(&spec).to_le_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend(spec);
    (bytes.len() as u64 <= MARKS_AT[0]).then_some(bytes)
}

/// The model that a header names; `bytes` are all those before the marks, or of a shorter file.
pub(super) fn decode_header(bytes: &[u8]) -> Result<MediaSpec, ImageErrorKind> {
    let damaged = ImageErrorKind::Damaged(Structure::Header);
    let mut reader = Reader(bytes);
    if reader.take() != Some(MAGIC) {
        return Err(ImageErrorKind::Foreign);
    }
    let truncated = ImageErrorKind::Truncated { found: bytes.len() as u64, expected: CONTENTS_AT };
    let Some(found) = reader.u32() else {
        return Err(truncated);
    };
    if found != VERSION {
        let known = VERSION;
        return Err(ImageErrorKind::Version { found, known });
    }
    let (Some(len), Some(spec_crc), Some(crc)) = (reader.u32(), reader.u32(), reader.u32()) else {
        return Err(truncated);
    };
    if crc32c::crc32c(&bytes[..HEADER_LEN - 4]) != crc {
        return Err(damaged);
    }
    let Some(spec) = reader.0.get(..len as usize) else {
        return Err(truncated);
    };
    if crc32c::crc32c(spec) != spec_crc {
        return Err(damaged);
    }
    let spec: MediaSpec = serde_json::from_slice(spec).map_err(|_| damaged)?;
    Ok(spec)
}

/// Which table is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Counts saves; the higher mark counts, and its table is `generation % 2`.
    pub(super) generation: u64,
    /// Bytes of the table.
    pub(super) table_len: u64,
    /// Checksum of the table.
    pub(super) table_crc: u32,
}

impl Mark {
    /// The mark of `table`.
    pub(super) fn new(generation: u64, table: &[u8]) -> Self {
        Self { generation, table_len: table.len() as u64, table_crc: crc32c::crc32c(table) }
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::from(MARK_MAGIC);
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.table_len.to_le_bytes());
        bytes.extend(self.table_crc.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The mark in `bytes`, if they hold one.
    pub(super) fn decode(bytes: &[u8; MARK_LEN]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let magic = reader.take()?;
        let (generation, table_len) = (reader.u64()?, reader.u64()?);
        let table_crc = reader.u32()?;
        let right = magic == MARK_MAGIC && crc32c::crc32c(&bytes[..28]) == reader.u32()?;
        right.then_some(Self { generation, table_len, table_crc })
    }
}

/// The bytes of the table of `stored`.
pub(super) fn encode_table(stored: &Stored) -> Vec<u8> {
    let len = TABLE_HEAD_LEN + stored.zones.len() * ZONE_LEN + stored.bad.len() * BAD_LEN;
    let mut bytes = Vec::with_capacity(len);
    for word in [stored.now_ns, stored.requests, stored.trace, stored.rng] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend((stored.zones.len() as u32).to_le_bytes());
    bytes.extend((stored.bad.len() as u32).to_le_bytes());
    for &(condition, capacity, written, held) in &stored.zones {
        bytes.extend([condition as u8, u8::from(held), 0, 0]);
        bytes.extend(capacity.to_le_bytes());
        bytes.extend(written.to_le_bytes());
    }
    for (zone, block) in &stored.bad {
        bytes.extend(zone.to_le_bytes());
        bytes.extend(block.to_le_bytes());
    }
    bytes
}

/// What a table of `bytes` says; `None` if it makes no sense.
pub(super) fn decode_table(bytes: &[u8]) -> Option<Stored> {
    let mut reader = Reader(bytes);
    let mut stored = Stored {
        now_ns: reader.u64()?,
        requests: reader.u64()?,
        trace: reader.u64()?,
        rng: reader.u64()?,
        zones: Vec::new(),
        bad: Vec::new(),
    };
    let (zone_count, bad_count) = (reader.u32()? as usize, reader.u32()? as usize);
    if reader.0.len() != zone_count * ZONE_LEN + bad_count * BAD_LEN {
        return None;
    }
    stored.zones.reserve(zone_count);
    for _ in 0..zone_count {
        let [condition, held, ..] = reader.take::<4>()?;
        let (capacity, written) = (reader.u32()?, reader.u32()?);
        stored.zones.push((decode_condition(condition)?, capacity, written, held != 0));
    }
    for _ in 0..bad_count {
        stored.bad.push((reader.u32()?, reader.u32()?));
    }
    Some(stored)
}

fn decode_condition(byte: u8) -> Option<ZoneCondition> {
    use ZoneCondition as C;
    let all = [C::NotWritePointer, C::Empty, C::Closed, C::ReadOnly, C::Full, C::Offline];
    all.into_iter().find(|condition| *condition as u8 == byte)
}
