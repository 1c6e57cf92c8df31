//! Every bound in one place, with what it bounds.
//!
//! A loop, queue or table of the engine ends at one of these, or at a size that the
//! [plan](crate::plan) derived from the memory handed in.

/// Longest key a store can be formatted for, in bytes.
pub const KEY_LEN_MAX: usize = 4096;
/// Longest metadata (version and the rest together) a store can be formatted for, in bytes.
pub const META_LEN_MAX: usize = 8192;
/// Smallest block a store can be formatted on, in bytes: a superblock must fit.
pub const BLOCK_LEN_MIN: usize = 256;
/// Smallest and largest node, in bytes.
pub const NODE_LEN_MIN: usize = 512;
/// Largest node, in bytes.
pub const NODE_LEN_MAX: usize = 65_536;
/// Zones of a log that recovery found torn, and that are not flushed yet.
pub(crate) const TORN_MAX: usize = 4;
/// Bytes at the end of each sealed unit: a tag and the checksum.
pub const SEAL_LEN: usize = 8;
/// Tiered levels above the bottom.
pub const TIERS: usize = 7;
/// The level of the single sorted bottom run.
pub const BOTTOM: u8 = TIERS as u8;
/// Most runs at once, over all levels.
pub const RUNS_MAX: usize = 48;
/// Runs of a tier at which it is merged.
pub const FANOUT: usize = 8;
/// Most runs that one merge reads, the bottom included. The same for every size of memory: a merge
/// that was begun with much goes on with little.
pub const MERGE_INPUTS_MAX: usize = FANOUT + 2;
/// Levels of nodes in a piece: data, branch, and index nodes above.
pub const TREE_HEIGHT_MAX: usize = 6;
/// Open snapshots and cursors at once.
pub const SNAPSHOTS_MAX: usize = 8;
/// Value streams being written at once.
pub const STREAMS_MAX: usize = 8;
/// Fragments of one value.
pub const FRAGMENTS_MAX: usize = 64;
/// Bytes of one encoded fragment at most: three varints of 32 bits.
pub const FRAGMENT_LEN_MAX: usize = 15;
/// Indexes of one log zone that replay uses; what lies before them is walked.
pub const INDEXES_MAX: usize = 96;
/// Blocks of edits behind a snapshot of the manifest, unless that is longer: then as many again.
pub const EDIT_BLOCKS_MIN: u32 = 32;
/// Log zones taken with one manifest edit where there are plenty.
pub const LOG_ZONES_AHEAD: usize = 64;
/// And with the first one of a life.
pub const LOG_ZONES_AT_FIRST: usize = 8;
/// Tasks that can wait in a store without being polled again and again.
pub const WAITERS_MAX: usize = 64;
/// Node buffers at most: reads in flight.
pub const NODE_BUFFERS_MAX: usize = 32;
/// Value buffers at most: large value reads in flight.
pub const VALUE_BUFFERS_MAX: usize = 4;
/// Bytes that reclaim reads of a zone at once, at most: to a disk, the arm's way there and back is
/// little beside it.
pub const SWEEP_LEN_MAX: usize = 16 << 20;
/// Bytes after which writes are synced though nobody asks for it: the more a drive has in its
/// cache, the longer the next sync takes that somebody waits for.
pub const UNSYNCED_BYTES_MAX: u64 = 8 << 20;
/// How often a read starts over because what it read from was moved under it.
pub const READ_ATTEMPTS_MAX: usize = 64;
/// Generations that one manifest edit reserves.
pub const GENERATIONS_RESERVED: u32 = 1024;
/// Zones whose release is written and not durable yet.
pub const RELEASED_AT_ONCE: usize = 64;
/// Extents of a logical zone: the zone it began in, and those it went on in when writes failed.
pub const EXTENTS_MAX: usize = 8;
/// Zones that fail one after the other before a step gives up.
pub const ZONE_FAILURES_MAX: usize = 8;
/// Zones of values that one zone of parity protects at most.
pub const PARITY_MAX: usize = 15;
/// Places read with effort that are remembered until the next step of maintenance.
pub const EFFORTS_MAX: usize = 16;
/// Anchor zones.
pub const ANCHORS: usize = 2;

const _: () = assert!(SEAL_LEN == 8);
