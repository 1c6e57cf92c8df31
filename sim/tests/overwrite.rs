//! Capacity that can be had, and what it costs to overwrite a drive of a thousand zones at 80 %.
//!
//! *Fill* is what the callers' entries count for, by `Store::cost_bytes`, as a share of the
//! capacity that the store advertises. Each case fills the drive to all of that capacity, deletes
//! down to 80 %, and overwrites keys drawn uniformly, some times the capacity. Write amplification
//! is bytes that the medium took by bytes of keys and values; beside it stands what choosing the
//! emptiest zone costs at best, by ρ = (1 - u) / u as (1 + ρ) / 2ρ, for u = 0.8 and for the share
//! of the medium's bytes that values really take.
//!
//! Small by default. The whole run: `SHINGLE_OVERWRITE=full cargo test --release -p shingle-sim
//! --test store overwrite:: -- --nocapture`; `SHINGLE_OVERWRITE_TIMES` sets how many times the
//! capacity.

use std::time::Instant;

use crate::shelf::scattered_key as key;
use shingle_engine::{
    FormatOptions, Limits, Meta, ReadOptions, Redundancy, Stats, Store, WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, synthetic};

const KEY_LEN: usize = 16;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 24) % n
    }
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What choosing the emptiest zone costs at fill `u` under uniform overwriting.
fn greedy(u: f64) -> f64 {
    let rho = (1.0 - u) / u;
    (1.0 + rho) / (2.0 * rho)
}

/// Counts by size, eight classes for each doubling.
struct Histogram([u64; 512]);

impl Histogram {
    fn add(&mut self, value: u64) {
        let top = value.max(8).ilog2();
        let class = (u64::from(top) * 8) + ((value.max(8) >> (top - 3)) & 7);
        self.0[class as usize] += 1;
    }

    /// The upper end of the class that holds the value at `share` of all.
    fn at(&self, share: f64) -> u64 {
        let total: u64 = self.0.iter().sum();
        let mut left = (total as f64 * share).ceil() as u64;
        for (class, &count) in (0u64..).zip(&self.0) {
            left = left.saturating_sub(count);
            if left == 0 {
                return (8 + class % 8 + 1) << (class / 8).saturating_sub(3);
            }
        }
        unreachable!("a share of all is reached")
    }
}

/// One medium and one length of values.
struct Case<'a> {
    media: &'a str,
    memory_len: usize,
    value_len: usize,
    times: u64,
    redundancy: Redundancy,
}

/// A store under test and what should be in it.
struct Run<'a, 'm> {
    case: &'a Case<'a>,
    drive: &'m Drive,
    store: Store<'m, &'m Drive>,
    /// How often each key was written; 0 when it is absent.
    versions: Vec<u32>,
    value: Vec<u8>,
}

impl Run<'_, '_> {
    fn put(&mut self, index: u64) -> u64 {
        let version = &mut self.versions[index as usize];
        *version += 1;
        synthetic::fill(u64::from(*version) << 36 | index, 0, &mut self.value);
        let before = self.drive.now_ns();
        let name = key(index);
        let put = self.store.put(&name, Meta::NONE, &self.value, WriteOptions::BUFFERED);
        if let Err(error) = self.drive.block_on(put) {
            let levels = self.store.runs_by_level();
            panic!("put {index}: {error:?} {:?} {levels:?} {:?}", self.store.stats(), self.roles());
        }
        self.drive.now_ns() - before
    }

    /// Zones and live bytes by role.
    fn roles(&self) -> std::collections::BTreeMap<String, (u32, u64)> {
        let mut roles = std::collections::BTreeMap::new();
        for zone in 0..self.drive.geometry().zone_count {
            let usage = self.store.zone_use(shingle_hal::ZoneId(zone)).expect("a zone");
            let entry: &mut (u32, u64) = roles.entry(format!("{:?}", usage.role)).or_default();
            entry.0 += 1;
            entry.1 += usage.live_bytes;
        }
        roles
    }

