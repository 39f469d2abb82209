//! The model that a stream is coded with: asked for, or named by a container.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lmfs_codec::dictionary::{DictionaryId, MAX_DICTIONARY};
use lmfs_codec::model::{Engine, EngineChoice, LanguageModel, ModelSource, builtin};
use lmfs_codec::stream::ContainerHeader;
use lmfs_codec::{Codec, Error, Level, Options, Result};

use super::super::trial;
use crate::store::Digest;

/// Codecs by what was asked for, each loaded once.
pub struct Models {
    /// What the user named; `None` for the built-in models.
    asked: Option<Asked>,
    /// What runs the model that compresses.
    engine: EngineChoice,
    /// How hard to compress.
    level: Level,
    /// Dictionaries that the user named.
    dictionaries: Arc<Vec<Vec<u8>>>,
    /// The codec that compresses, once it was needed.
    writer: Option<Codec>,
    /// By what a container names: the engine and the model's digest.
    loaded: HashMap<Option<(Engine, [u8; 32])>, Codec>,
}

/// Digests of different models differ in about 128 bits.
const MOST_DAMAGED_BITS: u32 = 32;

/// Whether a digest is this one, or is read with --recover from a header that is damaged and was.
fn is_near(digest: &[u8; 32], read: &[u8; 32]) -> bool {
    let bits = digest.iter().zip(read).map(|(a, b)| (a ^ b).count_ones());
    bits.sum::<u32>() <= MOST_DAMAGED_BITS
}

#[derive(Debug, Clone)]
enum Asked {
    Nothing,
    Source(ModelSource),
}

impl Models {
    /// `text` as for `--model`: `builtin:NAME`, a path, `none`; `engine` and `level` count for compressing only.
    ///
    /// # Errors
    /// A built-in model that there is not.
    pub fn new(text: Option<&str>, engine: EngineChoice, level: Level) -> Result<Models> {
        let asked = match text {
            None => None,
            Some("none") => Some(Asked::Nothing),
            Some(text) => Some(Asked::Source(text.parse()?)),
        };
        Ok(Models {
            asked,
            engine,
            level,
            dictionaries: Arc::default(),
            writer: None,
            loaded: HashMap::new(),
        })
    }

    /// Uses these files as dictionaries, too.
    ///
    /// # Errors
    /// A file that cannot be read, or is longer than a dictionary.
    pub fn with_dictionaries(mut self, files: &[PathBuf]) -> Result<Models> {
        let texts: Result<Vec<Vec<u8>>> = files.iter().map(|file| read_dictionary(file)).collect();
        self.dictionaries = Arc::new(texts?);
        Ok(self)
    }

    fn codec(&self, model: Option<Arc<dyn LanguageModel>>, mut options: Options) -> Result<Codec> {
        let ids = self.dictionaries.iter().map(|text| DictionaryId::of(text));
        options.try_dictionaries = ids.collect();
        Codec::with_dictionaries(model, Arc::clone(&self.dictionaries) as _, options)
    }

    /// The codec to compress with.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub fn for_writing(&mut self) -> Result<Codec> {
        if let Some(codec) = &self.writer {
            return Ok(codec.clone());
        }
        let source = match (self.asked.clone(), self.level.model) {
            (Some(Asked::Nothing), _) | (None, None) => None,
            (Some(Asked::Source(source)), _) => Some(source),
            (None, Some(name)) => Some(ModelSource::Builtin(name)),
        };
        let model = source.map(|source| trial::load(&source, self.engine));
        let model = model.transpose()?;
        let mut options = self.level.options();
        options.model = model.is_some();
        let codec = self.codec(model, options)?;
        Ok(self.writer.insert(codec).clone())
    }

    /// The codec for a container.
    ///
    /// # Errors
    /// The model that the container names is neither built in nor the one that was asked for.
    pub fn for_reading(&mut self, header: &ContainerHeader) -> Result<Codec> {
        let Some((engine, digest)) = header.model else {
            return self.without();
        };
        if let Some(codec) = self.loaded.get(&header.model) {
            return Ok(codec.clone());
        }
        if digest == ContainerHeader::UNKNOWN_MODEL {
            let codec = self.any()?;
            self.loaded.insert(header.model, codec.clone());
            return Ok(codec);
        }
        let engine = EngineChoice::from(engine);
        let mut other = String::new();
        if let Some(Asked::Source(source)) = self.asked.clone() {
            let (found, codec) = self.open(&source, engine)?;
            if is_near(&found, &digest) {
                return Ok(codec);
            }
            other = format!(" ({source} is another one: {})", Digest(found));
        }
        let near = |model: &&builtin::Builtin| is_near(&model.digest(), &digest);
        match builtin::list().iter().find(near) {
            Some(model) => self
                .open(&ModelSource::Builtin(model.name), engine)
                .map(|(_, codec)| codec),
            None => Err(Error::InvalidOption(format!(
                "it was compressed with the model whose SHA-256 is {}, which is not built in: name its file with --model{other}",
                Digest(digest)
            ))),
        }
    }

    /// For blocks whose header is lost: the model that was asked for, or else the default one.
    fn any(&mut self) -> Result<Codec> {
        let source = match self.asked.clone() {
            Some(Asked::Nothing) => return self.without(),
            Some(Asked::Source(source)) => source,
            None => ModelSource::Builtin(builtin::default()?.name),
        };
        self.open(&source, self.engine).map(|(_, codec)| codec)
    }

    fn without(&mut self) -> Result<Codec> {
        if let Some(codec) = self.loaded.get(&None) {
            return Ok(codec.clone());
        }
        let codec = self.codec(None, Options::default())?;
        self.loaded.insert(None, codec.clone());
        Ok(codec)
    }

    fn open(&mut self, source: &ModelSource, engine: EngineChoice) -> Result<([u8; 32], Codec)> {
        let model = trial::load(source, engine)?;
        let identity = model.identity();
        let key = (identity.engine, identity.digest);
        let codec = self.codec(Some(model), Options::default())?;
        self.loaded.insert(Some(key), codec.clone());
        Ok((key.1, codec))
    }
}

/// Reads a dictionary, and no more of a file than a dictionary may have.
fn read_dictionary(file: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::io(format!("dictionary {}", file.display()), source);
    let mut text = Vec::new();
    let limit = MAX_DICTIONARY as u64 + 1;
    File::open(file)
        .and_then(|open| open.take(limit).read_to_end(&mut text))
        .map_err(failed)?;
    if text.len() > MAX_DICTIONARY {
        return Err(Error::InvalidOption(format!(
            "dictionary {} is longer than {MAX_DICTIONARY} bytes; make a shorter one with `lmfs train`",
            file.display()
        )));
    }
    Ok(text)
}
