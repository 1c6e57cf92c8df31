//! The load that makes the drive work: synthetic values fill it, are overwritten and deleted until
//! zones were reclaimed and runs merged, with power failing now and then.
//!
//! Writes are buffered and synced in groups: after a cut what was synced must be there, and of what
//! was not a prefix, in the order in which it was written.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use shingle_engine::{Meta, ReadOptions, WriteError, WriteOptions};
use shingle_sim::{Executor, synthetic};

use super::stage::{Stage, progress};
use crate::cli::{Failure, MediumError, Shop};

/// Operations between two syncs.
const GROUP: usize = 32;
/// Operations between two syncs while the drive is filled.
const FILL_GROUP: u64 = 256;
/// Values in flight at once while the drive is filled.
const FILL_IN_FLIGHT: u64 = 4;
/// Keys with small values.
const SMALL_KEYS: u64 = 20_000;
/// Of the store's capacity, how much is filled in thousandths.
const FILL_PERMILLE: u64 = 780;
/// The same on a drive of few zones, of which more are in reserve.
const FILL_PERMILLE_FEW: u64 = 500;
/// What few zones are.
const FEW_ZONES: u32 = 500;
/// Zones that must have been reclaimed, and merges ended, before it is enough.
const RECLAIMS_MIN: u64 = 24;
const MERGES_MIN: u64 = 3;

/// What a key holds: seed and length of its value.
type State = Option<(u64, usize)>;

/// The load and the model of it.
pub(super) struct Load {
    /// What is durable.
    durable: HashMap<u64, State>,
    /// What came after the last sync, in order.
    unsynced: Vec<(u64, State)>,
    seed: u64,
    /// Keys with large values; those of small ones come after them.
    large_keys: u64,
    large_len: usize,
    buffer: Vec<u8>,
}

/// Figures of the bulk load: the first filling, which power does not disturb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bulk {
    pub(super) bytes: u64,
    pub(super) time_ns: u64,
    pub(super) written_bytes: u64,
}

fn key(number: u64) -> Vec<u8> {
    format!("load/{number:08}").into_bytes()
}

enum Ended {
    Done,
    Cut,
}

impl Load {
    /// A load for a store of `zones` zones that still takes `room_bytes`, and values of at most
    /// `value_len_max` bytes.
    pub(super) fn new(room_bytes: u64, zones: u32, value_len_max: u64, seed: u64) -> Self {
        let permille = if zones < FEW_ZONES { FILL_PERMILLE_FEW } else { FILL_PERMILLE };
        let large_len = (room_bytes / 2000).clamp(1 << 10, 1 << 20).min(value_len_max) as usize;
        Self {
            durable: HashMap::new(),
            unsynced: Vec::new(),
            seed: seed << 32,
            large_keys: room_bytes / 1000 * permille / large_len as u64,
            large_len,
            buffer: vec![0; large_len],
        }
    }

    /// Bytes of keys and values that are there now.
    pub(super) fn live_bytes(&self) -> u64 {
        self.durable.values().flatten().map(|(_, len)| *len as u64 + 13).sum()
    }

    /// The keys that are there now.
    pub(super) fn live_keys(&self) -> Vec<Vec<u8>> {
        let mut numbers: Vec<u64> =
            self.durable.iter().filter(|(_, state)| state.is_some()).map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(key).collect()
    }

    /// The longest value.
    pub(super) fn value_len_max(&self) -> usize {
        self.large_len
    }

    async fn put(
        &mut self,
        store: &Shop<'_, '_>,
        number: u64,
        len: usize,
    ) -> Result<(), WriteError<MediumError>> {
        self.seed += 1;
        let seed = self.seed;
        synthetic::fill(seed, 0, &mut self.buffer[..len]);
        self.unsynced.push((number, Some((seed, len))));
        store.put(&key(number), Meta::NONE, &self.buffer[..len], WriteOptions::BUFFERED).await
    }

    async fn delete(
        &mut self,
        store: &Shop<'_, '_>,
        number: u64,
    ) -> Result<(), WriteError<MediumError>> {
        self.unsynced.push((number, None));
        store.delete(&key(number), WriteOptions::BUFFERED).await
    }

    async fn sync(&mut self, store: &Shop<'_, '_>) -> Result<(), WriteError<MediumError>> {
        store.sync().await?;
        self.durable.extend(self.unsynced.drain(..));
        Ok(())
    }

