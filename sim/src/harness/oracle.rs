//! The model: what a store may, and what it must, hold.
//!
//! Why: promise 1. A power cut keeps a prefix of commit order that reaches at least to the last
//! durable acknowledgment; never a hole, never a torn value, never half a batch.
//!
//! Keys are divided among *lanes*, one for each writer, so that each lane's commits have a known
//! order. A commit is issued (it may now be there), then acknowledged (what starts later comes
//! after it), then durable (it must be there after any cut), or withdrawn (it never is). Those
//! issued but not durable are the *maybe* set.
//!
//! Invariants, checked by [`Oracle::pin`]: `O1` the contents of each lane equal its state after
//! some commit between the last durable and the last issued one. `O2` if a commit is there, so is
//! every commit of any lane that was acknowledged before it was issued. After recovery the model
//! is pinned to what was found: what was lost must never come back.

use std::collections::BTreeMap;
use std::fmt;

use crate::harness::choices::mix_of;
use crate::synthetic;

/// A key of the universe, by its rank.
pub type Key = u16;

/// What a put wrote: enough to make its bytes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Unique over all puts of a run.
    pub stamp: u64,
    /// Bytes of the value.
    pub len: u32,
    /// Bytes of the metadata, version included.
    pub meta_len: u16,
    /// Bytes of the version.
    pub version_len: u16,
}

impl Version {
    fn seed(&self) -> u64 {
        mix_of(self.stamp)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        synthetic::value(self.seed(), self.len as usize)
    }

    /// The metadata: the stamp, then bytes that follow from it.
    #[must_use]
    pub fn meta(&self) -> Vec<u8> {
        let mut meta = synthetic::value(!self.seed(), usize::from(self.meta_len));
        let stamp = self.stamp.to_le_bytes();
        let len = stamp.len().min(meta.len());
        meta[..len].copy_from_slice(&stamp[..len]);
        meta
    }

    /// Whether `bytes` are the value from `offset` on.
    #[must_use]
    pub fn has(&self, offset: u64, bytes: &[u8]) -> bool {
        offset + bytes.len() as u64 <= u64::from(self.len)
            && synthetic::match_len(self.seed(), offset, bytes) == bytes.len()
    }
}

/// What a store returned for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The value.
    pub value: Vec<u8>,
    /// The metadata.
    pub meta: Vec<u8>,
    /// Bytes of the version.
    pub version_len: usize,
}

impl Observed {
    /// Whether this is `version`, every byte of it.
    #[must_use]
    pub fn is(&self, version: &Version) -> bool {
        self.value.len() == version.len as usize
            && self.version_len == usize::from(version.version_len)
            && self.meta == version.meta()
            && version.has(0, &self.value)
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} value bytes, {} meta bytes", self.value.len(), self.meta.len())?;
        match self.meta.first_chunk() {
            Some(stamp) => write!(f, ", stamp {}", u64::from_le_bytes(*stamp)),
            None => Ok(()),
        }
    }
}

/// Whether an observation is what a state holds.
#[must_use]
pub fn agrees(observed: Option<&Observed>, version: Option<&Version>) -> bool {
    match (observed, version) {
        (None, None) => true,
        (Some(observed), Some(version)) => observed.is(version),
        _ => false,
    }
}

/// A change to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key was set.
    Put(Key, Version),
    /// A key was removed.
    Delete(Key),
    /// Keys from the first up to, not including, the second were removed.
    DeleteRange(Key, Option<Key>),
}

impl Change {
    fn touches(&self, key: Key) -> bool {
        match *self {
            Self::Put(at, _) | Self::Delete(at) => at == key,
            Self::DeleteRange(start, end) => key >= start && end.is_none_or(|end| key < end),
        }
    }

    fn after(&self) -> Option<Version> {
        match *self {
            Self::Put(_, version) => Some(version),
            _ => None,
        }
    }
}

/// What each key holds.
pub type State = BTreeMap<Key, Version>;

