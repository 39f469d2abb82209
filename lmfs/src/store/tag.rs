//! What the index remembers about a block beside where it lies.

use lmfs_codec::Method;

/// The tag of an [`Extent`](lmfs_indexer::Extent), one byte: the block's method in the low seven bits; the high bit
/// says that the packer is done with the block though it stayed raw or zstd, because nothing made it smaller.
///
/// So the blocks that still wait for the packer are exactly those tagged [`Tag::FIRST_COPIES`], which makes the queue a
/// lookup in the index's totals instead of a scan, and a block that is written again is waiting again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u8);

impl Tag {
    const SETTLED: u8 = 0x80;

    /// The tags of blocks that wait for the packer.
    pub const FIRST_COPIES: [Tag; 2] = [Tag(Method::Raw as u8), Tag(Method::Zstd as u8)];

    /// The tag of a block that a write has just stored.
    pub fn written(method: Method) -> Tag {
        Tag(method as u8)
    }

    /// The tag of a block that the packer has dealt with.
    pub fn packed(method: Method) -> Tag {
        match method {
            Method::Raw | Method::Zstd => Tag(method as u8 | Tag::SETTLED),
            _ => Tag(method as u8),
        }
    }

    /// The block's method; `None` for a tag that this version does not know.
    pub fn method(self) -> Option<Method> {
        Method::from_code(self.0 & !Tag::SETTLED)
    }

    /// Whether the packer has not seen the block yet.
    pub fn waits(self) -> bool {
        Tag::FIRST_COPIES.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_blocks_wait_and_packed_ones_do_not() {
        for method in Method::ALL {
            assert_eq!(Tag::written(method).method(), Some(method));
            assert_eq!(Tag::packed(method).method(), Some(method));
            assert!(!Tag::packed(method).waits());
        }
        assert!(Tag::written(Method::Raw).waits() && Tag::written(Method::Zstd).waits());
        assert_eq!(Tag(0x7f).method(), None);
    }
}