    fn check(&mut self, step: usize) {
        let mut got = vec![0; self.case.value_len];
        for index in (0..self.versions.len()).step_by(step) {
            let version = u64::from(self.versions[index]);
            let name = key(index as u64);
            let get = self.store.get(&name, &mut got, ReadOptions::default());
            let found = self.drive.block_on(get).expect("get").is_some();
            assert_eq!(found, version > 0, "key {index}");
            let same = synthetic::match_len(version << 36 | index as u64, 0, &got);
            assert!(!found || same == got.len(), "key {index} has another value");
        }
        self.store.check_invariants();
    }
}

/// What a case came to.
struct Outcome {
    amplification: f64,
    greedy_at_fill: f64,
}

/// The store's own view of the drive while it is overwritten.
fn progress(run: &Run<'_, '_>, done: f64, amplification: f64) {
    let Stats { free_zones, used_bytes, capacity_bytes, moved_bytes, run_bytes, .. } =
        run.store.stats();
    eprintln!(
        "  {done:.2} times over: {amplification:.3}, free {free_zones}, used {:.3}, \
         moved {moved_bytes}, runs {run_bytes} {:?} {:?}",
        used_bytes as f64 / capacity_bytes as f64,
        run.store.runs_by_level(),
        run.roles(),
    );
}

fn overwrite(case: &Case<'_>) -> Outcome {
    let began = Instant::now();
    let spec = MediaSpec::parse(case.media).expect("a medium");
    let raw = spec.capacity_bytes();
    let drive = Drive::new(spec.clone(), 5);
    let limits = Limits::for_geometry(&drive.geometry());
    let mut memory = vec![0; case.memory_len];
    let options = FormatOptions { store_id: [3; 16], limits, redundancy: case.redundancy };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let capacity = store.stats().capacity_bytes;
    let share = capacity as f64 / raw as f64;
    // Three blocks of a zone of 64 are too few for a node, and one is the zone's header.
    let least = if spec.zone_capacity_bytes() < 512 << 10 { 0.88 } else { 0.90 };
    let alone = case.redundancy == Redundancy::NONE;
    assert!(
        share >= least || !alone,
        "{}: {share:.4} of the raw capacity is advertised",
        case.media
    );
    let cost = store.cost_bytes(KEY_LEN, 0, case.value_len as u64);
    let most = capacity / cost;
    let value = vec![0; case.value_len];
    let mut run = Run { case, drive: &drive, store, versions: vec![0; most as usize], value };
    for index in 0..most {
        run.put(index);
    }
    progress(&run, 0.0, 0.0);
    let filled = began.elapsed();
    // Down to 80 %, at random.
    let count = most * 4 / 5;
    for index in count..most {
        run.drive.block_on(run.store.delete(&key(index), WriteOptions::BUFFERED)).expect("delete");
    }
    run.versions.truncate(count as usize);
    let user = (KEY_LEN + case.value_len) as u64;
    let (mut random, mut latency) = (Random(11), Histogram([0; 512]));
    let mut longest = 0;
    let puts = capacity * case.times / cost;
    let start_ns = drive.now_ns();
    let start = run.store.media_stats().written_bytes;
    let mut half = start;
    for put in 0..puts {
        if put == puts / 2 {
            half = run.store.media_stats().written_bytes;
        }
        let took = run.put(random.below(count));
        latency.add(took);
        longest = longest.max(took);
        if (put + 1) % (puts / 8).max(1) == 0 {
            let written = run.store.media_stats().written_bytes - start;
            let done = (put + 1) as f64 * cost as f64 / capacity as f64;
            progress(&run, done, written as f64 / ((put + 1) * user) as f64);
        }
    }
    let written = run.store.media_stats().written_bytes;
    let amplification = (written - start) as f64 / (puts * user) as f64;
    let late = (written - half) as f64 / ((puts - puts / 2) * user) as f64;
    let seconds = (drive.now_ns() - start_ns) as f64 / 1e9;
    let live = count * user;
    let fill = live as f64 / raw as f64;
    let free = run.store.stats().free_zones;
    let occupied = f64::from(drive.geometry().zone_count - free) / f64::from(spec.zone_count);
    let rate = spec.drive_rate_bytes_per_s().unwrap_or(f64::INFINITY);
    println!(
        "{} B on {}: {} zones, {:.1} % of raw advertised and filled in {:.0} s",
        case.value_len,
        case.media,
        spec.zone_count,
        share * 100.0,
        filled.as_secs_f64()
    );
    println!(
        "  {} times over at 80 %: write amplification {amplification:.3}, second half {late:.3}; \
         greedy {:.2} at 0.80, {:.2} at the physical {fill:.3}; space amplification {:.3}",
        case.times,
        greedy(0.8),
        greedy(fill),
        occupied / fill,
    );
    println!(
        "  {:.1} MB/s, {:.3} of the medium's rate ({:.3} with what was moved); put p50 {:.3} ms, \
         p99 {:.3} ms, p99.99 {:.3} ms, longest {:.1} ms; {:.0} s in all",
        (puts * user) as f64 / seconds / 1e6,
        (puts * user) as f64 / seconds / rate,
        (written - start) as f64 / seconds / rate,
        latency.at(0.5) as f64 / 1e6,
        latency.at(0.99) as f64 / 1e6,
        latency.at(0.9999) as f64 / 1e6,
        longest as f64 / 1e6,
        began.elapsed().as_secs_f64()
    );
    println!("  {:?}\n  {:?}", run.store.stats(), run.store.media_stats());
    run.check(if count > 100_000 { 101 } else { 1 });
    Outcome { amplification, greedy_at_fill: greedy(fill) }
}

