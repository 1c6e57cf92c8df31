//! Replaying from the mirror what the log no longer gives.
//!
//! Where replay finds damage in the log, the mirror's records of exactly that extent of that zone
//! take effect in their place: small values come back whole, and a value that stayed in the log has
//! its entry again, so that its key is on the list of what is lost. Sequence numbers say whether
//! any record is missing after all.
//!
//! Where nothing says whether a log is damaged or torn ([`hole`](crate::hole)), the mirror's
//! records behind that place take effect too, as long as they follow without a gap: none of them
//! says more than the log held when it was synced (`B5` of [`mirror`](crate::mirror)), so an entry
//! for a value that was not written whole cannot hide the version before.
//!
//! Invariants: `B4` a record takes effect from the mirror only where the log's own cannot be read,
//! and at what may be a tear only right behind the last one.

use shingle_hal::{Device, ZoneId};

use crate::error::Fault;
use crate::format::edit::LogPlace;
use crate::format::entry::Place;
use crate::format::record::{OP_HEADER_LEN, OpKind, RECORD_HEADER_LEN, RecordHeader, RecordKind};
use crate::group::Sources;
use crate::log::RecordReader;
use crate::log::head::NO_RECORD;
use crate::log::mirror::{MIRROR_HEADER_LEN, Mirrored, mirrored_value_len};
use crate::log::reader::LogZone;
use crate::sanity::op_holds;
use crate::state::{Core, State};
use crate::zone::Role;

/// Reads in a row without a whole block, in search of the next record behind damage in the mirror.
const BLIND_READS_MAX: u32 = 24;

/// An extent of the log whose records are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) generation: u32,
    pub(crate) from: u32,
    /// Not included.
    pub(crate) until: u32,
    /// Whether a memtable frozen meanwhile may take the log's place.
    pub(crate) in_place: bool,
}

/// What the mirror has behind a place where the log may be torn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tail {
    /// Where the last record that took effect ends.
    pub(crate) end: Option<u32>,
    /// The mirror goes on with records of a later zone of the log: all of this one were written.
    pub(crate) goes_on: bool,
}

/// How the walk through a zone of the mirror ended.
enum Read {
    /// At a record behind what is wanted.
    Behind,
    /// At the end of the zone.
    End,
}

