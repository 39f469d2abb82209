//! lmfs as a service: the unit file, readiness, and a clean end on SIGTERM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lmfs_tests::{Finished, Scratch, happens, lmfs_path, run, until};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Signal;

/// Options with which systemd hides a mount made by the service from the rest of the machine (or makes no mount at
/// all).
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

/// `make install` of this build, with these variables.
fn make(variables: &[String]) -> Finished {
    let mut make = Command::new("make");
    // What the make around the tests says of itself is not meant for this one.
    make.env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env_remove("DESTDIR")
        .env_remove("PREFIX");
    make.arg("-C")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .arg("install")
        .args(variables);
    run(&mut make)
}

/// All files below a folder, as paths from there.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(below(&path))
        } else {
            files.push(path)
        }
    }
    files
}

#[test]
fn systemd_accepts_the_installed_units() {
    let scratch = Scratch::empty();
    let prefix = scratch.path("usr");
    make(&[
        format!("LMFS={}", lmfs_path().display()),
        format!("PREFIX={}", prefix.display()),
        format!("HELPERS={}", scratch.path("sbin").display()),
        format!("DEBUGDIR={}", scratch.path("debug").display()),
    ])
    .ok();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg("--man=no");
    let units = below(&prefix.join("lib/systemd/system"));
    assert_eq!(units.len(), 4, "{units:?}");
    for unit in units {
        // A template is verified by an instance.
        let name = unit.file_name().unwrap().to_str().unwrap().replace('@', "@srv-archive");
        let instance = scratch.path(name);
        fs::copy(&unit, &instance).unwrap();
        verify.arg(instance);
    }
    let found = run(&mut verify).ok();
    assert_eq!(found.stderr, "", "systemd has something to say");
}

/// The units named /usr/bin/lmfs, and `make install` put the program into /usr/local/bin.
#[test]
fn installed_units_start_the_installed_program() {
    let scratch = Scratch::empty();
    let root = scratch.path("root");
    let into = format!("DESTDIR={}", root.display());
    make(&[format!("LMFS={}", lmfs_path().display()), into.clone()]).ok();
    let mut commands = 0;
    for unit in below(&root.join("usr/local/lib/systemd/system")) {
        let text = fs::read_to_string(&unit).unwrap();
        for line in text.lines().filter(|line| line.starts_with("Exec")) {
            let program = line
                .split_once('=')
                .unwrap()
                .1
                .trim_start_matches('-')
                .split(' ')
                .next()
                .unwrap();
            // What is named without a path is the system's.
            let Some(program) = program.strip_prefix('/') else {
                continue;
            };
            assert!(
                root.join(program).is_file(),
                "{}: {line}: there is no such file",
                unit.display()
            );
            commands += 1;
        }
    }
    assert_eq!(commands, 3, "one that mounts, one that checks and one that pushes");
    for name in ["mount.lmfs", "mount.fuse.lmfs"] {
        let helper = fs::read_link(root.join("sbin").join(name)).unwrap();
        assert!(root.join(helper.strip_prefix("/").unwrap()).is_file());
    }
    for file in [
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "example.toml",
        "docs/FORMAT.md",
        "docs/scale/slurm.sh",
        "python/README.md",
        "models/small.md",
    ] {
        assert!(root.join("usr/local/share/doc/lmfs").join(file).is_file(), "{file}");
    }
    // Without a build there is nothing to install, and nothing is built by whoever installs.
    let missing = scratch.path("missing");
    make(&[format!("LMFS={}", missing.display()), into]).refused(&["run make first"]);
    assert!(!missing.exists());
}

/// Regression: the program was 118 MB, with three copies of every built-in model and the debug information.
#[test]
fn the_installed_program_is_small_and_its_symbols_are_beside_it() {
    let scratch = Scratch::empty();
    let root = scratch.path("root");
    make(&[
        format!("LMFS={}", lmfs_path().display()),
        format!("DESTDIR={}", root.display()),
    ])
    .ok();
    let program = root.join("usr/local/bin/lmfs");
    let size = program.metadata().unwrap().len();
    println!("{size} bytes");
    assert!(size <= 30_000_000, "{size} bytes");
    let bytes = fs::read(&program).unwrap();
    for model in lmfs_codec::model::builtin::list() {
        let (middle, _) = model.gguf.split_at(model.gguf.len() / 2);
        let piece = middle.last_chunk::<64>().unwrap();
        let copies = bytes.windows(piece.len()).filter(|window| window == piece).count();
        assert_eq!(copies, 1, "{} is in the program {copies} times", model.name);
    }
    assert_eq!(
        run(Command::new(&program).arg("--version")).ok().stdout,
        lmfs_tests::lmfs(["--version"]).ok().stdout
    );
    let symbols = root.join("usr/lib/debug/usr/local/bin/lmfs.debug");
    assert!(symbols.metadata().unwrap().len() > 0);
}

