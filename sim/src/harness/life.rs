//! One life of a store, from open to the end: does operations to it and to the model, and compares
//! every answer.

use std::cell::{Cell, RefCell};

use embedded_io_async::{ErrorType, Read};
use shingle_engine::store::read::SnapshotSeq;
use shingle_engine::{
    Batch, Condition, Durability, Meta, ReadError, ReadOptions, Snapshot, Store, WriteError,
    WriteOptions,
};

use crate::harness::oracle::{Change, Key, Observed, Oracle, State, Version, agrees};
use crate::harness::scan::{Span, scan};
use crate::harness::workload::{Feed, Op, Part, Shape, When, key_bytes};
use crate::{Drive, DriveError};

/// Why a life ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Power failed.
    Cut,
    /// The store did what it must not.
    Wrong(String),
}

/// How an operation that did nothing wrong went.
pub type Step = Result<(), Stop>;

fn wrong<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Wrong(what.into()))
}

/// A version that no put has.
const NEVER: [u8; 5] = *b"never";

/// A reader that brings a version's value in pieces, and may fail.
struct Feeder<'d> {
    drive: &'d Drive,
    value: Vec<u8>,
    at: usize,
    feed: Feed,
}

impl ErrorType for Feeder<'_> {
    type Error = Broken;
}

/// What a reader fails with.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reader broke")
    }
}

impl std::error::Error for Broken {}

impl embedded_io_async::Error for Broken {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        embedded_io_async::ErrorKind::Other
    }
}

