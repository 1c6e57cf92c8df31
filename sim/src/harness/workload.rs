//! What to do next: operations drawn from a source of choices, fitted to medium and memory.

use std::ops::Bound;

use shingle_engine::{Limits, Plan, Redundancy};
use shingle_hal::Geometry;

use crate::harness::choices::Choices;
use crate::harness::oracle::Key;
use crate::harness::scan::Span;

/// A condition, to be filled in from the model when its operation is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// If the key is absent.
    Absent,
    /// If it is present.
    Present,
    /// If its version is what the model has.
    Current,
    /// If its version is one that no put ever had.
    Never,
}

/// What a put is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the value.
    pub len: u32,
    /// Bytes of the metadata.
    pub meta_len: u16,
    /// Of which bytes of the version.
    pub version_len: u16,
}

/// An operation of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Set a key.
    Put(Key, Shape, When),
    /// Remove a key.
    Delete(Key, When),
    /// Remove keys up to, not including, the second; or all from the first on.
    DeleteRange(Key, Option<Key>),
}

/// How a stream brings its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Bytes of the caller's buffer.
    pub buffer_len: u32,
    /// Bytes in one read at most.
    pub step: u32,
    /// Where it fails.
    pub fails_at: Option<u32>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// One change; `true` waits until it is durable.
    One(Part, bool),
    /// Several changes at once.
    Batch(Vec<Part>, bool),
    /// A put from a stream.
    Stream(Key, Shape, Feed, bool),
    /// Make everything durable.
    Sync,
    /// Empty the memory.
    Checkpoint,
    /// So many steps of background work.
    Maintain(u32),
    /// Merge and reclaim everything.
    Compact,
    /// Read a key whole, in part, and its metadata.
    Read(Key),
    /// Read part of a value.
    ReadAt(Key, u64, u32),
    /// Read a range of keys in order, with their values, and count it.
    Scan(Span),
    /// Take a snapshot.
    Snapshot,
    /// Read a key in one of the snapshots held.
    ReadSnapshot(u32, Key),
    /// Read a range of keys in one of the snapshots held.
    ScanSnapshot(u32, Span),
    /// Drop one of the snapshots held.
    DropSnapshot(u32),
    /// Compare everything.
    Verify,
}

/// What operations are drawn with.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Size of the key universe.
    pub keys: Key,
    /// Longest value.
    pub len_max: u32,
    /// Length from which values are kept apart.
    pub separate_from: u32,
    /// Longest metadata.
    pub meta_max: u16,
    /// Longest value that is put often.
    pub common_max: u32,
    /// Longest of the small values, which runs hold.
    pub small_max: u32,
    /// Most operations of a batch.
    pub batch_max: u64,
    /// Most values are large, so that the log goes round and round.
    pub heavy: bool,
    /// Most values are kept apart and have no metadata, so that leaves can have digests.
    pub plain: bool,
    /// Bytes of values that the store is filled with at most.
    pub live_max: u64,
    /// Weights: changes, reads, background work, snapshots.
    pub weights: [u64; 4],
    /// A change is durable once in so many.
    pub durable_one_in: u64,
}

impl Profile {
    /// A profile for a store.
    #[must_use]
    pub fn draw(
        choices: &mut Choices,
        geometry: &Geometry,
        limits: &Limits,
        capacity: u64,
    ) -> Self {
        let keys = choices.pick(&[6, 24, 24, 96, 200, 600]);
        // Many keys with values that runs hold make runs of several pieces.
        let wide = keys >= 200 && choices.once_in(2);
        let live_max = capacity * choices.pick(&[5, 15, 30]) / 100;
        let len_max = limits.value_len_max.min(live_max / 4).min(1 << 20) as u32;
        let heavy = choices.once_in(3);
        let plain = choices.once_in(4);
        let common = u64::from(geometry.block_len_bytes) * choices.pick(&[1, 4, 16]);
        // So much that all keys together stay below what the store is filled with at most.
        let common = if heavy { 2 * live_max / u64::from(keys) } else { common };
        Self {
            keys,
            len_max,
            separate_from: limits.separate_from_bytes,
            meta_max: limits.meta_len_max.min(300),
            common_max: common.min(u64::from(len_max)) as u32,
            small_max: if wide { limits.separate_from_bytes.min(1000) } else { 64 },
            batch_max: if wide { 48 } else { 12 },
            heavy,
            plain,
            live_max,
            weights: choices.pick(&[
                [60, 20, 10, 10],
                [90, 5, 5, 0],
                [50, 10, 30, 10],
                [80, 15, 5, 2],
            ]),
            durable_one_in: choices.pick(&[2, 5, 20, 1000]),
        }
    }

