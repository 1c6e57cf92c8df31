//! A block device in memory with a cache that a power cut empties block by block.

use core::cell::{Cell, RefCell};

use shingle_hal::adapt::BlockDevice;
use shingle_hal::{ErrorKind, Lba, Request};

/// Blocks of 512 bytes.
pub(crate) struct Disk {
    cached: RefCell<Vec<u8>>,
    durable: RefCell<Vec<u8>>,
    /// Fails every request while set.
    pub(crate) broken: Cell<bool>,
    rng: Cell<u64>,
}

const BLOCK_LEN: usize = 512;

impl Disk {
    pub(crate) fn new(block_count: usize, seed: u64) -> Self {
        let data = vec![0; block_count * BLOCK_LEN];
        Self {
            cached: RefCell::new(data.clone()),
            durable: RefCell::new(data),
            broken: Cell::new(false),
            rng: Cell::new(seed),
        }
    }

    /// Keeps, loses or tears each unsynced block.
    pub(crate) fn cut(&self) {
        let (mut cached, mut durable) = (self.cached.borrow_mut(), self.durable.borrow_mut());
        let blocks = cached.chunks_exact_mut(BLOCK_LEN).zip(durable.chunks_exact(BLOCK_LEN));
        for (new, old) in blocks.filter(|(new, old)| new != old) {
            let next = self.rng.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.rng.set(next);
            match (next >> 33) % 3 {
                0 => {}
                1 => new.copy_from_slice(old),
                _ => new[BLOCK_LEN / 2..].fill(0x77),
            }
        }
        durable.copy_from_slice(&cached);
    }

    fn answer(&self) -> Result<(), ErrorKind> {
        match self.broken.get() {
            true => Err(ErrorKind::Hardware),
            false => Ok(()),
        }
    }
}

impl BlockDevice for Disk {
    type Error = ErrorKind;

    fn block_len_bytes(&self) -> u32 {
        BLOCK_LEN as u32
    }

    fn block_count(&self) -> u64 {
        (self.cached.borrow().len() / BLOCK_LEN) as u64
    }

    fn transfer_blocks_max(&self) -> u32 {
        5
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), ErrorKind> {
        let from = start.0 as usize * BLOCK_LEN;
        buf.copy_from_slice(&self.cached.borrow()[from..from + buf.len()]);
        self.answer()
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), ErrorKind> {
        let from = start.0 as usize * BLOCK_LEN;
        self.cached.borrow_mut()[from..from + data.len()].copy_from_slice(data);
        self.answer()
    }

    async fn sync(&self) -> Result<(), ErrorKind> {
        self.durable.borrow_mut().copy_from_slice(&self.cached.borrow());
        self.answer()
    }
}
