//! The only reader of the device: nothing gets past here without its seal checked.
//!
//! A request is cut at the device's longest transfer; what comes back is checked unit by unit
//! against the identity it must have (`format::seal`). A failed check is [`Damage`] with the
//! extent, never bytes. Writes go through here too, called by `zone` alone.
//!
//! Invariants: `M1` every byte returned was sealed for the place it was read from (test harness,
//! canary `UnboundSeal`). `M2` no request crosses the longest transfer. `M3` a read is
//! halved as often as its length allows, and no more.

use core::cell::{Cell, RefCell};
use shingle_hal::{Class, Device, Error, ErrorKind, Extent, Geometry, Lba, Request, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::{Damage, Fault, Structure};
use crate::format::seal::{Identity, check};
use crate::limits::{EFFORTS_MAX, EXTENTS_MAX};

/// How often a request that asks to be retried is retried.
const RETRIES: u32 = 3;

/// Rows of units that are left behind while a read is halved: one for each halving.
const HALVINGS_MAX: usize = usize::BITS as usize;

/// Requests and bytes since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MediaStats {
    /// Read requests.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Zone resets.
    pub resets: u64,
}

/// Where the blocks of a logical zone lie: in the zone it began in and, where a write failed, in
/// the zones it went on in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZoneMap {
    /// The logical block that each extent begins at, and where that block is.
    extents: [(u32, Lba); EXTENTS_MAX],
    count: usize,
}

impl ZoneMap {
    /// A zone in one extent.
    pub(crate) fn of(start: Lba) -> Self {
        Self { extents: [(0, start); EXTENTS_MAX], count: 1 }
    }

    /// From `block` on the zone goes on at `start`. False if it has too many extents.
    pub(crate) fn extend(&mut self, block: u32, start: Lba) -> bool {
        let before = self.extents[self.count - 1].0;
        assert!(block >= before, "extents stand in order");
        let Some(extent) = self.extents.get_mut(self.count) else { return false };
        *extent = (block, start);
        self.count += 1;
        true
    }

    /// The index of the extent that holds `block`.
    fn extent_of(&self, block: u32) -> usize {
        let later = self.extents[1..self.count].iter().take_while(|(from, _)| *from <= block);
        later.count()
    }

    /// Where a block is.
    pub(crate) fn lba(&self, block: u32) -> Lba {
        let (from, start) = self.extents[self.extent_of(block)];
        start.plus(u64::from(block - from))
    }

    /// How many of the `count` blocks from `block` on lie side by side.
    pub(crate) fn together(&self, block: u32, count: u32) -> u32 {
        let next = self.extents[..self.count].get(self.extent_of(block) + 1);
        next.map_or(count, |(from, _)| count.min(from - block))
    }
}

/// Where a row of sealed units lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The zone.
    pub(crate) map: ZoneMap,
    /// Generation of the zone.
    pub(crate) generation: u32,
    /// First block, counted from the start of the zone.
    pub(crate) block: u32,
}

/// The device with its geometry and counters.
pub(crate) struct Media<D> {
    pub(crate) device: D,
    pub(crate) geometry: Geometry,
    store_tag: Cell<u32>,
    stats: Cell<MediaStats>,
    /// Bytes written when the last sync began.
    synced_bytes: Cell<u64>,
    /// Places that were read with effort and that nobody has looked after yet.
    efforts: RefCell<heapless::Vec<Lba, EFFORTS_MAX>>,
}

/// A request about a zone failed.
fn tell_refused<E: Error>(error: &E) {
    event!(warn, "a zone: {}", error.kind());
}

impl<D: Device> Media<D> {
    pub(crate) fn new(device: D) -> Self {
        let geometry = device.geometry();
        let (stats, efforts) = (Cell::default(), RefCell::default());
        let (store_tag, synced_bytes) = (Cell::new(0), Cell::new(0));
        Self { device, geometry, store_tag, stats, synced_bytes, efforts }
    }

    pub(crate) fn set_store_tag(&self, tag: u32) {
        self.store_tag.set(tag);
    }

