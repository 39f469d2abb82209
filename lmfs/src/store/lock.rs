//! One process at a time: the store's folder is held with flock(2), and `STORE/lock` says by whom.
//!
//! A file can be removed or replaced by whoever cleans up or restores a backup, and whoever then locks the new one has
//! locked nothing. The folder cannot: another folder in its place is another store, of other files. So the folder is
//! what is locked, and the file as well, for filesystems of other machines where only files can be. What stands in the
//! file is for people, so a full disk or media that cannot be written keep nobody from taking the lock.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use lmfs_indexer::io::Directory;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, major, minor};
use rustix::io::Errno;

use super::error::{Error, Result, at};
use crate::mountinfo;

/// How long to retry: someone who only looks whether the lock is free holds it for a moment.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long to wait for a daemon whose mount is gone already: it stores what was written last, and ends.
const ENDING: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
/// What a lock file holds is short; anything beyond is not ours.
const MAX_TEXT: u64 = 4096;

const NAME: &str = "lock";
/// What a process says in place of its filesystem when the mount is gone.
const GONE: &str = "gone";

/// The right to use a store. Released when dropped, and by the kernel when the process ends in any way.
///
/// What it said stays in the file. It harms nobody there, because only the lock counts. Taking it out first would leave
/// a moment in which the lock is held by nobody known.
#[derive(Debug)]
pub struct Lock {
    /// The store's folder, locked.
    _folder: OwnedFd,
    /// The lock file, locked, unless there is none and none can be made.
    file: Option<File>,
    /// Something can be written there.
    writable: bool,
}

/// Who holds a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process; 0 if it did not say.
    pub pid: u32,
    /// What it does, for people: `mounted at /mnt`. May be empty.
    pub purpose: String,
    /// The filesystem that it mounted ([`mountinfo::MountInfo::filesystem`]), or [`GONE`]. May be empty.
    mount: String,
}

impl Lock {
    /// Takes the lock of the store in `dir`; `purpose` tells others what for. Waits for a daemon that is just ending.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process (or another lock of this one) holds it.
    pub fn acquire(dir: &Directory, purpose: &str) -> Result<Lock> {
        let begun = Instant::now();
        let mut lock = loop {
            if let Some(lock) = try_both(dir)? {
                break lock;
            }
            if begun.elapsed() >= PATIENCE {
                let holder = read_holder(dir);
                if begun.elapsed() >= ENDING || !holder.is_ending() {
                    return Err(holder.in_use(&place(dir)));
                }
            }
            thread::sleep(PAUSE);
        };
        lock.say(purpose, "");
        Ok(lock)
    }

    /// Tells others what the store is used for: mounted, as the filesystem `mount`.
    pub fn say(&mut self, purpose: &str, mount: &str) {
        let Some(file) = self.file.as_mut().filter(|_| self.writable) else {
            return;
        };
        let purpose = purpose.replace(['\n', '\r'], " ");
        let text = format!("{}\n{purpose}\n{mount}\n", std::process::id());
        // Written over what is there and cut afterwards: whoever reads meanwhile never finds an empty file, which would
        // say nothing about who holds the lock.
        let said = file
            .rewind()
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.set_len(text.len() as u64));
        if let Err(error) = said {
            tracing::debug!("cannot write the lock file, so others are not told who uses the store: {error}");
        }
    }

    /// Tells others that the mount is gone and this process about to end.
    pub fn say_ending(&mut self) {
        self.say("ending", GONE);
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
    /// When it cannot be looked at.
    pub fn holder(dir: &Directory) -> Result<Option<Holder>> {
        let path = place(dir);
        let free = try_folder(dir).map_err(at("lock", &path))?.is_some()
            && match dir.open_file(NAME, false) {
                Err(e) if e.kind() == ErrorKind::NotFound => true,
                file => file
                    .and_then(|file| try_lock(&file))
                    .map_err(at("lock", &path.join(NAME)))?,
            };
        Ok((!free).then(|| read_holder(dir)))
    }
}

impl Holder {
    /// The error for someone who wanted the store in `dir`.
    #[must_use]
    pub fn in_use(&self, dir: &Path) -> Error {
        let what = match (self.purpose.as_str(), self.is_ending()) {
            ("", _) => String::new(),
            (_, true) => {
                " (its mount is gone, and it still stores what was written or is used by somebody: wait until \
                          the process has ended)"
                    .to_owned()
            }
            (purpose, false) => format!(" ({purpose})"),
        };
        Error::InUse {
            path: dir.to_owned(),
            pid: self.pid,
            what,
        }
    }

