//! Finding the newest version of a key: memtables first, then runs from the newest to the oldest.
//!
//! A search reads nodes across awaits while flushes and merges go on. It notes the tree's version
//! first and starts over when that has changed: what it read meanwhile was whole, but perhaps no
//! longer the newest. Nothing needs to be pinned, because a node or value of a zone that was
//! emptied fails its seal.
//!
//! Invariants: `F1` the first version found in this order that the snapshot may see is the newest
//! (`T2`). `F2` a range deletion found on the way hides everything older than it.

use core::cmp::Ordering;
use shingle_hal::{Device, Request};

use crate::error::Fault;
use crate::format::branch::Branch;
use crate::format::data::Data;
use crate::format::edit::PieceRecord;
use crate::format::entry::{Entry, Fragment, Kind, Rank};
use crate::format::node::{NodeType, Position, node_type};
use crate::limits::{BOTTOM, READ_ATTEMPTS_MAX, TREE_HEIGHT_MAX};
use crate::nodes::Leaf;
use crate::run::cursor::malformed;
use crate::run::tree::Run;
use crate::state::Core;

/// What a step down the tree came to.
enum Down {
    Child(u32),
    /// A child that is a data node.
    Leaf(u32),
    Absent,
    /// The node itself is a data node.
    Here,
}

/// What a run says of a key.
struct InRun {
    found: bool,
    /// The newest range deletion over the key that the snapshot may see.
    cover: u64,
}

/// What is looked for, and on whose behalf.
struct Search<'s, 'v> {
    key: &'s [u8],
    hash: u64,
    seq: u64,
    request: Request,
    /// Where a value perhaps is, if digests may say so.
    guess: Option<&'s mut Option<Fragment>>,
    visit: &'s mut Visit<'v>,
}

/// What is shown a version, or that there is none.
type Visit<'v> = dyn FnMut(Option<&Entry<'_>>) + 'v;

