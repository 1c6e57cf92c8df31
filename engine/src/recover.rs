//! Opening: anchors, then manifest. Recovery reads only; what must be written after a restart is
//! written with the first write that follows, so a cut during recovery changes nothing.
//!
//! ```text
//!   anchors        newest valid superblock                     at most 16 blocks each
//!   zone report    what each zone can take
//!   manifest       snapshot, edits up to the first torn one    bounded by `Manifest::has_room`
//!   survivors' log, log   from the checkpoint on               `replay`
//! ```
//!
//! Either anchor and either copy of the manifest will do: they lie on different storage elements
//! where there are any. Without any anchor a copy of the manifest does ([`rescue`]).
//!
//! Invariants: `O3` recovery writes nothing.

use shingle_hal::{Device, ZoneCondition, ZoneDescriptor, ZoneId};

use crate::anchor::{ANCHOR_BLOCKS, Anchor};
use crate::canary::{Bug, planted};
use crate::error::{Check, Damage, OpenError, Structure};
use crate::format::edit::{Change, Changes};
use crate::format::seal::check;
use crate::format::superblock::{NO_STORE, Superblock, VERSION};
use crate::limits::ANCHORS;
use crate::manifest::{Cursor, Next};
use crate::media::Media;
use crate::rescue;
use crate::run::tree::Merge;
use crate::sanity::{change_holds, superblock_holds};
use crate::state::{Core, State};
use crate::zone::{Role, Zones};

/// The anchor zones of a device: the first zone, and the next one on another storage element or,
/// where there is none nearby, the second.
pub(crate) async fn anchor_zones<D: Device>(
    media: &Media<D>,
) -> Result<[ZoneDescriptor; ANCHORS], D::Error> {
    let mut descriptors = [ZoneDescriptor::EMPTY; 16];
    let found = media.device.report(ZoneId(0), &mut descriptors).await?;
    let first = descriptors[0];
    let twin = descriptors[1..found]
        .iter()
        .find(|other| (other.element != first.element) != planted(Bug::AnchorsOnSameElement));
    Ok([first, twin.copied().unwrap_or(descriptors[1])])
}

/// Reads the anchors: the newest superblock, if any, and where the next one goes in each. Where no
/// anchor that can be written has one that leads to a manifest, or the newest two name different
/// ones, the copies are asked ([`rescue`]).
pub(crate) async fn read_anchors<D: Device>(
    media: &Media<D>,
    memory: &mut [u8],
) -> Result<(Option<Superblock>, [Anchor; ANCHORS]), D::Error> {
    let mut newest: Option<Superblock> = None;
    let descriptors = anchor_zones(media).await?;
    let block_len = media.block_len();
    let mut anchors = [Anchor::EMPTY; ANCHORS];
    let (mut sure, mut disputed) = (false, false);
    for (descriptor, anchor) in descriptors.iter().zip(&mut anchors) {
        let conventional = descriptor.condition == ZoneCondition::NotWritePointer;
        let blocks = ANCHOR_BLOCKS.min(descriptor.capacity.0);
        // A zone that is read only does not say how far it is written.
        let unknown = conventional || descriptor.condition == ZoneCondition::ReadOnly;
        let written = if unknown { blocks } else { descriptor.write_pointer.0.min(blocks) };
        let mut last = None;
        // All at once where the memory allows and nothing is torn, else block by block.
        let len = written as usize * block_len;
        let whole = len <= memory.len()
            && written > 0
            && media.try_read(descriptor.start, &mut memory[..len]).await?;
        for block in 0..written {
            let at = if whole { block as usize * block_len } else { 0 };
            let bytes = &mut memory[at..at + block_len];
            let lba = descriptor.start.plus(u64::from(block));
            if !whole && !media.try_read(lba, bytes).await? {
                continue; // torn, or never written; the other blocks decide
            }
            let Some(superblock) = Superblock::decode(bytes, block) else { continue };
            if last.is_none_or(|(known, _): (Superblock, _)| known.ordinal <= superblock.ordinal) {
                last = Some((superblock, block));
            }
            let unseen = planted(Bug::AnchorOneCopy) && descriptor.zone != descriptors[0].zone;
            if !unseen && newest.is_none_or(|known| known.ordinal < superblock.ordinal) {
                (newest, disputed) = (Some(superblock), false);
            }
            disputed |= newest.is_some_and(|known| {
                known.ordinal == superblock.ordinal && known.manifest != superblock.manifest
            });
        }
        let after_last = last.map_or(0, |(_, block)| block + 1);
        let next = if conventional { after_last } else { descriptor.write_pointer.0 };
        *anchor = Anchor { zone: descriptor.zone, next, blocks, conventional, ..Anchor::EMPTY };
        if let Some((superblock, _)) = last {
            (anchor.newest, anchor.names) = (superblock.ordinal, superblock.manifest);
        }
        // One that cannot be written may be long behind.
        sure |= last.is_some() && descriptor.condition.is_usable();
    }
    sure &= !disputed;
    let block = &mut memory[..block_len];
    if let Some(superblock) = newest.filter(|_| sure) {
        sure = leads_to_manifest(media, &superblock, block).await?;
    }
    if !sure {
        let found = rescue::find_superblock(media, memory).await?;
        let known = newest.map_or(0, |superblock| superblock.ordinal);
        let is_newer =
            |found: &Superblock| found.ordinal > known || disputed && found.ordinal == known;
        newest = found.filter(is_newer).or(newest);
    }
    Ok((newest, anchors))
}

