//! Two trees, entry by entry.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use super::super::*;

/// Asserts that both hold the same names, kinds, modes, links, contents, targets and attributes. Of the files in
/// `unflushed` a crash may have lost contents, though not made any up: these are taken over into the plain tree.
pub fn same_trees(disk: &Disk, root: &Path, unflushed: &HashSet<u64>) {
    let mut walk = Walk {
        disk,
        unflushed,
        inodes: HashMap::new(),
    };
    walk.directory(ROOT, root);
    let reachable = walk.inodes.len() as u64 + 1;
    let open = disk.fs.store().orphans().unwrap().len() as u64;
    assert_eq!(
        disk.fs.store().totals().inodes,
        reachable + open,
        "inodes nobody can reach"
    );
}

struct Walk<'a> {
    disk: &'a Disk,
    unflushed: &'a HashSet<u64>,
    /// Ours by theirs.
    inodes: HashMap<u64, u64>,
}

impl Walk<'_> {
    fn directory(&mut self, ino: u64, at: &Path) {
        let mut names: Vec<String> = fs::read_dir(at)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(self.disk.sorted_names(ino), names, "{}", at.display());
        let mut folders = 0;
        for name in names {
            let attr = self.disk.fs.lookup(ino, name.as_bytes()).unwrap();
            self.entry(&attr, &at.join(&name));
            if attr.kind == Kind::Directory {
                folders += 1;
                assert_eq!(self.disk.fs.inodes.inode(attr.ino).unwrap().parent, ino);
            }
        }
        assert_eq!(
            self.disk.fs.getattr(ino).unwrap().nlink,
            2 + folders,
            "{}",
            at.display()
        );
    }

    fn entry(&mut self, attr: &Attr, at: &Path) {
        let theirs = at.symlink_metadata().unwrap();
        let shown = at.display();
        let ours = *self.inodes.entry(theirs.ino()).or_insert(attr.ino);
        assert_eq!(ours, attr.ino, "{shown}: another file");
        match attr.kind {
            Kind::Directory => assert!(theirs.is_dir(), "{shown}"),
            Kind::Symlink => {
                let target = fs::read_link(at).unwrap();
                assert_eq!(self.disk.fs.readlink(attr.ino).unwrap(), target.as_os_str().as_bytes());
                assert_eq!(u64::from(attr.nlink), theirs.nlink(), "{shown}");
                return;
            }
            Kind::CharDevice => {
                assert!(theirs.file_type().is_char_device(), "{shown}");
                assert_eq!((attr.rdev, theirs.rdev()), (0, 0), "{shown}");
                assert_eq!(u64::from(attr.nlink), theirs.nlink(), "{shown}");
            }
            _ => {
                assert!(theirs.is_file(), "{shown}");
                assert_eq!(u64::from(attr.nlink), theirs.nlink(), "{shown}");
                self.contents(attr.ino, at);
            }
        }
        assert_eq!(attr.perm, theirs.mode() & 0o7777, "{shown}");
        self.attributes(attr.ino, at);
        if attr.kind == Kind::Directory {
            self.directory(attr.ino, at);
        }
    }

    fn contents(&self, ino: u64, at: &Path) {
        let (ours, theirs) = (self.disk.all(ino), fs::read(at).unwrap());
        assert_eq!(ours.len() as u64, self.disk.fs.getattr(ino).unwrap().size);
        if ours != theirs {
            assert!(self.unflushed.contains(&ino), "{}: other contents", at.display());
            let file = fs::File::options().write(true).open(at).unwrap();
            file.set_len(ours.len() as u64).unwrap();
            file.write_all_at(&ours, 0).unwrap();
        }
    }

    fn attributes(&self, ino: u64, at: &Path) {
        let mut buffer = vec![0; 4096];
        let len = rustix::fs::llistxattr(at, &mut buffer).unwrap();
        let mut theirs: Vec<&[u8]> = buffer[..len]
            .split(|byte| *byte == 0)
            .filter(|name| name.starts_with(b"user."))
            .collect();
        theirs.sort_unstable();
        assert_eq!(self.disk.fs.listxattr(ino, true).unwrap(), theirs, "{}", at.display());
        for name in theirs {
            let mut value = vec![0; 4096];
            let len = rustix::fs::lgetxattr(at, name, &mut value).unwrap();
            assert_eq!(self.disk.fs.getxattr(ino, name).unwrap(), value[..len]);
        }
    }
}
