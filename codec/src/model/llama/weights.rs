//! What all decoding states of a model share.

use std::sync::OnceLock;

use llama_cpp_2::LogOptions;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use parking_lot::Mutex;

use crate::model::Token;

/// What all decoding states of a model share.
pub(super) struct Weights {
    pub(super) model: LlamaModel,
    /// Opening a context writes to the model's parameters inside llama.cpp, so it is done by one thread at a time.
    pub(super) opening: Mutex<()>,
}

pub(super) fn backend() -> &'static LlamaBackend {
    static BACKEND: OnceLock<LlamaBackend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        llama_cpp_2::send_logs_to_tracing(LogOptions::default());
        // The only error is that somebody else in this process has initialized it, which is as good.
        LlamaBackend::init().unwrap_or(LlamaBackend {})
    })
}

/// A token as llama.cpp numbers it.
pub(super) fn native(token: Token) -> LlamaToken {
    // Vocabularies have fewer than 2^31 tokens: llama.cpp counts them with an i32.
    LlamaToken(i32::try_from(token).unwrap_or(i32::MAX))
}
