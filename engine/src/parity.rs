//! Parity: values that survive the loss of the storage element they lie on.
//!
//! Where a store is formatted with parity of `n + 1`, each zone of values has a zone of parity on
//! another element from its first block on. While it is written, that is a *copy*: a group of one,
//! whose exclusive or is the zone itself, so the newest data are protected like any others. Later,
//! in the background, `n` such zones on different elements come into one group, and their copies
//! are free again:
//!
//! ```text
//!            roll                    regroup (n such)
//!   head ────────────> zone + copy ──────────────────> n zones + parity ──> all emptied: free
//!   (writes go to both)   ^                                  │
//!                         └──────── regroup <────────────────┘ an element died: the dead zone is
//!                          (also of one zone alone)            emptied, what is left regrouped
//! ```
//!
//! Regrouping reads the zones and writes their exclusive or, then
//!
//! ```text
//!   1 zone of parity written     cut after: nobody is protected by it, it is freed as dead
//!   2 sync                       before 3, or the edit could name an empty zone, and the copies
//!                                would be gone (canary `GroupBeforeSync`)
//!   3 edit: the old zones of parity are free, the members name the new one
//!   4 sync; only then may the old ones be reset
//! ```
//!
//! A block that cannot be read is rebuilt from its group and checked by its own seal. Its zone is
//! then emptied by reclaim before others, which reads the same way: that is the rebuilding, paced
//! like all reclaim. A group whose parity is of no use any more is regrouped at once.
//!
//! Invariants: `X1` to `X3` of [`group`](crate::group). `X4` a member is in one group at any moment
//! of which its blocks can be rebuilt, from its first block to its freeing, unless a zone of the
//! group failed. `X5` where no zone is held to wait for a group, none does. Tests:
//! `sim/tests/parity.rs`.

use shingle_hal::{Class, Device, Error as _, ErrorKind, Request, ZoneId};

use crate::canary::{Bug, planted};
use crate::checkpoint::{is_behind, push_release};
use crate::compact::Step;
use crate::error::{Check, Fault, Structure, is_of_zone};
use crate::format::edit::Change;
use crate::format::marks::{DAMAGED, LEAVE};
use crate::group::{Sources, mix};
use crate::limits::PARITY_MAX;
use crate::log::Head;
use crate::manifest::EditBuilder;
use crate::media::Place;
use crate::state::{Core, Member, Moment, Regroup, Side, State, Wanted};
use crate::sync::For;
use crate::zone::{Role, Zone};

/// Members of a group being chosen.
type Chosen = heapless::Vec<Member, PARITY_MAX>;

/// Why a zone of values may come into a new group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loose {
    /// Nothing protects it.
    Bare,
    /// It has a copy.
    Copied,
}

