//! The subjects that live on a NOR flash chip of a microcontroller, each with what only flash has:
//! bytes erased, and reads when it is opened.
//!
//! This engine runs on the simulated drive `nor-16m`, whose zones are some erase blocks of 64 KiB,
//! in one of several [`Setting`]s; ekv and sequential-storage on a raw [`Flash`] with the same
//! times. sequential-storage has a flash of a sixteenth, since it reads from end to end what was
//! written, for every get that its caches do not know and for every entry of a page it empties.

use embassy_futures::block_on;
use shingle_engine::zone::Role;
use shingle_engine::{Limits, Plan, Store};
use shingle_hal::adapt::nor::{NorLayout, NorSlot, NorZones};
use shingle_hal::{
    BlockCount, Device, ElementId, Geometry, Lba, Request, ZoneCondition, ZoneDescriptor, ZoneId,
    ZoneType,
};
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;

use super::ekv::Ekv;
use super::flash::{Charge, ERASE_LEN, Flash};
use super::sequential::Sequential;
use super::shingle::{self, Shingle};
use super::{Reading, Subject};
use crate::load::KEY_LEN;

/// Bytes of the flash.
pub const FLASH_LEN: usize = 16 << 20;
/// The part of the flash that sequential-storage has, and of the keys.
pub const SHARE_OF_SEQUENTIAL: u64 = 16;
/// Bytes of memory that sequential-storage has for its caches.
const MEMORY_OF_SEQUENTIAL: usize = 12 << 10;

/// Roles of zones by which this engine's figures are kept apart.
pub const ROLES: [&str; 7] =
    ["other", "superblocks", "manifest", "log", "survivors", "runs", "bottom run"];

/// Bytes written and reads, by [`ROLES`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByRole {
    /// Bytes written.
    pub written_bytes: [u64; ROLES.len()],
    /// Reads.
    pub reads: [u64; ROLES.len()],
}

/// A subject on flash.
pub trait OnFlash: Subject {
    /// Bytes of memory that it works with: its own structure and what was handed in, without what
    /// an operation has on the stack or for a scan.
    fn memory_bytes(&self) -> usize;

    /// Bytes erased so far.
    fn erased_bytes(&self) -> u64;

    /// What was written and read so far by the roles of zones, where there are zones.
    fn by_role(&self) -> ByRole {
        ByRole::default()
    }

    /// Opens a copy of what is on the flash, and says what that took; `None` for whoever reads
    /// nothing then.
    fn mount(&self) -> Option<Reading>;

    /// The same where the zones' write pointers must be found first, from nothing but the flash;
    /// `None` where there are no zones.
    fn raw_mount(&self) -> Option<Reading> {
        None
    }
}

/// How this engine is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What it is called.
    pub name: &'static str,
    /// Bytes of a zone.
    pub zone_len: u32,
    /// Bytes of a block.
    pub block_len: u32,
    /// Values from this length on stay in the log.
    pub separate_from: u32,
    /// Bytes of memory handed in at open; 0 for the least that does.
    pub memory_bytes: usize,
}

impl Setting {
    /// The least memory in which 35 % of 16 MiB fit: few zones, for it is they that take it.
    pub const LEAST: Self = Self {
        name: "least",
        zone_len: 256 << 10,
        block_len: 256,
        separate_from: 128,
        memory_bytes: 0,
    };
    /// The same with 32 KiB.
    pub const KIB_32: Self = Self { name: "32 KiB", memory_bytes: 32 << 10, ..Self::LEAST };
    /// The least memory in which they fit with values of 100 bytes kept in the log, where larger
    /// zones would waste too much.
    pub const APART: Self =
        Self { name: "apart", zone_len: 128 << 10, separate_from: 64, ..Self::LEAST };
    /// The same in 64 KiB, which has the memory for more and smaller zones.
    pub const APART_KIB_64: Self =
        Self { name: "apart, 64 KiB", zone_len: 64 << 10, memory_bytes: 64 << 10, ..Self::APART };
    /// 64 KiB of memory and the zones and blocks of `nor-16m`.
    pub const KIB_64: Self = Self {
        name: "64 KiB",
        zone_len: 64 << 10,
        block_len: 512,
        memory_bytes: 64 << 10,
        ..Self::LEAST
    };
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::LEAST, Self::KIB_32, Self::KIB_64, Self::APART, Self::APART_KIB_64];

    /// The drive `nor-16m` with `flash_len` bytes, cut into zones and blocks as it is set.
    ///
    /// # Panics
    /// Never: the drive is known.
    #[must_use]
    pub fn spec(&self, flash_len: usize) -> MediaSpec {
        let usual = MediaSpec::by_name("nor-16m").expect("a known drive");
        let zone_blocks = self.zone_len / self.block_len;
        MediaSpec {
            block_len_bytes: self.block_len,
            zone_count: flash_len as u32 / self.zone_len,
            zone_blocks,
            zone_capacity_blocks: zone_blocks,
            transfer_blocks_max: ERASE_LEN as u32 / self.block_len,
            ..usual
        }
    }

    /// Limits no higher than keys of 16 bytes and values of 100 need.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            key_len_max: KEY_LEN as u16,
            meta_len_max: 0,
            value_len_max: 128,
            node_len_bytes: 512,
            separate_from_bytes: self.separate_from,
        }
    }

    /// Bytes of memory to hand in on a device with this geometry.
    #[must_use]
    pub fn memory_bytes(&self, geometry: &Geometry) -> usize {
        match Plan::new(geometry, &self.limits(), self.memory_bytes) {
            Ok(_) => self.memory_bytes,
            Err(needed) => needed,
        }
    }
}

