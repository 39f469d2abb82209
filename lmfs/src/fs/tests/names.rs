//! Names, links, directories, renames.

use super::*;

#[test]
fn an_open_file_outlives_its_name_and_is_gone_after_release() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let fh = disk.fs.open(ino).unwrap();
    disk.fs.write(ino, 0, b"still here", false).unwrap();
    disk.fs.unlink(ROOT, b"file").unwrap();
    assert_eq!(errno(disk.fs.lookup(ROOT, b"file")), Errno::NOENT);
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.all(ino), b"still here");
    assert_eq!(disk.fs.getattr(ino).unwrap().nlink, 0);
    disk.fs.release(fh).unwrap();
    assert!(disk.fs.store().orphans().unwrap().is_empty());
    assert_eq!(errno(disk.fs.open(ino)), Errno::STALE);
    disk.fs.forget(ino);
    assert_eq!(errno(disk.fs.getattr(ino)), Errno::STALE);
}

/// Regression: `fstat` of an `O_PATH` descriptor said ESTALE once the file's last handle was closed.
#[test]
fn attributes_of_a_removed_file_stay_until_the_kernel_forgets_it() {
    let disk = Disk::new();
    let ghosts = || disk.fs.inodes.unlinked();
    for (open, other_name) in [(false, false), (true, false), (true, true)] {
        let ino = disk.file("file");
        let fh = open.then(|| disk.fs.open(ino).unwrap());
        if other_name {
            let other = disk.file("other");
            disk.fs
                .rename(ROOT, b"other", ROOT, b"file", RenameMode::Replace)
                .unwrap();
            disk.fs.unlink(ROOT, b"file").unwrap();
            disk.fs.forget(other);
        } else {
            disk.fs.unlink(ROOT, b"file").unwrap();
        }
        if let Some(fh) = fh {
            disk.fs.release(fh).unwrap();
        }
        assert_eq!(disk.fs.getattr(ino).unwrap().nlink, 0);
        assert_eq!(errno(disk.fs.lookup(ino, b".")), Errno::STALE);
        disk.fs.forget(ino);
        assert_eq!(errno(disk.fs.getattr(ino)), Errno::STALE);
        assert_eq!(ghosts(), 0);
    }
    // The kernel's two last requests may be handled in either order: nothing is kept for ever.
    let ino = disk.file("file");
    let fh = disk.fs.open(ino).unwrap();
    disk.fs.unlink(ROOT, b"file").unwrap();
    disk.fs.forget(ino);
    disk.fs.release(fh).unwrap();
    assert_eq!(ghosts(), 0);
    assert_eq!(disk.fs.store().totals().inodes, 1);
}

#[test]
fn a_file_without_a_name_gets_one_once_if_it_may() {
    let disk = Disk::new();
    let made = |linkable| {
        let what = Create::new(Kind::File, 0o640);
        disk.fs.tmpfile(ROOT, what, ME, linkable).unwrap()
    };
    let (attr, fh) = made(true);
    assert_eq!((attr.nlink, attr.perm, attr.uid), (0, 0o640, ME.uid));
    disk.fs.write(attr.ino, 0, b"contents", false).unwrap();
    assert_eq!(disk.fs.link(attr.ino, ROOT, b"name").unwrap().nlink, 1);
    assert!(disk.fs.store().orphans().unwrap().is_empty());
    disk.fs.fsync(attr.ino).unwrap();
    disk.fs.unlink(ROOT, b"name").unwrap();
    assert_eq!(errno(disk.fs.link(attr.ino, ROOT, b"again")), Errno::NOENT);
    disk.fs.release(fh).unwrap();
    disk.fs.forget(attr.ino);

    // O_EXCL: never.
    let (attr, fh) = made(false);
    assert_eq!(errno(disk.fs.link(attr.ino, ROOT, b"name")), Errno::NOENT);
    disk.fs.release(fh).unwrap();
    disk.fs.forget(attr.ino);
    assert_eq!(disk.fs.store().totals().inodes, 1, "deleted with its last handle");

    // After a crash those with a name are whole, the others gone.
    let (named, _) = made(true);
    let (_nameless, _) = made(true);
    disk.fs.write(named.ino, 0, b"contents", false).unwrap();
    disk.fs.link(named.ino, ROOT, b"name").unwrap();
    disk.fs.fsync(named.ino).unwrap();
    let disk = disk.crash();
    assert_eq!(disk.all(disk.fs.lookup(ROOT, b"name").unwrap().ino), b"contents");
    assert_eq!(disk.fs.store().totals().inodes, 2);
}

