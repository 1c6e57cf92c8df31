//! The node: a sorted list of keys with payloads in one fixed-length buffer, the unit of a run.
//!
//! Why: a run is read by the node, so a node must be searched where it lies, with no copy and no
//! index built first. [`data`](super::data) and [`branch`](super::branch) give the payload meaning.
//!
//! Layout (FORMAT.md, "Node"), integers little-endian or [`varint`]:
//!
//! ```text
//! 0      type u8: 1 data, 2 branch, 3 index      6   end u16: where the items end
//! 1      level u8                                8   filter_len u16
//! 2      flags u8: bit 0 has a Boundary          10  zero, 6 bytes
//! 3      zero                                    16  filter, filter_len bytes
//! 4      count u16                               ..  items, zeros, groups, trailer (8 bytes)
//!
//! item:  shared, suffix_len, suffix, payload
//! group: at u16, boundary u16; group g lies 4 * (g + 1) bytes before the trailer
//! ```
//!
//! Sixteen items make a group. `shared` counts the bytes an item has in common with the *first* key
//! of its group, which is whole; not with the item before it. So any item's key is two slices of
//! the node, a step back needs no key rebuilt, and a search compares the first key once and then
//! skips each item that shares more with it than the target does. The price is a few bytes a group.
//! `boundary` is one more than the index of the last Boundary before the group, or zero.
//!
//! Invariants:
//! - `N1` Items ascend by key, then rank; the builder's caller promises it.
//! - `N2` `16 + filter_len <= end <= groups`, and what is not used is zero, so equal content makes
//!   equal bytes. `node_of_equal_content_is_equal_bytes`.
//! - `N3` The last [`TRAILER`] bytes are the seal's: the builder leaves them zero, no reader looks.
//! - `N4` A reader over any bytes, given any position, ends and does not panic: each step ends
//!   further in the node and each group scan is at most sixteen items.
//!   `data_of_mutated_bytes_never_panics`, `branch_of_mutated_bytes_never_panics`.
//! - `N5` A [`Position`] is offsets only: it is good for any copy of the same node.

use core::cmp::Ordering;
use core::marker::PhantomData;

use super::entry::Rank;
use super::varint::{self, Writer};

/// Bytes at the end of a node that belong to its seal.
pub const TRAILER: usize = 8;
/// The shortest node.
pub const NODE_LEN_MIN: usize = 512;
/// The longest node.
pub const NODE_LEN_MAX: usize = 65536;
/// The most bytes of a key.
pub const KEY_LEN_MAX: usize = u16::MAX as usize;

pub(crate) const HEADER: usize = 16;
const GROUP_ITEMS: u16 = 16;
const SLOT: usize = 4;
const FLAG_BOUNDARY: u8 = 1;

// Every offset up to the trailer fits a u16.
const _: () = assert!(NODE_LEN_MAX - TRAILER <= u16::MAX as usize);

/// What a node is. The values are on media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeType {
    /// Keys and entries.
    Data = 1,
    /// Separators of data nodes, and a filter of their keys.
    Branch = 2,
    /// Separators of branch or index nodes.
    Index = 3,
}

/// What a node says it is, by its first byte.
pub fn node_type(node: &[u8]) -> Option<NodeType> {
    match node.first()? {
        1 => Some(NodeType::Data),
        2 => Some(NodeType::Branch),
        3 => Some(NodeType::Index),
        _ => None,
    }
}

/// The bytes of a node are not what a builder writes (or a key is longer than its buffer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A caller's buffer that holds one key.
#[derive(Debug)]
pub struct KeyBuf<'k> {
    /// Room for the longest key.
    pub bytes: &'k mut [u8],
    /// Bytes of `bytes` that are the key.
    pub len: usize,
    /// Whether the key before this one was greater.
    pub fell: bool,
}

