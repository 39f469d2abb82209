//! A real mount of a store in memory: what only the kernel can show. Needs /dev/fuse.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lmfs_codec::Codec;
use lmfs_indexer::{CreateOptions, MemIo, Store};
use rustix::fs::{Mode, OFlags};

use super::{Options, Session, mount};
use crate::fs::{self as logic, Filesystem};

fn mounted() -> (Arc<Filesystem>, tempfile::TempDir, Session) {
    let store = Store::create(Arc::new(MemIo::new()), CreateOptions::new([1; 16])).unwrap();
    let codec = Codec::new(None, lmfs_codec::Options::default()).unwrap();
    let filesystem = Filesystem::new(Arc::new(store), codec, logic::Options::new(16 << 10)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let session = mount(
        filesystem.clone(),
        &root,
        &Options {
            source: "test,store".into(),
            ..Options::default()
        },
    )
    .unwrap();
    (filesystem, folder, session)
}

#[test]
fn files_behave_through_the_kernel() {
    let (filesystem, folder, session) = mounted();
    let root = folder.path().canonicalize().unwrap();
    let text: Vec<u8> = (0..300_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/file"), &text).unwrap();
    assert!(fs::read(root.join("dir/file")).unwrap() == text);
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .open(root.join("dir/file"))
        .unwrap();
    file.write_all(b"tail").unwrap();
    file.sync_all().unwrap();
    file.seek(SeekFrom::End(-4)).unwrap();
    let mut tail = String::new();
    file.read_to_string(&mut tail).unwrap();
    assert_eq!(tail, "tail");
    file.set_len(100).unwrap();
    file.set_len(200).unwrap();
    let mut bytes = vec![1; 200];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes[..100] == text[..100] && bytes[100..] == [0; 100]);
    fs::rename(root.join("dir/file"), root.join("moved")).unwrap();
    symlink("moved", root.join("link")).unwrap();
    fs::hard_link(root.join("moved"), root.join("second")).unwrap();
    assert_eq!(fs::metadata(root.join("link")).unwrap().nlink(), 2);
    fs::remove_file(root.join("moved")).unwrap();
    fs::remove_file(root.join("second")).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    assert_eq!(file.metadata().unwrap().len(), 200);
    drop(file);
    fs::remove_dir(root.join("dir")).unwrap();
    for i in 0..500 {
        File::create(root.join(format!("f{i}"))).unwrap();
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 501);

    assert!(!session.wait(Some(Duration::ZERO)));
    crate::daemon::unmount::unmount(&root, false).unwrap();
    assert!(session.wait(Some(Duration::from_secs(10))));
    assert!(session.failure().is_none());
    filesystem.shutdown().unwrap();
    assert_eq!(filesystem.stats().panics, 0);
    assert_eq!(
        fs::read_dir(&root).unwrap().count(),
        0,
        "the mountpoint is an empty directory again"
    );
}

#[test]
fn an_open_with_o_trunc_that_is_refused_leaves_a_running_program_whole() {
    let (filesystem, folder, session) = mounted();
    let root = folder.path().canonicalize().unwrap();
    let program = root.join("program");
    fs::copy("/bin/sleep", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut running = Command::new(&program).arg("60").spawn().unwrap();

    let opened = rustix::fs::open(&program, OFlags::RDONLY | OFlags::TRUNC, Mode::empty());
    let whole = fs::read(&program).unwrap() == fs::read("/bin/sleep").unwrap();
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(opened.err(), Some(rustix::io::Errno::TXTBSY));
    assert!(whole, "refused, and yet truncated");

    // Allowed, it does what it says.
    drop(OpenOptions::new().write(true).truncate(true).open(&program).unwrap());
    assert_eq!(fs::metadata(&program).unwrap().len(), 0);

    crate::daemon::unmount::unmount(&root, false).unwrap();
    assert!(session.wait(Some(Duration::from_secs(10))));
    filesystem.shutdown().unwrap();
}
