//! What reads see instead of the pristine medium, block by block.
//!
//! A silent fault of a write does not touch the pristine medium: that gets what the write brought,
//! and a *cell* hides it. So a fault can be lifted, and the harness can tell what should be there.
//!
//! ```text
//!   write ──> heal ──> put        a new write heals the place, then may be hit itself
//!   reset ──> shelve              the zone's cells go with its contents
//!   power on, reset undone ──> unshelve     and come back with them
//! ```
//!
//! Invariants: O1 no cell lies on a block whose last write was sound, but for rot that came after
//! it; O2 a cell has the length of a block.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// What hides a block.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// The bytes in its place; without any, those of the medium.
    bytes: Option<Rc<[u8]>>,
    /// Bits that are flipped in them, ascending.
    flips: Vec<u32>,
}

/// The cells of a reset zone, and the request that reset it.
#[derive(Clone, Debug)]
struct Shelf {
    request: u64,
    cells: Vec<(u64, Cell)>,
}

/// All cells of a drive, by LBA.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    cells: BTreeMap<u64, Cell>,
    shelves: BTreeMap<u32, Vec<Shelf>>,
}

impl Overlay {
    /// From now on block `lba` holds `bytes`.
    pub(crate) fn put(&mut self, lba: u64, bytes: &[u8]) {
        self.cells.insert(lba, Cell { bytes: Some(Rc::from(bytes)), flips: Vec::new() });
    }

    /// Flips a bit of block `lba`; `false` if it is flipped already.
    pub(crate) fn flip(&mut self, lba: u64, bit: u32) -> bool {
        let flips = &mut self.cells.entry(lba).or_default().flips;
        match flips.binary_search(&bit) {
            Ok(_) => false,
            Err(at) => {
                flips.insert(at, bit);
                true
            }
        }
    }

    /// Whether a bit of block `lba` is flipped.
    pub(crate) fn is_rotten(&self, lba: u64) -> bool {
        self.cells.get(&lba).is_some_and(|cell| !cell.flips.is_empty())
    }

    /// The blocks were written anew: nothing hides them.
    pub(crate) fn heal(&mut self, blocks: Range<u64>) {
        let hidden: Vec<u64> = self.cells.range(blocks).map(|(&lba, _)| lba).collect();
        for lba in hidden {
            self.cells.remove(&lba);
        }
    }

    /// Turns what the medium holds from block `start` on into what a read sees.
    pub(crate) fn apply(&self, start: u64, block_len: usize, buf: &mut [u8]) {
        let end = start + (buf.len() / block_len) as u64;
        for (&lba, cell) in self.cells.range(start..end) {
            let at = (lba - start) as usize * block_len;
            let block = &mut buf[at..at + block_len];
            if let Some(bytes) = &cell.bytes {
                block.copy_from_slice(bytes);
            }
            for &bit in &cell.flips {
                block[bit as usize / 8] ^= 1 << (bit % 8);
            }
        }
    }

    /// `request` reset `zone`, which has these blocks.
    pub(crate) fn shelve(&mut self, zone: u32, blocks: Range<u64>, request: u64) {
        let mut cells = Vec::new();
        while let Some((&lba, _)) = self.cells.range(blocks.clone()).next() {
            cells.extend(self.cells.remove(&lba).map(|cell| (lba, cell)));
        }
        if !cells.is_empty() {
            self.shelves.entry(zone).or_default().push(Shelf { request, cells });
        }
    }

    /// Power returned; `undone` are the zones whose resets by these requests never were.
    pub(crate) fn unshelve(&mut self, undone: &[(u32, u64)]) {
        let mut shelves = std::mem::take(&mut self.shelves);
        for (zone, request) in undone {
            let mut shelves = shelves.remove(zone).into_iter().flatten();
            if let Some(shelf) = shelves.find(|shelf| shelf.request == *request) {
                self.cells.extend(shelf.cells);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(overlay: &Overlay) -> Vec<u8> {
        let mut buf = vec![0; 8];
        overlay.apply(10, 2, &mut buf);
        buf
    }

    #[test]
    fn cells_hide_only_their_block_until_healed() {
        let mut overlay = Overlay::default();
        overlay.put(11, &[7, 7]);
        assert!(overlay.flip(11, 8) && overlay.flip(12, 1) && !overlay.flip(12, 1));
        assert_eq!(seen(&overlay), [0, 0, 7, 6, 2, 0, 0, 0]);
        overlay.heal(11..12);
        assert_eq!(seen(&overlay), [0, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn reset_that_was_undone_brings_its_cells_back() {
        let mut overlay = Overlay::default();
        overlay.put(11, &[7, 7]);
        overlay.shelve(1, 10..14, 5);
        assert!(overlay.cells.is_empty());
        overlay.put(11, &[8, 8]);
        overlay.shelve(1, 10..14, 6);
        let mut kept = overlay.clone();
        kept.unshelve(&[]);
        assert!(kept.cells.is_empty());
        overlay.unshelve(&[(1, 5)]);
        assert_eq!(seen(&overlay), [0, 0, 7, 7, 0, 0, 0, 0]);
    }
}
