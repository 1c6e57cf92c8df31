//! Planted bugs are found.

use shingle_engine::canary::{Bug, plant};
use shingle_sim::harness::campaign::{run_seeds, setting};
use shingle_sim::harness::canary::hunt;
use shingle_sim::harness::torture::TortureConfig;

#[test]
fn canary_every_planted_bug_is_found() {
    let (seeds, ops) = (setting("SHINGLE_SEEDS", 400), setting("SHINGLE_OPS", 1200));
    plant(None);
    let (_, failures) = run_seeds(0..10, &TortureConfig { ops, ..TortureConfig::default() }, 1);
    assert!(failures.is_empty(), "without a planted bug: {}", failures[0]);
    let mut missed = Vec::new();
    let only = std::env::var("SHINGLE_BUG").ok();
    let asked = |bug: &Bug| only.as_ref().is_none_or(|name| *name == format!("{bug:?}"));
    for bug in Bug::ALL.into_iter().filter(asked) {
        let caught = hunt(bug, seeds, ops);
        match caught.seeds {
            Some(seeds) => eprintln!("{bug:?}: {seeds} seeds\n{}", caught.shown),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "never found: {missed:?}");
}
