//! What is known of a zone's health, and that it outlives a power cut.
//!
//! A zone that failed, or in which something could not be read, is to be emptied, rebuilt, or never
//! used again. Were that kept in memory alone, a cut would leave a zone that is known to lose data
//! in use until it loses more. So each such zone has *marks*, a byte in the manifest (change `Mark`
//! of `FORMAT.md`), which the first step of maintenance after a change writes.
//!
//! ```text
//!   a request fails, a check fails, someone asks      ──> marks in memory, `UNRECORDED`
//!   next step, or checkpoint: `record_marks`          ──> edit
//!   the zone is emptied: retired if SICK, else free   ──> gone with the zone's generation
//! ```
//!
//! Invariants: `Q1` a zone that is to be retired is retired in every later life: what is in memory
//! is in the manifest after a checkpoint (canary `MarksNotPersisted`). `Q2` a mark is of a zone in
//! use; a free zone that fails is retired at once.

use shingle_hal::{Device, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::{Check, Fault};
use crate::format::edit::Change;
use crate::format::marks::{DAMAGED, KNOWN, MISMATCH, SICK, UNREADABLE};
use crate::state::{Core, State};
use crate::zone::{Role, Zone};

/// The manifest does not say so yet; in memory only.
const UNRECORDED: u8 = 128;

impl Zone {
    /// What the manifest is to say.
    pub(crate) fn health(&self) -> u8 {
        let sick = if self.is_sick() { SICK } else { 0 };
        let damaged = if self.is_damaged() { DAMAGED } else { 0 };
        self.marks & KNOWN | sick | damaged
    }

    /// Whether a mark is set.
    pub(crate) fn has_mark(&self, mark: u8) -> bool {
        self.health() & mark != 0
    }

    /// Sets marks.
    pub(crate) fn set_marks(&mut self, marks: u8) {
        if marks & SICK != 0 {
            self.set_sick();
        }
        if marks & DAMAGED != 0 {
            self.set_damaged(true);
        }
        let marks = marks & KNOWN & !(SICK | DAMAGED);
        if self.marks & marks != marks {
            self.marks |= marks | UNRECORDED;
        }
    }

    /// Takes over what the manifest says; what the device reports now stays.
    pub(crate) fn set_known_marks(&mut self, marks: u8, found: u16) {
        let now = self.health();
        self.set_damaged(marks & DAMAGED != 0 || self.is_offline());
        self.set_marks(marks);
        self.found = found.into();
        let more = now & !marks != 0;
        self.marks = self.marks & KNOWN | if more { UNRECORDED } else { 0 };
    }

    /// A flag changes that is a mark, too.
    pub(crate) fn note_change(&mut self, before: bool, after: bool) {
        if before != after {
            self.marks |= UNRECORDED;
        }
    }

    /// The zone is taken into use: nothing is known of it but what the device reports.
    pub(crate) fn clear_marks(&mut self) {
        self.marks = if self.is_sick() { UNRECORDED } else { 0 };
        self.found = 0.into();
    }
}

impl State<'_> {
    /// Takes note of something about a zone.
    pub(crate) fn note_mark(&mut self, zone: ZoneId, marks: u8) {
        self.failed = true;
        self.marks_due = true;
        self.none_loose = None;
        self.zones.get_mut(zone).set_marks(marks);
        event!(warn, "{} has marks {:b}", zone, self.zones.get(zone).health());
    }

    /// A unit of a zone is bad: by which check.
    pub(crate) fn mark_damage(&mut self, zone: ZoneId, check: Check) {
        let how = match check {
            Check::Unreadable(_) => UNREADABLE,
            Check::Checksum { .. } | Check::Malformed | Check::OtherKey => MISMATCH,
        };
        self.note_mark(zone, DAMAGED | how);
    }

    /// The manifest was read: whether there is anything to tend, and anything that it lacks.
    pub(crate) fn begin_marks(&mut self) {
        let marked = |zone: &Zone| zone.health() != 0 || zone.role() == Role::Retired;
        self.failed = self.zones.iter().any(|(_, zone)| marked(zone));
        self.marks_due = self.zones.iter().any(|(_, zone)| zone.marks & UNRECORDED != 0);
    }
}

impl<D: Device> Core<'_, D> {
    /// Writes marks that the manifest does not have; durable with the next sync.
    pub(crate) async fn record_marks(&self) -> Result<(), Fault<D::Error>> {
        if !self.state.borrow().marks_due || self.is_read_only() {
            return Ok(());
        }
        let result = self
            .commit_edit(|state, edit| {
                state.marks_due = false;
                for id in 0..state.zones.len() {
                    let zone = state.zones.get_mut(ZoneId(id));
                    if zone.marks & UNRECORDED == 0 {
                        continue;
                    }
                    zone.marks &= KNOWN;
                    if planted(Bug::MarksNotPersisted) {
                        continue;
                    }
                    match zone.role() {
                        Role::Retired => edit.push(&Change::Retire { zone: id }),
                        // The manifest frees it already; if the sync behind that failed, this life
                        // never learns that it is free.
                        Role::Releasing if zone.is_sick() => {
                            edit.push(&Change::Retire { zone: id });
                        }
                        // Anchors and the manifest's zones are the superblock's to name.
                        Role::Free | Role::Releasing | Role::Anchor | Role::Manifest => {}
                        _ => {
                            let (marks, found) = (zone.health(), zone.found.get());
                            edit.push(&Change::Mark { zone: id, marks, found });
                        }
                    }
                }
            })
            .await;
        self.capacity.set(self.capacity_bytes());
        result
    }
}
