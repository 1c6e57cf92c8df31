//! What an image keeps of a drive besides its contents, and the way from one to the other.

use std::fs::File;
use std::io;
use std::rc::Rc;

use shingle_hal::ZoneCondition;

use super::backing::Backing;
use super::device::Drive;
use super::mix::{Rng, Trace};
use crate::media::MediaSpec;

/// The state of a drive at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The virtual time in nanoseconds.
    pub(crate) now_ns: u64,
    /// Requests that were counted.
    pub(crate) requests: u64,
    /// The trace hash.
    pub(crate) trace: u64,
    /// The generator of random bytes.
    pub(crate) rng: u64,
    /// Condition, capacity and blocks written of each zone, and whether the file has contents.
    pub(crate) zones: Vec<(ZoneCondition, u32, u32, bool)>,
    /// Blocks that cannot be read, as zone and block.
    pub(crate) bad: Vec<(u32, u32)>,
}

impl Drive {
    /// The drive that `stored` describes, with its contents in `file` from byte `contents_at` on;
    /// `None` if no drive of model `spec` can be in that state.
    pub(crate) fn from_stored(
        spec: MediaSpec,
        stored: &Stored,
        file: Rc<File>,
        contents_at: u64,
    ) -> Option<Self> {
        let (zone_count, zone_blocks) = (spec.zone_count, spec.zone_blocks);
        let in_drive = |(zone, block): &(u32, u32)| *zone < zone_count && *block < zone_blocks;
        if stored.zones.len() != zone_count as usize || !stored.bad.iter().all(in_drive) {
            return None;
        }
        let drive = Self::new(spec, 0);
        {
            let mut state = drive.state.borrow_mut();
            state.now_ns = stored.now_ns;
            state.requests = stored.requests;
            state.trace = Trace::resume(stored.trace);
            state.rng = Rng::new(stored.rng);
            let mut held = Vec::with_capacity(stored.zones.len());
            for (zone, &(condition, capacity, written, holds)) in (0..).zip(&stored.zones) {
                if !state.zones.load(zone, (condition, capacity, written)) {
                    return None;
                }
                held.push(holds);
            }
            let backing = Backing::new(file, contents_at, held);
            state.blocks.back(backing, &stored.bad);
        }
        Some(drive)
    }

    /// Writes the contents that changed into the image file and returns the state to go with them.
    /// What was unsynced counts as durable from now on.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn store(&self) -> io::Result<Stored> {
        let bad = {
            let mut state = self.state.borrow_mut();
            state.journal.clear();
            state.blocks.save()?
        };
        Ok(Stored { bad, ..self.at_rest() })
    }

    /// The state of the drive, bad blocks left out, as it is when no zone is open.
    pub(crate) fn at_rest(&self) -> Stored {
        let state = self.state.borrow();
        let held = state.blocks.held(state.zones.len());
        let zones = state.pristine_zones().into_iter().zip(held).map(|(zone, held)| {
            let (condition, capacity, written) = zone;
            (condition, capacity, written, held)
        });
        Stored {
            now_ns: state.now_ns,
            requests: state.requests,
            trace: state.trace.value(),
            rng: state.rng.state(),
            zones: zones.collect(),
            bad: Vec::new(),
        }
    }

    /// The image file now holds `stored` for good: contents are read from there.
    pub(crate) fn stored(&self, stored: &Stored) {
        let held = stored.zones.iter().map(|zone| zone.3).collect();
        self.state.borrow_mut().blocks.end_save(held, &stored.bad);
    }
}
