//! The store as its users see it.
//!
//! [`mod@write`] and [`stream`] put values in, [`read`] and [`scan`] get them out, [`batch`] makes
//! several operations one, [`stats`] says how it stands, [`care`] looks after the medium.

pub mod batch;
pub mod care;
pub mod options;
pub mod read;
pub mod scan;
pub mod stats;
pub mod stream;
pub mod write;

use shingle_hal::Device;

use crate::error::{Fault, OpenError, ReadError, WriteError};
use crate::format::superblock::Limits;
use crate::media::MediaStats;
use crate::plan::Plan;
use crate::state::{Core, Side};

/// An open store. One thread; any number of operations may be in flight through `&self`.
///
/// # Cancellation
/// A future of a read may be dropped at any time. If the future of a write (or of maintenance) is
/// dropped while its device write is under way, nobody knows what the device did: the store then
/// refuses further writes until it is opened again, and loses nothing acknowledged.
///
/// Operations get buffers and locks in turn. A future that was begun is to be polled on or dropped:
/// one that is kept without being polled keeps its turn, and others wait behind it.
pub struct Store<'m, D: Device> {
    pub(crate) core: Core<'m, D>,
}

impl<'m, D: Device> Store<'m, D> {
    /// Opens the store on `device`, recovering it if it was not closed. Nothing is written.
    ///
    /// All memory the store will ever use is `memory`; see [`Plan`] for what is made of it.
    ///
    /// # Errors
    /// See [`OpenError`].
    ///
    /// # Cost
    /// Reads: the anchors, the manifest, and the log since the last flush, each bounded whatever
    /// the store holds. Where neither anchor has a superblock, one for each zone that is written.
    pub async fn open(device: D, memory: &'m mut [u8]) -> Result<Self, OpenError<D::Error>> {
        Ok(Self { core: crate::open::open(device, memory).await? })
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.core.media.device
    }

    /// What was fixed at format.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }

    /// How the memory is divided.
    pub fn plan(&self) -> &Plan {
        &self.core.plan
    }

    /// Requests to the device since open.
    pub fn media_stats(&self) -> MediaStats {
        self.core.media.stats()
    }

    /// The device's clock in microseconds, if it has one: what deadlines are measured against.
    pub fn now_us(&self) -> Option<u64> {
        self.core.media.device.now_us()
    }

    /// Makes everything acknowledged so far durable.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn sync(&self) -> Result<(), WriteError<D::Error>> {
        if self.core.state.borrow().unsynced {
            self.core.sync_device().await.map_err(WriteError::from)?;
        }
        let ticket = self.core.state.borrow().log.appended;
        self.core.make_durable(Side::Log, ticket).await.map_err(WriteError::from)
    }

    /// Moves everything in memory into runs, so that the next open replays nothing.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn checkpoint(&self) -> Result<(), WriteError<D::Error>> {
        self.sync().await?;
        self.core.flush_all().await.map_err(WriteError::from)?;
        self.core.record_marks().await.map_err(WriteError::from)?;
        self.core.record_scrub(true).await.map_err(WriteError::from)?;
        // The edit that names the runs: until it is durable, replay needs the log.
        self.core.sync_device().await.map_err(WriteError::from)
    }

    /// Does background work until nothing is due or `steps` steps were taken; returns the steps
    /// taken. A step moves at most about a megabyte.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn maintain(&self, steps: u32) -> Result<u32, WriteError<D::Error>> {
        self.core.work(steps).await.map_err(WriteError::from)
    }

    /// Merges everything into the bottom run, reclaims every log zone that holds more than a little
    /// that is dead, and frees every zone that can be: about the least space.
    ///
    /// # Errors
    /// [`WriteError::Full`] also if a snapshot is held and too few zones are left to merge with
    /// what it sees; else see [`WriteError`].
    pub async fn compact(&self) -> Result<(), WriteError<D::Error>> {
        self.checkpoint().await?;
        self.core.merge_all().await.map_err(WriteError::from)?;
        self.core.reclaim_all().await.map_err(WriteError::from)
    }

    /// Checkpoints and gives the device back.
    ///
    /// # Errors
    /// See [`WriteError`]; what was acknowledged as durable is safe all the same.
    pub async fn close(self) -> Result<D, WriteError<D::Error>> {
        self.checkpoint().await?;
        Ok(self.core.media.device)
    }

    /// Panics if an invariant of the state in memory does not hold. For harnesses.
    pub fn check_invariants(&self) {
        self.core.state.borrow().check_invariants();
        self.core.check_loose();
    }

    pub(crate) fn check_key(&self, key: &[u8]) -> bool {
        !key.is_empty() && key.len() <= usize::from(self.core.limits.key_len_max)
    }

    pub(crate) fn read_fault(fault: Fault<D::Error>) -> ReadError<D::Error> {
        ReadError::from(fault)
    }
}
