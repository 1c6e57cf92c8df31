//! The store against the model without power cuts, for longer. `SHINGLE_SEEDS`, `SHINGLE_OPS`.

use shingle_sim::harness::campaign::{run_all, setting};
use shingle_sim::harness::torture::{MEDIA, TortureConfig};

#[test]
fn model_agrees_on_every_medium() {
    let ops = setting("SHINGLE_OPS", 3000);
    let first = setting("SHINGLE_FIRST", 0);
    let seeds = first..first + setting("SHINGLE_SEEDS", 6);
    let usual = TortureConfig { cuts: false, ops, ..TortureConfig::default() };
    let full_percent = setting("SHINGLE_FULL", usual.full_percent);
    let writers = std::env::var("SHINGLE_WRITERS").ok().and_then(|text| text.parse().ok());
    let memory_len = std::env::var("SHINGLE_MEMORY").ok().and_then(|text| text.parse().ok());
    let config = |media: &&str| TortureConfig {
        media: Some((*media).to_owned()),
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
