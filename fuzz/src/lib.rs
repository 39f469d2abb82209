//! The bodies of the fuzz targets, which `codec/tests/fuzz.rs` runs for a moment on every `make test`.

#[path = "../../codec/tests/fuzz/bodies.rs"]
pub mod bodies;
#[path = "../../codec/tests/common/mod.rs"]
mod common;
