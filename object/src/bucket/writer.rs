//! Who writes to a bucket: it takes the next epoch, stores pieces, and replaces HEAD as long as nobody else did.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::{Error, Result};
use super::head::{Dead, File, Head, Piece, Staged};
use super::place::{Bucket, Version};

/// How often HEAD is tried to be replaced when requests fail.
const ATTEMPTS: u32 = 4;
/// How often it is tried to become the writer while others do the same.
const CLAIMS: u32 = 20;
/// Objects that are deleted at a time: the next push goes on.
const SWEEP: usize = 4000;
/// A server whose conditional writes were raced is believed for so many seconds.
const TRUSTED: u64 = 24 * 3600;

/// Who writes what.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Identity of the store.
    pub store_id: Uuid,
    /// Who it is, for people: the machine and the process.
    pub name: String,
    /// How long objects are kept that are needed no more.
    pub grace: Duration,
    /// The time, in seconds since 1970.
    pub clock: fn() -> u64,
}

impl WriterOptions {
    /// Options for the store `store_id`, with a grace period of a day.
    #[must_use]
    pub fn new(store_id: Uuid, name: String) -> WriterOptions {
        WriterOptions {
            store_id,
            name,
            grace: Duration::from_secs(24 * 3600),
            clock: || {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs())
            },
        }
    }
}

/// A writer.
#[derive(Debug)]
pub struct Writer {
    bucket: Bucket,
    options: WriterOptions,
    /// This run: no other has the same.
    run: Uuid,
    /// HEAD as it was last known, and its version.
    head: Option<(Head, Version)>,
    /// HEAD names this run.
    claimed: bool,
    /// Pieces stored since HEAD was last replaced.
    staged: Vec<Staged>,
    /// Objects that [`Writer::verify`] found to be others than HEAD says, or gone.
    pub(super) wrong: HashSet<String>,
    /// Objects that no HEAD names, left by writers that were interrupted.
    orphans: Vec<String>,
    names: AtomicU64,
}

impl Writer {
    /// Looks at what is there. Nothing is written before there is something to write.
    ///
    /// # Errors
    /// Another store; a HEAD that cannot be read.
    pub async fn open(bucket: Bucket, options: WriterOptions) -> Result<Writer> {
        let head = bucket.head().await?;
        if let Some((head, _)) = &head
            && head.store_id != options.store_id
        {
            return Err(Error::OtherStore {
                place: bucket.name(),
                found: head.store_id.to_string(),
            });
        }
        Ok(Writer {
            bucket,
            options,
            run: Uuid::new_v4(),
            head,
            claimed: false,
            staged: Vec::new(),
            wrong: HashSet::new(),
            orphans: Vec::new(),
            names: AtomicU64::new(0),
        })
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// HEAD as it was last read or written.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref().map(|(head, _)| head)
    }

