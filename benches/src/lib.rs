//! Holds the Shingle storage engine against others on the same work, and says what came of it.
#![forbid(unsafe_code)]

pub mod experiment;
pub mod load;
pub mod subject;
