//! A disk of zones that are written in order: host-managed SMR, ZNS, or the kernel's own imitations
//! of them.
//!
//! Zones are reported and managed by the kernel's ioctls, on threads beside the runtime's; data go
//! by direct I/O. A queue with several requests of one zone in it may serve them in any order, so
//! here each zone has its turns: a write, a reset and the like wait until the one before has ended,
//! in the order in which they were first polled. A turn that was begun ends, also if nobody waits
//! for it any more.
//!
//! Write pointers are kept in memory while all goes well, so that a write at the wrong place is
//! refused before the disk sees it, and asked for again after anything else: what the disk says is
//! believed. A request that fails is explained by the zone's state, where that says more than the
//! error's number: kernels give the same one for most.
//!
//! The kernel tells of no storage elements: the disk is one. Of limits of open and active zones it
//! tells what it knows, which is none for NVMe drives behind its multipath layer (seen with 6.1).
//!
//! Invariants: `L1` and `L4` of `node`. `L5` at most one request that changes a zone is with the
//! kernel at a time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use compio::runtime::{JoinHandle, spawn, spawn_blocking};
use shingle_hal::{
    BlockCount, Device, ElementId, ErrorKind, Extent, Geometry, Lba, Request, ZoneCondition,
    ZoneDescriptor, ZoneId, ZoneType,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::{FileFault, FileOp, OpenError, OpenErrorKind, Reason};
use super::file::TRANSFER_LEN_BYTES_MAX;
use super::ioctl::{self, Act, RawZone, SECTOR_LEN_BYTES};
use super::node::Node;

/// Where the next write of a zone goes, and where its last may end, in blocks of the zone.
#[derive(Clone, Copy, Debug)]
struct Pointer {
    at: u32,
    capacity: u32,
}

/// Who changes a zone now; in it the pointer, where it is known.
type Turn = Arc<Mutex<Option<Pointer>>>;

/// A zoned disk. See the [module](super).
///
/// It belongs to the [runtime](super::runtime()) that it was opened on.
#[derive(Debug)]
pub struct ZonedDevice {
    node: Rc<Node>,
    geometry: Geometry,
    /// How each zone may be written, which never changes.
    types: Vec<ZoneType>,
    turns: RefCell<BTreeMap<ZoneId, Turn>>,
}

impl ZonedDevice {
    /// Opens the zoned disk at `path`, whatever it holds.
    ///
    /// # Errors
    /// [`Locked`](OpenErrorKind::Locked), [`Busy`](OpenErrorKind::Busy), something that is no disk
    /// or one without [zones](OpenErrorKind::Zones) of this kind, and what the kernel says.
    ///
    /// # Panics
    /// If no runtime runs.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = async { Self::of(Node::open(path).await?) };
        opened.await.map_err(|kind| kind.at(path))
    }

    pub(super) fn of(node: Node) -> Result<Self, OpenErrorKind> {
        let refused = |why| Err(OpenErrorKind::Zones { why });
        let Some(disk) = node.disk() else {
            return refused("it is no disk");
        };
        if !disk.is_host_managed() {
            return refused("there are none that must be written in order");
        }
        if disk.is_partition() {
            return refused("it is a part of a disk; give the whole of it");
        }
        let (zone_sectors, zone_count) = ioctl::layout(node.held())?;
        let block_len_bytes = node.block_len_bytes();
        let zone_len_bytes = u64::from(zone_sectors) * SECTOR_LEN_BYTES;
        if zone_count == 0 || !zone_len_bytes.is_multiple_of(block_len_bytes.into()) {
            return refused("they are no whole number of blocks long");
        }
        let limit = |name| disk.limit(name);
        let transfer = limit("max_sectors_kb").unwrap_or(u32::MAX).saturating_mul(1024);
        let geometry = Geometry {
            block_len_bytes,
            zone_count,
            zone_blocks: (zone_len_bytes / u64::from(block_len_bytes)) as u32,
            open_zones_max: limit("max_open_zones"),
            active_zones_max: limit("max_active_zones"),
            transfer_blocks_max: (transfer.min(TRANSFER_LEN_BYTES_MAX) / block_len_bytes).max(1),
            buffer_align_bytes: 1,
            element_count: 1,
        };
        let mut types = Vec::new();
        while types.len() < zone_count as usize {
            let sector = types.len() as u64 * u64::from(zone_sectors);
            let before = types.len();
            for raw in ioctl::report(node.held(), sector, zone_count as usize - before)? {
                let Some(zone) = descriptor(&geometry, ZoneId(types.len() as u32), &raw) else {
                    return refused("one is of no known type");
                };
                types.push(zone.zone_type);
                // Whoever had it before may have left it open, and nobody else will close it.
                if zone.condition.is_open() {
                    let act = closing(&zone);
                    ioctl::manage(node.held(), act, raw.start, zone_sectors.into())?;
                }
            }
            if types.len() == before {
                return refused("the disk reports fewer than it has");
            }
        }
        Ok(Self { node: Rc::new(node), geometry, types, turns: RefCell::default() })
    }

    /// Fails unless `zone` is on the disk and has a write pointer.
    fn admit_zone(&self, op: FileOp, zone: ZoneId) -> Result<(), FileFault> {
        match self.types.get(zone.0 as usize) {
            Some(ZoneType::Conventional) => Err(refused(op, ErrorKind::InvalidRequest)),
            Some(_) => Ok(()),
            None => Err(refused(op, ErrorKind::OutOfDevice)),
        }
    }

    /// Waits until nobody changes `zone`.
    async fn turn(&self, zone: ZoneId) -> OwnedMutexGuard<Option<Pointer>> {
        let turn = self.turns.borrow_mut().entry(zone).or_default().clone();
        turn.lock_owned().await
    }

    /// What the disk says of up to `count` zones from `first` on.
    async fn ask(
        &self,
        op: FileOp,
        first: ZoneId,
        count: usize,
    ) -> Result<Vec<ZoneDescriptor>, FileFault> {
        let sector = self.sector(self.geometry.zone_start(first).0);
        let held = self.node.held().clone();
        let asked = spawn_blocking(move || ioctl::report(&*held, sector, count));
        let raw = joined(asked.await).map_err(|error| self.node.fault(op, &error))?;
        let zones = (first.0..).map(ZoneId).zip(&raw);
        let described = zones.map(|(zone, raw)| descriptor(&self.geometry, zone, raw)).collect();
        Option::ok_or(described, FileFault { op, reason: Reason::Nothing })
    }

    /// What the disk says of `zone`.
    async fn ask_one(&self, op: FileOp, zone: ZoneId) -> Result<ZoneDescriptor, FileFault> {
        let zones = self.ask(op, zone, 1).await?;
        zones.first().copied().ok_or(FileFault { op, reason: Reason::Nothing })
    }

    /// Where `zone` is to be written, from the disk.
    async fn ask_pointer(&self, op: FileOp, zone: ZoneId) -> Result<Pointer, FileFault> {
        let seen = self.ask_one(op, zone).await?;
        match seen.condition {
            ZoneCondition::ReadOnly => Err(refused(op, ErrorKind::ZoneReadOnly)),
            ZoneCondition::Offline => Err(refused(op, ErrorKind::ZoneOffline)),
            ZoneCondition::Full => Err(refused(op, ErrorKind::ZoneFull)),
            _ => Ok(Pointer { at: seen.write_pointer.0, capacity: seen.capacity.0 }),
        }
    }

    /// The same fault with what the zone's state makes of it.
    async fn explained(&self, fault: FileFault, zone: ZoneId) -> FileFault {
        let Reason::Kernel(number) = fault.reason else {
            return fault;
        };
        let seen = match self.ask_one(fault.op, zone).await {
            Ok(seen) => seen,
            // It answers nothing at all: that is no fault of a zone.
            Err(gone) => return gone,
        };
        let kind = match (seen.condition, fault.op) {
            (ZoneCondition::Offline, _) => ErrorKind::ZoneOffline,
            (_, FileOp::Read { start, blocks }) => {
                let is_sequential = seen.condition != ZoneCondition::NotWritePointer;
                let is_written = start.0 + u64::from(blocks) <= seen.write_lba().0;
                if is_sequential && seen.condition.is_usable() && !is_written {
                    ErrorKind::ReadPastWritePointer { first: Some(seen.write_lba().max(start)) }
                } else {
                    return fault;
                }
            }
            (ZoneCondition::ReadOnly, _) => ErrorKind::ZoneReadOnly,
            _ => return fault,
        };
        FileFault { reason: Reason::Zone { number, kind }, ..fault }
    }

    async fn manage(&self, act: Act, zone: ZoneId) -> Result<(), FileFault> {
        let op = FileOp::Manage { act, zone };
        self.admit_zone(op, zone)?;
        let mut turn = self.turn(zone).await;
        *turn = None;
        let seen = self.ask_one(op, zone).await?;
        match (act, seen.condition) {
            (_, ZoneCondition::ReadOnly) => return Err(refused(op, ErrorKind::ZoneReadOnly)),
            (_, ZoneCondition::Offline) => return Err(refused(op, ErrorKind::ZoneOffline)),
            // Where the contract asks for nothing some disks refuse.
            (Act::Open | Act::Finish, ZoneCondition::Full) => return Ok(()),
            (Act::Close, condition) if !condition.is_open() => return Ok(()),
            _ => {}
        }
        let act = if act == Act::Close { closing(&seen) } else { act };
        let held = self.node.held().clone();
        let sector = self.sector(self.geometry.zone_start(zone).0);
        let sectors = self.sector(self.geometry.zone_blocks.into());
        let done = spawn_blocking(move || {
            let done = ioctl::manage(&*held, act, sector, sectors);
            drop(turn);
            done
        });
        match joined(Kept(Some(done)).await) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explained(self.node.fault(op, &error), zone).await),
        }
    }

    /// In sectors what is given in blocks.
    fn sector(&self, blocks: u64) -> u64 {
        blocks * (u64::from(self.geometry.block_len_bytes) / SECTOR_LEN_BYTES)
    }

    fn admit(&self, op: FileOp, start: Lba, len_bytes: usize) -> Result<Extent, FileFault> {
        self.geometry.transfer(start, len_bytes).map_err(|kind| refused(op, kind))
    }
}

