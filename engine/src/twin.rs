//! Twins: the zones of runs that are kept on two storage elements, and their rebuilding.
//!
//! Keys, metadata and small values are in runs, and with them everything else can be found. Where
//! a store is formatted so, each zone of runs has a *twin* on another storage element, which holds
//! the same blocks, sealed for the same generation: the bytes are equal. A node that one of the two
//! does not give comes from the other, and the pair is then rebuilt in the background.
//!
//! ```text
//!   1 copy the blocks of both to a fresh zone     cut after: nobody names it, it is freed as dead
//!   2 sync                                        before 3, or the edit could name an empty zone
//!   3 edit: the fresh zone is the twin            or, if the zone itself was bad, its twin takes
//!     now; the bad one is given up                its place first (`Promote`)
//!   4 sync; only then may the bad one be reset    before it, the old state may come back
//! ```
//!
//! Invariants: `D1` a zone and its twin lie on different elements. `D2` both hold the same bytes,
//! up to where the zone was written, or one of them is marked damaged. Tests: `sim/tests/parts.rs`.

use shingle_hal::{Class, Device, Error as _, ZoneId};

use crate::canary::{Bug, planted};
use crate::checkpoint::{freed, push_release};
use crate::compact::Step;
use crate::error::{Fault, Structure};
use crate::format::edit::Change;
use crate::media::Place;
use crate::state::{Core, Rebuild};
use crate::zone::{Role, Zone};

