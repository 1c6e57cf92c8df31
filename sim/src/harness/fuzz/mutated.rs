//! Opening and using mutated images.
//!
//! Invariants:
//! - `M1` Whatever is on media, nothing panics and everything ends: opening, reading, scanning,
//!   writing, maintaining and closing return within a bound of requests, with an error or without.
//! - `M2` Where no checksum was repaired, a key reads as what was once put under it, every byte of
//!   it, or as absent, or not at all. It may be older than the newest: a block of the log's last
//!   zone that fails its check is where a log ends that was cut, and nothing tells the two apart.
//! - `M3` Where moreover only one unit was mutated and the store had been closed, no key is older
//!   than the newest and none is absent that is there: a closed store has no log to replay, and the
//!   superblock and the manifest are there twice.

use std::cell::Cell;
use std::ops::Bound;

use super::mutation::{MUTATION_LEN, Mutation};
use super::repair::Changed;
use super::stock::{Image, image};
use super::target::some_bytes;
use crate::harness::oracle::{Key, Observed, Version};
use crate::harness::panics;
use crate::harness::workload::key_bytes;
use crate::{Drive, DriveError};
use arbitrary::{Arbitrary, Unstructured};
use shingle_engine::store::scan::Direction;
use shingle_engine::{Meta, OpenError, ReadError, ReadOptions, Store, WriteError, WriteOptions};

/// Mutations of one input at most.
const MUTATIONS_MAX: usize = 16;
/// Requests after which a mutated image leads in circles.
const REQUESTS_MAX: u64 = 40_000;
/// Bytes of memory that a mutated superblock may make the harness use.
const MEMORY_MAX: usize = 8 << 20;
/// Bytes of a value that are asked for at most.
const VALUE_LEN_MAX: u64 = 1 << 20;

/// Keys that a scan of an image may give at most, a mutated one included.
const KEYS_SCANNED_MAX: usize = 1 << 16;

/// What comes before the mutations.
#[derive(Arbitrary, Debug)]
struct Head {
    image: u8,
    /// 0: nothing is repaired. 1: seals. Otherwise headers of records, too.
    repair: u8,
    memory: u8,
}

/// The input of a seed.
pub(super) fn input(seed: u64) -> Vec<u8> {
    let mut bytes = some_bytes(seed, 8 * MUTATION_LEN as u64);
    bytes.resize(bytes.len().next_multiple_of(MUTATION_LEN), 7);
    let head = [seed as u8, (seed / 16) as u8, (seed / 64) as u8];
    [head.as_slice(), &bytes].concat()
}

/// Mutates an image, opens it and uses it.
pub(super) fn run(bytes: &[u8]) -> Result<(), String> {
    let mut bytes = Unstructured::new(bytes);
    let Ok(head) = Head::arbitrary(&mut bytes) else { return Ok(()) };
    let image = image(head.image)?;
    let drive = image.drive.fork();
    let layout = &image.layout;
    let mut changed = Changed::new();
    let mut mutations = Vec::new();
    while bytes.len() >= MUTATION_LEN && mutations.len() < MUTATIONS_MAX {
        let Ok(mutation) = Mutation::arbitrary(&mut bytes) else { break };
        mutation.apply(&drive, layout, &mut changed);
        mutations.push(mutation);
    }
    match head.repair % 4 {
        0 => layout.spoil(&drive, &mut changed),
        1 => layout.repair(&drive, &mut changed, false),
        _ => layout.repair(&drive, &mut changed, true),
    }
    layout.write(&drive, &changed);
    let trial = Trial {
        drive: &drive,
        image: &image,
        repaired: head.repair % 4 > 0,
        exact: Cell::new(head.repair % 4 == 0 && image.closed && changed.len() <= 1),
    };
    let memory_len = [64 << 10, 256 << 10, 1 << 20][usize::from(head.memory) % 3];
    let result = panics::catch(|| trial.lives(memory_len)).and_then(|result| result);
    match result {
        Err(what) => Err(format!("{what}\n  {head:?} {mutations:?}")),
        Ok(()) => Ok(()),
    }
}

type Checked = Result<(), String>;

/// A mutated image, and what may be found on it.
struct Trial<'t> {
    drive: &'t Drive,
    image: &'t Image,
    /// Checksums were repaired: whatever is found was put there.
    repaired: bool,
    /// `M3` applies.
    exact: Cell<bool>,
}

