//! How blocks name the solid head that they are coded in or behind.

use crate::dictionary_id::DictionaryId;

/// How blocks name a solid head: the CRC-32 of the id of its dictionary, or of four zeros, and of its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SolidDigest(pub u32);

impl SolidDigest {
    pub(crate) fn of(dictionary: Option<DictionaryId>, first: &[u8]) -> SolidDigest {
        let id = dictionary.map_or([0; DictionaryId::LEN], |id| id.0);
        SolidDigest(crc32fast::hash(&id)).then(first)
    }

    /// That of the same head and one block more.
    pub(crate) fn then(self, raw: &[u8]) -> SolidDigest {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(raw);
        SolidDigest(hasher.finalize())
    }
}

impl std::fmt::Display for SolidDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl std::fmt::Debug for SolidDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SolidDigest({self})")
    }
}
