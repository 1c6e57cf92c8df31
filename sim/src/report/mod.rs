//! Pictures and figures: what the zones of a drive hold, and how a demonstration went.
//!
//! | file | part |
//! |---|---|
//! | [`zones`] | what each zone is used for, collected from store and drive |
//! | [`terminal`] | the picture in characters |
//! | [`svg`] | the picture as SVG |
//! | [`summary`] | the page of figures |

pub(crate) mod summary;
pub(crate) mod svg;
pub(crate) mod terminal;
pub(crate) mod zones;