impl Trial<'_> {
    /// Two lives: the first reads and writes, the second reads.
    fn lives(&self, memory_len: usize) -> Checked {
        for again in [false, true] {
            let mut memory = vec![0; memory_len];
            self.drive.cut_after(REQUESTS_MAX);
            let opened = self.drive.block_on(Store::open(self.drive, &mut memory));
            let store = match opened {
                Ok(store) => store,
                Err(OpenError::MemoryTooSmall { .. }) if memory_len < MEMORY_MAX => {
                    return self.lives(MEMORY_MAX);
                }
                Err(error) if self.exact.get() => {
                    return Err(format!("one damaged unit, and open failed with {error:?}"));
                }
                Err(_) => return self.bounded("open"),
            };
            self.drive.block_on(self.read_all(&store))?;
            self.drive.block_on(self.scan(&store, Direction::Forward))?;
            self.drive.block_on(self.scan(&store, Direction::Reverse))?;
            self.bounded("read")?;
            if again {
                continue;
            }
            // What fails here fails for damage, or because what failed before ended the writing.
            self.exact.set(false);
            let _ = self.drive.block_on(self.write_some(&store));
            self.bounded("write")?;
            let _ = self.drive.block_on(store.close());
            self.bounded("close")?;
        }
        Ok(())
    }

    /// Ends one part of a life, and begins to count the requests of the next.
    fn bounded(&self, part: &str) -> Checked {
        if self.drive.is_cut() {
            return Err(format!("{REQUESTS_MAX} requests to {part}: it turns in circles"));
        }
        self.drive.disarm();
        self.drive.cut_after(REQUESTS_MAX);
        Ok(())
    }

    /// Holds what was found under a key against what was put there.
    fn judge(&self, key: Key, seen: Option<&Observed>) -> Checked {
        if self.repaired {
            return Ok(());
        }
        let newest = self.image.now.get(&key);
        let ever = &self.image.ever[usize::from(key)];
        let allowed = |seen: &Observed| {
            let is = |version: &Version| seen.is(version);
            if self.exact.get() { newest.is_some_and(is) } else { ever.iter().any(is) }
        };
        match seen {
            Some(seen) if !allowed(seen) => Err(format!("key {key}: found {seen}, not {newest:?}")),
            None if self.exact.get() && newest.is_some() => {
                Err(format!("key {key}: absent, not {newest:?}"))
            }
            _ => Ok(()),
        }
    }

    async fn read_all(&self, store: &Store<'_, &Drive>) -> Checked {
        for key in 0..self.image.keys {
            match observe(store, &key_bytes(key)).await {
                Ok(seen) => self.judge(key, seen.as_ref())?,
                Err(error) => self.may_fail(&error)?,
            }
        }
        Ok(())
    }

    /// Without a repaired checksum only damage is a reason to fail.
    fn may_fail(&self, error: &ReadError<DriveError>) -> Checked {
        match error {
            ReadError::Damaged(_) => Ok(()),
            _ if self.repaired => Ok(()),
            error => Err(format!("a read failed with {error:?}")),
        }
    }

    async fn scan(&self, store: &Store<'_, &Drive>, direction: Direction) -> Checked {
        let len = store.scan_memory_len();
        if len > MEMORY_MAX {
            return Ok(());
        }
        let mut scratch = vec![0; len];
        let (start, end) = (Bound::Unbounded, Bound::Unbounded);
        let options = ReadOptions::default();
        let items = store.scan(start, end, direction, &mut scratch, options).await;
        let mut items = match items {
            Ok(items) => items,
            Err(error) => return self.may_fail(&error),
        };
        let last = i32::from(self.image.keys) - 1;
        let (mut at, step) = if direction == Direction::Forward { (0, 1) } else { (last, -1) };
        // More keys than there ever were can only be there once checksums were repaired.
        for _ in 0..KEYS_SCANNED_MAX {
            let (name, meta, version_len, value_len) = match items.next().await {
                Ok(None) => return self.passed(at, direction),
                Ok(Some(item)) => {
                    (item.key.to_vec(), item.meta.to_vec(), item.version_len, item.value_len)
                }
                Err(error) => return self.may_fail(&error),
            };
            let mut value = vec![0; value_len.min(VALUE_LEN_MAX) as usize];
            let read = items.value(0, &mut value).await;
            if self.repaired {
                continue;
            }
            let keys = 0..self.image.keys;
            let Some(key) = keys.clone().find(|key| key_bytes(*key) == name) else {
                return Err(format!("a scan gave a key that never was, {name:?}"));
            };
            while at != i32::from(key) && keys.contains(&(at as Key)) {
                self.judge(at as Key, None)?;
                at += step;
            }
            if at != i32::from(key) {
                return Err(format!("a scan gave key {key} out of order"));
            }
            at += step;
            match read {
                Ok(_) => self.judge(key, Some(&Observed { value, meta, version_len }))?,
                Err(error) => self.may_fail(&error)?,
            }
        }
        Err("a scan never ends".to_owned())
    }

    /// The keys that a scan which ended did not give.
    fn passed(&self, at: i32, direction: Direction) -> Checked {
        let keys = i32::from(self.image.keys);
        let rest = if direction == Direction::Forward { at..keys } else { 0..at + 1 };
        rest.into_iter().try_for_each(|key| self.judge(key as Key, None))
    }

    /// Some of everything that writes. What it writes is what was there last, so that `ever` holds.
    async fn write_some(&self, store: &Store<'_, &Drive>) -> Result<(), WriteError<DriveError>> {
        let some: Vec<_> = self.image.now.iter().take(6).collect();
        let mut first = Ok(());
        for (key, version) in &some {
            let (value, meta) = (version.value(), version.meta());
            let meta = Meta::new(&meta, usize::from(version.version_len));
            let done = store.put(&key_bytes(**key), meta, &value, WriteOptions::BUFFERED).await;
            first = first.and(done);
        }
        if let Some((key, _)) = self.image.now.iter().next_back() {
            first = first.and(store.delete(&key_bytes(*key), WriteOptions::BUFFERED).await);
        }
        first = first.and(store.sync().await);
        first = first.and(store.maintain(20).await.map(|_| ()));
        first = first.and(store.checkpoint().await);
        first.and(store.compact().await)
    }
}