#[test]
fn a_rename_leaves_a_whiteout_when_asked() {
    let disk = Disk::new();
    let (lower, file) = (disk.dir(ROOT, "dir"), disk.file("file"));
    let owner = Caller { uid: 7, gid: 8 };
    let whiteout = |replace| RenameMode::Whiteout { replace, owner };
    disk.fs.rename(ROOT, b"file", lower, b"moved", whiteout(false)).unwrap();
    assert_eq!(disk.fs.lookup(lower, b"moved").unwrap().ino, file);
    let left = disk.fs.lookup(ROOT, b"file").unwrap();
    assert_eq!((left.kind, left.rdev, left.nlink), (Kind::CharDevice, 0, 1));
    assert_eq!((left.uid, left.gid, left.perm), (7, 8, 0));
    let other = disk.file("other");
    let refused = disk.fs.rename(ROOT, b"other", lower, b"moved", whiteout(false));
    assert_eq!(errno(refused), Errno::EXIST);
    disk.fs.rename(ROOT, b"other", lower, b"moved", whiteout(true)).unwrap();
    assert_eq!(disk.fs.lookup(lower, b"moved").unwrap().ino, other);
    assert_eq!(disk.fs.lookup(ROOT, b"other").unwrap().kind, Kind::CharDevice);
    // A directory, whose ".." moves along.
    disk.fs.rename(ROOT, b"dir", ROOT, b"dir2", whiteout(false)).unwrap();
    assert_eq!(disk.fs.getattr(ROOT).unwrap().nlink, 3);
    let report = disk
        .fs
        .store()
        .check(&lmfs_indexer::CheckOptions::default(), &mut |_, _| true);
    assert_eq!(report.unwrap().findings, []);
}

#[test]
fn the_kernel_finds_what_a_file_handle_names() {
    let disk = Disk::new();
    let dir = disk.dir(ROOT, "dir");
    let file = disk.file("file");
    disk.fs
        .rename(ROOT, b"file", dir, b"file", RenameMode::Replace)
        .unwrap();
    let disk = disk.reopen();
    let lookup = |ino, name: &[u8]| disk.fs.lookup(ino, name).map(|attr| attr.ino);
    assert_eq!(lookup(file, b".").unwrap(), file);
    assert_eq!(lookup(dir, b".").unwrap(), dir);
    assert_eq!(lookup(dir, b"..").unwrap(), ROOT);
    assert_eq!(lookup(ROOT, b"..").unwrap(), ROOT);
    assert_eq!(errno(lookup(file, b"..")), Errno::NOTDIR);
    assert_eq!(errno(lookup(999, b".")), Errno::STALE);
    let birth = disk.fs.getattr(file).unwrap().crtime;
    let set = SetAttr {
        mtime: Some(SetTime::At(Time { secs: 1, nanos: 2 })),
        ..SetAttr::default()
    };
    disk.fs.setattr(file, set, false).unwrap();
    assert_eq!(disk.fs.getattr(file).unwrap().crtime, birth);
}

#[test]
fn a_file_that_was_open_without_a_name_is_gone_after_a_crash() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let _fh = disk.fs.open(ino).unwrap();
    disk.fs.unlink(ROOT, b"file").unwrap();
    wait(disk.fs.fsyncdir()).unwrap();
    let disk = disk.crash();
    assert_eq!(errno(disk.fs.getattr(ino)), Errno::STALE);
    assert_eq!(disk.fs.store().totals().inodes, 1);
}

