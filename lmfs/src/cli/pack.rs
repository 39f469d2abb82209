//! `lmfs pack`: by the daemon of a mounted store, or here.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use lmfs_indexer::{ROOT_INO, Store};
use parking_lot::Mutex;

use super::interrupt::stop_on_interrupt;
use super::output::Meter;
use super::target::{Target, mount_of};
use super::{args, output};
use crate::byte_size;
use crate::daemon::control::{Client, Request};
use crate::daemon::running::packing;
use crate::packer::encode::Helpers;
use crate::packer::{Offline, Options, Packer, Scope, Summary};
use crate::store::{Access, Folder, Opened};
use crate::terminal_text::Shown as _;
use crate::workers::{StoreSupplies, Token, Workers};

/// Runs the command.
///
/// # Errors
/// No store, a path that is not in it, a full disk.
pub fn run(args: &args::Pack, quiet: bool) -> anyhow::Result<ExitCode> {
    let summary = match Target::find(&args.target)? {
        Target::Mounted { client } => by_daemon(args, client, quiet),
        Target::Unmounted(folder) => here(args, folder, quiet),
    }?;
    if args.json {
        output::json(&summary)?;
    } else if !quiet {
        output::line(&text(&summary))?;
    }
    let failed = summary.blocks_failed;
    if failed > 0 {
        bail!(
            "{failed} blocks could not be packed and stay as they are; the log names them, `lmfs check --data` looks for damage"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn by_daemon(args: &args::Pack, client: Client, quiet: bool) -> anyhow::Result<Summary> {
    if args.prefer.is_some() {
        bail!("the store is mounted; mount it with the option `prefer` to change what its blocks are to be");
    }
    let mount = mount_of(&args.target)?;
    let root = mount.as_ref().map(|mount| mount.mountpoint.as_path());
    // A path below the mountpoint names the mount, and itself.
    let named = mount.as_ref().map(|_| args.target.metadata()).transpose();
    let named = named.with_context(|| format!("cannot look at {}", args.target.shown()))?;
    let named = named.map(|found| found.ino()).filter(|&ino| ino != ROOT_INO);
    let paths = args.paths.iter().map(|path| inode_in_mount(path, root));
    let inodes = named.map(Ok).into_iter().chain(paths).collect::<anyhow::Result<_>>()?;
    let request = Request::Pack {
        inodes,
        jobs: args.jobs.unwrap_or(0),
        again: args.again,
        workers: workers(args)?,
    };
    let mut meter = Meter::new(quiet);
    Ok(client.call(&request, &mut |progress| meter.show(&progress))?)
}

/// The inode of a path as typed, or else of the path below the root of the mount.
fn inode_in_mount(path: &Path, root: Option<&Path>) -> anyhow::Result<u64> {
    let typed = mount_of(path)?;
    if let (Some(mount), Ok(found)) = (&typed, path.symlink_metadata())
        && root.is_none_or(|root| mount.mountpoint == root)
    {
        return Ok(found.ino());
    }
    let Some(root) = root else {
        bail!("{} is not in the mounted store", path.shown());
    };
    let below = root.join(path.strip_prefix("/").unwrap_or(path));
    let found = below
        .symlink_metadata()
        .with_context(|| format!("{} is neither a path in {} nor below it", path.shown(), root.shown()))?;
    Ok(found.ino())
}

/// Who is to help.
fn workers(args: &args::Pack) -> anyhow::Result<Option<Workers>> {
    let Some(address) = &args.workers else { return Ok(None) };
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    // The daemon has another current folder.
    let address = address.clone().absolute()?;
    Ok(Some(Workers { address, token }))
}

fn here(args: &args::Pack, folder: Folder, quiet: bool) -> anyhow::Result<Summary> {
    let access = Access {
        prefer: args.prefer,
        ..Access::full("lmfs pack")
    };
    let opened = Opened::open(folder, &access)?;
    if let Some(fault) = &opened.model_fault {
        bail!("nothing can be packed: {fault}");
    }
    let paths = args.paths.iter().map(|path| inode_in_store(&opened.indexer, path));
    let inodes: Vec<u64> = paths.collect::<anyhow::Result<_>>()?;
    let scope = if inodes.is_empty() {
        Scope::All
    } else {
        Scope::Inodes(inodes)
    };
    let packer = Packer::new(
        opened.indexer.clone(),
        opened.codec.clone(),
        Arc::new(Offline),
        Options::default(),
    );
    let workers = workers(args)?.map(|workers| {
        let supplies = StoreSupplies::new(opened.folder.clone(), opened.indexer.clone());
        workers.listen(&opened.codec, Box::new(supplies))
    });
    let workers = workers.transpose()?;
    let helpers = workers.as_ref().map(|pool| pool as &dyn Helpers);
    let meter = Mutex::new(Meter::new(quiet));
    let show = |step: &_| meter.lock().show(&packing(step));
    let stop = stop_on_interrupt()?;
    let jobs = usize::from(args.jobs.unwrap_or(0));
    let packed = packer.run(helpers, &scope, args.again, jobs, &show, &stop);
    drop((packer, meter, workers));
    opened.close()?;
    Ok(packed?)
}

/// The inode of a path from the root of a store; links in it are not followed.
fn inode_in_store(store: &Store, path: &Path) -> anyhow::Result<u64> {
    let mut ino = ROOT_INO;
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                let entry = store.dirent(ino, name.as_encoded_bytes())?;
                ino = entry
                    .with_context(|| format!("there is no {} in the store (paths start at its root)", path.shown()))?
                    .ino;
            }
            Component::ParentDir | Component::Prefix(_) => {
                bail!(
                    "{}: '..' has no meaning here; paths start at the store's root",
                    path.shown()
                )
            }
        }
    }
    Ok(ino)
}

fn text(summary: &Summary) -> String {
    let bytes = &summary.progress;
    if bytes.total_bytes == 0 {
        return "nothing to pack".to_owned();
    }
    let learned = match summary.dictionaries_learned {
        0 => String::new(),
        1 => "; a dictionary learned".to_owned(),
        n => format!("; {n} dictionaries learned"),
    };
    let shared = match summary.blocks_shared {
        0 => String::new(),
        n => format!(", {} stored once with others", output::count(n)),
    };
    let workers = match bytes.worker_bytes {
        0 => String::new(),
        bytes => format!("; workers encoded {}", byte_size::show(bytes)),
    };
    format!(
        "packed {} in {:.1} s: {} became {}; {} blocks smaller{shared}, {} as they were{learned}{workers}; {} given back",
        byte_size::show(bytes.done_bytes),
        summary.seconds,
        byte_size::show(bytes.before_bytes),
        byte_size::show(bytes.after_bytes),
        output::count(summary.blocks_packed),
        output::count(summary.blocks_kept + summary.blocks_changed),
        byte_size::show(summary.freed_bytes),
    )
}
