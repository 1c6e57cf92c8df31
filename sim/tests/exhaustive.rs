//! Every cut of the scripts. `SHINGLE_DEPTH` is the number of outcomes tried for each cut,
//! `SHINGLE_CUTS` the most cuts of a script.

use std::sync::Mutex;

use shingle_sim::harness::campaign::setting;
use shingle_sim::harness::exhaustive::{Depth, Tried, scripts, try_script};

#[test]
fn exhaustive_every_cut_keeps_a_prefix_of_commits() {
    let depth = Depth { outcomes: setting("SHINGLE_DEPTH", 8), cuts: setting("SHINGLE_CUTS", 120) };
    let all = scripts();
    let (sum, found) = (Mutex::new(Tried::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for part in 0..2 {
            let (all, sum, found) = (&all, &sum, &found);
            scope.spawn(move || {
                for script in all.iter().skip(part).step_by(2) {
                    match try_script(script, depth) {
                        Ok(tried) => {
                            eprintln!("{}: {tried:?}", script.name);
                            let mut sum = sum.lock().unwrap();
                            sum.requests += tried.requests;
                            sum.cuts += tried.cuts;
                            sum.remounts += tried.remounts;
                        }
                        Err(wrong) => {
                            eprintln!("{wrong}");
                            found.lock().unwrap().push(wrong);
                        }
                    }
                }
            });
        }
    });
    eprintln!("{:?}", sum.lock().unwrap());
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{} scripts fail, the first:\n{}", found.len(), found[0]);
}
