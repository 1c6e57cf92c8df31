//! Reading: `get` whole or in part, metadata alone, snapshots.

use shingle_hal::Device;

use crate::canary::{Bug, planted};
use crate::error::{Fault, ReadError};
use crate::format::entry::{Entry, Fragment, Kind};
use crate::limits::{FRAGMENTS_MAX, READ_ATTEMPTS_MAX};
use crate::reclaim::Fragments;
use crate::state::Core;
use crate::store::Store;
use crate::store::options::ReadOptions;
use crate::value::Owner;

/// What is known of an entry besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Found {
    /// Bytes of the value.
    pub value_len: u64,
    /// Bytes of the metadata, version included.
    pub meta_len: usize,
    /// Bytes of the version.
    pub version_len: usize,
}

/// The moment a snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSeq {
    pub(crate) seq: u64,
}

/// A consistent view of the store while writes go on. What it shows is kept until it is dropped.
pub struct Snapshot<'s, 'm, D: Device> {
    core: &'s Core<'m, D>,
    slot: usize,
    at: SnapshotSeq,
}

impl<'s, 'm, D: Device> Snapshot<'s, 'm, D> {
    pub(crate) fn new(core: &'s Core<'m, D>, seq: Option<u64>) -> Option<Self> {
        let mut state = core.state.borrow_mut();
        let slot = state.snapshots.iter().position(Option::is_none)?;
        // A piece of a run must hold a key with a version for each snapshot, in any zone.
        let open = state.snapshots.iter().flatten().count() as u32;
        let versions = open + 2;
        let blocks = state.zones.capacity_min().saturating_sub(1);
        if blocks / core.shape.node_blocks() < core.shape.piece_nodes_least(versions) {
            return None;
        }
        let seq = seq.unwrap_or(state.seq);
        state.snapshots[slot] = Some(seq);
        Some(Self { core, slot, at: SnapshotSeq { seq } })
    }

    pub(crate) fn seq(&self) -> u64 {
        self.at.seq
    }
}

impl<D: Device> core::ops::Deref for Snapshot<'_, '_, D> {
    type Target = SnapshotSeq;
    fn deref(&self) -> &SnapshotSeq {
        &self.at
    }
}

impl<D: Device> Drop for Snapshot<'_, '_, D> {
    fn drop(&mut self) {
        let mut state = self.core.state.borrow_mut();
        state.snapshots[self.slot] = None;
        state.zones.clear_pins();
    }
}

/// Where the bytes of a value are, as far as a search found out.
pub(crate) struct Located {
    pub(crate) found: Found,
    /// Extents in the log; none for a value that stands in the entry.
    pub(crate) fragments: Fragments,
    /// How many bytes of an inline value were copied.
    pub(crate) copied: usize,
    /// Bytes of metadata between key and value in the log.
    pub(crate) apart_meta_len: usize,
}

/// Copies what an entry itself holds: metadata, and the part of an inline value from `offset` on.
pub(crate) fn take_entry(
    entry: &Entry<'_>,
    meta: &mut [u8],
    offset: u64,
    out: &mut [u8],
) -> Located {
    let found = Found {
        value_len: entry.value_len,
        meta_len: entry.meta.len(),
        version_len: usize::from(entry.version_len),
    };
    let len = meta.len().min(entry.meta.len());
    meta[..len].copy_from_slice(&entry.meta[..len]);
    // Fragments stand behind their key alone; the metadata are with the list.
    let apart_meta_len = if entry.kind == Kind::Pointer { entry.meta.len() } else { 0 };
    let mut located = Located { found, fragments: Fragments::new(), copied: 0, apart_meta_len };
    if entry.kind == Kind::Inline {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(entry.body.len());
        let len = out.len().min(entry.body.len() - from);
        out[..len].copy_from_slice(&entry.body[from..from + len]);
        located.copied = len;
    } else {
        let places = entry.places().take(FRAGMENTS_MAX);
        located.fragments.extend(places.map(|(generation, offset, len)| Fragment {
            generation,
            offset,
            len: len as u32,
        }));
    }
    located
}

impl<'m, D: Device> Store<'m, D> {
    /// A snapshot of now.
    ///
    /// # Errors
    /// [`ReadError::TooManySnapshots`].
    pub fn snapshot(&self) -> Result<Snapshot<'_, 'm, D>, ReadError<D::Error>> {
        Snapshot::new(&self.core, None).ok_or(ReadError::TooManySnapshots)
    }

    /// Bytes of a buffer that takes a value of `value_len` bytes as it lies on the medium.
    pub fn read_room(&self, value_len: u64) -> u64 {
        let limits = &self.core.limits;
        let head = u64::from(limits.key_len_max) + u64::from(limits.meta_len_max);
        let payload = u64::from(self.core.payload());
        ((head + value_len).div_ceil(payload) + 1) * self.core.media.block_len() as u64
    }

