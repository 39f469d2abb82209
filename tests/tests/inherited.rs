//! What shells, scripts and services leave to the programs that they start: descriptors, limits, signals, umask,
//! working directory, variables. None of it may cost data, end a daemon, or be held by one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use lmfs_tests::{Finished, Noise, Scratch, data, lmfs, lmfs_path, run, until};
use rustix::process::{Pid, Signal, kill_process};

/// Runs a script of bash in the scratch folder, where `$L` is the program.
fn script(scratch: &Scratch, text: &str) -> Finished {
    let mut bash = Command::new("bash");
    run(bash
        .args(["-c", text])
        .env("L", lmfs_path())
        .current_dir(scratch.path("")))
}

/// Bytes that cannot be stored smaller, in the mounted store and durable.
fn write_synced(scratch: &Scratch, name: &str, len: usize) -> Vec<u8> {
    let bytes = Noise::new(len as u64).bytes(len);
    let path = scratch.mountpoint().join(name);
    fs::write(&path, &bytes).unwrap();
    fs::File::open(&path).unwrap().sync_all().unwrap();
    bytes
}

fn umount(scratch: &Scratch) {
    lmfs(["umount".as_ref(), scratch.mountpoint().as_os_str()]).ok();
}

/// Regression: with its standard output closed, `lmfs compress -c` lost everything and ended with 0; an output file
/// could have got the number of standard output, and messages into it.
#[test]
fn closed_descriptors_lose_nothing_and_are_never_a_file_s() {
    let scratch = Scratch::with_store(&["--model=none"]);
    fs::copy(data("text/alice29.txt"), scratch.path("in")).unwrap();
    script(&scratch, "$L compress -1 -o in.lmz in").ok();
    let mount = scratch.mount(&[]);
    fs::write(mount.path("f"), "text").unwrap();
    for closed in [
        "0<&-",
        ">&-",
        "2>&-",
        "0<&- >&-",
        "0<&- 2>&-",
        ">&- 2>&-",
        "0<&- >&- 2>&-",
    ] {
        for (to_stdout, command) in [
            (
                false,
                "rm -f o o.lmz; $L compress -1 -o o.lmz in REDIRECT && $L decompress -o o o.lmz REDIRECT && cmp in o",
            ),
            (false, "$L test in.lmz REDIRECT"),
            (true, "$L compress -1 -c in REDIRECT"),
            (true, "$L decompress -c in.lmz REDIRECT"),
            (true, "$L list --json in.lmz REDIRECT"),
            (true, "$L status mnt REDIRECT"),
            (true, "$L stat --json mnt/f REDIRECT"),
            (true, "$L check --json mnt --data REDIRECT"),
            (true, "$L pack mnt REDIRECT"),
            (true, "$L gc mnt REDIRECT"),
            (true, "$L --help REDIRECT"),
            (true, "$L --version REDIRECT"),
        ] {
            let done = script(&scratch, &command.replace("REDIRECT", closed));
            let fails = to_stdout && closed.contains(" >&-") | closed.starts_with(">&-");
            let wanted = if fails && command.contains("check") {
                2
            } else {
                i32::from(fails)
            };
            assert_eq!(done.status.code(), Some(wanted), "{closed}: {done}");
            if fails && !closed.contains("2>&-") {
                assert!(done.stderr.contains("Bad file descriptor"), "{done}");
            }
        }
        script(&scratch, &format!("$L compress -1 <&- {closed}")).refused(&[]);
    }
    for command in ["model show builtin:tiny", "eval --blocks-only --model none in"] {
        script(&scratch, &format!("$L {command} >&-")).refused(&["bad file descriptor"]);
    }
    mount.umount();
    script(&scratch, "$L mount store mnt 0<&- >&- 2>&-").ok();
    assert_eq!(fs::read(scratch.mountpoint().join("f")).unwrap(), b"text");
    script(&scratch, "$L umount mnt 0<&- >&- 2>&-").ok();
}

/// Regression: help into a full disk ended with 0, and a message that could not be printed was a panic.
#[test]
fn what_cannot_be_printed_is_said_or_at_least_not_called_success() {
    let scratch = Scratch::empty();
    for words in [
        "--help",
        "--version",
        "help mount",
        "compress --help",
        "model list --json",
        "compress -1 -c /etc/passwd",
    ] {
        script(&scratch, &format!("$L {words} >/dev/full")).refused(&["no space left"]);
    }
    for words in [
        "status missing",
        "compress missing",
        "list missing",
        "stat missing",
        "no-such-command",
    ] {
        let code = script(&scratch, &format!("$L {words} 2>/dev/full")).status.code();
        assert!(matches!(code, Some(1 | 2)), "{words}: {code:?}");
    }
}

/// Regression: a log that takes nothing, on a full disk or a terminal that went away, was a panic in the thread that
/// logged, and ended the mount.
#[test]
fn a_log_that_cannot_be_written_ends_no_daemon() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mut daemon = Command::new(lmfs_path());
    daemon
        .args(["mount", "-f", "-vv", "--pack=off"])
        .arg(scratch.store())
        .arg(scratch.mountpoint());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut daemon = daemon.stderr(full).spawn().unwrap();
    until("the mount is there", || is_mount(&scratch));
    let bytes = write_synced(&scratch, "file", 300_000);
    assert!(fs::read(scratch.mountpoint().join("file")).unwrap() == bytes);
    let status = lmfs(["status".as_ref(), scratch.mountpoint().as_os_str(), "--json".as_ref()])
        .ok()
        .json();
    assert_eq!(
        status.pointer("/panics").and_then(|panics| panics.as_u64()),
        Some(0),
        "{status:#}"
    );
    umount(&scratch);
    assert!(daemon.wait().unwrap().success());
}

