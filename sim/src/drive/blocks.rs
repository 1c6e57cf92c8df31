//! Contents: what each zone holds, sparse and cheap to copy.
//!
//! A zone is a sorted map of *runs*, rows of neighbouring blocks that are stored alike; a block in
//! no run was never written, and costs nothing. Runs share their bytes, so a copy of a drive costs
//! the maps and not the contents, and the next write to either copy leaves the other alone.
//!
//! Invariants: B1 runs do not overlap; B2 no run is empty; B3 a run's bytes are exactly those of
//! its blocks.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::backing::Backing;
use super::run::Run;

/// The contents of one zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ZoneBlocks {
    runs: BTreeMap<u32, Run>,
    /// Blocks in no run are what the image file says, not zeros.
    backed: bool,
}

/// Why contents cannot be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// This block of the zone is bad.
    Bad(u32),
    /// The image file cannot be read.
    Host,
}

impl ZoneBlocks {
    /// Writes `data`, whole blocks, at block `at`.
    pub(crate) fn write(&mut self, block_len: usize, at: u32, data: &[u8]) {
        let count = (data.len() / block_len) as u32;
        assert!(count > 0 && data.len().is_multiple_of(block_len));
        self.clear(at, count);
        // The run that ends where the next block goes, and the bytes that are in no run yet.
        let before = self.runs.range(..at).next_back();
        let mut open = before.filter(|(k, run)| *k + run.len() == at).map(|(&k, _)| k);
        let mut literal_from = at;
        for (next, block) in (at..).zip(data.chunks_exact(block_len)) {
            if let Some(run) = open.and_then(|key| self.runs.get_mut(&key))
                && run.extend(block)
            {
                literal_from = next + 1;
                continue;
            }
            open = None;
            if let Some(run) = Run::recognise(block) {
                self.keep_literal(block_len, at, data, literal_from..next);
                self.runs.insert(next, run);
                (open, literal_from) = (Some(next), next + 1);
            }
        }
        self.keep_literal(block_len, at, data, literal_from..at + count);
    }

    /// Keeps `blocks` of `data`, which begins at block `at`, as they are.
    fn keep_literal(&mut self, block_len: usize, at: u32, data: &[u8], blocks: Range<u32>) {
        if !blocks.is_empty() {
            let offset = |block: u32| (block - at) as usize * block_len;
            let bytes = &data[offset(blocks.start)..offset(blocks.end)];
            self.runs.insert(blocks.start, Run::literal(bytes, blocks.len() as u32));
        }
    }

    /// Reads whole blocks from `at` on; `gap` reads blocks that are in no run.
    ///
    /// # Errors
    /// The first block that cannot be read, or that `gap` failed.
    pub(crate) fn read(
        &self,
        block_len: usize,
        at: u32,
        out: &mut [u8],
        gap: &dyn Fn(u32, &mut [u8]) -> io::Result<()>,
    ) -> Result<(), ReadError> {
        let end = at + (out.len() / block_len) as u32;
        let offset = |block: u32| (block - at) as usize * block_len;
        let mut next = at;
        let first = self.runs.range(..=at).next_back().map_or(at, |(&k, _)| k);
        for (&start, run) in self.runs.range(first..end) {
            let stop = end.min(start + run.len());
            let from = next.max(start);
            if stop <= from {
                continue;
            }
            if next < from {
                gap(next, &mut out[offset(next)..offset(from)]).map_err(|_| ReadError::Host)?;
            }
            if !run.read(block_len, from - start, &mut out[offset(from)..offset(stop)]) {
                return Err(ReadError::Bad(from));
            }
            next = stop;
        }
        if next < end {
            gap(next, &mut out[offset(next)..]).map_err(|_| ReadError::Host)?;
        }
        Ok(())
    }

