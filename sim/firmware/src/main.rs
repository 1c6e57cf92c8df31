//! On a board: serves the image `drive.image` as `task` says, and keeps a journal of what it did.
//! On the host: runs boards, stops them, and judges what they left.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board;
#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
mod program;
#[cfg(target_os = "none")]
mod stack;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    host::main()
}
