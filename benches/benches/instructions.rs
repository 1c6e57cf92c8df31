//! Counts the instructions that an operation takes, of the engine and of others, and writes what
//! came of it. It needs valgrind.
//!
//! ```text
//! cargo bench -p shingle-benches --bench instructions              all of it, into target/report
//! cargo bench -p shingle-benches --bench instructions -- --quick   little, to see that it runs
//! cargo bench -p shingle-benches --bench instructions --features cpp   RocksDB's, too
//! ```

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod run {
    //! The run itself, where there is a kernel that the others know.

    use std::path::{Path, PathBuf};
    use std::process::{Command, ExitCode};

    use clap::{Parser, ValueEnum};
    use shingle_benches::experiment::instructions::{Nothing, count, live, section};
    use shingle_benches::experiment::wall::{Case, Job, Kind};
    use shingle_benches::report::Report;

    /// Counts the instructions that an operation takes, of the engine and of others.
    #[derive(Parser)]
    struct Args {
        /// Little of everything.
        #[arg(long)]
        quick: bool,
        /// Values of these many bytes.
        #[arg(long, value_delimiter = ',', default_values_t = [100, 4096])]
        values: Vec<usize>,
        /// The folder for the report.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/report"))]
        out: PathBuf,
        /// Lives the life of this store, or of none, and is counted.
        #[arg(long, hide = true)]
        life: Option<String>,
        /// What `cargo bench` adds; of no use here.
        #[arg(long, hide = true)]
        bench: bool,
    }

    const MEMORY_LEN: usize = 24 << 20;
    /// Bytes of values that are put in all, and gets.
    const FULL: (usize, u64) = (48 << 20, 10_000);
    const QUICK: (usize, u64) = (1 << 20, 500);
    const BATCH_LEN: usize = 100;
    const DEVICE_TIMES: f64 = 2.0;

    fn case(value_len: usize, is_quick: bool) -> Case {
        let (bytes, gets) = if is_quick { QUICK } else { FULL };
        let keys = (bytes / value_len).max(1) as u64;
        let job = Job { keys, value_len, batch_len: BATCH_LEN, gets };
        Case { memory_len: MEMORY_LEN, job, device_times: DEVICE_TIMES, zone_len: None }
    }

    /// Counts one life: of this program, started again.
    fn count_life(args: &Args, value_len: usize, name: &str) -> Result<[u64; 6], String> {
        let folder = tempfile::tempdir_in(&args.out).map_err(|error| error.to_string())?;
        let mut life = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
        life.args(["--life", name, "--values", &value_len.to_string()]);
        life.arg("--out").arg(folder.path());
        if args.quick {
            life.arg("--quick");
        }
        eprintln!("{value_len} B: {name}");
        count(&mut life, folder.path())
    }

    fn report(args: &Args) -> Result<String, String> {
        std::fs::create_dir_all(&args.out)
            .map_err(|error| format!("cannot make {}: {error}", args.out.display()))?;
        let mut report = Report::default();
        for &value_len in &args.values {
            let case = case(value_len, args.quick);
            let nothing = count_life(args, value_len, Nothing::NAME)?;
            let mut lives = Vec::new();
            for kind in case.kinds().into_iter().filter(|kind| *kind != Kind::File) {
                let value = kind.to_possible_value().expect("none is hidden");
                lives.push((kind, count_life(args, value_len, value.get_name())?));
            }
            report.add(section(&case, &nothing, &lives), []);
        }
        let how = format!(
            "Instructions of all threads, none of the kernel's, as valgrind counts them: made by \
             `cargo bench -p shingle-benches --bench instructions{}`, {} MiB of memory for each. \
             Puts are those of a batch, with the flushes, merges and collection that they bring.",
            if args.quick { " -- --quick" } else { "" },
            MEMORY_LEN >> 20,
        );
        report
            .write(&args.out, "instructions", &how)
            .map_err(|error| format!("cannot write {}: {error}", args.out.display()))?;
        Ok(report.page(&how))
    }

    fn live_one(name: &str, case: &Case, folder: &Path) {
        match Kind::from_str(name, false) {
            Ok(kind) => case.with(kind, folder, |subject| live(subject, &case.job)),
            Err(_) => live(&mut Nothing, &case.job),
        }
    }

    pub(super) fn main() -> ExitCode {
        let args = Args::parse();
        if let Some(name) = &args.life {
            live_one(name, &case(args.values[0], args.quick), &args.out);
            return ExitCode::SUCCESS;
        }
        match report(&args) {
            Ok(page) => {
                println!("{page}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("instructions: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("instructions: the peers are measured on Linux alone");
    ExitCode::FAILURE
}