/// What `lmfs help` names has a man page, and shells complete it.
#[test]
fn man_pages_and_completions_know_every_command() {
    let scratch = Scratch::empty();
    let share = scratch.path("share");
    lmfs_tests::lmfs(["manual".as_ref(), share.as_os_str()]).ok();
    let read = |name: &str| fs::read_to_string(share.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let completions = [
        read("bash-completion/completions/lmfs"),
        read("zsh/site-functions/_lmfs"),
        read("fish/vendor_completions.d/lmfs.fish"),
    ];
    let help = lmfs_tests::lmfs(["--help"]).ok().stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // A deeper indent goes on with the text of the line before.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    for command in &commands {
        let page = read(&format!("man/man1/lmfs-{command}.1"));
        assert!(
            page.contains(".SH OPTIONS") && page.contains("lmfs"),
            "{command}: {page}"
        );
        for completion in &completions {
            assert!(completion.contains(command), "no completion of {command}");
        }
    }
    read("man/man1/lmfs-model-export.1");
    assert!(read("man/man1/lmfs.1").contains("lmfs umount ~/archive"));
    for hidden in ["manual", "background-child"] {
        assert!(
            !completions.iter().any(|completion| completion.contains(hidden)),
            "{hidden} is completed"
        );
    }
}

/// The model has to be had without a store, to be kept beside `.lmz` files for decades.
#[test]
fn an_exported_model_is_that_of_a_store_and_replaces_no_file() {
    let scratch = Scratch::with_store(&[]);
    let file = scratch.path("small.gguf");
    let export = |name: &str, file: &Path| {
        lmfs_tests::lmfs(["model".as_ref(), "export".as_ref(), name.as_ref(), file.as_os_str()])
    };
    export("builtin:small", &file).ok();
    let model = scratch.store_files("models").pop().unwrap();
    assert!(fs::read(&file).unwrap() == fs::read(model).unwrap(), "another model");
    export("builtin:tiny", &file).refused(&["exists"]);
    export("small", &scratch.path("x")).refused(&["builtin:NAME"]);
    export("builtin:none", &scratch.path("x")).refused(&["small"]);
    export("builtin:small", &scratch.path("missing/x")).refused(&["no such file"]);
    assert!(!scratch.path("x").exists());
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

/// The unit unmounted after a crash: whoever wrote then wrote to the folder beneath, over which the store could not be
/// mounted any more.
#[test]
fn the_mount_of_a_killed_daemon_takes_no_data_and_is_replaced_by_the_next() {
    let unit = fs::read_to_string(units().join("lmfs@.service")).unwrap();
    assert!(!unit.contains("ExecStopPost="));

    let scratch = Scratch::with_store(&["--model=none"]);
    let mut crashed = scratch.mount(&[]);
    fs::write(crashed.path("kept"), "synced").unwrap();
    fs::File::open(crashed.path("kept")).unwrap().sync_all().unwrap();
    crashed.crash();
    let refused = fs::write(scratch.mountpoint().join("lost"), "on which disk?").unwrap_err();
    assert_eq!(Errno::from_io_error(&refused), Some(Errno::NOTCONN), "{refused}");
    // Only its own store replaces it.
    let other = scratch.path("other");
    lmfs_tests::lmfs(["init".as_ref(), "--model=none".as_ref(), other.as_os_str()]).ok();
    let point = scratch.mountpoint();
    lmfs_tests::lmfs(["mount".as_ref(), other.as_os_str(), point.as_os_str()]).refused(&["already is a mount"]);

    for _ in 0..2 {
        let mut mount = scratch.mount(&[]);
        assert_eq!(fs::read(mount.path("kept")).unwrap(), b"synced");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = |line: &&str| line.split(' ').nth(4) == point.to_str();
        assert_eq!(mounts.lines().filter(here).count(), 1, "the dead mount lies beneath");
        mount.crash();
    }
    // In the background, too.
    let store = scratch.store();
    lmfs_tests::lmfs(["mount".as_ref(), store.as_os_str(), point.as_os_str()]).ok();
    lmfs_tests::lmfs(["umount".as_ref(), point.as_os_str()]).ok();
    assert_eq!(
        fs::read_dir(&point).unwrap().count(),
        0,
        "something was written beneath"
    );
}

/// Monitoring saw nothing: `lmfs status` succeeds whatever is wrong.
#[test]
fn status_fails_if_asked_to_when_a_person_is_needed() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    let point = scratch.mountpoint();
    let status = || lmfs_tests::lmfs(["status".as_ref(), point.as_os_str(), "--fail".as_ref()]);
    let bytes = lmfs_tests::Noise::new(5).bytes(100_000);
    fs::write(mount.path("file"), &bytes).unwrap();
    fs::File::open(mount.path("file")).unwrap().sync_all().unwrap();
    status().ok();
    mount.umount();
    let segments = scratch.store_files("segments");
    let segment = segments.first().unwrap();
    let mut log = fs::read(segment).unwrap();
    let needle = bytes.get(50_000..50_100).unwrap();
    let at = log.windows(100).position(|w| w == needle).unwrap();
    *log.get_mut(at).unwrap() ^= 1;
    fs::write(segment, log).unwrap();
    let mount = scratch.mount(&[]);
    status().ok();
    assert!(fs::read(mount.path("file")).is_err());
    let found = status();
    assert_eq!(found.status.code(), Some(1), "{found}");
    assert!(found.stdout.contains("Trouble"), "{found}");
    mount.umount();
}

