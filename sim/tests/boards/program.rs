//! What is in a board's program: how much of its memories it takes, and where it may panic.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use object::{File, Object as _, ObjectSection as _, SectionFlags, SectionKind};

/// Bytes of a program by what they are for.
#[derive(Clone, Copy, Default)]
struct Sizes {
    code: u64,
    constants: u64,
    ram: u64,
}

fn read(elf: &Path) -> Result<Vec<u8>, String> {
    fs::read(elf).map_err(|error| format!("{}: {error}", elf.display()))
}

fn parse<'f>(elf: &Path, bytes: &'f [u8]) -> Result<File<'f>, String> {
    File::parse(bytes).map_err(|error| format!("{} is no program: {error}", elf.display()))
}

/// A row for each program: code, constants, and memory that is taken from the start.
pub(crate) fn sizes(elfs: &[PathBuf]) -> Result<String, String> {
    let mut rows =
        String::from("| program | code | constants | static memory |\n|---|---|---|---|");
    for elf in elfs {
        let Sizes { code, constants, ram } = measure(&parse(elf, &read(elf)?)?);
        let name = elf.file_name().unwrap_or_default().to_string_lossy();
        let _ = write!(rows, "\n| {name} | {code} | {constants} | {ram} |");
    }
    Ok(rows)
}

fn measure(file: &File<'_>) -> Sizes {
    let mut sizes = Sizes::default();
    for section in file.sections() {
        let is_loaded = match section.flags() {
            SectionFlags::Elf { sh_flags } => sh_flags & u64::from(object::elf::SHF_ALLOC) != 0,
            _ => false,
        };
        // Stacks and the like have their room from the memory map.
        if matches!(section.name(), Ok(".stack" | ".stacks" | ".heap" | ".filler")) {
            continue;
        }
        match section.kind() {
            SectionKind::Text if is_loaded => sizes.code += section.size(),
            SectionKind::UninitializedData => sizes.ram += section.size(),
            SectionKind::Data if is_loaded => {
                sizes.constants += section.size();
                sizes.ram += section.size();
            }
            _ if is_loaded => sizes.constants += section.size(),
            _ => {}
        }
    }
    sizes
}

/// Every place in the sources that a panic of the program would name. They are found by their
/// form: address and length of a path, line, column, in words of 32 bits.
pub(crate) fn panics(elf: &Path) -> Result<String, String> {
    let bytes = read(elf)?;
    let file = parse(elf, &bytes)?;
    let loaded: Vec<(u64, &[u8])> = file
        .sections()
        .filter(|section| section.address() != 0 || section.kind() == SectionKind::Text)
        .filter_map(|section| Some((section.address(), section.data().ok()?)))
        .filter(|(_, data)| !data.is_empty())
        .collect();
    let text_at = |address: u32, len: u32| {
        loaded.iter().find_map(|(start, data)| {
            let from = u64::from(address).checked_sub(*start)?;
            let part = data.get(from as usize..)?.get(..len as usize)?;
            std::str::from_utf8(part).ok().filter(|text| text.ends_with(".rs"))
        })
    };
    let mut places = BTreeSet::new();
    for (_, data) in &loaded {
        let words: Vec<u32> = data
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect();
        for place in words.windows(4) {
            if let [address, len @ 4..300, line @ 1..100_000, column @ 1..1000] = *place
                && let Some(path) = text_at(address, len)
            {
                // From the crate on.
                let path = path.rfind("/src/").map_or(path, |src| {
                    &path[path[..src].rfind('/').map_or(0, |before| before + 1)..]
                });
                places.insert((path.to_owned(), line, column));
            }
        }
    }
    let mut said = String::new();
    for (path, line, column) in &places {
        let _ = writeln!(said, "{path}:{line}:{column}");
    }
    let _ = write!(said, "{} places", places.len());
    Ok(said)
}
