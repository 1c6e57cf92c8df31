//! The simulated drive against a naive model: any sequence of requests answers as the model says,
//! and whatever a power cut leaves is something that the contract allows.

use std::future::Future;

use shingle_hal::{Device, ErrorKind, Lba, Request, ZoneCondition as C, ZoneDescriptor, ZoneId};
use shingle_sim::media::{MediaKind, MediaSpec};
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, Outcome, synthetic};

const BLOCK: usize = 512;
const ZONES: u32 = 7;
const CONVENTIONAL: u32 = 1;
const SIZE: u32 = 16;
const CAPACITY: u32 = 11;
const OPEN: usize = 2;
const ACTIVE: usize = 3;

fn spec(kind: MediaKind) -> MediaSpec {
    MediaSpec {
        name: "model".into(),
        kind,
        block_len_bytes: BLOCK as u32,
        zone_count: ZONES,
        zone_blocks: SIZE,
        zone_capacity_blocks: CAPACITY,
        conventional_zone_count: CONVENTIONAL,
        open_zones_max: Some(OPEN as u32),
        active_zones_max: Some(ACTIVE as u32),
        transfer_blocks_max: 6,
        element_count: 1,
        timing: TimingSpec::Instant,
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

/// The bytes of the block with this tag; 0 is never written. Some are synthetic, some are not.
fn block(tag: u32) -> Vec<u8> {
    match tag {
        0 => vec![0; BLOCK],
        _ if tag.is_multiple_of(3) => (0..BLOCK).map(|i| (tag as usize + i * i) as u8).collect(),
        _ => {
            let mut bytes = vec![tag as u8; BLOCK];
            let offset = u64::from(tag) * (BLOCK as u64 - 8);
            synthetic::fill(9, offset, &mut bytes[..BLOCK - 8]);
            bytes
        }
    }
}

/// What a sequential zone is or was: the tags of its blocks, and whether it is full.
#[derive(Clone, Debug, Default, PartialEq)]
struct Snapshot {
    tags: Vec<u32>,
    full: bool,
}

#[derive(Clone, Debug)]
struct Zone {
    condition: C,
    /// The last is now, the first is what is durable.
    history: Vec<Snapshot>,
    /// For a conventional zone: per block, the tags it had since the last sync.
    blocks: Vec<Vec<u32>>,
}

/// The naive model.
struct Model {
    zones: Vec<Zone>,
    /// Implicitly open zones, least recently used first.
    implicit: Vec<usize>,
    next_tag: u32,
}

type Answer = Result<(), ErrorKind>;

impl Model {
    fn new() -> Self {
        let zone = |z| Zone {
            condition: if z < CONVENTIONAL { C::NotWritePointer } else { C::Empty },
            history: vec![Snapshot::default()],
            blocks: vec![vec![0]; CAPACITY as usize],
        };
        Self { zones: (0..ZONES).map(zone).collect(), implicit: Vec::new(), next_tag: 1 }
    }

    fn now(&self, z: usize) -> &Snapshot {
        self.zones[z].history.last().unwrap()
    }

    fn count(&self, is: fn(C) -> bool) -> usize {
        self.zones.iter().filter(|zone| is(zone.condition)).count()
    }

    fn become_condition(&mut self, z: usize, condition: C) {
        self.implicit.retain(|other| *other != z);
        if condition == C::ImplicitOpen {
            self.implicit.push(z);
        }
        self.zones[z].condition = condition;
    }

    fn rest(&mut self, z: usize) {
        let snapshot = self.now(z);
        let condition = match (snapshot.full, snapshot.tags.len()) {
            (true, _) => C::Full,
            (_, 0) => C::Empty,
            _ => C::Closed,
        };
        self.become_condition(z, condition);
    }

    fn take_open(&mut self, z: usize) -> Answer {
        if self.zones[z].condition.is_open() {
            return Ok(());
        }
        if !self.zones[z].condition.is_active() && self.count(C::is_active) == ACTIVE {
            return Err(ErrorKind::TooManyActiveZones);
        }
        if self.count(C::is_open) == OPEN {
            let oldest = *self.implicit.first().ok_or(ErrorKind::TooManyOpenZones)?;
            self.rest(oldest);
        }
        Ok(())
    }

    fn write(&mut self, z: usize, at: u32, tags: &[u32]) -> Answer {
        let end = at + tags.len() as u32;
        if end > SIZE {
            return Err(ErrorKind::CrossesZone);
        }
        if self.zones[z].condition == C::NotWritePointer {
            if end > CAPACITY {
                return Err(ErrorKind::CrossesZone);
            }
            for (block, tag) in (at as usize..).zip(tags) {
                self.zones[z].blocks[block].push(*tag);
            }
            return Ok(());
        }
        let written = self.now(z).tags.len() as u32;
        if self.now(z).full {
            return Err(ErrorKind::ZoneFull);
        }
        if at != written {
            let wp = z as u64 * u64::from(SIZE) + u64::from(written);
            return Err(ErrorKind::UnalignedWrite { write_pointer: Some(Lba(wp)) });
        }
        if end > CAPACITY {
            return Err(ErrorKind::CrossesZone);
        }
        self.take_open(z)?;
        for tag in tags {
            let mut next = self.now(z).clone();
            next.tags.push(*tag);
            next.full = next.tags.len() == CAPACITY as usize;
            self.zones[z].history.push(next);
        }
        if self.now(z).full {
            self.become_condition(z, C::Full);
        } else if self.zones[z].condition != C::ExplicitOpen {
            self.become_condition(z, C::ImplicitOpen);
        }
        Ok(())
    }

    fn manage(&mut self, op: u32, z: usize) -> Answer {
        let condition = self.zones[z].condition;
        if condition == C::NotWritePointer {
            return Err(ErrorKind::InvalidRequest);
        }
        match op {
            0 if condition == C::Full => {}
            0 => {
                self.take_open(z)?;
                self.become_condition(z, C::ExplicitOpen);
            }
            1 if condition.is_open() => self.rest(z),
            1 => {}
            2 if condition == C::Full => {}
            2 => {
                self.take_open(z)?;
                let mut next = self.now(z).clone();
                next.full = true;
                self.zones[z].history.push(next);
                self.become_condition(z, C::Full);
            }
            _ => {
                self.zones[z].history.push(Snapshot::default());
                self.become_condition(z, C::Empty);
            }
        }
        Ok(())
    }

    fn sync(&mut self) {
        for zone in &mut self.zones {
            zone.history.drain(..zone.history.len() - 1);
            for tags in &mut zone.blocks {
                tags.drain(..tags.len() - 1);
            }
        }
    }
}

fn answer<T: Default>(
    drive: &Drive,
    future: impl Future<Output = Result<T, impl Into<E>>>,
) -> Answer {
    drive.block_on(future).map(|_| ()).map_err(|e| e.into().0)
}

/// An error's kind.
struct E(ErrorKind);

impl From<shingle_sim::DriveError> for E {
    fn from(error: shingle_sim::DriveError) -> Self {
        Self(error.kind)
    }
}

fn report(drive: &Drive) -> Vec<ZoneDescriptor> {
    let mut out = [ZoneDescriptor::EMPTY; ZONES as usize + 2];
    let count = drive.block_on(drive.report(ZoneId(0), &mut out)).unwrap();
    assert_eq!(count, ZONES as usize);
    drive.check_invariants();
    out[..count].to_vec()
}

/// The block at `at`; `None` if it is bad.
fn read(drive: &Drive, z: usize, at: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0xee; BLOCK];
    let lba = Lba(z as u64 * u64::from(SIZE) + at as u64);
    match drive.block_on(drive.read(lba, &mut bytes, Request::default())) {
        Ok(()) => Some(bytes),
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::UnrecoveredRead { first: Some(lba) });
            None
        }
    }
}