    pub(crate) fn identity(&self, generation: u32, block: u32) -> Identity {
        Identity { store_tag: self.store_tag.get(), generation, block }
    }

    pub(crate) fn stats(&self) -> MediaStats {
        self.stats.get()
    }

    fn count(&self, change: impl FnOnce(&mut MediaStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    /// Bytes of a block.
    pub(crate) fn block_len(&self) -> usize {
        self.geometry.block_len_bytes as usize
    }

    fn transfer_len(&self) -> usize {
        self.geometry.transfer_blocks_max as usize * self.block_len()
    }

    /// Reads blocks without checking them; for anchors, whose identity is not known yet.
    pub(crate) async fn read_raw(
        &self,
        start: Lba,
        buf: &mut [u8],
        class: Class,
    ) -> Result<(), D::Error> {
        let block_len = self.block_len();
        let mut lba = start;
        for part in buf.chunks_mut(self.transfer_len()) {
            self.read_part(lba, part, Request::of(class)).await?;
            lba = lba.plus((part.len() / block_len) as u64);
        }
        Ok(())
    }

    /// As [`read_raw`](Self::read_raw), but nothing is asked of the device any more once the
    /// request's deadline has passed.
    ///
    /// # Errors
    /// [`Fault::DeadlineExceeded`], or [`Fault::Device`].
    pub(crate) async fn read_blocks(
        &self,
        start: Lba,
        buf: &mut [u8],
        request: Request,
    ) -> Result<(), Fault<D::Error>> {
        let block_len = self.block_len();
        let mut lba = start;
        for part in buf.chunks_mut(self.transfer_len()) {
            if self.is_late(request) {
                return Err(Fault::DeadlineExceeded);
            }
            self.read_part(lba, part, request).await.map_err(|error| {
                let gave_up = error.kind() == ErrorKind::Timeout && self.is_late(request);
                if gave_up { Fault::DeadlineExceeded } else { Fault::Device(error) }
            })?;
            lba = lba.plus((part.len() / block_len) as u64);
        }
        Ok(())
    }

    /// Reads what one request can transfer.
    async fn read_part(&self, lba: Lba, part: &mut [u8], request: Request) -> Result<(), D::Error> {
        let mut attempt = 0;
        loop {
            self.count(|s| {
                s.reads += 1;
                s.read_bytes += part.len() as u64;
            });
            let Err(error) = self.device.read(lba, part, request).await else { return Ok(()) };
            event!(warn, "read of {} bytes at {}: {}", part.len(), lba, error.kind());
            match error.kind() {
                ErrorKind::RecoveredRead { first } => {
                    self.note_effort(first.unwrap_or(lba));
                    return Ok(());
                }
                ErrorKind::Timeout if attempt < RETRIES && !self.is_late(request) => attempt += 1,
                _ => return Err(error),
            }
        }
    }

    /// Whether the deadline of a request has passed; never where the device has no clock.
    pub(crate) fn is_late(&self, request: Request) -> bool {
        let now_us = || self.device.now_us();
        request.deadline_us.is_some_and(|deadline| now_us().is_some_and(|now| now >= deadline))
    }

    /// The same request in half of the time that is left.
    pub(crate) fn halved(&self, request: Request) -> Request {
        let Some((deadline, now)) = request.deadline_us.zip(self.device.now_us()) else {
            return request;
        };
        let half = deadline.saturating_sub(now) / 2;
        Request { deadline_us: Some(now.saturating_add(half)), ..request }
    }

    /// A place is read with effort, and is to be looked after.
    pub(crate) fn note_effort(&self, lba: Lba) {
        // Where there is no place left, it will be read with effort again.
        let _ = self.efforts.borrow_mut().push(lba);
    }

    /// A place that was read with effort.
    pub(crate) fn next_effort(&self) -> Option<Lba> {
        self.efforts.borrow_mut().pop()
    }

    /// Reads blocks without checking them; false if the medium cannot return them.
    ///
    /// # Errors
    /// The device's, where it says nothing about the blocks: power is off, for one.
    pub(crate) async fn try_read(&self, start: Lba, buf: &mut [u8]) -> Result<bool, D::Error> {
        match self.read_raw(start, buf, Class::Foreground).await {
            Ok(()) => Ok(true),
            Err(error) => match Fault::of_read(error, Extent::default(), Structure::Manifest) {
                Fault::Damaged(_) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Reads `buf.len() / unit_len` sealed units and checks each.
    ///
    /// Of values and nodes, a read that gives damage is tried again in halves, down to the unit,
    /// and a unit a second time: what one long request cannot bring, short ones often can, and what
    /// is damaged after all is named to the unit. One bad unit of many costs two requests for each
    /// halving, and not one for each unit. All this ends with the request's deadline.
    // Async behind this alone, so that there is one future for whatever the request is made of.
    pub(crate) fn read_units(
        &self,
        place: Place,
        buf: &mut [u8],
        unit_len: usize,
        structure: Structure,
        request: impl Into<Request>,
    ) -> impl Future<Output = Result<(), Fault<D::Error>>> {
        self.read_halving(place, buf, unit_len, structure, request.into())
    }

    async fn read_halving(
        &self,
        place: Place,
        buf: &mut [u8],
        unit_len: usize,
        structure: Structure,
        request: Request,
    ) -> Result<(), Fault<D::Error>> {
        let whole = self.read_once(place, buf, unit_len, structure, request).await;
        let again = matches!(structure, Structure::Value | Structure::RunNode);
        if !again || !matches!(whole, Err(Fault::Damaged(_))) {
            return whole;
        }
        let unit_blocks = (unit_len / self.block_len()) as u32;
        // What is still to be read, the nearest last: of each halving, the second half.
        let mut rows = heapless::Vec::<(usize, usize), HALVINGS_MAX>::new();
        let all = (0, buf.len() / unit_len);
        let mut next = Some(all);
        while let Some((first, count)) = next {
            let place = Place { block: place.block + first as u32 * unit_blocks, ..place };
            let part = &mut buf[first * unit_len..(first + count) * unit_len];
            // The whole was read just now.
            let read = match count {
                1 => self.read_once(place, part, unit_len, structure, request).await,
                _ if (first, count) == all => whole,
                _ => self.read_once(place, part, unit_len, structure, request).await,
            };
            match read {
                Err(Fault::Damaged(_)) if count == 1 => {
                    let again = self.read_once(place, part, unit_len, structure, request).await;
                    if !planted(Bug::ReadRetrySkipsCheck) {
                        again?;
                    }
                }
                Err(Fault::Damaged(_)) => {
                    let half = count / 2;
                    let rest = rows.push((first + half, count - half));
                    assert!(rest.is_ok(), "M3: each halving leaves one row");
                    next = Some((first, half));
                    continue;
                }
                other => other?,
            }
            next = rows.pop();
        }
        Ok(())
    }

    /// The same at the first attempt, or not at all.
    pub(crate) async fn read_once(
        &self,
        place: Place,
        buf: &mut [u8],
        unit_len: usize,
        structure: Structure,
        request: Request,
    ) -> Result<(), Fault<D::Error>> {
        debug_assert!(
            unit_len.is_multiple_of(self.block_len()) && buf.len().is_multiple_of(unit_len)
        );
        let (mut block, mut rest) = (place.block, &mut *buf);
        while !rest.is_empty() {
            let left = (rest.len() / self.block_len()) as u32;
            let blocks = place.map.together(block, left);
            let (part, behind) = rest.split_at_mut(blocks as usize * self.block_len());
            let start = place.map.lba(block);
            self.read_blocks(start, part, request).await.map_err(|fault| match fault {
                Fault::Device(error) => {
                    Fault::of_read(error, Extent::new(start, blocks), structure)
                }
                other => other,
            })?;
            (block, rest) = (block + blocks, behind);
        }
        self.check_units(place, buf, unit_len, structure).map_err(Fault::Damaged)
    }

    /// Checks units that were read.
    pub(crate) fn check_units(
        &self,
        place: Place,
        buf: &[u8],
        unit_len: usize,
        structure: Structure,
    ) -> Result<(), Damage> {
        let unit_blocks = (unit_len / self.block_len()) as u32;
        for (index, unit) in buf.chunks_exact(unit_len).enumerate() {
            let block = place.block + index as u32 * unit_blocks;
            if let Err(check) = check(unit, self.identity(place.generation, block)) {
                let start = place.map.lba(block);
                return Err(Damage { extent: Extent::new(start, unit_blocks), structure, check });
            }
        }
        Ok(())
    }

    /// Writes blocks that are already sealed.
    pub(crate) async fn write(
        &self,
        start: Lba,
        data: &[u8],
        class: Class,
    ) -> Result<(), D::Error> {
        let block_len = self.block_len();
        let mut lba = start;
        for part in data.chunks(self.transfer_len()) {
            self.count(|s| {
                s.writes += 1;
                s.written_bytes += part.len() as u64;
            });
            let written = self.device.write(lba, part, Request::of(class)).await;
            written.inspect_err(|error| {
                event!(warn, "write of {} bytes at {}: {}", part.len(), lba, error.kind());
            })?;
            lba = lba.plus((part.len() / block_len) as u64);
        }
        Ok(())
    }

    pub(crate) async fn sync(&self) -> Result<(), D::Error> {
        self.count(|s| s.syncs += 1);
        self.synced_bytes.set(self.stats.get().written_bytes);
        self.device.sync().await.inspect_err(|error| event!(warn, "sync: {}", error.kind()))
    }

    /// Bytes written since the last sync began.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        self.stats.get().written_bytes - self.synced_bytes.get()
    }

    /// Empties a zone.
    pub(crate) async fn reset(&self, zone: ZoneId) -> Result<(), D::Error> {
        self.count(|s| s.resets += 1);
        self.insist(|| self.device.reset(zone)).await
    }

    /// Makes a zone full.
    pub(crate) async fn finish(&self, zone: ZoneId) -> Result<(), D::Error> {
        self.insist(|| self.device.finish(zone)).await
    }

    /// Gives back a zone's open resource.
    pub(crate) async fn close(&self, zone: ZoneId) -> Result<(), D::Error> {
        self.insist(|| self.device.close(zone)).await
    }

    /// Asks again where no answer came: what is asked for does nothing the second time.
    async fn insist<F: Future<Output = Result<(), D::Error>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<(), D::Error> {
        for _ in 0..RETRIES {
            match ask().await {
                Err(error) if error.kind() == ErrorKind::Timeout => {}
                other => return other.inspect_err(tell_refused),
            }
        }
        ask().await.inspect_err(tell_refused)
    }
}

#[cfg(test)]
mod tests {
    use shingle_hal::block_on;

    use super::*;
    use crate::format::seal::seal;
    use crate::ram::Ram;

    fn asked(media: &Media<Ram>) -> Vec<(&'static str, u64)> {
        core::mem::take(&mut *media.device.asked.borrow_mut())
    }

    fn answer(media: &Media<Ram>, answers: impl IntoIterator<Item = Result<(), ErrorKind>>) {
        *media.device.answers.borrow_mut() = answers.into_iter().collect();
    }

    #[test]
    fn read_that_no_answer_came_to_is_asked_again_until_its_deadline() {
        let media = Media::new(Ram::new());
        let request = Request { deadline_us: Some(100), ..Request::default() };
        let mut buf = [0; 6 * 512];
        let mut read = || block_on(media.read_blocks(Lba(8), &mut buf, request));
        answer(&media, [Err(ErrorKind::Timeout), Ok(()), Ok(())]);
        assert!(read().is_ok());
        assert_eq!(asked(&media), [("read", 8), ("read", 8), ("read", 12)]);
        // In time, what the device says in the end is what it comes to.
        answer(&media, (0..9).map(|_| Err(ErrorKind::Timeout)));
        assert!(matches!(read(), Err(Fault::Device(ErrorKind::Timeout))));
        assert_eq!(asked(&media).len(), 1 + RETRIES as usize);
        let broken = ErrorKind::UnrecoveredRead { first: None };
        answer(&media, [Err(broken)]);
        assert!(matches!(read(), Err(Fault::Device(kind)) if kind == broken));
        assert_eq!(asked(&media).len(), 1);
        media.device.now_us.set(100);
        assert!(matches!(read(), Err(Fault::DeadlineExceeded)));
        assert_eq!(asked(&media), [], "nothing is begun any more");
    }

    #[test]
    fn raw_read_is_cut_to_what_the_device_takes_at_once() {
        let media = Media::new(Ram::new());
        let mut buf = [0; 10 * 512];
        block_on(media.read_raw(Lba(3), &mut buf, Class::Foreground)).unwrap();
        assert_eq!(asked(&media), [("read", 3), ("read", 7), ("read", 11)]);
    }

    #[test]
    fn damaged_block_is_found_by_halves_and_nothing_is_read_in_vain() {
        let media = Media::new(Ram::new());
        let place = Place { map: ZoneMap::of(Lba(64)), generation: 5, block: 2 };
        for block in 2..10 {
            let mut unit = [block as u8; 512];
            seal(&mut unit, 0, media.identity(5, block));
            if block == 7 {
                unit[9] ^= 1;
            }
            let lba = Lba(64 + u64::from(block));
            block_on(media.write(lba, &unit, Class::Foreground)).unwrap();
        }
        asked(&media);
        let mut buf = [0; 8 * 512];
        let mut read = |structure| {
            let read = media.read_units(place, &mut buf, 512, structure, Class::Foreground);
            let Err(Fault::Damaged(damage)) = block_on(read) else { panic!("block 7 is damaged") };
            assert_eq!(damage.extent.start, Lba(71));
            asked(&media).into_iter().map(|(_, lba)| lba - 64).collect::<Vec<_>>()
        };
        // The whole in two requests, its halves, the second one's halves, and block 7 twice.
        assert_eq!(read(Structure::Value), [2, 6, 2, 6, 6, 6, 7, 7]);
        assert_eq!(read(Structure::LogRecord), [2, 6], "the log tells damage from its end");
    }

    #[test]
    fn reset_that_no_answer_came_to_is_asked_again() {
        let media = Media::new(Ram::new());
        answer(&media, [Err(ErrorKind::Timeout)]);
        assert!(block_on(media.reset(ZoneId(3))).is_ok());
        assert_eq!(asked(&media), [("reset", 3), ("reset", 3)]);
        answer(&media, (0..9).map(|_| Err(ErrorKind::Timeout)));
        assert_eq!(block_on(media.reset(ZoneId(3))), Err(ErrorKind::Timeout));
        assert_eq!(asked(&media).len(), 1 + RETRIES as usize);
        answer(&media, [Err(ErrorKind::Hardware)]);
        assert_eq!(block_on(media.reset(ZoneId(3))), Err(ErrorKind::Hardware));
        assert_eq!(asked(&media).len(), 1);
    }

    #[test]
    fn bytes_are_unsynced_until_a_sync_begins() {
        let media = Media::new(Ram::new());
        let write = |at, blocks: usize| {
            let data = vec![1; blocks * 512];
            block_on(media.write(Lba(at), &data, Class::Foreground)).unwrap();
        };
        write(0, 3);
        assert_eq!(media.unsynced_bytes(), 3 * 512);
        block_on(media.sync()).unwrap();
        assert_eq!(media.unsynced_bytes(), 0);
        write(3, 1);
        assert_eq!(media.unsynced_bytes(), 512);
    }

    #[test]
    fn zone_has_so_many_extents_and_no_more() {
        let mut map = ZoneMap::of(Lba(0));
        for extent in 1..EXTENTS_MAX as u32 {
            assert!(map.extend(extent * 10, Lba(u64::from(extent) * 1000)));
        }
        assert!(!map.extend(990, Lba(9)));
        assert_eq!((map.lba(9), map.lba(10), map.lba(75)), (Lba(9), Lba(1000), Lba(7005)));
        assert_eq!((map.together(5, 9), map.together(5, 2), map.together(75, 9)), (5, 2, 9));
    }
}
