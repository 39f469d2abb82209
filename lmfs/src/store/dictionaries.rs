//! Dictionaries that a store learned: what the log has of them, in terms of the codec.

use std::sync::{Arc, Weak};

use lmfs_codec::dictionary::{DictionaryId, DictionarySource};
use lmfs_codec::model::LanguageModel;
use lmfs_codec::{Codec, Error, Options, Result, Stop};
use lmfs_indexer::Store;

use super::Tag;
use crate::task::at_normal_priority;

/// What the index remembers of a dictionary beside where it lies. docs/FORMAT.md, "Dictionaries of a store".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number in the [tags](Tag) of blocks, below [`Tag::SLOTS`].
    pub slot: u8,
    /// Bytes of its text.
    pub len: u32,
    /// The kind of data that it is for.
    pub kind: String,
}

impl Info {
    /// Longest kind, in bytes.
    const MAX_KIND: usize = 64;

    /// The bytes in the index.
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = self.kind.as_bytes();
        let kind = kind.get(..Self::MAX_KIND).unwrap_or(kind);
        [&[self.slot][..], &self.len.to_le_bytes(), kind].concat()
    }

    /// Reads them; `None` for what this version does not understand.
    pub fn parse(bytes: &[u8]) -> Option<Info> {
        let (&slot, rest) = bytes.split_first()?;
        let (len, kind) = rest.split_first_chunk()?;
        (slot < Tag::SLOTS).then(|| Info {
            slot,
            len: u32::from_le_bytes(*len),
            kind: String::from_utf8_lossy(kind).into_owned(),
        })
    }
}

/// A dictionary of a store, as `lmfs status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// The kind of data that it is for.
    pub kind: String,
    /// Bytes of its text.
    pub bytes: u64,
    /// Bytes that all its copies take.
    pub stored_bytes: u64,
    /// Blocks that start behind it.
    pub blocks: u64,
    /// Bytes of these blocks, as stored.
    pub block_bytes: u64,
}

/// The dictionaries of a store, by their slots.
///
/// # Errors
/// The index cannot be read.
pub fn shown(store: &Store) -> lmfs_indexer::Result<Vec<(Option<u8>, Shown)>> {
    let totals = store.totals();
    let show = |dictionary: lmfs_indexer::Dictionary| {
        let info = Info::parse(&dictionary.info);
        let tags = info.iter().flat_map(|info| Tag::behind(info.slot));
        let used: Vec<_> = tags.filter_map(|tag| totals.by_tag.get(&tag.0)).collect();
        let shown = Shown {
            id: DictionaryId(dictionary.id).to_string(),
            kind: info.as_ref().map(|info| info.kind.clone()).unwrap_or_default(),
            bytes: info.as_ref().map_or(0, |info| info.len.into()),
            stored_bytes: dictionary.copies.iter().map(|copy| u64::from(copy.len)).sum(),
            blocks: used.iter().map(|sum| sum.blocks).sum(),
            block_bytes: used.iter().map(|sum| sum.bytes).sum(),
        };
        (info.map(|info| info.slot), shown)
    };
    Ok(store.dictionaries()?.into_iter().map(show).collect())
}

/// A codec for the blocks of a store, which finds the dictionaries that they name in its log.
///
/// # Errors
/// Options that are none.
pub fn codec(store: &Arc<Store>, model: Option<Arc<dyn LanguageModel>>, options: Options) -> Result<Codec> {
    let source = InStore {
        store: Arc::downgrade(store),
        coder: coder()?,
    };
    Codec::with_dictionaries(model, Arc::new(source), options)
}

/// The bytes of a dictionary's record: a block that needs neither a language model nor another dictionary of the store.
///
/// # Errors
/// Interrupted; more than a dictionary may have.
pub fn encode(text: &[u8], stop: &Stop) -> Result<Vec<u8>> {
    coder()?.encode(text, stop)
}

/// The text of a dictionary; `None` if the store has none of this id.
///
/// # Errors
/// [`Error::UnusableDictionary`] if no copy is whole.
pub fn text(store: &Store, id: DictionaryId) -> Result<Option<Vec<u8>>> {
    decode(store.read_dictionary(id.0), &coder()?, id)
}

