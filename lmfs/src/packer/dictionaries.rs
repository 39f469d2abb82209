//! The dictionaries that the packer chooses among.

use std::collections::{BTreeSet, HashSet};

use lmfs_codec::dictionary::{DictionaryId, Sketch};
use lmfs_codec::{Codec, Header, Method};
use lmfs_indexer::{MAX_DICTIONARIES, Store};
use tracing::warn;

use super::error::Error;
use crate::store::Tag;
use crate::store::dictionaries::{self, Info};

/// Dictionaries of the store that are tried on a block, beside the built-in ones.
const TRIED: usize = 2;
/// Dictionaries whose sketch fits this much worse than the best are not tried.
const MARGIN: i64 = 256;

/// The dictionaries of a store that can be read.
#[derive(Default)]
pub(super) struct Dictionaries {
    entries: Vec<Entry>,
    /// Those that no block needed when a run began.
    unused: HashSet<DictionaryId>,
}

struct Entry {
    id: DictionaryId,
    slot: u8,
    sketch: Sketch,
}

impl Dictionaries {
    /// Looks which dictionaries there are, and deletes those that no block needed when this was called twice.
    pub fn tidy(&mut self, store: &Store) -> Result<(), Error> {
        let known = store.dictionaries()?;
        self.entries
            .retain(|entry| known.iter().any(|dictionary| dictionary.id == entry.id.0));
        let tags = store.tags_in_use();
        for dictionary in known {
            let id = DictionaryId(dictionary.id);
            let Some(info) = Info::parse(&dictionary.info) else {
                continue;
            };
            if is_free(&tags, info.slot) {
                if !self.unused.insert(id) {
                    self.unused.remove(&id);
                    self.entries.retain(|entry| entry.id != id);
                    store.delete_dictionary(id.0)?;
                    continue;
                }
            } else {
                self.unused.remove(&id);
            }
            if self
                .entries
                .iter()
                .all(|entry| entry.id != id && entry.slot != info.slot)
            {
                match dictionaries::text(store, id) {
                    Ok(Some(text)) => self.put(id, info.slot, &text),
                    Ok(None) => {}
                    Err(error) => warn!(%error, "no block will start behind this dictionary"),
                }
            }
        }
        Ok(())
    }

    /// Takes a dictionary up.
    pub fn put(&mut self, id: DictionaryId, slot: u8, text: &[u8]) {
        let sketch = Sketch::of(text);
        self.entries.push(Entry { id, slot, sketch });
    }

    /// A slot that no dictionary and no block has.
    pub fn free_slot(&self, store: &Store) -> Result<Option<u8>, Error> {
        let known = store.dictionaries()?;
        if known.len() >= MAX_DICTIONARIES {
            return Ok(None);
        }
        let taken: HashSet<u8> = known
            .iter()
            .filter_map(|dictionary| Info::parse(&dictionary.info))
            .map(|info| info.slot)
            .collect();
        let tags = store.tags_in_use();
        Ok((0..Tag::SLOTS).find(|slot| !taken.contains(slot) && is_free(&tags, *slot)))
    }

    /// The dictionaries that are worth a trial on a block.
    pub fn candidates(&self, raw: &[u8]) -> Vec<DictionaryId> {
        let scored = self.entries.iter().map(|entry| (entry.sketch.score(raw), entry.id));
        let mut scored: Vec<_> = scored.filter(|(score, _)| *score > 0).collect();
        scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        let best = scored.first().map_or(0, |(score, _)| *score);
        scored.retain(|(score, _)| score + MARGIN > best);
        scored.into_iter().take(TRIED).map(|(_, id)| id).collect()
    }

    /// The tag of a block that was packed.
    pub fn tag(&self, block: &[u8]) -> Result<Tag, lmfs_codec::Error> {
        let method = Header::parse(block)?.method;
        let id = Codec::needs(block)?.dictionary;
        let entry = self.entries.iter().find(|entry| Some(entry.id) == id);
        Ok(entry.map_or_else(
            || Tag::packed(method),
            |entry| {
                let [mix, model] = Tag::behind(entry.slot);
                if method == Method::Mix { mix } else { model }
            },
        ))
    }
}

/// Whether no block starts behind the dictionary of this slot. The packer has appended none either that is still to be
/// named: a run commits all that it appended, and only its beginning asks.
fn is_free(tags: &BTreeSet<u8>, slot: u8) -> bool {
    Tag::behind(slot).iter().all(|tag| !tags.contains(&tag.0))
}
