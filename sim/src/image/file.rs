//! An image file: created, opened, saved.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::{ImageError, ImageErrorKind, Structure};
use super::layout::{
    CONTENTS_AT, MARK_LEN, MARKS_AT, Mark, SAVING_AT, TABLE_ROOM, decode_header, decode_table,
    encode_header, encode_table, file_len, table_at,
};
use crate::drive::Drive;
use crate::media::MediaSpec;

/// A drive that persists in a file. See the [module](super).
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    file: Rc<File>,
    spec: MediaSpec,
    generation: u64,
    interrupted: bool,
    drive: Drive,
}

impl Image {
    /// Makes a file at `path` for a new drive of model `spec`; see [`Drive::new`].
    ///
    /// # Errors
    /// [`Exists`](ImageErrorKind::Exists) if there is a file already, and those of the file system.
    pub fn create(path: &Path, spec: MediaSpec, seed: u64) -> Result<Self, ImageError> {
        Self::create_file(path, &spec, seed)
            .map_err(|kind| kind.at(path))
            .and_then(|()| Self::open(path))
    }

    fn create_file(path: &Path, spec: &MediaSpec, seed: u64) -> Result<(), ImageErrorKind> {
        let header = encode_header(spec).ok_or_else(|| {
            ImageErrorKind::Io(io::Error::other("the model does not fit into the header"))
        })?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        lock(&file)?;
        file.set_len(file_len(spec))?;
        let stored = Drive::new(spec.clone(), seed).at_rest();
        write_table(&file, spec, 0, &encode_table(&stored))?;
        // Last, so that a file which was not finished is no image.
        file.write_all_at(&header, 0)?;
        Ok(())
    }

    /// Opens the image at `path`, with its drive at rest.
    ///
    /// # Errors
    /// [`Locked`](ImageErrorKind::Locked), a file that is none of ours, or damaged.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Self::open_file(path).map_err(|kind| kind.at(path))
    }

    fn open_file(path: &Path) -> Result<Self, ImageErrorKind> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        lock(&file)?;
        let spec = decode_header(&read_up_to(&file, 0, MARKS_AT[0] as usize)?)?;
        let (found, expected) = (file.metadata()?.len(), file_len(&spec));
        if found < expected {
            return Err(ImageErrorKind::Truncated { found, expected });
        }
        let mut marks = Vec::new();
        for at in MARKS_AT {
            let mut bytes = [0; MARK_LEN];
            file.read_exact_at(&mut bytes, at)?;
            marks.extend(Mark::decode(&bytes));
        }
        let mark = marks.into_iter().max_by_key(|mark| mark.generation);
        let mark = mark.ok_or(ImageErrorKind::Damaged(Structure::Mark))?;
        let mut saving = [0; 8];
        file.read_exact_at(&mut saving, SAVING_AT)?;
        let table = read_table(&file, &spec, mark)?;
        let stored = decode_table(&table).ok_or(ImageErrorKind::Damaged(Structure::Table))?;
        let file = Rc::new(file);
        let drive = Drive::from_stored(spec.clone(), &stored, file.clone(), CONTENTS_AT)
            .ok_or(ImageErrorKind::Damaged(Structure::Table))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            spec,
            generation: mark.generation,
            interrupted: u64::from_le_bytes(saving) > mark.generation,
            drive,
        })
    }

    /// The drive. What it is told lasts only once it is [saved](Self::save).
    #[must_use]
    pub const fn drive(&self) -> &Drive {
        &self.drive
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the last save before this image was opened did not end: the zone table is that of
    /// the save before it, but contents may be newer.
    #[must_use]
    pub const fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Writes to the file what changed on the drive, and frees the memory that it took. The drive
    /// stays as it is, except that whatever was unsynced is durable now; in the file it is at
    /// rest, with no zone open. Copies that were made of the drive before cannot be read any more.
    ///
    /// # Errors
    /// [`PowerCut`](ImageErrorKind::PowerCut), or those of the file system; the file then opens as
    /// it was before, but see [`was_interrupted`](Self::was_interrupted).
    pub fn save(&mut self) -> Result<(), ImageError> {
        let saved = self.save_file();
        saved.map_err(|kind| kind.at(&self.path))
    }

    fn save_file(&mut self) -> Result<(), ImageErrorKind> {
        if self.drive.is_cut() {
            return Err(ImageErrorKind::PowerCut);
        }
        let generation = self.generation + 1;
        self.file.write_all_at(&generation.to_le_bytes(), SAVING_AT)?;
        let stored = self.drive.store()?;
        write_table(&self.file, &self.spec, generation, &encode_table(&stored))?;
        self.generation = generation;
        self.interrupted = false;
        self.drive.stored(&stored);
        Ok(())
    }
}

fn lock(file: &File) -> Result<(), ImageErrorKind> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => ImageErrorKind::Locked,
        TryLockError::Error(error) => error.into(),
    })
}

/// Writes a table where the one in use is not, then makes it the one in use.
fn write_table(
    file: &File,
    spec: &MediaSpec,
    generation: u64,
    table: &[u8],
) -> Result<(), ImageErrorKind> {
    if table.len() as u64 > TABLE_ROOM {
        let error = io::Error::other("the zone table does not fit into its room");
        return Err(ImageErrorKind::Io(error));
    }
    let number = generation % 2;
    file.write_all_at(table, table_at(spec, number))?;
    // The mark must not reach the disk before what it vouches for.
    file.sync_data()?;
    let mark = Mark::new(generation, table).encode();
    file.write_all_at(&mark, MARKS_AT[number as usize])?;
    file.sync_data()?;
    Ok(())
}

fn read_table(file: &File, spec: &MediaSpec, mark: Mark) -> Result<Vec<u8>, ImageErrorKind> {
    let damaged = ImageErrorKind::Damaged(Structure::Table);
    if mark.table_len > TABLE_ROOM {
        return Err(damaged);
    }
    let mut table = vec![0; mark.table_len as usize];
    file.read_exact_at(&mut table, table_at(spec, mark.generation % 2))?;
    match crc32c::crc32c(&table) == mark.table_crc {
        true => Ok(table),
        false => Err(damaged),
    }
}

/// Reads `len` bytes at `at`, or fewer at the end of the file.
fn read_up_to(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut count = 0;
    while count < len {
        match file.read_at(&mut bytes[count..], at + count as u64)? {
            0 => break,
            more => count += more,
        }
    }
    bytes.truncate(count);
    Ok(bytes)
}
