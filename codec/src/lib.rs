//! lmfs-codec
pub mod coder;
