//! lmfs
