//! Says which board a target stands for, and puts its memory map where the linker finds it.

use std::path::PathBuf;
use std::{env, fs};

/// Targets and their boards.
const BOARDS: [(&str, &str); 4] = [
    ("thumbv7em-none-eabihf", "an500"),
    ("armv8r-none-eabihf", "an536"),
    ("armv7r-none-eabihf", "versatile"),
    ("riscv32imac-unknown-none-elf", "virt"),
];

fn main() {
    println!("cargo::rerun-if-changed=boards");
    let values = BOARDS.map(|(_, board)| format!("\"{board}\"")).join(", ");
    println!("cargo::rustc-check-cfg=cfg(board, values({values}))");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    if let Some((_, board)) = BOARDS.iter().find(|(name, _)| *name == target) {
        println!("cargo::rustc-cfg=board=\"{board}\"");
        fs::copy(format!("boards/{board}.x"), out.join("memory.x")).expect("a memory map");
        println!("cargo::rustc-link-search={}", out.display());
        if env::var_os("CARGO_FEATURE_LOG").is_some() {
            println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
        }
    }
}
