//! What is to be packed, in which order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lmfs_codec::{SolidHead, Stop};
use lmfs_indexer::{BlockRef, Extent, Inode, Kind, Store, Totals};
use parking_lot::Mutex;

use super::error::Error;
use super::future_times::FutureTimes;
use super::head::{self, Head};
use crate::store::Tag;

/// Rows looked up at a time.
const PAGE: u64 = 1024;

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the store.
    All,
    /// These inodes, and of folders all that is below.
    Inodes(Vec<u64>),
}

/// One block that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub ino: u64,
    pub block: u64,
    pub extent: Extent,
}

impl Waiting {
    /// Whether a block with this tag is one that nobody has packed since it was found.
    pub fn is_still(&self, tag: u8) -> bool {
        tag == self.extent.tag || Tag(tag).needs_packing()
    }
}

/// Blocks of a file that have one solid head.
const GROUP: u64 = 256;

/// Heads that are packed at a time. What each has taught takes megabytes.
const MOST_HEADS: usize = 32;

/// Which blocks of a file: inode, and number of the group in it.
type Group = (u64, u64);

/// What a thread does next.
pub(super) enum Next {
    /// The first blocks of a group, one after the other: they become its solid head. [`Queue::head_is_done`] follows.
    Head(Group, Vec<Waiting>),
    /// A block, and the solid head of its group.
    Block(Waiting, Option<Arc<Head>>),
    /// Nothing until another thread is done with a head.
    Later,
    /// Nothing.
    End,
}

/// The files with blocks that wait, the longest left alone first, and their blocks one after the other.
pub(super) struct Queue {
    files: VecDeque<File>,
    /// Blocks of groups whose heads are being packed.
    resting: HashMap<Group, Vec<Waiting>>,
    /// Blocks of groups whose heads are done.
    open: VecDeque<(Waiting, Option<Arc<Head>>)>,
    /// Bytes that the waiting blocks of all files decode to.
    pub bytes: u64,
    /// Bytes that all stored blocks decode to that may be packed: blocks that files share are packed once.
    most: u64,
    /// What is packed already is queued, too.
    pub again: bool,
    /// Others encode blocks, too, and do not know what is only known here.
    pub helped: bool,
    /// When the next file that is not idle yet will be.
    pub next_idle: Option<SystemTime>,
    /// The files from the future that were found, and the last look's.
    future_times: FutureTimes,
    previous_times: FutureTimes,
}

struct File {
    ino: u64,
    changed: (i64, u32),
    blocks: Range<u64>,
    /// Bytes that these blocks decode to.
    bytes: u64,
}

/// Which blocks are queued.
#[derive(Clone, Copy)]
pub(super) struct Selection<'a> {
    /// Which files.
    pub scope: &'a Scope,
    /// Only files that had not changed for so long at this time.
    pub idle: Option<(SystemTime, Duration)>,
    /// Blocks that are left out.
    pub skip: &'a HashSet<BlockRef>,
    /// Blocks that are packed already, too.
    pub again: bool,
}

impl Queue {
    /// Looks for blocks to pack. `future_times` is what the last look found, and gets what this one finds.
    pub fn make(
        store: &Store,
        selection: Selection<'_>,
        future_times: &Mutex<FutureTimes>,
        stop: &Stop,
    ) -> Result<Queue, Error> {
        let mut queue = Queue {
            future_times: FutureTimes::default(),
            previous_times: future_times.lock().clone(),
            files: VecDeque::new(),
            resting: HashMap::new(),
            open: VecDeque::new(),
            bytes: 0,
            most: most(&store.totals(), selection.again),
            again: selection.again,
            helped: false,
            next_idle: None,
        };
        let mut visit = |inode: &Inode| queue.consider(store, inode, selection, stop);
        match selection.scope {
            Scope::All => {
                let mut after = 0;
                loop {
                    let inodes = store.inodes(after, PAGE as usize)?;
                    let Some(last) = inodes.last() else { break };
                    after = last.ino;
                    inodes.iter().try_for_each(&mut visit)?;
                }
            }
            Scope::Inodes(roots) => below(store, roots, &mut visit)?,
        }
        queue
            .files
            .make_contiguous()
            .sort_by_key(|file| (file.changed, file.ino));
        queue.bytes = queue.bytes.min(queue.most);
        queue.previous_times = FutureTimes::default();
        if selection.idle.is_some() {
            *future_times.lock() = std::mem::take(&mut queue.future_times);
        }
        Ok(queue)
    }

