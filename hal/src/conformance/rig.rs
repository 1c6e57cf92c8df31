//! What the checks are built of: a device under test, patterns, and expectations.
//!
//! Every check starts from the same state: all usable sequential zones empty ([`Rig::new`]). A
//! block's bytes are a function of its address and a *version*, so a block that was misplaced,
//! lost or not rewritten shows in its bytes without anything being remembered.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use super::outcome::{Answer, Bound, Failure, Mismatch};
use crate::device::Device;
use crate::error::{Error, ErrorKind};
use crate::geometry::Geometry;
use crate::request::Request;
use crate::zone::{Lba, ZoneCondition, ZoneDescriptor, ZoneId, ZoneType};

/// A device on a bench: what an implementer supplies to have it checked.
#[allow(async_fn_in_trait)] // single-threaded executors; no `Send` bound is wanted
pub trait Bench {
    /// The device under test.
    type Device: Device;

    /// The device as it is now; another one after a power cycle is fine.
    fn device(&self) -> &Self::Device;

    /// Cuts the power, at once and without a sync, and turns it on again; true when the device is
    /// ready, false when this bench cannot. What was unsynced fares as the contract says.
    async fn power_cycle(&mut self) -> bool {
        false
    }
}

/// Blocks of scratch memory: half for one transfer, all for one that is too long.
const SCRATCH_BLOCKS: u32 = 8;

/// Descriptors asked for at once when the checks walk over all zones.
pub(super) const REPORT_BATCH: usize = 8;

/// Blocks that a zone must hold to be of use in a check: it is written in up to four steps and
/// must not become full by them.
pub(super) const ZONE_BLOCKS_MIN: u32 = 6;

/// Bytes of scratch memory that [`run`](super::run) needs for a device of this geometry. With more
/// than a maximum transfer and a block, transfers that are too long are tried on any device.
#[must_use]
pub const fn scratch_len_bytes(geometry: &Geometry) -> usize {
    SCRATCH_BLOCKS as usize * geometry.block_len_bytes as usize
        + geometry.buffer_align_bytes as usize
}

/// Why a check ended early.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// The device lacks something.
    Skip(&'static str),
    /// The device is wrong.
    Fail(Failure),
}

/// What a check returns.
pub(super) type Checked<T = ()> = Result<T, Stop>;

/// The failure of `step`.
pub(super) const fn fail(step: &'static str, mismatch: Mismatch) -> Stop {
    Stop::Fail(Failure { step, mismatch })
}

/// Fails unless `seen` is allowed.
pub(super) fn number(step: &'static str, expected: Bound, seen: u64) -> Checked {
    if expected.admits(seen) {
        return Ok(());
    }
    Err(fail(step, Mismatch::Number { expected, seen }))
}

/// Fails unless `seen` is an allowed answer.
pub(super) fn answer(step: &'static str, expected: Answer, seen: Result<(), ErrorKind>) -> Checked {
    if expected.admits(seen) {
        return Ok(());
    }
    Err(fail(step, Mismatch::Answer { expected, seen }))
}

/// The byte at `offset` of the block `lba` as written with `version`.
///
/// Blocks of one address and different versions differ in every byte but the first two. No block
/// is all of one value: the first byte has its top bit clear and the second has it set.
pub(super) const fn pattern(lba: Lba, version: u8, offset: usize) -> u8 {
    let place = lba.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (offset as u64 / 8);
    let mixed = place.wrapping_mul(0xff51_afd7_ed55_8ccd) >> (8 * (offset % 4));
    let byte = (mixed as u8).wrapping_add(version.wrapping_mul(0x55));
    match offset {
        0 => byte & 0x7f,
        1 => byte | 0x80,
        _ => byte,
    }
}

/// Fills `buf`, which stands at `start`, with the pattern of `version`.
pub(super) fn fill(buf: &mut [u8], start: Lba, version: u8, block_len: usize) {
    for (index, block) in buf.chunks_mut(block_len).enumerate() {
        let lba = start.plus(index as u64);
        for (offset, byte) in block.iter_mut().enumerate() {
            *byte = pattern(lba, version, offset);
        }
    }
}

/// The first byte of `buf` that is not the pattern of `version`, as a mismatch.
pub(super) fn differs(buf: &[u8], start: Lba, version: u8, block_len: usize) -> Option<Mismatch> {
    for (index, block) in buf.chunks(block_len).enumerate() {
        let lba = start.plus(index as u64);
        for (offset, &seen) in block.iter().enumerate() {
            let expected = pattern(lba, version, offset);
            if seen != expected {
                return Some(Mismatch::Byte {
                    block: lba,
                    offset_bytes: offset as u32,
                    expected,
                    seen,
                });
            }
        }
    }
    None
}

/// Polls `future` once and drops it.
pub(super) async fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// Widens a device's error to its kind.
pub(super) fn kind_of<E: Error>(result: Result<(), E>) -> Result<(), ErrorKind> {
    result.map_err(|error| error.kind())
}