async fn observe(
    store: &Store<'_, &Drive>,
    key: &[u8],
) -> Result<Option<Observed>, ReadError<DriveError>> {
    let options = ReadOptions::default();
    let mut meta = vec![0; usize::from(store.limits().meta_len_max)];
    let Some(found) = store.get_meta(key, &mut meta, options).await? else { return Ok(None) };
    let mut value = vec![0; found.value_len.min(VALUE_LEN_MAX) as usize];
    let got = store.get(key, &mut value, options).await?;
    let _ = store.get_at(key, found.value_len / 2, &mut [0; 64], options).await?;
    let _ = store.contains(key, options).await?;
    Ok(got.map(|found| {
        value.truncate(found.value_len as usize);
        meta.truncate(found.meta_len);
        Observed { value, meta, version_len: found.version_len }
    }))
}

#[cfg(test)]
mod tests {
    use shingle_engine::format::edit::{Change, EDIT_HEADER_LEN, EditHeader};
    use shingle_engine::limits::{FANOUT, SEAL_LEN};
    use shingle_engine::zone::Role;
    use shingle_engine::{FormatOptions, Limits, Redundancy, format};
    use shingle_hal::Device;

    use super::*;
    use crate::harness::fuzz::repair::Layout;
    use crate::media::MediaSpec;

    /// Puts one more change into the last edit of each copy of the manifest.
    fn add_change(drive: &Drive, limits: &Limits, change: &Change<'_>) {
        let layout = Layout::of(drive, limits);
        let mut changed = Changed::new();
        let numbers = 0..layout.units.len();
        let manifest = numbers.filter(|&number| layout.units[number].role == Role::Manifest);
        let last_of_zone = manifest.map(|number| (layout.units[number].zone, number));
        for (_, number) in last_of_zone.collect::<std::collections::BTreeMap<_, _>>() {
            let bytes = layout.bytes(drive, &mut changed, number);
            let mut header = EditHeader::decode(bytes).expect("an edit").0;
            let end = bytes.len() - SEAL_LEN;
            let room = &mut bytes[EDIT_HEADER_LEN + usize::from(header.len)..end];
            header.len += postcard::to_slice(change, room).expect("room").len() as u16;
            header.encode(bytes);
        }
        layout.repair(drive, &mut changed, false);
        layout.write(drive, &changed);
    }

    /// There is memory for so many inputs; one more was taken for granted not to be.
    #[test]
    fn merge_of_more_runs_than_can_be_read_is_damage() {
        let drive = Drive::new(MediaSpec::parse("disk-tiny:timing=instant").expect("a drive"), 1);
        let mut memory = vec![0; 4 << 20];
        let limits = Limits::for_geometry(&drive.geometry());
        let options = FormatOptions { store_id: [1; 16], limits, redundancy: Redundancy::NONE };
        drive.block_on(format(&&drive, &mut memory, &options)).expect("formatted");
        let fill = async |memory: &mut [u8], runs: usize| {
            let store = Store::open(&drive, memory).await.expect("opened");
            for number in 0..runs {
                let (key, options) = ([number as u8; 8], WriteOptions::DURABLE);
                store.put(&key, Meta::NONE, &[7; 40], options).await.expect("put");
                store.checkpoint().await.expect("flushed");
            }
            assert_eq!(store.stats().runs as usize, runs);
        };
        drive.block_on(fill(&mut memory, FANOUT + 3));
        let last_input = u32::MAX / 4;
        let merge = Change::Merge { level: 0, into: 1, run: last_input + 1, last_input };
        add_change(&drive, &limits, &merge);
        let merged = drive.block_on(async {
            let store = Store::open(&drive, &mut memory).await.expect("opened");
            store.compact().await
        });
        assert!(matches!(merged, Err(WriteError::Damaged(_))), "{merged:?}");
    }
}
