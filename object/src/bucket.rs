//! A folder of files that only grow, kept in a bucket: a store, so that other machines can read it.
//!
//! The files are cut into pieces, which are objects that never change. One object, HEAD, says which pieces make up
//! which file. It is the only object that is ever replaced, and only on the condition that it is still the one that
//! was read. So what a reader finds is one state of the folder, and of two writers one survives. docs/FORMAT.md has
//! the details.

mod cache;
mod error;
mod flaw;
mod head;
mod pieces;
mod place;
mod reader;
mod verify;
mod writer;

pub use error::{Error, Result};
pub use flaw::Flaw;
pub(crate) use head::is_part;
pub use head::{
    Dead, File, HEAD, HEAD_START, Head, MAX_CONFIG, MAX_HEAD, MAX_PIECE, Piece, Staged, check_path, is_head,
};
pub use pieces::{Plan, plan};
pub use place::{Bucket, Version};
pub use reader::{Cache, Reader};
pub use verify::Verified;
pub use writer::{Writer, WriterOptions};
