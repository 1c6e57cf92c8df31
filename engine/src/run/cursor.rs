//! Walking a run in key order, either way, with a buffer of its own.
//!
//! A cursor holds one or more neighbouring nodes of a piece and the current key. Data nodes stand
//! in key order within a piece, so the next one is the next node that is not an index node. With
//! room for many nodes, one read brings many: that is how merges read.
//!
//! Invariants: `U1` `cover` is the range-delete state at the current entry, set by the last
//! Boundary before it; a data node that begins inside one repeats it (`B2` of the builder).

use crate::cache::Bank;
use crate::error::{Check, Damage, Fault, Structure};
use crate::format::branch::Branch;
use crate::format::data::Data;
use crate::format::edit::PieceRecord;
use crate::format::entry::{Entry, Kind, Rank};
use crate::format::node::{Group, KeyBuf, NodeType, Position, node_type};
use crate::limits::TREE_HEIGHT_MAX;
use crate::run::builder::{Cover, Shape};
use shingle_hal::{Extent, Lba};

/// Where a cursor gets pieces and nodes from.
pub(crate) trait Pieces {
    /// The device's error.
    type Error;
    /// The piece of a run, counted from its first, and how many it has.
    fn piece(&self, run: u32, index: u32) -> Option<PieceRecord>;
    /// Number of pieces of a run.
    fn piece_count(&self, run: u32) -> u32;
    /// Compares the first key of a piece with a key as far as is known without reading.
    fn compare_first(&self, run: u32, index: u32, key: &[u8]) -> Option<core::cmp::Ordering>;
    /// Reads nodes, checked.
    async fn read(
        &self,
        generation: u32,
        block: u32,
        out: &mut [u8],
    ) -> Result<(), Fault<Self::Error>>;
    /// What the nodes look like.
    fn shape(&self) -> &Shape;
}

/// Contents that make no sense although their seal holds.
pub(crate) fn malformed<E>() -> Fault<E> {
    let extent = Extent::new(Lba(0), 0);
    Fault::Damaged(Damage { extent, structure: Structure::RunNode, check: Check::Malformed })
}

/// Memory of a cursor.
pub(crate) struct CursorMemory<'b> {
    key: &'b mut [u8],
    nodes: &'b mut [u8],
    /// A longer buffer in the place of `nodes`.
    pub(crate) lent: Option<Bank<'b>>,
}

impl<'b> CursorMemory<'b> {
    /// Divides `memory`: the longest key, and at least one node.
    pub(crate) fn new(memory: &'b mut [u8], key_len_max: usize) -> Self {
        let (key, nodes) = memory.split_at_mut(key_len_max + 1);
        Self { key, nodes, lent: None }
    }

    /// Bytes of its own buffer.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// A place in a run.
pub(crate) struct RunCursor<'b> {
    pub(crate) run: u32,
    piece_index: u32,
    piece: Option<PieceRecord>,
    buffer: &'b mut [u8],
    /// The bank that the buffer is lent from, with the cursor's own one in its place.
    lent: Option<Bank<'b>>,
    /// First node in the buffer and how many it holds.
    first: u32,
    loaded: u32,
    /// Nodes to read when the next one is wanted.
    ahead: u32,
    node: u32,
    position: Option<Position>,
    /// Of the current node, for steps back.
    group: Group,
    key: KeyBuf<'b>,
    /// The range-delete state at the current entry.
    pub(crate) cover: Cover,
}

impl<'b> RunCursor<'b> {
    /// A cursor over a run. It reads a node first, and the more at once the further it goes.
    pub(crate) fn new(run: u32, memory: CursorMemory<'b>) -> Self {
        let CursorMemory { key, nodes: mut buffer, mut lent } = memory;
        if let Some(bank) = &mut lent {
            core::mem::swap(&mut buffer, &mut bank.slab);
        }
        Self {
            run,
            piece_index: 0,
            piece: None,
            buffer,
            lent,
            first: 0,
            loaded: 0,
            ahead: 1,
            node: 0,
            position: None,
            group: Group::default(),
            key: KeyBuf::new(key),
            cover: Cover::new(),
        }
    }

    /// A cursor that will go through the whole run, and reads as much at once as it has room for.
    pub(crate) fn of_whole(run: u32, memory: CursorMemory<'b>) -> Self {
        Self { ahead: u32::MAX, ..Self::new(run, memory) }
    }

