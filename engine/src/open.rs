//! Putting the store together: the memory is divided, the parts are made, recovery fills them.

use core::cell::{Cell, RefCell};
use shingle_hal::{Device, ZoneId};

use crate::anchor::Anchor;
use crate::cache::Cache;
use crate::compact::Job;
use crate::error::OpenError;
use crate::format::edit::LogPlace;
use crate::format::superblock::{NO_STORE, Superblock};
use crate::health::effort_zones_max;
use crate::limits::{ANCHORS, MERGE_INPUTS_MAX, SNAPSHOTS_MAX};
use crate::log::Head;
use crate::log::mirror::Mirror;
use crate::manifest::Manifest;
use crate::media::Media;
use crate::memtable::Memtable;
use crate::plan::Plan;
use crate::recover::{check_superblock, read_anchors};
use crate::run::builder::{self, PieceBuilder, Shape};
use crate::run::cursor::CursorMemory;
use crate::run::tree::{self, Tree};
use crate::state::{Core, Counters, Mark, Scrubbing, State};
use crate::sync::{For, Lock, Lot, Pool};
use crate::twin::rebuilds_max;
use crate::zone::Zones;

/// Cuts memory into parts.
struct Carver<'m>(&'m mut [u8]);

impl<'m> Carver<'m> {
    fn take(&mut self, len: usize) -> &'m mut [u8] {
        let memory = core::mem::take(&mut self.0);
        let (part, rest) = memory.split_at_mut(len);
        self.0 = rest;
        part
    }
}

/// Opens the store on a device.
pub(crate) async fn open<'m, D: Device>(
    device: D,
    memory: &'m mut [u8],
) -> Result<Core<'m, D>, OpenError<D::Error>> {
    let media = Media::new(device);
    let block_len = media.block_len();
    if memory.len() < block_len {
        return Err(OpenError::MemoryTooSmall { needed_bytes: block_len });
    }
    let (superblock, anchors) = read_anchors(&media, memory).await.map_err(OpenError::Device)?;
    let is_store = |superblock: &Superblock| superblock.first_edit != NO_STORE;
    let Some(superblock) = superblock.filter(is_store) else {
        return Err(OpenError::NotFormatted);
    };
    check_superblock(&media, &superblock, &anchors)?;
    let mut core = assemble(media, memory, superblock, anchors)?;
    core.report_zones().await.map_err(OpenError::Device)?;
    core.load_manifest().await?;
    core.state.borrow_mut().begin_marks();
    core.capacity.set(core.capacity_bytes());
    core.zone_record_max = core.zone_record_max();
    core.replay().await?;
    event!(info, "open, with {} runs", core.state.borrow().tree.runs().len());
    Ok(core)
}