impl Read for Feeder<'_> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        let end = self.feed.fails_at.map_or(self.value.len(), |at| at as usize);
        if self.at >= end && end < self.value.len() {
            return Err(Broken);
        }
        if self.feed.step % 2 == 1 {
            self.drive.sleep_until(self.drive.now_ns() + 1000).await;
        }
        let len =
            out.len().min(self.feed.step.max(1) as usize).min(end.min(self.value.len()) - self.at);
        out[..len].copy_from_slice(&self.value[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// A store and its model.
pub struct Life<'a, 'm, 'd> {
    /// The store.
    pub store: &'a Store<'m, &'d Drive>,
    /// The model.
    pub oracle: &'a RefCell<Oracle>,
    /// Snapshots held, each with what it must show.
    held: RefCell<Vec<(Snapshot<'a, 'm, &'d Drive>, State)>>,
    /// Streams under way: like snapshots, they keep zones from being reclaimed, those that they
    /// have a part in.
    streams: Cell<u32>,
    /// Below this share of the capacity the store must not say that it is full, in percent.
    pub full_percent: u64,
    /// Operations refused for want of room.
    pub full_count: Cell<u64>,
}

impl<'a, 'm, 'd> Life<'a, 'm, 'd> {
    /// Begins.
    #[must_use]
    pub fn new(
        store: &'a Store<'m, &'d Drive>,
        oracle: &'a RefCell<Oracle>,
        full_percent: u64,
    ) -> Self {
        let (held, streams, full_count) = (RefCell::default(), Cell::new(0), Cell::new(0));
        Self { store, oracle, held, streams, full_percent, full_count }
    }

    fn is_cut(&self) -> bool {
        self.store.device().is_cut()
    }

    /// Drops all snapshots.
    pub fn drop_snapshots(&self) {
        drop(self.held.take());
    }

    /// Does `op` as the writer of `lane`, then checks the store's invariants.
    ///
    /// # Errors
    /// Power failed, or something is wrong.
    pub async fn step(&self, op: &Op, lane: usize) -> Step {
        let done = self.do_op(op, lane).await;
        if !self.is_cut() {
            self.store.check_invariants();
        }
        match done {
            Err(Stop::Wrong(what)) => wrong(format!("{op:?}: {what}")),
            other => other,
        }
    }

    async fn do_op(&self, op: &Op, lane: usize) -> Step {
        match op {
            Op::One(part, durable) => self.one(*part, lane, *durable).await,
            Op::Batch(parts, durable) => self.batch(parts, lane, *durable).await,
            Op::Stream(key, shape, feed, durable) => {
                self.stream(*key, *shape, *feed, lane, *durable).await
            }
            Op::Sync => {
                let time = self.oracle.borrow_mut().tick();
                let result = self.store.sync().await;
                self.work_done(result.map(|()| self.oracle.borrow_mut().synced(time)))
            }
            Op::Checkpoint => {
                let time = self.oracle.borrow_mut().tick();
                let result = self.store.checkpoint().await;
                self.work_done(result.map(|()| self.oracle.borrow_mut().synced(time)))
            }
            Op::Compact => {
                let time = self.oracle.borrow_mut().tick();
                let result = self.store.compact().await;
                self.work_done(result.map(|()| self.oracle.borrow_mut().synced(time)))
            }
            Op::Maintain(steps) => self.work_done(self.store.maintain(*steps).await.map(|_| ())),
            Op::Read(key) => self.read_key(*key).await,
            Op::ReadAt(key, offset, len) => self.read_at(*key, *offset, *len).await,
            Op::Snapshot => {
                // The store keeps places for its own cursors.
                if self.held.borrow().len() >= 6 {
                    return Ok(());
                }
                let spare = self.store.snapshot();
                match spare.as_ref().map_err(|error| *error).and(self.store.snapshot()) {
                    Ok(snapshot) => {
                        let state = self.oracle.borrow().now();
                        self.held.borrow_mut().push((snapshot, state));
                        Ok(())
                    }
                    // Small zones hold few versions of a key.
                    Err(ReadError::TooManySnapshots) => Ok(()),
                    Err(error) => self.read_failed(&error),
                }
            }
            Op::ReadSnapshot(number, key) => self.read_snapshot(*number, *key).await,
            Op::Scan(span) => self.scan_step(span, None).await,
            Op::ScanSnapshot(number, span) => {
                let Some((snapshot, state)) = self.borrow_held(*number) else { return Ok(()) };
                let done = self.scan_step(span, Some((&snapshot, &state))).await;
                self.held.borrow_mut().push((snapshot, state));
                done
            }
            Op::DropSnapshot(number) => {
                let mut held = self.held.borrow_mut();
                if !held.is_empty() {
                    let at = *number as usize % held.len();
                    drop(held.remove(at));
                }
                Ok(())
            }
            Op::Verify => self.verify().await,
        }
    }

    fn work_done(&self, result: Result<(), WriteError<DriveError>>) -> Step {
        match result {
            Ok(()) => Ok(()),
            Err(_) if self.is_cut() => Err(Stop::Cut),
            Err(WriteError::Full) => {
                let live = self.oracle.borrow().live_bytes();
                self.full("background work", live, live)
            }
            Err(error) => wrong(format!("failed with {error:?}")),
        }
    }

    /// Whether the store may say so, with what is live now and what would be afterwards.
    fn full(&self, what: &str, now: u64, then: u64) -> Step {
        self.full_count.set(self.full_count.get() + 1);
        let live = now.max(u64::midpoint(now, then));
        let stats = self.store.stats();
        // Also a scan beside this write holds a snapshot.
        let reclaims = stats.snapshots == 0 && self.streams.get() == 0;
        if reclaims && live * 100 < stats.capacity_bytes * self.full_percent {
            let live = format!("{now} live bytes, {then} with it");
            return wrong(format!("{what} is refused as full with {live}: {stats:?}"));
        }
        Ok(())
    }

    fn condition(&self, key: Key, when: When) -> (Option<Vec<u8>>, bool) {
        let now = self.oracle.borrow().get(key);
        let version = now.map(|v| v.meta()[..usize::from(v.version_len)].to_vec());
        match when {
            When::Always => (None, true),
            When::Absent => (None, now.is_none()),
            When::Present => (None, now.is_some()),
            When::Current => {
                let holds = version.is_some();
                (Some(version.unwrap_or(NEVER.to_vec())), holds)
            }
            When::Never => (Some(NEVER.to_vec()), false),
        }
    }

    fn change(&self, part: Part) -> Change {
        match part {
            Part::Put(key, shape, _) => Change::Put(key, self.version(shape)),
            Part::Delete(key, _) => Change::Delete(key),
            Part::DeleteRange(start, end) => Change::DeleteRange(start, end),
        }
    }

    fn version(&self, shape: Shape) -> Version {
        self.oracle.borrow_mut().version(shape.len, shape.meta_len, shape.version_len)
    }

    async fn one(&self, part: Part, lane: usize, durable: bool) -> Step {
        let (key, when) = match part {
            Part::Put(key, _, when) | Part::Delete(key, when) => (key, when),
            Part::DeleteRange(key, _) => (key, When::Always),
        };
        let (version, holds) = self.condition(key, when);
        let change = self.change(part);
        let issued = self.oracle.borrow_mut().issue(lane, vec![change]);
        let durability = durability(durable);
        let condition = condition_of(when, version.as_deref());
        let options = WriteOptions { durability, condition };
        let bytes = key_bytes(key);
        let result = match change {
            Change::Put(_, version) => {
                let (value, meta) = (version.value(), version.meta());
                let meta = Meta::new(&meta, usize::from(version.version_len));
                self.store.put(&bytes, meta, &value, options).await
            }
            Change::Delete(_) => self.store.delete(&bytes, options).await,
            Change::DeleteRange(_, end) => {
                let end = end.map(key_bytes);
                self.store.delete_range(&bytes, end.as_deref(), durability).await
            }
        };
        self.written(result, lane, issued, durable, holds, false)
    }

    async fn batch(&self, parts: &[Part], lane: usize, durable: bool) -> Step {
        let mut memory = vec![0; 64 << 10];
        let mut batch = Batch::new(&mut memory);
        let mut changes = Vec::new();
        let mut all_hold = true;
        for part in parts {
            let change = self.change(*part);
            let (key, when) = match *part {
                Part::Put(key, _, when) | Part::Delete(key, when) => (key, when),
                Part::DeleteRange(key, _) => (key, When::Always),
            };
            let (version, holds) = self.condition(key, when);
            let condition = condition_of(when, version.as_deref());
            let bytes = key_bytes(key);
            let added = match change {
                Change::Put(_, version) => {
                    let meta = version.meta();
                    let meta = Meta::new(&meta, usize::from(version.version_len));
                    batch.put(&bytes, meta, &version.value(), condition)
                }
                Change::Delete(_) => batch.delete(&bytes, condition),
                Change::DeleteRange(_, end) => {
                    batch.delete_range(&bytes, end.map(key_bytes).as_deref())
                }
            };
            if added.is_ok() {
                all_hold &= holds;
                changes.push(change);
            }
        }
        let issued = self.oracle.borrow_mut().issue(lane, changes);
        let result = self.store.write(&batch, durability(durable)).await;
        if result == Err(WriteError::BatchTooLarge) {
            self.oracle.borrow_mut().withdraw(lane);
            return Ok(());
        }
        self.written(result, lane, issued, durable, all_hold, false)
    }

    async fn stream(&self, key: Key, shape: Shape, feed: Feed, lane: usize, durable: bool) -> Step {
        let version = self.version(shape);
        let issued = self.oracle.borrow_mut().issue(lane, vec![Change::Put(key, version)]);
        let drive: &Drive = self.store.device();
        let mut reader = Feeder { drive, value: version.value(), at: 0, feed };
        let mut buffer = vec![0; feed.buffer_len as usize];
        let meta = version.meta();
        let meta = Meta::new(&meta, usize::from(version.version_len));
        let options = WriteOptions { durability: durability(durable), condition: Condition::None };
        let len = u64::from(version.len);
        let bytes = key_bytes(key);
        self.streams.set(self.streams.get() + 1);
        let result =
            self.store.put_from(&bytes, meta, len, &mut reader, &mut buffer, options).await;
        self.streams.set(self.streams.get() - 1);
        let fails = feed.fails_at.is_some_and(|at| at < version.len);
        self.written(result, lane, issued, durable, true, fails)
    }

    /// Compares the outcome of a write with what it had to be, and tells the model.
    fn written(
        &self,
        result: Result<(), WriteError<DriveError>>,
        lane: usize,
        issued: u64,
        durable: bool,
        holds: bool,
        stream_fails: bool,
    ) -> Step {
        match result {
            Ok(()) if !holds => wrong("succeeded although its condition does not hold"),
            Ok(()) if stream_fails => wrong("succeeded although its stream failed"),
            Ok(()) => {
                let mut oracle = self.oracle.borrow_mut();
                oracle.acknowledge(lane);
                if durable {
                    oracle.durable(lane, issued);
                }
                Ok(())
            }
            // Whether it took effect is unknown.
            Err(_) if self.is_cut() => Err(Stop::Cut),
            Err(error) => {
                let then = self.oracle.borrow().live_bytes();
                self.oracle.borrow_mut().withdraw(lane);
                let now = self.oracle.borrow().live_bytes();
                match error {
                    WriteError::ConditionFailed if !holds => Ok(()),
                    WriteError::Stream if stream_fails => Ok(()),
                    WriteError::Full => self.full("a write", now, then),
                    error => wrong(format!("failed with {error:?}")),
                }
            }
        }
    }

    fn read_failed<T>(&self, error: &ReadError<DriveError>) -> Result<T, Stop> {
        if self.is_cut() { Err(Stop::Cut) } else { wrong(format!("read failed with {error:?}")) }
    }

    /// Reads a key, whole.
    ///
    /// # Errors
    /// Power failed, or the store contradicts itself.
    pub async fn observe(
        &self,
        key: Key,
        snapshot: Option<&SnapshotSeq>,
    ) -> Result<Option<Observed>, Stop> {
        let options = ReadOptions { snapshot, ..ReadOptions::default() };
        let bytes = key_bytes(key);
        let mut meta = vec![0; usize::from(self.store.limits().meta_len_max)];
        let mut value = vec![0; 256];
        let mut found = self.store.get(&bytes, &mut value, options).await;
        if let Err(ReadError::BufferTooSmall { needed_bytes }) = found {
            if needed_bytes > self.store.limits().value_len_max {
                return wrong(format!("key {key}: a value of {needed_bytes} bytes"));
            }
            value = vec![0; needed_bytes as usize];
            found = self.store.get(&bytes, &mut value, options).await;
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.key_failed(key, &error),
        };
        let with_meta = match self.store.get_meta(&bytes, &mut meta, options).await {
            Ok(found) => found,
            Err(error) => return self.key_failed(key, &error),
        };
        if found != with_meta {
            return wrong(format!("key {key}: get found {found:?}, get_meta {with_meta:?}"));
        }
        Ok(found.map(|found| {
            value.truncate(found.value_len as usize);
            meta.truncate(found.meta_len);
            Observed { value, meta, version_len: found.version_len }
        }))
    }

    fn key_failed<T>(&self, key: Key, error: &ReadError<DriveError>) -> Result<T, Stop> {
        match self.read_failed(error) {
            Err(Stop::Wrong(what)) => wrong(format!("key {key}: {what}")),
            other => other,
        }
    }

    /// Reads every key.
    ///
    /// # Errors
    /// Power failed, or the store contradicts itself.
    pub async fn observe_all(&self) -> Result<Vec<Option<Observed>>, Stop> {
        let keys = self.oracle.borrow().keys();
        let mut all = Vec::with_capacity(usize::from(keys));
        for key in 0..keys {
            all.push(self.observe(key, None).await?);
        }
        for reverse in [false, true] {
            let scanned = self.scan(&Span::all(reverse), None).await?;
            if scanned != all {
                let way = if reverse { "reverse" } else { "forward" };
                let names: Vec<_> =
                    (0..keys).filter(|key| scanned[usize::from(*key)].is_some()).collect();
                return wrong(format!("a {way} scan differs from gets; it has {names:?}"));
            }
        }
        Ok(all)
    }

    /// What a scan found, by key.
    async fn scan(
        &self,
        span: &Span,
        snapshot: Option<&SnapshotSeq>,
    ) -> Result<Vec<Option<Observed>>, Stop> {
        let scanned = match scan(self.store, span, snapshot).await {
            Ok(scanned) => scanned,
            Err(_) if self.is_cut() => return Err(Stop::Cut),
            Err(what) => return wrong(what),
        };
        let keys = self.oracle.borrow().keys();
        let mut all = vec![None; usize::from(keys)];
        let mut next = span.keys(keys);
        for (name, seen) in scanned {
            let Some(key) = next.find(|key| key_bytes(*key) == name) else {
                let name = String::from_utf8_lossy(&name);
                return wrong(format!("{span:?} gave {name}, out of order or of the range"));
            };
            all[usize::from(key)] = Some(seen);
        }
        Ok(all)
    }

    async fn scan_step(&self, span: &Span, held: Option<(&SnapshotSeq, &State)>) -> Step {
        let all = self.scan(span, held.map(|(snapshot, _)| snapshot)).await?;
        let (keys, now) = (self.oracle.borrow().keys(), self.oracle.borrow().now());
        let want = held.map_or(&now, |(_, state)| state);
        for key in span.keys(keys) {
            self.compare(key, all[usize::from(key)].as_ref(), want.get(&key), "in a scan")?;
        }
        Ok(())
    }

    /// Scans beside writers: what comes back must be one state that was there.
    ///
    /// # Errors
    /// Power failed, or it was not.
    pub async fn scan_beside(&self, span: &Span) -> Step {
        let view = self.oracle.borrow().view();
        let snapshot = match self.store.snapshot() {
            Ok(snapshot) => snapshot,
            Err(ReadError::TooManySnapshots) => return Ok(()),
            Err(error) => return self.read_failed(&error),
        };
        let all = self.scan(span, Some(&snapshot)).await?;
        let oracle = self.oracle.borrow();
        let checked = oracle.check_view(&view, &span.keys(oracle.keys()), &all);
        checked.map_err(|what| Stop::Wrong(format!("{span:?} beside writers: {what}")))
    }

    /// After a remount: what is there must be a state that may be there.
    ///
    /// # Errors
    /// Power failed, or it is not.
    pub async fn remounted(&self, durable: bool) -> Step {
        self.store.check_invariants();
        let all = self.observe_all().await?;
        let pinned = self.oracle.borrow_mut().pin(&all, durable);
        pinned.map_err(|what| Stop::Wrong(format!("after remount: {what}")))
    }

    async fn verify(&self) -> Step {
        let all = self.observe_all().await?;
        let now = self.oracle.borrow().now();
        for (key, seen) in all.iter().enumerate() {
            self.compare(key as Key, seen.as_ref(), now.get(&(key as Key)), "now")?;
        }
        Ok(())
    }

    fn compare(&self, key: Key, seen: Option<&Observed>, want: Option<&Version>, at: &str) -> Step {
        if agrees(seen, want) {
            return Ok(());
        }
        let seen = seen.map_or("absent".to_owned(), ToString::to_string);
        wrong(format!("key {key} {at}: found {seen}; expected {want:?}"))
    }

    async fn read_key(&self, key: Key) -> Step {
        let seen = self.observe(key, None).await?;
        let want = self.oracle.borrow().get(key);
        self.compare(key, seen.as_ref(), want.as_ref(), "now")?;
        match self.store.contains(&key_bytes(key), ReadOptions::default()).await {
            Ok(there) if there == want.is_some() => Ok(()),
            Ok(there) => wrong(format!("key {key}: contains says {there}")),
            Err(error) => self.key_failed(key, &error),
        }
    }

    async fn read_at(&self, key: Key, offset: u64, len: u32) -> Step {
        let mut out = vec![0; len as usize];
        let bytes = key_bytes(key);
        let read = self.store.get_at(&bytes, offset, &mut out, ReadOptions::default()).await;
        let want = self.oracle.borrow().get(key);
        match (read, want) {
            (Ok(None), None) => Ok(()),
            (Ok(Some((found, read))), Some(want)) => {
                let left = u64::from(want.len).saturating_sub(offset).min(u64::from(len));
                let right = found.value_len == u64::from(want.len) && read as u64 == left;
                if right && (read == 0 || want.has(offset, &out[..read])) {
                    return Ok(());
                }
                wrong(format!("key {key}: {found:?}, {read} bytes; expected {want:?}"))
            }
            (Ok(found), want) => wrong(format!("key {key}: {found:?}; expected {want:?}")),
            (Err(error), _) => self.key_failed(key, &error),
        }
    }

    fn borrow_held(&self, number: u32) -> Option<(Snapshot<'a, 'm, &'d Drive>, State)> {
        let mut held = self.held.borrow_mut();
        let at = (number as usize).checked_rem(held.len())?;
        Some(held.swap_remove(at))
    }

    async fn read_snapshot(&self, number: u32, key: Key) -> Step {
        let Some((snapshot, state)) = self.borrow_held(number) else { return Ok(()) };
        let seen = self.observe(key, Some(&snapshot)).await?;
        let done = self.compare(key, seen.as_ref(), state.get(&key), "in a snapshot");
        self.held.borrow_mut().push((snapshot, state));
        done
    }

    /// Reads a key beside writers: what comes back must have been there meanwhile.
    ///
    /// # Errors
    /// Power failed, or it was not.
    pub async fn read_beside(&self, key: Key) -> Step {
        let from = self.oracle.borrow().read_begins(key);
        let mut value = vec![0; self.store.limits().value_len_max.min(2 << 20) as usize];
        let found = self.store.get(&key_bytes(key), &mut value, ReadOptions::default()).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.key_failed(key, &error),
        };
        let allowed = self.oracle.borrow().read_ends(key, from);
        let fits = |version: &Option<Version>| match (version, &found) {
            (None, None) => true,
            (Some(version), Some(found)) => {
                found.value_len == u64::from(version.len)
                    && version.has(0, &value[..version.len as usize])
            }
            _ => false,
        };
        if allowed.iter().any(fits) {
            return Ok(());
        }
        wrong(format!("key {key} beside writers: found {found:?}, which is none of {allowed:?}"))
    }
}

fn durability(durable: bool) -> Durability {
    if durable { Durability::Durable } else { Durability::Buffered }
}

fn condition_of(when: When, version: Option<&[u8]>) -> Condition<'_> {
    match when {
        When::Always => Condition::None,
        When::Absent => Condition::Absent,
        When::Present => Condition::Present,
        When::Current | When::Never => Condition::Version(version.unwrap_or(&NEVER)),
    }
}