fn apply(state: &mut State, changes: &[Change]) {
    for change in changes {
        match *change {
            Change::Put(key, version) => {
                state.insert(key, version);
            }
            Change::Delete(key) => {
                state.remove(&key);
            }
            Change::DeleteRange(start, end) => {
                state.retain(|key, _| *key < start || end.is_some_and(|end| *key >= end));
            }
        }
    }
}

/// Operations that take effect together.
#[derive(Clone, Debug)]
struct Commit {
    issued: u64,
    acknowledged: Option<u64>,
    changes: Vec<Change>,
}

/// The commits of one writer.
#[derive(Clone, Debug, Default)]
struct Lane {
    /// Before the first commit kept here.
    base: State,
    /// Commits since.
    commits: Vec<Commit>,
    /// So many of them are durable.
    durable: usize,
    /// After all of them.
    now: State,
}

impl Lane {
    fn versions_of(&self, key: Key) -> impl Iterator<Item = (usize, Option<Version>)> + '_ {
        let touched = self.commits.iter().enumerate().filter_map(move |(at, commit)| {
            let change = commit.changes.iter().rev().find(|change| change.touches(key))?;
            Some((at + 1, change.after()))
        });
        std::iter::once((0, self.base.get(&key).copied())).chain(touched)
    }

    /// For each number of commits, how many of `keys` differ from what was observed.
    fn differences(&self, keys: std::ops::Range<Key>, observed: &[Option<Observed>]) -> Vec<u32> {
        let mut counts = vec![0; self.commits.len() + 1];
        for key in keys {
            let seen = observed[usize::from(key)].as_ref();
            let mut versions = self.versions_of(key).peekable();
            while let Some((from, version)) = versions.next() {
                let to = versions.peek().map_or(counts.len(), |(next, _)| *next);
                if !agrees(seen, version.as_ref()) {
                    counts[from..to].iter_mut().for_each(|count| *count += 1);
                }
            }
        }
        counts
    }

    fn state_after(&self, count: usize) -> State {
        let mut state = self.base.clone();
        self.commits[..count].iter().for_each(|commit| apply(&mut state, &commit.changes));
        state
    }

    fn fold(&mut self, count: usize) {
        self.base = self.state_after(count);
        self.commits.drain(..count);
        self.durable = self.durable.saturating_sub(count);
    }
}

/// The model.
#[derive(Clone, Debug)]
pub struct Oracle {
    keys: Key,
    lanes: Vec<Lane>,
    clock: u64,
    stamp: u64,
    /// Readers may still compare with what came before the last durable commit.
    pub keep_history: bool,
}

impl Oracle {
    /// An empty store over a universe of `keys` keys.
    #[must_use]
    pub fn new(keys: Key) -> Self {
        Self { keys, lanes: vec![Lane::default()], clock: 0, stamp: 0, keep_history: false }
    }

    /// Size of the universe.
    #[must_use]
    pub fn keys(&self) -> Key {
        self.keys
    }

    /// Number of lanes.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The keys of a lane.
    #[must_use]
    pub fn lane_keys(&self, lane: usize) -> std::ops::Range<Key> {
        let count = self.lanes.len();
        let at = |lane: usize| (usize::from(self.keys) * lane / count) as Key;
        at(lane)..at(lane + 1)
    }

    fn lane_of(&self, key: Key) -> usize {
        (0..self.lanes.len()).find(|lane| self.lane_keys(*lane).contains(&key)).unwrap_or(0)
    }

    /// Divides the keys anew; everything must be pinned.
    ///
    /// # Panics
    /// If commits are pending.
    pub fn set_lanes(&mut self, count: usize) {
        if count == self.lanes.len() {
            return;
        }
        assert!(self.lanes.iter().all(|lane| lane.commits.is_empty()), "commits are pending");
        let all = self.now();
        self.lanes = vec![Lane::default(); count];
        for (key, version) in all {
            let lane = self.lane_of(key);
            self.lanes[lane].base.insert(key, version);
            self.lanes[lane].now.insert(key, version);
        }
    }

