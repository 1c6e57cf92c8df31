//! Where choices come from: a seed, or a fuzzer's bytes and a seed when those run out.

/// One round of the splitmix64 finaliser.
#[must_use]
pub const fn mix_of(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A source of choices.
#[derive(Clone, Debug)]
pub struct Choices {
    bytes: Vec<u8>,
    at: usize,
    state: u64,
}

impl Choices {
    /// Choices from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_bytes(seed, Vec::new())
    }

    /// Choices from bytes, and from the seed after them.
    #[must_use]
    pub fn from_bytes(seed: u64, bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0, state: mix_of(seed ^ 0x6861_726e_6573_7321) }
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        if self.at < self.bytes.len() {
            let end = (self.at + 2).min(self.bytes.len());
            let word = self.bytes[self.at..end].iter().fold(0, |all, b| all << 8 | u64::from(*b));
            self.at = end;
            return mix_of(word);
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix_of(self.state)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number from 1 to `high`, small ones as likely as large ones by magnitude.
    pub fn magnitude(&mut self, high: u64) -> u64 {
        let bits = self.below(u64::from(high.max(1).ilog2()) + 1) as u32;
        let least = 1 << bits;
        self.between(least, (2 * least - 1).min(high))
    }

    /// True once in `count` times.
    pub fn once_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// A source of its own, for a task beside others.
    pub fn fork(&mut self) -> Self {
        Self::new(self.word())
    }
}
