//! `shingle check`: reads everything a store holds and says what is wrong where.
//!
//! In this order, each part a line: the store opens (superblocks, manifest, log); the state in
//! memory agrees with itself; every key is listed forward, its metadata and its value read; the
//! keys are listed backward and counted, and all three agree; no zone holds more live bytes than
//! were written to it; every block that is written is read, in both copies where there are two.
//! The image is not changed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use super::args::ViewArgs;
use super::medium::Medium;
use super::range::{Entry, Range};
use super::scan::Walk;
use super::session::Session;
use super::{Failure, Output, Shop, finding, key, size};
use crate::report::zones;

/// Bytes of a value that are read at once.
const PIECE_LEN: usize = 1 << 20;
/// Findings that are kept; more are only counted.
const FINDINGS_MAX: usize = 1000;

/// Something wrong.
struct Finding {
    part: &'static str,
    place: String,
    what: String,
}

/// What was looked at and what was found.
#[derive(Default)]
struct Survey {
    keys: u64,
    value_bytes: u64,
    zones: u64,
    live_bytes: u64,
    blocks: u64,
    found: Vec<Finding>,
    found_count: u64,
}

impl Survey {
    fn add(&mut self, part: &'static str, place: impl Into<String>, what: impl ToString) {
        self.found_count += 1;
        if self.found.len() < FINDINGS_MAX {
            let (place, what) = (place.into(), what.to_string());
            self.found.push(Finding { part, place, what });
        }
    }

    fn json(&self, image: &str) -> Value {
        let found: Vec<Value> = self
            .found
            .iter()
            .map(|one| json!({ "part": one.part, "place": one.place, "what": one.what }))
            .collect();
        json!({
            "image": image,
            "sound": self.found_count == 0,
            "keys": self.keys,
            "value_bytes": self.value_bytes,
            "zones": self.zones,
            "live_bytes": self.live_bytes,
            "scrubbed_blocks": self.blocks,
            "found_count": self.found_count,
            "found": found,
        })
    }
}

pub(super) fn run(args: &ViewArgs) -> Result<(), Failure> {
    let session = Session::open(&args.place)?;
    let mut survey = Survey::default();
    let surveyed = session.read(async |store: &Shop<'_, '_>| {
        inspect_state(store, &mut survey);
        read_forward(store, &mut survey).await;
        count_again(store, &mut survey).await;
        inspect_zones(store, &mut survey).await;
        scrub(store, &mut survey).await;
        Ok(())
    });
    if let Err(failure) = surveyed {
        survey.add("open", "superblocks, manifest, log", failure.message());
    }
    let image = args.place.image.display().to_string();
    let mut out = Output::new();
    if args.json {
        out.document(&survey.json(&image))?;
    } else {
        for one in &survey.found {
            out.line(&format!("{}: {}: {}", one.part, one.place, one.what))?;
        }
        out.line(&format!(
            "{image}: {} keys, {} of values, {} zones, {} live",
            survey.keys,
            size::show(survey.value_bytes),
            survey.zones,
            size::show(survey.live_bytes)
        ))?;
    }
    out.finish()?;
    match survey.found_count {
        0 => Ok(()),
        1 => Err(Failure::new(format!("{image} has 1 fault"))),
        count => Err(Failure::new(format!("{image} has {count} faults"))),
    }
}

fn inspect_state(store: &Shop<'_, '_>, survey: &mut Survey) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let checked = catch_unwind(AssertUnwindSafe(|| store.check_invariants()));
    std::panic::set_hook(hook);
    if let Err(payload) = checked {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        survey.add("state", "after recovery", text.unwrap_or("an invariant does not hold"));
    }
}

async fn read_forward(store: &Shop<'_, '_>, survey: &mut Survey) {
    let mut last = None;
    if let Err(failure) = read_all(store, survey, &mut last).await {
        let after = last.map_or_else(
            || "at the first key".to_owned(),
            |key| format!("after {}", key::show(&key)),
        );
        survey.add("keys", format!("forward, {after}"), failure.message());
    }
}

