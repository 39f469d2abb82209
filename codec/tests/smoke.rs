//! A short run of what the fuzz targets do: nothing that is read may panic, hang or allocate what it claims.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::io::{Read, Write};

use common::{Random, Vocab, Weights, model};
use lmfs_codec::model::gguf::Gguf;
use lmfs_codec::stream::{Decoder, Encoder, StreamOptions};
use lmfs_codec::{Codec, Header, Options, Stop};

/// A seed of this run, printed; set `LMFS_SEED` to repeat one.
fn seed() -> Random {
    let given = std::env::var("LMFS_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let seed = given.unwrap_or(now.as_nanos() as u64);
    println!("LMFS_SEED={seed}");
    Random(seed)
}

/// Flips, cuts, repeats and overwrites.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.next() % 4 {
        let len = out.len().max(1);
        let at = random.next() as usize % len;
        match random.next() % 4 {
            0 => out.truncate(at),
            1 => out.extend_from_within(at.min(out.len())..),
            2 => out
                .iter_mut()
                .skip(at)
                .take(4)
                .for_each(|byte| *byte = random.next() as u8),
            _ => out
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << (random.next() % 8)),
        }
    }
    out
}

/// Makes the header's checksum fit again, so that what lies behind it is reached.
fn reseal(block: &mut [u8]) {
    if block.len() >= Header::LEN {
        let crc = crc32fast::hash(&block[..Header::LEN - 4]);
        block[Header::LEN - 4..Header::LEN].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn damaged_blocks_are_survived() {
    let mut random = seed();
    let codec = Codec::new(None, Options::default()).unwrap();
    let text = b"some text, some more text and 1234 numbers ".repeat(20);
    let mut plain = Options::default();
    plain.mix = false;
    let plain = Codec::new(None, plain).unwrap();
    let blocks = [
        codec.encode(&text, &Stop::new()).unwrap(),
        plain.encode(&text, &Stop::new()).unwrap(),
    ];
    for i in 0..2000 {
        let mut block = mutate(&blocks[i % 2], &mut random);
        reseal(&mut block);
        if let Ok(raw) = codec.decode(&block, &Stop::new()) {
            assert_eq!(crc32fast::hash(&raw), Header::parse(&block).unwrap().raw_crc);
        }
    }
}

#[test]
fn damaged_containers_are_survived() {
    let mut random = seed();
    let mut options = Options::default();
    options.mix = false;
    let codec = Codec::new(None, options).unwrap();
    let mut stream = StreamOptions::default();
    (stream.block_size, stream.threads) = (4096, 1);
    let mut encoder = Encoder::new(Vec::new(), codec.clone(), stream.clone()).unwrap();
    encoder
        .write_all(&b"text and text and numbers 12345 ".repeat(400))
        .unwrap();
    let container = encoder.finish().unwrap();
    for i in 0..500 {
        let damaged = mutate(&container, &mut random);
        stream.recover = i % 2 == 0;
        let codec = codec.clone();
        let mut decoder = Decoder::new(&damaged[..], move |_: &_| Ok(codec.clone()), stream.clone());
        let mut out = Vec::new();
        let _ = decoder.read_to_end(&mut out);
        assert!(out.len() < 200_000, "{} bytes from {}", out.len(), damaged.len());
    }
}

#[test]
fn damaged_models_are_survived() {
    let mut random = seed();
    let file = model(Vocab::Spm, Weights::Q8_0);
    for _ in 0..500 {
        let damaged = mutate(&file[..file.len().min(20_000)], &mut random);
        let _ = Gguf::parse(&damaged).and_then(|gguf| gguf.check_model());
    }
}
