//! The host: makes an image, runs the board on it, stops it at any moment, and compares what it
//! left with what it acknowledged.
//!
//! A life of the board ends when it has done all of its task or when its QEMU is killed. Whatever
//! it acknowledged as durable must then be there, and all that is there must be what the script
//! comes to after so many operations; then the host does some on the same image, closes it, and
//! the board goes on with that.

#[path = "../../firmware/src/app.rs"]
#[allow(unreachable_pub, reason = "part of a library there")]
mod app;
mod log;
mod program;
#[path = "../../firmware/src/script.rs"]
#[allow(unreachable_pub, reason = "part of a library there")]
mod script;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use shingle_engine::{FormatOptions, Limits, ReadOptions, Redundancy, Store, format};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Image};

use app::{Memory, Task};
use script::{KEYS, Script, VALUE_LEN_MAX, key};

/// The drive: small enough that zones are emptied, and the log goes round, in a few lives.
const MEDIA: &str = "smr:zones=64,zone-kib=64,conventional=0,elements=1,timing=instant";
/// Memory that the host gives the store.
const MEMORY_LEN: usize = 1 << 20;
/// A board that takes longer than this hangs.
const LONGEST: Duration = Duration::from_secs(120);
/// Operations of a life, on the board and on the host.
const OPS: u32 = 1500;
const OPS_OF_HOST: u32 = 40;
/// Times that the board is killed on one image.
const LIVES: u32 = 8;
/// Milliseconds after which a board is killed, at most.
const KILL_MS_MAX: u32 = 600;

/// Runs a board under QEMU on a drive image, stops it, and judges what it left.
#[derive(Parser)]
#[command(name = "boards")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs a board on a drive image, kills it again and again, and judges what it left
    Kill(KillArgs),
    /// Says what programs take of the memories of their boards, beyond the first of them
    Sizes {
        /// The programs
        #[arg(required = true)]
        elfs: Vec<PathBuf>,
    },
    /// Says what a board told of the engine's events
    Log {
        /// The board's program
        elf: PathBuf,
        /// Its file `log`
        log: PathBuf,
    },
    /// Lists the places in the sources at which a program may panic
    Panics {
        /// The program
        elf: PathBuf,
    },
}

#[derive(clap::Args)]
struct KillArgs {
    /// The board's program
    elf: PathBuf,
    /// Which board it is for
    #[arg(long, value_enum, default_value_t = Board::An500)]
    board: Board,
    /// How often the board is killed, each time in a life of its own
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// Where to begin in the sequence of scripts and moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program tells the engine's events: fails if there is none
    #[arg(long)]
    log: bool,
}

/// A machine of QEMU.
#[derive(Clone, Copy, ValueEnum)]
enum Board {
    /// Cortex-M7
    An500,
    /// Cortex-R52
    An536,
    /// Cortex-R5F
    Versatile,
    /// RISC-V, 32 bits
    Virt,
}

impl Board {
    /// The command that starts it, but for the program.
    const fn qemu(self) -> &'static str {
        match self {
            Self::An500 => "qemu-system-arm -M mps2-an500",
            Self::An536 => "qemu-system-arm -M mps3-an536",
            Self::Versatile => {
                "qemu-system-arm -M versatilepb -cpu cortex-r5f -net none -audio none"
            }
            Self::Virt => "qemu-system-riscv32 -M virt -bios none",
        }
    }
}

/// What the lives came to.
#[derive(Default)]
struct Total {
    kills: u32,
    whole: u32,
    ops: u64,
    lost_undurable: u64,
    events: u64,
    stack_len: u32,
    /// Bytes of the future that it serves with, which are part of these.
    future_len: u32,
}

fn main() -> ExitCode {
    let done = match Args::parse().verb {
        Verb::Kill(args) => judge(&args),
        Verb::Sizes { elfs } => program::sizes(&elfs),
        Verb::Log { elf, log } => log::decode(&elf, &log).map(|lines| lines.join("\n")),
        Verb::Panics { elf } => program::panics(&elf),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("boards: {what}");
            ExitCode::FAILURE
        }
    }
}

