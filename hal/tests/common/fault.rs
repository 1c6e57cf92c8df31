//! The ways in which the reference device can be wrong, one at a time.

use shingle_hal::ZoneCondition;

/// A zone operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Open,
    Close,
    Finish,
    Reset,
}

/// A wrong length of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Zero,
    Ragged,
    TooLong,
}

/// A planted fault; each is named for what the device does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation on a zone in this condition leads to a wrong condition.
    Transition(Verb, ZoneCondition),
    /// A write to a zone in this condition leaves it closed.
    WriteCloses(ZoneCondition),
    AcceptsWriteToFull,
    FilledStaysOpen,
    CloseUnwrittenIsClosed,

    OpenLimitTooLow,
    OpenIgnoresLimit,
    WriteIgnoresLimit,
    RefusedFinishTakesEffect,
    ReopenNeedsResource,
    /// The operation does not give the open resource back.
    LeaksOpen(Verb),
    FillLeaksOpen,
    ImplicitHoldsAgainstOpen,
    ImplicitHoldsAgainstWrite,
    ExplicitYields,
    ReadNeedsResource,
    IgnoresActiveLimit,
    ClosedIsNotActive,
    LeaksActive(Verb),

    LosesWrites,
    LosesLastOfMany,
    ReordersWrites,
    OneAtATime,
    SwapsReads,
    IdleTimesOut,
    StuckAfterDrop,
    ReadOpens,
    UnwrittenReadIsHardware,
    ReadAboveCapacityCrosses,
    ResetKeepsData,
    ResetKeepsPointer,
    /// The operation also hits the next zone.
    HitsNeighbour(Verb),
    ConventionalWritesOnce,
    ConventionalEndIsLost,

    AcceptsRead(Length),
    AcceptsWrite(Length),
    AcceptsReadOutOfDevice,
    AcceptsWriteOutOfDevice,
    AcceptsReadAcrossZones,
    AcceptsWriteAcrossZones,
    AcceptsWriteAcrossCapacity,
    AcceptsWriteBelowPointer,
    AcceptsWriteAbovePointer,
    RefusedWriteOpens,
    AcceptsConventional(Verb),
    AcceptsUnknownZone(Verb),
    AcceptsRetiredVerb,
    AcceptsRetiredWrite,
    RefusesReadOnlyRead,
    ServesOffline,

    NoElements,
    ActiveBelowOpen,
    GeometryDrifts,
    ZoneStartsShifted,
    CapacityAboveSize,
    ElementUnknown,
    ConventionalHasPointer,
    ReportRoundsDown,
    ReportStopsShort,
    ReportWraps,
    PointerLags,
    FinishKeepsPointer,
    ClockGoesBack,
    EventsEndless,

    SyncDoesNothing,
    CutHitsConventional,
    CutLeavesHole,
    CutHitsNeighbour,
    CutLeavesOpen,
    CutFullIsClosed,
    CutForgetsPointer,
    SurvivorsNotDurable,
    SyncSkipsResets,
    SyncSkipsFinishes,
    ResetHalfUndone,
    RewriteMixesOldAndNew,
    UndoneFinishLosesData,
    CutChangesGeometry,
    IdleSyncFails,
}