/// Decodes what the log has of a dictionary.
fn decode(read: lmfs_indexer::Result<Option<Vec<u8>>>, coder: &Codec, id: DictionaryId) -> Result<Option<Vec<u8>>> {
    let unusable = |reason: String| Error::UnusableDictionary { id, reason };
    let Some(block) = read.map_err(|error| unusable(format!("no copy is whole: {error}")))? else {
        return Ok(None);
    };
    let text = coder.decode(&block, &Stop::new());
    text.map(Some).map_err(|error| unusable(error.to_string()))
}

fn coder() -> Result<Codec> {
    let mut options = Options::default();
    options.max_states = 1;
    Codec::new(None, options)
}

/// The dictionaries in a store's log. They do not keep it open.
struct InStore {
    store: Weak<Store>,
    /// Decodes them.
    coder: Codec,
}

impl DictionarySource for InStore {
    fn text(&self, id: DictionaryId) -> Result<Option<Vec<u8>>> {
        let store = self.store.upgrade().ok_or_else(|| Error::UnusableDictionary {
            id,
            reason: "the store is closed".to_owned(),
        })?;
        // A thread that computes at low priority asks here, too.
        let read = at_normal_priority(move || store.read_dictionary(id.0));
        decode(read, &self.coder, id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use lmfs_indexer::{CreateOptions, MemIo};

    use super::*;

    #[test]
    fn what_the_index_remembers_survives_a_round_trip() {
        let info = Info {
            slot: 59,
            len: 70_000,
            kind: "py".to_owned(),
        };
        assert_eq!(Info::parse(&info.to_bytes()), Some(info.clone()));
        assert_eq!(Info::parse(&[60, 0, 0, 0, 0]), None);
        assert_eq!(Info::parse(&[0, 0, 0]), None);
        let long = Info {
            kind: "k".repeat(1000),
            ..info
        };
        assert!(long.to_bytes().len() < 100);
    }

    #[test]
    fn a_block_is_decoded_with_a_dictionary_of_the_log_and_a_hostile_one_is_refused() {
        let store = Store::create(Arc::new(MemIo::new()), CreateOptions::new([1; 16])).unwrap();
        let store = Arc::new(store);
        let codec = codec(&store, None, Options::default()).unwrap();
        let text: Vec<u8> = (0..3000)
            .flat_map(|n: u32| format!("row {n} of {}\n", n * 7919 % 6151).into_bytes())
            .collect();
        let id = DictionaryId::of(&text);
        let stop = Stop::new();
        store.add_dictionary(id.0, b"", &encode(&text, &stop).unwrap()).unwrap();
        let raw = &text[20_000..30_000];
        let block = codec.encode_with(raw, &[id], &stop).unwrap();
        assert_eq!(Codec::needs(&block).unwrap().dictionary, Some(id));
        assert_eq!(codec.decode(&block, &stop).unwrap(), raw);

        // The names of others, with other contents, and one that needs itself.
        let other = DictionaryId::of(b"another text");
        let (texts, needs_itself) = (
            encode(&text, &stop).unwrap(),
            codec.encode_with(&text, &[id], &stop).unwrap(),
        );
        for bytes in [b"".to_vec(), b"no block".to_vec(), texts, needs_itself] {
            store.add_dictionary(other.0, b"", &bytes).unwrap();
            let forged = forge(&block, other);
            let error = codec.decode(&forged, &stop).unwrap_err();
            assert!(matches!(error, Error::UnusableDictionary { .. }), "{error}");
            store.delete_dictionary(other.0).unwrap();
        }
        let error = codec.decode(&forge(&block, other), &stop).unwrap_err();
        assert!(matches!(error, Error::MissingDictionary { .. }), "{error}");
        assert_eq!(codec.decode(&block, &stop).unwrap(), raw);
    }

    /// The block with the name of another dictionary.
    fn forge(block: &[u8], id: DictionaryId) -> Vec<u8> {
        let mut forged = block.to_vec();
        let at = lmfs_codec::Header::LEN + 1;
        forged.splice(at..at + DictionaryId::LEN, id.0);
        forged
    }
}