fn judge(args: &KillArgs) -> Result<String, String> {
    let elf =
        args.elf.canonicalize().map_err(|error| format!("{}: {error}", args.elf.display()))?;
    println!("{}", program::sizes(std::slice::from_ref(&elf))?);
    let mut total = Total::default();
    let mut random = Random(args.seed);
    let mut seed = args.seed;
    while total.kills < args.kills {
        let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
        let lives = live_on(folder.path(), &elf, args, seed, &mut random, &mut total);
        if let Err(what) = lives {
            return Err(format!("seed {seed}: {what}; see {}", folder.keep().display()));
        }
        seed += 1;
    }
    let Total { kills, whole, ops, lost_undurable, events, stack_len, future_len } = total;
    if args.log && events == 0 {
        return Err("no event was told".to_owned());
    }
    Ok(format!(
        "{kills} lives killed, {whole} to their end, {ops} operations acknowledged, \
         {lost_undurable} of them not durable and gone; nothing else lost; {events} events \
         told; stack {stack_len} bytes, its future {future_len}"
    ))
}

/// Lives on one image, as many as make the log go round several times; the last is not cut short.
fn live_on(
    folder: &Path,
    elf: &Path,
    args: &KillArgs,
    seed: u64,
    random: &mut Random,
    total: &mut Total,
) -> Result<(), String> {
    let mut bench = Bench::new(folder, elf, args.board, seed)?;
    for left in (0..=LIVES.min(args.kills - total.kills)).rev() {
        let kill_after = Duration::from_millis(u64::from(random.below(KILL_MS_MAX)));
        let life = bench.live((left > 0).then_some(kill_after))?;
        total.kills += u32::from(life.killed);
        total.whole += u32::from(!life.killed);
        total.ops += u64::from(life.acked);
        total.lost_undurable += u64::from(life.lost);
        total.events += life.events;
        total.stack_len = total.stack_len.max(life.stack_len);
        total.future_len = total.future_len.max(life.future_len);
        bench.take_turn()?;
    }
    Ok(())
}

/// Numbers that a seed decides.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

/// How a life ended.
struct Life {
    killed: bool,
    acked: u32,
    /// Operations that were acknowledged, were not durable, and are gone.
    lost: u32,
    /// Events of the engine that it told.
    events: u64,
    /// Bytes of stack that it used; 0 if it was killed.
    stack_len: u32,
    /// Bytes of the future that it serves with, which are part of these.
    future_len: u32,
}

/// An image and the board on it.
struct Bench<'a> {
    folder: &'a Path,
    elf: &'a Path,
    board: Board,
    seed: u64,
    spec: MediaSpec,
    /// Operations that the store holds.
    done: u32,
}

impl<'a> Bench<'a> {
    fn new(folder: &'a Path, elf: &'a Path, board: Board, seed: u64) -> Result<Self, String> {
        let spec = MediaSpec::parse(MEDIA).map_err(|error| error.to_string())?;
        let mut image = Image::create(&folder.join("drive.image"), spec.clone(), seed)
            .map_err(|error| error.to_string())?;
        let mut memory = vec![0; MEMORY_LEN];
        let drive = image.drive();
        let limits = Limits::for_geometry(&drive.geometry());
        let redundancy = Redundancy::NONE;
        let options = FormatOptions { store_id: [1; 16], limits, redundancy };
        let formatted = drive.block_on(format(&drive, &mut memory, &options));
        formatted.map_err(|error| error.to_string())?;
        image.save().map_err(|error| error.to_string())?;
        Ok(Self { folder, elf, board, seed, spec, done: 0 })
    }

