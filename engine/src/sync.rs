//! Waiting without threads: wake-up lists, an exclusive section, and buffers that are lent.
//!
//! Everything here is for one thread. A buffer that a device request fills cannot sit in a
//! `RefCell`, because the borrow would live across an await; it is *taken* out of its slot for the
//! time of the request and put back when its guard is dropped, also when the future is dropped.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::ops::{Deref, DerefMut};
use core::task::{Poll, Waker};

use crate::limits::WAITERS_MAX;

/// Tasks that wait for something to change.
#[derive(Default)]
pub(crate) struct Signal {
    waiters: RefCell<heapless::Vec<Waker, WAITERS_MAX>>,
}

impl Signal {
    /// Wakes all that wait; each looks again.
    pub(crate) fn notify(&self) {
        let waiters = core::mem::take(&mut *self.waiters.borrow_mut());
        for waker in waiters {
            waker.wake();
        }
    }

    /// Waits until `ready` gives a value. It is called again after each [`notify`](Self::notify).
    pub(crate) async fn wait_for<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| {
            if let Some(value) = ready() {
                return Poll::Ready(value);
            }
            self.register(context.waker());
            Poll::Pending
        })
        .await
    }

    fn register(&self, waker: &Waker) {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.iter().any(|known| known.will_wake(waker)) {
            return;
        }
        if let Err(waker) = waiters.push(waker.clone()) {
            // No place: all look again at once, and whoever still has to wait registers anew.
            let woken = core::mem::take(&mut *waiters);
            drop(waiters);
            for early in woken {
                early.wake();
            }
            waker.wake();
        }
    }
}

/// The future, if there is one; else it went well.
pub(crate) async fn maybe<E>(future: Option<impl Future<Output = Result<(), E>>>) -> Result<(), E> {
    match future {
        Some(future) => future.await,
        None => Ok(()),
    }
}

/// An exclusive section that may span awaits. Not fair.
#[derive(Default)]
pub(crate) struct Lock {
    held: Cell<bool>,
    signal: Signal,
}

impl Lock {
    /// Enters when free.
    pub(crate) async fn enter(&self) -> LockGuard<'_> {
        self.signal.wait_for(|| self.try_enter()).await
    }

    /// Enters if free.
    pub(crate) fn try_enter(&self) -> Option<LockGuard<'_>> {
        // Made only if the lock was free: dropping a guard frees it.
        (!self.held.replace(true)).then(|| LockGuard { lock: self })
    }
}

/// Leaves the section when dropped.
pub(crate) struct LockGuard<'a> {
    lock: &'a Lock,
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        debug_assert!(self.lock.held.get());
        self.lock.held.set(false);
        self.lock.signal.notify();
    }
}

/// Equal buffers that tasks take, use across awaits, and give back.
pub(crate) struct Pool<'m, const N: usize> {
    free: RefCell<heapless::Vec<&'m mut [u8], N>>,
    signal: Signal,
}

impl<'m, const N: usize> Pool<'m, N> {
    /// Cuts `memory` into `count` buffers.
    pub(crate) fn new(memory: &'m mut [u8], count: usize) -> Self {
        assert!(count > 0 && count <= N);
        let len = memory.len() / count;
        let mut free = heapless::Vec::new();
        for buffer in memory.chunks_exact_mut(len.max(1)).take(count) {
            assert!(free.push(buffer).is_ok());
        }
        Self { free: RefCell::new(free), signal: Signal::default() }
    }

    /// A buffer, when one is free.
    pub(crate) async fn take(&self) -> Lent<'_, 'm, N> {
        let buffer = self.signal.wait_for(|| self.free.borrow_mut().pop()).await;
        Lent { buffer: Some(buffer), pool: self }
    }
}

/// A buffer on loan; goes back when dropped.
pub(crate) struct Lent<'p, 'm, const N: usize> {
    buffer: Option<&'m mut [u8]>,
    pool: &'p Pool<'m, N>,
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
            self.pool.signal.notify();
        }
    }
}
