//! `shingle format`: an empty store, on a new image or an old one, or on a disk.

use std::path::Path;

use serde_json::json;
use shingle_engine::{FormatOptions, Limits, OpenError, Redundancy, Store, format};
use shingle_hal::{Device, Geometry};
use shingle_sim::Image;
use shingle_sim::media::MediaSpec;

use super::args::FormatArgs;
use super::medium::Medium;
use super::session::{allocate, memory_len};
use super::{Failure, Output};

/// The drive that is simulated if nothing is said.
const MEDIA_DEFAULT: &str = "smr-demo";

pub(super) fn run(args: &FormatArgs) -> Result<(), Failure> {
    if args.place.device {
        return on_disk(args);
    }
    let path = &args.place.image;
    if path.is_dir() {
        return Err(Failure::new(format!("{} is a directory, not an image", path.display())));
    }
    let is_new = !path.exists();
    if !is_new && !path.is_file() {
        return Err(Failure::new(format!(
            "{} is no image; a disk is given as --device {}",
            path.display(),
            path.display()
        )));
    }
    if !is_new && !args.force {
        return Err(Failure::new(format!(
            "{} exists already; --force formats it again, and everything on it is lost",
            path.display()
        )));
    }
    let seed = args.seed.map_or_else(random_seed, Ok)?;
    let image = if is_new {
        let spec = MediaSpec::parse(args.media.as_deref().unwrap_or(MEDIA_DEFAULT))?;
        Image::create(path, spec, seed)?
    } else {
        open_same(path, args)?
    };
    let mut medium = Medium::Image(Box::new(image));
    let formatted = format_medium(&medium, args, seed).and_then(|()| medium.save());
    if let Err(failure) = formatted {
        if is_new {
            let _ = std::fs::remove_file(path);
        }
        return Err(failure);
    }
    say(args, &medium)
}

/// A disk is formatted at once if it is blank, otherwise only if that was said.
fn on_disk(args: &FormatArgs) -> Result<(), Failure> {
    let path = &args.place.image;
    let medium = claim(path, args.force)?;
    let seed = args.seed.map_or_else(random_seed, Ok)?;
    format_medium(&medium, args, seed).map_err(|failure| failure.about(path.display()))?;
    say(args, &medium)
}

/// Opens a disk that may be written all over: one that is blank, or any if it is `forced`.
pub(super) fn claim(path: &Path, forced: bool) -> Result<Medium, Failure> {
    let medium = Medium::disk(path)?;
    if forced {
        return Ok(medium);
    }
    match holds(&medium)? {
        Some(found) => Err(Failure::new(format!(
            "{} holds {found}; --force overwrites it, and everything on it is lost",
            path.display()
        ))),
        None => Ok(medium),
    }
}

/// What is on the disk, a store or other data, in words.
fn holds(medium: &Medium) -> Result<Option<String>, Failure> {
    let mut memory = allocate(memory_len(medium, medium.capacity_bytes()) as u64)?;
    let opened = medium.block_on(Store::open(medium, &mut memory)).map(|_| ());
    match (opened, medium) {
        (Ok(()) | Err(OpenError::MemoryTooSmall { .. }), _) => Ok(Some("a store".to_owned())),
        (Err(OpenError::Device(error)), _) => Err(Failure::new(error.to_string())),
        #[cfg(target_os = "linux")]
        (Err(OpenError::NotFormatted), Medium::Disk(disk)) => disk.foreign(),
        (Err(error), _) => Ok(Some(format!("a store that does not open ({error})"))),
    }
}

fn open_same(path: &Path, args: &FormatArgs) -> Result<Image, Failure> {
    let image = Image::open(path)?;
    let spec = image.drive().spec();
    if let Some(media) = &args.media {
        let wanted = MediaSpec::parse(media)?;
        if wanted != spec {
            return Err(Failure::new(format!(
                "{} is a drive of media {}; remove the file to make another",
                path.display(),
                spec.name
            )));
        }
    }
    Ok(image)
}

fn random_seed() -> Result<u64, Failure> {
    let random = getrandom::u64();
    random.map_err(|error| {
        Failure::new(format!("the system gives no random number: {error}; give a --seed"))
    })
}

/// The limits that `args` ask for.
fn limits(args: &FormatArgs, geometry: &Geometry) -> Limits {
    let suits = Limits::for_geometry(geometry);
    Limits {
        key_len_max: args.key_max.unwrap_or(suits.key_len_max),
        meta_len_max: args.meta_max.unwrap_or(suits.meta_len_max),
        value_len_max: args.value_max.unwrap_or(suits.value_len_max),
        ..suits
    }
}

fn format_medium(medium: &Medium, args: &FormatArgs, seed: u64) -> Result<(), Failure> {
    let mut store_id = [0; 16];
    shingle_sim::synthetic::fill(seed, 0, &mut store_id);
    let geometry = medium.geometry();
    let limits = limits(args, &geometry);
    if geometry.element_count == 1 && (args.mirror == Some(true) || args.mirror_log) {
        let why = "the drive has one storage element: nothing can be kept on two";
        return Err(Failure::new(why));
    }
    let suits = Redundancy::for_geometry(&geometry);
    let parity = args.parity.unwrap_or(0);
    let redundancy = Redundancy {
        mirror_runs: args.mirror.unwrap_or(suits.mirror_runs || parity > 0),
        mirror_log: args.mirror_log,
        parity,
    };
    let options = FormatOptions { store_id, limits, redundancy };
    let suits = memory_len(medium, medium.capacity_bytes());
    let mut memory = allocate(args.place.memory.unwrap_or(suits as u64))?;
    medium.block_on(async {
        let formatted = format(&medium, &mut memory, &options).await;
        formatted.map_err(|error| Failure::new(error.to_string()))?;
        // What was made must open in the memory that it was made with.
        let opened = Store::open(medium, &mut memory).await;
        opened.map(|_| ()).map_err(Failure::from)
    })
}

fn say(args: &FormatArgs, medium: &Medium) -> Result<(), Failure> {
    let mut out = Output::new();
    let image = args.place.image.display().to_string();
    if args.json {
        out.document(&json!({
            "image": image,
            "media": medium.name(),
            "capacity_bytes": medium.capacity_bytes(),
            "zone_count": medium.geometry().zone_count,
        }))?;
    } else {
        out.line(&format!("{image}: empty store on {}", medium.describe()))?;
    }
    out.finish()
}
