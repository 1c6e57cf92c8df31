//! A life of a store that ends with the machine: it says what it finds, and then what is durable.
//!
//! ```text
//! mount               the store is about to be opened
//! life                it begins to tell what it finds
//! have KEY NUMBER     the key holds what operation NUMBER put, byte for byte
//! all                 that was every key
//! begin NUMBER        operations begin, with this one
//! durable NUMBER      all operations up to this one are
//! ```
//!
//! Lines go out one by one, and that about an operation before the next is begun, so a machine that
//! dies has said all that it promised.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use shingle_engine::{
    FormatOptions, Limits, Meta, OpenError, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::Device as _;
use shingle_sim::linux::{FileFault, LinuxDevice, Queue, runtime};

use crate::script::{KEYS, LIFE, Op, VALUE_LEN_MAX, name, op, value};

const MEMORY_LEN: usize = 4 << 20;
/// The key that says which life it is, put before anything else is.
const LIFE_KEY: &[u8] = b"life";

/// Says a line, and waits until it is out.
fn say(line: &str) {
    let mut out = stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.expect("somebody listens");
    if out.is_terminal() {
        rustix::termios::tcdrain(&out).expect("the line goes out");
    }
}

/// Lives on the store at `path`, for `time` at most.
pub(crate) fn run(path: &Path, time: Duration) -> Result<(), String> {
    let runtime = runtime(Queue::Best).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let device = LinuxDevice::open(path).await.map_err(|error| error.to_string())?;
        let mut memory = vec![0; MEMORY_LEN];
        say("mount");
        match Store::open(&device, &mut memory).await.map(|_| ()) {
            Ok(()) => {}
            // A store that is lost is found out by the judge: it had something.
            Err(OpenError::NotFormatted) => make(&device, &mut memory).await?,
            Err(error) => return Err(format!("the store does not open: {error}")),
        }
        let opened = Store::open(&device, &mut memory).await;
        let store = opened.map_err(|error| format!("the store does not open: {error}"))?;
        tell(&store).await?;
        work(&store, time).await
    })
}

async fn make(device: &LinuxDevice, memory: &mut [u8]) -> Result<(), String> {
    let limits = Limits::for_geometry(&device.geometry());
    let options = FormatOptions { store_id: [5; 16], limits, redundancy: Redundancy::NONE };
    format(&device, memory, &options).await.map_err(|error| error.to_string())
}

type Shop<'m, 'd> = Store<'m, &'d LinuxDevice>;

/// Says what the store holds.
async fn tell(store: &Shop<'_, '_>) -> Result<(), String> {
    say("life");
    let mut out = vec![0; store.read_room(VALUE_LEN_MAX as u64) as usize];
    for key in 0..KEYS {
        let found = store.get(&name(key), &mut out, ReadOptions::default()).await;
        let Some(found) = found.map_err(|error| format!("key {key} cannot be read: {error}"))?
        else {
            continue;
        };
        let held = &out[..found.value_len as usize];
        let number = held.first_chunk().map(|first| u64::from_le_bytes(*first));
        let number = number.filter(|number| {
            let put = op(*number);
            put.key == key && put.len.is_some_and(|len| value(*number, len) == held)
        });
        let number = number.ok_or(format!("key {key} holds what was never put"))?;
        say(&format!("have {key} {number}"));
    }
    say("all");
    Ok(())
}

/// Does operations until `time` is over.
async fn work(store: &Shop<'_, '_>, time: Duration) -> Result<(), String> {
    let failed = |error: shingle_engine::WriteError<FileFault>| format!("a put failed: {error}");
    let mut out = [0; 4096];
    let found = store.get(LIFE_KEY, &mut out, ReadOptions::default()).await;
    let before = match found.map_err(|error| error.to_string())? {
        Some(_) => out.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)),
        None => 0,
    };
    let life = before + LIFE;
    let bytes = life.to_le_bytes();
    let put = store.put(LIFE_KEY, Meta::NONE, &bytes, WriteOptions::DURABLE).await;
    put.map_err(failed)?;
    say(&format!("begin {life}"));
    let begun = Instant::now();
    for number in life..life + LIFE {
        if begun.elapsed() > time {
            break;
        }
        let Op { key, len, durable } = op(number);
        let options = if durable { WriteOptions::DURABLE } else { WriteOptions::BUFFERED };
        let key = name(key);
        match len {
            Some(len) => store.put(&key, Meta::NONE, &value(number, len), options).await,
            None => store.delete(&key, options).await.map(|_| ()),
        }
        .map_err(failed)?;
        if durable {
            say(&format!("durable {number}"));
        }
    }
    Ok(())
}
