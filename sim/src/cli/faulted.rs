//! `shingle torture --faults`: the harness on drives that fail, and what each kind of fault did.

use std::time::Instant;

use serde_json::json;
use shingle_sim::fault::{FaultKind, FaultPlan};
use shingle_sim::harness::fault_campaign::{Campaign, Total};
use shingle_sim::harness::faulted::Faults;
use shingle_sim::media::MediaSpec;

use super::args::TortureArgs;
use super::{Failure, Output};

/// What `--faults` asks for.
fn faults(text: &str) -> Result<Faults, Failure> {
    match text {
        "within" => Ok(Faults::Within),
        "element" => Ok(Faults::Element),
        "any" => Ok(Faults::Any),
        text => match FaultPlan::preset(text) {
            Some(plan) => Ok(Faults::Plan(plan)),
            None => text.parse().map(Faults::Plan).map_err(|error| {
                let names = FaultPlan::preset_names().join(", ");
                Failure::usage(format!("{error}; or say within, element, any, {names}"))
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
    let campaign = Campaign {
        seeds,
        media: args.media.clone(),
        ops: args.ops,
        faults,
        text: text.to_owned(),
        jobs: args.jobs.into(),
    };
    let started = Instant::now();
    let total = campaign.run(&|line| eprintln!("{line}"));
    let mut out = Output::new();
    if args.json {
        out.document(&document(&total))?;
    } else {
        for line in table(&total, started.elapsed().as_secs_f64()) {
            out.line(&line)?;
        }
    }
    out.finish()?;
    super::torture::failed(total.failures.len(), "seed")
}

/// A row for each kind of fault, and what it all came to.
fn table(total: &Total, seconds: f64) -> Vec<String> {
    let sum = &total.sum;
    let heads = ["fault", "injected", "detected", "mended", "reported lost"];
    let row = |cells: [String; 5]| {
        let [kind, rest @ ..] = cells;
        let rest: Vec<_> = rest.iter().map(|cell| format!("{cell:>14}")).collect();
        format!("{kind:<20}{}", rest.concat())
    };
    let mut lines = vec![row(heads.map(str::to_owned))];
    for kind in FaultKind::all().filter(|kind| sum.faults.injected.of(*kind) > 0) {
        let faults = &sum.faults;
        let (injected, detected) = (faults.injected.of(kind), faults.detected.of(kind));
        let figures = [injected, detected, faults.mended(kind), faults.lost.of(kind)];
        let [a, b, c, d] = figures.map(|figure| figure.to_string());
        lines.push(row([kind.to_string(), a, b, c, d]));
    }
    lines.push(format!(
        "{} seeds passed on {} drives: {} operations, {} power cuts, {} answers compared, {} reads \
         answered damaged ({} where no fault had hit), {} answers older than acknowledged, {} \
         mounts without some records, {} zones rebuilt, {} zones failed, in {seconds:.1} s",
        total.passed,
        sum.drives,
        sum.ops,
        sum.cuts,
        sum.compared,
        sum.damaged,
        sum.unblamed,
        sum.older,
        sum.lost_logs,
        sum.rebuilds,
        sum.failed_zones,
    ));
    lines
}

fn document(total: &Total) -> serde_json::Value {
    let sum = &total.sum;
    let kinds = FaultKind::all().map(|kind| {
        let figures = json!({
            "injected": sum.faults.injected.of(kind),
            "detected": sum.faults.detected.of(kind),
            "mended": sum.faults.mended(kind),
            "reported_lost": sum.faults.lost.of(kind),
        });
        (kind.to_string(), figures)
    });
    let failures: Vec<_> =
        total.failures.iter().map(|f| json!({ "replay": f.replay, "what": f.what })).collect();
    json!({
        "seeds_passed": total.passed,
        "drives": sum.drives,
        "operations": sum.ops,
        "power_cuts": sum.cuts,
        "answers_compared": sum.compared,
        "answers_older": sum.older,
        "reads_damaged": sum.damaged,
        "reads_damaged_without_fault": sum.unblamed,
        "mounts_without_records": sum.lost_logs,
        "zones_rebuilt": sum.rebuilds,
        "zones_failed": sum.failed_zones,
        "faults": kinds.collect::<serde_json::Map<_, _>>(),
        "failures": failures,
    })
}
