//! The inside of a drive: takes requests, applies them, completes them, loses power.
//!
//! Every request passes `begin` (is there power? is this the one at which it fails?), then its own
//! checks and effects, then `launch` (hand it to the time model). A request that is refused as a
//! caller's bug changed nothing and is answered at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::task::Waker;

use shingle_hal::{
    Class, ErrorKind, Event, Geometry, Lba, Request, ZoneCondition, ZoneDescriptor, ZoneId,
};

use super::blocks::{Blocks, ReadError};
use super::faulty::{Faults, Struck};
use super::flight::{Duty, Entry};
use super::journal::{Deed, Journal, Point};
use super::mix::{Rng, Trace};
use super::stats::Stats;
use super::zones::ZoneTable;
use crate::media::{MediaKind, MediaSpec};
use crate::timing::{Op, Timing, Work};

/// Everything that changes in a drive.
pub(crate) struct State {
    pub(crate) spec: Rc<MediaSpec>,
    pub(crate) geometry: Geometry,
    pub(crate) zones: ZoneTable,
    pub(crate) blocks: Blocks,
    pub(crate) journal: Journal,
    pub(crate) timing: Box<dyn Timing>,
    pub(crate) now_ns: u64,
    /// The completion that comes next, taken from the time model while a timer was due before it.
    pub(crate) held: Option<(u64, u64)>,
    /// Who sleeps until when; the number tells those apart who sleep until the same moment.
    pub(crate) timers: BTreeMap<(u64, u64), Waker>,
    pub(crate) sleepers: u64,
    pub(crate) flights: BTreeMap<u64, Entry>,
    pub(crate) issued: u64,
    pub(crate) requests: u64,
    pub(crate) armed: Option<u64>,
    /// Only what changes the medium counts for the armed cut.
    pub(crate) armed_changes: bool,
    pub(crate) cut: bool,
    /// Whether what completed may still be lost.
    pub(crate) write_cache: bool,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Stats,
    pub(crate) labels: BTreeMap<u32, u8>,
    pub(crate) trace: Trace,
    pub(crate) rng: Rng,
    /// The plan in force.
    pub(crate) faults: Option<Box<Faults>>,
    /// What the last plan did.
    pub(crate) struck: Struck,
    /// Requests that complete later than the time model said, as time and id.
    pub(crate) late: BTreeSet<(u64, u64)>,
}

/// Where a data request goes.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) zone: u32,
    pub(crate) at: u32,
    pub(crate) count: u32,
}

/// What a request that was accepted hands to the time model.
pub(crate) struct Accepted {
    op: Op,
    place: Place,
    class: Class,
    unwritten: bool,
    duty: Duty,
    pub(crate) planned: Result<(), ErrorKind>,
    /// It completes so much later than the time model says.
    pub(crate) extra_ns: u64,
}

impl Accepted {
    pub(crate) const fn control() -> Self {
        Self {
            op: Op::Control,
            place: Place { zone: 0, at: 0, count: 0 },
            class: Class::Foreground,
            unwritten: false,
            duty: Duty::None,
            planned: Ok(()),
            extra_ns: 0,
        }
    }

    /// What the drive does with a read's deadline: it serves the request as always, but tries no
    /// longer than until then where it would need more time than that.
    fn cut_off(mut self, now_ns: u64, deadline_us: Option<u64>) -> Self {
        let left_ns = deadline_us.map(|us| us.saturating_mul(1000).saturating_sub(now_ns));
        if let Some(left_ns) = left_ns.filter(|left_ns| *left_ns < self.extra_ns) {
            self.extra_ns = left_ns;
            self.planned = Err(ErrorKind::Timeout);
        }
        self
    }
}

