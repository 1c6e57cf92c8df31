//! What media say, judged before anything is counted or indexed by it.
//!
//! A checksum that holds says that the bytes are the ones some writer sealed, not that the writer
//! was this code and right. Each judgement here is made once, where a structure is taken on: a
//! superblock before the memory is divided by it, a change before it is applied, an operation
//! before it becomes an entry. A superblock or a change that does not hold is damage; a record ends
//! where an operation does not, like one whose header is none.
//!
//! Invariants: `J1` whatever holds here can be taken on without a panic (fuzz target
//! `mutated_images`). `J2` whatever this code writes holds (every other test).

use shingle_hal::{Geometry, ZoneId};

use crate::format::edit::{Change, PieceRecord};
use crate::format::entry::{SEQ_MAX, are_fragments};
use crate::format::marks::KNOWN;
use crate::format::record::{OpHeader, OpKind};
use crate::format::superblock::{Limits, Superblock};
use crate::limits::{ANCHORS, BOTTOM, PARITY_MAX};
use crate::zone::{Role, Zones};

/// Whether the places a superblock names are there, and its counters can go on.
pub(crate) fn superblock_holds(
    geometry: &Geometry,
    superblock: &Superblock,
    anchors: [ZoneId; ANCHORS],
) -> bool {
    let [a, b] = superblock.manifest;
    let is_generation = |generation: u32| generation > 0 && generation < u32::MAX - 1;
    let in_device = |zone: u32| zone < geometry.zone_count && !anchors.contains(&ZoneId(zone));
    in_device(a.zone)
        && in_device(b.zone)
        && a.zone != b.zone
        && a.generation != b.generation
        && is_generation(a.generation)
        && is_generation(b.generation)
        && superblock.ordinal < u64::MAX / 2
        && superblock.first_edit < u64::MAX / 2
        && usize::from(superblock.redundancy.parity) <= PARITY_MAX
}

/// Whether a change of the manifest speaks of zones and numbers that can be.
pub(crate) fn change_holds(
    zones: &Zones<'_>,
    change: &Change<'_>,
    node_blocks: u32,
    zone_blocks: u32,
) -> bool {
    // Anchors and the manifest's own zones are the superblock's to name.
    let is_named = |role: Role| matches!(role, Role::Anchor | Role::Manifest);
    let is_used = |zone: u32| zone < zones.len() && !is_named(zones.get(ZoneId(zone)).role());
    match *change {
        Change::Take { zone, generation, role } => {
            let takes = Role::from_u8(role).is_some_and(|role| {
                matches!(role, Role::Extension | Role::Twin | Role::Parity | Role::LogMirror)
                    || role.holds_values()
                    || role.holds_runs()
            });
            is_used(zone) && takes && generation > 0 && generation < u32::MAX - 1
        }
        Change::Free { zone } | Change::Retire { zone } | Change::Promote { zone } => {
            // A zone that others are rebuilt from is freed behind its zone of parity.
            let is_needed =
                |id: ZoneId| zones.is_grouped(id) && zones.get(id).role() != Role::Parity;
            is_used(zone) && !is_needed(ZoneId(zone))
        }
        Change::Protect { zone, parity, blocks } => {
            let capacity = |zone: u32| zones.get(ZoneId(zone)).capacity.get();
            is_used(zone) && is_used(parity) && blocks <= capacity(zone)
        }
        Change::Extend { zone, into, .. } => is_used(zone) && is_used(into),
        Change::Twin { zone, twin } => is_used(zone) && is_used(twin),
        // What is live of runs follows from their pieces.
        Change::Fill { zone, .. } => is_used(zone) && !zones.get(ZoneId(zone)).role().holds_runs(),
        Change::Seal { zone, .. } => is_used(zone),
        Change::Mark { zone, marks, .. } => is_used(zone) && marks & !KNOWN == 0,
        Change::Scrub { zone, .. } => zone <= zones.len(),
        Change::Reserved16 => false,
        Change::Piece(piece) => piece_holds(zones, &piece, node_blocks, zone_blocks),
        Change::Merge { into, run, last_input, .. } => {
            into <= BOTTOM && can_go_on(run) && can_go_on(last_input)
        }
        Change::Checkpoint { seq, .. } => seq < SEQ_MAX,
        Change::Counters { generation_limit, next_run } => {
            generation_limit > 0 && can_go_on(generation_limit) && can_go_on(next_run)
        }
        Change::Drop { .. } | Change::MergeKey { .. } | Change::MergeEnd { .. } => true,
    }
}

/// Whether enough numbers are left above this one for whoever counts on from it: those of a run a
/// second for 68 years.
fn can_go_on(number: u32) -> bool {
    number < u32::MAX / 2
}

/// Whether a piece lies within a zone that holds pieces.
fn piece_holds(zones: &Zones<'_>, piece: &PieceRecord, node_blocks: u32, zone_blocks: u32) -> bool {
    let zone = zones.find(piece.generation);
    let end = u64::from(piece.start) + u64::from(piece.nodes) * u64::from(node_blocks);
    zone.is_some_and(|zone| zones.get(zone).role().holds_runs())
        && piece.level <= BOTTOM
        && can_go_on(piece.run)
        && piece.start > 0
        && piece.nodes > 0
        && end <= u64::from(zone_blocks)
}

