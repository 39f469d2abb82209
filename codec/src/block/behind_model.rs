//! Blocks of method model that are coded behind a dictionary, a reference, or both.

use super::Method;
use super::behind::Needs;
use super::engine::{Predicting, Start};
use crate::dictionary::builtin;
use crate::entropy::token_tree::TokenTree;
use crate::mix::{Combined, Predictor, TokenFront, Tokenized, WarmState};
use crate::model::{LanguageModel, Token};
use crate::{Error, Result, Stop};

/// What a block of method model is coded behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind<'a> {
    pub(super) needs: Needs,
    /// The bytes of the reference; none if it needs none.
    pub(super) reference: &'a [u8],
}

impl Predicting {
    /// What a block of method model is to be coded behind, given what suits the adaptive models alone. Nothing if other
    /// versions of the model's engine may cut text into other tokens. A built-in dictionary is left out: what the
    /// language model has learned of its kind is more than the dictionary says, and blocks behind it get larger.
    pub(super) fn worth_for_model(&self, needs: Needs) -> Needs {
        match self.model() {
            Some(model) if model.tokenize_alike(&[]).is_some() => Needs {
                dictionary: needs.dictionary.filter(|id| builtin::find(*id).is_none()),
                ..needs
            },
            _ => Needs::default(),
        }
    }

    /// The payload of a block of method model behind what it needs, or alone.
    pub(super) fn encode_model(&self, raw: &[u8], lanes: usize, behind: &Behind<'_>, stop: &Stop) -> Result<Vec<u8>> {
        if behind.needs == Needs::default() {
            return self.encode(Method::Model, raw, lanes, stop);
        }
        let start: &Start<'_> = &|tree, mixer, lanes| self.start_behind(behind, tree, mixer, lanes, stop);
        let stream = self.encode_run(Method::Model, raw, lanes, Some(start), stop)?;
        Ok(behind.needs.payload(&stream))
    }

    /// Decodes a block of `len` bytes of method model that names what it is coded behind.
    pub(super) fn decode_model_behind(
        &self,
        payload: &[u8],
        len: usize,
        lanes: usize,
        reference: Option<&[u8]>,
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        let parsed = Needs::parse(payload).filter(|(needs, _)| needs.solid.is_none());
        let (needs, stream) = parsed.ok_or_else(unnamed)?;
        if needs.dictionary.is_some_and(|id| builtin::find(id).is_some()) {
            let reason = "it names a built-in dictionary, which no block of method model is coded behind";
            return Err(Error::damaged("block", reason));
        }
        let reference = needs.check(reference)?;
        let behind = Behind { needs, reference };
        let start: &Start<'_> = &|tree, mixer, lanes| self.start_behind(&behind, tree, mixer, lanes, stop);
        self.decode_run((Method::Model, len, lanes), Some(start), stream, stop)
    }

    /// A mixer that has learned what a block is coded behind.
    fn start_behind<'a>(
        &self,
        behind: &Behind<'_>,
        tree: &TokenTree,
        mixer: &'a mut Predictor,
        lanes: &[usize],
        stop: &Stop,
    ) -> Result<Combined<'a>> {
        let model = self.loaded(Method::Model)?;
        let dictionary = match behind.needs.dictionary {
            Some(id) => Some(self.warm_tokens(id, |text| {
                let tokens = tokens_of(model, text)?;
                let text = Tokenized {
                    vocabulary: model.vocabulary(),
                    tree,
                    tokens: &tokens,
                };
                WarmState::learn_tokens(mixer, &text, stop)
            })?),
            None => None,
        };
        let tokens = tokens_of(model, behind.reference)?;
        let reference = Tokenized {
            vocabulary: model.vocabulary(),
            tree,
            tokens: &tokens,
        };
        let front = TokenFront {
            dictionary: dictionary.as_deref(),
            reference: (!tokens.is_empty()).then_some(reference),
        };
        Combined::start(mixer, front, lanes, stop)
    }
}

/// The error of a block that should name what it is coded behind.
pub(super) fn unnamed() -> Error {
    Error::damaged("block", "it does not name what it is coded behind")
}

