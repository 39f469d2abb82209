//! Checking the rows against each other and against the segments.

use super::blocks::Blocks;
use super::listing::{self, Sum};
use super::report::{CheckReport, Finding, Severity};
use crate::counters::Counters;
use crate::index::rows::{self, Row, Use};
use crate::store::Store;
use crate::store::query::resolve;
use crate::types::{Extent, Kind, ROOT_INO};
use crate::{Error, Result};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// What is remembered of an inode: 1,000,000 of them take about 100 MB.
struct Seen {
    kind: Kind,
    nlink: u32,
    /// Names that point here, and for directories the directories in it.
    links: u32,
    /// Where ".." leads.
    parent: u64,
    stored: u64,
    found_stored: u64,
    orphan: bool,
}

struct Check<'a> {
    store: &'a Store,
    report: &'a mut CheckReport,
    watch: &'a mut dyn FnMut(u64, u64) -> bool,
    inodes: HashMap<u64, Seen>,
    counters: Counters,
    blocks: Blocks,
    /// Sums over the rows of entries by name, and by cookie.
    by_name: Sum,
    by_cookie: Sum,
}

/// Checks all rows.
pub(super) fn check(store: &Store, report: &mut CheckReport, watch: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
    let counters = Counters {
        max_ino: store.max_ino(),
        max_id: store.max_id(),
        ..Counters::default()
    };
    let mut c = Check {
        store,
        report,
        watch,
        inodes: HashMap::new(),
        counters,
        blocks: Blocks::default(),
        by_name: Sum::default(),
        by_cookie: Sum::default(),
    };
    // Inodes first: the other rows are judged by the inode that they name.
    c.pass(&[rows::INODE])?;
    c.pass(&[])?;
    c.links();
    c.cycles();
    c.blocks.finish(store, &mut c.report.findings)?;
    // Comparing the two lists entry by entry takes memory for all names, so it is done only if their sums differ.
    if c.by_name != c.by_cookie {
        let mut differences = listing::differences(&store.state().index)?;
        c.report.findings.append(&mut differences);
    }
    if c.counters != store.state().counters {
        c.found(
            Severity::Error,
            "the sums kept by the index are wrong: rebuild it",
            |f| f,
        );
    }
    Ok(())
}

