//! How far an interrupted check came: `STORE/check.json`. It goes when the check is done.

use std::io::{self, ErrorKind, Read};

use lmfs_indexer::io::Directory;
use serde::{Deserialize, Serialize};

use crate::store::{Error, Result, write_new};

const NAME: &str = "check.json";
const VERSION: u32 = 1;
/// A file with more in it is none of ours.
const MAX_LEN: u64 = 16 << 20;
/// Damaged blocks remembered; with more of them the work so far is not worth keeping.
const MAX_DAMAGED: usize = 100_000;

/// A place in the order of inodes and blocks, and what was found before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    version: u32,
    /// The store's id; the position means nothing in another.
    store_id: String,
    /// Number of the store's last transaction: one with fewer is an older copy of it.
    transaction: u64,
    /// Checksums of files were printed, so the next run has to print the others.
    sums: bool,
    /// Inode and number of the last block looked at.
    pub after: (u64, u64),
    /// Blocks looked at.
    pub blocks: u64,
    /// Bytes decoded.
    pub decoded_bytes: u64,
    /// Damaged blocks, by inode and number. They are looked at again.
    pub damaged: Vec<(u64, u64)>,
}

impl Position {
    /// The beginning.
    #[must_use]
    pub fn start(store: &lmfs_indexer::Store, sums: bool) -> Position {
        Position {
            version: VERSION,
            store_id: hex::encode(store.store_id()),
            transaction: store.seq(),
            sums,
            after: (0, 0),
            blocks: 0,
            decoded_bytes: 0,
            damaged: Vec::new(),
        }
    }

    /// What an interrupted check of this store left in `folder`, if it can be continued.
    #[must_use]
    pub fn load(folder: &Directory, start: &Position) -> Option<Position> {
        let file = folder.open_file(NAME, false).ok()?;
        let mut text = String::new();
        file.take(MAX_LEN).read_to_string(&mut text).ok()?;
        let found: Position = serde_json::from_str(&text).ok()?;
        let same = found.version == VERSION && found.store_id == start.store_id && found.sums == start.sums;
        // What was written since comes with a transaction number of its own; blocks of files before the place are
        // younger than the check then.
        (same && found.transaction <= start.transaction).then_some(Position {
            transaction: start.transaction,
            ..found
        })
    }

    /// Leaves it in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, folder: &Directory) -> Result<()> {
        if self.damaged.len() > MAX_DAMAGED {
            return Position::drop(folder);
        }
        let text = serde_json::to_vec(self).map_err(|e| failed("write", folder, e.into()))?;
        write_new(folder, NAME, &text).map_err(|e| failed("write", folder, e))
    }

    /// Removes what was left in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn drop(folder: &Directory) -> Result<()> {
        match folder.remove(NAME) {
            // On media that cannot be written there is an error even if there is nothing to remove.
            Err(e) if e.kind() != ErrorKind::NotFound && folder.look(NAME).is_ok() => Err(failed("remove", folder, e)),
            _ => Ok(()),
        }
    }
}

fn failed(action: &'static str, folder: &Directory, source: io::Error) -> Error {
    Error::Io {
        action,
        path: folder.path().unwrap_or_default().join(NAME),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_place_is_kept_for_the_same_store_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Directory::open(dir.path()).unwrap();
        let start = Position {
            version: VERSION,
            store_id: "aa".into(),
            transaction: 7,
            sums: false,
            after: (0, 0),
            blocks: 0,
            decoded_bytes: 0,
            damaged: Vec::new(),
        };
        assert_eq!(Position::load(&folder, &start), None);
        let half = Position {
            after: (5, 3),
            damaged: vec![(4, 1)],
            ..start.clone()
        };
        half.save(&folder).unwrap();
        assert_eq!(Position::load(&folder, &start), Some(half.clone()));
        let later = Position {
            transaction: 9,
            ..start.clone()
        };
        assert_eq!(Position::load(&folder, &later).unwrap().after, (5, 3));
        let others = [
            Position {
                store_id: "ab".into(),
                ..start.clone()
            },
            Position {
                transaction: 6,
                ..start.clone()
            },
            Position {
                sums: true,
                ..start.clone()
            },
        ];
        for other in others {
            assert_eq!(Position::load(&folder, &other), None, "{other:?}");
        }
        std::fs::write(dir.path().join(NAME), "{").unwrap();
        assert_eq!(Position::load(&folder, &start), None);
        Position::drop(&folder).unwrap();
        Position::drop(&folder).unwrap();
    }
}
