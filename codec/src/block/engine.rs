//! The methods that predict: mix, model and lm.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::coder::{Job, Side, Tables, code, lane_lens, tokenize};
use super::pool::Pool;
use super::warm_states::Dictionaries;
use super::{Method, Options};
use crate::dictionary::{DictionaryId, DictionarySource, builtin};
use crate::entropy::frequencies;
use crate::entropy::range_coder::{Decoder, Encoder};
use crate::entropy::token_tree::{Passthrough, TokenTree};
use crate::mix::{self, Combined, Predictor, WarmState};
use crate::model::{Lanes, LanguageModel};
use crate::solid_digest::SolidDigest;
use crate::{Error, Result, Stop};

/// A language model with the states that code with it, and the mixers. Clones share them.
#[derive(Clone)]
pub(super) struct Predicting {
    model: Option<Arc<dyn LanguageModel>>,
    states: Arc<Pool<usize, State>>,
    mixers: Arc<Pool<(), Predictor>>,
    dictionaries: Arc<Dictionaries>,
    /// The dictionary that a container is of itself.
    key: Option<Key>,
    /// By number of the method.
    params: [[u8; 8]; Method::ALL.len()],
}

#[derive(Clone)]
struct Key {
    id: DictionaryId,
    warm: Arc<WarmState>,
    /// SHA-256 of its text.
    digest: [u8; 32],
}

