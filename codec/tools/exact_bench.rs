//! Measures the exact engine: bits a byte beside llama.cpp, tokens a second by lanes, where a token's time goes,
//! and the share of this CPU's int8 peak.
//!
//! `cargo run --release -p lmfs-codec --example exact_bench -- --help`
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench")]

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use lmfs_codec::model::exact::{ExactModel, int8_peak};
use lmfs_codec::model::{EngineChoice, Lanes, LanguageModel, LoadOptions, ModelSource, Token, load};
use lmfs_codec::{Codec, Options, Stop};

#[derive(Parser)]
struct Args {
    /// `builtin:NAME` or a GGUF file.
    #[arg(long, default_value = "builtin:small")]
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
    /// Tokens a lane whose steps are timed.
    #[arg(long, default_value_t = 400)]
    steps: usize,
    /// How often blocks of 16 KiB are coded end to end, of which the best counts; 0 leaves that out.
    #[arg(long, default_value_t = 3)]
    decodes: usize,
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
fn feed(lanes: &mut dyn Lanes, texts: &[Vec<Token>], run: usize, mut seen: impl FnMut(usize, usize, &[f32])) {
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

/// Fills the windows of all lanes, then times `steps` steps of `run` tokens a lane. Lanes read `tokens` round and
/// round from different places. Returns the state after it and the seconds of each step, sorted.
fn timed<L: Lanes + ?Sized>(
    state: &mut L,
    tokens: &[Token],
    window: usize,
    run: usize,
    steps: usize,
    ready: impl Fn(&mut L),
) -> Vec<f64> {
    let lanes = state.lanes();
    let stride = tokens.len() / lanes;
    let mut at = 0;
    let mut step = |state: &mut L, run: usize| {
        let runs: Vec<Vec<Token>> = (0..lanes)
            .map(|l| (0..run).map(|i| tokens[(l * stride + at + i) % tokens.len()]).collect())
            .collect();
        let runs: Vec<&[Token]> = runs.iter().map(Vec::as_slice).collect();
        at += run;
        let start = Instant::now();
        state.step(&runs).unwrap();
        start.elapsed().as_secs_f64()
    };
    state.reset().unwrap();
    let fill = state.max_run();
    for _ in 0..window.div_ceil(fill) {
        step(state, fill);
    }
    ready(state);
    let mut times: Vec<f64> = (0..steps).map(|_| step(state, run)).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Seconds of processor time of this thread.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Kilobytes a second of processor time: blocks of 16 KiB decoded, and encoded with the check. Of each block the best
/// of `times` counts, which is what it takes where nothing disturbs it.
fn end_to_end(codec: &Codec, text: &[u8], times: usize) -> (f64, f64) {
    let stop = Stop::new();
    let best = |run: &dyn Fn()| {
        let time = || {
            let start = cpu_seconds();
            run();
            cpu_seconds() - start
        };
        (0..times).map(|_| time()).fold(f64::MAX, f64::min)
    };
    let (mut decode, mut encode) = (0.0, 0.0);
    for raw in text.chunks(16384) {
        let block = codec.encode(raw, &stop).unwrap();
        encode += best(&|| assert_eq!(codec.encode(raw, &stop).unwrap(), block));
        decode += best(&|| assert_eq!(codec.decode(&block, &stop).unwrap(), raw));
    }
    let kb = text.len() as f64 / 1e3;
    (kb / decode, kb / encode)
}

/// The shortest of ten times, in milliseconds.
fn best_of_10(mut run: impl FnMut()) -> f64 {
    let mut time = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..10).map(|_| time()).fold(f64::MAX, f64::min)
}

fn main() {
    let args = Args::parse();
    let options = LoadOptions::default();
    let name = args.model.to_string();
    let gguf = args.model.read().unwrap();
    let exact = Arc::new(ExactModel::load(&name, &gguf, &options).unwrap());
    let codec = Codec::new(Some(exact.clone()), Options::default()).unwrap();
    let print = codec.fingerprint().unwrap();
    println!(
        "milliseconds, the best of 10: to load {:.1}, to make a codec and its fingerprint {:.1}, again {:.1}",
        best_of_10(|| drop(ExactModel::load(&name, &gguf, &options).unwrap())),
        best_of_10(|| {
            let codec = Codec::new(Some(exact.clone()), Options::default()).unwrap();
            assert_eq!(codec.fingerprint().unwrap(), print);
        }),
        best_of_10(|| assert_eq!(codec.fingerprint().unwrap(), print)),
    );
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
        let (total, curve) = quality(&*exact, &text, args.quality_lanes);
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
        let tokens = exact.tokenize(&text).unwrap();
        let window = exact.identity().context;
        println!(
            "  tokens a second of one core with full windows: undisturbed (10 % quantile of steps), median in brackets"
        );
        for &lanes in &args.lanes {
            let mut state = exact.open(lanes).unwrap();
            let run = state.max_run();
            print!("  {lanes:3} lanes:");
            for (name, run) in [("decode", 1), ("encode", run)] {
                let times = timed(&mut *state, &tokens, window, run, args.steps.div_ceil(run), |_| {});
                let rate = |t: f64| (lanes * run) as f64 / t;
                let (best, median) = (rate(times[times.len() / 10]), rate(times[times.len() / 2]));
                let peak = int8_peak();
                print!(
                    " {name} {best:6.0} ({median:6.0}) {:4.0} KB/s, products {:2.0} % of int8 peak;",
                    best * per_token / 1e3,
                    2.0 * work as f64 * best / peak * 100.0,
                );
            }
            if let Some(llama) = &llama {
                let mut other = llama.open(lanes).unwrap();
                let mut state = exact.open(lanes).unwrap();
                // Processor time, so that the ratio stands on a busy machine too.
                let rate = |state: &mut dyn Lanes, steps: usize| {
                    let start = Cell::new(0.0);
                    timed(state, &tokens, window, 1, steps, |_| start.set(cpu_seconds()));
                    (lanes * steps) as f64 / (cpu_seconds() - start.get())
                };
                let (ours, theirs) = (rate(&mut *state, 640), rate(&mut *other, 64));
                print!(
                    " by processor time {ours:.0}, llama.cpp {theirs:.0}: {:.1} times",
                    ours / theirs
                );
            }
            println!();
        }
        if args.decodes > 0 {
            let (decode, encode) = end_to_end(&codec, &text, args.decodes);
            println!(
                "  end to end, blocks of 16 KiB, KB/s of processor time: decode {decode:.1}, encode with the check {encode:.1}"
            );
        }
        for &lanes in &args.lanes {
            let mut state = exact.open_profiled(lanes).unwrap();
            for (name, run) in [("decode", 1), ("encode", Lanes::max_run(&state))] {
                timed(&mut state, &tokens, window, run, args.steps.div_ceil(run), |state| {
                    state.start_profile()
                });
                let profile = state.profile().unwrap();
                println!("  {lanes:3} lanes, {name}, microseconds a token: {profile}");
            }
        }
    }
}
