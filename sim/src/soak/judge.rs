//! What the lives of a store said, against what its operations do.
//!
//! A key may hold what the last durable operation on it left, or what a later one of the same life
//! did, of which there are as many as up to the next that is made durable: it would have said so
//! before it went on. What a life finds when it begins is durable from then on.

use std::collections::BTreeMap;

use super::script::{KEYS, op};
use crate::cli::{Failure, JudgeArgs, Output};

/// What a key holds: the number of the operation that put it, or nothing.
type Held = Option<u64>;

/// What the lives came to.
#[derive(Debug, Default)]
struct Sum {
    lives: u64,
    durable: u64,
    gone: u64,
}

/// Says what the lives of a log came to; fails if one lost something, or if too few told all they
/// found.
pub(crate) fn run(args: &JudgeArgs) -> Result<(), Failure> {
    let log = std::fs::read(&args.log).map_err(|error| Failure::file(&args.log, &error))?;
    let sum = judge(&String::from_utf8_lossy(&log)).map_err(Failure::new)?;
    if sum.lives < args.least {
        return Err(Failure::new(format!(
            "{} lives told what they found, of at least {}",
            sum.lives, args.least
        )));
    }
    let mut out = Output::new();
    out.line(&format!(
        "{} lives, {} operations durable and kept, up to {} puts not durable and gone",
        sum.lives, sum.durable, sum.gone
    ))?;
    out.finish()
}

fn judge(log: &str) -> Result<Sum, String> {
    let mut sum = Sum::default();
    // What is durable, and the first operation of the life that goes on which is not.
    let mut held: BTreeMap<u64, u64> = BTreeMap::new();
    let mut life: Option<u64> = None;
    let mut found = BTreeMap::new();
    for line in log.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("what is {line}?"));
        match words[..] {
            // One that was cut off while it told what it found leaves the next to tell it again.
            ["life"] => found.clear(),
            ["have", key, at] => _ = found.insert(number(key)?, number(at)?),
            ["all"] => {
                compare(&held, life, &found, &mut sum)?;
                held = std::mem::take(&mut found);
                life = None;
            }
            ["begin", first] => life = Some(number(first)?),
            ["durable", last] => {
                let next = life.ok_or(format!("{line}, before any life began"))?;
                let last = number(last)?;
                for number in next..=last {
                    apply(&mut held, number);
                }
                sum.durable += last + 1 - next;
                life = Some(last + 1);
            }
            // The kernel, and whoever started it, speak too.
            _ => {}
        }
    }
    Ok(sum)
}

fn apply(held: &mut BTreeMap<u64, u64>, number: u64) {
    let op = op(number);
    match op.len {
        Some(_) => _ = held.insert(op.key, number),
        None => _ = held.remove(&op.key),
    }
}

/// Fails if `found` has what it should not.
fn compare(
    held: &BTreeMap<u64, u64>,
    life: Option<u64>,
    found: &BTreeMap<u64, u64>,
    sum: &mut Sum,
) -> Result<(), String> {
    sum.lives += 1;
    // Operations that were begun, or may have been.
    let begun = life.map_or(0..=0, |next| {
        let last = (next..).find(|number| op(*number).durable);
        next..=last.unwrap_or(next)
    });
    for key in 0..KEYS {
        let (kept, now): (Held, Held) = (held.get(&key).copied(), found.get(&key).copied());
        if kept == now {
            continue;
        }
        let later = life.is_some()
            && match now {
                Some(number) => begun.contains(&number) && op(number).key == key,
                None => begun.clone().map(op).any(|op| op.key == key && op.len.is_none()),
            };
        if !later {
            return Err(format!("key {key} held {kept:?}, and now {now:?}: it was durable"));
        }
    }
    sum.gone += life.map_or(0, |next| {
        let is_there = |number: &u64| found.get(&op(*number).key) == Some(number);
        let puts = (next..*begun.end()).filter(|number| op(*number).len.is_some());
        puts.filter(|number| !is_there(number)).count() as u64
    });
    Ok(())
}
