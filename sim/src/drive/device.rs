//! The drive as its users see it: the device contract, and the handles of a harness.

use std::cell::RefCell;
use std::fmt;

use shingle_hal::{
    Device, ErrorKind, Event, Extent, Geometry, Lba, Request, ZoneCondition, ZoneDescriptor, ZoneId,
};

use super::error::DriveError;
use super::flight::{Flight, Sleep};
use super::power::Outcome;
use super::state::{Issued, Refused, State};
use super::stats::{LABELS_MAX, Stats};
use crate::fault::{FaultCounts, FaultHit, FaultPlan, FaultTally};
use crate::media::MediaSpec;
use crate::timing::Timing;

/// A simulated drive. See the [module](super).
pub struct Drive {
    pub(crate) state: RefCell<State>,
}

impl Drive {
    /// A new drive of model `spec`. `seed` decides what the drive does at random, which is only
    /// the bytes of torn blocks, and enters the trace hash.
    ///
    /// # Panics
    /// If `spec` makes no sense: no capacity, a block that is no power of two.
    #[must_use]
    pub fn new(spec: MediaSpec, seed: u64) -> Self {
        let state = RefCell::new(State::new(spec, seed));
        Self { state }
    }

    /// A new drive with a time model of the caller's instead of the one that `spec` names.
    #[must_use]
    pub fn with_timing(spec: MediaSpec, seed: u64, timing: Box<dyn Timing>) -> Self {
        let drive = Self::new(spec, seed);
        drive.state.borrow_mut().timing = timing;
        drive
    }

    /// A copy that goes its own way. Contents are shared until one of the two overwrites them.
    /// What is in flight takes its course in the copy too, but nobody waits for it there.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = RefCell::new(self.state.borrow().fork());
        Self { state }
    }

    /// The model of this drive.
    #[must_use]
    pub fn spec(&self) -> MediaSpec {
        (*self.state.borrow().spec).clone()
    }

    /// Completes the next request in flight, or ends the next sleep, and moves the clock there;
    /// `false` when nothing is in flight and nobody sleeps.
    pub fn advance(&self) -> bool {
        let waker = self.state.borrow_mut().advance();
        let Some(waker) = waker else { return false };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// The virtual time.
    ///
    /// # Units
    /// Nanoseconds since the drive was made.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns
    }

    /// Waits until the virtual time is `until_ns`: for load that comes at its own pace.
    ///
    /// A time model that serves several requests at once may complete one that is submitted in
    /// between a little late, with the one that was to complete next when the sleep ended.
    pub async fn sleep_until(&self, until_ns: u64) {
        Sleep::new(self, until_ns).await;
    }

    /// Switches the volatile write cache: without it, what completed is durable, as on NOR flash,
    /// where it is off to begin with.
    pub fn set_write_cache(&self, on: bool) {
        self.state.borrow_mut().write_cache = on;
    }

    /// Arms a power cut: of the requests from now on, reports not counted, power fails at the
    /// `requests`-th. That one and all others in flight end with
    /// [`NotReady`](ErrorKind::NotReady) and may have taken effect like any unsynced request. With
    /// 0 power fails at once.
    pub fn cut_after(&self, requests: u64) {
        if requests > 0 {
            let mut state = self.state.borrow_mut();
            state.armed = Some(requests);
            state.armed_changes = false;
            return;
        }
        let wakers = self.state.borrow_mut().fail_power();
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// Arms a power cut as [`cut_after`](Self::cut_after) does, at the `changes`-th request that is
    /// no read: what a cut between reads leaves is the same whichever read it meets.
    pub fn cut_after_changes(&self, changes: u64) {
        self.cut_after(changes);
        self.state.borrow_mut().armed_changes = true;
    }

    /// Disarms [`cut_after`](Self::cut_after), if power has not failed yet.
    pub fn disarm(&self) {
        self.state.borrow_mut().armed = None;
    }

    /// Requests so far, as [`cut_after`](Self::cut_after) counts them.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.state.borrow().requests
    }

    /// Whether power failed and has not returned.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.borrow().cut
    }

    /// How many combinations of unsynced effects [`Outcome::Enumerated`] knows now, at most `cap`.
    #[must_use]
    pub fn outcome_count(&self, cap: u64) -> u64 {
        self.state.borrow().outcome_count(cap)
    }

    /// Power returns, with `outcome` for what was not synced. What can be read then is durable.
    ///
    /// # Panics
    /// If power was not cut.
    pub fn power_on(&self, outcome: Outcome) {
        self.state.borrow_mut().power_on(outcome);
    }

    /// The drive takes a zone out of use and says so in an event: `condition` is read only or
    /// offline.
    ///
    /// # Panics
    /// If it is neither.
    pub fn take_out_zone(&self, zone: ZoneId, condition: ZoneCondition) {
        let mut state = self.state.borrow_mut();
        state.zones.take_out(zone.0, condition);
        state.journal.lines.remove(&zone.0);
        state.journal.patches.remove(&zone.0);
        state.events.push_back(Event::ZoneChanged(zone));
    }

    /// Lets `event` come out of [`poll_event`](Device::poll_event).
    pub fn push_event(&self, event: Event) {
        self.state.borrow_mut().events.push_back(event);
    }

    /// From now on `plan` is in force instead of any before it, whose faults are lifted; `seed`
    /// decides what it leaves to chance. Counts and hits begin anew. A copy of the drive copies
    /// what the plan did so far; an image keeps none of it. See [`fault`](crate::fault).
    ///
    /// # Panics
    /// If a rule of the plan makes no sense.
    pub fn set_faults(&self, plan: &FaultPlan, seed: u64) {
        self.state.borrow_mut().set_faults(plan, seed);
    }

    /// Ends the plan and shows the pristine medium again; zones and capacities come back as they
    /// were, with an event for each.
    pub fn lift_faults(&self) {
        self.state.borrow_mut().lift_faults();
    }

    /// How often each kind of fault struck since the plan was set; it may be lifted by now.
    #[must_use]
    pub fn fault_counts(&self) -> FaultCounts {
        self.fault_tally().injected
    }

    /// What became of them.
    #[must_use]
    pub fn fault_tally(&self) -> FaultTally {
        self.state.borrow().struck.ledger.tally()
    }

    /// The store named `extent` as damaged: whether a fault is to blame, which is noted as one that
    /// lost something.
    pub fn blame_fault(&self, extent: Extent) -> bool {
        let state = &mut *self.state.borrow_mut();
        let zone = state.geometry.zone_of(extent.start).0;
        state.struck.ledger.blame(extent, zone)
    }

    /// From now on the drive notes which faults are met, for
    /// [`blame_faults_met`](Self::blame_faults_met).
    pub fn watch_faults(&self) {
        self.state.borrow_mut().struck.ledger.watch();
    }

    /// The store reports a loss by what was met since, in one of the zones of which `is_there`
    /// says so.
    pub fn blame_faults_met(&self, is_there: impl Fn(ZoneId) -> bool) {
        let state = &mut *self.state.borrow_mut();
        let geometry = state.geometry;
        state.struck.ledger.blame_watched(|lba| is_there(geometry.zone_of(Lba(lba))));
    }

    /// What was hit, and where, since the last such call; repetitions of what sticks are left out.
    #[must_use]
    pub fn take_fault_hits(&self) -> Vec<FaultHit> {
        std::mem::take(&mut self.state.borrow_mut().struck.hits)
    }

    /// Counts what is asked of `zone` under `label` from now on.
    ///
    /// # Panics
    /// If `label` is not below [`LABELS_MAX`].
    pub fn label_zone(&self, zone: ZoneId, label: u8) {
        assert!(usize::from(label) < LABELS_MAX, "label {label}");
        self.state.borrow_mut().labels.insert(zone.0, label);
    }

    /// What the drive was asked to do.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.state.borrow().stats
    }

    /// Starts counting anew.
    pub fn reset_stats(&self) {
        self.state.borrow_mut().stats = Stats::default();
    }

    /// A hash over every request, its data, its answer and its time so far: equal runs have equal
    /// hashes.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state.borrow().trace.value()
    }

    /// Panics if the drive's own bookkeeping is broken.
    pub fn check_invariants(&self) {
        self.state.borrow().zones.check_invariants();
    }

    /// The number of a request that was issued, or why it was not.
    fn admit(&self, issue: impl FnOnce(&mut State) -> Issued) -> Result<u64, DriveError> {
        let issued = issue(&mut self.state.borrow_mut());
        issued.map_err(|refused| self.refuse(refused))
    }

    fn refuse(&self, refused: Refused) -> DriveError {
        match refused {
            Refused::Kind(kind) => kind.into(),
            Refused::Cut(wakers) => {
                wakers.into_iter().for_each(std::task::Waker::wake);
                ErrorKind::NotReady.into()
            }
        }
    }
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Drive")
            .field("model", &state.spec.name)
            .field("now_ns", &state.now_ns)
            .field("requests", &state.requests)
            .field("in_flight", &state.flights.len())
            .field("cut", &state.cut)
            .finish_non_exhaustive()
    }
}

