//! Groups: zones of values on different storage elements, and the parity that protects them.
//!
//! Block `b` of the zone of parity is the exclusive or of the sealed blocks `b` of all members that
//! have one. A block that a member does not give is that of the parity and of the other members;
//! whether it really is, its own seal tells, so parity can at worst be of no use.
//!
//! In memory the zones of a group are a ring of links. On media each member names its zone of
//! parity (`Protect`, `FORMAT.md` §4).
//!
//! Invariants: `X1` the zones of a group lie on pairwise different elements. `X2` a group has one
//! zone of parity, and `written` of each member of a group of several is the number of its blocks
//! that the parity holds. `X3` the zones of a group become free together, or its zone of parity
//! does alone (canary `MemberFreedAlone`). Tests: `sim/tests/parity.rs`.

use shingle_hal::{Device, Extent, Lba, Request, ZoneId};
use zerocopy::byteorder::little_endian::U32;

use crate::error::{Fault, Structure};
use crate::limits::PARITY_MAX;
use crate::media::{Media, Place};
use crate::zone::{Role, Zones};

/// The zones of a group.
pub(crate) type Group = heapless::Vec<ZoneId, { PARITY_MAX + 1 }>;

/// Where the blocks lie whose exclusive or is those of a zone, and how many each has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources {
    zones: [(Lba, u32); PARITY_MAX],
    count: usize,
}

impl Sources {
    /// None: what the zone does not give is gone.
    pub(crate) const NONE: Self = Self { zones: [(Lba(0), 0); PARITY_MAX], count: 0 };

    pub(crate) fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Whether one zone holds the very same blocks.
    pub(crate) fn is_copy(&self) -> bool {
        self.count == 1
    }

    fn push(&mut self, start: Lba, blocks: u32) {
        self.zones[self.count] = (start, blocks);
        self.count += 1;
    }

    /// Puts the exclusive or of the blocks from `block` on into `out`.
    ///
    /// # Errors
    /// That of the read, and where the zone begins that it is about.
    async fn combine<D: Device>(
        &self,
        media: &Media<D>,
        block: u32,
        out: &mut [u8],
        scratch: &mut [u8],
        request: Request,
    ) -> Result<(), (Lba, Fault<D::Error>)> {
        let block_len = media.block_len();
        let blocks = (out.len() / block_len) as u32;
        let mut filled = 0;
        for &(start, written) in &self.zones[..self.count] {
            let len = written.saturating_sub(block).min(blocks) as usize * block_len;
            if len == 0 {
                continue;
            }
            let lba = start.plus(u64::from(block));
            if filled == 0 {
                let read = media.read_blocks(lba, &mut out[..len], request).await;
                read.map_err(|fault| (start, fault))?;
                filled = len;
                continue;
            }
            let part = &mut scratch[..len];
            media.read_blocks(lba, part, request).await.map_err(|fault| (start, fault))?;
            if len > filled {
                out[filled..len].fill(0);
                filled = len;
            }
            mix(&mut out[..len], part);
        }
        out[filled..].fill(0);
        Ok(())
    }

    /// Fills `out` with the blocks of `place`, rebuilt and checked. `scratch` has a block at least,
    /// unless there is but a copy to read.
    ///
    /// # Errors
    /// Damage where not even this gives them, and the zone that failed, if one did.
    // Async behind this alone, so that there is one future for whatever the request is made of.
    pub(crate) fn rebuild<D: Device>(
        &self,
        media: &Media<D>,
        place: Place,
        out: &mut [u8],
        scratch: &mut [u8],
        (structure, request): (Structure, impl Into<Request>),
    ) -> impl Future<Output = Result<(), (Option<ZoneId>, Fault<D::Error>)>> {
        self.rebuild_blocks(media, place, out, scratch, (structure, request.into()))
    }

