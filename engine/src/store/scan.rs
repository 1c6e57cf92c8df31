//! Ordered ranges, forward and backward, as of one moment.
//!
//! A scan merges the memtables and every run. It sees one snapshot: versions written later are
//! passed over. When flushes or merges change the tree under it, it starts its sources over at the
//! key it had reached.
//!
//! Invariants: `Q1` each key comes once, in order, with the newest version that the snapshot may
//! see (model test, forward and reverse). `Q2` values are not read unless they are asked for.

use core::cmp::Ordering;
use core::ops::Bound;

use shingle_hal::{Device, Lba, Request};

use crate::error::{Fault, ReadError};
use crate::format::entry::{Entry, Kind, Rank};
use crate::limits::{READ_ATTEMPTS_MAX, RUNS_MAX};
use crate::memtable;
use crate::nodes::Cached;
use crate::plan::Plan;
use crate::run::cursor::{CursorMemory, RunCursor, malformed};
use crate::store::Store;
use crate::store::options::ReadOptions;
use crate::store::read::{Located, Snapshot, take_entry};
use crate::value::Owner;

/// Sources of a scan as bits: its runs, then the memtables.
type Holders = u64;
const _: () = assert!(RUNS_MAX + 2 <= Holders::BITS as usize);

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Direction {
    /// Ascending keys.
    #[default]
    Forward,
    /// Descending keys.
    Reverse,
}

/// An entry of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'i> {
    /// The key.
    pub key: &'i [u8],
    /// The metadata, version first.
    pub meta: &'i [u8],
    /// Bytes of the version.
    pub version_len: usize,
    /// Bytes of the value.
    pub value_len: u64,
    /// Whether the value is known to be lost, whole or in part, without reading it: the zone or the
    /// storage element that held it is gone.
    pub lost: bool,
    /// Where the value begins on the device, unless it is beside its key or gone. A disk reads many
    /// values in the order of their places in half the time that it takes in the order of their
    /// keys; they may be elsewhere soon.
    pub lba: Option<Lba>,
}

/// A key in a buffer.
struct Key<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl Key<'_> {
    fn set(&mut self, key: &[u8]) {
        self.bytes[..key.len()].copy_from_slice(key);
        self.bytes[key.len()] = 0;
        self.len = key.len();
    }
    #[inline]
    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
    /// The least key above this one.
    fn successor(&self) -> &[u8] {
        &self.bytes[..=self.len]
    }
}

/// Where one end of the range is.
#[derive(Clone, Copy)]
enum End {
    Open,
    Inclusive,
    Exclusive,
}

/// A scan under way.
pub struct Scan<'s, 'm, 'b, D: Device> {
    store: &'s Store<'m, D>,
    seq: u64,
    request: Request,
    direction: Direction,
    /// Holds the snapshot, unless the caller does.
    _own: Option<Snapshot<'s, 'm, D>>,
    /// The end towards which the scan goes.
    goal: Key<'b>,
    goal_end: End,
    /// Where to start over: from this key, or without one from the range's open end.
    from: Key<'b>,
    from_end: End,
    /// The key a merge has reached in the run being sought.
    spent: Key<'b>,
    /// The entry of the current key.
    entry: &'b mut [u8],
    entry_len: usize,
    runs: heapless::Vec<RunCursor<'b>, RUNS_MAX>,
    spare: heapless::Vec<CursorMemory<'b>, RUNS_MAX>,
    tables: [Option<memtable::Cursor>; 2],
    version: Option<u64>,
    done: bool,
}

impl<'m, D: Device> Store<'m, D> {
    /// Bytes of memory that a scan needs now; more runs may come while it goes on.
    ///
    /// With more, it reads further ahead, the more the further it has gone: on a disk, where the
    /// arm goes from one run to the other, a long scan is as fast as its reads are long.
    pub fn scan_memory_len(&self) -> usize {
        self.scan_fixed_len() + self.scan_sources() * self.scan_source_len()
    }

