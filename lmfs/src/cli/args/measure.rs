//! The commands that make the experiments of the paper.

use std::path::PathBuf;

use clap::Args;
use lmfs_codec::model::EngineChoice;

use crate::byte_size;

/// The options of the paper's experiments.
#[derive(Debug, Args)]
pub struct Paper {
    /// Measure as in table 1 of "Language Modeling Is Compression". These are raw and adjusted rates of all compressors
    /// on text, pictures and sound, unchunked and in chunks of 2,048 bytes
    #[arg(long)]
    pub paper: bool,
    /// Methods of lmfs to measure, each of which is mix (no language model), a built-in model, or the path of a GGUF
    /// file
    #[arg(
        long,
        value_name = "METHOD,...",
        value_delimiter = ',',
        default_value = "mix,tiny,small"
    )]
    pub with: Vec<String>,
    /// The most bytes of each kind of data. Every file gives its share, from its start. One whole picture or sound may
    /// have four times as much
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse, default_value = "256KiB")]
    pub limit: u64,
    /// Also measure learning in context, and write everything as one HTML page, with CSV files, into this folder. A run
    /// that was interrupted goes on with what the folder has. Implies --paper
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

impl Paper {
    /// Whether the paper's experiments are asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.paper || self.report.is_some()
    }
}

const EXAMPLES: &str = "\
Examples:
  lmfs generate --from small --prompt letter.txt --length 400
  lmfs generate --from gzip --step 4 --prompt letter.txt --temperature 0.7
  lmfs generate --from mix --prompt speech.wav -o continued.wav
  lmfs generate --from mix --prompt photo.png -o halves.png

lmfs's own predictors give the distribution itself. gzip, zstd and lzma give only lengths, and bytes that make the \
output n bits longer have probability 2^-n. Sound is continued as one byte a sample. Of a picture the lower half is \
written anew, in grey, and shown beside the original.";

/// `lmfs generate`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Generate {
    /// What predicts, which is gzip, zstd, lzma, mix (no language model), a built-in model, or the path of a GGUF file
    #[arg(long, value_name = "COMPRESSOR")]
    pub from: String,
    /// File to continue, with text, sound (WAV, AIFF, FLAC) or a picture (PNG, PPM, BMP, TIFF) [default: nothing]
    #[arg(long, value_name = "FILE")]
    pub prompt: Option<PathBuf>,
    /// Bytes or samples to write [default: 256 bytes, or as many samples as the prompt has]
    #[arg(long, value_name = "N")]
    pub length: Option<usize>,
    /// The same seed writes the same
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// 1 draws with the predicted probabilities, less prefers what is likelier, and 0 takes the likeliest alone
    #[arg(long, value_name = "T", default_value_t = 1.0, value_parser = temperature)]
    pub temperature: f64,
    /// Bytes to draw together, with gzip, zstd and lzma. Several bytes change a length where one does not
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub step: u8,
    /// Engine of the language model: exact, llama or auto
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineChoice,
    /// File to write, for sound and pictures required
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A text that is no temperature.
#[derive(Debug, thiserror::Error)]
#[error("a temperature is a number from 0 to 100")]
struct NoTemperature;

fn temperature(text: &str) -> Result<f64, NoTemperature> {
    let usable = |t: &f64| (0.0..=100.0).contains(t);
    text.parse().ok().filter(usable).ok_or(NoTemperature)
}
