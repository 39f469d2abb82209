//! How long blocks can be.

/// The most bytes a block holds.
pub const MAX_BLOCK: usize = 1 << 20;

/// The smallest block size that stores and containers offer. Any shorter slice (a file's tail) is a block, too.
pub const MIN_BLOCK: usize = 4096;