impl State {
    pub(crate) fn new(spec: MediaSpec, seed: u64) -> Self {
        let geometry = Geometry {
            block_len_bytes: spec.block_len_bytes,
            zone_count: spec.zone_count,
            zone_blocks: spec.zone_blocks,
            open_zones_max: spec.open_zones_max,
            active_zones_max: spec.active_zones_max,
            transfer_blocks_max: spec.transfer_blocks_max,
            buffer_align_bytes: 1,
            element_count: spec.element_count,
        };
        assert!(spec.zone_capacity_blocks > 0 && spec.zone_capacity_blocks <= spec.zone_blocks);
        assert!(spec.transfer_blocks_max > 0 && spec.block_len_bytes.is_power_of_two());
        Self {
            geometry,
            zones: ZoneTable::new(&spec),
            blocks: Blocks::new(spec.block_len_bytes as usize, spec.zone_blocks),
            journal: Journal::default(),
            timing: spec.timing.build(&spec),
            now_ns: 0,
            held: None,
            timers: BTreeMap::new(),
            sleepers: 0,
            write_cache: spec.kind != MediaKind::Nor,
            flights: BTreeMap::new(),
            issued: 0,
            requests: 0,
            armed: None,
            armed_changes: false,
            cut: false,
            events: VecDeque::new(),
            stats: Stats::default(),
            labels: BTreeMap::new(),
            trace: Trace::new(seed),
            rng: Rng::new(seed),
            faults: None,
            struck: Struck::default(),
            late: BTreeSet::new(),
            spec: Rc::new(spec),
        }
    }

    /// A copy in which nobody waits for what is in flight.
    pub(crate) fn fork(&self) -> Self {
        let in_flight = self.flights.iter().filter(|(_, entry)| entry.answer.is_none());
        Self {
            spec: self.spec.clone(),
            geometry: self.geometry,
            zones: self.zones.clone(),
            blocks: self.blocks.clone(),
            journal: self.journal.clone(),
            timing: self.timing.boxed_clone(),
            now_ns: self.now_ns,
            held: self.held,
            timers: BTreeMap::new(),
            sleepers: 0,
            write_cache: self.write_cache,
            flights: in_flight.map(|(&id, entry)| (id, entry.orphaned())).collect(),
            issued: self.issued,
            requests: self.requests,
            armed: self.armed,
            armed_changes: self.armed_changes,
            cut: self.cut,
            events: self.events.clone(),
            stats: self.stats,
            labels: self.labels.clone(),
            trace: self.trace,
            rng: self.rng.clone(),
            faults: self.faults.clone(),
            struck: self.struck.clone(),
            late: self.late.clone(),
        }
    }

    /// Reads; the bytes are in `buf` at once, the answer comes with the completion.
    pub(crate) fn read(&mut self, start: Lba, buf: &mut [u8], request: Request) -> Issued {
        let class = request.class;
        let last = self.begin(Op::Read, start.0, buf.len() as u64, class)?;
        let accepted = self.gated(Op::Read, start.0, buf.len() as u64, |state| {
            let accepted = state.try_read(start, buf, class)?;
            Ok(state.spoil_read(accepted.place, buf, accepted))
        });
        let accepted = accepted.map(|read| read.cut_off(self.now_ns, request.deadline_us));
        self.spoil_unread(&accepted, buf);
        self.launch(last, accepted)
    }

    fn try_read(&self, start: Lba, buf: &mut [u8], class: Class) -> Result<Accepted, ErrorKind> {
        let place = self.locate(start, buf.len())?;
        let Place { zone, at, count } = place;
        if self.zones.condition(zone) == ZoneCondition::Offline {
            return Err(ErrorKind::ZoneOffline);
        }
        let readable = self.zones.readable(zone);
        if at + count > readable {
            if self.zones.is_conventional(zone) {
                return Err(ErrorKind::CrossesZone);
            }
            let first = Some(self.geometry.zone_start(ZoneId(zone)).plus(at.max(readable).into()));
            return Err(ErrorKind::ReadPastWritePointer { first });
        }
        let planned = match self.blocks.read(zone, at, buf) {
            Ok(()) => Ok(()),
            Err(ReadError::Host) => Err(ErrorKind::Hardware),
            Err(ReadError::Bad(block)) => {
                let first = Some(self.geometry.zone_start(ZoneId(zone)).plus(block.into()));
                Err(ErrorKind::UnrecoveredRead { first })
            }
        };
        Ok(Accepted {
            op: Op::Read,
            place,
            class,
            unwritten: self.blocks.is_untouched(zone, at, count),
            planned,
            ..Accepted::control()
        })
    }