/// Whether the manifest that a superblock names is still there: a copy is, and none was cleared
/// (`K5`). One that cannot be read says nothing.
async fn leads_to_manifest<D: Device>(
    media: &Media<D>,
    superblock: &Superblock,
    block: &mut [u8],
) -> Result<bool, D::Error> {
    if superblock.first_edit == NO_STORE {
        return Ok(true);
    }
    media.set_store_tag(superblock.store_tag());
    let mut found = false;
    let copies = superblock.manifest.iter().filter(|copy| copy.zone < media.geometry.zone_count);
    for copy in copies {
        let mut zone = [ZoneDescriptor::EMPTY];
        media.device.report(ZoneId(copy.zone), &mut zone).await?;
        let is_cleared = zone[0].condition == ZoneCondition::Empty;
        let is_read = !is_cleared && media.try_read(zone[0].start, block).await?;
        let is_whole = is_read && check(block, media.identity(copy.generation, 0)).is_ok();
        if is_cleared || is_read && !is_whole {
            return Ok(false);
        }
        found |= is_whole;
    }
    Ok(found)
}

/// Checks that a superblock is one this code can use on this device.
pub(crate) fn check_superblock<D: Device>(
    media: &Media<D>,
    superblock: &Superblock,
    anchors: &[Anchor; ANCHORS],
) -> Result<(), OpenError<D::Error>> {
    if !(1..=VERSION).contains(&superblock.version) {
        return Err(OpenError::UnsupportedVersion { version: superblock.version });
    }
    let geometry = &media.geometry;
    let same = superblock.block_len_bytes == geometry.block_len_bytes
        && superblock.zone_count == geometry.zone_count
        && superblock.zone_blocks == geometry.zone_blocks;
    if !same {
        return Err(OpenError::GeometryChanged);
    }
    let holds = superblock.limits.check(geometry).is_ok()
        && superblock_holds(geometry, superblock, anchors.map(|anchor| anchor.zone));
    if holds { Ok(()) } else { Err(OpenError::Damaged(malformed(Structure::Superblock))) }
}

/// Contents that make no sense although their seal holds.
fn malformed(structure: Structure) -> Damage {
    let extent = shingle_hal::Extent::new(shingle_hal::Lba(0), 0);
    Damage { extent, structure, check: Check::Malformed }
}

