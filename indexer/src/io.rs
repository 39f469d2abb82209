//! The only door to the disk: a folder of files, behind a trait small enough to imitate.
//!
//! What is assumed of a real disk: `sync_data` makes everything written to that file before durable, `sync_dir` makes
//! the folder's entries durable; without them anything written may be lost wholly or in part, in any order. A
//! `sync_data` that fails may drop what was written and the disk yet show it: only what is written again counts then.

use std::io;
use std::ops::Range;
use std::sync::Arc;

mod crash;
mod directory;
mod fault;
mod layer;
mod mem;
mod real;

pub use crash::{CrashIo, Loss, Replay};
pub use directory::{Directory, Stat};
pub use fault::{Fault, FaultIo};
pub use layer::{FileLayer, Layer};
pub use mem::MemIo;
pub use real::RealIo;

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name, without the folder.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// Bytes it takes on the disk: holes do not count, the rest of a last block does.
    pub allocated: u64,
}

/// A store's folder. Paths are relative to it, "folder/file" at most; no symbolic link is ever followed.
pub trait Io: Send + Sync {
    /// Regular files of a folder, sorted by name; an absent folder has none.
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>>;
    /// Makes a folder (mode 0700) unless it is there.
    fn make_dir(&self, dir: &str) -> io::Result<()>;
    /// Makes a file (mode 0600) that must not exist yet.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Opens a file that must exist.
    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>>;
    /// What the name `path` leads to now.
    fn stat(&self, path: &str) -> io::Result<Stat>;
    /// Whether the store's folder itself was removed while it is held open.
    fn is_removed(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// Renames a file over another.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Deletes a file; files open keep their contents.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Deletes all that is in a folder but the file `keep`; an absent folder is no error.
    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()>;
    /// Makes a folder's entries durable ("" is the store's own folder).
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free_space(&self) -> io::Result<u64>;
    /// The folder `dir`, where it lies on a real disk: sled demands a path.
    fn on_disk(&self, _dir: &str) -> io::Result<Option<Directory>> {
        Ok(None)
    }
}

/// An open file. Reads and writes name their offset, so threads share it.
pub trait File: Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; fewer mean the end of the file or an interruption.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes up to `buf.len()` bytes at `offset` and says how many it took.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes contents and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// What the system says of this file, whatever became of its name.
    fn stat(&self) -> io::Result<Stat>;
    /// The next bytes from `from` on that may have been written: what lies before them is a hole. Empty if none follow.
    /// A disk that does not know its holes has none.
    fn data(&self, from: u64) -> io::Result<Range<u64>> {
        Ok(from..u64::MAX)
    }
    /// Whoever keeps copies of these bytes lets go of them, as they are not what was written: says whether there were
    /// any, so that reading again may help.
    fn forget(&self, range: Range<u64>) -> bool {
        let _ = range;
        false
    }
    /// Takes the file for this process alone, until the file is closed; says false if another has it.
    fn lock(&self) -> io::Result<bool> {
        Ok(true)
    }
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads until `buf` is full or the file ends; says how much there was.
pub(crate) fn read_full(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0usize;
    while let Some(rest) = buf.get_mut(done..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes a file under another name, makes it durable, and then gives it its name. A name that leads to an empty file
/// would be worse than none. The name is durable once the folder is synced.
pub(crate) fn replace(io: &dyn Io, name: &str, fill: impl FnOnce(&dyn File) -> io::Result<()>) -> io::Result<()> {
    let new = format!("{name}.new");
    match io.remove(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = io.create(&new)?;
    fill(file.as_ref())?;
    file.sync_data()?;
    io.rename(&new, name)
}

/// Writes all of `buf`, however often the system takes only a part.
pub(crate) fn write_full(file: &dyn File, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.write_at(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                buf = buf.get(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
