//! Whether the objects of a bucket are what its HEAD says.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt};
use object_store::GetOptions;
use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use super::head::Piece;
use super::writer::Writer;

/// Pieces that are fetched at a time. Each is held in memory.
const PARALLEL: usize = 4;

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Objects that were fetched.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those that are gone, or are other bytes than HEAD says.
    pub wrong: HashSet<String>,
}

impl Writer {
    /// Fetches every object of which HEAD makes files or the next one may, and compares it with its digest. Those that
    /// are wrong are not used again. `each` is told the bytes that are done and those that there are.
    ///
    /// # Errors
    /// A request that failed. An object that is gone is none.
    pub async fn verify(&mut self, each: &mut dyn FnMut(u64, u64), stop: impl Fn() -> bool) -> Result<Verified> {
        let verified = self.look(each, stop).await?;
        self.wrong.clone_from(&verified.wrong);
        Ok(verified)
    }

    async fn look(&self, each: &mut dyn FnMut(u64, u64), stop: impl Fn() -> bool) -> Result<Verified> {
        let Some(head) = self.head() else {
            return Ok(Verified::default());
        };
        let in_files = head.files.iter().flat_map(|file| &file.pieces);
        let pieces: Vec<&Piece> = in_files.chain(head.staged.iter().map(|staged| &staged.piece)).collect();
        let total = pieces.iter().map(|piece| piece.length).sum();
        let mut verified = Verified::default();
        let looked = stream::iter(pieces).map(async |piece| (piece, self.is_right(piece).await));
        let mut looked = std::pin::pin!(looked.buffer_unordered(PARALLEL));
        while !stop()
            && let Some((piece, is_right)) = looked.next().await
        {
            verified.objects += 1;
            verified.bytes += piece.length;
            if !is_right? {
                verified.wrong.insert(piece.object.clone());
            }
            each(verified.bytes, total);
        }
        Ok(verified)
    }

    async fn is_right(&self, piece: &Piece) -> Result<bool> {
        let got = match self.bucket().get(&piece.object, GetOptions::new()).await {
            Err(Error::Gone { .. }) => return Ok(false),
            got => got?,
        };
        if got.meta.size != piece.length {
            return Ok(false);
        }
        let mut digest = Sha256::new();
        let mut bytes = got.into_stream();
        while let Some(part) = bytes.next().await {
            digest.update(part?);
        }
        Ok(hex::encode(digest.finalize()).eq_ignore_ascii_case(&piece.sha256))
    }
}
