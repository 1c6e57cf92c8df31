//! Marks of a zone: what is known of its health. Layout: `FORMAT.md` §4, change `Mark`.
//!
//! One byte, so that the manifest can say all of it in one change; what becomes of a marked zone is
//! `evacuate`'s to decide.

/// Nothing more is written to it; it is emptied and then retired.
pub const SICK: u8 = 1;
/// Something in it could not be read: it is rebuilt, or emptied.
pub const DAMAGED: u8 = 2;
/// Someone asked for it to be emptied and retired.
pub const LEAVE: u8 = 4;
/// Something in it could be read with effort alone: it is written anew elsewhere.
pub const EFFORT: u8 = 8;
/// Of what could not be read, the device itself could not return some.
pub const UNREADABLE: u8 = 16;
/// Of what could not be read, the device returned some as if nothing was wrong.
pub const MISMATCH: u8 = 32;
/// All of them.
pub const KNOWN: u8 = 63;
