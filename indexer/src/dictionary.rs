//! Dictionaries: texts that blocks are decoded with. Each is stored more than once, in different segments, because the
//! loss of one would be the loss of every block that needs it.

use crate::invalid_change::InvalidChange;
use crate::limits::{MAX_COPIES, MAX_DICTIONARY, MAX_INFO};
use crate::types::BlockRef;
use crate::wire::{Reader, put_bytes, put_varint};

/// Name of a dictionary: a digest of its text, as whoever stores it computes it.
pub type DictionaryId = [u8; 4];

/// The most dictionaries of a store.
pub const MAX_DICTIONARIES: usize = 64;

/// Copies that a new dictionary gets.
pub(crate) const COPIES: usize = 2;

/// A dictionary of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dictionary {
    /// Its name.
    pub id: DictionaryId,
    /// Meaning left to the caller, at most 255 bytes.
    pub info: Vec<u8>,
    /// Where its copies lie. All have the same bytes.
    pub copies: Vec<BlockRef>,
}

/// One step of a transaction that concerns a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DictionaryChange {
    /// Makes or replaces a dictionary, whose copies must have been appended.
    Put(Dictionary),
    /// Replaces one copy if it is still `old`, otherwise does nothing.
    Swap {
        /// The dictionary.
        id: DictionaryId,
        /// What the copy must be now.
        old: BlockRef,
        /// What it becomes.
        new: BlockRef,
    },
    /// Deletes a dictionary; an absent one is no error.
    Delete(DictionaryId),
}

const PUT: u8 = 20;
const SWAP: u8 = 21;
const DELETE: u8 = 22;

impl DictionaryChange {
    /// Refuses what no store may hold.
    pub(crate) fn validate(&self) -> Result<(), InvalidChange> {
        match self {
            Self::Put(dictionary) => dictionary.validate(),
            Self::Swap { new, .. } => copy_len(new),
            Self::Delete(_) => Ok(()),
        }
    }

    /// Appends it to the bytes of a transaction.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put(dictionary) => {
                out.push(PUT);
                out.extend_from_slice(&dictionary.id);
                dictionary.encode(out);
            }
            Self::Swap { id, old, new } => {
                out.push(SWAP);
                out.extend_from_slice(id);
                put_ref(out, *old);
                put_ref(out, *new);
            }
            Self::Delete(id) => {
                out.push(DELETE);
                out.extend_from_slice(id);
            }
        }
    }

    /// Whether changes of this code are of dictionaries.
    pub(crate) fn has_code(code: u8) -> bool {
        (PUT..=DELETE).contains(&code)
    }

    /// Reads one whose code was read.
    pub(crate) fn decode(code: u8, r: &mut Reader<'_>) -> Option<Self> {
        let id = r.array()?;
        Some(match code {
            PUT => Self::Put(Dictionary::decode(id, r)?),
            SWAP => Self::Swap {
                id,
                old: read_ref(r)?,
                new: read_ref(r)?,
            },
            DELETE => Self::Delete(id),
            _ => return None,
        })
    }

    /// The copies that it names anew.
    pub(crate) fn new_copies(&self) -> &[BlockRef] {
        match self {
            Self::Put(dictionary) => &dictionary.copies,
            Self::Swap { new, .. } => std::slice::from_ref(new),
            Self::Delete(_) => &[],
        }
    }
}

impl Dictionary {
    pub(crate) fn validate(&self) -> Result<(), InvalidChange> {
        if !(1..=MAX_COPIES).contains(&self.copies.len()) {
            return Err(InvalidChange::Copies(self.copies.len()));
        }
        if self.info.len() > MAX_INFO {
            return Err(InvalidChange::Info(self.info.len()));
        }
        self.copies.iter().try_for_each(copy_len)
    }

    /// Appends its row.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.info);
        put_varint(out, self.copies.len() as u64);
        self.copies.iter().for_each(|copy| put_ref(out, *copy));
    }

    /// Reads its row, or as much of `r` as that is.
    pub(crate) fn decode(id: DictionaryId, r: &mut Reader<'_>) -> Option<Self> {
        let info = r.bytes()?.to_vec();
        let count = usize::try_from(r.varint()?).ok().filter(|count| *count <= MAX_COPIES)?;
        let copies = (0..count).map(|_| read_ref(r)).collect::<Option<_>>()?;
        Some(Self { id, info, copies })
    }
}

fn copy_len(copy: &BlockRef) -> Result<(), InvalidChange> {
    match copy.len as usize {
        len if len > MAX_DICTIONARY => Err(InvalidChange::Dictionary(len)),
        _ => Ok(()),
    }
}

fn put_ref(out: &mut Vec<u8>, r: BlockRef) {
    for part in [r.segment, r.offset, r.len] {
        put_varint(out, part.into());
    }
}

fn read_ref(r: &mut Reader<'_>) -> Option<BlockRef> {
    Some(BlockRef {
        segment: r.varint32()?,
        offset: r.varint32()?,
        len: r.varint32()?,
    })
}
