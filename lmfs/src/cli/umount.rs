//! `lmfs umount`: the mount is gone, everything is durable, the daemon has ended.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::mount_config::MountConfig;
use super::output::Meter;
use super::target::{Life, daemon_of, life, silent};
use super::{args, output};
use crate::daemon::control::{Client, Failure, Nothing, Request};
use crate::daemon::status::{MountStatus, Status};
use crate::daemon::unmount::{self, unmount, unmount_this};
use crate::mountinfo::{self, MountInfo};
use crate::store::{self, Folder, Lock};

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
        None => not_a_mount(&point, quiet)?,
        Some(mount) if !mount.is_lmfs() => bail!(
            "{} is a mount of type {}, not of lmfs; use `umount`",
            point.display(),
            mount.fstype
        ),
        Some(mount) => match daemon_of(&mount)? {
            None => without_daemon(&mount, quiet)?,
            Some(client) => {
                let its = mount_of(client)?;
                let client = daemon_of(&mount)?.with_context(|| format!("the daemon of {} ended", point.display()))?;
                if its.id == mount.id {
                    shut_down(client, &its, quiet)?;
                } else {
                    take_away(&mount, client, &its, quiet)?;
                }
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// What is named is no mount. It may be the store of one.
fn not_a_mount(point: &Path, quiet: bool) -> anyhow::Result<()> {
    let shown = point.display();
    if !store::is_store(point) {
        let around = mountinfo::containing(point).context("cannot read /proc/self/mountinfo")?;
        match around.filter(MountInfo::is_lmfs) {
            Some(mount) => bail!(
                "{shown} lies in the mount {at}; to unmount that: `lmfs umount {at}`",
                at = mount.mountpoint.display()
            ),
            None => bail!("nothing is mounted on {shown}, and it is no store"),
        }
    }
    let folder = Folder::find(point)?;
    let connect = || Client::of_store(folder.dir()).with_context(|| format!("cannot ask the daemon of {shown}"));
    match (connect()?, Lock::holder(folder.dir())?) {
        (Some(client), _) => {
            let its = mount_of(client)?;
            let client = connect()?.with_context(|| format!("the daemon of {shown} ended"))?;
            shut_down(client, &its, quiet)?;
            if !quiet {
                output::say(&format!(
                    "lmfs: unmounted {}, where the store {shown} was mounted",
                    its.mountpoint
                ));
            }
            Ok(())
        }
        (None, Some(holder)) => Err(holder.in_use(point).into()),
        (None, None) => bail!("the store {shown} is not mounted"),
    }
}

/// The mount of a daemon, as it knows it.
fn mount_of(client: Client) -> anyhow::Result<MountStatus> {
    let status: Status = client.call(&Request::Status, &mut |_| ())?;
    status.mount.context("the daemon has no mount yet; try again")
}

/// Has a daemon make everything durable, unmount and end.
fn shut_down(client: Client, its: &MountStatus, quiet: bool) -> anyhow::Result<()> {
    // Known before it ends, so that its number cannot mean another process by then.
    let daemon = client.pid().and_then(process);
    let mut meter = Meter::new(quiet);
    match client.call(&Request::Shutdown, &mut |progress| meter.show(&progress)) {
        Ok(Nothing {}) => {}
        Err(Failure::Refused(why)) => bail!("{why}{}", unmount::users_text(Path::new(&its.mountpoint))),
        // It ended by itself in between, for which there are reasons that lose nothing and others.
        Err(failure) => {
            return Err(failure).with_context(|| {
                format!(
                    "cannot tell whether all is durable that was written to {}",
                    its.mountpoint
                )
            });
        }
    }
    meter.finish();
    match daemon {
        Some(daemon) => wait_for_end(&daemon),
        None => Ok(()),
    }
}

/// Takes away a mount that is not the daemon's own: a bind mount of it. The daemon and its mount stay, unless this was
/// the last one.
fn take_away(mount: &MountInfo, client: Client, its: &MountStatus, quiet: bool) -> anyhow::Result<()> {
    let point = mount.mountpoint.display();
    let daemon = client.pid();
    let running = daemon.and_then(process);
    let Nothing {} = client
        .call(&Request::Sync, &mut |_| ())
        .with_context(|| format!("{point} is still mounted"))?;
    unmount_this(mount, false).map_err(|error| busy(error, &mount.mountpoint))?;
    let number = daemon.and_then(|pid| u32::try_from(pid.as_raw_pid()).ok());
    let was_last = number.and_then(|pid| mountinfo::seen_by(pid, &mount.filesystem())) == Some(false);
    match running {
        Some(running) if was_last => wait_for_end(&running),
        _ if !quiet => {
            output::say(&format!(
                "lmfs: {point} was a bind mount; the store stays mounted on {}",
                its.mountpoint
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A mount whose daemon cannot be asked. If it is gone, nothing is in memory any more, so nothing can be lost by taking
/// the mount away. If it lives, it stores everything and ends by itself once the mount is gone.
fn without_daemon(mount: &MountInfo, quiet: bool) -> anyhow::Result<()> {
    let point = mount.mountpoint.display();
    match life(mount) {
        Life::Gone => {}
        Life::Lives(pid) => {
            let named = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // A number that means another process here.
            let sees = mountinfo::seen_by(pid, &mount.filesystem()) == Some(true);
            let Some(daemon) = named.filter(|_| sees).and_then(process) else {
                bail!(silent(mount));
            };
            unmount_this(mount, false).map_err(|error| busy(error, &mount.mountpoint))?;
            return match mountinfo::seen_by(pid, &mount.filesystem()) {
                Some(true) => Ok(()),
                _ => wait_for_end(&daemon),
            };
        }
        Life::Unknown => bail!(silent(mount)),
    }
    match unmount(&mount.mountpoint, true) {
        Ok(()) | Err(unmount::Error::NotMounted(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if !quiet {
        output::say(&format!(
            "lmfs: the daemon of {point} was gone; the dead mount is detached. What was fsynced is in the store {}",
            mount.source.display()
        ));
    }
    Ok(())
}

fn busy(error: unmount::Error, point: &Path) -> anyhow::Error {
    match error {
        unmount::Error::Busy(_) => anyhow::anyhow!("{error}{}", unmount::users_text(point)),
        error => error.into(),
    }
}

/// A handle of a process, which never comes to mean another.
fn process(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn wait_for_end(process: &OwnedFd) -> anyhow::Result<()> {
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
