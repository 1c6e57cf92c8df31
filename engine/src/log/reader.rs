//! Reading a log zone back, record by record, for recovery and for reclaim.
//!
//! The reader keeps a window of the zone's payload, checked block by block and with the seals cut
//! out, so that heads of records are plain slices. Values that are not wanted are stepped over
//! without being read. The window ends where a block cannot be read or fails its check.
//!
//! Invariants: `W1` the window holds only bytes of checked blocks. `W2` a record is reported whole
//! only if every block asked for by [`RecordReader::covers`] was checked.

use shingle_hal::{Class, Device, Error, ErrorKind, Extent, Lba};

use crate::error::{Fault, Structure};
use crate::format::edit::LogPlace;
use crate::format::record::{OP_HEADER_LEN, OpHeader, RECORD_HEADER_LEN, RecordHeader};
use crate::format::seal::le_u32;
use crate::group::Sources;
use crate::limits::SEAL_LEN;
use crate::media::{Media, Place, ZoneMap};

/// A zone to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogZone {
    pub(crate) map: ZoneMap,
    pub(crate) generation: u32,
    /// Blocks that may hold records, the header included.
    pub(crate) blocks: u32,
    /// What its blocks can be rebuilt from.
    pub(crate) sources: Sources,
}

/// What a window holds: its first block, and how many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sweep {
    first: u32,
    checked: u32,
}

/// A reader over one zone. `'b` is its window's memory.
pub(crate) struct RecordReader<'b> {
    zone: LogZone,
    buffer: &'b mut [u8],
    /// For rebuilding; none where that is not to be.
    scratch: &'b mut [u8],
    /// Blocks were rebuilt that the zone does not give.
    pub(crate) rebuilt: bool,
    /// Up to where the log was durable, as the records say that were walked.
    pub(crate) durable: LogPlace,
    block_len: usize,
    /// First block of the window and number of checked blocks in it.
    first: u32,
    checked: u32,
    /// A block that cannot be read, and is not asked for again.
    bad: Option<u32>,
    /// Where the last bytes that were asked for in vain end: a block that is not whole, or none.
    stopped: u32,
    /// The last block of the window, and the one that it says the zone's last index starts in.
    tail: Option<Tail>,
}

/// How many reads a [survey](RecordReader::survey) may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// In all.
    pub(crate) reads_max: u32,
    /// In a row in which no block was whole.
    pub(crate) blind_max: u32,
}

impl Patience {
    /// As many as there are whole blocks for, and so many more in a row without any.
    pub(crate) const fn blind(blind_max: u32) -> Self {
        Self { reads_max: u32::MAX, blind_max }
    }
}

/// What a [survey](RecordReader::survey) met.
pub(crate) enum Seen {
    /// A block that cannot be read.
    Unreadable,
    /// A whole block in which no record begins.
    Whole,
    /// A whole block, where the first record in it begins, and its header if that lies in it.
    Record(u32, Option<RecordHeader>),
}

/// Tags that lead to the last index of a zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    /// The last whole block and its tag.
    pub(crate) last: (u32, u32),
    /// The block that an index before it starts in, with its tag if that is in the window too.
    pub(crate) before: Option<(u32, Option<u32>)>,
}

impl<'b> RecordReader<'b> {
    pub(crate) fn new(zone: LogZone, buffer: &'b mut [u8], block_len: usize) -> Self {
        let blocks = buffer.len() / block_len;
        let share = if zone.sources.is_none() { 0 } else { (blocks / 8).max(1) };
        let (buffer, scratch) = buffer.split_at_mut((blocks - share) * block_len);
        assert!(buffer.len() >= 2 * block_len);
        Self {
            zone,
            buffer,
            scratch,
            rebuilt: false,
            durable: LogPlace::default(),
            block_len,
            first: 0,
            checked: 0,
            bad: None,
            stopped: 0,
            tail: None,
        }
    }

    /// A reader whose buffer still holds `sweep`, which a reader over the same zone left in it.
    pub(crate) fn resume(
        zone: LogZone,
        buffer: &'b mut [u8],
        block_len: usize,
        sweep: Sweep,
    ) -> Self {
        let mut reader = Self::new(zone, buffer, block_len);
        // Where the zone came into a group meanwhile, some of the buffer is for rebuilding.
        if sweep.checked as usize <= reader.buffer.len() / block_len {
            (reader.first, reader.checked) = (sweep.first, sweep.checked);
        }
        reader
    }

    /// What is in the window.
    pub(crate) fn sweep(&self) -> Sweep {
        Sweep { first: self.first, checked: self.checked }
    }

