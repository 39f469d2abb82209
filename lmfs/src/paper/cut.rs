//! Smaller vocabularies cut out of a model's own: the same model, text in more tokens.
//!
//! A tokenizer of byte pairs gives its tokens numbers in the order in which it learned to merge them. Keeping the
//! single bytes and the first tokens leaves the later merges out.

use std::collections::HashMap;

use lmfs_codec::Result;
use lmfs_codec::model::{Identity, Lanes, LanguageModel, Token, Vocabulary};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A model that knows fewer tokens.
pub struct CutModel {
    model: Arc<dyn LanguageModel>,
    vocabulary: Vocabulary,
    identity: Identity,
    /// What stands for the tokens that were left out.
    parts: HashMap<Token, Vec<Token>>,
}

impl CutModel {
    /// The model with the single bytes and the first of its other tokens: `size` expressible tokens in all, at least
    /// the 256 bytes. `None` where that is no fewer than it has.
    ///
    /// # Errors
    /// As [`Vocabulary::new`].
    pub fn new(model: &Arc<dyn LanguageModel>, size: usize) -> Result<Option<CutModel>> {
        let all = model.vocabulary();
        if size.max(256) >= all.sorted().len() {
            return Ok(None);
        }
        let mut by_number = all.sorted().to_vec();
        by_number.sort_unstable();
        let (bytes, others): (Vec<Token>, Vec<Token>) =
            by_number.iter().partition(|&&token| all.bytes(token).len() == 1);
        let others_kept = size.saturating_sub(bytes.len()).min(others.len());
        let (kept, left_out) = others.split_at(others_kept);
        let mut texts: Vec<&[u8]> = vec![&[]; all.len()];
        for &token in bytes.iter().chain(kept) {
            if let Some(text) = texts.get_mut(token as usize) {
                *text = all.bytes(token);
            }
        }
        let vocabulary = Vocabulary::new(&texts, all.bos())?;
        let parts = left_out
            .iter()
            .map(|&token| (token, merged(&vocabulary, all.bytes(token))))
            .collect();
        let mut identity = model.identity().clone();
        let mut hash = Sha256::new();
        hash.update(identity.digest);
        hash.update((vocabulary.sorted().len() as u64).to_le_bytes());
        identity.digest = hash.finalize().into();
        Ok(Some(CutModel {
            model: Arc::clone(model),
            vocabulary,
            identity,
            parts,
        }))
    }
}

/// The tokens of a text: of all neighbours that are a token together, those of the lowest number merge first.
fn merged(vocabulary: &Vocabulary, text: &[u8]) -> Vec<Token> {
    let token = |text: &[u8]| {
        vocabulary
            .rank(text)
            .and_then(|rank| vocabulary.sorted().get(rank).copied())
    };
    let mut ends: Vec<usize> = (1..=text.len()).collect();
    loop {
        let start = |i: usize| i.checked_sub(1).and_then(|i| ends.get(i)).copied().unwrap_or(0);
        let merge = |i: usize| {
            let end = *ends.get(i + 1)?;
            Some((token(text.get(start(i)..end)?)?, i))
        };
        let Some((_, first)) = (0..ends.len()).filter_map(merge).min() else {
            break;
        };
        ends.remove(first);
    }
    let mut from = 0;
    let part = |end| token(text.get(std::mem::replace(&mut from, end)..end).unwrap_or_default());
    ends.into_iter().filter_map(part).collect()
}

impl LanguageModel for CutModel {
    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn tokenize(&self, text: &[u8]) -> Result<Vec<Token>> {
        let mut tokens = self.model.tokenize(text)?;
        self.model.vocabulary().canonicalize(&mut tokens);
        let mut cut = Vec::with_capacity(tokens.len());
        for token in tokens {
            match self.parts.get(&token) {
                Some(parts) => cut.extend_from_slice(parts),
                None => cut.push(token),
            }
        }
        Ok(cut)
    }

    fn best_lanes(&self) -> usize {
        self.model.best_lanes()
    }

    fn open(&self, lanes: usize) -> Result<Box<dyn Lanes>> {
        Ok(Box::new(ById(self.model.open(lanes)?)))
    }
}

/// Lanes whose logits are told by number alone: ranks are other ones in the smaller vocabulary.
struct ById(Box<dyn Lanes>);

impl Lanes for ById {
    fn lanes(&self) -> usize {
        self.0.lanes()
    }

    fn reset(&mut self) -> Result<()> {
        self.0.reset()
    }

    fn max_run(&self) -> usize {
        self.0.max_run()
    }

    fn step(&mut self, runs: &[&[Token]]) -> Result<()> {
        self.0.step(runs)
    }

    fn logits(&self, lane: usize, i: usize) -> &[f32] {
        self.0.logits(lane, i)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load};
    use lmfs_codec::{Codec, Options, Stop};

    use super::*;

    #[test]
    fn merges_that_are_left_out_are_undone() {
        let bytes: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
        let more = ["th", "the", "in", "ing", "thing"].map(|text| text.as_bytes().to_vec());
        let vocabulary = |count: usize| Vocabulary::new(&[&bytes[..], &more[..count]].concat(), None).unwrap();
        let texts = |count: usize| {
            let vocabulary = vocabulary(count);
            let tokens = merged(&vocabulary, b"thing");
            tokens
                .iter()
                .map(|&token| vocabulary.bytes(token).to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(0).len(), 5);
        assert_eq!(texts(3), [&b"th"[..], b"in", b"g"]);
        assert_eq!(texts(4), [&b"th"[..], b"ing"]);
        assert_eq!(texts(5), [b"thing"]);
    }

    #[test]
    fn fewer_tokens_code_the_same_text() {
        let source = ModelSource::Builtin("tiny");
        let model = load(&source, EngineChoice::Exact, &LoadOptions::default()).unwrap();
        let text = &include_bytes!("../../../tests/data/text/genesis.txt")[..1500];
        let mut before = usize::MAX;
        for size in [256, 600, 2000] {
            let cut: Arc<dyn LanguageModel> = Arc::new(CutModel::new(&model, size).unwrap().unwrap());
            assert_eq!(cut.vocabulary().sorted().len(), size);
            let tokens = cut.tokenize(text).unwrap();
            let mut joined = Vec::new();
            cut.vocabulary().join(&tokens, &mut joined);
            assert_eq!(joined, text);
            assert!(tokens.len() < before, "{} tokens, {before} with fewer", tokens.len());
            before = tokens.len();
            if size == 256 {
                assert_eq!(tokens.len(), text.len());
            }
            let mut options = Options::default();
            options.lm_only = true;
            options.dictionaries = false;
            options.model_worth = 0;
            let codec = Codec::new(Some(cut), options).unwrap();
            let block = codec.encode(text, &Stop::new()).unwrap();
            assert!(block.len() < text.len() * 6 / 10, "{size}: {}", block.len());
            assert_eq!(codec.decode(&block, &Stop::new()).unwrap(), text);
        }
        let whole = model.vocabulary().sorted().len();
        assert!(CutModel::new(&model, whole).unwrap().is_none(), "nothing to leave out");
    }
}
