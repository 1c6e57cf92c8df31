//! Damage in a log that is replayed: it is never taken for the log's end where anything says
//! that it was durable, and the store says which sequence numbers are gone.

use crate::shelf::{MEDIA as SMR, MEMORY_LEN, new_drive, open};
use shingle_engine::format::record::{RecordHeader, RecordKind};
use shingle_engine::format::seal::{self, Identity};
use shingle_engine::limits::SEAL_LEN;
use shingle_engine::zone::Role;
use shingle_engine::{
    FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::{Device, Error as _, ErrorKind, Geometry, Lba, Request, ZoneDescriptor, ZoneId};
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Outcome};

const DISK: &str = "disk-tiny:timing=instant";

/// Puts a small value under a key, durable: it has a group, and so blocks, of its own.
fn put(drive: &Drive, store: &Store<'_, &Drive>, key: u32, value: u32) {
    let (key, value) = (key.to_be_bytes(), value.to_be_bytes().repeat(40));
    let done = store.put(&key, Meta::NONE, &value, WriteOptions::DURABLE);
    drive.block_on(done).expect("put");
}

fn get(drive: &Drive, store: &Store<'_, &Drive>, key: u32) -> Option<u32> {
    let mut out = [0; 200];
    let key = key.to_be_bytes();
    let found = store.get(&key, &mut out, ReadOptions::default());
    let found = drive.block_on(found).expect("get")?;
    assert_eq!(found.value_len, 160);
    Some(u32::from_be_bytes([out[0], out[1], out[2], out[3]]))
}

/// The zone that the log is written to now.
fn log_zone(store: &Store<'_, &Drive>) -> ZoneId {
    let mut uses = (0..).map_while(|zone| store.zone_use(ZoneId(zone)));
    let head = uses.find(|zone| zone.role == Role::Log && zone.head);
    head.expect("the log has a head").zone
}

fn fail(drive: &Drive, zone: ZoneId, block: u64) {
    let lba = drive.geometry().zone_start(zone).0 + block;
    drive.set_faults(&format!("read-error sticky lba={lba}").parse().expect("a plan"), 1);
}

fn cut(drive: &Drive) {
    drive.cut_after(0);
    drive.power_on(Outcome::LoseAll);
}

#[test]
fn bad_block_in_a_conventional_log_below_a_mark_costs_the_records_in_it() {
    for bad in 1..9 {
        let drive = new_drive(DISK, true);
        let mut memory = vec![0; MEMORY_LEN];
        let store = open(&drive, &mut memory);
        for key in 0..10 {
            put(&drive, &store, key, key);
        }
        let zone = log_zone(&store);
        drop(store);
        cut(&drive);
        fail(&drive, zone, bad);
        let store = open(&drive, &mut memory);
        let missing: Vec<u32> = (0..10).filter(|key| get(&drive, &store, *key).is_none()).collect();
        assert_eq!(missing, [bad as u32 - 1], "block {bad}");
        assert_eq!(store.stats().lost_seqs, Some((bad, bad)), "block {bad}");
    }
}

/// What is made durable at once may be longer than what a few reads look through.
#[test]
fn bad_block_in_a_long_group_of_a_conventional_log_costs_the_records_in_it() {
    // Within a zone, and over several.
    for (puts, bad) in [(40, 1), (40, 9), (40, 30), (250, 5), (250, 62)] {
        let drive = Drive::new(MediaSpec::parse(DISK).expect("a medium"), 1);
        let limits = Limits {
            key_len_max: 16,
            meta_len_max: 16,
            value_len_max: 4096,
            node_len_bytes: 4096,
            separate_from_bytes: 1024,
        };
        let mut memory = vec![0; MEMORY_LEN];
        let options = FormatOptions { store_id: [5; 16], limits, redundancy: Redundancy::NONE };
        drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
        let store = open(&drive, &mut memory);
        let mut zone = None;
        for key in 0..puts {
            let (key, value) = (u32::to_be_bytes(key), [7; 4000]);
            let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED);
            drive.block_on(put).expect("put");
            zone = zone.or(Some(log_zone(&store)));
        }
        put(&drive, &store, puts, 40);
        put(&drive, &store, puts + 1, 41);
        let zone = zone.expect("the first of the group");
        drop(store);
        cut(&drive);
        fail(&drive, zone, bad);
        let mut memory = vec![0; 200 << 10];
        let store = open(&drive, &mut memory);
        let window = store.plan().window_len as u64 / 4096;
        assert!(4 * window < 39, "the group is longer than four windows of {window} blocks");
        let gone = |key: &u32| {
            let (key, mut out) = (key.to_be_bytes(), [0; 4000]);
            let found = store.get(&key, &mut out, ReadOptions::default());
            !matches!(drive.block_on(found), Ok(Some(_)))
        };
        let missing = (0..puts + 2).filter(gone).count();
        assert!((1..=2).contains(&missing), "{puts} puts, block {bad}: {missing} records");
    }
}

