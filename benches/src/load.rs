//! Keys, values, and which of them come next: everything by seed.

use shingle_sim::synthetic;

/// Bytes of every key.
pub const KEY_LEN: usize = 16;

/// The key of number `index`, in no order: eight mixed bytes, then the number.
#[must_use]
pub fn key(index: u64) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[..8].copy_from_slice(&mix(index).to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Fills `value` with what version `version` of key number `index` holds: bytes that nothing
/// compresses, another stream for each.
pub fn fill_value(index: u64, version: u32, value: &mut [u8]) {
    synthetic::fill(stream(index, version), 0, value);
}

/// Whether `value` is version `version` of key number `index`.
#[must_use]
pub fn is_value(index: u64, version: u32, value: &[u8]) -> bool {
    synthetic::match_len(stream(index, version), 0, value) == value.len()
}

/// Gives the keys of `order`, `batch_len` at once, with their values of `value_len` bytes of a
/// version to `each`.
pub fn batches(
    order: &[u64],
    batch_len: usize,
    value_len: usize,
    version: u32,
    mut each: impl FnMut(&[(&[u8], &[u8])]),
) {
    let mut values = vec![vec![0; value_len]; batch_len];
    for indexes in order.chunks(batch_len) {
        let keys: Vec<[u8; KEY_LEN]> = indexes.iter().map(|&index| key(index)).collect();
        for (&index, value) in indexes.iter().zip(&mut values) {
            fill_value(index, version, value);
        }
        let pairs: Vec<(&[u8], &[u8])> =
            keys.iter().zip(&values).map(|(key, value)| (&key[..], &value[..])).collect();
        each(&pairs);
    }
}

fn stream(index: u64, version: u32) -> u64 {
    (u64::from(version) << 36) | index
}

fn mix(index: u64) -> u64 {
    let mut z = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Random numbers by seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// A number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// Puts what is in `order` in another.
    pub fn shuffle(&mut self, order: &mut [u64]) {
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// A number of `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Which key comes next.
#[derive(Clone, Debug)]
pub enum Choice {
    /// Each as likely as another.
    Uniform,
    /// By rank, with exponent 0.99 as YCSB has it; ranks are dealt to keys at random.
    Zipf(Zipf),
}

impl Choice {
    /// Zipf with exponent 0.99 over `count` keys.
    #[must_use]
    pub fn zipf(count: u64) -> Self {
        Self::Zipf(Zipf::new(count, 0.99))
    }

    /// A key's number below `count`.
    pub fn draw(&self, random: &mut Random, count: u64) -> u64 {
        match self {
            Self::Uniform => random.below(count),
            // The rank's hash, as YCSB scatters it: a few numbers are never drawn, as there.
            Self::Zipf(zipf) => mix(zipf.draw(random)) % count,
        }
    }

    /// What it is called in a table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf(_) => "zipf",
        }
    }
}

/// Ranks by Zipf's law.
///
/// # Source
/// Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994, as in YCSB's
/// `ZipfianGenerator`.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: u64,
    theta: f64,
    zeta: f64,
    eta: f64,
    alpha: f64,
}

impl Zipf {
    /// Ranks below `count` with exponent `theta`.
    ///
    /// # Cost
    /// One step a rank.
    #[must_use]
    pub fn new(count: u64, theta: f64) -> Self {
        let zeta: f64 = (1..=count).map(|rank| (rank as f64).powf(-theta)).sum();
        let zeta_two = 1.0 + 0.5f64.powf(theta);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - zeta_two / zeta);
        Self { count, theta, zeta, eta, alpha: 1.0 / (1.0 - theta) }
    }

    /// A rank, 0 the most likely.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let u = random.unit();
        let at = u * self.zeta;
        if at < 1.0 {
            return 0;
        }
        if at < 1.0 + 0.5f64.powf(self.theta) {
            return 1;
        }
        let rank = self.count as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_draws_ranks_by_the_law() {
        let (count, draws) = (1000, 200_000);
        let zipf = Zipf::new(count, 0.99);
        let mut random = Random::new(1);
        let mut drawn = vec![0u64; count as usize];
        for _ in 0..draws {
            drawn[zipf.draw(&mut random) as usize] += 1;
        }
        for rank in [0, 1, 9, 99] {
            let expected = draws as f64 * ((rank + 1) as f64).powf(-0.99) / zipf.zeta;
            let ratio = drawn[rank as usize] as f64 / expected;
            assert!((0.7..1.3).contains(&ratio), "rank {rank}: {ratio}");
        }
    }

    #[test]
    fn value_of_another_version_is_told_apart() {
        let mut value = [0; 100];
        fill_value(5, 1, &mut value);
        assert!(is_value(5, 1, &value) && !is_value(5, 2, &value) && !is_value(6, 1, &value));
    }
}
