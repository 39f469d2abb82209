//! The engines that compute a language model.

use std::fmt;

/// What computes the logits. Engines give different low bits, so a block names the one that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// llama.cpp: every GGUF it loads; the same bits only with the same build on the same kind of CPU.
    Llama,
    /// The integer engine: the same bits everywhere, for models of the shape it knows.
    Exact,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Llama => "llama",
            Engine::Exact => "exact",
        })
    }
}
