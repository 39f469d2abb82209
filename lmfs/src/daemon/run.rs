//! The life of a mount: everything is brought up in order, served, and taken down in the opposite order.

use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::control::Server;
use super::control_service::ControlService;
use super::event::Event;
use super::follower::Follower;
use super::running::{NoPacker, Running, place};
use super::status::Status;
use super::{Announcer, Log, Options, PackMode, guard, inherited, mountpoint, service_manager, unmount};
use crate::bucket::replica::{Replica, Source};
use crate::error_chain::explain;
use crate::fs::{self, Filesystem};
use crate::fuse;
use crate::maintenance::Housekeeper;
use crate::mountinfo::{self, MountInfo};
use crate::packer::{self, Background, Environment, Packer};
use crate::process_setup::ending_signals;
use crate::store::{Access, Folder, Opened};

/// How long `lmfs umount` waits for those who use the mount before it refuses.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a busy mount may stay once the daemon was told to end by a signal.
const GRACE: Duration = Duration::from_secs(2);
/// How long clients may take to read their last answer.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often the length of the log, and where the store lies, is looked at.
const GLANCE: Duration = Duration::from_secs(10);

/// How long the kernel believes, at most, what it is told of a store that somebody else writes: the bucket may be
/// looked at sooner than it was to be.
const BELIEF: Duration = Duration::from_secs(10);

/// What to mount where.
#[derive(Debug, Clone)]
pub struct MountRequest {
    /// The store, or the folder that stands for one in a bucket.
    pub store: Folder,
    /// The bucket, if it lies in one.
    pub source: Option<Source>,
    /// The directory, as typed.
    pub mountpoint: PathBuf,
    /// How.
    pub options: Options,
}

/// Mounts the store and serves it until it is unmounted, by whatever means, and everything is durable.
///
/// # Errors
/// It cannot be mounted (nothing has changed then), or what was written could not be made durable.
pub fn run(request: &MountRequest, announcer: &Announcer) -> anyhow::Result<()> {
    guard::watch_panics();
    let limits = inherited::normalise(request.options.read_only).inspect_err(|error| announcer.failed(error))?;
    for limit in &limits {
        announcer.warning(limit);
    }
    let started = start(request, announcer).inspect_err(|error| announcer.failed(error))?;
    announcer.ready();
    let point = started.mount.mountpoint.display().to_string();
    tracing::info!("{} is mounted on {point}", started.store.path().display());
    service_manager::ready(&format!("mounted on {point}"));
    started.serve()
}

struct Started {
    mount: MountInfo,
    session: Arc<fuse::Session>,
    /// Pack in the background.
    idle: bool,
    background: Option<Background>,
    housekeeper: Option<Housekeeper>,
    packer: Option<Arc<Packer>>,
    fs: Arc<Filesystem>,
    control: Arc<ControlService>,
    server: Server,
    events: mpsc::Receiver<Event>,
    follower: Option<Follower>,
    store: Opened,
    /// The bucket that the store lies in. Its threads end last.
    _replica: Option<Arc<Replica>>,
}