fn tokens_of(model: &dyn LanguageModel, text: &[u8]) -> Result<Vec<Token>> {
    let tokens = model.tokenize_alike(text).ok_or_else(|| {
        let reason = "it is coded behind other text, which only models of the exact engine can do";
        Error::damaged("block", reason)
    })?;
    let mut joined = Vec::with_capacity(text.len());
    model.vocabulary().join(&tokens, &mut joined);
    assert!(joined == text, "the exact engine's tokens are the text");
    Ok(tokens)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dictionary::DictionaryId;
    use crate::model::{EngineChoice, LoadOptions, builtin as models, load_bytes};
    use crate::{Codec, Header, Options, ReferenceDigest};

    fn tiny() -> Arc<dyn LanguageModel> {
        let gguf = models::find("tiny").unwrap().gguf.to_vec();
        load_bytes("tiny", gguf, EngineChoice::Exact, &LoadOptions::default()).unwrap()
    }

    /// Program text of one hand, in three parts. Of it the language model knows what the adaptive models do not, and
    /// the other way round.
    const PARTS: [&str; 3] = [
        concat!(include_str!("../mix/predictor.rs"), include_str!("../mix/coding.rs")),
        include_str!("../mix/context_models.rs"),
        include_str!("../mix/neighbours.rs"),
    ];

    fn part(i: usize, len: usize) -> Vec<u8> {
        PARTS[i].as_bytes()[..len].to_vec()
    }

    /// The language model for whatever it makes smaller by a byte.
    fn options() -> Options {
        Options {
            model_worth: 0,
            ..Options::default()
        }
    }

    #[test]
    fn a_block_of_the_model_starts_behind_the_dictionary_of_the_mixer() {
        let text = PARTS[0].as_bytes().to_vec();
        let id = DictionaryId::of(&text);
        let (raw, stop) = (part(1, 4000), Stop::new());
        let codec = Codec::with_dictionaries(Some(tiny()), Arc::new(vec![text]), options()).unwrap();
        let cold = codec.encode(&raw, &stop).unwrap();
        assert!(!Header::parse(&cold).unwrap().is_behind);
        let warm = codec.encode_with(&raw, &[id], &stop).unwrap();
        let header = Header::parse(&warm).unwrap();
        assert!(header.is_behind && header.method == Method::Model, "{header:?}");
        assert_eq!(Codec::needs(&warm).unwrap().dictionary, Some(id));
        assert!(warm.len() * 20 < cold.len() * 19, "{} for {}", warm.len(), cold.len());
        // Whoever learned nothing yet decodes the same.
        let other =
            Codec::with_dictionaries(Some(tiny()), Arc::new(vec![PARTS[0].as_bytes().to_vec()]), options()).unwrap();
        assert_eq!(other.decode(&warm, &stop).unwrap(), raw);
        assert!(other.warm_bytes() > 0);

        let without = Codec::new(Some(tiny()), options()).unwrap();
        let error = without.decode(&warm, &stop).unwrap_err();
        assert!(
            matches!(error, Error::MissingDictionary { id: needed } if needed == id),
            "{error}"
        );
    }

    #[test]
    fn a_block_of_the_model_is_coded_behind_a_reference() {
        let codec = Codec::new(Some(tiny()), options()).unwrap();
        let stop = Stop::new();
        let (reference, raw) = (part(0, 12_000), part(1, 6000));
        let block = codec.encode_behind(&raw, &[], &[&reference], &stop).unwrap();
        let header = Header::parse(&block).unwrap();
        assert!(header.is_behind && header.method == Method::Model, "{header:?}");
        let needed = Codec::needs(&block).unwrap().reference;
        assert_eq!(needed, Some(ReferenceDigest::of(&reference)));
        assert_eq!(codec.decode_behind(&block, Some(&reference), &stop).unwrap(), raw);
        assert!(matches!(
            codec.decode(&block, &stop),
            Err(Error::MissingReference { .. })
        ));
        let wrong = codec.decode_behind(&block, Some(&raw), &stop);
        assert!(matches!(wrong, Err(Error::WrongReference { .. })), "{wrong:?}");
    }

    #[test]
    fn several_lanes_share_what_is_in_front_of_them() {
        let text = PARTS[0].as_bytes().to_vec();
        let id = DictionaryId::of(&text);
        let (raw, reference) = (part(1, 6001), part(2, 2000));
        let stop = Stop::new();
        let codec = Codec::with_dictionaries(Some(tiny()), Arc::new(vec![text]), options()).unwrap();
        let needs = |dictionary, reference: &[u8]| Needs {
            dictionary,
            reference: (!reference.is_empty()).then(|| ReferenceDigest::of(reference)),
            solid: None,
        };
        for (dictionary, reference) in [(Some(id), &[][..]), (None, &reference), (Some(id), &reference)] {
            let behind = Behind {
                needs: needs(dictionary, reference),
                reference,
            };
            for lanes in [1, 4, 16] {
                let predicting = codec.predicting();
                let payload = predicting.encode_model(&raw, lanes, &behind, &stop).unwrap();
                let decoded = predicting.decode_model_behind(&payload, raw.len(), lanes, Some(reference), &stop);
                assert_eq!(decoded.unwrap(), raw);
            }
        }
    }

    /// Another engine may cut a text into other tokens one day, and blocks would be lost.
    #[test]
    fn nothing_depends_on_a_tokenizer_that_may_change() {
        struct Changeable(Arc<dyn LanguageModel>);
        impl LanguageModel for Changeable {
            fn vocabulary(&self) -> &crate::model::Vocabulary {
                self.0.vocabulary()
            }
            fn identity(&self) -> &crate::model::Identity {
                self.0.identity()
            }
            fn tokenize(&self, text: &[u8]) -> Result<Vec<Token>> {
                self.0.tokenize(text)
            }
            fn open(&self, lanes: usize) -> Result<Box<dyn crate::model::Lanes>> {
                self.0.open(lanes)
            }
        }
        let (reference, raw) = (part(0, 12_000), part(1, 6000));
        let codec = Codec::new(Some(Arc::new(Changeable(tiny()))), options()).unwrap();
        let block = codec.encode_behind(&raw, &[], &[&reference], &Stop::new()).unwrap();
        assert!(!Header::parse(&block).unwrap().is_behind);
    }
}
