//! Writers pay for the background work as they go: no put waits long, none of the work is put off
//! until zones run out, and none is done that gains little.
//!
//! The times are a shingled disk's, in virtual time, so they are the same on every machine; the
//! bounds lie a little above what was measured.

use shingle_engine::{FormatOptions, Limits, Meta, Redundancy, Store, WriteOptions, format};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, synthetic};

const MEDIA: &str = "smr:zones=160,zone-mib=4,conventional=0";
const MEMORY_LEN: usize = 8 << 20;
/// Zones that only background work may take.
const RESERVE: u32 = 12;
const VALUE_LEN: usize = 64 << 10;

/// What a number of puts came to.
struct Phase {
    /// Milliseconds of each put, ascending.
    put_ms: Vec<f64>,
    seconds: f64,
    /// Bytes that the medium took by bytes put.
    amplification: f64,
    /// Fewest free zones after any put.
    free_least: u32,
}

impl Phase {
    fn at(&self, share: f64) -> f64 {
        self.put_ms[((self.put_ms.len() - 1) as f64 * share) as usize]
    }

    /// Fails unless the figures are within bounds.
    fn check(&self, name: &str, bounds: &Bounds) {
        let rate = (self.put_ms.len() * VALUE_LEN) as f64 / self.seconds / 1e6;
        let text = format!(
            "{name}: {rate:.1} MB/s, write amplification {:.3}, p99 {:.1} ms, longest {:.1} ms, at \
             least {} zones free",
            self.amplification,
            self.at(0.99),
            self.at(1.0),
            self.free_least,
        );
        println!("{text}");
        assert!(rate >= bounds.rate, "{text}");
        assert!(self.amplification <= bounds.amplification, "{text}");
        assert!(self.at(0.99) <= bounds.p99_ms && self.at(1.0) <= bounds.longest_ms, "{text}");
        assert!(self.free_least >= bounds.free_least, "{text}");
    }
}

/// What the figures of a phase must come to.
struct Bounds {
    /// Megabytes a second, at least.
    rate: f64,
    amplification: f64,
    p99_ms: f64,
    longest_ms: f64,
    free_least: u32,
}

fn puts(drive: &Drive, store: &Store<'_, &Drive>, keys: impl Iterator<Item = u64>) -> Phase {
    let written = || drive.stats().all.written_blocks * u64::from(drive.geometry().block_len_bytes);
    let (begun_ns, before) = (drive.now_ns(), written());
    let mut value = vec![0; VALUE_LEN];
    let (mut put_ms, mut free_least) = (Vec::new(), u32::MAX);
    for key in keys {
        synthetic::fill(key, 0, &mut value);
        let at_ns = drive.now_ns();
        let key = key.to_be_bytes();
        let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED);
        drive.block_on(put).expect("put");
        put_ms.push((drive.now_ns() - at_ns) as f64 / 1e6);
        free_least = free_least.min(store.stats().free_zones);
    }
    let amplification = (written() - before) as f64 / (put_ms.len() * VALUE_LEN) as f64;
    let seconds = (drive.now_ns() - begun_ns) as f64 / 1e9;
    put_ms.sort_by(f64::total_cmp);
    Phase { put_ms, seconds, amplification, free_least }
}

#[test]
fn puts_pay_for_the_work_that_they_make() {
    let drive = Drive::new(MediaSpec::parse(MEDIA).expect("a drive"), 1);
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [5; 16], limits, redundancy: Redundancy::NONE };
    let mut memory = vec![0; MEMORY_LEN];
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let count = store.stats().capacity_bytes / store.cost_bytes(8, 0, VALUE_LEN as u64) * 4 / 5;
    let fill = puts(&drive, &store, 0..count);
    let bounds =
        Bounds { rate: 105.0, amplification: 1.01, p99_ms: 5.0, longest_ms: 130.0, free_least: 40 };
    fill.check("filling", &bounds);
    let mut random = fastrand::Rng::with_seed(3);
    let over = puts(&drive, &store, (0..2 * count).map(|_| random.u64(0..count)));
    let bounds = Bounds {
        rate: 16.5,
        amplification: 2.45,
        p99_ms: 90.0,
        longest_ms: 190.0,
        free_least: RESERVE + 1,
    };
    over.check("overwriting", &bounds);
}
