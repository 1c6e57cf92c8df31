//! The fault plan under a store: it finds what a store writes, and values alone are hit alone.

use std::collections::BTreeSet;

use shingle_engine::{
    Durability, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy, Store,
    WriteOptions, format,
};
use shingle_hal::{Device, Lba, Request, ZoneDescriptor, ZoneId, ZoneType};
use shingle_sim::Drive;
use shingle_sim::fault::FaultKind;
use shingle_sim::media::MediaSpec;

const KEYS: u32 = 240;

fn key(i: u32) -> String {
    format!("key{i:04}")
}

fn value(i: u32) -> Vec<u8> {
    let len = [20_usize, 300, 9_000, 30_000][(i % 4) as usize];
    (0..len).map(|b| (b as u32 * 7 + i * 13) as u8).collect()
}

/// A drive with a store on it that has runs, superblocks and values in its log.
fn filled(memory: &mut [u8]) -> Drive {
    let spec = MediaSpec::parse("smr-tiny:timing=instant").expect("a medium");
    let drive = Drive::new(spec, 1);
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [7; 16], limits, redundancy: Redundancy::NONE };
    drive.block_on(format(&&drive, memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, memory)).expect("open");
    for i in 0..KEYS {
        let options = WriteOptions { durability: Durability::Buffered, ..Default::default() };
        let (key, value) = (key(i), value(i));
        let put = store.put(key.as_bytes(), Meta::NONE, &value, options);
        drive.block_on(put).expect("put");
    }
    drive.block_on(store.compact()).expect("compact");
    drive.block_on(store.checkpoint()).expect("checkpoint");
    drive.block_on(store.close()).expect("close");
    drive
}

/// The blocks that cannot be read under `plan`.
fn bad_blocks(drive: &Drive, plan: &str) -> BTreeSet<u64> {
    let drive = drive.fork();
    drive.set_faults(&plan.parse().expect("a plan"), 1);
    let geometry = drive.geometry();
    let mut bad = BTreeSet::new();
    let mut bytes = vec![0; geometry.block_len_bytes as usize];
    for z in 0..geometry.zone_count {
        let mut out = [ZoneDescriptor::EMPTY];
        drive.block_on(drive.report(ZoneId(z), &mut out)).expect("report");
        let written = match out[0].zone_type {
            ZoneType::Conventional => out[0].capacity.0,
            _ => out[0].write_pointer.0,
        };
        for lba in (0..u64::from(written)).map(|at| out[0].start.0 + at) {
            let read = drive.read(Lba(lba), &mut bytes, Request::default());
            if drive.block_on(read).is_err() {
                bad.insert(lba);
            }
        }
    }
    bad
}

#[test]
fn structures_of_a_store_are_found_and_do_not_overlap() {
    let mut memory = vec![0; 8 << 20];
    let drive = filled(&mut memory);
    let structures = ["superblock", "manifest", "run-index", "run-data", "log-record", "value"];
    let mut all = BTreeSet::new();
    let mut sum = 0;
    for structure in structures {
        let bad = bad_blocks(&drive, &format!("read-error 9999999x structure={structure}"));
        println!("{structure}: {} blocks", bad.len());
        assert!(!bad.is_empty(), "{structure}");
        sum += bad.len();
        all.extend(bad);
    }
    assert_eq!(all.len(), sum, "a block is two things");
}

#[test]
fn rot_in_values_alone_damages_values_alone() {
    let mut memory = vec![0; 8 << 20];
    let drive = filled(&mut memory);
    drive.set_faults(&"bit-rot sticky structure=value p=1".parse().expect("a plan"), 1);
    let mut out = vec![0; 30_000];
    let mut damaged = 0;
    for is_lifted in [false, true] {
        if is_lifted {
            drive.lift_faults();
        }
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        for i in 0..KEYS {
            let (key, want) = (key(i), value(i));
            let get = store.get(key.as_bytes(), &mut out, ReadOptions::default());
            match drive.block_on(get) {
                Ok(Some(found)) => {
                    assert_eq!(found.value_len as usize, want.len(), "{i}");
                    assert!(out[..want.len()] == want, "{i}");
                }
                Err(ReadError::Damaged(_)) if !is_lifted && want.len() >= 9_000 => damaged += 1,
                other => panic!("{i}: {other:?}"),
            }
        }
    }
    let hits = drive.fault_counts().of(FaultKind::BitRot);
    assert!(damaged > 0 && hits > 0, "{damaged} of {hits}");
}
