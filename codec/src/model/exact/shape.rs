//! The model's dimensions, read from metadata and held to what this engine can do.

use super::error::{Error, Result};
use super::file::File;

/// Size of every attention head.
pub const HEAD: usize = 64;
/// Used when the caller names no window and the model has a longer one.
const DEFAULT_WINDOW_LIMIT: u64 = 4096;
/// Bounds every i32 sum: 255 * 127 * 2^16 < 2^31.
const MAX_SIDE: u64 = 1 << 16;

/// Dimensions and constants of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Transformer layers.
    pub layers: usize,
    /// Elements of the residual stream; a multiple of 64.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Hidden elements of the feed-forward part; a multiple of 64.
    pub hidden: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// Positions a token attends to, itself included.
    pub window: usize,
    /// Added to the mean square in RMSNorm.
    pub epsilon: f32,
    /// Base of the rotary embedding's frequencies.
    pub rope_base: f64,
}

impl Shape {
    /// Reads the shape; `window` overrides the model's own.
    ///
    /// # Errors
    /// [`Error::Key`] for absent keys, [`Error::Unsupported`] for what this engine does not compute.
    pub fn read(file: File<'_>, vocabulary: usize, window: Option<usize>) -> Result<Self> {
        let architecture = file.text("general.architecture").unwrap_or_default();
        if architecture != "llama" {
            return Err(Error::Unsupported(format!(
                "its architecture is {architecture:?}, not \"llama\""
            )));
        }
        let side = |key: &str, unit: u64| {
            let v = file.unsigned(key)?;
            if v == 0 || v > MAX_SIDE || v % unit != 0 {
                return Err(Error::Unsupported(format!(
                    "`{key}` is {v}, not a multiple of {unit} up to {MAX_SIDE}"
                )));
            }
            usize::try_from(v).map_err(|_| Error::Key(key.into()))
        };
        let layers = side("llama.block_count", 1)?;
        let width = side("llama.embedding_length", 64)?;
        let heads = side("llama.attention.head_count", 1)?;
        let kv_heads = match file.value("llama.attention.head_count_kv") {
            None => heads,
            Some(_) => side("llama.attention.head_count_kv", 1)?,
        };
        let hidden = side("llama.feed_forward_length", 64)?;
        if heads % kv_heads != 0 || heads * HEAD > 1 << 16 {
            return Err(Error::Unsupported(format!(
                "{heads} heads over {kv_heads} key/value heads"
            )));
        }
        for key in [
            "llama.attention.key_length",
            "llama.attention.value_length",
            "llama.rope.dimension_count",
        ] {
            let size = file.optional_unsigned(key)?.unwrap_or((width / heads) as u64);
            if size != HEAD as u64 {
                return Err(Error::Unsupported(format!("heads of {size} (`{key}`), not {HEAD}")));
            }
        }
        let scaling = file.text("llama.rope.scaling.type").unwrap_or("none");
        if scaling != "none" {
            return Err(Error::Unsupported("its rotary embedding is scaled".into()));
        }
        if file.optional_unsigned("llama.expert_count")?.unwrap_or(0) != 0 {
            return Err(Error::Unsupported("it is a mixture of experts".into()));
        }
        let number = |key: &str, default: f64, range: std::ops::RangeInclusive<f64>| {
            let v = file.optional_float(key)?.unwrap_or(default);
            if range.contains(&v) {
                Ok(v)
            } else {
                Err(Error::Unsupported(format!("`{key}` is {v}")))
            }
        };
        let epsilon = number("llama.attention.layer_norm_rms_epsilon", 1e-5, 1e-12..=1.0)? as f32;
        let rope_base = number("llama.rope.freq_base", 10_000.0, 1.0..=1e12)?;
        let trained = match file.optional_unsigned("llama.attention.sliding_window")? {
            Some(window) if window > 0 => window,
            _ => file.unsigned("llama.context_length")?,
        };
        let window = window.map_or(trained.min(DEFAULT_WINDOW_LIMIT), |w| w as u64);
        if !(1..=MAX_SIDE).contains(&window) {
            return Err(Error::Unsupported(format!("a window of {window} tokens")));
        }
        if vocabulary == 0 || vocabulary > 1 << 20 {
            return Err(Error::Unsupported(format!("a vocabulary of {vocabulary} tokens")));
        }
        let window = window as usize;
        Ok(Self {
            layers,
            width,
            heads,
            kv_heads,
            hidden,
            vocabulary,
            window,
            epsilon,
            rope_base,
        })
    }

    /// Query heads that share a key/value head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Rows of the joint query, key and value matrix.
    pub fn qkv_rows(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * HEAD
    }
}
