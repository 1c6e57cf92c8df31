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
    /// A group is relied on before its zone of parity is synced.
    ParityBeforeSync = 40,
    /// A zone is freed although others of its group are rebuilt from it.
    MemberFreedAlone = 41,
    /// A zone of parity may lie on the element of a zone that it protects.
    ParityOnMemberElement = 42,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 19] = [
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
        Self::ParityBeforeSync,
        Self::MemberFreedAlone,
        Self::ParityOnMemberElement,
    ];

    /// Whether it shows only on a drive that fails.
    #[must_use]
    pub const fn needs_faults(self) -> bool {
        matches!(
            self,
            Self::ExtensionUnrecorded
                | Self::ManifestOneCopy
                | Self::ParityBeforeSync
                | Self::MemberFreedAlone
                | Self::ParityOnMemberElement
        )
    }
}

#[cfg(feature = "canary")]
static PLANTED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Plants `bug` for this process, or none.
#[cfg(feature = "canary")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), core::sync::atomic::Ordering::SeqCst);
}

/// Whether `bug` is planted.
#[cfg(feature = "canary")]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Whether `bug` is planted: never.
#[cfg(not(feature = "canary"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
