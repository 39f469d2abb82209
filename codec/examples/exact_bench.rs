//! Measures the exact engine: bits a byte, tokens a second, and the share of the CPU's int8 peak.
//!
//! `cargo run --release -p lmfs-codec --example exact_bench -- FILE... ` see `--help`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench"
)]

use std::time::Instant;

use lmfs_codec::model::exact::ExactModel;
use lmfs_codec::model::{Lanes, LanguageModel, LoadOptions, Token, builtin};

fn bits(logits: &[f32], token: Token) -> f64 {
    let top = logits.iter().fold(f32::MIN, |a, &b| a.max(b));
    let sum: f64 = logits.iter().map(|&v| f64::from(v - top).exp()).sum();
    (sum.ln() - f64::from(logits[token as usize] - top)) / std::f64::consts::LN_2
}

/// Bits of all lanes' tokens, each lane after the start token; `run` tokens a step. Sums by position / 256.
fn evaluate(
    lanes: &mut dyn Lanes,
    bos: Token,
    texts: &[Vec<Token>],
    run: usize,
) -> (f64, Vec<(f64, usize)>, u64) {
    lanes.reset().unwrap();
    let fed: Vec<Vec<Token>> = texts
        .iter()
        .map(|t| [&[bos], t.as_slice()].concat())
        .collect();
    let longest = fed.iter().map(Vec::len).max().unwrap();
    let mut curve = Vec::new();
    let (mut total, mut hash) = (0.0, 0xcbf2_9ce4_8422_2325_u64);
    let mut at = 0;
    while at < longest {
        let runs: Vec<&[Token]> = fed
            .iter()
            .map(|f| &f[at.min(f.len())..(at + run).min(f.len())])
            .collect();
        lanes.step(&runs).unwrap();
        for (l, run) in runs.iter().enumerate() {
            for i in 0..run.len() {
                let logits = lanes.logits(l, i);
                hash = logits[..64].iter().fold(hash, |h, v| {
                    (h ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01b3)
                });
                if let Some(&next) = fed[l].get(at + i + 1) {
                    let b = bits(logits, next);
                    total += b;
                    let bucket = (at + i) / 256;
                    if curve.len() <= bucket {
                        curve.resize(bucket + 1, (0.0, 0));
                    }
                    curve[bucket].0 += b;
                    curve[bucket].1 += 1;
                }
            }
        }
        at += run;
    }
    (total, curve, hash)
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap();
    let gguf = match args.next().unwrap().as_str() {
        name if name.starts_with("builtin:") => builtin::find(&name[8..]).unwrap().gguf.to_vec(),
        path => std::fs::read(path).unwrap(),
    };
    let count: usize = args.next().unwrap().parse().unwrap();
    let size: usize = args.next().unwrap().parse().unwrap();
    let model = ExactModel::load("bench", &gguf, &LoadOptions::default()).unwrap();
    let bos = model.vocabulary().bos().unwrap();
    println!("kernel {}", model.kernel());
    for path in args {
        let mut text = std::fs::read(&path).unwrap();
        text.truncate(size);
        let t = Instant::now();
        let texts: Vec<Vec<Token>> = text
            .chunks(text.len().div_ceil(count))
            .map(|c| model.tokenize(c).unwrap())
            .collect();
        let took = t.elapsed().as_secs_f64();
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let mut lanes = model.open(texts.len()).unwrap();
        let run = if mode == "encode" { lanes.max_run() } else { 1 };
        let t = Instant::now();
        let (total, curve, hash) = evaluate(&mut *lanes, bos, &texts, run);
        let s = t.elapsed().as_secs_f64();
        println!(
            "{path}: {tokens} tokens of {:.2} bytes (cut in {took:.4} s), {:.4} bits a byte, {:.0} tokens/s, hash {hash:016x}",
            text.len() as f64 / tokens as f64,
            total / text.len() as f64,
            tokens as f64 / s
        );
        let curve: Vec<String> = curve
            .iter()
            .map(|c| format!("{:.3}", c.0 / c.1 as f64))
            .collect();
        println!("  bits a token by position / 256: {}", curve.join(" "));
    }
}
