//! The seal: the checksum at the end of each unit that is read as a whole.
//!
//! A unit (a block of a log, manifest or anchor zone; a node of a run) ends in a tag of four bytes,
//! free for its owner, and a CRC-32C of all bytes before it followed by the store's tag, the
//! zone's generation and the unit's first block in the zone. A unit that was torn, rotted, left
//! over from an earlier life of the zone, or written for another place fails the check.
//! Layout: `FORMAT.md` §2.
//!
//! Invariants: `S1` no unit is used before [`check`] passed (`media` is the only reader).
//! `S2` both checksum implementations agree (test `checksum_host_and_table_agree`).
//!
//! # Source
//! CRC-32C (Castagnoli), RFC 3720 §12.1; identity in the checksum after "Parity Lost and Parity
//! Regained" (FAST'08).

use crate::error::Check;
use crate::limits::SEAL_LEN;

/// What a unit's checksum is bound to besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// From the store's id; tells one store's media from another's.
    pub store_tag: u32,
    /// The generation of the zone.
    pub generation: u32,
    /// The unit's first block, counted from the start of the zone.
    pub block: u32,
}

/// Writes the seal of `unit` with `tag`.
///
/// # Panics
/// If the unit is shorter than a seal.
pub fn seal(unit: &mut [u8], tag: u32, identity: Identity) {
    assert!(unit.len() >= SEAL_LEN, "S1: a unit holds its seal");
    if let Some((body, place)) = unit.split_last_chunk_mut::<4>() {
        if let Some(place) = body.last_chunk_mut() {
            *place = tag.to_le_bytes();
        }
        *place = compute(body, identity).to_le_bytes();
    }
}

/// Checks the seal of `unit` and returns its tag.
///
/// # Errors
/// Both checksums if they differ.
pub fn check(unit: &[u8], identity: Identity) -> Result<u32, Check> {
    let (body, &stored) = unit.split_last_chunk().ok_or(Check::Malformed)?;
    let &tag = body.last_chunk().ok_or(Check::Malformed)?;
    let stored = u32::from_le_bytes(stored);
    let computed = compute(body, identity);
    if stored == computed {
        Ok(u32::from_le_bytes(tag))
    } else {
        Err(Check::Checksum { stored, computed })
    }
}

fn compute(bytes: &[u8], identity: Identity) -> u32 {
    let mut place = [0; 12];
    if !cfg!(feature = "canary") || !crate::canary::planted(crate::canary::Bug::UnboundSeal) {
        place[..4].copy_from_slice(&identity.store_tag.to_le_bytes());
        place[4..8].copy_from_slice(&identity.generation.to_le_bytes());
        if !cfg!(feature = "canary") || !crate::canary::planted(crate::canary::Bug::PlaceUnbound) {
            place[8..].copy_from_slice(&identity.block.to_le_bytes());
        }
    }
    extend(extend(0, bytes), &place)
}

/// The generation under which `unit` is sealed, if it is whole and of this block. Any unit has one,
/// so the answer means something only if such a zone can be.
#[must_use]
pub fn sealed_generation(unit: &[u8], store_tag: u32, block: u32) -> Option<u32> {
    let (before, after) = around_place(unit, store_tag)?;
    Some(undo_word(undo_word(after) ^ block) ^ before)
}

/// The block that `unit` is sealed for, if it is whole and of this generation; as above.
#[must_use]
pub fn sealed_block(unit: &[u8], store_tag: u32, generation: u32) -> Option<u32> {
    let (before, after) = around_place(unit, store_tag)?;
    Some(undo_word(after) ^ !extend(!before, &generation.to_le_bytes()))
}

/// The register of the checksum before the generation, and as it is stored.
fn around_place(unit: &[u8], store_tag: u32) -> Option<(u32, u32)> {
    let (body, &stored) = unit.split_last_chunk()?;
    let before = extend(extend(0, body), &store_tag.to_le_bytes());
    Some((!before, !u32::from_le_bytes(stored)))
}

/// The register, exclusive-or the word, from which 32 bits made `register`: a checksum is linear,
/// so the last words that went into it can be told from it.
fn undo_word(register: u32) -> u32 {
    (0..32).fold(register, |register, _| match register >> 31 {
        0 => register << 1,
        _ => (register ^ 0x82f6_3b78) << 1 | 1,
    })
}

/// The CRC-32C of `bytes`.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    extend(0, bytes)
}

#[cfg(feature = "std")]
fn extend(checksum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(checksum, bytes)
}

#[cfg(not(feature = "std"))]
fn extend(checksum: u32, bytes: &[u8]) -> u32 {
    extend_by_table(checksum, bytes)
}

#[cfg(any(test, not(feature = "std")))]
fn extend_by_table(checksum: u32, bytes: &[u8]) -> u32 {
    static TABLE: crc::Crc<u32, crc::Table<16>> =
        crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);
    // The crate reflects and inverts the initial value: undo both to continue from a checksum.
    let mut digest = TABLE.digest_with_initial((!checksum).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// Little-endian u32 from the first four bytes.
///
/// # Panics
/// If there are fewer; callers pass slices of their own making.
#[allow(clippy::indexing_slicing)] // the length is the caller's own, never one from media
pub(crate) fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Identity = Identity { store_tag: 7, generation: 3, block: 9 };

    #[test]
    fn checksum_host_and_table_agree() {
        let bytes: std::vec::Vec<u8> = (0..5000u32).map(|i| (i * 31 % 251) as u8).collect();
        for len in [0, 1, 8, 9, 63, 64, 4096, 5000] {
            assert_eq!(extend_by_table(0, &bytes[..len]), crc32c_reference(0, &bytes[..len]));
            let half = len / 2;
            let first = extend_by_table(0, &bytes[..half]);
            assert_eq!(
                extend_by_table(first, &bytes[half..len]),
                crc32c_reference(0, &bytes[..len])
            );
            assert_eq!(checksum(&bytes[..len]), crc32c_reference(0, &bytes[..len]));
        }
        assert_eq!(checksum(b"123456789"), 0xe306_9283); // the check value of the CRC catalogue
    }

    fn crc32c_reference(seed: u32, bytes: &[u8]) -> u32 {
        let mut crc = !seed;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        !crc
    }

    #[test]
    fn seal_tells_which_place_it_was_made_for() {
        let mut unit = [5u8; 512];
        for (generation, block) in [(3, 9), (1, 0), (70_000, 65_535)] {
            seal(&mut unit, 77, Identity { store_tag: 7, generation, block });
            assert_eq!(sealed_generation(&unit, 7, block), Some(generation));
            assert_eq!(sealed_block(&unit, 7, generation), Some(block));
            assert_ne!(sealed_block(&unit, 7, generation + 1), Some(block));
            assert_ne!(sealed_generation(&unit, 8, block), Some(generation));
        }
        assert_eq!(sealed_block(&[0; 3], 7, 3), None);
    }

    #[test]
    fn seal_of_another_place_is_refused() {
        let mut unit = [5u8; 512];
        seal(&mut unit, 77, HERE);
        assert_eq!(check(&unit, HERE), Ok(77));
        for other in [
            Identity { store_tag: 8, ..HERE },
            Identity { generation: 4, ..HERE },
            Identity { block: 8, ..HERE },
        ] {
            assert!(check(&unit, other).is_err());
        }
        unit[100] ^= 1;
        assert!(check(&unit, HERE).is_err());
    }
}
