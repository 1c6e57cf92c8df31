//! Where a scan says that a value begins on the device.

use std::ops::Bound;

use shingle_engine::{
    Direction, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_hal::{Device, Request};
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;

#[test]
fn value_begins_where_a_scan_says() {
    let spec = MediaSpec::parse("smr-tiny:timing=instant").expect("a medium");
    let drive = Drive::new(spec, 1);
    let mut memory = vec![0; 4 << 20];
    let limits = Limits::for_geometry(&drive.geometry());
    let options = FormatOptions { store_id: [1; 16], limits, redundancy: Redundancy::NONE };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    // In parts where it comes to the end of a zone; the last one beside its key.
    let lens = [9_000_usize, 300_000, 70_000, 100_000, 10];
    for (index, len) in lens.into_iter().enumerate() {
        let (key, mut value) = ([index as u8], vec![0xa0; len]);
        value[..8].fill(index as u8 + 1);
        drive.block_on(store.put(&key, Meta::NONE, &value, WriteOptions::DURABLE)).expect("put");
    }
    let mut scratch = vec![0; store.scan_memory_len() + (1 << 20)];
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    let found = drive.block_on(async {
        let options = ReadOptions::default();
        let scan = store.scan(from, to, Direction::Forward, &mut scratch, options).await;
        let (mut scan, mut found) = (scan.expect("scan"), Vec::new());
        while let Some(item) = scan.next().await.expect("next") {
            found.push((item.key[0], item.lba));
        }
        found
    });
    assert_eq!(found.len(), lens.len());
    for (key, lba) in found {
        let beside = lens[usize::from(key)] < 100;
        assert_eq!(lba.is_none(), beside, "key {key}");
        let Some(lba) = lba else { continue };
        let mut block = vec![0; drive.geometry().block_len_bytes as usize];
        drive.block_on(drive.read(lba, &mut block, Request::default())).expect("read");
        let begins = block.windows(9).any(|bytes| bytes[..8] == [key + 1; 8] && bytes[8] == 0xa0);
        assert!(begins, "key {key} is not at {lba:?}");
    }
}
