//! One process writes to a store, whatever happens to its files; and what was fsynced is there, or somebody was told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use lmfs_tests::{Finished, Mount, Noise, Scratch, copy_in, lmfs, run};
use rustix::mount::UnmountFlags;
use rustix::process::Signal;

/// What was promised: names and bytes.
type Promised = Vec<(String, Vec<u8>)>;

/// Writes a file of noise and syncs it; says whether that was promised.
fn promise(mount: &Mount, name: &str, promised: &mut Promised) -> bool {
    let bytes = Noise::new(name.len() as u64).bytes(50_000);
    let written = File::create(mount.path(name)).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    if written.is_ok() {
        promised.push((name.to_owned(), bytes));
    }
    written.is_ok()
}

fn assert_kept(root: &Path, promised: &Promised) {
    for (name, bytes) in promised {
        let found = fs::read(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(found == *bytes, "{name} has other bytes than were synced");
    }
}

fn second_mount(scratch: &Scratch, store: &Path) -> Finished {
    let point = scratch.path("second");
    fs::create_dir_all(&point).unwrap();
    lmfs(["mount".as_ref(), store.as_os_str(), point.as_os_str()])
}

/// What others may do to a store's files while it is mounted, and what is left to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    LockRemoved,
    LockReplaced,
    SocketRemoved,
    Moved,
    IndexRemoved,
    /// `rsync -a --delete` of an older copy.
    Synced,
    /// `cp -a` of an older copy.
    CopiedOver,
    NewestRemoved,
    NewestMoved,
    NewestCut,
    SegmentsReplaced,
    Removed,
}

impl Blow {
    /// What a cleaner may do: the daemon has everything it needs.
    const HARMLESS: [Blow; 5] = [
        Blow::LockRemoved,
        Blow::LockReplaced,
        Blow::SocketRemoved,
        Blow::Moved,
        Blow::IndexRemoved,
    ];
    /// What takes away data that was fsynced: nothing can bring it back, but nobody may be told that all is well.
    const HARMFUL: [Blow; 7] = [
        Blow::Synced,
        Blow::CopiedOver,
        Blow::NewestRemoved,
        Blow::NewestMoved,
        Blow::NewestCut,
        Blow::SegmentsReplaced,
        Blow::Removed,
    ];

    /// Strikes, and says where the store is then.
    fn strike(self, scratch: &Scratch, backup: &Path) -> PathBuf {
        let store = scratch.store();
        let newest = || scratch.store_files("segments").pop().unwrap();
        match self {
            Blow::LockRemoved => fs::remove_file(store.join("lock")).unwrap(),
            Blow::LockReplaced => {
                fs::remove_file(store.join("lock")).unwrap();
                fs::write(store.join("lock"), "").unwrap();
            }
            Blow::SocketRemoved => fs::remove_file(store.join("control.sock")).unwrap(),
            Blow::Moved => {
                fs::rename(&store, scratch.path("moved")).unwrap();
                return scratch.path("moved");
            }
            Blow::IndexRemoved => fs::remove_dir_all(store.join("index")).unwrap(),
            Blow::Synced => {
                let from = format!("{}/", backup.display());
                run(Command::new("rsync").args(["-a", "--delete", &from]).arg(&store)).ok();
            }
            Blow::CopiedOver => {
                let from = format!("{}/.", backup.display());
                run(Command::new("cp").args(["-a", &from]).arg(&store)).ok();
            }
            Blow::NewestRemoved => fs::remove_file(newest()).unwrap(),
            Blow::NewestMoved => fs::rename(newest(), scratch.path("elsewhere")).unwrap(),
            Blow::NewestCut => File::options()
                .write(true)
                .open(newest())
                .unwrap()
                .set_len(1000)
                .unwrap(),
            Blow::SegmentsReplaced => {
                fs::rename(store.join("segments"), scratch.path("elsewhere")).unwrap();
                copy_in(&backup.join("segments"), &store.join("segments"));
            }
            Blow::Removed => fs::remove_dir_all(&store).unwrap(),
        }
        store
    }
}

