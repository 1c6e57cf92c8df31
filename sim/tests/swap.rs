//! A pointer that leads to another key's value, of the same length and with a whole checksum, is
//! damage and not data.

use shingle_engine::canary::{Bug, plant};
use shingle_engine::error::Check;
use shingle_engine::{
    Batch, Condition, Durability, FormatOptions, Limits, Meta, ReadError, ReadOptions, Redundancy,
    Store, format,
};
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;

#[test]
fn value_of_another_key_is_damage() {
    let spec = MediaSpec::parse("smr-tiny:timing=instant").expect("a medium");
    let drive = Drive::new(spec, 1);
    let mut memory = vec![0; 4 << 20];
    let limits = Limits::for_geometry(&shingle_hal::Device::geometry(&drive));
    let options = FormatOptions { store_id: [1; 16], limits, redundancy: Redundancy::NONE };
    drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
    let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
    let mut bytes = vec![0; 32 << 10];
    let mut batch = Batch::new(&mut bytes);
    batch.put(b"one", Meta::NONE, &[1; 9000], Condition::None).expect("room");
    batch.put(b"two", Meta::NONE, &[2; 9000], Condition::None).expect("room");
    plant(Some(Bug::ValueOfAnotherKey));
    drive.block_on(store.write(&batch, Durability::Durable)).expect("write");
    plant(None);
    let mut value = vec![0; 9000];
    let one = drive.block_on(store.get(b"one", &mut value, ReadOptions::default()));
    assert!(one.expect("get").is_some() && value == [1; 9000]);
    let two = drive.block_on(store.get(b"two", &mut value, ReadOptions::default()));
    let Err(ReadError::Damaged(damage)) = two else { panic!("{two:?}") };
    assert_eq!(damage.check, Check::OtherKey);
}
