//! The quick selection: a few seeds of every harness, in some ten seconds, until one fails.
//!
//! A mutant of the engine is held against this ([`.ci/mutants`]), so what matters is how soon most
//! of them show. The cheap harnesses come first: decoders, then whole lives of a drive, with power
//! cuts and with faults. No bound on time is kept here; whoever runs it ends what goes in circles.

use std::process::ExitCode;

use shingle_sim::harness::campaign::setting;
use shingle_sim::harness::exhaustive::{Depth, scripts, try_script};
use shingle_sim::harness::faulted::{self, Faults};
use shingle_sim::harness::fuzz::target::Target;
use shingle_sim::harness::torture::{self, MEDIA, TortureConfig};

fn fuzz(name: &str, seeds: u64) -> Result<(), String> {
    let target = Target::find(name).ok_or_else(|| format!("no target {name}"))?;
    for seed in 0..seeds {
        let tried = target.run(&target.input(seed));
        tried.map_err(|what| format!("{name}, seed {seed}: {what}"))?;
    }
    Ok(())
}

fn torture(seeds: u64) -> Result<(), String> {
    for seed in 0..seeds {
        for media in MEDIA {
            let media = Some(media.to_owned());
            let config = TortureConfig { media, ops: 300, ..TortureConfig::default() };
            torture::run(seed, &config).map_err(|failure| failure.to_string())?;
        }
    }
    Ok(())
}

fn faulted(faults: &Faults, seeds: u64) -> Result<(), String> {
    for seed in 0..seeds {
        let media = MEDIA[seed as usize % MEDIA.len()];
        let tried = faulted::run(seed, media, 300, faults);
        tried.map_err(|what| format!("faults, seed {seed} on {media}: {what}"))?;
    }
    Ok(())
}

fn every_cut(outcomes_max: u64, cuts_max: u64) -> Result<(), String> {
    for script in scripts() {
        let depth = Depth { outcomes: outcomes_max, cuts: cuts_max };
        let tried = try_script(&script, depth);
        tried.map_err(|found| format!("{}: {}", script.name, found.what))?;
    }
    Ok(())
}

fn all(scale: u64) -> Result<(), String> {
    let started = std::time::Instant::now();
    let step = |name: &str, result: Result<(), String>| {
        eprintln!("{name}: {:.1} s so far", started.elapsed().as_secs_f64());
        result
    };
    step("decode", fuzz("decode", 2_000 * scale))?;
    step("torture", torture(scale))?;
    step("scripts", every_cut(1, 8 * scale))?;
    step("faults within", faulted(&Faults::Within, 30 * scale))?;
    step("faults any", faulted(&Faults::Any, 30 * scale))?;
    step("operations", fuzz("operations", 3 * scale))?;
    step("power cuts", fuzz("power_cuts", 5 * scale))?;
    step("mutated images", fuzz("mutated_images", 60 * scale))
}

fn main() -> ExitCode {
    match all(setting("SHINGLE_SCALE", 1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}
