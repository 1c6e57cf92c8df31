//! The events that a board told in its file `log`, in the words of its ELF.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use defmt_decoder::{DecodeError, Table};

/// A line for each event in the file; none if there is no file. One that was cut off is left out.
pub(crate) fn decode(elf: &Path, log: &Path) -> Result<Vec<String>, String> {
    let bytes = match fs::read(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| format!("{}: {error}", log.display()))?,
    };
    let program = fs::read(elf).map_err(|error| format!("{}: {error}", elf.display()))?;
    let table = Table::parse(&program).map_err(|error| format!("{}: {error}", elf.display()))?;
    let Some(table) = table else {
        return Err(format!("{} has no words for events", elf.display()));
    };
    let mut decoder = table.new_stream_decoder();
    decoder.received(&bytes);
    let mut lines = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => lines.push(frame.display(false).to_string()),
            Err(DecodeError::UnexpectedEof) => return Ok(lines),
            Err(DecodeError::Malformed) => {
                return Err(format!("{} holds what is no event", log.display()));
            }
        }
    }
}
