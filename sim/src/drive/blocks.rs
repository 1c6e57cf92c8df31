//! Contents: what each zone holds, sparse and cheap to copy.
//!
//! A zone is a sorted map of *runs*, rows of neighbouring blocks that are stored alike; a block in
//! no run was never written, and costs nothing. Runs share their bytes, so a copy of a drive costs
//! the maps and not the contents, and the next write to either copy leaves the other alone.
//!
//! Invariants: B1 runs do not overlap; B2 no run is empty; B3 a run's bytes are exactly those of
//! its blocks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::run::Run;

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
        // The run that ends where the next block goes, and the bytes that are in no run yet.
        let before = self.runs.range(..at).next_back();
        let mut open = before
            .filter(|(k, run)| *k + run.len() == at)
            .map(|(&k, _)| k);
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
            self.runs
                .insert(blocks.start, Run::literal(bytes, blocks.len() as u32));
        }
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
            let stop = end.min(start + run.len());
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
        if self.is_untouched(at, count) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::mix::Rng;
    use crate::synthetic;

    const BLOCK: usize = 1024;

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
        assert_eq!(zone.read(BLOCK, 0, &mut out), Ok(()));
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
            assert_eq!(zone.read(BLOCK, 0, &mut out), Ok(()));
            assert!(out == plain);
        }
    }
}
