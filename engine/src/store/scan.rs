//! Ordered ranges, forward and backward.