    /// The block that kept the last record that was looked for from being whole.
    pub(crate) fn stopped(&self) -> u32 {
        self.stopped
    }

    /// Forgets what was found so far: the zone may have `blocks` blocks again.
    pub(crate) fn renew(&mut self, blocks: u32) {
        self.zone.blocks = blocks;
        (self.first, self.checked, self.bad, self.tail) = (0, 0, None, None);
    }

    /// Turns to another zone; gives the one before. The window is empty then.
    pub(crate) fn turn_to(&mut self, zone: LogZone) -> LogZone {
        let before = core::mem::replace(&mut self.zone, zone);
        self.renew(zone.blocks);
        before
    }

    /// Looks through the blocks from `first` on and before `end`: `visit` gets what it meets but
    /// blocks that are read and not whole, and says whether it has seen enough. Gives the block
    /// behind what it looked through. The window is empty then.
    ///
    /// # Errors
    /// The device's, where it is more than a block that cannot be read.
    ///
    /// # Cost
    /// As many reads of a window as `patience` says, and as many of parts of one where blocks fail.
    pub(crate) async fn survey<D: Device>(
        &mut self,
        media: &Media<D>,
        first: u32,
        end: u32,
        patience: Patience,
        mut visit: impl FnMut(Seen) -> bool,
    ) -> Result<u32, Fault<D::Error>> {
        self.renew(end);
        let room = (self.buffer.len() / self.block_len) as u32;
        let room = room.min(media.geometry.transfer_blocks_max);
        let mut next = first.max(1);
        let mut blind = 0;
        for _ in 0..patience.reads_max {
            if next >= end || blind == patience.blind_max {
                break;
            }
            blind += 1;
            let wanted = self.zone.map.together(next, room.min(end - next));
            let start = self.zone.map.lba(next);
            let out = &mut self.buffer[..wanted as usize * self.block_len];
            let whole = media.read_raw(start, out, Class::Maintenance).await;
            let blocks = match whole {
                Ok(()) => wanted,
                Err(error) => {
                    let extent = Extent::new(start, wanted);
                    match Fault::of_read(error, extent, Structure::LogRecord) {
                        Fault::Damaged(_) => {}
                        fault => return Err(fault),
                    }
                    if self.zone.sources.is_copy() {
                        // A block that not even the copy gives fails its check.
                        load_copied(media, &self.zone, next, out).await;
                        wanted
                    } else {
                        match load_before(media, start, out, &error).await {
                            0 => load_singly(media, start, out).await,
                            before => before,
                        }
                    }
                }
            };
            self.first = next;
            for index in 0..blocks {
                if !self.check(media, index) {
                    continue;
                }
                blind = 0;
                if visit(self.first_record(index)) {
                    self.renew(end);
                    return Ok(next + index + 1);
                }
            }
            // The block that failed is passed over.
            next += if blocks < wanted { blocks + 1 } else { blocks };
            if blocks < wanted && visit(Seen::Unreadable) {
                break;
            }
        }
        self.renew(end);
        Ok(next)
    }

    /// The first record that begins in a checked block of the buffer; before the seals are cut out.
    fn first_record(&self, index: u32) -> Seen {
        let unit = &self.buffer[index as usize * self.block_len..][..self.block_len];
        let (body, tag) = unit.split_at(self.block_len - SEAL_LEN);
        let at = le_u32(tag) & 0xffff;
        let start = (self.first + index - 1).checked_mul(self.payload());
        let start = start.and_then(|start| start.checked_add(at));
        let (Some(start), Some(header)) = (start, body.get(at as usize..)) else {
            return Seen::Whole;
        };
        let header = RecordHeader::decode(header).filter(|header| header.offset == start);
        Seen::Record(start, header)
    }

    /// Where the next record begins behind damage at `offset`, before block `end`: in the first
    /// whole block in which one begins behind it. The window is empty then. After `blind_max` reads
    /// in a row in which no block was whole, nothing is looked for any more.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Cost
    /// A read for each window that is passed over.
    pub(crate) async fn resync<D: Device>(
        &mut self,
        media: &Media<D>,
        offset: u32,
        end: u32,
        blind_max: u32,
    ) -> Result<Option<u32>, Fault<D::Error>> {
        let mut next = None;
        let first = 1 + offset / self.payload();
        let survey = self.survey(media, first, end, Patience::blind(blind_max), |seen| {
            if let Seen::Record(start, _) = seen {
                next = Some(start).filter(|start| *start > offset);
            }
            next.is_some()
        });
        survey.await?;
        Ok(next)
    }

