//! `shingle import` and `export`: directory trees as keys and back.
//!
//! A key is a prefix and the path below the directory, its parts joined by `/`. The metadata are 16
//! bytes, little endian: `mode:u32 mtime_s:i64 mtime_ns:u32`.

use std::fs::{self, File, Metadata, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shingle_engine::{Meta, WriteOptions};

use super::args::{ExportArgs, ImportArgs};
use super::medium::Medium;
use super::range::{Entry, Range};
use super::scan::Walk;
use super::session::Session;
use super::values::{open_file, read_up_to};
use super::{Failure, Output, Shop, key, size};

/// Bytes of a value that are copied at once.
const PIECE_LEN: usize = 1 << 20;

/// The metadata of a file as they are stored.
pub(crate) fn metadata_bytes(found: &Metadata) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&found.mode().to_le_bytes());
    bytes[4..12].copy_from_slice(&found.mtime().to_le_bytes());
    bytes[12..].copy_from_slice(&(found.mtime_nsec() as u32).to_le_bytes());
    bytes
}

/// Regular files below `dir` in the order of their names, and how many other things there are.
fn files_below(dir: &Path) -> Result<(Vec<PathBuf>, u64), Failure> {
    let (mut files, mut others) = (Vec::new(), 0);
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        let failed = |error| Failure::file(&next, &error);
        for entry in fs::read_dir(&next).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            } else {
                others += 1;
            }
        }
    }
    files.sort();
    Ok((files, others))
}

/// What was imported or exported.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
}

pub(super) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let found = fs::metadata(&args.dir).map_err(|error| Failure::file(&args.dir, &error))?;
    if !found.is_dir() {
        return Err(Failure::new(format!("{} is not a directory", args.dir.display())));
    }
    let mut session = Session::open(&args.place)?;
    let (files, others) = files_below(&args.dir)?;
    let image = fs::canonicalize(&args.place.image).ok();
    let prefix = key::parse(&args.prefix)?;
    let bar = progress(files.len() as u64);
    let mut tally = Tally::default();
    let imported = session.write(async |store: &Shop<'_, '_>| {
        for path in &files {
            // The image itself may lie in the tree.
            if image.is_some() && fs::canonicalize(path).ok() == image {
                continue;
            }
            let put = import_file(store, &args.dir, path, &prefix).await;
            tally.bytes += put.map_err(|failure| failure.about(path.display()))?;
            tally.files += 1;
            bar.inc(1);
        }
        Ok(())
    });
    bar.finish_and_clear();
    imported.map_err(|failure| {
        let kept = format!("{} files imported before it are kept", tally.files);
        if failure.is_full() {
            failure.and(kept).and("deleting makes room")
        } else {
            failure.and(kept)
        }
    })?;
    if others > 0 {
        eprintln!("shingle: {others} links and special files left out");
    }
    say(args.json, "imported", &tally, others)
}

async fn import_file(
    store: &Shop<'_, '_>,
    dir: &Path,
    path: &Path,
    prefix: &[u8],
) -> Result<u64, Failure> {
    let below = path.strip_prefix(dir).unwrap_or(path);
    let key = [prefix, below.as_os_str().as_bytes()].concat();
    let file = open_file(path)?;
    let found = file.metadata().map_err(|error| Failure::file(path, &error))?;
    let mut value = Vec::with_capacity(found.len() as usize);
    read_up_to(file, store.limits().value_len_max, &mut value)
        .map_err(|error| Failure::file(path, &error))?;
    let meta = metadata_bytes(&found);
    store.put(&key, Meta::new(&meta, 0), &value, WriteOptions::BUFFERED).await?;
    Ok(value.len() as u64)
}

fn progress(files: u64) -> ProgressBar {
    let bar = ProgressBar::new(files);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} files {eta}") {
        bar.set_style(style);
    }
    bar
}

fn say(json: bool, verb: &str, tally: &Tally, left_out: u64) -> Result<(), Failure> {
    let mut out = Output::new();
    if json {
        out.document(&json!({ "files": tally.files, "bytes": tally.bytes, "left_out": left_out }))?;
    } else {
        out.line(&format!("{verb} {} files, {}", tally.files, size::show(tally.bytes)))?;
    }
    out.finish()
}

