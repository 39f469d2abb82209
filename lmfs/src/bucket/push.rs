//! One push: what of a store is not in its bucket yet is stored there, and HEAD then names it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use lmfs_codec::Stop;
use lmfs_indexer::Cut;
use lmfs_indexer::io::Directory;
use lmfs_object::bucket::{self, File, Head, MAX_CONFIG, Piece, Verified, Writer, plan};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

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
    /// What was stored once is another one here by now. What is in the bucket stays.
    #[error(
        "bytes {from} to {to} of {path} are not what was stored in the bucket: they were damaged on this machine, and \
         nothing was replaced there; `lmfs check --repair` mends them, or `lmfs clone` fetches the good ones"
    )]
    Rotten {
        /// The file.
        path: String,
        /// The first of the bytes.
        from: u64,
        /// Where they end.
        to: u64,
    },
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
    /// Objects that were compared with what HEAD says of them.
    pub verified_objects: u64,
    /// Those that were gone or others, and whose bytes were stored anew.
    pub wrong_objects: u64,
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

/// What is to be stored, and what the bucket says of those bytes that it has in other pieces.
#[derive(Default)]
struct Work {
    jobs: Vec<Job>,
    joined: HashMap<String, Joined>,
}

/// Pieces of a file that become parts of longer ones: the bytes here must be what was stored.
#[derive(Default)]
struct Joined {
    /// Where they begin and end, in order, and their digests.
    pieces: VecDeque<(u64, u64, String)>,
    digest: Sha256,
}

impl Joined {
    /// The next bytes of the file, which begin at `from`.
    fn take(&mut self, path: &str, from: u64, bytes: &[u8]) -> Result<(), Failure> {
        let end = from + bytes.len() as u64;
        while let Some((begin, until, sha256)) = self.pieces.front() {
            let (first, last) = (from.max(*begin), end.min(*until));
            if first < last {
                let part = bytes.get((first - from) as usize..(last - from) as usize);
                self.digest.update(part.unwrap_or_default());
            }
            if *until > end {
                break;
            }
            if hex::encode(self.digest.finalize_reset()) != *sha256 {
                return Err(Failure::Rotten {
                    path: path.to_owned(),
                    from: *begin,
                    to: *until,
                });
            }
            self.pieces.pop_front();
        }
        Ok(())
    }
}

/// Pushes the store in `folder` as `cut` has it, which is durable. What is in the bucket is compared with it each time:
/// the folder may have become another one. With `verify`, what is there is first compared with what HEAD says of it.
///
/// # Errors
/// [`Failure`]; what was stored by then is not stored again.
pub async fn push(
    writer: &mut Writer,
    folder: &Folder,
    cut: &Cut,
    verify: bool,
    tell: &mut dyn FnMut(&Progress),
    stop: &Stop,
) -> Result<Pushed, Failure> {
    if Uuid::from_bytes(cut.store_id) != writer.store_id() {
        return Err(Failure::Bucket(bucket::Error::OtherStore {
            place: writer.place(),
            found: writer.store_id().to_string(),
        }));
    }
    let sources = sources(folder, cut)?;
    if let Some(head) = writer.head() {
        check_history(head, folder.dir(), cut, &writer.place())?;
    }
    let verified = match verify {
        false => Verified::default(),
        true => verified(writer, tell, stop).await?,
    };
    let wrong_objects = stored_anew(writer.head(), &sources, &verified.wrong);
    let (mut files, mut work) = planned(writer, folder.dir(), &sources, &verified.wrong)?;
    let is_there = |head: &Head| head.seq == Some(cut.seq) && head.files == files;
    let is_new = !work.jobs.is_empty() || !writer.head().is_some_and(is_there);
    if is_new && !writer.is_claimed() {
        writer.claim().await?;
        // Others may have written before this became the writer.
        if let Some(head) = writer.head() {
            check_history(head, folder.dir(), cut, &writer.place())?;
        }
        (files, work) = planned(writer, folder.dir(), &sources, &verified.wrong)?;
    }
    let mut pushed = Pushed {
        seq: cut.seq,
        bytes: sources.iter().map(|source| source.len).sum(),
        verified_objects: verified.objects,
        wrong_objects,
        ..Pushed::default()
    };
    let mut pieces = store(writer, folder.dir(), work, &mut pushed, tell, stop).await?;
    for file in &mut files {
        file.pieces.append(&mut pieces.remove(&file.path).unwrap_or_default());
    }
    if is_new {
        writer.commit(files, cut.seq).await?;
    }
    pushed.deleted_objects = writer.sweep(|| stop.is_set()).await?;
    Ok(pushed)
}

