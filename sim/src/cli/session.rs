//! An image, its drive and the store on it, for the time of one command.
//!
//! A command that only reads never saves, so the file stays as it is byte for byte. A command that
//! writes closes the store and saves the image also when it failed on the way: what it was told is
//! done stays done.

use std::path::Path;

use shingle_engine::{Limits, OpenError, Plan, Store};
use shingle_hal::Device;
use shingle_sim::{Drive, DriveError, Image};

use super::Failure;

/// The store on a simulated drive.
pub(crate) type Shop<'m, 'd> = Store<'m, &'d Drive>;

/// Most memory that is taken unasked.
const MEMORY_LEN_DEFAULT: usize = 64 << 20;

/// An open image.
pub(crate) struct Session {
    image: Image,
    memory: Option<u64>,
}

/// Memory that suits a drive: several times the least, but not more than a tenth of the drive
/// where that is enough.
pub(crate) fn memory_len(drive: &Drive) -> usize {
    let geometry = drive.geometry();
    let least = Plan::new(&geometry, &Limits::for_geometry(&geometry), 0).err().unwrap_or(0);
    let tenth = usize::try_from(drive.spec().capacity_bytes() / 10).unwrap_or(usize::MAX);
    tenth.min(MEMORY_LEN_DEFAULT).max(least.saturating_mul(2)).max(64 << 10)
}

/// `len` bytes for the store, or a refusal where the machine has not as many.
pub(crate) fn allocate(len: u64) -> Result<Vec<u8>, Failure> {
    let refused = || Failure::new(format!("this machine does not give {len} bytes of memory"));
    let len = usize::try_from(len).map_err(|_| refused())?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(len).map_err(|_| refused())?;
    memory.resize(len, 0);
    Ok(memory)
}

impl Session {
    /// Opens the image at `path`; the store gets `memory` bytes.
    pub(crate) fn open(path: &Path, memory: Option<u64>) -> Result<Self, Failure> {
        let found = path.metadata().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::new(format!(
                "there is no image {}; make one with `shingle format`",
                path.display()
            )),
            _ => Failure::file(path, &error),
        })?;
        if found.is_dir() {
            return Err(Failure::new(format!("{} is a directory, not an image", path.display())));
        }
        let image = Image::open(path)?;
        if image.was_interrupted() {
            eprintln!(
                "shingle: the last save of {} did not end; the store recovers",
                path.display()
            );
        }
        Ok(Self { image, memory })
    }

    /// The drive.
    pub(crate) fn drive(&self) -> &Drive {
        self.image.drive()
    }

    /// Lets `work` read the store; the image stays as it is.
    pub(crate) fn read<T>(
        &self,
        work: impl AsyncFnOnce(&Shop<'_, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let drive = self.image.drive();
        let mut memory = self.memory()?;
        drive.block_on(async {
            let store = self.store(drive, &mut memory).await?;
            work(&store).await
        })
    }

    /// Lets `work` change the store, then closes it and saves the image, also if `work` failed.
    pub(crate) fn write<T>(
        &mut self,
        work: impl AsyncFnOnce(&Shop<'_, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let drive = self.image.drive();
        let mut memory = self.memory()?;
        let (done, closed) = drive.block_on(async {
            let store = self.store(drive, &mut memory).await?;
            let done = work(&store).await;
            Ok::<_, Failure>((done, store.close().await.map(|_| ())))
        })?;
        self.image.save()?;
        let done = done?;
        closed.map_err(|error| Failure::from(error).about("the store could not be closed"))?;
        Ok(done)
    }

    fn memory(&self) -> Result<Vec<u8>, Failure> {
        let len = self.memory.unwrap_or_else(|| {
            let suits = memory_len(self.drive());
            // Ask the store how much more it needs, rather than refuse for want of an option.
            match self.needed(suits) {
                Some(needed) => needed.saturating_mul(2) as u64,
                None => suits as u64,
            }
        });
        allocate(len)
    }

    /// What the store needs, if `len` bytes are too few.
    fn needed(&self, len: usize) -> Option<usize> {
        let mut memory = vec![0; len];
        let drive = self.image.drive().fork();
        let opened = drive.block_on(Store::open(&drive, &mut memory));
        match opened {
            Err(OpenError::MemoryTooSmall { needed_bytes }) => Some(needed_bytes),
            _ => None,
        }
    }

    async fn store<'m, 'd>(
        &self,
        drive: &'d Drive,
        memory: &'m mut [u8],
    ) -> Result<Shop<'m, 'd>, Failure> {
        let opened: Result<_, OpenError<DriveError>> = Store::open(drive, memory).await;
        opened.map_err(|error| Failure::from(error).about(self.image.path().display()))
    }
}
