//! One push: what of a store is not in its bucket yet is stored there, and HEAD then names it.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use lmfs_codec::Stop;
use lmfs_indexer::Cut;
use lmfs_indexer::io::Directory;
use lmfs_object::bucket::{self, File, Head, Piece, Writer, plan};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::progress::Progress;
use crate::store::Folder;

/// Pieces that are held in memory and stored at a time.
const PARALLEL: usize = 4;
/// How often what was stored is noted, so that an interruption costs no more.
const NOTE_EVERY: Duration = Duration::from_secs(30);
/// Bytes at the start of a segment that HEAD holds, so that a store is opened without a request for each.
const START: usize = 64;

/// Why a push has not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Garbage collection took a segment that was about to be read: what there is has to be looked at again.
    #[error("the store's segments changed while they were read")]
    Changed,
    /// Ctrl-C.
    #[error("interrupted; the next `lmfs push` goes on from here")]
    Interrupted,
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] bucket::Error),
    /// The store on this machine.
    #[error("cannot read {path}: {source}")]
    Store {
        /// What was read.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// What a push did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// Number of the last transaction in the bucket.
    pub seq: u64,
    /// Bytes that the store has there.
    pub bytes: u64,
    /// Bytes and objects that were stored.
    pub stored_bytes: u64,
    /// See there.
    pub stored_objects: u64,
    /// Objects that were deleted because no HEAD of the grace period needs them.
    pub deleted_objects: u64,
}

/// A file to be pushed.
struct Source {
    path: String,
    len: u64,
    /// It grows no more.
    complete: bool,
    /// Digest of a file that is replaced as a whole, where others only grow.
    digest: Option<String>,
}

/// A part of a file that is to become a piece.
struct Job {
    path: String,
    from: u64,
    to: u64,
}

/// Pushes the store in `folder` as `cut` has it, which is durable. `first` is set for the first push of a writer: then
/// what is in the bucket is compared with the store.
///
/// # Errors
/// [`Failure`]; what was stored by then is not stored again.
pub async fn push(
    writer: &mut Writer,
    folder: &Folder,
    cut: &Cut,
    first: bool,
    tell: &mut dyn FnMut(&Progress),
    stop: &Stop,
) -> Result<Pushed, Failure> {
    let sources = sources(folder, cut)?;
    if first && let Some(head) = writer.head() {
        check_history(head, folder.dir(), cut, &writer.place())?;
    }
    let (mut files, mut jobs) = planned(writer.head(), folder.dir(), &sources)?;
    let is_there = |head: &Head| head.seq == Some(cut.seq) && head.files == files;
    let is_new = !jobs.is_empty() || !writer.head().is_some_and(is_there);
    if is_new && !writer.is_claimed() {
        writer.claim().await?;
        // Others may have written before this became the writer.
        if let Some(head) = writer.head() {
            check_history(head, folder.dir(), cut, &writer.place())?;
        }
        (files, jobs) = planned(writer.head(), folder.dir(), &sources)?;
    }
    let mut pushed = Pushed {
        seq: cut.seq,
        bytes: sources.iter().map(|source| source.len).sum(),
        ..Pushed::default()
    };
    let mut pieces = store(writer, folder.dir(), &jobs, &mut pushed, tell, stop).await?;
    for file in &mut files {
        file.pieces.append(&mut pieces.remove(&file.path).unwrap_or_default());
    }
    if is_new {
        writer.commit(files, cut.seq).await?;
    }
    pushed.deleted_objects = writer.sweep().await?;
    Ok(pushed)
}

/// The files of the store.
fn sources(folder: &Folder, cut: &Cut) -> Result<Vec<Source>, Failure> {
    let mut found = Vec::new();
    let config = read_all(folder.dir(), "config.toml")?;
    found.push(Source {
        path: "config.toml".into(),
        len: config.len() as u64,
        complete: true,
        digest: Some(sha256(&config)),
    });
    if let Some(model) = &folder.config().model {
        let path = format!("models/{}.gguf", model.digest);
        let len = open(folder.dir(), &path).and_then(|file| Ok(file.metadata()?.len()));
        found.push(Source {
            len: len.map_err(failed(&path))?,
            path,
            complete: true,
            digest: None,
        });
    }
    found.extend(cut.segments.iter().map(|segment| Source {
        path: segment.path.clone(),
        len: segment.len,
        complete: segment.complete,
        digest: None,
    }));
    Ok(found)
}

/// The files with the pieces that stay, and what has to be stored behind these.
fn planned(head: Option<&Head>, dir: &Directory, sources: &[Source]) -> Result<(Vec<File>, Vec<Job>), Failure> {
    let (mut files, mut jobs) = (Vec::new(), Vec::new());
    for source in sources {
        let (file, wanted) = planned_file(dir, source, head.and_then(|head| head.file(&source.path)))?;
        jobs.extend(wanted);
        files.push(file);
    }
    Ok((files, jobs))
}

