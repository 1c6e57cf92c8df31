//! A raw serial NOR flash in memory, for engines that want one: counted, and with a clock.
//!
//! Why: peers for flash erase blocks of 4 KiB and program at any place inside, which the zones of
//! a [`Drive`](shingle_sim::Drive) do not offer. Every figure of time is that of the drives
//! `nor-16m` (erase blocks of 64 KiB) and `nor-1m` (4 KiB), and so is the calculation, but for one
//! advantage given to those who program in small pieces, see [`Charge`].
//!
//! Invariants: `F1` a program clears bits and sets none, or it panics. `F2` what is programmed in
//! whole pages takes as long as on a simulated drive: `whole_pages_take_what_the_drive_takes`.
//!
//! The words page, erase and program are those of the traits that this implements.

use std::cell::{Cell, RefCell};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use embedded_storage_async::nor_flash as nonblocking;
use shingle_sim::media::MediaSpec;
use shingle_sim::timing::{NorTiming, TimingSpec};

use super::Reading;

/// Bytes erased at once.
pub const ERASE_LEN: usize = 4096;
/// Bytes that a read or a program must be a multiple of.
pub const WORD_LEN: usize = 4;

/// How long it takes to program less than a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// As long as the whole page, as on a simulated drive. Hard on whoever programs in pieces of
    /// some bytes: chips take less for them.
    Page,
    /// Its share of the page, so that programming in pieces costs a command each and nothing else.
    /// Better than any chip, which takes some tens of microseconds for the first byte.
    Share,
}

/// What the flash was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Programs.
    pub programs: u64,
    /// Bytes programmed.
    pub programmed_bytes: u64,
    /// Erase blocks erased.
    pub erases: u64,
}

/// The flash. A copy has its contents, its counts and its time.
#[derive(Clone, Debug)]
pub struct Flash {
    bytes: RefCell<Vec<u8>>,
    /// Whether an erase block holds anything.
    used: RefCell<Vec<bool>>,
    timing: NorTiming,
    charge: Charge,
    counts: Cell<Counts>,
    now_ns: Cell<u64>,
}

/// The timing of a chip with erase blocks of [`ERASE_LEN`].
fn timing() -> NorTiming {
    let spec = MediaSpec::by_name("nor-1m").expect("a known drive");
    let TimingSpec::Nor(timing) = spec.timing else { panic!("flash has flash's timing") };
    assert_eq!(timing.erase_block_bytes as usize, ERASE_LEN);
    timing
}

impl Flash {
    /// An erased flash of `capacity_bytes`.
    ///
    /// # Panics
    /// If that is no multiple of an erase block.
    #[must_use]
    pub fn new(capacity_bytes: usize, charge: Charge) -> Self {
        assert!(capacity_bytes.is_multiple_of(ERASE_LEN), "the flash ends within an erase block");
        Self {
            bytes: RefCell::new(vec![0xff; capacity_bytes]),
            used: RefCell::new(vec![false; capacity_bytes / ERASE_LEN]),
            timing: timing(),
            charge,
            counts: Cell::default(),
            now_ns: Cell::new(0),
        }
    }

    /// Bytes of it.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// What it was asked for.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// Bytes erased.
    #[must_use]
    pub fn erased_bytes(&self) -> u64 {
        self.counts.get().erases * ERASE_LEN as u64
    }

    /// The figures that every subject gives.
    #[must_use]
    pub fn reading(&self) -> Reading {
        let counts = self.counts.get();
        let used = self.used.borrow().iter().filter(|used| **used).count();
        Reading {
            now_ns: self.now_ns.get(),
            reads: counts.reads,
            read_bytes: counts.read_bytes,
            written_bytes: counts.programmed_bytes,
            occupied_bytes: (used * ERASE_LEN) as u64,
        }
    }

    fn count(&self, took_ns: u64, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
        self.now_ns.set(self.now_ns.get() + took_ns);
    }

    fn transfer_ns(&self, len: usize) -> u64 {
        (len as u64 * 1_000_000_000).div_ceil(self.timing.bus_bytes_per_s)
    }

    /// Reads from byte `start` on.
    ///
    /// # Panics
    /// If it is not aligned, or ends behind the flash.
    pub fn read_at(&self, start: usize, out: &mut [u8]) {
        assert!(start.is_multiple_of(WORD_LEN) && out.len().is_multiple_of(WORD_LEN), "alignment");
        out.copy_from_slice(&self.bytes.borrow()[start..start + out.len()]);
        let took_ns = u64::from(self.timing.command_ns) + self.transfer_ns(out.len());
        self.count(took_ns, |counts| {
            counts.reads += 1;
            counts.read_bytes += out.len() as u64;
        });
    }

