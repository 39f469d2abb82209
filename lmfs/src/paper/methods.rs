//! The rows of the table: lmfs with several models, and its peers.

use std::sync::Arc;

use lmfs_codec::dictionary::builtin as dictionaries;
use lmfs_codec::mix::Predictor;
use lmfs_codec::model::LanguageModel;
use lmfs_codec::{Codec, Options};

use crate::eval::{Compressor, Flac, Gzip, Lmfs, Png, Program, Xz, Zstd};

/// Time per byte beside that of gzip, roughly: for the estimate of what is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost(pub u64);

impl Cost {
    fn of_parameters(parameters: u64) -> Cost {
        Cost(20 + parameters / 10_000)
    }
}

/// A row: the same compressor for chunks and for what is unchunked, set up for each.
pub struct Contender {
    /// Its name.
    pub name: String,
    /// SHA-256 of its language model; empty without one.
    pub model: String,
    /// For chunks of 2,048 bytes; `None` where they say nothing.
    pub chunked: Option<Box<dyn Compressor>>,
    /// For everything at once; `None` where that is not wanted.
    pub unchunked: Option<Box<dyn Compressor>>,
    /// How long it takes, roughly.
    pub(super) cost: Cost,
}

impl Contender {
    /// Adaptive models alone.
    ///
    /// # Errors
    /// As [`Codec::new`].
    pub fn mix() -> lmfs_codec::Result<Contender> {
        Contender::lmfs("mix", None, 0, false)
    }

    /// A language model of `bytes` bytes, mixed with adaptive models, or alone as in the paper.
    ///
    /// # Errors
    /// As [`Codec::new`].
    pub fn model(name: &str, model: &Arc<dyn LanguageModel>, bytes: u64, alone: bool) -> lmfs_codec::Result<Contender> {
        Contender::lmfs(name, Some(model), bytes, alone)
    }

    fn lmfs(
        name: &str,
        model: Option<&Arc<dyn LanguageModel>>,
        bytes: u64,
        alone: bool,
    ) -> lmfs_codec::Result<Contender> {
        let name = if alone {
            format!("{name} alone")
        } else {
            name.to_owned()
        };
        let mut options = Options::default();
        options.lm_only = alone;
        options.dictionaries = !alone;
        // The smallest bytes, however slow they are to read.
        options.model_worth = 0;
        options.most_lanes = Some(2);
        let learned = if alone { 0 } else { learned_bytes(model.is_some()) };
        let mut one = |lanes| {
            options.lanes = lanes;
            let codec = Codec::new(model.cloned(), options.clone())?;
            Ok::<Box<dyn Compressor>, lmfs_codec::Error>(Box::new(Lmfs::new(&name, codec).unchunked(bytes + learned)))
        };
        let (chunked, unchunked) = (one(Some(1))?, one(None)?);
        Ok(Contender {
            name,
            model: model.map_or_else(String::new, |model| hex::encode(model.identity().digest)),
            chunked: Some(chunked),
            unchunked: Some(unchunked),
            cost: Cost::of_parameters(model.map_or(0, |model| model.identity().parameters)),
        })
    }

    fn peer<C: Compressor + Clone + 'static>(compressor: C, cost: Cost) -> Contender {
        let chunked = compressor
            .takes_chunks()
            .then(|| Box::new(compressor.clone()) as Box<dyn Compressor>);
        Contender {
            name: compressor.name().to_owned(),
            model: String::new(),
            chunked,
            unchunked: Some(Box::new(compressor)),
            cost,
        }
    }
}

/// Bytes that the mixer and the dictionaries bring along.
fn learned_bytes(with_model: bool) -> u64 {
    let weights = |with_model| {
        let mut predictor = Predictor::new();
        predictor.reset(&[0], with_model);
        predictor.export().len() as u64
    };
    // A codec with a model keeps the weights of both methods at hand.
    let dictionaries: u64 = dictionaries::list().iter().map(|entry| entry.stored_len() as u64).sum();
    dictionaries + weights(false) + if with_model { weights(true) } else { 0 }
}

/// All peers that there are here.
#[must_use]
pub fn peers() -> Vec<Contender> {
    let mut peers = vec![
        Contender::peer(Gzip, Cost(1)),
        Contender::peer(Zstd, Cost(3)),
        Contender::peer(Xz, Cost(3)),
        Contender::peer(Png, Cost(4)),
        Contender::peer(Flac, Cost(2)),
    ];
    peers.extend(
        Program::installed()
            .into_iter()
            .map(|program| Contender::peer(program, Cost(20))),
    );
    peers
}
