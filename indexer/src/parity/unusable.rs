//! Why a parity file is of no use, and why a segment gets none.

/// Why a parity file is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("both of its headers are damaged")]
    Headers,
    #[error("it belongs to another segment or store")]
    Foreign,
    #[error("both of its tables are damaged")]
    Tables,
    #[error("parts of it are damaged")]
    Parts,
}

/// What is known of a parity file.
pub(crate) enum ParityFile<T> {
    /// There is none.
    Missing,
    Unusable(Unusable),
    Usable(T),
}

/// Why no parity is made of a segment: parity over damage would make it look right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the record at offset {0} is damaged")]
    Record(u64),
    #[error("its trailer is damaged")]
    Trailer,
    #[error("it reads otherwise each time")]
    Unsteady,
}

/// Whether parity of a segment was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Written,
    Refused(Refusal),
}
