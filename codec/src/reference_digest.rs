//! How blocks name the bytes that they are coded behind.

use std::fmt;

/// How a block names its reference: the CRC-32 of the bytes. It is there to notice that others were given. Which block
/// has the right ones, the store knows that wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReferenceDigest(pub [u8; Self::LEN]);

impl ReferenceDigest {
    /// Bytes of a digest.
    pub const LEN: usize = 4;

    /// The digest of these bytes.
    pub fn of(reference: &[u8]) -> ReferenceDigest {
        ReferenceDigest(crc32fast::hash(reference).to_le_bytes())
    }
}

impl fmt::Display for ReferenceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_le_bytes(self.0))
    }
}

impl fmt::Debug for ReferenceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReferenceDigest({self})")
    }
}
