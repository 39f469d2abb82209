//! Reads ranges of files from their pieces, through a cache of chunks.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use object_store::GetOptions;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::cache::{CHUNK, Chunks};
use super::error::{Error, Result};
use super::head::{File, Head, Piece};
use super::place::{Bucket, Version};

/// Who reads so much at once goes on, as a rule: so many bytes are fetched in one request then.
const SCAN: u64 = 512 << 10;
const AHEAD: u64 = 4 << 20;
/// Requests for different parts of objects that do not wait for each other.
const LANES: usize = 64;

/// A folder for chunks that were fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The folder, for one process at a time.
    pub folder: PathBuf,
    /// The most bytes in it.
    pub bytes: u64,
}

/// Reads files of a bucket.
pub struct Reader {
    bucket: Bucket,
    chunks: Chunks,
    /// One request for the same chunks at a time.
    lanes: Vec<Mutex<()>>,
    requests: AtomicU64,
    fetched: AtomicU64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader with a cache in memory, and in a folder if one is named.
    ///
    /// # Errors
    /// A folder that cannot be used.
    pub fn new(bucket: Bucket, cache: Option<Cache>) -> Result<Reader> {
        let cache = cache.map(|cache| (cache.folder, cache.bytes));
        Ok(Reader {
            chunks: Chunks::open(bucket.name(), cache)?,
            bucket,
            lanes: (0..LANES).map(|_| Mutex::default()).collect(),
            requests: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
        })
    }

    /// HEAD as it is now, of a folder that is complete.
    ///
    /// # Errors
    /// None is there, or none that can be used.
    pub async fn head(&self) -> Result<Head> {
        Ok(self.head_and_version().await?.0)
    }

    /// The same with its version, for [`Reader::newer`].
    ///
    /// # Errors
    /// As there.
    pub async fn head_and_version(&self) -> Result<(Head, Version)> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match self.bucket.head().await? {
            None => Err(Error::NoHead(self.bucket.name())),
            Some((head, _)) if head.seq.is_none() => Err(Error::Unfinished(self.bucket.name())),
            Some(found) => Ok(found),
        }
    }

    /// HEAD, if it is another one by now.
    ///
    /// # Errors
    /// As for [`Reader::head`].
    pub async fn newer(&self, version: &Version) -> Result<Option<(Head, Version)>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bucket.newer_head(version).await
    }

    /// The name of the bucket, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.bucket.name()
    }

    /// Requests that were made, and bytes that came back.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.requests.load(Ordering::Relaxed),
            self.fetched.load(Ordering::Relaxed),
        )
    }

    /// Bytes of a file, fewer at its end.
    ///
    /// # Errors
    /// [`Error::Gone`] when a piece was deleted; a request that failed.
    pub async fn read(&self, file: &File, range: Range<u64>) -> Result<Vec<u8>> {
        let start = file.start();
        let known = usize::try_from(range.end).ok().and_then(|end| start.get(..end));
        if let Some(known) = known.and_then(|known| known.get(usize::try_from(range.start).ok()?..)) {
            return Ok(known.to_vec());
        }
        let mut out = Vec::new();
        let mut begin = 0;
        for piece in &file.pieces {
            let end = begin + piece.length;
            let (from, to) = (range.start.max(begin), range.end.min(end));
            if from < to {
                self.read_piece(piece, from - begin..to - begin, &mut out).await?;
            }
            begin = end;
        }
        Ok(out)
    }

    /// Forgets the chunks that have these bytes of a file, which are not what was pushed, so that the next read fetches
    /// them again; whether there were any.
    pub fn forget(&self, file: &File, range: Range<u64>) -> bool {
        let (mut begin, mut any) = (0, false);
        for piece in &file.pieces {
            let end = begin + piece.length;
            let (from, to) = (range.start.max(begin), range.end.min(end));
            let mut at = from.saturating_sub(begin) / CHUNK * CHUNK;
            while from < to && at < to - begin {
                any |= self.chunks.forget(piece, at);
                at += CHUNK;
            }
            begin = end;
        }
        any
    }

    async fn read_piece(&self, piece: &Piece, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let start = at - at % CHUNK;
            let chunk = self.chunk(piece, start, range.end - range.start, range.end).await?;
            let (from, to) = (at - start, (range.end - start).min(chunk.len() as u64));
            let part = chunk.get(from as usize..to as usize).unwrap_or_default();
            if part.is_empty() {
                return Err(Error::BadPiece {
                    object: piece.object.clone(),
                    why: "it ends too early".into(),
                });
            }
            out.extend_from_slice(part);
            at += part.len() as u64;
        }
        Ok(())
    }

    /// The chunk at `start`. One that has to be fetched comes with those after it that are missing, as far as they are
    /// wanted.
    async fn chunk(&self, piece: &Piece, start: u64, asked: u64, wanted: u64) -> Result<Bytes> {
        let len = |start: u64| CHUNK.min(piece.length.saturating_sub(start));
        let cached = || self.chunks.get(piece, start, len(start));
        if let Some(chunk) = cached() {
            return Ok(chunk);
        }
        // Whoever asks for the chunks beside it at this moment waits for the same request.
        let lane = crc32fast::hash(piece.object.as_bytes()) as usize % LANES;
        let _one = match self.lanes.get(lane) {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        if let Some(chunk) = cached() {
            return Ok(chunk);
        }
        let wanted = if asked >= SCAN {
            wanted.max(start + AHEAD)
        } else {
            wanted
        };
        let mut end = start + len(start);
        while end < wanted.min(piece.length) && self.chunks.get(piece, end, len(end)).is_none() {
            end += len(end);
        }
        let bytes = self.fetch(piece, start..end).await?;
        let mut at = start;
        let mut rest = bytes;
        let mut first = None;
        while !rest.is_empty() {
            let chunk = rest.split_to((len(at) as usize).min(rest.len()));
            // A part of a larger buffer would keep all of it in memory.
            let chunk = Bytes::copy_from_slice(&chunk);
            let next = at + chunk.len() as u64;
            first.get_or_insert_with(|| chunk.clone());
            self.chunks.put(piece, at, chunk);
            at = next;
        }
        Ok(first.unwrap_or_default())
    }

    async fn fetch(&self, piece: &Piece, range: Range<u64>) -> Result<Bytes> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let got = self
            .bucket
            .get(&piece.object, GetOptions::new().with_range(Some(range.clone())));
        let got = got.await?;
        let size = got.meta.size;
        let bytes = got.bytes().await?;
        self.fetched.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if size != piece.length || bytes.len() as u64 != range.end - range.start {
            return Err(Error::BadPiece {
                object: piece.object.clone(),
                why: format!("it has {size} bytes, and HEAD says {}", piece.length),
            });
        }
        Ok(bytes)
    }

    /// A whole piece, whose digest is that of HEAD.
    ///
    /// # Errors
    /// As for [`Reader::read`]; another digest.
    pub async fn piece(&self, piece: &Piece) -> Result<Bytes> {
        let bytes = self.fetch(piece, 0..piece.length).await?;
        match hex::encode(Sha256::digest(&bytes)) == piece.sha256 {
            true => Ok(bytes),
            false => Err(Error::BadPiece {
                object: piece.object.clone(),
                why: "its SHA-256 is another one than HEAD says".into(),
            }),
        }
    }
}