impl<'k> KeyBuf<'k> {
    /// An empty key with room for `bytes.len()` bytes.
    pub fn new(bytes: &'k mut [u8]) -> Self {
        KeyBuf { bytes, len: 0, fell: false }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Makes `head` then `suffix` the key; unchanged if they do not fit.
    #[inline]
    pub fn set(&mut self, head: &[u8], suffix: &[u8]) -> Result<(), Malformed> {
        let len = head.len() + suffix.len();
        let fell = match self.key().split_at_checked(head.len()) {
            Some((start, rest)) => head.cmp(start).then_with(|| suffix.cmp(rest)).is_lt(),
            None => head < self.key(),
        };
        let room = self.bytes.get_mut(..len).ok_or(Malformed)?;
        let (left, right) = room.split_at_mut_checked(head.len()).ok_or(Malformed)?;
        left.copy_from_slice(head);
        right.copy_from_slice(suffix);
        (self.len, self.fell) = (len, fell);
        Ok(())
    }
}

/// How many first bytes `a` and `b` have in common.
#[inline]
pub fn shared_len(a: &[u8], b: &[u8]) -> usize {
    let ((words_a, _), (words_b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut len = 0;
    for (x, y) in words_a.iter().zip(words_b) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let (rest_a, rest_b) = (a.get(len..).unwrap_or(&[]), b.get(len..).unwrap_or(&[]));
    len + rest_a.iter().zip(rest_b).take_while(|(x, y)| x == y).count()
}

/// The length of the shortest prefix of `next` that is greater than `prev`.
///
/// `prev` must be less than `next`. For equal keys no prefix is greater, and this is `next.len()`:
/// use [`separator`] where the versions of one key may span nodes.
pub fn separator_len(prev: &[u8], next: &[u8]) -> usize {
    (shared_len(prev, next) + 1).min(next.len())
}

/// Writes the separator of a node whose first key is `next` after one whose last key is `prev`.
///
/// If the keys are equal, the versions of one key span both nodes, and the separator is the key
/// and one zero byte: the least key above it. A search for the key then begins in the earlier node
/// and goes on to the later when it runs off the end. `None` if `out` is too short.
pub fn separator<'o>(prev: &[u8], next: &[u8], out: &'o mut [u8]) -> Option<&'o [u8]> {
    debug_assert!(prev <= next);
    let spans = prev == next;
    let len = if spans { next.len() + 1 } else { separator_len(prev, next) };
    let out = out.get_mut(..len)?;
    out.fill(0);
    for (to, from) in out.iter_mut().zip(next) {
        *to = *from;
    }
    Some(out)
}

/// Fills a node from its front. The buffer is the caller's and is given to each call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListBuilder {
    node_len: u32,
    at: u32,
    begin: u16,
    count: u16,
    base: u16,
    base_len: u16,
    /// One more than the index of the last Boundary.
    boundary: u16,
    node_type: NodeType,
    level: u8,
}

impl ListBuilder {
    pub(crate) fn new(buf: &mut [u8], node_type: NodeType, level: u8, filter_len: usize) -> Self {
        let len = buf.len();
        assert!((NODE_LEN_MIN..=NODE_LEN_MAX).contains(&len), "node length out of bounds");
        let begin = HEADER + filter_len;
        assert!(begin + SLOT + TRAILER <= len, "no room for items beside the filter");
        if let Some(head) = buf.get_mut(..begin) {
            head.fill(0);
        }
        ListBuilder {
            node_len: len as u32,
            at: begin as u32,
            begin: begin as u16,
            count: 0,
            base: 0,
            base_len: 0,
            boundary: 0,
            node_type,
            level,
        }
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// The most bytes the items may still take, if no group begins.
    pub(crate) fn room(&self) -> usize {
        let groups = usize::from(self.count.div_ceil(GROUP_ITEMS));
        (self.node_len as usize).saturating_sub(self.at as usize + groups * SLOT + TRAILER)
    }

    /// Adds an item; `false`, and nothing changed, if it does not fit.
    #[inline]
    pub(crate) fn push(
        &mut self,
        buf: &mut [u8],
        key: &[u8],
        is_boundary: bool,
        payload_len: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        assert_eq!(buf.len(), self.node_len as usize, "another buffer than the builder's");
        assert!(key.len() <= KEY_LEN_MAX);
        let begins_group = self.count.is_multiple_of(GROUP_ITEMS);
        let base_end = usize::from(self.base) + usize::from(self.base_len);
        let base = buf.get(usize::from(self.base)..base_end).unwrap_or(&[]);
        debug_assert!(begins_group || base <= key, "N1: keys ascend");
        let shared = if begins_group { 0 } else { shared_len(base, key) };
        let suffix = key.get(shared..).unwrap_or(&[]);
        let head_len =
            varint::encoded_len(shared as u64) + varint::encoded_len(suffix.len() as u64);
        let end = self.at as usize + head_len + suffix.len() + payload_len;
        let groups = usize::from(self.count / GROUP_ITEMS) + 1;
        if end + groups * SLOT + TRAILER > buf.len() || self.count == u16::MAX {
            return false;
        }
        let at = self.at as usize;
        let written = buf.get_mut(at..end).and_then(|item| {
            let mut writer = Writer::new(item);
            writer.u64(shared as u64)?;
            writer.u64(suffix.len() as u64)?;
            writer.put(suffix)?;
            let payload_at = writer.at();
            Some(payload_at + write(item.get_mut(payload_at..)?)?)
        });
        assert_eq!(written, Some(end - at), "a payload whose lengths disagree");
        if begins_group {
            let slot_at = buf.len() - TRAILER - groups * SLOT;
            if let Some(slot) = buf.get_mut(slot_at..).and_then(|b| b.first_chunk_mut::<SLOT>()) {
                let [a, b] = (at as u16).to_le_bytes();
                let [c, d] = self.boundary.to_le_bytes();
                *slot = [a, b, c, d];
            }
            self.base = (at + head_len) as u16;
            self.base_len = key.len() as u16;
        }
        self.count += 1;
        if is_boundary {
            self.boundary = self.count;
        }
        self.at = end as u32;
        true
    }

    /// Writes the header and clears what is not used.
    pub(crate) fn finish(self, buf: &mut [u8]) {
        assert_eq!(buf.len(), self.node_len as usize, "another buffer than the builder's");
        let groups = usize::from(self.count.div_ceil(GROUP_ITEMS));
        let trailer_at = buf.len() - TRAILER;
        if let Some(gap) = buf.get_mut(self.at as usize..trailer_at - groups * SLOT) {
            gap.fill(0);
        }
        if let Some(trailer) = buf.get_mut(trailer_at..) {
            trailer.fill(0);
        }
        let mut header = [0u8; HEADER];
        let [count_0, count_1] = self.count.to_le_bytes();
        let [end_0, end_1] = (self.at as u16).to_le_bytes();
        let [filter_0, filter_1] = (self.begin - HEADER as u16).to_le_bytes();
        let flags = if self.boundary > 0 { FLAG_BOUNDARY } else { 0 };
        for (to, from) in header.iter_mut().zip([
            self.node_type as u8,
            self.level,
            flags,
            0,
            count_0,
            count_1,
            end_0,
            end_1,
            filter_0,
            filter_1,
        ]) {
            *to = from;
        }
        if let Some(head) = buf.first_chunk_mut::<HEADER>() {
            *head = header;
        }
    }
}

/// What a list's payloads are.
pub(crate) trait Payload {
    /// The length of the payload at the start of `bytes`, and the rank it gives its item.
    fn read(bytes: &[u8]) -> Option<(usize, Rank)>;
}

/// Where an item lies: offsets only, so it outlives any one copy of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    index: u16,
    base: u16,
    base_len: u16,
    shared: u16,
    suffix: u16,
    payload: u16,
    end: u16,
}

