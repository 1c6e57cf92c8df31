//! The manifest's media side: appending edits to both copies, and reading a copy back.
//!
//! A copy is one zone: header block, snapshot, edits. When it has grown past its bound, or after a
//! restart, a new snapshot goes to two fresh zones and a superblock makes it the manifest
//! (`checkpoint`). No copy is appended to after a restart: what the cut left behind its last whole
//! edit is never looked at again.
//!
//! Invariants: `N1` both copies hold the same blocks from block 1 on, but for their zone's identity
//! in the seal and the chain. `N2` an edit's block chains to the one before it, so stale blocks of
//! an earlier attempt end the manifest instead of continuing it.

use shingle_hal::{Class, Device, Lba, ZoneId};

use crate::format::edit::{Change, EDIT_HEADER_LEN, EditHeader};
use crate::format::seal::{le_u32, seal};
use crate::limits::{EDIT_BLOCKS_MIN, SEAL_LEN};
use crate::media::{Media, Place, ZoneMap};

/// One copy that is open for appending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) zone: ZoneId,
    pub(crate) start: Lba,
    pub(crate) generation: u32,
    pub(crate) capacity: u32,
    /// The next block.
    pub(crate) next: u32,
    chain: u32,
}

impl Copy {
    pub(crate) fn new(zone: ZoneId, start: Lba, generation: u32, capacity: u32) -> Self {
        Self { zone, start, generation, capacity, next: 1, chain: 0 }
    }
}

/// The state of the manifest between edits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manifest {
    /// The copies, once the manifest can be appended to.
    pub(crate) copies: Option<[Copy; 2]>,
    /// The copies that the newest durable superblock names.
    pub(crate) published: Option<[ZoneId; 2]>,
    /// Number of the next edit.
    pub(crate) next_edit: u64,
    /// Blocks of the snapshot, header excluded.
    pub(crate) snapshot_blocks: u32,
    /// Ordinal of the newest superblock.
    pub(crate) ordinal: u64,
}

impl Manifest {
    /// Whether `blocks` more can be appended without a new snapshot.
    pub(crate) fn has_room(&self, blocks: u32) -> bool {
        self.copies.is_some() && blocks <= self.left_and_room().0
    }

    /// Whether a new snapshot is due soon, so that it is as well made when there is time.
    pub(crate) fn is_ending(&self) -> bool {
        let (left, room) = self.left_and_room();
        self.copies.is_some() && room >= EDIT_BLOCKS_MIN / 2 && left < room / 4
    }

    /// Blocks of edits that can be appended, and that there was room for at first: not so many that
    /// a mount reads much more than it must.
    fn left_and_room(&self) -> (u32, u32) {
        let begins = self.snapshot_blocks + 1;
        let end = begins + self.snapshot_blocks.max(EDIT_BLOCKS_MIN);
        let of = |copy: &Copy| {
            let end = end.min(copy.capacity);
            (end.saturating_sub(copy.next), end.saturating_sub(begins))
        };
        self.copies.iter().flatten().map(of).min().unwrap_or_default()
    }
}

/// Blocks of an edit being put together, in memory handed in. Changes never straddle blocks.
pub(crate) struct EditBuilder<'b> {
    buffer: &'b mut [u8],
    block_len: usize,
    /// Blocks that are full.
    blocks: usize,
    /// Bytes of changes in the block being filled.
    fill: usize,
    overflowed: bool,
}

impl<'b> EditBuilder<'b> {
    pub(crate) fn new(buffer: &'b mut [u8], block_len: usize) -> Self {
        Self { buffer, block_len, blocks: 0, fill: 0, overflowed: false }
    }

    fn body_len(&self) -> usize {
        self.block_len - EDIT_HEADER_LEN - SEAL_LEN
    }

    /// Adds a change; when the memory is used up the edit has [overflowed](Self::overflowed) and
    /// only a snapshot can stand for it.
    pub(crate) fn push(&mut self, change: &Change<'_>) {
        if self.overflowed {
            return;
        }
        for _ in 0..2 {
            let at = self.blocks * self.block_len + EDIT_HEADER_LEN;
            let room = at + self.fill..at + self.body_len();
            let Some(out) = self.buffer.get_mut(room) else {
                break;
            };
            if let Ok(used) = postcard::to_slice(change, out) {
                self.fill += used.len();
                return;
            }
            self.close_block();
        }
        self.overflowed = true;
    }

    fn close_block(&mut self) {
        let at = self.blocks * self.block_len;
        let fill = at + EDIT_HEADER_LEN + self.fill;
        self.buffer[fill..at + self.block_len].fill(0);
        // The length is kept in the header's place until the edit is sealed.
        self.buffer[at + 12..at + 14].copy_from_slice(&(self.fill as u16).to_le_bytes());
        self.blocks += 1;
        self.fill = 0;
    }

