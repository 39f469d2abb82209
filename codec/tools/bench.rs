//! Sizes and speeds of the methods on files, block by block, beside zstd and a bare llama.cpp loop.
//!
//! `cargo run --release -p lmfs-codec --example bench -- [--block KIB] [--take KIB] [--lanes N] [--worth N]
//! FILE...`
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measuring program"
)]

use std::sync::Arc;

use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, Token, load};
use lmfs_codec::{Codec, Header, Options, Stop};

struct Settings {
    block: usize,
    take: usize,
    lanes: Option<usize>,
    worth: u32,
    model: ModelSource,
    engine: EngineChoice,
    files: Vec<String>,
}

fn settings() -> Settings {
    let model = ModelSource::builtin_default().unwrap();
    let mut settings = Settings {
        block: 65536,
        take: 65536,
        lanes: None,
        worth: Options::default().model_worth,
        model,
        engine: EngineChoice::Auto,
        files: vec![],
    };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap();
        match arg.as_str() {
            "--block" => settings.block = value().parse::<usize>().unwrap() << 10,
            "--take" => settings.take = value().parse::<usize>().unwrap() << 10,
            "--lanes" => settings.lanes = Some(value().parse().unwrap()),
            "--worth" => settings.worth = value().parse().unwrap(),
            "--model" => settings.model = value().parse().unwrap(),
            "--engine" => settings.engine = value().parse().unwrap(),
            _ => settings.files.push(arg),
        }
    }
    settings
}

/// Seconds of processor time of this thread, which does all the work: other programs do not disturb the ratios.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Bits a byte and seconds of encoding (with verification) and decoding.
fn measure(codec: &Codec, blocks: &[&[u8]]) -> (f64, f64, f64) {
    let (stop, mut size, mut encode, mut decode, mut raw) = (Stop::new(), 0, 0.0, 0.0, 0);
    for block in blocks {
        let start = cpu_seconds();
        let coded = codec.encode(block, &stop).unwrap();
        encode += cpu_seconds() - start;
        let start = cpu_seconds();
        assert_eq!(codec.decode(&coded, &stop).unwrap(), *block);
        decode += cpu_seconds() - start;
        size += coded.len();
        raw += block.len();
    }
    (size as f64 * 8.0 / raw as f64, encode, decode)
}

/// Tokens a second of the model alone with these lanes, fed with the same text and nothing done with the logits.
fn bare(model: &dyn LanguageModel, text: &[u8], lanes: usize) -> f64 {
    let per = text.len() / lanes;
    let tokens: Vec<Vec<Token>> = text
        .chunks(per.max(1))
        .take(lanes)
        .map(|lane| model.tokenize(lane).unwrap())
        .collect();
    let mut state = model.open(lanes).unwrap();
    let longest = tokens.iter().map(Vec::len).max().unwrap();
    let start = cpu_seconds();
    for i in 0..longest {
        let runs: Vec<&[Token]> = tokens.iter().map(|lane| lane.get(i..=i).unwrap_or_default()).collect();
        state.step(&runs).unwrap();
    }
    tokens.iter().map(Vec::len).sum::<usize>() as f64 / (cpu_seconds() - start)
}

fn main() {
    let settings = settings();
    let model = load(&settings.model, settings.engine, &LoadOptions::default()).unwrap();
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = Options::default();
        options.lanes = settings.lanes;
        options.model_worth = settings.worth;
        change(&mut options);
        Codec::new(Some(Arc::clone(&model)), options).unwrap()
    };
    let lm = with(&|o| o.lm_only = true);
    let mix = with(&|o| o.model = false);
    let full = with(&|_| ());
    let zstd = with(&|o| (o.model, o.mix) = (false, false));
    println!(
        "{} ({}), blocks of {} KiB",
        model.identity().name,
        model.identity().engine,
        settings.block >> 10
    );
    println!(
        "{:24} {:>6} {:>6} {:>6} {:>6} | bits/byte; tokens/s: {:>7} {:>7} {:>7}  dec/bare enc/bare",
        "file", "lm", "mix", "model", "zstd", "bare", "decode", "encode"
    );
    for file in &settings.files {
        let raw = std::fs::read(file).unwrap();
        let raw = &raw[..raw.len().min(settings.take)];
        let blocks: Vec<&[u8]> = raw.chunks(settings.block).collect();
        let (lm_bits, lm_encode, lm_decode) = measure(&lm, &blocks);
        let (mix_bits, ..) = measure(&mix, &blocks);
        let (full_bits, full_encode, full_decode) = measure(&full, &blocks);
        let (zstd_bits, ..) = measure(&zstd, &blocks);
        let lanes = usize::from(
            Header::parse(&lm.encode(blocks[0], &Stop::new()).unwrap())
                .unwrap()
                .lanes,
        )
        .max(1);
        let tokens = model.tokenize(raw).unwrap().len() as f64;
        let bare = bare(&*model, blocks[0], lanes);
        let name = file.rsplit('/').next().unwrap();
        println!(
            "{name:24} {lm_bits:6.3} {mix_bits:6.3} {full_bits:6.3} {zstd_bits:6.3} | {lanes} lanes              {bare:7.0} {:7.0} {:7.0}  {:.2}  {:.2}  (lm: {:.2} {:.2})",
            tokens / full_decode,
            tokens / full_encode,
            tokens / full_decode / bare,
            tokens / full_encode / bare,
            tokens / lm_decode / bare,
            tokens / lm_encode / bare,
        );
    }
}
