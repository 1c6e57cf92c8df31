//! Range deletions that begin and end at keys which are put again, merged into short pieces.

use std::collections::BTreeMap;

use shingle_engine::{
    Durability, FormatOptions, Limits, Meta, ReadOptions, Redundancy, Store, WriteOptions, format,
};
use shingle_sim::Drive;
use shingle_sim::media::MediaSpec;

const KEYS: u64 = 400;
/// Values to this length are in the runs.
const VALUE_LEN_MAX: u64 = 190;

/// Random numbers by seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// Keys of several lengths, in the order of their numbers.
fn key(number: u64) -> Vec<u8> {
    let mut key = number.to_be_bytes()[6..].to_vec();
    key.resize(2 + (number * 7 % 34) as usize, b'k');
    key
}

#[test]
fn keys_at_which_range_deletions_end_fit_the_pieces_of_the_bottom() {
    for seed in 0..12 {
        let drive = Drive::new(MediaSpec::by_name("nor-1m").expect("a medium"), seed);
        let mut memory = vec![0; 64 << 10];
        let limits = Limits {
            key_len_max: 64,
            meta_len_max: 32,
            value_len_max: 16 << 10,
            node_len_bytes: 512,
            separate_from_bytes: 192,
        };
        let options = FormatOptions { store_id: [3; 16], limits, redundancy: Redundancy::NONE };
        drive.block_on(format(&&drive, &mut memory, &options)).expect("format");
        let store = drive.block_on(Store::open(&drive, &mut memory)).expect("open");
        let (mut random, mut model) = (Random(seed), BTreeMap::new());
        for round in 0..6u8 {
            for _ in 0..300 {
                let number = random.below(KEYS);
                if random.below(4) == 0 {
                    let (from, to) = (key(number), key(number + 1 + random.below(20)));
                    drive
                        .block_on(store.delete_range(&from, Some(&to), Durability::Buffered))
                        .expect("delete_range");
                    model.retain(|key: &Vec<u8>, _| *key < from || *key >= to);
                }
                let value = vec![round; random.below(VALUE_LEN_MAX) as usize];
                let key = key(number);
                drive
                    .block_on(store.put(&key, Meta::NONE, &value, WriteOptions::BUFFERED))
                    .expect("put");
                model.insert(key, value);
            }
            drive.block_on(store.compact()).expect("compact");
            store.check_invariants();
            let mut out = vec![0; store.read_room(VALUE_LEN_MAX) as usize];
            for number in 0..KEYS {
                let key = key(number);
                let found =
                    drive.block_on(store.get(&key, &mut out, ReadOptions::default())).expect("get");
                let found = found.map(|found| &out[..found.value_len as usize]);
                assert_eq!(found, model.get(&key).map(Vec::as_slice), "seed {seed}, {number}");
            }
        }
    }
}
