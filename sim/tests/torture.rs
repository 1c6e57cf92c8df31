//! Power cuts at random, on every medium. `SHINGLE_SEEDS` and `SHINGLE_OPS` scale it up.

use shingle_sim::harness::campaign::{run_all, setting};
use shingle_sim::harness::torture::{MEDIA, TortureConfig, run};

#[test]
fn torture_keeps_a_prefix_of_commits() {
    let ops = setting("SHINGLE_OPS", 400);
    let first = setting("SHINGLE_FIRST", 0);
    let seeds = first..first + setting("SHINGLE_SEEDS", 30);
    let usual = TortureConfig::default();
    let full_percent = setting("SHINGLE_FULL", usual.full_percent);
    let writers = std::env::var("SHINGLE_WRITERS").ok().and_then(|text| text.parse().ok());
    let memory_len = std::env::var("SHINGLE_MEMORY").ok().and_then(|text| text.parse().ok());
    let config = |media: &&str| TortureConfig {
        media: Some((*media).to_owned()),
        ops,
        full_percent,
        writers,
        memory_len,
        ..usual.clone()
    };
    let configs: Vec<_> = MEDIA.iter().map(config).collect();
    let (total, failures) = run_all(&seeds, &configs, setting("SHINGLE_FAILURES", 1) as usize);
    eprintln!("{total:?}");
    assert!(failures.is_empty(), "{} failures, the first:\n{}", failures.len(), failures[0]);
}

#[test]
fn torture_same_seed_same_trace() {
    for seed in 0..4 {
        let config = TortureConfig { ops: 100, ..TortureConfig::default() };
        assert_eq!(run(seed, &config), run(seed, &config));
    }
}

/// `SHINGLE_MEDIA=m SHINGLE_SEED=s SHINGLE_OPS=n cargo test --test store replay -- --ignored`
#[test]
#[ignore = "replays one seed, with every operation on stderr"]
fn torture_replay() {
    let config = TortureConfig {
        media: std::env::var("SHINGLE_MEDIA").ok(),
        ops: setting("SHINGLE_OPS", 400),
        writers: std::env::var("SHINGLE_WRITERS").ok().and_then(|text| text.parse().ok()),
        memory_len: std::env::var("SHINGLE_MEMORY").ok().and_then(|text| text.parse().ok()),
        cuts: setting("SHINGLE_NO_CUTS", 0) == 0,
        trace: true,
        ..TortureConfig::default()
    };
    match run(setting("SHINGLE_SEED", 0), &config) {
        Ok(summary) => eprintln!("{summary:?}"),
        Err(failure) => panic!("{failure}"),
    }
}
