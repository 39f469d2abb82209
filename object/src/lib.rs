#![doc = include_str!("../README.md")]
//!
//! Everything of the contract of [`object_store`] holds: preconditions, ranges, modes of PUT, atomic multipart uploads.
//! Each request for blocks names the ETag of the object that was opened, so what a reader gets is one version.

mod blocks;
pub mod bucket;
mod codecs;
mod coded;
mod cutter;
mod encode;
mod error;
mod follow;
mod keys;
mod known;
mod list;
mod load;
mod open;
mod options;
pub mod pack;
mod pool;
mod probe;
mod put;
mod ranges;
mod read;
mod request;
mod shared;
mod store;
mod upload;
mod weighted;

pub use codecs::Codecs;
pub use keys::ContentId;
pub use options::{DiskCache, LmfsOptions, Put, Sizes};
pub use store::LmfsStore;