async fn read_all(
    store: &Shop<'_, '_>,
    survey: &mut Survey,
    last: &mut Option<Vec<u8>>,
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE_LEN];
    let mut scratch = Range::scratch(store);
    let mut walk = Range::ALL.walk(store, &mut scratch).await?;
    while let Some(entry) = walk.next().await? {
        if last.as_ref().is_some_and(|last| *last >= entry.key) {
            survey.add(
                "order",
                key::show(&entry.key),
                "the key does not come after the one before it",
            );
        }
        survey.keys += 1;
        read_value(&mut walk, &entry, &mut piece, survey).await;
        *last = Some(entry.key);
    }
    Ok(())
}

async fn read_value(
    walk: &mut Walk<'_, '_, '_, &Medium>,
    entry: &Entry,
    piece: &mut [u8],
    survey: &mut Survey,
) {
    let name = key::show(&entry.key);
    let mut offset = 0;
    while offset < entry.value_len {
        match walk.value(offset, piece).await {
            Ok(0) => {
                let what = format!("ends after {offset} of {} bytes", entry.value_len);
                return survey.add("value", name, what);
            }
            Ok(len) => {
                offset += len as u64;
                survey.value_bytes += len as u64;
            }
            Err(failure) => {
                let place = format!("{name} from byte {offset} on");
                return survey.add("value", place, failure.message());
            }
        }
    }
}

/// Keys from the last to the first; `last` is the one that came last.
async fn count_backward(store: &Shop<'_, '_>, last: &mut Option<Vec<u8>>) -> Result<u64, Failure> {
    let mut scratch = Range::scratch(store);
    let mut walk = Range::ALL.reversed(true).walk(store, &mut scratch).await?;
    let mut count = 0;
    while let Some(entry) = walk.next().await? {
        count += 1;
        *last = Some(entry.key);
    }
    Ok(count)
}

async fn count_again(store: &Shop<'_, '_>, survey: &mut Survey) {
    let mut last = None;
    match count_backward(store, &mut last).await {
        Ok(count) if count != survey.keys => {
            let what = format!("{} keys forward, {count} backward", survey.keys);
            survey.add("keys", "all", what);
        }
        Ok(_) => {}
        Err(failure) => {
            let before = last.map_or_else(
                || "at the last key".to_owned(),
                |key| format!("before {}", key::show(&key)),
            );
            survey.add("keys", format!("backward, {before}"), failure.message());
        }
    }
    match Range::ALL.count(store).await {
        Ok(count) if count != survey.keys => {
            let what = format!("{} keys listed, {count} counted", survey.keys);
            survey.add("keys", "all", what);
        }
        Ok(_) => {}
        Err(failure) => survey.add("keys", "count", failure.message()),
    }
}

/// Every block that is written, in both copies.
async fn scrub(store: &Shop<'_, '_>, survey: &mut Survey) {
    let passes = store.stats().scrub.passes;
    let mut seen = std::collections::BTreeSet::new();
    // What is left of a pass under way, and then a whole one.
    while store.stats().scrub.passes < passes + 2 {
        let take = &mut |one: &shingle_engine::Finding| {
            if seen.insert(one.extent.start) {
                survey.add("scrub", finding::place(one), finding::fault(one));
            }
        };
        if let Err(error) = store.scrub_each(PIECE_LEN as u64, take).await {
            return survey.add("scrub", "ended early", error);
        }
    }
    survey.blocks = store.stats().scrub.blocks;
}

async fn inspect_zones(store: &Shop<'_, '_>, survey: &mut Survey) {
    let views = match zones::collect(store).await {
        Ok(views) => views,
        Err(failure) => return survey.add("zones", "report", failure.message()),
    };
    survey.zones = views.len() as u64;
    for view in views {
        survey.live_bytes += view.live_bytes;
        if view.live_bytes > view.written_bytes {
            let what = format!("{} bytes live, {} written", view.live_bytes, view.written_bytes);
            let place = format!("zone {} ({})", view.zone, zones::role_name(view.role));
            survey.add("zones", place, what);
        }
    }
}
