//! Whole blocks through llama.cpp with models of several kinds, and the bits it gives.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use common::recurrent::{Recurrent, recurrent_model};
use common::{Random, Vocab, Weights, model};
use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, Token, load, load_bytes};
use lmfs_codec::{Codec, Error, Header, Method, Options, Stop};

const KINDS: [(Vocab, Weights); 6] = [
    (Vocab::Bpe, Weights::F32),
    (Vocab::Bpe, Weights::F16),
    (Vocab::Bpe, Weights::Bf16),
    (Vocab::Bpe, Weights::Q8_0),
    (Vocab::Bpe, Weights::Q4K),
    (Vocab::Spm, Weights::Q8_0),
];

fn tiny(vocab: Vocab, weights: Weights, threads: usize) -> Arc<dyn LanguageModel> {
    let mut options = LoadOptions::default();
    options.threads = threads;
    load_bytes("tiny", model(vocab, weights), EngineChoice::Llama, &options).unwrap()
}

fn codec(model: &Arc<dyn LanguageModel>, lanes: usize, change: impl Fn(&mut Options)) -> Codec {
    let mut options = Options::default();
    options.lanes = Some(lanes);
    change(&mut options);
    Codec::new(Some(Arc::clone(model)), options).unwrap()
}

/// Texts that have broken tokenizers: all kinds of spaces, cut code points, NULs, line ends, long words.
fn texts() -> Vec<Vec<u8>> {
    let mut random = Random(7);
    vec![
        b"a".to_vec(),
        b"  the  the\tthe \r\n\r\n the\0 12 12 ".to_vec(),
        " ä the äää \u{2581} \u{a0} 漢字 \u{fffd}".repeat(3).into_bytes(),
        "the 𝄞 and ä".as_bytes()[..9].to_vec(),
        (0..=255).collect(),
        (0..300).map(|_| random.next() as u8).collect(),
        b"the<s></s><unk><0x41>the".to_vec(),
        b"t".repeat(500),
    ]
}

#[test]
fn tokens_give_any_bytes_back() {
    for vocab in [Vocab::Bpe, Vocab::Spm, Vocab::Rwkv] {
        let model = tiny(vocab, Weights::Q8_0, 1);
        for text in texts() {
            let tokens = model.tokenize(&text).unwrap();
            let mut joined = Vec::new();
            model.vocabulary().join(&tokens, &mut joined);
            assert_eq!(joined, text, "{vocab:?}");
            let control = tokens.iter().find(|&&token| model.vocabulary().bytes(token).is_empty());
            assert_eq!(control, None, "{vocab:?} {text:?}");
        }
        let tokens = model.tokenize(b"the the").unwrap();
        assert!(tokens.len() <= 4, "{vocab:?} has tokens for words: {tokens:?}");
    }
}