impl<D: Device> Core<'_, D> {
    /// Learns from the device what each zone can take.
    pub(crate) async fn report_zones(&self) -> Result<(), D::Error> {
        let capacity_max = u32::MAX / self.media.geometry.block_len_bytes;
        let count = self.media.geometry.zone_count;
        let mut first = 0;
        while first < count {
            let mut descriptors = [ZoneDescriptor::EMPTY; 16];
            let found = self.media.device.report(ZoneId(first), &mut descriptors).await?;
            if found == 0 {
                break;
            }
            let mut state = self.state.borrow_mut();
            for descriptor in &descriptors[..found] {
                state.zones.describe(descriptor, capacity_max);
            }
            first += found as u32;
        }
        Ok(())
    }

    /// Reads the manifest the superblock names, from the copy that goes further.
    pub(crate) async fn load_manifest(&self) -> Result<(), OpenError<D::Error>> {
        let superblock = self.superblock.get();
        let mut window = self.window.take(&self.lot).await;
        let window = &mut window[..self.plan.window_len];
        let (mut ends, mut blocks) = ([0; 2], [0; 2]);
        for copy in 0..2 {
            (ends[copy], blocks[copy]) = self.read_manifest(copy, window, u64::MAX, None).await?;
        }
        let stale = planted(Bug::StaleManifestCopyWins);
        let better = if stale { ends[1] < ends[0] } else { ends[1] > ends[0] };
        let best = usize::from(better && !planted(Bug::ManifestOneCopy));
        let damaged = || {
            let zone = ZoneId(superblock.manifest[0].zone);
            let start = self.media.geometry.zone_start(zone);
            let extent = shingle_hal::Extent::new(start, 1);
            let check = Check::Malformed;
            OpenError::Damaged(Damage { extent, structure: Structure::Manifest, check })
        };
        if ends[best] <= superblock.first_edit {
            return Err(damaged());
        }
        self.begin_state(&superblock);
        // Both copies hold the same changes in the same blocks: should the better one fail now in
        // a block that it gave before, the other may have it.
        let (end, mut from) = (ends[best], 1);
        for copy in [best, 1 - best, best] {
            let (edit, block) = self.read_manifest(copy, window, end, Some(from)).await?;
            from = from.max(block);
            if edit == end {
                break;
            }
        }
        if from < blocks[best] {
            return Err(damaged());
        }
        let mut state = self.state.borrow_mut();
        state.zones.end_load();
        state.manifest.next_edit = ends[best];
        state.zones.next_generation = state.zones.generation_limit;
        state.born = state.zones.next_generation;
        Ok(())
    }

    /// Puts the zones that the superblock itself names into use.
    fn begin_state(&self, superblock: &Superblock) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        for anchor in &state.anchors {
            state.zones.set_anchor(anchor.zone);
        }
        for copy in &superblock.manifest {
            state.zones.install_known(ZoneId(copy.zone), copy.generation, Role::Manifest);
        }
        state.manifest.ordinal = superblock.ordinal;
        state.manifest.published = Some(superblock.manifest.map(|copy| ZoneId(copy.zone)));
    }

    /// Reads a copy up to edit `end`; gives the number of the first edit that is not whole, and the
    /// block behind the last whole one. With `apply`, what the blocks from that one on say takes
    /// effect.
    async fn read_manifest(
        &self,
        copy: usize,
        window: &mut [u8],
        end: u64,
        apply: Option<u32>,
    ) -> Result<(u64, u32), OpenError<D::Error>> {
        let superblock = self.superblock.get();
        let place = superblock.manifest[copy];
        let zone = ZoneId(place.zone);
        let (limit, start) = {
            let state = self.state.borrow();
            let zone_entry = state.zones.get(zone);
            let written = zone_entry.written.get();
            let conventional = zone_entry.is_conventional();
            let capacity = zone_entry.capacity.get();
            let limit = if conventional { capacity } else { written };
            (limit, state.zones.start(zone))
        };
        let block_len = self.media.block_len();
        let mut cursor = Cursor::new(start, place.generation, limit, superblock.first_edit);
        let window_blocks = (window.len() / block_len) as u32;
        let mut most = window_blocks.min(self.media.geometry.transfer_blocks_max);
        let mut asked = 0;
        while cursor.block() < limit && cursor.edit() < end {
            let first = cursor.block();
            let blocks = most.min(limit - first);
            let lba = start.plus(u64::from(first));
            let bytes = &mut window[..blocks as usize * block_len];
            if !self.media.try_read(lba, bytes).await.map_err(OpenError::Device)? {
                // A torn block fails the whole request: close in on it, and ask for it twice.
                if blocks == 1 && asked == first {
                    break;
                }
                (most, asked) = ((blocks / 2).max(1), if blocks == 1 { first } else { 0 });
                continue;
            }
            for index in 0..blocks as usize {
                let block = &window[index * block_len..(index + 1) * block_len];
                let at = cursor.block();
                let Next::Changes { start, end: body_end, .. } = cursor.take(&self.media, block)
                else {
                    return Ok((cursor.edit(), at));
                };
                if apply.is_some_and(|from| at >= from) {
                    self.apply(&block[start..body_end])?;
                }
                if cursor.edit() >= end {
                    break;
                }
            }
        }
        Ok((cursor.edit(), cursor.block()))
    }

    fn apply(&self, body: &[u8]) -> Result<(), OpenError<D::Error>> {
        let mut state = self.state.borrow_mut();
        let node_len = self.shape.node_len as u32;
        let (node_blocks, zone_blocks) =
            (self.shape.node_blocks(), self.media.geometry.zone_blocks);
        for change in Changes::new(body) {
            if !change_holds(&state.zones, &change, node_blocks, zone_blocks)
                || !apply_change(&mut state, &change, node_len)
            {
                return Err(OpenError::Damaged(malformed(Structure::Manifest)));
            }
        }
        Ok(())
    }
}