/// Regression: `ulimit -f` of the shell that mounted killed the daemon, with data that was not synced.
#[test]
fn a_limit_of_file_sizes_ends_no_daemon_and_leaves_no_half_a_file() {
    let scratch = Scratch::with_store(&["--model=none"]);
    script(&scratch, "ulimit -S -f 400; ulimit -S -t 1000; $L mount store mnt").ok();
    let bytes = write_synced(&scratch, "big", 900_000);
    assert!(fs::read(scratch.mountpoint().join("big")).unwrap() == bytes);
    umount(&scratch);
    // Who may lift it does, and others are told before anything is written.
    let mounted = script(&scratch, "ulimit -f 400; $L mount store mnt");
    if mounted.status.success() {
        write_synced(&scratch, "more", 900_000);
        umount(&scratch);
    } else {
        mounted.refused(&["ulimit -f", "400.0 KiB"]);
        let mounted = script(&scratch, "ulimit -f 200000; $L mount store mnt").ok();
        assert!(mounted.stderr.contains("ulimit -f"), "{mounted}");
        umount(&scratch);
        script(&scratch, "ulimit -f 400; $L mount store mnt -o ro").ok();
        umount(&scratch);
    }
    fs::write(scratch.path("noise"), &bytes).unwrap();
    script(&scratch, "ulimit -f 400; $L compress -1 noise").refused(&["file too large"]);
    let left = fs::read_dir(scratch.path("")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.contains(".lmfs-") || name.ends_with(".lmz")),
        "{left:?}"
    );
}

/// Regression: with SIGTERM blocked a service could not be stopped, and with SIGCHLD ignored mounting failed.
#[test]
fn inherited_signals_hinder_neither_the_start_nor_the_end() {
    let scratch = Scratch::with_store(&["--model=none"]);
    script(
        &scratch,
        "env --ignore-signal=CHLD,PIPE,XFSZ --block-signal=TERM,INT,CHLD $L mount store mnt",
    )
    .ok();
    let bytes = write_synced(&scratch, "file", 10_000);
    umount(&scratch);
    script(&scratch, "env --ignore-signal=CHLD $L mount store missing").refused(&["does not exist"]);
    let mut daemon = Command::new("env");
    daemon.args(["--block-signal=TERM,HUP,INT,QUIT"]).arg(lmfs_path());
    daemon
        .args(["mount", "-f", "--pack=off"])
        .arg(scratch.store())
        .arg(scratch.mountpoint());
    let mut daemon = daemon.spawn().unwrap();
    until("the mount is there", || scratch.mountpoint().join("file").exists());
    assert!(fs::read(scratch.mountpoint().join("file")).unwrap() == bytes);
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    let mut ended = None;
    until("the daemon ends", || {
        ended = daemon.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success());
}

#[test]
fn the_umask_opens_no_store_and_closes_none() {
    for mask in ["000", "777"] {
        let scratch = Scratch::with_store(&["--model=none"]);
        script(&scratch, &format!("umask {mask}; $L mount store mnt")).ok();
        write_synced(&scratch, "file", 10_000);
        umount(&scratch);
        for file in ["segments", "index"]
            .iter()
            .flat_map(|folder| scratch.store_files(folder))
        {
            let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode & 0o677, 0o600, "umask {mask}: {} is {mode:o}", file.display());
        }
    }
}

/// Regression: a daemon in the foreground kept the filesystem busy that it was started in.
#[test]
fn the_working_directory_is_let_go_of() {
    let scratch = Scratch::with_store(&["--model=none"]);
    script(
        &scratch,
        "mkdir gone; cd gone; rmdir ../gone; $L mount \"$OLDPWD/store\" \"$OLDPWD/mnt\"",
    )
    .ok();
    let other = Scratch::with_store(&["--model=none"]);
    let mut daemon = Command::new(lmfs_path());
    daemon
        .args(["mount", "-f", "--pack=off"])
        .arg(other.store())
        .arg(other.mountpoint());
    let mut daemon = daemon.current_dir(scratch.mountpoint()).spawn().unwrap();
    until("the other mount is there", || is_mount(&other));
    umount(&scratch);
    umount(&other);
    assert!(daemon.wait().unwrap().success());
}

fn is_mount(scratch: &Scratch) -> bool {
    // FUSE_SUPER_MAGIC, statfs(2).
    rustix::fs::statfs(scratch.mountpoint()).is_ok_and(|stat| stat.f_type == 0x6573_5546)
}

/// Regression: a lock of the script was held for as long as the mount was there, and `$(lmfs mount ...)` with a spare
/// descriptor waited for it to end.
#[test]
fn a_daemon_holds_no_descriptor_of_the_script_that_started_it() {
    let scratch = Scratch::with_store(&["--model=none"]);
    script(
        &scratch,
        "exec 9>lock; flock -n 9 || exit 7; said=$($L mount store mnt 2>&1 8>&1) && test -z \"$said\"",
    )
    .ok();
    script(&scratch, "flock -n lock true").ok();
    umount(&scratch);
}

/// A service that mounts in the background is not what systemd waits for.
#[test]
fn a_daemon_in_the_background_says_nothing_to_the_service_manager_of_another() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let socket = UnixDatagram::bind(scratch.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    script(
        &scratch,
        "NOTIFY_SOCKET=$PWD/notify WATCHDOG_USEC=1000000 JOURNAL_STREAM=1:1 $L mount store mnt",
    )
    .ok();
    umount(&scratch);
    let heard = socket.recv(&mut [0; 64]);
    assert!(heard.is_err(), "{heard:?}");
    let log = fs::read_to_string(scratch.store().join("lmfs.log")).unwrap();
    assert!(log.starts_with("20"), "without a time: {log}");
}
