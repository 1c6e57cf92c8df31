//! The import: every file durable before it is acknowledged, several in flight, power failing at
//! random requests; after each recovery a sample is compared, at the end everything.

use std::cell::RefCell;
use std::collections::VecDeque;

use shingle_engine::{Meta, ReadOptions, WriteOptions};
use shingle_sim::Executor;

use super::source::SourceFile;
use super::stage::{Stage, progress};
use crate::cli::{Failure, Shop};

/// Files in flight at once.
const IN_FLIGHT: usize = 8;
/// Files that are compared after each recovery, chosen at random.
const SAMPLE: usize = 24;
/// And so many that were acknowledged last.
const SAMPLE_LAST: usize = 8;

/// What the import did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Imported {
    /// Bytes of values that were acknowledged, files put again after a cut included.
    pub(super) bytes: u64,
    /// Virtual time in which they were, without recoveries and comparisons.
    pub(super) time_ns: u64,
}

/// An import under way.
struct Import<'f> {
    files: &'f mut [SourceFile],
    /// Files still to be put, in order.
    queue: VecDeque<usize>,
    /// Acknowledged files in that order; one put again is there again.
    acknowledged: Vec<usize>,
    /// Files that were in flight when power failed.
    unsure: Vec<usize>,
    requests: u64,
    done: Imported,
}

/// Puts all `files` while power fails `cuts` times.
pub(super) fn import(
    stage: &mut Stage<'_>,
    files: &mut [SourceFile],
    memory: &mut [u8],
    cuts: u32,
) -> Result<Imported, Failure> {
    let count = files.len();
    let bar = progress("import, power failing", u64::from(cuts) + count as u64);
    let mut import = Import {
        queue: (0..count).collect(),
        files,
        acknowledged: Vec::new(),
        unsure: Vec::new(),
        requests: 0,
        done: Imported::default(),
    };
    let mut store = stage.open(memory)?;
    loop {
        let left = cuts.saturating_sub(stage.tally.cuts);
        if import.queue.is_empty() {
            if left == 0 {
                break;
            }
            // Power has yet to fail so often: the same files once more, over the old ones.
            import.queue = (0..count).collect();
        }
        if left > 0 {
            let gap = import.gap(left);
            stage.drive.cut_after(stage.rng.u64(1..=2 * gap));
        }
        if import.put_until_cut(stage, &store, &bar)? {
            stage.drive.disarm();
            import.unsure.clear();
            continue;
        }
        stage.note(&store.stats());
        drop(store);
        stage.tally.cuts += 1;
        stage.power_on();
        store = stage.recover(memory)?;
        import.compare_sample(stage, &store)?;
        bar.set_message(format!("{} cuts survived", stage.tally.cuts));
        bar.inc(1);
    }
    stage.note(&store.stats());
    bar.finish_and_clear();
    Ok(import.done)
}

