//! An image or a disk and the store on it, for the time of one command.
//!
//! A command that only reads never saves an image, so the file stays as it is byte for byte; of a
//! disk, opening the store changes what recovery changes. A command that writes closes the store
//! and saves the image also when it failed on the way: what it was told is done stays done.

use shingle_engine::{Limits, OpenError, Plan, Store};
use shingle_hal::Device;

use super::Failure;
use super::args::Place;
use super::medium::{Medium, MediumError};

/// The store of a command.
pub(crate) type Shop<'m, 'd> = Store<'m, &'d Medium>;

/// Most memory that is taken unasked.
const MEMORY_LEN_DEFAULT: usize = 64 << 20;

/// An open image or disk.
pub(crate) struct Session {
    medium: Medium,
    /// Its place, as the command line named it.
    name: String,
    memory: Option<u64>,
}

/// Memory that suits a medium: several times the least, but not more than a tenth of it where that
/// is enough.
pub(crate) fn memory_len(device: &impl Device, capacity_bytes: u64) -> usize {
    let geometry = device.geometry();
    let least = Plan::new(&geometry, &Limits::for_geometry(&geometry), 0).err().unwrap_or(0);
    let tenth = usize::try_from(capacity_bytes / 10).unwrap_or(usize::MAX);
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
    /// Opens what `place` names.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        let path = &place.image;
        let medium = if place.device { Medium::disk(path)? } else { Medium::image(path)? };
        Ok(Self { medium, name: path.display().to_string(), memory: place.memory })
    }

    /// What the store is on.
    pub(crate) const fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Lets `work` read the store; an image stays as it is.
    pub(crate) fn read<T>(
        &self,
        work: impl AsyncFnOnce(&Shop<'_, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut memory = self.memory()?;
        self.medium.block_on(async {
            let store = self.store(&mut memory).await?;
            work(&store).await
        })
    }

    /// Lets `work` change the store, then closes it and saves the image, also if `work` failed.
    pub(crate) fn write<T>(
        &mut self,
        work: impl AsyncFnOnce(&Shop<'_, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut memory = self.memory()?;
        let (done, closed) = self.medium.block_on(async {
            let store = self.store(&mut memory).await?;
            let done = work(&store).await;
            Ok::<_, Failure>((done, store.close().await.map(|_| ())))
        })?;
        self.medium.save()?;
        let done = done?;
        closed.map_err(|error| Failure::from(error).about("the store could not be closed"))?;
        Ok(done)
    }

    fn memory(&self) -> Result<Vec<u8>, Failure> {
        let len = self.memory.unwrap_or_else(|| {
            let suits = memory_len(&self.medium, self.medium.capacity_bytes());
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
        match self.medium.block_on(Store::open(&self.medium, &mut memory)) {
            Err(OpenError::MemoryTooSmall { needed_bytes }) => Some(needed_bytes),
            _ => None,
        }
    }

    async fn store<'m, 'd>(&'d self, memory: &'m mut [u8]) -> Result<Shop<'m, 'd>, Failure> {
        let opened: Result<_, OpenError<MediumError>> = Store::open(&self.medium, memory).await;
        opened.map_err(|error| Failure::from(error).about(&self.name))
    }
}