fn planned_file(dir: &Directory, source: &Source, old: Option<&File>) -> Result<(File, Vec<Job>), Failure> {
    let replaced = |old: &&File| match (&source.digest, old.pieces.as_slice()) {
        (Some(digest), [piece]) => piece.sha256 == *digest,
        (Some(_), _) => false,
        (None, _) => true,
    };
    let old = old.filter(replaced);
    let pieces = old.map(|old| old.pieces.as_slice()).unwrap_or_default();
    let plan = plan(pieces, source.len, source.complete);
    let start = match old {
        Some(old) if !old.start.is_empty() => old.start.clone(),
        _ if source.path.starts_with("segments/") => hex::encode(read(dir, &source.path, 0, START)?),
        _ => String::new(),
    };
    let jobs = plan.store.iter().map(|range| Job {
        path: source.path.clone(),
        from: range.start,
        to: range.end,
    });
    let file = File {
        path: source.path.clone(),
        start,
        pieces: pieces.iter().take(plan.keep).cloned().collect(),
    };
    Ok((file, jobs.collect()))
}

/// Stores what is not in the bucket yet; the pieces of each file, in order.
async fn store(
    writer: &mut Writer,
    dir: &Directory,
    jobs: &[Job],
    pushed: &mut Pushed,
    tell: &mut dyn FnMut(&Progress),
    stop: &Stop,
) -> Result<HashMap<String, Vec<Piece>>, Failure> {
    let total = jobs.iter().map(|job| job.to - job.from).sum();
    let (mut done, mut pieces) = (0, HashMap::<String, Vec<Piece>>::new());
    let mut noted = Instant::now();
    for batch in jobs.chunks(PARALLEL) {
        if stop.is_set() {
            writer.note().await?;
            return Err(Failure::Interrupted);
        }
        let mut parts = Vec::new();
        for job in batch {
            let bytes = match read(dir, &job.path, job.from, (job.to - job.from) as usize) {
                Ok(bytes) => bytes,
                Err(error) => {
                    writer.note().await?;
                    return Err(error);
                }
            };
            let found = writer.found(&job.path, job.from, &bytes);
            parts.push((job, Bytes::from(bytes), found));
        }
        let stored = parts.into_iter().map(async |(job, bytes, found)| match found {
            Some(piece) => (job, false, Ok(piece)),
            None => (job, true, writer.store(&job.path, bytes).await),
        });
        let mut failed = None;
        for (job, is_new, stored) in join_all(stored).await {
            match stored {
                Ok(piece) => {
                    if is_new {
                        pushed.stored_bytes += piece.length;
                        pushed.stored_objects += 1;
                        writer.stage(&job.path, job.from, piece.clone());
                    }
                    done += piece.length;
                    pieces.entry(job.path.clone()).or_default().push(piece);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            // The first failure is what counts.
            let _ = writer.note().await;
            return Err(error.into());
        }
        tell(&Progress::new("pushing", done, total));
        if noted.elapsed() >= NOTE_EVERY {
            writer.note().await?;
            noted = Instant::now();
        }
    }
    Ok(pieces)
}

/// Finds out whether the store is a later state of what is in the bucket: not a copy that went another way, and not an
/// older state that a backup brought back.
fn check_history(head: &Head, dir: &Directory, cut: &Cut, place: &str) -> Result<(), Failure> {
    let diverged = |why: String| {
        Err(Failure::Bucket(bucket::Error::Diverged {
            place: place.to_owned(),
            why,
        }))
    };
    let Some(seq) = head.seq else { return Ok(()) };
    if seq > cut.seq {
        return diverged(format!(
            "it has transaction {seq}, and the last one of the store is {}",
            cut.seq
        ));
    }
    let pushed = head.files.iter().filter(|file| file.path.starts_with("segments/"));
    let newest = pushed.clone().map(|file| file.path.as_str()).max();
    for file in pushed {
        let Some(now) = cut.segments.iter().find(|segment| segment.path == file.path) else {
            // Collected. Numbers only grow, so others must have come after it.
            match cut.segments.last() {
                Some(last) if last.path > file.path => continue,
                _ => return diverged(format!("{} is missing in the store", file.path)),
            }
        };
        let start = file.start();
        if now.len < file.len() || read(dir, &file.path, 0, start.len())? != start {
            return diverged(format!("{} is another one", file.path));
        }
        if Some(file.path.as_str()) == newest
            && let Some(last) = file.pieces.last()
        {
            let bytes = read(dir, &file.path, file.len() - last.length, last.length as usize)?;
            if sha256(&bytes) != last.sha256 {
                return diverged(format!("{} is another one", file.path));
            }
        }
    }
    Ok(())
}

fn open(dir: &Directory, path: &str) -> io::Result<std::fs::File> {
    match path.split_once('/') {
        Some((folder, name)) => dir.directory(folder)?.open_file(name, false),
        None => dir.open_file(path, false),
    }
}

/// Bytes of a file, which must be there.
fn read(dir: &Directory, path: &str, from: u64, len: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; len];
    let read = open(dir, path).and_then(|file| match file.read_exact_at(&mut bytes, from) {
        // The first bytes of a short file.
        Err(e) if from == 0 && e.kind() == ErrorKind::UnexpectedEof && len <= START => {
            bytes.truncate(usize::try_from(file.metadata()?.len()).unwrap_or(len));
            file.read_exact_at(&mut bytes, 0)
        }
        read => read,
    });
    read.map_err(failed(path))?;
    Ok(bytes)
}

fn read_all(dir: &Directory, path: &str) -> Result<Vec<u8>, Failure> {
    let read = || {
        let file = open(dir, path)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, 1 << 20), &mut bytes)?;
        Ok(bytes)
    };
    read().map_err(failed(path))
}

fn failed(path: &str) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| match source.kind() {
        ErrorKind::NotFound if Path::new(&path).starts_with("segments") => Failure::Changed,
        _ => Failure::Store { path, source },
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