#[test]
fn blocks_return_with_every_kind_of_model() {
    for (vocab, weights) in KINDS {
        let model = tiny(vocab, weights, 1);
        // A context of 64 tokens: lanes of 500 bytes slide.
        for lanes in [1, 3] {
            let lm = codec(&model, lanes, |options| options.lm_only = true);
            let mixed = codec(&model, lanes, |_| ());
            for text in texts() {
                for codec in [&lm, &mixed] {
                    let block = codec.encode(&text, &Stop::new()).unwrap();
                    assert!(block.len() <= text.len() + Header::LEN);
                    assert_eq!(
                        codec.decode(&block, &Stop::new()).unwrap(),
                        text,
                        "{vocab:?} {weights:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn recurrent_models_go_through_the_same_door() {
    for (kind, architecture) in [
        (Recurrent::Mamba, "mamba"),
        (Recurrent::Rwkv6, "rwkv6"),
        (Recurrent::Rwkv7, "rwkv7"),
    ] {
        let load = |threads| {
            let mut options = LoadOptions::default();
            options.threads = threads;
            load_bytes(architecture, recurrent_model(kind), EngineChoice::Auto, &options).unwrap()
        };
        let model = load(1);
        assert_eq!(model.identity().architecture, architecture);
        let expected = bits(&*model, 4, false, 80, false);
        assert!(expected.iter().any(|&bits| f32::from_bits(bits).abs() > 0.1));
        assert!(
            expected.iter().all(|&bits| f32::from_bits(bits).is_finite()),
            "{kind:?}"
        );
        // Tokens come again among 80, and never with the same logits: the state says what was before.
        let rows: HashSet<&[u32]> = expected.chunks(model.vocabulary().len()).collect();
        assert_eq!(rows.len(), 80, "{kind:?}");
        assert!(bits(&*model, 4, false, 80, true) == expected, "{kind:?}: after reset");
        assert!(
            bits(&*model, 1, false, 80, false) == expected,
            "{kind:?}: a single lane"
        );
        assert!(bits(&*model, 16, false, 80, false) == expected, "{kind:?}: more lanes");
        assert!(
            bits(&*model, 4, true, 80, false) == expected,
            "{kind:?}: beside idle lanes"
        );
        let two = bits(&*load(2), 4, false, 8, false);
        assert!(expected.starts_with(&two), "{kind:?}: two threads, another load");
        for lanes in [1, 3] {
            let codec = codec(&model, lanes, |options| options.lm_only = true);
            let mixed = self::codec(&model, lanes, |_| ());
            for text in texts() {
                let tokens = model.tokenize(&text).unwrap();
                let mut joined = Vec::new();
                model.vocabulary().join(&tokens, &mut joined);
                assert_eq!(joined, text, "{kind:?}");
                for codec in [&codec, &mixed] {
                    let block = codec.encode(&text, &Stop::new()).unwrap();
                    assert_eq!(codec.decode(&block, &Stop::new()).unwrap(), text, "{kind:?}");
                }
            }
        }
    }
}

/// Bits of the logits of the first lane over some steps; the others are fed something else, or nothing.
fn bits(model: &dyn LanguageModel, lanes: usize, alone: bool, steps: usize, used: bool) -> Vec<u32> {
    let mut state = model.open(lanes).unwrap();
    let mut out = Vec::new();
    for round in 0..if used { 2 } else { 1 } {
        state.reset().unwrap();
        out.clear();
        let mut random = Random(if used && round == 0 { 99 } else { 5 });
        for step in 0..steps {
            let first = [random.next() % 250 + 3];
            let others = [(step * 7 % 200 + 3) as Token];
            let runs: Vec<&[Token]> = (0..lanes)
                .map(|lane| match lane {
                    0 => &first[..],
                    _ if alone => &[],
                    _ => &others[..],
                })
                .collect();
            state.step(&runs).unwrap();
            out.extend(state.logits(0, 0).iter().map(|logit| logit.to_bits()));
        }
    }
    out
}

#[test]
fn logits_depend_on_the_lane_alone() {
    for (vocab, weights) in KINDS {
        let one = tiny(vocab, weights, 1);
        let expected = bits(&*one, 4, false, 80, false);
        assert!(
            expected.iter().any(|&bits| f32::from_bits(bits).abs() > 0.1),
            "{weights:?}: the model says something"
        );
        assert!(bits(&*one, 4, false, 80, true) == expected, "{weights:?}: after reset");
        assert!(
            bits(&*one, 1, false, 80, false) == expected,
            "{weights:?}: a single lane"
        );
        if weights != Weights::Q4K {
            // K-quants take another kernel from 8 rows up: docs/NUMERICS.md.
            assert!(bits(&*one, 16, false, 80, false) == expected, "{weights:?}: more lanes");
        }
        assert!(
            bits(&*one, 4, true, 80, false) == expected,
            "{weights:?}: beside idle lanes"
        );
        // Few steps: on a busy machine llama.cpp's threads wait for each other for long.
        let two = tiny(vocab, weights, 2);
        assert!(
            expected.starts_with(&bits(&*two, 4, false, 8, false)),
            "{weights:?}: two threads, another load"
        );
    }
}

#[test]
fn blocks_are_the_same_bytes_in_any_company() {
    let model = tiny(Vocab::Bpe, Weights::Q8_0, 1);
    let codec = codec(&model, 3, |options| options.mix = false);
    let text: Vec<u8> = b"the other thing in the inner area 12 12 12 ".repeat(9);
    let alone = codec.encode(&text, &Stop::new()).unwrap();
    let beside: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let encode = |i: usize| codec.encode(&text[i % 2..], &Stop::new()).unwrap();
        let threads: Vec<_> = (0..4).map(|i| scope.spawn(move || encode(i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(beside[0], alone);
    assert_eq!(beside[2], alone);
    let again = tiny(Vocab::Bpe, Weights::Q8_0, 1);
    let again = Codec::new(Some(again), codec.options().clone()).unwrap();
    assert_eq!(again.encode(&text, &Stop::new()).unwrap(), alone);
    assert_eq!(again.fingerprint().unwrap(), codec.fingerprint().unwrap());
}

#[test]
fn another_model_is_missed_by_name_and_fingerprint() {
    let model = tiny(Vocab::Bpe, Weights::F16, 1);
    let ours = codec(&model, 1, |options| options.lm_only = true);
    let theirs = codec(&tiny(Vocab::Bpe, Weights::Q8_0, 1), 1, |_| ());
    let none = Codec::new(None, Options::default()).unwrap();
    assert_ne!(ours.fingerprint().unwrap(), theirs.fingerprint().unwrap());
    let built_in = load(
        &ModelSource::builtin_default().unwrap(),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    let built_in = codec(&built_in, 2, |options| options.lm_only = true);
    let block = built_in
        .encode(
            &b"The quick brown fox jumps over the lazy dog. ".repeat(4),
            &Stop::new(),
        )
        .unwrap();
    assert_eq!(Header::parse(&block).unwrap().method, Method::Lm);
    for other in [ours, theirs, none] {
        assert!(matches!(
            other.decode(&block, &Stop::new()),
            Err(Error::MissingModel { .. })
        ));
    }
}

#[test]
fn a_model_that_cannot_express_every_byte_is_refused_with_the_reason() {
    let file = model(Vocab::SpmWithoutBytes, Weights::F16);
    let error = load_bytes("words.gguf", file, EngineChoice::Llama, &LoadOptions::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("words.gguf") && error.contains("256 byte values"),
        "{error}"
    );
}

#[test]
fn files_that_are_no_models_are_refused_with_the_reason() {
    let file = model(Vocab::Bpe, Weights::F16);
    for (bytes, reason) in [
        (b"#!/bin/sh".to_vec(), "not a GGUF"),
        (Vec::new(), "not a GGUF"),
        (file[..file.len() - 100].to_vec(), "truncated"),
        (file[..500].to_vec(), "truncated"),
    ] {
        for engine in [EngineChoice::Llama, EngineChoice::Auto] {
            let error = load_bytes("x", bytes.clone(), engine, &LoadOptions::default())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}

#[test]
fn every_bit_flip_of_a_model_block_is_noticed_or_harmless() {
    let model = load(
        &ModelSource::builtin_default().unwrap(),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    let text = b"It was the best of times, it was the worst of times, it was the age of wisdom.";
    for lm_only in [true, false] {
        let codec = codec(&model, 2, |options| (options.lm_only, options.mix) = (lm_only, false));
        let block = codec.encode(text, &Stop::new()).unwrap();
        assert!(Header::parse(&block).unwrap().method.needs_model());
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The last bits of the coder's ending may not matter; then the same bytes come back.
            if let Ok(decoded) = codec.decode(&flipped, &Stop::new()) {
                assert_eq!(decoded, text, "bit {bit}");
                assert!(bit / 8 + 1 == block.len(), "bit {bit} is not in the last byte");
            }
        }
        for len in 0..block.len() {
            assert!(codec.decode(&block[..len], &Stop::new()).is_err(), "{len} bytes");
        }
    }
}

/// llama.cpp mapped the user's file: what was coded after somebody wrote to it no model could decode.
#[test]
fn a_model_file_that_is_overwritten_does_not_change_the_loaded_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.gguf");
    let gguf = model(Vocab::Bpe, Weights::F32);
    std::fs::write(&path, &gguf).unwrap();
    let source = ModelSource::Path(path.clone());
    let loaded = load(&source, EngineChoice::Llama, &LoadOptions::default()).unwrap();
    std::fs::write(&path, vec![0x55; gguf.len()]).unwrap();
    let lm_only = |options: &mut Options| options.lm_only = true;
    let text = b"the the that this the thing ".repeat(9);
    let block = codec(&loaded, 1, lm_only).encode(&text, &Stop::new()).unwrap();
    let sound = codec(&tiny(Vocab::Bpe, Weights::F32, 1), 1, lm_only);
    assert_eq!(sound.decode(&block, &Stop::new()).unwrap(), text);
}