    /// Whether no commit is pending.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.lanes.iter().all(|lane| lane.commits.is_empty())
    }

    /// What a key holds after everything issued.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<Version> {
        self.lanes[self.lane_of(key)].now.get(&key).copied()
    }

    /// What all keys hold after everything issued.
    #[must_use]
    pub fn now(&self) -> State {
        self.lanes.iter().flat_map(|lane| lane.now.iter().map(|(k, v)| (*k, *v))).collect()
    }

    /// Bytes of all values and metadata.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        let of = |v: &Version| u64::from(v.len) + u64::from(v.meta_len);
        self.lanes.iter().flat_map(|lane| lane.now.values()).map(of).sum()
    }

    /// A version that no put had.
    pub fn version(&mut self, len: u32, meta_len: u16, version_len: u16) -> Version {
        self.stamp += 1;
        Version { stamp: self.stamp, len, meta_len, version_len: version_len.min(meta_len) }
    }

    /// The time, which goes on with every question.
    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A commit is about to be asked for; gives the time.
    pub fn issue(&mut self, lane: usize, changes: Vec<Change>) -> u64 {
        let issued = self.tick();
        let lane = &mut self.lanes[lane];
        apply(&mut lane.now, &changes);
        lane.commits.push(Commit { issued, acknowledged: None, changes });
        issued
    }

    /// The last commit of a lane was acknowledged.
    pub fn acknowledge(&mut self, lane: usize) {
        let now = self.tick();
        if let Some(commit) = self.lanes[lane].commits.last_mut() {
            commit.acknowledged = Some(now);
        }
    }

    /// The last commit of a lane was refused: it takes no effect, ever.
    pub fn withdraw(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.commits.pop();
        lane.now = lane.state_after(lane.commits.len());
    }

    /// Everything acknowledged before `time` is durable.
    pub fn synced(&mut self, time: u64) {
        let keep = self.keep_history;
        for lane in &mut self.lanes {
            let before = |c: &Commit| c.acknowledged.is_some_and(|at| at < time);
            let durable = lane.commits.iter().take_while(|c| before(c)).count();
            lane.durable = lane.durable.max(durable);
            if !keep {
                lane.fold(lane.durable);
            }
        }
    }

    /// The last commit of a lane, issued at `time`, is durable, with all that came before it.
    pub fn durable(&mut self, lane: usize, time: u64) {
        self.lanes[lane].durable = self.lanes[lane].commits.len();
        self.synced(time);
    }

    /// What a reader that starts now must not see older than.
    #[must_use]
    pub fn read_begins(&self, key: Key) -> usize {
        let lane = &self.lanes[self.lane_of(key)];
        lane.commits.iter().take_while(|commit| commit.acknowledged.is_some()).count()
    }

    /// What a reader that began at `from` may have seen.
    #[must_use]
    pub fn read_ends(&self, key: Key, from: usize) -> Vec<Option<Version>> {
        let lane = &self.lanes[self.lane_of(key)];
        let mut allowed = Vec::new();
        for (at, version) in lane.versions_of(key) {
            if at <= from {
                allowed.clear();
            }
            allowed.push(version);
        }
        allowed
    }

    /// For each lane, how many commits a view taken now must hold, and how many it may.
    #[must_use]
    pub fn view(&self) -> Vec<(usize, usize)> {
        let of = |lane: &Lane| {
            let done = lane.commits.iter().take_while(|commit| commit.acknowledged.is_some());
            (done.count(), lane.commits.len())
        };
        self.lanes.iter().map(of).collect()
    }

    /// Holds what was observed of `keys` in a view against the model: of each lane, all of it must
    /// be the state after the same commit.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_view(
        &self,
        view: &[(usize, usize)],
        keys: &std::ops::Range<Key>,
        observed: &[Option<Observed>],
    ) -> Result<(), String> {
        for (number, &(least, most)) in view.iter().enumerate() {
            let own = self.lane_keys(number);
            let own = own.start.max(keys.start)..own.end.min(keys.end);
            let differences = self.lanes[number].differences(own.clone(), observed);
            let most = most.min(differences.len() - 1);
            if !differences[least.min(most)..=most].contains(&0) {
                return Err(format!(
                    "no commit from {least} to {most} of lane {number} explains keys {own:?}: \
                     {differences:?} differ"
                ));
            }
        }
        Ok(())
    }

    /// Holds what was observed of every key after a remount against the model, and takes it on.
    /// With `durable`, what is there now is there for good.
    ///
    /// # Errors
    /// What is wrong.
    pub fn pin(&mut self, observed: &[Option<Observed>], durable: bool) -> Result<(), String> {
        let mut found = Vec::new();
        for number in 0..self.lanes.len() {
            let lane = &self.lanes[number];
            let keys = self.lane_keys(number);
            let differences = lane.differences(keys.clone(), observed);
            let fits = |at: &usize| differences[*at] == 0;
            let least = (lane.durable..differences.len()).find(fits);
            let most = (lane.durable..differences.len()).rev().find(fits);
            let (Some(least), Some(most)) = (least, most) else {
                return Err(self.explain(number, &differences, observed));
            };
            found.push((least, most));
        }
        self.check_order(&found)?;
        let now = self.tick();
        for (lane, (_, most)) in self.lanes.iter_mut().zip(found) {
            lane.commits.truncate(most);
            lane.now = lane.state_after(most);
            // What was in flight is older than all that follows, but not than what it ran beside.
            lane.commits.iter_mut().for_each(|commit| {
                commit.acknowledged.get_or_insert(now);
            });
            if durable {
                lane.fold(most);
            }
        }
        Ok(())
    }

    /// `O2`, as far as the contents tell which commits are there.
    fn check_order(&self, found: &[(usize, usize)]) -> Result<(), String> {
        for (number, (least, _)) in found.iter().enumerate() {
            let Some(last) = self.lanes[number].commits[..*least].last() else { continue };
            for (other, (_, most)) in found.iter().enumerate() {
                let missing = self.lanes[other].commits[*most..].first();
                let Some(missing) = missing else { continue };
                if missing.acknowledged.is_some_and(|at| at < last.issued) {
                    return Err(format!(
                        "a hole in commit order: lane {number} has commit {least} ({:?}), lane \
                         {other} lacks commit {} ({:?}), acknowledged before it was issued",
                        last.changes,
                        most + 1,
                        missing.changes,
                    ));
                }
            }
        }
        Ok(())
    }

    fn explain(&self, number: usize, counts: &[u32], observed: &[Option<Observed>]) -> String {
        let lane = &self.lanes[number];
        let best = (lane.durable..counts.len()).rev().min_by_key(|at| counts[*at]).unwrap_or(0);
        let mut text = format!(
            "no commit from {} (durable) to {} (issued) explains what is there; nearest is {best}, \
             where {} keys differ:",
            lane.durable,
            lane.commits.len(),
            counts[best]
        );
        if let Some(at) = counts[..lane.durable].iter().position(|count| *count == 0) {
            text += &format!(" (it is the state after commit {at}: durable commits were lost)");
        }
        let state = lane.state_after(best);
        let differs = |key: &Key| !agrees(observed[usize::from(*key)].as_ref(), state.get(key));
        for key in self.lane_keys(number).filter(differs).take(6) {
            text += &format!("\n  key {key}: ");
            match &observed[usize::from(key)] {
                Some(seen) => text += &format!("there is {seen}"),
                None => text += "absent",
            }
            match state.get(&key) {
                Some(v) => text += &format!("; expected {v:?}"),
                None => text += "; expected absent",
            }
            let history: Vec<_> = lane.versions_of(key).collect();
            let history = &history[history.len().saturating_sub(4)..];
            text += &format!("; last of its history {history:?}");
        }
        text
    }
}