impl<D: Device> Core<'_, D> {
    /// Finds the newest version of `key` that `seq` may see and shows it to `visit`: `None` for
    /// absent or deleted. `visit` may be called again if the search starts over; the last call
    /// counts.
    ///
    /// Returns the tree's version that the answer belongs to.
    // Async behind this alone, so that there is one future for whatever the request is made of.
    pub(crate) fn find<'s>(
        &'s self,
        key: &'s [u8],
        seq: u64,
        request: impl Into<Request>,
        visit: &'s mut Visit<'_>,
    ) -> impl Future<Output = Result<u64, Fault<D::Error>>> {
        let (hash, request) = (self.shape.hash(key), request.into());
        self.find_newest(Search { key, hash, seq, request, guess: None, visit })
    }

    /// As [`find`](Self::find) for the newest version of all, but digests of nodes
    /// ([`digest`](crate::digest)) may answer: then `guess` is set, and `visit` was shown nothing.
    /// What lies there is the value only if the key stands before it.
    pub(crate) fn find_or_guess<'s>(
        &'s self,
        key: &'s [u8],
        request: Request,
        guess: &'s mut Option<Fragment>,
        visit: &'s mut Visit<'_>,
    ) -> impl Future<Output = Result<u64, Fault<D::Error>>> {
        let hash = self.shape.hash(key);
        self.find_newest(Search { key, hash, seq: u64::MAX, request, guess: Some(guess), visit })
    }

    async fn find_newest(&self, mut search: Search<'_, '_>) -> Result<u64, Fault<D::Error>> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let version = self.state.borrow().tree.version;
            if let Some(guess) = &mut search.guess {
                **guess = None;
            }
            let result = self.find_once(&mut search, version).await;
            if self.state.borrow().tree.version == version {
                return result.map(|()| version);
            }
        }
        Err(malformed())
    }

    /// Searches once. What came of it counts for nothing if the tree has changed meanwhile.
    async fn find_once(
        &self,
        search: &mut Search<'_, '_>,
        version: u64,
    ) -> Result<(), Fault<D::Error>> {
        let mut index = 0;
        if self.state.borrow().find_in_memory(search.key, search.seq, search.visit) {
            return Ok(());
        }
        loop {
            let run = {
                let state = self.state.borrow();
                if state.tree.version != version {
                    return Ok(()); // the caller starts over
                }
                let Some(run) = state.tree.runs().get(index).copied() else {
                    break;
                };
                (!state.tree.is_spent(&run, search.key)).then_some(run)
            };
            index += 1;
            let Some(run) = run else { continue };
            let missed = self.state.borrow().cache.misses;
            let in_run = self.find_in_run(&run, search).await?;
            if in_run.found {
                return Ok(());
            }
            if run.level < BOTTOM {
                let mut state = self.state.borrow_mut();
                state.wasted_reads += state.cache.misses - missed;
            }
            if in_run.cover > 0 {
                break;
            }
        }
        (search.visit)(None);
        Ok(())
    }

    async fn find_in_run(
        &self,
        run: &Run,
        search: &mut Search<'_, '_>,
    ) -> Result<InRun, Fault<D::Error>> {
        match self.leaf_for(run, search).await? {
            Some((piece, node)) => self.find_in_data(run, &piece, node, search).await,
            None => Ok(InRun { found: false, cover: 0 }),
        }
    }

    /// The data node of a run where the versions of the key begin, if the run may have any.
    async fn leaf_for(
        &self,
        run: &Run,
        search: &Search<'_, '_>,
    ) -> Result<Option<(PieceRecord, u32)>, Fault<D::Error>> {
        let Some(piece) = self.piece_for(run, search).await? else {
            return Ok(None);
        };
        let hash = (!run.boundaries).then_some(search.hash);
        let mut node = piece.nodes.checked_sub(1).ok_or_else(malformed)?;
        for _ in 0..TREE_HEIGHT_MAX {
            let block = piece.start + node * self.shape.node_blocks();
            let go_down = |bytes: &[u8]| go_down(bytes, search.key, hash);
            let down = self
                .node(piece.generation, block, search.request, go_down)
                .await?
                .ok_or_else(malformed)?;
            match down {
                Down::Absent => return Ok(None),
                Down::Child(child) if child < node => node = child,
                Down::Leaf(child) if child < node => return Ok(Some((piece, child))),
                Down::Child(_) | Down::Leaf(_) => return Err(malformed()),
                Down::Here => return Ok(Some((piece, node))),
            }
        }
        Err(malformed())
    }

    /// Looks into a data node, and into the next while the versions of the key go on there.
    async fn find_in_data(
        &self,
        run: &Run,
        piece: &PieceRecord,
        first: u32,
        search: &mut Search<'_, '_>,
    ) -> Result<InRun, Fault<D::Error>> {
        let mut cover = 0;
        let meta_len_max = usize::from(self.limits.meta_len_max);
        let Search { key, hash, seq, request, guess, visit } = search;
        for node in first..piece.nodes {
            let block = piece.start + node * self.shape.node_blocks();
            let see = |bytes: &[u8]| {
                if node_type(bytes) != Some(NodeType::Data) {
                    return Some((false, true));
                }
                look(bytes, key, *seq, meta_len_max, &mut cover, *visit)
            };
            let seen = match guess {
                Some(guess) if node == first && !run.boundaries => {
                    let asked = (*hash, key.len());
                    match self.leaf(piece.generation, block, asked, *request, see).await? {
                        Leaf::Absent => return Ok(InRun { found: false, cover: 0 }),
                        Leaf::Perhaps(place) => {
                            **guess = Some(place);
                            return Ok(InRun { found: true, cover: 0 });
                        }
                        Leaf::Seen(seen) => seen,
                    }
                }
                _ => self.node(piece.generation, block, *request, see).await?,
            };
            let (found, goes_on) = seen.ok_or_else(malformed)?;
            if found || !goes_on {
                return Ok(InRun { found, cover });
            }
        }
        Ok(InRun { found: false, cover })
    }

    /// The last piece of a run that begins at or before the key.
    async fn piece_for(
        &self,
        run: &Run,
        search: &Search<'_, '_>,
    ) -> Result<Option<PieceRecord>, Fault<D::Error>> {
        let (mut low, mut high) = (0, run.count);
        loop {
            // Most are told apart by what the table keeps of their first keys.
            let unsure = {
                let state = self.state.borrow();
                let Some(run) = state.tree.run(run.run).filter(|now| now.count == run.count) else {
                    return Ok(None); // the tree has changed: the caller starts over
                };
                let piece = |index: u32| state.tree.piece_at(&run, index);
                loop {
                    if low == high {
                        return Ok(low.checked_sub(1).map(|last| piece(last).record()));
                    }
                    let middle = u32::midpoint(low, high);
                    match piece(middle).compare_first(search.key) {
                        Some(Ordering::Greater) => high = middle,
                        Some(_) => low = middle + 1,
                        None => break piece(middle).record(),
                    }
                }
            };
            let order = self
                .node(unsure.generation, unsure.start, search.request, |bytes| {
                    compare_first(bytes, search.key)
                })
                .await?
                .ok_or_else(malformed)?;
            let middle = u32::midpoint(low, high);
            if order.is_le() { low = middle + 1 } else { high = middle }
        }
    }
}

