//! Decoding beside a loop that does what llama-zip does: one sequence, one token at a time, all cores for each.

#[path = "../../../codec/tests/common/mod.rs"]
mod common;

use std::io::Write;
use std::sync::Arc;

use lmfs_codec::coder::Encoder;
use lmfs_codec::decisions::{Alone, Place, Tree};
use lmfs_codec::distribution::Distribution;
use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, load};
use lmfs_codec::{Codec, Header, Options, Stop};

use self::common::{Size, Vocab, Weights};
use crate::corpus::Kind;
use crate::{best, seconds};

pub fn print(kinds: &[Kind]) {
    let text = crate::model::text(kinds, 128 << 10);
    println!("\n### One lane, one token at a time\n");
    println!(
        "llama.cpp with one sequence and all {} cores a token, each token coded with its distribution, as llama-zip does; lmfs decodes blocks, one a core.\n",
        cores()
    );
    println!("| model | parameters | engine | one lane | lmfs | ratio |");
    println!("|---|---|---|---|---|---|");
    let builtin = ModelSource::builtin_default().unwrap();
    for engine in [EngineChoice::Exact, EngineChoice::Llama] {
        row(&builtin, engine, &text, 16 << 10, 4 << 10);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random-100M.gguf");
    let size = Size {
        width: 768,
        hidden: 2048,
        layers: 14,
        heads: 12,
        kv_heads: 12,
        context: 512,
        // Hardly a guess: text that has tokens of several bytes becomes a little shorter, so its blocks are the model's.
        confidence: 0.05,
    };
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&common::model_of(size, Vocab::Bpe, Weights::Q8_0))
        .unwrap();
    row(&ModelSource::Path(path), EngineChoice::Llama, &text, 4 << 10, 256);
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn row(source: &ModelSource, engine: EngineChoice, text: &[u8], block: usize, short: usize) {
    let mut all_cores = LoadOptions::default();
    all_cores.threads = cores();
    let alone = load(source, EngineChoice::Llama, &all_cores).unwrap();
    let ours = load(source, engine, &LoadOptions::default()).unwrap();
    let mut options = Options::default();
    // Adaptive models alone would be smaller than random weights.
    options.lm_only = matches!(source, ModelSource::Path(_));
    let codec = Codec::new(Some(Arc::clone(&ours)), options).unwrap();
    let raws: Vec<&[u8]> = text.chunks_exact(block).take(cores()).collect();
    let blocks: Vec<Vec<u8>> = raws
        .iter()
        .map(|raw| codec.encode(raw, &Stop::new()).unwrap())
        .collect();
    assert!(
        blocks
            .iter()
            .all(|block| Header::parse(block).unwrap().method.needs_model())
    );
    let decode = || {
        seconds(|| {
            std::thread::scope(|scope| {
                for (block, raw) in blocks.iter().zip(&raws) {
                    let codec = &codec;
                    scope.spawn(move || assert!(codec.decode(block, &Stop::new()).unwrap() == *raw));
                }
            });
        })
    };
    let sample = text.get(..short).unwrap();
    // Both directions alternate, since the machine's speed drifts.
    let (mut one, mut lanes) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..2 {
        one = one.min(best(1, || seconds(|| one_lane(&*alone, sample))));
        lanes = lanes.min(decode());
    }
    let (one, lanes) = (
        sample.len() as f64 / one / 1000.0,
        (block * blocks.len()) as f64 / lanes / 1000.0,
    );
    println!(
        "| {} | {:.1} M | {} | {one:.2} KB/s | {lanes:.2} KB/s | {:.2} |",
        source.to_string().rsplit('/').next().unwrap(),
        ours.identity().parameters as f64 / 1e6,
        ours.identity().engine,
        lanes / one
    );
}

/// Codes a text as llama-zip does: after each token the distribution of the next.
fn one_lane(model: &dyn LanguageModel, text: &[u8]) {
    let vocabulary = model.vocabulary();
    let (tree, mut distribution) = (Tree::new(vocabulary), Distribution::new(vocabulary));
    let mut state = model.open(1).unwrap();
    let mut encoder = Encoder::new(Vec::new());
    let mut left = text.len();
    let tokens = model.tokenize(text).unwrap();
    let mut last = vocabulary.bos().unwrap_or_else(|| vocabulary.byte_token(b'\n'));
    for token in tokens {
        state.step(&[&[last]]).unwrap();
        distribution.set(state.logits(0, 0));
        let place = Place { lane: 0, left };
        tree.code(vocabulary, &distribution, &mut encoder, &mut Alone, place, token)
            .unwrap();
        left -= vocabulary.bytes(token).len();
        last = token;
    }
    assert!(encoder.finish().len() > 1);
}
