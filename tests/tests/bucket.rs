//! A store in a bucket, which is a folder here: pushed, cloned, pushed on, interrupted, and refused where it must be.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lmfs_tests::{Scratch, diff, lmfs, lmfs_path, run, until};

fn url(scratch: &Scratch) -> String {
    format!("file://{}", scratch.path("bucket").display())
}

#[test]
fn a_store_is_pushed_and_cloned() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    let pushed = scratch.lmfs("push", &[&url, "--json"]).ok().json();
    assert!(pushed["stored_bytes"].as_u64().unwrap() > 0, "{pushed}");
    assert_eq!(pushed["stored_bytes"], pushed["bytes"]);
    scratch.clone_equals(&url, "clone", &original);
    // What is there is not stored again.
    let again = scratch.lmfs("push", &[&url, "--json"]).ok().json();
    assert_eq!((&again["stored_bytes"], &again["seq"]), (&0.into(), &pushed["seq"]));
}

#[test]
fn a_mounted_store_is_pushed_while_it_is_written_to() {
    let (scratch, original) = Scratch::filled(&["--prefer", "speed"]);
    let mount = scratch.mount(&[]);
    let url = url(&scratch);
    let mut stored = Vec::new();
    for n in 0..3 {
        fs::write(mount.path("copy").join(format!("new {n}")), vec![n; 100_000]).unwrap();
        fs::write(original.join(format!("new {n}")), vec![n; 100_000]).unwrap();
        // By its mountpoint: what was written a moment ago is in it.
        let pushed = lmfs([
            "push".as_ref(),
            scratch.mountpoint().as_os_str(),
            url.as_ref(),
            "--json".as_ref(),
        ]);
        stored.push(pushed.ok().json()["stored_bytes"].as_u64().unwrap());
        scratch.clone_equals(&url, &format!("clone {n}"), &original);
    }
    assert!(
        stored[1] < 100_000 && stored[2] < 100_000,
        "only what is new: {stored:?}"
    );
    // Garbage collection and packing move blocks and delete segments.
    fs::remove_file(mount.path("copy/new 1")).unwrap();
    fs::remove_file(original.join("new 1")).unwrap();
    mount.pack(&[]);
    lmfs(["gc".as_ref(), scratch.mountpoint().as_os_str()]).ok();
    scratch.lmfs("push", &[&url]).ok();
    scratch.clone_equals(&url, "clone after gc", &original);
    mount.umount();
}

/// Killed at any moment: a clone is a state of the store, and the next push comes to its end.
#[test]
fn a_push_is_killed_at_any_moment() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    scratch.lmfs("push", &[&url]).ok();
    let mount = scratch.mount(&[]);
    for n in 0..8_u8 {
        let name = format!("big {n}");
        let content: Vec<u8> = (0..3_000_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ n)
            .collect();
        fs::write(mount.path("copy").join(&name), &content).unwrap();
        fs::write(original.join(&name), &content).unwrap();
        let mut push = Command::new(lmfs_path());
        let mut push = push.arg("push").arg(scratch.store()).arg(&url).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(n) * 15));
        push.kill().unwrap();
        push.wait().unwrap();
        let clone = scratch.path(format!("part {n}"));
        lmfs(["clone".as_ref(), url.as_ref(), clone.as_os_str()]).ok();
        lmfs(["check".as_ref(), clone.as_os_str(), "--data".as_ref()]).ok();
    }
    scratch.lmfs("push", &[&url]).ok();
    mount.umount();
    scratch.clone_equals(&url, "clone", &original);
}

