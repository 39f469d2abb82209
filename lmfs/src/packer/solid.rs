//! Solid heads: which one a block is coded behind, and what becomes of it.

use lmfs_codec::{Codec, Growth, Header, SolidHead, Stop};
use lmfs_indexer::chain_fits;

use super::Packer;
use super::references::{MAX_MODELLED, modelled};

/// The solid head of a group of blocks, as far as it was packed.
pub(super) struct Head {
    /// The stored block that is its last one so far.
    pub id: u64,
    pub solid: SolidHead,
}

/// What is known of a block while it is packed: what it may be coded behind, and what comes of that.
#[derive(Default)]
pub(super) struct Behind<'a> {
    /// The head of its group.
    pub head: Option<&'a Head>,
    /// Whether it becomes a part of that.
    pub growth: Growth,
    /// The head from here on, if it becomes another one.
    pub next: Option<SolidHead>,
}

impl Packer {
    /// The head, if the stored block `id` may be coded behind it.
    pub(super) fn usable<'a>(&self, head: Option<&'a Head>, id: u64) -> Option<&'a Head> {
        let head = head?;
        // Those that refer to it would need more than before.
        let now = self.store.stored_block(id).ok()??;
        if now.referrers > 0 {
            return None;
        }
        let chain = self.chain(head.id)?;
        let bytes = chain.iter().map(|link| u64::from(link.stored.raw_len)).sum();
        let is_short = chain_fits(chain.len(), bytes) && modelled(&chain) <= MAX_MODELLED;
        (is_short && chain.iter().all(|link| link.id != id)).then_some(head)
    }
}

/// The head that begins with a block of these bytes, which became `block`.
pub(super) fn begin(
    codec: &Codec,
    raw: &[u8],
    block: &[u8],
    stop: &Stop,
) -> Result<Option<SolidHead>, lmfs_codec::Error> {
    // What nothing makes smaller says nothing of others.
    let is_dense = Header::parse(block)?.payload_len as usize * 8 > raw.len() * 7;
    if is_dense {
        Ok(None)
    } else {
        codec.begin_solid(raw, block, stop)
    }
}

/// A head for fewer blocks than this is not worth making any of them larger.
pub(super) const SHORT: usize = 8;

/// Whether block `number` of the first `count` ones of a group becomes a part of the head.
pub(super) fn growth(count: usize, number: usize) -> Growth {
    /// A head of so many shows what it saves.
    const SHOWS: usize = 4;
    match (count, number) {
        (..=1, _) => Growth::Never,
        (..SHORT, _) => Growth::IfSmallest,
        (_, ..SHOWS) => Growth::Preferred,
        _ => Growth::IfGaining,
    }
}