/// What happened from `before` to `after`.
#[must_use]
pub fn since(after: &Reading, before: &Reading) -> Reading {
    Reading {
        now_ns: after.now_ns - before.now_ns,
        reads: after.reads - before.reads,
        read_bytes: after.read_bytes - before.read_bytes,
        written_bytes: after.written_bytes - before.written_bytes,
        occupied_bytes: after.occupied_bytes,
    }
}

/// Gives a new store on `flash_len` bytes of flash to `run`.
///
/// # Panics
/// If the memory of the setting does not do.
pub fn with_shingle<T>(
    setting: &Setting,
    flash_len: usize,
    run: impl FnOnce(&mut dyn OnFlash) -> T,
) -> T {
    let spec = setting.spec(flash_len);
    let memory_bytes = setting.memory_bytes(&Drive::new(spec.clone(), 1).geometry());
    shingle::with_limits(
        &spec,
        memory_bytes,
        |limits| *limits = setting.limits(),
        |shingle| {
            let name = format!("shingle, {}", setting.name);
            run(&mut Labelled { shingle, name, memory_bytes })
        },
    )
}

/// An empty ekv on `flash_len` bytes of flash.
#[must_use]
pub fn ekv(flash_len: usize, charge: Charge) -> Ekv {
    Ekv::new(Flash::new(flash_len, charge))
}

/// An empty sequential-storage on its share of `flash_len` bytes of flash.
#[must_use]
pub fn sequential(flash_len: usize, charge: Charge) -> Sequential {
    let flash = Flash::new(flash_len / SHARE_OF_SEQUENTIAL as usize, charge);
    Sequential::new(flash, MEMORY_OF_SEQUENTIAL)
}

impl OnFlash for Ekv {
    fn memory_bytes(&self) -> usize {
        Self::memory_bytes()
    }

    fn erased_bytes(&self) -> u64 {
        self.with_flash(Flash::erased_bytes)
    }

    fn mount(&self) -> Option<Reading> {
        let flash = self.with_flash(Flash::clone);
        let before = flash.reading();
        Some(since(&Self::mount_on(flash), &before))
    }
}

impl OnFlash for Sequential {
    fn memory_bytes(&self) -> usize {
        MEMORY_OF_SEQUENTIAL
    }

    fn erased_bytes(&self) -> u64 {
        self.erased_bytes
    }

    fn mount(&self) -> Option<Reading> {
        None
    }
}

/// A store on a simulated chip, whose zones are labelled as their roles change.
struct Labelled<'s, 'm> {
    shingle: &'s mut Shingle<'m>,
    name: String,
    memory_bytes: usize,
}

/// The label of a role, an index into [`ROLES`]. A free zone keeps the one that it had.
const fn label(role: Role) -> Option<u8> {
    match role {
        Role::Anchor => Some(1),
        Role::Manifest => Some(2),
        Role::Log => Some(3),
        Role::Cold => Some(4),
        Role::Run => Some(5),
        Role::Bottom => Some(6),
        Role::Free | Role::Releasing => None,
        _ => Some(0),
    }
}