pub(super) fn export(args: &ExportArgs) -> Result<(), Failure> {
    if args.dir.exists() && !args.dir.is_dir() {
        return Err(Failure::new(format!("{} is not a directory", args.dir.display())));
    }
    let prefix = key::parse(&args.prefix)?;
    let range = Range::prefix(prefix.clone());
    let session = Session::open(&args.place)?;
    let (mut tally, mut refused) = (Tally::default(), 0);
    session.read(async |store: &Shop<'_, '_>| {
        fs::create_dir_all(&args.dir).map_err(|error| Failure::file(&args.dir, &error))?;
        let mut scratch = Range::scratch(store);
        let mut walk = range.walk(store, &mut scratch).await?;
        while let Some(entry) = walk.next().await? {
            match export_entry(&mut walk, &entry, args, &prefix).await {
                Ok(()) => {
                    tally.files += 1;
                    tally.bytes += entry.value_len;
                }
                Err(failure) => {
                    failure.about(key::show(&entry.key)).print();
                    refused += 1;
                }
            }
        }
        Ok(())
    })?;
    say(args.json, "exported", &tally, refused)?;
    match refused {
        0 => Ok(()),
        count => Err(Failure::new(format!("{count} keys could not be exported"))),
    }
}

/// The path that a key stands for, if it stays below the directory.
fn path_of(key: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(key.to_vec()));
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let fits = !key.is_empty()
        && !key.contains(&0)
        && !key.ends_with(b"/")
        && path.components().all(plain);
    fits.then_some(path)
}

async fn export_entry(
    walk: &mut Walk<'_, '_, '_, &Medium>,
    entry: &Entry,
    args: &ExportArgs,
    prefix: &[u8],
) -> Result<(), Failure> {
    let below = path_of(&entry.key[prefix.len()..]);
    let below = below.ok_or_else(|| Failure::new("the key is no relative path"))?;
    let path = args.dir.join(&below);
    // A link in the directory could lead out of it.
    let mut dir = args.dir.clone();
    for part in below.parent().into_iter().flat_map(Path::components) {
        dir.push(part);
        if dir.is_symlink() {
            return Err(Failure::new(format!("{} is a link", dir.display())));
        }
    }
    fs::create_dir_all(&dir).map_err(|error| Failure::file(&dir, &error))?;
    if args.force && path.is_symlink() {
        fs::remove_file(&path).map_err(|error| Failure::file(&path, &error))?;
    }
    let failed = |error| Failure::file(&path, &error);
    let mut options = File::options();
    options.write(true).truncate(args.force).create(args.force).create_new(!args.force);
    let mut file = options.open(&path).map_err(failed)?;
    let mut piece = vec![0; PIECE_LEN];
    let mut offset = 0;
    while offset < entry.value_len {
        let len = walk.value(offset, &mut piece).await?;
        if len == 0 {
            return Err(Failure::new("the value ended early"));
        }
        file.write_all(&piece[..len]).map_err(failed)?;
        offset += len as u64;
    }
    restore_metadata(&file, &entry.meta).map_err(failed)
}

fn restore_metadata(file: &File, meta: &[u8]) -> std::io::Result<()> {
    let Ok(meta) = <&[u8; 16]>::try_from(meta) else {
        return Ok(());
    };
    let mode = u32::from_le_bytes([meta[0], meta[1], meta[2], meta[3]]);
    let seconds = meta[4..12].iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let nanos = u32::from_le_bytes([meta[12], meta[13], meta[14], meta[15]]) % 1_000_000_000;
    // Other metadata may be 16 bytes long as well: only what makes sense as a time is taken.
    let since = Duration::new(seconds, nanos);
    if let Some(changed) = UNIX_EPOCH.checked_add(since).filter(|_| seconds < 1 << 40) {
        file.set_modified(changed)?;
        file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    }
    Ok(())
}
