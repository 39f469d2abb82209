//! The log of a daemon in the background, `STORE/lmfs.log`, which is its standard error.

use std::fs::File;
use std::io;

use lmfs_indexer::io::Directory;
use rustix::fs::fstat;

/// A log of this length, in bytes, is set aside.
const MAX_LOG: u64 = 1 << 20;

/// Its name in the store.
pub const NAME: &str = "lmfs.log";
const OLD: &str = "lmfs.log.old";

/// Where a daemon logs to.
#[derive(Debug, Clone)]
pub struct Log(Directory);

impl Log {
    /// That of the store in the folder `store`.
    #[must_use]
    pub fn of(store: &Directory) -> Log {
        Log(store.clone())
    }

    /// Where its file lies, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.0.path().unwrap_or_default().join(NAME).display().to_string()
    }

    /// Opens it to append to; a long one is set aside first.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self) -> io::Result<File> {
        let log = self.0.append_to(NAME)?;
        if log.metadata()?.len() < MAX_LOG {
            return Ok(log);
        }
        self.set_aside()
    }

    /// Sets it aside if it has become long, and goes on in a new one. Does nothing unless it is the standard error of
    /// this process.
    pub fn rotate(&self) {
        let is_ours = |now: &rustix::fs::Stat| {
            let there = self.0.look(NAME);
            there.is_ok_and(|(_, there)| there.id == (now.st_dev, now.st_ino))
        };
        let Ok(now) = fstat(io::stderr()) else {
            return;
        };
        if u64::try_from(now.st_size).unwrap_or(0) < MAX_LOG || !is_ours(&now) {
            return;
        }
        let new = self.set_aside().and_then(|new| Ok(rustix::stdio::dup2_stderr(new)?));
        if let Err(error) = new {
            tracing::debug!("the log grows on: {error}");
        }
    }

    fn set_aside(&self) -> io::Result<File> {
        self.0.rename(NAME, OLD)?;
        self.0.append_to(NAME)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn a_long_log_is_set_aside_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::of(&Directory::open(dir.path()).unwrap());
        let path = dir.path().join(NAME);
        writeln!(log.open().unwrap(), "one").unwrap();
        writeln!(log.open().unwrap(), "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(MAX_LOG).unwrap();
        // It is nobody's standard error.
        log.rotate();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), MAX_LOG);
        log.open().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert!(dir.path().join("lmfs.log.old").exists());

        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(log.open().is_err());
    }
}
