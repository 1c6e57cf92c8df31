//! Nodes of runs: from the cache, or from the device and into the cache, whole or as a
//! [digest](crate::digest).
//!
//! Invariants: `C1` (`cache`) whatever is read here is checked before anybody sees it.

use shingle_hal::{Class, Device, Request};

use crate::digest::Answer;
use crate::error::{Fault, Structure};
use crate::format::edit::PieceRecord;
use crate::format::entry::Fragment;
use crate::media::Place;
use crate::run::builder::Shape;
use crate::run::cursor::Pieces;
use crate::state::Core;

impl<D: Device> Core<'_, D> {
    /// Reads nodes of a run, checked.
    pub(crate) async fn read_nodes(
        &self,
        generation: u32,
        block: u32,
        out: &mut [u8],
        request: Request,
    ) -> Result<(), Fault<D::Error>> {
        let map = self.state.borrow().zones.map_of(generation);
        let map = map.ok_or_else(crate::run::cursor::malformed)?;
        let place = Place { map, generation, block };
        let len = self.shape.node_len;
        if self.read_nodes_in_haste(place, out, request).await? {
            return Ok(());
        }
        let whole = self.media.read_units(place, out, len, Structure::RunNode, request).await;
        if !matches!(whole, Err(Fault::Damaged(_))) {
            return whole;
        }
        // Each node from the copy that gives it.
        let blocks = (block..).step_by(self.shape.node_blocks() as usize);
        for (block, node) in blocks.zip(out.chunks_exact_mut(len)) {
            let place = Place { map, generation, block };
            match self.media.read_units(place, node, len, Structure::RunNode, request).await {
                Err(fault @ Fault::Damaged(_)) => {
                    self.read_from_twin(generation, block, node, request, fault).await?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// The node at a place, from the cache or the device, given to `visit`.
    pub(crate) async fn node<R>(
        &self,
        generation: u32,
        block: u32,
        request: Request,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Fault<D::Error>> {
        if let Some(node) = self.state.borrow_mut().cache.get(generation, block) {
            return Ok(visit(node));
        }
        self.recall_banks();
        let mut buffer = self.nodes.take(&self.lot).await;
        // Whoever had the buffer before may have wanted the same node.
        if let Some(node) = self.state.borrow_mut().cache.get(generation, block) {
            return Ok(visit(node));
        }
        self.state.borrow_mut().cache.count_miss();
        let node = &mut buffer[..self.shape.node_len];
        self.read_nodes(generation, block, node, request).await?;
        self.state.borrow_mut().cache.insert(generation, block, node);
        Ok(visit(node))
    }

    /// As [`node`](Self::node) for a data node of whose digest a key is asked, by its hash and its
    /// length. The digest is kept instead of the node, if it can have one and does not leave the
    /// question open.
    pub(crate) async fn leaf<R>(
        &self,
        generation: u32,
        block: u32,
        (hash, key_len): (u64, usize),
        request: Request,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Leaf<R>, Fault<D::Error>> {
        let mut buffer = None;
        let is_open = loop {
            {
                let cache = &mut self.state.borrow_mut().cache;
                // Before the node, which is not used then, and goes first.
                let answer = cache.ask_digest(generation, block, hash, key_len);
                match answer {
                    Some(Answer::Absent) => return Ok(Leaf::Absent),
                    Some(Answer::Perhaps(place)) => return Ok(Leaf::Perhaps(place)),
                    Some(Answer::Unknown) | None => {}
                }
                if let Some(node) = cache.get(generation, block) {
                    return Ok(Leaf::Seen(visit(node)));
                }
                if buffer.is_some() {
                    break answer.is_some();
                }
            }
            self.recall_banks();
            // Whoever has the buffer now may want the same node.
            buffer = Some(self.nodes.take(&self.lot).await);
        };
        self.state.borrow_mut().cache.count_miss();
        let mut buffer = buffer.expect("taken above");
        let node = &mut buffer[..self.shape.node_len];
        self.read_nodes(generation, block, node, request).await?;
        let cache = &mut self.state.borrow_mut().cache;
        if is_open {
            cache.insert(generation, block, node);
        } else {
            cache.insert_digest(generation, block, node, self.shape.seed());
        }
        Ok(Leaf::Seen(visit(node)))
    }
}

/// What a data node or its digest says.
pub(crate) enum Leaf<R> {
    /// The digest: it has no entry of the key.
    Absent,
    /// The digest: if it has the key, its newest value is here.
    Perhaps(Fragment),
    /// The node itself.
    Seen(R),
}

/// Nodes for a cursor that walks a run in long reads, past the cache.
pub(crate) struct Direct<'c, 'm, D>(pub(crate) &'c Core<'m, D>);

/// Nodes for a cursor that a caller moves; single nodes come from the cache.
pub(crate) struct Cached<'c, 'm, D> {
    pub(crate) core: &'c Core<'m, D>,
    pub(crate) request: Request,
}

impl<'m, D: Device> Core<'m, D> {
    fn piece_of(&self, run: u32, index: u32) -> Option<PieceRecord> {
        let state = self.state.borrow();
        let run = state.tree.run(run)?;
        state.tree.piece(&run, index)
    }

    fn piece_count_of(&self, run: u32) -> u32 {
        self.state.borrow().tree.run(run).map_or(0, |run| run.count)
    }

    fn compare_first_of(&self, run: u32, index: u32, key: &[u8]) -> Option<core::cmp::Ordering> {
        let state = self.state.borrow();
        let run = state.tree.run(run)?;
        (index < run.count).then(|| state.tree.piece_at(&run, index).compare_first(key))?
    }
}

impl<D: Device> Pieces for Direct<'_, '_, D> {
    type Error = D::Error;
    fn piece(&self, run: u32, index: u32) -> Option<PieceRecord> {
        self.0.piece_of(run, index)
    }
    fn piece_count(&self, run: u32) -> u32 {
        self.0.piece_count_of(run)
    }
    fn compare_first(&self, run: u32, index: u32, key: &[u8]) -> Option<core::cmp::Ordering> {
        self.0.compare_first_of(run, index, key)
    }
    async fn read(
        &self,
        generation: u32,
        block: u32,
        out: &mut [u8],
    ) -> Result<(), Fault<D::Error>> {
        self.0.read_nodes(generation, block, out, Class::Maintenance.into()).await
    }
    fn shape(&self) -> &Shape {
        &self.0.shape
    }
}

impl<D: Device> Pieces for Cached<'_, '_, D> {
    type Error = D::Error;
    fn piece(&self, run: u32, index: u32) -> Option<PieceRecord> {
        self.core.piece_of(run, index)
    }
    fn piece_count(&self, run: u32) -> u32 {
        self.core.piece_count_of(run)
    }
    fn compare_first(&self, run: u32, index: u32, key: &[u8]) -> Option<core::cmp::Ordering> {
        self.core.compare_first_of(run, index, key)
    }
    async fn read(
        &self,
        generation: u32,
        block: u32,
        out: &mut [u8],
    ) -> Result<(), Fault<D::Error>> {
        if out.len() == self.core.shape.node_len {
            return self
                .core
                .node(generation, block, self.request, |node| out.copy_from_slice(node))
                .await;
        }
        self.core.read_nodes(generation, block, out, self.request).await
    }
    fn shape(&self) -> &Shape {
        &self.core.shape
    }
}