    /// The first block's memory, for a zone header, while the edit is still empty.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn first_block(&mut self) -> &mut [u8] {
        assert!(self.is_empty());
        &mut self.buffer[..self.block_len]
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks == 0 && self.fill == 0 && !self.overflowed
    }

    /// Whether a block of changes could still be added.
    pub(crate) fn is_nearly_full(&self) -> bool {
        (self.blocks + 2) * self.block_len > self.buffer.len()
    }

    /// Blocks the edit takes.
    pub(crate) fn block_count(&self) -> u32 {
        (self.blocks + usize::from(self.fill > 0)) as u32
    }

    /// Forgets what was written out; the next blocks continue the same edit.
    fn restart(&mut self) {
        self.blocks = 0;
        self.fill = 0;
    }
}

/// Appends what `builder` holds to one copy.
async fn append_copy<D: Device>(
    media: &Media<D>,
    copy: &mut Copy,
    builder: &mut EditBuilder<'_>,
    edit: u64,
    first_part: u32,
    last: bool,
) -> Result<(), (ZoneId, D::Error)> {
    let blocks = builder.block_count();
    let block_len = builder.block_len;
    assert!(copy.next + blocks <= copy.capacity, "N1: checked before");
    let mut chain = copy.chain;
    for index in 0..blocks {
        let at = index as usize * block_len;
        let block = &mut builder.buffer[at..at + block_len];
        let len = u16::from_le_bytes([block[12], block[13]]);
        let header = EditHeader {
            edit,
            part: first_part + index,
            last: last && index + 1 == blocks,
            len,
            chain,
        };
        header.encode(block);
        seal(block, 0, media.identity(copy.generation, copy.next + index));
        chain = le_u32(&block[block_len - 4..]);
    }
    let lba = copy.start.plus(u64::from(copy.next));
    let len = blocks as usize * block_len;
    let written = media.write(lba, &builder.buffer[..len], Class::Maintenance).await;
    written.map_err(|error| (copy.zone, error))?;
    copy.next += blocks;
    copy.chain = chain;
    Ok(())
}

/// Appends blocks of one edit to both copies. `part` counts the edit's blocks over calls.
///
/// # Errors
/// The device's, and which zone it failed in; the copies may then differ.
pub(crate) async fn append<D: Device>(
    media: &Media<D>,
    copies: &mut [Copy; 2],
    builder: &mut EditBuilder<'_>,
    edit: u64,
    part: &mut u32,
    last: bool,
) -> Result<(), (ZoneId, D::Error)> {
    if builder.fill > 0 || (builder.blocks == 0 && last) {
        builder.close_block();
    }
    let [a, b] = copies;
    append_copy(media, a, builder, edit, *part, last).await?;
    append_copy(media, b, builder, edit, *part, last).await?;
    *part += builder.block_count();
    builder.restart();
    Ok(())
}

/// Where reading a copy stands.
pub(crate) struct Cursor {
    place: Place,
    limit: u32,
    chain: u32,
    edit: u64,
    part: u32,
}

/// What the next block of a copy says.
pub(crate) enum Next {
    /// Changes in the buffer's first bytes, from `start` to `end`.
    Changes {
        /// First byte of the changes.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
    /// The manifest ends here.
    End,
}

impl Cursor {
    /// Before the snapshot of a copy whose zone is written up to `limit`.
    pub(crate) fn new(zone_start: Lba, generation: u32, limit: u32, first_edit: u64) -> Self {
        let place = Place { map: ZoneMap::of(zone_start), generation, block: 1 };
        Self { place, limit, chain: 0, edit: first_edit, part: 0 }
    }

    /// Blocks read so far, header included.
    pub(crate) fn block(&self) -> u32 {
        self.place.block
    }

    /// The edit that is read next.
    pub(crate) fn edit(&self) -> u64 {
        self.edit
    }

    /// Takes the next block, already read into `block` but not checked.
    pub(crate) fn take<D: Device>(&mut self, media: &Media<D>, block: &[u8]) -> Next {
        let identity = media.identity(self.place.generation, self.place.block);
        if self.place.block >= self.limit || crate::format::seal::check(block, identity).is_err() {
            return Next::End;
        }
        let Some((header, body)) = EditHeader::decode(block) else {
            return Next::End;
        };
        if header.edit != self.edit || header.part != self.part || header.chain != self.chain {
            return Next::End;
        }
        self.chain = le_u32(&block[block.len() - 4..]);
        self.place.block += 1;
        if header.last {
            self.edit += 1;
            self.part = 0;
        } else {
            self.part += 1;
        }
        Next::Changes { start: EDIT_HEADER_LEN, end: EDIT_HEADER_LEN + body.len() }
    }
}

#[cfg(test)]
mod tests {
    use shingle_hal::block_on;

    use super::*;
    use crate::format::edit::Changes;
    use crate::ram::Ram;

    const LEN: usize = 512;
    const FIRST_EDIT: u64 = 7;

