//! Turns a panic of the store (an invariant, a hang) into a finding, without the usual noise.
//! With `RUST_BACKTRACE=1` the finding says how it came to it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<String> = const { RefCell::new(String::new()) };
}

static HOOK: Once = Once::new();

/// Runs `body`; a panic in it comes back as its text and place.
pub(crate) fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if CATCHING.get() {
                let trace = Backtrace::capture();
                let captured = trace.status() == BacktraceStatus::Captured;
                let trace = if captured { format!("\n{trace}") } else { String::new() };
                CAUGHT.set(format!("panic: {info}{trace}"));
            } else {
                usual(info);
            }
        }));
    });
    let before = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(before);
    result.map_err(|_| CAUGHT.take())
}