impl Check<'_> {
    fn found(&mut self, severity: Severity, what: impl Into<String>, place: impl FnOnce(Finding) -> Finding) {
        self.report.findings.push(place(Finding::new(severity, what)));
    }

    /// Looks at all rows that begin with `prefix`; without one, at all rows but inodes.
    fn pass(&mut self, prefix: &[u8]) -> Result<()> {
        let store = self.store;
        let state = store.state();
        let all = state.counters.totals();
        let all = all.inodes.saturating_add(all.blocks);
        let stopped = state.index.scan_prefix(prefix, prefix, |key, value| {
            if !prefix.is_empty() || key.first() != Some(&rows::INODE) {
                self.row(key, value);
            }
            match (self.watch)(self.report.inodes + self.report.extents, all) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        stopped.map_or(Ok(()), |()| Err(Error::Interrupted))
    }

    fn row(&mut self, key: &[u8], value: &[u8]) {
        let (Some(row), Some(())) = (rows::parse(key, value), self.counters.row(key, value)) else {
            self.found(
                Severity::Error,
                format!("a row of the index makes no sense: {}", key.escape_ascii()),
                |f| f,
            );
            return;
        };
        match row {
            Row::Inode { stored, inode } => {
                self.report.inodes += 1;
                let seen = Seen {
                    kind: inode.kind,
                    nlink: inode.nlink,
                    links: 0,
                    parent: inode.parent,
                    stored,
                    found_stored: 0,
                    orphan: false,
                };
                self.inodes.insert(inode.ino, seen);
            }
            Row::Dirent {
                parent,
                name,
                entry,
                cookie,
            } => {
                self.by_name.add(parent, name, entry, cookie);
                self.dirent(parent, name, entry.ino, entry.kind);
            }
            Row::Listed {
                parent,
                cookie,
                name,
                entry,
            } => self.by_cookie.add(parent, name, entry, cookie),
            // Their rows come before those of extents.
            Row::Blocks { first, blocks } => self.blocks.add(self.store, first, &blocks),
            Row::Extents { ino, first, extents } => self.extents(ino, first, &extents),
            Row::Users { run, ino, file_run } => self.blocks.told(run, ino, file_run),
            Row::Xattr { ino } if !self.inodes.contains_key(&ino) => {
                self.found(
                    Severity::Error,
                    "an extended attribute of an inode that does not exist",
                    |f| f.ino(ino),
                );
            }
            Row::Orphan { ino } => match self.inodes.get_mut(&ino) {
                Some(seen) => seen.orphan = true,
                None => self.found(Severity::Error, "an orphan mark of an inode that does not exist", |f| {
                    f.ino(ino)
                }),
            },
            Row::Dictionary(dictionary) => {
                let mut found = self.store.dictionary_findings(&dictionary);
                self.report.findings.append(&mut found);
            }
            Row::Xattr { .. } | Row::Meta => {}
        }
    }

    fn dirent(&mut self, parent: u64, name: &[u8], ino: u64, kind: Kind) {
        self.report.dirents += 1;
        let name = String::from_utf8_lossy(name).into_owned();
        if self.inodes.get(&parent).is_none_or(|p| p.kind != Kind::Directory) {
            self.found(
                Severity::Error,
                format!("the entry {name:?} is in inode {parent}, which is no directory"),
                |f| f.ino(parent),
            );
        }
        let Some(seen) = self.inodes.get_mut(&ino) else {
            self.found(
                Severity::Error,
                format!("the entry {name:?} of directory {parent} points to inode {ino}, which does not exist"),
                |f| f.ino(ino),
            );
            return;
        };
        seen.links = seen.links.saturating_add(1);
        let (actual, up, links) = (seen.kind, seen.parent, seen.links);
        if actual != kind {
            self.found(
                Severity::Error,
                format!("the entry {name:?} of directory {parent} says {kind:?}, the inode is a {actual:?}"),
                |f| f.ino(ino),
            );
        }
        if actual == Kind::Directory {
            // ".." leads to one directory only.
            if links > 1 || ino == ROOT_INO {
                self.found(
                    Severity::Error,
                    format!("a hard link {name:?} to a directory in directory {parent}"),
                    |f| f.ino(ino),
                );
            } else if up != parent {
                self.found(
                    Severity::Error,
                    format!("the directory is in {parent}, but its \"..\" leads to {up}"),
                    |f| f.ino(ino),
                );
            }
        }
    }

    fn extents(&mut self, ino: u64, first: u64, extents: &[Option<Use>]) {
        if self.inodes.get(&ino).is_none_or(|s| s.kind != Kind::File) {
            self.found(Severity::Error, "blocks of an inode that is no file", |f| f.ino(ino));
        }
        self.blocks.used(ino, first / rows::RUN, extents);
        for (block, used) in (first..).zip(extents) {
            let Some(used) = used else { continue };
            self.report.extents += 1;
            let (len, wrong) = self.blocks.name(used);
            if let Some(seen) = self.inodes.get_mut(&ino) {
                // The inode's own sum is a copy of this one. It must not drift.
                seen.found_stored += len;
            }
            if let Some((what, place)) = wrong {
                let at = |f: Finding| f.ino(ino).block(block).at(place.segment, u64::from(place.offset));
                self.found(Severity::Error, what, at);
            }
        }
    }

    fn links(&mut self) {
        let mut subdirs: HashMap<u64, u32> = HashMap::new();
        for (ino, seen) in &self.inodes {
            if seen.kind == Kind::Directory && *ino != ROOT_INO {
                // An orphan directory is in no other, though its ".." still names one.
                *subdirs.entry(seen.parent).or_default() += u32::from(seen.links > 0);
            }
        }
        let mut findings = Vec::new();
        let mut find = |severity, ino, what: String| findings.push(Finding::new(severity, what).ino(ino));
        if self.inodes.get(&ROOT_INO).is_none_or(|s| s.kind != Kind::Directory) {
            find(Severity::Error, ROOT_INO, "there is no root directory".into());
        }
        for (&ino, s) in &self.inodes {
            let root = ino == ROOT_INO;
            if s.links == 0 && !root && !s.orphan {
                find(
                    Severity::Error,
                    ino,
                    "the inode has no name and is not marked as an orphan".into(),
                );
            }
            if s.orphan && s.links > 0 {
                find(
                    Severity::Error,
                    ino,
                    "the inode is marked as an orphan but has a name".into(),
                );
            }
            let expected = match s.kind {
                Kind::Directory => 2 + subdirs.get(&ino).copied().unwrap_or(0),
                _ => s.links,
            };
            if s.nlink != expected && !s.orphan {
                find(
                    Severity::Warning,
                    ino,
                    format!("the link count is {}, counted are {expected}", s.nlink),
                );
            }
            if s.stored != s.found_stored {
                find(
                    Severity::Error,
                    ino,
                    format!("its blocks take {} bytes, the inode says {}", s.found_stored, s.stored),
                );
            }
        }
        // The map has no order of its own, and two checks of one store should say the same.
        findings.sort_by_key(|f| f.ino);
        self.report.findings.append(&mut findings);
    }

    /// Directories from which ".." does not lead to the root.
    fn cycles(&mut self) {
        let mut good: HashMap<u64, bool> = HashMap::from([(ROOT_INO, true)]);
        let mut bad = Vec::new();
        for (&ino, seen) in &self.inodes {
            if seen.kind != Kind::Directory || seen.orphan {
                continue;
            }
            let (mut path, mut at) = (Vec::new(), ino);
            let verdict = loop {
                if let Some(known) = good.get(&at) {
                    break *known;
                }
                // Seen on this walk: a cycle.
                good.insert(at, false);
                path.push(at);
                match self.inodes.get(&at) {
                    Some(s) if s.kind == Kind::Directory => at = s.parent,
                    _ => break false,
                }
            };
            for p in path {
                good.insert(p, verdict);
            }
            if !verdict {
                bad.push(ino);
            }
        }
        bad.sort_unstable();
        for ino in bad {
            self.found(Severity::Error, "the directory cannot be reached from the root", |f| {
                f.ino(ino)
            });
        }
    }
}

/// Blocks in use, in order, after a given one.
pub(super) fn blocks(store: &Store, after: Option<(u64, u64)>, limit: usize) -> Result<Vec<(u64, u64, Extent)>> {
    let from = after.map_or_else(
        || vec![rows::EXTENTS],
        |(ino, block)| rows::run_key(ino, block / rows::RUN),
    );
    let mut out = Vec::new();
    let state = store.state();
    let failed = state.index.scan_prefix(&[rows::EXTENTS], &from, |key, value| {
        let Some(Row::Extents { ino, first, extents }) = rows::parse(key, value) else {
            return ControlFlow::Break(Some(Error::Index("a row of extents".into())));
        };
        let extents = match resolve(&state, extents.iter()) {
            Ok(extents) => extents,
            Err(e) => return ControlFlow::Break(Some(e)),
        };
        for (block, e) in (first..).zip(extents) {
            if let Some(e) = e
                && after.is_none_or(|a| (ino, block) > a)
            {
                if out.len() == limit {
                    return ControlFlow::Break(None);
                }
                out.push((ino, block, e));
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.flatten().map_or(Ok(out), Err)
}
