#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use lmfs_codec::Stop;
use lmfs_codec::mix::{DataLayout, Predictor, encode_as};
use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load};

use super::sampler::{Cost, Draw};
use super::*;
use crate::eval::{Compressor, Gzip};

const SAMPLES: usize = 10_000;

/// That 10,000 samples, counted by outcome, may well have these probabilities: Pearson's test at 0.1 %.
fn assert_agrees(counts: &[usize], probabilities: &[f64]) {
    let sum: f64 = probabilities.iter().sum();
    assert!((sum - 1.0).abs() < 0.01, "probabilities sum up to {sum}");
    // Rare outcomes are one, as the test needs.
    let (mut rare, mut rare_expected) = (0.0, 0.0);
    let mut bins = Vec::new();
    for (&count, &probability) in counts.iter().zip(probabilities) {
        let (count, expected) = (count as f64, probability / sum * SAMPLES as f64);
        if expected < 8.0 {
            rare += count;
            rare_expected += expected;
        } else {
            bins.push((count, expected));
        }
    }
    if rare_expected >= 8.0 {
        bins.push((rare, rare_expected));
    } else {
        assert!(rare < 30.0, "{rare} samples where {rare_expected} are expected");
    }
    assert!(bins.len() >= 3, "too few outcomes to say anything: {bins:?}");
    let statistic: f64 = bins
        .iter()
        .map(|(count, expected)| (count - expected).powi(2) / expected)
        .sum();
    // Wilson and Hilferty's approximation of the quantile.
    let freedom = (bins.len() - 1) as f64;
    let ninth = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - ninth + 3.09 * ninth.sqrt()).powi(3);
    println!("chi-squared {statistic:.1} with {freedom} degrees of freedom, limit {limit:.1}");
    assert!(statistic < limit, "{statistic} over {limit}: {bins:?}");
}

fn probability(with: f64, before: f64) -> f64 {
    (before - with).exp2()
}

#[test]
fn samples_of_mix_agree_with_coded_lengths() {
    let prompt = b"abcabdabcabeabdacbabcdab";
    let mut predicted = Predicted::mix(DataLayout::Plain);
    let (stop, more) = (Stop::new(), &mut |_| ());
    let mut cost = |text: &[u8], len: usize| {
        let mut cost = Cost::default();
        predicted.code(text, len, &mut cost, more, &stop).unwrap();
        cost.bits
    };
    // What `Cost` adds up is the length of real streams.
    let real = encode_as(&mut Predictor::new(), prompt, DataLayout::Plain, &Stop::new())
        .unwrap()
        .len() as f64;
    let bits = cost(prompt, 0);
    assert!((real - bits / 8.0 - 1.0).abs() <= 2.0, "{real} bytes, {bits} bits");
    let bits: Vec<f64> = (0..=255)
        .map(|byte: u8| cost(&[&prompt[..], &[byte]].concat(), 0))
        .collect();
    let before = -bits.iter().map(|bits| (-bits).exp2()).sum::<f64>().log2();
    assert!(
        (before - cost(prompt, 0)).abs() < 0.01,
        "a byte's probabilities sum up to one"
    );
    let probabilities: Vec<f64> = bits.iter().map(|&with| probability(with, before)).collect();

    let mut counts = [0; 256];
    let mut sampler = Sampler::new(1, 1.0);
    for _ in 0..SAMPLES {
        let drawn = predicted.write(prompt, 1, &mut sampler, &mut |_| (), &stop).unwrap();
        counts[usize::from(drawn[0])] += 1;
    }
    assert_agrees(&counts, &probabilities);
}

