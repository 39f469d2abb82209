//! Solid heads: which one a block is coded behind, and what becomes of it.

use lmfs_codec::{Codec, Growth, Header, SolidHead, Stop};

use super::Packer;
use super::head::Head;
use super::references::may_grow;

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
        (may_grow(&chain, true) && chain.iter().all(|link| link.id != id)).then_some(head)
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
