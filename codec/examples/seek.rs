//! Compresses a file with the built-in language model into an `.lmz` container, then reads a piece of it from there,
//! decoding no more than the blocks that hold it.
//!
//! `cargo run --release -p lmfs-codec --example seek -- FILE OFFSET LENGTH`

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use lmfs_codec::model::{EngineChoice, LoadOptions, load};
use lmfs_codec::stream::{Encoder, SeekableReader, StreamOptions};
use lmfs_codec::{Codec, Options, Stop};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(offset), Some(length)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: seek FILE OFFSET LENGTH".into());
    };
    let (offset, length): (u64, u64) = (offset.parse()?, length.parse()?);

    let model = load(&"builtin:small".parse()?, EngineChoice::Auto, &LoadOptions::default())?;
    let codec = Codec::new(Some(model), Options::default())?;

    // Small blocks are read faster at random, large ones take less space.
    let mut options = StreamOptions::default();
    options.block_size = 16 << 10;
    let packed = PathBuf::from(format!("{path}.lmz"));
    let mut encoder = Encoder::new(File::create_new(&packed)?, codec.clone(), options)?;
    let bytes = io::copy(&mut File::open(&path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    eprintln!(
        "{bytes} bytes in {path}, {} in {}",
        packed.metadata()?.len(),
        packed.display()
    );

    // A program that reads what others wrote looks at the header to find the model: here it is known.
    let source = BufReader::new(File::open(&packed)?);
    let mut reader = SeekableReader::new(source, |_header| Ok(codec.clone()), Stop::new())?;
    reader.seek(SeekFrom::Start(offset))?;
    io::copy(&mut reader.take(length), &mut io::stdout())?;
    io::stdout().flush()?;
    Ok(())
}
