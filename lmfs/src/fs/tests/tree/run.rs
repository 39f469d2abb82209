//! Both worlds side by side, step by step.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::*;
use super::Step;
use super::compare::same_trees;
use super::plain::Plain;
use crate::packer::{self, Offline, Packer, Scope};

/// A file that is open in both.
struct OpenFile {
    file: File,
    ino: u64,
    fh: u64,
}

pub struct World {
    disk: Disk,
    plain: Plain,
    open: Vec<OpenFile>,
}

/// The directory of a path, and the last name.
type FilePosition<'a> = (u64, &'a [u8]);

impl World {
    pub fn new() -> World {
        World {
            disk: Disk::new(),
            plain: Plain::new(),
            open: Vec::new(),
        }
    }

    /// As the kernel walks: nothing below what is no directory.
    fn place<'a>(&self, path: &[&'a str]) -> Result<FilePosition<'a>> {
        let (name, above) = path.split_last().unwrap();
        let mut at = ROOT;
        for name in above {
            let attr = self.disk.fs.lookup(at, name.as_bytes())?;
            if attr.kind != Kind::Directory {
                return Err(Error::new(Errno::NOTDIR, "no directory"));
            }
            at = attr.ino;
        }
        Ok((at, name.as_bytes()))
    }

    fn find(&self, path: &[&str]) -> Result<Attr> {
        let (parent, name) = self.place(path)?;
        self.disk.fs.lookup(parent, name)
    }

    /// A file that can be opened without following a symbolic link.
    fn find_file(&self, path: &[&str]) -> Result<Attr> {
        let attr = self.find(path)?;
        match attr.kind {
            Kind::Symlink => Err(Error::new(Errno::LOOP, "a symbolic link")),
            Kind::Directory => Err(Error::new(Errno::ISDIR, "a directory")),
            Kind::CharDevice => Err(Error::new(Errno::NXIO, "a whiteout")),
            _ => Ok(attr),
        }
    }

    fn directory(&self, path: &[&str]) -> Result<u64> {
        match self.find(path) {
            Ok(attr) if attr.kind != Kind::Directory => Err(Error::new(Errno::NOTDIR, "no directory")),
            found => found.map(|attr| attr.ino),
        }
    }

    fn create(&self, path: &[&str], what: Create) -> Result<()> {
        let (parent, name) = self.place(path)?;
        self.disk.fs.create(parent, name, what, ME).map(drop)
    }

    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Sync => self.disk.fs.sync().unwrap(),
            Step::Pack => self.pack(),
            Step::Reopen => self.restart(false),
            Step::Crash => self.restart(true),
            _ => self.operation(step),
        }
    }

    fn operation(&mut self, step: &Step) {
        let fs = self.disk.fs.clone();
        let set = |path: &[&str], set| {
            self.find(path)
                .and_then(|attr| fs.setattr(attr.ino, set, false).map(drop))
        };
        let (ours, theirs) = match step {
            Step::Mkdir(path, perm) => (
                self.create(path, Create::new(Kind::Directory, perm & 0o777)),
                self.plain.mkdir(path, *perm),
            ),
            Step::Create(path) => (
                self.create(path, Create::new(Kind::File, 0o644)),
                self.plain.create(path),
            ),
            Step::Symlink(path, target) => {
                let target = format!("target {target}");
                let mut what = Create::new(Kind::Symlink, 0o777);
                what.target = target.clone().into_bytes();
                (self.create(path, what), self.plain.symlink(path, &target))
            }
            Step::Link(from, to) => (self.link(from, to), self.plain.link(from, to)),
            Step::Rename(_, _, RenameMode::Whiteout { .. }) if !self.plain.whiteouts => return,
            Step::Rename(from, to, mode) => {
                let ours = self.place(from).and_then(|(parent, name)| {
                    let (new_parent, new_name) = self.place(to)?;
                    fs.rename(parent, name, new_parent, new_name, *mode)
                });
                let theirs = self.plain.rename(from, to, *mode);
                // When more than one thing is wrong, the kernel says its own before it asks.
                let wrong = [Errno::INVAL, Errno::NOTEMPTY, Errno::ISDIR, Errno::NOTDIR].map(Err);
                if wrong.contains(&theirs) && wrong.contains(&errnos(&ours)) {
                    return;
                }
                (ours, theirs)
            }
            Step::Unlink(path) => (
                self.place(path).and_then(|(parent, name)| fs.unlink(parent, name)),
                self.plain.unlink(path),
            ),
            Step::Rmdir(path) => (
                self.place(path).and_then(|(parent, name)| fs.rmdir(parent, name)),
                self.plain.rmdir(path),
            ),
            Step::Write(path, at, len, byte) => {
                let bytes = vec![*byte; *len];
                (
                    self.find_file(path)
                        .and_then(|attr| fs.write(attr.ino, *at, &bytes, false).map(drop)),
                    self.plain
                        .open(path)
                        .map(|file| file.write_all_at(&bytes, *at).unwrap()),
                )
            }
            Step::Truncate(path, size) => (
                self.find_file(path).and_then(|attr| {
                    let size = Some(*size);
                    let set = SetAttr {
                        size,
                        ..SetAttr::default()
                    };
                    fs.setattr(attr.ino, set, false).map(drop)
                }),
                self.plain.open(path).map(|file| file.set_len(*size).unwrap()),
            ),
            // The kernel follows symbolic links here; ours lead nowhere, and chmod of a link is no operation of FUSE.
            Step::Chmod(path, perm) => match self.find(path) {
                Ok(attr) if attr.kind == Kind::Symlink => return,
                _ => {
                    let to = SetAttr {
                        perm: Some(*perm),
                        ..SetAttr::default()
                    };
                    (set(path, to), self.plain.chmod(path, *perm))
                }
            },
            Step::Mtime(path, secs, nanos) => {
                let (secs, nanos) = (*secs, *nanos);
                let mtime = Some(SetTime::At(Time { secs, nanos }));
                let to = SetAttr {
                    mtime,
                    ..SetAttr::default()
                };
                let both = (set(path, to), self.plain.mtime(path, secs, nanos));
                if let Ok(attr) = self.find(path) {
                    assert_eq!(attr.mtime, Time { secs, nanos });
                }
                both
            }
            Step::SetXattr(path, name, len, mode) => match self.find(path) {
                Ok(attr) if matches!(attr.kind, Kind::Symlink | Kind::CharDevice) => return,
                found => {
                    let (name, value) = (format!("user.{name}"), vec![7; *len]);
                    let ours = found.and_then(|attr| fs.setxattr(attr.ino, name.as_bytes(), &value, *mode, |_| true));
                    (ours, self.plain.set_xattr(path, &name, &value, *mode))
                }
            },
            Step::RemoveXattr(path, name) => match self.find(path) {
                Ok(attr) if matches!(attr.kind, Kind::Symlink | Kind::CharDevice) => return,
                found => {
                    let name = format!("user.{name}");
                    let ours = found.and_then(|attr| fs.removexattr(attr.ino, name.as_bytes()));
                    (ours, self.plain.remove_xattr(path, &name))
                }
            },
            Step::Open(path) => {
                let ours = self.find_file(path).and_then(|attr| Ok((attr.ino, fs.open(attr.ino)?)));
                let theirs = self.plain.open(path);
                match (ours, theirs) {
                    (Ok((ino, fh)), Ok(file)) => return self.open.push(OpenFile { file, ino, fh }),
                    (ours, theirs) => (ours.map(drop), theirs.map(drop)),
                }
            }
            Step::Tmpfile(path, linkable) => {
                if !self.plain.tmpfiles {
                    return;
                }
                let made = self.directory(path).and_then(|ino| {
                    let what = Create::new(Kind::File, 0o644);
                    fs.tmpfile(ino, what, ME, *linkable)
                });
                match (made, self.plain.tmpfile(path, *linkable)) {
                    (Ok((attr, fh)), Ok(file)) => {
                        let ino = attr.ino;
                        return self.open.push(OpenFile { file, ino, fh });
                    }
                    (ours, theirs) => (ours.map(drop), theirs.map(drop)),
                }
            }
            Step::LinkOpen(number, path) => match self.open.get(*number) {
                Some(open) => {
                    let place = self.place(path);
                    let ours = place.and_then(|(parent, name)| fs.link(open.ino, parent, name).map(drop));
                    (ours, self.plain.link_open(&open.file, path))
                }
                None => return,
            },
            Step::WriteOpen(number, at, len, byte) => {
                if let Some(open) = self.open.get(*number) {
                    let bytes = vec![*byte; *len];
                    fs.write(open.ino, *at, &bytes, false).unwrap();
                    open.file.write_all_at(&bytes, *at).unwrap();
                }
                return;
            }
            Step::ReadOpen(number) => {
                if let Some(open) = self.open.get(*number) {
                    let mut bytes = vec![0; open.file.metadata().unwrap().len() as usize];
                    open.file.read_exact_at(&mut bytes, 0).unwrap();
                    assert!(self.disk.all(open.ino) == bytes, "an open file has other contents");
                }
                return;
            }
            Step::Close(number) => {
                if *number < self.open.len() {
                    fs.release(self.open.remove(*number).fh).unwrap();
                }
                return;
            }
            Step::List(path) => return self.list(path),
            Step::Sync | Step::Pack | Step::Reopen | Step::Crash => return,
        };
        assert_eq!(
            errnos(&ours),
            theirs,
            "{step:?}: we (left) answer otherwise than a plain directory"
        );
    }

    fn link(&self, from: &[&str], to: &[&str]) -> Result<()> {
        // In the kernel's order: both directories, then what is to be linked.
        let (above, old_name) = self.place(from)?;
        let (parent, name) = self.place(to)?;
        let source = self.disk.fs.lookup(above, old_name)?;
        self.disk.fs.link(source.ino, parent, name).map(drop)
    }

    fn list(&self, path: &[&str]) {
        let ours = self.find(path).and_then(|attr| match attr.kind {
            Kind::Directory => Ok(self.disk.sorted_names(attr.ino)),
            _ => Err(Error::new(Errno::NOTDIR, "no directory")),
        });
        assert_eq!(
            ours.map_err(|error| error.errno),
            self.plain.list(path),
            "list {path:?}"
        );
    }

    /// As the daemon does for `lmfs pack`, garbage collection included.
    fn pack(&self) {
        self.disk.fs.sync().unwrap();
        let packer = Packer::new(
            self.disk.fs.store().clone(),
            codec(),
            Arc::new(Offline),
            packer::Options::default(),
        );
        let summary = packer.run(None, &Scope::All, false, 1, &|_| (), &Stop::new()).unwrap();
        assert_eq!(summary.blocks_failed, 0);
    }

    /// Ends and begins anew. Nothing is open any more, and files without a name are gone.
    fn restart(&mut self, crash: bool) {
        let mut unflushed = HashSet::new();
        if crash {
            wait(self.disk.fs.fsyncdir()).unwrap();
            let dirty = |ino: &u64| self.disk.fs.is_dirty(*ino);
            unflushed.extend((ROOT..=self.disk.fs.store().max_ino()).filter(dirty));
        }
        let opened = std::mem::take(&mut self.open);
        let old = std::mem::replace(&mut self.disk, Disk::new());
        self.disk = if crash {
            old.crash()
        } else {
            for open in opened {
                old.fs.release(open.fh).unwrap();
            }
            old.reopen()
        };
        assert!(self.disk.fs.store().orphans().unwrap().is_empty());
        same_trees(&self.disk, self.plain.root.path(), &unflushed);
    }

    pub fn end(mut self) {
        same_trees(&self.disk, self.plain.root.path(), &HashSet::new());
        self.restart(false);
        self.pack();
        self.restart(true);
        assert_eq!(self.disk.fs.stats().panics, 0);
    }
}

fn errnos<T>(result: &Result<T>) -> std::result::Result<(), Errno> {
    result.as_ref().map(drop).map_err(|error| error.errno)
}
