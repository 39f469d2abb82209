#![doc = include_str!("../README.md")]
//!
//! ## Layers
//!
//! Two: [`block`] codes one slice of bytes into one self-describing block; [`stream`] frames blocks into the
//! seekable `.lmz` container. [`model`] is the door to language models.
//!
//! ```
//! use lmfs_codec::{Codec, Options, Stop};
//!
//! let codec = Codec::new(None, Options::default())?;
//! let text = b"to be or not to be, that is the question".repeat(9);
//! let block = codec.encode(&text, &Stop::new())?;
//! assert!(block.len() < text.len());
//! assert_eq!(codec.decode(&block, &Stop::new())?, text);
//! # Ok::<(), lmfs_codec::Error>(())
//! ```

pub mod block;
pub mod dictionary;
mod dictionary_id;
mod engine;
pub mod entropy;
mod error;
mod hex;
mod level;
mod limits;
pub mod mix;
pub mod model;
mod reference_digest;
mod simd;
mod solid_digest;
mod stop;
pub mod stream;

pub use block::{Codec, Fingerprint, Fronts, Growth, Header, InSolid, Method, Needs, Options, SolidHead};
pub use error::{Error, Result};
pub use level::Level;
pub use limits::{MAX_BLOCK, MIN_BLOCK};
pub use reference_digest::ReferenceDigest;
pub use solid_digest::SolidDigest;
pub use stop::Stop;