/// It was set aside when the next daemon started, and grew for as long as this one ran.
#[test]
fn a_long_log_is_set_aside_while_the_daemon_runs() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let (store, point) = (scratch.store(), scratch.mountpoint());
    lmfs_tests::lmfs(["mount".as_ref(), store.as_os_str(), point.as_os_str()]).ok();
    let log = store.join("lmfs.log");
    fs::File::options()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(2 << 20)
        .unwrap();
    // The daemon ends whatever happened.
    let set_aside = happens(|| store.join("lmfs.log.old").exists());
    lmfs_tests::lmfs(["umount".as_ref(), point.as_os_str()]).ok();
    assert!(set_aside);
    // It may have said that it is mounted only then.
    assert!(fs::metadata(store.join("lmfs.log.old")).unwrap().len() >= 2 << 20);
    let said = fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("unmounted"),
        "what is said later is in the new one: {said}"
    );
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
    until("the lock is given back", || {
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    });
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

/// Usage errors ended with 2, which mount(8) takes for a bug of mount.
#[test]
fn the_mount_helper_fails_as_mount_wants_it() {
    let helper = |args: &[&str]| run(Command::new(lmfs_path()).arg0("mount.lmfs").args(args));
    for wrong in [
        &[][..],
        &["store"],
        &["--no-such-option", "store", "mnt"],
        &["/no/store", "/no/mnt"],
    ] {
        assert_eq!(helper(wrong).status.code(), Some(32), "{wrong:?}");
    }
    helper(&["--help"]).ok();
}

/// Regression: the helper took a remount for a second mount, so that mount(8) could only do it with `-i`.
#[test]
fn the_mount_helper_remounts_for_reading_and_back() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let remount = |to: &str| {
        // As mount(8) calls it: with all that the mount shows.
        let options = format!("rw,nosuid,nodev,relatime,user_id=0,group_id=0,default_permissions,remount,{to}");
        let mut helper = Command::new(lmfs_path());
        helper
            .arg0("mount.fuse.lmfs")
            .arg(scratch.store())
            .arg(scratch.mountpoint());
        run(helper.args(["-o", &options]))
    };
    remount("ro").refused(&["no lmfs store is mounted at"]);
    let mount = scratch.mount(&[]);
    let write = || fs::write(mount.path("file"), "contents").map_err(|error| Errno::from_io_error(&error));
    write().unwrap();
    remount("ro").ok();
    assert_eq!(write(), Err(Some(Errno::ROFS)));
    assert_eq!(fs::read_to_string(mount.path("file")).unwrap(), "contents");
    remount("rw").ok();
    write().unwrap();
    remount("ro").ok();
    mount.umount();
    let mount = scratch.mount(&["--read-only"]);
    remount("rw").refused(&["mounted for reading only", "unmount it and mount it again"]);
    mount.umount();
}

/// The daemon looked, which under systemd may not see what other users' processes have open.
#[test]
fn umount_names_who_keeps_a_mount_busy() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    let user = fs::File::create(mount.path("open")).unwrap();
    let me = format!("({})", std::process::id());
    let refused = lmfs_tests::lmfs(["umount".as_ref(), scratch.mountpoint().as_os_str()]).refused(&["is busy"]);
    assert!(
        refused.stderr.contains("used by") && refused.stderr.contains(&me),
        "{refused}"
    );
    drop(user);
    // Where nobody listens the mount goes all the same, and the daemon with it.
    fs::remove_file(scratch.store().join("control.sock")).unwrap();
    lmfs_tests::lmfs(["umount".as_ref(), scratch.mountpoint().as_os_str()]).ok();
    assert!(mount.wait());
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
