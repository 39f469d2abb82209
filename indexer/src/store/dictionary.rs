//! Dictionaries of the store: each is a record of its own in at least two segments, named by one row.

use super::check::{Finding, Severity};
use super::{Position, Store};
use crate::dictionary::{COPIES, Dictionary, DictionaryChange, DictionaryId};
use crate::index::rows;
use crate::invalid_change::InvalidChange;
use crate::limits::MAX_DICTIONARY;
use crate::types::BlockRef;
use crate::{Change, Error, Result};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// A dictionary whose copies move more often than this while it is read is another one by now.
const TRIES: usize = 16;

/// What was found and done about a dictionary whose copies are not all whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedDictionary {
    /// The dictionary.
    pub id: DictionaryId,
    /// What is wrong with its copies, in words.
    pub damage: Vec<String>,
    /// No copy is whole: blocks that need it cannot be decoded.
    pub lost: bool,
    /// The damaged copies were replaced.
    pub mended: bool,
}

impl Store {
    /// Stores a dictionary, if it is not there yet: durable in different segments before it is named. Says whether it
    /// was stored: one that is there stays as it is, with its own `info`.
    ///
    /// # Errors
    /// A full disk; more dictionaries than a store may have.
    pub fn add_dictionary(&self, id: DictionaryId, info: &[u8], bytes: &[u8]) -> Result<bool> {
        let _no_collection = self.collecting.lock();
        if self.dictionary(id)?.is_some() {
            return Ok(false);
        }
        let copies = self.append_dictionary(id, bytes)?;
        let result = self.sync().and_then(|()| {
            self.commit_dictionary(DictionaryChange::Put(Dictionary {
                id,
                info: info.to_vec(),
                copies: copies.clone(),
            }))
        });
        // After a failure they are garbage; after a success this does nothing.
        self.abandon_blocks(&copies);
        result?;
        self.sync()?;
        Ok(true)
    }

    /// Appends the copies of a dictionary, in different segments. They take part in nothing until a commit names them,
    /// and are kept and abandoned like blocks ([`Store::append_block`]).
    ///
    /// # Errors
    /// A full disk.
    pub fn append_dictionary(&self, id: DictionaryId, bytes: &[u8]) -> Result<Vec<BlockRef>> {
        let mut copies = Vec::new();
        match self.append_copies(id, bytes, COPIES, &mut copies) {
            Ok(()) => Ok(copies),
            Err(error) => {
                self.abandon_blocks(&copies);
                Err(error)
            }
        }
    }

    /// Deletes a dictionary. Its copies become garbage.
    ///
    /// # Errors
    /// A full disk.
    pub fn delete_dictionary(&self, id: DictionaryId) -> Result<()> {
        self.commit_dictionary(DictionaryChange::Delete(id))
    }

    /// A dictionary and where its copies lie.
    pub fn dictionary(&self, id: DictionaryId) -> Result<Option<Dictionary>> {
        let Some(row) = self.state().index.get(&rows::dictionary_key(id))? else {
            return Ok(None);
        };
        rows::decode_dictionary(id, &row)
            .map(Some)
            .ok_or_else(|| Error::Index("row of a dictionary".into()))
    }

