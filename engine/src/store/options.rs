//! What can be asked of a single operation.

use shingle_hal::{Class, Request};

/// When a write returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Durability {
    /// At once. A power cut keeps a prefix of what was written, in the order it was written.
    Buffered,
    /// When it is durable, together with everything before it.
    #[default]
    Durable,
}

/// What must hold for a write to take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Nothing.
    #[default]
    None,
    /// The key is absent.
    Absent,
    /// The key is present, with whatever version.
    Present,
    /// The key is present with this version.
    Version(&'a [u8]),
}

/// Options of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions<'a> {
    /// When it returns.
    pub durability: Durability,
    /// What must hold, decided atomically with the write.
    pub condition: Condition<'a>,
}

impl WriteOptions<'_> {
    /// Return at once.
    pub const BUFFERED: WriteOptions<'static> =
        WriteOptions { durability: Durability::Buffered, condition: Condition::None };
    /// Return when durable.
    pub const DURABLE: WriteOptions<'static> =
        WriteOptions { durability: Durability::Durable, condition: Condition::None };
}

/// Metadata of an entry: opaque bytes that are kept with the key, the version first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) version_len: u16,
}

impl<'a> Meta<'a> {
    /// No metadata.
    pub const NONE: Meta<'static> = Meta { bytes: &[], version_len: 0 };

    /// Metadata that are a version, and nothing else.
    #[must_use]
    pub fn version(version: &'a [u8]) -> Self {
        Self::new(version, version.len())
    }

    /// Metadata whose first `version_len` bytes are the version that conditions compare.
    ///
    /// # Panics
    /// If there are fewer bytes, or more than 65535.
    #[must_use]
    pub fn new(bytes: &'a [u8], version_len: usize) -> Self {
        assert!(version_len <= bytes.len() && bytes.len() <= usize::from(u16::MAX));
        Self { bytes, version_len: version_len as u16 }
    }
}

/// Options of a read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions<'s> {
    /// Read as of this snapshot instead of now.
    pub snapshot: Option<&'s super::read::SnapshotSeq>,
    /// How urgent it is.
    pub class: Class,
    /// When the effort ends, in microseconds of the device's clock
    /// ([`Store::now_us`](crate::Store::now_us)); without, or where the device has no clock, not
    /// before everything was tried.
    ///
    /// Once it has passed, no read of the device is begun for this operation any more: nothing is
    /// tried again, halved, or rebuilt from another copy. So the answer is there at the latest when
    /// the one device read has ended that was under way then, and that a device may give up itself.
    /// What is in memory is given even later. Waiting for others is not bounded by it: for a
    /// buffer that other reads hold, and for a write of the log that has the value in hand.
    ///
    /// Of what has another copy, the first has half of the time, so that the other has its turn.
    pub deadline_us: Option<u64>,
}

impl ReadOptions<'_> {
    /// What goes with the requests to the device.
    pub(crate) fn request(&self) -> Request {
        Request { class: self.class, deadline_us: self.deadline_us }
    }
}
