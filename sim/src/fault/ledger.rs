//! What became of each strike: whether the store met it, and whether anything was lost by it.
//!
//! | figure | a strike counts |
//! |---|---|
//! | injected | when it changed what the drive did, holds or returned |
//! | detected | when the store met it: got the error, was told of the zone, read a spoiled block |
//! | reported lost | when the store named its place as damaged, or mounted without records there |
//! | mended | when it was detected, and nothing was reported lost by it |
//!
//! What is injected and not detected was never met: the block was written anew or its zone reset
//! before anybody read it, or a sync that lied was followed by an honest one. That a strike which
//! was met did no harm unseen is not for this ledger to say: a harness that gets wrong data fails.
//!
//! # What is attributed how
//! By block: what hides a block is the last strike on it, until the block is written or its zone is
//! reset. A damage whose place is on no such block goes to the last strike that took its zone, and
//! one whose place is no longer known (the zone was given up) to the last strike that took blocks.
//! Of one strike each figure counts once, however many keys it costs.

use std::collections::BTreeMap;

use shingle_hal::Extent;

use super::log::FaultCounts;
use super::plan::FaultKind;

/// Strikes by kind, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultTally {
    /// All strikes.
    pub injected: FaultCounts,
    /// Those that the store met.
    pub detected: FaultCounts,
    /// Those by which something was lost, as the store reported.
    pub lost: FaultCounts,
}

impl FaultTally {
    /// Takes on the figures of another drive.
    pub fn add(&mut self, other: &Self) {
        self.injected.add(&other.injected);
        self.detected.add(&other.detected);
        self.lost.add(&other.lost);
    }

    /// Strikes of `kind` that were met and after which nothing was reported lost.
    #[must_use]
    pub const fn mended(&self, kind: FaultKind) -> u64 {
        self.detected.of(kind).saturating_sub(self.lost.of(kind))
    }
}

/// A strike.
#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: FaultKind,
    met: bool,
    lost: bool,
}

/// All strikes since a plan was set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    /// The last strike on a block that was not written since.
    blocks: BTreeMap<u64, usize>,
    /// The last strike that changed a zone.
    zones: BTreeMap<u32, usize>,
    /// Strikes on zones that nobody saw yet.
    unseen: BTreeMap<u32, Vec<usize>>,
    /// Syncs that lied, with their zones, until one does not.
    lies: Vec<(usize, Vec<u32>)>,
    /// The last strike that took blocks away.
    last_taken: Option<usize>,
    /// Strikes met since [`watch`](Self::watch), and in which block.
    watched: Vec<(usize, u64)>,
}

impl Ledger {
    /// A strike; `extent` are the blocks that are no longer what they should be.
    pub(crate) fn strike(&mut self, kind: FaultKind, extent: Extent, zone: impl Fn(u64) -> u32) {
        let number = self.entries.len();
        self.entries.push(Entry { kind, met: false, lost: false });
        match kind {
            FaultKind::TornWrite | FaultKind::LostWrite | FaultKind::MisdirectedWrite => {
                self.hide(extent);
                self.last_taken = Some(number);
            }
            FaultKind::ReadError | FaultKind::BitRot | FaultKind::StaleRead => {
                self.hide(extent);
                self.meet(number, extent.start.0);
                self.last_taken = Some(number);
            }
            FaultKind::ZoneReadOnly
            | FaultKind::ZoneOffline
            | FaultKind::ElementLost
            | FaultKind::PointerAfterPower
            | FaultKind::PointerAfterReset
            | FaultKind::CapacityShrink => self.change(zone(extent.start.0)),
            FaultKind::SyncLie => {}
            FaultKind::SyncError => {
                self.hide(extent);
                self.meet(number, extent.start.0);
            }
            FaultKind::SlowRead
            | FaultKind::WriteError
            | FaultKind::ElementSlow
            | FaultKind::TransientError
            | FaultKind::Timeout
            | FaultKind::PowerCut => self.meet(number, extent.start.0),
        }
    }

    /// The last strike hides these blocks, too.
    pub(crate) fn hide(&mut self, extent: Extent) {
        let Some(number) = self.entries.len().checked_sub(1) else { return };
        for lba in extent.start.0..extent.end().0 {
            self.blocks.insert(lba, number);
        }
    }

    /// The last strike changed this zone, too.
    pub(crate) fn change(&mut self, zone: u32) {
        let Some(number) = self.entries.len().checked_sub(1) else { return };
        self.zones.insert(zone, number);
        self.unseen.entry(zone).or_default().push(number);
        let taken = [FaultKind::ZoneOffline, FaultKind::ElementLost];
        if taken.contains(&self.entries[number].kind) {
            self.last_taken = Some(number);
        }
    }

    /// The last strike was a sync that lied about these zones.
    pub(crate) fn lie(&mut self, zones: &[u32]) {
        if let Some(number) = self.entries.len().checked_sub(1) {
            self.lies.push((number, zones.to_vec()));
        }
    }

    /// A sync did what it said.
    pub(crate) fn sync(&mut self) {
        self.lies.clear();
    }

    /// Power returned, and of `zones` something is gone that was not synced.
    pub(crate) fn power_on(&mut self, zones: &[u32]) {
        for (number, lied) in std::mem::take(&mut self.lies) {
            for zone in lied.into_iter().filter(|zone| zones.contains(zone)) {
                self.unseen.entry(zone).or_default().push(number);
            }
        }
    }

