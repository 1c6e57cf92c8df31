//! The smallest executor: polls one future until it is ready.
//!
//! For devices whose futures are ready at once (memory, blocking drivers) or make progress when
//! polled (a driver that looks at its completion queue). It never sleeps: a device that waits for
//! an interrupt keeps the processor busy under it and wants a real executor.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// Polls `future` until it is ready and returns its output.
///
/// # Cost
/// Spins while the future is pending. A future that only progresses when woken from elsewhere
/// never returns.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_on_pending_future_polls_until_ready() {
        let mut polls = 0;
        let output = block_on(core::future::poll_fn(|_| {
            polls += 1;
            if polls < 3 { Poll::Pending } else { Poll::Ready(polls) }
        }));
        assert_eq!(output, 3);
    }
}
