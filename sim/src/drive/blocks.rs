//! Contents: what each zone holds, sparse and cheap to copy.
//!
//! A zone is a sorted map of *runs*, rows of neighbouring blocks that are stored alike; a block in
//! no run was never written, and costs nothing. Runs share their bytes, so a copy of a drive costs
//! the maps and not the contents, and the next write to either copy leaves the other alone.
//!
//! Invariants: B1 runs do not overlap; B2 no run is empty; B3 a run's bytes are exactly those of
//! its blocks.

use std::collections::BTreeMap;
use std::rc::Rc;

/// How the bytes of a run are kept.
#[derive(Clone, Debug)]
enum Data {
    /// As they are; the run begins `skip` blocks into the bytes.
    Literal { bytes: Rc<[u8]>, skip: u32 },
    /// Every byte is this one.
    Fill(u8),
    /// The blocks cannot be read.
    Bad,
}

/// Neighbouring blocks that are stored alike.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    count: u32,
    data: Data,
}

impl Run {
    /// One block that holds `bytes`.
    pub(crate) fn block(bytes: &[u8]) -> Self {
        Self::literal(bytes, 1)
    }

    /// One block that cannot be read.
    pub(crate) const fn bad() -> Self {
        Self {
            count: 1,
            data: Data::Bad,
        }
    }

    fn literal(bytes: &[u8], count: u32) -> Self {
        let bytes = Rc::from(bytes);
        Self {
            count,
            data: Data::Literal { bytes, skip: 0 },
        }
    }

    /// The `count` blocks of this run from its block `from` on.
    fn part(&self, from: u32, count: u32) -> Self {
        assert!(count > 0 && from + count <= self.count);
        let data = match &self.data {
            Data::Literal { bytes, skip } => Data::Literal {
                bytes: bytes.clone(),
                skip: skip + from,
            },
            Data::Fill(byte) => Data::Fill(*byte),
            Data::Bad => Data::Bad,
        };
        Self { count, data }
    }

    /// Copies the blocks from `from` on into `out`; `false` if they cannot be read.
    fn read(&self, block_len: usize, from: u32, out: &mut [u8]) -> bool {
        match &self.data {
            Data::Literal { bytes, skip } => {
                let at = (skip + from) as usize * block_len;
                out.copy_from_slice(&bytes[at..at + out.len()]);
            }
            Data::Fill(byte) => out.fill(*byte),
            Data::Bad => return false,
        }
        true
    }
}

/// The contents of one zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ZoneBlocks {
    runs: BTreeMap<u32, Run>,
}

impl ZoneBlocks {
    /// Writes `data`, whole blocks, at block `at`.
    pub(crate) fn write(&mut self, block_len: usize, at: u32, data: &[u8]) {
        let count = (data.len() / block_len) as u32;
        assert!(count > 0 && data.len().is_multiple_of(block_len));
        self.clear(at, count);
        let first = data[0];
        let run = match data.iter().all(|&b| b == first) {
            true => Run {
                count,
                data: Data::Fill(first),
            },
            false => Run::literal(data, count),
        };
        self.runs.insert(at, run);
    }

    /// Reads whole blocks from `at` on; blocks never written read as zeros.
    ///
    /// # Errors
    /// The first block that cannot be read.
    pub(crate) fn read(&self, block_len: usize, at: u32, out: &mut [u8]) -> Result<(), u32> {
        let end = at + (out.len() / block_len) as u32;
        let mut next = at;
        let first = self.runs.range(..=at).next_back().map_or(at, |(&k, _)| k);
        for (&start, run) in self.runs.range(first..end) {
            let stop = end.min(start + run.count);
            let from = next.max(start);
            if stop <= from {
                continue;
            }
            let offset = |block: u32| (block - at) as usize * block_len;
            out[offset(next)..offset(from)].fill(0);
            if !run.read(
                block_len,
                from - start,
                &mut out[offset(from)..offset(stop)],
            ) {
                return Err(from);
            }
            next = stop;
        }
        out[(next - at) as usize * block_len..].fill(0);
        Ok(())
    }

