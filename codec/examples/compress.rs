//! Compresses a file into an `.lmz` container.
//!
//! `cargo run --release -p lmfs-codec --example compress -- FILE`

use std::error::Error;
use std::fs::File;
use std::io;

use lmfs_codec::model::{EngineChoice, LoadOptions, load};
use lmfs_codec::stream::{Encoder, StreamOptions};
use lmfs_codec::{Codec, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(path) = std::env::args().nth(1) else {
        return Err("usage: compress FILE".into());
    };

    // `Codec::new(None, ...)` works without a language model: twenty times as fast, and larger.
    let model = load(&"builtin:small".parse()?, EngineChoice::Auto, &LoadOptions::default())?;
    let codec = Codec::new(Some(model), Options::default())?;

    let mut options = StreamOptions::default();
    options.block_size = 256 << 10;
    let output = File::create_new(format!("{path}.lmz"))?;
    let mut encoder = Encoder::new(output, codec, options)?;
    let read = io::copy(&mut File::open(&path)?, &mut encoder)?;

    // `finish` writes the seek table. An encoder that is only dropped leaves a truncated container.
    let output = encoder.finish()?;
    output.sync_all()?;
    println!("{read} bytes became {}", output.metadata()?.len());
    Ok(())
}
