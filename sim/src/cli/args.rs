//! The subcommands and their options.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::size;

/// An ordered key/value store that lives inside a drive, on simulated drives.
///
/// Without a command: the demonstration.
#[derive(Debug, Parser)]
#[command(
    name = "shingle",
    version,
    after_help = "Exit codes: 0 done, 1 not found or failed, 2 wrong usage.

Examples:
  shingle                                  the demonstration, under a minute
  shingle format drive.img --media smr-demo
  echo hello | shingle put drive.img greeting -
  shingle get drive.img greeting
  shingle import drive.img ~/src --prefix src/
  shingle check drive.img"
)]
pub(crate) struct Cli {
    /// What to do; the demonstration if nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Import real files on a simulated drive while its power fails, and report
    Demo(Box<DemoArgs>),
    /// Make an empty store, and the image if there is none
    Format(FormatArgs),
    /// Set a key to a value
    Put(PutArgs),
    /// Write the value of a key to standard output
    Get(GetArgs),
    /// Remove a key, or every key of a range
    Delete(DeleteArgs),
    /// List keys in order
    Scan(ScanArgs),
    /// Put every file of a directory tree under its path
    Import(ImportArgs),
    /// Write every key as a file into a directory
    Export(ExportArgs),
    /// Show figures of the store
    Stat(ViewArgs),
    /// Show what each zone is used for
    Zones(ZonesArgs),
    /// Read everything and say what is wrong where
    Check(ViewArgs),
    /// Read every written block, and mend what has another copy
    Scrub(ScrubArgs),
    /// Say what is likely wrong with the drive, and what to do
    Doctor(DoctorArgs),
    /// Take a zone or a storage element out of use
    Evacuate(EvacuateArgs),
    /// Run random operations, power cuts and recoveries against a model
    Torture(TortureArgs),
    /// List the media that can be simulated
    Media(MediaArgs),
    /// Try every check of the contract between the engine and its media on a disk
    #[cfg(target_os = "linux")]
    Contract(ContractArgs),
    /// Put and delete on a disk, and say what is durable, until its power is cut
    #[cfg(target_os = "linux")]
    Soak(SoakArgs),
    /// Say whether what `soak` said of its lives holds together
    Judge(JudgeArgs),
}

/// Which image or disk, and how much memory for the store on it.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The image file, or the disk with --device
    pub(crate) image: PathBuf,
    /// It is a disk of this machine, zoned or not, or a file used like one: --device /dev/sdX
    #[arg(long)]
    pub(crate) device: bool,
    /// Memory for the store, for example 256K or 64M [default: what suits the media]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) memory: Option<u64>,
}

/// Options of `demo`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle demo
  shingle demo --tree ~/src --cuts 500 --seed 7
  shingle demo --media zns-tiny:zones=2000 --json report.json --svg zones.svg")]
pub(crate) struct DemoArgs {
    /// The directory tree to import [default: this repository and its dependencies' sources]
    #[arg(long, value_name = "DIR")]
    pub(crate) tree: Option<PathBuf>,
    /// The drive to simulate; see `shingle media`
    #[arg(long, default_value = "smr-demo")]
    pub(crate) media: String,
    /// Decides where power fails, what survives, and which keys are read and overwritten
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Power cuts while importing
    #[arg(long, default_value_t = 200)]
    pub(crate) cuts: u32,
    /// Memory for the store, for example 8M
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) memory: Option<u64>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the picture of the zones as SVG [default: shingle-zones.svg in the temporary place]
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self {
            tree: None,
            media: "smr-demo".to_owned(),
            seed: 1,
            cuts: 200,
            memory: None,
            json: None,
            svg: None,
        }
    }
}

/// Options of `format`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle format drive.img
  shingle format drive.img --media zns-zn540
  shingle format flash.img --media nor-1m --memory 64K
  shingle format drive.img --media smr:zones=1000,zone-mib=4 --force
  shingle format --device /dev/sdX")]
