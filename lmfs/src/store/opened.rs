//! An open store: locked, its log and index open, its model loaded and checked.

use std::path::Path;
use std::sync::Arc;

use lmfs_codec::model::{LanguageModel, LoadOptions, load_bytes};
use lmfs_codec::{Codec, Options};
use lmfs_indexer::{Io, OpenOptions, OpenReport, RealIo, Store};

use super::config::{Config, ModelConfig};
use super::dictionaries;
use super::error::{Error, Result};
use super::folder::Folder;
use super::lock::Lock;
use super::models::{ModelFault, ModelFile};
use super::prefer::Prefer;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Access {
    /// What others are told while the store is in use, such as `mounted on /mnt`.
    pub purpose: String,
    /// Write nothing.
    pub read_only: bool,
    /// Load the model. Without it, what the model coded cannot be read, and opening is quick.
    pub model: bool,
    /// Bytes of the cache: the states after dictionaries take a part of them.
    pub cache_bytes: u64,
    /// What new blocks are to be, if not what the store says.
    pub prefer: Option<Prefer>,
}

/// Bytes of the cache unless somebody says otherwise.
pub const CACHE_BYTES: u64 = 256 << 20;

impl Access {
    /// For reading and writing, with the model.
    #[must_use]
    pub fn full(purpose: &str) -> Access {
        Access {
            purpose: purpose.to_owned(),
            read_only: false,
            model: true,
            cache_bytes: CACHE_BYTES,
            prefer: None,
        }
    }

    /// For looking at sizes and rows, without the model.
    #[must_use]
    pub fn rows(purpose: &str) -> Access {
        Access {
            model: false,
            ..Access::full(purpose)
        }
    }
}

/// An open store. Field order is the order of closing: the lock goes last.
pub struct Opened {
    /// The log and its index.
    pub indexer: Arc<Store>,
    /// Coder of blocks, with the store's model if that is as it should be.
    pub codec: Codec,
    /// The folder and what the store is.
    pub folder: Folder,
    /// What new blocks are to be.
    pub prefer: Prefer,
    /// What opening found.
    pub report: OpenReport,
    /// Why the model cannot be used, and what follows: its blocks cannot be read and nothing can be packed.
    pub model_fault: Option<String>,
    lock: Lock,
}

impl Opened {
    /// Locks and opens the store in `folder`.
    ///
    /// # Errors
    /// In use by another process; not writable, but to be written; a damaged log; IO errors. A model that is missing,
    /// altered or computes something else here is no error but [`Opened::model_fault`]: everything it did not code
    /// stays readable.
    pub fn open(folder: Folder, access: &Access) -> Result<Opened> {
        let lock = Lock::acquire(folder.dir(), &access.purpose)?;
        Opened::open_locked(folder, access, lock)
    }

    /// As [`Opened::open`], with a lock that is already held.
    ///
    /// # Errors
    /// As there.
    pub fn open_locked(folder: Folder, access: &Access, lock: Lock) -> Result<Opened> {
        let path = folder.path();
        if !access.read_only {
            lock.require_writable(path)?;
        }
        let io = Arc::new(RealIo::in_directory(folder.dir().clone()));
        // Who only reads wants all that can still be read.
        Opened::open_log(folder, access, lock, io, access.read_only)
    }

    /// Locks the folder and opens a store for reading whose log lies elsewhere: what is missing there may only be late,
    /// so it is an error.
    ///
    /// # Errors
    /// As for [`Opened::open`].
    pub fn open_elsewhere(folder: Folder, access: &Access, log: Arc<dyn Io>) -> Result<Opened> {
        let lock = Lock::acquire(folder.dir(), &access.purpose)?;
        Opened::open_log(folder, access, lock, log, false)
    }

    fn open_log(folder: Folder, access: &Access, lock: Lock, io: Arc<dyn Io>, salvage: bool) -> Result<Opened> {
        let path = folder.path();
        let options = OpenOptions {
            read_only: access.read_only,
            salvage,
            store_id: Some(folder.config().store_id.into_bytes()),
            parity: folder.config().parity,
            ..OpenOptions::default()
        };
        let (indexer, report) = Store::open(io, options).map_err(|source| {
            let path = path.to_owned();
            match source {
                lmfs_indexer::Error::LogDamaged { .. } if folder.config().parity > 0 => {
                    Error::Repairable { path, source }
                }
                source => Error::Indexer { path, source },
            }
        })?;
        let indexer = Arc::new(indexer);
        let prefer = access.prefer.unwrap_or(folder.config().prefer);
        let (model, model_fault) = match (&folder.config().model, access.model) {
            (Some(config), true) => open_model(&folder, config)?,
            _ => (None, None),
        };
        let codec = dictionaries::codec(&indexer, model, codec_options(access, prefer))?;
        Ok(Opened {
            indexer,
            codec,
            folder,
            prefer,
            report,
            model_fault,
            lock,
        })
    }

