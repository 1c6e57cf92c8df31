//! The demonstration: real files on a simulated drive whose power fails.
//!
//! | file | part |
//! |---|---|
//! | [`source`] | which files |
//! | [`stage`] | drive, chance, and what is counted |
//! | [`files`] | the import under power cuts, and comparing every file |
//! | [`load`] | filling, overwriting and deleting until zones are reclaimed and runs merged |
//!
//! The drive is an image in the temporary place until all files are on it; after that it goes on in
//! memory, where synthetic values take no room. Every figure in virtual time, and every cut, is
//! decided by the seed and the files.

mod files;
mod load;
mod source;
mod stage;

use std::path::{Path, PathBuf};
use std::time::Instant;

use shingle_engine::zone::Role;
use shingle_engine::{FormatOptions, Limits, Plan, ReadOptions, Redundancy, WriteError, format};
use shingle_hal::Device;
use shingle_sim::Image;
use shingle_sim::media::MediaSpec;

use crate::cli::{DemoArgs, Failure, Medium, Output, Shop, allocate};
use crate::report::summary::Summary;
use crate::report::{svg, terminal, zones};
use load::Load;
use source::Sources;
use stage::{Stage, Tally};

/// Memory for the store unless something is said: small beside the drive, so that runs are flushed
/// and merged.
const MEMORY_LEN: u64 = 24 << 20;
/// Gets whose reads are counted.
const GETS: usize = 2000;
/// The file name of the picture, if none is given.
const SVG_NAME: &str = "shingle-zones.svg";

/// The folder of the image, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let name = format!("shingle-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| Failure::file(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the demonstration.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let spec = MediaSpec::parse(&args.media)?;
    let scratch = Scratch::new()?;
    let image = Image::create(&scratch.0.join("drive.img"), spec.clone(), args.seed)?;
    let mut medium = Medium::Image(Box::new(image));
    let geometry = medium.geometry();
    let limits = Limits::for_geometry(&geometry);
    let least = Plan::new(&geometry, &limits, 0).err().unwrap_or(0) as u64;
    let suits = MEMORY_LEN.min(spec.capacity_bytes() / 8).max(least + least / 2);
    let mut memory = allocate(args.memory.unwrap_or(suits))?;

    let file_max = limits.value_len_max.min(memory.len() as u64 / 2);
    let files_max = spec.capacity_bytes() * 2 / 5;
    let tree = args.tree.as_deref();
    let mut sources = Sources::collect(tree, files_max, file_max, limits.key_len_max.into())?;
    introduce(&spec, &sources, args)?;

    let mut summary = Summary {
        media: spec.name.clone(),
        capacity_bytes: spec.capacity_bytes(),
        memory_bytes: memory.len() as u64,
        seed: args.seed,
        source: sources.what.clone(),
        files: sources.files.len() as u64,
        file_bytes: sources.bytes,
        ..Summary::default()
    };
    let mut store_id = [0; 16];
    shingle_sim::synthetic::fill(args.seed, 0, &mut store_id);
    let redundancy = Redundancy::for_geometry(&geometry);
    let tally = import(
        &medium,
        args,
        &mut memory,
        &mut sources,
        &FormatOptions { store_id, limits, redundancy },
        &mut summary,
    )?;
    medium.save()?;
    let mut stage = Stage { tally, ..Stage::new(&medium, !args.seed) };
    let views = work(&mut stage, &mut memory, &sources, args, &mut summary)?;
    summary.take(&stage);
    summary.wall_s = started.elapsed().as_secs_f64();
    write_files(args, &summary, &views)
}

fn introduce(spec: &MediaSpec, sources: &Sources, args: &DemoArgs) -> Result<(), Failure> {
    let mut out = Output::new();
    out.line(&format!(
        "shingle: {} files, {:.1} MB, from {}\n         to a simulated {} \
         ({} zones, {:.1} GB), power failing {} times",
        sources.files.len(),
        sources.bytes as f64 / 1e6,
        sources.what,
        spec.name,
        spec.zone_count,
        spec.capacity_bytes() as f64 / 1e9,
        args.cuts
    ))?;
    if sources.left_out > 0 {
        out.line(&format!(
            "         ({} files left out: too large, or more than the demonstration takes)",
            sources.left_out
        ))?;
    }
    out.finish()
}

/// Formats the drive and imports the files under power cuts.
fn import(
    medium: &Medium,
    args: &DemoArgs,
    memory: &mut [u8],
    sources: &mut Sources,
    options: &FormatOptions,
    summary: &mut Summary,
) -> Result<Tally, Failure> {
    let formatted = medium.block_on(format(&medium, memory, options));
    formatted.map_err(|error| Failure::new(error.to_string()))?;
    let mut stage = Stage::new(medium, args.seed);
    let drive = stage.drive;
    let before = drive.stats().all;
    let imported = files::import(&mut stage, &mut sources.files, memory, args.cuts)?;
    let store = stage.open(memory)?;
    files::compare_all(&mut stage, &store, &sources.files)?;
    let closed = drive.block_on(store.close()).map(|_| ());
    closed.map_err(|error| Failure::from(error).about("closing the store"))?;
    summary.import_bytes = imported.bytes;
    summary.import_time_s = imported.time_ns as f64 / 1e9;
    summary.import_written_bytes = stage.written_bytes(&before);
    Ok(stage.tally)
}

