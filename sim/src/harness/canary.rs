//! Planted bugs: a harness that finds none of them would find no others.

use shingle_engine::canary::{Bug, plant};

use crate::harness::faulted::{self, Faults};
use crate::harness::grouped;
use crate::harness::scrubbed::{self, ScrubConfig};
use crate::harness::torture::{MEDIA, TortureConfig, run};

/// Zones written in order alone, where nothing that is lost with an element passes for a tear.
const IN_ORDER: &str = "smr:zones=96,zone-kib=256,conventional=0,elements=3,timing=instant";

/// What finding a bug took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catch {
    /// The bug.
    pub bug: Bug,
    /// Seeds until it showed; `None` if it never did.
    pub seeds: Option<u64>,
    /// What showed.
    pub shown: String,
}

/// Plants `bug`, and looks for it with up to `seeds` seeds, taking turns on all media.
#[must_use]
pub fn hunt(bug: Bug, seeds: u64, ops: u64) -> Catch {
    plant(Some(bug));
    let caught = hunt_planted(bug, seeds, ops);
    plant(None);
    caught
}

fn hunt_planted(bug: Bug, seeds: u64, ops: u64) -> Catch {
    if bug.needs_scrub() {
        return hunt_with_scrub(bug, seeds);
    }
    if bug == Bug::GroupBeforeSync {
        return hunt_in_groups(bug, seeds);
    }
    if bug.needs_faults() {
        return hunt_with_faults(bug, seeds, ops);
    }
    for seed in 0..seeds {
        let media = media_for(bug, seed);
        let config =
            TortureConfig { media: Some(media.to_owned()), ops, ..TortureConfig::default() };
        if let Err(failure) = run(seed, &config) {
            plant(None);
            let innocent = run(seed, &config).is_ok();
            plant(Some(bug));
            if !innocent {
                continue; // it fails without the planted bug: that is no catch
            }
            return Catch { bug, seeds: Some(seed + 1), shown: failure.to_string() };
        }
    }
    Catch { bug, seeds: None, shown: String::new() }
}

/// The medium of a seed: all in turn, but for bugs of reclaim those on which it never rests.
fn media_for(bug: Bug, seed: u64) -> &'static str {
    const TIGHT: [&str; 2] = [MEDIA[5], MEDIA[7]];
    match bug {
        Bug::ResetBeforeEdit | Bug::FreeBeforeOverwritesSynced => TIGHT[seed as usize % 2],
        _ => MEDIA[seed as usize % MEDIA.len()],
    }
}

fn hunt_with_scrub(bug: Bug, seeds: u64) -> Catch {
    let parity = if bug == Bug::ScrubSkipsParity { 2 } else { 0 };
    let config = ScrubConfig { keys: 200, errors: 40, mirror: true, parity };
    for seed in 0..seeds {
        if let Err(shown) = scrubbed::run(seed, config) {
            plant(None);
            let innocent = scrubbed::run(seed, config).is_ok();
            plant(Some(bug));
            if innocent {
                return Catch { bug, seeds: Some(seed + 1), shown };
            }
        }
    }
    Catch { bug, seeds: None, shown: String::new() }
}

/// The element must die after a cut in the few requests between an edit and the sync behind it.
fn hunt_in_groups(bug: Bug, seeds: u64) -> Catch {
    for seed in 0..seeds {
        if let Err(shown) = grouped::run(seed) {
            plant(None);
            let innocent = grouped::run(seed).is_ok();
            plant(Some(bug));
            if innocent {
                return Catch { bug, seeds: Some(seed + 1), shown };
            }
        }
    }
    Catch { bug, seeds: None, shown: String::new() }
}

fn hunt_with_faults(bug: Bug, seeds: u64, ops: u64) -> Catch {
    // The last of the four has one storage element.
    let (faults, media_count) =
        if bug.needs_element() { (Faults::Element, 3) } else { (Faults::Within, 4) };
    for seed in 0..seeds {
        let media = match bug {
            Bug::LogMirrorNotSynced | Bug::MemberFreedAlone | Bug::ParityOnMemberElement => {
                IN_ORDER
            }
            _ => MEDIA[seed as usize % media_count],
        };
        if let Err(shown) = faulted::run(seed, media, ops, &faults) {
            plant(None);
            let innocent = faulted::run(seed, media, ops, &faults).is_ok();
            plant(Some(bug));
            if innocent {
                return Catch { bug, seeds: Some(seed + 1), shown };
            }
        }
    }
    Catch { bug, seeds: None, shown: String::new() }
}
