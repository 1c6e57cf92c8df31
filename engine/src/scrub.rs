//! Scrub: reads what is written, zone by zone in the order of addresses, to find damage while it
//! can still be mended.
//!
//! A block that nobody reads rots unseen, until the other copy of it is gone too. Each unit is read
//! from the medium, never taken from a cache, and its seal is checked against the place it is at.
//!
//! ```text
//!   structure                   read up to                        what mends it
//!   superblocks                 the last one                      both published anew
//!   manifest, both copies       the last edit                     a new snapshot
//!   log, survivors' log         the last block written; after a   records in no run yet: a flush
//!                               restart, where recovery ended     values: nothing; what is whole
//!                                                                 moves away, the rest is listed
//!   runs and their twins        the last piece                    a copy from the twin
//!   parity (`verify`)           the last block of a member        a new group of the members
//!   log's mirror, what no run   the last block written            a flush; the mirror goes on in
//!   holds yet                                                     another zone
//! ```
//!
//! With parity a bad block of a value is rebuilt from its group, as what is whole moves away.
//!
//! It mends nothing itself: it marks, and maintenance does what is due (`evacuate`, `twin`,
//! `reclaim`). One call reads a part that a foreground request can wait for, with the lowest class.
//! How far it came is in the manifest (change `Scrub`), every 64th part of the zones, so a cut
//! costs that much of a pass at most.
//!
//! What the end of a zone is, is not always known: where neither the write pointer nor recovery
//! tells, the last whole block ends it, and damage behind that is not seen.
//!
//! Invariants: `U1` what a pass reads came from the medium (canary `ScrubTrustsCache`). `U2` every
//! unit that something refers to, in all copies, is read in a pass, but for what is written
//! meanwhile (canaries `ScrubSkipsTwins`, `ScrubSkipsParity`). `U3` a pass that was cut goes on.
//! Tests: `sim/tests/scrub.rs`, `sim/tests/scrub_parity.rs`.

use shingle_hal::{Class, Device, ElementId, Extent, Lba, ZoneId};

use crate::canary::{Bug, planted};
use crate::error::{Check, Fault, Structure};
use crate::format::edit::Change;
use crate::format::seal::{self, Identity};
use crate::format::superblock::ANCHOR_GENERATION;
use crate::manifest::EditBuilder;
use crate::mirror::is_spent;
use crate::state::{Core, Scrubbing, State};
use crate::zone::{Role, Zones};

/// Bytes that one request of the scrub reads at most.
const PART_BYTES: usize = 256 << 10;
/// The position is recorded after so many parts of the zones.
const MARKS_PER_PASS: u32 = 64;
/// Places that a seal is compared with to find out whose it is: more would fit by chance.
const PLACES_MAX: u64 = 1 << 24;

/// Whose bytes stand in a place where others should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Origin {
    /// The device returned none.
    Unread,
    /// Nobody's: bytes that changed, or a write that was torn.
    Nobody,
    /// Zeros: nothing was ever written there.
    Zeros,
    /// The block as it was in an earlier life of a zone.
    EarlierLife {
        /// The generation it was written under.
        generation: u32,
    },
    /// A block of another place.
    OtherPlace {
        /// The zone it was written for.
        zone: ZoneId,
        /// The block in it.
        block: u32,
    },
}

/// What can be done about a bad unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Remedy {
    /// It is written anew from another copy.
    Copy,
    /// It is written anew from memory.
    Memory,
    /// Nothing refers to what is in its zone.
    Dead,
    /// There is no other copy.
    None,
}

/// A bad unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Finding {
    /// Where.
    pub extent: Extent,
    /// In which zone, of what role, on which storage element.
    pub zone: ZoneId,
    /// What the zone is used for.
    pub role: Role,
    /// The storage element of the zone.
    pub element: ElementId,
    /// Which structure.
    pub structure: Structure,
    /// Which check failed.
    pub check: Check,
    /// Whose bytes it holds.
    pub origin: Origin,
    /// What can be done.
    pub remedy: Remedy,
}