/// A drive that does not say which block of a read failed, as kernels do not.
struct Vague<'d>(&'d Drive);

impl Device for Vague<'_> {
    type Error = ErrorKind;

    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }
    async fn read(&self, start: Lba, buf: &mut [u8], request: Request) -> Result<(), ErrorKind> {
        self.0.read(start, buf, request).await.map_err(|error| match error.kind() {
            ErrorKind::UnrecoveredRead { .. } => ErrorKind::UnrecoveredRead { first: None },
            kind => kind,
        })
    }
    async fn write(&self, start: Lba, data: &[u8], request: Request) -> Result<(), ErrorKind> {
        self.0.write(start, data, request).await.map_err(|error| error.kind())
    }
    async fn sync(&self) -> Result<(), ErrorKind> {
        self.0.sync().await.map_err(|error| error.kind())
    }
    async fn report(&self, first: ZoneId, out: &mut [ZoneDescriptor]) -> Result<usize, ErrorKind> {
        self.0.report(first, out).await.map_err(|error| error.kind())
    }
    async fn open(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.0.open(zone).await.map_err(|error| error.kind())
    }
    async fn close(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.0.close(zone).await.map_err(|error| error.kind())
    }
    async fn finish(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.0.finish(zone).await.map_err(|error| error.kind())
    }
    async fn reset(&self, zone: ZoneId) -> Result<(), ErrorKind> {
        self.0.reset(zone).await.map_err(|error| error.kind())
    }
}

/// Groups behind a bad block were cut off where the window that was looked through for their marks
/// reached to a second one, of no one's, and the device named neither.
#[test]
fn seed_2003028_block_that_no_one_names_hides_none_before_it() {
    for no_ones in 11..16 {
        let drive = new_drive(DISK, true);
        let mut memory = vec![0; 4 << 20];
        let store = open(&drive, &mut memory);
        for key in 0..10 {
            put(&drive, &store, key, key);
        }
        let zone = log_zone(&store);
        let window = store.plan().window_len / 4096;
        assert!(window >= 11, "a window of {window} blocks reaches from the first to the second");
        drop(store);
        cut(&drive);
        let start = drive.geometry().zone_start(zone).0;
        let plan = [4, no_ones].map(|block| format!("read-error sticky lba={}", start + block));
        drive.set_faults(&plan.join("; ").parse().expect("a plan"), 1);
        let vague = Vague(&drive);
        let missing: Vec<u32> = drive.block_on(async {
            let store = Store::open(&vague, &mut memory).await.expect("open");
            let mut missing = Vec::new();
            for key in 0..10_u32 {
                let (key_bytes, mut out) = (key.to_be_bytes(), [0; 200]);
                let found = store.get(&key_bytes, &mut out, ReadOptions::default()).await;
                if found.expect("get").is_none() {
                    missing.push(key);
                }
            }
            missing
        });
        assert_eq!(missing, [3], "block {no_ones} cannot be read either");
    }
}

#[test]
fn last_block_of_a_conventional_log_is_taken_for_a_tear() {
    let drive = new_drive(DISK, true);
    let mut memory = vec![0; MEMORY_LEN];
    let store = open(&drive, &mut memory);
    for key in 0..10 {
        put(&drive, &store, key, key);
    }
    let zone = log_zone(&store);
    drop(store);
    cut(&drive);
    fail(&drive, zone, 10);
    let store = open(&drive, &mut memory);
    let missing: Vec<u32> = (0..10).filter(|key| get(&drive, &store, *key).is_none()).collect();
    assert_eq!(missing, [9], "the window that remains");
}

#[test]
fn bad_block_that_an_earlier_recovery_read_is_no_end() {
    for media in [DISK, SMR] {
        let drive = new_drive(media, true);
        let mut memory = vec![0; MEMORY_LEN];
        let mut zones = Vec::new();
        for life in 0..3 {
            let store = open(&drive, &mut memory);
            for key in life * 4..life * 4 + 4 {
                put(&drive, &store, key, key);
            }
            zones.push(log_zone(&store));
            drop(store);
            cut(&drive);
        }
        // The last block of that zone: nothing in the zone itself is behind it.
        fail(&drive, zones[1], 4);
        let store = open(&drive, &mut memory);
        let missing: Vec<u32> = (0..12).filter(|key| get(&drive, &store, *key).is_none()).collect();
        assert_eq!(missing, [7], "on {media}");
        assert_eq!(store.stats().lost_seqs, Some((8, 8)), "on {media}");
    }
}

