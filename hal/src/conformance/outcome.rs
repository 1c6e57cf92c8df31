//! What a check answers: passed, skipped, or failed with what was expected and what was seen.
//!
//! Values only, nothing to parse: a controller can send them over any wire. `Display` makes a
//! sentence of them where there is a terminal.

use core::fmt;

use crate::error::{Disposition, ErrorKind};
use crate::zone::{Lba, ZoneCondition, ZoneId};

/// What came of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// The device kept the clause.
    Passed,
    /// The device lacks what the clause is about; the reason.
    Skipped(&'static str),
    /// The device broke the clause.
    Failed(Failure),
}

/// Where and how a device broke the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failure {
    /// What the check was doing.
    pub step: &'static str,
    /// What was expected and seen.
    pub mismatch: Mismatch,
}

/// An expectation and what was seen instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mismatch {
    /// A request was answered as the contract does not allow.
    Answer {
        /// What is allowed.
        expected: Answer,
        /// What the device said.
        seen: Result<(), ErrorKind>,
    },
    /// A zone is in the wrong condition.
    Condition {
        /// The zone.
        zone: ZoneId,
        /// The right condition.
        expected: ZoneCondition,
        /// The reported one.
        seen: ZoneCondition,
    },
    /// A write pointer is wrong; in blocks from the zone's start.
    WritePointer {
        /// The zone.
        zone: ZoneId,
        /// What it may be.
        expected: Bound,
        /// What was reported.
        seen: u32,
    },
    /// A byte that was read is wrong.
    Byte {
        /// The block.
        block: Lba,
        /// The byte in the block.
        offset_bytes: u32,
        /// What was written.
        expected: u8,
        /// What was read.
        seen: u8,
    },
    /// Bytes that were read are the ones that must be gone.
    StaleData {
        /// The block.
        block: Lba,
    },
    /// A number is wrong; the step says which.
    Number {
        /// What it may be.
        expected: Bound,
        /// What it is.
        seen: u64,
    },
}

/// What a number may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Bound {
    /// This.
    Is(u64),
    /// This or less.
    AtMost(u64),
    /// This or more.
    AtLeast(u64),
    /// The first or the second.
    Either(u64, u64),
    /// Any power of two.
    PowerOfTwo,
}

impl Bound {
    /// Whether `number` is allowed.
    #[must_use]
    pub const fn admits(self, number: u64) -> bool {
        match self {
            Self::Is(n) => number == n,
            Self::AtMost(n) => number <= n,
            Self::AtLeast(n) => number >= n,
            Self::Either(a, b) => number == a || number == b,
            Self::PowerOfTwo => number.is_power_of_two(),
        }
    }
}

/// How a request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Answer {
    /// It succeeds.
    Success,
    /// It is refused, as the caller's bug, an unaligned write, or a full zone.
    Refusal,
    /// It is refused as the caller's bug.
    CallerBug,
    /// It is refused for want of an open or active zone resource.
    NoResource,
    /// It succeeds or is refused for want of a resource.
    SuccessOrNoResource,
    /// It succeeds, or fails as a read of unwritten blocks.
    SuccessOrUnwritten,
    /// It is refused because the zone is read only or offline.
    Retired,
    /// It is refused because the zone is read only or offline, or as the caller's bug.
    RetiredOrCallerBug,
}

impl Answer {
    /// Whether `seen` is allowed.
    #[must_use]
    pub fn admits(self, seen: Result<(), ErrorKind>) -> bool {
        let Err(kind) = seen else {
            return matches!(
                self,
                Self::Success | Self::SuccessOrNoResource | Self::SuccessOrUnwritten
            );
        };
        let caller_bug = kind.disposition() == Disposition::CallerBug;
        let retired = kind.disposition() == Disposition::Retire;
        match self {
            Self::Success => false,
            Self::Refusal => {
                let by_zone =
                    matches!(kind, ErrorKind::UnalignedWrite { .. } | ErrorKind::ZoneFull);
                caller_bug || by_zone
            }
            Self::CallerBug => caller_bug,
            Self::NoResource | Self::SuccessOrNoResource => {
                matches!(kind, ErrorKind::TooManyOpenZones | ErrorKind::TooManyActiveZones)
            }
            Self::SuccessOrUnwritten => matches!(kind, ErrorKind::ReadPastWritePointer { .. }),
            Self::Retired => retired,
            Self::RetiredOrCallerBug => retired || caller_bug,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.mismatch)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { expected, seen } => {
                write!(f, "expected {expected:?}, the device answered {seen:?}")
            }
            Self::Condition { zone, expected, seen } => {
                write!(f, "{zone} should be {expected:?}, is {seen:?}")
            }
            Self::WritePointer { zone, expected, seen } => {
                write!(f, "{zone} write pointer should be {expected:?}, is {seen}")
            }
            Self::Byte { block, offset_bytes, expected, seen } => {
                write!(f, "{block} byte {offset_bytes} should be {expected:#04x}, is {seen:#04x}")
            }
            Self::StaleData { block } => write!(f, "{block} returned data that must be gone"),
            Self::Number { expected, seen } => write!(f, "expected {expected:?}, saw {seen}"),
        }
    }
}
