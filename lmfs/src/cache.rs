//! Decoded blocks: an LRU bounded in bytes, and pools of threads that fill it.
//!
//! A reader asks [`Blocks`] for a block by where it lies in the log, and gets a future. However many readers wait for a
//! block, it is decoded once; users take turns at the decoding threads. Blocks that decode in microseconds have threads
//! of their own, so that they never queue behind one that takes a second.
//!
//! A place in the log is never written twice, so a key stands for the same bytes for ever: overwritten data cannot
//! leak out of the cache, because the file no longer points to that key.

mod blocks;
mod lru;

pub use blocks::{Block, Blocks, CacheStats, Cost, LoadError, LoadErrorKind, Loaded, Source};
pub use lru::ByteLru;
