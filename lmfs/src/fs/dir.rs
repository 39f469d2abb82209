//! opendir, readdir, releasedir.
//!
//! Entries come from the index in name order, a page at a time. A handle remembers the names it has given out, so an
//! offset means "after that name" whatever was created or removed meanwhile: an entry that was there all the time is
//! listed exactly once.

use std::sync::Arc;

use lmfs_indexer::Kind;
use parking_lot::Mutex;

use super::node::Node;
use super::{DirEntry, Errno, Error, Filesystem, Result};

/// Entries read from the index at a time.
const PAGE: usize = 256;

/// Offset after "." and "..", at which the names begin.
const DOTS: u64 = 2;

/// An open directory.
pub struct DirHandle {
    node: Arc<Node>,
    names: Mutex<Names>,
}

/// The names given out, one after another in one buffer.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The inodes of those that are regular files.
    files: Vec<Option<u64>>,
}

impl Names {
    fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        self.bytes.get(start.unwrap_or(0)..end)
    }

    /// Notes that `name` is number `index`. If another was, what came after it was listed before a change and is
    /// forgotten.
    fn put(&mut self, index: usize, name: &[u8], file: Option<u64>) {
        if self.get(index) == Some(name) {
            return;
        }
        self.files.truncate(index);
        self.files.push(file);
        self.ends.truncate(index);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }
}

impl Filesystem {
    /// Opens a directory and says the handle's number.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn opendir(&self, ino: u64) -> Result<u64> {
        let node = self.node(ino)?;
        if node.lock().inode.kind != Kind::Directory {
            return Err(Error::new(Errno::NOTDIR, "not a directory"));
        }
        let fh = self.handles.number();
        let handle = DirHandle {
            node,
            names: Mutex::default(),
        };
        self.handles.dirs.lock().insert(fh, Arc::new(handle));
        Ok(fh)
    }

    /// Lists entries from `offset` on (0, or an entry's `offset`), until `emit` says that it took none any more (false:
    /// the entry was not taken). At offset 0 the listing begins anew.
    ///
    /// # Errors
    /// EBADF; what the store reports.
    pub fn readdir(&self, fh: u64, offset: u64, mut emit: impl FnMut(DirEntry) -> bool) -> Result<()> {
        let handle = self.handles.dirs.lock().get(&fh).cloned();
        let handle = handle.ok_or(Error::new(Errno::BADF, "no such handle"))?;
        let ino = handle.node.ino;
        let (parent, gone) = {
            let state = handle.node.lock();
            (state.inode.parent, state.gone)
        };
        let mut names = handle.names.lock();
        if offset == 0 {
            *names = Names::default();
        }
        let dots: [(u64, &[u8]); 2] = [(ino, b"."), (parent, b"..")];
        for (at, (ino, name)) in (1..).zip(dots).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            let name = name.to_vec();
            if !emit(DirEntry {
                ino,
                kind: Kind::Directory,
                offset: at,
                name,
            }) {
                return Ok(());
            }
        }
        if gone {
            return Ok(());
        }
        let index = usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX);
        let mut index = index.min(names.ends.len());
        loop {
            let after = index
                .checked_sub(1)
                .and_then(|last| names.get(last))
                .map(<[u8]>::to_vec);
            let page = self.store.dirents(ino, after.as_deref(), PAGE)?;
            let last_page = page.len() < PAGE;
            for (name, entry) in page {
                names.put(index, &name, (entry.kind == Kind::File).then_some(entry.ino));
                index += 1;
                let offset = index as u64 + DOTS;
                if !emit(DirEntry {
                    ino: entry.ino,
                    kind: entry.kind,
                    offset,
                    name,
                }) {
                    return Ok(());
                }
            }
            if last_page {
                self.walks.listed(ino, names.files.iter().copied().flatten().collect());
                return Ok(());
            }
        }
    }

    /// Closes a directory.
    pub fn releasedir(&self, fh: u64) {
        self.handles.dirs.lock().remove(&fh);
    }
}