/// Divides the memory and makes every part, empty.
fn assemble<D: Device>(
    media: Media<D>,
    memory: &mut [u8],
    superblock: Superblock,
    anchors: [Anchor; ANCHORS],
) -> Result<Core<'_, D>, OpenError<D::Error>> {
    let limits = superblock.limits;
    let redundancy = superblock.redundancy;
    let plan = Plan::with_redundancy(&media.geometry, &limits, redundancy, memory.len())
        .map_err(|needed_bytes| OpenError::MemoryTooSmall { needed_bytes })?;
    media.set_store_tag(superblock.store_tag());
    let block_len = media.block_len();
    let node_len = limits.node_len_bytes as usize;
    let key_len = usize::from(limits.key_len_max);
    let shape = Shape::new(node_len, block_len, superblock.store_tag(), key_len, plan.height);
    let mut carver = Carver(memory);
    let zones = Zones::new(
        carver.take(plan.zones_len),
        media.geometry.zone_count,
        media.geometry.zone_blocks,
    );
    let tree = Tree::new(carver.take(tree::memory_len(plan.pieces, key_len)), key_len);
    let log = Head::new(carver.take(plan.log_len), carver.take(plan.notes_len), block_len);
    let cold = (plan.cold_len > 0)
        .then(|| Head::new(carver.take(plan.cold_len), carver.take(plan.notes_len), block_len));
    let mirror = (plan.mirror_len > 0)
        .then(|| Mirror::new(Head::new(carver.take(plan.mirror_len), &mut [], block_len)));
    let tables = [
        Memtable::new(carver.take(plan.memtable_len)),
        Memtable::new(carver.take(plan.memtable_len)),
    ];
    let nodes = Pool::new(For::Nodes, carver.take(plan.node_buffers * node_len), plan.node_buffers);
    let values_len = plan.value_buffers * plan.value_buffer_len;
    let values = Pool::new(For::Values, carver.take(values_len), plan.value_buffers);
    let builder_memory = carver.take(builder::memory_len(plan.height, node_len, key_len));
    let builder = PieceBuilder::new(shape, builder_memory, carver.take(plan.output_len), key_len);
    let mut inputs = heapless::Vec::<_, MERGE_INPUTS_MAX>::new();
    let input_len = plan.merge_len / plan.merge_inputs();
    let merge_memory = carver.take(plan.merge_len);
    for part in merge_memory.chunks_exact_mut(input_len).take(plan.merge_inputs()) {
        assert!(inputs.push(CursorMemory::new(part, key_len)).is_ok());
    }
    let edit = Pool::new(For::Edit, carver.take(plan.edit_len), 1);
    let window = Pool::new(For::Window, carver.take(plan.sweep_len), 1);
    let spare = Pool::new(For::Spare, carver.take(plan.spare_len), 1);
    let scratch = Pool::new(For::Scratch, carver.take(Plan::scratch_len(&limits)), 1);
    let meta = Pool::new(For::Meta, carver.take(usize::from(limits.meta_len_max).max(1)), 1);
    let cache = Cache::new(carver.take(plan.cache_len), node_len);
    let state = State {
        zones,
        tree,
        cache,
        tables,
        active: 0,
        frozen: None,
        log,
        cold,
        mirror,
        ahead: heapless::Vec::new(),
        manifest: Manifest::default(),
        anchors,
        scrub: Scrubbing::default(),
        unmended: [0; 2],
        effort_zones: effort_zones_max(media.geometry.zone_count),
        rebuilds_left: rebuilds_max(media.geometry.zone_count),
        effort_earned: 0,
        scrub_share: 0,
        scrub_credit: 0,
        run_heads: [None; 2],
        checkpoint: Mark::default(),
        seq: 0,
        snapshots: [None; SNAPSHOTS_MAX],
        streams: 0,
        born: 0,
        debt: 0,
        counters: Counters::default(),
        unsynced: true,
        syncs: 0,
        synced: 0,
        releasing: heapless::Vec::new(),
        released: 0,
        replaying: false,
        failed: false,
        loose: false,
        none_loose: None,
        marks_due: false,
        renewal_due: false,
        torn: heapless::Vec::new(),
        flush_due: false,
        rescued: false,
        gap: None,
        gap_filled: false,
        mirror_at: LogPlace::default(),
        survivors_missing: false,
        lost_seqs: None,
        read_only: false,
        used: (0, u64::MAX, 0),
        full_merge: false,
        wasted_reads: 0,
        squeeze: false,
        wanted: 0,
        // What the lives before left there is not known, nor what a merge that goes on has written.
        held_back: Some(0),
        holding_back: Some(0),
    };
    Ok(Core {
        media,
        plan,
        limits,
        superblock: Cell::new(superblock),
        shape,
        state: RefCell::new(state),
        nodes,
        values,
        edit,
        window,
        spare,
        scratch,
        meta,
        paid: Cell::new(false),
        emptied_at: Cell::new([0; 2]),
        jobs: Lock::new(For::Jobs),
        rolls: Lock::new(For::Rolls),
        edits: Lock::new(For::Edits),
        commits: Lock::new(For::Commits),
        lot: Lot::default(),
        job: Cell::new(Some(Job::new(builder, inputs))),
        capacity: Cell::new(0),
        zone_record_max: 0,
        reclaiming: Cell::new(None),
        rebuilding: Cell::new(None),
        regrouping: Cell::new(None),
    })
}

const _: () = assert!(size_of::<ZoneId>() == 4);