/// What one call came to, and where the scrub stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ScrubProgress {
    /// Bytes read by this call.
    pub bytes: u64,
    /// Whether a pass ended.
    pub ended: bool,
    /// Number of the pass that is under way, from 1.
    pub pass: u32,
    /// The zone that comes next.
    pub zone: u32,
    /// Bad units that this pass found so far.
    pub found: u32,
}

/// What of a zone is to be read.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// The zone whose blocks these are: for a twin the other one, for an extension the first, for a
    /// copy of a zone of values that one.
    pub(crate) owner: ZoneId,
    /// What the seals are bound to: the first block's number, and the rest.
    pub(crate) first: u32,
    pub(crate) generation: u32,
    pub(crate) store_tag: u32,
    /// Blocks in it, and in a unit behind the header block.
    pub(crate) end: u32,
    pub(crate) unit: u32,
    pub(crate) structure: Structure,
    /// Whether the last block written is not known.
    pub(crate) open_ended: bool,
    /// The blocks have no seals, but are the exclusive or of others.
    pub(crate) is_sum: bool,
}

impl Span {
    fn identity(&self, block: u32) -> Identity {
        let (store_tag, generation) = (self.store_tag, self.generation);
        Identity { store_tag, generation, block: self.first + block }
    }

    /// Blocks of the unit that begins at `block`.
    fn unit_at(&self, block: u32) -> u32 {
        if block == 0 { 1 } else { self.unit }
    }
}

