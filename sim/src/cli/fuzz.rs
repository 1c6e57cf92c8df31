//! `shingle torture --fuzz`: fuzz targets without a fuzzer.
//!
//! The bodies are the library's ([`shingle_sim::harness::fuzz`]). Their inputs come from seeds, or
//! from the file in which libFuzzer left one that crashed; and a directory can be filled with the
//! inputs of seeds, for libFuzzer to begin with.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use shingle_sim::harness::fuzz::target::{Failure as Finding, TARGETS, Target};

use super::args::TortureArgs;
use super::torture::{failed, seeds};
use super::{Failure, Output};

/// Failures after which a thread goes no further.
const FAILURES_MAX: usize = 5;
/// Longest file that is taken for an input.
const FILE_LEN_MAX: u64 = 16 << 20;

pub(super) fn run(name: &str, args: &TortureArgs) -> Result<(), Failure> {
    let target = Target::find(name).ok_or_else(|| {
        let names = TARGETS.map(|target| target.name).join(", ");
        Failure::usage(format!("there is no fuzz target `{name}`; known are {names}"))
    })?;
    if let Some(path) = &args.bytes {
        return replay(&target, path);
    }
    let seeds = seeds(args)?;
    match &args.corpus {
        Some(directory) => write_corpus(&target, seeds, directory),
        None => try_seeds(&target, &seeds, args),
    }
}

fn replay(target: &Target, path: &Path) -> Result<(), Failure> {
    let len = fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
    if len > FILE_LEN_MAX {
        return Err(Failure::new(format!("{} is too long for an input", path.display())));
    }
    let bytes = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    target.run(&bytes).map_err(|what| Failure::new(what).about(path.display()))?;
    let mut out = Output::new();
    out.line(&format!("{}: {} bytes passed", target.name, bytes.len()))?;
    out.finish()
}

fn write_corpus(target: &Target, seeds: Range<u64>, directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| Failure::file(directory, &error))?;
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let path = directory.join(format!("seed-{seed}"));
        fs::write(&path, target.input(seed)).map_err(|error| Failure::file(&path, &error))?;
    }
    let mut out = Output::new();
    out.line(&format!("{count} inputs of {} are in {}", target.name, directory.display()))?;
    out.finish()
}

/// Tries the inputs of seeds, spread over threads.
fn try_seeds(target: &Target, seeds: &Range<u64>, args: &TortureArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let share = (seeds.end - seeds.start).div_ceil(args.jobs.into()).max(1);
    let found: Vec<Finding> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..u64::from(args.jobs))
            .map(|job| {
                let start = seeds.start.saturating_add(job * share).min(seeds.end);
                let part = start..start.saturating_add(share).min(seeds.end);
                scope.spawn(move || target.run_seeds(part, FAILURES_MAX))
            })
            .collect();
        // A panic of a body is a finding; one that gets here is the harness's own.
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    for finding in &found {
        eprintln!("{finding}");
    }
    let mut out = Output::new();
    let tried = seeds.end - seeds.start;
    if args.json {
        let failures: Vec<_> = found
            .iter()
            .map(|finding| json!({ "replay": finding.replay, "what": finding.what }))
            .collect();
        out.document(&json!({ "target": target.name, "inputs": tried, "failures": failures }))?;
    } else {
        out.line(&format!(
            "{}: {tried} inputs, {} failed, in {:.1} s",
            target.name,
            found.len(),
            started.elapsed().as_secs_f64()
        ))?;
    }
    out.finish()?;
    failed(found.len(), "input")
}
