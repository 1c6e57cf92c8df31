//! The device contract as runnable checks.
