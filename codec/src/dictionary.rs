//! Dictionaries: text that blocks start behind.
//!
//! A block that names a dictionary is coded as if the dictionary's text stood in front of it. That makes small blocks
//! of data like it much smaller. A dictionary is known by its contents: its id is a digest of its text, so a wrong one
//! is refused.

pub mod builtin;
mod sketch;
mod train;

use std::str::FromStr;

use crate::{Error, Result};

pub use crate::dictionary_id::DictionaryId;
pub use sketch::Sketch;
pub use train::train;

/// The most bytes of a dictionary.
pub const MAX_DICTIONARY: usize = 1 << 20;

impl FromStr for DictionaryId {
    type Err = Error;

    fn from_str(text: &str) -> Result<DictionaryId> {
        let number = u32::from_str_radix(text, 16).ok();
        number
            .filter(|_| text.len() == 2 * Self::LEN && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .map(|number| DictionaryId(number.to_be_bytes()))
            .ok_or_else(|| Error::InvalidOption(format!("{text:?} is not a dictionary's id: 8 hex digits are")))
    }
}

/// Where a codec finds dictionaries besides the built-in ones. A codec calls it once for each dictionary that it needs,
/// and again if that was evicted since. It may be called by several threads at once, for different dictionaries.
pub trait DictionarySource: Send + Sync {
    /// The text of a dictionary; `None` if there is no dictionary of this id.
    ///
    /// # Errors
    /// Whatever keeps it from being read now.
    fn text(&self, id: DictionaryId) -> Result<Option<Vec<u8>>>;
}

/// A source without dictionaries.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDictionaries;

impl DictionarySource for NoDictionaries {
    fn text(&self, _: DictionaryId) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl DictionarySource for Vec<Vec<u8>> {
    fn text(&self, id: DictionaryId) -> Result<Option<Vec<u8>>> {
        Ok(self.iter().find(|text| DictionaryId::of(text) == id).cloned())
    }
}

/// Checks that a text is the dictionary of this id.
pub(crate) fn check(id: DictionaryId, text: &[u8]) -> Result<()> {
    let reason = match (text.len(), DictionaryId::of(text)) {
        (len, _) if len > MAX_DICTIONARY => format!("it has {len} bytes, at most {MAX_DICTIONARY} are possible"),
        (_, found) if found != id => format!("its contents are those of dictionary {found}"),
        _ => return Ok(()),
    };
    Err(Error::UnusableDictionary { id, reason })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_nonsense_is_refused() {
        let id = DictionaryId::of(b"text");
        assert_eq!(id.to_string().parse::<DictionaryId>().unwrap(), id);
        assert_ne!(id, DictionaryId::of(b"other text"));
        for bad in ["", "123", "+1234567", "123456789", "1234567g", "ähnlich"] {
            assert!(bad.parse::<DictionaryId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_the_text_that_an_id_was_made_of_fits_it() {
        let id = DictionaryId::of(b"text");
        check(id, b"text").unwrap();
        assert!(check(id, b"texts").unwrap_err().to_string().contains(&id.to_string()));
        let long = vec![0; MAX_DICTIONARY + 1];
        assert!(check(DictionaryId::of(&long), &long).is_err());
    }
}
