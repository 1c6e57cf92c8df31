//! The engine on a drive controller's core, without an operating system and without a heap.
//!
//! A board under QEMU opens a drive image that `shingle format` made on the host, through
//! semihosting, and serves a mix of operations that a number decides. It is stopped at any moment;
//! the host opens the same image and compares it with what the board acknowledged, and the board
//! goes on with what the host left.
//!
//! - `image`: the drive image as a device. `script`: the operations, by number.
//! - `app`: opens the store, compares it with the script, goes on with the script.
//!
//! All of it is `no_std`, and part of what judges it on the host, and of the tests there, too.
#![no_std]

pub mod app;
pub mod image;
pub mod script;
