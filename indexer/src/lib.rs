//! lmfs-indexer