impl Import<'_> {
    /// Requests between two cuts on average, such that the rest of the cuts fits the rest of the
    /// files.
    fn gap(&self, cuts_left: u32) -> u64 {
        let done = self.acknowledged.len() as u64;
        let each = if done < 50 { 0.3 } else { self.requests as f64 / done as f64 };
        (each * self.queue.len() as f64 / f64::from(cuts_left)).ceil().max(1.0) as u64
    }

    /// Puts files until none is left (`true`) or power fails.
    fn put_until_cut(
        &mut self,
        stage: &Stage<'_>,
        store: &Shop<'_, '_>,
        bar: &indicatif::ProgressBar,
    ) -> Result<bool, Failure> {
        let drive = stage.drive;
        while !self.queue.is_empty() {
            let window: Vec<usize> = self.queue.iter().copied().take(IN_FLIGHT).collect();
            let mut values = Vec::with_capacity(window.len());
            for &file in &window {
                let value = self.files[file].load()?;
                self.files[file].put = Some((value.len(), crc32c::crc32c(&value)));
                values.push(value);
            }
            let (now_ns, requests) = (drive.now_ns(), drive.request_count());
            let results = RefCell::new(vec![None; window.len()]);
            let executor = Executor::new(drive);
            for (at, (&file, value)) in window.iter().zip(&values).enumerate() {
                let (file, results) = (&self.files[file], &results);
                executor.spawn(async move {
                    let meta = Meta::new(&file.meta, 0);
                    let put = store.put(&file.key, meta, value, WriteOptions::DURABLE).await;
                    results.borrow_mut()[at] = Some(put);
                });
            }
            executor.run();
            drop(executor);
            self.requests += drive.request_count() - requests;
            self.done.time_ns += drive.now_ns() - now_ns;
            self.queue.drain(..window.len());
            let results = results.into_inner();
            for ((&file, value), result) in window.iter().zip(&values).zip(&results).rev() {
                match result {
                    Some(Ok(())) => {
                        self.acknowledged.push(file);
                        self.done.bytes += value.len() as u64;
                        bar.inc(1);
                    }
                    _ if drive.is_cut() => {
                        self.unsure.push(file);
                        self.queue.push_front(file);
                    }
                    Some(Err(error)) => {
                        let name = self.files[file].name();
                        return Err(Failure::from(*error).about(name));
                    }
                    None => return Err(Failure::new("a put never ended")),
                }
            }
            if drive.is_cut() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// After a recovery: files acknowledged must be there, those in flight there or not, but whole.
    fn compare_sample(
        &mut self,
        stage: &mut Stage<'_>,
        store: &Shop<'_, '_>,
    ) -> Result<(), Failure> {
        let count = self.acknowledged.len();
        let mut sample: Vec<usize> =
            self.acknowledged[count.saturating_sub(SAMPLE_LAST)..].to_vec();
        if count > 0 {
            sample.extend((0..SAMPLE).map(|_| self.acknowledged[stage.rng.usize(..count)]));
        }
        for file in sample {
            compare(stage, store, &self.files[file], true)?;
        }
        for file in std::mem::take(&mut self.unsure) {
            compare(stage, store, &self.files[file], false)?;
        }
        Ok(())
    }
}

/// Compares a file with what the store has, byte for byte.
fn compare(
    stage: &mut Stage<'_>,
    store: &Shop<'_, '_>,
    file: &SourceFile,
    acknowledged: bool,
) -> Result<(), Failure> {
    let Some((len, checksum)) = file.put else {
        return Ok(());
    };
    let mut value = vec![0; len];
    let found = stage.drive.block_on(store.get(&file.key, &mut value, ReadOptions::default()));
    stage.tally.checks += 1;
    let name = file.name();
    match found {
        Ok(None) if !acknowledged => {}
        Ok(None) => stage.lost(format!("{name} was acknowledged and is absent")),
        Ok(Some(found)) if found.value_len != len as u64 => {
            stage.lost(format!("{name} came back with {} of {len} bytes", found.value_len));
        }
        Ok(Some(_)) => {
            let is_same = file.load()? == value;
            // A file that someone changed meanwhile is held against what was put.
            if !is_same && crc32c::crc32c(&value) != checksum {
                stage.lost(format!("{name} came back with other bytes"));
            }
        }
        Err(error) => stage.lost(format!("{name} cannot be read: {error}")),
    }
    let mut meta = [0; 16];
    let found = stage.drive.block_on(store.get_meta(&file.key, &mut meta, ReadOptions::default()));
    if matches!(found, Ok(Some(_))) && meta != file.meta {
        stage.lost(format!("{name} came back with other metadata"));
    }
    Ok(())
}

/// Compares every file.
pub(super) fn compare_all(
    stage: &mut Stage<'_>,
    store: &Shop<'_, '_>,
    files: &[SourceFile],
) -> Result<(), Failure> {
    let bar = progress("compare every file", files.len() as u64);
    for file in files {
        compare(stage, store, file, true)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}
