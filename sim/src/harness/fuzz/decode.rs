//! Every decoder of the format on any bytes.
//!
//! Invariants: `D1` no decoder panics, reads outside its input or walks further than its input is
//! long. `D2` what was decoded is encoded again to bytes that decode to the same; where the format
//! has one encoding for each value, to the same bytes.

use arbitrary::{Result, Unstructured};
use shingle_engine::format::branch::Branch;
use shingle_engine::format::data::Data;
use shingle_engine::format::edit::{Change, Changes, EDIT_HEADER_LEN, EditHeader};
use shingle_engine::format::entry::{Entry, Rank, SEQ_MAX};
use shingle_engine::format::node::{Group, KEY_LEN_MAX, KeyBuf, Malformed, Position};
use shingle_engine::format::record::{OpHeader, RECORD_HEADER_LEN, RecordHeader};
use shingle_engine::format::seal::{self, Identity};
use shingle_engine::format::superblock::{ANCHOR_GENERATION, Superblock};
use shingle_engine::format::{filter, varint};
use shingle_engine::limits::{BLOCK_LEN_MIN, SEAL_LEN};

/// What is on media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    Superblock,
    Edit,
    Record,
    Op,
    Entry,
    Data,
    Branch,
    Filter,
    Seal,
    Varint,
}

/// All of them; an input's first byte is one by its number.
pub(super) const STRUCTURES: [Structure; 10] = [
    Structure::Superblock,
    Structure::Edit,
    Structure::Record,
    Structure::Op,
    Structure::Entry,
    Structure::Data,
    Structure::Branch,
    Structure::Filter,
    Structure::Seal,
    Structure::Varint,
];

/// A structure, whether its checksum is made to hold, and its bytes.
#[derive(Debug)]
struct Input {
    structure: Structure,
    repair: bool,
    bytes: Vec<u8>,
}

impl Input {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut bytes = Unstructured::new(bytes);
        let structure = *bytes.choose(&STRUCTURES)?;
        let repair = bytes.arbitrary()?;
        Ok(Self { structure, repair, bytes: bytes.take_rest().to_vec() })
    }
}

type Checked = std::result::Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

/// Decodes one structure.
pub(super) fn run(bytes: &[u8]) -> Checked {
    let Ok(Input { structure, repair, mut bytes }) = Input::read(bytes) else { return Ok(()) };
    match structure {
        Structure::Superblock => superblock(&mut bytes, repair),
        Structure::Edit => edit(&bytes),
        Structure::Record => record(&mut bytes, repair),
        Structure::Op => op(&bytes),
        Structure::Entry => entry(&bytes),
        Structure::Data => data(&bytes),
        Structure::Branch => branch(&bytes),
        Structure::Filter => filter_bits(bytes),
        Structure::Seal => sealed(&mut bytes),
        Structure::Varint => varints(&bytes),
    }
}

fn superblock(bytes: &mut [u8], repair: bool) -> Checked {
    let identity = Identity { store_tag: 0, generation: ANCHOR_GENERATION, block: 3 };
    if repair && bytes.len() >= SEAL_LEN {
        seal::seal(bytes, 0, identity);
    }
    let Some(decoded) = Superblock::decode(bytes, 3) else { return Ok(()) };
    let _ = (decoded.store_tag(), decoded.limits.fragments_max());
    let mut again = vec![0; BLOCK_LEN_MIN];
    decoded.encode(&mut again, 3);
    let twice = Superblock::decode(&again, 3);
    ensure(twice == Some(decoded), || format!("{decoded:?} came back as {twice:?}"))
}

fn edit(bytes: &[u8]) -> Checked {
    let Some((header, body)) = EditHeader::decode(bytes) else { return Ok(()) };
    let mut head = vec![0; bytes.len()];
    header.encode(&mut head);
    head[EDIT_HEADER_LEN..].copy_from_slice(&bytes[EDIT_HEADER_LEN..]);
    let again = EditHeader::decode(&head);
    ensure(again == Some((header, body)), || format!("{header:?} came back as {again:?}"))?;
    // A change has a byte at least.
    let count = Changes::new(body).count();
    ensure(count <= body.len(), || format!("{count} changes in {} bytes", body.len()))?;
    for change in Changes::new(body) {
        let mut out = vec![0; body.len() + 1];
        let encoded = postcard::to_slice(&change, &mut out);
        let encoded = encoded.map_err(|error| format!("{change:?}: {error}"))?;
        let twice: Option<Change<'_>> = Changes::new(encoded).next();
        ensure(twice == Some(change), || format!("{change:?} came back as {twice:?}"))?;
    }
    Ok(())
}

fn record(bytes: &mut [u8], repair: bool) -> Checked {
    if let Some(head) = bytes.first_chunk_mut::<RECORD_HEADER_LEN>().filter(|_| repair) {
        let check = seal::checksum(&head[..28]);
        head[28..].copy_from_slice(&check.to_le_bytes());
    }
    let Some(header) = RecordHeader::decode(bytes) else { return Ok(()) };
    let again = RecordHeader::decode(&header.encode());
    ensure(again == Some(header), || format!("{header:?} came back as {again:?}"))?;
    ensure(header.len as usize >= RECORD_HEADER_LEN, || format!("{header:?} is too short"))
}

fn op(bytes: &[u8]) -> Checked {
    let Some(header) = OpHeader::decode(bytes) else { return Ok(()) };
    let again = OpHeader::decode(&header.encode());
    ensure(again == Some(header), || format!("{header:?} came back as {again:?}"))?;
    ensure(header.op_len() >= header.head_len(), || format!("{header:?} wraps around"))
}