    /// Reads the value of `key` to the front of `value`; `None` if the key is absent. What is
    /// behind it there is not kept.
    ///
    /// With [`read_room`](Self::read_room) a value that is kept apart is read to `value` itself;
    /// else to one of few buffers, for which reads may have to wait.
    ///
    /// # Errors
    /// [`ReadError::BufferTooSmall`] if the value is longer than `value`; see [`ReadError`].
    ///
    /// # Cost
    /// Memory, or about one read; a value kept apart costs one more.
    pub async fn get(
        &self,
        key: &[u8],
        value: &mut [u8],
        options: ReadOptions<'_>,
    ) -> Result<Option<Found>, ReadError<D::Error>> {
        let room = value.len() as u64;
        match self.read(key, &mut [], 0, value, true, options).await? {
            Some((found, _)) if found.value_len > room => {
                Err(ReadError::BufferTooSmall { needed_bytes: found.value_len })
            }
            other => Ok(other.map(|(found, _)| found)),
        }
    }

    /// Reads the part of a value from `offset` on, as much as fits `out`; gives how much.
    ///
    /// # Errors
    /// See [`ReadError`].
    ///
    /// # Cost
    /// As [`get`](Self::get), for the blocks that hold the part.
    pub async fn get_at(
        &self,
        key: &[u8],
        offset: u64,
        out: &mut [u8],
        options: ReadOptions<'_>,
    ) -> Result<Option<(Found, usize)>, ReadError<D::Error>> {
        self.read(key, &mut [], offset, out, false, options).await
    }

    /// Reads the metadata of `key`, and never its value.
    ///
    /// # Errors
    /// [`ReadError::BufferTooSmall`] if they are longer than `meta`; see [`ReadError`].
    pub async fn get_meta(
        &self,
        key: &[u8],
        meta: &mut [u8],
        options: ReadOptions<'_>,
    ) -> Result<Option<Found>, ReadError<D::Error>> {
        let room = meta.len();
        match self.read(key, meta, 0, &mut [], false, options).await? {
            Some((found, _)) if found.meta_len > room => {
                Err(ReadError::BufferTooSmall { needed_bytes: found.meta_len as u64 })
            }
            other => Ok(other.map(|(found, _)| found)),
        }
    }

    /// Whether `key` is present.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn contains(
        &self,
        key: &[u8],
        options: ReadOptions<'_>,
    ) -> Result<bool, ReadError<D::Error>> {
        Ok(self.read(key, &mut [], 0, &mut [], false, options).await?.is_some())
    }

    /// Reads metadata and part of a value. With `whole`, a value longer than `out` is not read.
    pub(crate) async fn read(
        &self,
        key: &[u8],
        meta: &mut [u8],
        offset: u64,
        out: &mut [u8],
        whole: bool,
        options: ReadOptions<'_>,
    ) -> Result<Option<(Found, usize)>, ReadError<D::Error>> {
        if !self.check_key(key) {
            return Err(ReadError::KeyLength);
        }
        let core = &self.core;
        let seq = options.snapshot.map_or(u64::MAX, |at| at.seq);
        let value_alone = meta.is_empty() && offset == 0 && !out.is_empty();
        let mut may_guess = value_alone && options.snapshot.is_none();
        let mut failed = None;
        for _ in 0..READ_ATTEMPTS_MAX {
            let (mut located, mut guess) = (None, None);
            let visit = &mut |entry: Option<&Entry<'_>>| {
                located = entry.map(|entry| take_entry(entry, meta, offset, out));
            };
            let searched = if may_guess {
                core.find_or_guess(key, options.request(), &mut guess, visit).await
            } else {
                core.find(key, seq, options.request(), visit).await
            };
            if let Some(place) = guess {
                if let Some(found) = self.read_guess(place, key, out, whole, options).await {
                    return Ok(Some(found));
                }
                may_guess = false;
                continue;
            }
            let version = searched.map_err(Self::read_fault)?;
            let Some(Located { found, fragments, copied, apart_meta_len }) = located else {
                return Ok(None);
            };
            if fragments.is_empty()
                || out.is_empty()
                || (whole && found.value_len > out.len() as u64)
            {
                return Ok(Some((found, copied)));
            }
            let left = found.value_len.saturating_sub(offset);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
            let owner = Owner { key, meta_len: apart_meta_len };
            match core.read_value(owner, &fragments, offset, out, len, options.request()).await {
                Ok(()) => return Ok(Some((found, len))),
                // The value was moved while it was read: look where it is now.
                Err(fault) if core.state.borrow().tree.version != version => failed = Some(fault),
                Err(Fault::Damaged(_)) if planted(Bug::DamagedIsAbsent) => return Ok(None),
                Err(fault) => return Err(Self::read_fault(fault)),
            }
        }
        Err(Self::read_fault(failed.unwrap_or(Fault::NoSpace)))
    }

    /// Reads the value from where a digest says it is, if the key stands before it there. Whatever
    /// goes wrong on this way, a search without digests says why or does without.
    async fn read_guess(
        &self,
        place: Fragment,
        key: &[u8],
        out: &mut [u8],
        whole: bool,
        options: ReadOptions<'_>,
    ) -> Option<(Found, usize)> {
        let value_len = u64::from(place.len);
        if whole && value_len > out.len() as u64 {
            return None;
        }
        let len = out.len().min(place.len as usize);
        let owner = Owner { key, meta_len: 0 };
        self.core.read_value(owner, &[place], 0, out, len, options.request()).await.ok()?;
        Some((Found { value_len, meta_len: 0, version_len: 0 }, len))
    }
}
