//! The `.lmz` container: blocks in a row, a seek table, checksums. docs/FORMAT.md, "Container", is normative.
//!
//! [`Encoder`] and [`Decoder`] work on std streams of any length in bounded memory, several blocks at a time;
//! [`SeekableReader`] reads any part of a container and touches only what it needs; [`tokio`] has the asynchronous
//! forms. Containers may follow one another: together they are what their contents are together.
//!
//! ```
//! use std::io::{Read, Write};
//! use lmfs_codec::stream::{Decoder, Encoder, StreamOptions};
//! use lmfs_codec::{Codec, Options};
//!
//! let codec = Codec::new(None, Options::default())?;
//! let mut encoder = Encoder::new(Vec::new(), codec.clone(), StreamOptions::default())?;
//! encoder.write_all(b"hello, hello, hello").unwrap();
//! let container = encoder.finish()?;
//!
//! let mut text = String::new();
//! let codec_of = move |_: &_| Ok(codec.clone());
//! Decoder::new(&container[..], codec_of, StreamOptions::default()).read_to_string(&mut text).unwrap();
//! assert_eq!(text, "hello, hello, hello");
//! # Ok::<(), lmfs_codec::Error>(())
//! ```

mod assembler;
mod decoder;
mod encoder;
mod format;
mod key;
pub mod layout;
mod options;
mod pipeline;
mod seekable;
mod table;
pub mod tokio;

pub use assembler::Assembler;
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use format::ContainerHeader;
pub use options::{Progress, StreamOptions};
pub use seekable::SeekableReader;

#[cfg(test)]
mod tests;