    /// Gives the memory back.
    pub(crate) fn into_memory(self) -> CursorMemory<'b> {
        let Self { key, mut buffer, mut lent, .. } = self;
        if let Some(bank) = &mut lent {
            core::mem::swap(&mut buffer, &mut bank.slab);
        }
        CursorMemory { key: key.bytes, nodes: buffer, lent }
    }

    /// Gives back the bank that the buffer is lent from; see [`wake`](Self::wake).
    pub(crate) fn rest(&mut self) -> Option<Bank<'b>> {
        let mut bank = self.lent.take()?;
        core::mem::swap(&mut self.buffer, &mut bank.slab);
        self.loaded = 0;
        Some(bank)
    }

    /// Whether the current node is not in the buffer, because its bank was given back.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_valid() && self.loaded == 0
    }

    /// Reads the current node anew, into the bank if there is one.
    pub(crate) async fn wake<P: Pieces>(
        &mut self,
        pieces: &P,
        bank: Option<Bank<'b>>,
    ) -> Result<(), Fault<P::Error>> {
        if let Some(mut bank) = bank {
            core::mem::swap(&mut self.buffer, &mut bank.slab);
            self.lent = Some(bank);
        }
        self.load(pieces, self.node, true).await
    }

    /// Bytes of the buffer.
    pub(crate) fn buffer_len(&self) -> usize {
        self.buffer.len()
    }

    /// Stops here: no further entry counts, but the range-delete state goes on to hold.
    pub(crate) fn stop(&mut self) {
        self.position = None;
    }

    /// Leaves the run: nothing further in it counts.
    pub(crate) fn end(&mut self) {
        self.position = None;
        self.cover.clear();
    }

    /// The pieces before the current one are gone from the run.
    pub(crate) fn rebase(&mut self) {
        self.piece_index -= self.spent_pieces();
    }

    /// Pieces that say nothing of any key from the current one's predecessor on. The last piece
    /// that was left still says that keys up to the current one are deleted, if they are.
    pub(crate) fn spent_pieces(&self) -> u32 {
        self.piece_index.saturating_sub(u32::from(!self.cover.is_empty()))
    }

    /// Whether there is a current entry.
    #[inline]
    pub(crate) fn is_valid(&self) -> bool {
        self.position.is_some()
    }

    /// The current key.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.key.key()
    }

    /// The piece the current entry is in, counted from the run's first.
    pub(crate) fn piece_index(&self) -> u32 {
        self.piece_index
    }

    fn node_bytes(&self, node_len: usize) -> &[u8] {
        let at = (self.node - self.first) as usize * node_len;
        &self.buffer[at..at + node_len]
    }

    fn data(&self, node_len: usize) -> Option<Data<'_>> {
        Data::new(self.node_bytes(node_len))
    }

    /// The current entry.
    pub(crate) fn entry(&self, node_len: usize) -> Option<Entry<'_>> {
        self.data(node_len)?.entry_at(self.position?)
    }

    /// Brings a node into the buffer; `ahead` says on which side of it more are worth having.
    async fn load<P: Pieces>(
        &mut self,
        pieces: &P,
        node: u32,
        ahead: bool,
    ) -> Result<(), Fault<P::Error>> {
        let Some(piece) = self.piece else {
            return Err(malformed());
        };
        if node >= piece.nodes {
            return Err(malformed());
        }
        if self.loaded > 0 && (self.first..self.first + self.loaded).contains(&node) {
            self.enter_node(node);
            return Ok(());
        }
        let shape = *pieces.shape();
        let room = ((self.buffer.len() / shape.node_len) as u32).min(self.ahead);
        self.ahead = self.ahead.saturating_mul(2);
        let (first, count) = if ahead {
            (node, room.min(piece.nodes - node))
        } else {
            let first = (node + 1).saturating_sub(room);
            (first, node + 1 - first)
        };
        self.loaded = 0;
        let len = count as usize * shape.node_len;
        let block = piece.start + first * shape.node_blocks();
        pieces.read(piece.generation, block, &mut self.buffer[..len]).await?;
        self.first = first;
        self.loaded = count;
        self.enter_node(node);
        Ok(())
    }

    fn enter_node(&mut self, node: u32) {
        (self.node, self.group) = (node, Group::default());
    }

    async fn enter_piece<P: Pieces>(&mut self, pieces: &P, index: u32) -> bool {
        self.piece = pieces.piece(self.run, index);
        self.piece_index = index;
        self.loaded = 0;
        self.position = None;
        self.piece.is_some()
    }

    /// Goes to the first entry of the run.
    pub(crate) async fn first<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        self.cover.clear();
        if self.enter_piece(pieces, 0).await {
            self.load(pieces, 0, true).await?;
            self.first_of_node(pieces).await?;
        }
        Ok(())
    }

    async fn first_of_node<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        let node_len = pieces.shape().node_len;
        let at = (self.node - self.first) as usize * node_len;
        let Some(data) = Data::new(&self.buffer[at..at + node_len]) else {
            return Err(malformed());
        };
        self.position = data.first(&mut self.key).map_err(|_| malformed())?;
        Ok(())
    }

    /// The index of the last piece that begins at or before `key`, 0 if none does.
    async fn piece_for<P: Pieces>(
        &mut self,
        pieces: &P,
        key: &[u8],
    ) -> Result<u32, Fault<P::Error>> {
        let (mut low, mut high) = (0, pieces.piece_count(self.run));
        while low < high {
            let middle = u32::midpoint(low, high);
            let order = match pieces.compare_first(self.run, middle, key) {
                Some(order) => order,
                None => {
                    if !self.enter_piece(pieces, middle).await {
                        return Err(malformed());
                    }
                    self.load(pieces, 0, true).await?;
                    self.first_of_node(pieces).await?;
                    self.key.key().cmp(key)
                }
            };
            if order.is_le() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.saturating_sub(1))
    }

    /// Goes down the tree of the current piece to the data node that `key` belongs to.
    async fn descend<P: Pieces>(&mut self, pieces: &P, key: &[u8]) -> Result<(), Fault<P::Error>> {
        let Some(piece) = self.piece else {
            return Err(malformed());
        };
        let node_len = pieces.shape().node_len;
        let mut node = piece.nodes - 1;
        for _ in 0..TREE_HEIGHT_MAX {
            self.load_one(pieces, node).await?;
            match node_type(self.node_bytes(node_len)) {
                Some(NodeType::Data) => return Ok(()),
                Some(_) => {
                    let branch = Branch::new(self.node_bytes(node_len)).ok_or_else(malformed)?;
                    let (_, child) = branch.child_for(key).ok_or_else(malformed)?;
                    if child >= node {
                        return Err(malformed());
                    }
                    node = child;
                }
                None => return Err(malformed()),
            }
        }
        Err(malformed())
    }

    /// Loads a single node, for a descent.
    async fn load_one<P: Pieces>(&mut self, pieces: &P, node: u32) -> Result<(), Fault<P::Error>> {
        if self.loaded > 0 && (self.first..self.first + self.loaded).contains(&node) {
            self.enter_node(node);
            return Ok(());
        }
        let Some(piece) = self.piece else {
            return Err(malformed());
        };
        let shape = *pieces.shape();
        self.loaded = 0;
        let block = piece.start + node * shape.node_blocks();
        pieces.read(piece.generation, block, &mut self.buffer[..shape.node_len]).await?;
        self.first = node;
        self.loaded = 1;
        self.enter_node(node);
        Ok(())
    }

    /// Goes to the first entry not before `(key, rank)`.
    pub(crate) async fn seek<P: Pieces>(
        &mut self,
        pieces: &P,
        key: &[u8],
        rank: Rank,
    ) -> Result<(), Fault<P::Error>> {
        self.cover.clear();
        let index = self.piece_for(pieces, key).await?;
        if !self.enter_piece(pieces, index).await {
            return Ok(());
        }
        self.descend(pieces, key).await?;
        let node_len = pieces.shape().node_len;
        let at = (self.node - self.first) as usize * node_len;
        let data = Data::new(&self.buffer[at..at + node_len]).ok_or_else(malformed)?;
        let found = data.seek(key, rank, &mut self.key).map_err(|_| malformed())?;
        let before = data.boundary_before(found).map_err(|_| malformed())?;
        if let Some(entry) = before.and_then(|position| data.entry_at(position)) {
            self.cover.extend(entry.seqs().take(self.cover.capacity()));
        }
        self.position = found;
        if found.is_none() {
            self.next_node(pieces).await?;
        }
        Ok(())
    }

    /// Goes to the last entry before `(key, rank)`; without a key, to the last of the run.
    pub(crate) async fn seek_before<P: Pieces>(
        &mut self,
        pieces: &P,
        bound: Option<(&[u8], Rank)>,
    ) -> Result<(), Fault<P::Error>> {
        let node_len = pieces.shape().node_len;
        let Some((key, rank)) = bound else {
            let count = pieces.piece_count(self.run);
            if count > 0 && self.enter_piece(pieces, count - 1).await {
                return self.last_of_piece(pieces).await;
            }
            self.end();
            return Ok(());
        };
        let index = self.piece_for(pieces, key).await?;
        if !self.enter_piece(pieces, index).await {
            return Ok(());
        }
        self.descend(pieces, key).await?;
        let at = (self.node - self.first) as usize * node_len;
        let data = Data::new(&self.buffer[at..at + node_len]).ok_or_else(malformed)?;
        self.position = data.seek_lt(key, rank, &mut self.key).map_err(|_| malformed())?;
        if self.position.is_none() {
            return self.previous_node(pieces).await;
        }
        self.set_cover(node_len)
    }

    /// After a step back: the state at the current entry.
    fn set_cover<E>(&mut self, node_len: usize) -> Result<(), Fault<E>> {
        let mut cover = Cover::new();
        let data = self.data(node_len).ok_or_else(malformed)?;
        if let Some(position) = self.position
            && data.has_boundaries()
        {
            let found = data.boundary_at_or_before(position).map_err(|_| malformed())?;
            if let Some(entry) = found.and_then(|position| data.entry_at(position)) {
                cover.extend(entry.seqs().take(cover.capacity()));
            }
        }
        self.cover = cover;
        Ok(())
    }

    /// Steps to the next entry; what is stepped over sets the state if it is a Boundary.
    pub(crate) async fn next<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        let Some(position) = self.position else {
            return Ok(());
        };
        let node_len = pieces.shape().node_len;
        let at = (self.node - self.first) as usize * node_len;
        let data = Data::new(&self.buffer[at..at + node_len]).ok_or_else(malformed)?;
        if data.has_boundaries() {
            let entry = data.entry_at(position).ok_or_else(malformed)?;
            if entry.kind == Kind::Boundary {
                self.cover.clear();
                self.cover.extend(entry.seqs().take(self.cover.capacity()));
            }
        }
        self.position = data.next(position, &mut self.key).map_err(|_| malformed())?;
        if self.position.is_none() {
            self.next_node(pieces).await?;
        }
        // Whoever steps forward counts on it: what is merged out of order is never found again.
        if self.position.is_some() && self.key.fell {
            return Err(malformed());
        }
        Ok(())
    }

    async fn next_node<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        let node_len = pieces.shape().node_len;
        // Index nodes between two data nodes are at most the height of the tree; the bound of the
        // loop over pieces is their number.
        loop {
            let Some(piece) = self.piece else {
                return Ok(());
            };
            if self.node + 1 < piece.nodes {
                self.load(pieces, self.node + 1, true).await?;
                if node_type(self.node_bytes(node_len)) != Some(NodeType::Data) {
                    continue;
                }
            } else {
                if !self.enter_piece(pieces, self.piece_index + 1).await {
                    return Ok(());
                }
                self.load(pieces, 0, true).await?;
            }
            self.first_of_node(pieces).await?;
            if self.position.is_some() {
                return Ok(());
            }
        }
    }

    /// Steps to the entry before.
    pub(crate) async fn previous<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        let Some(position) = self.position else {
            return Ok(());
        };
        let node_len = pieces.shape().node_len;
        let at = (self.node - self.first) as usize * node_len;
        let data = Data::new(&self.buffer[at..at + node_len]).ok_or_else(malformed)?;
        self.position =
            data.prev(position, &mut self.group, &mut self.key).map_err(|_| malformed())?;
        if self.position.is_none() {
            return self.previous_node(pieces).await;
        }
        self.set_cover(node_len)
    }

    async fn previous_node<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        let node_len = pieces.shape().node_len;
        loop {
            if self.node == 0 {
                if self.piece_index == 0 || !self.enter_piece(pieces, self.piece_index - 1).await {
                    self.end();
                    return Ok(());
                }
                return self.last_of_piece(pieces).await;
            }
            self.load(pieces, self.node - 1, false).await?;
            if node_type(self.node_bytes(node_len)) == Some(NodeType::Data) {
                return self.last_of_node(pieces).await;
            }
        }
    }

    async fn last_of_piece<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        let Some(piece) = self.piece else {
            return Ok(());
        };
        let node_len = pieces.shape().node_len;
        self.load(pieces, piece.nodes - 1, false).await?;
        while node_type(self.node_bytes(node_len)) != Some(NodeType::Data) {
            if self.node == 0 {
                return Err(malformed());
            }
            self.load(pieces, self.node - 1, false).await?;
        }
        self.last_of_node(pieces).await
    }

    async fn last_of_node<P: Pieces>(&mut self, pieces: &P) -> Result<(), Fault<P::Error>> {
        let node_len = pieces.shape().node_len;
        let at = (self.node - self.first) as usize * node_len;
        let data = Data::new(&self.buffer[at..at + node_len]).ok_or_else(malformed)?;
        self.position = data.last(&mut self.key).map_err(|_| malformed())?;
        self.set_cover(node_len)
    }
}
