//! Which containers are packed already, and which results are worth a swap. Other packers judge by the same rules.

use std::ops::Range;

use lmfs_codec::stream::ContainerHeader;
use lmfs_codec::stream::layout::Found;
use lmfs_codec::{Codec, Header, Method, Result};

/// Judges containers for a packer.
#[derive(Clone)]
pub struct Judge {
    codec: Codec,
    level: u8,
    block_size: usize,
}

/// Whether a container was packed before, as hard or harder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packed {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// The header of a block tells, which is stored here. [`Judge::is_packed_block`] looks at it.
    Ask(Range<u64>),
}

impl Judge {
    /// For packing at this level with this codec and block size.
    pub fn new(codec: Codec, level: u8, block_size: usize) -> Judge {
        Judge {
            codec,
            level,
            block_size,
        }
    }

    /// Whether a container was packed before, as hard or harder.
    pub fn is_packed(&self, found: &Found) -> Packed {
        let ours = self.codec.model().map(|model| model.identity());
        let ours = ours.map(|identity| (identity.engine, identity.digest));
        let mut headers = found.headers();
        if headers.all(|header| header.model.is_some() && (header.model == ours || ours.is_none())) {
            return Packed::Yes;
        }
        if ours.is_some() {
            return Packed::No;
        }
        // Only packers make blocks of adaptive models.
        match found.first_block() {
            Some(first) => Packed::Ask(first.start..first.start + Header::LEN as u64),
            None => Packed::Yes,
        }
    }

    /// The same, by the header of a block that [`is_packed`](Judge::is_packed) asked for.
    ///
    /// # Errors
    /// Bytes that are no header.
    pub fn is_packed_block(&self, found: &Found, header: &[u8]) -> Result<bool> {
        let header = Header::parse_prefix(header)?;
        let slow = !matches!(header.method, Method::Raw | Method::Zstd);
        let as_asked = found.headers().all(|header| header.block_size == self.block_size);
        // A staged block is one of level 1. One of level 2 looks like it, so that level 2 tries each again.
        Ok(slow || (self.level == 1 && as_asked))
    }

    /// What takes the place of an object of `before` stored bytes has to be smaller than this. `found` is what there is
    /// in it if it is a container. One that does not shrink is swapped nevertheless if its header can say that this
    /// model was tried, or every run would try again.
    pub fn limit(&self, found: Option<&Found>, before: u64) -> u64 {
        let unmarked = found.is_some_and(|found| found.headers().any(|header| header.model.is_none()));
        let marked = unmarked && self.codec.model().is_some();
        before.saturating_add(if marked { ContainerHeader::MAX_LEN as u64 } else { 0 })
    }
}
