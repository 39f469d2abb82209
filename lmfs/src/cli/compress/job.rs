//! One input to one output.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lmfs_codec::model::Engine;
use lmfs_codec::stream::{ContainerHeader, Decoder, Encoder, Progress, SeekableReader, StreamOptions};
use lmfs_codec::{Error as CodecError, Stop};
use serde::Serialize;

use super::models::Models;
use super::output::Output;
use super::protection::Protection;
use super::rescue::Rescue;
use crate::byte_size;
use crate::cli::output::{say, stdout};
use crate::store::Digest;
use crate::terminal_text::{Shown as _, on_one_line};

/// What ends the name of a compressed file.
pub const SUFFIX: &str = "lmz";

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Into a container.
    Compress,
    /// Out of one.
    Decompress {
        /// Go on after damage.
        recover: bool,
    },
    /// Out of one, into nothing.
    Test,
}

/// One input, what to do with it, and where the result goes.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where bytes come from.
    pub input: Input,
    /// What is done with them.
    pub work: Work,
    /// The result goes to standard output.
    pub to_stdout: bool,
    /// The output's name, if given.
    pub output: Option<PathBuf>,
    /// Replace an existing output, take inputs that are no regular files.
    pub force: bool,
    /// Remove the input once the output is there.
    pub remove: bool,
    /// Say what was done.
    pub verbose: bool,
}

impl Job {
    /// Does it. When it fails there is no output file, and the input stays.
    ///
    /// # Errors
    /// What went wrong, with the input's name.
    pub fn run(&self, models: &mut Models, options: StreamOptions) -> anyhow::Result<()> {
        self.work_on(models, options).with_context(|| self.input.to_string())
    }

    fn work_on(&self, models: &mut Models, options: StreamOptions) -> anyhow::Result<()> {
        // Where the output's name does not come from the input's, the input may be a pipe, as that of `<(command)`.
        let any_kind = self.force || self.to_stdout || self.output.is_some();
        let file = self.input.open(self.work, any_kind)?;
        let metadata = file.metadata()?;
        if self.remove && self.input != Input::Stdin && !metadata.is_file() {
            bail!("--rm removes regular files only");
        }
        let protection = match self.input {
            Input::Stdin => None,
            Input::File(_) => Some(Protection::of(&file, &metadata)?),
        };
        let like = protection.as_ref();
        let output = self.open_output(Some(&metadata).filter(|_| like.is_some()))?;
        let mut counted = Counted { inner: file, bytes: 0 };
        let restored = match self.work {
            Work::Compress => Restored {
                bytes: compress(&mut counted, output, like, models, options)?,
                ..Restored::default()
            },
            Work::Decompress { recover: true } => recover(&mut counted, &metadata, output, like, models, options)?,
            _ => decompress(&mut counted, output, like, models, options)?,
        };
        if self.verbose && !self.to_stdout {
            let read = match metadata.is_file() {
                true => metadata.len(),
                false => counted.bytes,
            };
            say(&self.report(read, restored.bytes));
        }
        if !restored.lost.is_empty() {
            let zeros = match restored.zeros {
                true => "; the output has zeros where bytes could not be had",
                false => "",
            };
            bail!("damaged{zeros}:\n  {}", restored.lost.join("\n  "));
        }
        if let (true, Input::File(path)) = (self.remove, &self.input) {
            let now = path.metadata().context("cannot remove the input")?;
            if version(&now) != version(&metadata) {
                bail!("it changed while it was read, so it was not removed; the output has what was read");
            }
            std::fs::remove_file(path).context("cannot remove the input")?;
        }
        Ok(())
    }

    fn open_output(&self, input: Option<&Metadata>) -> anyhow::Result<Output> {
        if self.work == Work::Test {
            return Ok(Output::Sink);
        }
        if self.to_stdout {
            return Ok(Output::Stdout(stdout()?));
        }
        let path = match (&self.output, &self.input) {
            (Some(path), _) => path.clone(),
            (None, Input::File(path)) => output_name(path, self.work)?,
            (None, Input::Stdin) => return Ok(Output::Stdout(stdout()?)),
        };
        let same =
            |there: Metadata| input.is_some_and(|input| (input.dev(), input.ino()) == (there.dev(), there.ino()));
        if path.metadata().is_ok_and(same) {
            bail!("{} is the input itself; name another output", path.shown());
        }
        Output::file(path, self.force, self.work != Work::Compress, self.remove)
    }

    fn report(&self, read: u64, written: u64) -> String {
        let (input, read_size, written_size) = (&self.input, byte_size::show(read), byte_size::show(written));
        match self.work {
            Work::Compress => {
                let percent = written as f64 * 100.0 / read.max(1) as f64;
                format!("{input}: {percent:.1} % ({read_size} to {written_size})")
            }
            Work::Decompress { .. } => format!("{input}: {read_size} to {written_size}"),
            Work::Test => format!("{input}: intact, {written_size} in {read_size}"),
        }
    }
}

