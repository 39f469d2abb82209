//! Writes down what a language model says at every decision of blocks, for tuning the mixer without running the model
//! again: `lmdump MODEL BLOCK LIMIT OUTDIR FILE...`
//!
//! Eight bytes per decision: kind (0 bit, 1 certain bit, 2 end of token, 3 a token is complete), lane, outcome, 0, the
//! model's probability (16 bits), token rank (16 bits); in front of a block its length and number of lanes (32 bits
//! each) and after it eight bytes of 255.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a tool that may stop at the first surprise"
)]

use lmfs_codec::entropy::frequencies::Frequencies;
use lmfs_codec::entropy::range_coder::Coder;
use lmfs_codec::entropy::token_tree::{DecisionModel, Place, TokenTree};
use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, Token, load};

struct Record(Vec<u8>, u32, u32);

impl Record {
    fn put(&mut self, kind: u8, lane: usize, bit: bool, lm: u32, rank: u32) {
        self.0.extend([kind, lane as u8, u8::from(bit), 0]);
        self.0.extend((lm as u16).to_le_bytes());
        self.0.extend((rank as u16).to_le_bytes());
    }
}

impl DecisionModel for Record {
    fn predict(&mut self, _: usize, lm: u32) -> u32 {
        self.1 = lm;
        lm
    }
    fn update(&mut self, lane: usize, bit: bool) {
        self.put(0, lane, bit, self.1, 0);
    }
    fn skip(&mut self, lane: usize, bit: bool) {
        self.put(1, lane, bit, 0, 0);
    }
    fn predict_end(&mut self, _: usize, rank: u32, lm: u32) -> u32 {
        (self.1, self.2) = (lm, rank);
        lm
    }
    fn update_end(&mut self, lane: usize, end: bool) {
        self.put(2, lane, end, self.1, self.2);
    }
    fn token(&mut self, lane: usize) {
        self.put(3, lane, false, 0, 0);
    }
}

struct Same;
impl Coder for Same {
    fn code(&mut self, bit: bool, _: u32) -> bool {
        bit
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let source: ModelSource = args[1].parse().unwrap();
    let (block, limit): (usize, usize) = (args[2].parse().unwrap(), args[3].parse().unwrap());
    let model = load(&source, EngineChoice::Auto, &LoadOptions::default()).unwrap();
    let vocabulary = model.vocabulary();
    let (tree, mut distribution) = (TokenTree::new(vocabulary), Frequencies::new(vocabulary));
    let start = vocabulary.bos().unwrap_or_else(|| vocabulary.byte_token(b'\n'));
    for path in &args[5..] {
        let data = std::fs::read(path).unwrap();
        let mut record = Record(Vec::new(), 0, 0);
        for raw in data[..data.len().min(limit)].chunks(block) {
            let count = (raw.len() / 1024).clamp(1, 4);
            let mut lanes = model.open(count).unwrap();
            lanes.reset().unwrap();
            let run = lanes.max_run().max(1);
            let mut rest = raw;
            let mut tokens: Vec<Vec<Token>> = Vec::new();
            for lane in 0..count {
                let (text, after) = rest.split_at(raw.len() / count + usize::from(lane < raw.len() % count));
                rest = after;
                tokens.push(std::iter::once(start).chain(model.tokenize(text).unwrap()).collect());
            }
            record.0.extend((raw.len() as u32).to_le_bytes());
            record.0.extend((count as u32).to_le_bytes());
            let most = tokens.iter().map(Vec::len).max().unwrap();
            for at in (0..most - 1).step_by(run) {
                let runs: Vec<&[Token]> = tokens
                    .iter()
                    .map(|t| &t[at.min(t.len() - 1)..(at + run).min(t.len() - 1)])
                    .collect();
                lanes.step(&runs).unwrap();
                for i in 0..run {
                    for (lane, tokens) in tokens.iter().enumerate() {
                        if let Some(&token) = tokens.get(at + i + 1) {
                            distribution.set(lanes.logits(lane, i));
                            tree.code(
                                vocabulary,
                                &distribution,
                                &mut Same,
                                &mut record,
                                Place { lane, left: raw.len() },
                                token,
                            );
                        }
                    }
                }
            }
            record.0.extend([255; 8]);
        }
        let name = std::path::Path::new(path).file_name().unwrap().to_str().unwrap();
        std::fs::write(format!("{}/{name}.{block}", args[4]), record.0).unwrap();
    }
}
