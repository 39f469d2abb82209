//! The life of a mount: everything is brought up in order, served, and taken down in the opposite order.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::control::Server;
use super::running::{Desk, Running};
use super::status::Status;
use super::{Announcer, Options, PackMode, mountpoint, service_manager, unmount};
use crate::fs::{self, Filesystem};
use crate::fuse;
use crate::packer::{self, Background, Packer, Unattended};
use crate::store::{Access, Folder, Opened};

/// How long a busy mount may stay once the daemon was told to end by a signal.
const GRACE: Duration = Duration::from_secs(2);
/// How long clients may take to read their last answer.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What to mount where.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The store.
    pub store: Folder,
    /// The directory, as typed.
    pub mountpoint: PathBuf,
    /// How.
    pub options: Options,
}

/// What a daemon waits for.
#[derive(Debug)]
pub enum Event {
    /// A signal that says to end.
    Signal(i32),
    /// The kernel let go of the mount.
    Ended(Result<(), String>),
    /// A client wants the mount gone and to know when all is durable.
    Asked(mpsc::Sender<Result<(), String>>),
}

/// Mounts the store and serves it until it is unmounted, by whatever means, and everything is durable.
///
/// # Errors
/// It cannot be mounted (nothing has changed then), or what was written could not be made durable.
pub fn run(plan: &Plan, announcer: &Announcer) -> anyhow::Result<()> {
    let started = start(plan, announcer).inspect_err(|error| announcer.failed(error))?;
    announcer.ready();
    let point = started.mountpoint.display().to_string();
    tracing::info!("{} is mounted on {point}", started.store.path().display());
    service_manager::ready(&format!("mounted on {point}"));
    started.serve()
}

struct Started {
    mountpoint: PathBuf,
    session: fuse::Session,
    background: Option<Background>,
    packer: Option<Arc<Packer>>,
    fs: Arc<Filesystem>,
    desk: Arc<Desk>,
    server: Server,
    events: mpsc::Receiver<Event>,
    store: Opened,
}

fn start(plan: &Plan, announcer: &Announcer) -> anyhow::Result<Started> {
    let options = &plan.options;
    let mountpoint = mountpoint::check(&plan.mountpoint, plan.store.path(), options.nonempty)?;
    mountpoint::check_fuse()?;
    let (tell, events) = mpsc::channel();
    watch_signals(tell.clone()).context("cannot watch for signals")?;

    let purpose = format!("mounted on {}; unmount it with `lmfs umount`", mountpoint.display());
    let access = Access { read_only: options.read_only, ..Access::full(&purpose) };
    let store = Opened::open(plan.store.clone(), &access)?;
    for warning in store.report.warnings.iter().chain(&store.model_fault) {
        announcer.warning(warning);
    }
    if let Some(why) = &store.report.rebuilt {
        tracing::info!("the index was made anew from the log: {why}");
    }

    let fs = Filesystem::new(store.indexer.clone(), store.codec.clone(), fs_options(&store, plan, &mountpoint))
        .context("cannot open the filesystem")?;
    let packer = make_packer(&store, &fs, options);

    let desk = Arc::new(Desk::new(tell.clone()));
    let server = Server::start(store.path(), desk.clone())
        .with_context(|| format!("cannot listen on {}/control.sock", store.path().display()))?;
    let session = fuse::mount(fs.clone(), &mountpoint, &fuse_options(&store, options))
        .with_context(|| format!("cannot mount on {}", mountpoint.display()))?;

    desk.open(Running {
        fs: fs.clone(),
        packer: packer.clone(),
        base: Status::of(&store),
        mountpoint: mountpoint.clone(),
        since: Instant::now(),
    });
    let packer = packer.ok();
    let background = match &packer {
        Some(packer) if options.pack == PackMode::Idle => Some(packer.spawn_idle().context("cannot start the packer")?),
        _ => None,
    };
    service_manager::start_watchdog(mountpoint.clone()).context("cannot start the watchdog")?;
    watch_session(&session, tell)?;
    Ok(Started { mountpoint, session, background, packer, fs, desk, server, events, store })
}
