//! Media of other kinds in memory: a block device and NOR flash.