    /// The runs, by first block.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u32, &Run)> {
        self.runs.iter().map(|(&at, run)| (at, run))
    }

    /// Whether none of the `count` blocks from `at` on is in a run.
    fn is_free(&self, at: u32, count: u32) -> bool {
        let last = self.runs.range(..at + count).next_back();
        last.is_none_or(|(&start, run)| start + run.len() <= at)
    }

    /// What block `at` holds, as a run of one; `None` if it was never written.
    pub(crate) fn take_copy(&self, at: u32) -> Option<Run> {
        let (&start, run) = self.runs.range(..=at).next_back()?;
        (at < start + run.len()).then(|| run.part(at - start, 1))
    }

    /// Makes block `at` hold what [`take_copy`](Self::take_copy) said.
    pub(crate) fn put(&mut self, at: u32, block: Option<Run>) {
        self.clear(at, 1);
        if let Some(run) = block {
            assert_eq!(run.len(), 1);
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
        if self.is_free(at, count) {
            return;
        }
        let first = self.runs.range(..=at).next_back().map_or(at, |(&k, _)| k);
        let hit: Vec<u32> = self.runs.range(first..end).map(|(&k, _)| k).collect();
        for start in hit {
            let run = self.runs[&start].clone();
            let stop = start + run.len();
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
    zone_len: u64,
    zones: BTreeMap<u32, Rc<ZoneBlocks>>,
    backing: Option<Backing>,
}

impl Blocks {
    /// Nothing written, in blocks of `block_len` bytes and zones of `zone_blocks` blocks.
    pub(crate) fn new(block_len: usize, zone_blocks: u32) -> Self {
        Self {
            block_len,
            zone_len: u64::from(zone_blocks) * block_len as u64,
            zones: BTreeMap::new(),
            backing: None,
        }
    }

    /// What `backing` holds; the blocks of `bad`, by zone, cannot be read.
    pub(crate) fn back(&mut self, backing: Backing, bad: &[(u32, u32)]) {
        self.backing = Some(backing);
        for &(zone, block) in bad {
            self.zone_mut(zone).put(block, Some(Run::bad()));
        }
    }

    /// Writes `data` at block `at` of `zone`.
    pub(crate) fn write(&mut self, zone: u32, at: u32, data: &[u8]) {
        let block_len = self.block_len;
        self.zone_mut(zone).write(block_len, at, data);
    }

    /// Reads from block `at` of `zone`; blocks never written read as zeros.
    ///
    /// # Errors
    /// The first block of the zone that cannot be read, or that the image file failed.
    pub(crate) fn read(&self, zone: u32, at: u32, out: &mut [u8]) -> Result<(), ReadError> {
        let backing = self.backing.as_ref().filter(|_| self.is_backed(zone));
        let start = u64::from(zone) * self.zone_len;
        let gap = |block: u32, out: &mut [u8]| match backing {
            Some(backing) => backing.read(start + u64::from(block) * self.block_len as u64, out),
            None => {
                out.fill(0);
                Ok(())
            }
        };
        match self.zones.get(&zone) {
            Some(blocks) => blocks.read(self.block_len, at, out, &gap),
            None => gap(at, out).map_err(|_| ReadError::Host),
        }
    }

    /// Whether none of the blocks was written, as far as is known without reading the image file.
    pub(crate) fn is_untouched(&self, zone: u32, at: u32, count: u32) -> bool {
        !self.is_backed(zone) && self.zones.get(&zone).is_none_or(|z| z.is_free(at, count))
    }

    /// A row of blocks of `zone` that were written, as first block and count: the one at `at`, the
    /// next one, or the first.
    pub(crate) fn row_near(&self, zone: u32, at: u32) -> Option<(u32, u32)> {
        let runs = &self.zones.get(&zone)?.runs;
        let covers = runs.range(..=at).next_back().filter(|(start, run)| *start + run.len() > at);
        let next = covers.or_else(|| runs.range(at..).next()).or_else(|| runs.iter().next());
        next.map(|(&start, run)| (start, run.len()))
    }

    /// The contents of `zone`, to be changed.
    pub(crate) fn zone_mut(&mut self, zone: u32) -> &mut ZoneBlocks {
        let backed = self.is_backed(zone);
        let new = || ZoneBlocks { backed, ..ZoneBlocks::default() };
        Rc::make_mut(self.zones.entry(zone).or_insert_with(|| Rc::new(new())))
    }

    /// Empties `zone` and returns what it held.
    pub(crate) fn take(&mut self, zone: u32) -> Rc<ZoneBlocks> {
        self.zone_mut(zone);
        self.zones.insert(zone, Rc::default()).unwrap_or_default()
    }

    /// Makes `zone` hold what [`take`](Self::take) returned.
    pub(crate) fn put(&mut self, zone: u32, blocks: Rc<ZoneBlocks>) {
        self.zones.insert(zone, blocks);
    }

    /// What block `at` of `zone` holds; `None` if that is what the image file says, or nothing.
    pub(crate) fn take_copy(&self, zone: u32, at: u32) -> Option<Run> {
        self.zones.get(&zone)?.take_copy(at)
    }

    /// Writes what changed since the last save into the image file; afterwards blocks are read
    /// from there. Returns the blocks that are bad, by zone.
    ///
    /// # Errors
    /// Those of the file; the contents are then as before, and a further save writes them again.
    pub(crate) fn save(&mut self) -> io::Result<Vec<(u32, u32)>> {
        let backing = self.backing.as_mut().expect("no image file");
        backing.begin_save();
        let mut bytes = vec![0; SAVED_BLOCKS_MAX as usize * self.block_len];
        let mut bad = Vec::new();
        for (&zone, blocks) in &self.zones {
            for (at, run) in blocks.runs() {
                for from in (0..run.len()).step_by(SAVED_BLOCKS_MAX as usize) {
                    let count = (run.len() - from).min(SAVED_BLOCKS_MAX);
                    let bytes = &mut bytes[..count as usize * self.block_len];
                    if !run.read(self.block_len, from, bytes) {
                        bad.extend((at + from..at + from + count).map(|block| (zone, block)));
                        continue;
                    }
                    let offset = u64::from(at + from) * self.block_len as u64;
                    backing.write(u64::from(zone) * self.zone_len + offset, bytes)?;
                }
            }
        }
        Ok(bad)
    }

    /// Which zones have contents in the image file after a [`save`](Self::save).
    pub(crate) fn held(&self, zone_count: u32) -> Vec<bool> {
        let held = |zone| match self.zones.get(&zone) {
            Some(blocks) => blocks.backed || !blocks.runs.is_empty(),
            None => self.is_backed(zone),
        };
        (0..zone_count).map(held).collect()
    }

    /// The save succeeded and its table is in place: forget what is now in the file.
    pub(crate) fn end_save(&mut self, held: Vec<bool>, bad: &[(u32, u32)]) {
        let mut backing = self.backing.take().expect("no image file");
        backing.end_save(held);
        self.zones.clear();
        self.back(backing, bad);
    }

    /// Whether blocks of `zone` that are in no run are in the image file.
    fn is_backed(&self, zone: u32) -> bool {
        match self.zones.get(&zone) {
            Some(blocks) => blocks.backed,
            None => self.backing.as_ref().is_some_and(|b| b.holds(zone)),
        }
    }
}

/// Most blocks that a save writes at once.
const SAVED_BLOCKS_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::mix::Rng;
    use crate::synthetic;

    const BLOCK: usize = 1024;

    fn zeros(_: u32, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        Ok(())
    }

    /// A row of records with a header each, in blocks with a trailer each.
    fn log(values: u64, value_len: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        for seed in 0..values {
            payload.extend((0..70_u8).map(|i| (seed as u8) ^ i.wrapping_mul(37)));
            payload.extend(synthetic::value(seed, value_len));
        }
        let mut blocks = Vec::new();
        for (i, part) in payload.chunks_exact(BLOCK - 8).enumerate() {
            blocks.extend_from_slice(part);
            blocks.extend_from_slice(&super::super::mix::mix(i as u64).to_le_bytes());
        }
        blocks
    }

    #[test]
    fn log_of_synthetic_values_takes_two_runs_a_value() {
        let log = log(20, 100_000);
        let mut zone = ZoneBlocks::default();
        for (i, part) in log.chunks(48 * BLOCK).enumerate() {
            zone.write(BLOCK, i as u32 * 48, part);
        }
        assert!(zone.runs.len() <= 41, "{}", zone.runs.len());
        let mut out = vec![0; log.len()];
        zone.read(BLOCK, 0, &mut out, &zeros).unwrap();
        assert!(out == log);
    }

    #[test]
    fn any_order_of_writes_and_losses_reads_like_plain_memory() {
        let log = log(10, 20_000);
        let blocks = (log.len() / BLOCK) as u32;
        let mut plain = vec![0; log.len()];
        let mut zone = ZoneBlocks::default();
        let mut rng = Rng::new(3);
        for _ in 0..3000 {
            let at = rng.below(blocks.into()) as u32;
            let count = 1 + rng.below(u64::from(blocks - at).min(9)) as u32;
            let bytes = at as usize * BLOCK..(at + count) as usize * BLOCK;
            match rng.below(12) {
                0 => {
                    zone.truncate(at);
                    plain[bytes.start..].fill(0);
                }
                1 => {
                    let copy = zone.take_copy(at);
                    let to = rng.below(blocks.into()) as u32;
                    zone.put(to, copy);
                    let from = bytes.start..bytes.start + BLOCK;
                    plain.copy_within(from, to as usize * BLOCK);
                }
                2 => {
                    let data: Vec<u8> = bytes.clone().map(|_| rng.next() as u8).collect();
                    zone.write(BLOCK, at, &data);
                    plain[bytes].copy_from_slice(&data);
                }
                _ => {
                    zone.write(BLOCK, at, &log[bytes.clone()]);
                    plain[bytes.clone()].copy_from_slice(&log[bytes]);
                }
            }
            let mut out = vec![0xee; plain.len()];
            zone.read(BLOCK, 0, &mut out, &zeros).unwrap();
            assert!(out == plain);
        }
    }
}
