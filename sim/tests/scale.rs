//! Scale: what a drive of real size costs to fill, to read, and to mount.
//!
//! `SHINGLE_SCALE_GIB` sets how much is written to the 14 TB-class drive (2048 is the whole run);
//! `SHINGLE_SCALE_MEMORY_MIB` the engine's memory there, `SHINGLE_SCALE_KEYS` the most keys of the
//! mount test. Figures are virtual time and counts.

use crate::shelf::scattered_key as key;
use shingle_engine::{
    FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, synthetic};

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn large_values_fill_a_disk_at_its_own_rate() {
    let gib = env("SHINGLE_SCALE_GIB", 4);
    let spec = MediaSpec::by_name("smr-14tb").expect("a medium");
    let drive = Drive::new(spec.clone(), 1);
    let mut memory = vec![0; (env("SHINGLE_SCALE_MEMORY_MIB", 64) << 20) as usize];
    let limits = Limits::for_geometry(&drive.geometry());
    let redundancy = Redundancy::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [9; 16], limits, redundancy };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    eprintln!("{:?}", store.plan());
    let count = gib << 10;
    let mut value = vec![0; 1 << 20];
    let start = drive.now_ns();
    for index in 0..count {
        synthetic::fill(index, 0, &mut value);
        drive
            .block_on(store.put(&key(index), Meta::NONE, &value, WriteOptions::BUFFERED))
            .expect("put");
        if index % 100_000 == 99_999 {
            eprintln!("{index} {:?} {:?}", store.stats(), store.runs_by_level());
        }
    }
    drive.block_on(store.sync()).expect("sync");
    let seconds = (drive.now_ns() - start) as f64 / 1e9;
    let rate = (count << 20) as f64 / seconds;
    let last_zone = spec.zone_count.min(16 + (count / 256) as u32);
    let own = spec.mean_rate_bytes_per_s(0..last_zone).expect("a disk");
    let media = store.media_stats();
    println!(
        "{gib} GiB of 1 MiB values: {:.1} MB/s, {:.3} of the media's own rate, \
         write amplification {:.4}, {} syncs",
        rate / 1e6,
        rate / own,
        media.written_bytes as f64 / (count << 20) as f64,
        media.syncs
    );
    println!("{:?} {:?}", store.stats(), store.runs_by_level());
    drive.block_on(store.maintain(1000)).expect("maintain");
    let mut random = 12345u64;
    let gets = 2000.min(count);
    let mut pick = || {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % count
    };
    // Once over, so that what fits the cache is there, then the gets that count.
    let warm = env("SHINGLE_SCALE_WARM", 20_000).min(4 * count);
    let mut first = [0; 8];
    for _ in 0..warm {
        let key = key(pick());
        let found = store.get_at(&key, 0, &mut first, ReadOptions::default());
        assert!(drive.block_on(found).expect("get").is_some());
    }
    let before = store.media_stats().reads;
    for _ in 0..gets {
        let index = pick();
        drive
            .block_on(store.get(&key(index), &mut value, ReadOptions::default()))
            .expect("get")
            .expect("there");
        assert_eq!(synthetic::match_len(index, 0, &value), value.len());
    }
    let reads = (store.media_stats().reads - before) as f64 / gets as f64;
    println!("random get of 1 MiB: {reads:.3} media reads on average");
    drop(store);
    let before = drive.stats();
    let reopened = drive.now_ns();
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let _ = before;
    println!(
        "mount after a stop without close: {} reads, {:.2} s",
        store.media_stats().reads,
        (drive.now_ns() - reopened) as f64 / 1e9
    );
    assert!(store.media_stats().reads < 100, "mount takes {} reads", store.media_stats().reads);
    assert!(rate / own >= 0.95, "{:.3} of the media's rate", rate / own);
    assert!(reads <= 1.1, "{reads} reads a get");
}

/// As much cache a key as 64 MiB have for 2 TiB of values of 1 MiB.
#[test]
fn random_get_takes_one_read_in_40_bytes_of_memory_a_key() {
    const VALUE_LEN: usize = 16 << 10;
    let count = 200_000;
    let mut spec = MediaSpec::parse("smr:zones=5000,zone-mib=16,conventional=0").expect("a medium");
    spec.timing = TimingSpec::Instant;
    let drive = Drive::new(spec, 1);
    let mut memory = vec![0; 40 * count as usize];
    let limits = Limits::for_geometry(&drive.geometry());
    let redundancy = Redundancy::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [9; 16], limits, redundancy };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let mut value = vec![0; VALUE_LEN];
    for index in 0..count {
        synthetic::fill(index, 0, &mut value);
        drive
            .block_on(store.put(&key(index), Meta::NONE, &value, WriteOptions::BUFFERED))
            .expect("put");
    }
    drive.block_on(store.maintain(1000)).expect("maintain");
    let mut get = |index: u64| {
        drive
            .block_on(store.get(&key(index), &mut value, ReadOptions::default()))
            .expect("get")
            .expect("there");
        assert_eq!(synthetic::match_len(index, 0, &value), value.len());
    };
    // Once over, so that what fits the cache is there.
    for index in (0..count).step_by(7) {
        get(index);
    }
    let before = store.media_stats().reads;
    for index in (3..count).step_by(101) {
        get(index);
    }
    let gets = (3..count).step_by(101).count();
    let reads = (store.media_stats().reads - before) as f64 / gets as f64;
    println!("random get: {reads:.3} media reads on average");
    assert!(reads <= 1.05, "{reads} reads a get");
}

#[test]
fn mount_costs_the_same_for_few_and_many_keys() {
    let most = env("SHINGLE_SCALE_KEYS", 1_000_000);
    let mut reads = Vec::new();
    // With fewer than fill the memtables once there is less to replay.
    for count in [200_000.min(most), most.min(1_000_000), most] {
        let mut spec =
            MediaSpec::parse("smr:zones=2000,zone-mib=16,conventional=0").expect("a medium");
        spec.timing = TimingSpec::Instant;
        let drive = Drive::new(spec, 1);
        let mut memory = vec![0; 64 << 20];
        let limits = Limits::for_geometry(&drive.geometry());
        let redundancy = Redundancy::for_geometry(&drive.geometry());
        let options = FormatOptions { store_id: [9; 16], limits, redundancy };
        drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        for index in 0..count {
            let value = index.to_le_bytes();
            drive
                .block_on(store.put(&key(index), Meta::NONE, &value, WriteOptions::BUFFERED))
                .expect("put");
        }
        drive.block_on(store.sync()).expect("sync");
        drop(store);
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        println!("{count} keys: mount takes {} reads", store.media_stats().reads);
        reads.push(store.media_stats().reads);
        let mut out = [0; 8];
        for index in [0, count / 2, count - 1] {
            let got = drive.block_on(store.get(&key(index), &mut out, ReadOptions::default()));
            assert!(got.expect("get").is_some(), "key {index} of {count}");
            assert_eq!(out, index.to_le_bytes());
        }
    }
    let (least, most) = (reads.iter().min().expect("some"), reads.iter().max().expect("some"));
    assert!(*most < 100 && *most <= 2 * least, "{reads:?}");
}