fn entry(bytes: &[u8]) -> Checked {
    // A list of fragments in the log is read without a check before.
    let loose = Entry::fragmented(1, 0, bytes);
    ensure(loose.fragments().count() <= bytes.len(), || "fragments out of nothing".to_owned())?;
    let loose = Entry::boundary(bytes);
    ensure(loose.seqs().count() <= bytes.len(), || "numbers out of nothing".to_owned())?;
    let Some((entry, len)) = Entry::decode(bytes) else { return Ok(()) };
    let mut again = vec![0; len];
    let encoded = entry.encode(&mut again);
    ensure(encoded == Some(len) && bytes[..len] == again, || {
        format!("{entry:?} of {len} bytes is encoded in {encoded:?} others")
    })?;
    ensure(entry.encoded_len() == len, || format!("{entry:?} tells a wrong length"))?;
    let of_parts: u64 = entry.fragments().map(|part| u64::from(part.len)).sum();
    let whole = entry.fragments().count() == 0 || of_parts == entry.value_len;
    ensure(whole, || format!("{entry:?} has {of_parts} bytes in fragments"))?;
    ensure(entry.seqs().is_sorted_by(|a, b| a > b), || format!("{entry:?} is out of order"))?;
    let _ = (entry.place(), entry.places().count(), entry.version(), entry.rank());
    Ok(())
}

/// Positions of a walk over a node of `count` entries, by `step`.
fn walk(
    count: usize,
    first: std::result::Result<Option<Position>, Malformed>,
    mut step: impl FnMut(Position) -> std::result::Result<Option<Position>, Malformed>,
) -> std::result::Result<Vec<Position>, String> {
    let mut seen = Vec::new();
    let mut next = first;
    while let Ok(Some(position)) = next {
        ensure(seen.len() < count, || format!("a walk over {count} entries never ends"))?;
        seen.push(position);
        next = step(position);
    }
    Ok(seen)
}

fn data(bytes: &[u8]) -> Checked {
    let Some(node) = Data::new(bytes) else { return Ok(()) };
    let mut room = vec![0; KEY_LEN_MAX];
    let (mut key, mut group) = (KeyBuf::new(&mut room), Group::default());
    let first = node.first(&mut key);
    let forward = walk(node.count(), first, |at| node.next(at, &mut key))?;
    let last = node.last(&mut key);
    let back = walk(node.count(), last, |at| node.prev(at, &mut group, &mut key))?;
    for &at in forward.iter().chain(&back) {
        probe(&node, at, &mut key);
    }
    let _ = (node.first_position(), node.last_position(), node.boundary_before(None));
    // Positions are kept while a node is read again: those of other bytes must do no harm.
    let mut other = bytes.to_vec();
    other[16..].reverse();
    if let Some(other) = Data::new(&other) {
        for &at in &forward {
            probe(&other, at, &mut key);
            let _ = (other.next(at, &mut key), other.prev(at, &mut group, &mut key));
        }
    }
    Ok(())
}

/// Asks a node everything about a position.
fn probe(node: &Data<'_>, at: Position, key: &mut KeyBuf<'_>) {
    let _ = (node.boundary_at_or_before(at), node.boundary_before(Some(at)));
    let rank = node.entry_at(at).map_or(Rank::LAST, |entry| entry.rank());
    let Some((head, suffix)) = node.key_parts(at) else { return };
    let target = [head, suffix].concat();
    let _ = node.find_ge(&target, rank);
    let _ = node.seek(&target, Rank::BOUNDARY, key);
    let _ = node.seek_ge(&target, SEQ_MAX, key);
    let _ = node.seek_lt(&target, rank, key);
}

fn branch(bytes: &[u8]) -> Checked {
    let Some(node) = Branch::new(bytes) else { return Ok(()) };
    let mut room = vec![0; KEY_LEN_MAX];
    for index in 0..=node.count() {
        let _ = node.child_at(index);
        let mut key = KeyBuf::new(&mut room);
        if node.separator_at(index, &mut key).is_none() {
            continue;
        }
        if let Some((found, _)) = node.child_for(key.key()) {
            ensure(found < node.count(), || format!("child {found} of {}", node.count()))?;
        }
    }
    let _ = (node.may_contain(filter::hash(1, bytes)), node.level());
    Ok(())
}

fn filter_bits(mut area: Vec<u8>) -> Checked {
    let hash = filter::hash(area.len() as u64, &area);
    let _ = filter::may_contain(&area, hash);
    filter::add(&mut area, hash);
    ensure(filter::may_contain(&area, hash), || "a filter denies what was added".to_owned())
}

fn sealed(bytes: &mut [u8]) -> Checked {
    let identity = Identity { store_tag: 7, generation: 9, block: 11 };
    let _ = seal::check(bytes, identity);
    if bytes.len() < SEAL_LEN {
        return Ok(());
    }
    let tag = u32::from(bytes[0]);
    seal::seal(bytes, tag, identity);
    let found = seal::check(bytes, identity);
    ensure(found == Ok(tag), || format!("a seal with tag {tag} came back as {found:?}"))
}

fn varints(bytes: &[u8]) -> Checked {
    let mut rest = bytes;
    while let Some((value, len)) = varint::decode(rest) {
        let mut again = [0; varint::LEN_MAX];
        let encoded = varint::encode(value, &mut again);
        let same = encoded == Some(len) && again[..len] == rest[..len];
        ensure(same && varint::encoded_len(value) == len, || format!("{value} in {len} bytes"))?;
        let narrow = varint::decode_u32(rest).map(|(narrow, _)| u64::from(narrow));
        ensure(narrow == u32::try_from(value).ok().map(u64::from), || format!("{value} as u32"))?;
        rest = &rest[len..];
    }
    Ok(())
}
