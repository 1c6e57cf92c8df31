//! A run: neighbouring blocks that are stored alike, as bytes or as what they can be made from.
//!
//! ```text
//!   Literal   the bytes
//!   Fill      one byte value
//!   Framed    [header | stream ........ | trailer] in each block, one stream after the other:
//!             kept are the stream's place and the bytes of headers and trailers
//!   Mixed     one block of bytes and up to two parts of streams; kept are the bytes between
//!   Bad       unreadable
//! ```
//!
//! `Framed` is what a log looks like that lays a [synthetic] value over
//! blocks with a header or trailer each: about eight bytes a block. `Mixed` is what a block looks
//! like in which one value ends and the next begins. A block is probed in two places, so one that
//! holds no stream costs little.

use std::rc::Rc;

use crate::synthetic;

/// Blocks shorter than this are always kept as bytes.
const RECOGNISED_LEN_BYTES_MIN: usize = 512;
/// Where a block is probed, from its start and from its end: beyond what a frame takes.
const PROBE_BYTES: usize = 64;
/// A part of a stream shorter than this is kept as bytes.
const PART_LEN_BYTES_MIN: usize = 96;
/// Frames are made of whole words, so that a byte of a frame that happens to match does not count.
const FRAME_ALIGN_BYTES: usize = 8;
/// A framed run ends here, so that a copy-on-write copies little.
const FRAMED_BLOCKS_MAX: usize = 1024;
/// Memory for frames grows by so many at a time.
const FRAMES_RESERVED: usize = 32;

/// How the bytes of a run are kept.
#[derive(Clone, Debug)]
enum Data {
    /// As they are; the run begins `skip` blocks into the bytes.
    Literal { bytes: Rc<[u8]>, skip: u32 },
    /// Every byte is this one.
    Fill(u8),
    /// One stream over many blocks; the run begins `skip` blocks into it.
    Framed { frames: Rc<Framed>, skip: u32 },
    /// One block, parts of which belong to streams.
    Mixed(Rc<Mixed>),
    /// The blocks cannot be read.
    Bad,
}

/// Neighbouring blocks that are stored alike.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    count: u32,
    data: Data,
}

/// A stream laid over blocks with a frame each.
#[derive(Clone, Debug)]
struct Framed {
    seed: u64,
    /// Offset in the stream of the first byte after the header of the first block.
    offset: u64,
    /// How far the offset moves from block to block; 0 while there is one block.
    step: u64,
    header: u32,
    trailer: u32,
    /// Header and trailer of each block.
    literal: Vec<u8>,
}

/// A block with parts of streams; `literal` is all the rest, in order.
#[derive(Debug)]
struct Mixed {
    parts: Box<[Part]>,
    literal: Box<[u8]>,
}

/// Part of a stream in a block.
#[derive(Clone, Copy, Debug)]
struct Part {
    seed: u64,
    /// Offset in the stream of the byte at `from`.
    offset: u64,
    from: usize,
    to: usize,
}

impl Run {
    /// One block that holds `bytes`.
    pub(crate) fn block(bytes: &[u8]) -> Self {
        Self::recognise(bytes).unwrap_or_else(|| Self::literal(bytes, 1))
    }

    /// One block that cannot be read.
    pub(crate) const fn bad() -> Self {
        Self { count: 1, data: Data::Bad }
    }

    /// `count` blocks that hold `bytes`.
    pub(crate) fn literal(bytes: &[u8], count: u32) -> Self {
        let bytes = Rc::from(bytes);
        Self { count, data: Data::Literal { bytes, skip: 0 } }
    }

    /// One block that holds `bytes`, if there is a shorter way to keep it.
    pub(crate) fn recognise(bytes: &[u8]) -> Option<Self> {
        let count = 1;
        let first = bytes[0];
        if bytes[..16] == [first; 16] && bytes.iter().all(|&b| b == first) {
            let data = Data::Fill(first);
            return Some(Self { count, data });
        }
        if bytes.len() < RECOGNISED_LEN_BYTES_MIN {
            return None;
        }
        let front = Part::probe(bytes, PROBE_BYTES);
        if let Some(frames) = front.and_then(|part| Framed::new(bytes, part)) {
            let frames = Rc::new(frames);
            let data = Data::Framed { frames, skip: 0 };
            return Some(Self { count, data });
        }
        let probe = bytes.len() - PROBE_BYTES - synthetic::WINDOW_LEN_BYTES;
        let back = match front {
            Some(part) if part.to > probe => None,
            _ => Part::probe(bytes, probe).map(|part| part.behind(front)),
        };
        let parts: Vec<Part> = front.into_iter().chain(back).collect();
        let saved: usize = parts.iter().map(|part| part.to - part.from).sum();
        if saved < bytes.len() / 8 {
            return None;
        }
        let data = Data::Mixed(Rc::new(Mixed::new(bytes, parts)));
        Some(Self { count, data })
    }

