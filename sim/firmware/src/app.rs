//! Opens the store, compares all of it with the script, and goes on with the script.

use core::fmt;

use shingle_engine::{
    Condition, Durability, Meta, OpenError, ReadError, ReadOptions, Store, WriteError, WriteOptions,
};
use shingle_hal::Device;

use crate::script::{KEYS, Kind, Script, VALUE_LEN_MAX, key};

/// After so many operations a share of what is due is done, though nobody waits for it.
const MAINTAIN_EVERY: u32 = 64;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Seed of the [`Script`].
    pub seed: u64,
    /// Operations that the store holds already.
    pub first: u32,
    /// Operations to do.
    pub count: u32,
}

/// Room for two values and for the store.
#[derive(Debug)]
pub struct Memory<'m> {
    /// What an operation writes, or expects.
    pub expected: &'m mut [u8; VALUE_LEN_MAX],
    /// What the store answers.
    pub found: &'m mut [u8; VALUE_LEN_MAX],
    /// The store's own.
    pub store: &'m mut [u8],
}

/// What went wrong.
#[derive(Debug, PartialEq)]
pub enum Failure<E> {
    /// The store does not open.
    Open(OpenError<E>),
    /// Operation `index` failed.
    Write {
        /// Which.
        index: u32,
        /// Why.
        error: WriteError<E>,
    },
    /// A key could not be read.
    Read {
        /// Which.
        key: u16,
        /// Why.
        error: ReadError<E>,
    },
    /// A key holds something else than the script gave it.
    Wrong {
        /// Which.
        key: u16,
        /// The operation that gave it its value, `None` if it should be absent.
        expected: Option<u32>,
    },
}

impl<E: fmt::Debug> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(f, "the store does not open: {error:?}"),
            Self::Write { index, error } => write!(f, "operation {index} failed: {error:?}"),
            Self::Read { key, error } => write!(f, "key {key} cannot be read: {error:?}"),
            Self::Wrong { key, expected: Some(index) } => {
                write!(f, "key {key} does not hold what operation {index} gave it")
            }
            Self::Wrong { key, expected: None } => write!(f, "key {key} should be absent"),
        }
    }
}

/// Does what `task` says; tells `ack` of each operation that is done.
///
/// # Errors
/// [`Failure`]; the store is not closed then.
pub async fn run<D: Device>(
    device: D,
    task: Task,
    memory: Memory<'_>,
    mut ack: impl FnMut(u32),
) -> Result<(), Failure<D::Error>> {
    let script = Script::new(task.seed);
    let Memory { expected, found, store } = memory;
    let store = Store::open(device, store).await.map_err(Failure::Open)?;
    let mut last = [None; KEYS as usize];
    script.replay(task.first, &mut last);
    for (number, &put) in (0..KEYS).zip(&last) {
        compare(&store, &script, number, put, expected, found).await?;
    }
    for index in task.first..task.first + task.count {
        let op = script.op(index);
        let name = key(op.key);
        let durability = if op.durable { Durability::Durable } else { Durability::Buffered };
        let options = WriteOptions { durability, condition: Condition::None };
        let failed = |error| Failure::Write { index, error };
        match op.kind {
            Kind::Put(len) => {
                let value = &mut expected[..len];
                script.fill(index, value);
                store.put(&name, Meta::NONE, value, options).await.map_err(failed)?;
            }
            Kind::Delete => match store.delete(&name, options).await {
                Ok(_) => {}
                Err(error) => return Err(failed(error)),
            },
            Kind::Get => {
                let put = last[op.key as usize];
                compare(&store, &script, op.key, put, expected, found).await?;
            }
        }
        script.note(index, &mut last);
        ack(index);
        if index % MAINTAIN_EVERY == 0 {
            store.maintain(4).await.map_err(failed)?;
        }
    }
    let index = task.first + task.count;
    store.close().await.map_err(|error| Failure::Write { index, error })?;
    Ok(())
}

/// Compares what a key holds with what the put of number `put` gave it.
async fn compare<D: Device>(
    store: &Store<'_, D>,
    script: &Script,
    number: u16,
    put: Option<u32>,
    expected: &mut [u8],
    found: &mut [u8],
) -> Result<(), Failure<D::Error>> {
    let got = store.get(&key(number), found, ReadOptions::default()).await;
    let got = got.map_err(|error| Failure::Read { key: number, error })?;
    let len = put.map(|index| script.value_len(index));
    let mut same = got.map(|got| got.value_len as usize) == len;
    if let (true, Some(index), Some(len)) = (same, put, len) {
        script.fill(index, &mut expected[..len]);
        same = found[..len] == expected[..len];
    }
    if same { Ok(()) } else { Err(Failure::Wrong { key: number, expected: put }) }
}
