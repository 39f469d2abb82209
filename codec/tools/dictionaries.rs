//! Makes the built-in dictionaries: `dictionaries RECIPE CORPUS OUT [NAME...]`
//!
//! A line of the recipe is a name, a size in KiB, extensions of files (`-` for all), and folders of the corpus. Each
//! folder gives the same share of samples, files in a fixed random order and a piece of each. `training/README.md` says
//! more.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a tool that may stop at the first surprise"
)]

use std::path::{Path, PathBuf};

use lmfs_codec::Stop;
use lmfs_codec::dictionary::{self, builtin::Builtin};

/// Bytes of samples for each byte of the dictionary.
const POOL: usize = 40;
/// The most bytes of a sample.
const PIECE: usize = 16 << 10;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }
}

fn walk(folder: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for entry in entries.into_iter().filter(|entry| !entry.is_symlink()) {
        let extension = entry.extension().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_dir() {
            walk(&entry, extensions, files);
        } else if extensions == ["-"] || extensions.contains(&extension.as_str()) {
            files.push(entry);
        }
    }
}

/// Pieces of the files of a folder, `share` bytes in all if there are as many.
fn samples(folder: &Path, extensions: &[&str], share: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    walk(folder, extensions, &mut files);
    let total: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    // Of few large files several pieces each.
    let pieces = (share / PIECE).div_ceil(files.len().max(1)).max(1);
    for i in (1..files.len()).rev() {
        files.swap(i, random.below(i + 1));
    }
    let (mut out, mut taken) = (Vec::new(), 0);
    for file in files {
        let data = std::fs::read(file).unwrap();
        for _ in 0..pieces.min(data.len().div_ceil(PIECE)) {
            let start = random.below(data.len().saturating_sub(PIECE) + 1);
            let piece = &data[start..(start + PIECE).min(data.len())];
            taken += piece.len();
            out.push(piece.to_vec());
        }
        if taken >= share {
            break;
        }
    }
    println!("  {}: {taken} of {total} bytes", folder.display());
    out
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (recipe, corpus, out) = (
        std::fs::read_to_string(&args[1]).unwrap(),
        Path::new(&args[2]),
        Path::new(&args[3]),
    );
    for line in recipe
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, kib, extensions, folders @ ..] = words.as_slice() else {
            panic!("not a line of a recipe: {line}");
        };
        if args.len() > 4 && !args[4..].iter().any(|wanted| wanted == name) {
            continue;
        }
        let size = kib.parse::<usize>().unwrap() << 10;
        let extensions: Vec<&str> = extensions.split(',').collect();
        let mut random = Random(88_172_645_463_325_252);
        let mut pool = Vec::new();
        for folder in folders {
            pool.extend(samples(
                &corpus.join(folder),
                &extensions,
                size * POOL / folders.len(),
                &mut random,
            ));
        }
        let text = dictionary::train(&pool, size);
        let file = Builtin::write(&text, &Stop::new()).unwrap();
        println!(
            "{name}: {} bytes of text, {} bytes in the program",
            text.len(),
            file.len()
        );
        std::fs::write(out.join(format!("{name}.dict")), file).unwrap();
    }
}
