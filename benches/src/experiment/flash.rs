//! Small values on a NOR flash chip: batches and single puts, gets, scans, and opening.
//!
//! Everything is durable when it returns. A batch is one transaction of a peer that has them; for
//! this engine it is puts with one sync behind them, since where memory is this little a record of
//! the log is shorter than a batch. Write amplification is by bytes programmed, and counts against
//! bytes of keys and values.

use crate::load::{self, KEY_LEN, Random};
use crate::subject::Reading;
use crate::subject::flash::{Charge, ERASE_LEN};
use crate::subject::on_flash::{
    self, ByRole, FLASH_LEN, OnFlash, ROLES, SHARE_OF_SEQUENTIAL, Setting,
};

/// Bytes of every value.
pub const VALUE_LEN: usize = 100;

/// Moments of a pass over all keys at which gets are measured: how many reads one takes depends
/// on which merges are due, and goes up and down.
const PARTS: usize = 20;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Bytes of the flash.
    pub flash_len: usize,
    /// Keys.
    pub keys: u64,
    /// Puts that become durable together.
    pub batch_len: usize,
    /// How often every key is overwritten, each time in another order.
    pub overwrites: u32,
    /// Gets of keys that are there, and as many of others, during the last pass.
    pub gets: u64,
}

impl Work {
    /// Batches of 100 that fill 35 % of the flash.
    pub const BATCHES: Self =
        Self { flash_len: FLASH_LEN, keys: 50_000, batch_len: 100, overwrites: 3, gets: 2_000 };
    /// Every put durable on its own.
    pub const SINGLES: Self = Self { keys: 20_000, batch_len: 1, ..Self::BATCHES };

    /// The same fill of a part of the flash.
    #[must_use]
    pub fn part(self, divisor: u64) -> Self {
        Self {
            flash_len: self.flash_len / divisor as usize,
            keys: self.keys / divisor,
            gets: self.gets / divisor,
            ..self
        }
    }
}

/// What puts came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Puts.
    pub puts: u64,
    /// Bytes programmed.
    pub programmed_bytes: u64,
    /// Bytes erased.
    pub erased_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Time of the flash.
    pub took_ns: u64,
    /// The longest time until a batch was durable.
    pub longest_ns: u64,
    /// Bytes programmed, by [`ROLES`].
    pub by_role: [u64; ROLES.len()],
}

impl Written {
    fn per_user_byte(&self, bytes: u64) -> f64 {
        bytes as f64 / (self.puts * (KEY_LEN + VALUE_LEN) as u64) as f64
    }

    /// Bytes programmed a byte of keys and values.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        self.per_user_byte(self.programmed_bytes)
    }

    /// Bytes erased a byte of keys and values.
    #[must_use]
    pub fn erase_amplification(&self) -> f64 {
        self.per_user_byte(self.erased_bytes)
    }

    /// [`write_amplification`](Self::write_amplification) by [`ROLES`].
    #[must_use]
    pub fn amplification_by_role(&self) -> [f64; ROLES.len()] {
        self.by_role.map(|bytes| self.per_user_byte(bytes))
    }

    /// Reads a put.
    #[must_use]
    pub fn reads_per_put(&self) -> f64 {
        self.reads as f64 / self.puts as f64
    }

    /// Puts a second of the flash's time.
    #[must_use]
    pub fn puts_per_s(&self) -> f64 {
        self.puts as f64 / (self.took_ns as f64 / 1e9)
    }
}

/// What gets, the entries of a scan, or opening came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fetched {
    /// Gets, or entries; 1 for opening.
    pub ops: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Time of the flash.
    pub took_ns: u64,
    /// Reads by [`ROLES`].
    pub by_role: [u64; ROLES.len()],
}

impl Fetched {
    fn of(ops: u64, reading: &Reading) -> Self {
        let Reading { reads, read_bytes, now_ns: took_ns, .. } = *reading;
        Self { ops, reads, read_bytes, took_ns, by_role: [0; ROLES.len()] }
    }

    fn add(&mut self, more: &Self) {
        self.ops += more.ops;
        self.reads += more.reads;
        self.read_bytes += more.read_bytes;
        self.took_ns += more.took_ns;
        for (sum, reads) in self.by_role.iter_mut().zip(more.by_role) {
            *sum += reads;
        }
    }

    /// Reads an operation.
    #[must_use]
    pub fn reads_per_op(&self) -> f64 {
        self.reads as f64 / self.ops as f64
    }

