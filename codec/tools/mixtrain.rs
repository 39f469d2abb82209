//! Learns the state that predictors start with: `mixtrain OUT [records] SAMPLES DIRECTORY...`
//!
//! From every directory it takes SAMPLES samples of 16 or 64 KiB (files are read in the order of their names, small
//! ones joined), shuffles them, codes each as a block of its own while histories' meanings, mixing weights and final
//! maps live on from block to block, and writes these to OUT: `codec/src/mix/initial_weights/README.md` has the
//! commands of the built-in files. With `records` it learns from samples whose best layout has a stride.
//! `mixtrain OUT replay DUMP...` learns the same from what `lmdump` wrote; `mixtrain
//! judge DUMP...` learns from three of four dumps only, and prints what the others take.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool that may stop at the first surprise"
)]

use lmfs_codec::Stop;
use lmfs_codec::entropy::token_tree::DecisionModel;
use lmfs_codec::mix::{self, BlockKind, DataLayout, Predictor};
use std::path::{Path, PathBuf};

fn walk(folder: &Path, files: &mut Vec<(PathBuf, u64)>) {
    if folder.is_symlink() {
        return;
    }
    if folder.is_file() {
        files.push((folder.to_owned(), folder.metadata().unwrap().len()));
        return;
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        walk(&entry, files);
    }
}

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }
}

/// Bytes of the directory's files from place `at` on, as if they were one file.
fn read(files: &[(PathBuf, u64)], mut at: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, size) in files {
        if at >= *size {
            at -= size;
            continue;
        }
        let data = std::fs::read(path).unwrap();
        out.extend_from_slice(&data[at as usize..]);
        at = 0;
        if out.len() >= len {
            break;
        }
    }
    out.truncate(len);
    out
}

/// Codes a dump's blocks, each prepared by `begin`; their bytes and the bits that they take.
fn code(predictor: &mut Predictor, path: &str, begin: impl Fn(&mut Predictor, &[usize])) -> (usize, f64) {
    let dump = std::fs::read(path).unwrap();
    let u32_at = |at: usize| u32::from_le_bytes(dump[at..at + 4].try_into().unwrap()) as usize;
    let (mut raw, mut bits) = (0, 0.0);
    let mut at = 0;
    while at < dump.len() {
        let (len, lanes) = (u32_at(at), u32_at(at + 4));
        let lens: Vec<usize> = (0..lanes).map(|l| len / lanes + usize::from(l < len % lanes)).collect();
        begin(predictor, &lens);
        raw += len;
        at += 8;
        while dump[at] != 255 {
            let (kind, lane, bit) = (dump[at], dump[at + 1] as usize, dump[at + 2] == 1);
            let lm = u32::from(u16::from_le_bytes([dump[at + 4], dump[at + 5]]));
            let rank = u32::from(u16::from_le_bytes([dump[at + 6], dump[at + 7]]));
            let p = match kind {
                0 => predictor.predict_bit(lane, Some(lm)),
                1 | 3 => 0,
                _ => predictor.predict_end(lane, rank, lm),
            };
            match kind {
                0 => predictor.update(lane, bit),
                1 => predictor.skip(lane, bit),
                3 => predictor.token(lane),
                _ => predictor.update_end(lane, bit),
            }
            if kind & 1 == 0 {
                bits -= (f64::from(if bit { p } else { 65536 - p }) / 65536.0).log2();
            }
            at += 8;
        }
        at += 8;
    }
    (raw, bits)
}

/// Learns from what `lmdump` wrote: the state for blocks with a language model.
fn replay(paths: &[String]) -> Vec<u8> {
    let mut predictor = Predictor::untrained(BlockKind::Modelled);
    let mut order: Vec<&String> = paths.iter().chain(paths).collect();
    let mut random = Random(88_172_645_463_325_252);
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    let (mut raw, mut bits) = (0, 0.0);
    for path in order {
        let (bytes, cost) = code(&mut predictor, path, Predictor::next_block);
        (raw, bits) = (raw + bytes, bits + cost);
    }
    println!("{raw} bytes, {:.0} coded", bits / 8.0);
    predictor.export()
}

/// Learns from three of four dumps and prints what the fourth takes: to choose how the predictor works.
fn judge(paths: &[String]) {
    let part = |wanted: bool| -> Vec<String> {
        let numbered = paths.iter().enumerate().filter(|(i, _)| (i % 4 == 3) == wanted);
        numbered.map(|(_, path)| path.clone()).collect()
    };
    let learned = replay(&part(false));
    let mut predictor = Predictor::new();
    let mut kinds = std::collections::BTreeMap::new();
    for path in part(true) {
        let (raw, bits) = code(&mut predictor, &path, |predictor, lens| {
            predictor.reset(lens, true);
            predictor.start_with(&learned);
        });
        let kind = Path::new(&path).file_name().unwrap().to_string_lossy();
        let kind = kind.trim_matches(|c: char| !c.is_ascii_alphabetic()).to_owned();
        for key in [kind, "all".to_owned()] {
            let sum = kinds.entry(key).or_insert((0, 0.0));
            *sum = (sum.0 + raw, sum.1 + bits);
        }
    }
    for (kind, (raw, bits)) in kinds {
        println!("{kind}: {raw} bytes, {:.0} coded", bits / 8.0);
    }
}

/// Samples of all folders, shuffled.
fn samples(count: u64, folders: &[String]) -> Vec<Vec<u8>> {
    let mut random = Random(88_172_645_463_325_252);
    let mut samples = Vec::new();
    for folder in folders {
        let mut files = Vec::new();
        walk(Path::new(folder), &mut files);
        let total: u64 = files.iter().map(|f| f.1).sum();
        for i in 0..count {
            let len = if i % 2 == 0 { 65536 } else { 16384 };
            samples.push(read(&files, random.below(total.saturating_sub(len as u64)), len));
        }
    }
    for i in (1..samples.len()).rev() {
        samples.swap(i, random.below(i as u64 + 1) as usize);
    }
    samples
}

/// Learns from samples of a kind, whose layouts are found by trial.
fn learn(kind: BlockKind, samples: &[Vec<u8>]) -> Vec<u8> {
    let (mut predictor, mut judge) = (Predictor::untrained(kind), Predictor::new());
    let (stop, mut used, mut raw, mut coded) = (Stop::new(), 0, 0, 0);
    for sample in samples {
        let layout = match kind {
            BlockKind::Strided => mix::layout_of(&mut judge, sample, &stop).unwrap(),
            _ => DataLayout::Plain,
        };
        if (layout.stride() != 0) == (kind == BlockKind::Strided) {
            used += 1;
            raw += sample.len();
            coded += mix::train_on(&mut predictor, sample, layout, &stop).unwrap();
        }
    }
    println!("{used} of {} samples, {raw} bytes, {coded} coded", samples.len());
    predictor.export()
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let learned = match args[2].as_str() {
        _ if args[1] == "judge" => return judge(&args[2..]),
        "replay" => replay(&args[3..]),
        "records" => learn(BlockKind::Strided, &samples(args[3].parse().unwrap(), &args[4..])),
        count => learn(BlockKind::Plain, &samples(count.parse().unwrap(), &args[3..])),
    };
    std::fs::write(&args[1], learned).unwrap();
}