    async fn rebuild_blocks<D: Device>(
        &self,
        media: &Media<D>,
        place: Place,
        out: &mut [u8],
        scratch: &mut [u8],
        (structure, request): (Structure, Request),
    ) -> Result<(), (Option<ZoneId>, Fault<D::Error>)> {
        let block_len = media.block_len();
        let most = if self.is_copy() { out.len() } else { scratch.len() / block_len * block_len };
        let mut block = place.block;
        for part in out.chunks_mut(most.max(block_len)) {
            let combined = self.combine(media, block, part, scratch, request).await;
            combined.map_err(|(start, fault)| {
                let Fault::Device(error) = fault else { return (None, fault) };
                let zone = (start.0 / u64::from(media.geometry.zone_blocks)) as u32;
                let extent = Extent::new(start.plus(u64::from(block)), 1);
                (Some(ZoneId(zone)), Fault::of_read(error, extent, structure))
            })?;
            block += (part.len() / block_len) as u32;
        }
        let checked = media.check_units(place, out, block_len, structure);
        checked.map_err(|damage| (None, Fault::Damaged(damage)))
    }
}

/// Exclusive or of `from` into `into`.
pub(crate) fn mix(into: &mut [u8], from: &[u8]) {
    for (a, b) in into.iter_mut().zip(from) {
        *a ^= b;
    }
}

