//! The engine behind the traits of [`crate::model`].

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::error::Error;
use super::file::File;
use super::kernel::Kernel;
use super::lanes::ExactLanes;
use super::shape::Shape;
use super::split::Classes;
use super::tokenizer::{self, Tokenizer};
use super::weights::Weights;
use crate::model::gguf::Gguf;
use crate::model::{Engine, Identity, Lanes, LanguageModel, LoadOptions, Token, Vocabulary};
use crate::{Error as CodecError, Result};

/// The version of this engine's arithmetic: it changes whenever a bit of any logit would.
pub const NUMERICS: &str = "exact-1";

/// A model with its weights in the kernels' layout; cheap to share.
#[derive(Debug)]
pub struct ExactModel {
    identity: Identity,
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
    shape: Arc<Shape>,
    weights: Arc<Weights>,
    kernel: &'static Kernel,
}

impl ExactModel {
    /// Loads a model from the bytes of a GGUF; `name` is for messages.
    ///
    /// # Errors
    /// [`CodecError::UnusableModel`] when the file is damaged or not of the kind that this engine runs.
    pub fn load(name: &str, gguf: &[u8], options: &LoadOptions) -> Result<Self> {
        let unusable = |e: Error| CodecError::unusable(name, e.to_string());
        let parsed = Gguf::parse(gguf).map_err(|reason| CodecError::unusable(name, reason))?;
        let file = File::new(&parsed, gguf);
        let (tokenizer, tokens) = tokenizer::load(file).map_err(unusable)?;
        let shape = Shape::read(file, tokens.len(), options.context).map_err(unusable)?;
        let bos = file
            .optional_unsigned("tokenizer.ggml.bos_token_id")
            .map_err(unusable)?;
        let bos = bos.map(|id| Token::try_from(id).unwrap_or(Token::MAX));
        let vocabulary = Vocabulary::new(&tokens, bos)?;
        let weights = Weights::load(file, &shape, vocabulary.sorted()).map_err(unusable)?;
        let kernel = Kernel::choose().map_err(|e| CodecError::InvalidOption(e.to_string()))?;
        let identity = Identity {
            name: name.to_owned(),
            digest: Sha256::digest(gguf).into(),
            engine: Engine::Exact,
            parameters: weights.parameters,
            architecture: "llama".into(),
            context: shape.window,
            numerics: NUMERICS.into(),
        };
        let (shape, weights) = (Arc::new(shape), Arc::new(weights));
        Ok(Self {
            identity,
            vocabulary,
            tokenizer,
            shape,
            weights,
            kernel,
        })
    }

    /// Multiply-adds of a token in matrix products.
    pub fn work(&self) -> u64 {
        self.weights.work
    }

    /// Opens lanes that measure where their time goes; see [`ExactLanes::profile`].
    ///
    /// # Errors
    /// As [`LanguageModel::open`].
    pub fn open_profiled(&self, lanes: usize) -> Result<ExactLanes> {
        let mut lanes = self.lanes(lanes)?;
        lanes.start_profile();
        Ok(lanes)
    }

    fn lanes(&self, lanes: usize) -> Result<ExactLanes> {
        self.open_with(self.kernel, lanes, None)
    }

    pub(super) fn open_with(
        &self,
        kernel: &'static Kernel,
        lanes: usize,
        max_run: Option<usize>,
    ) -> Result<ExactLanes> {
        let (shape, weights) = (Arc::clone(&self.shape), Arc::clone(&self.weights));
        ExactLanes::new(shape, weights, kernel, lanes, max_run).map_err(failed)
    }

    /// The kernels in use: `scalar`, `neon`, `avx2`, `avxvnni`, `avx512vnni`.
    pub fn kernel(&self) -> &'static str {
        self.kernel.name
    }
}

impl LanguageModel for ExactModel {
    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn tokenize(&self, text: &[u8]) -> Result<Vec<Token>> {
        Ok(self.tokenizer.tokenize(text, Classes::Unicode))
    }

    /// docs/FORMAT.md, "Tokens", is normative.
    fn tokenize_alike(&self, text: &[u8]) -> Option<Vec<Token>> {
        Some(self.tokenizer.tokenize(text, Classes::Ascii))
    }

    /// Measured in docs/BENCHMARKS.md, "Lanes".
    fn best_lanes(&self) -> usize {
        4
    }

    fn open(&self, lanes: usize) -> Result<Box<dyn Lanes>> {
        Ok(Box::new(self.lanes(lanes)?))
    }
}

impl Lanes for ExactLanes {
    fn lanes(&self) -> usize {
        self.lanes()
    }

    fn reset(&mut self) -> Result<()> {
        self.reset();
        Ok(())
    }

    fn max_run(&self) -> usize {
        self.max_run()
    }

    fn step(&mut self, runs: &[&[Token]]) -> Result<()> {
        self.step(runs).map_err(failed)
    }

    fn logits(&self, lane: usize, i: usize) -> &[f32] {
        self.logits(lane, i)
    }

    fn ranked(&self, lane: usize, i: usize) -> Option<&[f32]> {
        self.rows(lane, i)?.get(..self.weights().ranks)
    }
}

fn failed(e: Error) -> CodecError {
    CodecError::Engine {
        engine: Engine::Exact,
        reason: e.to_string(),
    }
}
