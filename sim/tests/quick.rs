//! Random operations against a map.
use shingle_engine::*;
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::timing::TimingSpec;
use shingle_sim::{Drive, Outcome};
use std::collections::BTreeMap;
use std::ops::Bound::*;

struct Rng(u64);
impl Rng {
    fn next(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

fn run(media: &str, seed: u64, ops: u64, mem: usize, cuts: bool) {
    let mut spec = MediaSpec::by_name(media).unwrap();
    spec.timing = TimingSpec::Instant;
    let drive = Drive::new(spec, seed);
    let mut rng = Rng(seed * 7919 + 1);
    for _ in 0..10 {
        rng.next(2);
    }
    let mut memory = vec![0u8; mem.max(64 << 10)];
    let mut limits = Limits::for_geometry(&drive.geometry());
    if !media.starts_with("nor") && rng.next(2) == 0 {
        limits = Limits {
            key_len_max: 100,
            meta_len_max: 50,
            value_len_max: 100_000,
            node_len_bytes: 4096,
            separate_from_bytes: 500,
        };
    }
    drive
        .block_on(format(
            &&drive,
            &mut memory,
            &FormatOptions { store_id: [seed as u8; 16], limits },
        ))
        .unwrap();
    let plan = match Plan::new(&drive.geometry(), &limits, mem) {
        Ok(_) => mem,
        Err(n) => n,
    };
    let mut memory = vec![0u8; plan];
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let universe = 40 + rng.next(400);
    let mut done = 0;
    let vmax = limits.value_len_max.min(if media.starts_with("nor") { 2000 } else { 30_000 });
    while done < ops {
        let store = drive
            .block_on(Store::open(&drive, &mut memory))
            .unwrap_or_else(|e| panic!("{media} {seed} open {e:?}"));
        let session = rng.next(ops / 4 + 50) + 10;
        for _ in 0..session {
            done += 1;
            let key = format!("k{:04}", rng.next(universe)).into_bytes();
            let what = format!("{media} seed {seed} op {done}");
            let r = rng.next(100);
            if let Ok(w) = std::env::var("WATCH")
                && (String::from_utf8_lossy(&key) == w || r >= 70)
                && !(72..92).contains(&r)
            {
                println!(
                    "{done} {} r={r} {:?}",
                    String::from_utf8_lossy(&key),
                    store.stats().flushes
                );
            }
            match r {
                0..55 => {
                    let len = match rng.next(4) {
                        0 => rng.next(20),
                        1 => rng.next(300),
                        2 => rng.next(vmax / 8),
                        _ => rng.next(vmax),
                    };
                    let v: Vec<u8> = (0..len).map(|i| (i * 31 + done) as u8).collect();
                    match drive.block_on(store.put(&key, Meta::NONE, &v, WriteOptions::BUFFERED)) {
                        Ok(()) => {
                            model.insert(key, v);
                        }
                        Err(WriteError::Full) => {
                            drive
                                .block_on(store.delete(&key, WriteOptions::BUFFERED))
                                .unwrap_or_else(|e| panic!("{what} delete when full {e:?}"));
                            model.remove(&key);
                        }
                        Err(e) => panic!("{what} put {e:?} {:?}", store.stats()),
                    }
                }
                55..70 => {
                    drive
                        .block_on(store.delete(&key, WriteOptions::BUFFERED))
                        .unwrap_or_else(|e| panic!("{what} del {e:?}"));
                    model.remove(&key);
                }
                70..72 => {
                    let end = format!("k{:04}", rng.next(universe)).into_bytes();
                    if std::env::var("WATCH").is_ok() {
                        println!(
                            "range {} {}",
                            String::from_utf8_lossy(&key),
                            String::from_utf8_lossy(&end)
                        );
                    }
                    if key < end {
                        drive
                            .block_on(store.delete_range(&key, Some(&end), Durability::Buffered))
                            .unwrap_or_else(|e| panic!("{what} range {e:?}"));
                        let gone: Vec<_> = model.range(key..end).map(|(k, _)| k.clone()).collect();
                        for k in gone {
                            model.remove(&k);
                        }
                    }
                }
                72..90 => {
                    let mut out = vec![0; 40_000];
                    let got = drive
                        .block_on(store.get(&key, &mut out, ReadOptions::default()))
                        .unwrap_or_else(|e| panic!("{what} get {e:?}"));
                    match (got, model.get(&key)) {
                        (None, None) => {}
                        (Some(f), Some(v)) => assert!(
                            f.value_len as usize == v.len() && out[..v.len()] == v[..],
                            "{what} wrong value"
                        ),
                        (a, b) => panic!(
                            "{what} key {} get {a:?} model {:?}",
                            String::from_utf8_lossy(&key),
                            b.map(|v| v.len())
                        ),
                    }
                }
                90..92 => {
                    let dir =
                        if rng.next(2) == 0 { Direction::Forward } else { Direction::Reverse };
                    let mut scratch = vec![0; store.scan_memory_len() + 1000];
                    let mut scan = drive
                        .block_on(store.scan(
                            Included(&key),
                            Unbounded,
                            dir,
                            &mut scratch,
                            ReadOptions::default(),
                        ))
                        .unwrap();
                    let mut want: Vec<_> = model.range(key.clone()..).collect();
                    if dir == Direction::Reverse {
                        want.reverse();
                    }
                    for (k, v) in want {
                        let item = drive
                            .block_on(scan.next())
                            .unwrap_or_else(|e| panic!("{what} scan {e:?}"))
                            .unwrap_or_else(|| {
                                panic!(
                                    "{what} {dir:?} scan ends before {}",
                                    String::from_utf8_lossy(k)
                                )
                            });
                        assert_eq!(
                            String::from_utf8_lossy(item.key),
                            String::from_utf8_lossy(k),
                            "{what} {dir:?} from {}",
                            String::from_utf8_lossy(&key)
                        );
                        assert_eq!(item.value_len as usize, v.len(), "{what}");
                        let mut out = vec![0; v.len()];
                        let got = drive.block_on(scan.value(0, &mut out));
                        if got.is_err() {
                            let mut o2 = vec![0; 40_000];
                            panic!(
                                "{what} {dir:?} value of {} len {}: {got:?} get {:?}",
                                String::from_utf8_lossy(k),
                                v.len(),
                                drive.block_on(store.get(k, &mut o2, ReadOptions::default()))
                            );
                        }
                        assert!(&out == v);
                    }
                    assert!(drive.block_on(scan.next()).unwrap().is_none(), "{what} scan too long");
                }
                92..96 => {
                    drive
                        .block_on(store.maintain(rng.next(5) as u32))
                        .unwrap_or_else(|e| panic!("{what} maintain {e:?}"));
                }
                96 => {
                    drive
                        .block_on(store.checkpoint())
                        .unwrap_or_else(|e| panic!("{what} ckpt {e:?}"));
                }
                97 => {
                    if rng.next(5) == 0 {
                        drive
                            .block_on(store.compact())
                            .unwrap_or_else(|e| panic!("{what} compact {e:?}"));
                    }
                }
                _ => {
                    drive.block_on(store.sync()).unwrap_or_else(|e| panic!("{what} sync {e:?}"));
                }
            }
            store.check_invariants();
            if let Ok(w) = std::env::var("LOST") {
                let got =
                    drive.block_on(store.contains(w.as_bytes(), ReadOptions::default())).unwrap();
                if got != model.contains_key(w.as_bytes()) {
                    panic!(
                        "LOST at op {done} r={r} {:?} {:?}",
                        store.stats(),
                        store.runs_by_level()
                    );
                }
            }
        }
        drive.block_on(store.sync()).unwrap();
        drop(store);
        if cuts {
            drive.cut_after(0);
            let _ = drive.block_on(Device::sync(&drive));
            drive.power_on(Outcome::Seeded(done));
        }
    }
}

#[test]
fn quick() {
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(5);
    let from: u64 = std::env::var("FROM").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let ops: u64 = std::env::var("OPS").ok().and_then(|s| s.parse().ok()).unwrap_or(2000);
    let only = std::env::var("MEDIA").ok();
    let mut failures = 0;
    for seed in from..from + seeds {
        for media in ["smr-tiny", "disk-tiny", "zns-tiny", "nor-1m", "nor-tiny"] {
            if only.as_deref().is_some_and(|o| o != media) {
                continue;
            }
            for mem in [0, 600 << 10, 3 << 20] {
                let r = std::panic::catch_unwind(|| {
                    run(media, seed, ops, mem, std::env::var("NOCUT").is_err())
                });
                if r.is_err() {
                    println!("FAILED {media} seed {seed} mem {mem}");
                    failures += 1;
                    if failures > 8 {
                        panic!()
                    }
                }
            }
        }
    }
    assert_eq!(failures, 0);
}
