//! Making everything anew that can be made from the log: the index and `config.toml`.

use std::path::Path;
use std::sync::Arc;

use lmfs_indexer::{OpenOptions, RealIo, Store};

use super::config::Config;
use super::create::CONFIG_KEY;
use super::error::{Error, Result, at};
use super::folder::{Folder, locate, write_config};
use super::lock::Lock;

/// What a rebuild did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Rebuilt {
    /// `config.toml` was missing or damaged and is restored.
    pub config_restored: bool,
    /// Inodes in the new index.
    pub inodes: u64,
    /// Transactions read from the log.
    pub transactions: u64,
    /// Damage that was found and contained.
    pub warnings: Vec<String>,
}

/// Deletes the index of the store in `path` and makes it anew from the log, which stays as it is.
///
/// # Errors
/// No store, in use, a damaged log, IO errors. A missing index is made anew by the next opening in any case.
pub fn rebuild(path: &Path) -> Result<Rebuilt> {
    let (path, config) = match Folder::find(path) {
        Ok(folder) => (folder.path().to_owned(), Some(folder.config().clone())),
        Err(error @ (Error::NotAStore { .. } | Error::BadConfig { .. })) => {
            let found = locate(path)?;
            if !found.join("segments").is_dir() {
                return Err(error);
            }
            (found, None)
        }
        Err(error) => return Err(error),
    };
    let lock = Lock::acquire(&path, "lmfs rebuild")?;
    lock.require_writable(&path)?;
    let indexer = |source| Error::Indexer {
        path: path.clone(),
        source,
    };
    let io = RealIo::new(&path).map_err(at("open", &path))?;
    let store_id = config.as_ref().map(|config| config.store_id.into_bytes());
    let options = OpenOptions {
        rebuild: true,
        store_id,
        parity: config.as_ref().map_or(0, |config| config.parity),
        ..OpenOptions::default()
    };
    let (store, report) = Store::open(Arc::new(io), options).map_err(indexer)?;
    if config.is_none() {
        let copy = store
            .meta(CONFIG_KEY)
            .map_err(indexer)?
            .ok_or_else(|| Error::BadConfig {
                path: path.join("config.toml"),
                reason: "the log has no copy of it".to_owned(),
            })?;
        let text = String::from_utf8_lossy(&copy);
        write_config(&path, &Config::parse(&text, &path.join("segments"))?)?;
    }
    let inodes = store.totals().inodes;
    store.close().map_err(indexer)?;
    Ok(Rebuilt {
        config_restored: config.is_none(),
        inodes,
        transactions: report.transactions,
        warnings: report.warnings,
    })
}
