//! The packer: what is safe in a cheap form becomes small, in the background.

mod tag;

pub use tag::Tag;