/// Whether an operation with this sequence number can become an entry. `value` is what is at hand
/// of its value: nothing, if it stays in the log.
pub(crate) fn op_holds(limits: &Limits, op: &OpHeader, seq: u64, value: &[u8]) -> bool {
    let key_len_max = usize::from(limits.key_len_max);
    let value_holds = match op.kind {
        OpKind::Put => u64::from(op.value_len) <= limits.value_len_max,
        OpKind::PutFragments => are_fragments(value),
        OpKind::DeleteRange => value.len() <= key_len_max + 1,
        OpKind::Delete | OpKind::DeleteFrom | OpKind::Fragment => true,
    };
    (1..=key_len_max).contains(&usize::from(op.key_len))
        && op.meta_len <= limits.meta_len_max
        && seq <= SEQ_MAX
        && value_holds
}

#[cfg(test)]
mod tests {
    use shingle_hal::{BlockCount, ElementId, Lba, ZoneCondition, ZoneDescriptor, ZoneType};

    use super::*;
    use crate::format::superblock::{MAGIC, ManifestPlace, Redundancy, VERSION};

    const GEOMETRY: Geometry = Geometry {
        block_len_bytes: 512,
        zone_count: 40,
        zone_blocks: 64,
        open_zones_max: None,
        active_zones_max: None,
        transfer_blocks_max: 16,
        buffer_align_bytes: 1,
        element_count: 1,
    };
    const LIMITS: Limits = Limits {
        key_len_max: 64,
        meta_len_max: 16,
        value_len_max: 4096,
        node_len_bytes: 2048,
        separate_from_bytes: 192,
    };

    fn holds(a: (u32, u32), b: (u32, u32), ordinal: u64) -> bool {
        let place = |(zone, generation)| ManifestPlace { zone, generation };
        let superblock = Superblock {
            magic: MAGIC,
            version: VERSION,
            ordinal,
            store_id: [1; 16],
            block_len_bytes: 512,
            zone_count: 40,
            zone_blocks: 64,
            limits: LIMITS,
            manifest: [place(a), place(b)],
            first_edit: 1,
            redundancy: Redundancy::NONE,
        };
        superblock_holds(&GEOMETRY, &superblock, [ZoneId(0), ZoneId(1)])
    }

    #[test]
    fn superblock_with_impossible_places_is_refused() {
        assert!(holds((2, 1), (3, 2), 1));
        assert!(!holds((1, 1), (3, 2), 1), "an anchor");
        assert!(!holds((2, 1), (40, 2), 1), "behind the device");
        assert!(!holds((2, 1), (2, 2), 1), "both copies in one zone");
        assert!(!holds((2, 1), (3, 1), 1), "one generation twice");
        assert!(!holds((2, 0), (3, 1), 1), "no generation");
        assert!(!holds((2, 1), (3, 2), u64::MAX), "the last ordinal");
    }

    #[test]
    fn numbers_that_leave_none_to_go_on_with_are_refused() {
        let mut memory = vec![0; crate::zone::memory_len(1)];
        let mut zones = Zones::new(&mut memory, 1, 64);
        let zone = ZoneDescriptor {
            zone: ZoneId(0),
            zone_type: ZoneType::SequentialRequired,
            condition: ZoneCondition::Empty,
            start: Lba(0),
            capacity: BlockCount(64),
            write_pointer: BlockCount(0),
            element: ElementId(0),
        };
        zones.describe(&zone, 64);
        zones.install(ZoneId(0), 5, Role::Run);
        let changes = |number: u32| {
            let piece = PieceRecord {
                generation: 5,
                start: 1,
                nodes: 1,
                entries: 1,
                run: number,
                level: 0,
                boundaries: false,
                first_len: 0,
                first: [0; _],
            };
            [
                Change::Counters { generation_limit: number, next_run: 1 },
                Change::Counters { generation_limit: 1, next_run: number },
                Change::Merge { level: 0, into: 1, run: number, last_input: 1 },
                Change::Merge { level: 0, into: 1, run: 2, last_input: number },
                Change::Piece(piece),
            ]
        };
        let last = u32::MAX / 2 - 1;
        for (right, wrong) in changes(last).into_iter().zip(changes(last + 1)) {
            assert!(change_holds(&zones, &right, 4, 64), "{right:?}");
            assert!(!change_holds(&zones, &wrong, 4, 64), "{wrong:?}");
        }
    }

    #[test]
    fn operation_beyond_the_limits_is_refused() {
        let op = OpHeader {
            kind: OpKind::Put,
            key_len: 64,
            version_len: 0,
            meta_len: 16,
            value_len: 4096,
            moved_from: 0,
        };
        assert!(op_holds(&LIMITS, &op, 1, &[]));
        assert!(!op_holds(&LIMITS, &OpHeader { key_len: 65, ..op }, 1, &[]));
        assert!(!op_holds(&LIMITS, &OpHeader { key_len: 0, ..op }, 1, &[]));
        assert!(!op_holds(&LIMITS, &OpHeader { meta_len: 17, ..op }, 1, &[]));
        assert!(!op_holds(&LIMITS, &OpHeader { value_len: 4097, ..op }, 1, &[]));
        assert!(op_holds(&LIMITS, &op, 0, &[]), "moved, and older than any snapshot");
        assert!(!op_holds(&LIMITS, &op, u64::MAX, &[]));
        let listed = OpHeader { kind: OpKind::PutFragments, ..op };
        assert!(op_holds(&LIMITS, &listed, 1, &[1, 7, 8, 9]));
        assert!(!op_holds(&LIMITS, &listed, 1, &[2, 7, 8, 9]), "a fragment is missing");
        assert!(!op_holds(&LIMITS, &listed, 1, &[1, 7, 8, 9, 0]), "bytes are left");
    }
}