    /// Writes; the effect is there at once, and unsynced.
    pub(crate) fn write(&mut self, start: Lba, data: &[u8], class: Class) -> Issued {
        let last = self.begin(Op::Write, start.0, data.len() as u64, class)?;
        self.trace.add(crc32c::crc32c(data).into());
        let accepted = self.gated(Op::Write, start.0, data.len() as u64, |state| {
            state.try_write(start, data, class)
        });
        self.launch(last, accepted)
    }

    fn try_write(&mut self, start: Lba, data: &[u8], class: Class) -> Result<Accepted, ErrorKind> {
        let place = self.locate(start, data.len())?;
        let (count, planned) = self.spoil_write(place, data)?;
        let Place { zone, at, .. } = place;
        if count == 0 {
            return Ok(Accepted { op: Op::Write, place, class, planned, ..Accepted::control() });
        }
        let data = &data[..count as usize * self.spec.block_len_bytes as usize];
        let before = self.point(zone);
        self.zones.write(zone, at, count)?;
        if self.zones.is_conventional(zone) {
            let blocks = &self.blocks;
            let old = (at as usize..(at + count) as usize)
                .map(|block| blocks.take_copy(zone, block as u32));
            self.journal.add_patch(zone, self.issued, at, old);
        } else {
            let after = self.point(zone);
            self.journal.add(zone, self.issued, before, Deed::Write(count), after);
        }
        self.blocks.write(zone, at, data);
        Ok(Accepted {
            op: Op::Write,
            place,
            class,
            duty: Duty::Effect(zone),
            planned,
            ..Accepted::control()
        })
    }

    /// Makes what completed so far durable, once it completes.
    pub(crate) fn sync(&mut self) -> Issued {
        let last = self.begin(Op::Sync, 0, 0, Class::Foreground)?;
        let accepted = self.gated(Op::Sync, 0, 0, |state| {
            let (duty, planned) = state.spoil_sync(state.journal.mark(None));
            Ok(Accepted { op: Op::Sync, duty, planned, ..Accepted::control() })
        });
        self.launch(last, accepted)
    }

    /// Describes zones from `first` on; how many.
    pub(crate) fn report(
        &mut self,
        first: ZoneId,
        out: &mut [ZoneDescriptor],
    ) -> Result<(u64, usize), Refused> {
        if self.cut {
            return Err(ErrorKind::NotReady.into());
        }
        self.issued += 1;
        let zones = first.0..self.zones.len();
        let mut count = 0;
        for (slot, zone) in out.iter_mut().zip(zones) {
            *slot = self.zones.describe(zone, self.spec.element_of(zone));
            self.struck.ledger.see(zone, self.geometry.zone_start(ZoneId(zone)).0);
            count += 1;
        }
        let id = self.launch(false, Ok(Accepted::control()))?;
        Ok((id, count))
    }

    /// Opens or closes `zone`.
    pub(crate) fn switch(&mut self, zone: ZoneId, open: bool) -> Issued {
        let op = Op::Control;
        let last = self.begin(op, u64::from(zone.0), u64::from(open), Class::Foreground)?;
        let accepted = self.gated(op, zone.0.into(), 0, |state| {
            state.check_zone(zone)?;
            match open {
                true => state.zones.open(zone.0)?,
                false => state.zones.close(zone.0)?,
            }
            Ok(Accepted::control())
        });
        self.launch(last, accepted)
    }

