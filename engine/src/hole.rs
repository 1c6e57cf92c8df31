//! What a block that is not whole means in a log that is replayed: a tear, or damage.
//!
//! A tear is the end of the log: nothing behind it was acknowledged. Damage is not: what lies
//! behind it counts, or what was acknowledged would be cut off without a word. What tells them
//! apart, in this order:
//!
//! ```text
//!   the device says that the blocks are gone              zone offline, element lost   damage
//!   an earlier recovery read the log beyond this place    `Seal`, here or later        damage
//!   a zone written in order has whole blocks behind it,   a cut tears the last block   damage
//!   or some that cannot be read
//!   a whole record behind it says that it was durable     mark, here or in a zone      damage
//!                                                         that follows
//!   nothing of all this                                                                tear
//! ```
//!
//! A mark says what was synced before its record was appended. So it is true wherever the record is
//! whole, also if the record itself was never acknowledged; that it is of this zone's life its seal
//! says.
//!
//! **The window that remains** is the last group: what was synced by the last sync before the cut,
//! if no record was appended behind it that survived. If then a block of it fails besides, and the
//! device does not say that the whole zone is gone, it is taken for a tear. Where all blocks from
//! some place on fail, every group behind the last record that can be read is in the window. A
//! block that cannot be read is no sign either way: a torn block may fail to be read, and rot may
//! be read. A log with a mirror has no such window: the mirror's records of that group take effect
//! at a tear as well ([`refill`](crate::refill)).
//!
//! Invariants: `O5` a hole of which nothing says that it was durable ends the log (canaries
//! `ReplayPastHole`, `DurableMarkAhead`). Tests: `sim/tests/log_damage.rs`.

use shingle_hal::{Device, ZoneId};

use crate::error::Fault;
use crate::format::edit::LogPlace;
use crate::log::RecordReader;
use crate::log::reader::{LogZone, Patience, Seen};
use crate::state::{Core, State};

/// Reads in a row without a whole block, in search of the next record behind damage.
const RESYNC_BLIND_MAX: u32 = 24;
/// The same in search of a mark behind what may be a tear.
const MARK_BLIND_MAX: u32 = 4;

/// Where replay found no whole record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    pub(crate) zone: ZoneId,
    /// Payload offset from which on records are missing.
    pub(crate) at: u32,
    /// Where the record there ends, if its header is whole.
    pub(crate) record_end: Option<u32>,
    /// Blocks that may hold records.
    pub(crate) blocks: u32,
    /// What lies before a block that survived a cut survived too.
    pub(crate) in_order: bool,
    /// One more than where an earlier recovery found the records to end, or 0.
    pub(crate) sealed: u32,
    /// Something of the zone behind it survived, and what survives there does not come alone.
    pub(crate) proven: bool,
}

/// What a hole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The end of the log.
    Tear,
    /// Damage in the value of a record that was durable as a whole: its entries count.
    Record,
    /// Damage; the records go on at this offset.
    To(u32),
    /// Damage, up to the end of the zone's records.
    Rest,
}

