//! Waiting without threads: where tasks are parked, exclusive sections, and buffers that are lent.
//!
//! Everything here is for one thread. A buffer that a device request fills cannot sit in a
//! `RefCell`, because the borrow would live across an await; it is *taken* out of its slot for the
//! time of the request and put back when its guard is dropped, also when the future is dropped.
//!
//! All that wait in a store are parked in one [`Lot`], whatever they wait for. Who waits for a lock
//! or a buffer gets it in turn, or a task that gives a buffer back and takes it again at once would
//! never let another have it.
//!
//! Invariants: `W1` whoever waits is parked, or is polled again at once because the lot is full.
//! `W2` what becomes free wakes the first that waits for it, and each that is served or gives up
//! wakes the next.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::ops::{Deref, DerefMut};
use core::task::{Context, Poll, Waker};

use crate::limits::WAITERS_MAX;

/// What tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Anything of which no task is the owner: that a write has ended, or a flush.
    Progress,
    /// One of the locks.
    Jobs,
    Rolls,
    Edits,
    Commits,
    /// A buffer of one of the pools.
    Nodes,
    Values,
    Edit,
    Window,
    Spare,
    Scratch,
    Meta,
}

/// A task that waits.
struct Parked {
    what: For,
    ticket: u32,
    waker: Waker,
}

/// The tasks that wait, in the order they came.
#[derive(Default)]
pub(crate) struct Lot {
    parked: RefCell<heapless::Vec<Parked, WAITERS_MAX>>,
    next_ticket: Cell<u32>,
}

impl Lot {
    /// Wakes all that wait for this; each looks again.
    pub(crate) fn wake_all(&self, what: For) {
        for parked in self.parked.borrow().iter().filter(|parked| parked.what == what) {
            parked.waker.wake_by_ref();
        }
    }

    fn wake_first(&self, what: For) {
        if let Some(first) = self.parked.borrow().iter().find(|parked| parked.what == what) {
            first.waker.wake_by_ref();
        }
    }

    /// Waits until `ready` gives a value. It is called again after each
    /// [`wake_all`](Self::wake_all).
    pub(crate) async fn wait_for<T>(&self, what: For, ready: impl FnMut() -> Option<T>) -> T {
        self.wait(what, false, ready).await
    }

    /// The same behind all that wait for it already.
    async fn wait_in_turn<T>(&self, what: For, ready: impl FnMut() -> Option<T>) -> T {
        self.wait(what, true, ready).await
    }

    async fn wait<T>(&self, what: For, in_turn: bool, mut ready: impl FnMut() -> Option<T>) -> T {
        let mut turn = Turn { lot: self, what, in_turn, ticket: None };
        poll_fn(|context| {
            if (!in_turn || turn.is_first())
                && let Some(value) = ready()
            {
                return Poll::Ready(value);
            }
            turn.park(context);
            Poll::Pending
        })
        .await
    }
}

/// A place in the lot, given up when dropped.
struct Turn<'l> {
    lot: &'l Lot,
    what: For,
    in_turn: bool,
    ticket: Option<u32>,
}

impl Turn<'_> {
    fn is_first(&self) -> bool {
        let parked = self.lot.parked.borrow();
        let first = parked.iter().find(|parked| parked.what == self.what);
        first.is_none_or(|first| Some(first.ticket) == self.ticket)
    }

    fn park(&mut self, context: &Context<'_>) {
        let mut parked = self.lot.parked.borrow_mut();
        if let Some(ticket) = self.ticket {
            let mine = parked.iter_mut().find(|parked| parked.ticket == ticket);
            mine.expect("W1").waker.clone_from(context.waker());
            return;
        }
        let ticket = self.lot.next_ticket.get();
        let waker = context.waker().clone();
        if parked.push(Parked { what: self.what, ticket, waker }).is_ok() {
            self.lot.next_ticket.set(ticket.wrapping_add(1));
            self.ticket = Some(ticket);
        } else {
            context.waker().wake_by_ref();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        self.lot.parked.borrow_mut().retain(|parked| parked.ticket != ticket);
        if self.in_turn {
            self.lot.wake_first(self.what);
        }
    }
}

/// Lets all other tasks that can go on do so first.
pub(crate) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// An exclusive section that may span awaits.
pub(crate) struct Lock {
    held: Cell<bool>,
    what: For,
}

impl Lock {
    pub(crate) const fn new(what: For) -> Self {
        Self { held: Cell::new(false), what }
    }

    /// Waits until someone has left it: what was done in there may have been for all that wait.
    pub(crate) async fn left(&self, lot: &Lot) {
        lot.wait_for(self.what, || (!self.held.get()).then_some(())).await;
    }

    /// Enters when free, and those who came before have been in.
    pub(crate) async fn enter<'l>(&'l self, lot: &'l Lot) -> LockGuard<'l> {
        lot.wait_in_turn(self.what, || self.try_enter(lot)).await
    }

    /// Enters if free, whoever waits.
    pub(crate) fn try_enter<'l>(&'l self, lot: &'l Lot) -> Option<LockGuard<'l>> {
        // Made only if the lock was free: dropping a guard frees it.
        (!self.held.replace(true)).then(|| LockGuard { lock: self, lot })
    }
}

/// Leaves the section when dropped.
pub(crate) struct LockGuard<'l> {
    lock: &'l Lock,
    lot: &'l Lot,
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        debug_assert!(self.lock.held.get());
        self.lock.held.set(false);
        match self.lock.what {
            For::Commits => self.lot.wake_all(For::Commits),
            what => self.lot.wake_first(what),
        }
    }
}

/// Equal buffers that tasks take, use across awaits, and give back.
pub(crate) struct Pool<'m, const N: usize> {
    free: RefCell<heapless::Vec<&'m mut [u8], N>>,
    what: For,
}

impl<'m, const N: usize> Pool<'m, N> {
    /// Cuts `memory` into `count` buffers.
    pub(crate) fn new(what: For, memory: &'m mut [u8], count: usize) -> Self {
        assert!(count > 0 && count <= N);
        let len = memory.len() / count;
        let mut free = heapless::Vec::new();
        for buffer in memory.chunks_exact_mut(len.max(1)).take(count) {
            assert!(free.push(buffer).is_ok());
        }
        Self { free: RefCell::new(free), what }
    }

    /// A buffer, when one is free and those who came before have theirs.
    pub(crate) async fn take<'p>(&'p self, lot: &'p Lot) -> Lent<'p, 'm, N> {
        let buffer = lot.wait_in_turn(self.what, || self.free.borrow_mut().pop()).await;
        Lent { buffer: Some(buffer), pool: self, lot }
    }
}

/// A buffer on loan; goes back when dropped.
pub(crate) struct Lent<'p, 'm, const N: usize> {
    buffer: Option<&'m mut [u8]>,
    pool: &'p Pool<'m, N>,
    lot: &'p Lot,
}

impl<const N: usize> Deref for Lent<'_, '_, N> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or(&[])
    }
}

impl<const N: usize> DerefMut for Lent<'_, '_, N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or(&mut [])
    }
}

impl<const N: usize> Drop for Lent<'_, '_, N> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            assert!(self.pool.free.borrow_mut().push(buffer).is_ok());
            self.lot.wake_first(self.pool.what);
        }
    }
}
