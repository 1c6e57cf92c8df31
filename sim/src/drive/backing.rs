//! Contents that lie in a file: what an image holds and the drive has not overwritten since.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// The contents of an image file. Copies of a drive share it.
#[derive(Clone, Debug)]
pub(crate) struct Backing {
    file: Rc<File>,
    contents_at: u64,
    /// How often the file was brought up to date.
    saves: Rc<Cell<u64>>,
    /// How often it had been when this copy was last true to it.
    seen: u64,
    /// Which zones have contents in the file.
    held: Rc<Vec<bool>>,
}

impl Backing {
    /// The contents from byte `contents_at` of `file`; `held` says which zones have some.
    pub(crate) fn new(file: Rc<File>, contents_at: u64, held: Vec<bool>) -> Self {
        Self { file, contents_at, saves: Rc::default(), seen: 0, held: Rc::new(held) }
    }

    /// Whether the file has contents of `zone`.
    pub(crate) fn holds(&self, zone: u32) -> bool {
        self.held[zone as usize]
    }

    /// Reads the bytes at `offset` of the device.
    ///
    /// # Errors
    /// Those of the file.
    ///
    /// # Panics
    /// If another copy of the drive was saved since: the file no longer holds what this copy had.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        assert_eq!(
            self.seen,
            self.saves.get(),
            "a copy of a drive was used after its image was saved"
        );
        self.file.read_exact_at(out, self.contents_at + offset)
    }

    /// Writes the bytes at `offset` of the device.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.contents_at + offset)
    }

    /// The file is about to change; only this copy stays true to it.
    pub(crate) fn begin_save(&mut self) {
        self.saves.set(self.saves.get() + 1);
        self.seen = self.saves.get();
    }

    /// The file now has contents of exactly the zones `held`.
    pub(crate) fn end_save(&mut self, held: Vec<bool>) {
        self.held = Rc::new(held);
    }
}
