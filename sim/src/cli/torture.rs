//! `shingle torture`: the harness's random runs by seed, and its scripts cut by cut.
//!
//! The body is the library's ([`shingle_sim::harness`]); this file reads the command line, spreads
//! the work over threads and prints what came out. What fails is printed on standard error as the
//! command that replays it, and what is wrong below.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use shingle_sim::harness::campaign::run_spread;
use shingle_sim::harness::exhaustive::{Depth, Found, Script, Tried, replay, scripts, try_script};
use shingle_sim::harness::torture::TortureConfig;
use shingle_sim::media::MediaSpec;

use super::args::TortureArgs;
use super::{Failure, Output};

/// Failures after which a thread goes no further.
const FAILURES_MAX: usize = 5;
/// Outcomes tried of one cut of a script.
const OUTCOMES_MAX: u64 = 8;
/// Cuts tried of one script.
const CUTS_MAX: u64 = 120;

pub(super) fn run(args: &TortureArgs) -> Result<(), Failure> {
    match (&args.script, &args.fuzz) {
        (Some(name), _) => run_script(name, args),
        (None, Some(name)) => super::fuzz::run(name, args),
        (None, None) => run_seeds(args),
    }
}

/// A number, decimal or with `0x`.
fn number(text: &str) -> Result<u64, Failure> {
    let parsed = match text.trim().strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.trim().parse(),
    };
    parsed.map_err(|_| {
        Failure::usage(format!("`{text}` is not a seed; write for example 17 or 0x1f3a"))
    })
}

/// The seeds that were asked for.
pub(super) fn seeds(args: &TortureArgs) -> Result<Range<u64>, Failure> {
    if let Some(seed) = &args.seed {
        let seed = number(seed)?;
        return Ok(seed..seed.saturating_add(1));
    }
    let bad = || {
        Failure::usage(format!("`{}` is not a range of seeds; write for example 0..20", args.seeds))
    };
    let (from, to) = args.seeds.split_once("..").ok_or_else(bad)?;
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok(from..to) } else { Err(bad()) }
}

fn run_seeds(args: &TortureArgs) -> Result<(), Failure> {
    if let Some(media) = &args.media {
        MediaSpec::parse(media)?;
    }
    let seeds = seeds(args)?;
    if let Some(faults) = &args.faults {
        return super::faulted::run_seeds(seeds, faults, args);
    }
    let config = TortureConfig {
        media: args.media.clone(),
        ops: args.ops,
        cuts: !args.no_cuts,
        full_percent: args.full,
        memory_len: args.memory.map(|len| usize::try_from(len).unwrap_or(usize::MAX)),
        writers: args.writers.map(usize::from),
        bytes_max: None,
        trace: args.trace,
    };
    let started = Instant::now();
    let (total, failures) = run_spread(&seeds, &config, FAILURES_MAX, usize::from(args.jobs));
    let mut out = Output::new();
    if args.json {
        let failed: Vec<_> = failures
            .iter()
            .map(|f| json!({ "replay": f.replay, "what": f.what, "setting": f.setting }))
            .collect();
        out.document(&json!({
            "seeds_passed": total.seeds,
            "operations": total.sum.ops,
            "power_cuts": total.sum.cuts,
            "remounts": total.sum.remounts,
            "requests": total.sum.requests,
            "flushes": total.sum.flushes,
            "merges": total.sum.merges,
            "reclaims": total.sum.reclaims,
            "failures": failed,
        }))?;
    } else {
        out.line(&format!(
            "{} seeds passed: {} operations, {} power cuts, {} remounts compared, {} requests, \
             {} flushes, {} merges, {} zones reclaimed in {:.1} s",
            total.seeds,
            total.sum.ops,
            total.sum.cuts,
            total.sum.remounts,
            total.sum.requests,
            total.sum.flushes,
            total.sum.merges,
            total.sum.reclaims,
            started.elapsed().as_secs_f64()
        ))?;
    }
    out.finish()?;
    failed(failures.len(), "seed")
}

pub(super) fn failed(count: usize, what: &str) -> Result<(), Failure> {
    match count {
        0 => Ok(()),
        1 => Err(Failure::new(format!("1 {what} failed; the command above replays it"))),
        _ => Err(Failure::new(format!("{count} {what}s failed; the commands above replay them"))),
    }
}

fn run_script(name: &str, args: &TortureArgs) -> Result<(), Failure> {
    let chosen: Vec<Script> =
        scripts().into_iter().filter(|script| name == "all" || script.name == name).collect();
    if chosen.is_empty() {
        let names: Vec<_> = scripts().iter().map(|script| script.name).collect();
        return Err(Failure::usage(format!(
            "there is no script `{name}`; known are all, {}",
            names.join(", ")
        )));
    }
    if let Some(cut) = args.cut {
        return run_cut(&chosen, cut, args.outcome.unwrap_or(0));
    }
    let (passed, found) = try_all(&chosen, usize::from(args.jobs));
    let mut out = Output::new();
    if args.json {
        let passed: Vec<_> = passed
            .iter()
            .map(|(name, tried)| {
                json!({ "script": name, "requests": tried.requests, "cuts": tried.cuts,
                    "remounts": tried.remounts })
            })
            .collect();
        let failed: Vec<_> = found.iter().map(ToString::to_string).collect();
        out.document(&json!({ "passed": passed, "failures": failed }))?;
    } else {
        for (name, Tried { requests, cuts, remounts }) in &passed {
            out.line(&format!(
                "{name:<20} {requests:>6} requests {cuts:>5} cuts {remounts:>7} remounts compared"
            ))?;
        }
    }
    out.finish()?;
    failed(found.len(), "script")
}

fn run_cut(chosen: &[Script], cut: u64, outcome: u64) -> Result<(), Failure> {
    let mut out = Output::new();
    for Script { name, .. } in chosen {
        replay(name, cut, outcome).map_err(|what| {
            Failure::new(what).about(format!("{name}, cut {cut}, outcome {outcome}"))
        })?;
        out.line(&format!("{name}, cut {cut}, outcome {outcome}: passed"))?;
    }
    out.finish()
}

/// Tries scripts on `jobs` threads, which take the next one as they come free.
fn try_all(chosen: &[Script], jobs: usize) -> (Vec<(&'static str, Tried)>, Vec<Found>) {
    let depth = Depth { outcomes: OUTCOMES_MAX, cuts: CUTS_MAX };
    let next = AtomicUsize::new(0);
    let all = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(script) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = try_script(script, depth);
                    let Ok(mut all) = all.lock() else { return };
                    match result {
                        Ok(tried) => all.0.push((script.name, tried)),
                        Err(found) => {
                            eprintln!("{found}");
                            all.1.push(found);
                        }
                    }
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}
