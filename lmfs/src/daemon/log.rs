//! The log of a daemon in the background, `STORE/lmfs.log`, which is its standard error.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::fstat;

/// A log of this length, in bytes, is set aside.
const MAX_LOG: u64 = 1 << 20;

/// Where a daemon logs to.
#[derive(Debug, Clone)]
pub struct Log(PathBuf);

impl Log {
    /// That of the store in the folder `store`.
    #[must_use]
    pub fn of(store: &Path) -> Log {
        Log(store.join("lmfs.log"))
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Opens it to append to; a long one is set aside first.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self) -> io::Result<File> {
        let log = self.append()?;
        if log.metadata()?.len() < MAX_LOG {
            return Ok(log);
        }
        self.set_aside()
    }

    /// Sets it aside if it has become long, and goes on in a new one. Does nothing unless it is the standard error of this
    /// process.
    pub fn rotate(&self) {
        let is_ours = |now: &rustix::fs::Stat| {
            let there = std::fs::symlink_metadata(&self.0);
            there.is_ok_and(|there| (there.dev(), there.ino()) == (now.st_dev, now.st_ino))
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

    fn append(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.0)
    }

    fn set_aside(&self) -> io::Result<File> {
        std::fs::rename(&self.0, self.0.with_extension("log.old"))?;
        self.append()
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
        let log = Log::of(dir.path());
        writeln!(log.open().unwrap(), "one").unwrap();
        writeln!(log.open().unwrap(), "two").unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "one\ntwo\n");
        let file = File::options().write(true).open(log.path()).unwrap();
        file.set_len(MAX_LOG).unwrap();
        // It is nobody's standard error.
        log.rotate();
        assert_eq!(std::fs::metadata(log.path()).unwrap().len(), MAX_LOG);
        log.open().unwrap();
        assert_eq!(std::fs::metadata(log.path()).unwrap().len(), 0);
        assert!(dir.path().join("lmfs.log.old").exists());

        std::fs::remove_file(log.path()).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", log.path()).unwrap();
        assert!(log.open().is_err());
    }
}
