//! Runs the experiments and writes the report.
//!
//! ```text
//! cargo bench -p shingle-benches                     all of it, into target/report
//! cargo bench -p shingle-benches -- --quick          a minute's worth, to see that it runs
//! cargo bench -p shingle-benches -- --only large     one experiment
//! ```
//!
//! Everything here is in virtual time: the figures are the same on every machine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use shingle_benches::experiment::{
    Scale, deletes, depth, growth, large, nor, small, urgent, writers, ycsb,
};
use shingle_benches::goal::Goal;
use shingle_benches::report::{Report, Section};

/// Holds the engine against others on simulated drives, and writes what came of it.
#[derive(Parser)]
struct Args {
    /// Little of everything, in about a minute.
    #[arg(long)]
    quick: bool,
    /// These experiments alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Experiment>,
    /// The folder for the report.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/report"))]
    out: PathBuf,
    /// What `cargo bench` adds; of no use here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Experiment {
    /// Values of 1 MiB on a shingled disk.
    Large,
    /// Values of 100 B on a shingled disk.
    Small,
    /// Gets at several depths.
    Depth,
    /// Urgent gets beside overwriting.
    Urgent,
    /// Durable puts by several writers.
    Writers,
    /// Ranges among deleted keys.
    Deletes,
    /// Gets, puts, inserts and ranges, mixed.
    Ycsb,
    /// Ten and a hundred times as much.
    Growth,
    /// NOR flash.
    Nor,
}

impl Experiment {
    fn run(self, scale: Scale) -> (Section, Vec<Goal>) {
        match self {
            Self::Large => large::run(scale),
            Self::Small => small::run(scale),
            Self::Depth => depth::run(scale),
            Self::Urgent => urgent::run(scale),
            Self::Writers => writers::run(scale),
            Self::Deletes => deletes::run(scale),
            Self::Ycsb => ycsb::run(scale),
            Self::Growth => growth::run(scale),
            Self::Nor => nor::run(scale),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let scale = if args.quick { Scale::Quick } else { Scale::Full };
    let began = Instant::now();
    let mut report = Report::default();
    for &experiment in Experiment::value_variants() {
        if args.only.is_empty() || args.only.contains(&experiment) {
            let (section, goals) = experiment.run(scale);
            eprintln!("{}: {:.0} s so far", section.title, began.elapsed().as_secs_f64());
            report.add(section, goals);
        }
    }
    let quick = if args.quick { " -- --quick" } else { "" };
    let how = format!(
        "Made by `cargo bench -p shingle-benches{quick}`, in virtual time of simulated drives: the \
         same on every machine. {}",
        if args.quick {
            "**Much less than the goals are meant for: it shows that all runs.**"
        } else {
            ""
        }
    );
    if let Err(error) = report.write(&args.out, "report", how.trim()) {
        eprintln!("report: cannot write {}: {error}", args.out.display());
        return ExitCode::FAILURE;
    }
    println!("{}", report.page(how.trim()));
    ExitCode::SUCCESS
}
