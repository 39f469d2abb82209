//! llama.cpp behind the door: every GGUF that it loads and whose vocabulary can express all bytes.
//!
//! What decides the bits of the logits is fixed here and in `.cargo/config.toml`: no flash attention, a KV cache of
//! F16 per lane (`kv_unified = false`), one token per lane and step. docs/NUMERICS.md says what was proven with it.

mod lanes;
mod memory;
mod tokenizer;
mod weights;

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use self::memory::MemoryFile;
use self::tokenizer::Tokenizer;
use self::weights::{Weights, backend};
use super::gguf::Gguf;
use super::{Engine, Identity, Lanes, LanguageModel, LoadOptions, Token, Vocabulary};
use crate::{Error, Result};

/// What this engine's arithmetic is called in parameter digests: the pinned bindings, and the switches set here.
const NUMERICS: &str = "llama-cpp-sys-2 0.1.161, KV F16 per lane, no flash attention";

/// Longest context used unless more is asked for: a KV cache of it is paid for by every lane.
const DEFAULT_CONTEXT: u32 = 4096;

/// A model run by llama.cpp.
pub struct Llama {
    weights: Arc<Weights>,
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
    identity: Identity,
    threads: i32,
}

impl Llama {
    /// Loads a GGUF from memory; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::UnusableModel`] with the reason.
    pub fn load(name: &str, gguf: Vec<u8>, options: &LoadOptions) -> Result<Llama> {
        let unusable = |reason: String| Error::unusable(name, reason);
        if let Some(missing) = missing_instructions() {
            return Err(unusable(format!(
                "llama.cpp is built for CPUs with {missing}, which this one lacks; the built-in models run without"
            )));
        }
        let parsed = Gguf::parse(&gguf).map_err(|why| unusable(why.into()))?;
        parsed.check_model().map_err(|why| unusable(why.into()))?;
        let digest: [u8; 32] = Sha256::digest(&gguf).into();
        // Never the user's file: llama.cpp maps it, so whoever writes to it would change the model while it runs.
        let source = MemoryFile::new(&gguf).map_err(|source| Error::io("copying the model", source))?;
        drop(gguf);

        let params = LlamaModelParams::default().with_n_gpu_layers(0);
        let model = LlamaModel::load_from_file(backend(), source.as_path(), &params)
            .map_err(|error| unusable(format!("llama.cpp does not load it: {error}")))?;
        if model.n_vocab() < 1 {
            return Err(unusable("llama.cpp finds no vocabulary in it".into()));
        }

        let vocabulary = vocabulary(&model).map_err(|error| match error {
            Error::UnusableModel { reason, .. } => unusable(reason),
            other => other,
        })?;
        let trained = u32::try_from(parsed_context(&parsed)).unwrap_or(u32::MAX);
        let context = match options.context {
            Some(tokens) => u32::try_from(tokens).unwrap_or(u32::MAX).max(2).min(trained),
            None => trained.min(DEFAULT_CONTEXT),
        };
        let identity = Identity {
            name: name.to_owned(),
            digest,
            engine: Engine::Llama,
            parameters: parsed.parameters(),
            architecture: parsed.text("general.architecture").unwrap_or_default().to_owned(),
            context: context as usize,
            numerics: NUMERICS.to_owned(),
        };
        let threads = i32::try_from(options.threads.max(1)).unwrap_or(i32::MAX);
        let weights = Arc::new(Weights {
            model,
            opening: Mutex::new(()),
        });
        Ok(Llama {
            tokenizer: Tokenizer::new(&weights.model, &vocabulary),
            weights,
            vocabulary,
            identity,
            threads,
        })
    }
}

/// What this CPU lacks of the instructions that ggml's x86-64 kernels are compiled with (its defaults without
/// `GGML_NATIVE`); it does not ask before it uses them.
fn missing_instructions() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    for (there, name) in [
        (std::arch::is_x86_feature_detected!("avx2"), "AVX2"),
        (std::arch::is_x86_feature_detected!("fma"), "FMA"),
        (std::arch::is_x86_feature_detected!("f16c"), "F16C"),
        (std::arch::is_x86_feature_detected!("bmi2"), "BMI2"),
    ] {
        if !there {
            return Some(name);
        }
    }
    None
}

fn parsed_context(gguf: &Gguf) -> u64 {
    let architecture = gguf.text("general.architecture").unwrap_or_default();
    gguf.integer(&format!("{architecture}.context_length")).unwrap_or(512)
}

/// The bytes of all tokens; control tokens have none.
fn vocabulary(model: &LlamaModel) -> Result<Vocabulary> {
    let vocab = model.vocab();
    let tokens: Vec<Vec<u8>> = vocab
        .tokens()
        .map(|token| match vocab.is_control(token) || vocab.is_eog(token) {
            true => Vec::new(),
            false => vocab.token_to_piece(token, false, None),
        })
        .collect();
    Vocabulary::new(&tokens, Token::try_from(vocab.bos().0).ok())
}

impl LanguageModel for Llama {
    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn tokenize(&self, text: &[u8]) -> Result<Vec<Token>> {
        Ok(self.tokenizer.tokenize(&self.weights.model, &self.vocabulary, text))
    }

    fn open(&self, lanes: usize) -> Result<Box<dyn Lanes>> {
        Ok(Box::new(lanes::LlamaLanes::open(
            &self.weights,
            lanes,
            self.identity.context,
            self.threads,
        )?))
    }
}
