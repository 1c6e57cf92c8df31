//! Reading values back from the log: from the device, or from the buffer they still wait in.
//!
//! A value is one or more extents of a zone's payload. A read fetches exactly the blocks that hold
//! the bytes asked for and checks each, so a part of a value costs a part of it. Each extent stands
//! behind its key in the log; a read from its first byte on fetches the key too and compares it, so
//! a pointer that leads to another key's value shows (`V1`; test
//! `value_of_another_key_is_damage`).

use shingle_hal::{Device, Extent, Request};

use crate::error::{Check, Damage, Fault, Structure};
use crate::format::entry::Fragment;
use crate::media::Place;
use crate::run::cursor::malformed;
use crate::state::{Core, Side};
use crate::sync::For;

/// Whose value is read: what stands before each extent of it in the log.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'k> {
    /// The key.
    pub(crate) key: &'k [u8],
    /// Bytes of metadata between it and the value.
    pub(crate) meta_len: usize,
}

impl Owner<'_> {
    fn head_len(&self) -> usize {
        self.key.len() + self.meta_len
    }
}

/// Where the bytes of a fetch are.
enum Held {
    /// All on the device.
    Device,
    /// All in the head's buffer; they have been copied.
    Buffer,
    /// Being written, or partly in the buffer.
    Between(Side, bool),
}

