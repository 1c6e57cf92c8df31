//! The operations, by number: the board does them, and the host knows them without being told.

/// Keys there are.
pub const KEYS: u16 = 200;
/// Longest value.
pub const VALUE_LEN_MAX: usize = 9000;
/// Bytes of a key.
pub const KEY_LEN: usize = 6;

/// What an operation does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Puts a value of so many bytes.
    Put(usize),
    /// Deletes it.
    Delete,
    /// Compares what it holds.
    Get,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The key's number.
    pub key: u16,
    /// What is done.
    pub kind: Kind,
    /// Whether it, and all before it, is durable before it is acknowledged.
    pub durable: bool,
}

/// A mix of operations.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    seed: u64,
}

/// Scatters the bits of a number (splitmix64).
const fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Script {
    /// The mix of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Operation `index`.
    #[must_use]
    pub fn op(&self, index: u32) -> Op {
        let draw = scatter(scatter(self.seed) ^ index as u64);
        let key = (draw % KEYS as u64) as u16;
        // Before it is cut to the width of the core.
        let below = |end: u64| (draw >> 16) % end;
        let kind = match draw >> 32 & 15 {
            0..3 => Kind::Get,
            3..5 => Kind::Delete,
            5..8 => Kind::Put(4096 + below(VALUE_LEN_MAX as u64 - 4096) as usize),
            _ => Kind::Put(below(600) as usize),
        };
        Op { key, kind, durable: matches!(kind, Kind::Put(_)) && draw >> 40 & 1 == 1 }
    }

    /// The bytes that the put of number `index` gives its key.
    pub fn fill(&self, index: u32, out: &mut [u8]) {
        let stream = scatter(self.seed ^ (index as u64) << 32);
        for (cell, bytes) in out.chunks_mut(8).enumerate() {
            let word = scatter(stream.wrapping_add(cell as u64)).to_le_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
    }

    /// The put that each key has its value from when the first `count` operations are done.
    pub fn replay(&self, count: u32, last: &mut [Option<u32>; KEYS as usize]) {
        last.fill(None);
        for index in 0..count {
            self.note(index, last);
        }
    }

    /// Operation `index` is done.
    pub fn note(&self, index: u32, last: &mut [Option<u32>; KEYS as usize]) {
        let op = self.op(index);
        let last = &mut last[op.key as usize];
        match op.kind {
            Kind::Put(_) => *last = Some(index),
            Kind::Delete => *last = None,
            Kind::Get => {}
        }
    }

    /// Length of the value that the put of number `index` gives.
    #[must_use]
    pub fn value_len(&self, index: u32) -> usize {
        match self.op(index).kind {
            Kind::Put(len) => len,
            Kind::Delete | Kind::Get => 0,
        }
    }
}

/// The key of a number; keys are in order as their numbers are.
#[must_use]
pub fn key(number: u16) -> [u8; KEY_LEN] {
    let [high, low] = number.to_be_bytes();
    [b'k', b'e', b'y', b' ', high, low]
}
