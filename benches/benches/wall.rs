//! Holds the engine against others in wall-clock time, and writes what came of it.
//!
//! ```text
//! cargo bench -p shingle-benches --bench wall                  all of it, into target/report
//! cargo bench -p shingle-benches --bench wall -- --quick       little, to see that it runs
//! cargo bench -p shingle-benches --bench wall -- --values 100 --rounds 5
//! cargo bench -p shingle-benches --bench wall --features cpp   against RocksDB, too
//! ```
//!
//! Figures are this machine's, of this run. Keep the machine quiet.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod run {
    //! The run itself, where there is a kernel that it knows.

    use std::fs;
    use std::path::PathBuf;
    use std::process::ExitCode;
    use std::time::Instant;

    use clap::Parser;
    use shingle_benches::experiment::Scale;
    use shingle_benches::experiment::wall::{Case, Kind, cases, judge};
    use shingle_benches::report::Report;
    use shingle_sim::linux::{Queue, runtime};

    /// Holds the engine against others in wall-clock time, and writes what came of it.
    #[derive(Parser)]
    struct Args {
        /// Little of everything.
        #[arg(long)]
        quick: bool,
        /// Lives of each store in each case; 3, or 1 with --quick.
        #[arg(long)]
        rounds: Option<usize>,
        /// Values of these many bytes alone.
        #[arg(long, value_delimiter = ',')]
        values: Vec<usize>,
        /// So many MiB of memory alone.
        #[arg(long, value_delimiter = ',')]
        memory: Vec<usize>,
        /// These stores alone; without any of this engine, or any other, nothing is compared.
        #[arg(long, value_enum, value_delimiter = ',')]
        stores: Vec<Kind>,
        /// Bytes of the engine's device a byte that will be there: less space is more writing.
        #[arg(long)]
        device_times: Option<f64>,
        /// KiB of the engine's zones: a write buffer is two at most.
        #[arg(long)]
        zone_kib: Option<u64>,
        /// The folder for the report.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/report"))]
        out: PathBuf,
        /// The folder for the stores' files, the report's if there is none; they take up to four
        /// times the data.
        #[arg(long)]
        files: Option<PathBuf>,
        /// What `cargo bench` adds; of no use here.
        #[arg(long, hide = true)]
        bench: bool,
    }

    /// What else the machine does: the kernel's average number of tasks that run or want to.
    fn load_average() -> String {
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        text.split(' ').next().unwrap_or("unknown").to_owned()
    }

    fn is_wanted(args: &Args, case: &Case) -> bool {
        let is_in = |list: &[usize], number| list.is_empty() || list.contains(&number);
        is_in(&args.values, case.job.value_len) && is_in(&args.memory, case.memory_len >> 20)
    }

    pub(super) fn main() -> ExitCode {
        let args = Args::parse();
        let scale = if args.quick { Scale::Quick } else { Scale::Full };
        let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 }).max(1);
        let files = args.files.clone().unwrap_or_else(|| args.out.clone());
        let (began, load_before) = (Instant::now(), load_average());
        let mut report = Report::default();
        if let Err(error) = fs::create_dir_all(&files) {
            eprintln!("wall: cannot make {}: {error}", files.display());
            return ExitCode::FAILURE;
        }
        for mut case in cases(scale).into_iter().filter(|case| is_wanted(&args, case)) {
            case.device_times = args.device_times.unwrap_or(case.device_times);
            case.zone_len = args.zone_kib.map(|kib| kib << 10);
            let mut kinds = case.kinds();
            kinds.retain(|kind| args.stores.is_empty() || args.stores.contains(kind));
            let lives = (0..rounds).map(|round| {
                let live = |kind| {
                    let life = case.live(kind, &files);
                    let (name, so_far) = (kind.name(), began.elapsed().as_secs_f64());
                    eprintln!("{}: round {round}: {name}: {so_far:.0} s so far", case.name());
                    (kind, life)
                };
                kinds.iter().copied().map(live).collect()
            });
            let (section, goals) = judge(&case, &lives.collect::<Vec<_>>());
            report.add(section, goals);
        }
        let how = how(&args, rounds, began, &load_before);
        if let Err(error) = report.write(&args.out, "wall", &how) {
            eprintln!("wall: cannot write {}: {error}", args.out.display());
            return ExitCode::FAILURE;
        }
        println!("{}", report.page(&how));
        ExitCode::SUCCESS
    }

    /// How the page was made.
    fn how(args: &Args, rounds: usize, began: Instant, load_before: &str) -> String {
        let quick = if args.quick { " -- --quick" } else { "" };
        let is_ring = runtime(Queue::Best).is_ok_and(|runtime| runtime.driver_type().is_iouring());
        let queue = if is_ring { "io_uring" } else { "a pool of threads" };
        let little = match args.quick {
            true => " **Much less than the goals are meant for: it shows that all runs.**",
            false => "",
        };
        format!(
            "Made by `cargo bench -p shingle-benches --bench wall{quick}` in {:.0} s, {rounds} \
             rounds in alternation. Wall-clock time: the figures are this machine's, with {} \
             processors, and of this run; the load average was {load_before} before and {} after. \
             Ratios are what counts, and those whose spread is wide count little.{little}\n\n\
             All have the same memory for write buffers and caches together, no compression, \
             filters of 10 bits a key where they have any, and one sync at the end of each phase \
             of puts. The engine writes to its file by {queue}. What peers wrote is what the \
             kernel counts as written by the process until the end of the life, what the engine \
             wrote is what it gave to its device; what peers take is their files' room, what the \
             engine takes is its zones that hold something. All files are in the kernel's cache.",
            began.elapsed().as_secs_f64(),
            std::thread::available_parallelism().map_or(1, usize::from),
            load_average(),
        )
    }
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("wall: the peers' writes are counted by Linux alone");
    ExitCode::FAILURE
}
