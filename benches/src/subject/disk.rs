//! A simulated conventional disk as peers see it: blocks that may be written in any order, and
//! requests as long as the caller likes.
//!
//! One request of the caller is one of the drive as far as the drive's limits allow; else the
//! parts follow each other, which a disk that reads ahead serves without a pause.

use shingle_hal::{Device, Geometry, Lba, Request};
use shingle_sim::Drive;
use shingle_sim::media::{MediaKind, MediaSpec};

use super::Reading;

/// A drive all of whose zones are conventional.
pub(super) struct Disk {
    drive: Drive,
    geometry: Geometry,
}

impl Disk {
    /// A new disk of model `spec`.
    ///
    /// # Panics
    /// If that is no conventional disk.
    pub(super) fn new(spec: &MediaSpec) -> Self {
        assert_eq!(spec.kind, MediaKind::Conventional, "{} is no conventional disk", spec.name);
        let drive = Drive::new(spec.clone(), 1);
        let geometry = drive.geometry();
        Self { drive, geometry }
    }

    /// Bytes of a block.
    pub(super) fn block_len(&self) -> usize {
        self.geometry.block_len_bytes as usize
    }

    /// Bytes of the disk.
    pub(super) fn len_bytes(&self) -> u64 {
        self.geometry.end().0 * self.block_len() as u64
    }

    /// The drive's virtual time.
    pub(super) fn now_ns(&self) -> u64 {
        self.drive.now_ns()
    }

    /// Reads whole blocks from `block` on.
    ///
    /// # Panics
    /// If the drive refuses.
    pub(super) fn read(&self, block: u64, buf: &mut [u8]) {
        let (mut at, mut left) = (block, buf);
        while !left.is_empty() {
            let (part, rest) = left.split_at_mut(self.part_len(at, left.len()));
            let read = self.drive.read(Lba(at), part, Request::default());
            self.drive.block_on(read).expect("read");
            at += (part.len() / self.block_len()) as u64;
            left = rest;
        }
    }

    /// Writes whole blocks from `block` on.
    ///
    /// # Panics
    /// If the drive refuses.
    pub(super) fn write(&self, block: u64, data: &[u8]) {
        let (mut at, mut left) = (block, data);
        while !left.is_empty() {
            let (part, rest) = left.split_at(self.part_len(at, left.len()));
            let write = self.drive.write(Lba(at), part, Request::default());
            self.drive.block_on(write).expect("write");
            at += (part.len() / self.block_len()) as u64;
            left = rest;
        }
    }

    /// Makes what was written durable.
    ///
    /// # Panics
    /// If the drive refuses.
    pub(super) fn sync(&self) {
        self.drive.block_on(self.drive.sync()).expect("sync");
    }

    /// The drive's figures, with `occupied_bytes` of it in use.
    pub(super) fn reading(&self, occupied_bytes: u64) -> Reading {
        let stats = self.drive.stats().all;
        let block_len = self.block_len() as u64;
        Reading {
            now_ns: self.drive.now_ns(),
            reads: stats.reads,
            read_bytes: stats.read_blocks * block_len,
            written_bytes: stats.written_blocks * block_len,
            occupied_bytes,
        }
    }

    /// How many of `len` bytes from block `at` on go in one request.
    fn part_len(&self, at: u64, len: usize) -> usize {
        assert!(len.is_multiple_of(self.block_len()), "{len} bytes are no whole blocks");
        let zone_blocks = u64::from(self.geometry.zone_blocks);
        let in_zone = zone_blocks - at % zone_blocks;
        let blocks = in_zone.min(u64::from(self.geometry.transfer_blocks_max));
        len.min(blocks as usize * self.block_len())
    }
}
