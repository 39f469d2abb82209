//! opendir, readdir, releasedir.
//!
//! Entries come from the index in the order of their cookies, a page at a time. An offset is the cookie of the entry
//! before, whichever handle asks, also after a restart: an entry that is there all the time is listed exactly once,
//! whatever is created and removed meanwhile.

use std::sync::Arc;

use lmfs_indexer::{Cookie, Kind};
use parking_lot::Mutex;

use super::node::Node;
use super::{DirEntry, Errno, Error, Filesystem, Result, walk};

/// Entries read from the index at a time.
const PAGE: usize = 256;

/// The offset after "." and "..". All cookies are above it.
const DOTS: u64 = 2;

/// An open directory.
pub struct DirHandle {
    node: Arc<Node>,
    listing: Mutex<Listing>,
}

/// The listing under way.
struct Listing {
    /// Names that are made later are not listed, so that a listing whose reader makes names comes to its end.
    until: Cookie,
    /// Regular files listed so far.
    files: usize,
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
        let listing = Mutex::new(self.new_listing());
        self.handles
            .dirs
            .lock()
            .insert(fh, Arc::new(DirHandle { node, listing }));
        Ok(fh)
    }

    fn new_listing(&self) -> Listing {
        Listing {
            until: self.store.last_cookie(),
            files: 0,
        }
    }

    /// Lists entries from `offset` on (0, or any entry's `offset`, of this handle or of another), until `emit` says that it
    /// took none any more (false: the entry was not taken). At offset 0 the listing begins anew.
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
        let until = {
            let mut listing = handle.listing.lock();
            // An offset beyond the end of this listing is another handle's.
            if offset == 0 || offset > listing.until.0 {
                *listing = self.new_listing();
            }
            listing.until
        };
        let dots: [(u64, &[u8]); 2] = [(ino, b"."), (parent, b"..")];
        for (at, (ino, name)) in (1..).zip(dots).filter(|(at, _)| *at > offset) {
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
        let mut after = if offset > DOTS { Cookie(offset) } else { Cookie::START };
        let mut files = 0;
        let ended = loop {
            let page = self.store.listed(ino, after, PAGE)?;
            let last_page = page.len() < PAGE || page.last().is_some_and(|last| last.cookie > until);
            let mut taken = true;
            for listed in page.into_iter().take_while(|listed| listed.cookie <= until) {
                after = listed.cookie;
                taken = emit(DirEntry {
                    ino: listed.entry.ino,
                    kind: listed.entry.kind,
                    offset: listed.cookie.0,
                    name: listed.name,
                });
                if !taken {
                    break;
                }
                files += usize::from(listed.entry.kind == Kind::File);
            }
            if !taken {
                break false;
            }
            if last_page {
                break true;
            }
        };
        let mut listing = handle.listing.lock();
        listing.files += files;
        if ended && (2..=walk::MOST_FILES).contains(&listing.files) {
            drop(listing);
            self.expect_walk(ino)?;
        }
        Ok(())
    }

    /// Remembers the files of a directory that was listed: its user may go on to read them.
    fn expect_walk(&self, ino: u64) -> Result<()> {
        let entries = self.store.dirents(ino, None, walk::MOST_FILES)?;
        let files = entries.into_iter().filter(|(_, entry)| entry.kind == Kind::File);
        self.walks.listed(ino, files.map(|(_, entry)| entry.ino).collect());
        Ok(())
    }

    /// Closes a directory.
    pub fn releasedir(&self, fh: u64) {
        self.handles.dirs.lock().remove(&fh);
    }
}
