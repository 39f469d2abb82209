//! `lmfs mount`: in the background, with the parent waiting until the mount is there; or in the foreground.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::mount_config::MountConfig;
use super::{args, output};
use crate::bucket::replica::{Replica, Source};
use crate::daemon::{self, Announcer, MountRequest, Options};
use crate::store::{Folder, is_url};

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
    options.cache_dir = args.cache_dir.clone().or(options.cache_dir);
    options.cache_dir_size = args.cache_dir_size.unwrap_or(options.cache_dir_size);
    options.poll = args.poll.unwrap_or(options.poll);
    let mountpoint = std::path::absolute(&mountpoint)
        .with_context(|| format!("cannot use the mountpoint {}", mountpoint.display()))?;
    let (store, source) = if is_url(&store) {
        let source = source(&store, &options)?;
        (Replica::find(&source)?.folder, Some(source))
    } else {
        (Folder::find(&store)?, None)
    };
    Ok(MountRequest {
        store,
        source,
        mountpoint,
        options,
    })
}

/// The bucket that is to be mounted, and where what is fetched of it goes.
fn source(url: &Path, options: &Options) -> anyhow::Result<Source> {
    let url = url.to_str().context("a URL is text")?.to_owned();
    if !options.read_only {
        bail!("a store in a bucket can only be read: mount it with `-o ro`");
    }
    let Some(cache_dir) = &options.cache_dir else {
        bail!("a store in a bucket needs a folder for what is fetched: --cache-dir DIR");
    };
    let cache_dir = std::path::absolute(cache_dir);
    Ok(Source {
        url,
        cache_dir: cache_dir.context("cannot use the folder for what is fetched")?,
        cache_bytes: options.cache_dir_size,
        poll: Duration::from_secs(options.poll),
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
    let store = match &request.source {
        None => request.store.path().to_owned(),
        Some(source) => {
            // Its path may have commas.
            list.extend(["--cache-dir".into(), source.cache_dir.clone().into_os_string()]);
            PathBuf::from(&source.url)
        }
    };
    let paths = [store, request.mountpoint.clone()];
    list.push("--".into());
    list.extend(paths.map(PathBuf::into_os_string));
    list
}