/// The zone operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// [`Device::open`].
    Open,
    /// [`Device::close`].
    Close,
    /// [`Device::finish`].
    Finish,
    /// [`Device::reset`].
    Reset,
}

/// A device under test and memory to test it with.
pub(super) struct Rig<'a, B: Bench> {
    pub(super) bench: &'a mut B,
    pub(super) geometry: Geometry,
    pub(super) scratch: &'a mut [u8],
}

impl<'a, B: Bench> Rig<'a, B> {
    /// Takes the device, and scratch memory aligned as it wants it.
    ///
    /// # Panics
    /// If `scratch` is shorter than [`scratch_len_bytes`].
    pub(super) fn new(bench: &'a mut B, scratch: &'a mut [u8]) -> Self {
        let geometry = bench.device().geometry();
        assert!(
            scratch.len() >= scratch_len_bytes(&geometry),
            "scratch memory is shorter than scratch_len_bytes() of the device"
        );
        let align = (geometry.buffer_align_bytes.max(1)) as usize;
        let skip = (align - scratch.as_ptr().addr() % align) % align;
        Self { bench, geometry, scratch: &mut scratch[skip..] }
    }

    /// Bytes of a block.
    pub(super) fn block_len(&self) -> usize {
        self.geometry.block_len_bytes as usize
    }

    /// Most blocks the checks put into one request.
    pub(super) fn transfer_max(&self) -> u32 {
        self.geometry.transfer_blocks_max.clamp(1, SCRATCH_BLOCKS / 2)
    }

    /// Resets every sequential zone that is not empty and can be.
    pub(super) async fn clear(&mut self) -> Checked {
        let mut first = 0;
        while first < self.geometry.zone_count {
            let mut batch = [ZoneDescriptor::EMPTY; REPORT_BATCH];
            let count = self.report_into(ZoneId(first), &mut batch).await?;
            number("report zones", Bound::AtLeast(1), count as u64)?;
            for zone in &batch[..count] {
                let usable = zone.condition.is_usable() && is_sequential(zone);
                if usable && zone.condition != ZoneCondition::Empty {
                    self.verb(Verb::Reset, zone.zone).await?;
                }
            }
            first += count as u32;
        }
        Ok(())
    }

    /// Reports into `out`; more descriptors than asked for are a failure.
    pub(super) async fn report_into(
        &mut self,
        first: ZoneId,
        out: &mut [ZoneDescriptor],
    ) -> Checked<usize> {
        let room = out.len();
        match self.bench.device().report(first, out).await {
            Ok(count) => {
                number("count a report", Bound::AtMost(room as u64), count as u64)?;
                // Zones and blocks are counted from here: what is nowhere must not end the checks.
                let (end, size) = (self.geometry.end().0, u64::from(self.geometry.zone_blocks));
                for (zone, expected) in out[..count].iter().zip(u64::from(first.0)..) {
                    number("number of a zone", Bound::Is(expected), zone.zone.0.into())?;
                    number("start of a zone", Bound::AtMost(end), zone.start.0)?;
                    number("capacity of a zone", Bound::AtMost(size), zone.capacity.0.into())?;
                    pointer("write pointer of a zone", zone, Bound::AtMost(size))?;
                }
                Ok(count)
            }
            Err(error) => {
                answer("report zones", Answer::Success, Err(error.kind()))?;
                Ok(0)
            }
        }
    }

    /// The descriptor of one zone.
    pub(super) async fn report(&mut self, zone: ZoneId) -> Checked<ZoneDescriptor> {
        let mut one = [ZoneDescriptor::EMPTY];
        let count = self.report_into(zone, &mut one).await?;
        number("report one zone", Bound::Is(1), count as u64)?;
        Ok(one[0])
    }

    /// The `nth` zone that `wanted` accepts, or a skip for `lacking` it.
    pub(super) async fn find(
        &mut self,
        nth: u32,
        lacking: &'static str,
        wanted: impl Fn(&ZoneDescriptor) -> bool,
    ) -> Checked<ZoneDescriptor> {
        let (mut first, mut left) = (0, nth);
        while first < self.geometry.zone_count {
            let mut batch = [ZoneDescriptor::EMPTY; REPORT_BATCH];
            let count = self.report_into(ZoneId(first), &mut batch).await?;
            number("report zones", Bound::AtLeast(1), count as u64)?;
            for zone in batch[..count].iter().filter(|zone| wanted(zone)) {
                if left == 0 {
                    return Ok(*zone);
                }
                left -= 1;
            }
            first += count as u32;
        }
        Err(Stop::Skip(lacking))
    }

    /// The `nth` sequential zone that can be written.
    pub(super) async fn sequential(&mut self, nth: u32) -> Checked<ZoneDescriptor> {
        self.find(nth, "too few sequential zones", |zone| {
            is_sequential(zone) && zone.condition.is_usable() && zone.capacity.0 >= ZONE_BLOCKS_MIN
        })
        .await
    }

