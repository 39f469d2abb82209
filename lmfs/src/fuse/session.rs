//! A mounted filesystem.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, INodeNo, SessionACL};
use parking_lot::{Condvar, Mutex};

use super::adapter::Adapter;
use super::connect::{Options, connect};
use super::killed::Watch;
use crate::fs::Filesystem;

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount at {}: {source}", .mountpoint.display())]
pub struct Error {
    /// Where.
    pub mountpoint: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// A mounted filesystem. It answers until the kernel unmounts it; dropping this does not unmount. Unmounting is asked
/// of the kernel (`umount2`, `fusermount3 -u`), by whomever.
pub struct Session {
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    result: Mutex<Option<io::Result<()>>>,
    changed: Condvar,
}

impl Session {
    /// Waits until the kernel has unmounted it, or for `timeout`; says whether it has.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let mut result = self.ended.result.lock();
        while result.is_none() {
            match timeout {
                None => self.ended.changed.wait(&mut result),
                Some(timeout) => {
                    if self.ended.changed.wait_for(&mut result, timeout).timed_out() {
                        break;
                    }
                }
            }
        }
        result.is_some()
    }

    /// Why the event loops ended, if that was for any other reason than an unmount. Says it once.
    pub fn failure(&self) -> Option<io::Error> {
        match &mut *self.ended.result.lock() {
            Some(result) => std::mem::replace(result, Ok(())).err(),
            None => None,
        }
    }
}

/// Mounts `fs` at `mountpoint`. When it returns, the kernel and the filesystem have agreed on everything and requests
/// are being answered.
///
/// # Errors
/// What the system says: no /dev/fuse, no permission, no such directory.
pub fn mount(fs: Arc<Filesystem>, mountpoint: &Path, options: &Options) -> Result<Session, Error> {
    start(fs, mountpoint, options).map_err(|source| Error {
        mountpoint: mountpoint.to_owned(),
        source,
    })
}

fn start(fs: Arc<Filesystem>, mountpoint: &Path, options: &Options) -> io::Result<Session> {
    let mountpoint = mountpoint.canonicalize()?;
    let mut config = Config::default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.n_threads = Some(options.threads.unwrap_or_else(|| cores.clamp(4, 16)));
    config.clone_fd = true;
    let access = match options {
        Options { allow_other: true, .. } => SessionACL::All,
        Options { allow_root: true, .. } => SessionACL::RootAndOwner,
        _ => SessionACL::Owner,
    };
    let connection = connect(&mountpoint, options)?;
    let session = fuser::Session::from_fd(Adapter::new(fs.clone(), Watch::start()?), connection, access, config)?;
    let notifier = session.notifier();
    fs.on_stored(move |ino| {
        // The kernel may not know the inode, or have unmounted: then there is nothing to tell it.
        let _ = notifier.inval_inode(INodeNo(ino), -1, 0);
    });
    let ended = Arc::new(Ended::default());
    let end = ended.clone();
    std::thread::Builder::new().name("lmfs-fuse".into()).spawn(move || {
        let result = session.run();
        *end.result.lock() = Some(result);
        end.changed.notify_all();
    })?;
    Ok(Session { ended })
}
