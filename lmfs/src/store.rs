//! The store folder: what lies in it, who may use it, and how it becomes an open log, index and codec.
//!
//! ```text
//! STORE/config.toml      what the store is: format, id, block size, model
//! STORE/lock             says which process uses the store, and has the folder locked
//! STORE/models/DIGEST.gguf  the language model, by its SHA-256
//! STORE/segments/        the log: every byte of data and metadata, and its parity
//! STORE/check.json       how far an interrupted `lmfs check --data` came
//! STORE/index/           made from the log; may be deleted
//! STORE/control.sock     while mounted: the daemon listens here
//! STORE/lmfs.log         what a daemon in the background had to say
//! ```

mod config;
pub mod contents;
mod create;
pub mod dictionaries;
mod digest;
mod equals;
mod error;
mod folder;
mod lock;
mod models;
mod opened;
mod parity;
mod prefer;
mod rebuild;
pub mod reserve;
mod tag;

pub use config::DEFAULT_BLOCK_SIZE;
pub use create::NewStore;
pub use digest::Digest;
pub use equals::Equals;
pub use error::{Error, Result};

pub(crate) use folder::write_new;
pub use folder::{Folder, is_store, is_url};
pub use lock::Lock;
pub use models::ModelFile;
pub use opened::{Access, Opened};
pub use parity::set_parity;
pub use prefer::{Prefer, UnknownPreference};
pub use rebuild::rebuild;
pub use tag::Tag;
