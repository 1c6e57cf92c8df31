//! `shingle torture --faults`: the harness on drives that fail, and what each kind of fault did.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;
use shingle_sim::fault::{FaultKind, FaultPlan};
use shingle_sim::harness::faulted::{Faults, Outcomes, run};
use shingle_sim::media::MediaSpec;

use super::args::TortureArgs;
use super::{Failure, Output};

/// The drives that seeds take turns on, where none is named.
const MEDIA: [&str; 4] = [
    "smr-tiny:timing=instant",
    "disk-tiny:timing=instant",
    "zns-tiny:timing=instant",
    "nor-1m:timing=instant,zone-kib=32",
];
/// Failures that are printed.
const FAILURES_MAX: usize = 5;

/// What `--faults` asks for.
fn faults(text: &str) -> Result<Faults, Failure> {
    match text {
        "within" => Ok(Faults::Within),
        "any" => Ok(Faults::Any),
        text => match FaultPlan::preset(text) {
            Some(plan) => Ok(Faults::Plan(plan)),
            None => text.parse().map(Faults::Plan).map_err(|error| {
                let names = FaultPlan::preset_names().join(", ");
                Failure::usage(format!("{error}; or say within, any, {names}"))
            }),
        },
    }
}

pub(super) fn run_seeds(
    seeds: std::ops::Range<u64>,
    text: &str,
    args: &TortureArgs,
) -> Result<(), Failure> {
    let faults = faults(text)?;
    if let Some(media) = &args.media {
        MediaSpec::parse(media)?;
    }
    let started = Instant::now();
    let (next, total) = (AtomicU64::new(seeds.start), Mutex::new((0, Outcomes::default())));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let drawn = MEDIA[seed as usize % MEDIA.len()];
                    let media = args.media.as_deref().unwrap_or(drawn);
                    match run(seed, media, args.ops, &faults) {
                        Ok(outcomes) => {
                            let Ok(mut total) = total.lock() else { break };
                            total.0 += 1;
                            total.1.add(&outcomes);
                        }
                        Err(what) => {
                            let Ok(mut failed) = failed.lock() else { break };
                            let ops = args.ops;
                            let replay = format!(
                                "shingle torture --media {media} --seed {seed} --ops {ops} \
                                 --faults '{text}'"
                            );
                            if failed.len() < FAILURES_MAX {
                                eprintln!("{replay}\n  {what}");
                            }
                            failed.push((replay, what));
                        }
                    }
                }
            });
        }
    });
    let (passed, sum) = total.into_inner().unwrap_or_default();
    let failed = failed.into_inner().unwrap_or_default();
    say(passed, &sum, &failed, started, args)?;
    super::torture::failed(failed.len(), "seed")
}

fn say(
    passed: u64,
    sum: &Outcomes,
    failed: &[(String, String)],
    started: Instant,
    args: &TortureArgs,
) -> Result<(), Failure> {
    let mut out = Output::new();
    if args.json {
        let kinds = FaultKind::all().map(|kind| (kind.to_string(), json!(sum.faults.of(kind))));
        let failed: Vec<_> =
            failed.iter().map(|(replay, what)| json!({ "replay": replay, "what": what })).collect();
        out.document(&json!({
            "seeds_passed": passed,
            "operations": sum.ops,
            "power_cuts": sum.cuts,
            "reads_damaged": sum.damaged,
            "zones_rebuilt": sum.rebuilds,
            "zones_failed": sum.failed_zones,
            "faults": kinds.collect::<serde_json::Map<_, _>>(),
            "failures": failed,
        }))?;
        return out.finish();
    }
    for kind in FaultKind::all().filter(|kind| sum.faults.of(*kind) > 0) {
        out.line(&format!("{:<20} {:>10} injected", kind.to_string(), sum.faults.of(kind)))?;
    }
    out.line(&format!(
        "{passed} seeds passed: {} operations, {} power cuts, {} reads answered damaged, {} zones \
         rebuilt, {} zones failed, in {:.1} s",
        sum.ops,
        sum.cuts,
        sum.damaged,
        sum.rebuilds,
        sum.failed_zones,
        started.elapsed().as_secs_f64()
    ))?;
    out.finish()
}
