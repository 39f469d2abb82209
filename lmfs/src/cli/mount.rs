//! `lmfs mount`: in the background, with the parent waiting until the mount is there; or in the foreground.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::mount_config::MountConfig;
use super::{args, output};
use crate::daemon::{self, Announcer, MountRequest, Options};
use crate::store::Folder;

/// Runs the command: mounts, and with `-f` stays until the mount is gone.
///
/// # Errors
/// What speaks against the mount.
pub fn run(args: &args::Mount) -> anyhow::Result<ExitCode> {
    let request = request(args)?;
    if args.background_child {
        daemon::detach().context("cannot become a daemon")?;
        daemon::run(&request, &Announcer::Parent)?;
    } else if args.foreground {
        daemon::run(&request, &Announcer::Foreground)?;
    } else {
        let log = daemon::Log::of(request.store.dir());
        for warning in daemon::start_background(child_arguments(&request), &log)? {
            output::say(&format!("lmfs: warning: {warning}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks everything that can be checked without mounting.
///
/// # Errors
/// What speaks against the mount.
pub fn check(args: &args::Mount) -> anyhow::Result<()> {
    request(args).map(drop)
}

fn request(args: &args::Mount) -> anyhow::Result<MountRequest> {
    let mut options = Options::default();
    let (store, mountpoint) = match (&args.config, &args.store, &args.mountpoint) {
        (Some(file), _, _) => {
            let config = MountConfig::read(file)?;
            apply(&mut options, &config.options).with_context(|| format!("{}", file.display()))?;
            (config.store, config.mountpoint)
        }
        (None, Some(store), Some(mountpoint)) => (store.clone(), mountpoint.clone()),
        _ => bail!("STORE and MOUNTPOINT are needed; see `lmfs mount --help`"),
    };
    apply(&mut options, &args.options)?;
    options.read_only |= args.read_only;
    options.cache_size = args.cache_size.unwrap_or(options.cache_size);
    options.pack = args.pack.unwrap_or(options.pack);
    options.pack_idle = args.pack_idle.unwrap_or(options.pack_idle);
    options.prefer = args.prefer.or(options.prefer);
    let mountpoint = std::path::absolute(&mountpoint)
        .with_context(|| format!("cannot use the mountpoint {}", mountpoint.display()))?;
    Ok(MountRequest {
        store: Folder::find(&store)?,
        mountpoint,
        options,
    })
}

fn apply(options: &mut Options, list: &[String]) -> anyhow::Result<()> {
    list.iter()
        .try_for_each(|option| options.apply(option))
        .map_err(anyhow::Error::msg)
}

/// The same request, as arguments for the daemon.
fn child_arguments(request: &MountRequest) -> Vec<OsString> {
    let options = request.options.to_list().join(",");
    let mut list: Vec<OsString> = ["mount", "--background-child", "-o", &options]
        .map(OsString::from)
        .into();
    let paths: [PathBuf; 2] = [request.store.path().to_owned(), request.mountpoint.clone()];
    list.push("--".into());
    list.extend(paths.map(PathBuf::into_os_string));
    list
}
