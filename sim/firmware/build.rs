//! Puts the board's memory map where the linker finds it.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        fs::copy("memory.x", out.join("memory.x")).expect("a copy of memory.x");
        println!("cargo::rustc-link-search={}", out.display());
    }
    println!("cargo::rerun-if-changed=memory.x");
}