impl Zones<'_> {
    /// The zones of the group that `zone` is in, itself first; it alone if it is in none.
    pub(crate) fn group(&self, zone: ZoneId) -> Group {
        let (mut group, mut next) = (Group::new(), zone);
        while group.push(next).is_ok() {
            match self.get(next).link.get().checked_sub(1).map(ZoneId) {
                Some(id) if id != zone => next = id,
                _ => break,
            }
        }
        group
    }

    pub(crate) fn is_grouped(&self, zone: ZoneId) -> bool {
        self.get(zone).link.get() != 0
    }

    /// The zone of parity that protects `zone`.
    pub(crate) fn parity_of(&self, zone: ZoneId) -> Option<ZoneId> {
        self.group(zone)[1..].iter().copied().find(|id| self.get(*id).role() == Role::Parity)
    }

    /// The zone that holds the same blocks as this one of values, if it is alone in its group.
    pub(crate) fn copy_of(&self, zone: ZoneId) -> Option<ZoneId> {
        let group = self.group(zone);
        let &[_, copy] = group.as_slice() else { return None };
        (self.get(copy).role() == Role::Parity).then_some(copy)
    }

    /// Blocks that a zone of values may have: of a zone and its copy a cut may have left more in
    /// either.
    pub(crate) fn written_here(&self, zone: ZoneId) -> u32 {
        let copy = self.copy_of(zone).map_or(0, |copy| self.written(copy));
        self.written(zone).max(copy)
    }

    /// From now on `parity` protects `zone`. False if that cannot be.
    pub(crate) fn protect(&mut self, zone: ZoneId, parity: ZoneId) -> bool {
        let fits = zone != parity
            && !self.is_grouped(zone)
            && self.get(zone).role().holds_values()
            && self.get(parity).role() == Role::Parity
            && !self.group(parity).is_full();
        if fits {
            let next = self.get(parity).link.get();
            self.get_mut(zone).link = U32::new(if next == 0 { parity.0 + 1 } else { next });
            self.get_mut(parity).link = U32::new(zone.0 + 1);
        }
        fits
    }

    /// A zone of parity protects nothing any more.
    pub(crate) fn dissolve(&mut self, parity: ZoneId) {
        if self.get(parity).role() != Role::Parity {
            return;
        }
        for id in self.group(parity) {
            self.get_mut(id).link = U32::new(0);
        }
    }

    /// Takes a zone out of its group, of which nothing else can be rebuilt then. Only a planted bug
    /// does that.
    pub(crate) fn leave_alone(&mut self, zone: ZoneId) {
        let group = self.group(zone);
        if let (true, Some(last)) = (group.len() > 1, group.last()) {
            let next = self.get(zone).link;
            self.get_mut(*last).link = if group.len() > 2 { next } else { U32::new(0) };
            self.get_mut(zone).link = U32::new(0);
        }
    }

    /// What the blocks of `zone` can be rebuilt from, as far as is known.
    pub(crate) fn sources(&self, zone: ZoneId) -> Sources {
        let mut sources = Sources::NONE;
        let group = self.group(zone);
        let others = &group[1..];
        let whole = others.iter().all(|id| !self.get(*id).is_offline());
        if !whole || self.parity_of(zone).is_none() {
            return sources;
        }
        for &id in others {
            let other = self.get(id);
            let written = if other.role() == Role::Parity { u32::MAX } else { other.written.get() };
            sources.push(self.start(id), written);
        }
        sources
    }

    /// Whether the blocks of `zone` can be read, or rebuilt, as far as is known.
    pub(crate) fn is_readable(&self, zone: ZoneId) -> bool {
        let offline = self.members(zone).iter().any(|id| self.get(*id).is_offline());
        !offline || !self.sources(zone).is_none()
    }

    /// How many storage elements there are whose zones can be written.
    pub(crate) fn element_count(&self) -> usize {
        // More than any group takes make no difference.
        let mut elements = heapless::Vec::<[u8; 2], { PARITY_MAX + 1 }>::new();
        for (_, zone) in self.iter() {
            let used = zone.role() != Role::Retired && !zone.is_sick();
            if used && !elements.contains(&zone.element) && elements.push(zone.element).is_err() {
                break;
            }
        }
        elements.len()
    }

    /// A free zone of at least `capacity` blocks on none of these elements.
    pub(crate) fn find_apart(&self, elements: &[[u8; 2]], capacity: u32) -> Option<ZoneId> {
        let mut fallback = None;
        for id in self.ids_in_turn() {
            let zone = self.get(id);
            let suits = zone.role() == Role::Free
                && zone.capacity.get() >= capacity
                && !elements.contains(&zone.element);
            if suits && !zone.is_conventional() {
                return Some(id);
            }
            fallback = fallback.or(suits.then_some(id));
        }
        fallback
    }

    /// A free zone for a log's head, on the storage element that has the fewest of its zones which
    /// wait to come into a group: otherwise they would not lie on different ones.
    pub(crate) fn find_spread(&self, role: Role, not_on: Option<[u8; 2]>) -> Option<ZoneId> {
        // Where there are more elements, those counted are enough for any group.
        let mut waiting = heapless::Vec::<([u8; 2], u32), { 2 * PARITY_MAX }>::new();
        for (id, zone) in self.iter() {
            if zone.role() != role || self.group(id).len() > 2 {
                continue;
            }
            match waiting.iter_mut().find(|(element, _)| *element == zone.element) {
                Some((_, count)) => *count += 1,
                None => drop(waiting.push((zone.element, 1))),
            }
        }
        let cost = |id: &ZoneId| {
            let zone = self.get(*id);
            let of_element = waiting.iter().find(|(element, _)| *element == zone.element);
            let count = of_element.map_or(0, |(_, count)| *count);
            (not_on == Some(zone.element), zone.is_conventional(), count)
        };
        self.ids_in_turn().filter(|id| self.get(*id).role() == Role::Free).min_by_key(cost)
    }

    /// Panics if an invariant of the group that a zone is in does not hold.
    pub(crate) fn check_group(&self, id: ZoneId) {
        let group = self.group(id);
        if group.len() == 1 || self.get(id).role() == Role::Releasing {
            return;
        }
        let parity = group.iter().filter(|id| self.get(**id).role() == Role::Parity).count();
        assert_eq!(parity, 1, "X2: {id}");
        for (index, one) in group.iter().enumerate() {
            for other in &group[..index] {
                assert_ne!(self.get(*one).element, self.get(*other).element, "X1: {one} {other}");
            }
        }
    }
}
