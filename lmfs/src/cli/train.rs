//! `lmfs train`: makes a dictionary of samples.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use lmfs_codec::dictionary::{DictionaryId, MAX_DICTIONARY, train};

use super::{args, output};
use crate::eval::{Input, find_files};

/// The most bytes of samples that are looked at.
const MOST_SAMPLES: u64 = 64 << 20;
/// Bytes of a sample: longer files give several.
const SAMPLE: u64 = 16 << 10;

/// Runs the command.
///
/// # Errors
/// Samples that cannot be read, nothing to learn from, an output that exists or cannot be written.
pub fn run(args: &args::Train, quiet: bool) -> anyhow::Result<ExitCode> {
    let size = usize::try_from(args.size)
        .ok()
        .filter(|size| (1..=MAX_DICTIONARY).contains(size));
    let Some(size) = size else {
        bail!("a dictionary has 1 to {MAX_DICTIONARY} bytes, not {}", args.size);
    };
    if !args.force && args.output.exists() {
        bail!("{} exists; use -f to overwrite it", args.output.display());
    }
    let files = find_files(&args.samples)?;
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let mut samples = Vec::new();
    for file in &files {
        read_samples(file, total, &mut samples).with_context(|| file.path.display().to_string())?;
    }
    let text = train(&samples, size);
    write(args, &text).with_context(|| args.output.display().to_string())?;
    if !quiet {
        let (id, len, count) = (DictionaryId::of(&text), text.len(), files.len());
        output::line(&format!(
            "{}: dictionary {id}, {len} bytes, of {count} files",
            args.output.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Samples from all over a file, as many as its share of the `total` allows.
fn read_samples(file: &Input, total: u64, samples: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
    let share = match total <= MOST_SAMPLES {
        true => file.bytes,
        false => u64::try_from(u128::from(file.bytes) * u128::from(MOST_SAMPLES) / u128::from(total))?,
    };
    let count = share.div_ceil(SAMPLE).max(1);
    for i in 0..count {
        let offset = u64::try_from(u128::from(file.bytes) * u128::from(i) / u128::from(count))?;
        let len = SAMPLE.min(file.bytes - offset);
        samples.push(file.read(offset, usize::try_from(len)?)?);
    }
    Ok(())
}

/// Writes the dictionary beside its place and moves it there when it is whole.
fn write(args: &args::Train, text: &[u8]) -> std::io::Result<()> {
    let folder = match args.output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let mut name = args.output.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let new = folder.join(name);
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&new, &args.output));
    if written.is_err() {
        // The error that matters is the one above.
        let _ = std::fs::remove_file(&new);
    }
    written
}
