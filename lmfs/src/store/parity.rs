//! Changing how much parity a store has.

use std::path::Path;

use lmfs_indexer::Change;

use super::config::Config;
use super::create::CONFIG_KEY;
use super::error::{Error, Result};
use super::folder::Folder;
use super::opened::{Access, Opened};

/// What changing the parity did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SetParity {
    /// Percent of the bytes of new segments.
    pub parity: u8,
    /// Bytes of all parity now.
    pub parity_bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Segments that are damaged and get none, in words.
    pub warnings: Vec<String>,
}

/// Gives the store in `path` this much parity: segments that have none get it now. `progress` gets bytes done and bytes
/// in all, and ends the work by saying false; what is missing then is made by the next call, or in the background of a
/// mount.
///
/// # Errors
/// No store, in use, a damaged log, IO errors, interrupted.
pub fn set_parity(path: &Path, percent: u8, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<SetParity> {
    let folder = Folder::find(path)?;
    let config = Config {
        parity: percent,
        ..folder.config().clone()
    };
    let path = folder.path().to_owned();
    let indexer = |source| Error::Indexer {
        path: path.clone(),
        source,
    };
    let access = Access::rows("lmfs parity");
    if folder.config().parity != percent {
        let opened = Opened::open(folder.clone(), &access)?;
        let copy = Change::PutMeta {
            key: CONFIG_KEY.to_vec(),
            value: config.to_text()?.into_bytes(),
        };
        let _report = opened.indexer.commit(vec![copy]).map_err(indexer)?;
        opened.indexer.sync().map_err(indexer)?;
        folder.with_config(config).write_config()?;
        opened.close()?;
    }
    let opened = Opened::open(folder.read_again()?, &access)?;
    if percent == 0 {
        opened.indexer.remove_parity().map_err(indexer)?;
    }
    let total = opened.indexer.totals().log_bytes;
    let mut done = 0;
    let mut watch = |more| {
        done += more;
        progress(done, total)
    };
    let made = opened.indexer.make_parity(&mut watch).map_err(indexer)?;
    opened.close()?;
    // What closing made counts, too.
    let opened = Opened::open(folder.read_again()?, &access)?;
    let totals = opened.indexer.totals();
    opened.close()?;
    Ok(SetParity {
        parity: percent,
        parity_bytes: totals.parity_bytes,
        log_bytes: totals.log_bytes,
        warnings: made.refused,
    })
}
