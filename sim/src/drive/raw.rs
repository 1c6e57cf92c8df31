//! Blocks as they are stored, past the device's interface: for harnesses that damage media.

use super::device::Drive;

impl Drive {
    /// Blocks of `zone` that a read may reach.
    pub(crate) fn readable_blocks(&self, zone: u32) -> u32 {
        self.state.borrow().zones.readable(zone)
    }

    /// What is stored from `block` of `zone` on; `None` if it cannot be read.
    pub(crate) fn stored_blocks(&self, zone: u32, block: u32, count: u32) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        let mut out = vec![0; count as usize * state.geometry.block_len_bytes as usize];
        state.blocks.read(zone, block, &mut out).ok()?;
        Some(out)
    }

    /// Stores whole blocks from `block` of `zone` on, as if they had always been there.
    pub(crate) fn replace_blocks(&self, zone: u32, block: u32, bytes: &[u8]) {
        self.state.borrow_mut().blocks.write(zone, block, bytes);
    }
}
