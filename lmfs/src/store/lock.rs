//! One process at a time: `STORE/lock`, held with flock(2), says who.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Error, Result, at};

/// How long to retry: someone who only looks whether the lock is free holds it for a moment.
const PATIENCE: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(10);
/// What a lock file holds is short; anything beyond is not ours.
const MAX_TEXT: u64 = 4096;

/// The right to use a store. Released when dropped, and by the kernel when the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process; 0 if it did not say.
    pub pid: u32,
    /// What it does, for people: `mounted at /mnt`. May be empty.
    pub purpose: String,
}

impl Lock {
    /// Takes the lock of the store in `dir`; `purpose` tells others what for.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process (or another lock of this one) holds it.
    pub fn acquire(dir: &Path, purpose: &str) -> Result<Lock> {
        let path = lock_path(dir);
        let mut file = open(&path)?;
        let deadline = Instant::now() + PATIENCE;
        while !try_lock(&file).map_err(at("lock", &path))? {
            if Instant::now() >= deadline {
                let holder = read_holder(&mut file).unwrap_or_else(|_| Holder {
                    pid: 0,
                    purpose: String::new(),
                });
                return Err(holder.in_use(dir));
            }
            thread::sleep(PAUSE);
        }
        let mut lock = Lock { file };
        lock.set_purpose(purpose).map_err(at("write", &path))?;
        Ok(lock)
    }

    /// Changes what others are told.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub fn set_purpose(&mut self, purpose: &str) -> std::io::Result<()> {
        let line = purpose.replace(['\n', '\r'], " ");
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "{}\n{line}\n", std::process::id())
    }

    /// Keeps the lock until this process ends, however that comes about.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Who holds the lock of the store in `dir`, if anyone does.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn holder(dir: &Path) -> Result<Option<Holder>> {
        let path = lock_path(dir);
        let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(at("open", &path)(e)),
        };
        if try_lock(&file).map_err(at("lock", &path))? {
            return Ok(None);
        }
        read_holder(&mut file).map(Some).map_err(at("read", &path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A stale pid in an unlocked file harms nobody; an empty file is tidier.
        let _ = self.file.set_len(0);
    }
}

impl Holder {
    /// The error for someone who wanted the store in `dir`.
    #[must_use]
    pub fn in_use(&self, dir: &Path) -> Error {
        let what = if self.purpose.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.purpose)
        };
        Error::InUse {
            path: dir.to_owned(),
            pid: self.pid,
            what,
        }
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| match e.raw_os_error() {
            Some(libc::ELOOP) => Error::Symlink { path: path.to_owned() },
            _ => at("open", path)(e),
        })
}

fn try_lock(file: &File) -> std::io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn read_holder(file: &mut File) -> std::io::Result<Holder> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(MAX_TEXT).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    Ok(Holder {
        pid,
        purpose: lines.next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_lock_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = Lock::acquire(dir.path(), "mounted at\n/mnt").unwrap();
        let error = Lock::acquire(dir.path(), "gc").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(text.contains("(mounted at /mnt)"), "{text}");

        lock.set_purpose("x").unwrap();
        let holder = Lock::holder(dir.path()).unwrap().unwrap();
        assert_eq!(
            holder,
            Holder {
                pid: std::process::id(),
                purpose: "x".into()
            }
        );

        drop(lock);
        assert_eq!(Lock::holder(dir.path()).unwrap(), None);
        Lock::acquire(dir.path(), "again").unwrap();
    }

    #[test]
    fn looking_is_not_taking() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Lock::holder(dir.path()).unwrap(), None);
        let lock = Lock::acquire(dir.path(), "").unwrap();
        assert!(Lock::holder(dir.path()).unwrap().is_some());
        drop(lock);
    }

    #[test]
    fn garbage_in_the_lock_file_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(dir.path(), "").unwrap();
        std::fs::write(dir.path().join("lock"), [0xff; 100_000]).unwrap();
        let error = Lock::acquire(dir.path(), "").unwrap_err();
        assert!(matches!(error, Error::InUse { pid: 0, .. }), "{error}");
        drop(lock);
    }

    #[test]
    fn a_symbolic_link_as_lock_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(dir.path().join("store")).unwrap();
        std::os::unix::fs::symlink(&outside, dir.path().join("store/lock")).unwrap();
        let error = Lock::acquire(&dir.path().join("store"), "").unwrap_err();
        assert!(matches!(error, Error::Symlink { .. }), "{error}");
        assert!(!outside.exists());
    }
}
