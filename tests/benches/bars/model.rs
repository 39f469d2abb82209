//! Speed of model blocks: cold sequential reading and packing beside a bare loop over the same model.
#![allow(clippy::indexing_slicing, reason = "lanes are sliced below their lengths")]

use std::fs;
use std::sync::Arc;

use lmfs_codec::model::{self, LanguageModel, Token};
use lmfs_tests::Scratch;

use crate::corpus::Kind;
use crate::{best, seconds};

/// Text enough for every core to have several blocks.
const BYTES: usize = 512 << 10;

pub fn print(kinds: &[Kind]) {
    let text = text(kinds, BYTES);
    println!("\n### Speed of model blocks\n");
    println!(
        "{} bytes of text, {} cores; the bare loop is over the same model, on all cores.\n",
        text.len(),
        cores()
    );
    println!("| engine | what | KB/s | beside the bare loop |");
    println!("|---|---|---|---|");
    for engine in ["exact", "llama"] {
        measure(engine, &text);
    }
}

/// Text of all kinds that have some, at most `most` bytes.
pub fn text(kinds: &[Kind], most: usize) -> Vec<u8> {
    let text: Vec<u8> = kinds
        .iter()
        .filter(|kind| ["text", "large", "wikitext2", "canterbury", "subtitles"].contains(&kind.name.as_str()))
        .flat_map(|kind| kind.contents().map(|(_, bytes)| bytes).collect::<Vec<_>>())
        .filter(|bytes| std::str::from_utf8(bytes).is_ok())
        .flatten()
        .take(most)
        .collect();
    assert!(
        text.len() > 64 << 10,
        "EVAL has too little text to measure speed on: {} bytes",
        text.len()
    );
    text
}

/// The built-in model by one engine: bare, read through the mount, packed.
fn measure(engine: &str, text: &[u8]) {
    let scratch = Scratch::with_store(&["--engine", engine]);
    let mount = scratch.mount(&[]);
    fs::write(mount.path("text"), text).unwrap();
    lmfs_tests::run(std::process::Command::new("sync").arg("-f").arg(mount.path("text"))).ok();
    let packing = seconds(|| drop(mount.pack(&[])));
    let status = mount.status();
    mount.umount();

    // The loop and the reading alternate, since the machine's speed drifts.
    let block = usize::try_from(
        status
            .pointer("/block_size")
            .and_then(serde_json::Value::as_u64)
            .unwrap(),
    )
    .unwrap();
    let model = scratch
        .store_files("models")
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "gguf"))
        .unwrap();
    let model = model::load(
        &model::ModelSource::Path(model),
        engine.parse().unwrap(),
        &model::LoadOptions::default(),
    )
    .unwrap();
    let lanes = model.best_lanes();
    let bare = Bare::new(model, text, block, lanes);
    let (mut reading, mut looping) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..3 {
        let mount = scratch.mount(&[]);
        reading = reading.min(seconds(|| assert!(fs::read(mount.path("text")).unwrap() == text)));
        mount.umount();
        looping = looping.min(best(1, || seconds(|| bare.run())));
    }
    let rate = |seconds: f64| text.len() as f64 / seconds / 1000.0;
    let line = |what: &str, spent: f64| {
        println!("| {engine} | {what} | {:.1} | {:.2} |", rate(spent), looping / spent);
    };
    line(&format!("bare loop: {lanes} lanes, blocks of {block} bytes"), looping);
    line("cold sequential reading through the mount", reading);
    line("packing with verification", packing);
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The model alone: every token of the text fed in lanes, block by block, nothing done with the logits.
struct Bare {
    model: Arc<dyn LanguageModel>,
    lanes: usize,
    /// For each block the tokens of each lane.
    blocks: Vec<Vec<Vec<Token>>>,
}

impl Bare {
    fn new(model: Arc<dyn LanguageModel>, text: &[u8], block: usize, lanes: usize) -> Self {
        let blocks = text.chunks(block).map(|block| {
            let lane = block.len().div_ceil(lanes);
            block.chunks(lane).map(|lane| model.tokenize(lane).unwrap()).collect()
        });
        let blocks = blocks.collect();
        Self { model, lanes, blocks }
    }

    fn run(&self) {
        let per_core = self.blocks.len().div_ceil(cores());
        std::thread::scope(|scope| {
            for blocks in self.blocks.chunks(per_core) {
                scope.spawn(move || self.blocks(blocks));
            }
        });
    }

    fn blocks(&self, blocks: &[Vec<Vec<Token>>]) {
        let mut state = self.model.open(self.lanes).unwrap();
        for block in blocks {
            state.reset().unwrap();
            // One token a step, as decoding does: the last token's prediction is not needed.
            for at in 0..block.iter().map(|lane| lane.len().saturating_sub(1)).max().unwrap_or(0) {
                let mut runs: Vec<&[Token]> = block
                    .iter()
                    .map(|lane| if at + 1 < lane.len() { &lane[at..=at] } else { &[] })
                    .collect();
                runs.resize(self.lanes, &[]);
                state.step(&runs).unwrap();
            }
        }
    }
}
