//! The `shingle` command: simulated drives and the store on them, from the shell.
//!
//! Without arguments it runs the demonstration (`demo`); otherwise one of the subcommands (`cli`),
//! of which the one that soaks a disk, and its judge, have a folder of their own (`soak`).
#![forbid(unsafe_code)]
#![recursion_limit = "256"] // futures of the store over either medium, in one another

mod cli;
mod demo;
mod report;
mod soak;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
