//! What the index remembers about a block beside where it lies.

use lmfs_codec::Method;

/// The tag of an [`Extent`](lmfs_indexer::Extent), one byte: the block's method in the low seven bits; the high bit
/// says that the packer is done with the block though it stayed raw or zstd, because nothing made it smaller. Values
/// from 8 on in the low seven bits say that the block starts behind a dictionary that the store learned: 8 and twice
/// the dictionary's slot, and 1 if the method is not `mix` but `model`. So the index's totals say how many blocks need
/// it.
///
/// So the blocks that still wait for the packer are exactly those tagged [`Tag::STAGED`], which makes the queue a
/// lookup in the index's totals instead of a scan, and a block that is written again is waiting again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u8);

impl Tag {
    const SETTLED: u8 = 0x80;

    /// The first tag of blocks behind a dictionary.
    const BEHIND: u8 = 8;

    /// Dictionaries that a store may have at a time: as many as tags are left.
    pub const SLOTS: u8 = (Tag::SETTLED - Tag::BEHIND) / 2;

    /// The tags of blocks that wait for the packer.
    pub const STAGED: [Tag; 2] = [Tag(Method::Raw as u8), Tag(Method::Zstd as u8)];

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

    /// The tags of blocks that start behind the dictionary of this slot: of method mix, and of method model.
    pub fn behind(slot: u8) -> [Tag; 2] {
        assert!(slot < Tag::SLOTS, "there is no slot {slot}");
        [0, 1].map(|method| Tag(Tag::BEHIND + 2 * slot + method))
    }

    /// The slot of the dictionary that the block starts behind, if it is one that the store learned.
    pub fn slot(self) -> Option<u8> {
        let tag = self.0.checked_sub(Tag::BEHIND)?;
        Some(tag / 2).filter(|slot| *slot < Tag::SLOTS)
    }

    /// The block's method; `None` for a tag that this version does not know.
    pub fn method(self) -> Option<Method> {
        match self.slot() {
            Some(slot) if self == Tag::behind(slot)[0] => Some(Method::Mix),
            Some(_) => Some(Method::Model),
            None => Method::from_code(self.0 & !Tag::SETTLED),
        }
    }

    /// Whether the packer has not seen the block yet.
    pub fn needs_packing(self) -> bool {
        Tag::STAGED.contains(&self)
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
            assert!(!Tag::packed(method).needs_packing());
        }
        assert!(Tag::written(Method::Raw).needs_packing() && Tag::written(Method::Zstd).needs_packing());
        assert_eq!(Tag(0x07).method(), None);
        assert_eq!(Tag(0xff).method(), None);
        for slot in 0..Tag::SLOTS {
            let [mix, model] = Tag::behind(slot);
            assert_eq!((mix.slot(), model.slot()), (Some(slot), Some(slot)));
            assert_eq!((mix.method(), model.method()), (Some(Method::Mix), Some(Method::Model)));
            assert!(!mix.needs_packing() && !model.needs_packing());
        }
        assert!(Method::ALL.iter().all(|method| Tag::packed(*method).slot().is_none()));
    }
}
