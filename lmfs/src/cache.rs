//! Decoded blocks: an LRU bounded in bytes, and pools of threads that fill it.
//!
//! A reader asks [`Blocks`] for a block by where it lies in the log. It is answered at once from the LRU, or later
//! from the thread that decoded it. However many readers wait for a block, it is decoded once. Blocks that decode in
//! microseconds have threads of their own, so that they never queue behind one that takes a second.
//!
//! A place in the log is never written twice, so a key stands for the same bytes for ever: overwritten data cannot
//! leak out of the cache, because the file no longer points to that key.

mod blocks;
mod lru;
mod pool;

pub use blocks::{Block, Blocks, CacheStats, Cost, LoadError, LoadErrorKind, Loaded, Source};
pub use lru::ByteLru;
pub use pool::Pool;