impl Input {
    /// Bytes of it, 0 if nobody knows.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Input::Stdin => 0,
            Input::File(path) => path.metadata().map_or(0, |metadata| metadata.len()),
        }
    }

    fn open(&self, work: Work, any_kind: bool) -> anyhow::Result<File> {
        let Input::File(path) = self else {
            return Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?));
        };
        let metadata = path.metadata()?;
        if metadata.is_dir() && work != Work::Compress {
            bail!("is a directory");
        }
        if metadata.is_dir() {
            bail!("is a directory; archive it with `tar -I 'lmfs compress' -cf DIR.tar.lmz DIR`");
        }
        if !metadata.is_file() && !any_kind {
            bail!("is not a regular file; use -f, -c or -o to read it all the same");
        }
        Ok(File::open(path)?)
    }
}

impl From<&PathBuf> for Input {
    fn from(path: &PathBuf) -> Input {
        if path.as_os_str() == "-" {
            Input::Stdin
        } else {
            Input::File(path.clone())
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Stdin => f.write_str("standard input"),
            Input::File(path) => path.shown().fmt(f),
        }
    }
}

/// Which file it is, and what tells that it was written to.
fn version(file: &Metadata) -> impl PartialEq + use<> {
    (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec())
}

fn output_name(input: &Path, work: Work) -> anyhow::Result<PathBuf> {
    let has_suffix = input.extension().is_some_and(|extension| extension == SUFFIX);
    match (work, has_suffix) {
        (Work::Compress, true) => {
            bail!("already has the suffix .{SUFFIX}; use -o to compress it again")
        }
        (Work::Compress, false) => {
            let mut name = input.as_os_str().to_owned();
            name.push(".");
            name.push(SUFFIX);
            Ok(name.into())
        }
        (_, true) => Ok(input.with_extension("")),
        (_, false) => {
            bail!("has no suffix .{SUFFIX}, so the output's name is unknown; use -o or -c")
        }
    }
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

struct Tally<'a> {
    inner: &'a mut Output,
    bytes: u64,
}

impl Write for Tally<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn compress(
    input: &mut impl Read,
    mut output: Output,
    like: Option<&Protection>,
    models: &mut Models,
    options: StreamOptions,
) -> anyhow::Result<u64> {
    let tally = Tally {
        inner: &mut output,
        bytes: 0,
    };
    let mut encoder = Encoder::new(tally, models.for_writing()?, options)?;
    io::copy(input, &mut encoder)?;
    let bytes = encoder.finish()?.bytes;
    output.finish(like)?;
    Ok(bytes)
}

/// What came out of a container.
#[derive(Default)]
struct Restored {
    /// Bytes written.
    bytes: u64,
    /// Some of them are zeros because of damage.
    zeros: bool,
    /// What is wrong, and where.
    lost: Vec<String>,
    /// How many places are damaged: more than are named where they are very many.
    gaps: u64,
}

/// Damaged places that are named at most.
const MOST_NAMED: usize = 10_000;

impl Restored {
    fn missing(&mut self, range: &Range<u64>, why: &lmfs_codec::Error) {
        self.zeros |= !range.is_empty();
        self.gaps += 1;
        if self.lost.len() >= MOST_NAMED {
            return;
        }
        self.lost.push(match range.is_empty() {
            true => format!("at byte {}: {why}", range.start),
            false => format!("bytes {} to {} are missing: {why}", range.start, range.end - 1),
        });
    }
}

fn decompress(
    input: &mut impl Read,
    mut output: Output,
    like: Option<&Protection>,
    models: &mut Models,
    options: StreamOptions,
) -> anyhow::Result<Restored> {
    let mut decoder = Decoder::new(input, |header: &ContainerHeader| models.for_reading(header), options);
    let mut restored = Restored::default();
    while let Some(chunk) = decoder.next_chunk()? {
        output.write_all(&chunk).context("cannot write the output")?;
        restored.bytes += chunk.len() as u64;
    }
    for (range, why) in decoder.missing() {
        restored.missing(range, why);
    }
    restored.gaps = decoder.gaps();
    output.finish(like)?;
    Ok(restored)
}

