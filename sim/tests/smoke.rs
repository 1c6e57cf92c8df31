//! The shortest way through everything: format, put, power cut, recover, get.

use std::ops::Bound::Unbounded;

use shingle_engine::{
    Direction, Durability, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::Device;
use shingle_sim::media::MediaSpec;
use shingle_sim::{Drive, Outcome};

fn value(i: u32, round: u32, small: bool) -> Vec<u8> {
    let lens = if small { [1, 10, 100, 500, 3000] } else { [10usize, 100, 1000, 5000, 20000] };
    let len = lens[(i % 5) as usize];
    (0..len).map(|b| (b as u32 * 7 + i * 13 + round * 101) as u8).collect()
}

#[test]
fn put_survives_a_power_cut() {
    for media in ["smr-tiny", "disk-tiny", "zns-tiny", "nor-1m"] {
        let spec = MediaSpec::by_name(media).unwrap();
        let drive = Drive::new(spec, 1);
        let small = media.starts_with("nor");
        let mut memory = vec![0u8; if small { 256 << 10 } else { 8 << 20 }];
        let options = FormatOptions {
            store_id: [7; 16],
            limits: Limits::for_geometry(&drive.geometry()),
            redundancy: Redundancy::NONE,
        };
        let n = if small { 60 } else { 200 };
        drive.block_on(format(&&drive, &mut memory, &options)).unwrap();
        for round in 0..12 {
            {
                let store = drive.block_on(Store::open(&drive, &mut memory)).unwrap();
                for i in 0..n {
                    if round > 0 {
                        let mut out = vec![0; 20000];
                        let found = drive
                            .block_on(store.get(
                                format!("key{i}").as_bytes(),
                                &mut out,
                                ReadOptions::default(),
                            ))
                            .unwrap_or_else(|e| panic!("{media} round {round} key {i}: {e:?}"))
                            .unwrap_or_else(|| panic!("{media} round {round} key {i} absent"));
                        let want = value(i, round - 1, small);
                        assert_eq!(found.value_len as usize, want.len());
                        assert!(out[..want.len()] == want, "{media} {round} {i}");
                    }
                    let v = value(i, round, small);
                    let options =
                        WriteOptions { durability: Durability::Buffered, ..Default::default() };
                    drive
                        .block_on(store.put(format!("key{i}").as_bytes(), Meta::NONE, &v, options))
                        .unwrap_or_else(|e| panic!("{media} round {round} put {i}: {e:?}"));
                }
                drive.block_on(store.sync()).unwrap();
                store.check_invariants();
                for direction in [Direction::Forward, Direction::Reverse] {
                    let mut scratch = vec![0; store.scan_memory_len()];
                    let mut keys: Vec<String> = (0..n).map(|i| format!("key{i}")).collect();
                    keys.sort();
                    if direction == Direction::Reverse {
                        keys.reverse();
                    }
                    let scan = store.scan(
                        Unbounded,
                        Unbounded,
                        direction,
                        &mut scratch,
                        ReadOptions::default(),
                    );
                    let mut scan = drive.block_on(scan).unwrap();
                    for key in keys {
                        let item = drive.block_on(scan.next()).unwrap();
                        let item =
                            item.unwrap_or_else(|| panic!("{media} {round} {direction:?} {key}"));
                        assert_eq!(item.key, key.as_bytes(), "{media} {round} {direction:?}");
                        let want = value(key[3..].parse().unwrap(), round, small);
                        assert_eq!(item.value_len as usize, want.len());
                        let mut out = vec![0; want.len()];
                        drive.block_on(scan.value(0, &mut out)).unwrap();
                        assert!(out == want);
                    }
                    assert!(drive.block_on(scan.next()).unwrap().is_none());
                }
                println!("{media} {round} {:?}", store.stats());
            }
            drive.cut_after(0);
            let _ = drive.block_on(Device::sync(&drive));
            drive.power_on(Outcome::Seeded(round as u64));
        }
    }
}
