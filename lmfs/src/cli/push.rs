//! `lmfs push`: a store into a bucket, once or again and again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lmfs_codec::Stop;
use lmfs_indexer::{Cut, Known, RealIo, cut};
use lmfs_object::bucket::{self, Writer, WriterOptions};

use super::interrupt::{end_as_interrupted, stop_or_end_on_interrupt};
use super::mount_config::MountConfig;
use super::output::{Meter, say, say_error};
use super::target::{Target, mount_of, store_of};
use super::{args, output};
use crate::bucket::push::{Failure, Pushed, push};
use crate::bucket::url;
use crate::byte_size;
use crate::daemon::control::{Client, Nothing, Request};
use crate::error_chain::explain;
use crate::progress::Progress;
use crate::store::{Access, Folder, Lock, Opened};

/// How often a store is looked at again whose segments are collected while they are read.
const ATTEMPTS: u32 = 10;
/// How often a watch looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(200);
/// Exit code: the same command would fail again, as the bucket is somebody else's or damaged.
const IN_VAIN: u8 = 4;

/// Runs the command.
///
/// # Errors
/// No store, a bucket that holds another one or has another writer, requests that fail.
pub fn run(args: &args::Push, quiet: bool) -> anyhow::Result<ExitCode> {
    let (store, url) = what_and_where(args)?;
    // Before anything is made where the URL leads.
    let (folder, _) = find(&store)?;
    let bucket = url::bucket(&url, true)?;
    let mut options = WriterOptions::new(folder.config().store_id, name());
    options.grace = args.keep_dead;
    let stop = stop_or_end_on_interrupt()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let writer = Writer::open(bucket, options).await?;
        let mut pusher = Pusher {
            args,
            store,
            quiet,
            writer,
            last: None,
            stop,
        };
        match args.watch {
            true => pusher.watch().await,
            false => pusher.once().await.and_then(|pushed| report(args, quiet, &pushed)),
        }
    });
    match ended {
        Ok(()) => {}
        Err(error) if is_final(&error) => {
            say_error(&error);
            return Ok(ExitCode::from(IN_VAIN));
        }
        Err(error) => return Err(error),
    }
    end_as_interrupted();
    Ok(ExitCode::SUCCESS)
}

/// The store, and the bucket that it is to be in.
fn what_and_where(args: &args::Push) -> anyhow::Result<(PathBuf, String)> {
    if let (Some(store), Some(url)) = (&args.store, &args.url) {
        return Ok((store.clone(), url.clone()));
    }
    let file = args
        .config
        .as_deref()
        .context("name a store and a URL, or --config FILE")?;
    let config = MountConfig::read(file)?;
    let url = config.push;
    let url = url.with_context(|| {
        format!(
            "{} does not say where to push: it has no line push = \"URL\"",
            file.display()
        )
    })?;
    Ok((config.store, url))
}

fn report(args: &args::Push, quiet: bool, pushed: &Pushed) -> anyhow::Result<()> {
    match args.json {
        true => output::json(pushed),
        false if quiet => Ok(()),
        false => output::line(&text(pushed)),
    }
}

/// The machine and process that write, for people.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} on {}", std::process::id(), host.trim())
}

/// The store's folder, and its daemon if it is mounted.
fn find(store: &Path) -> anyhow::Result<(Folder, Option<Client>)> {
    match Target::find(store)? {
        Target::Unmounted(folder) => Ok((folder, None)),
        Target::Mounted { client } => {
            let folder = match mount_of(store)? {
                Some(mount) => Folder::find(&store_of(&mount)?)?,
                None => Folder::find(store)?,
            };
            Ok((folder, Some(client)))
        }
    }
}

/// A store that is pushed.
struct Pusher<'a> {
    args: &'a args::Push,
    store: PathBuf,
    quiet: bool,
    writer: Writer,
    /// What was pushed last.
    last: Option<Cut>,
    stop: Stop,
}

