//! Which versions of a key a flush or merge keeps.
//!
//! Snapshots cut the sequence numbers into stripes; within a stripe only the newest version of a
//! key can ever be read again. A range deletion hides the versions below it in its own stripe.
//!
//! Invariants: `V1` what any open snapshot or a later reader can see is kept (model test with
//! snapshots). `V2` a tombstone goes only at the bottom and only from the oldest stripe, where
//! nothing older can be left (canary `TombstoneDroppedEarly`).

use crate::canary::{Bug, planted};
use crate::format::entry::Kind;
use crate::limits::SNAPSHOTS_MAX;
use crate::run::builder::Cover;

/// What becomes of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Keep,
    /// It goes on without its sequence number: everyone may see it.
    KeepAsOldest,
    /// Nobody can see it.
    Drop,
}

/// Decides over the versions of one key after the other, newest first.
#[derive(Clone, Debug)]
pub(crate) struct VersionFilter {
    snapshots: heapless::Vec<u64, SNAPSHOTS_MAX>,
    bottom: bool,
    last_stripe: Option<usize>,
    held_back: bool,
}

impl VersionFilter {
    /// A filter for the snapshots open now, oldest first.
    pub(crate) fn new(snapshots: heapless::Vec<u64, SNAPSHOTS_MAX>, bottom: bool) -> Self {
        debug_assert!(snapshots.is_sorted());
        Self { snapshots, bottom, last_stripe: None, held_back: false }
    }

    /// Whether these are the snapshots it was made for.
    pub(crate) fn is_for(&self, snapshots: &[u64]) -> bool {
        self.snapshots == *snapshots
    }

    /// Most versions of one key that are kept.
    pub(crate) fn versions_max(&self) -> u32 {
        self.snapshots.len() as u32 + 1
    }

    /// The newest snapshot, if something was kept that no later reader can see, or if `roomy`.
    pub(crate) fn held_back(&self, roomy: bool) -> Option<u64> {
        self.snapshots.last().copied().filter(|_| self.held_back || roomy)
    }

    /// Number of snapshots that cannot see `seq`.
    fn stripe(&self, seq: u64) -> usize {
        self.snapshots.iter().filter(|&&snapshot| snapshot < seq).count()
    }

    /// The next versions are of another key.
    pub(crate) fn next_key(&mut self) {
        self.last_stripe = None;
    }

    /// Decides over a version under the range deletions `cover`.
    pub(crate) fn fate(&mut self, seq: u64, kind: Kind, cover: &Cover) -> Fate {
        let stripe = self.stripe(seq);
        let shadowed = self.last_stripe == Some(stripe);
        let deleted = cover.iter().any(|&by| by > seq && self.stripe(by) == stripe);
        if shadowed || deleted {
            return Fate::Drop;
        }
        self.held_back |= self.last_stripe.is_some() || cover.iter().any(|&by| by > seq);
        self.last_stripe = Some(stripe);
        let drops = self.bottom || planted(Bug::TombstoneDroppedEarly);
        if stripe == 0 && drops {
            return if kind == Kind::Tombstone {
                Fate::Drop
            } else if self.bottom {
                Fate::KeepAsOldest
            } else {
                Fate::Keep
            };
        }
        Fate::Keep
    }

    /// Reduces range deletions to those that still hide something: the newest of each stripe, and
    /// at the bottom none of the oldest. `cover` may be in any order and hold repetitions.
    pub(crate) fn reduce(&self, cover: &mut Cover, with_oldest: bool) {
        cover.sort_unstable_by(|a, b| b.cmp(a));
        let mut last = None;
        let mut kept = Cover::new();
        for &seq in cover.iter() {
            let stripe = self.stripe(seq);
            if last != Some(stripe) && (stripe > 0 || with_oldest) {
                assert!(kept.push(seq).is_ok(), "one for each stripe");
            }
            last = Some(stripe);
        }
        *cover = kept;
    }

    /// Whether range deletions may still hide something below or from a snapshot.
    pub(crate) fn keeps_cover(&self) -> bool {
        !self.bottom || !self.snapshots.is_empty()
    }

    /// Whether this is for the bottom.
    pub(crate) fn is_bottom(&self) -> bool {
        self.bottom
    }
}
