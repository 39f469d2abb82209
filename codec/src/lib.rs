//! lmfs-codec
