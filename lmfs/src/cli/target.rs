//! `STORE|MOUNTPOINT`: finding the store that a path means, and its daemon if it has one.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use lmfs_indexer::io::Directory;
use rustix::io::Errno;

use crate::daemon::control::{Client, Request};
use crate::daemon::status::Status;
use crate::fs::virtual_xattr::{PID, STORE};
use crate::mountinfo::{self, MountInfo};
use crate::store::{self, Folder};

/// How long a daemon may take to answer that.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a path on the command line stands for.
#[derive(Debug)]
pub enum Target {
    /// A mounted store.
    Mounted {
        /// The connection to its daemon.
        client: Client,
    },
    /// A store that is not mounted; others may still hold its lock.
    Unmounted(Folder),
}

impl Target {
    /// Finds the store.
    ///
    /// # Errors
    /// No store, no mount, or a mount whose daemon is gone.
    pub fn find(path: &Path) -> anyhow::Result<Target> {
        if let Some(mount) = mount_of(path)? {
            return of_mount(&mount);
        }
        let folder = Folder::find(path)?;
        let connected = Client::of_store(folder.dir())
            .with_context(|| format!("cannot ask the daemon of {}", folder.path().display()))?;
        Ok(match connected {
            Some(client) => Target::Mounted { client },
            None => Target::Unmounted(folder),
        })
    }
}

/// Refuses a mountpoint where only the folder of a store will do.
///
/// # Errors
/// `path` is where a store is mounted.
pub fn refuse_mountpoint(path: &Path) -> anyhow::Result<()> {
    let mount = mount_of(path)?;
    match mount.filter(|mount| mountinfo::resolve(path).is_ok_and(|full| full == mount.mountpoint)) {
        Some(mount) => bail!(
            "{point} is where the store {store} is mounted, not the store: `lmfs umount {point}`, and name {store}",
            point = mount.mountpoint.display(),
            store = mount.source.display()
        ),
        None => Ok(()),
    }
}

/// The lmfs mount that `path` is or lies in, unless it is a store folder.
///
/// # Errors
/// There is no such path.
pub fn mount_of(path: &Path) -> anyhow::Result<Option<MountInfo>> {
    let Ok(full) = mountinfo::resolve(path) else {
        // A store folder that does not exist is best explained by who looks for one.
        return Ok(None);
    };
    let mount = mountinfo::containing(&full).context("cannot read /proc/self/mountinfo")?;
    let mount = mount.filter(MountInfo::is_lmfs);
    Ok(mount.filter(|mount| mount.mountpoint == full || !store::is_store(&full)))
}

fn of_mount(mount: &MountInfo) -> anyhow::Result<Target> {
    match daemon_of(mount)? {
        Some(client) => Ok(Target::Mounted { client }),
        None => bail!(silent(mount)),
    }
}

/// The daemon of a mount; none if it cannot be reached.
///
/// # Errors
/// When it may not be asked.
pub fn daemon_of(mount: &MountInfo) -> anyhow::Result<Option<Client>> {
    let refused = || format!("cannot ask the daemon of {}", mount.mountpoint.display());
    if let Some(client) = Client::of_mount(mount).with_context(refused)? {
        return Ok(Some(client));
    }
    // From another network namespace only the file of its socket reaches it, in a store that may be another one by now.
    let Ok(store) = store_of(mount).and_then(|store| Ok(Directory::open(store)?)) else {
        return Ok(None);
    };
    let Some(client) = Client::of_store(&store).with_context(refused)? else {
        return Ok(None);
    };
    let status: Status = client.call(&Request::Status, &mut |_| ())?;
    let is_its = status.mount.is_some_and(|its| its.device == mount.device);
    Ok(if is_its { Client::of_store(&store)? } else { None })
}

/// What to tell of a mount whose daemon cannot be reached.
pub fn silent(mount: &MountInfo) -> String {
    let point = mount.mountpoint.display();
    match life(mount) {
        Life::Gone => format!(
            "the daemon of {point} is gone; mount the store again with `lmfs mount`, or detach the dead mount with \
             `lmfs umount {point}`"
        ),
        Life::Lives(pid) => format!(
            "the daemon of {point}, process {pid}, cannot be reached from here; run this where it was mounted, or \
             `umount {point}`: all is durable when that process has ended"
        ),
        Life::Unknown => format!(
            "the daemon of {point} does not answer; its log may say why (lmfs.log in the store, or the journal)"
        ),
    }
}

/// What is known of a daemon that cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It has ended.
    Gone,
    /// Its process, as it knows it itself.
    Lives(u32),
    /// It does not answer.
    Unknown,
}

/// Whether the daemon of a mount still answers there.
#[must_use]
pub fn life(mount: &MountInfo) -> Life {
    match ask(mount, PID) {
        Ok(pid) => {
            let pid = String::from_utf8(pid).ok().and_then(|pid| pid.parse().ok());
            pid.map_or(Life::Unknown, Life::Lives)
        }
        Err(Unanswered::Refused(Errno::NOTCONN)) => Life::Gone,
        Err(_) => Life::Unknown,
    }
}

/// Why a mount did not say what it was asked.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("no thread could be started: {0}")]
    NoThread(#[source] io::Error),
    #[error(transparent)]
    Refused(Errno),
}

/// An attribute of the root of a mount, of which nothing is known if its daemon hangs.
fn ask(mount: &MountInfo, name: &'static str) -> Result<Vec<u8>, Unanswered> {
    let (tell, told) = mpsc::channel();
    let root = mount.mountpoint.clone();
    // The thread is left behind if the daemon hangs: nothing can interrupt it.
    let asking = thread::Builder::new().spawn(move || {
        let mut value = vec![0; 4096];
        let length = rustix::fs::getxattr(&root, name, &mut value);
        let _ = tell.send(length.map(|n| {
            value.truncate(n);
            value
        }));
    });
    asking.map_err(Unanswered::NoThread)?;
    let answer = told.recv_timeout(PATIENCE).map_err(|_| Unanswered::Late)?;
    answer.map_err(Unanswered::Refused)
}

/// The store folder of a mount: named in the mount table, or else asked of its daemon, which may not answer.
///
/// # Errors
/// Nobody knows.
pub fn store_of(mount: &MountInfo) -> anyhow::Result<PathBuf> {
    if mount.source.is_absolute() {
        return Ok(mount.source.clone());
    }
    let point = mount.mountpoint.display();
    let value = ask(mount, STORE)
        .with_context(|| format!("cannot ask {point} for its store; name the store folder instead"))?;
    Ok(PathBuf::from(OsString::from_vec(value)))
}