#[test]
fn rename_moves_replaces_exchanges_and_refuses() {
    let disk = Disk::new();
    let (a, b) = (disk.dir(ROOT, "a"), disk.dir(ROOT, "b"));
    let below = disk.dir(a, "below");
    let rename = |from, name: &[u8], to, new: &[u8], mode| disk.fs.rename(from, name, to, new, mode);
    assert_eq!(
        errno(rename(ROOT, b"a", below, b"a", RenameMode::Replace)),
        Errno::INVAL
    );
    rename(a, b"below", b, b"moved", RenameMode::Replace).unwrap();
    let nlink = |ino| disk.fs.getattr(ino).unwrap().nlink;
    assert_eq!((nlink(a), nlink(b), nlink(ROOT)), (2, 3, 4));
    assert_eq!(disk.fs.inodes.inode(below).unwrap().parent, b);
    assert_eq!(
        errno(rename(ROOT, b"a", ROOT, b"b", RenameMode::Replace)),
        Errno::NOTEMPTY
    );
    let file = disk.file("file");
    assert_eq!(
        errno(rename(ROOT, b"file", ROOT, b"a", RenameMode::Replace)),
        Errno::ISDIR
    );
    assert_eq!(
        errno(rename(ROOT, b"a", ROOT, b"file", RenameMode::Replace)),
        Errno::NOTDIR
    );
    assert_eq!(
        errno(rename(ROOT, b"file", ROOT, b"a", RenameMode::NoReplace)),
        Errno::EXIST
    );
    rename(ROOT, b"file", b, b"moved", RenameMode::Exchange).unwrap();
    assert_eq!(disk.fs.lookup(ROOT, b"file").unwrap().ino, below);
    assert_eq!(disk.fs.lookup(b, b"moved").unwrap().ino, file);
    assert_eq!((nlink(b), nlink(ROOT)), (2, 5));
    assert_eq!(
        errno(rename(ROOT, b"none", ROOT, b"a", RenameMode::Exchange)),
        Errno::NOENT
    );
}

#[test]
fn a_rename_over_a_file_brings_its_data_along_through_a_crash() {
    let disk = Disk::new();
    let old = disk.file("file");
    disk.fs.write(old, 0, b"old contents", false).unwrap();
    disk.fs.sync().unwrap();
    let new = disk.file("file.tmp");
    disk.fs.write(new, 0, b"new contents", false).unwrap();
    disk.fs
        .rename(ROOT, b"file.tmp", ROOT, b"file", RenameMode::Replace)
        .unwrap();
    wait(disk.fs.fsyncdir()).unwrap();
    let disk = disk.crash();
    let ino = disk.fs.lookup(ROOT, b"file").unwrap().ino;
    assert_eq!(disk.all(ino), b"new contents");
}

#[test]
fn links_count_and_names_are_bounded() {
    let disk = Disk::new();
    let ino = disk.file("file");
    disk.fs.link(ino, ROOT, b"other").unwrap();
    assert_eq!(disk.fs.getattr(ino).unwrap().nlink, 2);
    assert_eq!(errno(disk.fs.link(ino, ROOT, b"other")), Errno::EXIST);
    assert_eq!(errno(disk.fs.link(ROOT, ROOT, b"root")), Errno::PERM);
    disk.fs.unlink(ROOT, b"file").unwrap();
    assert_eq!(disk.fs.lookup(ROOT, b"other").unwrap().nlink, 1);
    let create = |name: &[u8]| disk.fs.create(ROOT, name, Create::new(Kind::File, 0o600), ME);
    create(&[0xfe; 255]).unwrap();
    assert_eq!(errno(create(&[b'x'; 256])), Errno::NAMETOOLONG);
    assert_eq!(errno(create(b"a/b")), Errno::INVAL);
    assert_eq!(errno(create(b"other")), Errno::EXIST);
    assert_eq!(errno(disk.fs.rmdir(ROOT, b"other")), Errno::NOTDIR);
}

