//! `STORE|MOUNTPOINT`: finding the store that a path means, and its daemon if it has one.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::daemon::control::Client;
use crate::daemon::mountinfo::{self, MountInfo};
use crate::fs::virtual_xattr::STORE;
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
        let connected = Client::connect(folder.path())
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
    let store = store_of(mount)?;
    let point = mount.mountpoint.display();
    let connected = Client::connect(&store).with_context(|| format!("cannot ask the daemon of {point}"))?;
    match connected {
        Some(client) => Ok(Target::Mounted { client }),
        None => bail!(
            "the daemon of {point} is gone; mount the store again with `lmfs mount`, or detach the dead mount with `lmfs umount {point}`"
        ),
    }
}

/// The store folder of a mount: named in the mount table, or else asked of its daemon, which may not answer.
///
/// # Errors
/// Nobody knows.
pub fn store_of(mount: &MountInfo) -> anyhow::Result<PathBuf> {
    if mount.source.is_absolute() {
        return Ok(mount.source.clone());
    }
    let (tell, told) = mpsc::channel();
    let root = mount.mountpoint.clone();
    // The thread is left behind if the daemon hangs: nothing can interrupt it.
    thread::spawn(move || {
        let mut value = vec![0; 4096];
        let length = rustix::fs::getxattr(&root, STORE, &mut value);
        let _ = tell.send(length.map(|n| {
            value.truncate(n);
            value
        }));
    });
    let point = mount.mountpoint.display();
    let value = told
        .recv_timeout(PATIENCE)
        .with_context(|| format!("the daemon of {point} does not answer"))?
        .with_context(|| format!("cannot ask {point} for its store; name the store folder instead"))?;
    Ok(PathBuf::from(OsString::from_vec(value)))
}
