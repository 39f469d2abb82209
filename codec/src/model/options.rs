//! How a model is run.

/// How a model is run. Nothing here changes a bit of its logits, except [`context`](LoadOptions::context).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Threads of one decoding state. One is best when several blocks are coded at a time.
    pub threads: usize,
    /// Tokens that predictions look back at most; `None`: what the model was trained with, at most 4,096.
    pub context: Option<usize>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            threads: 1,
            context: None,
        }
    }
}