    /// Number of blocks.
    pub(crate) const fn len(&self) -> u32 {
        self.count
    }

    /// Takes the block after the run into it, if it goes on in the same way.
    pub(crate) fn extend(&mut self, block: &[u8]) -> bool {
        let extended = match &mut self.data {
            Data::Fill(byte) => block.iter().all(|b| b == byte),
            Data::Framed { frames, skip } => {
                let count = frames.count();
                count == (*skip + self.count) as usize
                    && count < FRAMED_BLOCKS_MAX
                    && frames.next_step(block).is_some_and(|step| {
                        Rc::make_mut(frames).push(block, step);
                        true
                    })
            }
            Data::Literal { .. } | Data::Mixed(_) | Data::Bad => false,
        };
        self.count += u32::from(extended);
        extended
    }

    /// The `count` blocks of this run from its block `from` on.
    pub(crate) fn part(&self, from: u32, count: u32) -> Self {
        assert!(count > 0 && from + count <= self.count);
        let mut data = self.data.clone();
        if let Data::Literal { skip, .. } | Data::Framed { skip, .. } = &mut data {
            *skip += from;
        }
        Self { count, data }
    }

    /// Copies the blocks from `from` on into `out`; `false` if they cannot be read.
    pub(crate) fn read(&self, block_len: usize, from: u32, out: &mut [u8]) -> bool {
        match &self.data {
            Data::Literal { bytes, skip } => {
                let at = (skip + from) as usize * block_len;
                out.copy_from_slice(&bytes[at..at + out.len()]);
            }
            Data::Fill(byte) => out.fill(*byte),
            Data::Framed { frames, skip } => {
                let first = (skip + from) as usize;
                for (i, block) in out.chunks_exact_mut(block_len).enumerate() {
                    frames.read(first + i, block);
                }
            }
            Data::Mixed(mixed) => mixed.read(out),
            Data::Bad => return false,
        }
        true
    }
}

impl Part {
    /// The part of a stream that passes through `block` at `probe`, grown both ways.
    fn probe(block: &[u8], probe: usize) -> Option<Self> {
        let found = synthetic::find(&block[probe..])?;
        let at = probe + found.at;
        let to = at + synthetic::match_len(found.seed, found.offset, &block[at..]);
        let back = synthetic::match_len_back(found.seed, found.offset, &block[..at]);
        let part =
            Self { seed: found.seed, offset: found.offset - back as u64, from: at - back, to };
        (part.to - part.from >= PART_LEN_BYTES_MIN).then_some(part)
    }

    /// What of this part lies behind `other`: a byte may happen to belong to two streams.
    fn behind(self, other: Option<Self>) -> Self {
        let from = other.map_or(self.from, |other| self.from.max(other.to));
        Self { offset: self.offset + (from - self.from) as u64, from, ..self }
    }
}

impl Framed {
    /// A run of one `block` that is all `part` but for a small frame.
    fn new(block: &[u8], part: Part) -> Option<Self> {
        let header = part.from.next_multiple_of(FRAME_ALIGN_BYTES);
        let trailer = (block.len() - part.to).next_multiple_of(FRAME_ALIGN_BYTES);
        if header > PROBE_BYTES || trailer > PROBE_BYTES {
            return None;
        }
        let mut frames = Self {
            seed: part.seed,
            offset: part.offset + (header - part.from) as u64,
            step: 0,
            header: header as u32,
            trailer: trailer as u32,
            literal: Vec::with_capacity(header + trailer),
        };
        frames.keep_frame(block);
        Some(frames)
    }

    const fn frame_len(&self) -> usize {
        self.header as usize + self.trailer as usize
    }

    /// Number of blocks. (A frame that is empty in every block has no use for more than one.)
    fn count(&self) -> usize {
        match self.frame_len() {
            0 => 1,
            len => self.literal.len() / len,
        }
    }