impl Position {
    /// The item's number in the node, from zero.
    #[inline]
    pub fn index(&self) -> usize {
        usize::from(self.index)
    }
}

/// Where the items of a group of a node begin; 0 for those not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// One more than the group's number; 0 for none.
    number_above: u16,
    base: (u16, u16),
    starts: [u16; GROUP_ITEMS as usize],
}

/// The items around a target: the last one before it and the first one not before it.
pub(crate) type Around = (Option<Position>, Option<Position>);

/// Reads a node's items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a, P> {
    bytes: &'a [u8],
    begin: u16,
    end: u16,
    count: u16,
    flags: u8,
    level: u8,
    payload: PhantomData<P>,
}

impl<'a, P: Payload> List<'a, P> {
    /// A reader, if the header of `bytes` holds together. Constant cost.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        if !(NODE_LEN_MIN..=NODE_LEN_MAX).contains(&bytes.len()) {
            return None;
        }
        let &[_, level, flags, zero, c0, c1, e0, e1, f0, f1, ref rest @ ..] =
            bytes.first_chunk::<HEADER>()?;
        let (count, end) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([e0, e1]));
        let begin = HEADER + usize::from(u16::from_le_bytes([f0, f1]));
        let slots = usize::from(count.div_ceil(GROUP_ITEMS)) * SLOT;
        let slots_at = (bytes.len() - TRAILER).checked_sub(slots)?;
        let in_order = begin <= usize::from(end) && usize::from(end) <= slots_at;
        if !in_order || zero != 0 || rest.iter().any(|&b| b != 0) || flags & !FLAG_BOUNDARY != 0 {
            return None;
        }
        let begin = begin as u16;
        Some(List { bytes, begin, end, count, flags, level, payload: PhantomData })
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }

    pub(crate) fn level(&self) -> u8 {
        self.level
    }

    pub(crate) fn has_boundaries(&self) -> bool {
        self.flags & FLAG_BOUNDARY != 0
    }

    pub(crate) fn filter(&self) -> &'a [u8] {
        self.bytes.get(HEADER..usize::from(self.begin)).unwrap_or(&[])
    }

    /// The bytes from an item's payload to the end of the items.
    #[inline]
    pub(crate) fn payload(&self, position: Position) -> Option<&'a [u8]> {
        self.bytes.get(usize::from(position.payload)..usize::from(self.end))
    }

    #[inline]
    pub(crate) fn rank(&self, position: Position) -> Result<Rank, Malformed> {
        let payload = self.payload(position).ok_or(Malformed)?;
        Ok(P::read(payload).ok_or(Malformed)?.1)
    }

    /// An item's key, in two parts.
    #[inline]
    pub(crate) fn key_parts(&self, position: Position) -> Option<(&'a [u8], &'a [u8])> {
        let base = usize::from(position.base);
        let head = self.bytes.get(base..base + usize::from(position.shared))?;
        let suffix = self.bytes.get(usize::from(position.suffix)..usize::from(position.payload))?;
        Some((head, suffix))
    }

    /// Where a group begins, and one more than the index of the last Boundary before it.
    #[inline]
    fn slot(&self, group: u16) -> Result<(u16, u16), Malformed> {
        let back = TRAILER + (usize::from(group) + 1) * SLOT;
        let slot_at = self.bytes.len().checked_sub(back).ok_or(Malformed)?;
        let slot = self.bytes.get(slot_at..).and_then(|b| b.first_chunk::<SLOT>());
        let &[a, b, c, d] = slot.ok_or(Malformed)?;
        let at = u16::from_le_bytes([a, b]);
        if at < self.begin { Err(Malformed) } else { Ok((at, u16::from_le_bytes([c, d]))) }
    }

    /// The lengths at `at`: shared, suffix, and where the suffix begins.
    #[inline]
    fn lengths(&self, at: u16) -> Option<(usize, usize, usize)> {
        let at = usize::from(at);
        let bytes = self.bytes.get(at..usize::from(self.end))?;
        if let [shared @ 0..=127, suffix @ 0..=127, ..] = *bytes {
            return Some((usize::from(shared), usize::from(suffix), at + 2));
        }
        let (shared, shared_bytes) = varint::decode_u32(bytes)?;
        let (suffix, suffix_bytes) = varint::decode_u32(bytes.get(shared_bytes..)?)?;
        Some((shared as usize, suffix as usize, at + shared_bytes + suffix_bytes))
    }

    /// Reads item `index` at `at`, in the group whose first key is `base`.
    #[inline]
    fn item(&self, index: u16, at: u16, base: (u16, u16)) -> Result<(Position, Rank), Malformed> {
        let (shared, suffix_len, suffix) = self.lengths(at).ok_or(Malformed)?;
        let payload = suffix.checked_add(suffix_len).ok_or(Malformed)?;
        let rest = self.bytes.get(payload..usize::from(self.end)).ok_or(Malformed)?;
        let (len, rank) = P::read(rest).ok_or(Malformed)?;
        let begins_group = index.is_multiple_of(GROUP_ITEMS);
        // `rest` was there, so every offset is at most `end` and fits.
        let (base, base_len) = if begins_group { (suffix as u16, suffix_len as u16) } else { base };
        let shared_max = if begins_group { 0 } else { usize::from(base_len) };
        if shared > shared_max || len > rest.len() || len == 0 {
            return Err(Malformed);
        }
        let position = Position {
            index,
            base,
            base_len,
            shared: shared as u16,
            suffix: suffix as u16,
            payload: payload as u16,
            end: (payload + len) as u16,
        };
        Ok((position, rank))
    }

    #[inline]
    fn group_first(&self, group: u16) -> Result<(Position, Rank), Malformed> {
        let (at, _) = self.slot(group)?;
        self.item(group * GROUP_ITEMS, at, (0, 0))
    }

    #[inline]
    fn after(&self, position: Position) -> Result<(Position, Rank), Malformed> {
        let index = position.index.checked_add(1).ok_or(Malformed)?;
        self.item(index, position.end, (position.base, position.base_len))
    }

    #[inline]
    pub(crate) fn first(&self) -> Result<Option<Position>, Malformed> {
        self.at(0)
    }

    #[inline]
    pub(crate) fn last(&self) -> Result<Option<Position>, Malformed> {
        match self.count.checked_sub(1) {
            Some(index) => self.at(usize::from(index)),
            None => Ok(None),
        }
    }

    /// The item of this index; `None` past the last.
    pub(crate) fn at(&self, index: usize) -> Result<Option<Position>, Malformed> {
        if index >= self.count() {
            return Ok(None);
        }
        let index = index as u16;
        let (mut position, _) = self.group_first(index / GROUP_ITEMS)?;
        for _ in 0..index % GROUP_ITEMS {
            (position, _) = self.after(position)?;
        }
        Ok(Some(position))
    }

    #[inline]
    pub(crate) fn next(&self, position: Position) -> Result<Option<Position>, Malformed> {
        if position.index() + 1 >= self.count() {
            return Ok(None);
        }
        Ok(Some(self.after(position)?.0))
    }

    /// The item before; `group` is what is known of this node's groups, and keeps what it learns.
    #[inline]
    pub(crate) fn prev(
        &self,
        position: Position,
        group: &mut Group,
    ) -> Result<Option<Position>, Malformed> {
        let Some(index) = position.index.checked_sub(1) else { return Ok(None) };
        let (number, place) = (index / GROUP_ITEMS, usize::from(index % GROUP_ITEMS));
        let known = group.starts.get(place).copied().filter(|&start| start > 0);
        if let Some(start) = known.filter(|_| group.number_above == number + 1) {
            return Ok(Some(self.item(index, start, group.base)?.0));
        }
        let (mut item, _) = self.group_first(number)?;
        *group = Group { base: (item.base, item.base_len), ..Group::default() };
        (group.starts[0], _) = self.slot(number)?;
        for start in group.starts.iter_mut().take(place + 1).skip(1) {
            *start = item.end;
            (item, _) = self.after(item)?;
        }
        group.number_above = number + 1;
        Ok(Some(item))
    }

    /// How many groups begin before the target.
    #[inline]
    fn groups_before(&self, key: &[u8], rank: Rank) -> Result<u16, Malformed> {
        let (mut low, mut high) = (0, self.count.div_ceil(GROUP_ITEMS));
        while low < high {
            let middle = low + (high - low) / 2;
            let (at, _) = self.slot(middle)?;
            let (_, len, key_at) = self.lengths(at).ok_or(Malformed)?;
            let key_end = key_at.checked_add(len).ok_or(Malformed)?;
            let first = self.bytes.get(key_at..key_end).ok_or(Malformed)?;
            let order = match first.cmp(key) {
                Ordering::Equal => self.group_first(middle)?.1.cmp(&rank),
                order => order,
            };
            if order == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The last item before `(key, rank)` and the first not before it.
    #[inline]
    pub(crate) fn search(&self, key: &[u8], rank: Rank) -> Result<Around, Malformed> {
        let Some(group) = self.groups_before(key, rank)?.checked_sub(1) else {
            return Ok((None, self.first()?));
        };
        let (mut before, _) = self.group_first(group)?;
        let (_, base) = self.key_parts(before).ok_or(Malformed)?;
        let common = shared_len(base, key);
        // The group's first key is not above the target. An item that shares more than `common`
        // bytes with it compares as it does, so its suffix need not be looked at.
        loop {
            let last_of_group = before.index % GROUP_ITEMS == GROUP_ITEMS - 1;
            if before.index() + 1 >= self.count() {
                return Ok((Some(before), None));
            }
            let (position, item_rank) = self.after(before)?;
            if last_of_group {
                return Ok((Some(before), Some(position)));
            }
            let shared = usize::from(position.shared);
            if shared <= common {
                let (_, suffix) = self.key_parts(position).ok_or(Malformed)?;
                let target_suffix = key.get(shared..).ok_or(Malformed)?;
                let order = suffix.cmp(target_suffix).then(item_rank.cmp(&rank));
                if order != Ordering::Less {
                    return Ok((Some(before), Some(position)));
                }
            }
            before = position;
        }
    }

    /// The last item of rank [`Rank::BOUNDARY`] with an index below `limit`.
    ///
    /// # Cost
    /// At most two groups are scanned.
    pub(crate) fn boundary_below(&self, limit: usize) -> Result<Option<Position>, Malformed> {
        let limit = limit.min(self.count());
        let Some(index) = limit.checked_sub(1).filter(|_| self.has_boundaries()) else {
            return Ok(None);
        };
        let group = index as u16 / GROUP_ITEMS;
        let (mut position, mut rank) = self.group_first(group)?;
        let mut found = None;
        loop {
            if rank == Rank::BOUNDARY {
                found = Some(position);
            }
            if position.index() >= index {
                break;
            }
            (position, rank) = self.after(position)?;
        }
        let (_, boundary) = self.slot(group)?;
        match boundary.checked_sub(1) {
            Some(earlier) if found.is_none() => {
                let position = self.at(usize::from(earlier))?.ok_or(Malformed)?;
                let is_boundary = self.rank(position)? == Rank::BOUNDARY;
                if is_boundary { Ok(Some(position)) } else { Err(Malformed) }
            }
            _ => Ok(found),
        }
    }
}
