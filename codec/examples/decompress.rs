//! Decompresses an `.lmz` container to standard output.
//!
//! `cargo run --release -p lmfs-codec --example decompress -- FILE.lmz`

use std::fs::File;
use std::io::{self, Write};

use lmfs_codec::model::{EngineChoice, LoadOptions, builtin, load};
use lmfs_codec::stream::{ContainerHeader, Decoder, StreamOptions};
use lmfs_codec::{Codec, Error, Options};

/// A codec with the model that the container was written with. A header names it by the digest of its file.
fn codec_of(header: &ContainerHeader) -> lmfs_codec::Result<Codec> {
    let Some((_engine, digest)) = header.model else {
        return Codec::new(None, Options::default());
    };
    let Some(known) = builtin::list().iter().find(|model| model.digest() == digest) else {
        return Err(Error::UnusableModel {
            name: format!("{digest:02x?}"),
            reason: "it is not a built-in model; load it from its GGUF file".to_owned(),
        });
    };
    let source = format!("builtin:{}", known.name).parse()?;
    let model = load(&source, EngineChoice::Auto, &LoadOptions::default())?;
    Codec::new(Some(model), Options::default())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::args().nth(1) else {
        return Err("usage: decompress FILE.lmz".into());
    };
    let mut decoder = Decoder::new(File::open(path)?, codec_of, StreamOptions::default());

    // Every block is checked. A damaged one ends the copy with an error, after all intact blocks before it.
    let mut output = io::stdout().lock();
    io::copy(&mut decoder, &mut output)?;
    output.flush()?;
    Ok(())
}
