//! NOR flash in memory: programs clear bits, erases set them, and the power fails on demand.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

/// NOR flash with write units of 8 bytes and erase blocks of 1 KiB.
pub(crate) struct Flash {
    pub(crate) data: Vec<u8>,
    /// Write units and erase blocks that can still be worked on before the power fails.
    pub(crate) steps_left: Option<u32>,
    /// The erase block that fails to erase, by number.
    pub(crate) stuck_erase: Option<u32>,
    /// The write unit that fails to program, by byte address.
    pub(crate) stuck_write: Option<u32>,
}

impl Flash {
    pub(crate) fn new(len_bytes: usize) -> Self {
        Self { data: vec![0xff; len_bytes], steps_left: None, stuck_erase: None, stuck_write: None }
    }

    /// Fails if the power fails before the next step.
    fn step(&mut self) -> Result<(), NorFlashErrorKind> {
        match &mut self.steps_left {
            Some(0) => Err(NorFlashErrorKind::Other),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn check(&self, from: usize, len: usize, unit: usize) -> Result<(), NorFlashErrorKind> {
        if from + len > self.data.len() {
            return Err(NorFlashErrorKind::OutOfBounds);
        }
        if !from.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        Ok(())
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let from = offset as usize;
        self.check(from, bytes.len(), Self::READ_SIZE)?;
        if self.steps_left == Some(0) {
            return Err(NorFlashErrorKind::Other);
        }
        bytes.copy_from_slice(&self.data[from..from + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.data.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 1024;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        let (from, to) = (from as usize, to as usize);
        self.check(from, to - from, Self::ERASE_SIZE)?;
        for at in (from..to).step_by(Self::ERASE_SIZE) {
            self.step()?;
            if self.stuck_erase == Some((at / Self::ERASE_SIZE) as u32) {
                return Err(NorFlashErrorKind::Other);
            }
            self.data[at..at + Self::ERASE_SIZE].fill(0xff);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let from = offset as usize;
        self.check(from, bytes.len(), Self::WRITE_SIZE)?;
        for (index, unit) in bytes.chunks_exact(Self::WRITE_SIZE).enumerate() {
            self.step()?;
            let at = from + index * Self::WRITE_SIZE;
            if self.stuck_write == Some(at as u32) {
                return Err(NorFlashErrorKind::Other);
            }
            let place = &mut self.data[at..at + Self::WRITE_SIZE];
            assert!(place.iter().all(|byte| *byte == 0xff), "programmed twice at {at}");
            place.copy_from_slice(unit);
        }
        Ok(())
    }
}