    /// Bytes read an operation.
    #[must_use]
    pub fn bytes_per_op(&self) -> f64 {
        self.read_bytes as f64 / self.ops as f64
    }

    /// Microseconds an operation.
    #[must_use]
    pub fn us_per_op(&self) -> f64 {
        self.took_ns as f64 / 1e3 / self.ops as f64
    }
}

/// All figures of a subject.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Who, and in which setting.
    pub subject: String,
    /// Bytes of memory it has.
    pub memory_bytes: usize,
    /// Erase blocks of 4 KiB that the flash has.
    pub erase_blocks: u64,
    /// Every key for the first time.
    pub load: Written,
    /// Every key again, as often as the work has it.
    pub overwrite: Written,
    /// Gets of keys that are there.
    pub hit: Fetched,
    /// Gets of keys that are not.
    pub miss: Fetched,
    /// All entries in order.
    pub forward: Option<Fetched>,
    /// All entries in reverse order.
    pub reverse: Option<Fetched>,
    /// Opening what is there; `None` for whoever reads nothing then.
    pub mount: Option<Fetched>,
    /// The same where the write pointers of zones must be found first, from nothing but the flash.
    pub raw_mount: Option<Fetched>,
}

/// One subject at work.
struct Run<'s> {
    subject: &'s mut dyn OnFlash,
    work: Work,
    /// How often each key was written.
    versions: Vec<u32>,
    random: Random,
}

impl Run<'_> {
    /// Puts every key once, in random order, and adds what it came to; `between` is done now and
    /// then, and does not count.
    fn pass(&mut self, total: &mut Written, mut between: impl FnMut(&mut Self)) {
        let mut order: Vec<u64> = (0..self.work.keys).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        let part_len = order.len().div_ceil(PARTS).next_multiple_of(self.work.batch_len);
        for part in order.chunks(part_len) {
            self.put(part, total);
            between(self);
        }
    }

    /// Puts these keys in batches, and adds what it came to.
    fn put(&mut self, indexes: &[u64], total: &mut Written) {
        let (before, roles) = (self.subject.reading(), self.subject.by_role());
        let erased_bytes = self.subject.erased_bytes();
        for batch in indexes.chunks(self.work.batch_len) {
            let began_ns = self.subject.reading().now_ns;
            self.put_batch(batch);
            let took_ns = self.subject.reading().now_ns - began_ns;
            total.longest_ns = total.longest_ns.max(took_ns);
        }
        let came_to = on_flash::since(&self.subject.reading(), &before);
        total.puts += indexes.len() as u64;
        total.programmed_bytes += came_to.written_bytes;
        total.erased_bytes += self.subject.erased_bytes() - erased_bytes;
        total.reads += came_to.reads;
        total.took_ns += came_to.now_ns;
        let now = self.subject.by_role();
        for (role, bytes) in total.by_role.iter_mut().enumerate() {
            *bytes += now.written_bytes[role] - roles.written_bytes[role];
        }
    }

    fn put_batch(&mut self, indexes: &[u64]) {
        let entries: Vec<_> = indexes
            .iter()
            .map(|&index| {
                let version = &mut self.versions[index as usize];
                *version += 1;
                let mut value = [0; VALUE_LEN];
                load::fill_value(index, *version, &mut value);
                (load::key(index), value)
            })
            .collect();
        let pairs: Vec<_> = entries.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        self.subject.put_batch(&pairs);
        self.subject.sync();
    }

    /// Measures `ops` operations that read.
    fn fetch(&mut self, ops: impl FnOnce(&mut Self) -> u64) -> Fetched {
        let (before, roles): (_, ByRole) = (self.subject.reading(), self.subject.by_role());
        let count = ops(self);
        let came_to = on_flash::since(&self.subject.reading(), &before);
        let mut fetched = Fetched::of(count, &came_to);
        let now = self.subject.by_role();
        for (role, reads) in fetched.by_role.iter_mut().enumerate() {
            *reads = now.reads[role] - roles.reads[role];
        }
        fetched
    }

    /// A part of the gets of keys that are there.
    fn hits(&mut self) -> u64 {
        let (gets, mut got) = (self.work.gets / PARTS as u64, Vec::with_capacity(1024));
        for _ in 0..gets {
            let index = self.random.below(self.work.keys);
            assert!(self.subject.get(&load::key(index), &mut got), "key {index} is missing");
            self.compare(index, &got);
        }
        gets
    }

    fn compare(&self, index: u64, value: &[u8]) {
        let version = self.versions[index as usize];
        let is_same = value.len() == VALUE_LEN && load::is_value(index, version, value);
        assert!(is_same, "key {index} has another value");
    }

    /// A part of the gets of others.
    fn misses(&mut self) -> u64 {
        let (gets, mut got) = (self.work.gets / PARTS as u64, Vec::with_capacity(1024));
        for _ in 0..gets {
            let index = self.work.keys + self.random.below(1 << 40);
            assert!(!self.subject.get(&load::key(index), &mut got), "key {index} is there");
        }
        gets
    }

    /// Goes through everything, and compares it; `None` without such an order.
    fn scan(&mut self, is_reverse: bool) -> Option<Fetched> {
        let mut seen = Vec::new();
        let from = [if is_reverse { 0xff } else { 0 }; KEY_LEN];
        let mut is_ordered = true;
        let fetched = self.fetch(|run| {
            let all = run.work.keys as usize + 1;
            let mut each = |key: &[u8], value: &[u8]| seen.push((key.to_vec(), value.to_vec()));
            is_ordered = run.subject.scan(&from, is_reverse, all, &mut each).is_some();
            run.work.keys
        });
        if !is_ordered {
            return None;
        }
        assert_eq!(seen.len() as u64, self.work.keys, "entries");
        let ascends = |pair: &[(Vec<u8>, Vec<u8>)]| (pair[0].0 < pair[1].0) != is_reverse;
        assert!(seen.windows(2).all(ascends), "order");
        for (key, value) in &seen {
            let index = u64::from_be_bytes(key[8..].try_into().expect("eight bytes"));
            self.compare(index, value);
        }
        Some(fetched)
    }
}