    /// Finishes `zone`.
    pub(crate) fn finish(&mut self, zone: ZoneId) -> Issued {
        let last = self.begin(Op::Finish, u64::from(zone.0), 0, Class::Foreground)?;
        let accepted = self.gated(Op::Finish, zone.0.into(), 0, |state| {
            state.check_zone(zone)?;
            let before = state.point(zone.0);
            let changed = state.zones.finish(zone.0)?;
            let left = state.zones.capacity(zone.0) - before.written;
            let accepted = Accepted {
                op: Op::Finish,
                place: Place {
                    zone: zone.0,
                    at: before.written,
                    count: if changed { left } else { 0 },
                },
                duty: Duty::Effect(zone.0),
                ..Accepted::control()
            };
            if changed {
                let after = state.point(zone.0);
                state.journal.add(zone.0, state.issued, before, Deed::Finish, after);
            }
            Ok(accepted)
        });
        self.launch(last, accepted)
    }

    /// Resets `zone`.
    pub(crate) fn reset(&mut self, zone: ZoneId) -> Issued {
        let last = self.begin(Op::Reset, u64::from(zone.0), 0, Class::Foreground)?;
        let accepted = self.gated(Op::Reset, zone.0.into(), 0, |state| {
            state.check_zone(zone)?;
            let before = state.point(zone.0);
            state.zones.reset(zone.0)?;
            if before != Point::default() {
                let (held, after) = state.take_contents(zone.0);
                state.journal.add(zone.0, state.issued, before, Deed::Reset(held), after);
            }
            Ok(Accepted {
                op: Op::Reset,
                place: Place { zone: zone.0, at: 0, count: 0 },
                duty: Duty::Effect(zone.0),
                ..Accepted::control()
            })
        });
        self.launch(last, accepted)
    }

    /// Lets the next thing happen, a timer or a completion; `None` when there is nothing to come,
    /// otherwise whom to wake.
    pub(crate) fn advance(&mut self) -> Option<Option<Waker>> {
        let late = self.pull();
        let next_ns = late.or(self.held).map(|(_, at_ns)| at_ns);
        if let Some(timer) = self.timers.first_entry()
            && next_ns.is_none_or(|at_ns| timer.key().0 <= at_ns)
        {
            self.now_ns = self.now_ns.max(timer.key().0);
            return Some(Some(timer.remove()));
        }
        let (id, at_ns) = match late {
            Some((id, at_ns)) => {
                self.late.remove(&(at_ns, id));
                (id, at_ns)
            }
            None => self.held.take()?,
        };
        self.now_ns = self.now_ns.max(at_ns);
        Some(self.complete(id))
    }

    /// Request `id` completes now; whom to wake.
    fn complete(&mut self, id: u64) -> Option<Waker> {
        let entry = self.flights.get_mut(&id).expect("the time model invented a request");
        entry.answer = Some(entry.planned);
        self.trace.add(id);
        self.trace.add(self.now_ns);
        let waker = entry.waker.take();
        let duty = std::mem::replace(&mut entry.duty, Duty::None);
        if entry.orphan {
            self.flights.remove(&id);
        }
        match duty {
            Duty::None => {}
            Duty::Effect(zone) => {
                self.journal.complete(zone, id);
                if !self.write_cache {
                    self.journal.forget(&self.journal.mark(Some(zone)));
                }
            }
            Duty::Sync(mark) => self.journal.forget(&mark),
        }
        waker
    }

    /// Power fails now: whom to wake, so that they learn it.
    pub(crate) fn fail_power(&mut self) -> Vec<Waker> {
        self.cut = true;
        self.armed = None;
        self.trace.add(0x6375_7421);
        self.timing.power_cut(self.now_ns);
        self.held = None;
        self.late.clear();
        self.flights.retain(|_, entry| !entry.orphan);
        let flights = self.flights.values_mut();
        let lost = flights.filter(|entry| entry.answer.is_none());
        let mut wakers = Vec::new();
        for entry in lost {
            entry.answer = Some(Err(ErrorKind::NotReady));
            wakers.extend(entry.waker.take());
        }
        wakers
    }

