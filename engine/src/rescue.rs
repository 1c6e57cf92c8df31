//! Finding the manifest where the anchors do not lead to it.
//!
//! With one anchor dead for good, the other one is now and then reset while it is the only one: a
//! cut just then leaves no superblock at all. So the header block of each copy of the manifest
//! carries the superblock that names it. Where no anchor that can be written has one, the headers
//! of all zones are looked through for the newest whose snapshot is whole.
//!
//! So they are where two superblocks of one ordinal name different manifests. A cut left the first
//! in one anchor only, which the next life read as it had been before (a stale read): it counted on
//! from the same ordinal, and the manifest that it published is the one with edits.
//!
//! A snapshot that was whole when a cut kept it from being published has the ordinal of the next
//! one that was. No edits follow it. If none follow the other one either, nothing was written
//! since, and what is of a later life, with a higher generation, counts; where that is the same,
//! both were the first of a life and say the same.
//!
//! Invariants: `O6` what is found is no older than what the anchors named. Tests:
//! `sim/tests/anchors.rs`.

use shingle_hal::{Device, ZoneCondition, ZoneDescriptor, ZoneId};

use crate::canary::{Bug, planted};
use crate::format::header::generation;
use crate::format::superblock::Superblock;
use crate::manifest::{Cursor, Next};
use crate::media::Media;

/// The newest superblock that a copy of the manifest carries.
///
/// # Errors
/// The device's.
///
/// # Cost
/// A read for each zone that is written, and one for each block of the snapshots that are tried.
pub(crate) async fn find_superblock<D: Device>(
    media: &Media<D>,
    memory: &mut [u8],
) -> Result<Option<Superblock>, D::Error> {
    let of_anchors = [Bug::AnchorsResetTogether, Bug::AnchorOneCopy, Bug::AnchorsOnSameElement];
    if of_anchors.into_iter().any(planted) {
        return Ok(None); // or those would not show
    }
    let Some(block) = memory.get_mut(..media.block_len()) else { return Ok(None) };
    let (mut newest, mut rank) = (None::<Superblock>, (0, 0, 0));
    let mut zone = 0;
    while zone < media.geometry.zone_count {
        let mut descriptors = [ZoneDescriptor::EMPTY; 16];
        let count = media.device.report(ZoneId(zone), &mut descriptors).await?;
        if count == 0 {
            break;
        }
        for descriptor in &descriptors[..count] {
            if descriptor.condition == ZoneCondition::Empty {
                continue;
            }
            let Some(found) = superblock_in(media, descriptor, block).await? else { continue };
            let is_known = newest.is_some_and(|known| known.manifest == found.manifest);
            if found.ordinal < rank.0 || is_known {
                continue;
            }
            let edits = edits_in(media, descriptor, &found, block).await?;
            let its = (found.ordinal, edits, found.manifest[0].generation);
            if edits > 0 && its > rank {
                (newest, rank) = (Some(found), its);
            }
        }
        zone += count as u32;
    }
    Ok(newest)
}

/// The superblock that a zone's header carries, if it names this zone.
async fn superblock_in<D: Device>(
    media: &Media<D>,
    descriptor: &ZoneDescriptor,
    block: &mut [u8],
) -> Result<Option<Superblock>, D::Error> {
    if !media.try_read(descriptor.start, block).await? {
        return Ok(None);
    }
    let found = Superblock::decode_in_header(block);
    let named = |found: &Superblock| {
        let mut copies = found.manifest.iter();
        let generation = generation(block);
        copies.any(|copy| copy.zone == descriptor.zone.0 && Some(copy.generation) == generation)
    };
    Ok(found.filter(named))
}

/// Edits that a copy of the manifest holds, at most 2: its snapshot, if that is whole, and another.
async fn edits_in<D: Device>(
    media: &Media<D>,
    descriptor: &ZoneDescriptor,
    superblock: &Superblock,
    block: &mut [u8],
) -> Result<u64, D::Error> {
    media.set_store_tag(superblock.store_tag());
    let (start, first) = (descriptor.start, superblock.first_edit);
    let Some(generation) = generation(block) else { return Ok(0) };
    let mut cursor = Cursor::new(start, generation, descriptor.capacity.0, first);
    while cursor.edit() < first + 2 && cursor.block() < descriptor.capacity.0 {
        let lba = start.plus(cursor.block().into());
        let read = media.try_read(lba, block).await?;
        if !read || matches!(cursor.take(media, block), Next::End) {
            break;
        }
    }
    Ok(cursor.edit() - first)
}
