//! What a simulated drive is made of: sizes, limits and the parameters of its time model.
//!
//! | file | part |
//! |---|---|
//! | [`spec`] | [`MediaSpec`] and what follows from it |
//! | [`preset`] | the drives known by name, with the sources of their figures |
//! | [`text`] | a drive given as text: `smr-15tb`, `smr:zones=1000,zone-mib=4` |
//! | [`rate`] | the medium's own sequential rates |

pub mod preset;
pub mod rate;
pub mod spec;
pub mod text;

pub use spec::{MediaError, MediaKind, MediaSpec};