/// A clone that was killed goes on, and fetches only what it does not have.
#[test]
fn a_clone_goes_on_where_it_was_interrupted() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    scratch.lmfs("push", &[&url]).ok();
    let clone = scratch.path("clone");
    lmfs(["clone".as_ref(), url.as_ref(), clone.as_os_str()]).ok();
    // As it is when it is killed before its end: without its config, and with its mark.
    fs::remove_file(clone.join("config.toml")).unwrap();
    lmfs(["clone".as_ref(), url.as_ref(), clone.as_os_str()]).refused(&["not empty"]);
    let head = fs::read_to_string(scratch.path("bucket").join("HEAD")).unwrap();
    let body = head.split_once('\n').unwrap().1;
    let head: serde_json::Value = serde_json::from_str(body).unwrap();
    fs::write(clone.join("clone"), head["lineage"].as_str().unwrap()).unwrap();
    let segment = clone.join("segments/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let fetched = lmfs(["clone".as_ref(), url.as_ref(), clone.as_os_str(), "--json".as_ref()])
        .ok()
        .json();
    assert_eq!(fetched["fetched_bytes"], bytes.len(), "the model is there: {fetched}");
    lmfs(["check".as_ref(), clone.as_os_str(), "--data".as_ref()]).ok();
    let mount = scratch.mount_store(&clone, &["--read-only"]);
    diff(&original, &mount.path("copy"));
    mount.umount();
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (scratch, _) = Scratch::filled(&[]);
    let (other, _) = Scratch::filled(&[]);
    let url = url(&scratch);
    lmfs(["clone", &url, scratch.path("c").to_str().unwrap()]).refused(&["bucket"]);
    scratch.lmfs("push", &[&url]).ok();
    other.lmfs("push", &[&url]).refused(&["another store"]);
    // A copy that goes its own way, while the first one does, too.
    let clone = scratch.path("clone");
    lmfs(["clone".as_ref(), url.as_ref(), clone.as_os_str()]).ok();
    for (store, content) in [(clone.as_path(), "one"), (scratch.store().as_path(), "another")] {
        let mount = scratch.mount_store(store, &[]);
        fs::write(mount.path("file"), content).unwrap();
        mount.umount();
    }
    lmfs(["push".as_ref(), clone.as_os_str(), url.as_ref()]).ok();
    scratch
        .lmfs("push", &[&url])
        .refused(&["restored from a backup", "another prefix"]);
    // A folder with something else in it, and damage in the bucket.
    let full = scratch.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("photo"), "x").unwrap();
    lmfs(["clone".as_ref(), url.as_ref(), full.as_os_str()]).refused(&["photo"]);
    let segments = scratch.path("bucket/segments");
    for entry in fs::read_dir(segments).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    lmfs(["clone".as_ref(), url.as_ref(), scratch.path("d").as_os_str()]).refused(&["SHA-256"]);
    assert!(!scratch.path("d/config.toml").exists());
}

/// Regression: packing the objects of a bucket made containers of HEAD and of the pieces of a store that was pushed
/// there, which nobody could read any more.
#[test]
fn packing_objects_leaves_a_store_that_was_pushed_as_it_is() {
    let (scratch, original) = Scratch::filled(&["--prefer", "speed"]);
    let url = url(&scratch);
    scratch.lmfs("push", &[&url]).ok();
    let bucket = scratch.path("bucket");
    fs::write(bucket.join("notes.txt"), "a note, and a note again. ".repeat(500)).unwrap();
    // From the prefix above it, too.
    let above = scratch.path("above");
    fs::create_dir(&above).unwrap();
    fs::rename(&bucket, above.join("bucket")).unwrap();
    let words = ["--exclusive", "--level", "2", "--dry-run"].map(OsStr::new);
    let packed = lmfs(["pack-objects".as_ref(), above.as_os_str()].into_iter().chain(words)).ok();
    assert!(packed.stderr.contains("keeps a store here"), "{packed}");
    fs::rename(above.join("bucket"), &bucket).unwrap();
    let packed = lmfs(["pack-objects", &url, "--exclusive", "--level", "2", "--json"]);
    let packed = packed.ok().json();
    assert_eq!(
        (&packed["packed"], &packed["failed"]),
        (&1.into(), &0.into()),
        "{packed}"
    );
    scratch.clone_equals(&url, "clone", &original);
    scratch.lmfs("push", &[&url, "--verify"]).ok();
    // A folder of that kind is no damaged store.
    for command in ["status", "check"] {
        lmfs([command.as_ref(), bucket.as_os_str()]).refused(&["lmfs push", "file://"]);
    }
    lmfs(["check", &url]).refused(&["URL", "lmfs clone"]);
}