impl Device for Drive {
    type Error = DriveError;

    fn geometry(&self) -> Geometry {
        self.state.borrow().geometry
    }

    fn now_us(&self) -> Option<u64> {
        Some(self.now_ns() / 1000)
    }

    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), DriveError> {
        let id = self.admit(|state| state.read(start, buf, request))?;
        Flight::new(self, id).await
    }

    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), DriveError> {
        let id = self.admit(|state| state.write(start, data, request.class))?;
        Flight::new(self, id).await
    }

    async fn sync(&self) -> Result<(), DriveError> {
        let id = self.admit(State::sync)?;
        Flight::new(self, id).await
    }

    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, DriveError> {
        let issued = self.state.borrow_mut().report(first, out);
        let (id, count) = issued.map_err(|refused| self.refuse(refused))?;
        Flight::new(self, id).await?;
        Ok(count)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), DriveError> {
        let id = self.admit(|state| state.switch(zone, true))?;
        Flight::new(self, id).await
    }

    async fn close(&self, zone: ZoneId) -> Result<(), DriveError> {
        let id = self.admit(|state| state.switch(zone, false))?;
        Flight::new(self, id).await
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), DriveError> {
        let id = self.admit(|state| state.finish(zone))?;
        Flight::new(self, id).await
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), DriveError> {
        let id = self.admit(|state| state.reset(zone))?;
        Flight::new(self, id).await
    }

    fn poll_event(&self) -> Option<Event> {
        let state = &mut *self.state.borrow_mut();
        let event = state.events.pop_front();
        if let Some(Event::ZoneChanged(zone)) = event {
            state.struck.ledger.see(zone.0, state.geometry.zone_start(zone).0);
        }
        event
    }
}
