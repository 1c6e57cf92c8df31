//! The command line: what can be asked, and where each answer is.
//!
//! | file | part |
//! |---|---|
//! | [`args`] | the subcommands and their options |
//! | [`size`] | byte counts as people write them |
//! | [`failure`] | one sentence and an exit code for everything that can go wrong |
//! | [`output`] | standard output, whose reader may go away |
//! | [`key`] | keys as text |
//! | [`session`] | an image or a disk and the store on it, for the time of one command |
//! | [`medium`], [`disk`] | the image or disk |
//! | [`mod@format`], [`check`], [`inspect`] | subcommands on a store as a whole |
//! | [`care`], [`finding`] | scrub and what it found, evacuation, the doctor |
//! | [`values`], [`listing`], [`tree`] | on keys and values |
//! | [`media`], [`torture`], [`fuzz`] | without an image |
//! | `contract` | on a disk that is not there for a store |
//! | [`range`], [`scan`] | walking keys in order |

mod args;
mod care;
mod check;
#[cfg(target_os = "linux")]
mod contract;
#[cfg(target_os = "linux")]
mod disk;
mod failure;
mod faulted;
mod finding;
mod format;
mod fuzz;
mod inspect;
mod key;
mod listing;
mod media;
mod medium;
mod output;
mod range;
mod scan;
mod session;
mod size;
mod torture;
mod tree;
mod values;

use std::process::ExitCode;

use clap::Parser;

pub(crate) use failure::Failure;
pub(crate) use medium::{Medium, MediumError};
pub(crate) use output::{Output, output_failed};
pub(crate) use session::{Shop, allocate, memory_len};
pub(crate) use tree::metadata_bytes;

#[cfg(target_os = "linux")]
pub(crate) use args::SoakArgs;
pub(crate) use args::{DemoArgs, JudgeArgs};

use args::{Cli, Command};

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure; the rest is.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let command = cli.command.unwrap_or_else(|| Command::Demo(Box::default()));
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => crate::demo::run(&args),
        Command::Format(args) => format::run(&args),
        Command::Put(args) => values::put(&args),
        Command::Get(args) => values::get(&args),
        Command::Delete(args) => values::delete(&args),
        Command::Scan(args) => listing::run(&args),
        Command::Import(args) => tree::import(&args),
        Command::Export(args) => tree::export(&args),
        Command::Stat(args) => inspect::stat(&args),
        Command::Zones(args) => inspect::zones(&args),
        Command::Check(args) => check::run(&args),
        Command::Scrub(args) => care::scrub(&args),
        Command::Doctor(args) => care::doctor(&args),
        Command::Evacuate(args) => care::evacuate(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Media(args) => media::run(&args),
        #[cfg(target_os = "linux")]
        Command::Contract(args) => contract::run(&args),
        #[cfg(target_os = "linux")]
        Command::Soak(args) => crate::soak::life::run(&args),
        Command::Judge(args) => crate::soak::judge::run(&args),
    }
}
