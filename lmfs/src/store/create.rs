//! Making a store.

use std::path::Path;
use std::sync::Arc;

use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load_bytes};
use lmfs_codec::{Codec, Options};
use lmfs_indexer::io::Directory;
use lmfs_indexer::{Change, CreateOptions, RealIo};
use uuid::Uuid;

use super::config::{Config, FORMAT, ModelConfig};
use super::digest::Digest;
use super::error::{Error, Result};
use super::folder::{Folder, discard};
use super::lock::Lock;
use super::models::ModelFile;
use super::prefer::Prefer;

/// Where the log keeps a copy of `config.toml`, so that a lost one can be restored.
pub(super) const CONFIG_KEY: &[u8] = b"config";

/// What a new store is to be.
#[derive(Debug, Clone)]
pub struct NewStore {
    /// The language model; `None` for a store without one.
    pub model: Option<ModelSource>,
    /// What is to run it; the store remembers what that came to.
    pub engine: EngineChoice,
    /// Bytes in a block: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Parity of segments, in percent of their bytes, at most [`lmfs_indexer::MAX_PARITY`]; 0: none.
    pub parity: u8,
    /// What its blocks are to be.
    pub prefer: Prefer,
}

impl NewStore {
    /// Makes the store in the folder `path`, durably. When this fails, nothing is left behind.
    ///
    /// # Errors
    /// A folder that is in use, a model that cannot be used, IO errors.
    pub fn make(&self, path: &Path) -> Result<Folder> {
        Folder::check_new(path)?;
        // Everything that can be wrong with the model is found before anything is written.
        let model = self.model.as_ref().map(|model| probe(model, self.engine)).transpose()?;
        let (dir, path) = Folder::prepare(path)?;
        let (gguf, model) = model.map_or((None, None), |(gguf, model)| (Some(gguf), Some(model)));
        let config = Config {
            format: FORMAT,
            store_id: Uuid::new_v4(),
            block_size: self.block_size,
            parity: self.parity,
            prefer: self.prefer,
            model,
        };
        fill(&dir, &path, config, gguf.as_deref()).inspect_err(|_| discard(&dir, &path))
    }
}

fn fill(dir: &Directory, path: &Path, config: Config, gguf: Option<&[u8]>) -> Result<Folder> {
    let _lock = Lock::acquire(dir, "lmfs init")?;
    if let Some(gguf) = gguf {
        ModelFile::import(dir, path, gguf)?;
    }
    let io = RealIo::in_directory(dir.clone());
    let indexer = |source| Error::Indexer {
        path: path.to_owned(),
        source,
    };
    let options = CreateOptions::new(config.store_id.into_bytes());
    let store = lmfs_indexer::Store::create(Arc::new(io), options).map_err(indexer)?;
    let copy = Change::PutMeta {
        key: CONFIG_KEY.to_vec(),
        value: config.to_text()?.into_bytes(),
    };
    let _report = store.commit(vec![copy]).map_err(indexer)?;
    store.close().map_err(indexer)?;
    Folder::finish(dir.clone(), path.to_owned(), config)
}

/// Loads a model and runs its probe: the file's bytes and what the store has to know about it.
fn probe(source: &ModelSource, engine: EngineChoice) -> Result<(Vec<u8>, ModelConfig)> {
    let gguf = source.read()?;
    let model = load_bytes(&source.to_string(), gguf.clone(), engine, &LoadOptions::default())?;
    let identity = model.identity().clone();
    let codec = Codec::new(Some(model), Options::default())?;
    let config = ModelConfig {
        name: name(source),
        digest: Digest(identity.digest),
        engine: identity.engine,
        fingerprint: codec.fingerprint()?.to_string(),
    };
    Ok((gguf, config))
}

/// How the store calls its model: where the file once lay is nobody's business.
fn name(source: &ModelSource) -> String {
    match source {
        ModelSource::Builtin(_) => source.to_string(),
        ModelSource::Path(path) => path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned(),
    }
}