/// Gets what can be had: by the seek tables, which say exactly what a damaged block had, or from the start if a table
/// is damaged too, or if the input is none that can be read in any order.
fn recover(
    input: &mut (impl Read + Seek),
    metadata: &Metadata,
    mut output: Output,
    like: Option<&Protection>,
    models: &mut Models,
    options: StreamOptions,
) -> anyhow::Result<Restored> {
    let mut input = Rescue::new(input);
    let mut found = None;
    if metadata.is_file() && input.stream_position()? == 0 {
        found = by_tables(&mut input, &mut output, models, &options)?;
        if found.is_none() {
            input.rewind()?;
        }
    }
    let mut restored = match found {
        Some(restored) => {
            output.finish(like)?;
            restored
        }
        None => decompress(&mut input, output, like, models, options)?,
    };
    let bad = input.bad().iter();
    let lines = bad.map(|range| format!("bytes {} to {} of the file cannot be read", range.start, range.end - 1));
    let unnamed = restored.gaps.saturating_sub(restored.lost.len() as u64);
    restored.lost.extend(lines);
    if unnamed > 0 {
        restored.lost.push(format!("and {unnamed} more places"));
    }
    Ok(restored)
}

/// `None`, with nothing written, if a table is damaged.
fn by_tables(
    input: &mut (impl Read + Seek),
    output: &mut Output,
    models: &mut Models,
    options: &StreamOptions,
) -> anyhow::Result<Option<Restored>> {
    let codec_of = |header: &ContainerHeader| models.for_reading(header);
    let stored = input.seek(SeekFrom::End(0))?;
    let mut reader = match SeekableReader::recover(input, codec_of, options.stop.clone()) {
        Ok(reader) => reader,
        Err(error) if error.is_damage() => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let (mut at, mut restored) = (0, Restored::default());
    for (start, why) in reader.guessed() {
        restored.missing(&(start..start), why);
    }
    let (mut decoded, mut lacking) = (false, None);
    while let Some(range) = reader.block_at(at) {
        let mut block = vec![0; usize::try_from(range.end - at)?];
        match reader.read_at(at, &mut block) {
            Ok(_) => decoded = true,
            // A damaged byte may name any dictionary.
            Err(error @ CodecError::MissingDictionary { .. }) => {
                restored.missing(&range, &error);
                lacking.get_or_insert(error);
            }
            Err(error) if error.is_damage() => restored.missing(&range, &error),
            Err(error) => return Err(error.into()),
        }
        output.write_all(&block).context("cannot write the output")?;
        at = range.end;
        if let Some(report) = &options.progress {
            let share = at as f64 / reader.len() as f64;
            report(Progress {
                raw: at,
                stored: (stored as f64 * share) as u64,
            });
        }
    }
    if let Some(error) = lacking.filter(|_| !decoded) {
        return Err(error.into());
    }
    restored.bytes = at;
    Ok(Some(restored))
}

/// What `lmfs list` shows of a file.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    path: String,
    stored_bytes: u64,
    bytes: u64,
    ratio: Option<f64>,
    block_size: usize,
    engine: Option<Engine>,
    model_digest: Option<Digest>,
}

/// Looks at a container without decoding any of it.
///
/// # Errors
/// It is no container, or damaged.
pub fn describe(path: &Path) -> anyhow::Result<Row> {
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        bail!("is not a regular file");
    }
    let file = File::open(path)?;
    let stored_bytes = metadata.len();
    let mut first = None;
    // Nothing is decoded, so any codec does.
    let codec = lmfs_codec::Codec::new(None, lmfs_codec::Options::default())?;
    let codec_of = |header: &ContainerHeader| {
        first.get_or_insert_with(|| header.clone());
        Ok(codec.clone())
    };
    let bytes = SeekableReader::new(file, codec_of, Stop::new())?.len();
    let header = first.context("it is empty")?;
    Ok(Row {
        path: path.display().to_string(),
        stored_bytes,
        bytes,
        ratio: (bytes > 0).then(|| stored_bytes as f64 / bytes as f64),
        block_size: header.block_size,
        engine: header.model.map(|(engine, _)| engine),
        model_digest: header.model.map(|(_, digest)| Digest(digest)),
    })
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.ratio.map_or(String::new(), |ratio| format!(", ratio {ratio:.3}"));
        let model = self
            .model_digest
            .map_or("no model".to_owned(), |digest| format!("model {}", digest.short()));
        let (bytes, stored) = (byte_size::show(self.bytes), byte_size::show(self.stored_bytes));
        let block = byte_size::show(self.block_size as u64);
        let path = on_one_line(&self.path);
        write!(f, "{path}: {bytes} in {stored}{ratio}; {block} blocks, {model}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn outputs_are_named_as_users_of_zstd_expect() {
        let decompress = Work::Decompress { recover: false };
        assert_eq!(
            output_name(Path::new("a.txt"), Work::Compress).unwrap(),
            Path::new("a.txt.lmz")
        );
        assert_eq!(
            output_name(Path::new("d/a.txt.lmz"), decompress).unwrap(),
            Path::new("d/a.txt")
        );
        assert!(output_name(Path::new("a.lmz"), Work::Compress).is_err());
        assert!(output_name(Path::new("a.txt"), decompress).is_err());
    }
}
