//! Measures the exact engine: bits a byte beside llama.cpp, tokens a second by lanes, where a token's time goes,
//! and the share of this CPU's int8 peak.
//!
//! `cargo run --release -p lmfs-codec --example exact_bench -- --help`
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench"
)]

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use lmfs_codec::model::exact::{ExactModel, int8_peak};
use lmfs_codec::model::{
    EngineChoice, Lanes, LanguageModel, LoadOptions, ModelSource, Token, load,
};

#[derive(Parser)]
struct Args {
    /// `builtin:NAME` or a GGUF file.
    #[arg(long, default_value = "builtin:first")]
    model: ModelSource,
    /// Bytes of each file that are used.
    #[arg(long, default_value_t = 65_536)]
    bytes: usize,
    /// Compare bits a byte with this many lanes (few enough that lanes fit llama.cpp's context).
    #[arg(long, default_value_t = 64)]
    quality_lanes: usize,
    /// Lanes whose speed is measured.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32")]
    lanes: Vec<usize>,
    /// Repetitions; the best counts.
    #[arg(long, default_value_t = 3)]
    best_of: usize,
    /// Also measure llama.cpp.
    #[arg(long)]
    llama: bool,
    /// Text files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// -log2 of the probability of `token`.
fn bits(logits: &[f32], token: Token) -> f64 {
    let top = logits.iter().fold(f32::MIN, |a, &b| a.max(b));
    let sum: f64 = logits.iter().map(|&v| f64::from(v - top).exp()).sum();
    (sum.ln() - f64::from(logits[token as usize] - top)) / std::f64::consts::LN_2
}

/// The text in lanes: tokens after the start token.
fn cut(model: &dyn LanguageModel, text: &[u8], lanes: usize) -> Vec<Vec<Token>> {
    let bos = model.vocabulary().bos();
    text.chunks(text.len().div_ceil(lanes))
        .map(|c| bos.into_iter().chain(model.tokenize(c).unwrap()).collect())
        .collect()
}

/// Feeds all texts, `run` tokens a step, and shows the results of each step to `seen`: lane, place, logits.
fn feed(
    lanes: &mut dyn Lanes,
    texts: &[Vec<Token>],
    run: usize,
    mut seen: impl FnMut(usize, usize, &[f32]),
) {
    lanes.reset().unwrap();
    let longest = texts.iter().map(Vec::len).max().unwrap();
    for at in (0..longest).step_by(run) {
        let part = |t: &Vec<Token>| at.min(t.len())..(at + run).min(t.len());
        let runs: Vec<&[Token]> = texts.iter().map(|t| &t[part(t)]).collect();
        lanes.step(&runs).unwrap();
        for (l, run) in runs.iter().enumerate() {
            for i in 0..run.len() {
                seen(l, at + i, lanes.logits(l, i));
            }
        }
    }
}

/// Total bits of a text, and bits a token by position / 256.
fn quality(model: &dyn LanguageModel, text: &[u8], lanes: usize) -> (f64, Vec<f64>) {
    let texts = cut(model, text, lanes);
    let mut state = model.open(texts.len()).unwrap();
    let run = state.max_run();
    let (mut total, mut curve) = (0.0, Vec::new());
    feed(&mut *state, &texts, run, |lane, at, logits| {
        if let Some(&next) = texts[lane].get(at + 1) {
            let b = bits(logits, next);
            total += b;
            if curve.len() <= at / 256 {
                curve.resize(at / 256 + 1, (0.0, 0.0));
            }
            curve[at / 256].0 += b;
            curve[at / 256].1 += 1.0;
        }
    });
    (total, curve.iter().map(|c| c.0 / c.1).collect())
}

/// Tokens a second, the best of several.
fn speed(
    model: &dyn LanguageModel,
    text: &[u8],
    lanes: usize,
    encode: bool,
    best_of: usize,
) -> f64 {
    let texts = cut(model, text, lanes);
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let mut state = model.open(texts.len()).unwrap();
    let run = if encode { state.max_run() } else { 1 };
    let mut best = f64::MAX;
    for _ in 0..best_of {
        let t = Instant::now();
        feed(&mut *state, &texts, run, |_, _, _| {});
        best = best.min(t.elapsed().as_secs_f64());
    }
    tokens as f64 / best
}

fn main() {
    let args = Args::parse();
    let options = LoadOptions::default();
    let name = args.model.to_string();
    let exact = ExactModel::load(&name, &args.model.read().unwrap(), &options).unwrap();
    let llama = args
        .llama
        .then(|| load(&args.model, EngineChoice::Llama, &options).unwrap());
    let work = exact.work();
    println!(
        "{name}: kernel {}, {} multiply-adds a token in products",
        exact.kernel(),
        work
    );
    for path in &args.files {
        let mut text = std::fs::read(path).unwrap();
        text.truncate(args.bytes);
        let length = text.len() as f64;
        let per_token = length / exact.tokenize(&text).unwrap().len() as f64;
        println!("{}: {per_token:.2} bytes a token", path.display());
        let (total, curve) = quality(&exact, &text, args.quality_lanes);
        print!(
            "  bits a byte, {} lanes: exact {:.4}",
            args.quality_lanes,
            total / length
        );
        if let Some(llama) = &llama {
            let (other, _) = quality(&**llama, &text, args.quality_lanes);
            print!(
                ", llama.cpp {:.4} ({:+.3} %)",
                other / length,
                (total / other - 1.0) * 100.0
            );
        }
        let curve: Vec<String> = curve.iter().map(|c| format!("{c:.2}")).collect();
        println!("; bits a token by position / 256: {}", curve.join(" "));
        for &lanes in &args.lanes {
            let decode = speed(&exact, &text, lanes, false, args.best_of);
            let encode = speed(&exact, &text, lanes, true, args.best_of);
            let peak = int8_peak();
            print!(
                "  {lanes:3} lanes: decode {decode:6.0} tokens/s, {:4.0} KB/s, {:2.0} % of int8 peak ({:.0} Gop/s); encode {encode:6.0}, {:4.0} KB/s, {:2.0} %",
                decode * per_token / 1e3,
                2.0 * work as f64 * decode / peak * 100.0,
                peak / 1e9,
                encode * per_token / 1e3,
                2.0 * work as f64 * encode / peak * 100.0,
            );
            if let Some(llama) = &llama {
                let other = speed(&**llama, &text, lanes, false, 1);
                print!(
                    "; llama.cpp {other:.0} tokens/s: {:.1} times",
                    decode / other
                );
            }
            println!();
        }
        for &lanes in &args.lanes {
            let texts = cut(&exact, &text, lanes);
            let mut state = exact.open_profiled(texts.len()).unwrap();
            feed(&mut state, &texts, 1, |_, _, _| {});
            println!(
                "  {lanes:3} lanes, microseconds a token: {}",
                state.profile().unwrap()
            );
        }
    }
}
