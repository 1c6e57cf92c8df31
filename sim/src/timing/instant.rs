//! No time at all: every request completes at the instant it was submitted, in that order.
//!
//! For tests of logic alone, where a time model would only cost time.

use std::collections::VecDeque;

use super::{Timing, Work};

/// The model without delays.
#[derive(Clone, Debug, Default)]
pub struct Instant {
    queue: VecDeque<(u64, u64)>,
}

impl Timing for Instant {
    fn submit(&mut self, now_ns: u64, work: Work) {
        self.queue.push_back((work.id, now_ns));
    }

    fn next_completion(&mut self) -> Option<(u64, u64)> {
        self.queue.pop_front()
    }

    fn power_cut(&mut self, _now_ns: u64) {
        self.queue.clear();
    }

    fn boxed_clone(&self) -> Box<dyn Timing> {
        Box::new(self.clone())
    }
}
