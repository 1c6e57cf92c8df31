//! Mount cost: on small zones, where every few values begin a new one, a mount after a stop at any
//! point of a fill takes fewer than a hundred reads, also when life after life ends in a cut; and
//! it finds what each of many short lives wrote.

use shingle_engine::{
    FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Outcome, synthetic};

const READS_MAX: u64 = 100;

fn formatted(media: &str, memory: &mut [u8]) -> Drive {
    let drive = Drive::new(MediaSpec::parse(media).expect("a medium"), 1);
    let limits = Limits::for_geometry(&drive.geometry());
    let redundancy = Redundancy::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [9; 16], limits, redundancy };
    drive.block_on(format(&&drive, memory, &options)).expect("format");
    drive
}

fn key(index: u64) -> [u8; 8] {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// Reads of a mount of a copy of the drive.
fn mount_reads(drive: &Drive, memory_len: usize) -> u64 {
    let copy = drive.fork();
    let mut memory = vec![0; memory_len];
    let store = copy.block_on(Store::open(&copy, &mut memory)).expect("open");
    store.media_stats().reads
}

#[test]
fn mount_after_a_stop_anywhere_takes_few_reads() {
    const TOTAL: u64 = 200 << 20;
    const LOOKS: u64 = 40;
    let (small, large) = (4 << 20, 16 << 20);
    for (len, memory_len) in [(1000, small), (13_000, small), (13_000, large), (100_000, small)] {
        let mut memory = vec![0; memory_len];
        let drive = formatted("smr-demo:timing=instant", &mut memory);
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let mut value = vec![0; len];
        let (count, mut reads) = (TOTAL / len as u64, Vec::new());
        for index in 0..count {
            synthetic::fill(index, 0, &mut value);
            let key = key(index);
            let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED);
            drive.block_on(put).expect("put");
            if index % (count / LOOKS) == 0 {
                drive.block_on(store.sync()).expect("sync");
                reads.push(mount_reads(&drive, memory_len));
            }
        }
        println!("{len} bytes, {} MiB of memory: {reads:?} reads", memory_len >> 20);
        assert!(reads.iter().all(|&reads| reads < READS_MAX), "{reads:?}");
    }
}

#[test]
fn mount_after_many_cut_lives_takes_few_reads() {
    let mut memory = vec![0; 4 << 20];
    let drive = formatted("smr-demo:timing=instant", &mut memory);
    let (mut value, mut worst) = (vec![0; 20_000], 0);
    for life in 0..150 {
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        worst = worst.max(store.media_stats().reads);
        for index in 0..30 {
            synthetic::fill(index, 0, &mut value);
            let key = key(life * 30 + index);
            let put = store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED);
            drive.block_on(put).expect("put");
        }
        drive.cut_after(0);
        drop(store);
        drive.power_on(Outcome::Seeded(life));
    }
    println!("150 lives that end in a cut: {worst} reads at worst");
    assert!(worst < READS_MAX, "{worst} reads");
}

#[test]
fn short_lives_in_a_row_lose_nothing() {
    const LIVES: u64 = 100;
    let mut memory = vec![0; 8 << 20];
    let media = "smr:zones=4000,zone-kib=256,conventional=0,timing=instant";
    let drive = formatted(media, &mut memory);
    // Each takes zones for its log and leaves most of them empty, behind the same checkpoint.
    for life in 0..=LIVES {
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let mut got = [0; 8];
        for before in 0..life {
            let wanted = key(before);
            let get = store.get(&wanted, &mut got, ReadOptions::default());
            let found = drive.block_on(get).expect("get");
            assert!(found.is_some() && got == wanted, "life {life}: that of {before} is gone");
        }
        let new = key(life);
        let put = store.put(&new, Meta::NONE, &new, WriteOptions::DURABLE);
        drive.block_on(put).expect("put");
        drive.cut_after(0);
        drop(store);
        drive.power_on(Outcome::Seeded(life));
    }
}
