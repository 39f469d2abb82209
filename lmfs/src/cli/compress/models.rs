//! The model that a stream is coded with: asked for, or named by a container.

use std::collections::HashMap;

use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, builtin, load};
use lmfs_codec::stream::ContainerHeader;
use lmfs_codec::{Codec, Error, Options, Result};

use crate::store::Digest;

/// Codecs by what was asked for, each loaded once.
pub struct Models {
    /// What the user named; `None` for the built-in models.
    asked: Option<Asked>,
    loaded: HashMap<Option<[u8; 32]>, Codec>,
}

#[derive(Debug, Clone)]
enum Asked {
    Nothing,
    Source(ModelSource),
}

impl Models {
    /// `text` as for `--model`: `builtin:NAME`, a path, `none`.
    ///
    /// # Errors
    /// A built-in model that there is not.
    pub fn new(text: Option<&str>) -> Result<Models> {
        let asked = match text {
            None => None,
            Some("none") => Some(Asked::Nothing),
            Some(text) => Some(Asked::Source(text.parse()?)),
        };
        Ok(Models {
            asked,
            loaded: HashMap::new(),
        })
    }

    /// The codec to compress with.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub fn for_writing(&mut self) -> Result<Codec> {
        match self.asked.clone() {
            Some(Asked::Nothing) => self.without(),
            Some(Asked::Source(source)) => self.open(&source, EngineChoice::Auto).map(|(_, codec)| codec),
            None => self
                .open(&ModelSource::builtin_default()?, EngineChoice::Auto)
                .map(|(_, codec)| codec),
        }
    }

    /// The codec for a container.
    ///
    /// # Errors
    /// The model that the container names is neither built in nor the one that was asked for.
    pub fn for_reading(&mut self, header: &ContainerHeader) -> Result<Codec> {
        let Some((engine, digest)) = header.model else {
            return self.without();
        };
        if let Some(codec) = self.loaded.get(&Some(digest)) {
            return Ok(codec.clone());
        }
        let engine = match engine {
            lmfs_codec::model::Engine::Llama => EngineChoice::Llama,
            lmfs_codec::model::Engine::Exact => EngineChoice::Exact,
        };
        if let Some(Asked::Source(source)) = self.asked.clone() {
            let (found, codec) = self.open(&source, engine)?;
            if found == digest {
                return Ok(codec);
            }
        }
        match builtin::list().iter().find(|model| model.digest() == digest) {
            Some(model) => self
                .open(&ModelSource::Builtin(model.name), engine)
                .map(|(_, codec)| codec),
            None => Err(Error::InvalidOption(format!(
                "it was compressed with the model whose SHA-256 is {}, which is not built in: name its file with --model",
                Digest(digest)
            ))),
        }
    }

    fn without(&mut self) -> Result<Codec> {
        if let Some(codec) = self.loaded.get(&None) {
            return Ok(codec.clone());
        }
        let codec = Codec::new(None, Options::default())?;
        self.loaded.insert(None, codec.clone());
        Ok(codec)
    }

    fn open(&mut self, source: &ModelSource, engine: EngineChoice) -> Result<([u8; 32], Codec)> {
        if let Some(codec) = self.already(source) {
            return Ok(codec);
        }
        let model = load(source, engine, &LoadOptions::default())?;
        let digest = model.identity().digest;
        let codec = Codec::new(Some(model), Options::default())?;
        self.loaded.insert(Some(digest), codec.clone());
        Ok((digest, codec))
    }

    fn already(&self, source: &ModelSource) -> Option<([u8; 32], Codec)> {
        let ModelSource::Builtin(name) = source else {
            return None;
        };
        let digest = builtin::find(name).ok()?.digest();
        Some((digest, self.loaded.get(&Some(digest))?.clone()))
    }
}