    /// Whether the zone was begun in this life: its header block is there. If not, what it holds is
    /// of a life before, brought back by a reset that a cut undid. The window is empty then.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn is_begun<D: Device>(
        &mut self,
        media: &Media<D>,
    ) -> Result<bool, Fault<D::Error>> {
        self.renew(self.zone.blocks);
        self.load_unit(media, 0).await
    }

    /// Reads a block to the front of the buffer; false if it is not whole.
    async fn load_unit<D: Device>(
        &mut self,
        media: &Media<D>,
        block: u32,
    ) -> Result<bool, Fault<D::Error>> {
        self.load_one(media, block, 0).await
    }

    /// Reads a block to `at` in the buffer, or rebuilds it; false if it is not whole.
    async fn load_one<D: Device>(
        &mut self,
        media: &Media<D>,
        block: u32,
        at: usize,
    ) -> Result<bool, Fault<D::Error>> {
        let (place, len) = (self.place(block), self.block_len);
        let (unit, class) = (&mut self.buffer[at..at + len], Class::Maintenance);
        match media.read_units(place, unit, len, Structure::LogRecord, class).await {
            Ok(()) => Ok(true),
            Err(Fault::Damaged(_)) => self.rebuild(media, block, at, 1).await,
            Err(fault) => Err(fault),
        }
    }

    /// Rebuilds blocks to `at` in the buffer; false if they do not come whole.
    async fn rebuild<D: Device>(
        &mut self,
        media: &Media<D>,
        block: u32,
        at: usize,
        blocks: u32,
    ) -> Result<bool, Fault<D::Error>> {
        // Turned to another zone, it may have no scratch.
        let able = self.zone.sources.is_copy() || self.scratch.len() >= self.block_len;
        if self.zone.sources.is_none() || !able {
            return Ok(false);
        }
        let place = self.place(block);
        let out = &mut self.buffer[at..at + blocks as usize * self.block_len];
        let what = (Structure::LogRecord, Class::Maintenance);
        match self.zone.sources.rebuild(media, place, out, self.scratch, what).await {
            Ok(()) => {
                self.rebuilt = true;
                Ok(true)
            }
            Err((_, Fault::Damaged(_))) => Ok(false),
            Err((_, fault)) => Err(fault),
        }
    }

    fn payload(&self) -> u32 {
        (self.block_len - SEAL_LEN) as u32
    }

    /// Payload bytes of the window at `offset`, after a [`covers`](Self::covers) that was true.
    pub(crate) fn bytes(&self, offset: u32, len: usize) -> &[u8] {
        let at = (offset - (self.first - 1) * self.payload()) as usize;
        &self.buffer[at..at + len]
    }

    /// Payload bytes that fit the window, wherever they start.
    pub(crate) fn reach(&self) -> usize {
        (self.buffer.len() / self.block_len - 1) * self.payload() as usize
    }

    /// Whether `[offset, offset + len)` is in the window.
    fn has(&self, offset: u32, len: usize) -> bool {
        if self.checked == 0 {
            return false;
        }
        let start = u64::from(self.first - 1) * u64::from(self.payload());
        let end = start + u64::from(self.checked) * u64::from(self.payload());
        u64::from(offset) >= start && u64::from(offset) + len as u64 <= end
    }

    /// Whether the window is long enough for `[offset, offset + len)`.
    pub(crate) fn takes(&self, offset: u32, len: usize) -> bool {
        let in_block = (offset % self.payload()) as usize;
        (in_block + len).div_ceil(self.payload() as usize) <= self.buffer.len() / self.block_len
    }

    /// Brings `[offset, offset + len)` into the window; false if the zone ends before, or the
    /// window is shorter.
    ///
    /// # Errors
    /// The device's, where it is more than an unreadable block.
    pub(crate) async fn covers<D: Device>(
        &mut self,
        media: &Media<D>,
        offset: u32,
        len: usize,
    ) -> Result<bool, Fault<D::Error>> {
        if self.has(offset, len) {
            return Ok(true);
        }
        // The window is planned for the longest head there may be: this is none.
        if !self.takes(offset, len) {
            return Ok(false);
        }
        let first = 1 + offset / self.payload();
        let in_block = (offset % self.payload()) as usize;
        let needed = (in_block + len).div_ceil(self.payload() as usize);
        let end = u64::from(first) + needed as u64;
        let bad = self.bad.filter(|&bad| bad >= first && u64::from(bad) < end);
        if bad.is_some() || end > u64::from(self.zone.blocks) {
            self.stopped = bad.unwrap_or(self.zone.blocks);
            return Ok(false);
        }
        self.load(media, first).await?;
        let has = self.has(offset, len);
        if !has {
            self.stopped = first + self.checked;
        }
        Ok(has)
    }

    /// Brings the blocks from `first` on into the window, up to the first that is not whole.
    async fn load<D: Device>(
        &mut self,
        media: &Media<D>,
        first: u32,
    ) -> Result<(), Fault<D::Error>> {
        let room = (self.buffer.len() / self.block_len) as u32;
        let end = self.bad.filter(|&bad| bad > first).unwrap_or(self.zone.blocks);
        let wanted = room.min(end.min(self.zone.blocks) - first);
        (self.first, self.checked) = (first, 0);
        // A record may reach over the place from which on the zone goes on in another.
        while self.checked < wanted {
            let from = self.checked;
            let until = from + self.zone.map.together(first + from, wanted - from);
            self.load_row(media, until).await?;
            if self.checked < until {
                break;
            }
        }
        self.tail = self.checked.checked_sub(1).map(|last| self.tail_at(last));
        let payload = self.payload() as usize;
        for index in 1..self.checked as usize {
            let from = index * self.block_len;
            self.buffer.copy_within(from..from + payload, index * payload);
        }
        Ok(())
    }

    /// Goes on with the window up to its block `until`; these lie side by side.
    async fn load_row<D: Device>(
        &mut self,
        media: &Media<D>,
        until: u32,
    ) -> Result<(), Fault<D::Error>> {
        let (from, len) = (self.checked, self.block_len);
        let start = self.zone.map.lba(self.first + from);
        let out = &mut self.buffer[from as usize * len..until as usize * len];
        let whole = media.read_raw(start, out, Class::Maintenance).await;
        let readable = match whole {
            Ok(()) => until,
            Err(error) => {
                let before = load_before(media, start, out, &error).await;
                // Most of it in long requests, where the zone gives nothing.
                let at = from as usize * len;
                let block = self.first + from;
                if before == 0 && self.rebuild(media, block, at, until - from).await? {
                    until
                } else {
                    from + before
                }
            }
        };
        loop {
            while self.checked < readable && self.check(media, self.checked) {
                self.checked += 1;
            }
            let (block, at) = (self.first + self.checked, self.checked as usize * len);
            if self.checked == readable || !self.rebuild(media, block, at, 1).await? {
                break;
            }
            self.checked += 1;
        }
        if readable < until && self.checked == readable {
            // One more chance for the block that failed, and those behind it.
            self.load_singly(media, until).await?;
        }
        if readable < until && self.checked < until {
            self.bad = Some(self.first + self.checked);
        }
        Ok(())
    }

    /// Reads the end of the zone; gives the tags that lead to its last index.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn load_tail<D: Device>(
        &mut self,
        media: &Media<D>,
    ) -> Result<Option<Tail>, Fault<D::Error>> {
        let room = (self.buffer.len() / self.block_len) as u32;
        let room = room.min(media.geometry.transfer_blocks_max);
        if self.zone.blocks <= 1 {
            return Ok(None);
        }
        self.load(media, self.zone.blocks.saturating_sub(room).max(1)).await?;
        Ok(self.tail)
    }

    /// What the tag of the window's block `last` says; before the seals are cut out.
    fn tail_at(&self, last: u32) -> Tail {
        let tag =
            |index: u32| le_u32(&self.buffer[(index as usize + 1) * self.block_len - SEAL_LEN..]);
        let (block, back) = (self.first + last, tag(last) >> 16);
        let before = block.checked_sub(back).filter(|&before| back > 0 && before > 0);
        Tail {
            last: (block, tag(last)),
            before: before.map(|before| (before, last.checked_sub(back).map(tag))),
        }
    }

    /// Reads block by block up to the first that cannot be read.
    async fn load_singly<D: Device>(
        &mut self,
        media: &Media<D>,
        blocks: u32,
    ) -> Result<(), Fault<D::Error>> {
        while self.checked < blocks {
            let at = self.checked as usize * self.block_len;
            if !self.load_one(media, self.first + self.checked, at).await? {
                break;
            }
            self.checked += 1;
        }
        Ok(())
    }

    fn place(&self, block: u32) -> Place {
        Place { map: self.zone.map, generation: self.zone.generation, block }
    }

    fn check<D: Device>(&self, media: &Media<D>, index: u32) -> bool {
        let at = index as usize * self.block_len;
        let unit = &self.buffer[at..at + self.block_len];
        media
            .check_units(self.place(self.first + index), unit, self.block_len, Structure::LogRecord)
            .is_ok()
    }

    /// The record at `offset` or behind the padding there, with its own offset; `None` at the end.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn record<D: Device>(
        &mut self,
        media: &Media<D>,
        offset: u32,
    ) -> Result<Option<RecordHeader>, Fault<D::Error>> {
        let mut offset = offset;
        if !offset.is_multiple_of(self.payload()) {
            if !self.covers(media, offset, 1).await? {
                return Ok(None);
            }
            if self.bytes(offset, 1) == [0] {
                offset = offset.next_multiple_of(self.payload());
            }
        }
        if !self.covers(media, offset, RECORD_HEADER_LEN).await? {
            return Ok(None);
        }
        let header = RecordHeader::decode(self.bytes(offset, RECORD_HEADER_LEN));
        let header = header.filter(|header| header.offset == offset);
        if header.is_none() {
            self.stopped = 1 + offset / self.payload();
        }
        Ok(header)
    }

    /// The operation header at `offset`; `None` if there is none.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn op<D: Device>(
        &mut self,
        media: &Media<D>,
        offset: u32,
    ) -> Result<Option<OpHeader>, Fault<D::Error>> {
        if !self.covers(media, offset, OP_HEADER_LEN).await? {
            return Ok(None);
        }
        Ok(OpHeader::decode(self.bytes(offset, OP_HEADER_LEN)))
    }

    /// Whether the record's blocks are all there. Blocks before `checked_from` need no look: they
    /// survived because a later one did.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn is_whole<D: Device>(
        &mut self,
        media: &Media<D>,
        header: &RecordHeader,
        checked_from: u32,
    ) -> Result<bool, Fault<D::Error>> {
        let payload = self.payload();
        let Some(last) = header.offset.checked_add(header.len - 1) else { return Ok(false) };
        let first_checked = u64::from(checked_from.saturating_sub(1)) * u64::from(payload);
        let mut at = u64::from(header.offset).max(first_checked);
        while at <= u64::from(last) {
            if !self.covers(media, at as u32, 1).await? {
                return Ok(false);
            }
            // Everything in the window is checked: go on behind it.
            at = u64::from(self.first - 1 + self.checked) * u64::from(payload);
        }
        Ok(true)
    }

    /// Whether a zone of `capacity` blocks had no room for another record behind `offset`. Before
    /// version 4 it was left without an `End` then.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn is_full_at<D: Device>(
        &mut self,
        media: &Media<D>,
        offset: u32,
        capacity: u32,
    ) -> Result<bool, Fault<D::Error>> {
        let end = u64::from(capacity - 1) * u64::from(self.payload());
        let header = RECORD_HEADER_LEN as u64;
        if u64::from(offset) + header > end {
            return Ok(true);
        }
        let next = u64::from(offset).next_multiple_of(u64::from(self.payload()));
        let in_last = next + header > end && next != u64::from(offset);
        Ok(in_last && self.covers(media, offset, 1).await? && self.bytes(offset, 1) == [0])
    }
}

