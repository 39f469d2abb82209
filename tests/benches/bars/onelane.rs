//! Decoding beside a loop that does what llama-zip does: one sequence, one token at a time.

#[path = "../../../codec/tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use lmfs_codec::entropy::frequencies::Frequencies;
use lmfs_codec::entropy::range_coder::Encoder;
use lmfs_codec::entropy::token_tree::{Passthrough, Place, TokenTree};
use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, load};
use lmfs_codec::{Codec, Header, Options, Stop};

use self::common::{Size, Vocab, Weights};
use crate::corpus::Kind;
use crate::cpu_seconds;

pub fn print(kinds: &[Kind]) {
    let text = crate::model::text(kinds, 128 << 10);
    println!("\n### One lane, one token at a time\n");
    println!(
        "llama.cpp with one sequence, each token coded with its distribution, as llama-zip does; and lmfs decoding a block. \
         Both on one core: more cores go to more blocks, and into one token at a loss. Processor time.\n"
    );
    println!("| model | parameters | engine | one lane | lmfs | ratio |");
    println!("|---|---|---|---|---|---|");
    let builtin = ModelSource::builtin_default().unwrap();
    for engine in [EngineChoice::Exact, EngineChoice::Llama] {
        row(&builtin, engine, &text, 16 << 10, 4 << 10);
    }
    let folder = tempfile::tempdir().unwrap();
    // Words that its vocabulary has as tokens: otherwise the block would be larger than the text, and stored as it is.
    let text = b"the inner the outer the other in the ".repeat(30);
    for weights in [Weights::Q8_0, Weights::F16, Weights::F32] {
        let path = folder.path().join(format!("random-100M-{weights:?}.gguf"));
        let size = Size {
            width: 768,
            hidden: 2048,
            layers: 14,
            heads: 12,
            kv_heads: 12,
            context: 512,
            // Hardly a guess: text that has tokens of several bytes becomes a little shorter, so its blocks are the
            // model's.
            confidence: 0.05,
        };
        std::fs::write(&path, common::model_of(size, Vocab::Bpe, weights)).unwrap();
        row(&ModelSource::Path(path), EngineChoice::Llama, &text, 1 << 10, 64);
    }
}

fn row(source: &ModelSource, engine: EngineChoice, text: &[u8], block: usize, short: usize) {
    let alone = load(source, EngineChoice::Llama, &LoadOptions::default()).unwrap();
    let ours = load(source, engine, &LoadOptions::default()).unwrap();
    let mut options = Options::default();
    // Adaptive models alone would be smaller than random weights. 16 lanes, as blocks of 16 KiB and more have: a short
    // block keeps the time bearable.
    options.lanes = Some(16);
    options.lm_only = matches!(source, ModelSource::Path(_));
    let codec = Codec::new(Some(Arc::clone(&ours)), options).unwrap();
    let raw = text.get(..block).unwrap();
    let coded = codec.encode(raw, &Stop::new()).unwrap();
    assert!(Header::parse(&coded).unwrap().method.needs_model());
    let sample = text.get(..short).unwrap();
    // Both directions alternate, since the machine's speed drifts.
    let (mut one, mut lanes) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..2 {
        one = one.min(cpu_seconds(|| one_lane(&*alone, sample)));
        lanes = lanes.min(cpu_seconds(|| {
            assert!(codec.decode(&coded, &Stop::new()).unwrap() == raw)
        }));
    }
    let (one, lanes) = (sample.len() as f64 / one / 1000.0, raw.len() as f64 / lanes / 1000.0);
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
    let (tree, mut distribution) = (TokenTree::new(vocabulary), Frequencies::new(vocabulary));
    let mut state = model.open(1).unwrap();
    let mut encoder = Encoder::new(Vec::new());
    let mut left = text.len();
    let tokens = model.tokenize(text).unwrap();
    let mut last = vocabulary.bos().unwrap_or_else(|| vocabulary.byte_token(b'\n'));
    for token in tokens {
        state.step(&[&[last]]).unwrap();
        distribution.set(state.logits(0, 0));
        let place = Place { lane: 0, left };
        tree.code(vocabulary, &distribution, &mut encoder, &mut Passthrough, place, token)
            .unwrap();
        left -= vocabulary.bytes(token).len();
        last = token;
    }
    assert!(encoder.finish().len() > 1);
}
