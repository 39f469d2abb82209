//! lmfs as a service: the unit file, readiness, and a clean end on SIGTERM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lmfs_tests::{Scratch, lmfs_path, run};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Signal;

/// Options with which systemd hides a mount made by the service from the rest of the machine (or makes no mount at all).
const HIDING: [&str; 14] = [
    "PrivateTmp=",
    "PrivateDevices=",
    "PrivateMounts=",
    "ProtectSystem=",
    "ProtectHome=",
    "ReadOnlyPaths=",
    "ReadWritePaths=",
    "InaccessiblePaths=",
    "ProtectKernelTunables=",
    "ProtectKernelModules=",
    "ProtectKernelLogs=",
    "ProtectControlGroups=",
    "ProtectProc=",
    "DynamicUser=",
];

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

#[test]
fn systemd_accepts_the_units() {
    let scratch = Scratch::empty();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg("--man=no");
    let mut count = 0;
    for entry in fs::read_dir(units()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if ![".service", ".timer", ".mount", ".target"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            continue;
        }
        // As installed: the program where this build lies, the template with an instance.
        let unit = fs::read_to_string(&path).unwrap();
        let program = lmfs_path();
        let installed: Vec<String> = unit
            .lines()
            .map(|line| {
                ["/usr/local/bin/lmfs", "/usr/bin/lmfs"]
                    .iter()
                    .fold(line.to_owned(), |line, path| {
                        line.replace(path, program.to_str().unwrap())
                    })
            })
            .collect();
        let copy = scratch.path(name.replace('@', "@srv-archive"));
        fs::write(&copy, installed.join("\n")).unwrap();
        verify.arg(copy);
        count += 1;
    }
    assert!(count > 0, "there is a unit");
    let found = run(&mut verify).ok();
    assert_eq!(found.stderr, "", "systemd has something to say");
}

#[test]
fn the_service_hides_its_mount_from_nobody() {
    let unit = fs::read_to_string(units().join("lmfs@.service")).unwrap();
    for line in unit.lines() {
        assert!(
            !HIDING.iter().any(|option| line.trim_start().starts_with(option)),
            "{line} would hide the mount"
        );
    }
    assert!(unit.contains("Type=notify"));
}

#[test]
fn sigterm_drains_and_ends_with_success() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    // Written and not synced: the clean end is what makes it durable.
    let bytes = lmfs_tests::Noise::new(1).bytes(700_000);
    fs::write(mount.path("late"), &bytes).unwrap();
    mount.signal(Signal::TERM);
    assert!(mount.wait(), "SIGTERM is the usual way to end a service");
    let mount = scratch.mount(&[]);
    assert!(fs::read(mount.path("late")).unwrap() == bytes);
    mount.umount();
}

/// The lock was given back while the detached mount was still served: a second daemon could append to the same log.
#[test]
fn a_daemon_whose_mount_is_still_used_keeps_its_store_until_it_has_ended() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let user = fs::File::create(mount.path("open")).unwrap();
    // A client that says nothing: the daemon waits for it at its very end.
    let socket = scratch.store().join("control.sock");
    let client = UnixStream::connect(&socket).unwrap();
    mount.signal(Signal::TERM);
    let lock = fs::File::open(scratch.store().join("lock")).unwrap();
    let begun = Instant::now();
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "the lock is never given back"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let answer = rustix::fs::fsync(&user);
    assert!(
        matches!(answer, Err(Errno::NOTCONN | Errno::CONNABORTED)),
        "the daemon still answers: {answer:?}"
    );
    assert!(!socket.exists());
    assert!(mount.wait());
    drop((client, user, lock));
    let mount = scratch.mount(&[]);
    assert_eq!(fs::read(mount.path("open")).unwrap(), b"");
    mount.umount();
}

#[test]
fn readiness_is_announced_when_the_mount_is_there() {
    let scratch = Scratch::with_store(&[]);
    let socket = UnixDatagram::bind(scratch.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut daemon = Command::new(lmfs_path());
    daemon
        .args(["mount", "-f", "--pack=off"])
        .arg(scratch.store())
        .arg(scratch.mountpoint());
    daemon
        .env("NOTIFY_SOCKET", scratch.path("notify"))
        .stderr(fs::File::create(scratch.path("log")).unwrap());
    let mut daemon = daemon.spawn().unwrap();
    let heard = |word: &str| {
        let mut buffer = [0; 4096];
        loop {
            let len = socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("no {word}: {error}"));
            if String::from_utf8_lossy(buffer.get(..len).unwrap())
                .lines()
                .any(|line| line == word)
            {
                return;
            }
        }
    };
    heard("READY=1");
    let written = fs::write(scratch.mountpoint().join("at-once"), "ready is ready");
    let umount = lmfs_tests::lmfs(["umount".as_ref(), scratch.mountpoint().as_os_str()]);
    heard("STOPPING=1");
    let status = daemon.wait().unwrap();
    written.unwrap();
    umount.ok();
    assert!(status.success());
}
