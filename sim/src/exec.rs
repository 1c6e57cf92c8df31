//! Runs futures in a drive's virtual time: one at a time, or many tasks side by side.
//!
//! Nothing here waits for the wall clock. When no task can go on, the drive is asked to complete
//! its next request; when nothing is in flight either, the tasks wait for something that will
//! never come, and that is a bug worth a panic: a hang. Tasks that wake each other without end, as
//! more of them do than can wait for one thing, do not stop the clock.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::drive::Drive;

/// Remembers that it was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drive {
    /// Drives `future` to its end, completing requests of this drive while it waits.
    ///
    /// # Panics
    /// If the future waits while nothing is in flight.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(flag.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return value;
            }
            while !flag.0.swap(false, Ordering::Relaxed) {
                assert!(self.advance(), "hang: the future waits and no request is in flight");
            }
        }
    }
}

/// A task of an [`Executor`].
pub type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The tasks that were woken, in order, each once.
#[derive(Default)]
struct Ready(Mutex<VecDeque<usize>>);

impl Ready {
    fn push(&self, task: usize) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.contains(&task) {
            queue.push_back(task);
        }
    }

    fn pop(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Wakes one task.
struct Bell {
    ready: Arc<Ready>,
    task: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.task);
    }
}

/// Runs tasks side by side on one thread: those that were woken, in the order in which they were.
/// The same tasks on the same drive run in the same order every time.
pub struct Executor<'a> {
    drive: &'a Drive,
    tasks: RefCell<Vec<Option<Task<'a>>>>,
    ready: Arc<Ready>,
}

impl<'a> Executor<'a> {
    /// An executor without tasks, in the time of `drive`.
    #[must_use]
    pub fn new(drive: &'a Drive) -> Self {
        Self { drive, tasks: RefCell::default(), ready: Arc::default() }
    }

    /// Adds a task; it is first polled when the executor next runs.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'a) {
        let mut tasks = self.tasks.borrow_mut();
        self.ready.push(tasks.len());
        tasks.push(Some(Box::pin(task)));
    }

    /// Runs until every task is done.
    ///
    /// # Panics
    /// If tasks wait while nothing is in flight.
    pub fn run(&self) {
        let mut turns = 0;
        loop {
            if self.turn() {
                self.count_turn(&mut turns);
                continue;
            }
            turns = 0;
            let waiting = self.waiting_count();
            if waiting == 0 {
                return;
            }
            self.advance(waiting);
        }
    }

    /// Runs until `main` is done; the tasks run beside it, and those that are not done then stay
    /// for the next run.
    ///
    /// # Panics
    /// If `main` and all tasks wait while nothing is in flight.
    pub fn run_until<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        let mut cx = Context::from_waker(&waker);
        let mut turns = 0;
        loop {
            if flag.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(value) = main.as_mut().poll(&mut cx)
            {
                return value;
            }
            if self.turn() {
                self.count_turn(&mut turns);
            } else if !flag.0.load(Ordering::Relaxed) {
                turns = 0;
                self.advance(self.waiting_count() + 1);
            }
        }
    }

    /// How many tasks are not done.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.tasks.borrow().iter().flatten().count()
    }

    /// Lets time pass if tasks took so many turns without it that they only wake each other.
    fn count_turn(&self, turns: &mut usize) {
        /// Far more than a task that gets on takes.
        const TURNS_PER_TASK: usize = 64;
        *turns += 1;
        if *turns > TURNS_PER_TASK * (self.tasks.borrow().len() + 1) {
            *turns = 0;
            self.drive.advance();
        }
    }

    fn advance(&self, waiting: usize) {
        let advanced = self.drive.advance();
        assert!(advanced, "hang: {waiting} tasks wait and no request is in flight");
    }

    /// Polls one task that was woken; `false` if there is none.
    fn turn(&self) -> bool {
        let Some(number) = self.ready.pop() else {
            return false;
        };
        // Taken out while it runs, so that it may spawn others.
        let Some(mut task) = self.tasks.borrow_mut()[number].take() else {
            return true;
        };
        let ready = self.ready.clone();
        let waker = Waker::from(Arc::new(Bell { ready, task: number }));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.borrow_mut()[number] = Some(task);
        }
        true
    }
}