impl<D: Device> Core<'_, D> {
    /// Payload bytes that a buffer of `len` bytes can fetch at once, wherever they start.
    pub(crate) fn fetch_max(&self, len: usize) -> usize {
        (len / self.media.block_len() - 1) * self.payload() as usize
    }

    /// Reads the blocks that hold `len` payload bytes from `offset` of a zone into `raw`, checked.
    /// Returns where in the first block they begin.
    pub(crate) async fn fetch(
        &self,
        generation: u32,
        offset: u32,
        len: usize,
        raw: &mut [u8],
        request: Request,
    ) -> Result<usize, Fault<D::Error>> {
        let payload = self.payload();
        let in_block = (offset % payload) as usize;
        let first = 1 + offset / payload;
        let blocks = (in_block + len).div_ceil(payload as usize) as u32;
        let block_len = self.media.block_len();
        let raw = &mut raw[..blocks as usize * block_len];
        loop {
            match self.held(generation, first, blocks, raw) {
                Held::Buffer => return Ok(in_block),
                Held::Device => break,
                Held::Between(side, true) => {
                    self.lot
                        .wait_for(For::Progress, || {
                            (!self.state.borrow_mut().head(side).writing).then_some(())
                        })
                        .await;
                }
                Held::Between(side, false) => self.write_out(side, true).await?,
            }
        }
        let map = self.state.borrow().zones.map_of(generation);
        let place = Place { map: map.ok_or_else(malformed)?, generation, block: first };
        if self.read_in_haste(place, raw, request).await? {
            return Ok(in_block);
        }
        let read = self.media.read_units(place, raw, block_len, Structure::Value, request).await;
        if let Err(Fault::Damaged(damage)) = read {
            self.note_damaged(generation, damage.check);
        }
        match read {
            Err(fault @ Fault::Damaged(_)) => {
                self.read_rebuilt(place, raw, request, fault).await.map(|()| in_block)
            }
            other => other.map(|()| in_block),
        }
    }

    fn held(&self, generation: u32, first: u32, blocks: u32, raw: &mut [u8]) -> Held {
        let mut state = self.state.borrow_mut();
        for side in [Side::Log, Side::Cold] {
            let head = state.head(side);
            if head.zone.is_none_or(|zone| zone.generation != generation) {
                continue;
            }
            let buffered = head.first_buffered_block();
            if first >= buffered {
                head.copy_blocks(first, raw);
                return Held::Buffer;
            }
            if head.writing && first + blocks > head.first_unwritten_block() {
                return Held::Between(side, true);
            }
            if first + blocks > buffered {
                return Held::Between(side, false);
            }
        }
        Held::Device
    }

    /// Copies payload out of fetched blocks.
    pub(crate) fn copy_out(&self, raw: &[u8], in_block: usize, out: &mut [u8]) {
        let payload = self.payload() as usize;
        let mut at = in_block;
        let mut out = out;
        for block in raw.chunks_exact(self.media.block_len()) {
            let len = out.len().min(payload - at);
            let (now, rest) = out.split_at_mut(len);
            now.copy_from_slice(&block[at..at + len]);
            out = rest;
            at = 0;
            if out.is_empty() {
                return;
            }
        }
        assert!(out.is_empty(), "fetched for this length");
    }

    /// Reads payload and leaves it at the front of `raw`.
    pub(crate) async fn read_payload(
        &self,
        generation: u32,
        offset: u32,
        len: usize,
        raw: &mut [u8],
        request: Request,
    ) -> Result<(), Fault<D::Error>> {
        let mut from = self.fetch(generation, offset, len, raw, request).await?;
        let (payload, block_len) = (self.payload() as usize, self.media.block_len());
        let mut to = 0;
        while to < len {
            let part = (payload - from % block_len).min(len - to);
            raw.copy_within(from..from + part, to);
            to += part;
            from = (from / block_len + 1) * block_len;
        }
        Ok(())
    }

    /// Copies the value out of fetched blocks, after the key before it if `head_len` is not 0.
    fn take_value(
        &self,
        raw: &[u8],
        in_block: usize,
        owner: &Owner<'_>,
        head_len: usize,
        out: &mut [u8],
    ) -> bool {
        let payload = self.payload() as usize;
        let blocks = raw.chunks_exact(self.media.block_len());
        let stored = blocks.flat_map(|block| &block[..payload]).skip(in_block);
        if head_len > 0 && !stored.take(owner.key.len()).eq(owner.key) {
            return false;
        }
        let at = in_block + head_len;
        self.copy_out(&raw[at / payload * self.media.block_len()..], at % payload, out);
        true
    }

    /// The same in place: what was fetched into `raw` ends up as `len` bytes of the value at its
    /// front.
    fn keep_value(
        &self,
        raw: &mut [u8],
        in_block: usize,
        owner: &Owner<'_>,
        head_len: usize,
        len: usize,
    ) -> bool {
        let (payload, block_len) = (self.payload() as usize, self.media.block_len());
        if !self.take_value(raw, in_block, owner, head_len, &mut []) {
            return false;
        }
        let (mut from, mut to) = (in_block + head_len, 0);
        while to < len {
            let part = (payload - from % payload).min(len - to);
            let at = from / payload * block_len + from % payload;
            raw.copy_within(at..at + part, to);
            (from, to) = (from + part, to + part);
        }
        true
    }

    /// Bytes of the blocks that hold `len` payload bytes from `offset` of a zone.
    fn fetch_len(&self, offset: u32, len: usize) -> usize {
        let payload = self.payload() as usize;
        (offset as usize % payload + len).div_ceil(payload) * self.media.block_len()
    }

    /// Whether the device can read to the front of `buffer`.
    fn is_aligned(&self, buffer: &[u8]) -> bool {
        let align = self.media.geometry.buffer_align_bytes.max(1) as usize;
        buffer.as_ptr().addr().is_multiple_of(align)
    }

    /// Reads `len` bytes of the value of `owner` from `offset` on to the front of `out`.
    ///
    /// Where `out` has room for whole blocks, they are read to it and not to a buffer: then no more
    /// than the caller's memory bounds how many values are read at once.
    pub(crate) async fn read_value(
        &self,
        owner: Owner<'_>,
        fragments: &[Fragment],
        offset: u64,
        out: &mut [u8],
        len: usize,
        request: Request,
    ) -> Result<(), Fault<D::Error>> {
        let mut skip = offset;
        let (mut out, mut missing) = (out, len);
        for fragment in fragments {
            let len = u64::from(fragment.len);
            if skip >= len {
                skip -= len;
                continue;
            }
            let mut at = skip as u32;
            skip = 0;
            while at < fragment.len && missing > 0 {
                let left = (fragment.len - at) as usize;
                let wanted = missing.min(left);
                let (small, large) =
                    (self.fetch_max(self.shape.node_len), self.plan.value_buffer_len);
                let head = if at == 0 { owner.head_len() } else { 0 };
                let few = head + wanted <= small;
                let pool = few && self.shape.node_len >= 2 * self.media.block_len();
                let place = (fragment.offset + at).checked_sub(head as u32);
                let place = place.ok_or_else(malformed)?;
                let generation = fragment.generation;
                let raw_len = self.fetch_len(place, head + wanted);
                let in_place = !pool && raw_len <= out.len() && self.is_aligned(out);
                let len = if pool || in_place {
                    wanted
                } else {
                    wanted.min(self.fetch_max(large) - head)
                };
                let right = if in_place {
                    let raw = &mut out[..raw_len];
                    let from = self.fetch(generation, place, head + len, raw, request).await?;
                    self.keep_value(raw, from, &owner, head, len)
                } else if pool {
                    let mut raw = self.nodes.take(&self.lot).await;
                    let from = self.fetch(generation, place, head + len, &mut raw, request).await?;
                    self.take_value(&raw, from, &owner, head, &mut out[..len])
                } else {
                    let mut raw = self.values.take(&self.lot).await;
                    let from = self.fetch(generation, place, head + len, &mut raw, request).await?;
                    self.take_value(&raw, from, &owner, head, &mut out[..len])
                };
                if !right {
                    return Err(self.not_owned(generation, place));
                }
                out = &mut out[len..];
                missing -= len;
                at += len as u32;
            }
            if missing == 0 {
                return Ok(());
            }
        }
        if missing == 0 { Ok(()) } else { Err(malformed()) }
    }

    /// The damage of a value that another key owns.
    fn not_owned(&self, generation: u32, offset: u32) -> Fault<D::Error> {
        let map = self.state.borrow().zones.map_of(generation);
        let Some(map) = map else { return malformed() };
        let lba = map.lba(1 + offset / self.payload());
        let (extent, structure) = (Extent::new(lba, 1), Structure::Value);
        Fault::Damaged(Damage { extent, structure, check: Check::OtherKey })
    }
}
