//! What is compared: anything that makes bytes smaller and gives them back.

use lmfs_codec::{Codec, Header, MAX_BLOCK, Method, Stop};

/// Whatever a compressor reports, as text for the user.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What became of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Compressed {
    /// Bytes that decode to the input, all headers counted.
    pub bytes: usize,
    /// How, for a compressor that has several ways.
    pub method: Option<Method>,
}

/// What some bytes are, for compressors that make use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Anything.
    Bytes,
    /// Rows of pixels behind a header of some bytes. A channel is one byte.
    Picture {
        /// Bytes in front of the first row.
        header: usize,
        /// Pixels of a row.
        width: usize,
        /// Bytes of a pixel, 1 to 4.
        channels: usize,
    },
    /// Samples of sound behind a header of some bytes.
    Sound {
        /// Bytes in front of the first sample.
        header: usize,
        /// Samples of a moment.
        channels: usize,
        /// 8 (unsigned) or 16 (signed, little-endian).
        bits: usize,
        /// Moments of a second.
        rate: usize,
    },
}

impl Form {
    /// Sound as in the paper: one byte a sample, 16,000 samples a second.
    pub const PAPER_SOUND: Form = Form::Sound {
        header: 0,
        channels: 1,
        bits: 8,
        rate: 16_000,
    };
}

/// Anything with a size to compare.
pub trait Compressor: Sync {
    /// The column's head: short, unique in a report.
    fn name(&self) -> &str;

    /// Compresses one block or one whole file, decodes the result and compares it.
    ///
    /// # Errors
    /// Whatever the compressor reports; bytes that do not come back.
    fn compress(&self, raw: &[u8], stop: &Stop) -> Result<Compressed, Fault>;

    /// The same where it is known what the bytes are.
    ///
    /// # Errors
    /// As [`compress`](Self::compress).
    fn compress_as(&self, raw: &[u8], _form: Form, stop: &Stop) -> Result<Compressed, Fault> {
        self.compress(raw, stop)
    }

    /// Whether it makes anything else of a whole file than of its blocks.
    fn takes_whole_files(&self) -> bool {
        true
    }

    /// Whether chunks of a few kilobytes are worth trying.
    fn takes_chunks(&self) -> bool {
        true
    }

    /// Bytes of everything learned beforehand that decoding needs: models, weights, dictionaries.
    fn model_bytes(&self) -> u64 {
        0
    }
}

/// The size of `packed`, once `back`, which was decoded from it, is what it was made of.
pub(super) fn checked(packed: Vec<u8>, back: &[u8], raw: &[u8]) -> Result<Compressed, Fault> {
    if back != raw {
        return Err("what it decodes to is not what it compressed".into());
    }
    Ok(Compressed {
        bytes: packed.len(),
        method: None,
    })
}

/// lmfs itself, with one [`Codec`]: the blocks that a store holds.
pub struct Lmfs {
    name: String,
    codec: Codec,
    model_bytes: u64,
    whole: bool,
}

impl Lmfs {
    /// A column of its own for each codec that is to be compared.
    pub fn new(name: impl Into<String>, codec: Codec) -> Lmfs {
        Lmfs {
            name: name.into(),
            codec,
            model_bytes: 0,
            whole: false,
        }
    }

    /// The same, with whole files in the largest blocks there are, and what was learned beforehand counted.
    #[must_use]
    pub fn unchunked(mut self, model_bytes: u64) -> Lmfs {
        self.model_bytes = model_bytes;
        self.whole = true;
        self
    }
}

impl Compressor for Lmfs {
    fn name(&self) -> &str {
        &self.name
    }

    /// Encodes and, as the codec does before it returns, decodes and compares.
    fn compress(&self, raw: &[u8], stop: &Stop) -> Result<Compressed, Fault> {
        let mut bytes = 0;
        let mut methods = Vec::new();
        for raw in raw.chunks(MAX_BLOCK) {
            let block = self.codec.encode(raw, stop)?;
            bytes += block.len();
            methods.push(Header::parse(&block)?.method);
        }
        methods.dedup();
        let method = match methods.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        Ok(Compressed { bytes, method })
    }

    fn takes_whole_files(&self) -> bool {
        self.whole
    }

    fn model_bytes(&self) -> u64 {
        self.model_bytes
    }
}