fn listed_names(disk: &Disk, fh: u64, offset: u64, most: usize) -> Vec<(u64, String)> {
    let mut names = Vec::new();
    let listed = disk.fs.readdir(fh, offset, |entry| {
        let room = names.len() < most;
        if room {
            names.push((entry.offset, String::from_utf8(entry.name).unwrap()));
        }
        room
    });
    listed.unwrap();
    names
}

/// Regression: an offset meant something only to the handle that had given it out, and only until it was read again
/// from the start.
#[test]
fn an_offset_means_the_same_in_every_handle_and_after_a_restart() {
    let disk = Disk::new();
    let dir = disk.dir(ROOT, "dir");
    for i in 0..700 {
        let name = format!("{:03}", (i * 389) % 700);
        disk.fs
            .create(dir, name.as_bytes(), Create::new(Kind::File, 0o600), ME)
            .unwrap();
    }
    let fh = disk.fs.opendir(dir).unwrap();
    let all = listed_names(&disk, fh, 0, usize::MAX);
    assert_eq!(all.len(), 702);
    let check = |disk: &Disk, fh, all: &[(u64, String)]| {
        for at in (0..all.len()).rev().step_by(13) {
            let next = listed_names(disk, fh, all[at].0, 1);
            assert_eq!(next.first(), all.get(at + 1), "after {:?}", all[at]);
        }
    };
    check(&disk, fh, &all);
    listed_names(&disk, fh, 0, 1);
    check(&disk, fh, &all);
    check(&disk, disk.fs.opendir(dir).unwrap(), &all);
    let disk = disk.reopen();
    check(&disk, disk.fs.opendir(dir).unwrap(), &all);
    // A place stays one to go on from when its entry is gone.
    for (_, name) in &all[100..200] {
        disk.fs.unlink(dir, name.as_bytes()).unwrap();
    }
    let fh = disk.fs.opendir(dir).unwrap();
    for at in 99..200 {
        assert_eq!(listed_names(&disk, fh, all[at].0, 1)[0], all[200]);
    }
    // An index made anew from the log has the same cookies.
    let left = listed_names(&disk, fh, 0, usize::MAX);
    let io: Arc<dyn Io> = disk.io.clone();
    disk.fs.shutdown().unwrap();
    let rebuild = OpenOptions {
        rebuild: true,
        ..OpenOptions::default()
    };
    let (store, _) = Store::open(io, rebuild).unwrap();
    let fs = Filesystem::new(Arc::new(store), codec(), options()).unwrap();
    let disk = Disk { fs, ..disk };
    let fh = disk.fs.opendir(dir).unwrap();
    assert_eq!(listed_names(&disk, fh, 0, usize::MAX), left);
}

#[test]
fn a_listing_ends_though_its_reader_makes_names() {
    /// More than are read from the index at a time.
    const MANY: usize = 600;
    let disk = Disk::new();
    let dir = disk.dir(ROOT, "dir");
    for i in 0..MANY {
        let name = format!("{i:03}");
        disk.fs
            .create(dir, name.as_bytes(), Create::new(Kind::File, 0o600), ME)
            .unwrap();
    }
    let fh = disk.fs.opendir(dir).unwrap();
    let (mut offset, mut seen) = (0, Vec::new());
    while let Some((next, name)) = listed_names(&disk, fh, offset, 1).pop() {
        offset = next;
        if !name.starts_with('.') {
            // Away and back: to the index that is another entry.
            disk.fs
                .rename(dir, name.as_bytes(), dir, b"away", RenameMode::Replace)
                .unwrap();
            disk.fs
                .rename(dir, b"away", dir, name.as_bytes(), RenameMode::Replace)
                .unwrap();
            seen.push(name);
        }
        assert!(seen.len() <= MANY, "listed again: {seen:?}");
    }
    assert_eq!(seen.len(), MANY);
    assert_eq!(disk.names(dir).len(), MANY + 2);
}

