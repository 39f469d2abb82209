//! What is compared: lmfs, and its peers at their best.

use std::io::Write;

use flate2::write::GzEncoder;
use liblzma::stream::{Check, Filters, LzmaOptions, PRESET_EXTREME, Stream};
use liblzma::write::XzEncoder;
use lmfs_codec::{Codec, Header, Method, Stop};

/// What became of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Compressed {
    /// Bytes that decode to the input, all headers counted.
    pub bytes: usize,
    /// How, for a compressor that has several ways.
    pub method: Option<Method>,
}

impl From<Vec<u8>> for Compressed {
    fn from(bytes: Vec<u8>) -> Compressed {
        Compressed {
            bytes: bytes.len(),
            method: None,
        }
    }
}

/// Anything with a size to compare.
pub trait Compressor: Sync {
    /// The column's head: short, unique in a report.
    fn name(&self) -> &str;

    /// Compresses one block or one whole file.
    ///
    /// # Errors
    /// Whatever the compressor reports, as text for the user.
    fn compress(&self, raw: &[u8], stop: &Stop) -> Result<Compressed, Box<dyn std::error::Error + Send + Sync>>;

    /// Whether it makes anything else of a whole file than of its blocks.
    fn takes_whole_files(&self) -> bool {
        true
    }
}

/// lmfs itself, with one [`Codec`]: the blocks that a store holds.
pub struct Lmfs {
    name: String,
    codec: Codec,
}

impl Lmfs {
    /// A column of its own for each codec that is to be compared.
    pub fn new(name: impl Into<String>, codec: Codec) -> Lmfs {
        Lmfs {
            name: name.into(),
            codec,
        }
    }
}

impl Compressor for Lmfs {
    fn name(&self) -> &str {
        &self.name
    }

    /// Encodes and, as the codec does before it returns, decodes and compares.
    fn compress(&self, raw: &[u8], stop: &Stop) -> Result<Compressed, Box<dyn std::error::Error + Send + Sync>> {
        let block = self.codec.encode(raw, stop)?;
        Ok(Compressed {
            bytes: block.len(),
            method: Some(Header::parse(&block)?.method),
        })
    }

    fn takes_whole_files(&self) -> bool {
        false
    }
}

/// `gzip -9`
pub struct Gzip;

impl Compressor for Gzip {
    fn name(&self) -> &str {
        "gzip -9"
    }

    fn compress(&self, raw: &[u8], _: &Stop) -> Result<Compressed, Box<dyn std::error::Error + Send + Sync>> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(raw)?;
        Ok(encoder.finish()?.into())
    }
}

/// `zstd -19`, without the four bytes of a checksum.
pub struct Zstd;

impl Compressor for Zstd {
    fn name(&self) -> &str {
        "zstd -19"
    }

    fn compress(&self, raw: &[u8], _: &Stop) -> Result<Compressed, Box<dyn std::error::Error + Send + Sync>> {
        Ok(zstd::bulk::compress(raw, 19)?.into())
    }
}

/// `xz -9e`, with the short checksum (CRC-32), which saves it four bytes.
pub struct Xz;

impl Compressor for Xz {
    fn name(&self) -> &str {
        "xz -9e"
    }

    fn compress(&self, raw: &[u8], _: &Stop) -> Result<Compressed, Box<dyn std::error::Error + Send + Sync>> {
        let mut options = LzmaOptions::new_preset(9 | PRESET_EXTREME)?;
        // A dictionary beyond the input saves no byte and costs ten times its size in memory, in every thread.
        let len = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        options.dict_size(len.clamp(4 << 10, 64 << 20));
        let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32)?;
        let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(raw)?;
        Ok(encoder.finish()?.into())
    }
}
