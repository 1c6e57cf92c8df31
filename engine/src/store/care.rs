//! Care for the medium: the scrub, and zones and elements out of use.
//!
//! Nothing here knows the time. Whoever wants a pass of the scrub in a week calls
//! [`scrub`](Store::scrub) so often, and for so many bytes, that
//! [`scrub_len_bytes`](Store::scrub_len_bytes) come to a week; or lets writes pace it
//! ([`pace_scrub`](Store::pace_scrub)).

use shingle_hal::{Device, ElementId, ZoneId};

use crate::error::WriteError;
use crate::evacuate::{Evacuation, Leaving};
use crate::scrub::{Finding, ScrubProgress};
use crate::store::Store;

impl<D: Device> Store<'_, D> {
    /// Reads at least about `budget_bytes` of what is written, from where the last call ended, and
    /// checks it; less at the end of a pass. What is bad is marked, and mended by
    /// [`maintain`](Self::maintain) where something is left to mend it from. Figures are in
    /// [`Stats::scrub`](crate::Stats::scrub).
    ///
    /// # Errors
    /// See [`WriteError`]; damage is none.
    ///
    /// # Cost
    /// Requests of 512 KiB at most, of the lowest class, one at a time. Where it is goes into the
    /// manifest 64 times a pass.
    ///
    /// # Power loss
    /// The pass goes on from where that was recorded last.
    pub async fn scrub(&self, budget_bytes: u64) -> Result<ScrubProgress, WriteError<D::Error>> {
        self.scrub_each(budget_bytes, &mut |_| {}).await
    }

    /// The same; tells `report` of each bad unit.
    ///
    /// # Errors
    /// As [`scrub`](Self::scrub).
    pub async fn scrub_each(
        &self,
        budget_bytes: u64,
        report: &mut dyn FnMut(&Finding),
    ) -> Result<ScrubProgress, WriteError<D::Error>> {
        let mut bytes = 0;
        loop {
            let progress = self.core.scrub_part(report).await.map_err(WriteError::from)?;
            bytes += progress.bytes;
            if progress.ended || bytes >= budget_bytes {
                return Ok(ScrubProgress { bytes, ..progress });
            }
        }
    }

    /// Bytes that a pass of the scrub reads, about, as things are now.
    pub fn scrub_len_bytes(&self) -> u64 {
        self.core.scrub_len_bytes()
    }

    /// Lets [`maintain`](Self::maintain) scrub `share` bytes for each 16 that are written, when
    /// nothing else is due; 0, to begin with, lets it scrub nothing.
    pub fn pace_scrub(&self, share: u32) {
        self.core.state.borrow_mut().scrub_share = share;
    }

    /// Takes a zone out of use for good: what lives in it moves elsewhere with
    /// [`maintain`](Self::maintain), then it is retired. An anchor stays.
    ///
    /// # Errors
    /// [`WriteError::Full`] if what is stored would not fit what is left; see [`WriteError`].
    ///
    /// # Power loss
    /// Durable when it returns: the moving goes on after a cut.
    pub async fn evacuate_zone(&self, zone: ZoneId) -> Result<(), WriteError<D::Error>> {
        self.core.evacuate(Leaving::Zone(zone)).await.map_err(WriteError::from)
    }

    /// The same for all zones of a storage element.
    ///
    /// # Errors
    /// As [`evacuate_zone`](Self::evacuate_zone).
    pub async fn evacuate_element(&self, element: ElementId) -> Result<(), WriteError<D::Error>> {
        self.core.evacuate(Leaving::Element(element)).await.map_err(WriteError::from)
    }

    /// What of zones that failed, or are to be emptied, is still to be moved.
    pub fn evacuation(&self) -> Evacuation {
        self.core.evacuation()
    }
}
