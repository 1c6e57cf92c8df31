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
//! # Effort
//! What the device read with effort will soon not be read at all, so its zone is written anew:
//! a zone of runs by a copy, one of values by reclaim, the manifest by a snapshot. A whole element
//! that is slow must not be written anew for that, it may have been slow from the first day; so the
//! zones are counted: some at open, and one more for every 16 zones of data that are written. That
//! bounds what effort adds to writing by a sixteenth, and it comes last of all that is due.
//!
//! Invariants: `H1` a zone that is offline is never freed while something refers to it.

use shingle_hal::{Device, Event, ZoneDescriptor, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::{Check, Fault};
use crate::format::entry::Entry;
use crate::format::marks::{DAMAGED, EFFORT, SICK};
use crate::limits::EFFORTS_MAX;
use crate::scrub::value_owner;
use crate::state::{Core, State};
use crate::sync::For;
use crate::zone::Role;

/// Events that are taken note of in one go.
const EVENTS_AT_ONCE: usize = 64;

/// Zones that may be written anew for effort at once, on a device of so many.
pub(crate) const fn effort_zones_max(zone_count: u32) -> u32 {
    4 + zone_count / 64
}

/// Zones of data that are written for one more.
const ZONES_FOR_EFFORT: u64 = 16;

impl<D: Device> Core<'_, D> {
    /// Takes note of what was read with effort.
    pub(crate) fn learn_efforts(&self) {
        for _ in 0..EFFORTS_MAX {
            let Some(lba) = self.media.next_effort() else { break };
            let id = self.media.geometry.zone_of(lba);
            let mut state = self.state.borrow_mut();
            if id.0 >= state.zones.len() {
                continue;
            }
            let marked = match state.zones.get(id).role() {
                Role::Anchor | Role::Manifest => {
                    state.renewal_due |= state.effort_zones > 0;
                    state.effort_zones = state.effort_zones.saturating_sub(1);
                    continue;
                }
                Role::Run | Role::Bottom | Role::Twin => Some(id),
                _ => value_owner(&state.zones, id),
            };
            let Some(zone) = marked else { continue };
            if state.effort_zones > 0 && !state.zones.get(zone).has_mark(EFFORT) {
                state.effort_zones -= 1;
                state.note_mark(zone, EFFORT);
            }
        }
    }

    /// A write of `bytes` earns a part of a zone that may be written anew.
    pub(crate) fn earn_effort(&self, bytes: u64) {
        let price = (ZONES_FOR_EFFORT * self.zone_payload()).max(1);
        let mut state = self.state.borrow_mut();
        let most = effort_zones_max(state.zones.len());
        state.effort_earned += bytes;
        if state.effort_earned >= price {
            let more = (state.effort_earned / price).min(u64::from(most)) as u32;
            state.effort_earned %= price;
            state.effort_zones = (state.effort_zones + more).min(most);
        }
    }

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
                        state.note_mark(zone, DAMAGED);
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
                event!(warn, "{} is {}", id, descriptor.condition);
                state.note_mark(id, SICK);
                state.zones.get_mut(id).set_condition(descriptor.condition);
                if state.zones.get(id).role() == Role::Free {
                    state.zones.retire(id);
                }
            }
            first += found as u32;
        }
        self.capacity.set(self.capacity_bytes());
        self.lot.wake_all(For::Progress);
        Ok(())
    }

    /// A value could not be read from the zone of this generation: it is emptied before others.
    pub(crate) fn note_damaged(&self, generation: u32, check: Check) {
        let mut state = self.state.borrow_mut();
        if let Some(zone) = state.zones.find(generation) {
            state.mark_damage(zone, check);
        }
    }
}

/// Whether what an entry refers to is gone, whole or in part.
pub(crate) fn is_lost(state: &State<'_>, entry: &Entry<'_>, payload: u32) -> bool {
    entry.places().any(|(generation, offset, len)| {
        let Some(zone) = state.zones.find(generation) else {
            return !planted(Bug::LostListForgets);
        };
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