    /// Whether it had a mount that is gone: such a process is about to end.
    fn is_ending(&self) -> bool {
        if self.pid == 0 || self.mount.is_empty() {
            return false;
        }
        // A process whose mounts cannot be seen counts as one that has them.
        self.mount == GONE || mountinfo::seen_by(self.pid, &self.mount) == Some(false)
    }
}

fn place(dir: &Directory) -> PathBuf {
    dir.path().unwrap_or_else(|_| dir.reach())
}

/// Both locks, or neither: the folder's first, so that who is refused leaves no file behind.
fn try_both(dir: &Directory) -> Result<Option<Lock>> {
    let Some(folder) = try_folder(dir).map_err(at("lock", &place(dir)))? else {
        return Ok(None);
    };
    let path = || place(dir).join(NAME);
    let (file, writable) = match dir.open_or_create(NAME) {
        Ok(file) => (Some(file), true),
        Err(e) if Errno::from_io_error(&e) == Some(Errno::LOOP) => return Err(Error::Symlink { path: path() }),
        Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            match dir.open_file(NAME, false) {
                Err(missing) if missing.kind() == ErrorKind::NotFound => (None, false),
                file => (Some(file.map_err(|_| at("open", &path())(e))?), false),
            }
        }
        Err(e) => return Err(at("open", &path())(e)),
    };
    let free = file.as_ref().map_or(Ok(true), try_lock).map_err(at("lock", &path()))?;
    Ok(free.then_some(Lock {
        _folder: folder,
        file,
        writable,
    }))
}

