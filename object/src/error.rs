//! Errors as `object_store` has them.

use object_store::Error;
use object_store::path::Path;

/// What errors of this crate name as their store.
const STORE: &str = "Lmfs";

/// Why an object cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{location}: {source}")]
struct OfObject {
    location: Path,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// An error of an object.
pub fn failed(location: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    generic(OfObject {
        location: location.clone(),
        source: source.into(),
    })
}

/// An error of none.
pub fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: STORE,
        source: source.into(),
    }
}

/// Why a request did not give what was asked for.
#[derive(Debug)]
pub enum Stopped {
    /// The object is not the one any more that was opened.
    Replaced,
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        Stopped::Failed(error)
    }
}

/// How often a read begins again because the object was replaced.
pub const ATTEMPTS: usize = 16;

/// An object that was replaced each time.
pub fn restless(location: &Path) -> Error {
    failed(
        location,
        format!("it was replaced {ATTEMPTS} times while it was being opened"),
    )
}