/// One random request to both; their answers are equal.
fn step(drive: &Drive, model: &mut Model, rng: &mut Rng) {
    let z = rng.below(ZONES) as usize;
    match rng.below(20) {
        0 => {
            assert_eq!(answer(drive, drive.sync()), Ok(()));
            model.sync();
        }
        op @ 1..=6 => {
            let zone = ZoneId(z as u32);
            let (op, done) = match op {
                1 | 2 => (0, answer(drive, drive.open(zone))),
                3 => (1, answer(drive, drive.close(zone))),
                4 => (2, answer(drive, drive.finish(zone))),
                _ => (3, answer(drive, drive.reset(zone))),
            };
            assert_eq!(done, model.manage(op, z));
        }
        how => {
            let at = match how {
                7 | 8 => rng.below(SIZE),
                _ if z < CONVENTIONAL as usize => rng.below(CAPACITY),
                _ => (model.now(z).tags.len() as u32).min(SIZE - 1),
            };
            let count = 1 + rng.below(6);
            let tags: Vec<u32> = (model.next_tag..model.next_tag + count).collect();
            model.next_tag += count;
            let bytes: Vec<u8> = tags.iter().flat_map(|&tag| block(tag)).collect();
            let lba = Lba(z as u64 * u64::from(SIZE) + u64::from(at));
            let mut expected = model.write(z, at, &tags);
            if lba.0 + u64::from(count) > u64::from(ZONES * SIZE) {
                expected = Err(ErrorKind::OutOfDevice);
            }
            assert_eq!(answer(drive, drive.write(lba, &bytes, Request::default())), expected);
        }
    }
}