fn compare_first(node: &[u8], key: &[u8]) -> Option<Ordering> {
    let data = Data::new(node)?;
    let (head, tail) = data.key_parts(data.first_position()?)?;
    let split = head.len().min(key.len());
    Some(
        head.cmp(&key[..split]).then_with(|| {
            if split < head.len() { Ordering::Greater } else { tail.cmp(&key[split..]) }
        }),
    )
}

fn go_down(node: &[u8], key: &[u8], hash: Option<u64>) -> Option<Down> {
    if node_type(node)? == NodeType::Data {
        return Some(Down::Here);
    }
    let branch = Branch::new(node)?;
    if hash.is_some_and(|hash| !branch.may_contain(hash)) {
        return Some(Down::Absent);
    }
    let child = branch.child_for(key)?.1;
    let is_leaf = node_type(node) == Some(NodeType::Branch);
    Some(if is_leaf { Down::Leaf(child) } else { Down::Child(child) })
}

/// Looks for the version in one data node: found, and whether the key's versions may go on in the
/// next node.
fn look(
    node: &[u8],
    key: &[u8],
    seq: u64,
    meta_len_max: usize,
    cover: &mut u64,
    visit: &mut dyn FnMut(Option<&Entry<'_>>),
) -> Option<(bool, bool)> {
    let data = Data::new(node)?;
    let position = data.find_ge(key, Rank::of_seq(seq)).ok()?;
    if data.has_boundaries() {
        let before = data.boundary_before(position).ok()?;
        if let Some(entry) = before.and_then(|position| data.entry_at(position)) {
            *cover = entry.seqs().find(|&by| by <= seq).unwrap_or(0);
        }
    }
    let Some(position) = position else {
        // Off the end: versions may go on in the next node if the last entry here is of this key.
        let last = data.last_position().ok()?;
        return Some((false, last.is_some_and(|last| is_key(&data, last, key))));
    };
    if !is_key(&data, position, key) {
        return Some((false, false));
    }
    let entry = data.entry_at(position)?;
    if entry.kind == Kind::Boundary || entry.meta.len() > meta_len_max {
        return None;
    }
    let hidden = entry.seq < *cover || entry.kind == Kind::Tombstone;
    visit((!hidden).then_some(&entry));
    Some((true, false))
}

fn is_key(data: &Data<'_>, position: Position, key: &[u8]) -> bool {
    data.key_parts(position).is_some_and(|(head, tail)| {
        key.len() == head.len() + tail.len() && key.starts_with(head) && key.ends_with(tail)
    })
}
