//! What failed: zones and elements that the device reports gone, and the keys that went with them.
//!
//! No list of lost keys is kept. Which values are gone follows from what is there: an entry whose
//! place lies in a zone that is offline, or that was given up (its generation is in no zone), has
//! lost its value. The entry itself is in a run, which has a twin; so the list is exact, survives
//! every cut, and costs a scan of the keys. A key leaves it when it is overwritten or deleted.
//!
//! A bad block in a zone shows when its value is read, by a reader or by reclaim. Such a zone is
//! marked and emptied by reclaim before others: what can be read moves away, what cannot stays
//! behind, and is on the list as soon as the zone is given up.
//!
//! Invariants: `H1` a zone that is offline is never freed while something refers to it.

use shingle_hal::{Device, Event, ZoneDescriptor, ZoneId};

use crate::error::Fault;
use crate::format::entry::Entry;
use crate::state::{Core, State};
use crate::zone::Role;

/// Events that are taken note of in one go.
const EVENTS_AT_ONCE: usize = 64;

impl<D: Device> Core<'_, D> {
    /// Takes note of what the device learned by itself.
    pub(crate) async fn learn_events(&self) -> Result<(), Fault<D::Error>> {
        let mut all = false;
        for _ in 0..EVENTS_AT_ONCE {
            match self.media.device.poll_event() {
                None => break,
                Some(Event::ZoneChanged(zone)) => self.learn_zones(zone.0, zone.0 + 1).await?,
                Some(Event::ElementLost(_)) => all = true,
                Some(Event::ResetRecommended(zone)) => {
                    let mut state = self.state.borrow_mut();
                    if zone.0 < state.zones.len() && state.zones.get(zone).role().holds_values() {
                        state.failed = true;
                        state.zones.get_mut(zone).set_damaged(true);
                    }
                }
                Some(_) => {}
            }
        }
        let count = self.state.borrow().zones.len();
        if all { self.learn_zones(0, count).await } else { Ok(()) }
    }

    /// Asks the device about the zones `from..to`.
    async fn learn_zones(&self, from: u32, to: u32) -> Result<(), Fault<D::Error>> {
        let mut first = from;
        while first < to {
            let mut descriptors = [ZoneDescriptor::EMPTY; 16];
            let report = self.media.device.report(ZoneId(first), &mut descriptors).await;
            let found = report.map_err(Fault::Device)?;
            if found == 0 {
                break;
            }
            let mut state = self.state.borrow_mut();
            for descriptor in &descriptors[..found.min((to - first) as usize)] {
                let id = descriptor.zone;
                if id.0 >= state.zones.len() || descriptor.condition.is_usable() {
                    continue;
                }
                state.failed = true;
                state.zones.get_mut(id).set_condition(descriptor.condition);
                if state.zones.get(id).role() == Role::Free {
                    state.zones.retire(id);
                }
            }
            first += found as u32;
        }
        self.capacity.set(self.capacity_bytes());
        self.progress.notify();
        Ok(())
    }

    /// A value could not be read from the zone of this generation: it is emptied before others.
    pub(crate) fn note_damaged(&self, generation: u32) {
        let mut state = self.state.borrow_mut();
        if let Some(zone) = state.zones.find(generation) {
            state.failed = true;
            state.zones.get_mut(zone).set_damaged(true);
        }
    }
}

/// Whether what an entry refers to is gone, whole or in part.
pub(crate) fn is_lost(state: &State<'_>, entry: &Entry<'_>, payload: u32) -> bool {
    entry.places().any(|(generation, offset, len)| {
        let Some(zone) = state.zones.find(generation) else { return true };
        // What is still looked for in a zone that was emptied could not be moved.
        if state.zones.get(zone).is_emptied() {
            return true;
        }
        if !state.zones.sources(zone).is_none() {
            return false;
        }
        let (first, last) = (1 + offset / payload, 1 + (offset + len as u32) / payload);
        let extents = state.zones.extents(zone);
        let offline = |id: ZoneId| state.zones.get(id).is_offline();
        extents.iter().enumerate().any(|(index, &(from, id))| {
            let end = extents.get(index + 1).map_or(u32::MAX, |(next, _)| *next);
            offline(id) && first < end && last >= from
        })
    })
}