/// The drive is exactly what the model says.
fn compare(drive: &Drive, model: &Model) {
    for (z, zone) in report(drive).iter().enumerate() {
        let now = model.now(z);
        assert_eq!(zone.condition, model.zones[z].condition, "zone {z}");
        if zone.condition == C::NotWritePointer {
            for (at, tags) in model.zones[z].blocks.iter().enumerate() {
                assert_eq!(read(drive, z, at), Some(block(*tags.last().unwrap())));
            }
            continue;
        }
        let wp = if now.full { CAPACITY as usize } else { now.tags.len() };
        assert_eq!(zone.write_pointer.0 as usize, wp);
        for (at, tag) in now.tags.iter().enumerate() {
            assert_eq!(read(drive, z, at), Some(block(*tag)));
        }
        if wp < CAPACITY as usize {
            let lba = Lba(z as u64 * u64::from(SIZE) + wp as u64);
            let past = Err(ErrorKind::ReadPastWritePointer { first: Some(lba) });
            let mut bytes = [0; BLOCK];
            assert_eq!(answer(drive, drive.read(lba, &mut bytes, Request::default())), past);
        }
    }
}

/// What a cut may leave of a zone: a snapshot, the last block of which may be torn if unsynced.
fn allowed(zone: &Zone, full: bool, written: usize, bytes: &[Option<Vec<u8>>]) -> bool {
    zone.history.iter().enumerate().any(|(i, snapshot)| {
        let right = |at: usize| bytes[at].as_ref() == Some(&block(snapshot.tags[at]));
        let len = snapshot.tags.len();
        if snapshot.full != full || (!full && len != written) {
            return false;
        }
        let unsynced = i > 0 && len > 0 && snapshot.tags != zone.history[0].tags;
        (0..len).all(|at| right(at) || (unsynced && at == len - 1))
    })
}

/// What the drive is after a cut is something that the contract allows.
fn check_after_cut(drive: &Drive, model: &Model) {
    let zones = report(drive);
    assert!(zones.iter().filter(|zone| zone.condition.is_active()).count() <= ACTIVE);
    for (z, zone) in zones.iter().enumerate() {
        let bytes: Vec<_> = (0..CAPACITY as usize)
            .take_while(|at| {
                zone.condition == C::NotWritePointer || *at < zone.write_pointer.0 as usize
            })
            .map(|at| read(drive, z, at))
            .collect();
        if zone.condition == C::NotWritePointer {
            for (at, tags) in model.zones[z].blocks.iter().enumerate() {
                let known = tags.iter().any(|&tag| bytes[at] == Some(block(tag)));
                assert!(known || tags.len() > 1, "zone {z} block {at}: {tags:?}");
            }
            continue;
        }
        assert!(matches!(zone.condition, C::Empty | C::Closed | C::Full));
        let (full, written) = (zone.condition == C::Full, zone.write_pointer.0 as usize);
        assert_eq!(zone.condition == C::Empty, written == 0);
        let history = &model.zones[z].history;
        assert!(
            allowed(&model.zones[z], full, written, &bytes),
            "zone {z}: {:?} at {written} after {history:?}",
            zone.condition,
        );
    }
}

