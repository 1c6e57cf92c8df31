//! Formatting: an empty store on a device.
//!
//! Both anchors are emptied and synced, the newest superblock last, before anything else is
//! written: a cut at any point leaves the old store as it was, a device without a store, or the
//! new one, never an old superblock over overwritten zones.

use shingle_hal::{Class, Device, Error as _, Geometry, ZoneCondition, ZoneDescriptor, ZoneId};

use crate::anchor::{ANCHOR_BLOCKS, Anchor, write_superblock};
use crate::error::{Fault, FormatError, is_of_zone};
use crate::format::edit::{Change, LogPlace};
use crate::format::header::Header;
use crate::format::seal::seal;
use crate::format::superblock::{
    Limits, MAGIC, ManifestPlace, NO_STORE, Redundancy, Superblock, VERSION,
};
use crate::limits::{
    ANCHORS, BLOCK_LEN_MIN, GENERATIONS_RESERVED, KEY_LEN_MAX, META_LEN_MAX, NODE_LEN_MAX,
    NODE_LEN_MIN, PARITY_MAX,
};
use crate::manifest::{self, Copy, EditBuilder};
use crate::media::Media;
use crate::recover::{anchor_zones, read_anchors};
use crate::zone::Role;

/// Fewest usable zones of a device.
const ZONES_MIN: u32 = 32;
/// Fewest active zones, where they are limited.
const ACTIVE_ZONES: u32 = 10;
/// And for runs with twins.
const ACTIVE_ZONES_FOR_TWINS: u32 = 14;

/// And for values with parity: each log's copy, and a zone of parity.
const ACTIVE_ZONES_FOR_PARITY: u32 = ACTIVE_ZONES_FOR_TWINS + 3;

/// What a store is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FormatOptions {
    /// Names the store; must differ from that of any store the device held before.
    pub store_id: [u8; 16],
    /// What is fixed from now on.
    pub limits: Limits,
    /// What is kept on more than one storage element.
    pub redundancy: Redundancy,
}

impl Redundancy {
    /// What suits a device: runs are kept twice where it has several storage elements, and enough
    /// active zones.
    #[must_use]
    pub fn for_geometry(geometry: &Geometry) -> Self {
        let room = geometry.active_zones_max.is_none_or(|max| max >= ACTIVE_ZONES_FOR_TWINS);
        Self { mirror_runs: room, ..Self::NONE }.on(geometry)
    }

    /// What of it a device can have: nothing is kept twice on one element.
    fn on(self, geometry: &Geometry) -> Self {
        if geometry.element_count > 1 { self } else { Self::NONE }
    }

    /// Values that outlive an element are of no use without their keys.
    fn check(&self, geometry: &Geometry) -> Result<(), &'static str> {
        let parity = usize::from(self.parity);
        if parity > PARITY_MAX {
            return Err("a zone of parity protects at most 15 zones");
        }
        if parity > 0 && parity >= usize::from(geometry.element_count) {
            return Err("with parity of n + 1, at least n + 1 storage elements are needed");
        }
        if parity > 0 && !self.mirror_runs {
            return Err("with parity for values, runs must be mirrored too");
        }
        let base = match (parity, self.mirror_runs) {
            (1.., _) => ACTIVE_ZONES_FOR_PARITY,
            (_, true) => ACTIVE_ZONES_FOR_TWINS,
            _ => ACTIVE_ZONES,
        };
        let active = base + u32::from(self.mirror_log);
        if geometry.active_zones_max.is_none_or(|max| max >= active) {
            return Ok(());
        }
        Err(match (base, self.mirror_log) {
            (ACTIVE_ZONES_FOR_PARITY, _) => {
                "to have parity, at least 17 active zones are needed, 18 with the log mirrored"
            }
            (_, true) => {
                "to mirror the log, one more active zone is needed: 11, or 15 with keys twice"
            }
            (ACTIVE_ZONES_FOR_TWINS, _) => {
                "to keep keys twice, at least 14 active zones are needed"
            }
            _ => "at least 10 active zones are needed",
        })
    }
}

impl Limits {
    /// Limits that suit a device: large ones where blocks and zones are large, small ones for a
    /// microcontroller's flash.
    #[must_use]
    pub fn for_geometry(geometry: &Geometry) -> Self {
        let zone_len = u64::from(geometry.zone_blocks) * u64::from(geometry.block_len_bytes);
        if geometry.block_len_bytes >= 4096 && zone_len >= 256 << 10 {
            Self {
                key_len_max: 4096,
                meta_len_max: 2560,
                value_len_max: 16 << 20,
                node_len_bytes: 16_384,
                separate_from_bytes: 4096,
            }
        } else {
            let node = geometry.block_len_bytes.max(512);
            Self {
                key_len_max: 64,
                meta_len_max: 32,
                value_len_max: 16 << 10,
                node_len_bytes: node,
                separate_from_bytes: 192,
            }
        }
    }

