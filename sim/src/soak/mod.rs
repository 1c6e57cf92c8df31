//! A store on a real disk that may lose power at any moment, and what judges that it kept its word.
//!
//! | file | part |
//! |---|---|
//! | [`script`] | the operations, by number |
//! | [`life`] | `shingle soak`: does them, and says what it finds and what is durable |
//! | [`judge`] | `shingle judge`: whether what the lives said holds together |
//!
//! ```text
//! mount               the store is about to be opened
//! life                it begins to tell what it finds
//! have KEY NUMBER     the key holds what operation NUMBER put, byte for byte
//! all                 that was every key
//! begin NUMBER        operations begin, with this one
//! durable NUMBER      all operations up to this one are
//! ```
//!
//! Lines go out one by one, and that about an operation before the next is begun, so a machine that
//! dies has said all that it promised.

pub(crate) mod judge;
#[cfg(target_os = "linux")]
pub(crate) mod life;
mod script;
