//! One process at a time: `STORE/lock`, held with flock(2), says who.
//!
//! The lock is flock's; what stands in the file is for people. So a full disk or media that cannot be written keep nobody
//! from taking it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Error, Result, at};
use super::folder::hand_over;

/// How long to retry: someone who only looks whether the lock is free holds it for a moment.
const PATIENCE: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(10);
/// What a lock file holds is short; anything beyond is not ours.
const MAX_TEXT: u64 = 4096;

/// The right to use a store. Released when dropped, and by the kernel when the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Something can be written there.
    writable: bool,
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
        let (mut file, writable) = open(&path)?;
        if writable {
            hand_over(&file, dir);
        }
        let deadline = Instant::now() + PATIENCE;
        while !try_lock(&file).map_err(at("lock", &path))? {
            if Instant::now() >= deadline {
                return Err(read_holder(&mut file).in_use(dir));
            }
            thread::sleep(PAUSE);
        }
        let mut lock = Lock { file, writable };
        if writable && let Err(error) = lock.say(purpose) {
            tracing::debug!(
                "cannot write to {}, so others are not told who uses the store: {error}",
                path.display()
            );
        }
        Ok(lock)
    }

    /// Tells others what the store is used for.
    fn say(&mut self, purpose: &str) -> std::io::Result<()> {
        let line = purpose.replace(['\n', '\r'], " ");
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "{}\n{line}\n", std::process::id())
    }

    /// Whether more than reading is possible, as far as the lock file can tell.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Refuses to go on with the store in `dir` where it can only be read.
    ///
    /// # Errors
    /// [`Error::ReadOnly`].
    pub fn require_writable(&self, dir: &Path) -> Result<()> {
        match self.writable {
            true => Ok(()),
            false => Err(Error::ReadOnly { path: dir.to_owned() }),
        }
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
        let mut file = open_to_read(&path).map_err(at("open", &path))?;
        if try_lock(&file).map_err(at("lock", &path))? {
            return Ok(None);
        }
        Ok(Some(read_holder(&mut file)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A stale pid in an unlocked file harms nobody; an empty file is tidier.
        if self.writable {
            let _ = self.file.set_len(0);
        }
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

/// The lock file, and whether it can be written: if not, who only reads still wants its lock.
fn open(path: &Path) -> Result<(File, bool)> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    let refused = match opened {
        Ok(file) => return Ok((file, true)),
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(Error::Symlink { path: path.to_owned() }),
        Err(e) => e,
    };
    match refused.kind() {
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            let file = open_to_read(path).map_err(|_| at("open", path)(refused))?;
            Ok((file, false))
        }
        _ => Err(at("open", path)(refused)),
    }
}

/// The lock file; where there is none and none can be made, the store's folder, which can be locked as well.
fn open_to_read(path: &Path) -> std::io::Result<File> {
    match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => File::open(path.parent().unwrap_or(Path::new("."))),
        other => other,
    }
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

/// What the file says, unless that process is gone: then whoever holds the lock could not write to it.
fn read_holder(file: &mut File) -> Holder {
    let mut text = Vec::new();
    // A folder, or a disk that cannot be read: then it is somebody.
    let _ = file.rewind().and_then(|()| file.take(MAX_TEXT).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let pid: Option<u32> = lines.next().and_then(|line| line.trim().parse().ok());
    match pid.filter(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
        Some(pid) => Holder {
            pid,
            purpose: lines.next().unwrap_or_default().to_owned(),
        },
        None => Holder {
            pid: 0,
            purpose: String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_lock_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(dir.path(), "mounted at\n/mnt").unwrap();
        let error = Lock::acquire(dir.path(), "gc").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(text.contains("(mounted at /mnt)"), "{text}");

        let holder = Lock::holder(dir.path()).unwrap().unwrap();
        assert_eq!(
            holder,
            Holder {
                pid: std::process::id(),
                purpose: "mounted at /mnt".into()
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
        // Nor is a process named that ended long ago: whoever holds the lock now could not write.
        std::fs::write(dir.path().join("lock"), "4294967295\nmounted on /mnt\n").unwrap();
        let error = Lock::acquire(dir.path(), "").unwrap_err();
        assert!(error.to_string().ends_with("is in use by another process"), "{error}");
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
