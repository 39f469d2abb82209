//! A disk that fills up while files are written and while they are packed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use lmfs_tests::{Noise, Scratch, data, diff, run, until};

/// A small disk of its own below a scratch folder: a tmpfs, detached when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Self {
        fs::create_dir(at).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(at))
        .ok();
        Self(at.to_path_buf())
    }

    /// Fills the disk but for about `left` bytes; returns the file that does.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.0.join("filler");
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let len = (stat.f_bavail * stat.f_frsize).saturating_sub(left);
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![1; len as usize]).unwrap();
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn store_on(disk: &Disk, scratch: &Scratch) {
    let folder = disk.0.join("store");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, scratch.store()).unwrap();
    scratch.lmfs("init", &[]).ok();
}

fn is_full(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::StorageFull
}

#[test]
fn writing_to_a_full_disk_says_so_and_keeps_what_was_synced() {
    let scratch = Scratch::empty();
    let disk = Disk::mount(&scratch.path("disk"), "64m");
    store_on(&disk, &scratch);
    let filler = disk.fill(6 << 20);
    let mount = scratch.mount(&[]);
    let mut noise = Noise::new(1);
    let mut kept = Vec::new();
    let failure = loop {
        let name = format!("file-{}", kept.len());
        let bytes = noise.bytes(300_000);
        let written = File::create(mount.path(&name)).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        match written {
            Ok(()) => kept.push((name, bytes)),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "a disk of a few megabytes never fills up");
    };
    assert!(is_full(&failure), "ENOSPC, not {failure}");
    assert!(kept.len() > 3, "there was space for more than {} files", kept.len());
    let holds = |mount: &lmfs_tests::Mount| {
        for (name, bytes) in &kept {
            assert!(&fs::read(mount.path(name)).unwrap() == bytes, "{name}");
        }
    };
    holds(&mount);
    // There is space again: work goes on, without a remount.
    fs::remove_file(filler).unwrap();
    let file = File::create(mount.path("after")).unwrap();
    (&file).write_all(b"goes on").unwrap();
    file.sync_all().unwrap();
    drop(file);
    holds(&mount);
    mount.umount();
    let mount = scratch.mount(&[]);
    holds(&mount);
    assert_eq!(fs::read(mount.path("after")).unwrap(), b"goes on");
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}

