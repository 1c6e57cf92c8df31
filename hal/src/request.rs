//! What comes with a data request besides its place and its bytes: how urgent it is.

/// The priority of a request; a device serves a lower value first where it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Class {
    /// Someone waits for it and said so.
    Urgent = 0,
    /// Someone waits for it.
    #[default]
    Foreground = 1,
    /// Flush, compaction, reclaim: nobody waits now, somebody will if it never happens.
    Maintenance = 2,
    /// Scrub and the like.
    Idle = 3,
}

/// The class and deadline of a read or write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request {
    /// The priority.
    pub class: Class,
    /// When the answer loses its worth, in microseconds of the device's own clock
    /// ([`now_us`](crate::Device::now_us)). A device may give up with
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) after it, never before. It is a limit of
    /// the effort to recover a block, too, as SCSI's recovery time limit and the command duration
    /// limits of ATA and NVMe are; but what was given up for it is a `Timeout` and never an
    /// [`UnrecoveredRead`](crate::ErrorKind::UnrecoveredRead), which says that the block is lost.
    pub deadline_us: Option<u64>,
}

impl Request {
    /// A request of `class` without a deadline.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        Self { class, deadline_us: None }
    }
}

impl From<Class> for Request {
    fn from(class: Class) -> Self {
        Self::of(class)
    }
}
