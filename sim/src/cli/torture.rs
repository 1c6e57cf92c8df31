//! `shingle torture`: the harness's random runs, by seed.
//!
//! The body is the library's (`shingle_sim::harness`); this file reads the command line, spreads
//! seeds over threads and prints what came out.

use super::Failure;
use super::args::TortureArgs;
use shingle_sim::media::MediaSpec;

pub(super) fn run(args: &TortureArgs) -> Result<(), Failure> {
    let spec = MediaSpec::parse(&args.media)?;
    let seeds = seeds(args)?;
    run_seeds(&spec, seeds, args)
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

fn seeds(args: &TortureArgs) -> Result<std::ops::Range<u64>, Failure> {
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

// The seam: `shingle_sim::harness::torture::run(seed, &config)` goes here.
fn run_seeds(
    _: &MediaSpec,
    seeds: std::ops::Range<u64>,
    args: &TortureArgs,
) -> Result<(), Failure> {
    let what = format!("{} operations on {} seeds", args.ops, seeds.end - seeds.start);
    let how = format!("{} at once{}", args.jobs, if args.json { ", as JSON" } else { "" });
    Err(Failure::new(format!("this program was built without the harness: {what}, {how}")))
}