/// Regression: a push looked at the length of an object and never at its bytes.
#[test]
fn what_is_wrong_in_the_bucket_is_found_and_stored_anew() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    scratch.lmfs("push", &[&url]).ok();
    let verified = |wrong: u64| {
        let pushed = scratch.lmfs("push", &[&url, "--verify", "--json"]).ok().json();
        assert!(pushed["verified_objects"].as_u64().unwrap() >= 3, "{pushed}");
        assert_eq!(pushed["wrong_objects"], wrong, "{pushed}");
        pushed["stored_bytes"].as_u64().unwrap()
    };
    assert_eq!(verified(0), 0);
    let objects = |folder: &str| walk(&scratch.path(format!("bucket/{folder}")));
    let segment = objects("segments").pop().unwrap();
    let len = fs::metadata(&segment).unwrap().len();
    flip(&segment, len / 2);
    fs::remove_file(objects("models").pop().unwrap()).unwrap();
    lmfs(["clone", &url, scratch.path("broken").to_str().unwrap()]).refused(&[]);
    scratch.lmfs("push", &[&url]).ok();
    assert!(verified(2) > len, "the model and the segment");
    assert_eq!(verified(0), 0);
    scratch.clone_equals(&url, "clone", &original);
    // What is wrong on both sides is not mended with what is wrong.
    let head_before = head(&scratch)["files"].clone();
    for segment in objects("segments")
        .iter()
        .filter(|path| fs::metadata(path).unwrap().len() == len)
    {
        flip(segment, len / 2);
    }
    flip(&scratch.store().join("segments/00000001.seg"), len / 2);
    scratch.lmfs("push", &[&url, "--verify"]).refused(&[]);
    assert_eq!(head(&scratch)["files"], head_before);
}

/// Regression: bytes that came wrong once were in the cache, and wrong for ever.
#[test]
fn what_came_wrong_from_the_bucket_is_fetched_again() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    scratch.lmfs("push", &[&url]).ok();
    let segment = walk(&scratch.path("bucket/segments")).pop().unwrap();
    let middle = fs::metadata(&segment).unwrap().len() / 2;
    let is_readable = |mount: &lmfs_tests::Mount| {
        let files = walk(&original);
        let readable = |path: &std::path::PathBuf| {
            let copy = mount.path("copy").join(path.strip_prefix(&original).unwrap());
            path.is_symlink() || fs::read(copy).is_ok_and(|bytes| bytes == fs::read(path).unwrap_or_default())
        };
        files.iter().filter(|path| path.is_file()).all(readable)
    };
    flip(&segment, middle);
    let reader = scratch.mount_url(&url);
    assert!(!is_readable(&reader), "a block is wrong");
    flip(&segment, middle);
    assert!(is_readable(&reader), "it is fetched again");
    reader.umount();
    let reader = scratch.mount_url(&url);
    diff(&original, &reader.path("copy"));
    reader.umount();
}

/// A program that is killed when the test ends in any way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn seq(scratch: &Scratch) -> Option<u64> {
    let head = fs::read_to_string(scratch.path("bucket/HEAD")).ok()?;
    let head: serde_json::Value = serde_json::from_str(head.split_once('\n')?.1).ok()?;
    head["seq"].as_u64()
}

fn head(scratch: &Scratch) -> serde_json::Value {
    let head = fs::read_to_string(scratch.path("bucket/HEAD")).unwrap();
    serde_json::from_str(head.split_once('\n').unwrap().1).unwrap()
}

/// The later of two that watch survives, and the other says who it is.
#[test]
fn of_two_that_watch_one_survives() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    let mount = scratch.mount(&[]);
    let watch = |name: &str| {
        let log = fs::File::create(scratch.path(name)).unwrap();
        let mut command = Command::new(lmfs_path());
        command
            .arg("push")
            .arg(scratch.mountpoint())
            .args([&url, "--watch", "--every", "1"])
            .stdout(Stdio::null())
            .stderr(log);
        Running(command.spawn().unwrap())
    };
    let mut first = watch("first");
    until("the first has pushed", || seq(&scratch).is_some());
    let mut second = watch("second");
    let mut n = 0;
    let mut ended = None;
    until("the first has stopped", || {
        n += 1;
        fs::write(mount.path("copy/counter"), format!("{n}")).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        ended = first.0.try_wait().unwrap();
        ended.is_some()
    });
    let message = fs::read_to_string(scratch.path("first")).unwrap();
    assert!(
        ended.unwrap().code() == Some(4) && message.contains("another writer"),
        "{message}"
    );
    assert!(second.0.try_wait().unwrap().is_none(), "the second goes on");
    // What is written from now on arrives by the second alone.
    let before = seq(&scratch);
    fs::write(mount.path("copy/counter"), "the end").unwrap();
    fs::write(original.join("counter"), "the end").unwrap();
    until("the second has pushed", || seq(&scratch) > before);
    let pid = rustix::process::Pid::from_child(&second.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    second.0.wait().unwrap();
    scratch.lmfs("push", &[&url]).ok();
    mount.umount();
    scratch.clone_equals(&url, "clone", &original);
}