impl<D: Device> Core<'_, D> {
    /// Reads the next part, and tells `report` what is bad. Waits for a step under way first.
    pub(crate) async fn scrub_part(
        &self,
        report: &mut dyn FnMut(&Finding),
    ) -> Result<ScrubProgress, Fault<D::Error>> {
        let _guard = self.jobs.enter(&self.lot).await;
        self.scrub_locked(report).await
    }

    /// The same. Under `jobs`.
    pub(crate) async fn scrub_locked(
        &self,
        report: &mut dyn FnMut(&Finding),
    ) -> Result<ScrubProgress, Fault<D::Error>> {
        self.learn_events().await?;
        self.begin_writing().await?;
        self.forget_sweep();
        let mut window = self.window.take(&self.lot).await;
        let window = &mut window[..self.plan.window_len];
        let zone_count = self.state.borrow().zones.len();
        let mut progress = ScrubProgress::default();
        {
            let scrub = &mut self.state.borrow_mut().scrub;
            scrub.pass = scrub.pass.max(1);
        }
        for _ in 0..=zone_count {
            let Scrubbing { zone, block, .. } = self.state.borrow().scrub;
            if zone >= zone_count {
                progress.ended = true;
                self.state.borrow_mut().end_pass();
                self.record_scrub(true).await?;
                break;
            }
            let span = self.span_of(ZoneId(zone));
            let span = match span {
                Some(span) if span.open_ended && block == 0 => {
                    let found = self.find_end(ZoneId(zone), span, window).await?;
                    self.state.borrow_mut().scrub.end = found.map_or(0, |span| span.end);
                    found
                }
                Some(span) if span.open_ended => {
                    let end = span.end.min(self.state.borrow().scrub.end);
                    Some(Span { end, ..span })
                }
                other => other,
            };
            match span.filter(|span| block < span.end) {
                None => {
                    {
                        let mut state = self.state.borrow_mut();
                        state.flush_due |= is_untold_mirror(&state, ZoneId(zone));
                        state.scrub.next_zone();
                    }
                    self.record_scrub(false).await?;
                }
                Some(span) if span.is_sum => {
                    progress.bytes += self.verify_span(ZoneId(zone), span, window, report).await?;
                    break;
                }
                Some(span) => {
                    progress.bytes += self.scrub_span(ZoneId(zone), span, window, report).await?;
                    break;
                }
            }
        }
        let scrub = self.state.borrow().scrub;
        Ok(ScrubProgress { pass: scrub.pass, zone: scrub.zone, found: scrub.found, ..progress })
    }

    /// The blocks of a zone up to `end`, each with a seal of its own.
    pub(crate) fn span(
        &self,
        owner: ZoneId,
        generation: u32,
        end: u32,
        structure: Structure,
    ) -> Span {
        let store_tag = self.superblock.get().store_tag();
        let (first, unit, open_ended, is_sum) = (0, 1, false, false);
        Span { owner, first, generation, store_tag, end, unit, structure, open_ended, is_sum }
    }

    /// What of a zone is to be read, as far as memory knows.
    fn span_of(&self, id: ZoneId) -> Option<Span> {
        let state = &*self.state.borrow();
        let zone = *state.zones.get(id);
        if zone.is_offline() {
            return None;
        }
        let span = |owner: ZoneId, first: u32, end: u32, structure: Structure| {
            let generation = state.zones.get(owner).generation.get();
            Span { first, ..self.span(owner, generation, end, structure) }
        };
        match zone.role() {
            Role::Anchor => {
                let anchor = state.anchors.iter().find(|anchor| anchor.zone == id)?;
                let whole = span(id, 0, anchor.next.min(anchor.blocks), Structure::Superblock);
                Some(Span { store_tag: 0, generation: ANCHOR_GENERATION, ..whole })
            }
            Role::Manifest => {
                let copy = state.manifest.copies.iter().flatten().find(|copy| copy.zone == id)?;
                Some(span(id, 0, copy.next, Structure::Manifest))
            }
            Role::Run | Role::Bottom | Role::Twin => {
                if zone.role() == Role::Twin && planted(Bug::ScrubSkipsTwins) {
                    return None;
                }
                let owner =
                    if zone.role() == Role::Twin { twin_owner(&state.zones, id)? } else { id };
                let live = state.zones.get(owner).live.get() > 0;
                let whole = span(owner, 0, 0, Structure::RunNode);
                let end = if live { self.runs_end(state, whole.generation) } else { 0 };
                Some(Span { end, unit: self.shape.node_blocks(), ..whole })
            }
            Role::Log | Role::Cold | Role::Extension => {
                let owner = value_owner(&state.zones, id)?;
                let extents = state.zones.extents(owner);
                let index = extents.iter().position(|(_, extent)| *extent == id)?;
                let first = extents[index].0;
                let (end, open_ended) = self.log_end(state, owner);
                let next = extents.get(index + 1).map_or(u32::MAX, |(next, _)| *next);
                let end = end.min(next).saturating_sub(first).min(zone.capacity.get());
                let open_ended = open_ended && index + 1 == extents.len();
                Some(Span { open_ended, ..span(owner, first, end, Structure::Value) })
            }
            Role::Parity if planted(Bug::ScrubSkipsParity) => None,
            Role::Parity => self.parity_span(state, id),
            Role::LogMirror => {
                let (end, open_ended) = mirror_end(state, id)?;
                Some(Span { open_ended, ..span(id, 0, end, Structure::LogRecord) })
            }
            Role::Free | Role::Retired | Role::Releasing => None,
        }
    }

    /// Blocks of a log's zone that were written, and whether there may be fewer.
    pub(crate) fn log_end(&self, state: &State<'_>, owner: ZoneId) -> (u32, bool) {
        for head in core::iter::once(&state.log).chain(state.cold.as_ref()) {
            if head.zone.is_some_and(|zone| zone.id == owner) {
                return (head.first_unwritten_block(), false);
            }
        }
        let zone = *state.zones.get(owner);
        if zone.sealed.get() > 0 {
            // Recovery found the end: what lies behind was never acknowledged.
            let torn = state.torn.iter().find(|(torn, _)| *torn == zone.generation.get());
            let payload = torn.map_or(zone.sealed.get() - 1, |(_, at)| *at);
            let blocks = payload.div_ceil(self.payload());
            return (if payload == 0 { 0 } else { 1 + blocks }, false);
        }
        let limited = self.media.geometry.active_zones_max.is_some();
        let of_old = zone.generation.get() < state.born;
        let untold = of_old && (zone.is_conventional() || limited);
        let written = state.zones.written(owner);
        if !of_old && zone.is_conventional() {
            return (zone.written.get(), false);
        }
        (written, untold)
    }

    /// The last whole block of a zone ends it, where nothing else tells.
    async fn find_end(
        &self,
        id: ZoneId,
        span: Span,
        window: &mut [u8],
    ) -> Result<Option<Span>, Fault<D::Error>> {
        let block_len = self.media.block_len();
        let start = self.media.geometry.zone_start(id);
        let most = self.part_blocks(window.len());
        let mut end = span.end;
        while end > 0 {
            let from = end.saturating_sub(most);
            let bytes = &mut window[..(end - from) as usize * block_len];
            self.read_idle(start.plus(u64::from(from)), bytes).await?;
            let blocks = bytes.chunks_exact(block_len).enumerate();
            let whole = |(index, block): &(usize, &[u8])| {
                seal::check(block, span.identity(from + *index as u32)).is_ok()
            };
            if let Some((index, _)) = blocks.rev().find(whole) {
                return Ok(Some(Span { end: from + index as u32 + 1, ..span }));
            }
            end = from;
        }
        Ok(None)
    }

    pub(crate) fn part_blocks(&self, window_len: usize) -> u32 {
        let block_len = self.media.block_len();
        let most = (window_len.min(PART_BYTES.max(self.shape.node_len)) / block_len) as u32;
        most.min(self.media.geometry.transfer_blocks_max).max(1)
    }

    /// Reads blocks; false if the medium cannot return them.
    pub(crate) async fn read_idle(
        &self,
        start: Lba,
        bytes: &mut [u8],
    ) -> Result<Option<Check>, Fault<D::Error>> {
        let extent = Extent::new(start, (bytes.len() / self.media.block_len()) as u32);
        match self.media.read_raw(start, bytes, Class::Idle).await {
            Ok(()) => Ok(None),
            Err(error) => match Fault::of_read(error, extent, Structure::Value) {
                Fault::Damaged(damage) => Ok(Some(damage.check)),
                fault => Err(fault),
            },
        }
    }

    /// Reads the next part of a zone and judges its units; gives the bytes read.
    async fn scrub_span(
        &self,
        id: ZoneId,
        span: Span,
        window: &mut [u8],
        report: &mut dyn FnMut(&Finding),
    ) -> Result<u64, Fault<D::Error>> {
        let block_len = self.media.block_len();
        let from = self.state.borrow().scrub.block;
        let most = self.part_blocks(window.len());
        let mut blocks = span.unit_at(from);
        while from + blocks < span.end && blocks + span.unit <= most {
            blocks += span.unit;
        }
        let blocks = blocks.min(span.end - from);
        let start = self.media.geometry.zone_start(id).plus(u64::from(from));
        let bytes = &mut window[..blocks as usize * block_len];
        let read = self.read_idle(start, bytes).await?;
        let mut at = 0;
        while at < blocks {
            let block = from + at;
            let len = span.unit_at(block).min(blocks - at);
            let part = at as usize * block_len..(at + len) as usize * block_len;
            let unit = &mut bytes[part];
            let lba = start.plus(u64::from(at));
            let mut bad = match read {
                Some(check) => Some(check),
                None => seal::check(unit, span.identity(block)).err(),
            };
            // A long request may fail for one block, and any request for reasons of the moment.
            for _ in 0..2 {
                if bad.is_some() {
                    bad = match self.read_idle(lba, unit).await? {
                        Some(check) => Some(check),
                        None => seal::check(unit, span.identity(block)).err(),
                    };
                }
            }
            if let Some(check) = bad.filter(|_| !self.is_in_cache(&span, block)) {
                let still = self.span_of(id).is_some_and(|now| {
                    (now.generation, now.owner) == (span.generation, span.owner)
                });
                if !still {
                    return Ok(0); // it was emptied meanwhile
                }
                self.take_finding(id, &span, block, unit, check, report).await?;
            }
            at += len;
        }
        let mut state = self.state.borrow_mut();
        state.counters.scrub.blocks += u64::from(blocks);
        let scrub = &mut state.scrub;
        scrub.block = from + blocks;
        Ok(bytes.len() as u64)
    }

    /// Whether a node is to be believed because the cache has it: never.
    fn is_in_cache(&self, span: &Span, block: u32) -> bool {
        planted(Bug::ScrubTrustsCache)
            && span.structure == Structure::RunNode
            && self.state.borrow_mut().cache.get(span.generation, block).is_some()
    }

    /// Takes note of a bad unit.
    async fn take_finding(
        &self,
        id: ZoneId,
        span: &Span,
        block: u32,
        unit: &mut [u8],
        check: Check,
        report: &mut dyn FnMut(&Finding),
    ) -> Result<(), Fault<D::Error>> {
        let extent = Extent::new(
            self.media.geometry.zone_start(id).plus(u64::from(block)),
            (unit.len() / self.media.block_len()) as u32,
        );
        let origin = self.origin(span, block, unit, check);
        let role = self.state.borrow().zones.get(id).role();
        let (structure, remedy) = match span.structure {
            Structure::RunNode => {
                (Structure::RunNode, self.remedy_of_node(id, span, block, unit).await?)
            }
            Structure::Value if role == Role::Parity => {
                let whole = self.is_in_member(span, block, unit).await?;
                (Structure::Value, self.remedy_of_parity(id, whole))
            }
            Structure::Value => match self.remedy_of_value(span, block) {
                (structure, Remedy::None) if self.is_rebuilt(span, block).await => {
                    (structure, Remedy::Copy)
                }
                other => other,
            },
            other => (other, Remedy::Memory),
        };
        let mut state = self.state.borrow_mut();
        let zone = *state.zones.get(id);
        let finding = Finding {
            extent,
            zone: id,
            role: zone.role(),
            element: ElementId(u16::from_le_bytes(zone.element)),
            structure,
            check,
            origin,
            remedy,
        };
        // A rebuild left this out, because neither copy gave it: it is known.
        let hole =
            structure == Structure::RunNode && remedy == Remedy::None && origin == Origin::Zeros;
        state.count_finding(&finding, span.owner, hole);
        drop(state);
        event!(warn, "scrub: {}", finding);
        report(&finding);
        Ok(())
    }

    /// Whether the other copy of a node is whole.
    async fn remedy_of_node(
        &self,
        id: ZoneId,
        span: &Span,
        block: u32,
        unit: &mut [u8],
    ) -> Result<Remedy, Fault<D::Error>> {
        let other = {
            let state = self.state.borrow();
            if span.owner == id { state.zones.twin(id) } else { Some(span.owner) }
        };
        let Some(other) = other else { return Ok(Remedy::None) };
        let lba = self.media.geometry.zone_start(other).plus(u64::from(block));
        let copy = match self.nodes.take(&self.lot).await {
            mut buffer if buffer.len() >= unit.len() => {
                let copy = &mut buffer[..unit.len()];
                let unread = self.read_idle(lba, copy).await?;
                unread.is_none() && seal::check(copy, span.identity(block)).is_ok()
            }
            _ => false,
        };
        Ok(if copy { Remedy::Copy } else { Remedy::None })
    }

    /// Whether what a block of a log says is in memory.
    fn remedy_of_value(&self, span: &Span, block: u32) -> (Structure, Remedy) {
        let state = self.state.borrow();
        let zone = state.zones.get(span.owner);
        let mark =
            if zone.role() == Role::Log { state.checkpoint.log } else { state.checkpoint.cold };
        let flushed = 1 + mark.offset / self.payload();
        let is_unflushed = span.generation > mark.generation
            || span.generation == mark.generation && span.first + block >= flushed;
        if is_unflushed {
            let block = span.first + block;
            let value = state.holds_value(span.generation, block, self.payload());
            return (Structure::LogRecord, if value { Remedy::None } else { Remedy::Memory });
        }
        let live = zone.live.get() > 0 || zone.live_mem.get() > 0;
        (Structure::Value, if live { Remedy::None } else { Remedy::Dead })
    }

    /// Whose bytes a bad unit holds.
    pub(crate) fn origin(&self, span: &Span, block: u32, unit: &[u8], check: Check) -> Origin {
        if matches!(check, Check::Unreadable(_)) {
            return Origin::Unread;
        }
        if unit.iter().all(|byte| *byte == 0) {
            return Origin::Zeros;
        }
        let state = self.state.borrow();
        let (zones, tag) = (&state.zones, self.superblock.get().store_tag());
        let block = span.first + block;
        let known = seal::sealed_generation(unit, tag, block)
            .filter(|generation| (1..zones.next_generation).contains(generation));
        if let Some(generation) = known {
            return match zones.find(generation) {
                Some(zone) => Origin::OtherPlace { zone, block },
                None => Origin::EarlierLife { generation },
            };
        }
        let blocks = self.media.geometry.zone_blocks;
        if u64::from(zones.len()) * u64::from(blocks) > PLACES_MAX {
            return Origin::Nobody;
        }
        let other = zones.iter().find_map(|(zone, entry)| {
            let generation = entry.generation.get();
            let block = seal::sealed_block(unit, tag, generation).filter(|at| *at < blocks)?;
            (generation > 0).then_some(Origin::OtherPlace { zone, block })
        });
        other.unwrap_or(Origin::Nobody)
    }

    /// Writes how far the scrub is, if it went on far enough or `now`.
    pub(crate) async fn record_scrub(&self, now: bool) -> Result<(), Fault<D::Error>> {
        let far = {
            let state = self.state.borrow();
            let Scrubbing { zone, recorded, pass, .. } = state.scrub;
            let step = (state.zones.len() / MARKS_PER_PASS).max(1);
            let moved = if now { 1 } else { step };
            pass > 0 && (zone < recorded || zone - recorded >= moved)
        };
        if !far || self.is_read_only() {
            return Ok(());
        }
        self.commit_edit(push_scrub).await
    }

    /// Bytes that a pass reads, about.
    pub(crate) fn scrub_len_bytes(&self) -> u64 {
        let count = self.state.borrow().zones.len();
        let spans = (0..count).map(ZoneId).filter_map(|id| Some((id, self.span_of(id)?)));
        let blocks =
            spans.map(|(id, span)| u64::from(span.end) + self.verify_len_blocks(id, &span));
        blocks.sum::<u64>() * self.media.block_len() as u64
    }
}