/// Reads blocks of a zone that has a copy one by one, from either; one that none gives is zeroes.
async fn load_copied<D: Device>(media: &Media<D>, zone: &LogZone, first: u32, out: &mut [u8]) {
    for (block, unit) in (first..).zip(out.chunks_exact_mut(media.block_len())) {
        if media.read_raw(zone.map.lba(block), unit, Class::Maintenance).await.is_ok() {
            continue;
        }
        let place = Place { map: zone.map, generation: zone.generation, block };
        let what = (Structure::LogRecord, Class::Maintenance);
        if zone.sources.rebuild(media, place, unit, &mut [], what).await.is_err() {
            unit.fill(0);
        }
    }
}

/// Reads the blocks before the one that `error` says could not be read, at once; gives how many
/// there are, or 0 if that fails too.
async fn load_before<D: Device>(
    media: &Media<D>,
    start: Lba,
    out: &mut [u8],
    error: &D::Error,
) -> u32 {
    let ErrorKind::UnrecoveredRead { first: Some(bad) } = error.kind() else { return 0 };
    let blocks = (out.len() / media.block_len()) as u64;
    let before = bad.0.saturating_sub(start.0).min(blocks) as u32;
    let out = &mut out[..before as usize * media.block_len()];
    let read = before > 0 && media.read_raw(start, out, Class::Maintenance).await.is_ok();
    if read { before } else { 0 }
}

/// Reads blocks one by one up to the first that fails; gives how many there are before it. A device
/// may not say which block of a long read failed, or another each time.
async fn load_singly<D: Device>(media: &Media<D>, start: Lba, out: &mut [u8]) -> u32 {
    let mut loaded = 0;
    for block in out.chunks_exact_mut(media.block_len()) {
        let read = media.read_raw(start.plus(loaded.into()), block, Class::Maintenance).await;
        if read.is_err() {
            break;
        }
        loaded += 1;
    }
    loaded
}
