//! A folder whose disk fails when it is told to.

use super::{Directory, Entry, File, Io, Stat};
use parking_lot::Mutex;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC from all that needs space. The first write that it hits takes half of its bytes, as a disk with a little
    /// space left does.
    NoSpace,
    /// EIO from everything, reads and syncs included.
    Error,
    /// Writes take half of their bytes and say so; no error.
    ShortWrites,
}

/// What is asked for, as far as faults care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Needs no space.
    Other,
    /// Needs space.
    Grow,
    Write,
}

#[derive(Default)]
struct Plan {
    /// Calls so far that the fault could have hit.
    calls: u64,
    hits: u64,
    /// The fault, the call it begins with, and how many calls it hits.
    fault: Option<(Fault, u64, u64)>,
}

/// Passes all calls on to another folder, but for those that are to fail.
pub struct FaultIo {
    inner: Arc<dyn Io>,
    plan: Arc<Mutex<Plan>>,
    bad: BadPlaces,
    read: Arc<AtomicU64>,
}

/// Places that cannot be read, by path.
type BadPlaces = Arc<Mutex<Vec<(String, Range<u64>)>>>;

enum Verdict {
    Pass,
    Half,
}

fn ask(plan: &Mutex<Plan>, call: Call) -> io::Result<Verdict> {
    let mut plan = plan.lock();
    let Some((fault, from, count)) = plan.fault else {
        return Ok(Verdict::Pass);
    };
    let concerned = match fault {
        Fault::Error => true,
        Fault::NoSpace => call != Call::Other,
        Fault::ShortWrites => call == Call::Write,
    };
    if !concerned {
        return Ok(Verdict::Pass);
    }
    let at = plan.calls;
    plan.calls += 1;
    if at < from || at - from >= count {
        return Ok(Verdict::Pass);
    }
    plan.hits += 1;
    match fault {
        Fault::Error => Err(io::Error::from_raw_os_error(5)),
        Fault::NoSpace if call == Call::Write && at == from && count > 1 => Ok(Verdict::Half),
        Fault::NoSpace => Err(io::ErrorKind::StorageFull.into()),
        Fault::ShortWrites => Ok(Verdict::Half),
    }
}

impl FaultIo {
    /// A folder that works.
    pub fn new(inner: Arc<dyn Io>) -> Self {
        Self {
            inner,
            plan: Arc::default(),
            bad: Arc::default(),
            read: Arc::default(),
        }
    }

    /// Bytes that were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// From now on reading any of these bytes of a file is EIO, however often it is tried: a bad sector.
    pub fn bad_place(&self, path: &str, bytes: Range<u64>) {
        let mut bad = self.bad.lock();
        bad.push((path.to_owned(), bytes));
    }

    fn plan<T>(&self, with: impl FnOnce(&mut Plan) -> T) -> T {
        with(&mut self.plan.lock())
    }

    /// From now on counts the calls that `fault` concerns, lets `after` of them pass, and fails the `count` next ones.
    pub fn fail(&self, fault: Fault, after: u64, count: u64) {
        self.plan(|p| {
            *p = Plan {
                fault: Some((fault, after, count)),
                ..Plan::default()
            }
        });
    }

    /// Works again. Says how many calls were counted, and how many were hit, since [`FaultIo::fail`].
    pub fn mend(&self) -> (u64, u64) {
        self.plan(|p| {
            p.fault = None;
            (p.calls, p.hits)
        })
    }

    /// How many calls were hit since [`FaultIo::fail`].
    pub fn hits(&self) -> u64 {
        self.plan(|p| p.hits)
    }

    fn file(&self, path: &str, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultFile {
            inner,
            path: path.to_owned(),
            plan: Arc::clone(&self.plan),
            bad: Arc::clone(&self.bad),
            read: Arc::clone(&self.read),
        })
    }

    fn ask(&self, call: Call) -> io::Result<Verdict> {
        ask(&self.plan, call)
    }
}

impl Io for FaultIo {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        self.ask(Call::Other)?;
        self.inner.list(dir)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.ask(Call::Grow)?;
        self.inner.make_dir(dir)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.ask(Call::Grow)?;
        self.inner.create(path).map(|f| self.file(path, f))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        self.ask(Call::Other)?;
        self.inner.open(path, write).map(|f| self.file(path, f))
    }

    /// Answered from memory, so never by a fault of the disk.
    fn stat(&self, path: &str) -> io::Result<Stat> {
        self.inner.stat(path)
    }

    fn is_removed(&self) -> io::Result<bool> {
        self.inner.is_removed()
    }

    fn on_disk(&self, dir: &str) -> io::Result<Option<Directory>> {
        self.inner.on_disk(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.ask(Call::Grow)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.ask(Call::Other)?;
        self.inner.remove(path)
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        self.ask(Call::Other)?;
        self.inner.clear_dir(dir, keep)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.ask(Call::Other)?;
        self.inner.sync_dir(dir)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.ask(Call::Other)?;
        self.inner.free_space()
    }
}

struct FaultFile {
    inner: Arc<dyn File>,
    path: String,
    plan: Arc<Mutex<Plan>>,
    bad: BadPlaces,
    read: Arc<AtomicU64>,
}

impl FaultFile {
    fn ask(&self, call: Call) -> io::Result<Verdict> {
        ask(&self.plan, call)
    }
}

impl File for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.ask(Call::Other)?;
        let end = offset.saturating_add(buf.len() as u64);
        let bad = self.bad.lock();
        let hit = |(path, at): &(String, Range<u64>)| *path == self.path && at.start < end && offset < at.end;
        if bad.iter().any(hit) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let read = self.inner.read_at(buf, offset)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        match self.ask(Call::Write)? {
            Verdict::Pass => self.inner.write_at(buf, offset),
            Verdict::Half => {
                let n = buf.len().div_ceil(2);
                self.inner.write_at(buf.get(..n).unwrap_or_default(), offset)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.ask(Call::Other)?;
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = len > self.inner.len()?;
        self.ask(if grows { Call::Grow } else { Call::Other })?;
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.ask(Call::Other)?;
        self.inner.len()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn data(&self, from: u64) -> io::Result<Range<u64>> {
        self.ask(Call::Other)?;
        self.inner.data(from)
    }

    fn lock(&self) -> io::Result<bool> {
        self.inner.lock()
    }
}
