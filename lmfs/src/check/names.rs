//! Paths of inodes.

use std::collections::HashMap;

use lmfs_indexer::{Kind, ROOT_INO, Store};

use super::{Damage, Error, Report};

/// Rows read at a time.
const PAGE: usize = 1024;
/// A path deeper than this goes in a circle.
const MAX_DEPTH: usize = 10_000;

/// Where inodes are named.
#[derive(Debug, Default)]
pub struct Names {
    first: HashMap<u64, (u64, Vec<u8>)>,
    /// Further names of files that have several.
    more: HashMap<u64, Vec<(u64, Vec<u8>)>>,
}

impl Names {
    /// Reads all directories; names that no file may have are damage.
    pub fn read(rows: &Store, report: &mut Report) -> Result<Names, Error> {
        let mut names = Names::default();
        each_inode(rows, &mut |inode| {
            if inode.kind == Kind::Directory {
                names.read_directory(rows, inode.ino, report)?;
            }
            Ok(())
        })?;
        Ok(names)
    }

    fn read_directory(&mut self, rows: &Store, dir: u64, report: &mut Report) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = rows.dirents(dir, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (name, entry) in page {
                if name.is_empty() || name == b"." || name == b".." || name.iter().any(|b| matches!(b, b'/' | 0)) {
                    report.damage.push(Damage {
                        path: format!("{}/{}", self.path(dir), String::from_utf8_lossy(&name)),
                        ino: entry.ino,
                        offset: None,
                        length: None,
                        reason: "no file may have this name".to_owned(),
                    });
                }
                match self.first.entry(entry.ino) {
                    std::collections::hash_map::Entry::Vacant(free) => {
                        free.insert((dir, name));
                    }
                    std::collections::hash_map::Entry::Occupied(_) => {
                        self.more.entry(entry.ino).or_default().push((dir, name));
                    }
                }
            }
        }
    }

    /// A path of the inode from the root; empty if there is none.
    pub fn path(&self, ino: u64) -> String {
        let path = self.all(ino).into_iter().next().unwrap_or_default();
        match ino {
            ROOT_INO => "/".to_owned(),
            _ if path.is_empty() => String::new(),
            _ => format!("/{}", String::from_utf8_lossy(&path)),
        }
    }

    /// All paths of the inode, relative to the root.
    pub fn all(&self, ino: u64) -> Vec<Vec<u8>> {
        let names = self
            .first
            .get(&ino)
            .into_iter()
            .chain(self.more.get(&ino).into_iter().flatten());
        names.filter_map(|(dir, name)| self.join(*dir, name)).collect()
    }

    fn join(&self, dir: u64, name: &[u8]) -> Option<Vec<u8>> {
        let mut parts = vec![name];
        let mut at = dir;
        while at != ROOT_INO {
            let (parent, name) = self.first.get(&at).filter(|_| parts.len() < MAX_DEPTH)?;
            parts.push(name);
            at = *parent;
        }
        parts.reverse();
        Some(parts.join(&b'/'))
    }
}

/// Calls `visit` with every inode.
fn each_inode(rows: &Store, visit: &mut dyn FnMut(&lmfs_indexer::Inode) -> Result<(), Error>) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let page = rows.inodes(after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.ino;
        page.iter().try_for_each(&mut *visit)?;
    }
}
