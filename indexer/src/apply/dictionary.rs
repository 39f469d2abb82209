//! What changes of dictionaries do to the rows.

use super::{Transaction, refused};
use crate::dictionary::{Dictionary, DictionaryChange, DictionaryId, MAX_DICTIONARIES};
use crate::index::rows;
use crate::{Error, Result};

impl Transaction<'_> {
    pub(super) fn dictionary(&mut self, change: &DictionaryChange) -> Result<()> {
        match change {
            DictionaryChange::Put(new) => {
                self.out.placed.extend(&new.copies);
                self.put_dictionary(new)
            }
            DictionaryChange::Swap { id, old, new } => {
                let Some(mut dictionary) = self.get_dictionary(*id)? else {
                    return Ok(());
                };
                let Some(copy) = dictionary.copies.iter_mut().find(|copy| *copy == old) else {
                    return Ok(());
                };
                *copy = *new;
                self.out.placed.push(*new);
                self.put_dictionary(&dictionary)
            }
            DictionaryChange::Delete(id) => {
                if let Some(old) = self.get_dictionary(*id)? {
                    self.out.counters.dictionary(&old, -1);
                    self.put(rows::dictionary_key(*id), None);
                }
                Ok(())
            }
        }
    }

    fn put_dictionary(&mut self, new: &Dictionary) -> Result<()> {
        match self.get_dictionary(new.id)? {
            Some(old) => self.out.counters.dictionary(&old, -1),
            None => {
                let prefix = [rows::DICTIONARY];
                let count = self.keys_with(&prefix, &prefix, |_| true)?.len();
                if count >= MAX_DICTIONARIES {
                    return refused(format!("more than {MAX_DICTIONARIES} dictionaries"));
                }
            }
        }
        self.out.counters.dictionary(new, 1);
        let mut row = Vec::new();
        new.encode(&mut row);
        self.put(rows::dictionary_key(new.id), Some(row));
        Ok(())
    }

    fn get_dictionary(&self, id: DictionaryId) -> Result<Option<Dictionary>> {
        let Some(row) = self.get(&rows::dictionary_key(id))? else {
            return Ok(None);
        };
        rows::decode_dictionary(id, &row)
            .map(Some)
            .ok_or_else(|| Error::Index(format!("row of dictionary {id:02x?}")))
    }
}