    /// The name of the bucket, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.bucket.name()
    }

    /// Identity of the store that is written.
    #[must_use]
    pub fn store_id(&self) -> Uuid {
        self.options.store_id
    }

    /// Whether this is the writer, as far as it knows.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.claimed
    }

    /// Becomes the writer: from here on no other can replace HEAD without this one noticing. HEAD may be another one
    /// than before.
    ///
    /// # Errors
    /// A server whose conditions cannot be trusted; another store; requests that fail.
    pub async fn claim(&mut self) -> Result<()> {
        let mut attempt = 1;
        while !self.claimed {
            let head = self.claiming().await?;
            match self.replace(head).await {
                Ok(()) => self.claimed = true,
                // Somebody wrote since HEAD was read. Nothing was built on that yet.
                Err(Error::Fenced { .. }) if attempt < CLAIMS => {
                    *self = Writer::open(self.bucket.clone(), self.options.clone()).await?;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
            if self.claimed {
                self.find_orphans().await?;
            }
        }
        Ok(())
    }

    /// The HEAD that makes this run the writer.
    async fn claiming(&self) -> Result<Head> {
        let now = (self.options.clock)();
        let mut head = match self.head() {
            Some(head) => self.next(head),
            None => Head {
                lineage: Uuid::new_v4(),
                store_id: self.options.store_id,
                epoch: 0,
                writer: self.run,
                writer_name: String::new(),
                commit: Uuid::new_v4(),
                time: now,
                probed: 0,
                grace_seconds: self.options.grace.as_secs(),
                seq: None,
                files: Vec::new(),
                staged: Vec::new(),
                dead: Vec::new(),
            },
        };
        if now.abs_diff(head.probed) >= TRUSTED {
            self.bucket.probe().await?;
            head.probed = now;
        }
        head.epoch = head.epoch.saturating_add(1);
        head.writer = self.run;
        head.writer_name.clone_from(&self.options.name);
        Ok(head)
    }

    /// A HEAD like `head`, to be changed.
    fn next(&self, head: &Head) -> Head {
        Head {
            commit: Uuid::new_v4(),
            time: (self.options.clock)(),
            grace_seconds: self.options.grace.as_secs(),
            ..head.clone()
        }
    }

    /// Objects of earlier epochs that HEAD does not name. Their writers can name them no more.
    async fn find_orphans(&mut self) -> Result<()> {
        let Some(head) = self.head() else { return Ok(()) };
        let (epoch, named) = (head.epoch, head.objects());
        let found = self.bucket.objects().await?;
        let orphans = found.into_iter().filter(|object| !named.contains(object.as_str()));
        self.orphans = orphans
            .filter(|object| epoch_of(object).is_some_and(|earlier| earlier < epoch))
            .collect();
        Ok(())
    }

    /// A piece of the file `path` from `offset` on with these bytes, if one was stored for it already and is
    /// not known to be wrong.
    #[must_use]
    pub fn found(&self, path: &str, offset: u64, bytes: &[u8]) -> Option<Piece> {
        let noted = self.head().map(|head| head.staged.as_slice()).unwrap_or_default();
        let length = bytes.len() as u64;
        let mut digest = None;
        noted
            .iter()
            .chain(&self.staged)
            .filter(|staged| staged.path == path && staged.offset == offset && staged.piece.length == length)
            .filter(|staged| !self.wrong.contains(&staged.piece.object))
            .find(|staged| staged.piece.sha256 == *digest.get_or_insert_with(|| sha256(bytes)))
            .map(|staged| staged.piece.clone())
    }

    /// Stores a piece of the file `path`. The writer must have claimed the bucket.
    ///
    /// # Errors
    /// A request that failed.
    pub async fn store(&self, path: &str, bytes: Bytes) -> Result<Piece> {
        let epoch = self.head().filter(|_| self.claimed).map(|head| head.epoch);
        let epoch = epoch.ok_or_else(|| Error::NoHead(self.place()))?;
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let run = self.run.as_u128() >> 64;
        let piece = Piece {
            object: format!("{path}.{epoch:08x}-{run:016x}-{number:x}"),
            length: bytes.len() as u64,
            sha256: sha256(&bytes),
        };
        self.bucket.create(&piece.object, bytes).await?;
        Ok(piece)
    }

    /// Remembers a piece of the file `path` from `offset` on until its file is there.
    pub fn stage(&mut self, path: &str, offset: u64, piece: Piece) {
        self.staged.push(Staged {
            path: path.to_owned(),
            offset,
            piece,
        });
    }

    /// Notes in HEAD which pieces were stored, so that whoever goes on after an interruption finds them.
    ///
    /// # Errors
    /// Another writer; a request that failed.
    pub async fn note(&mut self) -> Result<()> {
        let Some(head) = self.head().filter(|_| !self.staged.is_empty()) else {
            return Ok(());
        };
        let mut head = self.next(head);
        head.staged.extend(self.staged.iter().cloned());
        self.replace(head).await?;
        self.staged.clear();
        Ok(())
    }

    /// Replaces HEAD: from now on the folder has these files, up to transaction `seq`. What they do not need is to be
    /// deleted when the grace period is over. The writer must have claimed the bucket before it looked at HEAD.
    ///
    /// # Errors
    /// Another writer; a request that failed.
    pub async fn commit(&mut self, files: Vec<File>, seq: u64) -> Result<()> {
        let Some(before) = self.head().filter(|_| self.claimed) else {
            return Err(Error::NoHead(self.place()));
        };
        let mut head = self.next(before);
        let pieces = files.iter().flat_map(|file| &file.pieces);
        let needed: HashSet<&str> = pieces.map(|piece| piece.object.as_str()).collect();
        let gone: HashSet<&str> = before.dead.iter().map(|dead| dead.object.as_str()).collect();
        let staged = self.staged.iter().map(|staged| staged.piece.object.as_str());
        let known = before.objects().into_iter().chain(staged);
        let unneeded = known.chain(self.orphans.iter().map(String::as_str));
        let unneeded: HashSet<&str> = unneeded.filter(|o| !needed.contains(o) && !gone.contains(o)).collect();
        let delete_after = head.time.saturating_add(head.grace_seconds.max(before.grace_seconds));
        let dead = unneeded.into_iter().map(|object| Dead {
            object: object.to_owned(),
            delete_after,
        });
        head.dead.extend(dead);
        head.dead.retain(|dead| !needed.contains(dead.object.as_str()));
        head.files = files;
        head.seq = Some(seq);
        head.staged.clear();
        self.replace(head).await?;
        self.staged.clear();
        self.orphans.clear();
        Ok(())
    }

    /// Whether this is the writer, objects wait to be deleted, and their time has come.
    #[must_use]
    pub fn has_due(&self) -> bool {
        let now = (self.options.clock)();
        self.head()
            .filter(|_| self.claimed)
            .is_some_and(|head| head.dead.iter().any(|dead| dead.delete_after <= now))
    }

    /// Deletes what no HEAD of the grace period needs, some thousands at a time and until `stop` says so; how many
    /// objects that were. Who has not claimed the bucket deletes nothing: it would stop whoever writes.
    ///
    /// # Errors
    /// Another writer; a request that failed.
    pub async fn sweep(&mut self, stop: impl Fn() -> bool) -> Result<u64> {
        if !self.has_due() {
            return Ok(0);
        }
        let Some(head) = self.head() else { return Ok(0) };
        let mut next = self.next(head);
        let now = next.time;
        let mut deleted = HashSet::new();
        let due = next.dead.iter().filter(|dead| dead.delete_after <= now);
        for dead in due.take(SWEEP).take_while(|_| !stop()) {
            self.bucket.delete(&dead.object).await?;
            deleted.insert(dead.object.clone());
        }
        if deleted.is_empty() {
            return Ok(0);
        }
        next.dead.retain(|dead| !deleted.contains(&dead.object));
        self.replace(next).await?;
        Ok(deleted.len() as u64)
    }

    /// Replaces HEAD, and finds out what became of it where an answer was lost.
    async fn replace(&mut self, head: Head) -> Result<()> {
        let mut attempt = 1;
        loop {
            let expected = self.head.as_ref().map(|(_, version)| version);
            let error = match self.bucket.replace(&head, expected).await {
                Ok(version) => {
                    self.head = Some((head, version));
                    return Ok(());
                }
                Err(error) => error,
            };
            let Ok(found) = self.bucket.head().await else {
                // What is there is not known. The next attempt of anybody will find out.
                return Err(error);
            };
            match found {
                Some((there, version)) if there.commit == head.commit => {
                    self.head = Some((head, version));
                    return Ok(());
                }
                // An earlier attempt of this run took effect although it was given up.
                Some((there, version)) if there.writer == self.run => self.head = Some((there, version)),
                Some((there, version)) => match self.head() {
                    Some(known) if known.commit == there.commit => self.head = Some((there, version)),
                    _ => {
                        return Err(Error::Fenced {
                            place: self.place(),
                            writer: there.writer_name,
                            epoch: there.epoch,
                        });
                    }
                },
                None if self.head.is_some() => return Err(Error::NoHead(self.place())),
                None => {}
            }
            attempt += 1;
            if attempt > ATTEMPTS {
                return Err(error);
            }
        }
    }
}

/// The epoch in the name of an object.
fn epoch_of(object: &str) -> Option<u64> {
    let (_, name) = object.rsplit_once('.')?;
    let mut parts = name.split('-');
    let epoch = u64::from_str_radix(parts.next()?, 16).ok()?;
    let (run, number) = (parts.next()?, parts.next()?);
    let is_ours = run.len() == 16 && !number.is_empty() && parts.next().is_none();
    is_ours.then_some(epoch)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