pub(crate) struct FormatArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The drive to simulate; see `shingle media` [default: smr-demo, or what the image is]
    #[arg(long, conflicts_with = "device")]
    pub(crate) media: Option<String>,
    /// Decides the store's id and the drive's chances [default: from the system]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Format an image that exists, or a disk that holds something; everything on it is lost
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep keys, metadata and small values on two storage elements, so that an element that dies
    /// takes large values alone with it [default: true where the drive has several]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) mirror: Option<bool>,
    /// Protect values by parity on other storage elements, one zone of it for N: an element that
    /// dies takes nothing with it. `1+1` keeps two copies; needs N + 1 elements, and `--mirror`
    /// [default: none]
    #[arg(long, value_name = "N+1", value_parser = parse_parity)]
    pub(crate) parity: Option<u8>,
    /// Keep what the log holds of them before a flush on two storage elements, too
    #[arg(long)]
    pub(crate) mirror_log: bool,
    /// Longest key in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) key_max: Option<u16>,
    /// Longest metadata in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) meta_max: Option<u16>,
    /// Longest value
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) value_max: Option<u64>,
    /// Say what was made as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `put`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle put drive.img greeting hello
  tar c src | shingle put drive.img backup.tar -
  shingle put drive.img photo --file photo.jpg
  shingle put drive.img leader me --if-absent
  shingle put drive.img config v2 --tag 2 --if-tag 1")]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The key; \xNN stands for a byte, \\ for a backslash
    pub(crate) key: String,
    /// The value; `-` or nothing: standard input
    #[arg(conflicts_with = "file")]
    pub(crate) value: Option<String>,
    /// Take the value from a file
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// The version to store with it, which --if-tag compares
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Further metadata to store with it
    #[arg(long)]
    pub(crate) meta: Option<String>,
    /// Only if the key is absent
    #[arg(long, conflicts_with = "if_tag")]
    pub(crate) if_absent: bool,
    /// Only if the key is present with this version
    #[arg(long, value_name = "TAG")]
    pub(crate) if_tag: Option<String>,
}

/// Options of `get`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle get drive.img greeting
  shingle get drive.img backup.tar | tar t
  shingle get drive.img backup.tar --offset 1M --len 64K --file part
  shingle get drive.img config --meta --json")]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The key
    pub(crate) key: String,
    /// Write the value to this file instead
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// Begin here in the value
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "0")]
    pub(crate) offset: u64,
    /// At most so many bytes
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) len: Option<u64>,
    /// The metadata instead of the value
    #[arg(long, conflicts_with_all = ["offset", "len", "file"])]
    pub(crate) meta: bool,
    /// With --meta: lengths, version and metadata as JSON
    #[arg(long, requires = "meta")]
    pub(crate) json: bool,
}

/// Options of `delete`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle delete drive.img greeting
  shingle delete drive.img --prefix src/
  shingle delete drive.img --start a --end m")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The key
    #[arg(
        required_unless_present_any = ["prefix", "start"],
        conflicts_with_all = ["prefix", "start", "end"]
    )]
    pub(crate) key: Option<String>,
    /// Every key that begins so
    #[arg(long, conflicts_with_all = ["start", "end"])]
    pub(crate) prefix: Option<String>,
    /// Every key from this one on
    #[arg(long)]
    pub(crate) start: Option<String>,
    /// Up to, not including, this one
    #[arg(long, requires = "start")]
    pub(crate) end: Option<String>,
}

/// A range of keys.
#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// Only keys that begin so
    #[arg(long, conflicts_with_all = ["start", "end"])]
    pub(crate) prefix: Option<String>,
    /// From this key on
    #[arg(long)]
    pub(crate) start: Option<String>,
    /// Up to, not including, this key
    #[arg(long)]
    pub(crate) end: Option<String>,
}

/// Options of `scan`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle scan drive.img
  shingle scan drive.img --prefix src/ --long
  shingle scan drive.img --reverse --limit 10 --json
  shingle scan drive.img --start a --end m --count")]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many keys
    #[arg(long)]
    pub(crate) limit: Option<u64>,
    /// Only keys whose values are lost
    #[arg(long, conflicts_with = "count")]
    pub(crate) lost: bool,
    /// How many keys there are, and no more
    #[arg(long, conflicts_with_all = ["limit", "long", "reverse"])]
    pub(crate) count: bool,
    /// Lengths of value and metadata before each key
    #[arg(long)]
    pub(crate) long: bool,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `import`.
