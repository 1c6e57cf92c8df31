//! The reference device: zones in memory, the whole contract, and one planted fault if wanted.
//!
//! Written to be read beside the contract rather than to be fast. Requests take effect when first
//! polled and then stay pending for `lag` polls, so that many can be in flight.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;

use shingle_hal::conformance::Bench;
use shingle_hal::{
    BlockCount, Class, Device, ElementId, ErrorKind, Event, Geometry, Lba, Request, ZoneCondition,
    ZoneDescriptor, ZoneId, ZoneType,
};

use super::fault::{Fault, Verb};
use super::ram_state::{Shape, State, Zone};

/// The device.
pub(crate) struct Ram {
    pub(crate) shape: Shape,
    pub(crate) fault: Option<Fault>,
    pub(crate) state: RefCell<State>,
    clock: Cell<u64>,
}

/// Pending for `polls` polls.
async fn pend(polls: u32) {
    let mut left = polls;
    poll_fn(|_| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}

impl Ram {
    pub(crate) fn new(shape: Shape, fault: Option<Fault>) -> Self {
        let zone = |index: u32| {
            let conventional = index < shape.conventional;
            let condition = match () {
                () if shape.read_only == Some(index) => ZoneCondition::ReadOnly,
                () if shape.offline == Some(index) => ZoneCondition::Offline,
                () if conventional => ZoneCondition::NotWritePointer,
                () => ZoneCondition::Empty,
            };
            let (zone_type, capacity) = if conventional {
                (ZoneType::Conventional, shape.geometry.zone_blocks)
            } else {
                (ZoneType::SequentialRequired, shape.capacity)
            };
            let blocks = shape.geometry.zone_blocks as usize;
            Zone {
                zone_type,
                condition,
                pointer: 0,
                written: 0,
                capacity,
                data: vec![0; blocks * shape.geometry.block_len_bytes as usize],
                opened: 0,
                reset_since_sync: false,
            }
        };
        let zones: Vec<Zone> = (0..shape.geometry.zone_count).map(zone).collect();
        let state = State {
            durable: zones.clone(),
            zones,
            rng: shape.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            clock: 0,
            leaked_open: 0,
            leaked_active: 0,
            in_flight: 0,
            last_read: Lba(0),
            writes: 0,
            dirty: false,
            forgets: false,
            cycles: 0,
        };
        Self { shape, fault, state: RefCell::new(state), clock: Cell::new(1000) }
    }

    pub(crate) fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn block_len(&self) -> usize {
        self.shape.geometry.block_len_bytes as usize
    }

    /// The zone's index, for a zone operation that may be done.
    fn target(&self, zone: ZoneId, verb: Verb) -> Result<Option<usize>, ErrorKind> {
        let state = self.state.borrow();
        let Some(at) = state.zones.get(zone.0 as usize) else {
            let accepted = self.is(Fault::AcceptsUnknownZone(verb));
            return if accepted { Ok(None) } else { Err(ErrorKind::OutOfDevice) };
        };
        match at.condition {
            ZoneCondition::NotWritePointer if self.is(Fault::AcceptsConventional(verb)) => Ok(None),
            ZoneCondition::NotWritePointer => Err(ErrorKind::InvalidRequest),
            ZoneCondition::ReadOnly | ZoneCondition::Offline
                if self.is(Fault::AcceptsRetiredVerb) =>
            {
                Ok(None)
            }
            ZoneCondition::ReadOnly => Err(ErrorKind::ZoneReadOnly),
            ZoneCondition::Offline => Err(ErrorKind::ZoneOffline),
            _ => Ok(Some(zone.0 as usize)),
        }
    }

    /// Makes room for zone `at` to become open, closing an implicitly open zone if need be.
    pub(super) fn make_room(
        &self,
        state: &mut State,
        at: usize,
        by_open: bool,
    ) -> Result<(), ErrorKind> {
        let condition = state.zones[at].condition;
        if condition.is_open() {
            let full = self.open_count(state) >= self.shape.geometry.open_zones_max.unwrap_or(99);
            if self.is(Fault::ReopenNeedsResource) && by_open && full {
                return Err(ErrorKind::TooManyOpenZones);
            }
            return Ok(());
        }
        let active = state.zones.iter().filter(|zone| zone.condition.is_active());
        let active = active.count() as u32 + state.leaked_active;
        let counted = condition == ZoneCondition::Closed && !self.is(Fault::ClosedIsNotActive);
        if let Some(limit) = self.shape.geometry.active_zones_max
            && !counted
            && active >= limit
            && !self.is(Fault::IgnoresActiveLimit)
        {
            return Err(ErrorKind::TooManyActiveZones);
        }
        let Some(mut limit) = self.shape.geometry.open_zones_max else {
            return Ok(());
        };
        if self.is(Fault::OpenLimitTooLow) {
            limit -= 1;
        }
        let ignored = match by_open {
            true => self.is(Fault::OpenIgnoresLimit),
            false => self.is(Fault::WriteIgnoresLimit),
        };
        if ignored || self.open_count(state) < limit {
            return Ok(());
        }
        let holds = match by_open {
            true => self.is(Fault::ImplicitHoldsAgainstOpen),
            false => self.is(Fault::ImplicitHoldsAgainstWrite),
        };
        let any = self.is(Fault::ExplicitYields);
        let yields = |zone: &&mut Zone| {
            zone.condition == ZoneCondition::ImplicitOpen || any && zone.condition.is_open()
        };
        let oldest = state.zones.iter_mut().filter(yields).min_by_key(|zone| zone.opened);
        match oldest {
            Some(zone) if !holds => {
                zone.condition = closed(zone);
                Ok(())
            }
            _ => Err(ErrorKind::TooManyOpenZones),
        }
    }

    pub(super) fn open_count(&self, state: &State) -> u32 {
        let open = state.zones.iter().filter(|zone| zone.condition.is_open());
        open.count() as u32 + state.leaked_open
    }

    /// One zone operation on a zone that may be operated.
    fn operate(&self, verb: Verb, at: usize) -> Result<(), ErrorKind> {
        let state = &mut *self.state.borrow_mut();
        let before = state.zones[at].condition;
        let needs_room = match verb {
            Verb::Open => before != ZoneCondition::Full,
            Verb::Finish => matches!(before, ZoneCondition::Empty),
            Verb::Close | Verb::Reset => false,
        };
        if needs_room {
            let room = self.make_room(state, at, verb == Verb::Open);
            if room.is_err() && verb == Verb::Finish && self.is(Fault::RefusedFinishTakesEffect) {
                state.zones[at].condition = ZoneCondition::Full;
            }
            room?;
        }
        state.clock += 1;
        let now = state.clock;
        let zone = &mut state.zones[at];
        let next = match verb {
            Verb::Open if before != ZoneCondition::Full => ZoneCondition::ExplicitOpen,
            Verb::Close if before.is_open() => {
                let unwritten = self.is(Fault::CloseUnwrittenIsClosed);
                if unwritten { ZoneCondition::Closed } else { closed(zone) }
            }
            Verb::Finish => ZoneCondition::Full,
            Verb::Reset => ZoneCondition::Empty,
            Verb::Open | Verb::Close => before,
        };
        if self.is(Fault::Transition(verb, before)) {
            if next == before {
                zone.condition = match before {
                    ZoneCondition::Closed => ZoneCondition::ImplicitOpen,
                    _ => ZoneCondition::Closed,
                };
            }
            return Ok(());
        }
        zone.condition = next;
        match verb {
            Verb::Open => zone.opened = now,
            Verb::Close => {}
            Verb::Finish if self.is(Fault::FinishKeepsPointer) => {}
            Verb::Finish => zone.pointer = zone.capacity,
            Verb::Reset => {
                if !self.is(Fault::ResetKeepsPointer) {
                    zone.pointer = 0;
                }
                zone.written = 0;
                zone.reset_since_sync = true;
                if !self.is(Fault::ResetKeepsData) {
                    zone.data.fill(0);
                }
            }
        }
        state.dirty = true;
        if self.is(Fault::LeaksOpen(verb)) && before.is_open() {
            state.leaked_open += 1;
        }
        if self.is(Fault::LeaksActive(verb)) && before.is_active() {
            state.leaked_active += 1;
        }
        Ok(())
    }

    fn verb(&self, verb: Verb, zone: ZoneId) -> Result<(), ErrorKind> {
        if let Some(at) = self.target(zone, verb)? {
            self.operate(verb, at)?;
            if self.is(Fault::HitsNeighbour(verb)) {
                let state = &mut *self.state.borrow_mut();
                let next = &mut state.zones[at + 1];
                next.data.fill(0);
                next.condition = ZoneCondition::Full;
            }
        }
        Ok(())
    }

    /// Counts a request in flight, or refuses it where a fault has it so.
    fn enter(&self) -> Result<(), ErrorKind> {
        let state = &mut *self.state.borrow_mut();
        let strict = self.is(Fault::OneAtATime) || self.is(Fault::StuckAfterDrop);
        if strict && state.in_flight > 0 {
            return Err(ErrorKind::NotReady);
        }
        state.in_flight += 1;
        Ok(())
    }

    fn leave(&self) {
        self.state.borrow_mut().in_flight -= 1;
    }

    fn describe(&self, state: &State, at: usize) -> ZoneDescriptor {
        let zone = &state.zones[at];
        let shifted = u64::from(self.is(Fault::ZoneStartsShifted));
        let conventional = zone.zone_type == ZoneType::Conventional;
        let pointer = match conventional {
            true => u32::from(self.is(Fault::ConventionalHasPointer)),
            false if self.is(Fault::PointerLags) => zone.pointer & !1,
            false => zone.pointer,
        };
        let above =
            if self.is(Fault::CapacityAboveSize) { self.shape.geometry.zone_blocks } else { 0 };
        let unknown = if self.is(Fault::ElementUnknown) { 7 } else { 0 };
        ZoneDescriptor {
            zone: ZoneId(at as u32),
            zone_type: zone.zone_type,
            condition: zone.condition,
            start: self.shape.geometry.zone_start(ZoneId(at as u32)).plus(shifted),
            capacity: BlockCount(zone.capacity + above),
            write_pointer: BlockCount(pointer),
            element: ElementId(at as u16 % self.shape.geometry.element_count + unknown),
        }
    }
}

/// The condition of an open zone that is closed.
fn closed(zone: &Zone) -> ZoneCondition {
    match zone.pointer {
        0 => ZoneCondition::Empty,
        _ => ZoneCondition::Closed,
    }
}

impl Device for Ram {
    type Error = ErrorKind;

    fn geometry(&self) -> Geometry {
        let mut geometry = self.shape.geometry;
        let state = self.state.borrow();
        if self.is(Fault::NoElements) {
            geometry.element_count = 0;
        }
        if self.is(Fault::ActiveBelowOpen) {
            geometry.active_zones_max = geometry.open_zones_max.map(|limit| limit - 1);
        }
        let drifted = self.is(Fault::GeometryDrifts) && state.writes > 0;
        if drifted || self.is(Fault::CutChangesGeometry) && state.cycles > 0 {
            geometry.transfer_blocks_max += 1;
        }
        geometry
    }

    fn now_us(&self) -> Option<u64> {
        let step = if self.is(Fault::ClockGoesBack) { -1 } else { 1 };
        let now = self.clock.get().wrapping_add_signed(step);
        self.clock.set(now);
        Some(now)
    }

    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), ErrorKind> {
        if self.is(Fault::IdleTimesOut) && request.class == Class::Idle {
            return Err(ErrorKind::Timeout);
        }
        self.enter()?;
        self.state.borrow_mut().last_read = start;
        pend(self.shape.lag).await;
        let result = self.read_now(start, buf);
        self.leave();
        result
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), ErrorKind> {
        self.enter()?;
        if self.is(Fault::ReordersWrites) && start.0.is_multiple_of(2) {
            pend(1).await;
        }
        let result = self.write_now(start, data);
        pend(self.shape.lag).await;
        self.leave();
        result
    }

    async fn sync(&self) -> Result<(), ErrorKind> {
        self.enter()?;
        pend(self.shape.lag).await;
        self.leave();
        super::ram_power::sync(self)
    }

    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, ErrorKind> {
        let state = self.state.borrow();
        let mut first = first.0 as usize;
        if self.is(Fault::ReportRoundsDown) && out.len() == 2 {
            first &= !1;
        }
        if self.is(Fault::ReportWraps) && first >= state.zones.len() {
            first = 0;
        }
        let left = state.zones.len().saturating_sub(first);
        let mut count = left.min(out.len());
        if self.is(Fault::ReportStopsShort) && count > 1 {
            count -= 1;
        }
        for (index, slot) in out[..count].iter_mut().enumerate() {
            *slot = self.describe(&state, first + index);
        }
        Ok(count)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.verb(Verb::Open, zone)
    }

    async fn close(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.verb(Verb::Close, zone)
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.verb(Verb::Finish, zone)
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.verb(Verb::Reset, zone)
    }

    fn poll_event(&self) -> Option<Event> {
        self.is(Fault::EventsEndless).then_some(Event::ZoneChanged(ZoneId(0)))
    }
}

/// The reference device on a bench with power control, or without.
pub(crate) struct RamBench {
    pub(crate) device: Ram,
    pub(crate) has_power_control: bool,
}

impl Bench for RamBench {
    type Device = Ram;

    fn device(&self) -> &Ram {
        &self.device
    }

    async fn power_cycle(&mut self) -> bool {
        if self.has_power_control {
            super::ram_power::cut(&self.device);
        }
        self.has_power_control
    }
}
