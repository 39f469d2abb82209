//! How streams are processed.

use std::fmt;
use std::sync::Arc;

use crate::block::KeyPart;
use crate::{Error, MAX_BLOCK, MIN_BLOCK, Result, Stop};

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of content processed.
    pub raw: u64,
    /// Bytes of container processed.
    pub stored: u64,
}

/// Options of encoders and decoders.
#[derive(Clone)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Bytes of a block, [`MIN_BLOCK`] to [`MAX_BLOCK`]. Only encoders look at it.
    pub block_size: usize,
    /// The most bytes of the *key*: the first blocks of a container, all but one at most, which are a dictionary
    /// for the others where that takes less. A read at random decodes the key once and keeps what it learned, 20
    /// times as many bytes. 0: no key. At most 1 MiB. Only encoders look at it.
    pub most_key: usize,
    /// Blocks coded at the same time, 1 to 1,024. Twice as many are held in memory; and each one under way by adaptive
    /// models or a language model has tables 130 times the size of a block (136 MiB for 1 MiB).
    pub threads: usize,
    /// Set it to end the work with [`Error::Interrupted`].
    pub stop: Stop,
    /// Called after each block, and several times a second while one takes long, on the thread that reads or writes.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    /// Decoders only: go on after damage, with zeros for what is missing
    /// ([`Decoder::missing`](super::Decoder::missing)). A block whose dictionary is missing is such a gap, too, unless
    /// no block can be decoded. Where the headers of several blocks in a row are damaged,
    /// reading from the start cannot know how much they held;
    /// [`SeekableReader::recover`](super::SeekableReader::recover) does.
    pub recover: bool,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            block_size: 1 << 16,
            most_key: 0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            stop: Stop::new(),
            progress: None,
            recover: false,
        }
    }
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamOptions")
            .field("block_size", &self.block_size)
            .field("most_key", &self.most_key)
            .field("threads", &self.threads)
            .field("recover", &self.recover)
            .finish_non_exhaustive()
    }
}

impl StreamOptions {
    pub(super) fn check(&self) -> Result<()> {
        if !(MIN_BLOCK..=MAX_BLOCK).contains(&self.block_size) {
            let size = self.block_size;
            return Err(Error::InvalidOption(format!(
                "block size {size} is not between {MIN_BLOCK} and {MAX_BLOCK}"
            )));
        }
        if self.most_key > KeyPart::MOST {
            let (size, most) = (self.most_key, KeyPart::MOST);
            return Err(Error::InvalidOption(format!(
                "a key of {size} bytes is longer than {most}"
            )));
        }
        Ok(())
    }

    pub(super) fn report(&self, progress: Progress) {
        if let Some(callback) = &self.progress {
            callback(progress);
        }
    }
}
