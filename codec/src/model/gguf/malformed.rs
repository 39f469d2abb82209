//! Why a GGUF file cannot be used.

/// What is wrong with a file, with the offset where it matters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl From<String> for Malformed {
    fn from(reason: String) -> Malformed {
        Malformed(reason)
    }
}

impl From<Malformed> for String {
    fn from(malformed: Malformed) -> String {
        malformed.0
    }
}

impl From<&str> for Malformed {
    fn from(reason: &str) -> Malformed {
        Malformed(reason.to_owned())
    }
}
