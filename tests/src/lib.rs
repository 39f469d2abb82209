//! lmfs-tests