/// A mounted store with two promises, of which a copy beside it has one.
fn begun() -> (Scratch, PathBuf, Mount, Promised) {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mut promised = Promised::new();
    let mount = scratch.mount(&[]);
    assert!(promise(&mount, "first", &mut promised));
    mount.umount();
    let backup = scratch.path("backup");
    copy_in(&scratch.store(), &backup);
    let mount = scratch.mount(&[]);
    assert!(promise(&mount, "second", &mut promised));
    (scratch, backup, mount, promised)
}

/// Regression: after `rm STORE/lock` a second mount succeeded, and what was fsynced in the first was gone.
#[test]
fn what_a_cleaner_removes_makes_room_for_no_second_writer_and_costs_nothing() {
    for blow in Blow::HARMLESS {
        let (scratch, backup, mount, mut promised) = begun();
        let store = blow.strike(&scratch, &backup);
        for command in ["rebuild", "gc"] {
            // Of a mounted store the daemon collects.
            if command == "rebuild" {
                lmfs([command.as_ref(), store.as_os_str()]).refused(&["in use"]);
            }
        }
        second_mount(&scratch, &store).refused(&["in use by process"]);
        assert!(promise(&mount, "third", &mut promised), "{blow:?}");
        lmfs(["status".as_ref(), store.as_os_str()]).ok();
        lmfs(["pack".as_ref(), mount.path("").as_os_str()]).ok();
        mount.umount();
        lmfs(["check".as_ref(), store.as_os_str(), "--data".as_ref()]).ok();
        second_mount(&scratch, &store).ok();
        let second = scratch.path("second");
        assert_kept(&second, &promised);
        lmfs(["umount".as_ref(), second.as_os_str()]).ok();
    }
}

/// Regression: the daemon went on to promise what it wrote to files that nobody could find any more.
#[test]
fn what_takes_data_away_is_told_and_promised_no_more() {
    for blow in Blow::HARMFUL {
        let (scratch, backup, mount, promised) = begun();
        let _store = blow.strike(&scratch, &backup);
        let after = |name: &str| promise(&mount, name, &mut promised.clone());
        assert!(!after("third"), "{blow:?}: promised what nobody will find");
        assert!(!after("fourth"), "{blow:?}: it recovered by itself");
        // What the daemon has can still be read, if only from its memory.
        fs::read_dir(mount.path("")).unwrap();
        let status = mount.status();
        let stopped = status.get("stopped").and_then(|why| why.as_str());
        assert!(
            stopped.is_some_and(|why| why.contains("somebody else")),
            "{blow:?}: {status:#}"
        );
        let point = mount.path("");
        lmfs(["status".as_ref(), point.as_os_str(), "--fail".as_ref()]).refused(&[]);
        lmfs(["umount".as_ref(), point.as_os_str()]).refused(&["still mounted", "changed by somebody else"]);
        assert!(mount.log().contains("changed by somebody else"), "{blow:?}");
        // Giving up is possible, and not called a success.
        run(Command::new("umount").arg(&point)).ok();
        assert!(!mount.wait(), "{blow:?}");
        drop(scratch);
    }
}

/// Regression: with nothing written after it, nobody was told that the store was gone.
#[test]
fn a_store_that_is_gone_is_noticed_though_nothing_is_written() {
    for blow in [Blow::Removed, Blow::NewestRemoved, Blow::Synced] {
        let (scratch, backup, mount, _promised) = begun();
        blow.strike(&scratch, &backup);
        let point = mount.path("");
        lmfs(["umount".as_ref(), point.as_os_str()]).refused(&["changed by somebody else"]);
        run(Command::new("umount").arg(&point)).ok();
        assert!(!mount.wait(), "{blow:?}");
    }
}

