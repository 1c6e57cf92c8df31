//! Instructions of the processor an operation, as valgrind's callgrind counts them: those of all
//! threads of the process, none of the kernel's.
//!
//! A store lives its life in a process of its own under callgrind, which writes down what was
//! counted whenever `mark` was called. So does a [store that does nothing](Nothing): what a life
//! takes beside the store, to make keys and values, is taken off.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::wall::{Case, Job, Kind};
use crate::goal::shown;
use crate::load::{self, KEY_LEN, Random};
use crate::report::Section;
use crate::subject::{Reading, Subject};

/// Steps of a life, as a table names them; each ends with a [`mark`].
const STEPS: [&str; 6] = ["load", "overwrite", "get hit", "get miss", "scan", "scan reverse"];
/// What [`mark`] is called for callgrind, whatever the compiler makes of its name.
const MARK: &str = "*instructions*mark*";

/// Ends a step: callgrind writes down what it counted since the one before.
#[inline(never)]
fn mark() {
    std::hint::black_box(());
}

/// Lives a life on `subject`, which is empty, with a mark before and behind each step. What comes
/// back is not compared: that would be counted.
///
/// # Panics
/// If the store fails, or lacks a key.
pub fn live(subject: &mut dyn Subject, job: &Job) {
    mark();
    for version in 1..=2 {
        put_all(subject, job, version);
        mark();
    }
    let (mut random, mut got) = (Random::new(7), Vec::new());
    for is_there in [true, false] {
        for _ in 0..job.gets {
            let index = random.below(job.keys) + if is_there { 0 } else { job.keys };
            let found = subject.get(&load::key(index), &mut got);
            assert!(found == is_there || subject.name() == Nothing::NAME, "key {index}");
        }
        mark();
    }
    for is_reverse in [false, true] {
        let from = if is_reverse { [0xff; KEY_LEN] } else { [0; KEY_LEN] };
        // A store that only lends its bytes has not brought them yet.
        let mut copy = vec![0; job.value_len];
        let found = subject.scan(&from, is_reverse, job.keys as usize, &mut |_, value| {
            copy.copy_from_slice(value);
            std::hint::black_box(&mut copy);
        });
        assert_eq!(found, Some(job.keys as usize), "{}", subject.name());
        mark();
    }
}

/// Puts all keys, and waits until the work in the background is done.
fn put_all(subject: &mut dyn Subject, job: &Job, version: u32) {
    let mut order: Vec<u64> = (0..job.keys).collect();
    Random::new(u64::from(version)).shuffle(&mut order);
    load::batches(&order, job.batch_len, job.value_len, version, |pairs| subject.put_batch(pairs));
    subject.sync();
    subject.settle();
}

/// A store that does nothing and has everything.
pub struct Nothing;

impl Nothing {
    /// What it is called.
    pub const NAME: &'static str = "nothing";
}

impl Subject for Nothing {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn put(&mut self, _: &[u8], _: &[u8]) {}

    fn put_batch(&mut self, _: &[(&[u8], &[u8])]) {}

    fn delete(&mut self, _: &[u8]) {}

    fn sync(&mut self) {}

    fn get(&mut self, _: &[u8], _: &mut Vec<u8>) -> bool {
        true
    }

    fn scan(
        &mut self,
        _: &[u8],
        _: bool,
        count: usize,
        _: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Option<usize> {
        Some(count)
    }

    fn reading(&self) -> Reading {
        Reading::default()
    }
}

/// Instructions of each step of a life that `life` is the program of, under callgrind, which keeps
/// its files in `folder`.
///
/// # Errors
/// What is wrong, in a sentence: there is no valgrind, the life failed, or its marks were not seen.
pub fn count(life: &mut Command, folder: &Path) -> Result<[u64; STEPS.len()], String> {
    let out = folder.join("counted");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--dump-after={MARK}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(life.get_program())
        .args(life.get_args())
        // An instruction that copies bytes by itself is counted once for each byte.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM");
    let status = valgrind.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no valgrind on this machine".to_owned(),
        _ => format!("cannot run valgrind: {error}"),
    })?;
    if !status.success() {
        return Err(format!("a life under valgrind ended with {status}"));
    }
    let mut steps = [0; STEPS.len()];
    for (step, instructions) in steps.iter_mut().enumerate() {
        // The first is what comes before the first step.
        let path = folder.join(format!("counted.{}", step + 2));
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("callgrind saw no end of {}: {error}", STEPS[step]))?;
        let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
        *instructions = total
            .and_then(|total| total.trim().parse().ok())
            .ok_or_else(|| format!("{} has no total", path.display()))?;
    }
    Ok(steps)
}

/// The section of a case: what each store's steps took, and those of [`Nothing`].
#[must_use]
pub fn section(
    case: &Case,
    nothing: &[u64; STEPS.len()],
    lives: &[(Kind, [u64; STEPS.len()])],
) -> Section {
    let job = &case.job;
    let about = format!(
        "{} keys of 16 B, values of {} B, {} puts a batch, {} gets. Thousands of instructions an \
         operation; those of `nothing` are the work's own, and not in the others.",
        job.keys, job.value_len, job.batch_len, job.gets,
    );
    let ops = [job.keys, job.keys, job.gets, job.gets, job.keys, job.keys];
    let mut text = format!("| | {} |\n|---|---|---|---|---|---|---|\n", STEPS.join(" | "));
    let mut row = |name: &str, steps: [f64; STEPS.len()]| {
        let mut cells = Vec::new();
        for (instructions, ops) in steps.iter().zip(ops) {
            cells.push(shown(instructions / ops as f64 / 1e3));
        }
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    };
    for (kind, steps) in lives {
        let mut own = [0.0; STEPS.len()];
        for (own, (all, nothing)) in own.iter_mut().zip(steps.iter().zip(nothing)) {
            *own = *all as f64 - *nothing as f64;
        }
        row(kind.name(), own);
    }
    row(Nothing::NAME, nothing.map(|instructions| instructions as f64));
    let mut section = Section::new(case.name(), about);
    section.notes.push(text);
    section
}