    fn scan_fixed_len(&self) -> usize {
        let limits = &self.core.limits;
        3 * self.scan_key_len() + Plan::entry_len_max(limits)
    }

    /// The end of a range deletion may be a byte longer than any key, and a key here has the room
    /// for the least key above it.
    fn scan_key_len(&self) -> usize {
        usize::from(self.core.limits.key_len_max) + 2
    }

    fn scan_source_len(&self) -> usize {
        self.core.shape.node_len + self.scan_key_len()
    }

    /// Memory for each source: half of what there is more than needed goes to one, for the longest
    /// run.
    fn divide<'b>(&self, memory: &'b mut [u8]) -> heapless::Vec<CursorMemory<'b>, RUNS_MAX> {
        let least = self.scan_source_len();
        // Half is for more runs than there are now, as far as there can be more.
        let later = (memory.len() / 2 / least).min(RUNS_MAX);
        let sources = (memory.len() / least).min(self.scan_sources().max(later));
        let more = memory.len() - sources * least;
        let (longest, rest) = memory.split_at_mut(least + more / 2);
        let others = rest.len() / (sources - 1).max(1);
        let parts = core::iter::once(longest).chain(rest.chunks_exact_mut(others.max(1)));
        // No longer than what has its successor in `Key`.
        let key_len_max = self.scan_key_len() - 2;
        parts.take(sources).map(|part| CursorMemory::new(part, key_len_max)).collect()
    }

    /// Runs that a scan has memory for.
    fn scan_sources(&self) -> usize {
        (self.core.state.borrow().tree.runs().len() + 6).min(RUNS_MAX)
    }

    /// Begins a scan of the keys between `start` and `end`; `scratch` holds at least
    /// [`scan_memory_len`](Self::scan_memory_len) bytes.
    ///
    /// # Errors
    /// [`ReadError::BufferTooSmall`], [`ReadError::TooManySnapshots`], [`ReadError::KeyLength`].
    pub async fn scan<'s, 'b>(
        &'s self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        direction: Direction,
        scratch: &'b mut [u8],
        options: ReadOptions<'_>,
    ) -> Result<Scan<'s, 'm, 'b, D>, ReadError<D::Error>> {
        let needed = self.scan_memory_len();
        if scratch.len() < needed {
            return Err(ReadError::BufferTooSmall { needed_bytes: needed as u64 });
        }
        // What the device learned by itself counts for what is lost.
        self.core.learn_events().await.map_err(ReadError::from)?;
        let (own, seq) = match options.snapshot {
            Some(at) => (None, at.seq),
            None => {
                let own = self.snapshot()?;
                let seq = own.seq();
                (Some(own), seq)
            }
        };
        let key_len = self.scan_key_len();
        let (goal, rest) = scratch.split_at_mut(key_len);
        let (from, rest) = rest.split_at_mut(key_len);
        let (spent, rest) = rest.split_at_mut(key_len);
        let (entry, rest) = rest.split_at_mut(Plan::entry_len_max(&self.core.limits));
        let spare = self.divide(rest);
        let (near, far) = match direction {
            Direction::Forward => (start, end),
            Direction::Reverse => (end, start),
        };
        let (mut goal, mut from) = (Key { bytes: goal, len: 0 }, Key { bytes: from, len: 0 });
        let goal_end = take_bound(&mut goal, far).ok_or(ReadError::KeyLength)?;
        let from_end = take_bound(&mut from, near).ok_or(ReadError::KeyLength)?;
        Ok(Scan {
            store: self,
            seq,
            request: options.request(),
            direction,
            _own: own,
            goal,
            goal_end,
            from,
            from_end,
            spent: Key { bytes: spent, len: 0 },
            entry,
            entry_len: 0,
            runs: heapless::Vec::new(),
            spare,
            tables: [None; 2],
            version: None,
            done: false,
        })
    }

    /// Number of keys between `start` and `end`; reads no values.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub async fn count(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        scratch: &mut [u8],
        options: ReadOptions<'_>,
    ) -> Result<u64, ReadError<D::Error>> {
        let mut scan = self.scan(start, end, Direction::Forward, scratch, options).await?;
        let mut count = 0;
        while scan.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// Keeps a bound's key; `None` if it is too long.
fn take_bound(key: &mut Key<'_>, bound: Bound<&[u8]>) -> Option<End> {
    let (bytes, end) = match bound {
        Bound::Unbounded => return Some(End::Open),
        Bound::Included(bytes) => (bytes, End::Inclusive),
        Bound::Excluded(bytes) => (bytes, End::Exclusive),
    };
    (bytes.len() + 1 < key.bytes.len()).then(|| {
        key.set(bytes);
        end
    })
}

impl<D: Device> Scan<'_, '_, '_, D> {
    /// The next entry; `None` at the end of the range.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Item<'_>>, ReadError<D::Error>> {
        let mut attempts = 0;
        while !self.done {
            match self.try_next().await {
                Ok(true) => return Ok(self.item()),
                Ok(false) => {}
                Err(Fault::NoMemory) => {
                    let needed = self.store.scan_memory_len() as u64;
                    return Err(ReadError::BufferTooSmall { needed_bytes: needed });
                }
                Err(fault @ Fault::DeadlineExceeded) => {
                    // Sources may stand in the midst of a step: they are brought to the key anew.
                    self.version = None;
                    return Err(ReadError::from(fault));
                }
                Err(fault) => {
                    let version = self.store.core.state.borrow().tree.version;
                    attempts += 1;
                    if self.version == Some(version) || attempts > READ_ATTEMPTS_MAX {
                        return Err(ReadError::from(fault));
                    }
                }
            }
        }
        Ok(None)
    }

    /// From now on the scan's reads have this deadline; see
    /// [`ReadOptions::deadline_us`]. One that a deadline ended goes on where it stood.
    pub fn set_deadline_us(&mut self, deadline_us: Option<u64>) {
        self.request.deadline_us = deadline_us;
    }

    /// The next entry whose value is known to be lost; `None` when there is none up to the end of
    /// the range. Such a key answers `Damaged` until it is overwritten or deleted.
    ///
    /// # Errors
    /// See [`ReadError`].
    ///
    /// # Cost
    /// That of passing over the keys between; no value is read.
    pub async fn next_lost(&mut self) -> Result<Option<Item<'_>>, ReadError<D::Error>> {
        loop {
            match self.next().await? {
                None => return Ok(None),
                Some(item) if !item.lost => {}
                Some(_) => break,
            }
        }
        Ok(self.item())
    }

    /// The entry that [`next`](Self::next) returned last.
    fn item(&self) -> Option<Item<'_>> {
        let core = &self.store.core;
        let (entry, _) = Entry::decode(&self.entry[..self.entry_len])?;
        let state = core.state.borrow();
        let lost = crate::health::is_lost(&state, &entry, core.payload());
        let lba = entry.places().next().and_then(|(generation, offset, _)| {
            let zone = state.zones.find(generation)?;
            Some(state.zones.map(zone).lba(1 + offset / core.payload()))
        });
        Some(Item {
            lost,
            lba,
            key: self.from.get(),
            meta: entry.meta,
            version_len: usize::from(entry.version_len),
            value_len: entry.value_len,
        })
    }

    /// Reads the value of the entry returned last, from `offset` on, as much as fits `out`; gives
    /// how much.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn value(
        &mut self,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, ReadError<D::Error>> {
        let core = &self.store.core;
        let decoded = Entry::decode(&self.entry[..self.entry_len]);
        let Some((entry, _)) = decoded else {
            return Ok(0);
        };
        let mut located = take_entry(&entry, &mut [], offset, out);
        let mut version = core.state.borrow().tree.version;
        for _ in 0..READ_ATTEMPTS_MAX {
            let Located { found, fragments, copied, apart_meta_len } = &located;
            if fragments.is_empty() {
                return Ok(*copied);
            }
            let left =
                usize::try_from(found.value_len.saturating_sub(offset)).unwrap_or(usize::MAX);
            let len = left.min(out.len());
            let owner = Owner { key: self.from.get(), meta_len: *apart_meta_len };
            match core.read_value(owner, fragments, offset, out, len, self.request).await {
                Ok(()) => return Ok(len),
                Err(fault)
                    if core.state.borrow().tree.version == version
                        && Some(version) == self.version =>
                {
                    return Err(ReadError::from(fault));
                }
                Err(_) => {}
            }
            // Moved since the entry was read: look where it is now.
            let mut again = None;
            version = core
                .find(self.from.get(), self.seq, self.request, &mut |entry| {
                    again = entry.map(|entry| take_entry(entry, &mut [], offset, out));
                })
                .await
                .map_err(ReadError::from)?;
            let Some(again) = again else { return Ok(0) };
            located = again;
            self.version = Some(version).filter(|now| Some(*now) == self.version);
        }
        Err(ReadError::from(malformed()))
    }

    /// Brings every source to where the scan stands.
    async fn restart(&mut self, version: u64) -> Result<(), Fault<D::Error>> {
        self.version = None;
        while let Some(run) = self.runs.pop() {
            let _ = self.spare.push(run.into_memory());
        }
        self.spare.sort_unstable_by_key(CursorMemory::len);
        let core = &self.store.core;
        let pieces = Cached { core, request: self.request };
        let forward = self.direction == Direction::Forward;
        let tables = {
            let bound = self.bound();
            let state = core.state.borrow();
            let older = state.frozen.map(|_| 1 - state.active);
            let seek = |table: usize| {
                let table = &state.tables[table];
                match (bound, forward) {
                    (None, true) => table.first(),
                    (None, false) => table.last(),
                    (Some((key, rank)), true) => table.seek(key, rank),
                    (Some((key, rank)), false) => table.seek_lt(key, rank),
                }
            };
            [seek(state.active), older.and_then(seek)]
        };
        self.tables = tables;
        let longest = {
            let state = core.state.borrow();
            state.tree.runs().iter().max_by_key(|run| run.nodes).map(|run| run.run)
        };
        let mut index = 0;
        loop {
            let run = {
                let state = core.state.borrow();
                if state.tree.version != version {
                    return Ok(()); // changed again: the caller restarts
                }
                let Some(run) = state.tree.runs().get(index).copied() else {
                    break;
                };
                run
            };
            index += 1;
            if self.spare.is_empty() {
                return Err(Fault::NoMemory);
            }
            let is_longest = longest == Some(run.run);
            let memory = if is_longest { self.spare.pop() } else { Some(self.spare.remove(0)) };
            let Some(memory) = memory else { return Err(Fault::NoMemory) };
            let mut cursor = RunCursor::new(run.run, memory);
            let result = if forward {
                self.seek_forward(&mut cursor, &pieces).await
            } else {
                self.seek_backward(&mut cursor, &pieces).await
            };
            assert!(self.runs.push(cursor).is_ok());
            result?;
        }
        self.version = Some(version);
        Ok(())
    }

    /// Seeks a run forward; where a merge has spent it, no further back than the key reached.
    async fn seek_forward(
        &mut self,
        cursor: &mut RunCursor<'_>,
        pieces: &Cached<'_, '_, D>,
    ) -> Result<(), Fault<D::Error>> {
        {
            let state = self.store.core.state.borrow();
            let run = state.tree.run(cursor.run);
            let level = run.and_then(|run| state.tree.is_input(&run));
            self.spent.set(level.map_or(&[], |level| state.tree.merge_key(level)));
        }
        let open = matches!(self.from_end, End::Open);
        if self.spent.len > 0 && (open || self.from.get() < self.spent.get()) {
            return cursor.seek(pieces, self.spent.get(), Rank::BOUNDARY).await;
        }
        match self.bound() {
            Some((key, rank)) => cursor.seek(pieces, key, rank).await,
            None => cursor.first(pieces).await,
        }
    }

    /// Seeks a run backward; what a merge has spent of it does not count.
    async fn seek_backward(
        &self,
        cursor: &mut RunCursor<'_>,
        pieces: &Cached<'_, '_, D>,
    ) -> Result<(), Fault<D::Error>> {
        cursor.seek_before(pieces, self.bound()).await?;
        if cursor.is_valid() && self.is_spent(cursor) {
            cursor.stop();
        }
        Ok(())
    }

    /// Where the sources start: the first entry not before it, or the last one before it.
    fn bound(&self) -> Option<(&[u8], Rank)> {
        let forward = self.direction == Direction::Forward;
        match (self.from_end, forward) {
            (End::Open, _) => None,
            (End::Inclusive, true) | (End::Exclusive, false) => {
                Some((self.from.get(), Rank::BOUNDARY))
            }
            // Behind every version of the key: the least key above it.
            _ => Some((self.from.successor(), Rank::BOUNDARY)),
        }
    }

    fn is_spent(&self, cursor: &RunCursor<'_>) -> bool {
        self.is_spent_at(cursor, cursor.key())
    }

    fn is_spent_at(&self, cursor: &RunCursor<'_>, key: &[u8]) -> bool {
        let state = self.store.core.state.borrow();
        let run = state.tree.run(cursor.run);
        run.is_some_and(|run| state.tree.is_spent(&run, key))
    }

    /// Finds the next key, and its entry if it has one that shows. True if it does.
    async fn try_next(&mut self) -> Result<bool, Fault<D::Error>> {
        let version = self.store.core.state.borrow().tree.version;
        if self.version != Some(version) {
            self.restart(version).await?;
            if self.version.is_none() {
                return Ok(false);
            }
        }
        let chosen = self.choose_key();
        let Some(holders) = chosen.filter(|_| !self.is_past_goal()) else {
            self.done = true;
            return Ok(false);
        };
        // Until the key is dealt with, starting over begins at it.
        self.from_end = End::Inclusive;
        self.entry_len = 0;
        let mut best = None;
        let mut cover = 0;
        if holders >> RUNS_MAX != 0 || self.has_ranges() {
            cover = self.take_tables(&mut best);
        }
        let pieces = Cached { core: &self.store.core, request: self.request };
        for index in 0..self.runs.len() {
            if holders >> index & 1 == 1 || !self.runs[index].cover.is_empty() {
                let in_run = self.take_run(index, &pieces, &mut best).await?;
                cover = cover.max(in_run);
            }
        }
        self.from_end = End::Exclusive;
        if self.store.core.state.borrow().tree.version != version {
            // What was read is whole, but a newer source may have been missed: look again.
            self.from_end = End::Inclusive;
            return Ok(false);
        }
        let Some((seq, kind)) = best else {
            return Ok(false);
        };
        Ok(kind != Kind::Tombstone && seq >= cover)
    }

    /// Puts the next key of any source into `from`; gives the sources that stand at it. `None` if
    /// no source has a key.
    fn choose_key(&mut self) -> Option<Holders> {
        let wanted = match self.direction {
            Direction::Forward => Ordering::Less,
            Direction::Reverse => Ordering::Greater,
        };
        let state = self.store.core.state.borrow();
        let (mut chosen, mut holders): (Option<&[u8]>, Holders) = (None, 0);
        let mut consider = |key, source: usize| {
            let order = chosen.map_or(wanted, |chosen| <[u8]>::cmp(key, chosen));
            if order == wanted {
                (chosen, holders) = (Some(key), 1 << source);
            } else if order == Ordering::Equal {
                holders |= 1 << source;
            }
        };
        for (index, run) in self.runs.iter().enumerate() {
            if run.is_valid() {
                consider(run.key(), index);
            }
        }
        for (index, cursor) in self.tables.iter().enumerate() {
            if let Some(cursor) = *cursor {
                let table = &state.tables[table_of(&state, index)];
                consider(table.key_at(cursor), RUNS_MAX + index);
            }
        }
        self.from.set(chosen?);
        Some(holders)
    }

    fn is_past_goal(&self) -> bool {
        let (key, goal) = (self.from.get(), self.goal.get());
        let beyond = if self.direction == Direction::Forward { key > goal } else { key < goal };
        match self.goal_end {
            End::Open => false,
            End::Inclusive => beyond,
            End::Exclusive => beyond || key == goal,
        }
    }

    /// Keeps an entry of the current key if it is the newest yet that the snapshot may see.
    fn keep(entry: &Entry<'_>, seq: u64, best: &mut Option<(u64, Kind)>, out: &mut [u8]) -> usize {
        let visible = entry.kind != Kind::Boundary && entry.seq <= seq;
        if !visible || best.is_some_and(|(newest, _)| entry.seq <= newest) {
            return 0;
        }
        *best = Some((entry.seq, entry.kind));
        entry.encode(out).unwrap_or(0)
    }

    /// Whether there are range deletions in memory.
    fn has_ranges(&self) -> bool {
        self.store.core.state.borrow().tables.iter().any(|table| table.range_count() > 0)
    }

    /// Takes the current key out of the memtables; gives the newest range deletion over it there.
    fn take_tables(&mut self, best: &mut Option<(u64, Kind)>) -> u64 {
        let forward = self.direction == Direction::Forward;
        let state = self.store.core.state.borrow();
        let mut cover = 0;
        for (index, cursor) in self.tables.iter_mut().enumerate() {
            if index == 1 && state.frozen.is_none() {
                continue;
            }
            let table = &state.tables[table_of(&state, index)];
            cover = cover.max(table.covering(self.from.get(), self.seq));
            while let Some(at) = *cursor {
                if table.key_at(at) != self.from.get() {
                    break;
                }
                let (_, entry) = table.at(at);
                let len = Self::keep(&entry, self.seq, best, self.entry);
                if len > 0 {
                    self.entry_len = len;
                }
                *cursor = if forward { table.next(at) } else { table.prev(at) };
            }
        }
        cover
    }

    /// Takes the current key out of a run; gives the newest range deletion over it there.
    async fn take_run(
        &mut self,
        index: usize,
        pieces: &Cached<'_, '_, D>,
        best: &mut Option<(u64, Kind)>,
    ) -> Result<u64, Fault<D::Error>> {
        let forward = self.direction == Direction::Forward;
        let node_len = pieces.core.shape.node_len;
        let seq = self.seq;
        let mut cover = 0;
        let mut at_key = false;
        while self.runs[index].is_valid() && self.runs[index].key() == self.from.get() {
            let run = &self.runs[index];
            let entry = run.entry(node_len).ok_or_else(malformed)?;
            let len = Self::keep(&entry, seq, best, self.entry);
            if len > 0 {
                self.entry_len = len;
            }
            if !forward {
                at_key = true;
                cover = cover.max(newest(&run.cover, seq));
            }
            if forward {
                self.runs[index].next(pieces).await?;
            } else {
                self.runs[index].previous(pieces).await?;
                if self.runs[index].is_valid() && self.is_spent(&self.runs[index]) {
                    self.runs[index].stop();
                }
            }
        }
        // Below the key a merge has reached, what its inputs deleted is deleted in its output.
        let by = newest(&self.runs[index].cover, seq);
        if !at_key && by > cover && !self.is_spent_at(&self.runs[index], self.from.get()) {
            cover = by;
        }
        Ok(cover)
    }
}

/// The newest range deletion that `seq` may see.
fn newest(cover: &[u64], seq: u64) -> u64 {
    cover.iter().copied().find(|&by| by <= seq).unwrap_or(0)
}

/// The memtable that a scan's table slot stands for: the active one, or the frozen one.
fn table_of(state: &crate::state::State<'_>, index: usize) -> usize {
    if index == 0 { state.active } else { 1 - state.active }
}