impl Pusher<'_> {
    /// Pushes now and then, until Ctrl-C or until somebody else does.
    async fn watch(&mut self) -> anyhow::Result<()> {
        loop {
            let begun = Instant::now();
            match self.once().await {
                Ok(pushed) if pushed.stored_objects > 0 => report(self.args, self.quiet, &pushed)?,
                Ok(_) => {}
                Err(_) if self.stop.is_set() => return Ok(()),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => say(&format!("lmfs: {}; trying again", explain(&error))),
            }
            while begun.elapsed() < Duration::from_secs(self.args.every) {
                if self.stop.is_set() {
                    return Ok(());
                }
                tokio::time::sleep(GLANCE).await;
            }
        }
    }

    async fn once(&mut self) -> anyhow::Result<Pushed> {
        // A watch looks once.
        let verify = self.args.verify && self.last.is_none();
        let mut attempt = 1;
        loop {
            let (folder, client) = find(&self.store)?;
            let known = self.known();
            if client.is_none() && self.is_as_it_was(&folder, known.as_ref()) && !self.writer.has_due() {
                return Ok(Pushed::default());
            }
            let Some(cut) = durable(&folder, client, &self.store, known.as_ref())? else {
                // It was unmounted meanwhile. What is durable is known when it was opened.
                attempt += 1;
                if attempt > ATTEMPTS {
                    anyhow::bail!("{} is mounted and unmounted all the time", self.store.display());
                }
                continue;
            };
            let mut meter = Meter::new(self.quiet);
            let mut tell = |progress: &Progress| meter.show(progress);
            let pushed = push(&mut self.writer, &folder, &cut, verify, &mut tell, &self.stop).await;
            meter.finish();
            match pushed {
                Ok(pushed) => {
                    self.last = Some(cut);
                    return Ok(pushed);
                }
                Err(Failure::Changed) if attempt < ATTEMPTS => attempt += 1,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// What was pushed last, where the log goes on.
    fn known(&self) -> Option<Known> {
        let last = self.last.as_ref()?;
        let newest = last.segments.last()?;
        Some(Known {
            path: newest.path.clone(),
            len: newest.len,
            seq: last.seq,
        })
    }

    /// Whether a store that is not mounted is as it was pushed last: then it need not be opened.
    fn is_as_it_was(&self, folder: &Folder, known: Option<&Known>) -> bool {
        let io = RealIo::in_directory(folder.dir().clone());
        self.last.is_some() && cut(&io, known).ok() == self.last
    }
}

/// Whether trying again would not help.
fn is_final(error: &anyhow::Error) -> bool {
    use bucket::Error::{Gone, Local, Request};
    let error = match error.downcast_ref() {
        Some(Failure::Bucket(error)) => Some(error),
        Some(_) => None,
        None => error.downcast_ref(),
    };
    error.is_some_and(|error| !matches!(error, Gone { .. } | Local { .. } | Request(_)))
}

/// The store up to a transaction, all of it durable; none if it was unmounted meanwhile.
fn durable(
    folder: &Folder,
    client: Option<Client>,
    store: &Path,
    known: Option<&Known>,
) -> anyhow::Result<Option<Cut>> {
    let io = RealIo::in_directory(folder.dir().clone());
    let Some(client) = client else {
        // What a crash left is cut off by opening it. Nobody else changes it meanwhile.
        let lock = Lock::acquire(folder.dir(), "lmfs push")?;
        let opened = Opened::open_locked(folder.clone(), &Access::rows("lmfs push"), lock)?;
        let found = opened.indexer.sync().and_then(|()| cut(&io, known));
        opened.close()?;
        return Ok(Some(found?));
    };
    // Once for what was written up to now, and once for what was looked at.
    let Nothing {} = client.call(&Request::Sync, &mut |_| ())?;
    let found = cut(&io, known)?;
    if let (_, Some(client)) = find(store)? {
        let Nothing {} = client.call(&Request::Sync, &mut |_| ())?;
        return Ok(Some(found));
    }
    Ok(None)
}

fn text(pushed: &Pushed) -> String {
    let deleted = match pushed.deleted_objects {
        0 => String::new(),
        n => format!("; {} objects deleted that nothing needs", output::count(n)),
    };
    let verified = match (pushed.verified_objects, pushed.wrong_objects) {
        (0, _) => String::new(),
        (n, 0) => format!("; all {} objects that were there are right", output::count(n)),
        (n, wrong) => format!(
            "; {} of {} objects that were there were not what was stored, and their bytes are stored anew",
            output::count(wrong),
            output::count(n)
        ),
    };
    format!(
        "pushed up to transaction {}: {} stored in {} objects, {} in all{deleted}{verified}",
        output::count(pushed.seq),
        byte_size::show(pushed.stored_bytes),
        output::count(pushed.stored_objects),
        byte_size::show(pushed.bytes),
    )
}
