//! `mount.lmfs`: what mount(8) calls for a line of type lmfs in /etc/fstab, and, as `mount.fuse.lmfs`, for what is
//! mounted already, which shows that type.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Parser};

use super::args;
use super::{mount, output, remount};
use crate::error_chain::explain;

/// Exit code of a failed mount (mount(8)).
const MOUNT_FAILED: u8 = 32;

/// The interface of external helpers, mount(8): `mount.SUFFIX SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`
#[derive(Debug, Parser)]
#[command(name = "mount.lmfs", version, about = "Mount an lmfs store; called by mount(8)")]
struct Helper {
    store: PathBuf,
    mountpoint: PathBuf,
    /// Do everything but mount
    #[arg(short = 'f')]
    fake: bool,
    /// Tolerate unknown options
    #[arg(short = 's')]
    sloppy: bool,
    /// Accepted: there is no /etc/mtab to write
    #[arg(short = 'n')]
    no_mtab: bool,
    /// Say more
    #[arg(short = 'v', action = ArgAction::Count)]
    verbose: u8,
    /// Accepted: the type is lmfs
    #[arg(short = 't')]
    kind: Option<String>,
    /// Mount options
    #[arg(short = 'o', value_delimiter = ',')]
    options: Vec<String>,
}

/// Whether the program was called as the mount helper.
#[must_use]
pub fn is_helper(program: &OsString) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name == "mount.lmfs" || name == "mount.fuse.lmfs")
}

/// Runs the helper with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let helper = match Helper::try_parse() {
        Ok(helper) => helper,
        Err(usage) => {
            let printed = output::usage(&usage);
            return match printed == ExitCode::SUCCESS {
                true => printed,
                false => ExitCode::from(MOUNT_FAILED),
            };
        }
    };
    let known = |option: &String| !helper.sloppy || crate::daemon::Options::default().apply(option).is_ok();
    let mount = args::Mount {
        store: Some(helper.store.clone()),
        mountpoint: Some(helper.mountpoint.clone()),
        options: helper.options.iter().filter(|option| known(option)).cloned().collect(),
        ..args::Mount::default()
    };
    let result = match (remount::is_asked(&helper.options), helper.fake) {
        (true, true) => Ok(()),
        (true, false) => remount::run(&helper.mountpoint, &helper.options),
        (false, true) => mount::check(&mount),
        (false, false) => mount::run(&mount).map(drop),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("mount.lmfs: {}", explain(&error)));
            ExitCode::from(MOUNT_FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_8_is_understood() {
        let helper = Helper::try_parse_from(["mount.lmfs", "/s", "/m", "-n", "-v", "-o", "rw,noatime", "-t", "lmfs"]);
        assert!(helper.is_ok_and(|h| h.options == ["rw", "noatime"] && h.no_mtab && !h.fake));
        assert!(is_helper(&"/sbin/mount.lmfs".into()) && is_helper(&"/sbin/mount.fuse.lmfs".into()));
        assert!(!is_helper(&"/usr/bin/lmfs".into()));
    }
}
