//! The door to a language model: a vocabulary, and lanes that turn tokens into logits.
//!
//! Whatever predicts (llama.cpp, the integer engine) stands behind [`LanguageModel`] and [`Lanes`]. The one promise
//! that everything rests on: **the bits of the logits depend on the lane's tokens alone**, not on threads, on how
//! tokens are grouped into steps, on what other lanes hold, or on earlier use of the state.

pub mod builtin;
pub mod exact;
pub mod gguf;
#[cfg(feature = "llama")]
pub mod llama;
mod options;
mod source;
mod vocabulary;

pub use crate::engine::Engine;
pub use options::LoadOptions;
pub use source::{EngineChoice, ModelSource, load, load_bytes};
pub use vocabulary::{Token, Vocabulary};

use crate::Result;

/// Which model this is and what runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// For people: `builtin:small`, or the file's name.
    pub name: String,
    /// SHA-256 of the GGUF file.
    pub digest: [u8; 32],
    /// What computes the logits.
    pub engine: Engine,
    /// Number of weights.
    pub parameters: u64,
    /// The model's architecture as its file names it, such as `llama`.
    pub architecture: String,
    /// Tokens of context that predictions look at, at most; longer lanes slide.
    pub context: usize,
    /// The version of the engine's arithmetic: it is part of the parameters digest of every block.
    pub numerics: String,
}

/// A loaded model. Cheap to share, used from many threads; each decoding state belongs to one.
pub trait LanguageModel: Send + Sync {
    /// The bytes of the tokens.
    fn vocabulary(&self) -> &Vocabulary;

    /// Which model this is.
    fn identity(&self) -> &Identity;

    /// Cuts any bytes into tokens whose bytes, joined, are `text` again. The caller checks that.
    fn tokenize(&self, text: &[u8]) -> Result<Vec<Token>>;

    /// Like [`tokenize`](Self::tokenize), but the same tokens in all versions and on all machines, so that blocks may
    /// depend on them. `None` from engines that cannot promise that.
    fn tokenize_alike(&self, _text: &[u8]) -> Option<Vec<Token>> {
        None
    }

    /// The most lanes worth having: from here on more of them hardly make a token faster, and fewer see more of the
    /// text each. Blocks have no more unless more are asked for.
    fn best_lanes(&self) -> usize {
        16
    }

    /// A decoding state of `lanes` sequences, all empty. It costs memory (a KV cache per lane).
    fn open(&self, lanes: usize) -> Result<Box<dyn Lanes>>;
}

/// A decoding state: sequences that advance side by side. One thread uses it at a time.
pub trait Lanes: Send {
    /// Number of sequences.
    fn lanes(&self) -> usize;

    /// Empties all lanes. Afterwards nothing of what came before has any influence.
    fn reset(&mut self) -> Result<()>;

    /// How many tokens a lane may feed in one [`step`](Lanes::step).
    fn max_run(&self) -> usize {
        1
    }

    /// Feeds `runs[l]` (0 to [`max_run`](Lanes::max_run) tokens) to lane `l`, all lanes in one batch.
    /// `runs.len()` is [`lanes`](Lanes::lanes). An empty run leaves its lane as it is.
    fn step(&mut self, runs: &[&[Token]]) -> Result<()>;

    /// After [`step`](Lanes::step): the prediction of what follows `runs[lane][i]`, one logit (natural logarithm,
    /// unnormalized) per token of the vocabulary, in the order of token ids. Empty if the lane fed no such token.
    fn logits(&self, lane: usize, i: usize) -> &[f32];

    /// The same logits of the expressible tokens by rank ([`Vocabulary::sorted`]), from engines that have them in that
    /// order: nobody needs to gather them then.
    fn ranked(&self, _lane: usize, _i: usize) -> Option<&[f32]> {
        None
    }
}
