//! Taking a mount away: umount2(2) for root, the setuid fusermount3 for others.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount as umount2};

use crate::fuse::fusermount;
use crate::mountinfo::{self, MountInfo};

/// Why a mount stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Someone works in it.
    #[error("{0} is busy; close what uses it and try again")]
    Busy(PathBuf),
    /// Nothing is mounted there.
    #[error("{0} is not mounted")]
    NotMounted(PathBuf),
    /// Something else is mounted over it.
    #[error("{0} is hidden below another mount ({1}); unmount that first")]
    Covered(PathBuf, String),
    /// The system refused.
    #[error("cannot unmount {0}: {1}")]
    Refused(PathBuf, String),
}

/// Unmounts this very mount, wherever it is now.
///
/// # Errors
/// [`Error`].
pub fn unmount_this(mount: &MountInfo, lazy: bool) -> Result<(), Error> {
    let io = |e: io::Error| Error::Refused(mount.mountpoint.clone(), e.to_string());
    let Some(now) = mountinfo::by_id(mount.id).map_err(io)? else {
        return Err(Error::NotMounted(mount.mountpoint.clone()));
    };
    match mountinfo::at(&now.mountpoint).map_err(io)? {
        Some(top) if top.id != mount.id => {
            let what = format!("{} of {}", top.fstype, top.source.display());
            Err(Error::Covered(now.mountpoint, what))
        }
        _ => unmount(&now.mountpoint, lazy),
    }
}

/// Unmounts `mountpoint`; a `lazy` one disappears at once even if it is busy or its daemon is dead.
///
/// # Errors
/// [`Error`].
pub fn unmount(mountpoint: &Path, lazy: bool) -> Result<(), Error> {
    let how = if lazy {
        UnmountFlags::DETACH
    } else {
        UnmountFlags::empty()
    };
    match umount2(mountpoint, how | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(Error::Busy(mountpoint.to_owned())),
        Err(Errno::INVAL | Errno::NOENT) => Err(Error::NotMounted(mountpoint.to_owned())),
        Err(Errno::PERM) => by_helper(mountpoint, lazy),
        Err(e) => Err(Error::Refused(mountpoint.to_owned(), io::Error::from(e).to_string())),
    }
}

fn by_helper(mountpoint: &Path, lazy: bool) -> Result<(), Error> {
    let refused = |why: &str| Error::Refused(mountpoint.to_owned(), why.trim().to_owned());
    let helper =
        fusermount().ok_or_else(|| refused("only root may do it without fusermount3; install the package fuse3"))?;
    let mut command = Command::new(helper);
    command
        .arg("-u")
        .args(lazy.then_some("-z"))
        .arg("--")
        .arg(mountpoint)
        .env("LC_ALL", "C");
    let output = command.output().map_err(|e| refused(&e.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match () {
        () if output.status.success() => Ok(()),
        () if said.contains("busy") => Err(Error::Busy(mountpoint.to_owned())),
        () if said.contains("not found in") => Err(Error::NotMounted(mountpoint.to_owned())),
        () => Err(refused(&said)),
    }
}

/// Processes that have something below `mountpoint` open, as their working directory, or mapped: `vim (1234)`.
/// Only symbolic links in /proc are read, never the mount. Those of other users are hidden from ordinary ones.
#[must_use]
pub fn users(mountpoint: &Path) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|pid| uses(&PathBuf::from(format!("/proc/{pid}")), mountpoint))
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} ({pid})", name.trim())
        })
        .collect()
}

fn uses(process: &Path, mountpoint: &Path) -> bool {
    let below = |link: &Path| fs::read_link(link).is_ok_and(|path| path.starts_with(mountpoint));
    let any_in = |folder: &str| {
        fs::read_dir(process.join(folder)).is_ok_and(|links| links.flatten().any(|link| below(&link.path())))
    };
    ["cwd", "root", "exe"].iter().any(|link| below(&process.join(link))) || any_in("fd") || any_in("map_files")
}

/// [`users`] in words, ` (used by vim (1234))`, or nothing. For commands, which have their user's rights: a daemon may
/// not see what other users' processes have open.
#[must_use]
pub fn users_text(mountpoint: &Path) -> String {
    let mut users = users(mountpoint);
    // What this command itself holds was given to it by its caller.
    let me = format!("({})", std::process::id());
    let before = users.len();
    users.retain(|user| !user.ends_with(&me));
    if users.is_empty() && before > 0 {
        return " (used by the input or output of this command)".to_owned();
    }
    let mut text = users.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if users.len() > 5 {
        text.push_str(&format!(" and {} more", users.len() - 5));
    }
    if text.is_empty() {
        text
    } else {
        format!(" (used by {text})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whoever_has_a_file_open_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let me = format!("({})", std::process::id());
        let found = |users: Vec<String>| users.iter().any(|user| user.ends_with(&me));
        assert!(!found(users(&root)));
        let file = fs::File::create(root.join("open")).unwrap();
        assert!(found(users(&root)));
        // Regression: the command that asked was named as the user.
        let text = users_text(&root);
        assert!(text.contains("of this command") && !text.contains(&me), "{text}");
        drop(file);
        assert!(!found(users(&root)));
    }

    #[test]
    fn what_is_not_mounted_says_so() {
        let dir = tempfile::tempdir().unwrap();
        for lazy in [false, true] {
            assert!(matches!(
                unmount(dir.path(), lazy),
                Err(Error::NotMounted(_) | Error::Refused(..))
            ));
        }
    }
}