/// Says in an edit how far the scrub is.
pub(crate) fn push_scrub(state: &mut State<'_>, edit: &mut EditBuilder<'_>) {
    let scrub = &mut state.scrub;
    scrub.recorded = scrub.zone;
    edit.push(&scrub.change());
}

impl Scrubbing {
    pub(crate) fn change(&self) -> Change<'static> {
        let Self { pass, zone, found, lost, .. } = *self;
        Change::Scrub { pass, zone, found, lost }
    }

    fn next_zone(&mut self) {
        self.zone += 1;
        self.block = 0;
    }
}

impl State<'_> {
    fn end_pass(&mut self) {
        self.counters.scrub.passes += 1;
        event!(info, "pass {} of the scrub ended", self.scrub.pass);
        let pass = self.scrub.pass + 1;
        let recorded = self.scrub.recorded;
        self.scrub = Scrubbing { pass, recorded, ..Scrubbing::default() };
    }

    /// Counts a bad unit of the logical zone `owner`, and marks what is to be done about it.
    pub(crate) fn count_finding(&mut self, finding: &Finding, owner: ZoneId, hole: bool) {
        let kind = usize::from(!matches!(finding.check, Check::Unreadable(_)));
        self.counters.scrub.found[finding.structure as usize][kind] += 1;
        self.scrub.found = self.scrub.found.saturating_add(1);
        if finding.remedy == Remedy::None {
            self.counters.scrub.lost += 1;
            self.scrub.lost = self.scrub.lost.saturating_add(1);
        }
        match finding.structure {
            Structure::Superblock | Structure::Manifest => {
                self.renewal_due = true;
                self.unmended[0] += 1;
                return;
            }
            Structure::LogRecord => {
                self.flush_due = true;
                self.unmended[1] += u32::from(finding.remedy == Remedy::Memory);
            }
            Structure::Value | Structure::RunNode => {}
        }
        // A log's zone is emptied as a whole, a copy of a zone alone.
        let is_copy = finding.structure == Structure::RunNode || finding.role == Role::Parity;
        let marked = if is_copy { finding.zone } else { owner };
        let zone = self.zones.get_mut(marked);
        if finding.remedy == Remedy::Copy {
            zone.found = zone.found.get().saturating_add(1).into();
        }
        if !hole {
            self.mark_damage(marked, finding.check);
        }
    }

    /// A zone is given up: what was bad in it was written anew from its other copy, or dropped.
    pub(crate) fn count_released(&mut self, zone: ZoneId) {
        self.counters.scrub.mended += u64::from(self.zones.get(zone).found.get());
    }

    /// Whether an entry in memory has its value in a block of a log.
    fn holds_value(&self, generation: u32, block: u32, payload: u32) -> bool {
        let begins = u64::from(block.saturating_sub(1)) * u64::from(payload);
        let ends = u64::from(block) * u64::from(payload);
        let is_there = |(of, offset, len): (u32, u32, u64)| {
            of == generation && u64::from(offset) < ends && u64::from(offset) + len > begins
        };
        self.tables.iter().any(|table| {
            let mut cursor = table.first();
            while let Some(at) = cursor {
                if table.at(at).1.places().any(is_there) {
                    return true;
                }
                cursor = table.next(at);
            }
            false
        })
    }

    /// What was bad in the manifest and superblocks (0), or in the log (1), is written anew.
    pub(crate) fn count_mended(&mut self, which: usize) {
        self.counters.scrub.mended += u64::from(core::mem::take(&mut self.unmended[which]));
    }
}

