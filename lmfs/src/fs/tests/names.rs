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
    assert_eq!(errno(disk.fs.getattr(ino)), Errno::STALE);
    assert!(disk.fs.store.orphans().unwrap().is_empty());
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
    assert_eq!(disk.fs.store.totals().inodes, 1);
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
    assert_eq!(disk.fs.inode(below).unwrap().parent, b);
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