#[test]
fn a_name_that_is_replaced_during_a_listing_is_listed_once() {
    let disk = Disk::new();
    let dir = disk.dir(ROOT, "dir");
    let create = |name: &str| {
        disk.fs
            .create(dir, name.as_bytes(), Create::new(Kind::File, 0o600), ME)
            .unwrap()
    };
    for name in ["a", "b", "c", "d"] {
        create(name);
    }
    let fh = disk.fs.opendir(dir).unwrap();
    let begun = listed_names(&disk, fh, 0, 3);
    assert_eq!(begun.last().unwrap().1, "a");
    // One that was listed, one that will be.
    for name in ["a", "c"] {
        create("new");
        disk.fs
            .rename(dir, b"new", dir, name.as_bytes(), RenameMode::Replace)
            .unwrap();
    }
    disk.fs.rename(dir, b"a", dir, b"d", RenameMode::Exchange).unwrap();
    let rest = listed_names(&disk, fh, begun.last().unwrap().0, usize::MAX);
    assert_eq!(
        rest.into_iter().map(|(_, name)| name).collect::<Vec<_>>(),
        ["b", "c", "d"]
    );
}

#[test]
fn a_listing_goes_on_where_it_was_whatever_is_removed_and_added() {
    let disk = Disk::new();
    let dir = disk.dir(ROOT, "dir");
    let name = |i: u32| format!("{i:05}");
    for i in 0..1000 {
        disk.fs
            .create(dir, name(i * 2).as_bytes(), Create::new(Kind::File, 0o600), ME)
            .unwrap();
    }
    let fh = disk.fs.opendir(dir).unwrap();
    let (mut seen, mut offset, mut round) = (Vec::new(), 0, 0);
    loop {
        let mut page = Vec::new();
        disk.fs
            .readdir(fh, offset, |entry| {
                if page.len() == 100 {
                    return false;
                }
                offset = entry.offset;
                page.push(String::from_utf8(entry.name).unwrap());
                true
            })
            .unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
        // Behind the reader names go and come; far before it one goes.
        disk.fs.unlink(dir, name(round * 2).as_bytes()).unwrap();
        disk.fs
            .create(dir, name(round * 2 + 1).as_bytes(), Create::new(Kind::File, 0o600), ME)
            .unwrap();
        if round == 0 {
            disk.fs.unlink(dir, name(1998).as_bytes()).unwrap();
        }
        round += 1;
    }
    let expected: Vec<String> = [".".to_owned(), "..".to_owned()]
        .into_iter()
        .chain((0..999).map(|i| name(i * 2)))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(disk.names(dir).len(), 2 + 1000 - 1);
}

#[test]
fn attributes_are_kept_listed_and_refused() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let set = |name: &[u8], mode| disk.fs.setxattr(ino, name, b"value", mode, |_| false);
    set(b"user.a", XattrMode::Create).unwrap();
    assert_eq!(errno(set(b"user.a", XattrMode::Create)), Errno::EXIST);
    assert_eq!(errno(set(b"user.b", XattrMode::Replace)), Errno::NODATA);
    assert_eq!(errno(set(b"user.lmfs.stat", XattrMode::Any)), Errno::PERM);
    assert_eq!(errno(set(b"system.other", XattrMode::Any)), Errno::OPNOTSUPP);
    assert_eq!(disk.fs.listxattr(ino, true).unwrap(), [b"user.a".to_vec()]);
    // These were shown to everybody.
    set(b"trusted.t", XattrMode::Any).unwrap();
    assert_eq!(disk.fs.listxattr(ino, true).unwrap().len(), 2);
    assert_eq!(disk.fs.listxattr(ino, false).unwrap(), [b"user.a".to_vec()]);
    disk.fs.removexattr(ino, b"trusted.t").unwrap();
    disk.fs.write(ino, 0, &[7; 10_000], false).unwrap();
    disk.fs.fsync(ino).unwrap();
    let stat: serde_json::Value = serde_json::from_slice(&disk.fs.getxattr(ino, b"user.lmfs.stat").unwrap()).unwrap();
    assert_eq!(stat["size"], 10_000);
    assert_eq!(stat["blocks"]["zstd"], 3);
    assert_eq!(errno(disk.fs.getxattr(ino, b"user.lmfs.pid")), Errno::NODATA);
    disk.fs.removexattr(ino, b"user.a").unwrap();
    assert!(disk.reopen().fs.listxattr(ino, true).unwrap().is_empty());
}

