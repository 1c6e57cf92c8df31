//! Service times: when a request that a drive was given completes, in virtual time.
//!
//! A model is a calculation, never a clock: the same requests at the same instants give the same
//! completions on every machine, so that a figure in virtual time can be compared and a failure
//! replayed.
//!
//! | file | model |
//! |---|---|
//! | [`instant`] | none: completes at once |
//! | [`disk`] | one arm over rotating surfaces, shingled or conventional |
//! | [`zns`] | flash dies behind channels behind one link |
//! | [`nor`] | one serial chip |
//! | [`work`] | what goes in and out of a model |
//! | [`spec`] | the parameters of each, and [`TimingSpec::build`] |

pub mod disk;
pub mod instant;
pub mod nor;
pub mod spec;
pub mod work;
pub mod zns;

pub use spec::{DiskTiming, NorTiming, TimingSpec, ZnsTiming};
pub use work::{Op, Timing, Work};