    /// The store asked about `zone`, or asked it for something.
    pub(crate) fn see(&mut self, zone: u32, start: u64) {
        for number in self.unseen.remove(&zone).unwrap_or_default() {
            self.meet(number, start);
        }
    }

    /// The store read these blocks.
    pub(crate) fn read(&mut self, extent: Extent) {
        let range = extent.start.0..extent.end().0;
        let met: Vec<_> = self.blocks.range(range).map(|(&lba, &number)| (number, lba)).collect();
        for (number, lba) in met {
            self.meet(number, lba);
        }
    }

    /// The blocks were written anew, or reset.
    pub(crate) fn heal(&mut self, blocks: std::ops::Range<u64>) {
        let healed: Vec<u64> = self.blocks.range(blocks).map(|(&lba, _)| lba).collect();
        for lba in healed {
            self.blocks.remove(&lba);
        }
    }

    fn meet(&mut self, number: usize, lba: u64) {
        self.entries[number].met = true;
        self.watched.push((number, lba));
    }

    /// What is met from now on may be asked for by [`blame_watched`](Self::blame_watched).
    pub(crate) fn watch(&mut self) {
        self.watched.clear();
    }

    /// Something is lost by what was met since, where `is_there` says so.
    pub(crate) fn blame_watched(&mut self, is_there: impl Fn(u64) -> bool) {
        for (number, lba) in std::mem::take(&mut self.watched) {
            if is_there(lba) {
                self.entries[number].lost = true;
            }
        }
    }

    /// The store says that `extent` of `zone` is damaged; whether some strike is to blame.
    pub(crate) fn blame(&mut self, extent: Extent, zone: u32) -> bool {
        let range = extent.start.0..extent.end().0;
        let hit: Vec<usize> = self.blocks.range(range).map(|(_, &number)| number).collect();
        let of_zone = self.zones.get(&zone).filter(|_| extent.count.0 > 0).copied();
        let others = of_zone.or(self.last_taken).into_iter().collect();
        let to_blame = if hit.is_empty() { others } else { hit };
        for &number in &to_blame {
            // Whoever names the place has met it.
            self.entries[number].met = true;
            self.entries[number].lost = true;
        }
        !to_blame.is_empty()
    }

    /// The figures so far.
    pub(crate) fn tally(&self) -> FaultTally {
        let mut tally = FaultTally::default();
        for entry in &self.entries {
            tally.injected.count(entry.kind);
            if entry.met {
                tally.detected.count(entry.kind);
            }
            if entry.lost {
                tally.lost.count(entry.kind);
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use shingle_hal::Lba;

    use super::*;

    const ZONE: fn(u64) -> u32 = |lba| (lba / 100) as u32;

    fn figures(ledger: &Ledger, kind: FaultKind) -> [u64; 4] {
        let tally = ledger.tally();
        let lost = tally.lost.of(kind);
        [tally.injected.of(kind), tally.detected.of(kind), tally.mended(kind), lost]
    }

    #[test]
    fn strike_on_a_block_is_met_by_its_read_and_not_after_it_was_written() {
        let kind = FaultKind::LostWrite;
        let mut ledger = Ledger::default();
        ledger.strike(kind, Extent::new(Lba(10), 2), ZONE);
        ledger.strike(kind, Extent::new(Lba(20), 2), ZONE);
        ledger.heal(20..22);
        ledger.read(Extent::new(Lba(0), 100));
        assert_eq!(figures(&ledger, kind), [2, 1, 1, 0]);
        assert!(ledger.blame(Extent::new(Lba(11), 1), 0));
        assert_eq!(figures(&ledger, kind), [2, 1, 0, 1]);
    }

    #[test]
    fn strike_on_a_zone_is_met_by_whoever_asks() {
        let kind = FaultKind::ZoneOffline;
        let mut ledger = Ledger::default();
        ledger.strike(kind, Extent::new(Lba(300), 100), ZONE);
        assert_eq!(figures(&ledger, kind), [1, 0, 0, 0]);
        ledger.see(3, 300);
        assert_eq!(figures(&ledger, kind), [1, 1, 1, 0]);
        assert!(ledger.blame(Extent::new(Lba(350), 1), 3));
        assert_eq!(figures(&ledger, kind), [1, 1, 0, 1]);
    }

    #[test]
    fn lie_is_met_only_if_power_takes_what_it_should_have_covered() {
        let mut ledger = Ledger::default();
        for honest in [true, false] {
            ledger.strike(FaultKind::SyncLie, Extent::default(), ZONE);
            ledger.lie(&[4, 5]);
            if honest {
                ledger.sync();
            }
            ledger.power_on(&[5]);
            ledger.see(5, 500);
        }
        assert_eq!(figures(&ledger, FaultKind::SyncLie), [2, 1, 1, 0]);
    }

    #[test]
    fn records_missing_at_a_mount_are_put_down_to_what_was_met_in_the_log() {
        let kind = FaultKind::ReadError;
        let mut ledger = Ledger::default();
        ledger.strike(kind, Extent::new(Lba(10), 1), ZONE);
        ledger.watch();
        ledger.strike(kind, Extent::new(Lba(110), 1), ZONE);
        ledger.strike(kind, Extent::new(Lba(210), 1), ZONE);
        ledger.blame_watched(|lba| lba >= 200);
        assert_eq!(figures(&ledger, kind), [3, 3, 2, 1]);
    }
}
