//! What a payload says of the solid head that its block is coded in or behind.

use crate::dictionary_id::DictionaryId;
use crate::mix::DataLayout;
use crate::solid_digest::SolidDigest;

/// The solid head that a block is coded in or behind, as its payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSolid {
    /// Blocks of the head in front of this one, at least 1.
    pub blocks: u8,
    /// Whether this block is a part of it. If not, the head is complete, and the block is coded behind it.
    pub is_part: bool,
    /// The blocks in front of this one.
    pub digest: SolidDigest,
    /// The built-in dictionary that the head begins behind. Only the second block says so.
    pub dictionary: Option<DictionaryId>,
}

impl InSolid {
    /// The bit of the number of blocks that says that the block is no part.
    const BEHIND: u8 = 0x80;

    /// What a payload of method mix says, and the stream behind it. `None` for a block without a head.
    pub(super) fn parse(payload: &[u8]) -> Option<(InSolid, &[u8])> {
        let (&[layout, number, d0, d1, d2, d3], rest) = payload.split_first_chunk()?;
        let blocks = number & !InSolid::BEHIND;
        if layout != DataLayout::SOLID || blocks == 0 {
            return None;
        }
        let (dictionary, stream) = match blocks {
            1 => {
                let (id, stream) = rest.split_first_chunk()?;
                (
                    Some(DictionaryId(*id)).filter(|id| id.0 != [0; DictionaryId::LEN]),
                    stream,
                )
            }
            _ => (None, rest),
        };
        let solid = InSolid {
            blocks,
            is_part: number & InSolid::BEHIND == 0,
            digest: SolidDigest(u32::from_le_bytes([d0, d1, d2, d3])),
            dictionary,
        };
        Some((solid, stream))
    }

    /// The payload that says this.
    pub(super) fn payload(self, stream: &[u8]) -> Vec<u8> {
        let number = if self.is_part {
            self.blocks
        } else {
            self.blocks | InSolid::BEHIND
        };
        let mut payload = vec![DataLayout::SOLID, number];
        payload.extend(self.digest.0.to_le_bytes());
        if self.blocks == 1 {
            payload.extend(self.dictionary.map_or([0; DictionaryId::LEN], |id| id.0));
        }
        payload.extend(stream);
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_what_it_was_told() {
        for (blocks, is_part, dictionary) in [
            (1, true, Some([7; 4])),
            (1, false, None),
            (9, true, None),
            (127, false, None),
        ] {
            let solid = InSolid {
                blocks,
                is_part,
                digest: SolidDigest(0x1234_5678),
                dictionary: dictionary.map(DictionaryId),
            };
            assert_eq!(InSolid::parse(&solid.payload(b"stream")), Some((solid, &b"stream"[..])));
        }
        for short in [
            &[15][..],
            &[15, 1, 0, 0, 0],
            &[15, 1, 0, 0, 0, 0, 1],
            &[15, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[15, 128, 0, 0, 0, 0],
        ] {
            assert_eq!(InSolid::parse(short), None, "{short:?}");
        }
    }
}