impl<D: Device> Core<'_, D> {
    /// Whether zones of runs have twins.
    pub(crate) fn is_mirrored(&self) -> bool {
        self.superblock.get().redundancy.mirror_runs
    }

    /// A zone on another element than `zone`, for its twin; `None` if there is none, or none is
    /// wanted.
    pub(crate) async fn take_twin(&self, zone: ZoneId) -> Result<Option<ZoneId>, Fault<D::Error>> {
        if !self.is_mirrored() {
            return Ok(None);
        }
        let anywhere = planted(Bug::TwinOnSameElement);
        let (element, capacity) = {
            let state = self.state.borrow();
            let entry = state.zones.get(zone);
            let suits = |other: &Zone| {
                let apart = other.element != entry.element || anywhere;
                let like = apart && other.capacity >= entry.capacity;
                other.role() == Role::Free && like
            };
            if !state.zones.iter().any(|(_, other)| suits(other)) {
                return Ok(None);
            }
            (entry.element, entry.capacity)
        };
        let twin = match self.take_zone(Role::Twin, (!anywhere).then_some(element), false).await {
            Ok(twin) => twin,
            Err(Fault::NoSpace) if !self.is_read_only() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let mut state = self.state.borrow_mut();
        let entry = state.zones.get(twin);
        if (entry.element != element || anywhere) && entry.capacity >= capacity {
            return Ok(Some(twin));
        }
        state.zones.release(twin);
        state.zones.freed(twin);
        Ok(None)
    }

    /// Writes nodes of a run, to the zone and to its twin.
    ///
    /// # Errors
    /// The device's, and the zone it failed in.
    pub(crate) async fn write_both(
        &self,
        zone: ZoneId,
        twin: Option<ZoneId>,
        block: u32,
        data: &[u8],
    ) -> Result<(), (ZoneId, D::Error)> {
        for id in core::iter::once(zone).chain(twin) {
            let lba = self.media.geometry.zone_start(id).plus(u64::from(block));
            let written = self.media.write(lba, data, Class::Maintenance).await;
            written.map_err(|error| (id, error))?;
        }
        Ok(())
    }

    /// The pair that is to be rebuilt: one of the two is damaged, or there is but one.
    fn next_rebuild(&self) -> Option<ZoneId> {
        if !self.is_mirrored() {
            return None;
        }
        let state = self.state.borrow();
        let wants = |id: ZoneId| match state.zones.twin(id) {
            None => true,
            Some(twin) => state.zones.get(id).is_damaged() || state.zones.get(twin).is_damaged(),
        };
        let mut pairs = state.zones.iter().filter(|(_, zone)| {
            zone.role().holds_runs() && !zone.is_head() && !zone.is_pending() && zone.live.get() > 0
        });
        pairs.find(|(id, _)| wants(*id)).map(|(id, _)| id)
    }

    /// One step of rebuilding, at most about `budget` bytes copied. Under `jobs`.
    pub(crate) async fn rebuild_step(&self, budget: u64) -> Result<Step, Fault<D::Error>> {
        let begun = self.rebuilding.take().filter(|rebuild| self.is_still_wanted(rebuild));
        let rebuild = match begun {
            Some(rebuild) => Some(rebuild),
            None => self.begin_rebuild().await?,
        };
        let Some(mut rebuild) = rebuild else { return Ok(Step::Idle) };
        let mut did = 0;
        while rebuild.next < rebuild.end && did < budget {
            match self.copy_blocks(&mut rebuild).await? {
                Some(bytes) => did += bytes,
                None => return Ok(Step::Did(did + 1)),
            }
        }
        if rebuild.next < rebuild.end {
            self.rebuilding.set(Some(rebuild));
            return Ok(Step::Did(did));
        }
        self.finish_rebuild(&rebuild).await?;
        Ok(Step::Did(did + 1))
    }

    /// Whether the pair is still there; if not, what was copied is of no use.
    fn is_still_wanted(&self, rebuild: &Rebuild) -> bool {
        let mut state = self.state.borrow_mut();
        let there = state.zones.find(rebuild.generation).is_some();
        if !there {
            state.zones.get_mut(rebuild.into).set_head(false);
        }
        there
    }

    async fn begin_rebuild(&self) -> Result<Option<Rebuild>, Fault<D::Error>> {
        let Some(zone) = self.next_rebuild() else { return Ok(None) };
        self.begin_writing().await?;
        let (good, end, generation, role) = {
            let state = self.state.borrow();
            let entry = state.zones.get(zone);
            let generation = entry.generation.get();
            let node_blocks = self.shape.node_blocks();
            let pieces = state.tree.pieces().iter().map(|piece| piece.record());
            let of_zone = pieces.filter(|piece| piece.generation == generation);
            let end = of_zone.map(|piece| piece.start + piece.nodes * node_blocks).max();
            let good = state.zones.twin(zone).filter(|_| entry.is_damaged()).unwrap_or(zone);
            (good, end.unwrap_or(1), generation, entry.role())
        };
        let Some(into) = self.take_twin(good).await? else { return Ok(None) };
        let mut buffer = self.nodes.take().await;
        let header = &mut buffer[..self.media.block_len()];
        self.zone_header(header, generation, role);
        self.state.borrow_mut().zones.get_mut(into).set_head(true);
        match self.write_both(into, None, 0, header).await {
            Ok(()) => Ok(Some(Rebuild { generation, into, next: 1, end })),
            Err((_, error)) => self.rebuild_failed(into, error).map(|()| None),
        }
    }

    /// The new copy's zone failed: the rebuild begins anew, elsewhere.
    fn rebuild_failed(&self, into: ZoneId, error: D::Error) -> Result<(), Fault<D::Error>> {
        if !self.note_failed(into, error.kind()) {
            return self.poison(Fault::Device(error));
        }
        self.state.borrow_mut().zones.get_mut(into).set_head(false);
        Ok(())
    }

    /// Copies a node; `None` if the new zone failed.
    ///
    /// A node that neither copy gives is left out: zeros take its place, which no seal fits.
    async fn copy_blocks(&self, rebuild: &mut Rebuild) -> Result<Option<u64>, Fault<D::Error>> {
        let mut buffer = self.nodes.take().await;
        let node = &mut buffer[..self.shape.node_len];
        let block = rebuild.next;
        let class = Class::Maintenance;
        match self.read_nodes(rebuild.generation, block, node, class).await {
            Ok(()) => {}
            Err(Fault::Damaged(_)) => node.fill(0),
            Err(fault) => return Err(fault),
        }
        if let Err((into, error)) = self.write_both(rebuild.into, None, block, node).await {
            self.rebuild_failed(into, error)?;
            return Ok(None);
        }
        rebuild.next += self.shape.node_blocks();
        Ok(Some(2 * node.len() as u64))
    }

    async fn finish_rebuild(&self, rebuild: &Rebuild) -> Result<(), Fault<D::Error>> {
        self.sync_device().await?;
        let into = rebuild.into;
        let mut given_up = None;
        self.commit_edit(|state, edit| {
            state.zones.get_mut(into).set_head(false);
            let Some(zone) = state.zones.find(rebuild.generation) else { return };
            let generation = state.zones.get(into).generation.get();
            edit.push(&Change::Take { zone: into.0, generation, role: Role::Twin as u8 });
            let mut zone = zone;
            if let Some(twin) = state.zones.twin(zone) {
                if state.zones.get(zone).is_damaged() {
                    edit.push(&Change::Promote { zone: zone.0 });
                    assert!(state.zones.promote_twin(zone), "it has a twin");
                    given_up = Some(zone);
                    zone = twin;
                } else {
                    push_release(state, edit, twin);
                    given_up = Some(twin);
                }
            }
            assert!(state.zones.set_twin(zone, into), "a fresh zone is nobody's twin");
            state.zones.get_mut(zone).set_damaged(false);
            edit.push(&Change::Twin { zone: zone.0, twin: into.0 });
            state.counters.rebuilds += 1;
            state.tree.version += 1;
        })
        .await?;
        self.sync_device().await?;
        if let Some(zone) = given_up {
            freed(&mut self.state.borrow_mut(), zone);
        }
        self.give_back(into).await
    }

    /// Reads nodes from the twin of the zone that did not give them.
    pub(crate) async fn read_from_twin(
        &self,
        generation: u32,
        block: u32,
        out: &mut [u8],
        class: Class,
        fault: Fault<D::Error>,
    ) -> Result<(), Fault<D::Error>> {
        let twin = {
            let mut state = self.state.borrow_mut();
            let Some(zone) = state.zones.find(generation) else { return Err(fault) };
            state.zones.get_mut(zone).set_damaged(true);
            state.zones.twin(zone).map(|twin| (twin, state.zones.map(twin)))
        };
        let twin = twin.filter(|_| !planted(Bug::TwinNeverRead));
        let Some((twin, map)) = twin else { return Err(fault) };
        let place = Place { map, generation, block };
        let len = self.shape.node_len;
        let read = self.media.read_units(place, out, len, Structure::RunNode, class).await;
        if let Err(Fault::Damaged(_)) = read {
            self.state.borrow_mut().zones.get_mut(twin).set_damaged(true);
        }
        read
    }
}