    /// The bytes of `block` that belong to the stream.
    fn middle<'b>(&self, block: &'b [u8]) -> &'b [u8] {
        &block[self.header as usize..block.len() - self.trailer as usize]
    }

    fn matches(&self, block: &[u8], offset: u64) -> bool {
        let middle = self.middle(block);
        synthetic::match_len(self.seed, offset, middle) == middle.len()
    }

    /// The step at which `block` continues this run.
    fn next_step(&self, block: &[u8]) -> Option<u64> {
        if self.frame_len() == 0 {
            return None;
        }
        let likely = match self.step {
            0 => self.middle(block).len() as u64,
            step => step,
        };
        let offset = self.offset + self.count() as u64 * likely;
        if self.matches(block, offset) {
            return Some(likely);
        }
        if self.step != 0 {
            return None;
        }
        let part = Part::probe(block, PROBE_BYTES).filter(|part| part.seed == self.seed)?;
        let offset = part.offset.checked_add_signed(self.header as i64 - part.from as i64)?;
        let step = offset.checked_sub(self.offset).filter(|step| *step > 0)?;
        self.matches(block, offset).then_some(step)
    }

    /// Takes in `block`, which [`next_step`](Self::next_step) said is `step` on.
    fn push(&mut self, block: &[u8], step: u64) {
        self.step = step;
        if self.literal.len() + self.frame_len() > self.literal.capacity() {
            self.literal.reserve_exact(FRAMES_RESERVED * self.frame_len());
        }
        self.keep_frame(block);
    }

    fn keep_frame(&mut self, block: &[u8]) {
        self.literal.extend_from_slice(&block[..self.header as usize]);
        self.literal.extend_from_slice(&block[block.len() - self.trailer as usize..]);
    }

    fn read(&self, at: usize, out: &mut [u8]) {
        let (header, trailer) = (self.header as usize, self.trailer as usize);
        let end = out.len() - trailer;
        let frame = &self.literal[at * (header + trailer)..][..header + trailer];
        out[..header].copy_from_slice(&frame[..header]);
        synthetic::fill(self.seed, self.offset + at as u64 * self.step, &mut out[header..end]);
        out[end..].copy_from_slice(&frame[header..]);
    }
}

impl Mixed {
    fn new(block: &[u8], parts: Vec<Part>) -> Self {
        let mut literal = Vec::with_capacity(block.len());
        let mut at = 0;
        for part in &parts {
            literal.extend_from_slice(&block[at..part.from]);
            at = part.to;
        }
        literal.extend_from_slice(&block[at..]);
        Self { parts: parts.into(), literal: literal.into() }
    }

    fn read(&self, out: &mut [u8]) {
        let mut literal = &self.literal[..];
        let mut at = 0;
        for part in &self.parts {
            let (bytes, rest) = literal.split_at(part.from - at);
            out[at..part.from].copy_from_slice(bytes);
            synthetic::fill(part.seed, part.offset, &mut out[part.from..part.to]);
            (literal, at) = (rest, part.to);
        }
        out[at..].copy_from_slice(literal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_block(seed: u64, offset: u64, header: usize, trailer: usize) -> Vec<u8> {
        let mut block = vec![0x5a; 4096];
        synthetic::fill(seed, offset, &mut block[header..4096 - trailer]);
        block[..header].fill(offset as u8);
        block[4096 - trailer..].fill(offset as u8 | 1);
        block
    }

    fn read(run: &Run) -> Vec<u8> {
        let mut out = vec![0; 4096 * run.len() as usize];
        assert!(run.read(4096, 0, &mut out));
        out
    }

    #[test]
    fn blocks_of_one_value_share_a_run_whatever_the_frame() {
        for (header, trailer) in [(0, 8), (16, 0), (4, 4), (12, 5), (64, 64), (1, 0)] {
            let stride = (4096 - header - trailer) as u64;
            let blocks: Vec<_> =
                (0..40).map(|i| log_block(9, 123 + i * stride, header, trailer)).collect();
            let mut run = Run::recognise(&blocks[0]).unwrap();
            for block in &blocks[1..] {
                assert!(run.extend(block), "{header} {trailer}");
            }
            assert!(matches!(run.data, Data::Framed { .. }));
            assert_eq!(read(&run), blocks.concat());
            assert_eq!(read(&run.part(7, 3)), blocks[7..10].concat());
            assert!(!run.part(0, 5).extend(&blocks[5]), "the frames of block 5 are there already");
            assert!(!run.extend(&blocks[3]));
        }
    }

    #[test]
    fn block_between_two_values_keeps_only_what_lies_between() {
        let mut block = log_block(1, 10_000, 0, 8);
        block[1500..1600].fill(7);
        let len = 4088 - 1600;
        synthetic::fill(2, 0, &mut block[1600..1600 + len]);
        let run = Run::recognise(&block).unwrap();
        let Data::Mixed(mixed) = &run.data else {
            panic!("{:?}", run.data);
        };
        assert!(mixed.literal.len() <= 108);
        assert_eq!(read(&run), block);
    }

    #[test]
    fn other_blocks_are_left_alone() {
        let mut block = vec![1; 4096];
        block[4000] = 2;
        assert!(Run::recognise(&block).is_none());
        assert_eq!(read(&Run::recognise(&[3; 4096]).unwrap()), vec![3; 4096]);
        let whole = synthetic::value(4, 4096);
        assert_eq!(read(&Run::block(&whole)), whole);
    }
}