fn start(request: &MountRequest, announcer: &Announcer) -> anyhow::Result<Started> {
    let options = &request.options;
    let mountpoint = mountpoint::check(&request.mountpoint, &request.store, options.nonempty)?;
    mountpoint::check_fuse()?;
    let (tell, events) = mpsc::channel();
    watch_signals(tell.clone()).context("cannot watch for signals")?;

    let purpose = format!("mounted on {}; unmount it with `lmfs umount`", mountpoint.display());
    let access = Access {
        read_only: options.read_only,
        cache_bytes: options.cache_size,
        prefer: options.prefer,
        ..Access::full(&purpose)
    };
    let replica = request.source.as_ref().map(Replica::open).transpose()?.map(Arc::new);
    let mut store = match &replica {
        Some(replica) => replica.open_store(&access)?,
        None => Opened::open(request.store.clone(), &access)?,
    };
    for warning in store.report.warnings.iter().chain(&store.model_fault) {
        announcer.warning(warning);
    }
    if let Some(why) = &store.report.rebuilt {
        tracing::info!("the index was made anew from the log: {why}");
    }

    let fs = Filesystem::new(
        store.indexer.clone(),
        store.codec.clone(),
        fs_options(&store, request, &mountpoint),
    )
    .context("cannot open the filesystem")?;
    let packer = make_packer(&store, &fs, options);

    let control = Arc::new(ControlService::new(tell.clone()));
    let mut server = Server::start(store.folder.dir(), control.clone())
        .with_context(|| format!("cannot make the control socket of {}", store.path().display()))?;
    mountpoint::detach_dead(&mountpoint, store.path())?;
    if let Some(source) = &request.source {
        fuse::believe_for(source.poll.min(BELIEF));
    }
    let session = fuse::mount(fs.clone(), &mountpoint, &fuse_options(&store, request))
        .with_context(|| format!("cannot mount on {}", mountpoint.display()))?;
    let mount = mountinfo::at(&mountpoint).context("cannot read /proc/self/mountinfo")?;
    let mount = mount
        .filter(MountInfo::is_lmfs)
        .with_context(|| format!("{} was unmounted as soon as it was mounted", mountpoint.display()))?;
    store.say_mounted(&purpose, &mount.filesystem());
    if let Err(error) = server.listen_for(&mount) {
        tracing::warn!("the daemon can only be asked by who finds the store: {error}");
    }

    control.open(Running {
        fs: fs.clone(),
        packer: packer.clone(),
        codec: store.codec.clone(),
        folder: store.folder.clone(),
        base: Status::of(&store),
        mount: mount.clone(),
        since: Instant::now(),
    });
    service_manager::start_watchdog(mountpoint).context("cannot start the watchdog")?;
    let session = Arc::new(session);
    watch_session(&session, tell).context("cannot watch the mount")?;
    let housekeeper = (!options.read_only).then(|| Housekeeper::start(store.indexer.clone()));
    let housekeeper = housekeeper.transpose().context("cannot start garbage collection")?;
    let follower = match (&replica, &request.source) {
        (Some(replica), Some(source)) => Some(Follower::start(replica.clone(), &fs, source.poll)),
        _ => None,
    };
    let follower = follower.transpose().context("cannot follow the bucket")?;
    let mut started = Started {
        mount,
        session,
        idle: options.pack == PackMode::Idle,
        background: None,
        housekeeper,
        packer: packer.ok(),
        fs,
        control,
        server,
        events,
        follower,
        store,
        _replica: replica,
    };
    started.start_background();
    Ok(started)
}

fn fs_options(store: &Opened, request: &MountRequest, mountpoint: &Path) -> fs::Options {
    fs::Options {
        read_only: request.options.read_only,
        cache_bytes: request.options.cache_size as usize,
        store_path: store.path().to_owned(),
        mountpoint: mountpoint.to_owned(),
        ..fs::Options::new(store.config().block_size)
    }
}

fn fuse_options(store: &Opened, request: &MountRequest) -> fuse::Options {
    let options = &request.options;
    // Whoever writes to a bucket decides what is in it.
    let trusted = request.source.is_none() && store.folder.is_trusted();
    fuse::Options {
        read_only: options.read_only,
        allow_other: options.allow_other,
        allow_root: options.allow_root,
        kernel: options.kernel(trusted),
        source: store.path().as_os_str().to_owned(),
        ..fuse::Options::default()
    }
}

fn make_packer(store: &Opened, fs: &Arc<Filesystem>, options: &Options) -> Result<Arc<Packer>, NoPacker> {
    if let Some(fault) = &store.model_fault {
        return Err(NoPacker::Model(fault.to_string()));
    }
    if options.read_only {
        return Err(NoPacker::ReadOnly);
    }
    let how = packer::Options {
        idle: Duration::from_secs(options.pack_idle),
        ..packer::Options::default()
    };
    let readers = Arc::new(Readers(Arc::downgrade(fs)));
    let packer = Packer::new(store.indexer.clone(), store.codec.clone(), readers, how);
    Ok(Arc::new(packer))
}

/// The readers of the mount, for whom the background packer holds back.
struct Readers(Weak<Filesystem>);

impl Environment for Readers {
    fn is_busy(&self) -> bool {
        self.0.upgrade().is_some_and(|fs| fs.blocks().is_awaited())
    }

    fn wait_for_readers(&self, at_most: Duration, is_over: &dyn Fn() -> bool) {
        // Without the filesystem meanwhile: it may be shut down.
        let blocks = self.0.upgrade().map(|fs| fs.blocks().clone());
        if let Some(blocks) = blocks {
            blocks.wait_for_readers(at_most, is_over);
        }
    }

    fn wake(&self) {
        if let Some(fs) = self.0.upgrade() {
            fs.blocks().wake();
        }
    }
}

