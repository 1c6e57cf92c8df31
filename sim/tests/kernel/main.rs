//! What runs in the virtual machine, under a kernel that has zoned disks, and what judges it.
//!
//! ```text
//! kernel contract DEVICE PASSED      every check of the contract; at least PASSED pass, none fails
//! kernel live DEVICE SECONDS         a life of a store, which ends with the machine or in time
//! kernel judge LOG LIVES             whether what at least LIVES lives said holds together
//! ```
//!
//! The script `run` beside this file makes the machine.

mod contract;
mod judge;
mod live;
mod script;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["contract", path, passed] => {
            count(passed).and_then(|passed| contract::run(Path::new(path), passed as usize))
        }
        ["live", path, seconds] => {
            let time = count(seconds).map(Duration::from_secs);
            time.and_then(|time| live::run(Path::new(path), time))
        }
        ["judge", log, lives] => count(lives).and_then(|lives| judge::run(Path::new(log), lives)),
        _ => Err("usage: kernel contract DEVICE PASSED | live DEVICE SECONDS | judge LOG LIVES"
            .to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kernel: {why}");
            ExitCode::FAILURE
        }
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}
