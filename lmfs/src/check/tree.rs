//! Inodes and names.

use std::collections::HashMap;

use lmfs_codec::Stop;
use lmfs_indexer::{Dirent, Inode, Kind, ROOT_INO, Store};

use super::{Damage, Error, Report};
use crate::store::Opened;

/// Rows read at a time.
const PAGE: usize = 1024;
/// A path deeper than this goes in a circle.
const MAX_DEPTH: usize = 10_000;

/// For each inode one place where it is named, and how often it is.
#[derive(Debug, Default)]
pub struct Names {
    first: HashMap<u64, (u64, Vec<u8>)>,
    links: HashMap<u64, u32>,
    subdirectories: HashMap<u64, u32>,
}

impl Names {
    /// A path of the inode from the root; empty if there is none.
    pub fn path(&self, ino: u64) -> String {
        let mut parts = Vec::new();
        let mut at = ino;
        while at != ROOT_INO {
            let Some((parent, name)) = self.first.get(&at).filter(|_| parts.len() < MAX_DEPTH) else {
                return String::new();
            };
            parts.push(String::from_utf8_lossy(name).into_owned());
            at = *parent;
        }
        parts.reverse();
        format!("/{}", parts.join("/"))
    }

    fn reaches_root(&self, ino: u64) -> bool {
        ino == ROOT_INO || !self.path(ino).is_empty()
    }
}

/// Goes over all rows once for the names and once for the counts.
pub fn check(store: &Opened, report: &mut Report, stop: &Stop) -> Result<Names, Error> {
    let rows: &Store = &store.indexer;
    let mut names = Names::default();
    match rows.inode(ROOT_INO)? {
        Some(root) if root.kind == Kind::Directory => {}
        _ => report
            .damage
            .push(damage("/", ROOT_INO, "there is no root directory".into())),
    }
    each_inode(rows, stop, &mut |inode| {
        report.inodes += 1;
        if inode.kind == Kind::Directory {
            check_directory(rows, inode, &mut names, report)
        } else {
            Ok(())
        }
    })?;
    let orphans = rows.orphans()?;
    each_inode(rows, stop, &mut |inode| {
        if let Some(reason) = wrong_links(inode, &names, &orphans) {
            report.damage.push(damage(&names.path(inode.ino), inode.ino, reason));
        }
        Ok(())
    })?;
    Ok(names)
}

fn check_directory(rows: &Store, dir: &Inode, names: &mut Names, report: &mut Report) -> Result<(), Error> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = rows.dirents(dir.ino, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        for (name, entry) in page {
            report.entries += 1;
            if let Some(reason) = wrong_entry(rows, dir, &name, entry)? {
                let path = format!("{}/{}", names.path(dir.ino), String::from_utf8_lossy(&name));
                report.damage.push(damage(&path, entry.ino, reason));
            }
            *names.links.entry(entry.ino).or_default() += 1;
            if entry.kind == Kind::Directory {
                *names.subdirectories.entry(dir.ino).or_default() += 1;
            }
            names.first.entry(entry.ino).or_insert((dir.ino, name));
        }
    }
}

fn wrong_entry(rows: &Store, dir: &Inode, name: &[u8], entry: Dirent) -> Result<Option<String>, Error> {
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Ok(Some("no file may have this name".to_owned()));
    }
    Ok(match rows.inode(entry.ino)? {
        None => Some(format!("the name leads to inode {}, which does not exist", entry.ino)),
        Some(inode) if inode.kind != entry.kind => Some(format!(
            "the name says {:?}, its inode says {:?}",
            entry.kind, inode.kind
        )),
        Some(inode) if inode.kind == Kind::Directory && inode.parent != dir.ino => Some(format!(
            "the directory says that it is in inode {}, but it is in {}",
            inode.parent, dir.ino
        )),
        Some(_) => None,
    })
}

fn wrong_links(inode: &Inode, names: &Names, orphans: &[u64]) -> Option<String> {
    let named = names.links.get(&inode.ino).copied().unwrap_or(0);
    let is_directory = inode.kind == Kind::Directory;
    if named == 0 && inode.ino != ROOT_INO {
        // Deleted while it was open: the next mount removes it.
        return (!orphans.contains(&inode.ino)).then(|| "no name leads to it".to_owned());
    }
    if is_directory && named > 1 {
        return Some(format!("the directory has {named} names"));
    }
    if is_directory && !names.reaches_root(inode.ino) {
        return Some("the directory cannot be reached from the root".to_owned());
    }
    let expected = match is_directory {
        true => 2 + names.subdirectories.get(&inode.ino).copied().unwrap_or(0),
        false => named,
    };
    (inode.nlink != expected).then(|| format!("its link count is {}, it should be {expected}", inode.nlink))
}

/// Calls `visit` with every inode.
pub fn each_inode(rows: &Store, stop: &Stop, visit: &mut dyn FnMut(&Inode) -> Result<(), Error>) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let page = rows.inodes(after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        if stop.is_set() {
            return Err(Error::Interrupted);
        }
        after = last.ino;
        page.iter().try_for_each(&mut *visit)?;
    }
}

fn damage(path: &str, ino: u64, reason: String) -> Damage {
    Damage {
        path: path.to_owned(),
        ino,
        offset: None,
        length: None,
        reason,
    }
}
