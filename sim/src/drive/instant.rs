//! The time model in which every request completes at the moment of its submission, in order of
//! submission, but never before the drive is advanced: tests of logic still see concurrency.

use std::collections::VecDeque;

use crate::timing::{Timing, TimingSpec, Work};

/// The time model that `spec` describes.
pub(crate) fn model(spec: &TimingSpec) -> Box<dyn Timing> {
    match spec {
        TimingSpec::Instant => Box::new(Instant::default()),
    }
}

/// A queue that completes its head at once.
#[derive(Clone, Debug, Default)]
struct Instant {
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
