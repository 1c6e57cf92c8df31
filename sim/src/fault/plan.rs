//! The plan: which faults, how often, where and when, as data.
//!
//! A rule is a kind times how often times a scope times a trigger, and a plan is a list of rules.
//! It is written and printed as text ([`text`](super::text)).
//!
//! # Counting
//! Requests and time are counted from the moment at which the plan was set. Requests are those that
//! [`Drive::request_count`](crate::Drive::request_count) counts: reports are none.

use std::fmt;

use shingle_hal::{ElementId, Extent, Lba, ZoneId};

/// A list of rules. Each request meets them in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// One rule of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens.
    pub kind: FaultKind,
    /// How often, or for how long.
    pub times: Times,
    /// Where.
    pub scope: Scope,
    /// When.
    pub trigger: Trigger,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FaultKind {
    /// A read fails with `UnrecoveredRead`.
    ReadError,
    /// A read takes long and ends with `RecoveredRead`; the bytes are right.
    SlowRead,
    /// A write ends with `WriteFault`, and any number of its first blocks were written.
    WriteError,
    /// A write is acknowledged, but its last block holds garbage.
    TornWrite,
    /// A write is acknowledged and the write pointer moves, but the blocks hold what they held in
    /// the zone's life before, or zeros.
    LostWrite,
    /// As a lost write, and the bytes replace blocks of another zone.
    MisdirectedWrite,
    /// A bit of a block flips.
    BitRot,
    /// A read returns what the block held before its last write, or another block's bytes.
    StaleRead,
    /// A zone becomes read only.
    ZoneReadOnly,
    /// A zone goes offline.
    ZoneOffline,
    /// An element is gone; all its zones go offline.
    ElementLost,
    /// Everything on an element takes long from now on.
    ElementSlow,
    /// A request fails at once with `Timeout` and has no effect; a retry succeeds.
    TransientError,
    /// A request fails after a long time with `Timeout`; it took effect, or it did not.
    Timeout,
    /// After power returns, garbage lies behind a zone's contents, and the write pointer behind it.
    PointerAfterPower,
    /// A reset succeeds, and the zone is closed and begins with garbage.
    PointerAfterReset,
    /// A sync fails, and of the writes to one zone that it should have covered the last are gone.
    SyncError,
    /// A sync succeeds and makes nothing durable.
    SyncLie,
    /// After a reset, the zone holds fewer blocks.
    CapacityShrink,
    /// Power fails with a request.
    PowerCut,
}

/// How often a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So many times; at least 1.
    Times(u32),
    /// The block that is hit stays as it is until the faults are lifted, whatever is written to
    /// it. With an LBA or extent as scope, all of that is hit at once. Where there is no block to
    /// hit, every request from the first on that the rule fits.
    Sticky,
    /// As sticky, and each further hit spreads to the blocks on both sides, within the zone.
    Growing,
}

/// Where a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Wherever a request goes.
    Anywhere,
    /// One block.
    Lba(Lba),
    /// Some blocks.
    Extent(Extent),
    /// One zone.
    Zone(ZoneId),
    /// One storage element.
    Element(ElementId),
    /// What a block is to the engine. Of a superblock and a manifest, one copy: the one that is hit
    /// first.
    Structure(Structure),
}

/// What a block is to the engine, by what the pristine medium holds there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Structure {
    /// A superblock.
    Superblock,
    /// A block of a copy of the manifest.
    Manifest,
    /// A branch or index node of a run.
    RunIndex,
    /// A data node of a run.
    RunData,
    /// A log block in which a record begins.
    LogRecord,
    /// A log block in which none begins: the inside of a value.
    Value,
}

/// When a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// From the request of this number on, at the first that kind and scope fit.
    Request(u64),
    /// From this virtual time on, at the first request that kind and scope fit.
    Time {
        /// Nanoseconds since the plan was set.
        ns: u64,
    },
    /// At each request that kind and scope fit, with this probability.
    Chance {
        /// Parts in a thousand million.
        ppb: u32,
    },
}

/// At which step of a request a rule is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Any request, before all else.
    Arrival,
    /// Any request, before its effect.
    Gate,
    /// A read, after the bytes were fetched.
    Read,
    /// A write that is legal, before its effect.
    Write,
    /// A sync.
    Sync,
    /// A reset, after its effect.
    Reset,
    /// Power returned.
    PowerOn,
}