    fn copies() -> [Copy; 2] {
        let of = |zone: u32, generation| {
            Copy::new(ZoneId(zone), Ram::GEOMETRY.zone_start(ZoneId(zone)), generation, 64)
        };
        [of(2, 11), of(3, 12)]
    }

    fn free(zone: u32) -> Change<'static> {
        Change::Free { zone }
    }

    fn append_all(media: &Media<Ram>, copies: &mut [Copy; 2], edits: &[(u64, &[u32], bool)]) {
        let mut memory = [0; 8 * LEN];
        let mut builder = EditBuilder::new(&mut memory, LEN);
        let mut part = 0;
        for &(edit, zones, last) in edits {
            zones.iter().for_each(|&zone| builder.push(&free(zone)));
            assert!(!builder.overflowed());
            block_on(append(media, copies, &mut builder, edit, &mut part, last)).unwrap();
            part = if last { 0 } else { part };
        }
    }

    /// The zones that the edits of a copy free, in order; what each read block is goes to `take`.
    fn read(media: &Media<Ram>, copy: &Copy, mut cursor: Cursor) -> (Vec<u32>, u64) {
        let mut zones = Vec::new();
        loop {
            let at = copy.start.0 + u64::from(cursor.block());
            let block = media.device.blocks(at, 1);
            let Next::Changes { start, end } = cursor.take(media, &block) else { break };
            for change in Changes::new(&block[start..end]) {
                match change {
                    Change::Free { zone } => zones.push(zone),
                    _ => panic!("nothing else was put in"),
                }
            }
        }
        (zones, cursor.edit())
    }

    #[test]
    fn edits_of_many_blocks_come_back_from_both_copies() {
        let media = Media::new(Ram::new());
        let mut copies = copies();
        // Changes of two to six bytes, so that some block is filled to its last one.
        let zones: Vec<u32> = (0..900u32).map(|index| index * index * 4321).collect();
        let (first, rest) = zones.split_at(300);
        let (second, third) = rest.split_at(500);
        let edits = [(FIRST_EDIT, first, false), (FIRST_EDIT, second, true), (8, third, true)];
        append_all(&media, &mut copies, &edits);
        assert!(copies[0].next > 8, "several blocks each: {copies:?}");
        assert_eq!(copies[0].next, copies[1].next);
        for copy in &copies {
            let cursor = Cursor::new(copy.start, copy.generation, copy.next, FIRST_EDIT);
            assert_eq!(read(&media, copy, cursor), (zones.clone(), 9));
        }
    }

    #[test]
    fn block_of_another_edit_or_part_or_chain_ends_the_manifest() {
        let media = Media::new(Ram::new());
        let mut copies = copies();
        append_all(&media, &mut copies, &[(FIRST_EDIT, &[1], true), (8, &[2], true)]);
        let copy = copies[0];
        let cursor = |edit, part, chain| {
            let cursor = Cursor::new(copy.start, copy.generation, copy.next, edit);
            Cursor { part, chain, ..cursor }
        };
        assert_eq!(read(&media, &copy, cursor(FIRST_EDIT, 0, 0)), (vec![1, 2], 9));
        for wrong in [cursor(8, 0, 0), cursor(FIRST_EDIT, 1, 0), cursor(FIRST_EDIT, 0, 1)] {
            assert_eq!(read(&media, &copy, wrong).0, []);
        }
        // Nor is what lies behind the end looked at.
        let short = Cursor::new(copy.start, copy.generation, 2, FIRST_EDIT);
        assert_eq!(read(&media, &copy, short), (vec![1], 8));
    }

    #[test]
    fn copies_have_room_up_to_the_zone_and_the_bound() {
        let with = |next: u32, snapshot_blocks: u32, capacity: u32| {
            let copies = copies().map(|copy| Copy { next, capacity, ..copy });
            Manifest { copies: Some(copies), snapshot_blocks, ..Manifest::default() }
        };
        assert!(with(60, 64, 64).has_room(4) && !with(60, 64, 64).has_room(5), "the zone");
        assert!(with(30, 1, 64).has_room(4) && !with(30, 1, 64).has_room(5), "32 of edits");
        assert!(with(70, 40, 99).has_room(11) && !with(70, 40, 99).has_room(12), "as many again");
        assert!(!Manifest::default().has_room(1));
    }

    #[test]
    fn edit_is_nearly_full_when_a_block_is_left() {
        let mut memory = [0; 5 * LEN];
        let mut builder = EditBuilder::new(&mut memory, LEN);
        let mut zone = 0;
        while !builder.is_nearly_full() {
            builder.push(&free(zone));
            zone += 1;
        }
        assert_eq!(builder.block_count(), 5, "four are full, and one is begun");
        while !builder.overflowed() {
            builder.push(&free(zone));
            zone += 1;
        }
        assert!(!builder.is_empty());
    }
}
