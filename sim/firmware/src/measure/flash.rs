//! NOR flash that is memory of the board.

use core::convert::Infallible;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// Bytes of an erase block.
pub(crate) const ERASE_LEN: usize = 4096;
/// Bytes of all of it: 64 zones of 64 KiB.
pub(crate) const FLASH_LEN: usize = 1024 * ERASE_LEN;
/// Where the board has memory for such, in which the linker places nothing.
const FLASH_AT: usize = 0x6000_0000;

/// Flash that is memory.
pub(crate) struct MemoryFlash(&'static mut [u8]);

impl ErrorType for MemoryFlash {
    type Error = Infallible;
}

impl ReadNorFlash for MemoryFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for MemoryFlash {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = ERASE_LEN;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Infallible> {
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl MemoryFlash {
    /// The flash, erased.
    ///
    /// # Safety
    /// It is taken once.
    pub(crate) unsafe fn take() -> Self {
        // SAFETY: the board has memory there, and the caller says that nobody else has it.
        let bytes = unsafe { core::slice::from_raw_parts_mut(FLASH_AT as *mut u8, FLASH_LEN) };
        bytes.fill(0xff);
        Self(bytes)
    }
}