fn is_full() -> bool {
    std::env::var("SHINGLE_OVERWRITE").is_ok_and(|text| text == "full")
}

/// The case of the whole run, or the small one.
fn case<'a>(full: (&'a str, usize, usize), small: (&'a str, usize, usize)) -> Case<'a> {
    let (media, memory_len, value_len) = if is_full() { full } else { small };
    let times = env("SHINGLE_OVERWRITE_TIMES", if is_full() { 10 } else { 1 });
    Case { media, memory_len, value_len, times, redundancy: Redundancy::NONE }
}

/// A value is a sixteenth of a zone, as 1 MiB is on the whole run's medium.
#[test]
fn large_values_are_overwritten_at_the_greedy_bound() {
    let outcome = overwrite(&case(
        ("smr:zones=1000,zone-mib=16,conventional=0", 64 << 20, 1 << 20),
        ("smr:zones=1000,zone-mib=1,conventional=0", 16 << 20, 64 << 10),
    ));
    assert!(outcome.amplification <= 2.6, "{}", outcome.amplification);
    assert!(outcome.amplification <= 1.2 * outcome.greedy_at_fill, "{}", outcome.amplification);
}

#[test]
fn values_of_a_block_are_overwritten_near_the_greedy_bound() {
    let outcome = overwrite(&case(
        ("smr:zones=1000,zone-mib=1,conventional=0", 16 << 20, 4096),
        ("smr:zones=1000,zone-kib=512,conventional=0", 4 << 20, 4096),
    ));
    assert!(outcome.amplification <= 3.0, "{}", outcome.amplification);
}

#[test]
fn small_values_are_overwritten_by_merging() {
    let outcome = overwrite(&case(
        ("smr:zones=1000,zone-kib=512,conventional=0", 8 << 20, 100),
        ("smr:zones=1000,zone-kib=256,conventional=0", 8 << 20, 100),
    ));
    assert!(outcome.amplification <= 11.0, "{}", outcome.amplification);
}

/// What is promised can be filled and overwritten also where there are copies of everything but
/// values, or parity of these.
#[test]
fn capacity_with_copies_can_be_had() {
    let copies = Redundancy { mirror_runs: true, mirror_log: true, parity: 0 };
    let parity = Redundancy { mirror_runs: true, mirror_log: false, parity: 3 };
    for (redundancy, most) in [(copies, 2.6), (parity, 10.0)] {
        let media = "smr:zones=240,zone-kib=512,conventional=0,elements=8";
        let (memory_len, value_len) = (8 << 20, 32 << 10);
        let outcome = overwrite(&Case { media, memory_len, value_len, times: 1, redundancy });
        assert!(outcome.amplification <= most, "{redundancy:?}: {}", outcome.amplification);
    }
}
