//! Serves the image `drive.image` as `task` says, and keeps a journal of what it did; the host
//! (`sim/tests/boards`) stops it, and judges what it left.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;
#[cfg(all(target_os = "none", feature = "log"))]
mod log;
#[cfg(target_os = "none")]
mod stack;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this runs on a board alone: see `.ci/boards`");
}
