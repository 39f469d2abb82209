//! `lmfs umount`: the mount is gone, everything is durable, the daemon has ended.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use super::mount_config::MountConfig;
use super::output::Meter;
use super::target::store_of;
use super::{args, output};
use crate::daemon::control::{Client, Failure, Nothing, Request};
use crate::daemon::mountinfo::{self, MountInfo};
use crate::daemon::unmount::{self, unmount};
use crate::store::Lock;

/// How long a daemon may take to end once all is durable.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
/// The mount is busy, or what was written could not be made durable.
pub fn run(args: &args::Umount, quiet: bool) -> anyhow::Result<ExitCode> {
    let typed = match (&args.config, &args.mountpoint) {
        (Some(file), _) => MountConfig::read(file)?.mountpoint,
        (None, Some(mountpoint)) => mountpoint.clone(),
        (None, None) => bail!("which mountpoint? See `lmfs umount --help`"),
    };
    let point = mountinfo::resolve(&typed).with_context(|| format!("cannot unmount {}", typed.display()))?;
    // Where this command was started must not be what keeps the mount busy.
    let _ = std::env::set_current_dir("/");
    match mountinfo::at(&point).context("cannot read /proc/self/mountinfo")? {
        None => {
            if !quiet {
                output::say(&format!("lmfs: nothing is mounted on {}", point.display()));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(mount) if !mount.is_lmfs() => {
            bail!(
                "{} is a mount of type {}, not of lmfs; use `umount`",
                point.display(),
                mount.fstype
            )
        }
        Some(mount) => {
            take_away(&mount, quiet)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn take_away(mount: &MountInfo, quiet: bool) -> anyhow::Result<()> {
    let store = store_of(mount)?;
    let Some(client) = connect(&store)? else {
        return without_daemon(mount, &store, quiet);
    };
    // Known before it ends, so that its number cannot mean another process by then.
    let daemon = client.pid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut meter = Meter::new(quiet);
    match client.call(&Request::Shutdown, &mut |progress| meter.show(&progress)) {
        Ok(Nothing {}) => {}
        // It ended by itself in between; the lock tells when.
        Err(Failure::Gone) if !still_mounted(mount)? => {}
        Err(Failure::Refused(why)) => bail!("{why}{}", unmount::users_text(&mount.mountpoint)),
        Err(failure) => return Err(failure.into()),
    }
    meter.finish();
    if let Some(daemon) = daemon {
        wait_for_end(&daemon)?;
    }
    wait_for_lock(&store)
}

fn connect(store: &Path) -> anyhow::Result<Option<Client>> {
    match Client::connect(store) {
        // The store folder is gone or out of reach; its daemon cannot be asked then, if there still is one.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.with_context(|| format!("cannot ask the daemon of {}", store.display())),
    }
}

/// A mount whose daemon cannot be asked. If it is gone, nothing is in memory any more, so nothing can be lost by taking the
/// mount away. If it does not listen, it stores everything and ends by itself once the mount is gone.
fn without_daemon(mount: &MountInfo, store: &Path, quiet: bool) -> anyhow::Result<()> {
    if Lock::holder(store)?.is_some() {
        return match unmount(&mount.mountpoint, false) {
            Ok(()) | Err(unmount::Error::NotMounted(_)) => wait_for_lock(store),
            Err(error) => bail!("{error}{}", unmount::users_text(&mount.mountpoint)),
        };
    }
    match unmount(&mount.mountpoint, true) {
        Ok(()) | Err(unmount::Error::NotMounted(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if !quiet {
        output::say(&format!(
            "lmfs: the daemon of {} was gone; the dead mount is detached. What was fsynced is in the store {}",
            mount.mountpoint.display(),
            store.display()
        ));
    }
    Ok(())
}

fn still_mounted(mount: &MountInfo) -> anyhow::Result<bool> {
    Ok(mountinfo::at(&mount.mountpoint)?.is_some_and(|now| now == *mount))
}

fn wait_for_end(process: &rustix::fd::OwnedFd) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => bail!("everything is durable and unmounted, but the daemon does not end; its log may say why"),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the daemon"),
        }
    }
}

/// The kernel lets go of the lock when the process has ended; where pids cannot be seen this is all there is.
fn wait_for_lock(store: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Some(holder) = Lock::holder(store)? {
        if Instant::now() >= deadline {
            return Err(holder.in_use(store)).context("unmounted, but not finished");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
