//! Each part with those below it alone.

use super::super::attributes::Attributes;
use super::super::contents::Contents;
use super::super::inode::open_files::OpenFiles;
use super::super::namespace::Namespace;
use super::*;

const B: u64 = BLOCK as u64;

/// A store in memory that has one file without a name, as no part above the journal needs one.
fn journal() -> (Arc<Journal>, u64) {
    let store = Store::create(Arc::new(MemIo::new()), CreateOptions::new([1; 16])).unwrap();
    let journal = Arc::new(Journal::new(Arc::new(store), false));
    let ino = ROOT + 1;
    let file = lmfs_indexer::Inode::new(ino, Kind::File, 0o644, types::now());
    journal.commit(vec![Change::PutInode(file)]).unwrap();
    (journal, ino)
}

fn reader(journal: &Arc<Journal>) -> Arc<Reader> {
    let loader = Loader::new(journal.clone(), codec(), Stop::new());
    let blocks = Blocks::new(Box::new(loader), 1 << 20, 2).unwrap();
    Arc::new(Reader::new(journal.clone(), blocks, &options()))
}

fn write_back(journal: &Arc<Journal>, inodes: &Inodes, reader: &Arc<Reader>) -> Arc<WriteBack> {
    let executor = Arc::new(Executor::new("test", 1).unwrap());
    let (journal, reader, totals) = (journal.clone(), reader.clone(), inodes.totals().clone());
    Arc::new(WriteBack::new(journal, reader, codec(), executor, totals, &options()))
}

#[test]
fn a_closed_journal_lets_nobody_change_anything_but_can_still_be_made_durable() {
    let (journal, _) = journal();
    journal.check_writable().unwrap();
    journal.close();
    assert_eq!(errno(journal.check_writable()), Errno::NOTCONN);
    assert!(journal.is_unsynced());
    journal.sync().unwrap();
    assert!(!journal.is_unsynced());
}

#[test]
fn the_reader_decodes_what_the_journal_has() {
    let (journal, ino) = journal();
    let reader = reader(&journal);
    let store = journal.store();
    let bytes = codec().stage(&[7; BLOCK as usize]).unwrap();
    let tag = lmfs_codec::Header::parse(&bytes).unwrap().method as u8;
    let extent = lmfs_indexer::Extent::new(store.append_block(&bytes).unwrap(), tag, BLOCK);
    let extents = vec![Some(extent)];
    journal
        .commit(vec![Change::PutExtents { ino, first: 3, extents }])
        .unwrap();
    assert!(wait(reader.block(ino, 2, Asker::DAEMON)).unwrap().is_none());
    let (found, block) = wait(reader.block(ino, 3, Asker::DAEMON)).unwrap().unwrap();
    assert_eq!((found, &block[..]), (extent, &[7; BLOCK as usize][..]));
    assert!(reader.cached(ino, 3, &extent).is_some());
}

#[test]
fn an_inode_has_one_node_as_long_as_something_holds_it() {
    let (journal, ino) = journal();
    let inodes = Inodes::new(journal);
    let (files, node) = (OpenFiles::default(), inodes.get(ino).unwrap());
    assert!(Arc::ptr_eq(&node, &inodes.get(ino).unwrap()));
    let fh = files.open(node).unwrap();
    assert_eq!(inodes.held(ino).unwrap().lock().opens, 1);
    inodes.held(ino).unwrap().lock().inode.nlink = 0;
    let unlinked = files.release(fh).unwrap().unwrap();
    assert_eq!(errno(files.release(fh)), Errno::BADF);
    inodes.retain_unlinked(unlinked);
    assert!(inodes.held(ino).is_some());
    inodes.forget(ino);
    assert!(inodes.held(ino).is_none());
    assert_eq!(errno(inodes.get(ino + 1)), Errno::STALE);
    assert!(inodes.new_ino() > ino);
}

#[test]
fn write_back_stores_what_was_written_without_names_or_attributes() {
    let (journal, ino) = journal();
    let inodes = Inodes::new(journal.clone());
    let write_back = write_back(&journal, &inodes, &reader(&journal));
    let node = inodes.get(ino).unwrap();
    let written = write_back.write_now(&node, B, &[9; BLOCK as usize], false).unwrap();
    assert_eq!(written, Some(BLOCK));
    assert!(write_back.is_dirty(ino));
    assert_eq!(journal.store().next_extent(ino, 0).unwrap(), None);
    wait(write_back.flush(&node, Asker::DAEMON)).unwrap();
    assert!(!write_back.is_dirty(ino));
    assert_eq!(inodes.totals().blocks(), 0);
    assert_eq!(journal.store().next_extent(ino, 0).unwrap(), Some(1));
    assert_eq!(journal.store().inode(ino).unwrap().unwrap().size, 2 * B);
}

#[test]
fn contents_are_read_and_cut_without_names() {
    let (journal, ino) = journal();
    let inodes = Arc::new(Inodes::new(journal.clone()));
    let reader = reader(&journal);
    let write_back = write_back(&journal, &inodes, &reader);
    let contents = Contents::new(journal, inodes.clone(), reader, write_back.clone(), &options());
    let node = inodes.get(ino).unwrap();
    write_back.write_now(&node, 0, b"some text", false).unwrap();
    wait(write_back.flush(&node, Asker::DAEMON)).unwrap();
    write_back.write_now(&node, 5, b"word", false).unwrap();
    let read = || wait(contents.read(ino, 0, BLOCK, Asker::DAEMON)).unwrap();
    assert_eq!(read(), b"some word");
    contents.set_size(&node, 4, false).unwrap();
    assert_eq!(read(), b"some");
    assert_eq!(wait(contents.lseek(ino, 0, Seek::Hole)).unwrap(), 4);
}

#[test]
fn attributes_are_changed_without_names() {
    let (journal, ino) = journal();
    let inodes = Arc::new(Inodes::new(journal.clone()));
    let attributes = Attributes::new(journal.clone(), inodes.clone(), &options());
    let set = SetAttr {
        perm: Some(0o600),
        ..SetAttr::default()
    };
    attributes.setattr(&inodes.get(ino).unwrap(), &set).unwrap();
    assert_eq!(attributes.getattr(ino).unwrap().perm, 0o600);
    assert_eq!(journal.store().inode(ino).unwrap().unwrap().perm, 0o600);
    attributes
        .setxattr(ino, b"user.a", b"1", XattrMode::Create, |_| true)
        .unwrap();
    assert_eq!(attributes.getxattr(ino, b"user.a").unwrap(), b"1");
}

#[test]
fn names_are_made_and_removed_without_open_files() {
    let (journal, _) = journal();
    let inodes = Arc::new(Inodes::new(journal.clone()));
    let attributes = Arc::new(Attributes::new(journal.clone(), inodes.clone(), &options()));
    let reader = reader(&journal);
    let write_back = write_back(&journal, &inodes, &reader);
    let names = Namespace::new(journal, inodes, attributes, reader, write_back);
    let made = names
        .create(ROOT, b"dir", Create::new(Kind::Directory, 0o755), ME)
        .unwrap();
    assert_eq!(names.lookup(ROOT, b"dir").unwrap().ino, made.ino);
    assert_eq!(errno(names.unlink(ROOT, b"dir")), Errno::ISDIR);
    names.rmdir(ROOT, b"dir").unwrap();
    assert_eq!(errno(names.lookup(ROOT, b"dir")), Errno::NOENT);
}