#[test]
fn any_sequence_of_requests_answers_as_the_model_says() {
    for seed in 0..60 {
        let (drive, mut model) = (Drive::new(spec(MediaKind::Zns), seed), Model::new());
        let mut rng = Rng(seed);
        for _ in 0..150 {
            step(&drive, &mut model, &mut rng);
        }
        compare(&drive, &model);
    }
}

#[test]
fn any_outcome_of_a_cut_is_allowed_by_the_contract() {
    let mut torn = 0;
    for seed in 0..60 {
        let (drive, mut model) = (Drive::new(spec(MediaKind::Zns), seed), Model::new());
        let mut rng = Rng(seed);
        for _ in 0..rng.below(120) {
            step(&drive, &mut model, &mut rng);
        }
        let hash = drive.trace_hash();
        let count = drive.outcome_count(60);
        let enumerated = (0..count).map(Outcome::Enumerated);
        let seeded = (0..60).map(Outcome::Seeded);
        for outcome in enumerated.chain(seeded).chain([Outcome::KeepAll, Outcome::LoseAll]) {
            let copy = drive.fork();
            copy.cut_after(0);
            copy.power_on(outcome);
            check_after_cut(&copy, &model);
            torn += (0..CAPACITY).filter(|&at| read(&copy, 0, at as usize).is_none()).count();
        }
        // None of the copies touched the drive itself.
        assert_eq!(drive.trace_hash(), hash);
        compare(&drive, &model);
    }
    assert!(torn > 100, "{torn}");
}

#[test]
fn all_kept_and_all_lost_are_the_two_ends() {
    for seed in 0..60 {
        let (drive, mut model) = (Drive::new(spec(MediaKind::Smr), seed), Model::new());
        let mut rng = Rng(seed ^ 0x77);
        for _ in 0..100 {
            step(&drive, &mut model, &mut rng);
        }
        for keep in [true, false] {
            let copy = drive.fork();
            copy.cut_after(0);
            copy.power_on(if keep { Outcome::KeepAll } else { Outcome::LoseAll });
            let mut after = Model::new();
            after.zones.clone_from(&model.zones);
            // Losing all may leave too many zones active; the drive then keeps some.
            let active = |zone: &Zone| !zone.history[0].full && !zone.history[0].tags.is_empty();
            if !keep && model.zones.iter().filter(|zone| active(zone)).count() > ACTIVE {
                continue;
            }
            for z in 0..ZONES as usize {
                let zone = &mut after.zones[z];
                if !keep {
                    zone.history.truncate(1);
                    zone.blocks.iter_mut().for_each(|tags| tags.truncate(1));
                }
                if z >= CONVENTIONAL as usize {
                    after.rest(z);
                }
            }
            compare(&copy, &after);
        }
    }
}

#[test]
fn same_seed_gives_the_same_trace() {
    let run = |seed: u64, requests: u64| {
        let (drive, mut model) = (Drive::new(spec(MediaKind::Zns), seed), Model::new());
        let mut rng = Rng(requests);
        for _ in 0..80 {
            step(&drive, &mut model, &mut rng);
        }
        drive.cut_after(0);
        drive.power_on(Outcome::Seeded(seed));
        drive.trace_hash()
    };
    assert_eq!(run(1, 1), run(1, 1));
    assert_ne!(run(1, 1), run(2, 1));
    assert_ne!(run(1, 1), run(1, 2));
}
