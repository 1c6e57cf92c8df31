//! Planted bugs: each breaks one ordering or check on purpose, so that the harness can show that
//! it would notice. Compiled to nothing without the feature `canary`.

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A durable write returns without a device sync.
    AckWithoutSync = 1,
    /// The seal does not cover place and generation.
    UnboundSeal = 2,
    /// A dead log zone is reset before the edit that frees it is durable.
    ResetBeforeEdit = 3,
    /// A checkpoint is published before its run is synced.
    CheckpointBeforeSync = 4,
    /// Reclaim frees a zone before the survivors' new place is durable.
    FreeBeforeSurvivorsSynced = 5,
    /// A superblock is published before the snapshot it points to is synced.
    SuperblockBeforeSnapshot = 6,
    /// Replay goes on past a hole in the log.
    ReplayPastHole = 7,
    /// A merge drops tombstones above the bottom.
    TombstoneDroppedEarly = 8,
    /// A batch is replayed operation by operation, also when its end is missing.
    TornBatchReplayed = 9,
    /// Both anchors are reset before either is written again.
    AnchorsResetTogether = 10,
    /// A merge forgets the boundary up to which its inputs are spent.
    MergeBoundaryForgotten = 11,
    /// Recovery reuses generation numbers of the life that was cut.
    GenerationReused = 12,
    /// Reclaim frees a zone before the writes that made its values dead are durable.
    FreeBeforeOverwritesSynced = 13,
    /// An entry of a batch points to the value of the batch's first key.
    ValueOfAnotherKey = 14,
    /// Where a log's zone goes on after a write fault is not recorded.
    ExtensionUnrecorded = 15,
    /// Only the first copy of the manifest is ever read.
    ManifestOneCopy = 16,
    /// A record says that the log is durable up to the record itself.
    DurableMarkAhead = 17,
    /// The mirror's copy of a record may be on the device before the value that stays in the log.
    MirrorAheadOfLog = 18,
    /// A durable write does not wait for its copy in the log's mirror.
    LogMirrorNotSynced = 19,
    /// The seal does not cover the block: any block of a zone passes for any other.
    PlaceUnbound = 30,
    /// What the second attempt of a read brings is not checked.
    ReadRetrySkipsCheck = 31,
    /// Of two copies of the manifest, the one that goes less far counts.
    StaleManifestCopyWins = 32,
    /// Only the first anchor is looked at.
    AnchorOneCopy = 33,
    /// A sync that fails counts as done.
    SyncErrorIgnored = 34,
    /// A value that cannot be read is absent.
    DamagedIsAbsent = 35,
    /// A write to the log that fails counts as done.
    WriteFaultIgnored = 37,
    /// Twins may lie on one storage element.
    TwinOnSameElement = 38,
    /// A node that its zone does not give is not asked of the twin.
    TwinNeverRead = 39,
    /// Both anchors lie on one storage element.
    AnchorsOnSameElement = 41,
    /// The list of lost keys leaves out those whose zone was given up.
    LostListForgets = 42,
    /// What is known of zones that failed is kept in memory alone.
    MarksNotPersisted = 50,
    /// Evacuation empties a zone of the log whose entries are still in memory alone.
    EvacuateForgetsOpenRecord = 51,
    /// The scrub takes the cache's word for a node.
    ScrubTrustsCache = 52,
    /// The scrub passes twins over.
    ScrubSkipsTwins = 53,
    /// A zone is freed although others of its group are rebuilt from it.
    MemberFreedAlone = 61,
    /// A zone of parity may lie on the element of a zone that it protects.
    ParityOnMemberElement = 62,
    /// A group is named before its parity is synced.
    GroupBeforeSync = 63,
    /// The scrub passes zones of parity over.
    ScrubSkipsParity = 64,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 38] = [
        Self::AckWithoutSync,
        Self::UnboundSeal,
        Self::ResetBeforeEdit,
        Self::CheckpointBeforeSync,
        Self::FreeBeforeSurvivorsSynced,
        Self::SuperblockBeforeSnapshot,
        Self::ReplayPastHole,
        Self::TombstoneDroppedEarly,
        Self::TornBatchReplayed,
        Self::AnchorsResetTogether,
        Self::MergeBoundaryForgotten,
        Self::GenerationReused,
        Self::FreeBeforeOverwritesSynced,
        Self::ValueOfAnotherKey,
        Self::ExtensionUnrecorded,
        Self::ManifestOneCopy,
        Self::MemberFreedAlone,
        Self::ParityOnMemberElement,
        Self::DurableMarkAhead,
        Self::MirrorAheadOfLog,
        Self::LogMirrorNotSynced,
        Self::PlaceUnbound,
        Self::ReadRetrySkipsCheck,
        Self::StaleManifestCopyWins,
        Self::AnchorOneCopy,
        Self::SyncErrorIgnored,
        Self::DamagedIsAbsent,
        Self::WriteFaultIgnored,
        Self::TwinOnSameElement,
        Self::TwinNeverRead,
        Self::AnchorsOnSameElement,
        Self::LostListForgets,
        Self::MarksNotPersisted,
        Self::EvacuateForgetsOpenRecord,
        Self::ScrubTrustsCache,
        Self::ScrubSkipsTwins,
        Self::GroupBeforeSync,
        Self::ScrubSkipsParity,
    ];

    /// Whether it shows only on a drive that fails.
    #[must_use]
    pub const fn needs_faults(self) -> bool {
        let elsewhere =
            self.needs_scrub() || matches!(self, Self::DurableMarkAhead | Self::MirrorAheadOfLog);
        self as u8 >= Self::ExtensionUnrecorded as u8 && !elsewhere
    }

    /// Whether it shows only where one storage element fails and all others are sound.
    #[must_use]
    pub const fn needs_element(self) -> bool {
        matches!(
            self,
            Self::TwinOnSameElement
                | Self::TwinNeverRead
                | Self::AnchorsOnSameElement
                | Self::LostListForgets
                | Self::LogMirrorNotSynced
                | Self::MemberFreedAlone
                | Self::ParityOnMemberElement
                | Self::GroupBeforeSync
        )
    }

    /// Whether it shows only where someone scrubs.
    #[must_use]
    pub const fn needs_scrub(self) -> bool {
        matches!(self, Self::ScrubTrustsCache | Self::ScrubSkipsTwins | Self::ScrubSkipsParity)
    }
}

#[cfg(feature = "canary")]
extern crate std;

#[cfg(feature = "canary")]
std::thread_local! {
    static PLANTED: core::cell::Cell<Option<Bug>> = const { core::cell::Cell::new(None) };
}

/// Plants `bug` for this thread, or none.
#[cfg(feature = "canary")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether `bug` is planted.
#[cfg(feature = "canary")]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether `bug` is planted: never.
#[cfg(not(feature = "canary"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