/// What `lmfs-push@NAME.service` starts, and how it is ended.
#[test]
fn a_watch_takes_store_and_url_from_a_file() {
    let (scratch, original) = Scratch::filled(&[]);
    let config = scratch.path("archive.toml");
    let watch = || {
        let mut command = Command::new(lmfs_path());
        command.args(["push", "--watch", "--config"]).arg(&config);
        command
    };
    let text = format!("store = {:?}\n", scratch.store());
    fs::write(&config, &text).unwrap();
    run(&mut watch()).refused(&["archive.toml", "push = "]);
    fs::write(&config, format!("{text}push = {:?}\n", url(&scratch))).unwrap();
    let mut running = Running(watch().stdout(Stdio::null()).spawn().unwrap());
    until("it has pushed", || seq(&scratch).is_some());
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Of which systemd knows that it is no failure.
    assert_eq!(running.0.wait().unwrap().signal(), Some(15));
    scratch.clone_equals(&url(&scratch), "clone", &original);
    lmfs(["push", "--config", "x", "store", "url"]).refused(&["cannot be used with"]);
}

/// Regression: only the first push of a watch looked whether the store is a later state of what it had pushed.
#[test]
fn a_watch_ends_when_the_folder_becomes_another_store() {
    for (becomes_another, expected) in [(false, "restored from a backup"), (true, "another store")] {
        let (scratch, _) = Scratch::filled(&[]);
        let (other, _) = Scratch::filled(&[]);
        let (url, backup) = (url(&scratch), scratch.path("backup"));
        let copied = Command::new("cp").arg("-a").arg(scratch.store()).arg(&backup).status();
        assert!(copied.unwrap().success());
        let mount = scratch.mount(&[]);
        fs::write(mount.path("copy/new"), "x").unwrap();
        let log = fs::File::create(scratch.path("log")).unwrap();
        let mut command = Command::new(lmfs_path());
        command
            .arg("push")
            .arg(scratch.store())
            .args([&url, "--watch", "--every", "1"]);
        let mut watch = Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        until("it has pushed", || seq(&scratch).is_some());
        let before = seq(&scratch);
        fs::write(mount.path("copy/newer"), "y").unwrap();
        mount.umount();
        until("it has pushed the rest", || seq(&scratch) > before);
        fs::rename(scratch.store(), scratch.path("away")).unwrap();
        let replacement = if becomes_another { other.store() } else { backup };
        let pushed = head(&scratch)["files"].clone();
        fs::rename(replacement, scratch.store()).unwrap();
        let mut ended = None;
        until("it has ended", || {
            ended = watch.0.try_wait().unwrap();
            ended.is_some()
        });
        let message = fs::read_to_string(scratch.path("log")).unwrap();
        assert!(!ended.unwrap().success() && message.contains(expected), "{message}");
        assert_eq!(head(&scratch)["files"], pushed);
    }
}

/// Regression: pieces that were joined were read from the store again, and damage there replaced what was stored whole.
#[test]
fn damage_in_the_store_does_not_replace_what_was_pushed() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    let mount = scratch.mount(&[]);
    let log = scratch.path("log");
    let mut command = Command::new(lmfs_path());
    command
        .arg("push")
        .arg(scratch.mountpoint())
        .args([&url, "--watch", "--every", "1"]);
    let errors = fs::File::create(&log).unwrap();
    let watch = Running(command.stdout(Stdio::null()).stderr(errors).spawn().unwrap());
    until("it has pushed", || seq(&scratch).is_some());
    let segment = scratch.store().join("segments/00000001.seg");
    let is_refused = || fs::read_to_string(&log).unwrap().contains("lmfs check --repair");
    for n in 0.. {
        assert!(n < 20, "pieces are joined");
        let before = seq(&scratch);
        let files = head(&scratch)["files"].clone();
        let file = files.as_array().unwrap().iter();
        let file = file
            .clone()
            .find(|file| file["path"] == "segments/00000001.seg")
            .unwrap();
        let lengths = file["pieces"].as_array().unwrap().iter();
        let lengths: Vec<u64> = lengths.map(|piece| piece["length"].as_u64().unwrap()).collect();
        // What the next push may join, but not the last piece, which is looked at each time.
        let damaged = lengths.len().checked_sub(2);
        let damaged = damaged.map(|end| lengths[..end].iter().sum::<u64>() + lengths[end] / 2);
        damaged.inspect(|at| flip(&segment, *at));
        fs::write(mount.path("copy/counter"), format!("{n}")).unwrap();
        until("it has pushed or refused", || seq(&scratch) > before || is_refused());
        let refused = is_refused();
        if refused {
            assert_eq!(head(&scratch)["files"], files, "nothing is replaced");
        }
        damaged.inspect(|at| flip(&segment, *at));
        if refused {
            until("it has pushed what is whole again", || seq(&scratch) > before);
            break;
        }
    }
    drop(watch);
    scratch.lmfs("push", &[&url]).ok();
    fs::copy(mount.path("copy/counter"), original.join("counter")).unwrap();
    mount.umount();
    scratch.clone_equals(&url, "clone", &original);
}

fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// A mount shows what was pushed, follows it, and reads what it fetched once without the bucket.
#[test]
fn a_bucket_is_mounted_and_followed() {
    let (scratch, original) = Scratch::filled(&[]);
    let url = url(&scratch);
    scratch.lmfs("push", &[&url]).ok();
    let reader = scratch.mount_url(&url);
    diff(&original, &reader.path("copy"));
    fs::write(reader.path("copy/new"), "x").unwrap_err();
    // What is pushed shows, also in files that are open, and what is removed goes.
    let writer = scratch.mount(&[]);
    for n in 0..3_u8 {
        let content = vec![n; 50_000 + usize::from(n)];
        fs::write(writer.path("copy/changing"), &content).unwrap();
        fs::write(writer.path(format!("copy/file {n}")), &content).unwrap();
        if n > 0 {
            fs::remove_file(writer.path(format!("copy/file {}", n - 1))).unwrap();
        }
        lmfs(["gc".as_ref(), scratch.mountpoint().as_os_str()]).ok();
        scratch.lmfs("push", &[&url]).ok();
        until("the reader has it", || {
            let there = fs::read(reader.path("copy/changing")).is_ok_and(|read| read == content);
            let gone = n == 0 || !reader.path(format!("copy/file {}", n - 1)).exists();
            there && gone && reader.path(format!("copy/file {n}")).exists()
        });
    }
    writer.umount();
    fs::copy(reader.path("copy/changing"), original.join("changing")).unwrap();
    fs::copy(reader.path("copy/file 2"), original.join("file 2")).unwrap();
    diff(&original, &reader.path("copy"));
    lmfs(["check".as_ref(), scratch.path("other").as_os_str(), "--data".as_ref()]).ok();
    reader.umount();
    // The cache survives. A damaged part of it is fetched again.
    let reader = scratch.mount_url(&url);
    diff(&original, &reader.path("copy"));
    reader.umount();
    for entry in walk(&scratch.path("cache")) {
        if entry.extension().is_some_and(|name| name == "blocks") {
            let mut bytes = fs::read(&entry).unwrap();
            bytes.iter_mut().skip(44).step_by(1000).for_each(|byte| *byte ^= 1);
            fs::write(entry, bytes).unwrap();
        }
    }
    let reader = scratch.mount_url(&url);
    diff(&original, &reader.path("copy"));
    reader.umount();
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}

#[test]
fn a_bucket_is_mounted_for_reading_with_a_cache_or_not_at_all() {
    let (scratch, _) = Scratch::filled(&[]);
    let url = url(&scratch);
    let (point, cache) = (scratch.mountpoint(), scratch.path("cache"));
    let mount = |args: &[&str]| lmfs([&["mount", &url, point.to_str().unwrap()], args].concat());
    mount(&["-o", "ro", "--cache-dir", cache.to_str().unwrap()]).refused(&["bucket"]);
    scratch.lmfs("push", &[&url]).ok();
    mount(&["--cache-dir", cache.to_str().unwrap()]).refused(&["-o ro"]);
    mount(&["-o", "ro"]).refused(&["--cache-dir"]);
    mount(&["-o", "ro", "--cache-dir", cache.to_str().unwrap()]).ok();
    assert!(point.join("copy").is_dir());
    lmfs(["umount".as_ref(), point.as_os_str()]).ok();
}