    /// All dictionaries of the store, by id.
    pub fn dictionaries(&self) -> Result<Vec<Dictionary>> {
        let mut found = Vec::new();
        let prefix = [rows::DICTIONARY];
        let bad = self.state().index.scan_prefix(&prefix, &prefix, |key, value| {
            match rows::dictionary_of(key).and_then(|id| rows::decode_dictionary(id, value)) {
                Some(dictionary) => {
                    found.push(dictionary);
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            }
        })?;
        match bad {
            Some(()) => Err(Error::Index("row of a dictionary".into())),
            None => Ok(found),
        }
    }

    /// The bytes of a dictionary, from any copy that is whole; None if the store has none of this id.
    ///
    /// # Errors
    /// [`Error::Damaged`] if no copy is whole.
    pub fn read_dictionary(&self, id: DictionaryId) -> Result<Option<Vec<u8>>> {
        for _ in 0..TRIES {
            let Some(dictionary) = self.dictionary(id)? else {
                return Ok(None);
            };
            let mut failed = None;
            for copy in &dictionary.copies {
                match self.log.read_dictionary(id, *copy) {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(error) => failed = Some(error),
                }
            }
            // Moved meanwhile, or else there is nothing left to try.
            if self.dictionary(id)?.as_ref() == Some(&dictionary) {
                return failed.map_or(Ok(None), Err);
            }
        }
        Err(Error::Index("a dictionary moves all the time".into()))
    }

    /// Reads every copy of every dictionary. If the store may be written, lost and damaged copies, and those that lie
    /// in one segment with another, are made anew from one that is whole.
    ///
    /// # Errors
    /// A full disk. Damage is no error.
    pub fn mend_dictionaries(&self) -> Result<Vec<DamagedDictionary>> {
        let _no_collection = self.collecting.lock();
        let mut found = Vec::new();
        for dictionary in self.dictionaries()? {
            let id = dictionary.id;
            let (mut whole, mut bad, mut damage) = (None, Vec::new(), Vec::new());
            let mut segments = BTreeSet::new();
            for copy in &dictionary.copies {
                match self.log.read_dictionary(id, *copy) {
                    Ok(_) if !segments.insert(copy.segment) => {
                        damage.push(format!("two copies lie in segment {:08x}", copy.segment));
                        bad.push(*copy);
                    }
                    Ok(bytes) => whole = Some(bytes),
                    Err(error) => {
                        damage.push(error.to_string());
                        bad.push(*copy);
                    }
                }
            }
            if bad.is_empty() {
                continue;
            }
            let mended = match &whole {
                Some(bytes) if !self.read_only => {
                    self.replace_copies(&dictionary, &bad, bytes)?;
                    true
                }
                _ => false,
            };
            found.push(DamagedDictionary {
                id,
                damage,
                lost: whole.is_none(),
                mended,
            });
        }
        Ok(found)
    }

    /// The copy of a dictionary in use whose record begins here. `payload` is the record's, or its beginning.
    pub(super) fn copy_at(&self, at: Position, payload: &[u8]) -> Result<Option<(DictionaryId, BlockRef)>> {
        let Some(&id) = payload.first_chunk() else {
            return Ok(None);
        };
        let is_here = |copy: &&BlockRef| (copy.segment, copy.offset) == (at.segment, at.offset);
        let dictionary = self.dictionary(id)?;
        Ok(dictionary.and_then(|d| d.copies.iter().find(is_here).map(|copy| (id, *copy))))
    }

    /// Copies a copy to the end of the log, for garbage collection, which holds its lock. What it says of the place is
    /// not asked: any whole copy will do.
    pub(super) fn move_copy(&self, id: DictionaryId, old: BlockRef) -> Result<u64> {
        let (Some(dictionary), Some(bytes)) = (self.dictionary(id)?, self.read_dictionary(id)?) else {
            return Ok(0);
        };
        self.replace_copies(&dictionary, &[old], &bytes)?;
        Ok(bytes.len() as u64)
    }

    fn replace_copies(&self, dictionary: &Dictionary, old: &[BlockRef], bytes: &[u8]) -> Result<()> {
        let mut copies: Vec<BlockRef> = dictionary.copies.iter().copied().filter(|c| !old.contains(c)).collect();
        let kept = copies.len();
        for old in old {
            let before = copies.len();
            let result = self.append_copies(dictionary.id, bytes, 1, &mut copies).and_then(|()| {
                self.sync()?;
                copies.last().map_or(Ok(()), |new| {
                    self.commit_dictionary(DictionaryChange::Swap {
                        id: dictionary.id,
                        old: *old,
                        new: *new,
                    })
                })
            });
            self.abandon_blocks(copies.get(before.max(kept)..).unwrap_or_default());
            result?;
        }
        Ok(())
    }

    /// Appends so many more copies, each in a segment where none of `copies` is.
    fn append_copies(&self, id: DictionaryId, bytes: &[u8], more: usize, copies: &mut Vec<BlockRef>) -> Result<()> {
        self.writable()?;
        if bytes.len() > MAX_DICTIONARY {
            let len = bytes.len();
            return Err(InvalidChange::Dictionary(len).into());
        }
        for _ in 0..more {
            let taken = |segment| copies.iter().any(|copy| copy.segment == segment);
            if self.log.segments().iter().any(|s| !s.is_sealed() && taken(s.id)) {
                self.log.seal_head()?;
            }
            let new = self.log.append_dictionary(id, bytes, |r| {
                self.pending().insert((r.segment, r.offset));
            })?;
            copies.push(new);
        }
        Ok(())
    }

    fn commit_dictionary(&self, change: DictionaryChange) -> Result<()> {
        let _report = self.commit(vec![Change::Dictionary(change)])?;
        Ok(())
    }

    /// What the rows say about dictionaries that cannot be: for the check of the tree.
    pub(super) fn dictionary_findings(&self, dictionary: &Dictionary) -> Vec<Finding> {
        let id = hex(dictionary.id);
        let mut found = Vec::new();
        let mut segments = BTreeSet::new();
        let mut missing = 0;
        for copy in &dictionary.copies {
            let end = u64::from(copy.offset) + u64::from(copy.len);
            let is_there = self.log.segment(copy.segment).is_some_and(|s| end <= s.len());
            if !is_there {
                missing += 1;
                let what = format!("a copy of dictionary {id} is missing");
                found.push(Finding::new(Severity::Warning, what).at(copy.segment, copy.offset.into()));
            }
            segments.insert(copy.segment);
        }
        if missing == dictionary.copies.len() {
            let what = format!("no copy of dictionary {id} is there: the blocks that need it cannot be read");
            found.push(Finding::new(Severity::Error, what));
        } else if segments.len() < COPIES {
            let what = format!("all copies of dictionary {id} lie in one segment");
            found.push(Finding::new(Severity::Warning, what));
        }
        found
    }

    /// What damage to a dictionary's record at a place of the log means.
    pub(super) fn judge_copy(&self, at: Position, payload: &[u8]) -> Result<Finding> {
        Ok(match self.copy_at(at, payload)? {
            Some((id, _)) => Finding::new(
                Severity::Error,
                format!("a copy of dictionary {} has a wrong checksum", hex(id)),
            ),
            None => Finding::new(
                Severity::Warning,
                "a copy of a dictionary that is not in use has a wrong checksum",
            ),
        })
    }
}

fn hex(id: DictionaryId) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

#[cfg(test)]
mod tests;
