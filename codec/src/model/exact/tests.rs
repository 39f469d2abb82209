//! Every kernel against the plain one, and the promise of the engine: lanes, runs and kernels give the same bits.

mod agreement;
#[path = "../../../tests/common/mod.rs"]
mod common;
mod reference;

use proptest::prelude::*;

use super::kernel::{Kernel, Room, Row, Then};
use super::lanes::ExactLanes;
use super::matrix::Matrix;
use crate::model::exact::ExactModel;
use crate::model::{LanguageModel, LoadOptions, builtin};

const TEXT: &str = concat!(
    "fn main() { println!(\"Hello, world! It's 42.\"); }\n\n  Ünïcödé: Привет, 日本語 ½ Ⅷ\u{a0}\u{3000}x\r\n",
    "The quick brown fox jumps over the lazy dog; they've said it'LL do.\t\t<tag attr='1'/>\n\n\n{\"key\": [1, 2.5e-3]}  ",
);

fn scalar() -> &'static Kernel {
    Kernel::all().last().unwrap()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Pseudo-random numbers in -1..1.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut s = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        s = s
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (s >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 24 }))]

    #[test]
    fn kernels_agree_on_products(
        rows in 1_usize..if cfg!(miri) { 20 } else { 70 },
        columns in 1_usize..if cfg!(miri) { 3 } else { 5 },
        tokens in 1_usize..if cfg!(miri) { 4 } else { 20 },
        seed: u64,
    ) {
        let columns = columns * 64;
        let w = noise(rows * columns, seed);
        let w = Matrix::quantize(w.chunks_exact(columns), columns);
        let x = noise(tokens * columns, seed ^ 1);
        let mut wanted = None;
        for kernel in Kernel::all() {
            let mut q = vec![0; tokens * columns];
            let parts = x.chunks_exact(columns).zip(q.chunks_exact_mut(columns));
            let scales: Vec<Row> = parts.map(|(x, q)| (kernel.norm_quantize)(x, 1e-5, q)).collect();
            let mut out = noise(tokens * w.rows, seed ^ 2);
            (kernel.product)(&q, &scales, &w, &mut out, w.rows, Then::Add, &mut Room::new());
            (kernel.product)(&q[..columns], &scales[..1], &w, &mut out, w.rows, Then::Write, &mut Room::new());
            let mut gate = vec![0.0; w.rows / 2];
            let mut hidden = vec![0; w.rows / 2];
            let swiglu = (kernel.swiglu_quantize)(&out[..w.rows], &mut gate, &mut hidden);
            let found = (bits(&out), bits(&gate), hidden, swiglu.scale.to_bits(), swiglu.sum);
            prop_assert_eq!(wanted.get_or_insert_with(|| found.clone()), &found, "{}", kernel.name);
        }
    }
}

#[test]
fn products_are_what_the_definition_says() {
    let w = noise(40 * 64, 3);
    let m = Matrix::quantize(w.chunks_exact(64), 64);
    let x = noise(64, 4);
    let mut q = vec![0; 64];
    let row = (scalar().quantize)(&x, &mut q);
    let mut out = vec![0.0; m.rows];
    (scalar().product)(&q, &[row], &m, &mut out, m.rows, Then::Write, &mut Room::new());
    for (r, w) in w.chunks_exact(64).enumerate() {
        let most = w.iter().fold(1e-30_f32, |m, v| m.max(v.abs()));
        let top = x.iter().fold(1e-30_f32, |m, v| m.max(v.abs()));
        let integer = |v: f32, most: f32| (v * (127.0 / most)).round_ties_even() as i32;
        let sum: i32 = w
            .iter()
            .zip(&x)
            .map(|(&w, &x)| integer(w, most) * integer(x, top))
            .sum();
        let y = sum as f32 * ((top / 127.0) * (most / 127.0));
        assert_eq!(out[r].to_bits(), y.to_bits(), "row {r}");
    }
}

/// A model with random weights whose query heads have keys and values of their own, or share them in pairs, as those of
/// the built-in models do not.
fn model_with_kv_heads(kv_heads: u64) -> Vec<u8> {
    let size = common::Size {
        width: 256,
        hidden: 768,
        layers: 2,
        heads: 4,
        kv_heads,
        context: 512,
        confidence: 1.0,
    };
    common::model_of(size, common::Vocab::Qwen2, common::Weights::Q8_0)
}

fn model(window: usize) -> ExactModel {
    let options = LoadOptions {
        context: Some(window),
        ..LoadOptions::default()
    };
    ExactModel::load("test", builtin::find("small").unwrap().gguf, &options).unwrap()
}