    /// What the store is.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.folder.config()
    }

    /// The folder's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Tells others that the store is mounted, as the filesystem `mount`.
    pub fn say_mounted(&mut self, purpose: &str, mount: &str) {
        self.lock.say(purpose, mount);
    }

    /// Tells others that the mount is gone and the store about to be closed, so that who wants it waits.
    pub fn say_ending(&mut self) {
        self.lock.say_ending();
    }

    /// Makes everything durable, puts the index away and gives the lock back, in this order. While something else in
    /// this process still holds the log, nobody else may write to it: the lock is then kept until the process ends.
    ///
    /// # Errors
    /// What could not be made durable.
    pub fn close(self) -> Result<()> {
        let path = self.folder.path().to_owned();
        let indexer = |source| Error::Indexer { path, source };
        match Arc::try_unwrap(self.indexer) {
            Ok(store) if store.is_read_only() => Ok(()),
            Ok(store) => store.close().map_err(indexer),
            // The next opening reads the log's tail instead of a finished index.
            Err(shared) => {
                self.lock.keep();
                if shared.is_read_only() {
                    return Ok(());
                }
                shared.sync().map_err(indexer)
            }
        }
    }
}

fn codec_options(access: &Access, prefer: Prefer) -> Options {
    let mut options = Options::default();
    let half = (access.cache_bytes / 2) as usize;
    options.most_warm_bytes = options.most_warm_bytes.min(half);
    prefer.apply(&mut options);
    options
}

/// A model, or why there is none.
type Loaded = (Option<Arc<dyn LanguageModel>>, Option<String>);

fn open_model(folder: &Folder, config: &ModelConfig) -> Result<Loaded> {
    let file = ModelFile::new(folder.path(), config.digest);
    let without = |why: String| -> Result<Loaded> {
        let fault =
            format!("{why}. What the model coded cannot be read and nothing can be packed; everything else works");
        Ok((None, Some(fault)))
    };
    let gguf = match file.read(folder.dir()) {
        Ok(gguf) => gguf,
        Err(ModelFault::Unreadable(error)) => return Err(error),
        Err(ModelFault::Missing) => {
            return without(format!(
                "the model {} is missing: put the file with this SHA-256 back as {}",
                config.name,
                file.path.display()
            ));
        }
        Err(ModelFault::NotAModel { reason }) => {
            return without(format!(
                "the model file {} is damaged ({reason}): put the original back",
                file.path.display()
            ));
        }
        Err(ModelFault::Altered { found }) => {
            return without(format!(
                "the model file {} is damaged (its SHA-256 is {found}): put the original back",
                file.path.display()
            ));
        }
    };
    let model = match load(config, gguf) {
        Ok(model) => model,
        Err(error) => {
            return without(format!("the model {} cannot be loaded ({error})", config.name));
        }
    };
    let codec = Codec::new(Some(model.clone()), Options::default())?;
    let found = codec.fingerprint()?.to_string();
    if found != config.fingerprint {
        return without(format!(
            "the model {} computes something else on this machine or with this version of lmfs than where the store \
             was made (fingerprint {} here, {} there): use the machine or the version that made it",
            config.name,
            short(&found),
            short(&config.fingerprint)
        ));
    }
    Ok((Some(model), None))
}

fn load(config: &ModelConfig, gguf: Vec<u8>) -> lmfs_codec::Result<Arc<dyn LanguageModel>> {
    load_bytes(&config.name, gguf, config.engine.into(), &LoadOptions::default())
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::NewStore;
    use super::*;

    /// It was given back while a detached mount could still append to the log.
    #[test]
    fn the_lock_is_kept_while_something_else_holds_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let new = NewStore {
            model: None,
            engine: lmfs_codec::model::EngineChoice::Auto,
            block_size: 4096,
            parity: 0,
            prefer: Prefer::default(),
        };
        let folder = new.make(&dir.path().join("store")).unwrap();
        let dir = folder.dir().clone();
        let opened = Opened::open(folder.clone(), &Access::rows("a test")).unwrap();
        opened.close().unwrap();
        assert_eq!(Lock::holder(&dir).unwrap(), None);
        let opened = Opened::open(folder, &Access::rows("a test")).unwrap();
        let held = opened.indexer.clone();
        opened.close().unwrap();
        assert_eq!(Lock::holder(&dir).unwrap().unwrap().purpose, "a test");
        drop(held);
    }
}
