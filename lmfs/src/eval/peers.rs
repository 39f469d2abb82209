//! General compressors at their best, each checked by decoding.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{Check, Filters, LzmaOptions, PRESET_EXTREME, Stream};
use liblzma::write::XzEncoder;
use lmfs_codec::Stop;

use super::compressor::{Compressed, Compressor, Fault, checked};

/// `gzip -9`
#[derive(Clone)]
pub struct Gzip;

impl Gzip {
    /// What it makes of bytes.
    pub(crate) fn pack(raw: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(raw)?;
        encoder.finish()
    }
}

impl Compressor for Gzip {
    fn name(&self) -> &str {
        "gzip -9"
    }

    fn compress(&self, raw: &[u8], _: &Stop) -> Result<Compressed, Fault> {
        let packed = Gzip::pack(raw)?;
        let mut back = Vec::with_capacity(raw.len());
        GzDecoder::new(packed.as_slice()).read_to_end(&mut back)?;
        checked(packed, &back, raw)
    }
}

/// `zstd -19`, without the four bytes of a checksum.
#[derive(Clone)]
pub struct Zstd;

impl Zstd {
    /// What it makes of bytes.
    pub(crate) fn pack(raw: &[u8]) -> std::io::Result<Vec<u8>> {
        zstd::bulk::compress(raw, 19)
    }
}

impl Compressor for Zstd {
    fn name(&self) -> &str {
        "zstd -19"
    }

    fn compress(&self, raw: &[u8], _: &Stop) -> Result<Compressed, Fault> {
        let packed = Zstd::pack(raw)?;
        let back = zstd::bulk::decompress(&packed, raw.len())?;
        checked(packed, &back, raw)
    }
}

/// `xz -9e`, with the short checksum (CRC-32), which saves it four bytes.
#[derive(Clone)]
pub struct Xz;

impl Xz {
    /// What it makes of bytes.
    pub(crate) fn pack(raw: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut options = LzmaOptions::new_preset(9 | PRESET_EXTREME)?;
        // A dictionary beyond the input saves no byte and costs ten times its size in memory, in every thread.
        let len = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        options.dict_size(len.clamp(4 << 10, 64 << 20));
        let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32)?;
        let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(raw)?;
        encoder.finish()
    }
}

impl Compressor for Xz {
    fn name(&self) -> &str {
        "xz -9e"
    }

    fn compress(&self, raw: &[u8], _: &Stop) -> Result<Compressed, Fault> {
        let packed = Xz::pack(raw)?;
        let mut back = Vec::with_capacity(raw.len());
        XzDecoder::new(packed.as_slice()).read_to_end(&mut back)?;
        checked(packed, &back, raw)
    }
}