    pub(crate) fn check(&self, geometry: &Geometry) -> Result<(), &'static str> {
        let node_len = self.node_len_bytes as usize;
        let block_len = geometry.block_len_bytes as usize;
        if self.key_len_max == 0 || usize::from(self.key_len_max) > KEY_LEN_MAX {
            return Err("the longest key must have 1 to 4096 bytes");
        }
        if usize::from(self.meta_len_max) > META_LEN_MAX {
            return Err("the longest metadata may have 8192 bytes");
        }
        if !node_len.is_power_of_two() || !(NODE_LEN_MIN..=NODE_LEN_MAX).contains(&node_len) {
            return Err("a node must have 512 to 65536 bytes, a power of two");
        }
        if !node_len.is_multiple_of(block_len) {
            return Err("a node must be a multiple of the block");
        }
        let entry = crate::plan::Plan::entry_len_max(self) + usize::from(self.key_len_max);
        if entry + 64 > crate::format::data::DataBuilder::item_len_max(node_len) {
            return Err("a node must hold the longest key with its metadata and an inline value");
        }
        if node_len < 2 * (usize::from(self.key_len_max) + 96) {
            return Err("a node must hold two of the longest keys");
        }
        if self.value_len_max > u64::from(u32::MAX) / 2 {
            return Err("the longest value may have 2 GiB");
        }
        Ok(())
    }
}

/// Formats a device; everything on it is lost. `memory` is used for the time of the call.
///
/// # Errors
/// See [`FormatError`]. The device then holds no store, or still the old one.
///
/// # Power loss
/// Leaves the old store, none, or the new one.
///
/// # Cost
/// Writes six blocks, or eight over an old store. Where neither anchor has a superblock, reads one
/// block of each zone that is written, lest an older store is left to be found.
pub async fn format<D: Device>(
    device: &D,
    memory: &mut [u8],
    options: &FormatOptions,
) -> Result<(), FormatError<D::Error>> {
    let media = Media::new(device);
    let geometry = media.geometry;
    let block_len = media.block_len();
    if block_len < BLOCK_LEN_MIN || !block_len.is_power_of_two() {
        return Err(FormatError::UnsupportedGeometry("blocks must have at least 256 bytes"));
    }
    options.redundancy.check(&geometry).map_err(FormatError::UnsupportedGeometry)?;
    options.limits.check(&geometry).map_err(FormatError::InvalidOptions)?;
    let needed_bytes = 4 * block_len;
    if memory.len() < needed_bytes {
        return Err(FormatError::MemoryTooSmall { needed_bytes });
    }
    if geometry.zone_count < ZONES_MIN {
        let zones = geometry.zone_count;
        return Err(FormatError::DeviceTooSmall { zones_needed: ZONES_MIN, zones });
    }
    event!(info, "formats {} zones", geometry.zone_count);
    write_store(&media, memory, options).await.map_err(|fault| match fault {
        Fault::Device(error) => FormatError::Device(error),
        _ => FormatError::DeviceTooSmall { zones_needed: ZONES_MIN, zones: geometry.zone_count },
    })
}

async fn write_store<D: Device>(
    media: &Media<&D>,
    memory: &mut [u8],
    options: &FormatOptions,
) -> Result<(), Fault<D::Error>> {
    let (old, mut anchors) = read_anchors(media, memory).await.map_err(Fault::Device)?;
    let ordinal = old.map_or(0, |old| old.ordinal);
    let descriptors = anchor_zones(media).await.map_err(Fault::Device)?;
    // The newest superblock goes last: without it, an older one would lead to what the store was
    // long ago, over zones that hold something else since.
    for last in [false, true] {
        for (descriptor, anchor) in descriptors.iter().zip(&anchors) {
            empty_anchor(media, descriptor, anchor, anchor.newest == ordinal, last, memory).await?;
        }
        media.sync().await.map_err(Fault::Device)?;
    }
    for anchor in &mut anchors {
        anchor.next = 0;
    }
    let mut superblock = Superblock {
        magic: MAGIC,
        version: VERSION,
        ordinal: ordinal + 1,
        store_id: options.store_id,
        block_len_bytes: media.geometry.block_len_bytes,
        zone_count: media.geometry.zone_count,
        zone_blocks: media.geometry.zone_blocks,
        limits: options.limits,
        manifest: [ManifestPlace { zone: 0, generation: 0 }; 2],
        first_edit: 1,
        redundancy: options.redundancy.on(&media.geometry),
    };
    media.set_store_tag(superblock.store_tag());
    if ordinal > 0 {
        // From now on the old store's manifest is not looked for any more: its zones are reused.
        let nothing = Superblock { first_edit: NO_STORE, ..superblock };
        write_anchors(media, &mut anchors, &nothing, memory).await?;
        superblock.ordinal += 1;
    }
    let copies = first_copies(media, &descriptors).await?;
    superblock.manifest =
        copies.map(|copy| ManifestPlace { zone: copy.zone.0, generation: copy.generation });
    write_manifest(media, memory, copies, &superblock).await?;
    media.sync().await.map_err(Fault::Device)?;
    write_anchors(media, &mut anchors, &superblock, memory).await
}

