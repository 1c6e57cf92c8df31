//! Sense data: any of them is some kind of error, and any kind calls for some reaction.

use arbitrary::{Arbitrary, Unstructured};
use shingle_hal::{ErrorKind, Lba, Sense};

/// What a drive answers.
#[derive(Arbitrary, Debug)]
struct Input {
    key: u8,
    asc: u8,
    ascq: u8,
    info: Option<u64>,
}

/// Reads bytes as sense data; a kind that names a block names the one of the information field.
pub(super) fn run(bytes: &[u8]) -> Result<(), String> {
    let mut bytes = Unstructured::new(bytes);
    while !bytes.is_empty() {
        let Ok(input) = Input::arbitrary(&mut bytes) else { break };
        let info = input.info.map(Lba);
        let kind = Sense::new(input.key, input.asc, input.ascq).kind(info);
        let _ = kind.disposition();
        let place = match kind {
            ErrorKind::UnrecoveredRead { first }
            | ErrorKind::RecoveredRead { first }
            | ErrorKind::WriteFault { first }
            | ErrorKind::ReadPastWritePointer { first } => first,
            ErrorKind::UnalignedWrite { write_pointer } => write_pointer,
            _ => info,
        };
        if place != info {
            return Err(format!("{input:?} is {kind:?}"));
        }
    }
    Ok(())
}
