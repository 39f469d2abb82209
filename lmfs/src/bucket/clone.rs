//! A store from a bucket, in a folder of its own.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::future::join_all;
use lmfs_codec::Stop;
use lmfs_indexer::io::Directory;
use lmfs_object::bucket::{self, Head, Piece, Reader};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::progress::Progress;
use crate::store::{Folder, write_new};

/// Pieces that are fetched at a time.
const PARALLEL: usize = 4;
/// How often HEAD is read again because objects that it named were deleted meanwhile.
const ATTEMPTS: u32 = 5;
/// Says in a folder whose clone it will become.
const MARK: &str = "clone";

/// What was fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cloned {
    /// Number of the store's last transaction.
    pub seq: u64,
    /// Bytes that the store has.
    pub bytes: u64,
    /// Bytes that were fetched: without those that were there from an earlier attempt.
    pub fetched_bytes: u64,
}

/// Fetches the store to the folder `path`, which must be new or empty, or hold what an earlier attempt has fetched.
///
/// # Errors
/// A bucket without a store, pieces that are not what HEAD says, a folder with something else in it, a full disk.
pub async fn clone(
    reader: &Reader,
    path: &Path,
    tell: &mut dyn FnMut(&Progress),
    stop: &Stop,
) -> anyhow::Result<Cloned> {
    let mut head = reader.head().await?;
    let (dir, place) = begin(path, head.lineage)?;
    let mut fetched_bytes = 0;
    let mut attempt = 1;
    loop {
        match fetch(reader, &head, &dir, &mut fetched_bytes, tell, stop).await {
            Err(error) if attempt < ATTEMPTS && is_gone(&error) => head = next(reader, &head).await?,
            fetched => break fetched?,
        }
        attempt += 1;
    }
    let config = head.file("config.toml").context("HEAD names no config.toml")?;
    let mut text = Vec::new();
    for piece in &config.pieces {
        text.extend_from_slice(&reader.piece(piece).await?);
    }
    // With this the folder is a store.
    write_new(&dir, "config.toml", &text).with_context(|| format!("cannot write {}/config.toml", place.display()))?;
    let _ = dir.remove(MARK);
    dir.sync().with_context(|| format!("cannot sync {}", place.display()))?;
    let found = Folder::find(path)?.config().store_id;
    if found != head.store_id {
        bail!(
            "{} says that it is the store {found}, and HEAD says {}",
            place.display(),
            head.store_id
        );
    }
    Ok(Cloned {
        seq: head.seq.unwrap_or_default(),
        bytes: head.files.iter().map(bucket::File::len).sum(),
        fetched_bytes,
    })
}

fn is_gone(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(bucket::Error::Gone { .. }))
}

/// HEAD as it is by now.
async fn next(reader: &Reader, before: &Head) -> anyhow::Result<Head> {
    let head = reader.head().await?;
    if head.commit == before.commit {
        bail!("{} is damaged: HEAD names objects that are gone", reader.place());
    }
    if head.lineage != before.lineage {
        bail!("another store was pushed to {} meanwhile", reader.place());
    }
    Ok(head)
}

/// The folder, marked as one that becomes a clone.
fn begin(path: &Path, lineage: Uuid) -> anyhow::Result<(Directory, std::path::PathBuf)> {
    let lineage = lineage.to_string();
    if let Ok(dir) = Directory::open(path)
        && let Ok(mut mark) = dir.open_file(MARK, false)
        && dir.look("config.toml").is_err()
    {
        let mut text = String::new();
        // A mark that is no text is another one.
        let _ = Read::by_ref(&mut mark).take(100).read_to_string(&mut text);
        if text != lineage {
            bail!(
                "{} holds a part of another store, left by a clone that was interrupted: remove the folder first",
                path.display()
            );
        }
        let place = dir.path()?;
        return Ok((dir, place));
    }
    let (dir, place) = Folder::prepare(path)?;
    write_new(&dir, MARK, lineage.as_bytes()).with_context(|| format!("cannot write to {}", place.display()))?;
    Ok((dir, place))
}

/// Makes the files of the folder those of HEAD.
async fn fetch(
    reader: &Reader,
    head: &Head,
    dir: &Directory,
    fetched: &mut u64,
    tell: &mut dyn FnMut(&Progress),
    stop: &Stop,
) -> anyhow::Result<()> {
    let files = head.files.iter().filter(|file| file.path.contains('/'));
    let total = files.clone().map(bucket::File::len).sum();
    let mut done = 0;
    remove_others(dir, head)?;
    for file in files {
        let Some((folder, name)) = file.path.split_once('/') else {
            continue;
        };
        let at = || format!("cannot write {}", file.path);
        let folder = dir.make_directory(folder).with_context(at)?;
        let local = folder.open_or_create(name).with_context(at)?;
        let mut begin = 0;
        let mut wanted = Vec::new();
        for piece in &file.pieces {
            match is_there(&local, begin, piece).with_context(at)? {
                true => done += piece.length,
                false => wanted.push((begin, piece)),
            }
            begin += piece.length;
        }
        for batch in wanted.chunks(PARALLEL) {
            if stop.is_set() {
                bail!("interrupted; `lmfs clone` goes on from here");
            }
            let pieces = join_all(batch.iter().map(|(_, piece)| reader.piece(piece))).await;
            for ((begin, piece), bytes) in batch.iter().zip(pieces) {
                let bytes: Bytes = bytes?;
                local.write_all_at(&bytes, *begin).with_context(at)?;
                *fetched += piece.length;
                done += piece.length;
            }
            tell(&Progress::new("fetching", done, total));
        }
        local.set_len(file.len()).with_context(at)?;
        local.sync_all().with_context(at)?;
        folder.sync().with_context(at)?;
    }
    Ok(dir.sync()?)
}

/// Removes files that an earlier HEAD had.
fn remove_others(dir: &Directory, head: &Head) -> anyhow::Result<()> {
    for name in ["segments", "models"] {
        let prefix = format!("{name}/");
        let named = head.files.iter().filter_map(|file| file.path.strip_prefix(&prefix));
        let named: HashSet<&OsStr> = named.map(OsStr::new).collect();
        let folder = match dir.directory(name) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            folder => folder?,
        };
        for name in folder.names()? {
            if !named.contains(name.as_os_str()) {
                folder.remove(&name)?;
            }
        }
    }
    Ok(())
}

/// Whether a piece lies there already.
fn is_there(file: &File, begin: u64, piece: &Piece) -> std::io::Result<bool> {
    if file.metadata()?.len() < begin.saturating_add(piece.length) {
        return Ok(false);
    }
    let (mut digest, mut at) = (Sha256::new(), begin);
    let mut buffer = vec![0; 1 << 20];
    let end = begin + piece.length;
    while at < end {
        let len = buffer.len().min((end - at) as usize);
        let part = buffer.get_mut(..len).unwrap_or_default();
        file.read_exact_at(part, at)?;
        digest.update(&*part);
        at += len as u64;
    }
    Ok(hex::encode(digest.finalize()) == piece.sha256)
}
