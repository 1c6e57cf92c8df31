//! The append end of the log's mirror, and what stands before the operations in its records: which
//! record of the log each stands for.
//!
//! The operations follow as in the log's own record, but for the bytes of values that stay in the
//! log. Layout: `FORMAT.md` §5.5.

use crate::format::record::{OpHeader, OpKind};
use crate::format::seal::le_u32;
use crate::log::Head;

/// Bytes before the operations.
pub(crate) const MIRROR_HEADER_LEN: usize = 16;

/// The append end of the mirror.
pub(crate) struct Mirror<'m> {
    pub(crate) head: Head<'m>,
    /// As much of the log's `appended` as has its copy on the device.
    pub(crate) covered: u64,
    /// The same for the write under way.
    pub(crate) under_way: u64,
    /// What of the log's `appended` must be durable before the buffer may go to the device (`B5`),
    /// and how much is.
    pub(crate) leans_on: u64,
    pub(crate) settled: u64,
    /// No record is taken until the buffer is on its way.
    pub(crate) is_held: bool,
    /// There was no zone for it beside the log's present one.
    pub(crate) is_off: bool,
    /// Generation of the log's zone that the last record stands for; 0 for none yet.
    pub(crate) last: u32,
}

impl<'m> Mirror<'m> {
    pub(crate) fn new(head: Head<'m>) -> Self {
        Self {
            head,
            covered: 0,
            under_way: 0,
            leans_on: 0,
            settled: 0,
            is_held: false,
            is_off: false,
            last: 0,
        }
    }
}

/// The record of the log that a record of the mirror stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mirrored {
    /// Generation of its zone.
    pub(crate) generation: u32,
    /// Its offset there.
    pub(crate) offset: u32,
    /// Its bytes.
    pub(crate) len: u32,
    /// Whether reclaim moved it.
    pub(crate) moved: bool,
}

impl Mirrored {
    pub(crate) fn encode(&self) -> [u8; MIRROR_HEADER_LEN] {
        let mut out = [0; MIRROR_HEADER_LEN];
        out[..4].copy_from_slice(&self.generation.to_le_bytes());
        out[4..8].copy_from_slice(&self.offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.len.to_le_bytes());
        out[12] = u8::from(self.moved);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MIRROR_HEADER_LEN] = bytes.first_chunk()?;
        Some(Self {
            generation: le_u32(bytes),
            offset: le_u32(&bytes[4..]),
            len: le_u32(&bytes[8..]),
            moved: bytes[12] == 1,
        })
    }
}

/// Bytes of an operation's value that the mirror holds.
pub(crate) fn mirrored_value_len(op: &OpHeader, separate_from: u32) -> usize {
    let stays = op.is_apart(separate_from) || op.kind == OpKind::Fragment;
    if stays { 0 } else { op.value_len as usize }
}
