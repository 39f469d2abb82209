//! `lmfs-object`: the contract of `object_store`, counted requests, faults, races with packers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::single_range_in_vec_init,
    reason = "tests"
)]

mod bucket;
mod caches;
mod conformance;
mod contents;
mod counts;
mod faults;
mod packing;
mod stores;