impl<D: Device> Core<'_, D> {
    /// Zones of values that a zone of parity is to protect; 0 for no parity.
    pub(crate) fn parity(&self) -> usize {
        usize::from(self.superblock.get().redundancy.parity)
    }

    /// How many zones of values come to one of parity with the elements that there are; 0 for none.
    pub(crate) fn parity_width(&self) -> usize {
        match self.parity() {
            0 => 0,
            wanted => {
                let elements = self.state.borrow().zones.element_count();
                wanted.min(elements.saturating_sub(1))
            }
        }
    }

    /// What so many bytes of values take up with their share of parity.
    pub(crate) fn parity_scale(&self) -> impl Fn(u64) -> u64 + use<D> {
        let width = self.parity_width() as u64;
        move |bytes| if width > 0 { bytes.saturating_add(bytes.div_ceil(width)) } else { bytes }
    }

    /// Bytes that so many bytes of values take up with their share of parity.
    pub(crate) fn with_parity(&self, bytes: u64) -> u64 {
        self.parity_scale()(bytes)
    }

    /// Freezes the memtable if a zone that failed waits for it to be emptied.
    pub(crate) fn flush_for_failed_zones(&self) {
        if self.parity() == 0 {
            return;
        }
        let mut state = self.state.borrow_mut();
        if !state.failed || state.frozen.is_some() {
            return;
        }
        let waits = |id: ZoneId, zone: &Zone| {
            let failed = zone.is_damaged() || zone.is_sick();
            let used = zone.live.get() > 0 || zone.live_mem.get() > 0;
            let idle = !zone.is_head() && zone.pens == 0 && !zone.is_emptied();
            failed && used && idle && zone.role().holds_values() && !is_behind(&state, id)
        };
        if state.zones.iter().any(|(id, zone)| waits(id, zone)) {
            state.freeze();
        }
    }

    /// Makes what reclaim moved durable, and the writes that made the rest dead.
    pub(crate) async fn make_moves_durable(&self) -> Result<(), Fault<D::Error>> {
        let tickets = self.emptied_at.get();
        if !planted(Bug::FreeBeforeOverwritesSynced) {
            self.make_durable(Side::Log, tickets[0]).await?;
        }
        if !planted(Bug::FreeBeforeSurvivorsSynced) {
            self.make_durable(Side::Cold, tickets[1]).await?;
        }
        Ok(())
    }

    /// Whether it is so already.
    pub(crate) fn are_moves_durable(&self) -> bool {
        self.are_durable(self.emptied_at.get())
    }

    /// Whether both logs are durable up to these tickets.
    pub(crate) fn are_durable(&self, [log, cold]: [u64; 2]) -> bool {
        let mut state = self.state.borrow_mut();
        state.head(Side::Log).synced >= log && state.head(Side::Cold).synced >= cold
    }

    /// A zone for the copy of `zone`, on another element; `None` if there is none, or none wanted.
    pub(crate) async fn take_parity(
        &self,
        zone: ZoneId,
    ) -> Result<Option<ZoneId>, Fault<D::Error>> {
        if self.parity() == 0 {
            return Ok(None);
        }
        let (element, capacity) = {
            let state = self.state.borrow();
            let entry = state.zones.get(zone);
            (entry.element, entry.capacity.get())
        };
        let find = |state: &mut State<'_>| state.zones.find_apart(&[element], capacity);
        match self.take_zone_by(Role::Parity, false, find).await {
            Ok(copy) => Ok(Some(copy)),
            Err(Fault::NoSpace) if !self.is_read_only() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Writes what a head wrote to the copy of its zone. If that fails, the zone goes without, and
    /// is left soon.
    pub(crate) async fn write_copy(
        &self,
        side: Side,
        first: u32,
        data: &[u8],
    ) -> Result<(), Fault<D::Error>> {
        let copy = {
            let mut state = self.state.borrow_mut();
            let zone = state.head(side).zone;
            zone.and_then(|zone| state.zones.copy_of(zone.id))
        };
        let Some(copy) = copy else { return Ok(()) };
        let lba = self.media.geometry.zone_start(copy).plus(u64::from(first));
        let class = if side == Side::Log { Class::Foreground } else { Class::Maintenance };
        match self.media.write(lba, data, class).await {
            Ok(()) => Ok(()),
            Err(error) if is_of_zone(error.kind()) => {
                self.note_failed(copy, error.kind());
                self.drop_copy(side, copy).await
            }
            Err(error) => Err(Fault::Device(error)),
        }
    }

    async fn drop_copy(&self, side: Side, copy: ZoneId) -> Result<(), Fault<D::Error>> {
        self.commit_edit(|state, edit| {
            state.zones.dissolve(copy);
            push_release(state, edit, copy);
            state.head(side).end_soon();
            state.failed = true;
        })
        .await?;
        self.sync_device().await?;
        self.state.borrow_mut().freed(copy);
        Ok(())
    }

    /// Whether a cut left more in a zone than in its copy, as far as the device tells.
    pub(crate) fn is_uneven(&self, zone: ZoneId) -> bool {
        let state = self.state.borrow();
        let Some(copy) = state.zones.copy_of(zone) else { return false };
        state.zones.written(copy) < state.zones.written(zone)
    }

    /// Up to where, in the payload, a zone and its copy both hold what was written, as far as the
    /// device tells.
    pub(crate) fn even_until(&self, zone: ZoneId) -> u32 {
        let state = self.state.borrow();
        let Some(copy) = state.zones.copy_of(zone) else { return u32::MAX };
        let both = [zone, copy];
        if both.iter().any(|id| state.zones.get(*id).is_conventional()) {
            return 0;
        }
        let blocks = state.zones.written(zone).min(state.zones.written(copy));
        blocks.saturating_sub(1).saturating_mul(self.payload())
    }

    /// Recovery: a copy that this zone's life did not begin in holds what a life before left,
    /// brought back by a reset that a cut undid.
    pub(crate) async fn look_at_copy(&self, zone: ZoneId) -> Result<(), Fault<D::Error>> {
        let (copy, generation, map) = {
            let state = self.state.borrow();
            let Some(copy) = state.zones.copy_of(zone) else { return Ok(()) };
            if state.zones.written(copy) <= state.zones.written(zone) {
                return Ok(());
            }
            (copy, state.zones.get(zone).generation.get(), state.zones.map(copy))
        };
        let mut buffer = self.nodes.take(&self.lot).await;
        let len = self.media.block_len();
        let (place, unit) = (Place { map, generation, block: 0 }, &mut buffer[..len]);
        let what = (Structure::LogRecord, Class::Maintenance);
        match self.media.read_units(place, unit, len, what.0, what.1).await {
            Ok(()) => {}
            Err(Fault::Damaged(_)) => {
                self.state.borrow_mut().zones.get_mut(copy).written = 0.into();
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Recovery: of the zones of a log that were not durable as a whole, the generation `from` and
    /// those behind it, a cut may have torn the copy alone. Such a zone is emptied.
    pub(crate) async fn judge_copies(&self, role: Role, from: u32) -> Result<(), Fault<D::Error>> {
        if self.parity() == 0 {
            return Ok(());
        }
        for id in (0..self.media.geometry.zone_count).map(ZoneId) {
            let at_risk = {
                let state = self.state.borrow();
                let zone = state.zones.get(id);
                zone.role() == role && zone.generation.get() >= from && !zone.is_damaged()
            };
            if at_risk && self.has_torn_copy(id).await? {
                self.state.borrow_mut().note_mark(id, DAMAGED);
            }
        }
        Ok(())
    }

    /// Whether the last block of the copy of a zone is not whole. Where no write pointer bounds
    /// either, any block may be the one.
    async fn has_torn_copy(&self, zone: ZoneId) -> Result<bool, Fault<D::Error>> {
        let place = {
            let state = self.state.borrow();
            let Some(copy) = state.zones.copy_of(zone) else { return Ok(false) };
            if [zone, copy].iter().any(|id| state.zones.get(*id).is_conventional()) {
                return Ok(true);
            }
            let Some(block) = state.zones.written(zone).checked_sub(1) else { return Ok(false) };
            let generation = state.zones.get(zone).generation.get();
            Place { map: state.zones.map(copy), generation, block }
        };
        let mut buffer = self.nodes.take(&self.lot).await;
        let len = self.media.block_len();
        let what = (Structure::LogRecord, Class::Maintenance);
        match self.media.read_units(place, &mut buffer[..len], len, what.0, what.1).await {
            Ok(()) => Ok(false),
            Err(Fault::Damaged(_)) => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    /// What the blocks of the zone of this generation can be rebuilt from.
    pub(crate) fn sources_of(&self, generation: u32) -> Sources {
        let state = self.state.borrow();
        state.zones.find(generation).map_or(Sources::NONE, |zone| state.zones.sources(zone))
    }

    /// Reads blocks of a zone of values that did not come whole: each that the zone does not give
    /// from its group. `fault` is what reading them came to.
    pub(crate) async fn read_rebuilt(
        &self,
        place: Place,
        out: &mut [u8],
        request: Request,
        fault: Fault<D::Error>,
    ) -> Result<(), Fault<D::Error>> {
        let sources = self.sources_of(place.generation);
        if sources.is_none() {
            return Err(fault);
        }
        let mut scratch = self.spare.take(&self.lot).await;
        let offline = {
            let state = self.state.borrow();
            let zone = state.zones.find(place.generation);
            zone.is_some_and(|zone| state.zones.get(zone).is_offline())
        };
        let what = (Structure::Value, request);
        if offline && sources.rebuild(&self.media, place, out, &mut scratch, what).await.is_ok() {
            return Ok(());
        }
        let len = self.media.block_len();
        for (block, unit) in (place.block..).zip(out.chunks_exact_mut(len)) {
            let place = Place { block, ..place };
            match self.media.read_units(place, unit, len, Structure::Value, request).await {
                Err(Fault::Damaged(_)) => {}
                other => {
                    other?;
                    continue;
                }
            }
            let rebuilt = sources.rebuild(&self.media, place, unit, &mut scratch, what).await;
            if let Err((failed, fault)) = rebuilt {
                self.note_source(failed);
                return Err(fault);
            }
        }
        Ok(())
    }

    /// A zone that others were to be rebuilt from could not be read.
    fn note_source(&self, zone: Option<ZoneId>) {
        let mut state = self.state.borrow_mut();
        let Some(zone) = zone.filter(|zone| zone.0 < state.zones.len()) else { return };
        if state.zones.is_grouped(zone) {
            state.note_mark(zone, DAMAGED);
        }
    }

    /// Zones of values with something in them that no parity protects.
    pub(crate) fn bare_zones(&self) -> u32 {
        if self.parity() == 0 {
            return 0;
        }
        let state = self.state.borrow();
        let bare = |id: ZoneId, zone: &Zone| {
            let lives = zone.live.get() > 0 || zone.live_mem.get() > 0;
            let here = zone.role().holds_values() && lives && !zone.is_emptied();
            here && (zone.is_offline() || is_broken(&state, id))
        };
        state.zones.iter().filter(|(id, zone)| bare(*id, zone)).count() as u32
    }

    /// Whether zones wait to come into a group; as far as the last look at them showed.
    pub(crate) fn has_loose_zones(&self) -> bool {
        self.state.borrow().loose
    }

    /// The zones that come into a group next.
    fn choose(&self, wanted: Wanted) -> Chosen {
        let width = self.parity_width();
        let any = self.choose_of(None, width, wanted);
        if !any.is_empty() || wanted.narrow {
            return any;
        }
        let wanted = Wanted { bare: false, ..wanted };
        // Survivors live longer than what is new: a group is freed with the last of its zones.
        let log = self.choose_of(Some(Role::Log), width, wanted);
        if log.is_empty() { self.choose_of(Some(Role::Cold), width, wanted) } else { log }
    }

    /// As [`choose`](Self::choose), of zones of one role, or of any if some are bare or it is to be
    /// narrow.
    fn choose_of(&self, role: Option<Role>, width: usize, wanted: Wanted) -> Chosen {
        let mut chosen = Chosen::new();
        let state = self.state.borrow();
        let mut first = Loose::Copied;
        let mut last = None;
        // Oldest first, those that nothing protects before all: what was written together dies
        // together. Each turn takes one.
        while !chosen.is_full() && chosen.len() < width {
            let taken = |zone: &Zone| {
                chosen.iter().any(|m| state.zones.get(m.zone).element == zone.element)
            };
            let candidates = state.zones.iter().filter_map(|(id, zone)| {
                let of_role = role.is_none_or(|role| zone.role() == role);
                let loose = loose(&state, id, self.parity()).filter(|_| of_role)?;
                if loose == Loose::Bare && !wanted.bare {
                    return None;
                }
                let key = (loose, zone.role(), zone.generation.get());
                (last < Some(key) && !taken(zone)).then_some((key, id))
            });
            let Some((key, id)) = candidates.min_by_key(|(key, _)| *key) else { break };
            if chosen.is_empty() {
                first = key.0;
            }
            last = Some(key);
            let zone = state.zones.get(id);
            let generation = zone.generation.get();
            let blocks = state.zones.written_here(id).min(zone.capacity.get());
            let _ = chosen.push(Member { zone: id, generation, blocks, len: 0 });
        }
        // A copy protects as well: without need it is not given up for less than a whole group.
        let enough = match first {
            Loose::Bare => 1,
            Loose::Copied if wanted.narrow => 2,
            Loose::Copied => width.max(2),
        };
        let now = role.is_some() || wanted.narrow || first == Loose::Bare;
        if chosen.len() < enough || !now {
            chosen.clear();
        }
        chosen
    }

    /// One step of regrouping, at most about `budget` bytes read and written. Under `jobs`.
    pub(crate) async fn regroup_step(
        &self,
        budget: u64,
        wanted: Wanted,
    ) -> Result<Step, Fault<D::Error>> {
        if self.parity() == 0 {
            return Ok(Step::Idle);
        }
        let begun = self.regrouping.take().filter(|regroup| self.is_still_whole(regroup));
        let begun = match begun {
            Some(regroup) => Some(regroup),
            None if self.has_nothing_loose(wanted) => None,
            None => self.begin_regroup(wanted).await?,
        };
        self.state.borrow_mut().loose = begun.is_some();
        let Some(mut regroup) = begun else { return Ok(Step::Idle) };
        let mut did = 0;
        while regroup.next < regroup.end {
            if did >= budget {
                self.regrouping.set(Some(regroup));
                return Ok(Step::Did(did));
            }
            match self.combine_part(&mut regroup).await? {
                Some(bytes) => did += bytes,
                None => {
                    self.leave_regroup(&regroup);
                    return Ok(Step::Did(did + 1));
                }
            }
        }
        self.finish_regroup(&regroup).await?;
        Ok(Step::Did(did + 1))
    }

    /// Whether the members are all still there and whole; if not, what was written is of no use.
    fn is_still_whole(&self, regroup: &Regroup) -> bool {
        let whole = {
            let state = self.state.borrow();
            let mut members = regroup.members.iter();
            members.all(|member| {
                state.zones.find(member.generation) == Some(member.zone)
                    && loose(&state, member.zone, self.parity()).is_some()
            })
        };
        if !whole {
            self.leave_regroup(regroup);
        }
        whole
    }

    /// The zone of parity that was begun is dead.
    fn leave_regroup(&self, regroup: &Regroup) {
        self.state.borrow_mut().zones.get_mut(regroup.into).set_head(false);
    }

    /// Whether the last look at the zones found none that come into a group, and nothing happened
    /// since that could have changed that.
    fn has_nothing_loose(&self, wanted: Wanted) -> bool {
        let state = self.state.borrow();
        state.none_loose == Some(moment(&state, wanted))
    }

    /// Panics if zones wait to come into a group although it is held that none do.
    pub(crate) fn check_loose(&self) {
        let known = self.state.borrow().none_loose;
        if let Some(known) = known.filter(|known| self.has_nothing_loose(known.wanted)) {
            assert!(self.choose(known.wanted).is_empty(), "X5: {known:?}");
        }
    }

    async fn begin_regroup(&self, wanted: Wanted) -> Result<Option<Regroup>, Fault<D::Error>> {
        let mut members = self.choose(wanted);
        {
            let mut state = self.state.borrow_mut();
            let now = moment(&state, wanted);
            state.none_loose = members.is_empty().then_some(now);
        }
        while !members.is_empty() {
            self.begin_writing().await?;
            let (elements, capacity, end) = {
                let state = self.state.borrow();
                let zones = members.iter().map(|member| state.zones.get(member.zone));
                let elements: heapless::Vec<[u8; 2], PARITY_MAX> =
                    zones.clone().map(|zone| zone.element).collect();
                let capacity = zones.map(|zone| zone.capacity.get()).max().unwrap_or(0);
                let end = members.iter().map(|member| member.blocks).max().unwrap_or(0);
                (elements, capacity, end)
            };
            let find = |state: &mut State<'_>| {
                let apart = if planted(Bug::ParityOnMemberElement) { &[] } else { &elements[..] };
                state.zones.find_apart(apart, capacity)
            };
            match self.take_zone_by(Role::Parity, true, find).await {
                Ok(into) => return Ok(Some(Regroup { members, into, next: 0, end })),
                Err(Fault::NoSpace) if !self.is_read_only() => {}
                Err(fault) => return Err(fault),
            }
            // All free zones lie where the members do: with fewer of them there may be one.
            if !wanted.narrow && self.state.borrow().zones.free_count() > 0 && members.len() > 2 {
                members.pop();
                continue;
            }
            return Ok(None);
        }
        Ok(None)
    }

    /// Writes the next blocks of a zone of parity; `None` if that came to nothing.
    async fn combine_part(&self, regroup: &mut Regroup) -> Result<Option<u64>, Fault<D::Error>> {
        let block_len = self.media.block_len();
        let mut spare = self.spare.take(&self.lot).await;
        let half = spare.len() / 2 / block_len * block_len;
        let (sum, part) = spare.split_at_mut(half);
        let most = ((half / block_len) as u32).min(self.media.geometry.transfer_blocks_max);
        let first = regroup.next;
        let blocks = most.min(regroup.end - first);
        let len = blocks as usize * block_len;
        let sum = &mut sum[..len];
        sum.fill(0);
        let mut read = 0;
        for member in &mut regroup.members {
            let there = member.blocks.saturating_sub(first).min(blocks);
            let part = &mut part[..there as usize * block_len];
            if part.is_empty() {
                continue;
            }
            if !self.read_member(member, first, part).await? {
                return Ok(None);
            }
            mix(sum, part);
            read += part.len() as u64;
        }
        let lba = self.media.geometry.zone_start(regroup.into).plus(u64::from(first));
        match self.media.write(lba, sum, Class::Maintenance).await {
            Ok(()) => {}
            Err(error) if self.note_failed(regroup.into, error.kind()) => return Ok(None),
            Err(error) => return self.poison(Fault::Device(error)),
        }
        regroup.next += blocks;
        Ok(Some(read + len as u64))
    }

    /// Reads the next blocks of a member, zeros where it has none; false if it is damaged, and is
    /// to be emptied rather than to come into a group.
    async fn read_member(
        &self,
        member: &mut Member,
        first: u32,
        part: &mut [u8],
    ) -> Result<bool, Fault<D::Error>> {
        let (map, sources) = {
            let state = self.state.borrow();
            (state.zones.map(member.zone), state.zones.sources(member.zone))
        };
        let len = self.media.block_len();
        let place = Place { map, generation: member.generation, block: first };
        let what = (Structure::Value, Class::Maintenance);
        let whole = self.media.read_units(place, part, len, what.0, what.1).await;
        if whole.is_ok() && member.len == first {
            member.len = first + (part.len() / len) as u32;
            return Ok(true);
        }
        for (block, unit) in (first..).zip(part.chunks_exact_mut(len)) {
            let place = Place { block, ..place };
            let check = match self.media.read_units(place, unit, len, what.0, what.1).await {
                // Behind a block that seemed to be the end, it was none.
                Ok(()) if member.len == block => {
                    member.len += 1;
                    continue;
                }
                Ok(()) => None,
                Err(Fault::Damaged(damage)) => Some(damage.check),
                Err(fault) => return Err(fault),
            };
            let copied = sources.is_copy()
                && sources.rebuild(&self.media, place, unit, &mut [], what).await.is_ok();
            // What the device cannot give now may be there all the same.
            let ends = match check {
                Some(Check::Unreadable(kind)) => {
                    matches!(kind, ErrorKind::ReadPastWritePointer { .. })
                }
                other => other.is_some(),
            };
            if copied || !ends {
                self.state.borrow_mut().note_mark(member.zone, DAMAGED);
                return Ok(false);
            }
            unit.fill(0);
        }
        Ok(true)
    }

    /// The zone of parity is written: makes it that of its members.
    async fn finish_regroup(&self, regroup: &Regroup) -> Result<(), Fault<D::Error>> {
        if !planted(Bug::GroupBeforeSync) {
            self.sync_device().await?;
        }
        let into = regroup.into;
        if !self.is_still_whole(regroup) {
            return Ok(());
        }
        let mut old = heapless::Vec::<ZoneId, PARITY_MAX>::new();
        self.commit_edit(|state, edit| {
            state.zones.get_mut(into).set_head(false);
            for member in &regroup.members {
                if let Some(parity) = state.zones.parity_of(member.zone) {
                    state.zones.dissolve(parity);
                    push_release(state, edit, parity);
                    let _ = old.push(parity);
                }
            }
            for member in &regroup.members {
                state.zones.get_mut(member.zone).written = member.len.into();
                assert!(state.zones.protect(member.zone, into), "X4: in no group now");
                push_protect(edit, member.zone, into, member.len);
            }
            state.counters.regroups += 1;
            event!(info, "a group of {} zones has parity", regroup.members.len());
            state.tree.version += 1;
        })
        .await?;
        self.sync_device().await?;
        for zone in old {
            self.state.borrow_mut().freed(zone);
        }
        self.lot.wake_all(For::Progress);
        let full = {
            let mut state = self.state.borrow_mut();
            let zone = state.zones.get_mut(into);
            zone.written = regroup.end.into();
            regroup.end == zone.capacity.get()
        };
        if full { Ok(()) } else { self.give_back(into).await }
    }
}

/// What changes whenever a zone may have become loose, but for its marks, and for what begins to
/// live in it when it is full, which end what is known ([`State::note_mark`], [`State::insert`]):
/// a zone is left by its head, emptied, freed, or taken. Each counter only grows, so their sum
/// changes with any of them.
fn moment(state: &State<'_>, wanted: Wanted) -> Moment {
    let head = |head: &Head<'_>| head.zone.map_or(0, |zone| u64::from(zone.generation) + 1);
    let sum = u64::from(state.zones.next_generation)
        + head(&state.log)
        + state.cold.as_ref().map_or(0, head)
        + state.counters.reclaims
        + state.tree.version;
    Moment { sum, free: state.zones.free_count(), wanted }
}

/// Says in an edit that `parity` protects the first `blocks` blocks of `zone`, or with 0 all.
pub(crate) fn push_protect(edit: &mut EditBuilder<'_>, zone: ZoneId, parity: ZoneId, blocks: u32) {
    edit.push(&Change::Protect { zone: zone.0, parity: parity.0, blocks });
}

/// Whether a zone of values cannot be rebuilt, should it fail.
fn is_broken(state: &State<'_>, id: ZoneId) -> bool {
    let Some(parity) = state.zones.parity_of(id) else { return true };
    let group = state.zones.group(id);
    let needs = |id: &ZoneId| {
        let zone = state.zones.get(*id);
        let failed = zone.is_damaged() && zone.role() != Role::Parity && !zone.is_emptied();
        failed && state.zones.is_readable(*id)
    };
    if group.iter().any(needs) {
        return false;
    }
    // What a member that failed held was moved: from then on the others need it no more.
    let spent = |id: &ZoneId| {
        let zone = state.zones.get(*id);
        zone.is_emptied() && (zone.is_damaged() || zone.is_sick())
    };
    let parity = state.zones.get(parity);
    parity.is_damaged() || parity.has_mark(LEAVE) || group.iter().any(spent)
}

/// Whether a zone may come into a new group, of `n` zones where there are as many.
fn loose(state: &State<'_>, id: ZoneId, n: usize) -> Option<Loose> {
    let zone = state.zones.get(id);
    let lives = zone.live.get() > 0 || zone.live_mem.get() > 0;
    let whole = zone.role().holds_values()
        && lives
        && !zone.is_head()
        && !zone.is_emptied()
        && !zone.is_sick()
        && !zone.is_damaged()
        && !zone.has_mark(LEAVE)
        && !state.ahead.contains(&id)
        && state.zones.extension(id).is_none();
    if !whole {
        return None;
    }
    if is_broken(state, id) {
        return Some(Loose::Bare);
    }
    (n > 1 && state.zones.copy_of(id).is_some()).then_some(Loose::Copied)
}
