//! Codecs by what a container names.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use lmfs_codec::model::{Engine, EngineChoice, LanguageModel, LoadOptions, ModelSource, builtin, load};
use lmfs_codec::stream::ContainerHeader;
use lmfs_codec::{Codec, Error, Options, Result};
use parking_lot::Mutex;

/// Engine and digest of a model.
type ModelKey = (Engine, [u8; 32]);

/// The models and dictionaries that objects may need. Built-in ones are always there. A model is loaded when the first
/// object that names it is read.
#[derive(Default)]
pub struct Codecs {
    dictionaries: Arc<Vec<Vec<u8>>>,
    loaded: Mutex<HashMap<Option<ModelKey>, Codec>>,
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs")
            .field("dictionaries", &self.dictionaries.len())
            .finish_non_exhaustive()
    }
}

impl Codecs {
    /// With these dictionaries besides the built-in ones.
    pub fn new(dictionaries: Vec<Vec<u8>>) -> Codecs {
        Codecs {
            dictionaries: Arc::new(dictionaries),
            loaded: Mutex::default(),
        }
    }

    /// Adds a model that is not built in.
    ///
    /// # Errors
    /// As [`Codec::new`].
    pub fn add(&self, model: Arc<dyn LanguageModel>) -> Result<()> {
        let identity = model.identity();
        let key = (identity.engine, identity.digest);
        let codec = self.codec(Some(model), Options::default())?;
        self.loaded.lock().insert(Some(key), codec);
        Ok(())
    }

    /// A codec with these dictionaries.
    pub(crate) fn codec(&self, model: Option<Arc<dyn LanguageModel>>, options: Options) -> Result<Codec> {
        Codec::with_dictionaries(model, Arc::clone(&self.dictionaries) as _, options)
    }

    /// The codec for a container. Loading a model takes a part of a second.
    ///
    /// # Errors
    /// A model that is neither built in nor was added.
    pub fn of(&self, header: &ContainerHeader) -> Result<Codec> {
        // Held while a model is loaded, so that it is loaded once.
        let mut loaded = self.loaded.lock();
        if let Some(codec) = loaded.get(&header.model) {
            return Ok(codec.clone());
        }
        let model = header.model.map(builtin_model).transpose()?;
        let codec = self.codec(model, Options::default())?;
        loaded.insert(header.model, codec.clone());
        Ok(codec)
    }
}

fn builtin_model((engine, digest): ModelKey) -> Result<Arc<dyn LanguageModel>> {
    let Some(found) = builtin::list().iter().find(|model| model.digest() == digest) else {
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        return Err(Error::InvalidOption(format!(
            "it needs the model whose SHA-256 is {digest}, which is not built in: add it to the codecs of the store"
        )));
    };
    load(
        &ModelSource::Builtin(found.name),
        EngineChoice::from(engine),
        &LoadOptions::default(),
    )
}
