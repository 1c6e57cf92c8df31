//! Verifying parity: whether a zone of parity still is the exclusive or of what it protects.
//!
//! A block of parity has no seal of its own, and nobody reads it before a storage element is gone;
//! one that rotted by then takes a block of the dead element with it. So the scrub reads the same
//! blocks of the whole group: those of the members have seals, and all of them together come to
//! zeros. A zone of parity that is a copy holds its member's seals and is read like that one
//! ([`scrub`](crate::scrub)).
//!
//! ```text
//!   members whole   block of parity      then
//!   yes             unreadable, or not   the zone is marked, and its members come into a new
//!                   their exclusive or   group: with that what was bad is written anew
//!   no              unreadable           it is bad, and the member's block is gone
//!   no              readable             nobody can tell; the member is emptied first, as its own
//!                                        scrub finds it, and the rest comes into a new group
//! ```
//!
//! What it costs: a pass reads each member twice, once for itself and once here. Memory is what
//! rebuilding has: the parity in the scrub's window, a member at a time in the spare buffer.
//!
//! Invariants: `U1` to `U3` of [`scrub`](crate::scrub). Tests: `sim/tests/scrub_parity.rs`.

use shingle_hal::{Class, Device, ElementId, Extent, Lba, ZoneId};

use crate::checkpoint::is_emptied;
use crate::error::{Check, Fault, Structure};
use crate::format::seal;
use crate::group::{Group, mix};
use crate::limits::PARITY_MAX;
use crate::media::Place;
use crate::scrub::{Finding, Remedy, Span};
use crate::state::{Core, State};
use crate::zone::Role;

/// Times a block is looked at before it is bad: any request may fail for reasons of the moment.
const LOOKS: u32 = 3;

/// Where a member begins, the generation it is sealed under, and its blocks that the parity holds.
type Sealed = (Lba, u32, u32);

/// A group as the medium is to hold it.
struct Summed {
    parity: Lba,
    members: heapless::Vec<Sealed, PARITY_MAX>,
}