/// Has a mixer learn what a block is coded behind, given the decisions of the vocabulary and the lengths of the lanes.
pub(super) type Start<'s> = dyn for<'a> Fn(&TokenTree, &'a mut Predictor, &[usize]) -> Result<Combined<'a>> + 's;

struct State {
    lanes: Box<dyn Lanes>,
    tables: Tables,
}

impl Predicting {
    pub(super) fn new(
        model: Option<Arc<dyn LanguageModel>>,
        dictionaries: Arc<dyn DictionarySource>,
        options: &Options,
    ) -> Predicting {
        let params = Method::ALL.map(|method| params(model.as_deref(), method));
        Predicting {
            model,
            states: Arc::new(Pool::new(options.max_states)),
            mixers: Arc::new(Pool::new(options.max_states)),
            dictionaries: Arc::new(Dictionaries::new(dictionaries, options.most_warm_bytes)),
            key: None,
            params,
        }
    }

    /// The same, which also knows this dictionary.
    pub(super) fn with_key(&self, id: DictionaryId, warm: Arc<WarmState>) -> Predicting {
        let digest = Sha256::digest(warm.text()).into();
        Predicting {
            key: Some(Key { id, warm, digest }),
            ..self.clone()
        }
    }

    /// The dictionary that a container is of itself.
    pub(super) fn key(&self) -> Option<DictionaryId> {
        self.key.as_ref().map(|key| key.id)
    }

    /// The state after it.
    pub(super) fn key_state(&self) -> Option<&WarmState> {
        self.key.as_ref().map(|key| &*key.warm)
    }

    /// The state after a dictionary. `predictor` learns it if that was not done yet.
    pub(super) fn warm(&self, id: DictionaryId, predictor: &mut Predictor, stop: &Stop) -> Result<Arc<WarmState>> {
        match &self.key {
            Some(key) if key.id == id => Ok(Arc::clone(&key.warm)),
            _ => self.dictionaries.state(id, predictor, stop),
        }
    }

    /// The state after a dictionary that is not built in, which `learn` makes of its text token by token if that was
    /// not done yet.
    pub(super) fn warm_tokens(
        &self,
        id: DictionaryId,
        learn: impl FnOnce(&[u8]) -> Result<WarmState>,
    ) -> Result<Arc<WarmState>> {
        match &self.key {
            Some(key) if key.id == id => self.dictionaries.of_tokens_of(key.digest, || learn(key.warm.text())),
            _ => self.dictionaries.of_tokens(id, learn),
        }
    }

    /// The state after a solid head, if it is kept.
    pub(super) fn solid_of(&self, digest: SolidDigest) -> Option<Arc<WarmState>> {
        self.dictionaries.of_solid(digest)
    }

    /// Keeps the state after a solid head.
    pub(super) fn keep(&self, digest: SolidDigest, state: &Arc<WarmState>) {
        self.dictionaries.keep_solid(digest, state);
    }

    /// Keeps the state after a solid head that grew, instead of that before.
    pub(super) fn keep_solid(&self, before: SolidDigest, digest: SolidDigest, state: WarmState) {
        self.dictionaries.drop_solid(before);
        self.dictionaries.keep_solid(digest, &Arc::new(state));
    }

    pub(super) fn model(&self) -> Option<&Arc<dyn LanguageModel>> {
        self.model.as_ref()
    }

    /// Digest of all that decoding a block of this method depends on, besides its header and payload.
    pub(super) fn params(&self, method: Method) -> [u8; 8] {
        let [raw, zstd, model, mix, lm] = self.params;
        match method {
            Method::Raw => raw,
            Method::Zstd => zstd,
            Method::Model => model,
            Method::Mix => mix,
            Method::Lm => lm,
        }
    }

    /// Lanes of a block of `len` bytes.
    pub(super) fn lanes(&self, method: Method, len: usize, options: &Options) -> usize {
        match method {
            Method::Raw | Method::Zstd => 0,
            Method::Mix => 1,
            Method::Model | Method::Lm => {
                let best = self.model.as_ref().map_or(1, |model| model.best_lanes());
                let most = options.most_lanes.unwrap_or(best);
                let lanes = options.lanes.unwrap_or_else(|| (len / LANE).min(most));
                lanes.clamp(1, len.max(1))
            }
        }
    }

    pub(super) fn encode(&self, method: Method, raw: &[u8], lanes: usize, stop: &Stop) -> Result<Vec<u8>> {
        if method == Method::Mix {
            return self.with_mixer(|mixer| mix::encode(mixer, raw, stop));
        }
        self.encode_run(method, raw, lanes, None, stop)
    }

    pub(super) fn encode_run(
        &self,
        method: Method,
        raw: &[u8],
        lanes: usize,
        behind: Option<&Start<'_>>,
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        let tokens = tokenize(self.loaded(method)?, raw, lanes)?;
        let mut encoder = Encoder::new(Vec::with_capacity(raw.len() / 4));
        self.run((method, raw.len(), lanes), behind, Some(&tokens), &mut encoder, stop)?;
        Ok(encoder.finish())
    }

    pub(super) fn decode(
        &self,
        method: Method,
        payload: &[u8],
        len: usize,
        lanes: usize,
        reference: Option<&[u8]>,
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        if method == Method::Mix {
            return self.decode_mix(payload, len, reference, stop);
        }
        self.decode_run((method, len, lanes), None, payload, stop)
    }

    /// Decodes with a language model. What to decode is given by its method, its length in bytes, and its lanes.
    pub(super) fn decode_run(
        &self,
        what: (Method, usize, usize),
        behind: Option<&Start<'_>>,
        stream: &[u8],
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        // The length in the header is checked by then, so a lane cannot grow beyond a block.
        let mut decoder = Decoder::new(stream);
        let raw = self.run(what, behind, None, &mut decoder, stop)?;
        let ended = decoder.finish();
        ended.map_err(|error| Error::damaged("block", error.to_string()))?;
        Ok(raw)
    }

    /// Bytes of the states after dictionaries of the source.
    pub(super) fn warm_bytes(&self) -> usize {
        self.dictionaries.warm_bytes()
    }

    /// Lends a mixer.
    pub(super) fn with_mixer<R>(&self, run: impl FnOnce(&mut Predictor) -> Result<R>) -> Result<R> {
        self.mixers.with(
            (),
            || Ok(Predictor::new()),
            |mixer| {
                let result = run(mixer);
                // Kept mixers are many. Each would keep the memory of the largest block it ever coded.
                mixer.release_large();
                result
            },
        )
    }

    pub(super) fn loaded(&self, method: Method) -> Result<&dyn LanguageModel> {
        let missing = || Error::InvalidOption(format!("method {method} needs a language model, none is loaded"));
        self.model.as_deref().ok_or_else(missing)
    }

    fn run<S: Side>(
        &self,
        (method, len, lanes): (Method, usize, usize),
        behind: Option<&Start<'_>>,
        known: Option<&[Vec<crate::model::Token>]>,
        side: &mut S,
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        let model = self.loaded(method)?;
        let job = Job {
            model,
            len,
            known,
            stop,
        };
        let open = || {
            Ok(State {
                lanes: model.open(lanes)?,
                tables: Tables::new(model.vocabulary()),
            })
        };
        self.states.with(lanes, open, |State { lanes: state, tables }| {
            state.reset()?;
            if method == Method::Lm {
                return code(&job, tables, state.as_mut(), side, &mut Passthrough);
            }
            let lens = lane_lens(len, lanes);
            self.with_mixer(|mixer| match behind {
                None => {
                    mixer.reset(&lens, true);
                    code(&job, tables, state.as_mut(), side, mixer)
                }
                Some(behind) => {
                    let mut combined = behind(&tables.tree, mixer, &lens)?;
                    code(&job, tables, state.as_mut(), side, &mut combined)
                }
            })
        })
    }
}

/// Built-in dictionaries that are tried on a block.
const BUILTINS_TRIED: usize = 2;

/// The built-in dictionaries that are worth a trial on a block.
pub(super) fn builtin_candidates(raw: &[u8]) -> Vec<DictionaryId> {
    builtin::likeliest(raw, BUILTINS_TRIED)
}

/// Bytes a lane, unless that gives more lanes than the model is best with: docs/BENCHMARKS.md, "Lanes", has the
/// measurements.
const LANE: usize = 1024;

fn params(model: Option<&dyn LanguageModel>, method: Method) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(b"lmfs block parameters 1\0");
    match method {
        Method::Raw | Method::Zstd => return [0; 8],
        Method::Mix => {}
        Method::Model | Method::Lm => {
            let Some(model) = model else { return [0; 8] };
            let identity = model.identity();
            hash.update(identity.digest);
            hash.update([identity.engine as u8]);
            hash.update((identity.context as u64).to_le_bytes());
            hash.update((identity.numerics.len() as u64).to_le_bytes());
            hash.update(&identity.numerics);
            hash.update([frequencies::VERSION]);
            let vocabulary = model.vocabulary();
            // Token ranks decide the coded bits, so another vocabulary is another method.
            hash.update((vocabulary.sorted().len() as u64).to_le_bytes());
            for &token in vocabulary.sorted() {
                hash.update(token.to_le_bytes());
                hash.update((vocabulary.bytes(token).len() as u32).to_le_bytes());
                hash.update(vocabulary.bytes(token));
            }
        }
    }
    if method != Method::Lm {
        hash.update([mix::VERSION]);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    [a, b, c, d, e, f, g, h]
}