#[test]
fn element_that_dies_with_power_costs_the_unflushed_window_and_the_store_says_so() {
    for puts in [3, 40, 90] {
        let drive = new_drive(SMR, true);
        let mut memory = vec![0; MEMORY_LEN];
        let store = open(&drive, &mut memory);
        for key in 0..50 {
            put(&drive, &store, key, key);
        }
        drive.block_on(store.checkpoint()).expect("checkpoint");
        for key in 0..puts {
            put(&drive, &store, key, 1000 + key);
        }
        let element = log_zone(&store).0 % 4;
        drop(store);
        cut(&drive);
        let plan = format!("element-lost element={element} at=request:0");
        drive.set_faults(&plan.parse().expect("a plan"), 1);
        let store = open(&drive, &mut memory);
        let lost = store.stats().lost_seqs;
        for key in 0..puts.max(50) {
            let seq = 51 + u64::from(key);
            let newest = if key < puts { 1000 + key } else { key };
            let found = get(&drive, &store, key);
            let excused = lost.is_some_and(|(first, last)| (first..=last).contains(&seq));
            let old = (key < 50).then_some(key);
            assert!(found == Some(newest) || (excused && key < puts && found == old), "key {key}");
        }
        let gone = (0..puts).filter(|key| get(&drive, &store, *key) != Some(1000 + key)).count();
        assert!(gone > 0, "the log was on the element");
        assert!(lost.is_some_and(|(first, _)| first > 50), "{lost:?}: nothing flushed is gone");
    }
}

/// Takes the `End` out of a log zone's last block, as versions before 4 left it when it was full.
fn take_end_out(drive: &Drive, zone: ZoneId, generation: u32) -> bool {
    let geometry = drive.geometry();
    let block_len = geometry.block_len_bytes as usize;
    let mut bytes = vec![0; geometry.zone_blocks as usize * block_len];
    for (block, unit) in (0..).zip(bytes.chunks_exact_mut(block_len)) {
        let lba = geometry.zone_start(zone).plus(block);
        if drive.block_on(drive.read(lba, unit, Request::default())).is_err() {
            return false; // it was left before it was full
        }
    }
    let payload = block_len - SEAL_LEN;
    let units = bytes.chunks_exact(block_len).skip(1);
    let stream: Vec<u8> = units.flat_map(|unit| &unit[..payload]).copied().collect();
    // The `End` that padding made stands right behind the last put, in its block.
    let (mut at, mut before) = (0, RecordKind::Commit);
    let end = loop {
        match stream.get(at..).and_then(RecordHeader::decode) {
            Some(header) if header.kind == RecordKind::End => break at,
            Some(header) => (at, before) = (at + header.len as usize, header.kind),
            None if at.is_multiple_of(payload) => return false,
            None => at = at.next_multiple_of(payload),
        }
    };
    let last = geometry.zone_blocks - 1;
    let at = end % payload;
    if before != RecordKind::Commit || at == 0 || end / payload + 1 != last as usize {
        return false;
    }
    let (head, unit) = bytes.split_at_mut(last as usize * block_len);
    let store_tag = seal::checksum(&head[8..24]);
    let identity = Identity { store_tag, generation, block: last };
    let tag = seal::check(unit, identity).expect("a block of this zone");
    unit[at..payload].fill(0);
    seal::seal(unit, tag, identity);
    drive.block_on(drive.reset(zone)).expect("reset");
    for (block, unit) in (0..).zip(bytes.chunks_exact(block_len)) {
        let lba = geometry.zone_start(zone).plus(block);
        drive.block_on(drive.write(lba, unit, Request::default())).expect("write");
    }
    drive.block_on(drive.sync()).expect("sync");
    true
}

#[test]
fn full_zone_that_an_older_version_left_without_an_end_is_no_end_of_the_log() {
    let mut found = 0;
    for len in (200..7000).step_by(20) {
        let drive = new_drive("nor-1m:timing=instant", false);
        let mut memory = vec![0; MEMORY_LEN];
        let store = open(&drive, &mut memory);
        let put = |key: u32| {
            let (key, value) = (key.to_be_bytes(), vec![key as u8; len]);
            let done = store.put(&key, Meta::NONE, &value, WriteOptions::DURABLE);
            drive.block_on(done).expect("put");
        };
        put(0);
        let zone = log_zone(&store);
        let mut keys = 1;
        while log_zone(&store) == zone {
            put(keys);
            keys += 1;
        }
        let generation = store.zone_use(zone).expect("a zone").generation;
        drop(store);
        cut(&drive);
        found += u32::from(take_end_out(&drive, zone, generation));
        let store = open(&drive, &mut memory);
        for key in 0..keys {
            let bytes = key.to_be_bytes();
            let meta = store.get_meta(&bytes, &mut [], ReadOptions::default());
            assert!(drive.block_on(meta).expect("get").is_some(), "{key} of {keys}, {len} bytes");
        }
    }
    assert!(found > 5, "{found} zones were full");
}