impl Device for ZonedDevice {
    type Error = FileFault;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    async fn read(&self, start: Lba, buf: &mut [u8], _: Request) -> Result<(), FileFault> {
        let op = FileOp::Read { start, blocks: self.node.blocks(buf.len()) };
        self.admit(op, start, buf.len())?;
        match self.node.read(start, buf).await {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.explained(fault, self.geometry.zone_of(start)).await),
        }
    }

    async fn write(&self, start: Lba, data: &[u8], _: Request) -> Result<(), FileFault> {
        let op = FileOp::Write { start, blocks: self.node.blocks(data.len()) };
        let extent = self.admit(op, start, data.len())?;
        let zone = self.geometry.zone_of(start);
        if self.types[zone.0 as usize] == ZoneType::Conventional {
            return self.node.write(start, self.node.buffer(data)).await;
        }
        let mut turn = self.turn(zone).await;
        let pointer = match *turn {
            Some(pointer) => pointer,
            None => self.ask_pointer(op, zone).await?,
        };
        let zone_start = self.geometry.zone_start(zone);
        let next = Pointer { at: (extent.end().0 - zone_start.0) as u32, ..pointer };
        *turn = Some(pointer);
        if start != zone_start.plus(pointer.at.into()) {
            let write_pointer = Some(zone_start.plus(pointer.at.into()));
            return Err(refused(op, ErrorKind::UnalignedWrite { write_pointer }));
        }
        if next.at > next.capacity {
            return Err(refused(op, ErrorKind::CrossesZone));
        }
        // Until the write has succeeded nobody knows; of a full zone the disk is asked.
        *turn = None;
        let (node, buffer) = (self.node.clone(), self.node.buffer(data));
        let written = spawn(async move {
            let written = node.write(start, buffer).await;
            *turn = (written.is_ok() && next.at < next.capacity).then_some(next);
            written
        });
        match Kept(Some(written)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(self.explained(fault, zone).await),
            Err(_) => Err(FileFault { op, reason: Reason::Nothing }),
        }
    }

    async fn sync(&self) -> Result<(), FileFault> {
        self.node.sync().await
    }

    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, FileFault> {
        let left = self.geometry.zone_count.saturating_sub(first.0) as usize;
        let wanted = left.min(out.len());
        let end = ZoneId(first.0.saturating_add(wanted as u32));
        // What was begun and given up may still change them.
        let turns: Vec<_> =
            self.turns.borrow().range(first..end).map(|(_, turn)| turn.clone()).collect();
        for turn in turns {
            drop(turn.lock_owned().await);
        }
        let mut count = 0;
        while count < wanted {
            let from = ZoneId(first.0 + count as u32);
            let zones = self.ask(FileOp::Report { first: from }, from, wanted - count).await?;
            if zones.is_empty() {
                let op = FileOp::Report { first: from };
                return Err(FileFault { op, reason: Reason::Nothing });
            }
            for (slot, zone) in out[count..wanted].iter_mut().zip(zones) {
                *slot = zone;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn open(&self, zone: ZoneId) -> Result<(), FileFault> {
        self.manage(Act::Open, zone).await
    }

    async fn close(&self, zone: ZoneId) -> Result<(), FileFault> {
        self.manage(Act::Close, zone).await
    }

    async fn finish(&self, zone: ZoneId) -> Result<(), FileFault> {
        self.manage(Act::Finish, zone).await
    }

    async fn reset(&self, zone: ZoneId) -> Result<(), FileFault> {
        self.manage(Act::Reset, zone).await
    }
}

const fn refused(op: FileOp, kind: ErrorKind) -> FileFault {
    FileFault { op, reason: Reason::Refused(kind) }
}

/// How an open zone is closed: one that was never written is to be empty after it, and some disks
/// would keep it closed.
const fn closing(zone: &ZoneDescriptor) -> Act {
    if zone.write_pointer.0 == 0 { Act::Reset } else { Act::Close }
}

/// What a report says of `zone`; `None` if its type or condition is none that is known.
fn descriptor(geometry: &Geometry, zone: ZoneId, raw: &RawZone) -> Option<ZoneDescriptor> {
    let zone_type = match raw.zone_type {
        1 => ZoneType::Conventional,
        2 => ZoneType::SequentialRequired,
        3 => ZoneType::SequentialPreferred,
        _ => return None,
    };
    let condition = match raw.condition {
        0x0 => ZoneCondition::NotWritePointer,
        0x1 => ZoneCondition::Empty,
        0x2 => ZoneCondition::ImplicitOpen,
        0x3 => ZoneCondition::ExplicitOpen,
        0x4 => ZoneCondition::Closed,
        0xd => ZoneCondition::ReadOnly,
        0xe => ZoneCondition::Full,
        0xf => ZoneCondition::Offline,
        _ => return None,
    };
    let sectors = u64::from(geometry.block_len_bytes) / SECTOR_LEN_BYTES;
    let capacity = (raw.capacity / sectors) as u32;
    let written = (raw.write_pointer.saturating_sub(raw.start) / sectors) as u32;
    let write_pointer = match condition {
        ZoneCondition::Full => capacity,
        _ if condition.is_active() => written.min(capacity),
        _ => 0,
    };
    Some(ZoneDescriptor {
        zone,
        zone_type,
        condition,
        start: geometry.zone_start(zone),
        capacity: BlockCount(capacity),
        write_pointer: BlockCount(write_pointer),
        element: ElementId(0),
    })
}

/// What a thread answered.
fn joined<T, E>(answer: Result<io::Result<T>, E>) -> io::Result<T> {
    answer.unwrap_or_else(|_| Err(io::Error::other("the thread that asked the kernel died")))
}

/// A task that goes on if nobody waits for it any more.
struct Kept<T>(Option<JoinHandle<T>>);

impl<T> Future for Kept<T> {
    type Output = <JoinHandle<T> as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(task) => Pin::new(task).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}
