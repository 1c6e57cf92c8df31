//! Simulated drives for the Shingle storage engine: media models, virtual time, power cuts, images,
//! and the harnesses that exercise the engine on them.

pub mod media;
pub mod timing;
