//! What a built-in model makes of text, here and now.

use std::collections::BTreeMap;
use std::sync::Arc;

use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load};
use lmfs_codec::{Codec, Options, Stop};

use crate::proc_status::processor_time;

/// Bytes of a sample that are used.
const SAMPLE: usize = 8 << 10;

/// Texts that no model has seen, and that do not change from one version to the next.
const SAMPLES: [(&str, &str); 3] = [
    ("prose", include_str!("../../../../tests/data/text/alice29.txt")),
    ("code", include_str!("../../../../tests/data/generate.py")),
    ("log", include_str!("../../../../tests/data/logs/service.log")),
];

/// Results of [`measure`].
#[derive(Clone, Debug, serde::Serialize)]
pub struct Measured {
    /// Bits of a block a byte of text, headers included, by kind of text.
    pub bits_per_byte: BTreeMap<&'static str, f64>,
    /// Thousands of bytes decoded in a second of processor time.
    pub decoded_kb_per_second: f64,
}

/// Encodes a block of each kind with `model` and adaptive models mixed, and decodes it.
///
/// # Errors
/// An unusable model; stopping.
pub fn measure(name: &'static str, stop: &Stop) -> anyhow::Result<Measured> {
    let model = load(&ModelSource::Builtin(name), EngineChoice::Auto, &LoadOptions::default())?;
    let codec = Codec::new(Some(Arc::clone(&model)), Options::default())?;
    let (mut bits_per_byte, mut bytes, mut seconds) = (BTreeMap::new(), 0, 0.0);
    for (kind, text) in SAMPLES {
        let raw = text.as_bytes();
        let raw = raw.get(..SAMPLE).unwrap_or(raw);
        let block = codec.encode(raw, stop)?;
        let begun = processor_time();
        codec.decode(&block, stop)?;
        seconds += processor_time().saturating_sub(begun).as_secs_f64();
        bytes += raw.len();
        bits_per_byte.insert(kind, block.len() as f64 * 8.0 / raw.len() as f64);
    }
    Ok(Measured {
        bits_per_byte,
        decoded_kb_per_second: bytes as f64 / 1000.0 / seconds,
    })
}