    /// Fills the store with large values in the order of their keys.
    pub(super) fn fill(
        &mut self,
        stage: &Stage<'_>,
        store: &Shop<'_, '_>,
    ) -> Result<Bulk, Failure> {
        let drive = stage.drive;
        let bar = progress("fill the drive", self.large_keys);
        let (now_ns, before) = (drive.now_ns(), drive.stats().all);
        let mut bulk = Bulk::default();
        let mut number = 0;
        while number < self.large_keys {
            let end = (number + FILL_IN_FLIGHT).min(self.large_keys);
            self.put_together(stage, store, number..end)?;
            if end.is_multiple_of(FILL_GROUP) {
                drive.block_on(self.sync(store))?;
            }
            bulk.bytes += (end - number) * self.large_len as u64;
            bar.inc(end - number);
            number = end;
        }
        drive.block_on(self.sync(store))?;
        bar.finish_and_clear();
        bulk.time_ns = drive.now_ns() - now_ns;
        bulk.written_bytes = stage.written_bytes(&before);
        Ok(bulk)
    }

    /// Puts large values that are in flight together.
    fn put_together(
        &mut self,
        stage: &Stage<'_>,
        store: &Shop<'_, '_>,
        numbers: Range<u64>,
    ) -> Result<(), Failure> {
        let first_seed = self.seed + 1;
        self.seed += numbers.end - numbers.start;
        let len = self.large_len;
        let failed = RefCell::new(None);
        let executor = Executor::new(stage.drive);
        for (number, seed) in numbers.zip(first_seed..) {
            self.unsynced.push((number, Some((seed, len))));
            let failed = &failed;
            executor.spawn(async move {
                let (key, value) = (key(number), synthetic::value(seed, len));
                let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED).await;
                if let Err(error) = put {
                    *failed.borrow_mut() = Some(error);
                }
            });
        }
        executor.run();
        drop(executor);
        let failed = failed.into_inner();
        failed.map_or(Ok(()), |error| Err(Failure::from(error).about("filling the drive")))
    }

    /// Overwrites and deletes until zones were reclaimed and runs merged, while power fails `cuts`
    /// times.
    pub(super) fn churn(
        &mut self,
        stage: &mut Stage<'_>,
        memory: &mut [u8],
        cuts: u32,
    ) -> Result<(), Failure> {
        let mut store = stage.open(memory)?;
        let rounds_max = 6 * self.large_keys + SMALL_KEYS;
        let bar = progress("overwrite and delete", 1000);
        let (mut rounds, mut cut) = (0, 0);
        loop {
            if cut < cuts {
                stage.drive.cut_after(stage.rng.u64(20..600));
            }
            let ended =
                self.churn_until_cut(stage, &store, &mut rounds, rounds_max, cut < cuts, &bar)?;
            stage.note(&store.stats());
            if matches!(ended, Ended::Done) {
                stage.drive.disarm();
                break;
            }
            drop(store);
            cut += 1;
            stage.tally.cuts += 1;
            stage.power_on();
            store = stage.recover(memory)?;
            self.settle(stage, &store);
        }
        drop(store);
        bar.finish_and_clear();
        let totals = &stage.tally.totals;
        if totals.reclaims == 0 || totals.merges == 0 {
            return Err(Failure::new(format!(
                "{rounds} operations brought {} reclaimed zones and {} merges: \
                 background work does not run",
                totals.reclaims, totals.merges
            )));
        }
        Ok(())
    }

    fn churn_until_cut(
        &mut self,
        stage: &mut Stage<'_>,
        store: &Shop<'_, '_>,
        rounds: &mut u64,
        rounds_max: u64,
        cuts_left: bool,
        bar: &indicatif::ProgressBar,
    ) -> Result<Ended, Failure> {
        let drive = stage.drive;
        loop {
            let stats = store.stats();
            let reclaims = stage.tally.totals.reclaims + stats.reclaims;
            let merges = stage.tally.totals.merges + stats.merges;
            let small_done = *rounds >= SMALL_KEYS / 8;
            let enough =
                reclaims >= RECLAIMS_MIN && merges >= MERGES_MIN && small_done && !cuts_left;
            let share = (reclaims * 1000 / RECLAIMS_MIN).min(merges * 1000 / MERGES_MIN);
            bar.set_position(share.min(1000));
            bar.set_message(format!("{reclaims} zones reclaimed, {merges} merges"));
            let worked = drive.block_on(async {
                if enough || *rounds >= rounds_max {
                    return self.sync(store).await.map(|()| true);
                }
                self.group(stage, store, *rounds).await?;
                self.sync(store).await.map(|()| false)
            });
            *rounds += GROUP as u64;
            match worked {
                Ok(true) => return Ok(Ended::Done),
                Ok(false) => {}
                Err(_) if drive.is_cut() => return Ok(Ended::Cut),
                Err(error) => return Err(Failure::from(error).about("overwriting")),
            }
        }
    }

    /// A group of operations between two syncs.
    async fn group(
        &mut self,
        stage: &mut Stage<'_>,
        store: &Shop<'_, '_>,
        rounds: u64,
    ) -> Result<(), WriteError<MediumError>> {
        // Small values first: a flush of them is a run.
        for number in 0..8 * GROUP as u64 {
            let number = self.large_keys + (rounds * 8 + number) % SMALL_KEYS;
            let len = stage.rng.usize(20..400).min(self.large_len);
            self.put(store, number, len).await?;
        }
        for _ in 0..GROUP / 4 {
            let number = stage.rng.u64(..self.large_keys.max(1));
            match stage.rng.u8(..16) {
                0 => self.delete(store, number).await?,
                1..4 => self.put(store, number, self.large_len / 16).await?,
                _ => self.put(store, number, self.large_len).await?,
            }
        }
        Ok(())
    }

    /// After a recovery: finds out which prefix of the unsynced operations is there.
    fn settle(&mut self, stage: &mut Stage<'_>, store: &Shop<'_, '_>) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let mut found = HashMap::new();
        for (number, _) in &unsynced {
            if found.contains_key(number) {
                continue;
            }
            let mut candidates: Vec<State> = vec![self.durable.get(number).copied().flatten()];
            candidates.extend(
                unsynced.iter().filter(|(other, _)| other == number).map(|(_, state)| *state),
            );
            let which = self.which(stage, store, *number, &candidates);
            let Some(state) = which else {
                stage.lost(format!("load/{number:08} holds nothing that was ever written to it"));
                continue;
            };
            found.insert(*number, state);
        }
        // The longest prefix after which every key holds what was found.
        let mut state: HashMap<u64, State> =
            found.keys().map(|n| (*n, self.durable.get(n).copied().flatten())).collect();
        let mut fits = (state == found).then_some(0);
        for (at, (number, next)) in unsynced.iter().enumerate() {
            state.insert(*number, *next);
            if state == found {
                fits = Some(at + 1);
            }
        }
        if fits.is_none() {
            stage.lost("of the buffered writes something else than a prefix survived".to_owned());
        }
        self.durable.extend(found);
        self.compare_some(stage, store, 24);
    }

    /// Which of the candidates a key holds.
    fn which(
        &mut self,
        stage: &mut Stage<'_>,
        store: &Shop<'_, '_>,
        number: u64,
        candidates: &[State],
    ) -> Option<State> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let got =
            stage.drive.block_on(store.get(&key(number), &mut buffer, ReadOptions::default()));
        stage.tally.checks += 1;
        let found = match got {
            Ok(None) => candidates.contains(&None).then_some(None),
            Ok(Some(found)) => {
                let len = found.value_len as usize;
                let same = |state: &&State| {
                    state.is_some_and(|(seed, want)| {
                        want == len && synthetic::match_len(seed, 0, &buffer[..len]) == len
                    })
                };
                candidates.iter().rev().find(same).copied()
            }
            Err(error) => {
                stage.lost(format!("load/{number:08} cannot be read: {error}"));
                None
            }
        };
        self.buffer = buffer;
        found
    }

    fn compare_some(&mut self, stage: &mut Stage<'_>, store: &Shop<'_, '_>, count: usize) {
        for _ in 0..count {
            let number = stage.rng.u64(..self.large_keys + SMALL_KEYS);
            self.compare(stage, store, number);
        }
    }

    fn compare(&mut self, stage: &mut Stage<'_>, store: &Shop<'_, '_>, number: u64) {
        let want = self.durable.get(&number).copied().flatten();
        if self.which(stage, store, number, &[want]).is_none() {
            stage.lost(format!("load/{number:08} does not hold what was synced"));
        }
    }

    /// Compares every key, also those that must be absent.
    pub(super) fn compare_all(&mut self, stage: &mut Stage<'_>, store: &Shop<'_, '_>) {
        let count = self.large_keys + SMALL_KEYS;
        let bar = progress("compare every value", count);
        for number in 0..count {
            self.compare(stage, store, number);
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
}
