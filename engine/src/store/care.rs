//! Care for the medium: zones and elements out of use.

use shingle_hal::{Device, ElementId, ZoneId};

use crate::error::WriteError;
use crate::evacuate::{Evacuation, Leaving};
use crate::store::Store;

impl<D: Device> Store<'_, D> {
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
