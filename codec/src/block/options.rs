//! What a codec may do, and how hard it tries.

use crate::dictionary::DictionaryId;
use crate::{Error, Header, Result};

/// [`Options::model_worth`] where nothing else is asked for.
pub(crate) const MODEL_WORTH: u32 = 12;

/// How blocks are made. What is read does not depend on it: a block says itself how to decode it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Allow [`Method::Model`](crate::Method::Model) when there is a model.
    pub model: bool,
    /// Allow [`Method::Mix`](crate::Method::Mix).
    pub mix: bool,
    /// Let blocks of [`Method::Mix`](crate::Method::Mix) start behind a [dictionary](crate::dictionary) where that is
    /// smaller.
    pub dictionaries: bool,
    /// Dictionaries of the codec's source that are tried on every block, besides the built-in ones.
    pub try_dictionaries: Vec<DictionaryId>,
    /// The most bytes that the states after dictionaries of the codec's source may take together. Each takes about 20
    /// times its text, and with a language model there may be two of a dictionary. Those after built-in dictionaries
    /// are shared by all codecs and take at most 64 MiB.
    pub most_warm_bytes: usize,
    /// Use the language model alone ([`Method::Lm`](crate::Method::Lm)) instead of mixing: to measure models.
    pub lm_only: bool,
    /// How many bytes of each KiB of data the language model must save to be worth it, since these are then read twenty
    /// times more slowly: 0 to 1024. Where the model decodes 54 KiB a second, 12 are 650 bytes for each second of
    /// reading. The model alone ([`lm_only`](Options::lm_only)) is not held to it.
    pub model_worth: u32,
    /// zstd level of [`Codec::encode`](crate::Codec::encode), 1 to 22.
    pub zstd_level: i32,
    /// zstd level of [`Codec::stage`](crate::Codec::stage).
    pub staging_level: i32,
    /// Lanes of a model block; `None` chooses by the block's length: one a kilobyte,
    /// [`most_lanes`](Options::most_lanes) at most.
    pub lanes: Option<usize>,
    /// Most lanes of a model block whose number is not given; `None` for what the model is
    /// [best with](crate::model::LanguageModel::best_lanes). Fewer lanes see more context each and may be slower.
    pub most_lanes: Option<usize>,
    /// Decoding states and mixers kept open for reuse. Each state costs its lanes' KV caches, each mixer tables of 130
    /// times the last block, 36 MiB at most. Threads beyond it open and drop their own.
    pub max_states: usize,
}

impl Default for Options {
    fn default() -> Options {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            model: true,
            mix: true,
            dictionaries: true,
            try_dictionaries: Vec::new(),
            most_warm_bytes: 64 << 20,
            lm_only: false,
            model_worth: MODEL_WORTH,
            zstd_level: 19,
            staging_level: 1,
            lanes: None,
            most_lanes: None,
            max_states: threads,
        }
    }
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        let levels = 1..=22;
        if let Some(level) = [self.zstd_level, self.staging_level]
            .iter()
            .find(|level| !levels.contains(*level))
        {
            return Err(Error::InvalidOption(format!(
                "zstd level {level} is not between 1 and 22"
            )));
        }
        if self.model_worth > 1024 {
            let worth = self.model_worth;
            return Err(Error::InvalidOption(format!(
                "{worth} bytes of a KiB: 0 to 1024 are possible"
            )));
        }
        let lanes = [self.lanes, self.most_lanes];
        if let Some(lanes) = lanes
            .into_iter()
            .flatten()
            .find(|lanes| !(1..=Header::MAX_LANES).contains(lanes))
        {
            return Err(Error::InvalidOption(format!(
                "{lanes} lanes: 1 to {} are possible",
                Header::MAX_LANES
            )));
        }
        Ok(())
    }
}