/// A checkpoint of large attributes did not fit into what is kept, was begun again and again, and nothing was ever
/// freed.
#[test]
fn a_disk_full_of_attributes_and_data_is_freed_by_deleting_the_data() {
    let scratch = Scratch::empty();
    let disk = Disk::mount(&scratch.path("disk"), "40m");
    store_on(&disk, &scratch);
    let mount = scratch.mount(&[]);
    let mut noise = Noise::new(1);
    for n in 0..110 {
        let path = mount.path(format!("attributes-{n}"));
        File::create(&path).unwrap();
        let (value, flags) = (noise.bytes(60_000), rustix::fs::XattrFlags::empty());
        rustix::fs::setxattr(&path, "user.large", &value, flags).unwrap();
    }
    let mut write = |name: String| {
        let bytes = noise.bytes(300_000);
        let mut file = File::create(mount.path(name))?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    let end = (0..200).find(|n| {
        write(format!("data-{n}"))
            .inspect_err(|e| assert!(is_full(e), "{e}"))
            .is_err()
    });
    let end = end.unwrap();
    assert!(end > 50, "there was space for {end} files");
    for n in 0..end {
        fs::remove_file(mount.path(format!("data-{n}"))).unwrap();
    }
    // Collecting makes room for the last file, which is in memory still.
    lmfs_tests::lmfs(["gc".as_ref(), mount.path("").as_os_str()]).ok();
    for n in 0..end / 2 {
        write(format!("again-{n}")).unwrap();
    }
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}

/// sled waits for ever for what it could not write: the daemon did not end, and kept the store.
#[test]
fn an_index_that_could_not_be_written_does_not_keep_the_daemon() {
    let scratch = Scratch::with_store(&[]);
    let index = scratch.store().join("index");
    fs::remove_dir_all(&index).unwrap();
    let disk = Disk::mount(&index, "1m");
    let mount = scratch.mount(&[]);
    let value = Noise::new(1).bytes(60_000);
    let write = |n: usize| {
        let path = mount.path(format!("file-{n}"));
        File::create(&path)?;
        rustix::fs::setxattr(&path, "user.large", &value, rustix::fs::XattrFlags::empty())?;
        std::io::Result::Ok(())
    };
    // More than is kept in memory: then sled fails, for good.
    let end = (0..500).find(|n| write(*n).is_err()).unwrap_or(500);
    assert!(
        end > 100 && mount.log().contains("sled"),
        "{end} files, {}",
        mount.log()
    );
    mount.umount();
    drop(disk);
    let mount = scratch.mount(&[]);
    let mut found = vec![0; 60_000];
    for n in 0..end {
        rustix::fs::getxattr(mount.path(format!("file-{n}")), "user.large", &mut found[..]).unwrap();
        assert!(found == value);
    }
    mount.umount();
    scratch.lmfs("check", &[]).ok();
}

#[test]
fn packing_on_a_full_disk_stops_clearly_and_goes_on_when_there_is_space() {
    let scratch = Scratch::empty();
    let disk = Disk::mount(&scratch.path("disk"), "64m");
    store_on(&disk, &scratch);
    let original = scratch.path("original");
    fs::create_dir(&original).unwrap();
    for n in 0..3 {
        let text = fs::read(data("text/alice29.txt")).unwrap();
        fs::write(
            original.join(format!("{n}.txt")),
            text.get(n * 20_000..(n + 1) * 20_000).unwrap(),
        )
        .unwrap();
    }
    let mount = scratch.mount(&[]);
    lmfs_tests::copy_in(&original, &mount.path("copy"));
    run(Command::new("sync").arg("-f").arg(mount.path("copy"))).ok();
    let filler = disk.fill(0);
    let packed = lmfs_tests::lmfs(["pack".as_ref(), mount.path("").as_os_str()]);
    packed.refused(&["no space left for"]);
    diff(&original, &mount.path("copy"));
    assert!(mount.count("/queue_bytes") > 0);

    fs::remove_file(filler).unwrap();
    mount.pack(&[]);
    assert_eq!(mount.count("/queue_bytes"), 0);
    diff(&original, &mount.path("copy"));
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}

/// Everything was written until the last byte: then nothing could be deleted, and `lmfs gc` always refused.
#[test]
fn a_full_disk_is_freed_by_deleting_files_and_collecting_garbage() {
    let scratch = Scratch::empty();
    let disk = Disk::mount(&scratch.path("disk"), "24m");
    store_on(&disk, &scratch);
    let mount = scratch.mount(&[]);
    let mut noise = Noise::new(1);
    let mut fill = |from: usize| {
        for n in from..from + 2000 {
            let bytes = noise.bytes(20_000);
            if let Err(error) = fs::write(mount.path(format!("file-{n}")), &bytes) {
                assert!(is_full(&error), "ENOSPC, not {error}");
                return n;
            }
            // It is told at close, which fs::write does not listen to.
            if let Err(error) = File::open(mount.path(format!("file-{n}"))).unwrap().sync_all() {
                assert!(is_full(&error), "ENOSPC, not {error}");
                return n;
            }
        }
        panic!("24 MB never fill up");
    };
    let end = fill(0);
    assert!(end > 700, "there was space for more than {end} files");
    // Some retries of what cannot be stored, and a collection with nothing to gain, take nothing of what is kept.
    let failed = mount.count("/flush_errors");
    until("what cannot be stored is tried again", || {
        mount.count("/flush_errors") > failed + 1
    });
    let _ = lmfs_tests::lmfs(["gc".as_ref(), mount.path("").as_os_str()]);
    let kept: Vec<_> = (0..50)
        .map(|n| (n, fs::read(mount.path(format!("file-{n}"))).unwrap()))
        .collect();
    for n in 50..end {
        fs::remove_file(mount.path(format!("file-{n}"))).unwrap_or_else(|error| panic!("rm file-{n}: {error}"));
    }
    // The last file is in memory still: collecting makes room for it.
    lmfs_tests::lmfs(["gc".as_ref(), mount.path("").as_os_str()]).ok();
    assert_eq!(mount.count("/dirty_bytes"), 0);
    let again = fill(end + 1) - (end + 1);
    assert!(again > 500, "there was space for only {again} files again");
    for (n, bytes) in &kept {
        assert!(&fs::read(mount.path(format!("file-{n}"))).unwrap() == bytes, "file-{n}");
    }
    for n in end + 1..end + 100 {
        fs::remove_file(mount.path(format!("file-{n}"))).unwrap();
    }
    lmfs_tests::lmfs(["gc".as_ref(), mount.path("").as_os_str()]);
    fs::remove_file(mount.path(format!("file-{}", end + 1 + again))).unwrap();
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}

/// The lock wanted a line written to its file: on a full disk no command could open the store.
#[test]
fn a_store_on_a_completely_full_disk_is_opened_and_read() {
    let scratch = Scratch::empty();
    let disk = Disk::mount(&scratch.path("disk"), "64m");
    store_on(&disk, &scratch);
    let original = scratch.path("original");
    lmfs_tests::small_tree(&original);
    let mount = scratch.mount(&[]);
    lmfs_tests::copy_in(&original, &mount.path("copy"));
    mount.umount();
    disk.fill(0);
    // Filled by whole pages, so the last one may have room left, but no new file has any.
    let refused = fs::write(disk.0.join("more"), [1; 100]).unwrap_err();
    assert!(is_full(&refused), "{refused}");
    fs::remove_file(disk.0.join("more")).unwrap();

    scratch.lmfs("status", &[]).ok();
    scratch.lmfs("check", &["--data"]).ok();
    let mount = scratch.mount(&["-o", "ro"]);
    diff(&original, &mount.path("copy"));
    mount.umount();
    // The one segment has something in use, and there is no room for a copy.
    scratch
        .lmfs("gc", &[])
        .refused(&["no space left for the blocks in use"]);
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
    scratch.lmfs("status", &[]).ok();
}
