//! What can go wrong, said so that a user knows where and what to do.

use crate::dictionary_id::DictionaryId;
use crate::engine::Engine;
use crate::reference_digest::ReferenceDigest;
use crate::solid_digest::SolidDigest;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which this crate can fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A [`Stop`](crate::Stop) was set while a block was being coded. Nothing was lost; the work may be repeated.
    #[error("interrupted")]
    Interrupted,

    /// The bytes do not start with a block's magic.
    #[error("not an lmfs block: it starts with {found:02x?}")]
    NotABlock {
        /// The bytes found where the magic should be (fewer than two when the input is shorter).
        found: Vec<u8>,
    },

    /// The bytes do not start with a container's magic, nor nearly so.
    #[error("not an .lmz file: it starts with {found:02x?}")]
    NotAContainer {
        /// The bytes found where the magic should be.
        found: Vec<u8>,
    },

    /// Something was written by a newer version of the format.
    #[error("{what} has format version {found}, this program reads up to {known}: a newer lmfs is needed")]
    NewerFormat {
        /// "block" or "container".
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest version that this program reads.
        known: u8,
    },

    /// Stored bytes are not what was written: a checksum differs, a field is impossible, or bytes are missing.
    #[error("damaged {what}: {reason}")]
    Damaged {
        /// Which part: "block header", "block", "container".
        what: &'static str,
        /// What exactly does not fit.
        reason: String,
    },

    /// A caller handed in more than a block may hold.
    #[error("a block holds at most {max} bytes, {len} were given")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },

    /// A block was coded with other parameters than this codec has.
    #[error(
        "the block was coded with model parameters {needed}, {}; open it with the model, engine and version that wrote it",
        .have.as_deref().map_or_else(|| "and no model is loaded".to_owned(), |have| format!("this codec has {have}"))
    )]
    MissingModel {
        /// Parameters digest in the block, in hex.
        needed: String,
        /// Ours, in hex, if a model is loaded.
        have: Option<String>,
    },

    /// A block starts behind a dictionary that is not here.
    #[error(
        "the block was coded with dictionary {id}, which is not here; open it with the dictionaries that it was written with"
    )]
    MissingDictionary {
        /// The dictionary's id.
        id: DictionaryId,
    },

    /// What is found under a dictionary's id cannot be used.
    #[error("dictionary {id} cannot be used: {reason}")]
    UnusableDictionary {
        /// The dictionary's id.
        id: DictionaryId,
        /// What is wrong.
        reason: String,
    },

    /// A block was coded behind another block, which was not given.
    #[error(
        "the block was coded behind another block, with CRC-32 {needed}; only the store that it was written in can \
         decode it"
    )]
    MissingReference {
        /// CRC-32 of the bytes that it needs.
        needed: ReferenceDigest,
    },

    /// A block was coded behind another block than the one that was given.
    #[error("the block was coded behind a block with CRC-32 {needed}, and the one that was given has {found}")]
    WrongReference {
        /// CRC-32 of the bytes that it needs.
        needed: ReferenceDigest,
        /// CRC-32 of those that were given.
        found: ReferenceDigest,
    },

    /// A block was coded in or behind a solid head, and what that taught is not known.
    #[error(
        "the block was coded behind other blocks, with CRC-32 {needed} together; only the store that it was written \
         in can decode it"
    )]
    MissingSolid {
        /// The digest of the head.
        needed: SolidDigest,
    },

    /// The model is the right one, but its bits come out differently here.
    #[error(
        "the blocks were written where the same model computes other bits (another CPU, build or version); \
         decode them there, or with the engine and version that wrote them"
    )]
    ForeignNumerics,

    /// A model file cannot be used, and why.
    #[error("model {name} cannot be used: {reason}")]
    UnusableModel {
        /// File or built-in name.
        name: String,
        /// What is wrong and what would be right.
        reason: String,
    },

    /// There is no such built-in model.
    #[error("there is no built-in model {name:?}; there are: {known}")]
    UnknownBuiltin {
        /// The name asked for.
        name: String,
        /// The names there are, comma-separated.
        known: String,
    },

    /// The model failed while running.
    #[error("the {engine} engine failed: {reason}")]
    Engine {
        /// Which engine.
        engine: Engine,
        /// What it reported.
        reason: String,
    },

    /// What was encoded did not decode to the input, so it was not used.
    #[error("verification failed: {0}; nothing was lost, the block gets another form")]
    Verification(String),

    /// An option is out of range.
    #[error("{0}")]
    InvalidOption(String),

    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file's name where there is one.
        what: String,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// An IO error with what was being done.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Error {
        Error::Io {
            what: what.into(),
            source,
        }
    }

    /// Whether what was read is not what was written: [recovery](crate::stream::StreamOptions::recover) goes on after
    /// such an error, and leaves a gap. Other errors say that it cannot be read here or now, though it may be whole.
    /// [`Error::MissingDictionary`] is one of these, but recovery goes on after it, too, if any block can be decoded: a
    /// damaged byte may name any dictionary.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Error::Damaged { .. } | Error::NotABlock { .. } | Error::NotAContainer { .. } | Error::NewerFormat { .. }
        )
    }

    pub(crate) fn damaged(what: &'static str, reason: impl Into<String>) -> Error {
        Error::Damaged {
            what,
            reason: reason.into(),
        }
    }

    pub(crate) fn unusable(name: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::UnusableModel {
            name: name.into(),
            reason: reason.into(),
        }
    }
}