fn apply_change(state: &mut State<'_>, change: &Change<'_>, node_len: u32) -> bool {
    let zones = &mut state.zones;
    let known = |zones: &Zones<'_>, zone: u32| zone < zones.len();
    match *change {
        Change::Take { zone, generation, role } => {
            let Some(role) = Role::from_u8(role) else {
                return false;
            };
            known(zones, zone) && zones.install_known(ZoneId(zone), generation, role)
        }
        Change::Free { zone } => known(zones, zone) && zones.free_known(ZoneId(zone)),
        Change::Retire { zone } => {
            known(zones, zone) && {
                zones.retire(ZoneId(zone));
                zones.get_mut(ZoneId(zone)).set_known_marks(0, 0);
                true
            }
        }
        Change::Fill { zone, written, live } => {
            known(zones, zone) && {
                let entry = zones.get_mut(ZoneId(zone));
                if entry.is_conventional() {
                    entry.written = written.into();
                }
                entry.live = live.into();
                true
            }
        }
        Change::Seal { zone, end } => {
            known(zones, zone) && {
                zones.get_mut(ZoneId(zone)).sealed = end.into();
                true
            }
        }
        Change::Piece(record) => {
            let Some(zone) = zones.find(record.generation) else {
                return false;
            };
            let zone = zones.get_mut(zone);
            let live = zone.live.get().checked_add(record.nodes.saturating_mul(node_len));
            let Some(live) = live else { return false };
            zone.live = live.into();
            state.tree.add(&record)
        }
        Change::Drop { generation, start } => {
            let Some(record) = state.tree.remove(generation, start) else {
                return false;
            };
            let Some(zone) = zones.find(generation) else {
                return false;
            };
            let zone = zones.get_mut(zone);
            let live = zone.live.get().checked_sub(record.nodes * node_len);
            let Some(live) = live else { return false };
            zone.live = live.into();
            true
        }
        Change::Merge { level, into, run, last_input } => {
            let merge = Merge { into, run, last_input, key_len: 0 };
            state.tree.set_known_merge(level, Some(merge))
        }
        Change::MergeKey { level, first, part } => state.tree.extend_merge_key(level, first, part),
        Change::MergeEnd { level } => state.tree.set_known_merge(level, None),
        Change::Checkpoint { log, cold, seq } => {
            state.checkpoint = crate::state::Mark { log, cold, seq, tickets: [0; 2] };
            true
        }
        Change::Extend { zone, from, into } => {
            let both = known(zones, zone) && known(zones, into);
            both && zones.extend_known(ZoneId(zone), from, ZoneId(into))
        }
        Change::Twin { zone, twin } => {
            known(zones, zone) && known(zones, twin) && zones.set_twin(ZoneId(zone), ZoneId(twin))
        }
        Change::Promote { zone } => known(zones, zone) && zones.promote_known(ZoneId(zone)),
        Change::Protect { zone, parity, blocks } => {
            let (zone, parity) = (ZoneId(zone), ZoneId(parity));
            let protected = zones.protect(zone, parity);
            if protected && blocks > 0 {
                zones.get_mut(zone).written = blocks.into();
            }
            protected
        }
        Change::Mark { zone, marks, found } => {
            let used = |zone: u32| {
                let role = zones.get(ZoneId(zone)).role();
                !matches!(role, Role::Free | Role::Releasing | Role::Retired)
            };
            let marked = known(zones, zone) && used(zone);
            if marked {
                zones.get_mut(ZoneId(zone)).set_known_marks(marks, found);
            }
            marked
        }
        Change::Scrub { pass, zone, found, lost } => {
            state.scrub.restore(pass, zone, found, lost);
            true
        }
        Change::Reserved16 => false,
        Change::Counters { generation_limit, next_run } => {
            zones.generation_limit = generation_limit;
            state.tree.next_run = state.tree.next_run.max(next_run);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use shingle_hal::ZoneId;

    use super::*;
    use crate::format::superblock::{Limits, MAGIC, ManifestPlace, Redundancy};
    use crate::ram::Ram;

    #[test]
    fn superblock_of_another_geometry_or_version_is_refused() {
        let media = Media::new(Ram::new());
        let anchors = [0, 1].map(|zone| Anchor { zone: ZoneId(zone), ..Anchor::EMPTY });
        let place = |zone| ManifestPlace { zone, generation: zone };
        let right = Superblock {
            magic: MAGIC,
            version: VERSION,
            ordinal: 3,
            store_id: [1; 16],
            block_len_bytes: Ram::GEOMETRY.block_len_bytes,
            zone_count: Ram::GEOMETRY.zone_count,
            zone_blocks: Ram::GEOMETRY.zone_blocks,
            limits: Limits::for_geometry(&Ram::GEOMETRY),
            manifest: [place(2), place(3)],
            first_edit: 1,
            redundancy: Redundancy::NONE,
        };
        assert!(check_superblock(&media, &right, &anchors).is_ok());
        for wrong in [
            Superblock { block_len_bytes: 4096, ..right },
            Superblock { zone_count: 9, ..right },
            Superblock { zone_blocks: 65, ..right },
        ] {
            let checked = check_superblock(&media, &wrong, &anchors);
            assert!(matches!(checked, Err(OpenError::GeometryChanged)), "{wrong:?}");
        }
        for version in [0, VERSION + 1] {
            let checked = check_superblock(&media, &Superblock { version, ..right }, &anchors);
            assert!(
                matches!(checked, Err(OpenError::UnsupportedVersion { version: v }) if v == version)
            );
        }
        let in_anchor = Superblock { manifest: [place(1), place(3)], ..right };
        assert!(matches!(
            check_superblock(&media, &in_anchor, &anchors),
            Err(OpenError::Damaged(_))
        ));
    }
}