/// Looks at every object that HEAD names.
async fn verified(writer: &mut Writer, tell: &mut dyn FnMut(&Progress), stop: &Stop) -> Result<Verified, Failure> {
    let mut each = |done, total| tell(&Progress::new("verifying", done, total));
    let verified = writer.verify(&mut each, || stop.is_set()).await?;
    if stop.is_set() {
        return Err(Failure::Interrupted);
    }
    for object in &verified.wrong {
        tracing::warn!("{object} is gone from {}, or is not what was stored", writer.place());
    }
    Ok(verified)
}

/// Objects that are `wrong` and belong to files that the store still has: the bytes of others are nowhere any more.
fn stored_anew(head: Option<&Head>, sources: &[Source], wrong: &HashSet<String>) -> u64 {
    let Some(head) = head else { return 0 };
    let paths: HashSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let in_files = head
        .files
        .iter()
        .flat_map(|file| file.pieces.iter().map(|piece| (&file.path, piece)));
    let staged = head.staged.iter().map(|staged| (&staged.path, &staged.piece));
    let known = in_files.chain(staged).filter(|(path, _)| paths.contains(path.as_str()));
    let found: HashSet<&str> = known.map(|(_, piece)| piece.object.as_str()).collect();
    wrong.iter().filter(|object| found.contains(object.as_str())).count() as u64
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

/// The files with the pieces that stay, and what has to be stored behind these. Where objects are `wrong`, all from
/// there to the end of the file.
fn planned(
    writer: &Writer,
    dir: &Directory,
    sources: &[Source],
    wrong: &HashSet<String>,
) -> Result<(Vec<File>, Work), Failure> {
    let (mut files, mut work) = (Vec::new(), Work::default());
    let there = writer.head().map(|head| head.files.as_slice()).unwrap_or_default();
    let there: HashMap<&str, &File> = there.iter().map(|file| (file.path.as_str(), file)).collect();
    for source in sources {
        let old = there.get(source.path.as_str()).copied();
        files.push(planned_file(dir, source, old, wrong, &mut work, &writer.place())?);
    }
    Ok((files, work))
}

fn planned_file(
    dir: &Directory,
    source: &Source,
    old: Option<&File>,
    wrong: &HashSet<String>,
    work: &mut Work,
    place: &str,
) -> Result<File, Failure> {
    let replaced = |old: &&File| match (&source.digest, old.pieces.as_slice()) {
        (Some(digest), [piece]) => piece.sha256 == *digest,
        (Some(_), _) => false,
        (None, _) => true,
    };
    let old = old.filter(replaced);
    if old.is_some_and(|old| old.len() > source.len) {
        return Err(diverged(place, format!("{} is longer there", source.path)));
    }
    let pieces = old.map(|old| old.pieces.as_slice()).unwrap_or_default();
    let right = pieces.iter().take_while(|piece| !wrong.contains(&piece.object)).count();
    let plan = plan(pieces.get(..right).unwrap_or(pieces), source.len, source.complete);
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
    work.jobs.extend(jobs);
    let (kept, joined) = pieces.split_at(plan.keep.min(pieces.len()));
    let mut end = kept.iter().map(|piece| piece.length).sum::<u64>();
    let joined = joined.iter().map(|piece| {
        let begin = end;
        end += piece.length;
        (begin, end, piece.sha256.to_ascii_lowercase())
    });
    let joined: VecDeque<_> = joined.collect();
    if !joined.is_empty() {
        let joined = Joined {
            pieces: joined,
            ..Joined::default()
        };
        work.joined.insert(source.path.clone(), joined);
    }
    Ok(File {
        path: source.path.clone(),
        start,
        pieces: kept.to_vec(),
    })
}

/// Stores what is not in the bucket yet; the pieces of each file, in order.
async fn store(
    writer: &mut Writer,
    dir: &Directory,
    work: Work,
    pushed: &mut Pushed,
    tell: &mut dyn FnMut(&Progress),
    stop: &Stop,
) -> Result<HashMap<String, Vec<Piece>>, Failure> {
    let Work { jobs, mut joined } = work;
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
            let bytes = read(dir, &job.path, job.from, (job.to - job.from) as usize);
            let checked = bytes.and_then(|bytes| match joined.get_mut(&job.path) {
                Some(joined) => joined.take(&job.path, job.from, &bytes).map(|()| bytes),
                None => Ok(bytes),
            });
            let bytes = match checked {
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
    let diverged = |why: String| Err(diverged(place, why));
    let Some(seq) = head.seq else { return Ok(()) };
    if seq > cut.seq {
        return diverged(format!(
            "it has transaction {seq}, and the last one of the store is {}",
            cut.seq
        ));
    }
    let there: HashMap<&str, u64> = cut.segments.iter().map(|s| (s.path.as_str(), s.len)).collect();
    let pushed = head.files.iter().filter(|file| file.path.starts_with("segments/"));
    let mut newest: Option<&File> = None;
    for file in pushed {
        let Some(len) = there.get(file.path.as_str()) else {
            // Collected. Numbers only grow, so others must have come after it.
            match cut.segments.last() {
                Some(last) if last.path > file.path => continue,
                _ => return diverged(format!("{} is missing in the store", file.path)),
            }
        };
        let start = file.start();
        if *len < file.len() || read(dir, &file.path, 0, start.len())? != start {
            return diverged(format!("{} is another one", file.path));
        }
        newest = newest.filter(|newest| newest.path > file.path).or(Some(file));
    }
    // Of a copy that went another way the newest common segment differs. If garbage collection took all of them, there
    // is nothing to compare.
    if let Some(newest) = newest
        && let Some(last) = newest.pieces.last()
    {
        let bytes = read(dir, &newest.path, newest.len() - last.length, last.length as usize)?;
        if sha256(&bytes) != last.sha256 {
            return diverged(format!("{} is another one, or damaged here", newest.path));
        }
    }
    Ok(())
}

fn diverged(place: &str, why: String) -> Failure {
    Failure::Bucket(bucket::Error::Diverged {
        place: place.to_owned(),
        why,
    })
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
        io::Read::read_to_end(&mut io::Read::take(file, MAX_CONFIG + 1), &mut bytes)?;
        match bytes.len() as u64 {
            len if len > MAX_CONFIG => Err(io::Error::other(format!("it has more than {MAX_CONFIG} bytes"))),
            _ => Ok(bytes),
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lmfs_object::bucket::{Bucket, WriterOptions};

    use super::*;

    /// Regression: what an interrupted push had stored was taken for right, whatever it had become.
    #[test]
    fn what_was_staged_is_verified_too() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(staged_is_verified());
    }

    async fn staged_is_verified() {
        const PATH: &str = "segments/00000001.seg";
        let dir = tempfile::tempdir().unwrap();
        let options = WriterOptions::new(Uuid::from_u128(7), "a test".into());
        let open = async || {
            let bucket = Bucket::in_folder(dir.path(), true).unwrap();
            Writer::open(bucket, options.clone()).await.unwrap()
        };
        let mut writer = open().await;
        writer.claim().await.unwrap();
        let piece = writer.store(PATH, Bytes::from_static(b"bytes")).await.unwrap();
        writer.stage(PATH, 0, piece.clone());
        writer.note().await.unwrap();
        let mut writer = open().await;
        let verified = writer.verify(&mut |_, _| {}, || false).await.unwrap();
        assert_eq!((verified.objects, verified.wrong.len()), (1, 0));
        assert_eq!(writer.found(PATH, 0, b"bytes"), Some(piece.clone()));
        std::fs::write(dir.path().join(&piece.object), b"other").unwrap();
        let verified = writer.verify(&mut |_, _| {}, || false).await.unwrap();
        assert!(verified.wrong.contains(&piece.object));
        assert_eq!(writer.found(PATH, 0, b"bytes"), None);
        let source = |path: &str| Source {
            path: path.into(),
            len: 5,
            complete: true,
            digest: None,
        };
        let anew = |path| stored_anew(writer.head(), &[source(path)], &verified.wrong);
        assert_eq!(anew(PATH), 1);
        assert_eq!(anew("segments/00000002.seg"), 0, "nobody has its bytes any more");
    }
}
