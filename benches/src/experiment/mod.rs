//! The work that subjects are held against each other on, and what each experiment found.

pub mod values;
pub mod flash;
