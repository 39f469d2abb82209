//! What can be wrong with a model file or with a call.

/// Why the exact engine refuses a model file or a step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a model this engine can run exactly.
    #[error("the exact engine cannot run this model: {0}; use the llama engine")]
    Unsupported(String),
    /// A metadata key is absent or of another type.
    #[error("the model file has no usable metadata key `{0}`")]
    Key(String),
    /// A tensor is absent or has another shape.
    #[error("tensor `{name}`: {what}")]
    Tensor {
        /// The tensor's name in the file.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A caller's mistake: lanes, runs or tokens out of range.
    #[error("wrong call of the exact engine: {0}")]
    Call(String),
}

/// Results of the exact engine.
pub type Result<T> = std::result::Result<T, Error>;
