//! The dictionaries inside the program. `training/README.md` says how they are made.
//!
//! They are compressed as the mixer compresses a block, so that reading one and decompressing it is the same work.

use std::sync::LazyLock;

use super::{DictionaryId, Sketch};
use crate::mix::{Predictor, WarmState};
use crate::{Error, Result, Stop};

/// A dictionary that is part of this library.
pub struct Builtin {
    /// What it is good for.
    pub name: &'static str,
    /// Its file: see [`Builtin::write`].
    file: &'static [u8],
}

/// What a file has in front of the compressed text: the id, the length (4 bytes) and the sketch.
const HEADER: usize = DictionaryId::LEN + 4 + Sketch::LEN;

/// A dictionary and what is known of it before it is decompressed.
#[derive(Debug)]
pub struct Entry {
    /// What it is good for.
    pub name: &'static str,
    /// Its id.
    pub id: DictionaryId,
    /// Bytes of its text.
    pub len: usize,
    sketch: Sketch,
    stream: &'static [u8],
}

macro_rules! builtins {
    ($($name:literal),* $(,)?) => {
        &[$(Builtin {
            name: $name,
            file: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/dictionaries/", $name, ".dict")),
        }),*]
    };
}

static BUILTINS: &[Builtin] = builtins![
    "prose",
    "markdown",
    "c",
    "java",
    "python",
    "web",
    "rust",
    "script",
    "json",
    "csv",
    "logs",
    "xml",
    "german",
    "french",
    "spanish",
    "italian",
    "portuguese",
    "russian",
    "chinese",
    "japanese",
];

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| BUILTINS.iter().filter_map(Builtin::entry).collect());

impl Builtin {
    fn entry(&self) -> Option<Entry> {
        let (header, stream) = self.file.split_first_chunk::<HEADER>()?;
        let (id, rest) = header.split_first_chunk::<{ DictionaryId::LEN }>()?;
        let (len, sketch) = rest.split_first_chunk::<4>()?;
        Some(Entry {
            name: self.name,
            id: DictionaryId(*id),
            len: u32::from_le_bytes(*len) as usize,
            sketch: Sketch::from_bytes(sketch.first_chunk()?),
            stream,
        })
    }

    /// The file of a dictionary of this text.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn write(text: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        let (_, stream) = WarmState::compress(&mut Predictor::new(), text, stop)?;
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
        Ok([
            &DictionaryId::of(text).0[..],
            &len,
            &Sketch::of(text).to_bytes(),
            &stream,
        ]
        .concat())
    }
}

impl Entry {
    /// Bytes that it takes in the program.
    pub fn stored_len(&self) -> usize {
        HEADER + self.stream.len()
    }

    /// The text.
    ///
    /// # Errors
    /// [`Error::UnusableDictionary`] if this program is damaged.
    pub fn text(&self) -> Result<Vec<u8>> {
        Ok(self.learn(&mut Predictor::new(), &Stop::new())?.text().to_vec())
    }

    /// The state after this dictionary.
    pub(crate) fn learn(&self, predictor: &mut Predictor, stop: &Stop) -> Result<WarmState> {
        let state = match WarmState::decompress(predictor, self.stream, self.len, stop) {
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                let (id, reason) = (self.id, error.to_string());
                return Err(Error::UnusableDictionary { id, reason });
            }
            Ok(state) => state,
        };
        super::check(self.id, state.text())?;
        Ok(state)
    }
}

/// All built-in dictionaries.
pub fn list() -> &'static [Entry] {
    &ENTRIES
}

/// The built-in dictionary of this id.
pub(crate) fn find(id: DictionaryId) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.id == id)
}

/// The name of the built-in dictionary whose kind is most like that of a block, if any is.
pub fn kind(block: &[u8]) -> Option<&'static str> {
    let id = likeliest(block, 1).into_iter().next()?;
    find(id).map(|entry| entry.name)
}

/// The built-in dictionaries whose kind is most like that of a block, the likeliest first.
pub(crate) fn likeliest(block: &[u8], most: usize) -> Vec<DictionaryId> {
    /// Dictionaries that are this much less likely than the first are not worth a trial.
    const MARGIN: i64 = 256;
    let mut scored: Vec<(i64, DictionaryId)> = ENTRIES
        .iter()
        .map(|entry| (entry.sketch.score(block), entry.id))
        .filter(|(score, _)| *score > 0)
        .collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let first = scored.first().map_or(0, |(score, _)| *score);
    scored
        .into_iter()
        .take(most)
        .filter(|(score, _)| score + MARGIN > first)
        .map(|(_, id)| id)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn all_dictionaries_are_whole_and_differ() {
        assert_eq!(list().len(), BUILTINS.len(), "a file is too short");
        let bytes: usize = BUILTINS.iter().map(|builtin| builtin.file.len()).sum();
        assert!(bytes <= 1_500_000, "{bytes} bytes of the program");
        let mut predictor = Predictor::new();
        for (i, entry) in list().iter().enumerate() {
            let state = entry.learn(&mut predictor, &Stop::new()).unwrap();
            assert_eq!(DictionaryId::of(state.text()), entry.id, "{}", entry.name);
            assert_eq!(
                Sketch::of(state.text()).to_bytes(),
                entry.sketch.to_bytes(),
                "{}",
                entry.name
            );
            assert!(
                list().iter().skip(i + 1).all(|other| other.id != entry.id),
                "{}",
                entry.name
            );
        }
    }
}