/// What was restored belongs to whoever restored it: the daemon of what was there before writes nothing into it.
#[test]
fn a_restored_copy_is_whole_whatever_the_old_daemon_does() {
    for blow in [Blow::Synced, Blow::CopiedOver, Blow::SegmentsReplaced, Blow::Removed] {
        let (scratch, backup, mount, promised) = begun();
        let store = blow.strike(&scratch, &backup);
        if blow == Blow::Removed {
            copy_in(&backup, &store);
        }
        let _ = promise(&mount, "third", &mut Promised::new());
        let _ = fs::remove_file(mount.path("first"));
        run(Command::new("umount").arg(mount.path(""))).ok();
        assert!(!mount.wait(), "{blow:?}");
        if blow == Blow::SegmentsReplaced {
            // Its index still is that of the segments that were taken away.
            fs::remove_dir_all(store.join("index")).unwrap();
        }
        let mount = scratch.mount(&[]);
        assert_kept(&mount.path(""), &promised.into_iter().take(1).collect());
        mount.umount();
        scratch.lmfs("check", &["--data"]).ok();
    }
}

/// Regression: a segment that was begun since the store was opened could get lost unnoticed.
#[test]
fn a_lost_newest_segment_is_missed_at_the_next_mount() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mut mount = scratch.mount(&[]);
    // More than a segment holds.
    for n in 0..5 {
        let mut file = File::create(mount.path(format!("large-{n}"))).unwrap();
        file.write_all(&Noise::new(n).bytes(16 << 20)).unwrap();
        file.sync_all().unwrap();
    }
    mount.crash();
    let segments = scratch.store_files("segments");
    assert_eq!(segments.len(), 2);
    fs::remove_file(segments.last().unwrap()).unwrap();
    second_mount(&scratch, &scratch.store()).refused(&["the log is damaged", "missing"]);
    drop(mount);
}

/// Copies with hard links share the newest segment, to which only one of them may append.
#[test]
fn a_copy_of_hard_links_is_a_store_of_its_own() {
    let (scratch, _, mount, mut promised) = begun();
    let linked = scratch.path("linked");
    run(Command::new("cp").arg("-al").arg(scratch.store()).arg(&linked)).ok();
    for name in ["control.sock", "lock"] {
        fs::remove_file(linked.join(name)).unwrap();
    }
    let before = promised.clone();
    second_mount(&scratch, &linked).ok();
    let second = scratch.path("second");
    fs::write(second.join("theirs"), "in the copy").unwrap();
    assert!(promise(&mount, "third", &mut promised));
    assert_kept(&second, &before);
    lmfs(["umount".as_ref(), second.as_os_str()]).ok();
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
    lmfs(["check".as_ref(), linked.as_os_str(), "--data".as_ref()]).ok();
    let mount = scratch.mount(&[]);
    assert_kept(&mount.path(""), &promised);
    assert!(!mount.path("theirs").exists());
    mount.umount();
}

/// Regression: `umount M; mount S M` was refused while the daemon stored what was written last.
#[test]
fn a_mount_waits_for_the_daemon_before_it_to_end() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    fs::write(mount.path("late"), "written last").unwrap();
    mount.signal(Signal::STOP);
    // Not by umount(8), which looks at the mount and would wait for the daemon.
    rustix::mount::unmount(scratch.mountpoint(), UnmountFlags::NOFOLLOW).unwrap();
    let next = thread::scope(|scope| {
        let next = scope.spawn(|| {
            let (store, point) = (scratch.store(), scratch.mountpoint());
            lmfs(["mount".as_ref(), store.as_os_str(), point.as_os_str()])
        });
        thread::sleep(Duration::from_secs(1));
        assert!(!next.is_finished(), "refused, or two daemons");
        mount.signal(Signal::CONT);
        next.join().unwrap()
    });
    next.ok();
    let late = fs::read(scratch.mountpoint().join("late"));
    lmfs(["umount".as_ref(), scratch.mountpoint().as_os_str()]).ok();
    assert_eq!(late.unwrap(), b"written last");
    assert!(mount.wait());
}