fn watch_signals(tell: mpsc::Sender<Event>) -> std::io::Result<()> {
    // Registered here and now, so that none is missed; only the waiting happens in the thread.
    let mut signals = Signals::new(ending_signals())?;
    let watch = move || {
        for signal in &mut signals {
            if tell.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}

fn watch_session(session: &Arc<fuse::Session>, tell: mpsc::Sender<Event>) -> std::io::Result<()> {
    let session = session.clone();
    let watch = move || {
        session.wait(None);
        let result = session.failure().map_or(Ok(()), |error| Err(error.into()));
        // Nobody listens any more if the end has begun for another reason.
        let _ = tell.send(Event::Ended(result));
    };
    thread::Builder::new().name("mount".into()).spawn(watch).map(drop)
}

impl Started {
    /// Serves until the mount is gone, then makes everything durable.
    fn serve(mut self) -> anyhow::Result<()> {
        let mut asked: Vec<mpsc::Sender<anyhow::Result<()>>> = Vec::new();
        let log = Log::of(self.store.folder.dir());
        let result = loop {
            match self.events.recv_timeout(GLANCE) {
                Err(RecvTimeoutError::Timeout) => {
                    log.rotate();
                    // Logged by who finds it, once; `lmfs status` shows it from then on.
                    let _ = self.store.indexer.check_place();
                }
                // There always is a sender: the control service.
                Err(RecvTimeoutError::Disconnected) | Ok(Event::Ended(Ok(()))) => break Ok(()),
                Ok(Event::Ended(Err(why))) => break Err(why.context("the mount ended")),
                Ok(Event::Signal(signal)) => {
                    tracing::info!("{}: unmounting", signal_name(signal));
                    self.let_go();
                    break Ok(());
                }
                Ok(Event::Asked(client)) => match self.unmount_for_client() {
                    Ok(()) => {
                        asked.push(client);
                        break Ok(());
                    }
                    Err(why) => {
                        // A client that is gone does not mind.
                        let _ = client.send(Err(why));
                        self.start_background();
                    }
                },
            }
        };
        self.finish(result, &asked)
    }

    /// Makes all durable and unmounts, unless something speaks against it: then the mount stays as it was.
    fn unmount_for_client(&mut self) -> anyhow::Result<()> {
        self.background = None;
        self.fs.sync().map_err(|error| {
            let point = place(&self.mount);
            let message = format!(
                "still mounted, because what was written cannot be stored: {error}; to give that up, use `umount {}`",
                point.display()
            );
            anyhow::Error::new(error).context(message)
        })?;
        // A process that has just been forked may hold a file for a moment more.
        Ok(self.unmount_within(PATIENCE)?)
    }

    /// Unmounts, waiting a while for those who use the mount.
    fn unmount_within(&self, patience: Duration) -> Result<(), unmount::Error> {
        let deadline = Instant::now() + patience;
        loop {
            match unmount::unmount_this(&self.mount, false) {
                Ok(()) | Err(unmount::Error::NotMounted(_)) => return Ok(()),
                Err(unmount::Error::Busy(_)) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Unmounts for somebody who will not take no for an answer.
    fn let_go(&mut self) {
        service_manager::stopping("storing what was written");
        self.background = None;
        if let Err(error) = self.fs.sync() {
            tracing::error!("cannot store everything that was written: {error}");
        }
        let Err(error) = self.unmount_within(GRACE) else {
            return;
        };
        tracing::warn!("{error}; detaching it all the same");
        if let Err(error) = unmount::unmount_this(&self.mount, true) {
            tracing::error!("{error}");
        }
    }

    fn start_background(&mut self) {
        if self.idle
            && let Some(packer) = &self.packer
        {
            self.background = packer
                .spawn_background()
                .inspect_err(|error| tracing::error!("cannot start the packer: {error}"))
                .ok();
        }
    }

    /// Takes everything down. The clients in `asked` get to know how it went.
    fn finish(
        mut self,
        mut result: anyhow::Result<()>,
        asked: &[mpsc::Sender<anyhow::Result<()>>],
    ) -> anyhow::Result<()> {
        self.store.say_ending();
        service_manager::stopping("storing what was written");
        drop((self.background, self.housekeeper, self.follower));
        self.control.close();
        // Operations that were under way are answered before the event loops end. Changes asked of a detached busy
        // mount are refused from the shutdown on; it holds the store, and with it the lock, until this process ends.
        if !self.session.wait(Some(GRACE)) {
            tracing::warn!("{} is still used by somebody", self.mount.mountpoint.display());
        }
        let stored = self.fs.shutdown().context("what was written last could not be stored");
        drop((self.session, self.packer, self.fs));
        self.server.withdraw();
        let closed = self.store.close().context("the store could not be closed");
        for outcome in [stored, closed] {
            if let Err(error) = outcome {
                tracing::error!("{}", explain(&error));
                result = result.and(Err(error));
            }
        }
        for client in asked {
            let _ = client.send(result.as_ref().map(drop).map_err(|error| anyhow!(explain(error))));
        }
        self.server.finish(LAST_WORDS);
        if result.is_ok() {
            tracing::info!("everything is stored; unmounted {}", self.mount.mountpoint.display());
        }
        result
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        SIGHUP => "SIGHUP",
        _ => "signal",
    }
}