    fn shape(&self, choices: &mut Choices, live: u64) -> Shape {
        let apart = self.separate_from;
        let heavy = self.heavy && !choices.once_in(4);
        let len = match choices.below(20) {
            _ if heavy => choices.below(u64::from(self.common_max) + 1) as u32,
            0 => 0,
            1..7 if self.small_max > 64 => choices.below(u64::from(self.small_max)) as u32,
            1..7 => choices.magnitude(64) as u32,
            7..10 => choices.below(u64::from(apart.max(1))) as u32,
            10 => (apart + choices.below(3) as u32).saturating_sub(1),
            11..18 => choices.magnitude(u64::from(self.common_max.max(1))) as u32,
            _ => choices.magnitude(u64::from(self.len_max.max(1))) as u32,
        };
        let plain = self.plain && !choices.once_in(16);
        let len = if plain { len.max(apart) } else { len };
        let len = if live + u64::from(len) > self.live_max { len % 64 } else { len };
        let meta_len = match choices.below(8) {
            0 => choices.below(8) as u16,
            1 => choices.below(u64::from(self.meta_max) + 1) as u16,
            _ => 8,
        };
        let meta_len = if plain { 0 } else { meta_len };
        let version_len = choices.pick(&[0, 8, 8, 8, meta_len]).min(meta_len);
        Shape { len: len.min(self.len_max), meta_len: meta_len.min(self.meta_max), version_len }
    }

    fn part(&self, choices: &mut Choices, keys: &std::ops::Range<Key>, live: u64) -> Part {
        let key = self.key(choices, keys);
        let when = match choices.below(10) {
            0 => When::Absent,
            1 => When::Present,
            2 => When::Current,
            3 if choices.once_in(4) => When::Never,
            _ => When::Always,
        };
        match choices.below(20) {
            0..14 => Part::Put(key, self.shape(choices, live), when),
            14..19 => Part::Delete(key, when),
            _ => {
                let end = key + choices.magnitude(u64::from(keys.len() as u16).max(2)) as Key;
                let whole = end >= keys.end;
                let open = whole && keys.end == self.keys && choices.once_in(3);
                Part::DeleteRange(key, (!open).then_some(end.min(keys.end)))
            }
        }
    }

    /// A range within `keys`, or beyond where it is open; now and then its end lies before its
    /// start.
    pub fn span(&self, choices: &mut Choices, keys: &std::ops::Range<Key>) -> Span {
        let bound = |choices: &mut Choices, key: Key| match choices.below(5) {
            0..2 => Bound::Included(key),
            2..4 => Bound::Excluded(key),
            _ => Bound::Unbounded,
        };
        let (one, other) = (self.key(choices, keys), self.key(choices, keys));
        let turned = one > other && !choices.once_in(16);
        let (start, end) = if turned { (other, one) } else { (one, other) };
        let (start, end) = (bound(choices, start), bound(choices, end));
        Span { start, end, reverse: choices.once_in(2) }
    }

    fn key(&self, choices: &mut Choices, keys: &std::ops::Range<Key>) -> Key {
        keys.start + choices.below(keys.len() as u64) as Key
    }

    /// The next operation of a writer of `keys`, where `live` bytes are stored.
    pub fn draw_op(&self, choices: &mut Choices, keys: &std::ops::Range<Key>, live: u64) -> Op {
        let [changes, reads, work, snapshots] = self.weights;
        let mut at = choices.below(changes + reads + work + snapshots);
        if at < changes {
            return self.draw_change(choices, keys, live);
        }
        at -= changes;
        let key = self.key(choices, keys);
        if at < reads {
            return match choices.below(40) {
                0 => Op::Verify,
                1..8 => Op::Scan(self.span(choices, keys)),
                8..16 => {
                    let offset = choices.magnitude(u64::from(self.len_max.max(1))) - 1;
                    Op::ReadAt(key, offset, choices.magnitude(20_000) as u32)
                }
                _ => Op::Read(key),
            };
        }
        at -= reads;
        if at < work {
            return match choices.below(20) {
                0..8 => Op::Sync,
                8..11 => Op::Checkpoint,
                11 => Op::Compact,
                _ => Op::Maintain(choices.magnitude(32) as u32),
            };
        }
        let number = choices.below(64) as u32;
        match choices.below(8) {
            0..2 => Op::Snapshot,
            2 => Op::DropSnapshot(number),
            3 => Op::ScanSnapshot(number, self.span(choices, keys)),
            _ => Op::ReadSnapshot(number, key),
        }
    }