#[derive(Args, Debug)]
#[command(after_help = "\
Keys are paths below DIR with `/` between the parts. Metadata are the file's mode and the
time it was last changed, which `export` restores. Links and special files are left out.

Examples:
  shingle import drive.img ~/src
  shingle import drive.img . --prefix backup/today/")]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The directory
    pub(crate) dir: PathBuf,
    /// Comes before each path
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
    /// Say what was imported as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `export`.
#[derive(Args, Debug)]
#[command(after_help = "\
Keys that are no relative path, or lead out of DIR, are refused and named; the rest is
written.

Examples:
  shingle export drive.img out/
  shingle export drive.img out/ --prefix src/ --force")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The directory; made if absent
    pub(crate) dir: PathBuf,
    /// Only keys that begin so
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
    /// Overwrite files
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what was exported as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `stat` and `check`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle stat drive.img
  shingle check drive.img --json
  shingle check drive.img --memory 8M")]
pub(crate) struct ViewArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `scrub`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle scrub drive.img
  shingle scrub drive.img --pass-hours 336 --json")]
pub(crate) struct ScrubArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Spread the pass over so many hours of the drive's time [default: as fast as it goes]
    #[arg(long, value_name = "HOURS")]
    pub(crate) pass_hours: Option<f64>,
    /// The drive fails, too: a plan such as 'bit-rot sticky lba=5000'
    #[arg(long, value_name = "PLAN")]
    pub(crate) faults: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `doctor`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle doctor drive.img
  shingle doctor drive.img --json
  shingle doctor drive.img --faults 'read-error sticky element=2 p=0.2'")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The drive fails, too: an image keeps no faults, so this tries what the doctor says of them
    #[arg(long, value_name = "PLAN")]
    pub(crate) faults: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `evacuate`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle evacuate drive.img --zone 17
  shingle evacuate drive.img --element 2")]
pub(crate) struct EvacuateArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The zone
    #[arg(long, required_unless_present = "element", conflicts_with = "element")]
    pub(crate) zone: Option<u32>,
    /// All zones of this storage element
    #[arg(long)]
    pub(crate) element: Option<u16>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `zones`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle zones drive.img
  shingle zones drive.img --svg zones.svg
  shingle zones drive.img --json")]
pub(crate) struct ZonesArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Write the picture as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// As JSON, a zone an object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `torture`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle torture
  shingle torture --media zns-tiny --seeds 0..2000 --jobs 2
  shingle torture --media nor-1m --seed 0x1f3a --ops 5000
  shingle torture --script all
  shingle torture --script flush --cut 17 --outcome 3
  shingle torture --faults any --seeds 0..20000 --ops 5000 --jobs 2
  shingle torture --fuzz decode --seeds 0..100000
  shingle torture --fuzz mutated_images --bytes fuzz/artifacts/mutated_images/crash-1

With --faults a seed runs on one drive after another, each under a plan of its own; a table tells
of each kind of fault how many were
  injected       changed what the drive did, holds or returned
  detected       of these the store got the error, was told of the zone, or read a spoiled block;
                 the others were written anew or reset before anybody read them
  mended         of the detected, nothing was reported lost by them
  reported lost  the store named the place as damaged, or mounted without records of the log there
