//! Requests in flight: what happens when each completes, and the future that waits for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use shingle_hal::ErrorKind;

use super::device::Drive;
use super::error::DriveError;
use super::journal::Mark;

/// What completing a request entails.
#[derive(Clone, Debug)]
pub(crate) enum Duty {
    /// Nothing.
    None,
    /// The journal learns that the effect on this zone completed.
    Effect(u32),
    /// The journal forgets what this covers.
    Sync(Mark),
}

/// A request in flight, or completed and not yet asked for.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What completing it entails.
    pub(crate) duty: Duty,
    /// The answer it will give.
    pub(crate) planned: Result<(), ErrorKind>,
    /// The answer it gave; `None` while in flight.
    pub(crate) answer: Option<Result<(), ErrorKind>>,
    /// It completes so much later than the time model says.
    pub(crate) extra_ns: u64,
    /// Nobody waits for it: its future was dropped.
    pub(crate) orphan: bool,
    /// Whom to wake.
    pub(crate) waker: Option<Waker>,
}

impl Entry {
    /// A request that has just been issued.
    pub(crate) const fn new(duty: Duty, planned: Result<(), ErrorKind>) -> Self {
        Self { duty, planned, answer: None, extra_ns: 0, orphan: false, waker: None }
    }

    /// The same request in a copy of the drive, where nobody waits for it.
    pub(crate) fn orphaned(&self) -> Self {
        let same = Self::new(self.duty.clone(), self.planned);
        Self { orphan: true, extra_ns: self.extra_ns, ..same }
    }
}

/// Waits for the completion of request `id`; dropping it leaves the request to take its course.
pub(crate) struct Flight<'d> {
    drive: &'d Drive,
    id: u64,
}

impl<'d> Flight<'d> {
    /// Waits for `id`, which was issued to `drive`.
    pub(crate) const fn new(drive: &'d Drive, id: u64) -> Self {
        Self { drive, id }
    }
}

impl Future for Flight<'_> {
    type Output = Result<(), DriveError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.drive.state.borrow_mut();
        let entry = state.flights.get_mut(&self.id).expect("polled after its completion");
        match entry.answer {
            Some(answer) => {
                state.flights.remove(&self.id);
                Poll::Ready(answer.map_err(DriveError::from))
            }
            None => {
                match &mut entry.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.drive.state.borrow_mut();
        if let Some(entry) = state.flights.get_mut(&self.id) {
            match entry.answer {
                Some(_) => drop(state.flights.remove(&self.id)),
                None => (entry.orphan, entry.waker) = (true, None),
            }
        }
    }
}

/// Waits until a moment of the virtual time; see [`Drive::sleep_until`].
pub(crate) struct Sleep<'d> {
    drive: &'d Drive,
    until_ns: u64,
    /// Its key among the timers, once it waits.
    timer: Option<(u64, u64)>,
}

impl<'d> Sleep<'d> {
    /// Waits until `until_ns` of `drive`'s time.
    pub(crate) const fn new(drive: &'d Drive, until_ns: u64) -> Self {
        Self { drive, until_ns, timer: None }
    }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.drive.state.borrow_mut();
        if state.now_ns >= self.until_ns {
            return Poll::Ready(());
        }
        let key = self.timer.unwrap_or_else(|| {
            state.sleepers += 1;
            (self.until_ns, state.sleepers)
        });
        state.timers.insert(key, cx.waker().clone());
        drop(state);
        self.timer = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            self.drive.state.borrow_mut().timers.remove(&key);
        }
    }
}
