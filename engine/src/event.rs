//! What happens inside, told to `defmt` where the feature of that name is on; nothing otherwise.
//!
//! Errors that an operation returns are not told here: they are values that `defmt` can show. Told
//! is what no caller sees: what the device answered, what is wrong with zones, and what work in the
//! background ended. The words stay out of the program; the host has them from its ELF.

/// Tells an event, by its level and as `defmt` formats it.
macro_rules! event {
    ($level:ident, $format:literal $(, $arg:expr)* $(,)?) => {{
        #[cfg(feature = "defmt")]
        defmt::$level!($format $(, $arg)*);
        #[cfg(not(feature = "defmt"))]
        if false {
            let _ = ($(&$arg,)*);
        }
    }};
}
