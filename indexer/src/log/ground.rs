//! Whether the log still lies where it is written to.
//!
//! The store's lock keeps other writers away, and yet its files may be deleted, moved or replaced while they are open:
//! by a cleaner, by a restored backup, by `rsync --delete`. What is written to a file that has no name any more is
//! lost, and what is written into a restored one destroys it. So nothing is appended to a file that is not as this
//! process left it, and nothing is promised, begun or deleted before the names lead to the very files that were
//! written.

use super::segment::{HEADER_LEN, Header, Segment};
use super::writer::{Head, Log};
use crate::io::{File, read_full};
use crate::{Error, Result};
use std::io;

impl Log {
    /// Before something is appended: the segment that grows still has a name, and nobody else wrote to it.
    pub(super) fn check_end(&self, head: &Head, segment: &Segment, file: &dyn File) -> Result<()> {
        let name = segment.name();
        let stat = file.stat().map_err(|e| Error::io("look at", &name, e))?;
        if stat.links == 0 {
            return Err(self.replaced(format!("{name} was deleted or replaced")));
        }
        // What an append left behind that failed is written over.
        if stat.len != head.end && !(head.torn && stat.len > head.end) {
            let why = format!("{name} has {} bytes where {} were written", stat.len, head.end);
            return Err(self.replaced(why));
        }
        Ok(())
    }

    /// Before something is promised: what was written can be found by whoever opens the store next.
    pub(crate) fn check_names(&self) -> Result<()> {
        let head = self.head();
        self.check_names_of(&head)
    }

    /// As [`Log::check_names`], under the lock of the head.
    pub(super) fn check_names_of(&self, head: &Head) -> Result<()> {
        match self.io.is_removed() {
            Ok(false) => {}
            Ok(true) => return Err(self.replaced("its folder was deleted".to_owned())),
            Err(e) => return Err(Error::io("look at", "the store's folder", e)),
        }
        if let Some(segment) = &head.segment {
            let file = segment.file(self.io.as_ref())?;
            self.check_end(head, segment, file.as_ref())?;
            return self.check_name(segment).map_err(|e| self.stopped_by(e));
        }
        // The newest one is full. Garbage collection may delete it meanwhile, but only if a newer one is there.
        while let Some(newest) = self.segments().into_iter().next_back() {
            match self.check_name(&newest) {
                Err(_) if self.was_removed(newest.id) => {}
                checked => return checked.map_err(|e| self.stopped_by(e)),
            }
        }
        Ok(())
    }

    /// Whether the name of a segment leads to the file that is open.
    fn check_name(&self, segment: &Segment) -> Result<()> {
        let name = segment.name();
        let at = |e| Error::io("look at", &name, e);
        let named = self.io.stat(&name).map_err(at)?;
        let file = segment.file(self.io.as_ref())?;
        if named.id != file.stat().map_err(at)?.id {
            return Err(Error::Replaced(format!(
                "{name} is another file than the one that is open"
            )));
        }
        Ok(())
    }

    /// Before a segment is deleted: its name leads to the file that is open, of which there is no more than there was,
    /// and that is of this store.
    pub(super) fn check_whole(&self, segment: &Segment) -> Result<()> {
        self.check_name(segment)?;
        let name = segment.name();
        let file = segment.file(self.io.as_ref())?;
        let stat = file.stat().map_err(|e| Error::io("look at", &name, e))?;
        if stat.len > segment.len() {
            let why = format!("{name} has {} bytes where {} were written", stat.len, segment.len());
            return Err(Error::Replaced(why));
        }
        let mut bytes = vec![0; HEADER_LEN];
        // A header that is damaged or cannot be read costs nothing.
        let n = read_full(file.as_ref(), &mut bytes, 0).unwrap_or(0);
        bytes.truncate(n);
        match Header::decode(&bytes, &name)? {
            Some(found) if found.segment != segment.id || found.store_id != self.store_id() => {
                Err(Error::Replaced(format!("{name} belongs to another store")))
            }
            _ => Ok(()),
        }
    }

    /// What a look at a name means: that the file is gone is final, and so is a disk that does not say.
    fn stopped_by(&self, error: Error) -> Error {
        match error {
            Error::Replaced(why) => self.replaced(why),
            Error::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                self.replaced(format!("{path} was deleted or moved away"))
            }
            other => other,
        }
    }
}