    /// The `nth` conventional zone that can be written.
    pub(super) async fn conventional(&mut self, nth: u32) -> Checked<ZoneDescriptor> {
        self.find(nth, "too few conventional zones", |zone| {
            zone.condition == ZoneCondition::NotWritePointer && zone.capacity.0 >= ZONE_BLOCKS_MIN
        })
        .await
    }

    /// Any zone that can be written: sequential if there is one.
    pub(super) async fn writable(&mut self) -> Checked<ZoneDescriptor> {
        match self.sequential(0).await {
            Err(Stop::Skip(_)) => self.conventional(0).await,
            other => other,
        }
    }

    /// One zone operation; the device's answer.
    pub(super) async fn try_verb(&mut self, verb: Verb, zone: ZoneId) -> Result<(), ErrorKind> {
        let device = self.bench.device();
        kind_of(match verb {
            Verb::Open => device.open(zone).await,
            Verb::Close => device.close(zone).await,
            Verb::Finish => device.finish(zone).await,
            Verb::Reset => device.reset(zone).await,
        })
    }

    /// One zone operation that must succeed.
    pub(super) async fn verb(&mut self, verb: Verb, zone: ZoneId) -> Checked {
        let step = match verb {
            Verb::Open => "open a zone",
            Verb::Close => "close a zone",
            Verb::Finish => "finish a zone",
            Verb::Reset => "reset a zone",
        };
        answer(step, Answer::Success, self.try_verb(verb, zone).await)
    }

    /// One write request of `count` blocks; the device's answer.
    pub(super) async fn try_write(
        &mut self,
        start: Lba,
        count: u32,
        version: u8,
    ) -> Result<(), ErrorKind> {
        let block_len = self.block_len();
        let data = &mut self.scratch[..count as usize * block_len];
        fill(data, start, version, block_len);
        kind_of(self.bench.device().write(start, data, Request::default()).await)
    }

    /// Writes `count` blocks in as many requests as it takes; they must succeed.
    pub(super) async fn write(&mut self, start: Lba, count: u32, version: u8) -> Checked {
        let mut done = 0;
        while done < count {
            let part = (count - done).min(self.transfer_max());
            let result = self.try_write(start.plus(u64::from(done)), part, version).await;
            answer("write", Answer::Success, result)?;
            done += part;
        }
        Ok(())
    }

    /// One read request of `count` blocks into scratch; the device's answer.
    pub(super) async fn try_read(&mut self, start: Lba, count: u32) -> Result<(), ErrorKind> {
        let len = count as usize * self.block_len();
        let buf = &mut self.scratch[..len];
        buf.fill(0xcc);
        kind_of(self.bench.device().read(start, buf, Request::default()).await)
    }

    /// Reads `count` blocks, which must be the pattern of `version`.
    pub(super) async fn verify(&mut self, start: Lba, count: u32, version: u8) -> Checked {
        let mut done = 0;
        while done < count {
            let part = (count - done).min(self.transfer_max());
            let at = start.plus(u64::from(done));
            answer("read", Answer::Success, self.try_read(at, part).await)?;
            let block_len = self.block_len();
            let seen = &self.scratch[..part as usize * block_len];
            if let Some(mismatch) = differs(seen, at, version, block_len) {
                return Err(fail("compare what was read", mismatch));
            }
            done += part;
        }
        Ok(())
    }

    /// Syncs; it must succeed.
    pub(super) async fn sync(&mut self) -> Checked {
        let result = kind_of(self.bench.device().sync().await);
        answer("sync", Answer::Success, result)
    }

    /// Cuts the power, or skips the check where the bench cannot.
    pub(super) async fn power_cycle(&mut self) -> Checked {
        if self.bench.power_cycle().await {
            return Ok(());
        }
        Err(Stop::Skip("the bench has no power control"))
    }

    /// Fails unless `zone` reports this condition and write pointer.
    pub(super) async fn expect(
        &mut self,
        step: &'static str,
        zone: ZoneId,
        condition: ZoneCondition,
        write_pointer: u32,
    ) -> Checked {
        let seen = self.report(zone).await?;
        if seen.condition != condition {
            return Err(fail(
                step,
                Mismatch::Condition { zone, expected: condition, seen: seen.condition },
            ));
        }
        pointer(step, &seen, Bound::Is(u64::from(write_pointer)))
    }

    /// Fails unless `before.zone` is as it was.
    pub(super) async fn unchanged(
        &mut self,
        step: &'static str,
        before: &ZoneDescriptor,
    ) -> Checked {
        self.expect(step, before.zone, before.condition, before.write_pointer.0).await
    }
}

/// Fails unless the write pointer of `zone` is allowed.
pub(super) fn pointer(step: &'static str, zone: &ZoneDescriptor, expected: Bound) -> Checked {
    let seen = zone.write_pointer.0;
    if expected.admits(u64::from(seen)) {
        return Ok(());
    }
    Err(fail(step, Mismatch::WritePointer { zone: zone.zone, expected, seen }))
}

/// Whether the zone has a write pointer that writes must follow.
pub(super) fn is_sequential(zone: &ZoneDescriptor) -> bool {
    zone.zone_type == ZoneType::SequentialRequired
}
