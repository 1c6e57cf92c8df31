//! Nothing: what a program is without a store.
#![no_std]
#![no_main]

use semihosting::process::ExitCode;
use semihosting::{eprintln, println};

#[cortex_m_rt::entry]
fn main() -> ! {
    println!("| {} |", 1);
    eprintln!("{}: {:?}", line!(), Some(1));
    ExitCode::SUCCESS.exit_process()
}
