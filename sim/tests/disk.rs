//! The `shingle` command on files used like disks: it keeps what it was given, by either way to the
//! kernel, and refuses what is not its own.
//!
//! Invariants: `D1` no check of the contract fails. `D2` what a life that is killed said is durable
//! is there in the next, and the judge finds it if it is not. `D3` a disk of another, in use, or
//! shorter than it was, is refused in one sentence, and left alone.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::cli::{json, ok, refused};

/// A blank file `disk` of 64 MiB, used like a disk.
fn blank() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("disk")).unwrap().set_len(64 << 20).unwrap();
    dir
}

#[test]
fn store_on_a_file_used_like_a_disk_does_what_one_on_an_image_does() {
    let dir = blank();
    let dir = dir.path();
    ok(dir, &["format", "--device", "disk", "--seed", "1"]);
    fs::create_dir(dir.join("in")).unwrap();
    for number in 0..20 {
        fs::write(dir.join(format!("in/{number}")), vec![number; 7000 * usize::from(number)])
            .unwrap();
    }
    ok(dir, &["import", "--device", "disk", "in", "--prefix", "in/"]);
    ok(dir, &["put", "--device", "disk", "greeting", "hello"]);
    ok(dir, &["delete", "--device", "disk", "in/3"]);
    assert_eq!(ok(dir, &["get", "disk", "greeting", "--device"]), b"hello");
    assert_eq!(json(dir, &["check", "--device", "disk", "--json"])["sound"], true);
    assert_eq!(json(dir, &["stat", "--device", "disk", "--json"])["zone_count"], 64);
    ok(dir, &["export", "--device", "disk", "out", "--prefix", "in/"]);
    for number in (0..20).filter(|number| *number != 3) {
        let read = |folder: &str| fs::read(dir.join(format!("{folder}/{number}"))).unwrap();
        assert!(read("in") == read("out"), "{number}");
    }
    assert!(!dir.join("out/3").exists());
}

#[test]
fn disk_that_is_not_what_it_should_be_is_refused_and_left_alone() {
    let dir = blank();
    let dir = dir.path();
    let on = |verb: &'static str| [verb, "--device", "disk"];
    refused(dir, &on("stat"), 1, "holds no store");
    refused(dir, &["stat", "--device", "none"], 1, "none cannot be used");
    refused(dir, &["stat", "--device", "."], 1, "neither a plain file nor a disk");
    refused(dir, &["stat", "disk"], 1, "disk");
    refused(dir, &["format", "--device", "disk", "--media", "smr-tiny"], 2, "--media");

    // Someone else's, of a kind that is known or not.
    let known = fs::File::options().write(true).open(dir.join("disk")).unwrap();
    std::os::unix::fs::FileExt::write_at(&known, &[0x53, 0xef], 1080).unwrap();
    refused(dir, &on("format"), 1, "holds an ext2, ext3 or ext4 file system; --force");
    std::os::unix::fs::FileExt::write_at(&known, &[1, 2], 1080).unwrap();
    refused(dir, &on("format"), 1, "holds data of a kind unknown here; --force");
    let before = fs::read(dir.join("disk")).unwrap();
    assert_eq!(before[1080..1082], [1, 2], "it was left alone");
    ok(dir, &["format", "--device", "disk", "--force"]);
    ok(dir, &["put", "--device", "disk", "key", "value"]);
    refused(dir, &on("format"), 1, "holds a store; --force");
    refused(dir, &["doctor", "--device", "disk", "--faults", "read-error lba=5"], 2, "for images");

    // One that shrank says so, and has lost nothing when it is as large as before.
    known.set_len(32 << 20).unwrap();
    refused(dir, &on("stat"), 1, "geometry");
    refused(dir, &on("format"), 1, "holds a store that does not open");
    known.set_len(64 << 20).unwrap();
    assert_eq!(ok(dir, &["get", "--device", "disk", "key"]), b"value");
    assert_eq!(json(dir, &["check", "--device", "disk", "--json"])["sound"], true);

    // In use by another.
    known.lock().unwrap();
    refused(dir, &on("stat"), 1, "in use already");
}

/// Why checks are skipped on a device of conventional zones without a clock.
const LACKING: [&str; 8] = [
    "too few sequential zones",
    "no zone of less capacity than size",
    "no limit of open zones",
    "no limit of active zones",
    "no limit of open or active zones",
    "no zone is read only",
    "no zone is offline",
    "the device has no clock",
];

#[test]
fn file_keeps_the_contract() {
    let dir = blank();
    let dir = dir.path();
    let told = json(dir, &["contract", "disk", "--json"]);
    let told = told.as_array().unwrap();
    assert!(told.iter().any(|by| by["queue"] == "threads"), "threads are always there");
    for by in told {
        // As many as other conventional zones pass in the tests of `hal`.
        assert_eq!((&by["passed"], by["failed"].as_array().unwrap().len()), (&38.into(), 0));
        for check in by["skipped"].as_array().unwrap() {
            assert!(LACKING.contains(&check["why"].as_str().unwrap()), "{check}");
        }
    }
    refused(dir, &["contract", "disk"], 1, "; --force overwrites it");
    refused(dir, &["contract", "disk", "--force", "--least", "39"], 1, "38 checks passed by");
    refused(dir, &["contract", "none"], 1, "none cannot be used");
}

/// A life on `disk` that is killed when it has said `durable` so often; gives what it said.
fn life(dir: &Path, threads: bool, durable: usize) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shingle"));
    command.current_dir(dir).args(["soak", "disk", "--force"]);
    if threads {
        command.arg("--threads");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    let mut left = durable;
    while left > 0 {
        let line = lines.next().expect("it goes on until it is killed");
        left -= usize::from(line.starts_with("durable"));
        said.push(line);
    }
    child.kill().unwrap();
    // What was on its way when it was killed counts, but for a line that is cut.
    said.extend(lines.filter(|line| line.split(' ').count() == 2));
    child.wait().unwrap();
    said.join("\n") + "\n"
}

#[test]
fn lives_that_are_killed_keep_what_was_durable_and_the_judge_finds_what_is_not() {
    let dir = blank();
    let dir = dir.path();
    refused(dir, &["soak", "disk"], 1, "holds no store; --force makes one");
    let mut log = String::new();
    for (threads, durable) in [(true, 40), (false, 25), (true, 3), (false, 30)] {
        log += &life(dir, threads, durable);
    }
    log += &String::from_utf8(ok(dir, &["soak", "disk", "--seconds", "0"])).unwrap();
    assert_eq!(json(dir, &["check", "--device", "disk", "--json"])["sound"], true);
    let judge = |log: &str| {
        fs::write(dir.join("log"), log).unwrap();
        ["judge", "log", "--least", "5"]
    };
    let told = String::from_utf8(ok(dir, &judge(&log))).unwrap();
    assert!(told.starts_with("5 lives, ") && !told.contains(" 0 operations"), "{told}");

    // The last life finds a key no more; finds what it held before; or there are too few of them.
    let last = log.rfind("life").unwrap();
    let at = last + log[last..].find("have").unwrap();
    let line = log[at..].lines().next().unwrap();
    let without = log[..at].to_owned() + &log[at + line.len() + 1..];
    refused(dir, &judge(&without), 1, "it was durable");
    let (key, number) = line.rsplit_once(' ').unwrap();
    let older = number.parse::<u64>().unwrap() - 1;
    refused(dir, &judge(&log.replacen(line, &format!("{key} {older}"), 9)), 1, "it was durable");
    refused(dir, &judge(&log[..last]), 1, "4 lives told what they found, of at least 5");
    refused(dir, &["judge", "none"], 1, "none");
}