#[test]
fn samples_of_small_agree_with_coded_lengths() {
    let prompt = b"abcabdabcabeabdacbabcdab";
    let model = load(
        &ModelSource::Builtin("small"),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    let mut predicted = Predicted::model(std::sync::Arc::clone(&model)).unwrap();
    let (stop, block) = (Stop::new(), prompt.len() + 1);
    let known = model.tokenize(prompt).unwrap();
    let mut cost = |tokens: &[u32]| {
        let mut cost = Cost::default();
        predicted
            .code_tokens(tokens, block, 0, &mut cost, &mut |_| (), &stop)
            .unwrap();
        cost.bits
    };
    let before = cost(&known);
    let mut probabilities = [0.0; 256];
    for &token in model.vocabulary().sorted() {
        // A token that is longer than the block's rest and the longest token together cannot be.
        let first = usize::from(model.vocabulary().bytes(token)[0]);
        probabilities[first] += probability(cost(&[&known[..], &[token]].concat()), before);
    }
    let mut counts = [0; 256];
    let mut sampler = Sampler::new(2, 1.0);
    for _ in 0..SAMPLES {
        let drawn = predicted
            .code_tokens(&known, block, 1, &mut Draw::new(&mut sampler), &mut |_| (), &stop)
            .unwrap();
        counts[usize::from(drawn[0])] += 1;
    }
    assert_agrees(&counts, &probabilities);
}

#[test]
fn samples_of_gzip_agree_with_coded_lengths() {
    // Two letters more or less are a byte more or less.
    let prompt = b"abcabdabcabeabdacbabcdababcabdabcabeabdacbabcdab".repeat(2);
    let general = General::new(Way::Gzip, 4);
    let (candidates, bits) = general.candidates(&prompt, &Stop::new()).unwrap();
    let length = |text: &[u8]| Gzip.compress(text, &Stop::new()).unwrap().bytes as f64;
    let weights: Vec<f64> = candidates
        .iter()
        .map(|candidate| probability(8.0 * length(&[&prompt[..], candidate].concat()), 8.0 * length(&prompt)))
        .collect();
    let sum: f64 = weights.iter().sum();
    let probabilities: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
    let mut counts = vec![0; candidates.len()];
    let mut sampler = Sampler::new(3, 1.0);
    for _ in 0..SAMPLES {
        counts[sampler.choose(&bits)] += 1;
    }
    assert_agrees(&counts, &probabilities);
}

#[test]
fn what_is_certain_is_written() {
    let stop = Stop::new();
    let prompt = b"the same line, again and again\n".repeat(40);
    for way in [Way::Gzip, Way::Zstd, Way::Lzma] {
        let mut sampler = Sampler::new(4, 0.0);
        let drawn = General::new(way, 8)
            .write(&prompt, 40, &mut sampler, &mut |_| (), &stop)
            .unwrap();
        assert_eq!(drawn.len(), 40);
    }
    let model = load(
        &ModelSource::Builtin("tiny"),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    for mut predicted in [Predicted::mix(DataLayout::Plain), Predicted::model(model).unwrap()] {
        let mut heard = 0;
        let mut sampler = Sampler::new(5, 0.0);
        let drawn = predicted
            .write(&prompt, 62, &mut sampler, &mut |n| heard = n, &stop)
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&drawn),
            "the same line, again and again\n".repeat(2)
        );
        assert_eq!(heard, 62);
        let again = predicted.write(&prompt, 62, &mut sampler, &mut |_| (), &stop).unwrap();
        assert_eq!(again, drawn, "nothing is left of what was written before");
        assert!(
            predicted
                .write(&prompt, 1 << 20, &mut sampler, &mut |_| (), &stop)
                .is_err()
        );
    }
}

#[test]
fn pictures_and_sounds_return_as_files() {
    let picture = crate::eval::Picture::new(16, 8, 1, (0..128).collect()).unwrap();
    let material = Material::new(picture.to_netpbm().0).unwrap();
    assert_eq!((material.prompt().len(), material.length(Some(5))), (64, 64));
    let both = crate::eval::Picture::decode(&material.finish(&[7; 64]).unwrap()).unwrap();
    assert_eq!((both.width, both.height), (32, 8));
    assert_eq!(both.pixels[7 * 32 + 15..7 * 32 + 17], [127, 7]);

    let sound = crate::eval::Sound {
        channels: 1,
        bits: 16,
        rate: 16_000,
        samples: vec![256; 100],
    };
    let material = Material::new(sound.to_wav().0).unwrap();
    let longer = crate::eval::Sound::decode(&material.finish(&[128; 50]).unwrap()).unwrap();
    assert_eq!(
        (longer.samples.len(), longer.samples[99], longer.samples[100]),
        (150, 1, 0)
    );
    assert!(Material::new(b"\x89PNG\r\n\x1a\n and no more".to_vec()).is_err());
}