impl<D: Device> Core<'_, D> {
    /// Replays the mirror's records of an extent of the log. True if the mirror was whole as far as
    /// that, and has records of that zone, so that it was kept then: what it does not have was
    /// never acknowledged.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Cost
    /// Reads each zone of the mirror once in all, as what is wanted comes in the log's order.
    pub(crate) async fn refill(
        &self,
        reader: &mut RecordReader<'_>,
        wanted: &Wanted,
    ) -> Result<bool, Fault<D::Error>> {
        let (mut whole, mut seen) = (true, false);
        for _ in 0..self.media.geometry.zone_count {
            let at = self.state.borrow().mirror_at;
            let next = self.mirror_zone_from(at.generation, wanted.generation);
            let Some((generation, zone)) = next else { break };
            let start = if generation == at.generation { at.offset } else { 0 };
            self.state.borrow_mut().mirror_at = LogPlace { generation, offset: start };
            let own = reader.turn_to(zone);
            let read = self.refill_from(reader, &zone, wanted, &mut whole, &mut seen).await;
            reader.turn_to(own);
            match read? {
                Read::Behind => return Ok(whole && seen),
                Read::End => {
                    let next = LogPlace { generation: generation + 1, offset: 0 };
                    self.state.borrow_mut().mirror_at = next;
                }
            }
        }
        Ok(whole && seen)
    }

    /// The next zone of the mirror from a generation on that may cover the log's zone `wanted`.
    fn mirror_zone_from(&self, generation: u32, wanted: u32) -> Option<(u32, LogZone)> {
        let state = self.state.borrow();
        let zones = mirror_zones(&state, wanted).filter(|(at, _)| *at >= generation);
        let (generation, id) = zones.min_by_key(|(at, _)| *at)?;
        let (map, blocks) = (state.zones.map(id), state.zones.written(id));
        Some((generation, LogZone { map, generation, blocks, sources: Sources::NONE }))
    }

    /// Replays the mirror's records behind a place where the log may be torn, from `from` in the
    /// zone `generation` on, as far as they follow what was replayed without a gap.
    ///
    /// # Errors
    /// The device's.
    ///
    /// # Cost
    /// Mostly a read, of the mirror's end; where there is such a record, as
    /// [`refill`](Self::refill).
    pub(crate) async fn replay_tail(
        &self,
        reader: &mut RecordReader<'_>,
        wanted: &Wanted,
    ) -> Result<Tail, Fault<D::Error>> {
        let mut tail = Tail::default();
        if !self.mirror_reaches(reader, wanted).await? {
            return Ok(tail);
        }
        for _ in 0..self.media.geometry.zone_count {
            let at = self.state.borrow().mirror_at;
            let next = self.mirror_zone_from(at.generation, wanted.generation);
            let Some((generation, zone)) = next else { break };
            let start = if generation == at.generation { at.offset } else { 0 };
            let own = reader.turn_to(zone);
            let read = self.replay_tail_from(reader, start, wanted, &mut tail).await;
            reader.turn_to(own);
            let place = match read? {
                Some(offset) => LogPlace { generation, offset },
                None => LogPlace { generation: generation + 1, offset: 0 },
            };
            self.state.borrow_mut().mirror_at = place;
            if place.generation == generation {
                break;
            }
        }
        if tail.end.is_some() {
            self.state.borrow_mut().gap = None;
        }
        Ok(tail)
    }

    /// Whether the mirror has any record from `wanted` on: its last ones say so.
    async fn mirror_reaches(
        &self,
        reader: &mut RecordReader<'_>,
        wanted: &Wanted,
    ) -> Result<bool, Fault<D::Error>> {
        let mut before = u32::MAX;
        for _ in 0..self.media.geometry.zone_count {
            let zone = {
                let state = self.state.borrow();
                let zones = mirror_zones(&state, wanted.generation).filter(|(at, _)| *at < before);
                zones.max_by_key(|(at, _)| *at).map(|(generation, id)| {
                    let (map, blocks) = (state.zones.map(id), state.zones.written(id));
                    LogZone { map, generation, blocks, sources: Sources::NONE }
                })
            };
            let Some(zone) = zone else { break };
            before = zone.generation;
            if !self.is_in_order(zone.generation) {
                // Its end is found only by reading all of it.
                return Ok(true);
            }
            let own = reader.turn_to(zone);
            let last = self.last_mirrored(reader).await;
            reader.turn_to(own);
            if let Some((generation, offset)) = last? {
                return Ok((generation, offset) >= (wanted.generation, wanted.from));
            }
        }
        Ok(false)
    }

    /// The record of the log that the last whole one of the mirror's zone stands for; that of the
    /// first one asked for if that cannot be said without reading more.
    async fn last_mirrored(
        &self,
        reader: &mut RecordReader<'_>,
    ) -> Result<Option<(u32, u32)>, Fault<D::Error>> {
        let Some(tail) = reader.load_tail(&self.media).await? else { return Ok(None) };
        let (block, tag) = tail.last;
        if tag & 0xffff == NO_RECORD {
            return Ok(Some((u32::MAX, 0)));
        }
        let mut offset = (block - 1) * self.payload() + (tag & 0xffff);
        let mut last = None;
        // Each turn goes on by at least a byte, so the zone's length bounds the loop.
        while let Some(header) = reader.record(&self.media, offset).await? {
            if let Some(of) = self.mirrored(reader, &header).await? {
                last = Some((of.generation, of.offset));
            }
            offset = header.offset.saturating_add(header.len);
        }
        Ok(last.or(Some((u32::MAX, 0))))
    }

    /// What a record of the mirror stands for.
    async fn mirrored(
        &self,
        reader: &mut RecordReader<'_>,
        header: &RecordHeader,
    ) -> Result<Option<Mirrored>, Fault<D::Error>> {
        let at = header.offset.saturating_add(RECORD_HEADER_LEN as u32);
        let is_one = header.kind == RecordKind::Mirror
            && header.len as usize >= RECORD_HEADER_LEN + MIRROR_HEADER_LEN;
        if !is_one || !reader.covers(&self.media, at, MIRROR_HEADER_LEN).await? {
            return Ok(None);
        }
        Ok(Mirrored::decode(reader.bytes(at, MIRROR_HEADER_LEN)))
    }

    /// Replays the tail from an offset of a zone of the mirror on; gives the offset of the record
    /// at which it ends, or `None` where the zone does before.
    async fn replay_tail_from(
        &self,
        reader: &mut RecordReader<'_>,
        start: u32,
        wanted: &Wanted,
        tail: &mut Tail,
    ) -> Result<Option<u32>, Fault<D::Error>> {
        let mut offset = start;
        let mut behind = None;
        // Each turn goes on by at least a byte, so the zone's length bounds the loop.
        while let Some(header) = reader.record(&self.media, offset).await? {
            if !reader.is_whole(&self.media, &header, 0).await? {
                break;
            }
            offset = header.offset.saturating_add(header.len);
            let Some(of) = self.mirrored(reader, &header).await? else { continue };
            let follows = header.seq == self.state.borrow().seq + 1;
            if of.generation > wanted.generation {
                behind.get_or_insert(header.offset);
                if of.moved {
                    continue;
                }
                tail.goes_on = follows;
                break;
            }
            if (of.generation, of.offset) < (wanted.generation, wanted.from) {
                continue;
            }
            if !of.moved && !follows {
                behind.get_or_insert(header.offset);
                break;
            }
            if !self.replay_mirrored(reader, &header, &of, wanted).await? {
                break;
            }
            tail.end = Some(of.offset.saturating_add(of.len));
        }
        Ok(behind)
    }

    async fn refill_from(
        &self,
        reader: &mut RecordReader<'_>,
        zone: &LogZone,
        wanted: &Wanted,
        whole: &mut bool,
        seen: &mut bool,
    ) -> Result<Read, Fault<D::Error>> {
        let mut offset = self.state.borrow().mirror_at.offset;
        // Each turn goes on by at least a byte, so the zone's length bounds the loop.
        loop {
            let header = match reader.record(&self.media, offset).await? {
                Some(header) if reader.is_whole(&self.media, &header, 0).await? => header,
                _ => {
                    let bad = reader.stopped();
                    if bad + 1 >= zone.blocks || !self.is_in_order(zone.generation) {
                        *whole &= !self.is_gone(zone.generation);
                        return Ok(Read::End);
                    }
                    let blind = BLIND_READS_MAX;
                    let next = reader.resync(&self.media, offset, zone.blocks, blind).await?;
                    *whole = false;
                    let Some(next) = next else { return Ok(Read::End) };
                    offset = next;
                    continue;
                }
            };
            if header.kind == RecordKind::End {
                return Ok(Read::End);
            }
            if let Some(of) = self.mirrored(reader, &header).await? {
                if (of.generation, of.offset) >= (wanted.generation, wanted.until) {
                    self.state.borrow_mut().mirror_at.offset = header.offset;
                    return Ok(Read::Behind);
                }
                *seen |= of.generation == wanted.generation;
                if (of.generation, of.offset) <= (wanted.generation, wanted.from) {
                    // Whatever is missing before this is not wanted.
                    *whole = true;
                }
                if of.generation == wanted.generation && of.offset >= wanted.from {
                    *whole &= self.replay_mirrored(reader, &header, &of, wanted).await?;
                }
            }
            offset = header.offset.saturating_add(header.len);
        }
    }

    /// Whether a zone of the mirror is written in order: a cut tears its last block alone.
    fn is_in_order(&self, generation: u32) -> bool {
        let state = self.state.borrow();
        let zone = state.zones.find(generation);
        zone.is_some_and(|id| !state.zones.get(id).is_conventional())
    }

    fn is_gone(&self, generation: u32) -> bool {
        let state = self.state.borrow();
        let Some(zone) = state.zones.find(generation) else { return true };
        let members = state.zones.members(zone);
        members.iter().any(|id| state.zones.get(*id).is_offline())
    }

    /// Lets a record of the mirror take effect in place of the log's; false if it makes no sense.
    async fn replay_mirrored(
        &self,
        reader: &mut RecordReader<'_>,
        header: &RecordHeader,
        of: &Mirrored,
        wanted: &Wanted,
    ) -> Result<bool, Fault<D::Error>> {
        let separate_from = self.limits.separate_from_bytes;
        let mut at = header.offset + (RECORD_HEADER_LEN + MIRROR_HEADER_LEN) as u32;
        let mut op_at = u64::from(of.offset) + RECORD_HEADER_LEN as u64;
        let place = LogPlace { generation: of.generation, offset: of.offset };
        let place = Some(place).filter(|_| wanted.in_place);
        for index in 0..header.op_count {
            let Some(op) = reader.op(&self.media, at).await? else { return Ok(false) };
            let value_len = mirrored_value_len(&op, separate_from);
            let len = OP_HEADER_LEN + op.head_len() + value_len;
            let op_end = op_at + op.op_len() as u64;
            let fits = op_end <= u64::from(of.offset) + u64::from(of.len);
            if !fits || !reader.covers(&self.media, at, len).await? {
                return Ok(false);
            }
            let seq = header.seq.wrapping_add(u64::from(index));
            let bytes = reader.bytes(at + OP_HEADER_LEN as u32, len - OP_HEADER_LEN);
            let (key, rest) = bytes.split_at(usize::from(op.key_len));
            if op.kind != OpKind::Fragment {
                if !op_holds(&self.limits, &op, seq, &rest[usize::from(op.meta_len)..]) {
                    return Ok(false);
                }
                if !of.moved {
                    self.state.borrow_mut().end_gap(seq);
                } else if self.is_where_it_was(&op) {
                    // What it was moved to cannot be read, or was never written whole.
                    (at, op_at) = (at + len as u32, op_end);
                    continue;
                }
                self.replay_room(key.len(), rest.len() + 64, place).await?;
                if op.kind == OpKind::PutFragments && !of.moved {
                    self.keep_lost_list(&op, key, rest, seq).await?;
                }
                let offset = (op_at + (OP_HEADER_LEN + op.head_len()) as u64) as u32;
                let value_at = Place { generation: of.generation, offset };
                self.replay_op(&op, key, rest, seq, value_at, of.moved);
                if !of.moved {
                    self.state.borrow_mut().begin_gap();
                }
            }
            (at, op_at) = (at + len as u32, op_end);
        }
        Ok(true)
    }
}

/// The zones of the mirror that may cover the log's zone `wanted`, and their generations.
fn mirror_zones(state: &State<'_>, wanted: u32) -> impl Iterator<Item = (u32, ZoneId)> {
    let zones = state.zones.iter().filter(move |(_, zone)| {
        let covers = zone.sealed.get() == 0 || wanted < zone.sealed.get();
        zone.role() == Role::LogMirror && covers
    });
    zones.map(|(id, zone)| (zone.generation.get(), id))
}