/// Does `work` on one subject.
///
/// # Panics
/// If a value is missing or another, or entries are out of order.
pub fn measure(subject: &mut dyn OnFlash, work: Work) -> Figures {
    let versions = vec![0; work.keys as usize];
    let mut run = Run { subject, work, versions, random: Random::new(8) };
    let (mut load, mut overwrite) = (Written::default(), Written::default());
    let (mut hit, mut miss) = (Fetched::default(), Fetched::default());
    run.pass(&mut load, |_| ());
    for pass in 1..=work.overwrites {
        run.pass(&mut overwrite, |run| {
            if pass == work.overwrites {
                hit.add(&run.fetch(Run::hits));
                miss.add(&run.fetch(Run::misses));
            }
        });
    }
    let (forward, reverse) = (run.scan(false), run.scan(true));
    let opened = |reading: Reading| Fetched::of(1, &reading);
    Figures {
        subject: run.subject.name().to_owned(),
        memory_bytes: run.subject.memory_bytes(),
        erase_blocks: (work.flash_len / ERASE_LEN) as u64,
        load,
        overwrite,
        hit,
        miss,
        forward,
        reverse,
        mount: run.subject.mount().map(opened),
        raw_mount: run.subject.raw_mount().map(opened),
    }
}

/// Does `work` on this engine in one setting.
///
/// # Panics
/// As [`measure`].
#[must_use]
pub fn run_shingle(setting: &Setting, work: Work) -> Figures {
    on_flash::with_shingle(setting, work.flash_len, |subject| measure(subject, work))
}

/// Does `work` on ekv.
///
/// # Panics
/// As [`measure`].
#[must_use]
pub fn run_ekv(work: Work, charge: Charge) -> Figures {
    measure(&mut on_flash::ekv(work.flash_len, charge), work)
}

/// Does its share of `work` on sequential-storage.
///
/// # Panics
/// As [`measure`].
#[must_use]
pub fn run_sequential(work: Work, charge: Charge) -> Figures {
    let mut subject = on_flash::sequential(work.flash_len, charge);
    measure(&mut subject, work.part(SHARE_OF_SEQUENTIAL))
}

/// Does `work` on all subjects: this engine in every setting, then the peers.
///
/// # Panics
/// As [`measure`].
#[must_use]
pub fn run(work: Work, charge: Charge) -> Vec<Figures> {
    let ours = Setting::ALL.iter().map(|setting| run_shingle(setting, work));
    let peers = [run_ekv(work, charge), run_sequential(work, charge)];
    ours.chain(peers).collect()
}