/// Regression: names were taken that listxattr(2) could not tell any more (E2BIG), so that nobody could copy them.
#[test]
fn no_more_attributes_are_taken_than_can_be_listed() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let name = |i: u32| format!("user.{i:0>250}").into_bytes();
    let set = |name: &[u8]| disk.fs.setxattr(ino, name, b"", XattrMode::Any, |_| false);
    let taken = (0..300).take_while(|i| set(&name(*i)).is_ok()).count();
    assert_eq!(taken, 256, "of 256 bytes each");
    assert_eq!(errno(set(b"user.x")), Errno::NOSPC);
    set(&name(0)).unwrap();
    let list: usize = disk
        .fs
        .listxattr(ino, true)
        .unwrap()
        .iter()
        .map(|name| name.len() + 1)
        .sum();
    assert_eq!(list, 65536);
    disk.fs.removexattr(ino, &name(7)).unwrap();
    set(b"user.x").unwrap();
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    let disk = Disk::new();
    let dir = disk.dir(ROOT, "dir");
    let set = SetAttr {
        perm: Some(0o2777),
        gid: Some(77),
        ..SetAttr::default()
    };
    disk.fs.setattr(dir, set, false).unwrap();
    let sub = disk.dir(dir, "sub");
    let attr = disk.fs.getattr(sub).unwrap();
    assert_eq!((attr.gid, attr.perm), (77, 0o2755));
}

/// Regression: a stranger's fallocate left the bit on a file that its group could not execute.
#[test]
fn a_stranger_who_changes_contents_takes_the_set_group_id_bit() {
    let disk = Disk::new();
    let ino = disk.file("file");
    for (perm, mine, after) in [
        (0o2666, 77, 0o2666),
        (0o2666, 78, 0o666),
        (0o2676, 78, 0o2676),
        (0o666, 78, 0o666),
    ] {
        let set = SetAttr {
            perm: Some(perm),
            gid: Some(77),
            ..SetAttr::default()
        };
        disk.fs.setattr(ino, set, false).unwrap();
        disk.fs.clear_group_bit(ino, |group| group == mine).unwrap();
        assert_eq!(disk.fs.getattr(ino).unwrap().perm, after);
    }
    let dir = disk.dir(ROOT, "dir");
    let set = SetAttr {
        perm: Some(0o2666),
        ..SetAttr::default()
    };
    disk.fs.setattr(dir, set, false).unwrap();
    disk.fs.clear_group_bit(dir, |_| false).unwrap();
    assert_eq!(disk.fs.getattr(dir).unwrap().perm, 0o2666);
}

#[test]
fn an_access_list_keeps_the_set_group_id_bit_of_a_member_of_the_group() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let entries = [(0x01_u8, 7), (0x04, 5), (0x20, 5)];
    let entries = entries.map(|(tag, perm)| [tag, 0, perm, 0, 0xff, 0xff, 0xff, 0xff]);
    let list = [&[2, 0, 0, 0][..], &entries.concat()].concat();
    let set = SetAttr {
        perm: Some(0o2755),
        gid: Some(77),
        ..SetAttr::default()
    };
    for (mine, after) in [(77, 0o2755), (78, 0o755)] {
        disk.fs.setattr(ino, set, false).unwrap();
        let name = b"system.posix_acl_access";
        let is_in = |group| group == mine;
        disk.fs.setxattr(ino, name, &list, XattrMode::Any, is_in).unwrap();
        assert_eq!(disk.fs.getattr(ino).unwrap().perm, after);
    }
}