/// Every kind with the word for it, in the order of [`FaultKind`].
pub(crate) const KINDS: [(FaultKind, &str); 20] = [
    (FaultKind::ReadError, "read-error"),
    (FaultKind::SlowRead, "slow-read"),
    (FaultKind::WriteError, "write-error"),
    (FaultKind::TornWrite, "torn-write"),
    (FaultKind::LostWrite, "lost-write"),
    (FaultKind::MisdirectedWrite, "misdirected-write"),
    (FaultKind::BitRot, "bit-rot"),
    (FaultKind::StaleRead, "stale-read"),
    (FaultKind::ZoneReadOnly, "zone-read-only"),
    (FaultKind::ZoneOffline, "zone-offline"),
    (FaultKind::ElementLost, "element-lost"),
    (FaultKind::ElementSlow, "element-slow"),
    (FaultKind::TransientError, "transient-error"),
    (FaultKind::Timeout, "timeout"),
    (FaultKind::PointerAfterPower, "pointer-after-power"),
    (FaultKind::PointerAfterReset, "pointer-after-reset"),
    (FaultKind::SyncError, "sync-error"),
    (FaultKind::SyncLie, "sync-lie"),
    (FaultKind::CapacityShrink, "capacity-shrink"),
    (FaultKind::PowerCut, "power-cut"),
];

/// Every structure with the word for it.
pub(crate) const STRUCTURES: [(Structure, &str); 6] = [
    (Structure::Superblock, "superblock"),
    (Structure::Manifest, "manifest"),
    (Structure::RunIndex, "run-index"),
    (Structure::RunData, "run-data"),
    (Structure::LogRecord, "log-record"),
    (Structure::Value, "value"),
];

/// One in one, as a [`Trigger::Chance`].
pub const PPB_ALWAYS: u32 = 1_000_000_000;

impl Rule {
    /// `kind` once, anywhere, at the first request that it fits.
    #[must_use]
    pub const fn new(kind: FaultKind) -> Self {
        Self { kind, times: Times::Times(1), scope: Scope::Anywhere, trigger: Trigger::Request(0) }
    }

    /// What makes no sense in this rule, if anything does.
    #[must_use]
    pub fn nonsense(&self) -> Option<&'static str> {
        let is_block = matches!(self.scope, Scope::Lba(_) | Scope::Extent(_));
        let is_structure = matches!(self.scope, Scope::Structure(_));
        let stage = self.kind.stage();
        if matches!(self.scope, Scope::Extent(extent) if extent.count.0 == 0) {
            return Some("an extent has at least one block");
        }
        if matches!(self.scope, Scope::Extent(e) if u64::MAX - e.start.0 < e.count.0.into()) {
            return Some("the extent ends behind the last address there is");
        }
        if self.times == Times::Times(0) {
            return Some("a rule acts at least once");
        }
        if self.times == Times::Growing && !self.kind.hits_blocks() {
            return Some("only faults of blocks grow");
        }
        if matches!(stage, Stage::Sync | Stage::PowerOn) && (is_block || is_structure) {
            return Some("syncs and power have no blocks, only zones and elements");
        }
        match self.trigger {
            Trigger::Chance { ppb } if ppb > PPB_ALWAYS => Some("a probability is at most 1"),
            _ => None,
        }
    }
}

impl FaultKind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(kind, _)| *kind)
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// Whether it hits certain blocks of a request.
    #[must_use]
    pub const fn hits_blocks(self) -> bool {
        matches!(self.stage(), Stage::Read | Stage::Write)
    }

    /// Whether the drive says that all is well when it is not.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(
            self,
            Self::TornWrite
                | Self::LostWrite
                | Self::MisdirectedWrite
                | Self::BitRot
                | Self::StaleRead
                | Self::SyncLie
        )
    }

    /// The step at which it is looked at.
    pub(crate) const fn stage(self) -> Stage {
        match self {
            Self::ReadError | Self::SlowRead | Self::BitRot | Self::StaleRead => Stage::Read,
            Self::WriteError | Self::TornWrite | Self::LostWrite | Self::MisdirectedWrite => {
                Stage::Write
            }
            Self::ZoneReadOnly
            | Self::ZoneOffline
            | Self::ElementLost
            | Self::ElementSlow
            | Self::PowerCut => Stage::Arrival,
            Self::TransientError | Self::Timeout => Stage::Gate,
            Self::PointerAfterPower => Stage::PowerOn,
            Self::PointerAfterReset | Self::CapacityShrink => Stage::Reset,
            Self::SyncError | Self::SyncLie => Stage::Sync,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_in_their_order() {
        for (index, (kind, word)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, index, "{word}");
        }
    }
}
