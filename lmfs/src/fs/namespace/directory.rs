//! opendir, readdir, releasedir.
//!
//! Entries come from the index in the order of their cookies, a page at a time. An offset is the cookie of the entry
//! before, whichever handle asks, also after a restart: an entry that is there all the time is listed exactly once,
//! whatever is created and removed meanwhile.

use lmfs_indexer::{Cookie, Kind};
use parking_lot::Mutex;

use super::Namespace;
use super::open_directory::{Listing, OpenDirectory};
use crate::fs::error::{Errno, Error, Result};
use crate::fs::types::DirEntry;

/// Entries read from the index at a time.
const PAGE: usize = 256;

/// The offset after "." and "..". All cookies are above it.
const DOTS: u64 = 2;

impl Namespace {
    /// Opens a directory and says the handle's number.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn opendir(&self, ino: u64) -> Result<u64> {
        let node = self.inodes.get(ino)?;
        if node.lock().inode.kind != Kind::Directory {
            return Err(Error::new(Errno::NOTDIR, "not a directory"));
        }
        let listing = Mutex::new(self.new_listing());
        Ok(self.directories.insert(OpenDirectory { node, listing }))
    }

    fn new_listing(&self) -> Listing {
        Listing {
            until: self.store().last_cookie(),
            files: 0,
        }
    }

    /// Lists entries from `offset` on (0, or any entry's `offset`, of this handle or of another), until `emit`
    /// returns false, which means that it did not take the entry. At offset 0 the listing begins anew.
    ///
    /// # Errors
    /// EBADF; what the store reports.
    pub fn readdir(&self, fh: u64, offset: u64, mut emit: impl FnMut(DirEntry) -> bool) -> Result<()> {
        let handle = self.directories.get(fh)?;
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
        // Cookies are above the offsets of the dots.
        let mut after = if offset > DOTS { Cookie(offset) } else { Cookie::START };
        let mut files = 0;
        let ended = loop {
            let page = self.store().listed(ino, after, PAGE)?;
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
        let files = listing.files;
        drop(listing);
        if ended {
            self.reader.listed(ino, files)?;
        }
        Ok(())
    }

    /// Closes a directory.
    ///
    /// # Errors
    /// EBADF.
    pub fn releasedir(&self, fh: u64) -> Result<()> {
        self.directories.remove(fh).map(drop)
    }
}