/// Blocks of a zone of the log's mirror that were written, and whether there may be fewer; `None`
/// if it covers nothing that is not in a run.
fn mirror_end(state: &State<'_>, id: ZoneId) -> Option<(u32, bool)> {
    let zone = state.zones.get(id);
    let head = state.mirror.as_ref().map(|mirror| &mirror.head);
    let head = head.filter(|head| head.zone.is_some_and(|zone| zone.id == id));
    if let Some(head) = head {
        return Some((head.first_unwritten_block(), false));
    }
    // One that was left for damage: what it covers was flushed for that, or is going to be.
    if is_spent(state, id) || zone.is_damaged() {
        return None;
    }
    let of_old = zone.generation.get() < state.born;
    (!is_untold_mirror(state, id)).then_some((zone.written.get(), of_old))
}

/// Whether nobody knows how much of a zone of the log's mirror counts: of what was written in any
/// order, a hole may be what a cut left. What it covers is flushed instead.
fn is_untold_mirror(state: &State<'_>, id: ZoneId) -> bool {
    let zone = state.zones.get(id);
    let of_old = zone.generation.get() < state.born;
    let untold = zone.role() == Role::LogMirror && of_old && zone.is_conventional();
    untold && !zone.is_damaged() && !is_spent(state, id)
}

/// The zone of runs that a twin belongs to.
fn twin_owner(zones: &Zones<'_>, twin: ZoneId) -> Option<ZoneId> {
    zones.iter().map(|(id, _)| id).find(|id| zones.twin(*id) == Some(twin))
}

/// The zone of values that a zone is an extent of.
pub(crate) fn value_owner(zones: &Zones<'_>, id: ZoneId) -> Option<ZoneId> {
    if zones.get(id).role().holds_values() {
        return Some(id);
    }
    let values = zones.iter().filter(|(_, zone)| zone.role().holds_values());
    let mut owners = values.map(|(owner, _)| owner);
    owners.find(|owner| zones.extents(*owner).iter().any(|(_, extent)| *extent == id))
}