/// Fills, overwrites and deletes; compares everything; measures gets; collects the zones.
fn work(
    stage: &mut Stage<'_>,
    memory: &mut [u8],
    sources: &Sources,
    args: &DemoArgs,
    summary: &mut Summary,
) -> Result<Vec<zones::ZoneView>, Failure> {
    let drive = stage.drive;
    let store = stage.open(memory)?;
    let stats = store.stats();
    let room = stats.capacity_bytes.saturating_sub(stats.used_bytes);
    let mut load = Load::new(room, stats.zone_count, store.limits().value_len_max, args.seed);
    let bulk = load.fill(stage, &store)?;
    let views = drive.block_on(zones::collect(&store))?;
    summary.bulk_bytes = bulk.bytes;
    summary.bulk_time_s = bulk.time_ns as f64 / 1e9;
    summary.bulk_written_bytes = bulk.written_bytes;
    summary.media_rate = media_rate(&drive.spec(), &views);
    stage.note(&store.stats());
    let closed = drive.block_on(store.close()).map(|_| ());
    closed.map_err(|error| Failure::from(error).about("closing the store"))?;

    let (before, user_before) = (drive.stats().all, stage.tally.totals.user_bytes);
    load.churn(stage, memory, args.cuts / 5)?;
    summary.churn_written_bytes = stage.written_bytes(&before);
    summary.churn_bytes = stage.tally.totals.user_bytes - user_before;

    let store = stage.open(memory)?;
    files::compare_all(stage, &store, &sources.files)?;
    load.compare_all(stage, &store);
    measure_gets(stage, &store, sources, &load, summary)?;
    let views = drive.block_on(zones::collect(&store))?;
    summary.used_bytes = used_bytes(&views);
    match drive.block_on(store.compact()) {
        Ok(()) => {
            let views = drive.block_on(zones::collect(&store))?;
            summary.compacted_bytes = Some(used_bytes(&views));
        }
        Err(WriteError::Full) => {}
        Err(error) => return Err(Failure::from(error).about("compacting")),
    }
    let files: u64 = sources.files.iter().map(|file| file.len + file.key.len() as u64 + 16).sum();
    summary.live_bytes = load.live_bytes() + files;
    stage.note(&store.stats());
    Ok(views)
}

/// Bytes in zones that are not free.
fn used_bytes(views: &[zones::ZoneView]) -> u64 {
    let used = views.iter().filter(|view| view.role != Role::Free);
    used.map(|view| view.written_bytes).sum()
}

/// What the medium takes in one sequential write over the zones that hold values.
fn media_rate(spec: &MediaSpec, views: &[zones::ZoneView]) -> Option<f64> {
    let (mut bytes, mut seconds) = (0.0, 0.0);
    for view in views.iter().filter(|view| view.role == Role::Log) {
        bytes += view.written_bytes as f64;
        seconds += view.written_bytes as f64 / spec.sequential_rate_bytes_per_s(view.zone)?;
    }
    (seconds > 0.0).then(|| bytes / seconds)
}

/// Reads of the device for a get of a key at random.
fn measure_gets(
    stage: &mut Stage<'_>,
    store: &Shop<'_, '_>,
    sources: &Sources,
    load: &Load,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let mut keys = load.live_keys();
    keys.extend(sources.files.iter().map(|file| file.key.clone()));
    let files_len = sources.files.iter().map(|file| file.len as usize).max().unwrap_or(0);
    let mut value = vec![0; load.value_len_max().max(files_len)];
    let drive = stage.drive;
    let (reads, now_ns) = (drive.stats().all.reads, drive.now_ns());
    for _ in 0..GETS {
        let key = &keys[stage.rng.usize(..keys.len())];
        drive.block_on(store.get(key, &mut value, ReadOptions::default()))?;
    }
    summary.keys = keys.len() as u64;
    summary.reads_per_get = (drive.stats().all.reads - reads) as f64 / GETS as f64;
    summary.get_ms = (drive.now_ns() - now_ns) as f64 / 1e6 / GETS as f64;
    Ok(())
}

fn write_files(
    args: &DemoArgs,
    summary: &Summary,
    views: &[zones::ZoneView],
) -> Result<(), Failure> {
    let title = format!("{} after the demonstration: {} cuts", summary.media, summary.cuts);
    let path = args.svg.clone().unwrap_or_else(|| std::env::temp_dir().join(SVG_NAME));
    write(&path, &svg::picture(views, &title))?;
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", summary.json(views)))?;
    }
    let mut out = Output::new();
    out.line(&summary.text())?;
    out.bytes(terminal::picture(views, Output::is_coloured()).as_bytes())?;
    out.line(&format!("\nThe same picture: {}", path.display()))?;
    out.finish()?;
    match summary.losses.len() {
        0 => Ok(()),
        count => Err(Failure::new(format!(
            "{count} THINGS ACKNOWLEDGED WERE LOST; they are named above"
        ))),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::file(path, &error))
}