    fn consider(&mut self, store: &Store, inode: &Inode, selection: Selection<'_>, stop: &Stop) -> Result<(), Error> {
        if stop.is_set() {
            return Err(Error::Interrupted);
        }
        if inode.kind != Kind::File || inode.nlink == 0 || inode.size == 0 {
            return Ok(());
        }
        let mut bytes = 0;
        let mut blocks = None;
        let mut at = 0;
        while let Some(first) = store.next_extent(inode.ino, at)? {
            if stop.is_set() {
                return Err(Error::Interrupted);
            }
            at = first.saturating_add(PAGE);
            for waiting in waiting(store, inode.ino, first..at, selection.skip, selection.again)? {
                bytes += u64::from(waiting.extent.raw_len);
                let begin = blocks.map_or(waiting.block, |range: Range<u64>| range.start);
                blocks = Some(begin..waiting.block + 1);
            }
        }
        let Some(blocks) = blocks else { return Ok(()) };
        if let Some((now, idle)) = selection.idle {
            let since = changed(inode).filter(|&since| since <= now);
            let since = since.unwrap_or_else(|| {
                self.future_times
                    .first_seen(&self.previous_times, inode.ino, inode.ctime, now)
            });
            let due = since + idle;
            if due > now {
                self.next_idle = Some(self.next_idle.map_or(due, |next| next.min(due)));
                return Ok(());
            }
        }
        self.bytes += bytes;
        self.files.push_back(File {
            ino: inode.ino,
            changed: (inode.ctime.secs, inode.ctime.nanos),
            blocks,
            bytes,
        });
        Ok(())
    }

    /// The files, their blocks, and the bytes that those decode to that are to be packed.
    pub fn files(&self) -> impl Iterator<Item = (u64, Range<u64>, u64)> {
        self.files
            .iter()
            .map(|file| (file.ino, file.blocks.clone(), file.bytes))
    }

    /// Drops all files but these.
    pub fn keep(&mut self, files: &HashSet<u64>) {
        self.files.retain(|file| files.contains(&file.ino));
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        self.bytes = bytes.min(self.most);
    }

    /// What is to be packed next, looked up afresh.
    pub fn next(&mut self, store: &Store, skip: &HashSet<BlockRef>) -> Result<Next, Error> {
        loop {
            if let Some((block, head)) = self.open.pop_front() {
                return Ok(Next::Block(block, head));
            }
            let Some(file) = self.files.front_mut().filter(|_| self.resting.len() < MOST_HEADS) else {
                let is_over = self.resting.is_empty();
                return Ok(if is_over { Next::End } else { Next::Later });
            };
            let first = store.next_extent(file.ino, file.blocks.start)?;
            let Some(first) = first.filter(|first| *first < file.blocks.end) else {
                self.files.pop_front();
                continue;
            };
            let group = (file.ino, first / GROUP);
            let end = (group.1 + 1).saturating_mul(GROUP).min(file.blocks.end);
            file.blocks.start = end;
            let mut first_ones = waiting(store, file.ino, first..end, skip, self.again)?;
            if self.helped && first_ones.len() < head::SHORT {
                // Others encode them all at a time.
                self.open.extend(first_ones.into_iter().map(|block| (block, None)));
            } else if !first_ones.is_empty() {
                let rest = first_ones.split_off(first_ones.len().min(usize::from(SolidHead::MOST_BLOCKS)));
                self.resting.insert(group, rest);
                return Ok(Next::Head(group, first_ones));
            }
        }
    }

    /// The other blocks of a group may be packed now that it has this head, or none.
    pub fn head_is_done(&mut self, group: Group, head: Option<Head>) {
        let head = head.map(Arc::new);
        let rest = self.resting.remove(&group).unwrap_or_default();
        self.open.extend(rest.into_iter().map(|block| (block, head.clone())));
    }
}

/// Bytes that the stored blocks decode to that wait, or all of them.
fn most(totals: &Totals, again: bool) -> u64 {
    let tags = totals
        .by_tag
        .iter()
        .filter(|(tag, _)| again || Tag(**tag).needs_packing());
    tags.map(|(_, sum)| sum.raw_bytes).sum()
}

fn waiting(
    store: &Store,
    ino: u64,
    blocks: Range<u64>,
    skip: &HashSet<BlockRef>,
    again: bool,
) -> Result<Vec<Waiting>, Error> {
    let first = blocks.start;
    let extents = store.extents(ino, blocks)?;
    let found = (first..).zip(extents).filter_map(|(block, extent)| {
        let extent = extent?;
        let waits = (again || Tag(extent.tag).needs_packing()) && !skip.contains(&extent.location);
        waits.then_some(Waiting { ino, block, extent })
    });
    Ok(found.collect())
}

/// The last change of a file, by the one time stamp that nobody can set; `None` if no clock gets there.
fn changed(inode: &Inode) -> Option<SystemTime> {
    let since = u64::try_from(inode.ctime.secs).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::new(since, inode.ctime.nanos))
}

/// Visits `roots` and everything below those that are directories, each inode once.
fn below(store: &Store, roots: &[u64], visit: &mut dyn FnMut(&Inode) -> Result<(), Error>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let mut pending = roots.to_vec();
    while let Some(ino) = pending.pop() {
        if !seen.insert(ino) {
            continue;
        }
        let Some(inode) = store.inode(ino)? else {
            continue;
        };
        visit(&inode)?;
        if inode.kind != Kind::Directory {
            continue;
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let entries = store.dirents(ino, after.as_deref(), PAGE as usize)?;
            let Some((last, _)) = entries.last() else {
                break;
            };
            after = Some(last.clone());
            let wanted = |kind| matches!(kind, Kind::File | Kind::Directory);
            let found = entries.iter().filter(|(_, entry)| wanted(entry.kind));
            pending.extend(found.map(|(_, entry)| entry.ino));
        }
    }
    Ok(())
}