/// Writes a superblock to both anchors, one after the other.
async fn write_anchors<D: Device>(
    media: &Media<&D>,
    anchors: &mut [Anchor; ANCHORS],
    superblock: &Superblock,
    memory: &mut [u8],
) -> Result<(), Fault<D::Error>> {
    let block = &mut memory[..media.block_len()];
    for anchor in anchors {
        write_superblock(media, anchor, superblock, block).await.map_err(Fault::Device)?;
        media.sync().await.map_err(Fault::Device)?;
    }
    Ok(())
}

/// Removes every superblock from an anchor zone: the store's newest, which is in those that are
/// `current`, with `last`, and all others without.
async fn empty_anchor<D: Device>(
    media: &Media<&D>,
    descriptor: &ZoneDescriptor,
    anchor: &Anchor,
    current: bool,
    last: bool,
    memory: &mut [u8],
) -> Result<(), Fault<D::Error>> {
    if descriptor.condition != ZoneCondition::NotWritePointer {
        if current != last {
            return Ok(());
        }
        return media.device.reset(descriptor.zone).await.map_err(Fault::Device);
    }
    let block = &mut memory[..media.block_len()];
    block.fill(0);
    for index in 0..ANCHOR_BLOCKS.min(descriptor.capacity.0) {
        let newest = current && index + 1 == anchor.next;
        if newest != last {
            continue;
        }
        let lba = descriptor.start.plus(u64::from(index));
        media.write(lba, block, Class::Maintenance).await.map_err(Fault::Device)?;
    }
    Ok(())
}

/// The first two usable zones that are not anchors, emptied.
async fn first_copies<D: Device>(
    media: &Media<&D>,
    anchors: &[ZoneDescriptor; ANCHORS],
) -> Result<[Copy; 2], Fault<D::Error>> {
    let mut found = heapless::Vec::<Copy, 2>::new();
    let mut first = 0;
    while found.len() < 2 && first < media.geometry.zone_count {
        let mut descriptors = [ZoneDescriptor::EMPTY; 16];
        let count =
            media.device.report(ZoneId(first), &mut descriptors).await.map_err(Fault::Device)?;
        if count == 0 {
            break;
        }
        for descriptor in &descriptors[..count] {
            let anchor = anchors.iter().any(|anchor| anchor.zone == descriptor.zone);
            if anchor || !descriptor.condition.is_usable() || found.len() == 2 {
                continue;
            }
            let condition = descriptor.condition;
            if !matches!(condition, ZoneCondition::NotWritePointer | ZoneCondition::Empty) {
                match media.reset(descriptor.zone).await {
                    Ok(()) => {}
                    Err(error) if is_of_zone(error.kind()) => continue,
                    Err(error) => return Err(Fault::Device(error)),
                }
            }
            let generation = found.len() as u32 + 1;
            let copy =
                Copy::new(descriptor.zone, descriptor.start, generation, descriptor.capacity.0);
            assert!(found.push(copy).is_ok());
        }
        first += count as u32;
    }
    found.into_array().map_err(|_| Fault::NoSpace)
}

async fn write_manifest<D: Device>(
    media: &Media<&D>,
    memory: &mut [u8],
    mut copies: [Copy; 2],
    superblock: &Superblock,
) -> Result<(), Fault<D::Error>> {
    let block_len = media.block_len();
    for copy in &copies {
        let block = &mut memory[..block_len];
        let (store_id, generation) = (superblock.store_id, copy.generation);
        Header { store_id, generation, role: Role::Manifest as u8 }.encode(block);
        superblock.encode_in_header(block);
        seal(block, 0, media.identity(copy.generation, 0));
        media.write(copy.start, block, Class::Maintenance).await.map_err(Fault::Device)?;
    }
    let generation_limit = 3 + GENERATIONS_RESERVED;
    let start = LogPlace { generation: generation_limit, offset: 0 };
    let mut builder = EditBuilder::new(memory, block_len);
    builder.push(&Change::Counters { generation_limit, next_run: 1 });
    builder.push(&Change::Checkpoint { log: start, cold: start, seq: 0 });
    let edit = superblock.first_edit;
    let written = manifest::append(media, &mut copies, &mut builder, edit, &mut 0, true).await;
    written.map_err(|(_, error)| Fault::Device(error))
}