    /// The state of `zone` that a power cut may change.
    pub(crate) fn point(&self, zone: u32) -> Point {
        Point {
            written: self.zones.written(zone),
            full: self.zones.condition(zone) == ZoneCondition::Full,
        }
    }

    /// Counts a request; whether power fails with it.
    fn begin(&mut self, op: Op, at: u64, len: u64, class: Class) -> Result<bool, ErrorKind> {
        if self.cut {
            return Err(ErrorKind::NotReady);
        }
        self.requests += 1;
        self.issued += 1;
        for word in [op as u64, at, len, class as u64] {
            self.trace.add(word);
        }
        let cut = self.spoil_arrival(op, at, len);
        if op == Op::Read && self.armed_changes {
            return Ok(cut);
        }
        self.armed = self.armed.map(|left| left - 1);
        Ok(cut || self.armed == Some(0))
    }

    /// Hands an accepted request to the time model, or fails power, or refuses.
    fn launch(&mut self, last: bool, accepted: Result<Accepted, ErrorKind>) -> Issued {
        if last {
            return Err(Refused::Cut(self.fail_power()));
        }
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(kind) => {
                self.trace.add(crc32c::crc32c(format!("{kind:?}").as_bytes()).into());
                return Err(kind.into());
            }
        };
        let Place { zone, at, count } = accepted.place;
        let lba = self.geometry.zone_start(ZoneId(zone)).plus(at.into());
        let label = self.labels.get(&zone).copied().unwrap_or(0);
        self.stats.count(accepted.op, count, accepted.class, label);
        let work = Work {
            id: self.issued,
            op: accepted.op,
            lba: lba.0,
            blocks: count,
            class: accepted.class as u8,
            unwritten: accepted.unwritten,
        };
        self.timing.submit(self.now_ns, work);
        let mut entry = Entry::new(accepted.duty, accepted.planned);
        entry.extra_ns = accepted.extra_ns;
        self.flights.insert(self.issued, entry);
        Ok(self.issued)
    }

    /// Where a data request goes, if it is well formed and stays in one zone.
    fn locate(&self, start: Lba, len: usize) -> Result<Place, ErrorKind> {
        let geometry = &self.geometry;
        let block_len = geometry.block_len_bytes as usize;
        let blocks = len / block_len;
        if blocks == 0
            || !len.is_multiple_of(block_len)
            || blocks > geometry.transfer_blocks_max as usize
        {
            return Err(ErrorKind::InvalidRequest);
        }
        let count = blocks as u32;
        if start.0.checked_add(count.into()).is_none_or(|end| end > geometry.end().0) {
            return Err(ErrorKind::OutOfDevice);
        }
        let zone = geometry.zone_of(start);
        let at = (start.0 - geometry.zone_start(zone).0) as u32;
        if u64::from(at) + u64::from(count) > u64::from(geometry.zone_blocks) {
            return Err(ErrorKind::CrossesZone);
        }
        let zone = zone.0;
        Ok(Place { zone, at, count })
    }

    fn check_zone(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        match zone.0 < self.zones.len() {
            true => Ok(()),
            false => Err(ErrorKind::OutOfDevice),
        }
    }
}

/// Why a request was not put in flight.
pub(crate) enum Refused {
    /// It cannot be served.
    Kind(ErrorKind),
    /// Power failed with it; these wait for requests that will not complete.
    Cut(Vec<Waker>),
}

impl From<ErrorKind> for Refused {
    fn from(kind: ErrorKind) -> Self {
        Self::Kind(kind)
    }
}

/// The number of a request now in flight.
pub(crate) type Issued = Result<u64, Refused>;
