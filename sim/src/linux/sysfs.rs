//! What the kernel says of a disk in `/sys`, by the disk's number.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// A disk, or a partition of one, as the kernel shows it.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// The disk that a device node stands for.
    pub(super) fn of(node: &Metadata) -> Self {
        let number = node.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Self { folder: PathBuf::from(format!("/sys/dev/block/{major}:{minor}")) }
    }

    /// Whether the kernel still has it: one that was unplugged is gone, though it is open.
    pub(super) fn is_there(&self) -> bool {
        self.folder.exists()
    }

    /// Whether it is a part of a disk.
    pub(super) fn is_partition(&self) -> bool {
        self.folder.join("partition").exists()
    }

    /// Whether it can be written at write pointers only; so are all partitions of such a disk.
    pub(super) fn is_host_managed(&self) -> bool {
        self.queue("zoned").is_some_and(|model| model == "host-managed")
    }

    /// A limit of its queue; `None` where the kernel has no such limit, and for 0, which is none.
    pub(super) fn limit(&self, name: &str) -> Option<u32> {
        self.queue(name)?.parse().ok().filter(|limit| *limit != 0)
    }

    /// The queue is the whole disk's, one folder above a partition.
    fn queue(&self, name: &str) -> Option<String> {
        let at = |folder: &str| fs::read_to_string(self.folder.join(folder).join(name));
        let text = at("queue").or_else(|_| at("../queue")).ok()?;
        Some(text.trim().to_owned())
    }
}
