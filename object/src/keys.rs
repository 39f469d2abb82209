//! What objects, contents and blocks are known by in the caches.

use object_store::ObjectMeta;
use sha2::{Digest, Sha256};

/// What the content of an object is known by: the same content has the same, however it is stored. Different contents
/// of one length have the same in one of 4 billion cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentId {
    /// Bytes of content.
    pub len: u64,
    /// CRC-32 of the content.
    pub crc32: u32,
}

/// What a version of an object is known by in the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey(pub [u8; 16]);

impl ObjectKey {
    /// `None` if the store gives no ETag: then nothing tells the version from the next one.
    pub fn new(store: &str, meta: &ObjectMeta, content: &ContentId) -> Option<ObjectKey> {
        let mut digest = Sha256::new();
        for text in [store, meta.location.as_ref(), meta.e_tag.as_ref()?] {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
        for number in [meta.size, content.len, content.crc32.into()] {
            digest.update(number.to_le_bytes());
        }
        let digest: [u8; 32] = digest.finalize().into();
        digest.first_chunk().copied().map(ObjectKey)
    }
}

impl ObjectKey {
    /// The key of an object whose name stands for its bytes.
    pub fn of_digest(digest: &[u8; 32]) -> ObjectKey {
        let mut key = [0; 16];
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
        ObjectKey(key)
    }
}

/// A block of a version of an object: its first byte of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    pub object: ObjectKey,
    pub start: u64,
}
