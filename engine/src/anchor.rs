//! Writing the anchors, two zones that hold superblocks and lead to the manifest.
//!
//! Both get every superblock, one after the other. A full anchor is reset just before its
//! superblock is written, when the other one still holds a whole one. Each is read back once it is
//! durable: what a device tore or lost without a word shows while the other one is whole. One that
//! fails is written once more after a reset, lest what is left in it bring back an old manifest.
//!
//! Where a cut came between the two, the one that is behind names a manifest whose zones are free
//! by now. It gets the newest superblock before anything else is written: should the other one fail
//! then, there is a way to the manifest still. There is one, too, where both are lost: see
//! [`rescue`](crate::rescue).
//!
//! One that can be read, but neither written nor reset, would lead to an old manifest once the
//! other one is lost. So a manifest that was replaced is cleared at once, and a superblock that
//! leads nowhere counts for none.
//!
//! Invariants: `K3` both anchors are never without a superblock at once, unless one of them is dead
//! for good (canary `AnchorsResetTogether`). `K4` no zone is reset before both anchors name the
//! manifest that the store was opened with, unless one of them fails. `K5` no anchor leads to a
//! manifest that was replaced before the last write that was acknowledged.
//! Tests: `sim/tests/anchors.rs`.

use shingle_hal::{Class, Device, Error as _, ErrorKind, Extent, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::{Check, Damage, Fault, Structure, is_of_zone};
use crate::format::superblock::{ManifestPlace, Superblock};
use crate::media::Media;
use crate::state::Core;

/// Blocks of an anchor zone that are used.
pub(crate) const ANCHOR_BLOCKS: u32 = 16;
/// Attempts at writing a superblock where the zone's write pointer is not where it should be.
const POINTER_TRIES: u32 = 3;

/// An anchor zone and the next block to write in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    pub(crate) zone: ZoneId,
    pub(crate) next: u32,
    pub(crate) blocks: u32,
    pub(crate) conventional: bool,
    /// Ordinal of the newest superblock that is known to be whole in it; 0 for none.
    pub(crate) newest: u64,
    /// The manifest that it names.
    pub(crate) names: [ManifestPlace; 2],
}

impl Anchor {
    pub(crate) const EMPTY: Self = Self {
        zone: ZoneId(0),
        next: 0,
        blocks: 0,
        conventional: false,
        newest: 0,
        names: [ManifestPlace { zone: 0, generation: 0 }; 2],
    };
}

/// Writes a superblock to one anchor.
///
/// A reset, or power that failed, may have left bytes of nobody before the write pointer. They are
/// passed over, as a reader does: were the zone given up instead, the other anchor might be the
/// next to be reset, and no superblock would be left.
pub(crate) async fn write_superblock<D: Device>(
    media: &Media<D>,
    anchor: &mut Anchor,
    superblock: &Superblock,
    block: &mut [u8],
) -> Result<(), D::Error> {
    let start = media.geometry.zone_start(anchor.zone);
    let mut tries = POINTER_TRIES;
    loop {
        if anchor.next >= anchor.blocks {
            if !anchor.conventional {
                media.reset(anchor.zone).await?;
                anchor.newest = 0;
            }
            anchor.next = 0;
        }
        superblock.encode(block, anchor.next);
        let lba = start.plus(u64::from(anchor.next));
        let Err(error) = media.write(lba, block, Class::Maintenance).await else { break };
        tries -= 1;
        match error.kind() {
            ErrorKind::UnalignedWrite { write_pointer: Some(at) } if tries > 0 && at > lba => {
                let next = (at.0 - start.0).min(u64::from(anchor.blocks));
                anchor.next = next as u32;
            }
            _ => return Err(error),
        }
    }
    anchor.next += 1;
    // Its open resource is given back between superblocks.
    if anchor.conventional { Ok(()) } else { media.close(anchor.zone).await }
}

