//! A life of a store, which ends in time or with the power: it says what it finds, and then what is
//! durable.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

use shingle_engine::{
    FormatOptions, Limits, Meta, OpenError, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::Device as _;
use shingle_sim::linux::Queue;

use super::script::{KEYS, LIFE, LIFE_KEY, Op, VALUE_LEN_MAX, name, op, value};
use crate::cli::{Failure, Medium, Shop, SoakArgs, allocate, memory_len, output_failed};

/// Says a line, and waits until it is out.
fn say(line: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(output_failed)?;
    if out.is_terminal() {
        rustix::termios::tcdrain(&out).map_err(|errno| output_failed(errno.into()))?;
    }
    Ok(())
}

/// Lives on the disk, for the time that was said at most.
pub(crate) fn run(args: &SoakArgs) -> Result<(), Failure> {
    let queue = if args.threads { Queue::Threads } else { Queue::Best };
    let medium = Medium::disk_by(&args.disk, queue)?;
    let mut memory = allocate(memory_len(&medium, medium.capacity_bytes()) as u64)?;
    let lived = medium.block_on(async {
        say("mount")?;
        match Store::open(&medium, &mut memory).await.map(|_| ()) {
            // A store that is lost is found out by the judge: it had something.
            Err(OpenError::NotFormatted) if args.force => make(&medium, &mut memory).await?,
            Err(OpenError::NotFormatted) => {
                return Err(Failure::new("the disk holds no store; --force makes one"));
            }
            opened => opened?,
        }
        let store = Store::open(&medium, &mut memory).await?;
        tell(&store).await?;
        work(&store, Duration::from_secs(args.seconds)).await
    });
    lived.map_err(|failure| failure.about(args.disk.display()))
}

async fn make(medium: &Medium, memory: &mut [u8]) -> Result<(), Failure> {
    let limits = Limits::for_geometry(&medium.geometry());
    let options = FormatOptions { store_id: [5; 16], limits, redundancy: Redundancy::NONE };
    let made = format(&medium, memory, &options).await;
    made.map_err(|error| Failure::new(error.to_string()))
}

/// Says what the store holds.
async fn tell(store: &Shop<'_, '_>) -> Result<(), Failure> {
    say("life")?;
    let mut out = vec![0; store.read_room(VALUE_LEN_MAX as u64) as usize];
    for key in 0..KEYS {
        let found = store.get(&name(key), &mut out, ReadOptions::default()).await;
        let found = found.map_err(|error| Failure::from(error).about(format_args!("key {key}")))?;
        let Some(found) = found else {
            continue;
        };
        let held = &out[..found.value_len as usize];
        let number = held.first_chunk().map(|first| u64::from_le_bytes(*first));
        let number = number.filter(|number| {
            let put = op(*number);
            put.key == key && put.len.is_some_and(|len| value(*number, len) == held)
        });
        let number = number
            .ok_or_else(|| Failure::new(format!("key {key} holds what no operation ever put")))?;
        say(&format!("have {key} {number}"))?;
    }
    say("all")
}

/// Does operations until `time` is over.
async fn work(store: &Shop<'_, '_>, time: Duration) -> Result<(), Failure> {
    let mut out = [0; 4096];
    let before = match store.get(LIFE_KEY, &mut out, ReadOptions::default()).await? {
        Some(_) => out.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)),
        None => 0,
    };
    let life = before + LIFE;
    // Before anything else, so that no number is ever used twice.
    store.put(LIFE_KEY, Meta::NONE, &life.to_le_bytes(), WriteOptions::DURABLE).await?;
    say(&format!("begin {life}"))?;
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
        .map_err(|error| Failure::from(error).about(format_args!("operation {number}")))?;
        if durable {
            say(&format!("durable {number}"))?;
        }
    }
    Ok(())
}