    /// Programs from byte `start` on: clears bits.
    ///
    /// # Panics
    /// If it is not aligned, ends behind the flash, or would set bits.
    pub fn program_at(&self, start: usize, data: &[u8]) {
        assert!(start.is_multiple_of(WORD_LEN) && data.len().is_multiple_of(WORD_LEN), "alignment");
        let end = start + data.len();
        for (byte, new) in self.bytes.borrow_mut()[start..end].iter_mut().zip(data) {
            assert!(*byte & new == *new, "a program sets bits at {start}");
            *byte = *new;
        }
        self.used.borrow_mut()[start / ERASE_LEN..end.div_ceil(ERASE_LEN)].fill(true);
        let page = self.timing.page_bytes as usize;
        let pages = (end.div_ceil(page) - start / page) as u64;
        let program_ns = u64::from(self.timing.program_ns);
        let programming_ns = match self.charge {
            Charge::Page => pages * program_ns,
            Charge::Share => (program_ns * data.len() as u64).div_ceil(page as u64),
        };
        let commands_ns = pages * u64::from(self.timing.command_ns);
        let took_ns = commands_ns + programming_ns + self.transfer_ns(data.len());
        self.count(took_ns, |counts| {
            counts.programs += 1;
            counts.programmed_bytes += data.len() as u64;
        });
    }

    /// Erases erase block `index`.
    ///
    /// # Panics
    /// If there is no such erase block.
    pub fn erase_block(&self, index: usize) {
        self.bytes.borrow_mut()[index * ERASE_LEN..][..ERASE_LEN].fill(0xff);
        self.used.borrow_mut()[index] = false;
        let took_ns = u64::from(self.timing.command_ns) + self.timing.erase_ns;
        self.count(took_ns, |counts| counts.erases += 1);
    }
}

/// There is none: whoever asks for what the flash cannot do has a bug, and that panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

impl NorFlashError for Never {
    fn kind(&self) -> NorFlashErrorKind {
        match *self {}
    }
}

impl ErrorType for Flash {
    type Error = Never;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = WORD_LEN;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Never> {
        self.read_at(offset as usize, bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.capacity_bytes()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD_LEN;
    const ERASE_SIZE: usize = ERASE_LEN;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Never> {
        (from as usize / ERASE_LEN..to as usize / ERASE_LEN).for_each(|at| self.erase_block(at));
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Never> {
        self.program_at(offset as usize, bytes);
        Ok(())
    }
}

impl nonblocking::ReadNorFlash for Flash {
    const READ_SIZE: usize = WORD_LEN;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Never> {
        ReadNorFlash::read(self, offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.capacity_bytes()
    }
}

impl nonblocking::NorFlash for Flash {
    const WRITE_SIZE: usize = WORD_LEN;
    const ERASE_SIZE: usize = ERASE_LEN;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Never> {
        NorFlash::erase(self, from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Never> {
        NorFlash::write(self, offset, bytes)
    }
}

impl nonblocking::MultiwriteNorFlash for Flash {}

impl ekv::flash::Flash for Flash {
    type Error = Never;

    fn page_count(&self) -> usize {
        self.capacity_bytes() / ERASE_LEN
    }

    async fn erase(&mut self, page: ekv::flash::PageID) -> Result<(), Never> {
        self.erase_block(page.index());
        Ok(())
    }

    async fn read(
        &mut self,
        page: ekv::flash::PageID,
        offset: usize,
        data: &mut [u8],
    ) -> Result<(), Never> {
        self.read_at(page.index() * ERASE_LEN + offset, data);
        Ok(())
    }

    async fn write(
        &mut self,
        page: ekv::flash::PageID,
        offset: usize,
        data: &[u8],
    ) -> Result<(), Never> {
        self.program_at(page.index() * ERASE_LEN + offset, data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shingle_sim::timing::{Op, Work};

    use super::*;

    /// How long a drive with the same timing takes for what this flash was given.
    fn on_drive(op: Op, start_block: u64, blocks: u32) -> u64 {
        let mut spec = MediaSpec::by_name("nor-1m").expect("a known drive");
        spec.block_len_bytes = 256;
        spec.zone_blocks = (ERASE_LEN / 256) as u32;
        let mut drive = spec.timing.build(&spec);
        let work = Work { id: 1, op, lba: start_block, blocks, class: 0, unwritten: false };
        drive.submit(0, work);
        drive.next_completion().expect("one request is in flight").1
    }

    #[test]
    fn whole_pages_take_what_the_drive_takes() {
        for charge in [Charge::Page, Charge::Share] {
            let flash = Flash::new(2 * ERASE_LEN, charge);
            flash.program_at(512, &[1; 768]);
            let programmed_ns = flash.reading().now_ns;
            assert_eq!(programmed_ns, on_drive(Op::Write, 2, 3), "{charge:?}");
            flash.read_at(0, &mut [0; 1024]);
            let read_ns = flash.reading().now_ns;
            assert_eq!(read_ns - programmed_ns, on_drive(Op::Read, 0, 4));
            flash.erase_block(0);
            assert_eq!(flash.reading().now_ns - read_ns, on_drive(Op::Reset, 0, 16));
        }
    }

    #[test]
    fn erased_block_is_free_again() {
        let flash = Flash::new(2 * ERASE_LEN, Charge::Page);
        flash.program_at(ERASE_LEN - 4, &[0; 8]);
        assert_eq!(flash.reading().occupied_bytes, 2 * ERASE_LEN as u64);
        flash.erase_block(1);
        let mut read = [0; 8];
        flash.read_at(ERASE_LEN - 4, &mut read);
        assert_eq!(read, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(flash.reading().occupied_bytes, ERASE_LEN as u64);
    }

    #[test]
    #[should_panic(expected = "sets bits")]
    fn program_over_cleared_bits_panics() {
        let flash = Flash::new(ERASE_LEN, Charge::Page);
        flash.program_at(0, &[0; 4]);
        flash.program_at(0, &[1; 4]);
    }
}
