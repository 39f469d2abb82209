//! Where a model comes from, and loading it.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::exact::ExactModel;
use super::gguf;
use super::{Engine, LanguageModel, LoadOptions, builtin};
use crate::{Error, Result};

/// A model by name or file: `builtin:NAME`, or the path of a GGUF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A [built-in model](builtin).
    Builtin(&'static str),
    /// A GGUF file.
    Path(PathBuf),
}

impl ModelSource {
    /// The default built-in model.
    pub fn builtin_default() -> Result<ModelSource> {
        Ok(ModelSource::Builtin(builtin::default()?.name))
    }

    /// The bytes of the GGUF file.
    pub fn read(&self) -> Result<Vec<u8>> {
        match self {
            ModelSource::Builtin(name) => Ok(builtin::find(name)?.gguf.to_vec()),
            ModelSource::Path(path) => read_file(path),
        }
    }
}

/// Reads a model file, but not gigabytes of something else, nor what never ends.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    let name = path.display().to_string();
    let failed = |source: io::Error| {
        let built_in = path.to_str().and_then(|text| builtin::find(text).ok());
        match built_in.filter(|_| source.kind() == io::ErrorKind::NotFound) {
            Some(model) => Error::unusable(
                &name,
                format!("there is no such file; the built-in model is builtin:{}", model.name),
            ),
            None => Error::io(format!("model {name}"), source),
        }
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::unusable(&name, "it is not a regular file"));
    }
    let mut file = File::open(path).map_err(failed)?;
    gguf::read(&name, &mut file, metadata.len())
}

impl FromStr for ModelSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<ModelSource> {
        match text.strip_prefix("builtin:") {
            Some(name) => Ok(ModelSource::Builtin(builtin::find(name)?.name)),
            None if text.is_empty() => Err(Error::InvalidOption("an empty model name".into())),
            None => Ok(ModelSource::Path(text.into())),
        }
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelSource::Builtin(name) => write!(f, "builtin:{name}"),
            ModelSource::Path(path) => path.display().fmt(f),
        }
    }
}

/// Which engine is to run a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The integer engine if it knows the model's shape, llama.cpp otherwise.
    #[default]
    Auto,
    /// llama.cpp.
    Llama,
    /// The integer engine, or an error that says why not.
    Exact,
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineChoice::Auto => "auto",
            EngineChoice::Llama => "llama",
            EngineChoice::Exact => "exact",
        })
    }
}

impl From<Engine> for EngineChoice {
    fn from(engine: Engine) -> EngineChoice {
        match engine {
            Engine::Llama => EngineChoice::Llama,
            Engine::Exact => EngineChoice::Exact,
        }
    }
}

impl FromStr for EngineChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<EngineChoice> {
        match text {
            "auto" => Ok(EngineChoice::Auto),
            "llama" => Ok(EngineChoice::Llama),
            "exact" => Ok(EngineChoice::Exact),
            _ => Err(Error::InvalidOption(format!(
                "{text:?} is not an engine: auto, llama, exact are"
            ))),
        }
    }
}

/// Loads a model.
///
/// # Errors
/// [`Error::UnusableModel`] with what is wrong with the file, [`Error::Io`] when it cannot be read.
pub fn load(source: &ModelSource, engine: EngineChoice, options: &LoadOptions) -> Result<Arc<dyn LanguageModel>> {
    load_bytes(&source.to_string(), source.read()?, engine, options)
}

/// Loads a model from the bytes of a GGUF; `name` is for messages.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(
    name: &str,
    gguf: Vec<u8>,
    engine: EngineChoice,
    options: &LoadOptions,
) -> Result<Arc<dyn LanguageModel>> {
    let exact = || ExactModel::load(name, &gguf, options);
    match engine {
        EngineChoice::Exact => return Ok(Arc::new(exact()?)),
        EngineChoice::Auto => match exact() {
            Ok(model) => return Ok(Arc::new(model)),
            #[cfg(feature = "llama")]
            Err(reason @ Error::UnusableModel { .. }) => tracing::info!("llama.cpp runs {name}: {reason}"),
            Err(reason) => return Err(reason),
        },
        EngineChoice::Llama => {}
    }
    llama(name, gguf, options)
}

#[cfg(feature = "llama")]
fn llama(name: &str, gguf: Vec<u8>, options: &LoadOptions) -> Result<Arc<dyn LanguageModel>> {
    Ok(Arc::new(super::llama::Llama::load(name, gguf, options)?))
}

#[cfg(not(feature = "llama"))]
fn llama(name: &str, _: Vec<u8>, _: &LoadOptions) -> Result<Arc<dyn LanguageModel>> {
    Err(Error::unusable(
        name,
        "this program was built without llama.cpp: `make` builds one with it",
    ))
}
