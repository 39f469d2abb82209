//! Is this a directory that a store can be mounted on, and can this process mount at all?

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;

use super::unmount::{self, unmount};
use crate::fuse::fusermount;
use crate::mountinfo::{self, MountInfo};
use crate::store::{Folder, Lock};

/// Why a store cannot be mounted there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing there.
    #[error("the mountpoint {0} does not exist; make it with `mkdir -p {0}`")]
    Missing(PathBuf),
    /// A file or the like.
    #[error("the mountpoint {0} is not a directory")]
    NotADirectory(PathBuf),
    /// It holds files.
    #[error(
        "the mountpoint {0} is not empty (it holds '{1}'), and a mount would hide that; choose an empty directory or use -o nonempty"
    )]
    NotEmpty(PathBuf, String),
    /// A mount is there.
    #[error("{0} already is a mount ({1}); unmount it with `{2} {0}` first")]
    Mounted(PathBuf, String, &'static str),
    /// The one would hide the other.
    #[error("the store {1} and the mountpoint {0} lie one inside the other; choose another mountpoint")]
    Overlap(PathBuf, PathBuf),
    /// It cannot be looked at.
    #[error("cannot use the mountpoint {0}: {1}")]
    Io(PathBuf, io::Error),
    /// The kernel has no FUSE.
    #[error(
        "cannot open /dev/fuse: {0}; load the kernel module with `modprobe fuse`, or in a container pass the device in (--device /dev/fuse --cap-add SYS_ADMIN)"
    )]
    NoDevice(io::Error),
    /// The kernel has it, and this user may not use it.
    #[error(
        "no access to /dev/fuse: {0}; `ls -l /dev/fuse` shows who may use it (mostly everybody: crw-rw-rw-), and a container has to be given the device (--device /dev/fuse --cap-add SYS_ADMIN)"
    )]
    NoAccess(io::Error),
    /// An ordinary user needs the setuid helper.
    #[error("fusermount3 was not found, and mounting without root needs it; install the package fuse3")]
    NoHelper,
}

/// Checks `mountpoint`, as typed, for mounting the store in `folder` and gives its absolute path. What a daemon of
/// this store left there when it was killed is no hindrance: see [`detach_dead`].
///
/// # Errors
/// What is wrong with it and what to do.
pub fn check(mountpoint: &Path, folder: &Folder, nonempty: bool) -> Result<PathBuf, Error> {
    let store = folder.path();
    let io = |e| Error::Io(mountpoint.to_owned(), e);
    let path = mountinfo::resolve(mountpoint).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::Missing(mountpoint.to_owned()),
        ErrorKind::NotADirectory => Error::NotADirectory(mountpoint.to_owned()),
        _ => io(e),
    })?;
    let mount = mountinfo::at(&path).map_err(io)?;
    let dead = mount.as_ref().is_some_and(|mount| is_dead(mount, folder));
    if let Some(mount) = mount.filter(|mount| !dead && (!nonempty || mount.is_lmfs())) {
        let tool = if mount.is_lmfs() { "lmfs umount" } else { "umount" };
        let what = format!("{} of {}", mount.fstype, mount.source.display());
        return Err(Error::Mounted(path, what, tool));
    }
    if !dead && !fs::metadata(&path).map_err(io)?.is_dir() {
        return Err(Error::NotADirectory(path));
    }
    if path.starts_with(store) || store.starts_with(&path) {
        return Err(Error::Overlap(path, store.to_owned()));
    }
    // What lies below a dead mount was looked at when that was made.
    if !dead
        && !nonempty
        && let Some(entry) = fs::read_dir(&path).map_err(io)?.next()
    {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        return Err(Error::NotEmpty(path, name));
    }
    Ok(path)
}

/// Whether this is a mount of the store in `folder` whose daemon is gone.
fn is_dead(mount: &MountInfo, folder: &Folder) -> bool {
    let ours = mount.is_lmfs() && mount.source == folder.path();
    // While there may be a daemon, which may hang, its mount is not asked anything.
    if !ours || !Lock::holder(folder.dir()).is_ok_and(|holder| holder.is_none()) {
        return false;
    }
    // Without force the kernel would answer from what it remembers.
    let answer = rustix::fs::statx(CWD, &mount.mountpoint, AtFlags::STATX_FORCE_SYNC, StatxFlags::TYPE);
    answer.err() == Some(Errno::NOTCONN)
}

/// Detaches what killed daemons of `store`, whose lock the caller holds, left at `mountpoint`. Until then it gives
/// errors to whoever looks in; so it is done last before the new mount is made, lest somebody write to the folder
/// beneath.
///
/// # Errors
/// It cannot be detached.
pub fn detach_dead(mountpoint: &Path, store: &Path) -> Result<(), unmount::Error> {
    let ours = |mount: &MountInfo| mount.is_lmfs() && mount.source == store;
    while mountinfo::at(mountpoint).is_ok_and(|mount| mount.is_some_and(|mount| ours(&mount))) {
        unmount(mountpoint, true)?;
        tracing::info!("detached the mount that a daemon left on {}", mountpoint.display());
    }
    Ok(())
}

/// Whether this process can mount at all.
///
/// # Errors
/// What is missing and how to get it.
pub fn check_fuse() -> Result<(), Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Error::NoAccess(error),
            _ => Error::NoDevice(error),
        })?;
    if !rustix::process::geteuid().is_root() && fusermount().is_none() {
        return Err(Error::NoHelper);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::NewStore;

    #[test]
    fn each_bad_mountpoint_gets_its_own_explanation() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let store = root.join("store");
        let (full, empty) = (root.join("full"), root.join("empty"));
        for path in [&full, &empty] {
            fs::create_dir(path).unwrap();
        }
        let new = NewStore {
            model: None,
            engine: lmfs_codec::model::EngineChoice::Auto,
            block_size: 4096,
            parity: 0,
            prefer: crate::store::Prefer::default(),
        };
        let folder = new.make(&store).unwrap();
        fs::write(full.join("file"), b"").unwrap();

        assert_eq!(check(&empty, &folder, false).unwrap(), empty);
        assert_eq!(check(&full, &folder, true).unwrap(), full);
        assert!(matches!(
            check(&root.join("none"), &folder, false),
            Err(Error::Missing(_))
        ));
        assert!(matches!(
            check(&full.join("file"), &folder, false),
            Err(Error::NotADirectory(_))
        ));
        assert!(matches!(
            check(&full.join("file/x"), &folder, false),
            Err(Error::NotADirectory(_))
        ));
        assert!(matches!(check(&full, &folder, false), Err(Error::NotEmpty(_, name)) if name == "file"));
        assert!(matches!(check(&store, &folder, false), Err(Error::Overlap(..))));
        assert!(matches!(check(&root, &folder, true), Err(Error::Overlap(..))));
        assert!(matches!(
            check(Path::new("/proc"), &folder, false),
            Err(Error::Mounted(..))
        ));
    }
}
