//! Making everything anew that can be made from the log: the index and `config.toml`.

use std::path::Path;
use std::sync::Arc;

use lmfs_indexer::{OpenOptions, RealIo, Store};

use super::config::Config;
use super::create::CONFIG_KEY;
use super::error::{Error, Result};
use super::folder::{Folder, has_segments, locate};
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
    let (dir, path, config) = match Folder::find(path) {
        Ok(folder) => (
            folder.dir().clone(),
            folder.path().to_owned(),
            Some(folder.config().clone()),
        ),
        Err(error @ (Error::NotAStore { .. } | Error::BadConfig { .. })) => {
            let (dir, found) = locate(path)?;
            if !has_segments(&dir) {
                return Err(error);
            }
            (dir, found, None)
        }
        Err(error) => return Err(error),
    };
    let lock = Lock::acquire(&dir, "lmfs rebuild")?;
    lock.require_writable(&path)?;
    let indexer = |source| Error::Indexer {
        path: path.clone(),
        source,
    };
    let io = RealIo::in_directory(dir.clone());
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
        let found = Config::parse(&text, &path.join("segments"))?;
        Folder::restored(dir, path.clone(), found).write_config()?;
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
