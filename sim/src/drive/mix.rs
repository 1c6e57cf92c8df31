//! Seeded choices and running hashes: small, fast and the same on every machine.

/// One round of the splitmix64 finaliser: every input bit reaches every output bit.
pub(crate) const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The generator of `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// What [`new`](Self::new) makes the same generator of.
    pub(crate) const fn state(&self) -> u64 {
        self.0
    }

    /// The next 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        ((self.next() as u128 * end as u128) >> 64) as u64
    }
}

/// A running hash over what happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace(u64);

impl Trace {
    /// The hash of nothing, for a drive of `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5368_696e_676c_6531))
    }

    /// The hash that had this [`value`](Self::value).
    pub(crate) const fn resume(value: u64) -> Self {
        Self(value)
    }

    /// Takes in one number.
    pub(crate) const fn add(&mut self, word: u64) {
        self.0 = mix(self.0.rotate_left(23) ^ word);
    }

    /// The hash so far.
    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}