    fn draw_change(&self, choices: &mut Choices, keys: &std::ops::Range<Key>, live: u64) -> Op {
        let durable = choices.once_in(self.durable_one_in);
        match choices.below(12) {
            0 | 1 => {
                let count = choices.magnitude(self.batch_max);
                let small = Self { len_max: self.len_max.min(600), ..self.clone() };
                let small = Self { common_max: small.len_max, ..small };
                Op::Batch((0..count).map(|_| small.part(choices, keys, live)).collect(), durable)
            }
            2 => {
                let shape = self.shape(choices, live);
                let buffer_len = (shape.len / 8).max(1) + choices.magnitude(8192) as u32;
                let feed = Feed {
                    buffer_len,
                    step: choices.magnitude(u64::from(shape.len.max(1))) as u32,
                    fails_at: choices
                        .once_in(4)
                        .then(|| choices.below(u64::from(shape.len) + 1) as u32),
                };
                Op::Stream(self.key(choices, keys), shape, feed, durable)
            }
            _ => Op::One(self.part(choices, keys, live), durable),
        }
    }
}

/// Limits to format with.
#[must_use]
pub fn draw_limits(choices: &mut Choices, geometry: &Geometry) -> Limits {
    let mut limits = Limits::for_geometry(geometry);
    let block = geometry.block_len_bytes;
    // A zone must hold a piece: a dozen nodes and more.
    let roomy = geometry.zone_blocks * block / 2048 >= 12;
    let custom = choices.once_in(2);
    if !roomy || (!custom && block >= 2048) {
        return limits;
    }
    limits.key_len_max = 64;
    limits.meta_len_max = choices.pick(&[16, 64]);
    limits.value_len_max = choices.pick(&[4 << 10, 16 << 10, 200 << 10]);
    limits.separate_from_bytes = choices.pick(&[64, 192, 500]);
    limits.node_len_bytes = block.max(2048);
    limits
}

/// Memory to open with, from the least that will do.
#[must_use]
pub fn draw_memory(choices: &mut Choices, geometry: &Geometry, limits: &Limits) -> usize {
    let least = Plan::new(geometry, limits, 0).err().unwrap_or(0);
    match choices.below(7) {
        0 => least,
        6 => least.max(32 << 10),
        1 => least + choices.magnitude(64 << 10) as usize,
        2 => 2 * least,
        3 => least + (256 << 10),
        4 => least + (1 << 20),
        _ => least + (4 << 20),
    }
}

/// Whether a device has the active zones that a mirror of the log needs, beside runs kept twice.
#[must_use]
pub fn has_mirror_room(geometry: &Geometry) -> bool {
    geometry.active_zones_max.is_none_or(|max| max >= 15)
}

/// Zones of values that one zone of parity protects, or none: for a store with its runs on two
/// elements, by the seed alone.
#[must_use]
pub fn draw_parity(seed: u64, geometry: &Geometry) -> u8 {
    let mut choices = Choices::new(seed ^ 0x0070_6172_6974_7921);
    let room = geometry.active_zones_max.is_none_or(|max| max >= 18) && geometry.zone_count >= 90;
    let most = u64::from(geometry.element_count.saturating_sub(1)).min(4);
    if room && most > 0 && choices.once_in(2) { 1 + choices.below(most) as u8 } else { 0 }
}

/// Memory that a store needs more where its log is mirrored.
#[must_use]
pub fn mirror_memory(geometry: &Geometry, limits: &Limits, redundancy: Redundancy) -> usize {
    let least = Plan::new(geometry, limits, 0).err().unwrap_or(0);
    let needed = Plan::with_redundancy(geometry, limits, redundancy, 0).err().unwrap_or(0);
    needed - least
}

/// The bytes of a key; their order is that of the keys. A dozen of all lengths are followed by a
/// dozen of one length.
#[must_use]
pub fn key_bytes(key: Key) -> Vec<u8> {
    let mut bytes = format!("k{key:04}").into_bytes();
    let longer = if (key / 12).is_multiple_of(2) { key % 7 } else { 2 };
    bytes.resize(5 + usize::from(longer) * 5, b'x');
    bytes
}
