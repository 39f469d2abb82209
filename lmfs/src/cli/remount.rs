//! `mount -o remount` of a mounted store: mount(8) asks its helper for it. Only what the kernel itself carries out can
//! change, such as `ro`; options of lmfs stay what they were, as mount(8) repeats all of them in every remount.

use std::path::Path;

use anyhow::{Context, bail};
use rustix::mount::{MountFlags, mount_remount};

use super::target::daemon_of;
use crate::daemon::control::Request;
use crate::daemon::status::Status;
use crate::mountinfo::{self, MountInfo};

/// Pairs of options and the flag that the first of each sets and the second takes away.
const FLAGS: [(&str, &str, MountFlags); 10] = [
    ("ro", "rw", MountFlags::RDONLY),
    ("nosuid", "suid", MountFlags::NOSUID),
    ("nodev", "dev", MountFlags::NODEV),
    ("noexec", "exec", MountFlags::NOEXEC),
    ("sync", "async", MountFlags::SYNCHRONOUS),
    ("dirsync", "nodirsync", MountFlags::DIRSYNC),
    ("noatime", "atime", MountFlags::NOATIME),
    ("nodiratime", "diratime", MountFlags::NODIRATIME),
    ("relatime", "norelatime", MountFlags::RELATIME),
    ("strictatime", "nostrictatime", MountFlags::STRICTATIME),
];

/// Whether options ask for a remount.
#[must_use]
pub fn is_asked(options: &[String]) -> bool {
    options.iter().any(|option| option == "remount")
}

/// Gives the mount at `mountpoint` the flags that the options name.
///
/// # Errors
/// Nothing of ours is mounted there; what was mounted for reading only is to be written; what the kernel says.
pub fn run(mountpoint: &Path, options: &[String]) -> anyhow::Result<()> {
    let at = mountinfo::resolve(mountpoint).with_context(|| format!("{}", mountpoint.display()))?;
    let mount = mountinfo::at(&at)?.filter(MountInfo::is_lmfs);
    let mount = mount.with_context(|| format!("no lmfs store is mounted at {}", at.display()))?;
    let flags = flags(options);
    if !flags.contains(MountFlags::RDONLY) && is_read_only(&mount)? {
        bail!(
            "{} was mounted for reading only and cannot be remounted for writing: unmount it and mount it again",
            mount.source.display()
        );
    }
    mount_remount(&at, flags, "").with_context(|| format!("cannot remount {}", at.display()))
}

fn flags(options: &[String]) -> MountFlags {
    let mut flags = MountFlags::empty();
    for option in options {
        for (set, clear, flag) in FLAGS {
            if option == set {
                flags.insert(flag);
            } else if option == clear {
                flags.remove(flag);
            }
        }
    }
    flags
}

/// Whether the daemon has opened the store for reading only.
fn is_read_only(mount: &MountInfo) -> anyhow::Result<bool> {
    let client = daemon_of(mount)?;
    let client = client.with_context(|| format!("no daemon answers for {}", mount.mountpoint.display()))?;
    let status: Status = client.call(&Request::Status, &mut |_| ())?;
    Ok(status.mount.is_some_and(|mount| mount.read_only))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_pair_counts_and_options_of_lmfs_do_not() {
        let flags = |text: &str| flags(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(flags("rw,remount,ro"), MountFlags::RDONLY);
        assert_eq!(
            flags("ro,nosuid,nodev,user_id=0,default_permissions,cache_size=1G,remount,rw"),
            MountFlags::NOSUID | MountFlags::NODEV
        );
        assert_eq!(flags("noatime,relatime,atime"), MountFlags::RELATIME);
    }
}