    /// Whether none of the `count` blocks from `at` on was written.
    pub(crate) fn is_untouched(&self, at: u32, count: u32) -> bool {
        let last = self.runs.range(..at + count).next_back();
        last.is_none_or(|(&start, run)| start + run.count <= at)
    }

    /// What block `at` holds, as a run of one; `None` if it was never written.
    pub(crate) fn take_copy(&self, at: u32) -> Option<Run> {
        let (&start, run) = self.runs.range(..=at).next_back()?;
        (at < start + run.count).then(|| run.part(at - start, 1))
    }

    /// Makes block `at` hold what [`take_copy`](Self::take_copy) said.
    pub(crate) fn put(&mut self, at: u32, block: Option<Run>) {
        self.clear(at, 1);
        if let Some(run) = block {
            assert_eq!(run.count, 1);
            self.runs.insert(at, run);
        }
    }

    /// Forgets every block from `len` on.
    pub(crate) fn truncate(&mut self, len: u32) {
        self.clear(len, u32::MAX - len);
    }

    /// Forgets the `count` blocks from `at` on, cutting runs that reach across the borders.
    fn clear(&mut self, at: u32, count: u32) {
        let end = at + count;
        if self.is_untouched(at, count) {
            return;
        }
        let first = self.runs.range(..=at).next_back().map_or(at, |(&k, _)| k);
        let hit: Vec<u32> = self.runs.range(first..end).map(|(&k, _)| k).collect();
        for start in hit {
            let run = self.runs[&start].clone();
            let stop = start + run.count;
            if stop <= at {
                continue;
            }
            self.runs.remove(&start);
            if start < at {
                self.runs.insert(start, run.part(0, at - start));
            }
            if stop > end {
                self.runs.insert(end, run.part(end - start, stop - end));
            }
        }
    }
}

/// The contents of a drive.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    block_len: usize,
    zones: BTreeMap<u32, Rc<ZoneBlocks>>,
}

impl Blocks {
    /// Nothing written, in blocks of `block_len` bytes.
    pub(crate) const fn new(block_len: usize) -> Self {
        Self {
            block_len,
            zones: BTreeMap::new(),
        }
    }

    /// Writes `data` at block `at` of `zone`.
    pub(crate) fn write(&mut self, zone: u32, at: u32, data: &[u8]) {
        let block_len = self.block_len;
        self.zone_mut(zone).write(block_len, at, data);
    }

    /// Reads from block `at` of `zone`.
    ///
    /// # Errors
    /// The first block of the zone that cannot be read.
    pub(crate) fn read(&self, zone: u32, at: u32, out: &mut [u8]) -> Result<(), u32> {
        match self.zones.get(&zone) {
            Some(blocks) => blocks.read(self.block_len, at, out),
            None => {
                out.fill(0);
                Ok(())
            }
        }
    }

    /// Whether none of the blocks was written.
    pub(crate) fn is_untouched(&self, zone: u32, at: u32, count: u32) -> bool {
        self.zones
            .get(&zone)
            .is_none_or(|z| z.is_untouched(at, count))
    }

    /// The contents of `zone`, to be changed.
    pub(crate) fn zone_mut(&mut self, zone: u32) -> &mut ZoneBlocks {
        Rc::make_mut(self.zones.entry(zone).or_default())
    }

    /// Empties `zone` and returns what it held.
    pub(crate) fn take(&mut self, zone: u32) -> Rc<ZoneBlocks> {
        self.zones.remove(&zone).unwrap_or_default()
    }

    /// Makes `zone` hold what [`take`](Self::take) returned.
    pub(crate) fn put(&mut self, zone: u32, blocks: Rc<ZoneBlocks>) {
        self.zones.insert(zone, blocks);
    }

    /// What block `at` of `zone` holds.
    pub(crate) fn take_copy(&self, zone: u32, at: u32) -> Option<Run> {
        self.zones.get(&zone)?.take_copy(at)
    }
}
