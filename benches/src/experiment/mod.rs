//! The work that subjects are held against each other on, and what each experiment found.

pub mod flash;
pub mod values;