/// The folder, locked through a handle of its own; none if somebody else has it.
fn try_folder(dir: &Directory) -> io::Result<Option<OwnedFd>> {
    let folder = rustix::fs::openat(
        dir,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    match try_lock(&folder) {
        // Some filesystems of other machines have locks for files only.
        Err(e)
            if matches!(
                Errno::from_io_error(&e),
                Some(Errno::OPNOTSUPP | Errno::NOLCK | Errno::BADF)
            ) =>
        {
            tracing::debug!("the store's folder cannot be locked, only a file in it: {e}");
            Ok(Some(folder))
        }
        locked => Ok(locked?.then_some(folder)),
    }
}

fn try_lock(file: &impl AsFd) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Who holds the lock: what the file says, unless that process is gone, or else what the kernel says of the folder.
fn read_holder(dir: &Directory) -> Holder {
    let mut text = Vec::new();
    // A disk that cannot be read: then it is somebody.
    let _ = dir
        .open_file(NAME, false)
        .and_then(|file| file.take(MAX_TEXT).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let pid: Option<u32> = lines.next().and_then(|line| line.trim().parse().ok());
    let alive = |pid: &u32| Path::new("/proc").join(pid.to_string()).exists();
    match pid.filter(alive) {
        Some(pid) => Holder {
            pid,
            purpose: lines.next().unwrap_or_default().to_owned(),
            mount: lines.next().unwrap_or_default().to_owned(),
        },
        None => Holder {
            pid: locked_by(dir).filter(alive).unwrap_or(0),
            ..Holder::default()
        },
    }
}

/// The process that has the folder locked, as far as /proc/locks (proc_locks(5)) tells.
fn locked_by(dir: &Directory) -> Option<u32> {
    let (device, inode) = dir.stat().ok()?.id;
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let holds = |line: &&str| line.contains(" FLOCK ") && line.split_whitespace().nth(5) == Some(file.as_str());
    let line = locks.lines().find(holds)?;
    line.split_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open(dir: &tempfile::TempDir) -> Directory {
        Directory::open(dir.path()).unwrap()
    }

    #[test]
    fn a_second_lock_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(&open(&dir), "mounted at\n/mnt").unwrap();
        let error = Lock::acquire(&open(&dir), "gc").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(text.contains("(mounted at /mnt)"), "{text}");

        let holder = Lock::holder(&open(&dir)).unwrap().unwrap();
        assert_eq!(
            holder,
            Holder {
                pid: std::process::id(),
                purpose: "mounted at /mnt".into(),
                mount: String::new(),
            }
        );

        drop(lock);
        assert_eq!(Lock::holder(&open(&dir)).unwrap(), None);
        Lock::acquire(&open(&dir), "again").unwrap();
    }

    #[test]
    fn looking_is_not_taking() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Lock::holder(&open(&dir)).unwrap(), None);
        let lock = Lock::acquire(&open(&dir), "").unwrap();
        assert!(Lock::holder(&open(&dir)).unwrap().is_some());
        drop(lock);
    }

    #[test]
    fn garbage_in_the_lock_file_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(&open(&dir), "").unwrap();
        std::fs::write(dir.path().join("lock"), [0xff; 100_000]).unwrap();
        let error = Lock::acquire(&open(&dir), "").unwrap_err();
        let me = std::process::id();
        // The kernel says who, where it names files by the device that stat does.
        let somebody =
            |error: &Error| matches!(error, Error::InUse { pid, what, .. } if [0, me].contains(pid) && what.is_empty());
        assert!(somebody(&error), "{error}");
        // Nor is a process named that ended long ago: whoever holds the lock now could not write.
        std::fs::write(dir.path().join("lock"), "4294967295\nmounted on /mnt\n").unwrap();
        let error = Lock::acquire(&open(&dir), "").unwrap_err();
        assert!(somebody(&error), "{error}");
        drop(lock);
    }

    #[test]
    fn a_symbolic_link_as_lock_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(dir.path().join("store")).unwrap();
        std::os::unix::fs::symlink(&outside, dir.path().join("store/lock")).unwrap();
        let error = Lock::acquire(&Directory::open(dir.path().join("store")).unwrap(), "").unwrap_err();
        assert!(matches!(error, Error::Symlink { .. }), "{error}");
        assert!(!outside.exists());
    }

    /// Regression: the file `lock` was all that was locked, and whoever locked another file in its place had the store.
    #[test]
    fn whatever_becomes_of_the_lock_file_there_is_one_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::acquire(&open(&dir), "mounted on /mnt").unwrap();
        let refused = |what: &str| {
            let error = Lock::acquire(&open(&dir), "again").unwrap_err();
            assert!(matches!(error, Error::InUse { .. }), "{what}: {error}");
            assert!(Lock::holder(&open(&dir)).unwrap().is_some(), "{what}");
        };
        std::fs::remove_file(&path).unwrap();
        refused("removed");
        assert!(!path.exists(), "who is refused leaves nothing behind");
        std::fs::write(&path, "").unwrap();
        refused("replaced");
        let moved = dir.path().with_extension("moved");
        std::fs::rename(dir.path(), &moved).unwrap();
        let error = Lock::acquire(&Directory::open(&moved).unwrap(), "again").unwrap_err();
        std::fs::rename(&moved, dir.path()).unwrap();
        assert!(matches!(error, Error::InUse { .. }), "moved: {error}");
        drop(lock);
        Lock::acquire(&open(&dir), "at last").unwrap();
    }

    /// Regression: a mount was refused while the daemon before it, whose mount was gone, stored what was written last.
    #[test]
    fn a_holder_whose_mount_is_gone_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        for ends in [
            |lock: &mut Lock| lock.say("mounted on /mnt", "0:4294967295-0"),
            // Regression: the device of its mount was another's by then, and it was taken for mounted.
            Lock::say_ending,
        ] {
            let mut lock = Lock::acquire(&open(&dir), "").unwrap();
            ends(&mut lock);
            let other = open(&dir);
            let waits = thread::spawn(move || Lock::acquire(&other, "the next"));
            thread::sleep(PATIENCE * 3);
            assert!(!waits.is_finished(), "it was refused");
            drop(lock);
            waits.join().unwrap().unwrap();
        }
    }

    /// Regression: the file was emptied before the lock was released, and who looked in between was refused.
    #[test]
    fn a_held_lock_always_says_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, stop) = (open(&dir), std::sync::atomic::AtomicBool::new(false));
        Lock::acquire(&folder, "first").unwrap().say("mounted on /mnt", "0:1-0");
        thread::scope(|scope| {
            let looks = scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(read_holder(&folder).pid, std::process::id());
                }
            });
            for round in 0..500 {
                let mut lock = Lock::acquire(&folder, &"x".repeat(round % 50)).unwrap();
                lock.say("mounted on /mnt", "0:1-0");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            looks.join().unwrap();
        });
    }
}
