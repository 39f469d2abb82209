//! What a dictionary is known by.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The name of a dictionary: the first bytes of the SHA-256 of its text. Dictionaries of one store must differ in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DictionaryId(pub [u8; Self::LEN]);

impl DictionaryId {
    /// Bytes of an id.
    pub const LEN: usize = 4;

    /// The id of this text.
    pub fn of(text: &[u8]) -> DictionaryId {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let [a, b, c, d, ..] = digest;
        DictionaryId([a, b, c, d])
    }
}

impl fmt::Display for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for DictionaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DictionaryId({self})")
    }
}