impl<D: Device> Core<'_, D> {
    /// Writes a superblock to both anchors, or to the one that can be written.
    pub(crate) async fn write_anchors(
        &self,
        superblock: &Superblock,
        memory: &mut [u8],
    ) -> Result<(), Fault<D::Error>> {
        let mut anchors = self.state.borrow().anchors;
        let block = &mut memory[..self.media.block_len()];
        if planted(Bug::AnchorsResetTogether) && anchors.iter().all(|a| a.next >= a.blocks) {
            for anchor in &mut anchors {
                self.media.device.reset(anchor.zone).await.map_err(Fault::Device)?;
                anchor.next = 0;
            }
            self.sync_device().await?;
        }
        // If one fell behind, that one goes first: a reset of the other would leave a superblock
        // whose manifest is long gone.
        let behind = usize::from(anchors[1].newest < anchors[0].newest);
        let first = self.write_anchor(&mut anchors, behind, superblock, block).await?;
        let second = self.write_anchor(&mut anchors, 1 - behind, superblock, block).await?;
        if let (Err(_), Err(fault)) = (first, second) {
            // Whether an anchor names the new copies now is unknown, so they must stay.
            self.state.borrow_mut().read_only = true;
            return self.poison(fault);
        }
        self.state.borrow_mut().anchors = anchors;
        Ok(())
    }

    /// Writes the superblock that the store was opened with to the anchor that is behind (`K4`).
    pub(crate) async fn even_anchors(&self, memory: &mut [u8]) -> Result<(), Fault<D::Error>> {
        let mut anchors = self.state.borrow().anchors;
        let superblock = self.superblock.get();
        let block = &mut memory[..self.media.block_len()];
        for index in 0..anchors.len() {
            if anchors[index].newest < superblock.ordinal {
                // If it fails, the other one will do.
                let failed = self.write_anchor(&mut anchors, index, &superblock, block).await?;
                for place in anchors[index].names.iter().filter(|_| failed.is_err()) {
                    self.clear_manifest(ZoneId(place.zone), block).await?;
                }
            }
        }
        self.state.borrow_mut().anchors = anchors;
        Ok(())
    }

    /// Writes a superblock to one of the anchors, makes it durable and reads it back. The inner
    /// error is that of an anchor that fails.
    ///
    /// # Errors
    /// The device's, where it concerns more than the anchor's zone.
    async fn write_anchor(
        &self,
        anchors: &mut [Anchor; 2],
        index: usize,
        superblock: &Superblock,
        block: &mut [u8],
    ) -> Result<Result<(), Fault<D::Error>>, Fault<D::Error>> {
        // The newest one that was published, or this one.
        let other = anchors[1 - index].newest + 1 >= superblock.ordinal;
        let anchor = &mut anchors[index];
        let mut failed = Ok(());
        for _ in 0..2 {
            match write_superblock(&self.media, anchor, superblock, block).await {
                Ok(()) => {
                    self.sync_device().await?;
                    failed = self.read_back(anchor, superblock, block).await?;
                    if failed.is_ok() {
                        (anchor.newest, anchor.names) = (superblock.ordinal, superblock.manifest);
                        return Ok(Ok(()));
                    }
                }
                Err(error) if is_of_zone(error.kind()) => {
                    failed = Err(Fault::Device(error));
                    anchor.next += 1;
                }
                Err(error) => return self.poison(Fault::Device(error)),
            }
            if anchor.conventional {
                continue;
            }
            // The next attempt comes after a reset: not now, if that would leave no superblock.
            anchor.next = anchor.blocks;
            if !other && anchor.newest > 0 {
                break;
            }
        }
        Ok(failed)
    }

    /// Whether the superblock that was written last to an anchor is there.
    async fn read_back(
        &self,
        anchor: &Anchor,
        superblock: &Superblock,
        block: &mut [u8],
    ) -> Result<Result<(), Fault<D::Error>>, Fault<D::Error>> {
        let at = anchor.next - 1;
        let lba = self.media.geometry.zone_start(anchor.zone).plus(u64::from(at));
        let read = match self.media.try_read(lba, block).await {
            Ok(read) => read,
            Err(error) => return self.poison(Fault::Device(error)),
        };
        let is_there = |found: Superblock| found.ordinal == superblock.ordinal;
        if read && Superblock::decode(block, at).is_some_and(is_there) {
            return Ok(Ok(()));
        }
        let (extent, structure) = (Extent::new(lba, 1), Structure::Superblock);
        Ok(Err(Fault::Damaged(Damage { extent, structure, check: Check::Malformed })))
    }
}

#[cfg(test)]
mod tests {
    use shingle_hal::{Lba, block_on};

    use super::*;
    use crate::format::superblock::{Limits, MAGIC, Redundancy, VERSION};
    use crate::ram::Ram;

    fn superblock() -> Superblock {
        Superblock {
            magic: MAGIC,
            version: VERSION,
            ordinal: 3,
            store_id: [1; 16],
            block_len_bytes: 512,
            zone_count: 8,
            zone_blocks: 64,
            limits: Limits::for_geometry(&Ram::GEOMETRY),
            manifest: [ManifestPlace { zone: 2, generation: 1 }; 2],
            first_edit: 1,
            redundancy: Redundancy::NONE,
        }
    }

    fn write(media: &Media<Ram>, anchor: &mut Anchor) -> Result<(), ErrorKind> {
        block_on(write_superblock(media, anchor, &superblock(), &mut [0; 512]))
    }

    fn pointer_at(lba: u64) -> Result<(), ErrorKind> {
        Err(ErrorKind::UnalignedWrite { write_pointer: Some(Lba(lba)) })
    }

    fn anchor(next: u32) -> Anchor {
        Anchor { zone: ZoneId(1), next, blocks: 16, newest: 2, ..Anchor::EMPTY }
    }

    #[test]
    fn blocks_of_nobody_are_passed_over() {
        let media = Media::new(Ram::new());
        media.device.answers.borrow_mut().push_back(pointer_at(64 + 9));
        let mut anchor = anchor(4);
        write(&media, &mut anchor).unwrap();
        assert_eq!(anchor.next, 10);
        assert_eq!(*media.device.asked.borrow(), [("write", 68), ("write", 73), ("close", 1)]);
        let block = media.device.blocks(73, 1);
        assert!(Superblock::decode(&block, 9).is_some_and(|found| found.ordinal == 3));
    }

    #[test]
    fn full_anchor_is_reset_first() {
        let media = Media::new(Ram::new());
        // Its pointer is behind the blocks that are used.
        media.device.answers.borrow_mut().push_back(pointer_at(64 + 20));
        let mut anchor = anchor(15);
        write(&media, &mut anchor).unwrap();
        assert_eq!((anchor.next, anchor.newest), (1, 0));
        let asked = [("write", 79), ("reset", 1), ("write", 64), ("close", 1)];
        assert_eq!(*media.device.asked.borrow(), asked);
    }

    #[test]
    fn pointer_that_goes_back_or_on_and_on_is_an_error() {
        let media = Media::new(Ram::new());
        media.device.answers.borrow_mut().push_back(pointer_at(64 + 4));
        assert!(write(&media, &mut anchor(4)).is_err());
        media.device.answers.borrow_mut().extend((5..9).map(|at| pointer_at(64 + at)));
        assert!(write(&media, &mut anchor(4)).is_err());
        let tries = media.device.asked.borrow().iter().filter(|(verb, _)| *verb == "write").count();
        assert_eq!(tries, 1 + POINTER_TRIES as usize);
    }
}
