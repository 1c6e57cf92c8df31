//! Reads that have a deadline, of what has another copy: the other copy first, effort after.
//!
//! Why: a drive may try for seconds to recover a block, and one that cannot be read is read again,
//! in halves and alone, before it counts as damaged. Whoever has a deadline is better served by the
//! other copy, which a single read most often gives.
//!
//! The order is: one attempt at the first copy, in half of the time that is left; one at the other,
//! in all of it; then everything that is done without a deadline, until it has passed. Without
//! another copy all the time is the first one's. Half, because neither which copy is the bad one
//! nor how long a device tries is known: each copy then has as much as the other at least.
//!
//! What a single attempt did not give is not damage: nothing is marked as such here. Where the
//! device could not read a block, or what it read was wrong, and the other copy had it, the place
//! counts as read with effort, so that it is written anew (`health`). Where it merely took too
//! long, nothing is noted: a busy drive looks the same.
//!
//! Invariants: `E1` after the deadline no read begins (`media`; test
//! `get_that_meets_its_deadline_in_halving_stops`). `E2` a read that its deadline ended marks
//! nothing (test `reads_that_end_for_the_deadline_mark_nothing`).

use shingle_hal::{Device, ErrorKind, Request};

use crate::error::{Check, Fault, Structure};
use crate::media::Place;
use crate::state::Core;

impl<D: Device> Core<'_, D> {
    /// Reads blocks of values that are rebuilt where the first attempt does not give them; false
    /// if that is not for this request, or did not give them either.
    pub(crate) async fn read_in_haste(
        &self,
        place: Place,
        out: &mut [u8],
        request: Request,
    ) -> Result<bool, Fault<D::Error>> {
        if request.deadline_us.is_none() {
            return Ok(false);
        }
        let sources = self.sources_of(place.generation);
        if sources.is_none() {
            return Ok(false);
        }
        let (len, structure) = (self.media.block_len(), Structure::Value);
        let half = self.media.halved(request);
        let first = self.media.read_once(place, out, len, structure, half).await;
        if !is_for_the_other(&first) {
            return first.map(|()| true);
        }
        let mut scratch = self.spare.take(&self.lot).await;
        let what = (structure, request);
        let other = sources.rebuild(&self.media, place, out, &mut scratch, what).await;
        self.settle(first, other.map_err(|(_, fault)| fault))
    }

    /// The same for nodes, which have a twin.
    pub(crate) async fn read_nodes_in_haste(
        &self,
        place: Place,
        out: &mut [u8],
        request: Request,
    ) -> Result<bool, Fault<D::Error>> {
        if request.deadline_us.is_none() {
            return Ok(false);
        }
        let twin = {
            let state = self.state.borrow();
            let zone = state.zones.find(place.generation);
            zone.and_then(|zone| state.zones.twin(zone)).map(|twin| state.zones.map(twin))
        };
        let Some(map) = twin else { return Ok(false) };
        let (len, structure) = (self.shape.node_len, Structure::RunNode);
        let half = self.media.halved(request);
        let first = self.media.read_once(place, out, len, structure, half).await;
        if !is_for_the_other(&first) {
            return first.map(|()| true);
        }
        let twin = Place { map, ..place };
        let other = self.media.read_once(twin, out, len, structure, request).await;
        self.settle(first, other)
    }

    /// What both attempts came to.
    fn settle(
        &self,
        first: Result<(), Fault<D::Error>>,
        other: Result<(), Fault<D::Error>>,
    ) -> Result<bool, Fault<D::Error>> {
        match other {
            Ok(()) => {
                if let Err(Fault::Damaged(damage)) = first {
                    let start = damage.extent.start;
                    match damage.check {
                        Check::Unreadable(ErrorKind::UnrecoveredRead { first }) => {
                            self.media.note_effort(first.unwrap_or(start));
                        }
                        // The zone is gone as a whole, which the device's events tell.
                        Check::Unreadable(_) => {}
                        _ => self.media.note_effort(start),
                    }
                }
                Ok(true)
            }
            // With effort, one of them may give it yet.
            Err(Fault::Damaged(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// Whether another copy may give what this one did not.
fn is_for_the_other<E>(first: &Result<(), Fault<E>>) -> bool {
    matches!(first, Err(Fault::Damaged(_) | Fault::DeadlineExceeded))
}