/// Bits of some logits after each token, for two lanes of different length fed in runs.
fn logits(lanes: &mut ExactLanes, texts: &[Vec<u32>], run: usize) -> Vec<Vec<Vec<u32>>> {
    let mut out = vec![Vec::new(); texts.len()];
    let longest = texts.iter().map(Vec::len).max().unwrap();
    for at in (0..longest).step_by(run) {
        let runs: Vec<&[u32]> = texts
            .iter()
            .map(|t| &t[at.min(t.len())..(at + run).min(t.len())])
            .collect();
        lanes.step(&runs).unwrap();
        for (l, run) in runs.iter().enumerate() {
            for i in 0..run.len() {
                out[l].push(bits(&lanes.logits(l, i)[..96]));
            }
            assert!(lanes.logits(l, run.len()).is_empty());
        }
    }
    out
}

#[test]
fn runs_lanes_neighbours_and_kernels_do_not_change_a_bit() {
    // A window of 48 slides many times within these lanes.
    let model = model(48);
    let all = model.tokenize(TEXT.as_bytes()).unwrap();
    let texts = vec![
        all[..all.len() - 10].to_vec(),
        all[30..].to_vec(),
        vec![],
        all[7..20].to_vec(),
    ];
    let mut wanted = None;
    for kernel in Kernel::all() {
        // The plain kernel is slow, so it gets the longest runs only.
        for run in if kernel.name == "scalar" {
            vec![16]
        } else {
            vec![1, 3, 16]
        } {
            let mut lanes = model.open_with(kernel, texts.len(), Some(16)).unwrap();
            let found = logits(&mut lanes, &texts, run);
            let wanted = wanted.get_or_insert_with(|| found.clone());
            assert_eq!(wanted, &found, "{} in runs of {run}", kernel.name);
            lanes.reset();
            if run == 3 {
                assert_eq!(wanted, &logits(&mut lanes, &texts, 2), "{} after reset", kernel.name);
            }
        }
    }
    let wanted = wanted.unwrap();
    let mut alone = model.open_with(Kernel::all().next().unwrap(), 1, Some(64)).unwrap();
    assert_eq!(wanted[1], logits(&mut alone, &texts[1..2], 64)[0]);
}

#[test]
fn calls_that_do_not_fit_are_errors_and_change_nothing() {
    let model = model(48);
    let mut lanes = model.open_with(Kernel::all().next().unwrap(), 2, None).unwrap();
    let long = vec![1; lanes.max_run() + 1];
    assert!(lanes.step(&[&[1]]).is_err());
    assert!(lanes.step(&[&[1], &[9999]]).is_err());
    assert!(lanes.step(&[&[1], &long]).is_err());
    lanes.step(&[&[0, 5], &[]]).unwrap();
    let found = bits(lanes.logits(0, 1));
    let mut fresh = model.open_with(Kernel::all().next().unwrap(), 2, None).unwrap();
    fresh.step(&[&[0], &[]]).unwrap();
    fresh.step(&[&[5], &[]]).unwrap();
    assert_eq!(found, bits(fresh.logits(0, 0)));
    assert!(model.open(0).is_err());
}

#[cfg(feature = "llama")]
#[test]
fn tokens_and_bits_a_byte_are_llama_cpps() {
    use crate::model::{EngineChoice, load_bytes};

    let exact = model(512);
    let gguf = builtin::find("small").unwrap().gguf.to_vec();
    let llama = load_bytes("small", gguf, EngineChoice::Llama, &LoadOptions::default()).unwrap();
    let tokens = exact.tokenize(TEXT.as_bytes()).unwrap();
    assert_eq!(tokens, llama.tokenize(TEXT.as_bytes()).unwrap());
    let cost = |model: &dyn LanguageModel| {
        let mut lanes = model.open(1).unwrap();
        let fed = [&[0], tokens.as_slice()].concat();
        let mut bits = 0.0;
        for pair in fed.windows(2) {
            lanes.step(&[&pair[..1]]).unwrap();
            let logits = lanes.logits(0, 0);
            let top = logits.iter().fold(f32::MIN, |a, &b| a.max(b));
            let sum: f64 = logits.iter().map(|&v| f64::from(v - top).exp()).sum();
            bits += sum.log2() - f64::from(logits[pair[1] as usize] - top) * std::f64::consts::LOG2_E;
        }
        bits
    };
    let (ours, theirs) = (cost(&exact), cost(&*llama));
    assert!((ours / theirs - 1.0).abs() < 0.01, "{ours} bits, llama.cpp {theirs}");
}

#[test]
fn bytes_that_are_no_text_keep_their_place() {
    let model = model(48);
    let data: Vec<u8> = (0..=255).chain(*b"text \xc3").chain((0..=255).rev()).collect();
    let mut joined = Vec::new();
    model.vocabulary().join(&model.tokenize(&data).unwrap(), &mut joined);
    assert_eq!(joined, data);
}
