//! The operations, by number: a life does them, and the judge knows them without being told.

use fastrand::Rng;
use shingle_sim::synthetic;

/// Keys there are.
pub(crate) const KEYS: u64 = 300;
/// Longest value.
pub(crate) const VALUE_LEN_MAX: usize = 200_000;
/// Numbers from the beginning of one life to that of the next: more than a life gets to.
pub(crate) const LIFE: u64 = 1_000_000;

/// The key that says which life it is.
pub(crate) const LIFE_KEY: &[u8] = b"soak/life";

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// The key's number.
    pub(crate) key: u64,
    /// Bytes of the value that is put; `None` deletes the key.
    pub(crate) len: Option<usize>,
    /// Whether it, and all before it, is durable before it is acknowledged.
    pub(crate) durable: bool,
}

/// Operation `number`.
pub(crate) fn op(number: u64) -> Op {
    let mut rng = Rng::with_seed(number);
    let key = rng.u64(..KEYS);
    let len = match rng.u8(..16) {
        0 | 1 => None,
        2 | 3 => Some(rng.usize(8..VALUE_LEN_MAX)),
        4..=9 => Some(rng.usize(8..9000)),
        _ => Some(rng.usize(8..300)),
    };
    Op { key, len, durable: rng.u8(..10) == 0 }
}

/// The value that operation `number` puts: its number, and bytes that follow from it.
pub(crate) fn value(number: u64, len: usize) -> Vec<u8> {
    let mut value = vec![0; len];
    synthetic::fill(number, 0, &mut value);
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// The name of a key.
pub(crate) fn name(key: u64) -> Vec<u8> {
    format!("soak/{key:03}").into_bytes()
}
