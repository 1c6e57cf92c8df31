//! The `shingle` command: simulated drives and the store on them, from the shell.
//!
//! Without arguments it runs the demonstration (`demo`); otherwise one of the subcommands (`cli`).
#![forbid(unsafe_code)]
#![recursion_limit = "256"] // futures of the store over either medium, in one another

mod cli;
mod demo;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
