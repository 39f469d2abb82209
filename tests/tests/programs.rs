//! Programs that ask much of a filesystem: git, sqlite, tar, rsync, du, df.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use lmfs_tests::{Finished, Scratch, copy_in, data, diff, metadata, run, small_tree};

fn git(folder: &Path, args: &[&str]) -> Finished {
    let identity = [
        "-c",
        "user.name=A U Thor",
        "-c",
        "user.email=author@example.com",
        "-c",
        "init.defaultBranch=main",
    ];
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command.arg("-C").arg(folder).args(identity).args(args);
    run(&mut command).ok()
}

#[test]
fn git_clones_commits_and_finds_nothing_wrong() {
    let scratch = Scratch::with_store(&[]);
    let origin = scratch.path("origin");
    fs::create_dir(&origin).unwrap();
    git(&origin, &["init", "-q"]);
    for kind in ["code", "logs", "text"] {
        copy_in(&data(kind), &origin);
        git(&origin, &["add", "."]);
        git(&origin, &["commit", "-q", "-m", kind]);
    }
    let mount = scratch.mount(&[]);
    git(
        &scratch.path("."),
        &["clone", "-q", "--no-local", "origin", "mnt/clone"],
    );
    let clone = mount.path("clone");
    assert_eq!(git(&clone, &["status", "--porcelain"]).stdout, "");
    fs::write(clone.join("new"), "one more\n").unwrap();
    git(&clone, &["add", "new"]);
    git(&clone, &["commit", "-q", "-m", "new"]);
    git(&clone, &["gc", "-q"]);
    mount.umount();

    let mount = scratch.mount(&[]);
    let clone = mount.path("clone");
    assert_eq!(git(&clone, &["status", "--porcelain"]).stdout, "");
    git(&clone, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&clone, &["rev-list", "--count", "HEAD"]).stdout.trim(), "4");
    mount.umount();
}

#[test]
fn sqlite_with_a_write_ahead_log_keeps_its_integrity() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let sql = |mount: &lmfs_tests::Mount, text: &str| {
        run(Command::new("sqlite3")
            .arg("-bail")
            .arg(mount.path("rows.db"))
            .arg(text))
        .ok()
        .stdout
    };
    assert_eq!(sql(&mount, "PRAGMA journal_mode=WAL;").trim(), "wal");
    sql(
        &mount,
        "CREATE TABLE rows(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
         CREATE INDEX by_text ON rows(text);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO rows SELECT i, 'row number ' || i || ' of the table' FROM n;
         DELETE FROM rows WHERE id % 7 = 0;
         UPDATE rows SET text = text || ', changed' WHERE id % 3 = 0;",
    );
    assert_eq!(sql(&mount, "PRAGMA integrity_check;").trim(), "ok");
    mount.umount();
    let mount = scratch.mount(&[]);
    assert_eq!(sql(&mount, "PRAGMA integrity_check;").trim(), "ok");
    assert_eq!(sql(&mount, "SELECT count(*) FROM rows;").trim(), "17143");
    // A transaction after the remount, through the log again.
    sql(&mount, "INSERT INTO rows(text) VALUES ('one more'); VACUUM;");
    assert_eq!(
        sql(&mount, "SELECT count(*) FROM rows; PRAGMA integrity_check;").trim(),
        "17144\nok"
    );
    mount.umount();
}

#[test]
fn tar_reads_and_writes_a_mount() {
    let scratch = Scratch::with_store(&[]);
    let original = scratch.path("original");
    small_tree(&original);
    let mount = scratch.mount(&[]);
    let tar = |args: &[&str]| run(Command::new("tar").args(args).current_dir(scratch.path("."))).ok();
    // The old formats of tar know whole seconds only.
    tar(&["--format=posix", "-cf", "in.tar", "original"]);
    tar(&["-xpf", "in.tar", "-C", "mnt"]);
    diff(&original, &mount.path("original"));
    tar(&["--format=posix", "-cf", "mnt/out.tar", "-C", "mnt", "original"]);
    fs::create_dir(scratch.path("back")).unwrap();
    tar(&["-xpf", "mnt/out.tar", "-C", "back"]);
    diff(&original, &scratch.path("back/original"));
    assert_eq!(
        metadata(&original, true),
        metadata(&scratch.path("back/original"), true)
    );
    mount.umount();
}

#[test]
fn rsync_copies_nothing_the_second_time() {
    let scratch = Scratch::with_store(&[]);
    let original = scratch.path("original");
    small_tree(&original);
    let mount = scratch.mount(&[]);
    let target = mount.path("copy");
    let rsync = || {
        let mut command = Command::new("rsync");
        command
            .args(["-aH", "--itemize-changes"])
            .arg(original.join(""))
            .arg(&target);
        run(&mut command).ok().stdout
    };
    assert!(rsync().lines().count() > 10);
    diff(&original, &target);
    assert_eq!(rsync(), "", "the second run has nothing to copy");
    mount.umount();
    let mount = scratch.mount(&[]);
    assert_eq!(rsync(), "", "nor after a remount");
    mount.umount();
}

/// The numbers in a line of what a program printed.
fn numbers(finished: Finished, line: usize) -> Vec<u64> {
    let text = finished.ok().stdout;
    let words = text.lines().nth(line).into_iter().flat_map(str::split_whitespace);
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn du_shows_the_saving_and_df_the_space() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    copy_in(&data("logs"), &mount.path("logs"));
    copy_in(&data("code/flask/config.py"), &mount.path("config.py"));
    let du = |path: &Path, more: &[&str]| {
        numbers(run(Command::new("du").args(["-s", "-B1"]).args(more).arg(path)), 0).remove(0)
    };
    let logs = mount.path("logs");
    run(Command::new("sync").arg("-f").arg(&logs)).ok();
    let (apparent, first) = (du(&logs, &["--apparent-size"]), du(&logs, &[]));
    assert!(apparent > 160_000);
    assert!(first < apparent * 2 / 3, "logs as fast zstd: {first} of {apparent}");

    let file = mount.path("config.py");
    let before = du(&file, &[]);
    mount.pack(&[file.to_str().unwrap()]);
    let after = du(&file, &[]);
    assert!(after < before, "packed: {before} to {after}");

    let df = |path: &Path| {
        let shown = ["-B1", "--output=size,used,avail"];
        numbers(run(Command::new("df").args(shown).arg(path)), 1)
    };
    let [size, used, free] = df(&logs)[..] else {
        panic!("df shows no three numbers");
    };
    let disk = df(&scratch.store()).remove(2);
    assert!(size >= used + free && used > 0);
    // 80 MiB are kept for deleting and collecting garbage.
    let apart = (free + (80 << 20)).abs_diff(disk) as f64 / disk as f64;
    assert!(apart < 0.05, "df says {free} bytes are free, the disk below has {disk}");
    mount.umount();
}
