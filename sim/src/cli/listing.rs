//! `shingle scan`: keys in order.

use serde_json::json;

use super::args::ScanArgs;
use super::range::{Entry, Range};
use super::session::Session;
use super::{Failure, Output, Shop, key};

pub(super) fn run(args: &ScanArgs) -> Result<(), Failure> {
    let range = Range::of(&args.keys)?.reversed(args.reverse);
    let session = Session::open(&args.place)?;
    let mut out = Output::new();
    session.read(async |store: &Shop<'_, '_>| {
        if args.count {
            let count = range.count(store).await?;
            return match args.json {
                true => out.document(&json!({ "count": count })),
                false => out.line(&count.to_string()),
            };
        }
        let mut scratch = Range::scratch(store);
        let mut walk = range.walk(store, &mut scratch).await?;
        for _ in 0..args.limit.unwrap_or(u64::MAX) {
            let next = if args.lost { walk.next_lost().await? } else { walk.next().await? };
            let Some(entry) = next else {
                break;
            };
            say(&mut out, args, &entry)?;
        }
        Ok(())
    })?;
    out.finish()
}

fn say(out: &mut Output, args: &ScanArgs, entry: &Entry) -> Result<(), Failure> {
    let text = key::show(&entry.key);
    if args.json {
        let line = json!({
            "key": text,
            "value_len": entry.value_len,
            "meta_len": entry.meta.len(),
            "tag": key::show(&entry.meta[..entry.version_len]),
        });
        out.line(&line.to_string())
    } else if args.long {
        out.line(&format!("{:>12} {:>6}  {text}", entry.value_len, entry.meta.len()))
    } else {
        out.line(&text)
    }
}
