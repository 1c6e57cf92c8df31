//! The demonstration: real files on a simulated drive whose power fails.
use crate::cli::{Failure};
pub(crate) fn run(_: &crate::cli::DemoArgs) -> Result<(), Failure> { Ok(()) }
