//! How much work is done with how much memory, and by whom.

use std::path::Path;

use clap::ValueEnum;

use super::life::{Job, Life};
use crate::experiment::Scale;
use crate::subject::Subject;
use crate::subject::file::FileHost;
use crate::subject::fjall::Fjall;
use crate::subject::host::Host;
use crate::subject::ram::Ram;
use crate::subject::redb::Redb;
#[cfg(feature = "cpp")]
use crate::subject::rocksdb::RocksDb;
use crate::subject::shingle;

/// Bytes of the engine's device a byte that will be there.
const DEVICE_TIMES: f64 = 1.6;
/// Zones that a device is cut into, up to twice as many; and the least, of the shortest.
const ZONES: u64 = 128;
const ZONES_MIN: u64 = 64;
/// The shortest zone: half of the memtable's limit.
const ZONE_LEN_MIN: u64 = 1 << 20;
/// Puts in a batch, and its bytes at most.
const BATCH_LEN: usize = 100;
const BATCH_LEN_BYTES: usize = 512 << 10;

/// Work with so much memory.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Bytes of write buffers and caches together, for each.
    pub memory_len: usize,
    /// The work.
    pub job: Job,
    /// Bytes of the engine's device a byte that will be there: it must do with so much.
    pub device_times: f64,
    /// Bytes of its zones; chosen by the device's size if `None`.
    pub zone_len: Option<u64>,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// This engine, in memory.
    Memory,
    /// This engine, on a file.
    File,
    /// fjall.
    Fjall,
    /// fjall with values apart.
    FjallApart,
    /// redb.
    Redb,
    /// RocksDB.
    #[cfg(feature = "cpp")]
    RocksDb,
    /// RocksDB with values apart.
    #[cfg(feature = "cpp")]
    RocksDbApart,
}

/// The cases.
#[must_use]
pub fn cases(scale: Scale) -> Vec<Case> {
    // Memory in MiB, bytes of a value, keys, gets: small values are much more than the memory.
    let rows: &[(usize, usize, u64, u64)] = match scale {
        Scale::Full => &[
            (24, 100, 1_000_000, 60_000),
            (24, 4096, 80_000, 30_000),
            (64, 100, 1_000_000, 60_000),
            (64, 4096, 80_000, 30_000),
            (64, 64 << 10, 3_000, 3_000),
            (64, 1 << 20, 200, 400),
        ],
        Scale::Quick => &[
            (24, 100, 30_000, 3_000),
            (24, 4096, 2_000, 1_000),
            (24, 64 << 10, 150, 150),
            (24, 1 << 20, 12, 24),
        ],
    };
    let case = |&(memory_mib, value_len, keys, gets): &(usize, usize, u64, u64)| {
        let batch_len = (BATCH_LEN_BYTES / value_len).clamp(1, BATCH_LEN);
        Case {
            memory_len: memory_mib << 20,
            job: Job { keys, value_len, batch_len, gets },
            device_times: DEVICE_TIMES,
            zone_len: None,
        }
    };
    rows.iter().map(case).collect()
}

impl Case {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        let value = match self.job.value_len {
            len if len >= 1 << 20 => format!("{} MiB", len >> 20),
            len if len >= 1 << 10 => format!("{} KiB", len >> 10),
            len => format!("{len} B"),
        };
        format!("{value}, {} MiB of memory", self.memory_len >> 20)
    }

    /// Who takes part.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        // Of short values there are none to put apart.
        let takes_part = |kind: &Kind| !kind.is_apart() || self.job.value_len >= 1 << 10;
        Kind::value_variants().iter().copied().filter(takes_part).collect()
    }

    /// Zones of the engine's device, and bytes of each.
    #[must_use]
    pub fn zones(&self) -> (u32, usize) {
        let device_len = (self.job.live_bytes() as f64 * self.device_times) as u64;
        let by_size = 1 << (device_len / ZONES).max(ZONE_LEN_MIN).ilog2();
        let zone_len = self.zone_len.unwrap_or(by_size);
        (device_len.div_ceil(zone_len).max(ZONES_MIN) as u32, zone_len as usize)
    }

    /// One life of a store in a new folder in `folder`, which is gone afterwards.
    ///
    /// # Panics
    /// If there can be no such folder, or the store fails.
    #[must_use]
    pub fn live(&self, kind: Kind, folder: &Path) -> Life {
        self.with(kind, folder, |subject| Life::of(subject, &self.job))
    }

    /// Gives an empty store in a new folder in `folder`, which is gone afterwards, to `run`.
    ///
    /// # Panics
    /// If there can be no such folder, or the store fails.
    pub fn with<T>(&self, kind: Kind, folder: &Path, run: impl FnOnce(&mut dyn Subject) -> T) -> T {
        let folder = tempfile::tempdir_in(folder).expect("a folder for the store");
        let (path, memory_len) = (folder.path(), self.memory_len);
        let (zone_count, zone_len) = self.zones();
        match kind {
            Kind::Memory => self.on(&Ram::new(zone_count, zone_len), run),
            Kind::File => self.on(&FileHost::new(&path.join("device"), zone_count, zone_len), run),
            Kind::Fjall => run(&mut Fjall::new(path, memory_len, false)),
            Kind::FjallApart => run(&mut Fjall::new(path, memory_len, true)),
            Kind::Redb => run(&mut Redb::in_folder(path, memory_len)),
            #[cfg(feature = "cpp")]
            Kind::RocksDb => run(&mut RocksDb::new(path, memory_len, false)),
            #[cfg(feature = "cpp")]
            Kind::RocksDbApart => run(&mut RocksDb::new(path, memory_len, true)),
        }
    }

    fn on<H: Host, T>(&self, host: &H, run: impl FnOnce(&mut dyn Subject) -> T) -> T {
        shingle::on(host, self.memory_len, |_| {}, |subject| run(subject))
    }
}

impl Kind {
    /// Whether it is this engine.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Memory | Self::File)
    }

    /// Whether it keeps values of 1 KiB and more apart, and is there without, too.
    fn is_apart(self) -> bool {
        match self {
            Self::FjallApart => true,
            #[cfg(feature = "cpp")]
            Self::RocksDbApart => true,
            _ => false,
        }
    }

    /// What it is called in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "shingle, in memory",
            Self::File => "shingle, on a file",
            Self::Fjall => "fjall",
            Self::FjallApart => "fjall, values apart",
            Self::Redb => "redb",
            #[cfg(feature = "cpp")]
            Self::RocksDb => "rocksdb",
            #[cfg(feature = "cpp")]
            Self::RocksDbApart => "rocksdb, values apart",
        }
    }
}