Wrong data, lost operations, panics and endless loops are failures; a line replays each.")]
pub(crate) struct TortureArgs {
    /// The drive to simulate; see `shingle media` [default: each seed picks one]
    #[arg(long)]
    pub(crate) media: Option<String>,
    /// Seeds A..B, without B
    #[arg(long, value_name = "A..B", default_value = "0..200", conflicts_with = "seed")]
    pub(crate) seeds: String,
    /// One seed: what a failure tells you to run
    #[arg(long)]
    pub(crate) seed: Option<String>,
    /// Operations a seed
    #[arg(long, default_value_t = 400)]
    pub(crate) ops: u64,
    /// The drive fails, too: within, element, any, a preset such as mixed, or a plan such as
    /// 'read-error sticky zone=17; bit-rot 3x structure=value p=0.001'
    #[arg(long, value_name = "PLAN")]
    #[arg(conflicts_with_all = ["script", "no_cuts", "writers", "memory"])]
    pub(crate) faults: Option<String>,
    /// Power stays on: the store against the model alone
    #[arg(long)]
    pub(crate) no_cuts: bool,
    /// Writers side by side [default: each seed picks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) writers: Option<u8>,
    /// Memory for the store, for example 64K [default: each life picks]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) memory: Option<u64>,
    /// Percent of the capacity below which the store must not say that it is full
    #[arg(long, value_name = "PERCENT", default_value_t = 45)]
    pub(crate) full: u64,
    /// Print every operation on standard error
    #[arg(long)]
    pub(crate) trace: bool,
    /// Instead of seeds: every power cut of a script, or of `all`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["seed", "seeds", "media"])]
    pub(crate) script: Option<String>,
    /// Only the cut at this request of the script: what a failure tells you to run
    #[arg(long, value_name = "REQUEST", requires = "script")]
    pub(crate) cut: Option<u64>,
    /// And only this outcome of it
    #[arg(long, value_name = "NUMBER", requires = "cut")]
    pub(crate) outcome: Option<u64>,
    /// Instead of operations: the inputs of a fuzz target, by seed or from a file
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["script", "media"])]
    pub(crate) fuzz: Option<String>,
    /// Only the input in this file: what libFuzzer leaves of a crash
    #[arg(long, value_name = "FILE", requires = "fuzz", conflicts_with_all = ["seed", "seeds"])]
    pub(crate) bytes: Option<PathBuf>,
    /// Write the inputs of the seeds into this directory, one a file, instead of trying them
    #[arg(long, value_name = "DIR", requires = "fuzz", conflicts_with = "bytes")]
    pub(crate) corpus: Option<PathBuf>,
    /// Seeds, or scripts, at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) jobs: u8,
    /// Say what it came to as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `media`.
#[derive(Args, Debug)]
#[command(after_help = "A drive is a name, or a name with settings: smr-15tb:zones=1000,zone-mib=4

Examples:
  shingle media
  shingle media zns-zn540
  shingle media smr:zones=1000,zone-mib=4 --json")]
pub(crate) struct MediaArgs {
    /// Only this drive, with everything that is known of it
    pub(crate) media: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `contract`.
#[cfg(target_os = "linux")]
#[derive(Args, Debug)]
#[command(
    after_help = "The disk is written, reset and read everywhere, by io_uring and by threads.

Examples:
  shingle contract /dev/sdX
  shingle contract /dev/nvme0n1 --force --json"
)]
pub(crate) struct ContractArgs {
    /// The disk, or a file used like one
    pub(crate) disk: PathBuf,
    /// Also if it holds something; everything on it is lost
    #[arg(long)]
    pub(crate) force: bool,
    /// Fail also if fewer checks pass: some need what not every disk has
    #[arg(long, value_name = "CHECKS", default_value_t = 1)]
    pub(crate) least: u32,
    /// Say what each check came to as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `soak`.
#[cfg(target_os = "linux")]
#[derive(Args, Debug)]
#[command(
    after_help = "It begins with what it finds of the lives before. Its keys begin with soak/.

Examples:
  shingle soak /dev/sdX --seconds 600 | tee -a soak.log     and pull the plug
  shingle soak /dev/sdX --seconds 0 | tee -a soak.log       when it is back
  shingle judge soak.log"
)]
pub(crate) struct SoakArgs {
    /// The disk, or a file used like one
    pub(crate) disk: PathBuf,
    /// For so many seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Make a store if there is none; everything else on the disk is lost
    #[arg(long)]
    pub(crate) force: bool,
    /// By threads also where the kernel has io_uring
    #[arg(long)]
    pub(crate) threads: bool,
}

/// Options of `judge`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  shingle judge soak.log
  shingle judge soak.log --least 200")]
pub(crate) struct JudgeArgs {
    /// What `soak` said, all lives one after another; other lines between are passed over
    pub(crate) log: PathBuf,
    /// Fail also if fewer lives told all they found
    #[arg(long, value_name = "LIVES", default_value_t = 1)]
    pub(crate) least: u64,
}

/// Reads `N+1`.
fn parse_parity(text: &str) -> Result<u8, String> {
    let members = text.strip_suffix("+1").and_then(|members| members.parse().ok());
    let members = members.filter(|members| (1..=15).contains(members));
    members.ok_or_else(|| format!("{text} is not `1+1` to `15+1`"))
}
