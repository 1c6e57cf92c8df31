//! The work that subjects are held against each other on, and what each experiment found.

use shingle_sim::media::MediaSpec;

pub mod deletes;
pub mod depth;
pub mod flash;
pub mod growth;
#[cfg(target_os = "linux")]
pub mod instructions;
pub mod large;
pub mod nor;
pub mod small;
pub mod urgent;
pub mod values;
#[cfg(target_os = "linux")]
pub mod wall;
pub mod writers;
pub mod ycsb;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// So little that it takes a minute in all: it shows that everything runs.
    Quick,
    /// All of it.
    Full,
}

/// The drive model that `text` describes.
fn spec(text: &str) -> MediaSpec {
    MediaSpec::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}
