//! The log, which is also where values live: appending ([`head`]), what
//! replay needs of it ([`index`]), its copy elsewhere ([`mirror`]), reading back ([`reader`]).
//!
//! There is one log in commit order and one of survivors that reclaim moved; both are rows of
//! zones with the same layout (`FORMAT.md` §5).

pub(crate) mod head;
pub(crate) mod index;
pub(crate) mod mirror;
pub(crate) mod reader;

pub(crate) use head::Head;
pub(crate) use reader::RecordReader;