impl<D: Device> Core<'_, D> {
    /// What of a zone of parity is to be read; `None` if its members cannot tell what it should be.
    pub(crate) fn parity_span(&self, state: &State<'_>, id: ZoneId) -> Option<Span> {
        let zones = &state.zones;
        let group = zones.group(id);
        let members = &group[1..];
        if let &[owner] = members {
            let (end, open_ended) = self.log_end(state, owner);
            let zone = zones.get(id);
            // A cut may have left less in the copy; such a member is emptied (`is_uneven`).
            let there =
                if zone.is_head() || zone.is_conventional() { end } else { zone.written.get() };
            let generation = zones.get(owner).generation.get();
            let span = self.span(owner, generation, end.min(there), Structure::Value);
            return Some(Span { open_ended, ..span });
        }
        if members.iter().any(|id| zones.get(*id).is_offline()) {
            return None;
        }
        let end = members.iter().map(|id| zones.get(*id).written.get()).max().unwrap_or(0);
        let span = self.span(id, zones.get(id).generation.get(), end, Structure::Value);
        Some(Span { is_sum: true, ..span })
    }

    /// Bytes that verifying a zone of parity reads of its members.
    pub(crate) fn verify_len_blocks(&self, id: ZoneId, span: &Span) -> u64 {
        let state = self.state.borrow();
        let members = state.zones.group(id);
        let blocks = members[1..].iter().map(|id| u64::from(state.zones.get(*id).written.get()));
        if span.is_sum { blocks.sum() } else { 0 }
    }

    /// Whether the block of a member that the scrub found bad can be rebuilt from its group.
    pub(crate) async fn is_rebuilt(&self, span: &Span, block: u32) -> bool {
        let sources = self.sources_of(span.generation);
        if sources.is_none() {
            return false;
        }
        let map = self.state.borrow().zones.map(span.owner);
        let mut spare = self.spare.take(&self.lot).await;
        let (out, scratch) = spare.split_at_mut(self.media.block_len());
        let place = Place { map, generation: span.generation, block: span.first + block };
        let what = (Structure::Value, Class::Idle);
        sources.rebuild(&self.media, place, out, scratch, what).await.is_ok()
    }

    /// What can be done about a bad block of parity whose members are all `whole` there.
    pub(crate) fn remedy_of_parity(&self, id: ZoneId, whole: bool) -> Remedy {
        let state = self.state.borrow();
        let group = state.zones.group(id);
        match whole {
            true => Remedy::Copy,
            false if group[1..].iter().all(|id| is_emptied(&state, *id)) => Remedy::Dead,
            false => Remedy::None,
        }
    }

    /// Whether the member of which a zone of parity is a copy has a block that is bad in the copy.
    pub(crate) async fn is_in_member(
        &self,
        span: &Span,
        block: u32,
        unit: &mut [u8],
    ) -> Result<bool, Fault<D::Error>> {
        let map = self.state.borrow().zones.map(span.owner);
        let place = Place { map, generation: span.generation, block };
        let len = self.media.block_len();
        match self.media.read_units(place, unit, len, Structure::Value, Class::Idle).await {
            Ok(()) => Ok(true),
            Err(Fault::Damaged(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Reads the next part of a zone of parity and of its members, and judges its blocks; gives the
    /// bytes read.
    pub(crate) async fn verify_span(
        &self,
        id: ZoneId,
        span: Span,
        window: &mut [u8],
        report: &mut dyn FnMut(&Finding),
    ) -> Result<u64, Fault<D::Error>> {
        let mut spare = self.spare.take(&self.lot).await;
        let (group, summed, from) = {
            let state = self.state.borrow();
            let group = state.zones.group(id);
            (group.clone(), summed(&state, &group), state.scrub.block)
        };
        let block_len = self.media.block_len();
        let most = self.part_blocks(window.len().min(spare.len()));
        let blocks = most.min(span.end - from);
        let len = blocks as usize * block_len;
        let mut bytes = 0;
        let sum = &mut window[..len];
        if !self.comes_to_zeros(&summed, from, sum, &mut spare[..len], &mut bytes).await? {
            let (part, sum) = spare.split_at_mut(block_len);
            let unit = &mut window[..block_len];
            for block in from..from + blocks {
                let bad = self.judge(&summed, block, unit, part, &mut sum[..block_len]).await?;
                let Some((check, whole)) = bad else { continue };
                if !self.is_same_group(&span, &group) {
                    return Ok(0); // it was put together anew, or dissolved, meanwhile
                }
                let remedy = self.remedy_of_parity(id, whole);
                let origin = self.origin(&span, block, unit, check);
                let extent = Extent::new(summed.parity.plus(u64::from(block)), 1);
                let mut state = self.state.borrow_mut();
                let element = ElementId(u16::from_le_bytes(state.zones.get(id).element));
                let finding = Finding {
                    extent,
                    zone: id,
                    role: Role::Parity,
                    element,
                    structure: Structure::Value,
                    check,
                    origin,
                    remedy,
                };
                state.count_finding(&finding, id, false);
                drop(state);
                report(&finding);
            }
        }
        let mut state = self.state.borrow_mut();
        state.counters.scrub.blocks += u64::from(blocks);
        state.scrub.block = from + blocks;
        Ok(bytes)
    }

    fn is_same_group(&self, span: &Span, group: &Group) -> bool {
        let state = self.state.borrow();
        let found = state.zones.find(span.generation);
        found == Some(span.owner) && state.zones.group(span.owner) == *group
    }

    /// Whether blocks of the parity and of all members can be read, are whole, and come to zeros.
    async fn comes_to_zeros(
        &self,
        summed: &Summed,
        first: u32,
        sum: &mut [u8],
        part: &mut [u8],
        bytes: &mut u64,
    ) -> Result<bool, Fault<D::Error>> {
        let lba = summed.parity.plus(u64::from(first));
        *bytes += sum.len() as u64;
        if self.read_idle(lba, sum).await?.is_some() {
            return Ok(false);
        }
        for member in &summed.members {
            let part = part_of(member, first, part, self.media.block_len());
            *bytes += part.len() as u64;
            if !part.is_empty() && !self.read_sealed(member, first, part).await? {
                return Ok(false);
            }
            mix(sum, part);
        }
        Ok(sum.iter().all(|byte| *byte == 0))
    }

    /// Reads blocks of a member; whether all of them are whole.
    async fn read_sealed(
        &self,
        &(start, generation, _): &Sealed,
        first: u32,
        part: &mut [u8],
    ) -> Result<bool, Fault<D::Error>> {
        let unread = self.read_idle(start.plus(u64::from(first)), part).await?;
        let blocks = (first..).zip(part.chunks_exact(self.media.block_len()));
        let mut whole = blocks
            .map(|(block, unit)| seal::check(unit, self.media.identity(generation, block)).is_ok());
        Ok(unread.is_none() && whole.all(|whole| whole))
    }

    /// What is wrong with a block of parity, which is put into `unit`; and whether all members are
    /// whole there.
    async fn judge(
        &self,
        summed: &Summed,
        block: u32,
        unit: &mut [u8],
        part: &mut [u8],
        sum: &mut [u8],
    ) -> Result<Option<(Check, bool)>, Fault<D::Error>> {
        let mut bad = None;
        for _ in 0..LOOKS {
            let unread = self.read_idle(summed.parity.plus(u64::from(block)), unit).await?;
            sum.copy_from_slice(unit);
            let mut whole = true;
            for member in &summed.members {
                let part = part_of(member, block, part, self.media.block_len());
                whole &= part.is_empty() || self.read_sealed(member, block, part).await?;
                mix(sum, part);
            }
            bad = match unread {
                Some(check) => Some((check, whole)),
                None if whole && sum.iter().any(|byte| *byte != 0) => {
                    // What it should have been.
                    mix(sum, unit);
                    let (stored, computed) = (seal::checksum(unit), seal::checksum(sum));
                    Some((Check::Checksum { stored, computed }, whole))
                }
                None => return Ok(None),
            };
        }
        Ok(bad)
    }
}

/// As much of a buffer as the member has blocks from `first` on.
fn part_of<'b>(
    &(_, _, written): &Sealed,
    first: u32,
    buffer: &'b mut [u8],
    block_len: usize,
) -> &'b mut [u8] {
    let len = (written.saturating_sub(first) as usize * block_len).min(buffer.len());
    &mut buffer[..len]
}

fn summed(state: &State<'_>, group: &Group) -> Summed {
    let zones = &state.zones;
    let sealed = |id: &ZoneId| {
        let zone = zones.get(*id);
        (zones.start(*id), zone.generation.get(), zone.written.get())
    };
    Summed { parity: zones.start(group[0]), members: group[1..].iter().map(sealed).collect() }
}