impl<D: Device> Core<'_, D> {
    /// Judges a hole, and finds where the records go on behind it. The window is empty then.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Cost
    /// At the plain end of a log, a few reads where its zone is conventional and one for each of
    /// the zones taken ahead. At damage, and where more survived behind a tear, a read for each
    /// window of what is there.
    pub(crate) async fn judge_hole(
        &self,
        reader: &mut RecordReader<'_>,
        hole: &Hole,
    ) -> Result<Passed, Fault<D::Error>> {
        let payload = self.payload();
        let bad = reader.stopped().clamp(1, hole.blocks.max(1));
        let (mut known, skip_to) = {
            let state = self.state.borrow();
            let gone = offline_until(&state, hole.zone, bad);
            let read_before = hole.sealed > 0 || is_passed(&state, hole.zone);
            (hole.proven || gone.is_some() || read_before, gone.unwrap_or(bad))
        };
        if !known && hole.in_order && bad + 1 < hole.blocks {
            known = self.is_written_behind(reader, bad, hole.blocks).await?;
        }
        let sealed_blocks = if hole.sealed > 0 { 1 + (hole.sealed - 1) / payload + 1 } else { 0 };
        let end = if hole.sealed > 0 { hole.blocks.min(sealed_blocks) } else { hole.blocks };
        let generation = self.state.borrow().zones.get(hole.zone).generation.get();
        // A record counts as a whole or not at all: so much must have been durable.
        let last_bad = hole.record_end.map_or(bad, |end| bad.max(end.div_ceil(payload)));
        let durable_end = last_bad.saturating_mul(payload);
        let bad_end = LogPlace { generation, offset: durable_end };
        let (mut next, mut mark) = (None, LogPlace::default());
        let blind_max = if known { RESYNC_BLIND_MAX } else { MARK_BLIND_MAX };
        let behind = hole.record_end.map_or(0, |end| 1 + end / payload);
        let first = (1 + hole.at / payload).max(skip_to).max(behind);
        let patience = Patience::blind(blind_max);
        let survey = reader.survey(&self.media, first, end, patience, |seen| {
            let Seen::Record(start, header) = seen else { return false };
            next = next.or((start > hole.at).then_some(start));
            mark = mark.max(header.map_or(LogPlace::default(), |header| header.durable));
            next.is_some() && (known || mark >= bad_end)
        });
        survey.await?;
        if !known && mark < bad_end {
            mark = mark.max(self.mark_behind(reader, hole.zone, bad_end).await?);
        }
        if !known && mark < bad_end {
            return Ok(Passed::Tear);
        }
        if hole.record_end.is_some() {
            return Ok(Passed::Record);
        }
        let next = next.filter(|&next| hole.sealed == 0 || next < hole.sealed - 1);
        Ok(next.map_or(Passed::Rest, Passed::To))
    }

    /// Whether a zone that is written in order was written behind block `bad`. Where it is said to
    /// be written to is no sign: after a cut, garbage may follow what was written. Nor is a block
    /// that cannot be read, if the zone was not begun: it may be of a life before, brought back by
    /// a reset that the cut undid.
    async fn is_written_behind(
        &self,
        reader: &mut RecordReader<'_>,
        bad: u32,
        blocks: u32,
    ) -> Result<bool, Fault<D::Error>> {
        let (mut whole, mut unreadable) = (false, false);
        let patience = Patience::blind(RESYNC_BLIND_MAX);
        let survey = reader.survey(&self.media, bad + 1, blocks, patience, |seen| {
            match seen {
                Seen::Unreadable => unreadable = true,
                Seen::Whole | Seen::Record(..) => whole = true,
            }
            whole
        });
        survey.await?;
        Ok(whole || (unreadable && reader.is_begun(&self.media).await?))
    }

    /// The furthest mark in the zones that follow in the log, up to one that reaches `wanted`.
    ///
    /// The records there may begin with the rest of the very value whose part is bad: all of these
    /// were appended before anything of it was synced, and their marks say nothing of it. So each
    /// zone is gone through from record to record, up to one that holds none.
    async fn mark_behind(
        &self,
        reader: &mut RecordReader<'_>,
        zone: ZoneId,
        wanted: LogPlace,
    ) -> Result<LogPlace, Fault<D::Error>> {
        let mut mark = LogPlace::default();
        let mut last = zone;
        for _ in 0..self.media.geometry.zone_count {
            let Some((id, behind)) = self.zone_behind(last) else { break };
            let own = reader.turn_to(behind);
            let followed = self.follow_marks(reader, behind.blocks, wanted, &mut mark).await;
            reader.turn_to(own);
            if !followed? || mark >= wanted {
                break;
            }
            last = id;
        }
        Ok(mark)
    }

    /// The same in the zone of `blocks` blocks that the reader was turned to; false if there is no
    /// record in it.
    async fn follow_marks(
        &self,
        reader: &mut RecordReader<'_>,
        blocks: u32,
        wanted: LogPlace,
        mark: &mut LogPlace,
    ) -> Result<bool, Fault<D::Error>> {
        let payload = self.payload();
        let (mut first, mut blind, mut any) = (1, 0, false);
        while first < blocks && *mark < wanted {
            let mut next = None;
            let once = Patience { reads_max: 1, blind_max: 1 };
            let survey = reader.survey(&self.media, first, blocks, once, |seen| {
                if let Seen::Record(start, Some(header)) = seen {
                    *mark = (*mark).max(header.durable);
                    // Behind what was read, or this would not end.
                    let end = header.offset.saturating_add(header.len);
                    next = Some((1 + end / payload).max(2 + start / payload));
                }
                *mark >= wanted
            });
            let read_to = survey.await?;
            any |= next.is_some();
            blind = if next.is_some() { 0 } else { blind + 1 };
            // Most zones behind the end of a log are empty, and show it at once.
            if blind == if any { MARK_BLIND_MAX } else { 1 } {
                break;
            }
            first = next.unwrap_or(read_to);
        }
        Ok(any)
    }

    /// The zone that the log goes on in behind `zone`.
    fn zone_behind(&self, zone: ZoneId) -> Option<(ZoneId, LogZone)> {
        let state = self.state.borrow();
        let before = state.zones.get(zone);
        let later = state.zones.iter().filter(|(_, zone)| {
            zone.role() == before.role() && zone.generation.get() > before.generation.get()
        });
        let (id, next) = later.min_by_key(|(_, zone)| zone.generation.get())?;
        let (map, blocks) = (state.zones.map(id), state.zones.written_here(id));
        let sources = state.zones.sources(id);
        Some((id, LogZone { map, generation: next.generation.get(), blocks, sources }))
    }
}

/// If the block is in a zone that is gone, the first block behind that zone.
fn offline_until(state: &State<'_>, zone: ZoneId, block: u32) -> Option<u32> {
    let extents = state.zones.extents(zone);
    let index = extents.iter().rposition(|(from, _)| *from <= block)?;
    let next = extents.get(index + 1).map_or(u32::MAX, |(from, _)| *from);
    state.zones.get(extents[index].1).is_offline().then_some(next)
}

/// Whether an earlier recovery went on to a later zone of this log, if only to say it is empty:
/// it read all of this one's records then, or would have sealed it, too.
fn is_passed(state: &State<'_>, zone: ZoneId) -> bool {
    let before = state.zones.get(zone);
    state.zones.iter().any(|(_, zone)| {
        zone.role() == before.role()
            && zone.generation.get() > before.generation.get()
            && zone.sealed.get() > 0
    })
}
