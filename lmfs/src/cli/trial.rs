//! Models that users bring are tried in a process of their own first, since llama.cpp ends its process at some
//! damaged files instead of saying what is wrong.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource};
use lmfs_codec::{Codec, Error, Options, Result};

/// Loads a model that has proven not to end the process which does.
///
/// # Errors
/// As [`lmfs_codec::model::load`], and [`Error::UnusableModel`] if the trial was killed by a signal.
pub fn load(source: &ModelSource, engine: EngineChoice) -> Result<Arc<dyn LanguageModel>> {
    survives(source, engine)?;
    lmfs_codec::model::load(source, engine, &LoadOptions::default())
}

/// That a model does not end the process which loads and runs it. What else is wrong with it is not told here.
///
/// # Errors
/// [`Error::UnusableModel`] with what it said, [`Error::Io`] if the trial cannot be started.
pub fn survives(source: &ModelSource, engine: EngineChoice) -> Result<()> {
    let ModelSource::Path(path) = source else {
        return Ok(());
    };
    let failed = |source| Error::Io {
        what: "trying the model".into(),
        source,
    };
    let tried = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["model", "show", "--json", "--untried", "--engine"])
        .arg(engine.to_string())
        .arg("--")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(failed)?;
    let Some(signal) = tried.status.signal() else {
        return Ok(());
    };
    let said = String::from_utf8_lossy(&tried.stderr);
    let why = said
        .lines()
        .find(|line| line.contains("ASSERT") || line.contains("error"));
    let why = why.or(said.lines().last()).unwrap_or_default().trim();
    Err(Error::UnusableModel {
        name: source.to_string(),
        reason: format!("a process that tried it was ended by signal {signal}: {why}"),
    })
}

/// Runs the probe of a loaded model: its first steps.
///
/// # Errors
/// What its engine reports.
pub fn probe(model: Arc<dyn LanguageModel>) -> Result<()> {
    Codec::new(Some(model), Options::default())?.fingerprint().map(drop)
}