impl Labelled<'_, '_> {
    fn zones(&self) -> impl Iterator<Item = ZoneId> + use<> {
        (0..self.shingle.drive().geometry().zone_count).map(ZoneId)
    }

    /// Must come after every write, for a zone may be taken by any.
    fn label_zones(&self) {
        for zone in self.zones() {
            let usage = self.shingle.store.zone_use(zone);
            if let Some(label) = usage.and_then(|usage| label(usage.role)) {
                self.shingle.drive().label_zone(zone, label);
            }
        }
    }

    /// What is on the drive, on a raw flash.
    fn raw_copy(&self) -> Flash {
        let drive = self.shingle.drive().fork();
        let geometry = drive.geometry();
        let block_len = geometry.block_len_bytes as usize;
        let flash = Flash::new(drive.spec().capacity_bytes() as usize, Charge::Page);
        let mut block = vec![0; block_len];
        let nothing = ZoneDescriptor {
            zone: ZoneId(0),
            zone_type: ZoneType::SequentialRequired,
            condition: ZoneCondition::Empty,
            start: Lba(0),
            capacity: BlockCount(0),
            write_pointer: BlockCount(0),
            element: ElementId(0),
        };
        let mut report = vec![nothing; geometry.zone_count as usize];
        drive.block_on(async {
            let count = drive.report(ZoneId(0), &mut report).await.expect("report");
            assert_eq!(count, report.len(), "zones");
            for zone in report {
                for at in 0..zone.write_pointer.0 {
                    let lba = Lba(zone.start.0 + u64::from(at));
                    drive.read(lba, &mut block, Request::default()).await.expect("read");
                    flash.program_at(lba.0 as usize * block_len, &block);
                }
            }
        });
        flash
    }
}

impl Subject for Labelled<'_, '_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.shingle.put(key, value);
        self.label_zones();
    }

    fn delete(&mut self, key: &[u8]) {
        self.shingle.delete(key);
        self.label_zones();
    }

    fn sync(&mut self) {
        self.shingle.sync();
        self.label_zones();
    }

    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> bool {
        self.shingle.get(key, out)
    }

    fn scan(
        &mut self,
        from: &[u8],
        is_reverse: bool,
        count: usize,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        self.shingle.scan(from, is_reverse, count, each)
    }

    fn reading(&self) -> Reading {
        self.shingle.reading()
    }
}

impl OnFlash for Labelled<'_, '_> {
    fn memory_bytes(&self) -> usize {
        self.memory_bytes + size_of_val(&self.shingle.store)
    }

    fn erased_bytes(&self) -> u64 {
        self.shingle.drive().stats().all.resets * self.shingle.drive().spec().zone_capacity_bytes()
    }

    fn by_role(&self) -> ByRole {
        let drive = self.shingle.drive();
        let (stats, block_len) = (drive.stats(), drive.geometry().block_len_bytes);
        let mut by_role = ByRole::default();
        for (role, counts) in stats.by_label.iter().take(ROLES.len()).enumerate() {
            by_role.written_bytes[role] = counts.written_blocks * u64::from(block_len);
            by_role.reads[role] = counts.reads;
        }
        by_role
    }

    fn mount(&self) -> Option<Reading> {
        let drive = self.shingle.drive().fork();
        let (began_ns, mut memory) = (drive.now_ns(), vec![0; self.memory_bytes]);
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let media = store.media_stats();
        Some(Reading {
            now_ns: drive.now_ns() - began_ns,
            reads: media.reads,
            read_bytes: media.read_bytes,
            written_bytes: media.written_bytes,
            occupied_bytes: 0,
        })
    }

    fn raw_mount(&self) -> Option<Reading> {
        let flash = self.raw_copy();
        let (before, geometry) = (flash.reading(), self.shingle.drive().geometry());
        let zone_len = geometry.zone_blocks * geometry.block_len_bytes;
        let layout = NorLayout {
            block_len_bytes: geometry.block_len_bytes,
            zone_erase_blocks: zone_len / ERASE_LEN as u32,
        };
        let mut slots = vec![NorSlot::NEW; geometry.zone_count as usize];
        let zones = NorZones::new(flash, &mut slots, layout).expect("layout");
        let mut memory = vec![0; self.memory_bytes];
        drop(block_on(Store::open(&zones, &mut memory)).expect("open"));
        Some(since(&zones.into_inner().reading(), &before))
    }
}
