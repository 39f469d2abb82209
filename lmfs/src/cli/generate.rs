//! `lmfs generate`: what a compressor expects, written down.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use lmfs_codec::model::{ModelSource, builtin};

use super::args::Generate;
use super::interrupt::stop_on_interrupt;
use super::output::{self, Meter};
use super::trial;
use crate::generate::{General, Material, Predicted, Sampler, Way, Writer};
use crate::progress::Progress;

/// Most bytes of a prompt file: no block is larger, and pictures and sound shrink when they are read.
const LONGEST_PROMPT: u64 = 64 << 20;

/// Runs the command.
///
/// # Errors
/// A prompt that cannot be read, a model that cannot be used, an output that exists.
pub fn run(args: &Generate, quiet: bool) -> anyhow::Result<ExitCode> {
    let material = match &args.prompt {
        None => Material::Bytes(Vec::new()),
        Some(path) => read_prompt(path).with_context(|| path.display().to_string())?,
    };
    if args.output.is_none() && !material.is_bytes() {
        bail!("name the file to write with -o: it is no text");
    }
    let Some(path) = &args.output else {
        let file = generated(args, &material, quiet)?;
        output::stdout()
            .and_then(|mut out| out.write_all(&file))
            .context("cannot write to standard output")?;
        return Ok(ExitCode::SUCCESS);
    };
    // Before the work, which may take hours.
    let failed = || path.display().to_string();
    let mut out = fs::File::create_new(path).with_context(failed)?;
    let written = generated(args, &material, quiet).and_then(|file| out.write_all(&file).with_context(failed));
    if written.is_err() {
        fs::remove_file(path).with_context(failed)?;
    }
    written.map(|()| ExitCode::SUCCESS)
}

/// The file that is written.
fn generated(args: &Generate, material: &Material, quiet: bool) -> anyhow::Result<Vec<u8>> {
    let stop = stop_on_interrupt()?;
    let mut writer = writer(args, material)?;
    let mut sampler = Sampler::new(args.seed, args.temperature);
    let length = material.length(args.length);
    let written = {
        let mut meter = Meter::new(quiet);
        let mut more = |done: usize| meter.show(&Progress::new("writing", done as u64, length as u64));
        writer.write(material.prompt(), length, &mut sampler, &mut more, &stop)
    };
    let written = written.map_err(|error| {
        if stop.is_set() {
            anyhow!("interrupted")
        } else {
            anyhow!(error)
        }
    })?;
    material.finish(&written).map_err(|error| anyhow!(error))
}

fn read_prompt(path: &std::path::Path) -> anyhow::Result<Material> {
    let len = fs::metadata(path)?.len();
    if len > LONGEST_PROMPT {
        bail!("a prompt has at most {LONGEST_PROMPT} bytes, this file {len}");
    }
    Material::new(fs::read(path)?).map_err(|error| anyhow!(error))
}

fn writer(args: &Generate, material: &Material) -> anyhow::Result<Box<dyn Writer>> {
    let way = match args.from.as_str() {
        "gzip" => Some(Way::Gzip),
        "zstd" => Some(Way::Zstd),
        "lzma" => Some(Way::Lzma),
        _ => None,
    };
    if let Some(way) = way {
        return Ok(Box::new(General::new(way, usize::from(args.step))));
    }
    if args.from == "mix" {
        return Ok(Box::new(Predicted::mix(material.layout())));
    }
    let source = match builtin::list().iter().find(|model| model.name == args.from) {
        Some(model) => ModelSource::Builtin(model.name),
        None => args.from.parse()?,
    };
    Ok(Box::new(Predicted::model(trial::load(&source, args.engine)?)?))
}