    /// Starts the board, kills it after a time unless it ends before, and compares.
    fn live(&mut self, kill_after: Option<Duration>) -> Result<Life, String> {
        let journal = self.folder.join("journal");
        match fs::remove_file(&journal) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.to_string()),
            _ => {}
        }
        let spec = &self.spec;
        let mut task = format!("{} {} ", spec.block_len_bytes, spec.zone_count);
        let _ = write!(task, "{} {} {} {OPS}", spec.zone_blocks, self.seed, self.done);
        fs::write(self.folder.join("task"), task).map_err(|error| error.to_string())?;
        let killed = self.run_board(kill_after)?;
        let journal = match fs::read(&journal) {
            Ok(journal) => journal,
            Err(error) if killed && error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("the board kept no journal: {error}")),
        };
        let acked = (journal.len() / 4) as u32;
        for (bytes, index) in journal.chunks_exact(4).zip(self.done..) {
            let found = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
            if found != index {
                return Err(format!("the journal has operation {found} where {index} should be"));
            }
        }
        if !killed && acked != OPS {
            return Err(format!("the board ended after {acked} of {OPS} operations"));
        }
        let end = self.done + acked;
        let holds = self.find_prefix(end, killed)?;
        let lost = end.saturating_sub(holds);
        self.done = holds;
        let said = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        let lens = match *said.split_whitespace().collect::<Vec<_>>() {
            ["stack", stack, "future", future] => stack.parse().ok().zip(future.parse().ok()),
            _ => None,
        };
        let (stack_len, future_len) = match lens {
            Some(lens) => lens,
            None if killed => (0, 0),
            None => return Err(format!("the board said: {said}")),
        };
        let events = log::decode(self.elf, &self.folder.join("log"))?.len() as u64;
        Ok(Life { killed, acked, lost, events, stack_len, future_len })
    }

    /// Runs QEMU; whether it was killed.
    fn run_board(&self, kill_after: Option<Duration>) -> Result<bool, String> {
        let said = fs::File::create(self.folder.join("said")).map_err(|error| error.to_string())?;
        let mut words = self.board.qemu().split_whitespace();
        let program = words.next().ok_or("no QEMU is named")?;
        let mut child = Command::new(program)
            .args(words)
            .args(["-display", "none", "-monitor", "none", "-serial", "none"])
            .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
            .arg(self.elf)
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .stdout(said)
            .spawn()
            .map_err(|error| format!("{program} does not start: {error}"))?;
        let begun = Instant::now();
        loop {
            let status = child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = status {
                return if status.success() {
                    Ok(false)
                } else {
                    Err(format!("the board: {status}"))
                };
            }
            let is_time = kill_after.is_some_and(|after| begun.elapsed() >= after);
            if is_time || begun.elapsed() > LONGEST {
                child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                return if is_time { Ok(true) } else { Err("the board hangs".to_owned()) };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn image(&self) -> Result<Image, String> {
        Image::open(&self.folder.join("drive.image")).map_err(|error| error.to_string())
    }

    /// How many operations the store holds: all that were durable, and maybe the one under way,
    /// after which `end` were acknowledged.
    fn find_prefix(&self, end: u32, killed: bool) -> Result<u32, String> {
        let image = self.image()?;
        let drive = image.drive();
        let mut memory = vec![0; MEMORY_LEN];
        let found = drive.block_on(async {
            let store = Store::open(drive, &mut memory).await;
            let store = store.map_err(|error| format!("the image does not open: {error}"))?;
            store.check_invariants();
            read_all(&store).await
        })?;
        let script = Script::new(self.seed);
        let is_durable = |index: &u32| script.op(*index).durable;
        let least = (self.done..end).rev().find(is_durable).map_or(self.done, |index| index + 1);
        let least = if killed { least } else { end };
        let most = if killed { end + 1 } else { end };
        let mut values = HashMap::new();
        let mut last = [None; KEYS as usize];
        for count in (least..=most).rev() {
            script.replay(count, &mut last);
            let same = last.iter().zip(&found).all(|(put, found)| match (put, found) {
                (None, None) => true,
                (&Some(index), Some(found)) => {
                    let value = values.entry(index).or_insert_with(|| {
                        let mut value = vec![0; script.value_len(index)];
                        script.fill(index, &mut value);
                        value
                    });
                    value == found
                }
                _ => false,
            });
            if same {
                return Ok(count);
            }
        }
        Err(format!(
            "what is there is not what {least} to {most} operations come to ({end} acknowledged)"
        ))
    }

    /// The host does some operations, having compared everything as the board does.
    fn take_turn(&mut self) -> Result<(), String> {
        let mut image = self.image()?;
        let mut memory = vec![0; MEMORY_LEN];
        let (mut expected, mut found) =
            (Box::new([0; VALUE_LEN_MAX]), Box::new([0; VALUE_LEN_MAX]));
        let task = Task { seed: self.seed, first: self.done, count: OPS_OF_HOST };
        let room = Memory { expected: &mut expected, found: &mut found, store: &mut memory };
        let drive: &Drive = image.drive();
        drive.block_on(app::run(drive, task, room, |_| {})).map_err(|error| error.to_string())?;
        image.save().map_err(|error| error.to_string())?;
        self.done += OPS_OF_HOST;
        Ok(())
    }
}

/// What each key holds.
async fn read_all(store: &Store<'_, &Drive>) -> Result<Vec<Option<Vec<u8>>>, String> {
    let mut all = Vec::new();
    let mut out = vec![0; VALUE_LEN_MAX];
    for number in 0..KEYS {
        let got = store.get(&key(number), &mut out, ReadOptions::default()).await;
        let got = got.map_err(|error| format!("key {number}: {error}"))?;
        all.push(got.map(|got| out[..got.value_len as usize].to_vec()));
    }
    Ok(all)
}
