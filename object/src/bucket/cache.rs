//! Chunks of objects: in memory, and in a folder of a bounded size that survives restarts.

use std::path::PathBuf;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::error::Result;
use super::head::Piece;
use crate::blocks::disk::Disk;
use crate::keys::{BlockKey, ObjectKey};
use crate::options::DiskCache;

/// Bytes of a chunk.
pub const CHUNK: u64 = 256 << 10;
/// Chunks in memory: 16 MiB.
const IN_MEMORY: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(63);

/// The chunks that were fetched last.
pub struct Chunks {
    /// Where the objects are: the folder may have chunks of another bucket.
    place: String,
    memory: Mutex<LruCache<BlockKey, Bytes>>,
    disk: Option<Disk>,
}

impl Chunks {
    /// A cache in memory, and in a folder if one is named.
    pub fn open(place: String, folder: Option<(PathBuf, u64)>) -> Result<Chunks> {
        let disk = folder.map(|(folder, bytes)| Disk::open(&DiskCache { folder, bytes }));
        Ok(Chunks {
            place,
            memory: Mutex::new(LruCache::new(IN_MEMORY)),
            disk: disk.transpose()?,
        })
    }

    /// The chunk of a piece that begins at `start` and has `len` bytes.
    pub fn get(&self, piece: &Piece, start: u64, len: u64) -> Option<Bytes> {
        let key = self.key(piece, start);
        if let Some(bytes) = self.memory.lock().get(&key) {
            return Some(bytes.clone()).filter(|bytes| bytes.len() as u64 == len);
        }
        let bytes: Bytes = self.disk.as_ref()?.get(&key, len)?.into();
        self.memory.lock().put(key, bytes.clone());
        Some(bytes)
    }

    pub fn put(&self, piece: &Piece, start: u64, bytes: Bytes) {
        let key = self.key(piece, start);
        if let Some(disk) = &self.disk {
            disk.put(&key, &bytes);
        }
        self.memory.lock().put(key, bytes);
    }

    /// Forgets a chunk; whether it was here.
    pub fn forget(&self, piece: &Piece, start: u64) -> bool {
        let key = self.key(piece, start);
        let in_memory = self.memory.lock().pop(&key).is_some();
        self.disk.as_ref().is_some_and(|disk| disk.forget(&key)) || in_memory
    }

    /// Whatever says that a piece is another one is in its key: a name alone would be believed, whoever wrote it.
    fn key(&self, piece: &Piece, start: u64) -> BlockKey {
        let mut digest = Sha256::new();
        for part in [&self.place, &piece.object, &piece.sha256] {
            digest.update(part);
            digest.update([0]);
        }
        BlockKey {
            object: ObjectKey::of_digest(&digest.finalize().into()),
            start,
        }
    }
}
